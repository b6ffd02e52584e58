/*
 * What the fronts of HTTP requests share: a call on a request, and being told when what was queued for it has left.
 */
#ifndef ORCHESTRATOR_ETCD_FRONT_H
#define ORCHESTRATOR_ETCD_FRONT_H

#include "orchestrator/etcd/etcd-priv.h"

struct etcd_drain;

struct etcd_front {
	struct etcd_call call;
	struct http_request *http;
	struct etcd_drain *drain; /* on its way */
};

/* In the request's memory; `size` is of the struct that begins with an etcd_front. */
void *front_new(struct etcd_port *, struct http_request *, const struct etcd_method *, const struct etcd_transport *,
		size_t size);
/* What to give to the write of `more` bytes, so that call->on_drain is told: NULL when it need not be. */
struct http_write *front_drain(struct etcd_front *, size_t more);
/* The call is over. */
void front_over(struct etcd_front *);

#endif
