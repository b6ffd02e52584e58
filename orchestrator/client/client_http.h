/*
 * The HTTPS back end of struct client: for agents and commands.
 *
 * All calls share one HTTP/2 connection where the server offers it (watches are streams on it) to one address, which is
 * usually a balancer's (io/balancer.h) on loopback; when that connection breaks, calls fail with ERR_UNAVAILABLE and the
 * next one connects anew. Identity is the TLS context's client certificate or a bearer token.
 */
#ifndef ORCHESTRATOR_CLIENT_CLIENT_HTTP_H
#define ORCHESTRATOR_CLIENT_CLIENT_HTTP_H

#include "base/err.h"

struct client;
struct loop;
struct tls_ctx;

struct client_http_cfg {
	const char *address;     /* "127.0.0.1:6443"; copied */
	const char *server_name; /* to verify instead of the address's host; NULL: that. Copied */
	struct tls_ctx *tls;     /* a reference is taken */
	const char *token;       /* NULL: none; copied */
	const char *user_agent;  /* NULL: "kontiki/VERSION"; copied */
	int netns_fd;            /* > 0: connect inside this namespace */
};

/* Freed by client_close. */
int client_http_new(struct loop *, const struct client_http_cfg *, struct client **ret, struct err *e);

#endif
