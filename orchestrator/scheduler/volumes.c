#include "orchestrator/scheduler/volumes.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/volume_match.h"
#include "proto/pb.h"

/* What is the matter with a claim; NULL: it can be taken into account. */
static const char *take_claim(struct pod_volumes *pv, const struct informer_obj *pod, const char *name, bool own, struct arena *a)
{
	const struct informer_obj *o = view_get(pv->view, VIEW_CLAIMS, pv->ns, name), *vo;
	const Core__PersistentVolumeClaim *c = o ? o->msg : NULL;
	struct pod_claim *pc = &pv->claims[pv->n];
	const Storage__StorageClass *class;

	if (c == NULL && own)
		return arena_printf(a, "waiting for ephemeral volume controller to create the persistentvolumeclaim \"%s\"", name);
	if (c == NULL || c->spec == NULL)
		return arena_printf(a, "persistentvolumeclaim \"%s\" not found", name);
	if (own && !owner_is(o->meta, pod))
		return arena_printf(a, "PVC %s/%s was not created for pod %s (pod is not owner)", pv->ns, name, pod->meta->name);
	if (o->meta->deletion_timestamp)
		return arena_printf(a, "persistentvolumeclaim \"%s\" is being deleted", name);
	if (c->status && pb_streq(c->status->phase, "Lost"))
		return arena_printf(a, "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume \"%s\"", name,
				pb_s(c->spec->volume_name));
	*pc = (struct pod_claim){.o = o, .selected = meta_annotation(o->meta, ANN_SELECTED_NODE)};
	if (claim_is_bound(c)) {
		vo = view_get(pv->view, VIEW_VOLUMES, NULL, c->spec->volume_name);
		if (vo == NULL)
			return arena_printf(a, "persistentvolume \"%s\" not found", c->spec->volume_name);
		pc->volume = vo->msg;
	} else if (pb_s(c->spec->volume_name)[0] || !claim_waits_for_consumer(pv->view, c)) {
		return "pod has unbound immediate PersistentVolumeClaims";
	} else {
		class = claim_class(pv->view, c);
		pc->provisioned = !pb_streq(class->provisioner, NO_PROVISIONER);
	}
	pv->n++;
	return NULL;
}

struct pod_volumes pod_volumes(const struct view *view, const struct informer_obj *o, struct arena *a)
{
	struct pod_volumes pv = {.view = view, .ns = arena_strdup(a, pb_s(o->meta->namespace_))};
	const Core__Pod *p = o->msg;

	pv.claims = arena_new_array(a, struct pod_claim, p->spec->n_volumes + 1);
	for (size_t i = 0; pv.message == NULL && i < p->spec->n_volumes; i++) {
		bool own;
		const char *name = pod_volume_claim(a, p, p->spec->volumes[i], &own);

		if (name)
			pv.message = take_claim(&pv, o, name, own, a);
	}
	return pv;
}

static bool pod_names(const struct informer_obj *o, const char *ns, const char *claim)
{
	const Core__Pod *p = o->msg;

	for (size_t i = 0; pb_streq(o->meta->namespace_, ns) && p->spec && i < p->spec->n_volumes; i++) {
		const Core__VolumeSource *s = p->spec->volumes[i]->volume_source;

		if (s && s->persistent_volume_claim && pb_streq(s->persistent_volume_claim->claim_name, claim))
			return true;
	}
	return false;
}

static const char *check_claim(const struct pod_volumes *pv, const struct pod_claim *c, const struct node_info *n)
{
	const Core__PersistentVolumeClaim *claim = c->o->msg;

	if (pb_has_str((const char *const *)claim->spec->access_modes, claim->spec->n_access_modes, "ReadWriteOncePod"))
		LIST_FOR_EACH (np, &n->pods, struct node_pod, link)
			if (pod_names(np->o, pv->ns, c->o->meta->name))
				return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
	if (c->volume)
		return volume_allows_node(c->volume, n->node->msg) ? NULL : "node(s) didn't match PersistentVolume's node affinity";
	/* What was begun is ended: the volume may be on its way. */
	if (c->selected)
		return strcmp(c->selected, n->name) == 0 ? NULL : "node(s) didn't match the node that was selected for a PersistentVolumeClaim";
	if (c->provisioned || volume_find(pv->view, claim, n->node->msg, false))
		return NULL;
	return "node(s) didn't find available persistent volumes to bind";
}

const char *pod_volumes_filter(const struct pod_volumes *pv, const struct node_info *n)
{
	const char *why = NULL;

	for (size_t i = 0; why == NULL && i < pv->n; i++)
		why = check_claim(pv, &pv->claims[i], n);
	return why;
}

bool pod_volumes_wait(const struct pod_volumes *pv)
{
	for (size_t i = 0; i < pv->n; i++)
		if (pv->claims[i].volume == NULL)
			return true;
	return false;
}
