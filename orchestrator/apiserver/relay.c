#include "orchestrator/apiserver/relay.h"

#include <stdlib.h>

#include "base/util.h"
#include "io/splice.h"
#include "io/stream.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/apiserver/forward.h"

#define MAX_ANSWER_HEADERS 200
/* Bytes that wait for the slower side: over HIGH the other one is stopped until LOW are left. */
#define STREAM_HIGH (512u << 10)
#define STREAM_LOW (128u << 10)

/* The last chunk before the client was stopped. It may outlive the relay. */
struct relay_body {
	struct http_write w;
	struct relay *relay; /* NULL: over */
};

struct str relay_path(struct api_request *req, struct str path)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str before, query;

	backend_escape(&b, path, true);
	if (str_cut(req->target, '?', &before, &query))
		buf_printf(&b, "?%.*s", STR_FMT(query));
	return str_from(arena_cstr(&req->arena, buf_str(&b)));
}

static void relay_free(struct relay *r)
{
	struct api_request *req = r->req;

	req->stream = NULL;
	req->on_cancel = NULL;
	req->on_drain = NULL;
	req->on_body = NULL;
	if (r->body)
		r->body->relay = NULL;
	http_call_fini(&r->call);
	r->closed(r);
}

static void canceled(struct api_request *req)
{
	struct relay *r = req->stream;

	http_call_cancel(&r->call); /* done follows */
}

/* --- Up ---------------------------------------------------------------------------------------------------------------------- */

static void body_left(struct http_write *w, int status)
{
	struct relay_body *b = container_of(w, struct relay_body, w);
	struct relay *r = b->relay;

	free(b);
	if (!r)
		return;
	r->body = NULL;
	if (status == 0 && !r->req->canceled)
		r->req->responder->hold_body(r->req, false);
}

static void body_data(struct api_request *req, struct str bytes, bool end)
{
	struct relay *r = req->stream;

	if (bytes.n > 0 && !r->body && http_call_queued_bytes(&r->call) + bytes.n > STREAM_HIGH) {
		r->body = xcalloc(1, sizeof(*r->body));
		r->body->relay = r;
		r->body->w.done = body_left;
		req->responder->hold_body(req, true);
		http_call_write(&r->call, bytes, &r->body->w);
	} else if (bytes.n > 0) {
		http_call_write(&r->call, bytes, NULL);
	}
	if (end)
		http_call_end(&r->call);
}

/* --- Down -------------------------------------------------------------------------------------------------------------------- */

static void drained(struct api_request *req)
{
	struct relay *r = req->stream;

	if (r && r->paused && req->responder->queued(req) < STREAM_LOW) {
		r->paused = false;
		http_call_resume(&r->call);
	}
}

static size_t answer_headers(struct relay *r, struct http_header *out)
{
	const struct http_headers *in = &r->call.response;
	size_t n = 0;

	for (size_t i = 0; i < in->n && n < MAX_ANSWER_HEADERS; i++) {
		struct http_header h = {arena_str(&r->req->arena, in->h[i].name), arena_str(&r->req->arena, in->h[i].value)};

		/* The date is set by who answers: us. How long a stream is the front finds out. */
		if (!forward_stays(&h, false) && !str_ieq(h.name, STR("date")) && !str_ieq(h.name, STR("content-length")) &&
				(!r->header || r->header(r, &h)))
			out[n++] = h;
	}
	return n;
}

static void on_headers(struct http_call *call)
{
	struct relay *r = container_of(call, struct relay, call);
	struct http_header h[MAX_ANSWER_HEADERS];
	struct api_request *req = r->req;

	if (req->canceled || call->status == 101)
		return;
	r->streaming = true;
	req->on_drain = drained;
	/* A watch of another server's lasts as long as it likes: from here on it has no seat. */
	if (req->at.verb == API_WATCH)
		flow_release(req);
	req->responder->begin(req, call->status, h, answer_headers(r, h));
}

static void pass_on(struct relay *r, struct str bytes, bool end)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	buf_init(&out, BUF_NO_LIMIT);
	if (r->data)
		bytes = r->data(r, bytes, end, &out);
	if (bytes.n > 0)
		r->req->responder->write(r->req, bytes);
}

static void on_data(struct http_call *call, struct str bytes)
{
	struct relay *r = container_of(call, struct relay, call);
	struct api_request *req = r->req;

	if (req->canceled || !r->streaming)
		return;
	pass_on(r, bytes, false);
	if (!r->paused && req->responder->queued(req) > STREAM_HIGH) {
		r->paused = true;
		http_call_pause(&r->call);
	}
}

/* Both said 101: from now on they speak for themselves. */
static bool join(struct relay *r, struct err *e)
{
	struct api_request *req = r->req;
	struct http_header h[MAX_ANSWER_HEADERS];
	struct stream *theirs = http_call_take_stream(&r->call), *ours;
	size_t n = 0;

	if (!theirs)
		return false;
	for (size_t i = 0; i < r->call.response.n && n < MAX_ANSWER_HEADERS; i++)
		if (!str_ieq(r->call.response.h[i].name, STR("content-length")))
			h[n++] = (struct http_header){arena_str(&req->arena, r->call.response.h[i].name),
					arena_str(&req->arena, r->call.response.h[i].value)};
	ours = req->canceled || !req->responder->upgrade ? NULL : req->responder->upgrade(req, h, n, e);
	if (!ours) {
		stream_close(theirs, NULL, NULL);
		return false;
	}
	stream_splice(ours, theirs, NULL, NULL);
	return true;
}

static void done(struct http_call *call, const struct err *e)
{
	struct relay *r = container_of(call, struct relay, call);
	void (*failed)(struct api_request *, const struct err *) = r->failed;
	struct api_request *req = r->req;
	struct err why = e ? *e : (struct err)ERR_INIT;
	bool streaming = r->streaming, joined = !e && call->status == 101 && join(r, &why);

	if (streaming && !e && !req->canceled)
		pass_on(r, STR_NULL, true);
	relay_free(r);
	if (joined) {
		api_request_finish(req);
	} else if (req->canceled || (streaming && e)) {
		req->responder->abort(req);
		api_request_finish(req);
	} else if (streaming) {
		req->responder->end(req);
		api_request_finish(req);
	} else {
		failed(req, &why);
	}
}

enum step_result relay_start(struct relay *r)
{
	struct api_request *req = r->req;
	bool streamed = !r->upgrade && req->responder->stream_body && req->responder->stream_body(req);

	r->call.method = arena_cstr(&req->arena, req->method);
	r->call.path = r->path;
	r->call.headers = r->headers.h;
	r->call.n_headers = r->headers.n;
	r->call.body = req->body;
	r->call.stream_body = streamed;
	r->call.upgrade = r->upgrade;
	r->call.header_timeout_ms = r->header_timeout_ms;
	r->call.timeout_ms = r->timeout_ms;
	r->call.on_headers = on_headers;
	r->call.on_data = on_data;
	r->call.done = done;
	req->stream = r;
	req->on_cancel = canceled;
	req->on_body = body_data;
	req->waiting = true;
	http_call_start(r->client, &r->call);
	return STEP_DONE;
}
