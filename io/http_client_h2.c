/* HTTP/2 on a client's connection, through nghttp2: all calls share it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client-priv.h"

#define STREAM_WINDOW (1 << 20)
#define CONN_WINDOW (16 << 20)
#define SEND_AHEAD 65536
#define PING_ANSWER_MS 15000

static void pump(struct http_client_conn *);

static struct http_call *call_of(nghttp2_session *ng, int32_t id)
{
	return nghttp2_session_get_stream_user_data(ng, id);
}

static void consume(struct http_client_conn *k, struct http_call *c, size_t n)
{
	if (n == 0 || k->stream == NULL)
		return;
	if (c != NULL && http__call_on(c, k))
		nghttp2_session_consume(k->session, c->stream_id, n);
	else
		nghttp2_session_consume_connection(k->session, n);
}

/* Responses coming in. */

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
	size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *arg)
{
	struct http_call *c = call_of(ng, f->hd.stream_id);
	struct str k = str_of(name, n_name), v = str_of(value, n_value);
	uint64_t status;

	if (c == NULL)
		return 0;
	c->header_bytes += n_name + n_value + 32;
	if (c->header_bytes > HTTP1_MAX_HEAD) {
		http__call_fail(c, ERR_PROTOCOL, "the answer's headers are too large");
	} else if (c->response_begun) {
		http__add_header(&c->arena, &c->trailers, &c->n_trailer_cap, k, v);
	} else if (str_eqc(k, ":status")) {
		if (str_to_u64(v, &status))
			c->status = (int)status;
	} else {
		http__add_header(&c->arena, &c->response, &c->n_header_cap, k, v);
	}
	return 0;
}

static void response_ended(struct http_call *c)
{
	c->flags |= CALL_RESPONSE_ENDED;
	if (c->held.n > 0)
		return; /* after what is held was delivered */
	c->conn->n_served++;
	http__call_finish(c, NULL);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct http_client_conn *k = arg;
	struct http_call *c = f->hd.stream_id ? call_of(ng, f->hd.stream_id) : NULL;

	switch (f->hd.type) {
	case NGHTTP2_PING:
		k->ping_sent = 0;
		return 0;
	case NGHTTP2_GOAWAY:
		k->draining = true;
		return 0;
	case NGHTTP2_HEADERS:
		if (c == NULL || c->response_begun)
			break;
		if (c->status < 200) {
			/* An interim answer. */
			c->status = 0;
			c->response.n = 0;
			return 0;
		}
		http__call_headers(c, c->status, 2);
		break;
	case NGHTTP2_DATA:
		break;
	default:
		return 0;
	}
	c = call_of(ng, f->hd.stream_id);
	if (c != NULL && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		response_ended(c);
	return 0;
}

static int on_data_chunk(
	nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct http_client_conn *k = arg;
	struct http_call *c = call_of(ng, id);

	if (c != NULL && ((c->flags & CALL_PAUSED) || c->held.n > 0)) {
		buf_add(&c->held, p, n);
		return 0;
	}
	if (c != NULL)
		http__call_data(c, str_of(p, n));
	/* The call may have gone in its callback. */
	consume(k, call_of(ng, id), n);
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *arg)
{
	struct http_client_conn *k = arg;
	struct http_call *c = call_of(ng, id);

	if (c == NULL)
		return 0;
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	c->stream_id = 0;
	if (c->flags & CALL_RESPONSE_ENDED)
		return 0; /* held bytes are still to be delivered */
	if (error == NGHTTP2_REFUSED_STREAM && http__call_retry(c, true))
		return 0;
	http__call_fail(c, ERR_UNAVAILABLE, "the stream to %s was reset: %s", k->client->address,
		nghttp2_http2_strerror(error));
	return 0;
}

static void on_deliver(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, kick);
	struct http_client_conn *k = c->conn;
	struct buf now = c->held;

	if (k == NULL || (c->flags & CALL_PAUSED))
		return;
	buf_init(&c->held, BUF_NO_LIMIT);
	http__call_data(c, buf_str(&now));
	consume(k, c->stream_id ? c : NULL, now.n);
	buf_fini(&now);
	if (http__call_on(c, k) && (c->flags & CALL_RESPONSE_ENDED) && c->held.n == 0 &&
		!(c->flags & CALL_PAUSED))
		response_ended(c);
	pump(k);
}

static void h2_pause(struct http_call *c)
{
}

