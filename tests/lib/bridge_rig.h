/*
 * A bridge (ws_bridge.h) between two socket pairs: the test is the WebSocket client on one and the kubelet's SPDY server on
 * the other. What is read is decoded by the decoders of io/, what is sent is made of bytes here.
 */
#ifndef TESTS_LIB_BRIDGE_RIG_H
#define TESTS_LIB_BRIDGE_RIG_H

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/websocket.h"
#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/ws_bridge.h"

struct bridge_rig {
	struct loop *loop;
	struct api_request req;
	struct http_header headers[8];
	int client, kubelet; /* the test's ends; -1: closed */
	struct stream *ours; /* handed out by the upgrade */
	struct buf protocol; /* what was agreed on */
	bool refused;        /* by the upgrade */
};

static struct stream *bridge_rig_upgrade(struct api_request *req, const struct http_header *h, size_t n, struct err *e)
{
	struct bridge_rig *r = container_of(req, struct bridge_rig, req);

	(void)e;
	for (size_t i = 0; i < n; i++)
		if (str_ieq(h[i].name, STR("sec-websocket-protocol")))
			buf_adds(&r->protocol, h[i].value);
	return r->refused ? NULL : r->ours;
}

/* `target`: path and query; `protocols`: what the client offers. What ws_bridge_start answers. */
static inline int bridge_rig_open(struct bridge_rig *r, const char *target, const char *sub, const char *protocols, bool refused)
{
	static const struct api_responder responder = {.upgrade = bridge_rig_upgrade};
	struct stream *kubelet;
	struct err e = ERR_INIT;
	int pair[2], rc;

	memset(r, 0, sizeof(*r));
	buf_init(&r->protocol, BUF_NO_LIMIT);
	r->refused = refused;
	r->loop = loop_new("bridge");
	arena_init(&r->req.arena);
	r->req.responder = &responder;
	ASSERT(api_target_parse(&r->req.arena, str_from(target), &r->req.path, &r->req.query, &e) == 0);
	r->req.at.sub = str_from(sub);
	r->req.headers = (struct http_headers){r->headers, websocket_call_headers(&r->req.arena, protocols, r->headers)};
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	r->client = pair[1];
	ASSERT(stream_from_fd(r->loop, pair[0], &r->ours, &e) == 0);
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	r->kubelet = pair[1];
	ASSERT(stream_from_fd(r->loop, pair[0], &kubelet, &e) == 0);
	rc = ws_bridge_start(&r->req, ws_bridge_wanted(&r->req), kubelet, &e);
	if (rc < 0)
		stream_close(r->ours, NULL, NULL);
	return rc;
}

static inline void bridge_rig_hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void bridge_rig_close(struct bridge_rig *r)
{
	bridge_rig_hang_up(&r->client);
	bridge_rig_hang_up(&r->kubelet);
	for (int i = 0; i < 8; i++)
		loop_turn(r->loop, 0);
	loop_free(r->loop);
	arena_fini(&r->req.arena);
	buf_fini(&r->protocol);
}

/* A masked frame with a mask of zeros. */
static inline void bridge_rig_frame(struct buf *out, int opcode, struct str payload)
{
	buf_add1(out, (char)(0x80 | opcode));
	if (payload.n < 126) {
		buf_add1(out, (char)(0x80 | payload.n));
	} else {
		ASSERT(payload.n < 65536);
		buf_add1(out, (char)(0x80 | 126));
		buf_add1(out, (char)(payload.n >> 8));
		buf_add1(out, (char)payload.n);
	}
	buf_add(out, "\0\0\0\0", 4);
	buf_adds(out, payload);
}

static inline void bridge_rig_spdy_data(struct buf *out, uint32_t id, struct str bytes, bool end)
{
	char head[8] = {(char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id, (char)end, (char)(bytes.n >> 16), (char)(bytes.n >> 8),
			(char)bytes.n};

	buf_add(out, head, sizeof(head));
	buf_adds(out, bytes);
}

#endif
