/*
 * What a pod's claims say about where it may run: pure functions over the controllers' view.
 *
 * A bound claim allows the nodes that its volume allows. One whose class waits for its first consumer allows nodes with a volume that
 * would suit, or any, when the class has a provisioner; the scheduler then writes the node that it chose onto the claim and lets the pod
 * wait until the binder has done the rest. Any other claim without a volume stops the pod.
 */
#ifndef ORCHESTRATOR_SCHEDULER_VOLUMES_H
#define ORCHESTRATOR_SCHEDULER_VOLUMES_H

#include <stdbool.h>

#include "base/arena.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/scheduler/snapshot.h"

struct pod_claim {
	const struct informer_obj *o;              /* the claim */
	const Core__PersistentVolume *volume;      /* NULL: not bound yet, it waits for its first consumer */
	const char *selected;                      /* its node, if one was chosen before; NULL: none */
	bool provisioned;                          /* its class can make a volume */
};

struct pod_volumes {
	const struct view *view;
	const char *ns;
	const char *message; /* why no node at all will do; NULL: see the claims */
	struct pod_claim *claims;
	size_t n;
};

struct pod_volumes pod_volumes(const struct view *, const struct informer_obj *pod, struct arena *);
/* NULL when the node is possible, else why not, in upstream's words. */
const char *pod_volumes_filter(const struct pod_volumes *, const struct node_info *);
/* Some claim is not bound: the pod cannot be bound yet, either. */
bool pod_volumes_wait(const struct pod_volumes *);

#endif