static void h2_resume(struct http_call *c)
{
	if (c->held.n > 0)
		loop_timer_start(&c->kick, c->client->loop, 0, on_deliver);
}

/* Requests going out. */

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *p, size_t size, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct http_call *c = source->ptr;
	size_t n;

	if (!c->stream_body) {
		n = MIN(size, c->body.n - c->out_off);
		if (n > 0)
			memcpy(p, c->body.p + c->out_off, n);
		c->out_off += n;
		if (c->out_off == c->body.n) {
			*flags |= NGHTTP2_DATA_FLAG_EOF;
			c->flags |= CALL_BODY_SENT;
		}
		return (ssize_t)n;
	}
	n = MIN(size, c->out.n - c->out_off);
	if (n > 0)
		memcpy(p, c->out.p + c->out_off, n);
	c->out_off += n;
	c->framed += n;
	if (c->out_off == c->out.n) {
		buf_fini(&c->out);
		c->out_off = 0;
	} else if (c->out_off > 65536 && c->out_off > c->out.n / 2) {
		buf_consume(&c->out, c->out_off);
		c->out_off = 0;
	}
	http__call_tell_writers(c, false);
	if (c->out.n == 0 && (c->flags & CALL_BODY_ENDED)) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		c->flags |= CALL_BODY_SENT;
	} else if (n == 0) {
		c->flags |= CALL_DEFERRED;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void h2_submit(struct http_client_conn *k, struct http_call *c)
{
	struct arena *a = &c->arena;
	nghttp2_nv *nv = arena_new_array(a, nghttp2_nv, c->n_headers + 5);
	nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_body};
	bool has_body = c->stream_body || c->body.n > 0;
	struct str host = str_from(k->client->host);
	size_t n = 0;
	int32_t id;

	for (size_t i = 0; i < c->n_headers; i++)
		if (str_ieq(c->headers[i].name, STR("host")))
			host = c->headers[i].value;
	nv[n++] = http__nv(STR(":method"), str_from(c->method));
	nv[n++] = http__nv(STR(":scheme"), k->client->tls ? STR("https") : STR("http"));
	nv[n++] = http__nv(STR(":authority"), host);
	nv[n++] = http__nv(STR(":path"), str_from(c->path));
	for (size_t i = 0; i < c->n_headers; i++)
		if (!http__is_connection_field(c->headers[i].name) &&
			!str_ieq(c->headers[i].name, STR("host")) &&
			!str_ieq(c->headers[i].name, STR("content-length")))
			nv[n++] = http__nv(http__lower(a, c->headers[i].name),
				http__clean(a, c->headers[i].value));
	if (!c->stream_body && c->body.n > 0)
		nv[n++] = http__nv(STR("content-length"),
			str_u64(c->body.n, arena_alloc(a, STR_U64_SIZE)));
	id = nghttp2_submit_request(k->session, NULL, nv, n, has_body ? &body : NULL, c);
	if (id < 0) {
		/* Stream numbers are used up, or the like: another connection can do it. */
		k->draining = true;
		if (!http__call_retry(c, true))
			http__call_fail(c, ERR_UNAVAILABLE, "cannot send to %s: %s",
				k->client->address, nghttp2_strerror(id));
		return;
	}
	c->stream_id = id;
	if (!has_body)
		c->flags |= CALL_BODY_SENT;
	pump(k);
}

static void go_on(struct http_call *c)
{
	struct http_client_conn *k = c->conn;

	if (c->flags & CALL_DEFERRED) {
		c->flags &= ~(unsigned)CALL_DEFERRED;
		nghttp2_session_resume_data(k->session, c->stream_id);
	}
	pump(k);
}

static void h2_write(struct http_call *c, struct str chunk, struct http_write *w)
{
	buf_adds(&c->out, chunk);
	c->accepted += chunk.n;
	if (w != NULL) {
		w->mark = c->accepted;
		w->next = NULL;
		*c->w_tail = w;
		c->w_tail = &w->next;
		http__call_tell_writers(c, false);
	}
	go_on(c);
}

static void h2_end(struct http_call *c)
{
	go_on(c);
}

static void h2_leave(struct http_client_conn *k, struct http_call *c, bool whole)
{
	if (k->stream == NULL)
		return;
	if (c->stream_id > 0) {
		/* The session must not come back to a call that is gone. */
		nghttp2_session_set_stream_user_data(k->session, c->stream_id, NULL);
		if (!whole)
			nghttp2_submit_rst_stream(
				k->session, NGHTTP2_FLAG_NONE, c->stream_id, NGHTTP2_CANCEL);
		c->stream_id = 0;
	}
	consume(k, NULL, c->held.n);
	pump(k);
}

