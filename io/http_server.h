/*
 * struct http_server: HTTP/1.1 and HTTP/2 on one loop, over TCP (TLS with ALPN, or plain) or a unix
 * socket.
 *
 * Plain connections speak HTTP/2 when they begin with its preface (prior knowledge). Several
 * servers, one a loop, may share a port with `reuseport`.
 *
 * Life of a request: on_request hands it to the handler; from then on it is the handler's until it
 * is ended, exactly once, by http_respond, http_respond_take, http_respond_end, http_respond_abort
 * or http_upgrade. After that call the request is gone: it must not be touched, and no callback of
 * it comes (but done of an outstanding http_write does). When the client goes away first, on_cancel
 * is called, once, and the handler still has to end the request (http_respond_abort; the others are
 * allowed and send nothing). Callbacks never run inside a call to this module; ending the request
 * inside any callback is allowed.
 *
 *	static void on_request(struct http_handler *h, struct http_request *r)
 *	{
 *		if (!str_eqc(r->path, "/healthz"))
 *			http_respond(r, 404, NULL, 0, STR("not found\n"));
 *		else
 *			http_respond(r, 200, NULL, 0, STR("ok"));
 *	}
 *
 * A watch: http_respond_start(r, 200, headers, n); http_respond_write(r, event, NULL) ...; each
 * chunk leaves by the end of the loop's turn (HTTP/2: with all that its connection writes in it); the
 * writer heeds http_request_queued_bytes and goes on when the last write's done has run.
 */
#ifndef IO_HTTP_SERVER_H
#define IO_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "io/http.h"
#include "io/loop.h"

struct http_server;
struct http_request;
struct stream;
struct tls_ctx;
struct x509_info;

/* Embedded by whoever serves. */
struct http_handler {
	void (*on_request)(struct http_handler *, struct http_request *);
};

#define HTTP_MAX_HEADER_BYTES 65536     /* request line and headers; more is answered 431 */
#define HTTP_MAX_HEADERS 200            /* fields in one message */
#define HTTP_DEFAULT_MAX_BODY (3 << 20) /* http_request_body with limit 0 */
#define HTTP_MAX_STREAMS 250            /* concurrent requests on one HTTP/2 connection */

struct http_server_config {
	/* Where to listen: as in struct listener_config. */
	const char *address;
	int fd;
	int netns_fd;
	bool reuseport;
	/* NULL: everybody. Asked once for each new connection; false closes it. */
	bool (*admit)(struct stream *);
	struct tls_ctx *tls; /* should offer "h2,http/1.1"; a reference is taken */
	/* Milliseconds, 0: the default. */
	uint64_t header_timeout_ms; /* from the first byte (or the connection) to complete headers;
				       10 s */
	uint64_t idle_timeout_ms;   /* connection without a request; 120 s */
	uint64_t body_timeout_ms;   /* no byte of a body that the handler waits for; 60 s */
	uint64_t write_timeout_ms;  /* queued bytes of which none leaves (a stuck reader); 300 s */
	unsigned max_connections;   /* 0: 10000. Further ones are closed */
	unsigned max_streams;       /* requests at a time on one HTTP/2 connection; 0: HTTP_MAX_STREAMS */
	/* A field of responses whose value never comes twice, so that HTTP/2 need not have it remembered; a
	 * literal, NULL: none. */
	const char *once_field;
};

int http_server_new(struct loop *, const struct http_server_config *, struct http_handler *,
	struct http_server **ret, struct err *);
uint16_t http_server_port(const struct http_server *);
/*
 * Stop accepting, tell HTTP/2 clients (GOAWAY), finish the requests under way; what is left after
 * drain_ms is cut (on_cancel). cb (may be NULL) is the last call; the memory is gone after it.
 * Requests still held by handlers are waited for, without a limit: a handler must end them when
 * on_cancel comes.
 */
void http_server_close(struct http_server *, uint64_t drain_ms, void (*cb)(void *arg), void *arg);

struct http_server_stats {
	uint64_t connections_total, requests_total, bytes_in, bytes_out, resets_total;
	unsigned connections, requests; /* now */
};
void http_server_stats(const struct http_server *, struct http_server_stats *);

