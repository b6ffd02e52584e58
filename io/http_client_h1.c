/* HTTP/1.1 on a client's connection: one call at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "io/http_client-priv.h"

/* Requests. */

static void write_chunk(
	struct http_client_conn *k, struct http_call *c, struct str bytes, struct http_write *w)
{
	char line[24];
	struct str parts[3] = {STR(""), bytes, STR("")};

	if ((c->flags & CALL_CHUNKED) && bytes.n > 0) {
		parts[0] = str_of(line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", bytes.n));
		parts[2] = STR("\r\n");
	}
	stream_writev(k->stream, parts, 3, http__relay(w));
}

static void h1_end(struct http_call *c)
{
	c->flags |= CALL_BODY_SENT;
	if (c->flags & CALL_CHUNKED)
		stream_write(c->conn->stream, STR("0\r\n\r\n"), NULL);
}

static void h1_write(struct http_call *c, struct str chunk, struct http_write *w)
{
	write_chunk(c->conn, c, chunk, w);
}

static bool wants_length(const struct http_call *c)
{
	return c->body.n > 0 || strcmp(c->method, "POST") == 0 || strcmp(c->method, "PUT") == 0 ||
	       strcmp(c->method, "PATCH") == 0;
}

static void build_head(struct http_client_conn *k, struct http_call *c, struct buf *b)
{
	buf_printf(b, "%s %s HTTP/1.1\r\n", c->method, c->path);
	if (!http__call_has_header(c, "host"))
		http1_add_header(b, STR("host"), str_from(k->client->host));
	for (size_t i = 0; i < c->n_headers; i++)
		if (!str_ieq(c->headers[i].name, STR("transfer-encoding")) &&
			(c->stream_body || !str_ieq(c->headers[i].name, STR("content-length"))))
			http1_add_header(b, c->headers[i].name, c->headers[i].value);
	if (c->upgrade && !http__call_has_header(c, "connection"))
		buf_addc(b, "connection: Upgrade\r\n");
	if (c->stream_body && !http__call_has_header(c, "content-length")) {
		c->flags |= CALL_CHUNKED;
		buf_addc(b, "transfer-encoding: chunked\r\n");
	} else if (!c->stream_body && wants_length(c)) {
		buf_printf(b, "content-length: %zu\r\n", c->body.n);
	}
	buf_addc(b, "\r\n");
}

static void h1_submit(struct http_client_conn *k, struct http_call *c)
{
	struct buf b = BUF_INIT;
	struct http_write *w;

	build_head(k, c, &b);
	k->in_body = false;
	k->scanned = 0;
	stream_writev(
		k->stream, (struct str[]){buf_str(&b), c->body}, c->stream_body ? 1 : 2, NULL);
	buf_fini(&b);
	if (!c->stream_body) {
		c->flags |= CALL_BODY_SENT; /* copied */
		return;
	}
	/* What was written before there was a connection. */
	if (c->out.n > 0)
		write_chunk(k, c, buf_str(&c->out), NULL);
	buf_clear(&c->out);
	while ((w = c->w_head) != NULL) {
		c->w_head = w->next;
		stream_write(k->stream, STR(""), http__relay(w));
	}
	c->w_tail = &c->w_head;
	if (c->flags & CALL_BODY_ENDED)
		h1_end(c);
}

/* Responses. */

static struct http_call *call_of(struct http_client_conn *k)
{
	return list_empty(&k->calls) ? NULL : LIST_FIRST(&k->calls, struct http_call, link);
}

static void broken(struct http_client_conn *k, const char *why)
{
	struct err e;

	err_set(&e, ERR_PROTOCOL, "malformed answer from %s: %s", k->client->address, why);
	http__client_conn_close(k, &e);
}

/* The connection is the caller's now. */
static void upgraded(struct http_client_conn *k, struct http_call *c)
{
	struct stream *s = TAKE(k->stream);

	stream_read_stop(s);
	s->user = NULL;
	stream_unread(s, buf_str(&k->in));
	buf_fini(&k->in);
	c->stream = s;
	c->flags |= CALL_RESPONSE_ENDED | CALL_BODY_SENT;
	http__call_finish(c, NULL);
	http__client_conn_free_later(k);
}

/* False when more bytes are needed, or the connection or the call is over. */
static bool step_head(struct http_client_conn *k, struct http_call *c)
{
	ptrdiff_t n = http1_head_size(buf_str(&k->in), &k->scanned);
	struct http1_head h;
	struct err e = ERR_INIT;

	if (n < 0 || n > HTTP1_MAX_HEAD || (n == 0 && k->in.n > HTTP1_MAX_HEAD)) {
		broken(k, n < 0 ? "bad header line" : "the headers are too large");
		return false;
	}
	if (n == 0)
		return false;
	k->scanned = 0;
	if (http1_parse_response(str_of(k->in.p, (size_t)n), &c->arena, &h, &e) != 0) {
		broken(k, e.text);
		return false;
	}
	buf_consume(&k->in, (size_t)n);
	if (h.status < 200 && h.status != 101)
		return k->in.n > 0;
	c->response = h.headers;
	k->keep_alive = h.keep_alive;
	http1_body_of_response(&h, strcmp(c->method, "HEAD") == 0, &k->body);
	k->in_body = true;
	if (h.status == 101 && !c->upgrade) {
		broken(k, "101 without a request for it");
		return false;
	}
	http__call_headers(c, h.status, 1);
	if (k->stream == NULL || !http__call_on(c, k))
		return false;
	if (h.status == 101) {
		upgraded(k, c);
		return false;
	}
	return true;
}

static void complete(struct http_client_conn *k, struct http_call *c)
{
	http1_body_trailers(&k->body, &c->arena, &c->trailers, NULL);
	http1_body_fini(&k->body);
	k->in_body = false;
	k->n_served++;
	c->flags |= CALL_RESPONSE_ENDED;
	if (!k->keep_alive || k->in.n > 0)
		k->draining = true;
	http__call_finish(c, NULL);
}

static bool step_body(struct http_client_conn *k, struct http_call *c)
{
	struct buf now = k->in;
	struct str bytes = buf_str(&now), data;
	int ev = HTTP1_MORE;

	buf_init(&k->in, BUF_NO_LIMIT);
	while (k->stream != NULL && http__call_on(c, k) && !(c->flags & CALL_PAUSED) &&
		(ev = http1_body_feed(&k->body, &bytes, &data)) == HTTP1_DATA)
		http__call_data(c, data);
	buf_adds(&k->in, bytes);
	buf_fini(&now);
	if (k->stream == NULL || !http__call_on(c, k) || ev == HTTP1_MORE || ev == HTTP1_DATA)
		return false;
	if (ev < 0)
		broken(k, "bad chunk");
	else
		complete(k, c);
	return false;
}

static void process(struct http_client_conn *k)
{
	bool more = true;

	if (k->busy)
		return;
	k->busy = true;
	while (more && k->stream != NULL) {
		struct http_call *c = call_of(k);

		if (c == NULL) {
			/* Nobody asked for anything. */
			if (k->in.n > 0)
				http__client_conn_close(k, NULL);
			break;
		}
		more = k->in_body ? step_body(k, c) : k->in.n > 0 && step_head(k, c);
	}
	k->busy = false;
	if (k->stream != NULL && k->in.n == 0)
		buf_fini(&k->in);
}

static void h1_data(struct http_client_conn *k, struct str bytes)
{
	buf_adds(&k->in, bytes);
	process(k);
}

static void h1_ended(struct http_client_conn *k, const struct err *why)
{
	struct http_call *c = call_of(k);
	struct err e;

	if (c == NULL)
		return;
	if (why == NULL && k->in_body && k->body.kind == HTTP1_BODY_TO_END) {
		k->keep_alive = false;
		complete(k, c);
	} else if (c->response_begun || k->in.n > 0) {
		err_set(&e, ERR_UNAVAILABLE,
			"the connection to %s ended in the middle of the answer",
			k->client->address);
		c->response_begun = true;
		http__call_finish(c, &e);
	}
}

/* The rest of this answer would be taken for the next one's. */
static void h1_leave(struct http_client_conn *k, struct http_call *c, bool whole)
{
	if (!whole)
		http__client_conn_close(k, NULL);
}

static void h1_pause(struct http_call *c)
{
	stream_read_stop(c->conn->stream);
}

static void on_kick(struct loop_timer *t)
{
	process(container_of(t, struct http_client_conn, kick));
}

static void h1_resume(struct http_call *c)
{
	struct http_client_conn *k = c->conn;

	stream_read_start(k->stream);
	loop_timer_start(&k->kick, k->loop, 0, on_kick);
}

static void h1_drained(struct http_client_conn *k)
{
}

static void h1_free(struct http_client_conn *k)
{
	http1_body_fini(&k->body);
}

const struct http_client_ops http__client_h1_ops = {
	.submit = h1_submit,
	.write = h1_write,
	.end = h1_end,
	.leave = h1_leave,
	.pause = h1_pause,
	.resume = h1_resume,
	.data = h1_data,
	.drained = h1_drained,
	.ended = h1_ended,
	.free = h1_free,
};
