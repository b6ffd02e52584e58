/*
 * gRPC over HTTP/2: a client channel, and server framing over struct http_server. Messages are
 * bytes; who speaks protobuf packs and unpacks. Source: the public "gRPC over HTTP2" protocol
 * description.
 *
 * Client. A channel connects when a call needs it; after a failed connect, calls fail at once with
 * UNAVAILABLE until a back-off (100 ms doubling to 5 s, with jitter) is over, unless wait_ready is
 * set: then they wait within their deadline.
 *
 *	struct grpc_call c = {.method = "/runtime.v1.RuntimeService/Version", .timeout_ms = 2000, .done = on_done};
 *	grpc_unary(channel, &c, request);
 *	static void on_done(struct grpc_call *c)
 *	{
 *		if (c->code == GRPC_OK)
 *			unpack(buf_str(&c->message));
 *		grpc_call_fini(c);
 *	}
 *
 * Streams: set on_message, grpc_start, grpc_send any number of times, grpc_close_send; on_message
 * for each answer; done once at the end. As everywhere, done never runs inside a call and comes
 * exactly once.
 *
 * Server. In on_request, when grpc_is_call(req): grpc_accept(req, &s, ...). See below.
 */
#ifndef IO_GRPC_H
#define IO_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/http_server.h"

enum grpc_code {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};
/* "NOT_FOUND"; "UNKNOWN" for codes out of the table. */
const char *grpc_code_name(int code);

#define GRPC_MAX_MESSAGE (16 << 20) /* default limit for one message */

struct grpc_channel;
struct grpc_channel_config {
	const char *address; /* "unix:/run/containerd/containerd.sock", "host:port" */
	int netns_fd;
	struct tls_ctx *tls; /* should offer "h2" */
	const char *server_name;
	size_t max_message;          /* 0: GRPC_MAX_MESSAGE */
	uint64_t connect_timeout_ms; /* 0: 10 s */
};
int grpc_channel_new(
	struct loop *, const struct grpc_channel_config *, struct grpc_channel **ret, struct err *);
/* Outstanding calls are done with CANCELLED; cb (may be NULL) is the last call. */
void grpc_channel_close(struct grpc_channel *, void (*cb)(void *arg), void *arg);

struct grpc_call {
	const char *method;  /* "/package.Service/Method"; must live until done */
	uint64_t timeout_ms; /* deadline, sent as grpc-timeout; 0: none */
	bool wait_ready;     /* wait for a connection instead of failing at once */
	/* Extra metadata; borrowed until done. */
	const struct http_header *metadata;
	size_t n_metadata;
	/* Streams: one message, borrowed. NULL: unary, the one answer is kept in ->message. */
	void (*on_message)(struct grpc_call *, struct str message);
	void (*done)(struct grpc_call *);

	/* Result, valid in done. */
	int code; /* enum grpc_code or what the server said */
	struct str
		status; /* grpc-message, decoded; never NULL-pointed; lives until grpc_call_fini */
	struct buf message; /* unary: the answer */

	/* Ours. */
	struct http_call http;
	struct grpc_channel *channel;
	struct buf in;    /* received frames not given yet */
	struct buf early; /* unary: the request's frame; streams: frames sent before there was a
			     connection */
	struct list link;
	struct loop_timer timer, kick;
	char *status_text;
	char timeout_text[24];
	uint64_t started_ms;
	unsigned flags;
};

/* One request, one answer. The request bytes are copied. */
void grpc_unary(struct grpc_channel *, struct grpc_call *, struct str request);
void grpc_start(struct grpc_channel *, struct grpc_call *);
/* Copied. `w` may be NULL. */
void grpc_send(struct grpc_call *, struct str message, struct http_write *w);
void grpc_close_send(struct grpc_call *);
void grpc_pause(struct grpc_call *);
void grpc_resume(struct grpc_call *);
/* done comes later with CANCELLED. */
void grpc_cancel(struct grpc_call *);
/* Release the result; not while it runs. */
void grpc_call_fini(struct grpc_call *);
/* For code that speaks struct err: 0, or the matching code with "method: message". */
int grpc_call_err(const struct grpc_call *, struct err *);

/*
 * Server side: a call accepted from an http_request. The struct is embedded in the service's own
 * (allocate it in req->arena or outside). It ends with grpc_finish, exactly once, also after
 * on_cancel; then the request is over too. Callbacks never run inside a call to this module.
 *
 *	struct mine { struct grpc_server_call c; ... } *m = arena_new_of(&req->arena, struct mine);
 *	m->c.on_message = ...; m->c.on_half_close = ...; m->c.on_cancel = ...;
 *	grpc_accept(&m->c, req, 0);
 */
struct grpc_server_call {
	/* Set before grpc_accept. */
	void (*on_message)(struct grpc_server_call *, struct str message); /* borrowed */
	void (*on_half_close)(struct grpc_server_call *); /* the client will send no more */
	void (*on_cancel)(struct grpc_server_call
			*); /* the client or its deadline is gone: grpc_finish is still due */

	struct http_request *req;
	uint64_t timeout_ms; /* the client's grpc-timeout; 0: none */
	/* Ours. */
	size_t max_message;
	struct buf in;
	bool started, half_closed, half_close_told, canceled, paused;
	int failed; /* the code to end with, whatever the service says; 0: none */
	bool *gone; /* set when it ends inside its own callback */
	struct loop_timer deadline, kick;
};
/* POST with content-type application/grpc* over HTTP/2. */
bool grpc_is_call(const struct http_request *);
/* max_message 0: GRPC_MAX_MESSAGE. A bad frame or a compressed message is answered by the module
 * and told by on_cancel. */
void grpc_accept(struct grpc_server_call *, struct http_request *, size_t max_message);
/* Headers go out with the first message, or by grpc_server_start. `w` may be NULL. */
void grpc_server_start(struct grpc_server_call *);
void grpc_server_send(struct grpc_server_call *, struct str message, struct http_write *w);
/* The same without a copy: the buf begins with GRPC_HEAD bytes of room, and its memory is taken. */
#define GRPC_HEAD 5
void grpc_server_send_frame(struct grpc_server_call *, struct buf *frame, struct http_write *w);
size_t grpc_server_queued_bytes(const struct grpc_server_call *);
/* Back-pressure on the client's messages. */
void grpc_server_pause(struct grpc_server_call *);
void grpc_server_resume(struct grpc_server_call *);
/* Status in trailers (or trailers-only). The call and its request are over. */
void grpc_finish(struct grpc_server_call *, int code, const char *message);
/* One answer and OK. */
void grpc_finish_unary(struct grpc_server_call *, struct str message);
/* Refuse a request without accepting it. */
void grpc_reject(struct http_request *, int code, const char *message);

/*
 * Frame decoder, shared by both sides and fuzzed: feed bytes, get messages. Returns 0 or
 * -ERR_TOO_LARGE, -ERR_UNIMPLEMENTED (compressed). Bytes of an incomplete message stay in `in`.
 * Stops early, keeping the rest, when the callback returns false.
 */
int grpc_frames(struct buf *in, size_t max_message, struct str bytes,
	bool (*on_message)(void *arg, struct str message), void *arg);

#endif
