/*
 * HTTP/1.1 on a server's connection.
 *
 *	PREFACE --(not HTTP/2)--> HEAD --head complete--> BODY --body complete--> RESPONSE
 * --response ended--> HEAD
 *	   \--> HTTP/2                                      \--response ended first: discard--> HEAD
 * or close
 *
 * One request at a time: bytes of the next one wait in `in` (and then in the kernel) until the
 * response has ended. The connection is read on while a handler works, because that is how a
 * client's going away is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http-priv.h"
#include "io/http_server-priv.h"

/* Pipelined bytes, or body bytes that the handler does not take, kept before reading pauses. */
#define MAX_KEPT 65536
/* Body bytes read and dropped behind a response, to keep the connection. */
#define MAX_DISCARD (256 << 10)
#define FLUSH_MS 5000

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void process(struct http_conn *);

static void on_kick(struct loop_timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, kick);

	process(c);
}

static void update_reading(struct http_conn *c)
{
	bool pause;

	if (c->stream == NULL)
		return;
	pause = c->in.n > MAX_KEPT ||
		(c->req != NULL && !c->req->over && c->req->body.n > MAX_KEPT &&
			c->req->body_done == NULL);
	if (pause == c->paused)
		return;
	c->paused = pause;
	if (pause)
		stream_read_stop(c->stream);
	else
		stream_read_start(c->stream);
}

/* An answer of our own to something that is not a proper request; the connection ends. */
static void refuse(struct http_conn *c, int status, const char *why)
{
	struct buf b = BUF_INIT;

	log_debug("http", "bad request peer=%s status=%d why=\"%s\"", c->remote, status, why);
	buf_printf(&b,
		"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: "
		"%zu\r\nconnection: close\r\n\r\n%s\n",
		status, http_reason(status), strlen(why) + 1, why);
	stream_write(c->stream, buf_str(&b), NULL);
	buf_fini(&b);
	http__conn_close(c, FLUSH_MS);
}

static int status_of(const struct err *e)
{
	switch (e->code) {
	case ERR_TOO_LARGE:
		return 431;
	case ERR_UNIMPLEMENTED:
		return 501;
	case ERR_PROTOCOL:
		return 505;
	default:
		return 400;
	}
}

/* Take the head off `in` and make a request of it; false when the connection is over. */
static bool take_head(struct http_conn *c, size_t size)
{
	struct http_req *r = http__req_new(c);
	struct http1_head h;
	struct err e = ERR_INIT;
	int rv = http1_parse_request(str_of(c->in.p, size), &r->pub.arena, &h, &e);

	if (rv != 0) {
		r->over = true;
		refuse(c, status_of(&e), e.text);
		return false;
	}
	buf_consume(&c->in, size);
	if (c->in.n == 0)
		buf_fini(&c->in);
	r->pub.version = 1;
	r->pub.method = h.method;
	r->pub.target = h.target;
	r->pub.path = h.path;
	r->pub.query = h.query;
	r->pub.host = h.authority;
	r->pub.headers = h.headers;
	http1_body_of_request(&h, &c->body);
	r->pub.has_body = c->body.kind != HTTP1_BODY_NONE;
	r->pub.content_length = h.chunked ? -1 : MAX(h.content_length, 0);
	r->body_complete = !r->pub.has_body;
	r->left = -1;
	r->http10 = h.minor == 0;
	c->keep_alive = h.keep_alive && !c->server->closing;
	c->expect_continue = h.expect_continue && r->pub.has_body;
	c->req = r;
	c->discarded = 0;
	c->head_since = 0;
	c->scanned = 0;
	c->state = r->pub.has_body ? CONN_BODY : CONN_RESPONSE;
	http__req_dispatch(r);
	return c->stream != NULL;
}

/* False when more bytes are needed or the connection is over. */
static bool step_head(struct http_conn *c)
{
	ptrdiff_t n;

	/* An empty line in front of a request is to be ignored (RFC 9112, 2.2). */
	if (c->scanned == 0 && c->in.n >= 2 && memcmp(c->in.p, "\r\n", 2) == 0)
		buf_consume(&c->in, 2);
	if (c->in.n > 0 && c->head_since == 0)
		c->head_since = clock_mono_ms();
	n = http1_head_size(buf_str(&c->in), &c->scanned);
	if (n < 0) {
		refuse(c, 400, "malformed request");
		return false;
	}
	if (n > HTTP_MAX_HEADER_BYTES || (n == 0 && c->in.n > HTTP_MAX_HEADER_BYTES)) {
		refuse(c, 431, "the request's headers are too large");
		return false;
	}
	return n > 0 && take_head(c, (size_t)n);
}

