/*
 * ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, so that `kubectl rollout undo` can go back.
 *
 * A revision holds a strategic merge patch that sets the template; that of today's template has the highest number. Templates are
 * told apart by a hash over their canonical bytes, which is part of the revision's name.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_REVISIONS_H
#define ORCHESTRATOR_CONTROLLERS_REVISIONS_H

#include "orchestrator/controllers/controller.h"
#include "proto/apps.pb-c.h"

#define REVISION_LABEL "controller-revision-hash"

struct revisions {
	const struct informer_obj **v; /* the owner's, oldest number first */
	size_t n;
	const char *hash, *name;       /* of today's template; its revision exists, or is made by this plan */
};

/* The revision of today's template is made, or gets the highest number; nothing is planned when the owner is going. */
void revisions_sync(struct reconcile *, enum view_id owner_view, const struct informer_obj *owner, const Core__PodTemplateSpec *,
		struct revisions *ret);
/* Those beyond the limit that no pod has go, oldest first. `uses` tells whether a pod has the revision. */
void revisions_trim(struct reconcile *, const struct revisions *, int32_t limit,
		bool (*uses)(const void *arg, const struct informer_obj *revision), const void *arg);

#endif
