/*
 * Disruption budgets: how many of the pods that a PodDisruptionBudget selects may be taken down by somebody's will.
 *
 * The eviction API counts the status down and notes the pod in disruptedPods, in the transaction that deletes it; the controller counts anew
 * whenever the pods change. A pod that is noted counts as gone until it is seen on its way out, for two minutes at most: so an eviction
 * that the informers do not show yet is not forgotten, and one that never came about does not count for ever.
 *
 * How many pods there should be is what those say that own them: the scale of the Deployment, ReplicaSet, ReplicationController or StatefulSet.
 * A budget whose pods belong to something else has the condition SyncFailed and allows nothing, unless minAvailable is a number.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_DISRUPTION_H
#define ORCHESTRATOR_CONTROLLERS_DISRUPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "proto/policy.pb-c.h"

#define DISRUPTION_TIMEOUT_S 120

/* What the owners of the pods want. */
struct disruption_scale {
	int32_t expected;
	const char *unmanaged;  /* text: a pod without an owner is among them; NULL: none */
	const char *error;      /* NULL: expected is right */
};

struct disruption {
	Policy__PodDisruptionBudgetStatus *status; /* in the arena; conditions and all */
	const char *late;       /* a pod that was to be deleted and was not, or NULL */
	int64_t again_s;        /* look again after so long though nothing changes; 0: need not */
};

/* Whether the budget concerns the pod: an empty selector means all of the namespace, none nothing. */
bool disruption_concerns(const Policy__PodDisruptionBudget *, const Meta__ObjectMeta *pod);
/* Whether what the budget says depends on the owners' scale, not on the number of pods alone. */
bool disruption_wants_scale(const Policy__PodDisruptionBudget *);
/* The status that the budget should have. `pods` are those that it concerns. */
struct disruption disruption_count(struct arena *, const Policy__PodDisruptionBudget *, const struct informer_obj *const *pods, size_t n,
		const struct disruption_scale *, int64_t now_s);
/* Whether the budget's status says that already. */
bool disruption_same(const Policy__PodDisruptionBudget *, const Policy__PodDisruptionBudgetStatus *);
/* Seconds until a pod that somebody meant to end and did not is no target any more: 0 now, -1 it is none that this holds for. */
int64_t disruption_stale_s(const Core__Pod *, int64_t now_s);

#endif
