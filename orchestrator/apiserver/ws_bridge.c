#include "orchestrator/apiserver/ws_bridge.h"

#include <stdlib.h>

#include "base/util.h"
#include "io/spdy.h"
#include "io/stream.h"
#include "io/websocket.h"
#include "orchestrator/apiserver/attrs.h"

#define V5 "v5.channel.k8s.io"
#define TUNNEL "SPDY/3.1+portforward.k8s.io"
/* A side that has more than this waiting stops the other. */
#define HIGH (256u << 10)
#define CLOSE_CHANNEL 255

enum channel { STDIN, STDOUT, STDERR, ERROR, RESIZE, N_CHANNELS };

struct bridge {
	struct websocket *ws; /* NULL when it is over */
	struct websocket_user ws_user;
	/* One of the two. */
	struct stream *stream;
	struct stream_user stream_user;
	struct spdy *spdy;
	struct spdy_user spdy_user;
	uint32_t ids[N_CHANNELS]; /* 0: the client did not ask for that stream */
	bool ended[N_CHANNELS];
	bool ws_stopped, kubelet_stopped;
	unsigned n_writes; /* whose done is to come: the memory stays */
};

struct bridge_write {
	struct stream_write w;
	struct bridge *b;
	bool to_client;
};

/* --- The end --------------------------------------------------------------------------------------------------------------- */

static void release(struct bridge *b)
{
	if (!b->ws && b->n_writes == 0)
		free(b);
}

static void over(struct bridge *b, int code, const char *why)
{
	struct websocket *ws = TAKE(b->ws);

	if (!ws)
		return;
	websocket_close(ws, code, why);
	if (b->spdy)
		spdy_close(b->spdy);
	else
		stream_close_flushed(b->stream, 1000);
	release(b);
}

/* --- Back-pressure ----------------------------------------------------------------------------------------------------------- */

static void kubelet_flow(struct bridge *b)
{
	bool stop = websocket_queued(b->ws) > HIGH;

	if (stop == b->kubelet_stopped)
		return;
	b->kubelet_stopped = stop;
	if (b->spdy)
		(stop ? spdy_read_stop : spdy_read_start)(b->spdy);
	else
		(stop ? stream_read_stop : stream_read_start)(b->stream);
}

static void client_flow(struct bridge *b)
{
	bool stop = (b->spdy ? spdy_queued(b->spdy) : stream_queued(b->stream)) > HIGH;

	if (stop == b->ws_stopped)
		return;
	b->ws_stopped = stop;
	(stop ? websocket_read_stop : websocket_read_start)(b->ws);
}

static void written(struct stream_write *w, int status)
{
	struct bridge_write *bw = container_of(w, struct bridge_write, w);
	struct bridge *b = bw->b;
	bool to_client = bw->to_client;

	(void)status;
	free(bw);
	b->n_writes--;
	if (!b->ws)
		release(b);
	else if (to_client)
		kubelet_flow(b);
	else
		client_flow(b);
}

static struct stream_write *new_write(struct bridge *b, bool to_client)
{
	struct bridge_write *bw = xcalloc(1, sizeof(*bw));

	bw->b = b;
	bw->to_client = to_client;
	bw->w.done = written;
	b->n_writes++;
	return &bw->w;
}

/* --- Channels and streams ---------------------------------------------------------------------------------------------------- */

static void channel_message(struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	struct bridge *b = container_of(u, struct bridge, ws_user);
	unsigned channel;

	(void)ws, (void)binary;
	if (!b->ws || message.n == 0)
		return;
	channel = (unsigned char)message.p[0];
	message = str_skip(message, 1);
	if (channel == CLOSE_CHANNEL) {
		channel = message.n > 0 ? (unsigned char)message.p[0] : N_CHANNELS;
		if (channel == STDIN && b->ids[STDIN] && !b->ended[STDIN]) {
			b->ended[STDIN] = true;
			spdy_send(b->spdy, b->ids[STDIN], STR_NULL, true, NULL);
		}
		return;
	}
	if ((channel != STDIN && channel != RESIZE) || !b->ids[channel] || b->ended[channel])
		return;
	spdy_send(b->spdy, b->ids[channel], message, false, new_write(b, false));
	client_flow(b);
}

static void channel_data(struct spdy_user *u, uint32_t id, struct str bytes, bool end)
{
	struct bridge *b = container_of(u, struct bridge, spdy_user);

	for (unsigned c = STDOUT; c <= ERROR && b->ws; c++) {
		char head = (char)c;

		if (b->ids[c] != id || id == 0)
			continue;
		if (bytes.n > 0) {
			websocket_send2(b->ws, str_of(&head, 1), bytes, true, new_write(b, true));
			kubelet_flow(b);
		}
		b->ended[c] |= end;
	}
	/* What the command had to say is said: output and how it went. */
	if (b->ws && b->ended[ERROR] && (!b->ids[STDOUT] || b->ended[STDOUT]) && (!b->ids[STDERR] || b->ended[STDERR]))
		over(b, 1000, "");
}

