/*
 * Preemption: which pods of lower priority would have to go, and from which node, so that a pod that fits nowhere fits. Pure, but that it
 * tries things out in the snapshot and leaves that as it was.
 *
 * On each node all pods of lower priority are taken off; if the pod fits then, as many as possible are put back, those first whose disruption
 * budget would be violated, and the more important before the less. The node is the one that hurts least: fewest violated budgets, then
 * the lowest of the highest priorities, the lowest sum of them, fewest victims, the youngest of the most important victims.
 *
 * Source: "Pod Priority and Preemption" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_SCHEDULER_PREEMPT_H
#define ORCHESTRATOR_SCHEDULER_PREEMPT_H

#include "base/arena.h"
#include "orchestrator/scheduler/snapshot.h"
#include "orchestrator/scheduler/volumes.h"

struct preemption {
	const struct node_info *node;        /* NULL: nobody's going would help */
	const struct informer_obj **victims; /* in the arena; borrowed from the snapshot */
	size_t n;
};

/* Whether the pod may push others out, and is not waiting for some already. */
bool preempt_may(const struct snapshot *, const struct informer_obj *pod);
/* `budgets`: the PodDisruptionBudgets of the pods' namespaces, or all. */
struct preemption preempt(struct snapshot *, const struct informer_obj *pod, const struct pod_volumes *, const struct informer_obj *const *budgets,
		size_t n_budgets, struct arena *);

#endif
