/*
 * Where a pod should run: pure functions over a snapshot. Filters say which nodes are possible, scores which of
 * these is best; both are tables (decide.c), one row a rule, with the names and messages of upstream's plugins.
 */
#ifndef ORCHESTRATOR_SCHEDULER_DECIDE_H
#define ORCHESTRATOR_SCHEDULER_DECIDE_H

#include "base/arena.h"
#include "orchestrator/scheduler/snapshot.h"
#include "orchestrator/scheduler/volumes.h"

struct decision {
	const struct node_info *node; /* NULL: none fits */
	/* Then why, in upstream's words: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint ...". */
	const char *message;
	unsigned n_feasible;
};

/* `seed` breaks ties between equally good nodes. Texts are in the arena. */
struct decision decide(const struct snapshot *, const struct informer_obj *pod, const struct pod_volumes *, uint64_t seed, struct arena *);

/* Why this one node will not do, NULL when it will. */
const char *decide_why_not(const struct snapshot *, const struct informer_obj *pod, const struct pod_volumes *, const struct node_info *,
		struct arena *);

#endif