static void spdy_over(struct spdy_user *u, const struct err *why)
{
	over(container_of(u, struct bridge, spdy_user), why ? 1011 : 1000, why ? "the connection to the node broke" : "");
}

static bool asks_for(const struct api_request *req, const char *what)
{
	struct str v = api_query_get(&req->query, what);

	return v.p && api_query_truth(v);
}

/* The streams that the kubelet waits for, in the order in which kubectl opens them. */
static void open_streams(struct bridge *b, const struct api_request *req)
{
	bool tty = asks_for(req, "tty");

	b->ids[ERROR] = spdy_open(b->spdy, "streamtype", "error");
	if (asks_for(req, "stdin"))
		b->ids[STDIN] = spdy_open(b->spdy, "streamtype", "stdin");
	if (asks_for(req, "stdout"))
		b->ids[STDOUT] = spdy_open(b->spdy, "streamtype", "stdout");
	if (asks_for(req, "stderr") && !tty)
		b->ids[STDERR] = spdy_open(b->spdy, "streamtype", "stderr");
	if (tty)
		b->ids[RESIZE] = spdy_open(b->spdy, "streamtype", "resize");
}

/* --- The tunnel ---------------------------------------------------------------------------------------------------------------- */

static void tunnel_message(struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	struct bridge *b = container_of(u, struct bridge, ws_user);

	(void)ws, (void)binary;
	if (!b->ws || message.n == 0)
		return;
	stream_write(b->stream, message, new_write(b, false));
	client_flow(b);
}

static void tunnel_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	struct bridge *b = container_of(u, struct bridge, stream_user);

	(void)s;
	if (!b->ws)
		return;
	websocket_send(b->ws, bytes, true, new_write(b, true));
	kubelet_flow(b);
}

static void tunnel_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	(void)s;
	over(container_of(u, struct bridge, stream_user), why ? 1011 : 1000, "");
}

static void client_gone(struct websocket_user *u, struct websocket *ws, int code, struct str reason)
{
	(void)ws, (void)code, (void)reason;
	over(container_of(u, struct bridge, ws_user), 1000, "");
}

/* --- Starting -------------------------------------------------------------------------------------------------------------------- */

enum ws_bridge ws_bridge_wanted(const struct api_request *req)
{
	bool forward = str_eqc(req->at.sub, "portforward");

	if (!http_header_has_token(&req->headers, "upgrade", "websocket"))
		return WS_BRIDGE_NONE;
	if (forward)
		return http_header_has_token(&req->headers, "sec-websocket-protocol", TUNNEL) ? WS_BRIDGE_TUNNEL : WS_BRIDGE_NONE;
	return http_header_has_token(&req->headers, "sec-websocket-protocol", V5) ? WS_BRIDGE_CHANNELS : WS_BRIDGE_NONE;
}

void ws_bridge_headers(enum ws_bridge kind, struct http_header out[WS_BRIDGE_N_HEADERS])
{
	out[0] = (struct http_header){STR("Upgrade"), STR("SPDY/3.1")};
	out[1] = (struct http_header){STR("Connection"), STR("Upgrade")};
	out[2] = (struct http_header){STR("X-Stream-Protocol-Version"),
			kind == WS_BRIDGE_TUNNEL ? STR("portforward.k8s.io") : STR("v4.channel.k8s.io")};
}

int ws_bridge_start(struct api_request *req, enum ws_bridge kind, struct stream *kubelet, struct err *e)
{
	struct http_header h[WEBSOCKET_N_HEADERS];
	struct stream *ours = NULL;
	struct str protocol;
	struct bridge *b;
	size_t n;

	if (websocket_answer(&req->arena, &req->headers, kind == WS_BRIDGE_TUNNEL ? TUNNEL : V5, h, &n, &protocol, e) == 0)
		ours = req->responder->upgrade ? req->responder->upgrade(req, h, n, e) : NULL;
	if (!ours) {
		if (!e->code)
			err_set(e, ERR_BAD_REQUEST, "this connection cannot be upgraded");
		stream_close(kubelet, NULL, NULL);
		return -e->code;
	}
	b = xcalloc(1, sizeof(*b));
	b->ws_user.on_message = kind == WS_BRIDGE_TUNNEL ? tunnel_message : channel_message;
	b->ws_user.on_close = client_gone;
	b->ws = websocket_new(ours, false, &b->ws_user, 0);
	if (kind == WS_BRIDGE_TUNNEL) {
		b->stream = kubelet;
		b->stream_user = (struct stream_user){.on_data = tunnel_data, .on_end = tunnel_end};
		stream_start(kubelet, &b->stream_user);
	} else {
		b->spdy_user = (struct spdy_user){channel_data, spdy_over};
		b->spdy = spdy_new(kubelet, &b->spdy_user);
		open_streams(b, req);
	}
	return 0;
}
