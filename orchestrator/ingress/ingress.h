/*
 * struct ingress: this node's part of the Ingresses of class kontiki: what they say is compiled (ingress_routes.h) and served by HAProxy
 * (haproxy.h) on the node's ports, as long as there are any. The node says at its Node that it serves, in an annotation; the controller
 * that fills the Ingresses' status goes by it.
 *
 *	Ingresses, classes, Services, slices, Secrets --gather--> compile --changed?--> haproxy --listens--> annotation
 *
 * Of Secrets only those are read that an Ingress of ours names, one watch each: the API server allows a node no others.
 */
#ifndef ORCHESTRATOR_INGRESS_INGRESS_H
#define ORCHESTRATOR_INGRESS_INGRESS_H

#include "base/err.h"

struct client;
struct informer;
struct ingress;
struct loop;

#define INGRESS_ANNOTATION "kontiki.dev/ingress"

struct ingress_cfg {
	struct loop *loop;
	struct client *client;
	struct informer *services, *slices; /* the agent's; started after us */
	const char *node_name;
	const char *dir;                    /* of its files; made */
	int http_port, https_port;          /* 0: not */
};

/* The cfg is copied, its strings are borrowed until it is stopped. NULL: no. */
struct ingress *ingress_start(const struct ingress_cfg *, struct err *);
/* After the agent's informers have stopped; cb is the last call. */
void ingress_stop(struct ingress *, void (*cb)(void *arg), void *arg);

#endif
