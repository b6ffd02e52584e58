/*
 * The status that a pod gets: a pure function from spec, runtime and probe results to a core/v1 PodStatus.
 */
#ifndef KUBELET_POD_STATUS_H
#define KUBELET_POD_STATUS_H

#include "orchestrator/kubelet/pod-sync.h"

struct status_container {
	bool ready;          /* its readiness probe says so (or it has none) */
	const char *reason;  /* why the last start failed: ErrImagePull, CreateContainerConfigError ...; NULL: it did not */
	const char *message;
};

struct status_in {
	const struct sync_in *sync; /* as given to pod_sync, with its results */
	const struct status_container *c; /* the same order */
	const Core__PodStatus *old; /* what the API has; NULL: nothing */
	const char *host_ip;
	int64_t now_s;
	bool all_stopped, init_failed; /* from sync_out */
	const char *phase; /* forced, with reason and message: eviction, deadline; else NULL */
	const char *reason, *message;
	const Core__ResourceRequirements *whole;    /* what the pod's group has of the pod's own resources; NULL: nothing */
	bool refused;              /* never taken: nothing of it is to be told but that */
	bool disrupted;            /* it was ended for the node's sake: a condition says so, with the message */
	const char *resize_reason, *resize_message; /* what is wanted is not allocated; NULL: it is */
	bool resize_began;                          /* what is allocated has not come to all containers yet */
	const char *resize_error;                   /* why not; NULL: no reason yet */
	int64_t resize_generation;                  /* of the pod when it was allocated */
};

/* In the arena; may borrow from all inputs. */
Core__PodStatus *pod_status(struct arena *, const struct status_in *);
/* What we said last, with the conditions of others as the API has them now (NULL: it has no status yet). */
Core__PodStatus *pod_status_merged(struct arena *, const Core__PodStatus *ours, const Core__PodStatus *api);
/* Guaranteed, Burstable or BestEffort. */
const char *pod_qos(const Core__Pod *);
/* Equal but for nothing: by their encodings. */
bool pod_status_equal(const Core__PodStatus *, const Core__PodStatus *);
/* Somebody else says otherwise about what only the kubelet knows: a condition of its own has another status, or is missing. */
bool pod_status_contradicted(const Core__PodStatus *ours, const Core__PodStatus *theirs);
bool pod_phase_is_terminal(const char *phase);

#endif
