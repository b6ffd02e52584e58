/* A Deployment's rollout as one round sees it; shared by deployment.c and deployment_status.c. */
#ifndef ORCHESTRATOR_CONTROLLERS_DEPLOYMENT_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_DEPLOYMENT_PRIV_H

#include "orchestrator/controllers/controller.h"
#include "proto/apps.pb-c.h"
#include "proto/core.pb-c.h"

#define REVISION "deployment.kubernetes.io/revision"
#define REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DESIRED_REPLICAS "deployment.kubernetes.io/desired-replicas"
#define MAX_REPLICAS "deployment.kubernetes.io/max-replicas"
#define CHANGE_CAUSE "kubernetes.io/change-cause"

/* One ReplicaSet of the Deployment. */
struct set {
	const struct informer_obj *o;
	const Apps__ReplicaSet *rs;
	int32_t replicas, want;            /* spec now, and what this round makes of it */
	int32_t actual, ready, available;  /* its status */
	bool deleted;
};

struct rollout {
	struct reconcile *r;
	const struct informer_obj *o;
	const Apps__Deployment *dep;
	const Apps__DeploymentSpec *spec;
	int32_t replicas, max_surge, max_unavailable;
	bool rolling;            /* else Recreate */
	struct set *sets;        /* oldest first, with room for one more */
	size_t n_sets;
	struct set *current;     /* of today's template; NULL: none yet */
	struct set *created;     /* made in this round */
	int64_t revision;        /* of today's template; 0: not known */
	bool meta_changed, complete;
};

/* replicas, rolling, max_surge, max_unavailable from the spec. */
void rollout_limits(struct rollout *);
/* Conditions and numbers; plans a status update when they differ. Sets `complete`. */
void rollout_status(struct rollout *);
/* Templates compared as what they mean: maps in any order. */
bool template_equal(struct arena *, Core__PodTemplateSpec *, Core__PodTemplateSpec *);
/* Bytes that are the same for equal templates. */
struct str template_canonical(struct arena *, const Core__PodTemplateSpec *);

#endif
