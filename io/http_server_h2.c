/*
 * HTTP/2 on a server's connection, through nghttp2.
 *
 * Flow control is ours: a body byte gives its window back when the handler took it, so an unread
 * upload stops the client; responses are framed only while the stream's own queue is short, so what
 * a slow client does not read stays in the request's queue, where the handler sees it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http-priv.h"
#include "io/http_server-priv.h"

#define STREAM_WINDOW (256 << 10)
#define CONN_WINDOW (4 << 20)
/* Frames are made ahead of the kernel up to this. */
#define SEND_AHEAD 65536
/* Streams that a client may reset in RESET_MS before it is taken for an attack (CVE-2023-44487). */
#define MAX_RESETS 500
#define RESET_MS 10000
#define FLUSH_MS 2000
/* Between an early response and the reset of its stream. */
#define REFUSE_MS 100

static void pump(struct http_conn *);
static void pump_later(struct http_conn *);

static struct http_req *req_of(nghttp2_session *ng, int32_t id)
{
	return nghttp2_session_get_stream_user_data(ng, id);
}

/* Requests coming in. */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct http_conn *c = arg;
	struct http_req *r;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	r = http__req_new(c);
	r->stream_id = f->hd.stream_id;
	r->pub.version = 2;
	c->head_since = clock_mono_ms();
	nghttp2_session_set_stream_user_data(ng, f->hd.stream_id, r);
	return 0;
}

static void pseudo_header(struct http_req *r, struct str name, struct str value)
{
	struct http_request *q = &r->pub;

	if (str_eqc(name, ":method"))
		q->method = arena_str(&q->arena, value);
	else if (str_eqc(name, ":authority"))
		q->host = arena_str(&q->arena, value);
	else if (str_eqc(name, ":path")) {
		q->target = arena_str(&q->arena, value);
		str_cut(q->target, '?', &q->path, &q->query);
	}
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name,
	size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *arg)
{
	struct http_req *r = req_of(ng, f->hd.stream_id);
	struct str k = str_of(name, n_name), v = str_of(value, n_value);

	if (r == NULL)
		return 0;
	r->header_bytes += n_name + n_value + 32;
	if (r->header_bytes > HTTP_MAX_HEADER_BYTES || r->pub.headers.n >= HTTP_MAX_HEADERS) {
		r->bad_status = 431;
		return 0;
	}
	/* No handler has a use for a request's trailers. */
	if (f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (k.n > 0 && k.p[0] == ':')
		pseudo_header(r, k, v);
	else
		http__add_header(&r->pub.arena, &r->pub.headers, &r->n_header_cap, k, v);
	return 0;
}

static void request_complete(struct http_conn *c, struct http_req *r, bool has_body)
{
	struct str length = http_header_get(&r->pub.headers, "content-length");
	uint64_t n;

	r->handed = true;
	r->pub.has_body = has_body;
	r->body_complete = !has_body;
	if (!has_body)
		r->pub.content_length = 0;
	else if (length.p != NULL && str_to_u64(length, &n) && n <= INT64_MAX)
		r->pub.content_length = (int64_t)n;
	if (str_empty(r->pub.host)) {
		r->pub.host = http_header_get(&r->pub.headers, "host");
		if (r->pub.host.p == NULL)
			r->pub.host = STR("");
	}
	if (r->bad_status != 0)
		http_respond(&r->pub, r->bad_status, NULL, 0,
			STR("the request's headers are too large\n"));
	else
		http__req_dispatch(r);
}

/* Streams opened only to be reset cost us a request each, whether the client resets them or makes us
 * do it by what it must not send; a client that does nothing else is sent away. */
static int count_reset(struct http_conn *c)
{
	uint64_t now = clock_mono_ms();

	c->server->stats.resets_total++;
	if (now - c->resets_since > RESET_MS) {
		c->resets_since = now;
		c->resets = 0;
	}
	if (++c->resets <= MAX_RESETS)
		return 0;
	log_warn("http", "too many streams reset, closing the connection peer=%s", c->remote);
	nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
	return 0;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct http_conn *c = arg;
	struct http_req *r = f->hd.stream_id ? req_of(ng, f->hd.stream_id) : NULL;
	bool end = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

	switch (f->hd.type) {
	case NGHTTP2_SETTINGS:
		if (list_empty(&c->reqs))
			c->head_since = 0;
		break;
	case NGHTTP2_RST_STREAM:
		return count_reset(c);
	case NGHTTP2_HEADERS:
		c->head_since = 0;
		if (r == NULL)
			break;
		if (f->headers.cat == NGHTTP2_HCAT_REQUEST)
			request_complete(c, r, !end);
		else if (end)
			http__req_body_end(r);
		break;
	case NGHTTP2_DATA:
		if (end && r != NULL)
			http__req_body_end(r);
		break;
	default:
		break;
	}
	return 0;
}

static void refuse_rest(struct loop_timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, refuse);

	for (size_t i = 0; i < c->unwanted.n; i += sizeof(int32_t)) {
		int32_t id;

		memcpy(&id, c->unwanted.p + i, sizeof(id));
		if (nghttp2_session_find_stream(c->session, id) != NULL)
			nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
	}
	buf_clear(&c->unwanted);
	pump(c);
}

