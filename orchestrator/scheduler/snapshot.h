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

struct snapshot {
	struct map nodes;   /* of struct node_info, by name */
	struct map placed;  /* pod uid -> its struct node_info */
};

void snapshot_init(struct snapshot *);
void snapshot_fini(struct snapshot *);
void snapshot_set_node(struct snapshot *, const struct informer_obj *node);
void snapshot_del_node(struct snapshot *, const char *name);
/* The pod counts on `node` from now on (replacing where it counted before). */
void snapshot_place(struct snapshot *, const struct informer_obj *pod, const char *node);
/* It counts nowhere. Absent: fine. */
void snapshot_remove(struct snapshot *, const char *uid);
bool snapshot_has(const struct snapshot *, const char *uid);

/* The effective request: the pod's own, or else the larger of all containers together (and restartable init containers) and each init container;
 * plus overhead. */
struct resources pod_requests(const Core__Pod *);
int64_t resources_extra(const struct resources *, const char *name);

#endif
