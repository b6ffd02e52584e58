/* A request and its response in the HTTP server, whatever the protocol: who has to be told what, and when it is over. */
#include "io/http_server-priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/http-priv.h"
#include "io/http_server.h"

static void on_req_kick(struct loop_timer *);

void http__req_kick(struct http_req *r)
{
	if (!loop_timer_active(&r->kick))
		loop_timer_start(&r->kick, r->conn->loop, 0, on_req_kick);
}

struct http_req *http__req_new(struct http_conn *c)
{
	struct http_req *r = xcalloc(1, sizeof(*r));

	r->conn = c;
	arena_init(&r->pub.arena);
	r->pub.loop = c->loop;
	r->pub.content_length = -1;
	r->pub.remote = str_from(c->remote);
	r->pub.peer = c->peer && c->peer->present ? &c->peer->info : NULL;
	r->pub.peer_verified = c->peer_verified;
	buf_init(&r->body, BUF_NO_LIMIT);
	r->out_tail = &r->out_head;
	r->w_tail = &r->w_head;
	list_add_tail(&c->reqs, &r->link);
	c->server->stats.requests++;
	return r;
}

void http__req_dispatch(struct http_req *r)
{
	struct http_server *s = r->conn->server;

	r->is_head = str_eqc(r->pub.method, "HEAD");
	s->stats.requests_total++;
	s->handler->on_request(s->handler, &r->pub);
}

static void req_free(struct http_req *r)
{
	struct http_conn *c = r->conn;

	loop_timer_stop(&r->kick);
	list_del(&r->link);
	c->server->stats.requests--;
	if (list_empty(&c->reqs))
		c->idle_since = clock_mono_ms();
	buf_fini(&r->body);
	arena_fini(&r->pub.arena);
	xfree(r);
	http__conn_maybe_free(c);
}

void http__req_wire_done(struct http_req *r)
{
	r->wire_done = true;
	if (r->over)
		http__req_kick(r);
}

void http__req_cancel(struct http_req *r)
{
	if (r->pub.canceled)
		return;
	r->pub.canceled = true;
	if (!r->over) {
		r->cancel_due = true;
		http__req_kick(r);
	}
}

/* The handler has (or no longer wants) what was kept for it: the peer may send as much again. */
static void give_back(struct http_req *r)
{
	size_t n = r->kept;

	r->kept = 0;
	if (n > 0)
		r->conn->ops->consumed(r, n);
}

/* The handler has let go of the request: nothing of it may be called any more. */
static void over(struct http_req *r)
{
	ASSERT(!r->over);
	r->over = true;
	r->reading = false;
	r->body_done = NULL;
	r->on_data = NULL;
	r->waiting_since = 0;
	buf_clear(&r->body);
	give_back(r);
	if (!r->wire_done)
		r->conn->ops->over(r);
	if (r->wire_done)
		http__req_kick(r);
}

/* Collected: tell when complete or too large. */
static void run_body_done(struct http_req *r)
{
	void (*done)(struct http_request *, int, struct str) = r->body_done;
	bool too_large = r->refuse_body || r->body.n > r->body_limit;
	int status = too_large          ? -ERR_TOO_LARGE
		     : r->body_complete ? 0
		     : r->pub.canceled  ? -ERR_CANCELED
					: 1;
	struct str body = STR("");

	if (done == NULL || status > 0)
		return;
	r->body_done = NULL;
	r->reading = false;
	r->waiting_since = 0;
	if (status == 0) {
		size_t n;
		char *p;

		r->end_told = true;
		if (r->body.n > 0) {
			p = buf_take(&r->body, &n);
			arena_on_free(&r->pub.arena, free, p);
			body = str_of(p, n);
		}
	}
	done(&r->pub, status, body);
}

/* Streamed: deliver what is kept, and the end. */
static void run_on_data(struct http_req *r)
{
	if (r->reading && r->on_data != NULL && r->body.n > 0) {
		struct buf now = r->body;

		buf_init(&r->body, BUF_NO_LIMIT);
		r->waiting_since = clock_mono_ms();
		r->on_data(&r->pub, buf_str(&now), false);
		give_back(r);
		buf_fini(&now);
	}
	if (r->reading && r->on_data != NULL && r->body.n == 0 && r->body_complete &&
		!r->end_told) {
		r->end_told = true;
		r->reading = false;
		r->waiting_since = 0;
		r->on_data(&r->pub, STR(""), true);
	}
}

static void on_req_kick(struct loop_timer *t)
{
	struct http_req *r = container_of(t, struct http_req, kick);

	run_body_done(r);
	run_on_data(r);
	if (r->cancel_due && !r->over && !r->cancel_told) {
		r->cancel_told = true;
		if (r->pub.on_cancel)
			r->pub.on_cancel(&r->pub);
	}
	if (r->over && r->wire_done)
		req_free(r);
}

