/*
 * Routes to the other nodes' pods: one for each Node's podCIDR through its InternalIP, which must be on a network that this
 * node shares. Kept in step with the Nodes; a node that is gone loses its route.
 */
#ifndef ORCHESTRATOR_AGENT_ROUTES_H
#define ORCHESTRATOR_AGENT_ROUTES_H

#include "base/err.h"

struct informer;
struct routes;

/* Before the informer is started. `self` is our own node's name; borrowed. */
struct routes *routes_start(struct informer *nodes, const char *self, struct err *e);
/* The routes stay: the pods go on. After the informer has been stopped. */
void routes_stop(struct routes *);

#endif
