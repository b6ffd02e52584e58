/*
 * Whether a node is under pressure, what is to be done about it, and which pod has to go: pure. pressure.c observes and does.
 *
 *	observations --eviction_judge()--> conditions, a threshold to act on
 *	pods and what they use --eviction_rank()--> the order in which they are evicted
 *	a pod and what it uses --eviction_excess()--> it takes more of the disk than it may
 *
 * The algorithms, the texts and the reasons are upstream's.
 */
#ifndef KUBELET_EVICTION_H
#define KUBELET_EVICTION_H

#include "base/arena.h"
#include "orchestrator/kubelet/eviction-config.h"
#include "proto/core.pb-c.h"

enum node_pressure { PRESSURE_MEMORY, PRESSURE_DISK, PRESSURE_PID, N_PRESSURES };

/* How much there is of what a signal is about. capacity 0: not known, no threshold is met. */
struct observation {
	int64_t available, capacity;
};

/* What is remembered from one look to the next. All zero: nothing yet. Times are of a monotonic clock. */
struct eviction_state {
	bool met[2 * N_SIGNALS];       /* by the index of the threshold: until what it wants reclaimed is there, too */
	int64_t since_ms[2 * N_SIGNALS];
	int64_t last_ms[N_PRESSURES];  /* when a condition was met last; 0: never */
};

struct eviction_look {
	bool pressure[N_PRESSURES];
	const struct threshold *why[N_PRESSURES]; /* what is met now; NULL: the condition only lasts */
	const struct threshold *act;              /* NULL: nothing is to be done */
};

void eviction_judge(const struct eviction_cfg *, struct eviction_state *, const struct observation *, int64_t now_ms, struct eviction_look *ret);
/* Is it met, with what it wants reclaimed on top? */
bool eviction_lacks(const struct threshold *, const struct observation *);

enum node_pressure signal_pressure(enum signal);
/* "memory", "ephemeral-storage", "inodes", "pids" */
const char *signal_resource(enum signal);

/* What one container of a pod uses. */
struct container_use {
	const char *name;
	int64_t memory;           /* working set */
	int64_t layer, layer_inodes, logs;
};
/* A directory of the pod's own on the node's disk: an emptyDir. */
struct volume_use {
	const char *name;
	int64_t bytes, inodes;
};
struct pod_use {
	const Core__Pod *pod; /* with the resources that it was given */
	bool known;           /* the runtime tells what it uses */
	const struct container_use *c;
	size_t n_c;
	const struct volume_use *v;
	size_t n_v;
	int64_t processes;
};

/* In the order in which they are evicted: indexes, in the arena. images_apart: images and writable layers have a disk of their own. */
size_t *eviction_rank(struct arena *, enum signal, bool images_apart, const struct pod_use *, size_t n);
/* Never evicted, nor refused. */
bool pod_is_critical(const Core__Pod *);
/* Why that pod had to go. */
char *eviction_message(struct arena *, const struct threshold *, const struct observation *, const struct pod_use *);

/* A limit of an emptyDir, the pod or a container is exceeded: the message. NULL: none. */
char *eviction_excess(struct arena *, const struct pod_use *);
/* The pod has such limits: what it uses is worth measuring. */
bool pod_limits_storage(const Core__Pod *);

/* Why a new pod is not taken: "The node had condition: [DiskPressure]. "; NULL: it is. */
char *eviction_refuses(struct arena *, const bool pressure[N_PRESSURES], const Core__Pod *);

/* The condition of the Node: its type, reason and message; event is what `kubectl describe node` calls the change. */
struct pressure_text {
	const char *type, *reason, *message, *event;
};
const struct pressure_text *pressure_text(enum node_pressure, bool on);
/* "1Gi" */
char *eviction_quantity(struct arena *, int64_t);

#endif
