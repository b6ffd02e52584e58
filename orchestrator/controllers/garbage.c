/*
 * Garbage collection along ownerReferences, over the kinds of the view.
 *
 * An object whose owners are all gone is deleted; one that lost only some loses those references. Foreground deletion: an
 * owner with the finalizer foregroundDeletion waits until its blocking dependents are gone. Orphaning: an owner with
 * the finalizer orphan lets its dependents go first. An owner that the cache does not show is looked up in the API before
 * anything is deleted, because one cache may run ahead of another. Owners of other kinds count as present.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/pb.h"

#define FOREGROUND "foregroundDeletion"
#define ORPHAN "orphan"

static bool has_finalizer(const Meta__ObjectMeta *m, const char *name)
{
	return pb_has_str((const char *const *)m->finalizers, m->n_finalizers, name);
}

/* The owner as the cache has it, or NULL; *ret_view is VIEW_N when its kind is not ours to judge. */
static const struct informer_obj *owner_get(struct reconcile *r, const struct informer_obj *o, const Meta__OwnerReference *ref,
		enum view_id *ret_view)
{
	enum view_id id = view_of_kind(pb_s(ref->api_version), pb_s(ref->kind));
	const char *ns = id == VIEW_NODES || id == VIEW_NAMESPACES ? NULL : o->meta->namespace_;
	const struct informer_obj *owner = id == VIEW_N ? NULL : view_get(r->view, id, ns, pb_s(ref->name));

	*ret_view = id;
	return owner && pb_streq(owner->meta->uid, ref->uid) ? owner : NULL;
}

/* The object without its references to the owners in `gone`. */
static void drop_refs(struct reconcile *r, enum view_id id, const struct informer_obj *o, const char *const *gone, size_t n_gone)
{
	ProtobufCMessage *copy = pb_copy(r->arena, o->msg);
	Meta__ObjectMeta *meta = pb_sub(r->arena, copy, "metadata");

	for (size_t i = meta->n_owner_references; i-- > 0;)
		if (pb_has_str(gone, n_gone, pb_s(meta->owner_references[i]->uid)))
			pb_remove(meta, "owner_references", i);
	plan_update(r, id, copy);
}

static void remove_finalizer(struct reconcile *r, enum view_id id, const struct informer_obj *o, const char *name)
{
	ProtobufCMessage *copy = pb_copy(r->arena, o->msg);
	Meta__ObjectMeta *meta = pb_sub(r->arena, copy, "metadata");

	for (size_t i = meta->n_finalizers; i-- > 0;)
		if (pb_streq(meta->finalizers[i], name))
			pb_remove(meta, "finalizers", i);
	plan_update(r, id, copy);
}

/* As a dependent: are my owners still there? */
static bool judge_dependent(struct reconcile *r, enum view_id id, const struct informer_obj *o)
{
	const char **gone = arena_new_array(r->arena, const char *, o->meta->n_owner_references + 1);
	size_t n_gone = 0, n_here = 0;
	bool foreground = false;

	if (o->meta->deletion_timestamp != NULL)
		return false;
	for (size_t i = 0; i < o->meta->n_owner_references; i++) {
		const Meta__OwnerReference *ref = o->meta->owner_references[i];
		enum view_id owner_view;
		const struct informer_obj *owner = owner_get(r, o, ref, &owner_view);

		if (owner && owner->meta->deletion_timestamp && has_finalizer(owner->meta, FOREGROUND))
			foreground = true;
		else if (owner || owner_view == VIEW_N)
			n_here++;
		else
			gone[n_gone++] = pb_s(ref->uid);
		if (!owner && owner_view != VIEW_N)
			plan_expect_absent(r, owner_view,
					owner_view == VIEW_NODES || owner_view == VIEW_NAMESPACES ? NULL : o->meta->namespace_,
					arena_strdup(r->arena, pb_s(ref->name)), arena_strdup(r->arena, pb_s(ref->uid)));
	}
	if (n_gone == 0 && !foreground)
		return false;
	plan_stage(r);
	if (n_here > 0 && n_gone > 0)
		drop_refs(r, id, o, gone, n_gone);
	else if (n_here == 0)
		plan_delete(r, id, o, -1, foreground && n_gone == 0 ? "Foreground" : "Background");
	return true;
}

