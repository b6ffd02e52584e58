/*
 * struct http_client: HTTP/1.1 and HTTP/2 to one address, on one loop, with a pool of connections.
 *
 * HTTP/2 is used when ALPN chose it (TLS) or when asked for (prior knowledge, plain): then all
 * calls share one connection. Else HTTP/1.1 with keep-alive; a call waits for a free connection when
 * max_connections are busy. A call on a kept connection that the server closed before it sent
 * anything is tried once more on a new one when it is safe: nothing of it was sent or the method is
 * idempotent, and its body is not streamed.
 *
 * A call is embedded in its owner's struct. Exactly one done for each http_call_start, never inside
 * a call to this module; the call may be freed or started again in it (after http_call_fini).
 * Response memory lives until http_call_fini.
 *
 *	struct http_call c = {.method = "GET", .path = "/healthz", .done = on_done};
 *	http_call_start(client, &c);
 *	static void on_done(struct http_call *c, const struct err *e)
 *	{
 *		if (e == NULL) use(c->status, buf_str(&c->body_in));
 *		http_call_fini(c);
 *	}
 */
#ifndef IO_HTTP_CLIENT_H
#define IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "io/http.h"
#include "io/loop.h"

struct http_client;
struct http_client_conn;
struct stream;
struct tls_ctx;

enum http_proto {
	HTTP_PROTO_AUTO = 0, /* TLS: what ALPN chose; plain: HTTP/1.1 */
	HTTP_PROTO_1,        /* HTTP/1.1, whatever ALPN chose */
	HTTP_PROTO_2,        /* HTTP/2, also plain (prior knowledge) */
};

struct http_client_config {
	const char *address; /* as in struct stream_connect: "host:port", "unix:/path". Copied */
	int netns_fd;        /* > 0: sockets are made there. Duplicated */
	struct tls_ctx *tls; /* a reference is taken */
	const char *server_name; /* NULL: the host of the address. Copied */
	const char *host; /* Host header and :authority; NULL: from the address ("localhost" for
			     unix). Copied */
	enum http_proto proto;
	unsigned max_connections;    /* HTTP/1.1 connections at one time; 0: 32 */
	uint64_t connect_timeout_ms; /* 0: 10 s */
	uint64_t idle_timeout_ms;    /* kept connections; 0: 60 s */
	uint64_t ping_ms; /* HTTP/2: after so long without a byte, ask; no answer in 15 s breaks it.
			     0: 30 s */
};

int http_client_new(
	struct loop *, const struct http_client_config *, struct http_client **ret, struct err *);
/* Outstanding calls are done with ERR_CANCELED; cb (may be NULL) is the last call. */
void http_client_close(struct http_client *, void (*cb)(void *arg), void *arg);
/* Close idle connections, and others when their calls are over: after a certificate change. */
void http_client_drop_connections(struct http_client *);

#define HTTP_CALL_MAX_BODY (64 << 20) /* default limit for collected response bodies */

struct http_call {
	/* Request. Everything borrowed must live until done. */
	const char *method;
	const char *path; /* with query */
	const struct http_header *headers;
	size_t n_headers;
	struct str body;  /* content-length is added when not empty or for POST, PUT, PATCH */
	bool stream_body; /* the body comes by http_call_write and http_call_end instead */
	bool upgrade;     /* HTTP/1.1 on a connection of its own; headers carry Upgrade. See
			     http_call_take_stream */
	size_t max_body; /* collected response; 0: HTTP_CALL_MAX_BODY. More fails with ERR_TOO_LARGE
			  */
	/* Milliseconds from the start; 0: none (but connecting has its own). */
	uint64_t header_timeout_ms; /* until the response's headers */
	uint64_t timeout_ms;        /* until done */

	/* Optional: status and headers have come (1xx but 101 are skipped). */
	void (*on_headers)(struct http_call *);
	/* Optional: stream the response; NULL: it is collected in body_in. Borrowed bytes. */
	void (*on_data)(struct http_call *, struct str bytes);
	/* e == NULL: the response (whatever its status) is complete. Else what failed;
	 * ->response_begun says how far it came. */
	void (*done)(struct http_call *, const struct err *e);

	/* Response. */
	int status; /* 0 until it came */
	int version;
	struct http_headers response; /* names in lower case */
	struct http_headers trailers;
	struct buf body_in;
	bool response_begun;
	bool sent; /* bytes of the request went out: the server may have acted on it */

	/* Ours while it runs; the arena until http_call_fini. */
	struct arena arena;
	struct list link;
	struct http_client *client;
	struct http_client_conn *conn; /* NULL while it waits for one */
	struct loop_timer timer, header_timer, kick;
	struct err err;
	uint32_t flags;
	unsigned n_tries;
	int32_t stream_id;
	struct buf out;            /* streamed request bytes that have not left */
	size_t out_off;            /* of the whole body: bytes framed */
	uint64_t accepted, framed; /* streamed request bytes in all */
	struct http_write *w_head, **w_tail;
	struct buf held; /* response bytes while paused */
	size_t header_bytes, n_header_cap, n_trailer_cap;
	struct stream *stream;
};

void http_call_start(struct http_client *, struct http_call *);
/* done comes later with ERR_CANCELED. Nothing to do when the call is not running. */
void http_call_cancel(struct http_call *);
bool http_call_running(const struct http_call *);
/* Streamed request body; copied. Allowed at once after the start. `w` may be NULL. */
void http_call_write(struct http_call *, struct str chunk, struct http_write *w);
void http_call_end(struct http_call *);
/* Request bytes that have not left yet. */
size_t http_call_queued_bytes(const struct http_call *);
/* Back-pressure for a streamed response: nothing comes while paused (but done with an error may).
 */
void http_call_pause(struct http_call *);
void http_call_resume(struct http_call *);
/* In or after done, with status 101: the raw stream is the caller's now; it waits for stream_start.
 * Else NULL. A stream that is not taken is closed by http_call_fini. */
struct stream *http_call_take_stream(struct http_call *);
/* Release the response. Not while it runs. Zeroed memory is allowed. */
void http_call_fini(struct http_call *);
/* First value of a response header (any case), or {NULL, 0}. */
static inline struct str http_call_header(const struct http_call *c, const char *name)
{
	return http_header_get(&c->response, name);
}

#endif
