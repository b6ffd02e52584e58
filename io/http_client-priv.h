/*
 * The inside of the HTTP client. http_client.c has the client and its pool of connections,
 * http_call.c what both protocols share of a call; http_client_h1.c and http_client_h2.c speak one protocol each, behind struct
 * http_client_ops.
 *
 *	start -> waiting --(a connection)--> on a connection --(response complete, error, cancel)-->
 * finished -> done
 *	            ^-----(stale connection, safe to repeat)----/
 *
 * A call leaves its connection when it finishes; done runs in a later turn. A connection is freed
 * in a later turn than the one that closed it.
 */
#ifndef IO_HTTP_CLIENT_PRIV_H
#define IO_HTTP_CLIENT_PRIV_H

#include "io/http-priv.h"
#include "io/http1.h"
#include "io/http_client.h"
#include "io/stream-priv.h"

enum call_flags {
	CALL_RUNNING = 1,
	CALL_FINISHED = 2,   /* done is due */
	CALL_BODY_ENDED = 4, /* all of the request's body was given */
	CALL_PAUSED = 8,
	CALL_RESPONSE_ENDED = 16,
	CALL_DEFERRED = 32,   /* h2: the data source waits for bytes */
	CALL_CHUNKED = 64,    /* h1: the request's body */
	CALL_BODY_SENT = 128, /* nothing of the request is needed any more */
};

struct http_client_conn;

struct http_client_ops {
	/* Send the call; it is on conn->calls. */
	void (*submit)(struct http_client_conn *, struct http_call *);
	void (*write)(struct http_call *, struct str chunk, struct http_write *w);
	void (*end)(struct http_call *);
	/* The call has left; `whole`: request and response are complete. Its conn is given, for it
	 * has none any more. */
	void (*leave)(struct http_client_conn *, struct http_call *, bool whole);
	void (*pause)(struct http_call *);
	void (*resume)(struct http_call *);
	/* Response bytes were delivered. */
	void (*data)(struct http_client_conn *, struct str bytes);
	void (*drained)(struct http_client_conn *);
	/* The stream ended; calls still on it are failed by the caller. */
	void (*ended)(struct http_client_conn *, const struct err *why);
	void (*free)(struct http_client_conn *);
};
extern const struct http_client_ops http__client_h1_ops, http__client_h2_ops;

struct http_client_conn {
	struct http_client *client;
	struct loop *loop;
	struct list link; /* client->conns */
	struct stream *stream;
	struct stream_user user;
	const struct http_client_ops *ops;
	struct list calls;
	unsigned n_calls, n_served;
	bool h2;
	bool draining;           /* no new calls; closed when the last is over */
	struct loop_timer kick;  /* process or free */
	struct loop_timer timer; /* idle; h2: ping */
	uint64_t idle_since;

	/* h1. */
	struct buf in;
	size_t scanned;
	struct http1_body body;
	bool in_body, keep_alive, busy;

	/* h2. */
	nghttp2_session *session;
	bool in_session;
	uint64_t last_recv, ping_sent;
};

struct http_client {
	struct loop *loop;
	char *address, *server_name, *host;
	int netns_fd;
	struct tls_ctx *tls;
	enum http_proto proto;
	unsigned max_connections;
	uint64_t connect_timeout_ms, idle_timeout_ms, ping_ms;
	bool known, is_h2; /* what the server speaks, once known */
	struct list waiting;
	struct list conns;
	struct list dials;
	unsigned n_conns, n_dials, n_running;
	struct loop_timer assign; /* find connections for those that wait */
	struct loop_timer last;
	bool closing;
	void (*close_cb)(void *arg);
	void *close_arg;
};

static inline bool http__call_on(const struct http_call *c, const struct http_client_conn *k)
{
	return c->conn == k && !(c->flags & CALL_FINISHED);
}

/* The response, as it comes. The user's callbacks are called: afterwards the call may have left its
 * connection. */
void http__call_headers(struct http_call *, int status, int version);
void http__call_data(struct http_call *, struct str bytes);
/* It is complete, or has failed (`e`). */
void http__call_finish(struct http_call *, const struct err *e);
void http__call_fail(struct http_call *, enum err_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Once more on another connection, if that is safe; `untouched`: the server certainly did nothing.
 */
bool http__call_retry(struct http_call *, bool untouched);
void http__call_tell_writers(struct http_call *, bool all);

/* Look for connections for those that wait, in the next turn. */
void http__client_kick_assign(struct http_client *);
/* A call or connection is gone: perhaps it was the last that a closing client waits for. */
void http__client_maybe_last(struct http_client *);
/* The connection that is being made for this call alone is not wanted any more. */
void http__client_drop_dial(struct http_call *);
/* Close the stream, retry or fail the calls on it. */
void http__client_conn_close(struct http_client_conn *, const struct err *why);
/* For a connection whose stream was handed on. */
void http__client_conn_free_later(struct http_client_conn *);
/* A call has left: the connection is idle, or has room. */
void http__client_conn_free_slot(struct http_client_conn *);
void http__client_h2_start(struct http_client_conn *);
/* First value among the call's own headers. */
bool http__call_has_header(const struct http_call *, const char *name);

#endif
