/*
 * Ways to the other nodes' pods, kept in step with the Nodes: for a node on a network that this one shares, a route for its
 * podCIDR through its InternalIP; for any other, an entry of the overlay (net/overlay.h). A node that is gone loses its way.
 */
#ifndef ORCHESTRATOR_AGENT_ROUTES_H
#define ORCHESTRATOR_AGENT_ROUTES_H

#include "base/err.h"

struct informer;
struct routes;

/* Before the informer is started. `self` and `node_ip` are our own node's; borrowed. */
struct routes *routes_start(struct informer *nodes, const char *self, const char *node_ip, struct err *e);
/* The routes stay: the pods go on. After the informer has been stopped. */
void routes_stop(struct routes *);

#endif
