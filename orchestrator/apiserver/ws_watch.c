/*
 * Watches over WebSocket: the same stream of events, one message each. JSON events are text messages, others binary.
 *
 * The watch does not know: its request gets another responder once the connection is upgraded.
 */
#include <stdlib.h>

#include "base/util.h"
#include "io/stream.h"
#include "io/websocket.h"
#include "orchestrator/apiserver/apiserver-priv.h"

#define PROTOCOLS "v1.watch.k8s.io,binary.k8s.io,base64.binary.k8s.io"

struct ws_watch {
	struct api_request *req; /* NULL when it is over */
	struct websocket *ws;
	struct websocket_user user;
	unsigned n_writes; /* whose done is to come: the memory stays */
};

struct ws_write {
	struct stream_write w;
	struct ws_watch *watch;
};

static void release(struct ws_watch *s)
{
	if (!s->req && s->n_writes == 0)
		free(s);
}

static void written(struct stream_write *w, int status)
{
	struct ws_write *ww = container_of(w, struct ws_write, w);
	struct ws_watch *s = ww->watch;

	free(ww);
	s->n_writes--;
	if (s->req && status == 0 && s->req->on_drain && !s->req->canceled)
		s->req->on_drain(s->req);
	else
		release(s);
}

static void over(struct ws_watch *s, int code, const char *reason)
{
	s->req->owner = NULL;
	s->req = NULL;
	websocket_close(s->ws, code, reason);
	release(s);
}

static void send(struct ws_watch *s, struct str event, bool binary)
{
	struct ws_write *ww = xcalloc(1, sizeof(*ww));

	ww->watch = s;
	ww->w.done = written;
	s->n_writes++;
	websocket_send(s->ws, event, binary, &ww->w);
}

/* Frames of a watch, split into events: lines of JSON, or lengths of four bytes. */
static void ws_write(struct api_request *req, struct str chunk)
{
	struct ws_watch *s = req->owner;
	bool binary = req->accept.media >= MEDIA_PROTOBUF;
	struct str line;

	while (chunk.n > 0) {
		if (binary) {
			const unsigned char *p = (const unsigned char *)chunk.p;
			size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

			send(s, str_sub(chunk, 4, 4 + n), true);
			chunk = str_skip(chunk, 4 + n);
		} else {
			str_cut(chunk, '\n', &line, &chunk);
			send(s, line, false);
		}
	}
}

static size_t ws_queued(struct api_request *req)
{
	struct ws_watch *s = req->owner;

	return websocket_queued(s->ws);
}

static void ws_end(struct api_request *req)
{
	over(req->owner, 1000, "");
}

static void ws_abort(struct api_request *req)
{
	over(req->owner, 1001, "");
}

static const struct api_responder ws_responder = {.write = ws_write, .queued = ws_queued, .end = ws_end, .abort = ws_abort};

/* Clients have nothing to say on a watch. */
static void ws_message(struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	(void)u, (void)ws, (void)message, (void)binary;
}

static void ws_closed(struct websocket_user *u, struct websocket *ws, int code, struct str reason)
{
	struct ws_watch *s = container_of(u, struct ws_watch, user);

	(void)ws, (void)code, (void)reason;
	if (s->req)
		api_request_cancel(s->req);
}

bool api__ws_wanted(const struct api_request *req)
{
	return http_header_has_token(&req->headers, "upgrade", "websocket") &&
	       http_header_has_token(&req->headers, "connection", "upgrade");
}

int api__ws_watch(struct api_request *req, struct err *e)
{
	struct http_header h[WEBSOCKET_N_HEADERS];
	struct ws_watch *s;
	struct stream *stream;
	struct str protocol;
	size_t n;

	if (!req->responder->upgrade)
		return err_set(e, ERR_BAD_REQUEST, "this connection cannot be upgraded");
	if (websocket_answer(&req->arena, &req->headers, PROTOCOLS, h, &n, &protocol, e) < 0)
		return -e->code;
	/* The HTTP request's memory goes with the upgrade. */
	req->method = arena_str(&req->arena, req->method);
	req->target = arena_str(&req->arena, req->target);
	req->remote = arena_str(&req->arena, req->remote);
	stream = req->responder->upgrade(req, h, n, e);
	if (!stream)
		return -e->code;
	req->headers = (struct http_headers){NULL, 0};
	req->peer = NULL;
	s = xcalloc(1, sizeof(*s));
	s->req = req;
	s->user.on_message = ws_message;
	s->user.on_close = ws_closed;
	s->ws = websocket_new(stream, false, &s->user, 0);
	req->owner = s;
	req->responder = &ws_responder;
	return 0;
}
