/*
 * What really runs: the kubelet's picture of the runtime's sandboxes and containers, by pod.
 *
 * A relist asks for all sandboxes and containers and then for the details of those that are new or changed; the
 * cost follows change, not size. It is asked for after each of our own actions, by the runtime's events, and by a slow
 * timer as a safety net; requests that come while one runs are joined into one more. `generation` counts finished relists
 * and `runtime_ask` returns the generation that will surely include what has happened before the call: a pod worker
 * decides only on a picture that is newer than its own last action.
 *
 * The labels and annotations are upstream's, so an agent finds the pods that ran before it.
 */
#ifndef KUBELET_RUNTIME_H
#define KUBELET_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "orchestrator/kubelet/cri.h"

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"
#define ANNOT_HASH "io.kubernetes.container.hash"
#define ANNOT_RESTARTS "io.kubernetes.container.restartCount"
#define ANNOT_MESSAGE_PATH "io.kubernetes.container.terminationMessagePath"
#define ANNOT_MESSAGE_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define ANNOT_GRACE "io.kubernetes.pod.terminationGracePeriod"

enum rt_state { RT_CREATED, RT_RUNNING, RT_EXITED, RT_UNKNOWN };

struct rt_container {
	char *id, *name, *sandbox_id;
	char *image;     /* as the runtime names it */
	char *image_ref; /* digest or id */
	char *hash;      /* of the spec it was made from */
	char *reason, *message, *log_path;
	char *term_message; /* once it has exited */
	char *message_path, *message_policy;
	uint32_t attempt;
	enum rt_state state;
	int64_t created_ns, started_ns, finished_ns;
	int exit_code;
};

struct rt_sandbox {
	char *id;
	uint32_t attempt;
	bool ready;
	int64_t created_ns;
	char *ip; /* "" on the host's network */
	bool known; /* its details were told */
};

struct rt_pod {
	char *uid, *ns, *name;
	struct rt_sandbox **sandboxes; /* newest first */
	size_t n_sandboxes;
	struct rt_container **containers; /* newest first */
	size_t n_containers;
	bool changed; /* the cache's own: something of it is new in the relist that runs */
	bool unsure;  /* something is listed whose details could not be had: they are asked for again soon */
};

struct runtime;
struct runtime_user {
	/* The pod's picture changed; pod is NULL when nothing of it is left. */
	void (*changed)(struct runtime_user *, const char *uid, const struct rt_pod *pod);
	/* A relist is over: `generation` is reached. */
	void (*listed)(struct runtime_user *, uint64_t generation);
};

struct runtime *runtime_new(struct loop *, struct cri *, struct runtime_user *);
void runtime_close(struct runtime *, void (*closed)(void *arg), void *arg);
/* Relist as soon as possible; returns the generation that includes everything up to now. */
uint64_t runtime_ask(struct runtime *);
uint64_t runtime_generation(const struct runtime *);
const struct rt_pod *runtime_pod(const struct runtime *, const char *uid);
/* All pods; values are struct rt_pod *. */
const struct map *runtime_pods(const struct runtime *);

/* The newest container of that name in that sandbox (NULL: in any), or NULL. */
const struct rt_container *rt_find(const struct rt_pod *, const char *name, const char *sandbox_id);
/* The newest one before `c` of the same name. */
const struct rt_container *rt_previous(const struct rt_pod *, const struct rt_container *c);

#endif