/* The session. */

static void pump(struct http_client_conn *k)
{
	struct buf out = BUF_INIT;
	ssize_t n = 0;

	if (k->in_session || k->stream == NULL)
		return;
	k->in_session = true;
	while (k->stream != NULL && stream_queued(k->stream) < SEND_AHEAD) {
		const uint8_t *p;

		n = nghttp2_session_mem_send(k->session, &p);
		if (n > 0)
			buf_add(&out, p, (size_t)n);
		if (out.n > 0 && (n <= 0 || out.n >= SEND_AHEAD / 2)) {
			stream_write(k->stream, buf_str(&out), NULL);
			buf_clear(&out);
		}
		if (n <= 0)
			break;
	}
	if (out.n > 0 && k->stream != NULL)
		stream_write(k->stream, buf_str(&out), NULL);
	buf_fini(&out);
	k->in_session = false;
	if (k->stream != NULL && (n < 0 || (!nghttp2_session_want_read(k->session) &&
						   !nghttp2_session_want_write(k->session))))
		http__client_conn_close(k, NULL);
}

static void h2_data(struct http_client_conn *k, struct str bytes)
{
	struct err e;
	ssize_t n;

	k->last_recv = clock_mono_ms();
	k->in_session = true;
	n = nghttp2_session_mem_recv(k->session, (const uint8_t *)bytes.p, bytes.n);
	k->in_session = false;
	if (n < 0 && k->stream != NULL) {
		err_set(&e, ERR_PROTOCOL, "malformed HTTP/2 from %s: %s", k->client->address,
			nghttp2_strerror((int)n));
		http__client_conn_close(k, &e);
	}
	pump(k);
	if (k->draining && k->n_calls == 0)
		http__client_conn_close(k, NULL);
}

static void h2_drained(struct http_client_conn *k)
{
	pump(k);
}

static void h2_ended(struct http_client_conn *k, const struct err *why)
{
}

static void h2_free(struct http_client_conn *k)
{
	nghttp2_session_del(k->session);
}

/* Idle connections are closed; busy ones that have gone quiet are asked whether they live. */
static void on_timer(struct loop_timer *t)
{
	struct http_client_conn *k = container_of(t, struct http_client_conn, timer);
	struct http_client *client = k->client;
	uint64_t now = clock_mono_ms(), answer_ms = MIN(client->ping_ms, (uint64_t)PING_ANSWER_MS);
	struct err e;

	loop_timer_start(&k->timer, k->loop,
		MIN(MIN(answer_ms, client->ping_ms / 2 + 1), client->idle_timeout_ms / 2 + 1),
		on_timer);
	if (k->n_calls == 0) {
		if (now - k->idle_since >= client->idle_timeout_ms)
			http__client_conn_close(k, NULL);
		return;
	}
	if (k->ping_sent != 0 && k->last_recv < k->ping_sent) {
		if (now - k->ping_sent >= answer_ms) {
			err_set(&e, ERR_UNAVAILABLE, "%s does not answer", client->address);
			http__client_conn_close(k, &e);
		}
	} else if (now - k->last_recv >= client->ping_ms) {
		k->ping_sent = now;
		nghttp2_submit_ping(k->session, NGHTTP2_FLAG_NONE, NULL);
		pump(k);
	}
}

const struct http_client_ops http__client_h2_ops = {
	.submit = h2_submit,
	.write = h2_write,
	.end = h2_end,
	.leave = h2_leave,
	.pause = h2_pause,
	.resume = h2_resume,
	.data = h2_data,
	.drained = h2_drained,
	.ended = h2_ended,
	.free = h2_free,
};

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_callbacks(void)
{
	ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	ASSERT(nghttp2_option_new(&options) == 0);
	nghttp2_option_set_no_auto_window_update(options, 1);
	nghttp2_option_set_no_closed_streams(options, 1);
}

void http__client_h2_start(struct http_client_conn *k)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP1_MAX_HEAD},
	};

	pthread_once(&once, make_callbacks);
	ASSERT(nghttp2_session_client_new3(&k->session, callbacks, k, options, &http__nghttp2_mem) == 0);
	nghttp2_submit_settings(k->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	nghttp2_session_set_local_window_size(k->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
	k->last_recv = clock_mono_ms();
	loop_timer_start(&k->timer, k->loop, 1, on_timer);
	pump(k);
}
