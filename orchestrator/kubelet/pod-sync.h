/*
 * What to do for a pod next: a pure function from what is wanted and what runs to actions.
 *
 *	pod_sync(wanted spec, observed runtime, clock) -> actions, when to look again
 *
 * The worker (pod-look.c) calls it whenever something changed, starts the actions, and calls it again when they are
 * done and a new picture of the runtime is there. A container or the sandbox with an action under way is `busy` and
 * gets no further one. Times are milliseconds of the wall clock, as the runtime's own.
 */
#ifndef KUBELET_POD_SYNC_H
#define KUBELET_POD_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/runtime.h"
#include "proto/core.pb-c.h"

#define CRASH_BACKOFF_MIN_MS 10000
#define CRASH_BACKOFF_MAX_MS 300000
#define CRASH_BACKOFF_RESET_MS 600000 /* a run this long makes it start anew */

/* Delays between restarts of one container. All zero: none so far. */
struct backoff {
	int64_t delay_ms; /* from the end of the last run to the next start; 0: start at once */
};
/* Called when a container is started again after a run from started to finished. */
void backoff_next(struct backoff *, int64_t started_ms, int64_t finished_ms);

enum act_kind {
	ACT_CREATE_SANDBOX, /* attempt; this and the next make the sandbox busy */
	ACT_STOP_SANDBOX,   /* id */
	ACT_REMOVE_SANDBOX, /* id */
	ACT_START,          /* container, attempt */
	ACT_KILL,           /* id, container (-1: not in the spec), why, grace_s */
	ACT_REMOVE,         /* id */
	ACT_RESIZE,         /* all that run with other resources than they were given */
};

struct act {
	enum act_kind kind;
	int container; /* index into sync_in.c; -1: none */
	const char *id;
	uint32_t attempt;
	int64_t grace_s;
	const char *why;
};

/* One container of the spec: the init containers in order, then the others, then the ephemeral ones. */
struct sync_container {
	const Core__Container *spec;
	const char *hash; /* of the spec, as kept in the runtime's annotation */
	bool init;
	bool sidecar; /* an init container with restartPolicy Always */
	bool ephemeral; /* runs once, beside the others; the pod does not depend on it */
	bool busy;
	const char *unhealthy; /* a probe says: kill it; the reason for people */
	int64_t unhealthy_grace_s; /* -1: the pod's */
	bool started;              /* runs and its startup probe passed */
	struct backoff backoff;
	int64_t not_before_ms;  /* the last try to start it failed */
	uint32_t min_attempt;   /* restarts known from elsewhere (the API) */
	/* While it runs: what it runs with, and how it comes to what it was given. */
	const Core__ResourceRequirements *actual;
	enum resize_way resize;
	/* Out: waits for the end of its crash back-off. */
	bool crash_loop;
};

struct sync_in {
	const Core__Pod *pod; /* NULL: nobody wants it */
	const struct rt_pod *rt; /* NULL: nothing of it runs */
	int64_t now_ms;
	bool terminating; /* deleted, or unwanted */
	bool terminal;    /* phase Succeeded or Failed was written: never start anything again */
	bool forget;      /* terminal: the runtime's records may go */
	int64_t grace_s;
	bool sandbox_busy;
	bool ready_to_start; /* volumes are there, the runtime and its network too */
	int64_t sandbox_not_before_ms;
	bool held; /* no container may start in the sandbox yet */
	bool resize_busy;
	bool pod_resize; /* containers run, and the pod's group has other resources than the pod was given as a whole */
	int64_t resize_not_before_ms; /* the last try failed */
	/* Sandboxes and containers that are being stopped or removed by their id. */
	const char *const *busy_ids;
	size_t n_busy_ids;
	struct sync_container *c;
	size_t n_c;
};

struct sync_out {
	struct arena *arena;
	struct act *acts;
	size_t n_acts;
	int64_t wake_ms;  /* 0: nothing to wait for */
	bool all_stopped; /* nothing runs, and nothing will be started */
	bool init_failed; /* an init container failed and may not be tried again */
	bool gone;        /* the runtime has nothing of it any more */
};

void pod_sync(const struct sync_in *, struct sync_out *);

/* restartPolicy with its default. */
const char *pod_restart_policy(const Core__Pod *);
bool container_is_sidecar(const Core__Container *);
/* Whether a container that ended so is to be run again. */
bool container_restarts(const Core__Pod *, const struct sync_container *, int exit_code);
/* Hash of what makes a running container stale: 16 hex digits in the arena. */
const char *container_hash(struct arena *, const Core__Container *);

#endif
