/*
 * A server with pages for every need, and a client that asks it, in one of four modes.
 *
 *	EACH_MODE(m)
 *	{
 *		site_open(&s, m);
 *		get_init(&g, "GET", "/query?x");
 *		run(&s, &g);
 *		ok(&g, 200);
 *		get_fini(&g);
 *		site_close(&s);
 *	}
 */
#ifndef TESTS_UNIT_IO_HTTP_SITE_H
#define TESTS_UNIT_IO_HTTP_SITE_H

#include "base/buf.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"

struct site {
	struct http_handler handler;
	struct http_server *server;
	struct http_client *client;
	struct tls_ctx *stls, *ctls;
	struct http_request *held; /* /hold, /watch and /sink leave it here */
	unsigned canceled, ended_writes, n_requests, n_connections;
	size_t sunk;
	bool sink_end, uploads_read;
	int body_status;
	char address[64];
};

/* HTTP/1.1 and HTTP/2, plain and over TLS. */
enum mode { H1, H2, H1S, H2S, N_MODES };
#define EACH_MODE(m) for (enum mode m = H1; m < N_MODES; m++)

void site_open(struct site *, enum mode);
void site_open_with(struct site *, enum mode, struct http_server_config);
void site_close(struct site *);

/* What reads /sink. */
void sink(struct http_request *, struct str bytes, bool end);

/* For what is closed: counts. */
void on_close(void *);
extern unsigned n_closed;

struct get {
	struct http_call c;
	unsigned n_done;
	struct err why;
	struct buf streamed;
	unsigned n_headers;
};

void get_init(struct get *, const char *method, const char *path);
void get_fini(struct get *);
/* Until it is done. */
void run(struct site *, struct get *);
/* No error, and this status. */
void ok(struct get *, int status);

/* For on_data: collects in `streamed`. */
void on_stream(struct http_call *, struct str bytes);

/* Bytes to the server, and what it answers until it closes. */
struct raw {
	struct stream_user user;
	struct stream_connect connect;
	struct stream *s;
	struct buf got;
	bool ended;
};

void raw_open(struct raw *, struct site *);
void raw_close(struct raw *);
/* What raw_open reads with. */
void raw_data(struct stream_user *, struct stream *, struct str bytes);
void raw_end(struct stream_user *, struct stream *, const struct err *);

#endif
