/* The HTTPS front: io/http_server's requests become api_requests, and their answers go back. Nothing is decided here. */
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/audit.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/flow.h"
#include "orchestrator/apiserver/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "io/http_server.h"

/* One HTTP request. It outlives the http_request while writes are outstanding. */
struct front_request {
	struct http_request *http; /* NULL once ended */
	struct api_request *req;   /* NULL once finished */
	unsigned n_writes;         /* outstanding */
	bool body_asked, body_here;
	/* The answer is on its way and keeps the request's seats until it has left. */
	bool leaving;
	struct flow_hold hold;
	struct loop_timer late;
};

/* Each write reports back: who stopped at a full queue must hear when its last bytes have left, not only its first. */
struct front_write {
	struct http_write w;
	struct front_request *f;
};

static void front_release(struct front_request *f)
{
	if (!f->http && f->n_writes == 0)
		free(f);
}

static void front_ended(struct api_request *req)
{
	struct front_request *f = req->owner;

	f->http = NULL;
	f->req = NULL;
	req->owner = NULL;
	front_release(f);
}

/* Answers over this count as work in hand until the client has taken them, and it has the rest of the request's time for that. */
#define LARGE_ANSWER (128u << 10)

/* The large answer has left, or will not. */
static void front_left(struct front_request *f, bool whole)
{
	struct http_request *r = TAKE(f->http);

	f->leaving = false;
	loop_timer_stop(&f->late);
	flow_hold_end(&f->hold);
	if (whole)
		http_respond_end(r);
	else
		http_respond_abort(r);
	front_release(f);
}

static void front_late(struct loop_timer *t)
{
	front_left(container_of(t, struct front_request, late), false);
}

static struct front_write *front_write_new(struct front_request *);

static void front_respond_large(struct api_request *req, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct front_request *f = req->owner;
	struct http_header *all = arena_new_array(&req->arena, struct http_header, n + 1);

	memcpy(all, h, n * sizeof(*h));
	all[n] = (struct http_header){STR("Content-Length"), arena_sprintf(&req->arena, "%zu", body->n)};
	f->leaving = true;
	f->req = NULL;
	req->owner = NULL;
	loop_timer_start(&f->late, req->al->loop, api_time_left_ms(req), front_late);
	http_respond_start(f->http, status, all, n + 1);
	http_respond_write_take(f->http, body, &front_write_new(f)->w);
}

static void front_respond(struct api_request *req, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct front_request *f = req->owner;

	if (body->n >= LARGE_ANSWER && !str_eqc(req->method, "HEAD") && flow_hold(req, &f->hold)) {
		front_respond_large(req, status, h, n, body);
		return;
	}
	http_respond_take(f->http, status, h, n, body);
	front_ended(req);
}

static void front_begin(struct api_request *req, int status, const struct http_header *h, size_t n)
{
	struct front_request *f = req->owner;

	req->http_status = status;
	http_respond_start(f->http, status, h, n);
	audit_event(req, AUDIT_RESPONSE_STARTED);
}

static void front_written(struct http_write *w, int status)
{
	struct front_write *fw = container_of(w, struct front_write, w);
	struct front_request *f = fw->f;

	(void)status;
	free(fw);
	f->n_writes--;
	if (!f->http)
		front_release(f);
	else if (f->leaving)
		front_left(f, true);
	else if (f->req && f->req->on_drain && !f->req->canceled)
		f->req->on_drain(f->req);
}

static struct front_write *front_write_new(struct front_request *f)
{
	struct front_write *fw = xcalloc(1, sizeof(*fw));

	fw->f = f;
	fw->w.done = front_written;
	f->n_writes++;
	return fw;
}

static void front_write(struct api_request *req, struct str chunk)
{
	struct front_request *f = req->owner;

	http_respond_write(f->http, chunk, &front_write_new(f)->w);
}

static size_t front_queued(struct api_request *req)
{
	struct front_request *f = req->owner;

	return http_request_queued_bytes(f->http);
}

static void front_end(struct api_request *req)
{
	struct front_request *f = req->owner;

	audit_event(req, AUDIT_RESPONSE_COMPLETE);
	http_respond_end(f->http);
	front_ended(req);
}

static void front_abort(struct api_request *req)
{
	struct front_request *f = req->owner;

	audit_event(req, AUDIT_RESPONSE_COMPLETE);
	http_respond_abort(f->http);
	front_ended(req);
}