static bool step_body(struct http_conn *c)
{
	struct buf now = c->in;
	struct str bytes = buf_str(&now), data;
	int ev = HTTP1_MORE;

	buf_init(&c->in, BUF_NO_LIMIT);
	while (c->stream != NULL && (ev = http1_body_feed(&c->body, &bytes, &data)) == HTTP1_DATA) {
		struct http_req *r = c->req;

		if (r->over) {
			c->discarded += data.n;
			if (c->discarded > MAX_DISCARD)
				break;
		} else {
			http__req_body(r, data);
		}
	}
	if (c->stream == NULL) {
		buf_fini(&now);
		return false;
	}
	buf_adds(&c->in, bytes);
	buf_fini(&now);
	if (ev < 0 || ev == HTTP1_DATA) {
		if (c->req->head_sent)
			http__conn_close(c, c->req->over ? FLUSH_MS : 0);
		else if (ev < 0)
			refuse(c, 400, "malformed body");
		return false;
	}
	if (ev == HTTP1_MORE)
		return false;
	http1_body_fini(&c->body);
	c->state = CONN_RESPONSE;
	http__req_body_end(c->req);
	return true;
}

/* The response has ended and the request's body has been read: on to the next request. False: it
 * has not, or no more. */
static bool step_response(struct http_conn *c)
{
	struct http_req *r = c->req;

	if (!r->over)
		return false;
	c->req = NULL;
	if (!c->keep_alive || r->bad_length) {
		http__conn_close(c, FLUSH_MS);
		return false;
	}
	http__req_wire_done(r);
	c->idle_since = clock_mono_ms();
	c->state = CONN_HEAD;
	return true;
}

/* Plain connections may begin with HTTP/2's preface. */
static bool step_preface(struct http_conn *c)
{
	size_t n = MIN(c->in.n, sizeof(preface) - 1);

	if (memcmp(c->in.p, preface, n) != 0) {
		c->state = CONN_HEAD;
		return true;
	}
	if (n == sizeof(preface) - 1 && http__h2_start(c)) {
		struct buf now = c->in;

		buf_init(&c->in, BUF_NO_LIMIT);
		c->ops->data(c, buf_str(&now));
		buf_fini(&now);
	}
	return false;
}

static void process(struct http_conn *c)
{
	bool more = true;

	/* Called by a handler that was called by us: the outer call goes on. */
	if (c->busy)
		return;
	c->busy = true;
	while (more && c->stream != NULL) {
		if (c->in.n == 0 && c->state != CONN_RESPONSE && c->state != CONN_BODY)
			break;
		switch (c->state) {
		case CONN_PREFACE:
			more = step_preface(c);
			break;
		case CONN_HEAD:
			more = step_head(c);
			break;
		case CONN_BODY:
			more = step_body(c);
			break;
		case CONN_RESPONSE:
			more = step_response(c);
			break;
		default:
			more = false;
		}
	}
	c->busy = false;
	if (c->stream != NULL && c->ops == &http__h1_ops)
		update_reading(c);
}

static void h1_data(struct http_conn *c, struct str bytes)
{
	buf_adds(&c->in, bytes);
	process(c);
}

/* Responses. */

