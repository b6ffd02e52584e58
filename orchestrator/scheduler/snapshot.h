/*
 * What the scheduler knows of the nodes: for each node what it has, what its pods ask for, which host ports they take.
 *
 * Kept up to date incrementally: a pod counts on its node from the moment the scheduler decides (assumed), before
 * the API shows it. Pods that have ended count no more. Amounts: cpu in thousandths of a core, the rest in units.
 */
#ifndef ORCHESTRATOR_SCHEDULER_SNAPSHOT_H
#define ORCHESTRATOR_SCHEDULER_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"

#define RES_EXTRA_MAX 8

/* Extended resources (example.com/gpu, hugepages-2Mi) by name. */
struct res_extra {
	const char *name;
	int64_t n;
};

struct resources {
	int64_t milli_cpu, memory, ephemeral;
	struct res_extra extra[RES_EXTRA_MAX];
	unsigned n_extra;
};

struct node_pod {
	struct list link;             /* in node_info.pods */
	struct informer_obj *o;
	struct resources req;
};

struct node_info {
	char *name;
	struct informer_obj *node;    /* NULL: pods are there, the node is not (yet or any more) */
	struct resources can, used;   /* allocatable; the sum of requests */
	int64_t max_pods;
	unsigned n_pods;
	struct list pods;             /* of struct node_pod */
};

/* A pod for which others are made to go from a node; it is not there yet, and need not come to it. */
struct nominee {
	struct informer_obj *o;
	char *node;
	struct resources req;
};

struct snapshot {
	struct map nodes;    /* of struct node_info, by name */
	struct map placed;   /* pod uid -> its struct node_info */
	struct map nominees; /* pod uid -> struct nominee; none of them is placed */
};

void snapshot_init(struct snapshot *);
void snapshot_fini(struct snapshot *);
void snapshot_set_node(struct snapshot *, const struct informer_obj *node);
void snapshot_del_node(struct snapshot *, const char *name);
/* The pod counts on `node` from now on (replacing where it counted before). */
void snapshot_place(struct snapshot *, const struct informer_obj *pod, const char *node);
/* It counts nowhere. Absent: fine. */
void snapshot_remove(struct snapshot *, const char *uid);
/* Room is kept for the pod on the node, against those of no higher priority, until it is placed or removed. node "": no longer. */
void snapshot_nominate(struct snapshot *, const struct informer_obj *pod, const char *node);
bool snapshot_has(const struct snapshot *, const char *uid);

/*
 * Trying what would be: a copy of a node that stands in its place in the snapshot, from which pods are taken off and put back. What is made is
 * in the arena; nothing else may be done with the snapshot until the end.
 */
struct node_trial {
	struct node_info node;
	struct node_info *real;
	struct snapshot *s;
};
void node_trial_begin(struct node_trial *, struct snapshot *, struct node_info *real, struct arena *);
/* A pod of the trial's list. */
void node_trial_drop(struct node_trial *, struct node_pod *);
void node_trial_add(struct node_trial *, struct node_pod *);
void node_trial_end(struct node_trial *);

/* The effective request: the pod's own, or else the larger of all containers together (and restartable init containers) and each init container;
 * plus overhead. */
struct resources pod_requests(const Core__Pod *);
int64_t resources_extra(const struct resources *, const char *name);

#endif
