/* A StatefulSet as one round sees it; shared by statefulset.c and statefulset_status.c. */
#ifndef ORCHESTRATOR_CONTROLLERS_STATEFULSET_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_STATEFULSET_PRIV_H

#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/revisions.h"
#include "proto/apps.pb-c.h"
#include "proto/core.pb-c.h"

struct stateful_pod {
	const struct informer_obj *o;
	int32_t ordinal;
	const char *revision;
	bool going, ended, ready, available;
};

struct stateful {
	struct reconcile *r;
	const struct informer_obj *o;
	const Apps__StatefulSet *set;
	const Apps__StatefulSetSpec *spec;
	struct revisions revisions;
	const char *current_revision;  /* what pods below the partition have */
	int32_t replicas, start, partition, max_unavailable;
	bool parallel, on_delete;
	struct stateful_pod *pods;     /* by ordinal */
	size_t n_pods, n_actions;
};

const char *stateful_claim_name(const struct stateful *, size_t template_index, int32_t ordinal);
/* The claims of a pod that is about to be made; its creation waits for theirs. */
void stateful_create_claims(struct stateful *, int32_t ordinal);
/* persistentVolumeClaimRetentionPolicy: who owns the claims, so that they go with the set or with the pod. */
void stateful_keep_claims(struct stateful *);
void stateful_status(struct stateful *);

#endif
