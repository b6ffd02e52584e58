/*
 * The provisioner kontiki.dev/local-path: a volume is a directory on the node that the scheduler chose for the first pod of the claim.
 *
 * Here only the object is made; the node's kubelet makes the directory when a pod comes that wants it, and takes it away when it is told:
 *
 *	claim with a chosen node --> volume, reserved for the claim, bound to the node
 *	volume Released, policy Delete --> DELETE nodes/NODE/proxy/volumes/NAME --> finalizer off --> the object goes
 *
 * The finalizer keeps a volume that somebody deletes by hand until its directory is gone, or, with the policy Retain, lets it go at
 * once and leaves the directory. Of a node that is no more nothing can be taken away.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/volume_match.h"
#include "proto/pb.h"
#include "proto/quantity.pb-c.h"

/* Where the kubelet of a node has its volumes: it says so at its Node. */
#define ANN_FOLDER "kontiki.dev/volumes"
#define FOLDER "/var/lib/kontiki/agent/volumes"

/* --- Making -------------------------------------------------------------------------------------------- */

static void allow_node(struct arena *a, Core__PersistentVolumeSpec *s, const Core__Node *n)
{
	const char *host = pb_map_get(n->metadata->labels, n->metadata->n_labels, "kubernetes.io/hostname");
	Core__NodeSelectorTerm *term = pb_add(a, pb_sub(a, pb_sub(a, s, "node_affinity"), "required"), "node_selector_terms");
	Core__NodeSelectorRequirement *q = pb_add(a, term, "match_expressions");

	q->key = "kubernetes.io/hostname";
	q->operator_ = "In";
	pb_add_str(a, q, "values", host ? host : n->metadata->name);
}

static void make_volume(struct reconcile *r, const Core__PersistentVolumeClaim *c, const Storage__StorageClass *class, const Core__Node *n)
{
	struct arena *a = r->arena;
	Core__PersistentVolume *v = pb_new_of(a, core__persistent_volume, Core__PersistentVolume);
	Meta__ObjectMeta *meta = pb_sub(a, v, "metadata");
	Core__PersistentVolumeSpec *s = pb_sub(a, v, "spec");
	Core__ObjectReference *ref = pb_sub(a, s, "claim_ref");
	Core__LocalVolumeSource *local = pb_sub(a, pb_sub(a, s, "persistent_volume_source"), "local");
	const char *folder = meta_annotation(n->metadata, ANN_FOLDER);
	Core__PersistentVolumeSpec__CapacityEntry *size = pb_add(a, s, "capacity");

	meta->name = arena_printf(a, "pvc-%s", pb_s(c->metadata->uid));
	pb_map_set(a, meta, "annotations", ANN_PROVISIONED_BY, LOCAL_PATH);
	pb_map_set(a, meta, "annotations", ANN_LOCAL_NODE, n->metadata->name);
	pb_add_str(a, meta, "finalizers", LOCAL_PATH);
	size->key = "storage";
	size->value = pb_copy(a, pb_map_get(c->spec->resources->requests, c->spec->resources->n_requests, "storage"));
	local->path = arena_printf(a, "%s/%s", folder ? folder : FOLDER, meta->name);
	for (size_t i = 0; i < c->spec->n_access_modes; i++)
		pb_add_str(a, s, "access_modes", c->spec->access_modes[i]);
	ref->kind = "PersistentVolumeClaim";
	ref->api_version = "v1";
	ref->namespace_ = arena_strdup(a, r->ns);
	ref->name = arena_strdup(a, r->name);
	ref->uid = arena_strdup(a, pb_s(c->metadata->uid));
	s->persistent_volume_reclaim_policy = arena_strdup(a, pb_s(class->reclaim_policy)[0] ? class->reclaim_policy : "Delete");
	s->storage_class_name = arena_strdup(a, class->metadata->name);
	s->volume_mode = "Filesystem";
	allow_node(a, s, n);
	plan_create(r, VIEW_VOLUMES, NULL, v);
}

/* What a directory cannot be; NULL: it can. */
static const char *cannot(const Core__PersistentVolumeClaim *c)
{
	if (pb_streq(c->spec->volume_mode, "Block"))
		return "a directory is no block device: volumeMode must be Filesystem";
	if (c->spec->data_source || c->spec->data_source_ref)
		return "a directory cannot be made from a data source";
	if (c->spec->selector && (c->spec->selector->n_match_labels || c->spec->selector->n_match_expressions))
		return "a claim with a selector is for volumes that are there already";
	if (pb_has_str((const char *const *)c->spec->access_modes, c->spec->n_access_modes, "ReadWriteMany") ||
			pb_has_str((const char *const *)c->spec->access_modes, c->spec->n_access_modes, "ReadOnlyMany"))
		return "a directory is on one node: only ReadWriteOnce and ReadWriteOncePod are possible";
	return NULL;
}

