/*
 * The inside of the HTTP server. http_server.c has the server, its connections
 * and timeouts, http_server_req.c what both protocols share of a request; http_server_h1.c and http_server_h2.c speak one protocol each, behind struct
 * http_conn_ops.
 *
 * A request ends for its handler (`over`) and on the wire at different moments: it is freed when
 * both have happened. A connection is freed when its stream is closed or handed on and the last of
 * its requests is gone. Both frees happen in a timer's callback, so that no caller further up the
 * stack holds a dead pointer.
 */
#ifndef IO_HTTP_SERVER_PRIV_H
#define IO_HTTP_SERVER_PRIV_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "io/http1.h"
#include "io/http_server.h"
#include "io/stream-priv.h"

struct http_req;
struct http_conn;

struct http_conn_ops {
	/* Status and headers. content_length -1: unknown. `end`: no body follows. */
	void (*head)(struct http_req *, int status, const struct http_header *, size_t n,
		int64_t content_length, bool end);
	/* Body bytes; copied. */
	void (*body)(struct http_req *, struct str bytes, struct http_write *w);
	void (*body_take)(struct http_req *, struct buf *bytes, struct http_write *w);
	/* The response is complete; trailers may be empty. */
	void (*end)(struct http_req *, const struct http_header *trailers, size_t n);
	void (*abort)(struct http_req *);
	/* The handler took n body bytes, or wants (more of) the body now. */
	void (*consumed)(struct http_req *, size_t n);
	void (*want_body)(struct http_req *);
	size_t (*queued)(const struct http_req *);
	/* The handler has let go. */
	void (*over)(struct http_req *);
	/* The connection is gone: cancel, and tell the writers. */
	void (*dead)(struct http_req *);
	/* New requests are not welcome any more. */
	void (*drain)(struct http_conn *);
	void (*data)(struct http_conn *, struct str bytes);
	void (*drained)(struct http_conn *); /* the stream's queue is empty */
	void (*free)(struct http_conn *);
};
extern const struct http_conn_ops http__h1_ops, http__h2_ops;

struct http_req {
	struct http_request pub; /* first: handlers hold a pointer to it */
	struct http_conn *conn;
	struct list link; /* conn->reqs */
	struct loop_timer kick;

	/* Body. */
	void (*body_done)(struct http_request *, int status, struct str body);
	void (*on_data)(struct http_request *, struct str bytes, bool end);
	size_t body_limit;
	struct buf body;    /* collected for body_done, or not delivered yet */
	size_t kept;        /* bytes of it that the peer's window has not got back */
	bool refuse_body;   /* its announced length is over the limit */
	bool reading;       /* the handler takes body bytes */
	bool body_complete; /* the peer has sent all of it */
	bool end_told;
	uint64_t waiting_since; /* ms; the handler waits for body bytes; 0: it does not */

	/* Response. */
	bool is_head;
	bool head_sent;
	bool no_body;   /* HEAD, 204, 304: bytes are dropped */
	bool over;      /* ended by the handler */
	bool handed;    /* HTTP/2: its head is whole, and it has a handler or an answer */
	bool wire_done; /* nothing of it will be sent or received any more */
	bool cancel_due, cancel_told;

	/* h1. */
	bool http10;
	bool chunked;
	bool bad_length; /* less or more body than its content-length said */
	int64_t left;    /* of the content-length; -1: none */

	/* h2. */
	int32_t stream_id;
	size_t header_bytes, n_header_cap;
	int bad_status; /* answer this instead of calling the handler */
	struct chunk *out_head, **out_tail;
	uint64_t accepted, framed; /* bytes written by the handler, and put into frames */
	uint64_t stuck_at, stuck_since;
	struct http_write *w_head, **w_tail;
	bool eof, deferred, submitted, closed;
	struct http_headers out_trailers;
};

enum http_conn_state { CONN_PREFACE, CONN_HEAD, CONN_BODY, CONN_RESPONSE, CONN_CLOSING };

struct http_conn {
	struct http_server *server;
	struct loop *loop;
	struct stream *stream; /* NULL once closed or handed on */
	struct stream_user user;
	const struct http_conn_ops *ops;
	struct list link; /* server->conns */
	struct list reqs;
	struct tls_peer *peer;
	bool peer_verified;
	char *remote;
	struct loop_timer kick;
	uint64_t idle_since; /* ms; no request under way */
	uint64_t head_since; /* ms; part of a request's head is here; 0: not */
	uint64_t stuck_at, stuck_since;

	/* h1. */
	enum http_conn_state state;
	struct buf in; /* bytes not yet understood */
	size_t scanned;
	struct http1_body body;
	struct http_req *req; /* the one request under way */
	size_t discarded;
	bool keep_alive, expect_continue, busy, paused;

	/* h2. */
	nghttp2_session *session;
	struct buf unwanted;     /* ids (int32_t) of streams that were answered before their body had come */
	struct loop_timer refuse; /* runs when their clients are to be told */
	struct loop_timer flush; /* runs when there is something to frame at the end of the turn */
	bool in_session;
	bool goaway;
	uint64_t resets_since;
	unsigned resets;
};

struct http_server {
	struct loop *loop;
	struct listener *listener; /* NULL once closed */
	struct listener_user user;
	struct http_handler *handler;
	struct http_server_config config; /* defaults filled in; no borrowed pointers */
	struct list conns;
	unsigned n_conns;
	struct loop_timer sweep;
	uint64_t sweep_ms;
	struct http_server_stats stats;
	bool closing;
	uint64_t deadline;
	uint16_t port;
	void (*close_cb)(void *arg);
	void *close_arg;
	struct loop_timer last;
	unsigned date_at; /* the second that `date` shows */
	char date[40];
};

/* Shared by the protocols. */
struct http_req *http__req_new(struct http_conn *);
/* What may not happen inside a call happens in the next turn. */
void http__req_kick(struct http_req *);
/* Hand it to the handler. */
void http__req_dispatch(struct http_req *);
void http__req_body(struct http_req *, struct str bytes);
void http__req_body_end(struct http_req *);
/* The client is gone. */
void http__req_cancel(struct http_req *);
/* Nothing more happens on the wire: free it once the handler is through. */
void http__req_wire_done(struct http_req *);
struct str http__date(struct http_server *);

/* Cancel all requests, close the stream. `flush_ms` > 0: send what is queued first. */
void http__conn_close(struct http_conn *, uint64_t flush_ms);
/* Called when a request is gone or the stream was handed on: frees the connection when nothing is
 * left. */
void http__conn_maybe_free(struct http_conn *);
bool http__h2_start(struct http_conn *);

#endif