/* Read-only for handlers, but for the last three members. */
struct http_request {
	/* The request's memory, also for the handler's use; it goes when the request is over. */
	struct arena arena;
	struct str method; /* "GET" */
	struct str target; /* as it came: "/api/v1/pods?watch=1" */
	struct str path;   /* target up to '?', not decoded */
	struct str query;  /* behind '?', not decoded; empty when absent */
	struct str host;   /* Host or :authority */
	struct http_headers headers;
	int version;                  /* 1 or 2 */
	int64_t content_length;       /* -1: unknown (chunked or HTTP/2 without the header) */
	bool has_body;                /* false: the message has no body, and none will come */
	struct str remote;            /* "10.0.0.1:4711" */
	const struct x509_info *peer; /* the client's certificate, verified or not; NULL: none */
	bool peer_verified;           /* it chains to the listener's CA pool */
	bool canceled;                /* the client is gone (on_cancel was or will be called) */

	/* Set by the handler. */
	void (*on_cancel)(struct http_request *);
	void *user;
	struct loop *loop;
};

/*
 * Collect the whole body, at most `limit` bytes (0: the default). done runs once: status 0 and the
 * bytes, in the request's memory; -ERR_TOO_LARGE (answer 413), -ERR_CANCELED (on_cancel comes too).
 * Also for a request without a body. Nothing comes when the request is ended first.
 */
void http_request_body(struct http_request *, size_t limit,
	void (*done)(struct http_request *, int status, struct str body));
/*
 * Stream the body: on_data gets borrowed bytes until stopped; end == true comes once, perhaps with
 * the last bytes. Nothing is read from the peer while stopped. A body that breaks off is told by
 * on_cancel.
 */
void http_request_read_start(
	struct http_request *, void (*on_data)(struct http_request *, struct str bytes, bool end));
void http_request_read_stop(struct http_request *);

/* Whole response; content-length is added (pass none), also date. The body is not sent to HEAD. */
void http_respond(
	struct http_request *, int status, const struct http_header *, size_t n, struct str body);
/* The same, taking the buf's memory: for large bodies. */
void http_respond_take(
	struct http_request *, int status, const struct http_header *, size_t n, struct buf *body);
/* Streamed response: chunked on h1 unless a content-length is given. 1xx statuses are not allowed
 * here. */
void http_respond_start(struct http_request *, int status, const struct http_header *, size_t n);
/* Leaves by the end of the turn. `w` may be NULL. After a cancel the bytes are dropped and done gets
 * -ERR_CANCELED. */
void http_respond_write(struct http_request *, struct str chunk, struct http_write *w);
/* The same, taking the buf's memory (HTTP/2; HTTP/1.1 copies). */
void http_respond_write_take(struct http_request *, struct buf *chunk, struct http_write *w);
/* Response bytes of this request (h1: of the connection) that have not left yet. */
size_t http_request_queued_bytes(const struct http_request *);
void http_respond_end(struct http_request *);
/* Ends with trailers (h2; h1 sends them in the last chunk). May also be the first and only call
 * after http_respond_start. */
void http_respond_end_trailers(struct http_request *, const struct http_header *, size_t n);
/* Break off: h2 resets the stream, h1 closes the connection. The only way to end a canceled or
 * half-sent response badly. */
void http_respond_abort(struct http_request *);
/*
 * h1 only: answer 101 with these headers (Connection: Upgrade is added when absent, Upgrade is the
 * caller's) and take over the connection. The request is over on success; bytes that came already
 * are put back into the stream, which waits for stream_start. NULL with an error when the
 * connection cannot be upgraded (HTTP/2, canceled, has a body): the request is then still the
 * handler's.
 */
struct stream *http_upgrade(
	struct http_request *, const struct http_header *, size_t n, struct err *);

/* First value of that header (any case), or {NULL, 0}. */
static inline struct str http_request_header(const struct http_request *r, const char *name)
{
	return http_header_get(&r->headers, name);
}

#endif
