/* A claim that is being deleted goes when no pod uses it any more, a volume when no claim has it. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/volume_match.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

#define CLAIM_PROTECTION "kubernetes.io/pvc-protection"
#define VOLUME_PROTECTION "kubernetes.io/pv-protection"

/* A pod that has ended holds nothing, nor does one that never came to a node. */
static bool uses(struct arena *a, const Core__Pod *p, const char *claim)
{
	bool own;

	if (p->spec == NULL || pb_s(p->spec->node_name)[0] == '\0' ||
			(p->status && (pb_streq(p->status->phase, "Succeeded") || pb_streq(p->status->phase, "Failed"))))
		return false;
	for (size_t i = 0; i < p->spec->n_volumes; i++)
		if (pb_streq(pod_volume_claim(a, p, p->spec->volumes[i], &own), claim))
			return true;
	return false;
}

static bool is_held(const struct informer_obj *o, const char *finalizer)
{
	return o->meta->deletion_timestamp && pb_has_str((const char *const *)o->meta->finalizers, o->meta->n_finalizers, finalizer);
}

static void let_go(struct reconcile *r, enum view_id view, const struct informer_obj *o, const char *finalizer)
{
	void *copy = pb_copy(r->arena, o->msg);
	Meta__ObjectMeta *meta = pb_sub(r->arena, copy, "metadata");

	for (size_t i = meta->n_finalizers; i-- > 0;)
		if (pb_streq(meta->finalizers[i], finalizer))
			pb_remove(meta, "finalizers", i);
	plan_update(r, view, copy);
}

static void reconcile_claim(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CLAIMS, r->ns, r->name);
	struct informer_objs pods = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));

	if (o == NULL || !is_held(o, CLAIM_PROTECTION))
		return;
	for (size_t i = 0; i < pods.n; i++)
		if (uses(r->arena, pods.v[i]->msg, r->name))
			return;
	let_go(r, VIEW_CLAIMS, o, CLAIM_PROTECTION);
}

static void reconcile_volume(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_VOLUMES, NULL, r->name);
	const Core__PersistentVolume *v = o ? o->msg : NULL;

	if (v && is_held(o, VOLUME_PROTECTION) && !(v->status && pb_streq(v->status->phase, "Bound")))
		let_go(r, VIEW_VOLUMES, o, VOLUME_PROTECTION);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;
	struct arena a;
	bool own;

	(void)v;
	arena_init(&a);
	for (size_t i = 0; p->spec && i < p->spec->n_volumes; i++) {
		const char *claim = pod_volume_claim(&a, p, p->spec->volumes[i], &own);

		if (claim)
			enqueue_name(q, o->meta->namespace_, claim);
	}
	arena_fini(&a);
}

const struct controller_row controller_claim_protection = {
	.name = "persistentvolumeclaim-protection-controller",
	.account = "pvc-protection-controller",
	.watches = {{VIEW_CLAIMS, map_self}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_claim,
};

const struct controller_row controller_volume_protection = {
	.name = "persistentvolume-protection-controller",
	.account = "pv-protection-controller",
	.watches = {{VIEW_VOLUMES, map_self}},
	.reconcile = reconcile_volume,
};
