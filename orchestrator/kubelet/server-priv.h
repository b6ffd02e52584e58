/* Between the files of the kubelet's HTTP server. */
#ifndef KUBELET_SERVER_PRIV_H
#define KUBELET_SERVER_PRIV_H

#include "io/http_server.h"
#include "orchestrator/kubelet/kubelet-priv.h"

/* The request's path behind the route's name, split at slashes and unescaped. */
struct route_args {
	struct kubelet *k;
	const char *part[5];
	size_t n;
};
/* First value of a query parameter, unescaped, in the request's arena; NULL when absent. */
const char *query_get(struct http_request *, const char *name);
/* All values, in order. */
const char **query_all(struct http_request *, const char *name, size_t *ret_n);
/* "1", "true" and the like. */
bool query_bool(struct http_request *, const char *name);
/* Plain text and a newline. */
void respond_text(struct http_request *, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The pod's worker, or NULL after an answer of 404. */
struct pod_worker *find_pod(struct route_args *, struct http_request *);

/* Exactly one of: allowed(arg, request), perhaps later, or an answer of 401, 403 or 503 (server-auth.c). */
void server_auth(struct kubelet *, struct http_request *, void (*allowed)(void *arg, struct http_request *), void *arg);
/* The subresource of the node that a path is, and the verb that a method is there. */
const char *server_auth_subresource(struct str path);
const char *server_auth_verb(struct str method, struct str path);

void serve_logs(struct route_args *, struct http_request *);
void serve_exec(struct route_args *, struct http_request *);
void serve_attach(struct route_args *, struct http_request *);
void serve_port_forward(struct route_args *, struct http_request *);
void serve_run(struct route_args *, struct http_request *);
void serve_metrics(struct route_args *, struct http_request *);
void serve_stats(struct route_args *, struct http_request *);
void serve_volumes(struct route_args *, struct http_request *);

#endif
