/* A pod's ephemeral volumes: the claim of each, called after pod and volume, owned by the pod, so that it goes with it. */
#include "base/util.h"
#include "orchestrator/controllers/volume_match.h"
#include "proto/pb.h"

static void make_claim(struct reconcile *r, const struct informer_obj *pod, const Core__Volume *v, const char *name)
{
	const Core__PersistentVolumeClaimTemplate *t = v->volume_source->ephemeral->volume_claim_template;
	Core__PersistentVolumeClaim *c = pb_new_of(r->arena, core__persistent_volume_claim, Core__PersistentVolumeClaim);

	if (t == NULL)
		return;
	c->metadata = t->metadata ? pb_copy(r->arena, t->metadata) : pb_new_of(r->arena, meta__object_meta, Meta__ObjectMeta);
	c->metadata->name = name;
	c->metadata->namespace_ = arena_strdup(r->arena, r->ns);
	c->spec = pb_copy(r->arena, t->spec);
	owner_set(r->arena, c, pod, "v1", "Pod");
	plan_create(r, VIEW_CLAIMS, r->ns, c);
}

static void reconcile(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_PODS, r->ns, r->name), *claim;
	const Core__Pod *p = o ? o->msg : NULL;

	for (size_t i = 0; p && p->spec && o->meta->deletion_timestamp == NULL && i < p->spec->n_volumes; i++) {
		bool own;
		const char *name = pod_volume_claim(r->arena, p, p->spec->volumes[i], &own);

		if (!own)
			continue;
		claim = view_get(r->view, VIEW_CLAIMS, r->ns, name);
		if (claim == NULL)
			make_claim(r, o, p->spec->volumes[i], name);
		else if (!owner_is(claim->meta, o))
			plan_event(r, VIEW_PODS, o, "Warning", "FailedBinding",
					"ephemeral volume %s: PVC %s/%s was not created for pod %s (pod is not owner)",
					pb_s(p->spec->volumes[i]->name), r->ns, name, r->name);
	}
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;

	(void)v;
	for (size_t i = 0; p->spec && i < p->spec->n_volumes; i++)
		if (p->spec->volumes[i]->volume_source && p->spec->volumes[i]->volume_source->ephemeral) {
			enqueue_key(q, o->key);
			return;
		}
}

static void map_claim(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)v;
	map_owner(q, o, "Pod");
}

const struct controller_row controller_ephemeral_volume = {
	.name = "ephemeral-volume-controller",
	.account = "ephemeral-volume-controller",
	.component = "ephemeral_volume",
	.watches = {{VIEW_PODS, map_pod}, {VIEW_CLAIMS, map_claim}},
	.reconcile = reconcile,
};
