/* The pods behind a Service, as EndpointSlices and Endpoints both tell them. */
#ifndef ORCHESTRATOR_CONTROLLERS_BACKENDS_H
#define ORCHESTRATOR_CONTROLLERS_BACKENDS_H

#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"

struct backend_port {
	const char *name, *protocol, *app_protocol; /* app_protocol may be NULL */
	int32_t port;
};

struct backend {
	const struct informer_obj *o;
	const Core__Pod *pod;
	const char *ip;
	bool ready, serving, terminating;
	const char *hostname; /* NULL: none */
	const char *zone;     /* NULL: unknown */
	struct backend_port *ports; /* those of the service that this pod has */
	size_t n_ports;
};

struct backends {
	struct backend *v; /* by address */
	size_t n;
};

/* The service's pods that have an address and have not ended. In r->arena. */
struct backends backends_of(struct reconcile *r, const struct informer_obj *service);
bool same_ports(const struct backend *, const struct backend *);
/* The keys of the Services that select a pod. */
void map_pod_to_services(struct enqueue *, const struct view *, const struct informer_obj *pod);

#endif
