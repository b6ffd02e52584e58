/* Claims of volumes: one that is being deleted goes when no pod uses it any more. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

#define PROTECTION "kubernetes.io/pvc-protection"

static const char *claim_of(const Core__Volume *v)
{
	const Core__PersistentVolumeClaimVolumeSource *s = v->volume_source ? v->volume_source->persistent_volume_claim : NULL;

	return s ? pb_s(s->claim_name) : "";
}

/* A pod that has ended holds nothing, nor does one that never came to a node. */
static bool uses(const Core__Pod *p, const char *claim)
{
	if (p->spec == NULL || pb_s(p->spec->node_name)[0] == '\0' ||
			(p->status && (pb_streq(p->status->phase, "Succeeded") || pb_streq(p->status->phase, "Failed"))))
		return false;
	for (size_t i = 0; i < p->spec->n_volumes; i++)
		if (strcmp(claim_of(p->spec->volumes[i]), claim) == 0)
			return true;
	return false;
}

static void reconcile_claim(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CLAIMS, r->ns, r->name);
	struct informer_objs pods = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	Core__PersistentVolumeClaim *copy;

	if (o == NULL || o->meta->deletion_timestamp == NULL ||
			!pb_has_str((const char *const *)o->meta->finalizers, o->meta->n_finalizers, PROTECTION))
		return;
	for (size_t i = 0; i < pods.n; i++)
		if (uses(pods.v[i]->msg, r->name))
			return;
	copy = pb_copy(r->arena, o->msg);
	for (size_t i = copy->metadata->n_finalizers; i-- > 0;)
		if (pb_streq(copy->metadata->finalizers[i], PROTECTION))
			pb_remove(copy->metadata, "finalizers", i);
	plan_update(r, VIEW_CLAIMS, copy);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;

	for (size_t i = 0; p->spec && i < p->spec->n_volumes; i++)
		if (claim_of(p->spec->volumes[i])[0] != '\0')
			enqueue_name(q, o->meta->namespace_, claim_of(p->spec->volumes[i]));
}

const struct controller_row controller_claim_protection = {
	.name = "persistentvolumeclaim-protection-controller",
	.account = "pvc-protection-controller",
	.watches = {{VIEW_CLAIMS, map_self}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_claim,
};