static struct stream *front_upgrade(struct api_request *req, const struct http_header *h, size_t n, struct err *e)
{
	struct front_request *f = req->owner;
	struct stream *s = http_upgrade(f->http, h, n, e);

	if (s) {
		flow_release(req); /* a connection lasts as long as it likes */
		req->http_status = 101;
		audit_event(req, AUDIT_RESPONSE_STARTED);
		front_ended(req);
	}
	return s;
}

static void front_body(struct http_request *r, int status, struct str body)
{
	struct front_request *f = r->user;

	if (status == -ERR_CANCELED)
		return; /* on_cancel comes too */
	f->body_here = true;
	f->req->body = body;
	if (status == -ERR_TOO_LARGE)
		api_fail(f->req, ERR_TOO_LARGE, "Request entity too large: limit is %u", API_MAX_BODY);
	else if (status != 0)
		api_fail(f->req, (enum err_code)-status, "the request's body broke off");
	api_request_resume(f->req);
}

static bool front_read_body(struct api_request *req)
{
	struct front_request *f = req->owner;

	if (!f->http->has_body || f->body_here)
		return true;
	if (!f->body_asked)
		http_request_body(f->http, API_MAX_BODY, front_body);
	f->body_asked = true;
	return false;
}

static void front_body_data(struct http_request *r, struct str bytes, bool end)
{
	struct front_request *f = r->user;

	if (f->req && f->req->on_body && !f->req->canceled)
		f->req->on_body(f->req, bytes, end);
}

static bool front_stream_body(struct api_request *req)
{
	struct front_request *f = req->owner;

	if (!f->http->has_body || f->body_asked)
		return false;
	http_request_read_start(f->http, front_body_data);
	return true;
}

static void front_hold_body(struct api_request *req, bool hold)
{
	struct front_request *f = req->owner;

	if (hold)
		http_request_read_stop(f->http);
	else
		http_request_read_start(f->http, front_body_data);
}

static const struct api_responder front_responder = {
		.respond = front_respond,
		.begin = front_begin,
		.write = front_write,
		.queued = front_queued,
		.end = front_end,
		.abort = front_abort,
		.upgrade = front_upgrade,
		.read_body = front_read_body,
		.stream_body = front_stream_body,
		.hold_body = front_hold_body,
};

static void front_cancel(struct http_request *r)
{
	struct front_request *f = r->user;

	if (f && f->req)
		api_request_cancel(f->req);
	else if (f && f->leaving)
		front_left(f, false);
	else
		http_respond_abort(r);
}

/* What is served beside the API knows nothing of front proxies: to it their certificates are nobody's. */
static bool serve_extra(struct apiserver *srv, struct http_request *r)
{
	bool verified = r->peer_verified;

	if (!srv->cfg.extra)
		return false;
	r->peer_verified = verified && r->peer && authn_is_ours(srv->authn, r->peer);
	if (srv->cfg.extra(srv->cfg.extra_arg, r))
		return true;
	r->peer_verified = verified;
	return false;
}

static bool serve_well(struct apiserver *srv, struct http_request *r)
{
	bool well;

	if (!str_eqc(r->path, APISERVER_WELL_PATH) || !str_eqc(r->method, "GET"))
		return false;
	well = api__is_well(srv);
	http_respond(r, well ? 200 : 500, NULL, 0, well ? STR("ok") : STR("not ready"));
	return true;
}

static void front_request(struct http_handler *h, struct http_request *r)
{
	struct api_loop *al = container_of(h, struct api_loop, http_handler);
	struct front_request *f;
	struct api_request *req;

	if (serve_well(al->srv, r) || serve_extra(al->srv, r))
		return;
	f = xcalloc(1, sizeof(*f));
	req = api_request_new(al, &front_responder, f);

	f->http = r;
	f->req = req;
	r->user = f;
	r->on_cancel = front_cancel;
	req->method = r->method;
	req->target = r->target;
	req->headers = r->headers;
	req->remote = r->remote;
	req->peer = r->peer_verified ? r->peer : NULL;
	req->bad_peer = r->peer && !r->peer_verified;
	apiserver_handle(req);
}

int api__front_open(struct api_loop *al, const struct http_server_config *cfg, struct err *e)
{
	al->http_handler.on_request = front_request;
	return http_server_new(al->loop, cfg, &al->http_handler, &al->http, e);
}