static void provision(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CLAIMS, r->ns, r->name), *node;
	const Core__PersistentVolumeClaim *c = o ? o->msg : NULL;
	const Storage__StorageClass *class = c ? claim_class(r->view, c) : NULL;
	const char *selected = o ? meta_annotation(o->meta, ANN_SELECTED_NODE) : NULL, *name, *why;

	if (c == NULL || class == NULL || o->meta->deletion_timestamp || !pb_streq(class->provisioner, LOCAL_PATH) || c->spec == NULL ||
			c->spec->resources == NULL || !pb_streq(meta_annotation(o->meta, ANN_PROVISIONER), LOCAL_PATH) ||
			pb_s(c->spec->volume_name)[0] || meta_annotation(o->meta, ANN_BIND_COMPLETED))
		return;
	name = arena_printf(r->arena, "pvc-%s", pb_s(o->meta->uid));
	if (view_get(r->view, VIEW_VOLUMES, NULL, name))
		return;
	why = cannot(c);
	if (why == NULL && selected == NULL)
		why = "a node must be chosen first: the class needs volumeBindingMode WaitForFirstConsumer";
	if (why) {
		plan_event(r, VIEW_CLAIMS, o, "Warning", "ProvisioningFailed", "failed to provision volume with StorageClass \"%s\": %s",
				class->metadata->name, why);
		return;
	}
	node = view_get(r->view, VIEW_NODES, NULL, selected);
	if (node == NULL)
		return; /* The binder has it chosen again. */
	make_volume(r, c, class, node->msg);
	plan_event(r, VIEW_CLAIMS, o, "Normal", "ProvisioningSucceeded", "Successfully provisioned volume %s", name);
}

/* --- Taking away --------------------------------------------------------------------------------------- */

static void drop_finalizer(struct reconcile *r, const struct informer_obj *o)
{
	Core__PersistentVolume *copy = pb_copy(r->arena, o->msg);

	for (size_t i = copy->metadata->n_finalizers; i-- > 0;)
		if (pb_streq(copy->metadata->finalizers[i], LOCAL_PATH))
			pb_remove(copy->metadata, "finalizers", i);
	plan_update(r, VIEW_VOLUMES, copy);
}

static void take_away(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_VOLUMES, NULL, r->name);
	const Core__PersistentVolume *v = o ? o->msg : NULL;
	const char *node = o ? pb_s(meta_annotation(o->meta, ANN_LOCAL_NODE)) : "";
	bool ours, going, deletes, released;

	if (v == NULL || v->spec == NULL || !pb_streq(meta_annotation(o->meta, ANN_PROVISIONED_BY), LOCAL_PATH))
		return;
	ours = pb_has_str((const char *const *)o->meta->finalizers, o->meta->n_finalizers, LOCAL_PATH);
	going = o->meta->deletion_timestamp != NULL;
	deletes = pb_streq(v->spec->persistent_volume_reclaim_policy, "Delete");
	released = v->status && pb_streq(v->status->phase, "Released");
	/* While it is bound, its data are somebody's. */
	if ((!going && !(released && deletes)) || (v->status && pb_streq(v->status->phase, "Bound")))
		return;
	if (!ours) {
		if (!going)
			plan_delete(r, VIEW_VOLUMES, o, -1, NULL);
		return;
	}
	if (deletes && view_get(r->view, VIEW_NODES, NULL, node)) {
		plan_call(r, "DELETE", arena_printf(r->arena, "/api/v1/nodes/%s/proxy/volumes/%s", node, r->name));
		plan_stage(r);
	}
	drop_finalizer(r, o);
}

static void reconcile(struct reconcile *r)
{
	if (r->ns[0])
		provision(r);
	else
		take_away(r);
}

const struct controller_row controller_volume_local = {
	.name = "local-path-provisioner",
	.watches = {{VIEW_CLAIMS, map_self}, {VIEW_VOLUMES, map_self}, {VIEW_CLASSES, map_nothing}, {VIEW_NODES, map_nothing}},
	.reconcile = reconcile,
};
