/*
 * What the requests that are passed on to somebody else share: where a node's kubelet is, and clients to it.
 */
#ifndef ORCHESTRATOR_APISERVER_BACKEND_H
#define ORCHESTRATOR_APISERVER_BACKEND_H

#include "orchestrator/apiserver/request.h"

struct http_client;

/* An object's document by name; 404 when there is none. */
enum step_result backend_object(struct api_request *, const char *plural, struct str ns, struct str name, struct json **ret);
/* host:port of the node's kubelet. */
enum step_result backend_kubelet_address(struct api_request *, const struct json *node, const char **ret);
/* The loop's client to that kubelet, with this server's certificate. */
enum step_result backend_kubelet_client(struct api_request *, const char *address, struct http_client **ret);
/* s as one segment of a path or value of a query; `path`: several segments, '/' stays. */
void backend_escape(struct buf *, struct str s, bool path);
/* The backend said no: the same status, its text as the message. Outside of a step. */
void backend_refused(struct api_request *, int status, struct str text);
void backend_unreachable(struct api_request *, const struct err *);

#endif