static void h1_head(struct http_req *r, int status, const struct http_header *h, size_t n,
	int64_t length, bool end)
{
	struct http_conn *c = r->conn;
	struct buf b = BUF_INIT;
	bool has_date = false;

	if (c->expect_continue)
		c->keep_alive =
			false; /* the client may or may not send the body that it holds back */
	buf_printf(&b, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
	for (size_t i = 0; i < n; i++) {
		if (str_ieq(h[i].name, STR("content-length")) ||
			str_ieq(h[i].name, STR("transfer-encoding")))
			continue;
		if (str_ieq(h[i].name, STR("connection")) && str_ieq(h[i].value, STR("close")))
			c->keep_alive = false;
		else
			http1_add_header(&b, h[i].name, h[i].value);
		has_date |= str_ieq(h[i].name, STR("date"));
	}
	if (!has_date)
		http1_add_header(&b, STR("date"), http__date(c->server));
	if (status != 204 && status >= 200) {
		r->chunked = length < 0 && !end && !r->http10;
		if (length >= 0)
			buf_printf(&b, "content-length: %lld\r\n", (long long)length);
		else if (r->chunked)
			buf_addc(&b, "transfer-encoding: chunked\r\n");
		else if (!end)
			c->keep_alive = false; /* the end of the connection ends the body */
	}
	r->left = r->no_body ? -1 : length;
	if (!c->keep_alive)
		buf_addc(&b, "connection: close\r\n");
	buf_addc(&b, "\r\n");
	stream_write(c->stream, buf_str(&b), NULL);
	buf_fini(&b);
}

static void h1_body(struct http_req *r, struct str bytes, struct http_write *w)
{
	char line[24];
	struct str parts[3] = {STR(""), bytes, STR("")};

	if (r->left >= 0) {
		if ((int64_t)bytes.n > r->left) {
			r->bad_length = true;
			bytes.n = (size_t)r->left;
			parts[1] = bytes;
		}
		r->left -= (int64_t)bytes.n;
	}
	if (r->chunked && bytes.n > 0) {
		parts[0] = str_of(line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", bytes.n));
		parts[2] = STR("\r\n");
	}
	stream_writev(r->conn->stream, parts, 3, http__relay(w));
}

static void h1_body_take(struct http_req *r, struct buf *bytes, struct http_write *w)
{
	r->left -= (int64_t)bytes->n;
	stream_write_take(r->conn->stream, bytes, http__relay(w));
}

static void h1_end(struct http_req *r, const struct http_header *trailers, size_t n)
{
	struct buf b = BUF_INIT;

	if (r->left > 0)
		r->bad_length = true;
	if (!r->chunked)
		return;
	buf_addc(&b, "0\r\n");
	for (size_t i = 0; i < n; i++)
		http1_add_header(&b, trailers[i].name, trailers[i].value);
	buf_addc(&b, "\r\n");
	stream_write(r->conn->stream, buf_str(&b), NULL);
	buf_fini(&b);
}

static void h1_abort(struct http_req *r)
{
	http__conn_close(r->conn, 0);
}

static void h1_consumed(struct http_req *r, size_t n)
{
	update_reading(r->conn);
}

static void h1_want_body(struct http_req *r)
{
	struct http_conn *c = r->conn;

	if (c->expect_continue && !r->head_sent) {
		c->expect_continue = false;
		stream_write(c->stream, STR("HTTP/1.1 100 Continue\r\n\r\n"), NULL);
	}
	update_reading(c);
}

static size_t h1_queued(const struct http_req *r)
{
	return r->conn->stream ? stream_queued(r->conn->stream) : 0;
}

/* The handler is through. What it left of the body is dropped; then the next request's turn comes,
 * in a later turn of the loop. */
static void h1_over(struct http_req *r)
{
	struct http_conn *c = r->conn;

	if (c->stream == NULL || c->req != r)
		return;
	if (c->state == CONN_BODY && (!c->keep_alive || (c->body.kind == HTTP1_BODY_LENGTH &&
								c->body.left > MAX_DISCARD))) {
		http__conn_close(c, FLUSH_MS);
		return;
	}
	loop_timer_start(&c->kick, c->loop, 0, on_kick);
}

static void h1_dead(struct http_req *r)
{
	http__req_cancel(r);
	http__req_wire_done(r);
}

static void h1_drain(struct http_conn *c)
{
	c->keep_alive = false;
}

static void h1_drained(struct http_conn *c)
{
}

static void h1_free(struct http_conn *c)
{
	http1_body_fini(&c->body);
}

const struct http_conn_ops http__h1_ops = {
	.head = h1_head,
	.body = h1_body,
	.body_take = h1_body_take,
	.end = h1_end,
	.abort = h1_abort,
	.consumed = h1_consumed,
	.want_body = h1_want_body,
	.queued = h1_queued,
	.over = h1_over,
	.dead = h1_dead,
	.drain = h1_drain,
	.data = h1_data,
	.drained = h1_drained,
	.free = h1_free,
};

/* Upgrades. */

struct stream *http_upgrade(
	struct http_request *req, const struct http_header *h, size_t n, struct err *e)
{
	struct http_req *r = container_of(req, struct http_req, pub);
	struct http_conn *c = r->conn;
	struct buf b = BUF_INIT;
	struct stream *s;
	bool has_connection = false;

	ASSERT(!r->over);
	if (r->wire_done || req->canceled)
		return err_set(e, ERR_CANCELED, "the client is gone"), NULL;
	if (req->version != 1 || r->head_sent)
		return err_set(e, ERR_BAD_REQUEST, "only an HTTP/1.1 connection can be upgraded"),
		       NULL;
	if (req->has_body && !r->body_complete)
		return err_set(e, ERR_BAD_REQUEST, "a request with a body cannot be upgraded"),
		       NULL;
	buf_addc(&b, "HTTP/1.1 101 Switching Protocols\r\n");
	for (size_t i = 0; i < n; i++) {
		http1_add_header(&b, h[i].name, h[i].value);
		has_connection |= str_ieq(h[i].name, STR("connection"));
	}
	if (!has_connection)
		buf_addc(&b, "connection: Upgrade\r\n");
	buf_addc(&b, "\r\n");
	s = TAKE(c->stream);
	c->state = CONN_CLOSING;
	stream_read_stop(s);
	s->user = NULL;
	stream_write(s, buf_str(&b), NULL);
	stream_unread(s, buf_str(&c->in));
	buf_fini(&b);
	r->over = true;
	http__req_wire_done(r);
	return s;
}