/*
 * What is left of a body behind its response is not wanted; the client is told so (RFC 9113, 8.1). A moment later, because curl
 * forgets a response that arrives together with the reset of its stream.
 */
static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct http_conn *c = arg;
	struct http_req *r;

	/* What we reset ourselves is not its fault: an INTERNAL_ERROR, or no error at all. */
	if (f->hd.type == NGHTTP2_RST_STREAM && f->rst_stream.error_code != NGHTTP2_INTERNAL_ERROR &&
		f->rst_stream.error_code != NGHTTP2_NO_ERROR)
		return count_reset(c);
	if ((f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) ||
		!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	r = req_of(ng, f->hd.stream_id);
	if (r != NULL && !r->body_complete) {
		buf_add(&c->unwanted, &f->hd.stream_id, sizeof(f->hd.stream_id));
		if (!loop_timer_active(&c->refuse))
			loop_timer_start(&c->refuse, c->loop, REFUSE_MS, refuse_rest);
	}
	return 0;
}

static int on_data_chunk(
	nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct http_req *r = req_of(ng, id);

	if (r == NULL || r->closed)
		nghttp2_session_consume(ng, id, n);
	else
		http__req_body(r, str_of(p, n));
	return 0;
}

static void drop_out(struct http_req *r)
{
	struct chunk *k;

	while ((k = r->out_head) != NULL) {
		r->out_head = k->next;
		if (k->taken)
			xfree(k->p);
		xfree(k);
	}
	r->out_tail = &r->out_head;
}

static void tell_writers(struct http_req *r, bool all)
{
	struct http_write *w;

	while ((w = r->w_head) != NULL && (all || w->mark <= r->framed)) {
		r->w_head = w->next;
		if (r->w_head == NULL)
			r->w_tail = &r->w_head;
		http__write_later(r->conn->loop, w, w->mark <= r->framed ? 0 : -ERR_CANCELED);
	}
}

static void stream_over(struct http_req *r)
{
	if (r->closed)
		return;
	r->closed = true;
	/* Its head was refused, or never came to its end: nobody else lets go of it. */
	if (!r->handed) {
		r->over = true;
		r->conn->head_since = 0;
	}
	tell_writers(r, true);
	drop_out(r);
	r->accepted = r->framed;
	http__req_cancel(r); /* no effect on one that has ended */
	http__req_wire_done(r);
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error, void *arg)
{
	struct http_req *r = req_of(ng, id);

	if (r != NULL) {
		nghttp2_session_set_stream_user_data(ng, id, NULL);
		stream_over(r);
	}
	return 0;
}

/* Responses going out. */