void http__req_body(struct http_req *r, struct str bytes)
{
	if (bytes.n == 0)
		return;
	if (r->over) {
		r->conn->ops->consumed(r, bytes.n);
		return;
	}
	if (r->reading && r->on_data != NULL && r->body.n == 0) {
		r->waiting_since = clock_mono_ms();
		r->on_data(&r->pub, bytes, false);
		r->conn->ops->consumed(r, bytes.n);
		return;
	}
	buf_adds(&r->body, bytes);
	r->kept += bytes.n;
	if (r->body_done != NULL) {
		r->waiting_since = clock_mono_ms();
		give_back(r);
		if (r->body.n > r->body_limit)
			http__req_kick(r);
	}
}

void http__req_body_end(struct http_req *r)
{
	r->body_complete = true;
	r->waiting_since = 0;
	if (!r->over && r->reading)
		http__req_kick(r);
}

static void start_reading(struct http_req *r)
{
	r->reading = true;
	if (!r->body_complete)
		r->waiting_since = clock_mono_ms();
	if (r->body.n > 0 || r->body_complete || r->pub.canceled)
		http__req_kick(r);
	if (!r->wire_done)
		r->conn->ops->want_body(r);
}

void http_request_body(struct http_request *req, size_t limit,
	void (*done)(struct http_request *, int, struct str))
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(!r->over && r->body_done == NULL);
	r->body_limit = limit ? limit : HTTP_DEFAULT_MAX_BODY;
	r->body_done = done;
	if (req->content_length > (int64_t)r->body_limit) {
		/* Refuse before it is sent. */
		r->refuse_body = true;
		http__req_kick(r);
		return;
	}
	give_back(r);
	start_reading(r);
}

void http_request_read_start(
	struct http_request *req, void (*on_data)(struct http_request *, struct str, bool))
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(!r->over && r->body_done == NULL);
	r->on_data = on_data;
	start_reading(r);
}

void http_request_read_stop(struct http_request *req)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	r->reading = false;
	r->waiting_since = 0;
}

static bool may_have_body(const struct http_req *r, int status)
{
	return !r->is_head && status >= 200 && status != 204 && status != 304;
}

static void head(struct http_req *r, int status, const struct http_header *h, size_t n,
	int64_t length, bool end)
{
	ASSERT(!r->over && !r->head_sent);
	r->head_sent = true;
	r->no_body = !may_have_body(r, status);
	if (!r->wire_done)
		r->conn->ops->head(r, status, h, n, length, end || r->no_body);
}

void http_respond(struct http_request *req, int status, const struct http_header *h, size_t n,
	struct str body)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	head(r, status, h, n, (int64_t)body.n, body.n == 0);
	if (!r->wire_done && !r->no_body && body.n > 0)
		r->conn->ops->body(r, body, NULL);
	if (!r->wire_done)
		r->conn->ops->end(r, NULL, 0);
	over(r);
}

void http_respond_take(struct http_request *req, int status, const struct http_header *h, size_t n,
	struct buf *body)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	head(r, status, h, n, (int64_t)body->n, body->n == 0);
	if (!r->wire_done && !r->no_body && body->n > 0)
		r->conn->ops->body_take(r, body, NULL);
	buf_fini(body);
	if (!r->wire_done)
		r->conn->ops->end(r, NULL, 0);
	over(r);
}

void http_respond_start(struct http_request *req, int status, const struct http_header *h, size_t n)
{
	struct http_req *r = container_of(req, struct http_req, pub);
	int64_t length = -1;

	for (size_t i = 0; i < n; i++) {
		uint64_t v;

		if (str_ieq(h[i].name, STR("content-length")) && str_to_u64(h[i].value, &v))
			length = (int64_t)v;
	}
	head(r, status, h, n, length, false);
}

void http_respond_write(struct http_request *req, struct str chunk, struct http_write *w)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(!r->over && r->head_sent);
	if (r->wire_done || r->no_body || req->canceled)
		http__write_later(r->conn->loop, w, -ERR_CANCELED);
	else
		r->conn->ops->body(r, chunk, w);
}

void http_respond_write_take(struct http_request *req, struct buf *chunk, struct http_write *w)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(!r->over && r->head_sent);
	if (r->wire_done || r->no_body || req->canceled)
		http__write_later(r->conn->loop, w, -ERR_CANCELED);
	else if (req->version == 2)
		r->conn->ops->body_take(r, chunk, w);
	else
		r->conn->ops->body(r, buf_str(chunk), w);
	buf_fini(chunk);
}

size_t http_request_queued_bytes(const struct http_request *req)
{
	const struct http_req *r = container_of(req, struct http_req, pub);

	return r->wire_done ? 0 : r->conn->ops->queued(r);
}

void http_respond_end_trailers(struct http_request *req, const struct http_header *h, size_t n)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(r->head_sent);
	if (!r->wire_done)
		r->conn->ops->end(r, h, n);
	over(r);
}

void http_respond_end(struct http_request *req)
{
	http_respond_end_trailers(req, NULL, 0);
}

void http_respond_abort(struct http_request *req)
{
	struct http_req *r = container_of(req, struct http_req, pub);

	ASSERT(!r->over);
	if (!r->wire_done)
		r->conn->ops->abort(r);
	over(r);
}
