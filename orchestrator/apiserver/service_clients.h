/*
 * struct service_clients: the TLS servers that one loop sends requests on to - webhooks, aggregated API servers -, with their
 * connections kept for the next call, and where a Service leads. A loop's own; api__services makes it.
 *
 *	if (service_resolve(store, &arena, ns, name, 443, &server.address, &e) == 0 && service_client_get(all, &server, &c, &e) == 0)
 *		http_call_start(c->http, &call);        // until service_client_put
 */
#ifndef ORCHESTRATOR_APISERVER_SERVICE_CLIENTS_H
#define ORCHESTRATOR_APISERVER_SERVICE_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct http_client;
struct json;
struct loop;
struct service_clients;
struct store;

struct service_server {
	const char *address;      /* host:port */
	const char *name;         /* which the certificate must have, and the Host header says */
	struct str ca_pem;        /* empty: the system's CAs */
	bool insecure;            /* any certificate will do */
	struct str cert_pem, key_pem; /* who we are; empty: nobody */
	bool http1;               /* as an upgrade needs it */
	unsigned max_connections; /* over HTTP/1.1; 0: http_client's default */
};

/* It stays until it is put back. */
struct service_client {
	struct http_client *http;
	unsigned users;
	bool closed; /* calls end canceled */
};

struct service_clients *service_clients_new(struct loop *, int netns_fd);
/* Close all connections; cb (may be NULL) is called for each server when it is closed. Returns how many. */
unsigned service_clients_close(struct service_clients *, void (*cb)(void *arg), void *arg);
void service_clients_free(struct service_clients *);

int service_client_get(struct service_clients *, const struct service_server *, struct service_client **ret, struct err *);
void service_client_put(struct service_client *);

/* An array of a Service's EndpointSlices, as the local state has them. */
struct json *service_slices(struct store *, struct arena *, struct str ns, struct str name);
/* What Endpoints would say that were made of those slices. */
struct json *service_endpoints_of(struct arena *, const struct json *slices);
/*
 * The address of one who answers for a Service's port, in the arena, as the local state has it. Endpoints (or where there are none, EndpointSlices) are
 * asked themselves: a Service's own address is known on nodes only. ERR_NOT_FOUND: no such Service; ERR_UNAVAILABLE: nobody is ready.
 */
int service_resolve(struct store *, struct arena *, struct str ns, struct str name, int64_t port, const char **ret, struct err *);

#endif