static int submit_trailers(nghttp2_session *ng, struct http_req *r);

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *p, size_t size, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct http_req *r = source->ptr;
	size_t n = 0;

	while (n < size && r->out_head != NULL) {
		struct chunk *k = r->out_head;
		size_t part = MIN(size - n, k->n - k->off);

		memcpy(p + n, k->p + k->off, part);
		n += part;
		k->off += part;
		if (k->off < k->n)
			break;
		r->out_head = k->next;
		if (r->out_head == NULL)
			r->out_tail = &r->out_head;
		if (k->taken)
			xfree(k->p);
		xfree(k);
	}
	r->framed += n;
	tell_writers(r, false);
	if (r->out_head == NULL && r->eof) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (r->out_trailers.n > 0) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			if (submit_trailers(ng, r) != 0)
				return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		}
	} else if (n == 0) {
		r->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static int submit_trailers(nghttp2_session *ng, struct http_req *r)
{
	nghttp2_nv *nv = xcalloc(r->out_trailers.n, sizeof(*nv));
	int rv;

	for (size_t i = 0; i < r->out_trailers.n; i++)
		nv[i] = http__nv(r->out_trailers.h[i].name, r->out_trailers.h[i].value);
	rv = nghttp2_submit_trailer(ng, r->stream_id, nv, r->out_trailers.n);
	xfree(nv);
	return rv;
}

static void h2_head(struct http_req *r, int status, const struct http_header *h, size_t n,
	int64_t length, bool end)
{
	struct http_conn *c = r->conn;
	struct arena *a = &r->pub.arena;
	nghttp2_nv *nv = arena_new_array(a, nghttp2_nv, n + 3);
	nghttp2_data_provider body = {.source.ptr = r, .read_callback = read_body};
	const char *once = c->server->config.once_field;
	size_t n_nv = 0;
	int rv;

	nv[n_nv++] = http__nv(STR(":status"), str_u64((uint64_t)status, arena_alloc(a, STR_U64_SIZE)));
	for (size_t i = 0; i < n; i++)
		if (!http__is_connection_field(h[i].name) &&
			!str_ieq(h[i].name, STR("content-length"))) {
			nv[n_nv] = http__nv(http__lower(a, h[i].name), http__clean(a, h[i].value));
			if (once && str_ieq(h[i].name, str_from(once)))
				nv[n_nv].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
			n_nv++;
		}
	nv[n_nv++] = http__nv(STR("date"), http__date(c->server));
	if (length >= 0 && status != 204 && status >= 200)
		nv[n_nv++] = http__nv(STR("content-length"),
			str_u64((uint64_t)length, arena_alloc(a, STR_U64_SIZE)));
	r->submitted = true;
	rv = nghttp2_submit_response(c->session, r->stream_id, nv, n_nv, end ? NULL : &body);
	if (rv != 0) {
		log_debug("http", "cannot send the response peer=%s error=\"%s\"", c->remote,
			nghttp2_strerror(rv));
		nghttp2_submit_rst_stream(
			c->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
	}
	r->eof = end;
	pump_later(c);
}

static void go_on(struct http_req *r)
{
	if (r->deferred) {
		r->deferred = false;
		nghttp2_session_resume_data(r->conn->session, r->stream_id);
	}
	pump_later(r->conn);
}

static void add_chunk(struct http_req *r, struct chunk *k)
{
	k->next = NULL;
	*r->out_tail = k;
	r->out_tail = &k->next;
	r->accepted += k->n;
}

static void want_told(struct http_req *r, struct http_write *w)
{
	if (w == NULL)
		return;
	w->mark = r->accepted;
	w->next = NULL;
	*r->w_tail = w;
	r->w_tail = &w->next;
	tell_writers(r, false);
}

static void h2_body(struct http_req *r, struct str bytes, struct http_write *w)
{
	if (bytes.n > 0) {
		struct chunk *k = xmalloc(sizeof(*k) + bytes.n);

		*k = (struct chunk){.p = (char *)(k + 1), .n = bytes.n};
		memcpy(k->p, bytes.p, bytes.n);
		add_chunk(r, k);
	}
	want_told(r, w);
	go_on(r);
}

static void h2_body_take(struct http_req *r, struct buf *bytes, struct http_write *w)
{
	struct chunk *k = xcalloc(1, sizeof(*k));

	k->p = buf_take(bytes, &k->n);
	k->taken = true;
	add_chunk(r, k);
	want_told(r, w);
	go_on(r);
}

static void h2_end(struct http_req *r, const struct http_header *trailers, size_t n)
{
	struct arena *a = &r->pub.arena;

	if (r->eof)
		return;
	r->eof = true;
	if (n > 0) {
		r->out_trailers.h = arena_new_array(a, struct http_header, n);
		for (size_t i = 0; i < n; i++)
			r->out_trailers.h[i] =
				(struct http_header){arena_str(a, http__lower(a, trailers[i].name)),
					arena_str(a, http__clean(a, trailers[i].value))};
		r->out_trailers.n = n;
	}
	go_on(r);
}

static void h2_abort(struct http_req *r)
{
	if (r->closed)
		return;
	nghttp2_submit_rst_stream(
		r->conn->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
	pump(r->conn);
}

static void h2_consumed(struct http_req *r, size_t n)
{
	struct http_conn *c = r->conn;

	if (c->stream == NULL || n == 0)
		return;
	if (r->closed)
		nghttp2_session_consume_connection(c->session, n);
	else
		nghttp2_session_consume(c->session, r->stream_id, n);
	pump_later(c);
}

static void h2_want_body(struct http_req *r)
{
	if (http_header_has_token(&r->pub.headers, "expect", "100-continue") && !r->head_sent &&
		r->body.n == 0 && !r->body_complete) {
		nghttp2_nv nv = http__nv(STR(":status"), STR("100"));

		nghttp2_submit_headers(
			r->conn->session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1, NULL);
		pump(r->conn);
	}
}

static size_t h2_queued(const struct http_req *r)
{
	return (size_t)(r->accepted - r->framed);
}

static void h2_over(struct http_req *r)
{
	if (!r->submitted)
		h2_abort(r);
}

/* The stream's queue and the session. */

static void session_over(struct http_conn *c)
{
	http__conn_close(c, FLUSH_MS);
}

static void on_flush(struct loop_timer *t)
{
	pump(container_of(t, struct http_conn, flush));
}

/* What all requests of the connection write in one turn of the loop leaves with one write. */
static void pump_later(struct http_conn *c)
{
	if (!c->in_session && c->stream != NULL && !loop_timer_active(&c->flush))
		loop_timer_start(&c->flush, c->loop, 0, on_flush);
}

/* Make frames as long as the stream takes them; one write for many. */
static void pump(struct http_conn *c)
{
	struct buf out = BUF_INIT;
	ssize_t n = 0;

	if (c->in_session || c->stream == NULL || c->session == NULL)
		return;
	loop_timer_stop(&c->flush);
	c->in_session = true;
	while (stream_queued(c->stream) < SEND_AHEAD) {
		const uint8_t *p;

		n = nghttp2_session_mem_send(c->session, &p);
		if (n > 0)
			buf_add(&out, p, (size_t)n);
		if (out.n > 0 && (n <= 0 || out.n >= SEND_AHEAD / 2)) {
			stream_write(c->stream, buf_str(&out), NULL);
			buf_clear(&out);
		}
		if (n <= 0)
			break;
	}
	if (out.n > 0)
		stream_write(c->stream, buf_str(&out), NULL);
	buf_fini(&out);
	c->in_session = false;
	if (n < 0 ||
		(!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session)))
		session_over(c);
}

static void h2_data(struct http_conn *c, struct str bytes)
{
	ssize_t n;

	c->in_session = true;
	n = nghttp2_session_mem_recv(c->session, (const uint8_t *)bytes.p, bytes.n);
	c->in_session = false;
	if (n < 0) {
		log_debug("http", "HTTP/2 session failed peer=%s error=\"%s\"", c->remote,
			nghttp2_strerror((int)n));
		http__conn_close(c, 0);
		return;
	}
	pump(c);
}

static void h2_drained(struct http_conn *c)
{
	pump(c);
}

static void h2_drain(struct http_conn *c)
{
	if (c->goaway)
		return;
	c->goaway = true;
	nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
		nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR, NULL, 0);
	pump(c);
}

static void h2_free(struct http_conn *c)
{
	loop_timer_stop(&c->flush);
	loop_timer_stop(&c->refuse);
	buf_fini(&c->unwanted);
	nghttp2_session_del(c->session);
}

const struct http_conn_ops http__h2_ops = {
	.head = h2_head,
	.body = h2_body,
	.body_take = h2_body_take,
	.end = h2_end,
	.abort = h2_abort,
	.consumed = h2_consumed,
	.want_body = h2_want_body,
	.queued = h2_queued,
	.over = h2_over,
	.dead = stream_over,
	.drain = h2_drain,
	.data = h2_data,
	.drained = h2_drained,
	.free = h2_free,
};

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_callbacks(void)
{
	ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	ASSERT(nghttp2_option_new(&options) == 0);
	nghttp2_option_set_no_auto_window_update(options, 1);
	nghttp2_option_set_no_closed_streams(options, 1);
}

bool http__h2_start(struct http_conn *c)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->server->config.max_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_MAX_HEADER_BYTES},
	};

	pthread_once(&once, make_callbacks);
	if (nghttp2_session_server_new3(&c->session, callbacks, c, options, &http__nghttp2_mem) != 0) {
		http__conn_close(c, 0);
		return false;
	}
	c->ops = &http__h2_ops;
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
	pump(c);
	return true;
}