/* As an owner on its way out: what about my dependents? */
static void judge_owner(struct reconcile *r, enum view_id id, const struct informer_obj *o)
{
	bool foreground = has_finalizer(o->meta, FOREGROUND), orphan = has_finalizer(o->meta, ORPHAN);
	const char *uid = pb_s(o->meta->uid);
	size_t n = 0;

	if (o->meta->deletion_timestamp == NULL || (!foreground && !orphan))
		return;
	for (int v = 0; v < VIEW_N; v++) {
		struct informer_objs deps = informer_index_get(r->view->by_any_owner[v], str_from(uid));

		n += deps.n;
		for (size_t i = 0; orphan && i < deps.n; i++)
			drop_refs(r, (enum view_id)v, deps.v[i], &uid, 1);
	}
	if (orphan) {
		plan_stage(r);
		remove_finalizer(r, id, o, ORPHAN);
	} else if (n == 0) {
		remove_finalizer(r, id, o, FOREGROUND);
	}
}

static void reconcile_garbage(struct reconcile *r)
{
	struct str view_text, key;
	uint64_t id;
	const struct informer_obj *o;

	if (!str_cut(str_from(r->key), ':', &view_text, &key) || !str_to_u64(view_text, &id) || id >= VIEW_N)
		return;
	o = informer_get_key(r->view->inf[id], key);
	if (o == NULL)
		return;
	if (!judge_dependent(r, (enum view_id)id, o))
		judge_owner(r, (enum view_id)id, o);
}

static void enqueue_obj(struct enqueue *q, enum view_id id, const struct informer_obj *o)
{
	char key[600];
	int n = snprintf(key, sizeof(key), "%d:%.*s", (int)id, STR_FMT(o->key));

	if (n < (int)sizeof(key))
		enqueue_key(q, str_of(key, (size_t)n));
}

static void map_any(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	enum view_id id = view_of(o);
	const struct informer_obj *now = informer_get_key(v->inf[id], o->key);
	bool going = now == NULL || now->meta->deletion_timestamp != NULL || !pb_streq(now->meta->uid, o->meta->uid);

	if (o->meta->n_owner_references > 0 || going)
		enqueue_obj(q, id, o);
	if (!going)
		return;
	for (int k = 0; k < VIEW_N; k++) {
		struct informer_objs deps = informer_index_get(v->by_any_owner[k], str_from(pb_s(o->meta->uid)));

		for (size_t i = 0; i < deps.n; i++)
			enqueue_obj(q, (enum view_id)k, deps.v[i]);
	}
	/* Its owners may wait for it. */
	for (size_t i = 0; i < o->meta->n_owner_references; i++) {
		const Meta__OwnerReference *ref = o->meta->owner_references[i];
		enum view_id ov = view_of_kind(pb_s(ref->api_version), pb_s(ref->kind));
		const struct informer_obj *owner = ov == VIEW_N ? NULL : view_get(v, ov, o->meta->namespace_, pb_s(ref->name));

		if (owner)
			enqueue_obj(q, ov, owner);
	}
}

const struct controller_row controller_garbage = {
	.name = "garbage-collector-controller",
	.watches = {{VIEW_PODS, map_any}, {VIEW_REPLICASETS, map_any}, {VIEW_DEPLOYMENTS, map_any}, {VIEW_SERVICES, map_any},
			{VIEW_ENDPOINTS, map_any}, {VIEW_ENDPOINTSLICES, map_any}, {VIEW_CONFIGMAPS, map_any},
			{VIEW_SERVICEACCOUNTS, map_any}, {VIEW_LEASES, map_any}, {VIEW_NODES, map_any}},
	.reconcile = reconcile_garbage,
	.workers = 16,
};
