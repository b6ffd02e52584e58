/*
 * Garbage collection along ownerReferences, over the kinds of the view and all custom resources.
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
#include "orchestrator/controllers/customs.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define FOREGROUND "foregroundDeletion"
#define ORPHAN "orphan"

static bool has_finalizer(const Meta__ObjectMeta *m, const char *name)
{
	return pb_has_str((const char *const *)m->finalizers, m->n_finalizers, name);
}

/* Where objects of one kind are: a view, or the metadata of a custom resource. `inf` NULL: nowhere that we see. */
struct source {
	enum view_id view; /* VIEW_N: custom */
	const struct custom_kind *custom;
	const struct informer *inf;
	struct informer_index *by_owner;
};

static struct source source_of_view(const struct view *v, enum view_id id)
{
	if (id == VIEW_N)
		return (struct source){.view = VIEW_N};
	return (struct source){.view = id, .inf = v->inf[id], .by_owner = v->by_any_owner[id]};
}

static struct source source_of_custom(const struct custom_kind *k)
{
	if (!k)
		return (struct source){.view = VIEW_N};
	return (struct source){.view = VIEW_N, .custom = k, .inf = k->inf, .by_owner = k->by_owner};
}

static struct source source_of_kind(const struct view *v, const Meta__OwnerReference *ref)
{
	enum view_id id = view_of_kind(pb_s(ref->api_version), pb_s(ref->kind));

	return id != VIEW_N ? source_of_view(v, id) : source_of_custom(custom_kind_of(v, pb_s(ref->api_version), pb_s(ref->kind)));
}

/* Owners of an object are in its namespace, or in none. */
static const char *owner_namespace(struct source s, const struct informer_obj *o)
{
	bool cluster = s.custom ? !s.custom->res->namespaced : s.view == VIEW_NODES || s.view == VIEW_NAMESPACES;

	return cluster ? NULL : o->meta->namespace_;
}

/* The owner as the cache has it, or NULL; ret->inf is NULL when its kind is not ours to judge. */
static const struct informer_obj *owner_get(struct reconcile *r, const struct informer_obj *o, const Meta__OwnerReference *ref,
		struct source *ret)
{
	const struct informer_obj *owner;

	*ret = source_of_kind(r->view, ref);
	owner = ret->inf ? informer_get(ret->inf, owner_namespace(*ret, o), pb_s(ref->name)) : NULL;
	return owner && pb_streq(owner->meta->uid, ref->uid) ? owner : NULL;
}

/* The object without its references to the owners in `gone`. */
static void drop_refs(struct reconcile *r, struct source s, const struct informer_obj *o, const char *const *gone, size_t n_gone)
{
	struct json *left = json_new_array(r->arena);
	ProtobufCMessage *copy;
	Meta__ObjectMeta *meta;

	if (s.custom) {
		for (size_t i = 0; i < o->meta->n_owner_references; i++)
			if (!pb_has_str(gone, n_gone, pb_s(o->meta->owner_references[i]->uid)))
				json_push(r->arena, left, owner_json(r->arena, o->meta->owner_references[i]));
		plan_patch_list(r, VIEW_N, s.custom->res, o, "ownerReferences", left);
		return;
	}
	copy = pb_copy(r->arena, o->msg);
	meta = pb_sub(r->arena, copy, "metadata");
	for (size_t i = meta->n_owner_references; i-- > 0;)
		if (pb_has_str(gone, n_gone, pb_s(meta->owner_references[i]->uid)))
			pb_remove(meta, "owner_references", i);
	plan_update(r, s.view, copy);
}

static void remove_finalizer(struct reconcile *r, struct source s, const struct informer_obj *o, const char *name)
{
	struct json *left = json_new_array(r->arena);
	ProtobufCMessage *copy;
	Meta__ObjectMeta *meta;

	if (s.custom) {
		for (size_t i = 0; i < o->meta->n_finalizers; i++)
			if (!pb_streq(o->meta->finalizers[i], name))
				json_push(r->arena, left, json_newc(r->arena, o->meta->finalizers[i]));
		plan_patch_list(r, VIEW_N, s.custom->res, o, "finalizers", left);
		return;
	}
	copy = pb_copy(r->arena, o->msg);
	meta = pb_sub(r->arena, copy, "metadata");
	for (size_t i = meta->n_finalizers; i-- > 0;)
		if (pb_streq(meta->finalizers[i], name))
			pb_remove(meta, "finalizers", i);
	plan_update(r, s.view, copy);
}

static void expect_absent(struct reconcile *r, struct source s, const struct informer_obj *o, const Meta__OwnerReference *ref)
{
	const char *ns = owner_namespace(s, o), *name = arena_strdup(r->arena, pb_s(ref->name)), *uid = arena_strdup(r->arena, pb_s(ref->uid));

	if (s.custom)
		plan_expect_absent_of(r, s.custom->res, ns, name, uid);
	else
		plan_expect_absent(r, s.view, ns, name, uid);
}

/* Whoever names an owner in another namespace learns why the object goes: owners are looked for in its own. */
static void tell_if_elsewhere(struct reconcile *r, struct source s, const struct informer_obj *o, struct source of, const Meta__OwnerReference *ref)
{
	if (s.view == VIEW_N)
		return;
	INFORMER_FOR_EACH (other, of.inf) {
		if (!pb_streq(other->meta->uid, pb_s(ref->uid)))
			continue;
		plan_event(r, s.view, o, "Warning", "OwnerRefInvalidNamespace",
				"ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace \"%s\"", pb_s(ref->api_version),
				pb_s(ref->kind), pb_s(o->meta->namespace_), pb_s(ref->name), pb_s(ref->uid), pb_s(o->meta->namespace_));
		return;
	}
}

/* As a dependent: are my owners still there? */
static bool judge_dependent(struct reconcile *r, struct source s, const struct informer_obj *o)
{
	const char **gone = arena_new_array(r->arena, const char *, o->meta->n_owner_references + 1), *how;
	size_t n_gone = 0, n_here = 0;
	bool foreground = false;

	if (o->meta->deletion_timestamp != NULL)
		return false;
	for (size_t i = 0; i < o->meta->n_owner_references; i++) {
		const Meta__OwnerReference *ref = o->meta->owner_references[i];
		struct source of;
		const struct informer_obj *owner = owner_get(r, o, ref, &of);

		if (owner && owner->meta->deletion_timestamp && has_finalizer(owner->meta, FOREGROUND))
			foreground = true;
		else if (owner || !of.inf)
			n_here++;
		else
			gone[n_gone++] = pb_s(ref->uid);
		if (!owner && of.inf) {
			tell_if_elsewhere(r, s, o, of, ref);
			expect_absent(r, of, o, ref);
		}
	}
	if (n_gone == 0 && !foreground)
		return false;
	plan_stage(r);
	how = foreground && n_gone == 0 ? "Foreground" : "Background";
	if (n_here > 0 && n_gone > 0)
		drop_refs(r, s, o, gone, n_gone);
	else if (n_here == 0 && s.custom)
		plan_delete_of(r, s.custom->res, o, how);
	else if (n_here == 0)
		plan_delete(r, s.view, o, -1, how);
	return true;
}

/* Calls fn for every kind that we see. */
static void each_source(const struct view *v, void (*fn)(void *ctx, struct source), void *ctx)
{
	for (int i = 0; i < VIEW_N; i++)
		fn(ctx, source_of_view(v, (enum view_id)i));
	LIST_FOR_EACH (k, &v->customs, struct custom_kind, link)
		fn(ctx, source_of_custom(k));
}

struct orphans {
	struct reconcile *r;
	const char *uid;
	bool orphan;
	size_t n;
};

static void count_dependents(void *ctx, struct source s)
{
	struct orphans *w = ctx;
	struct informer_objs deps = informer_index_get(s.by_owner, str_from(w->uid));

	w->n += deps.n;
	for (size_t i = 0; w->orphan && i < deps.n; i++)
		drop_refs(w->r, s, deps.v[i], &w->uid, 1);
}

/* As an owner on its way out: what about my dependents? */
static void judge_owner(struct reconcile *r, struct source s, const struct informer_obj *o)
{
	bool foreground = has_finalizer(o->meta, FOREGROUND);
	struct orphans w = {r, pb_s(o->meta->uid), has_finalizer(o->meta, ORPHAN), 0};

	if (o->meta->deletion_timestamp == NULL || (!foreground && !w.orphan))
		return;
	each_source(r->view, count_dependents, &w);
	if (w.orphan) {
		plan_stage(r);
		remove_finalizer(r, s, o, ORPHAN);
	} else if (w.n == 0) {
		remove_finalizer(r, s, o, FOREGROUND);
	}
}

/* --- Keys: the number of a view or the name of a definition, a colon, the object's key ---------------------------------- */

static void reconcile_garbage(struct reconcile *r)
{
	struct str text, key;
	uint64_t id;
	const struct informer_obj *o;
	struct source s;

	if (!str_cut(str_from(r->key), ':', &text, &key))
		return;
	if (str_to_u64(text, &id))
		s = source_of_view(r->view, id < VIEW_N ? (enum view_id)id : VIEW_N);
	else
		s = source_of_custom(custom_kind_named(r->view, text));
	o = s.inf ? informer_get_key(s.inf, key) : NULL;
	if (o == NULL)
		return;
	if (!judge_dependent(r, s, o))
		judge_owner(r, s, o);
}

static void enqueue_obj(struct enqueue *q, struct source s, const struct informer_obj *o)
{
	char key[900];
	int n = s.custom ? snprintf(key, sizeof(key), "%s:%.*s", s.custom->name, STR_FMT(o->key))
			 : snprintf(key, sizeof(key), "%d:%.*s", (int)s.view, STR_FMT(o->key));

	if (n < (int)sizeof(key))
		enqueue_key(q, str_of(key, (size_t)n));
}

struct wave {
	struct enqueue *q;
	const char *uid; /* NULL: whatever has owners */
};

static void enqueue_dependents(void *ctx, struct source s)
{
	struct wave *w = ctx;
	struct informer_objs deps;

	if (!w->uid) {
		INFORMER_FOR_EACH (o, s.inf)
			if (o->meta->n_owner_references > 0)
				enqueue_obj(w->q, s, o);
		return;
	}
	deps = informer_index_get(s.by_owner, str_from(w->uid));
	for (size_t i = 0; i < deps.n; i++)
		enqueue_obj(w->q, s, deps.v[i]);
}

static void changed(struct enqueue *q, const struct view *v, struct source s, const struct informer_obj *o)
{
	const struct informer_obj *now = informer_get_key(s.inf, o->key);
	bool going = now == NULL || now->meta->deletion_timestamp != NULL || !pb_streq(now->meta->uid, o->meta->uid);

	if (o->meta->n_owner_references > 0 || going)
		enqueue_obj(q, s, o);
	if (!going)
		return;
	each_source(v, enqueue_dependents, &(struct wave){q, pb_s(o->meta->uid)});
	/* Its owners may wait for it. */
	for (size_t i = 0; i < o->meta->n_owner_references; i++) {
		const Meta__OwnerReference *ref = o->meta->owner_references[i];
		struct source of = source_of_kind(v, ref);
		const struct informer_obj *owner = of.inf ? informer_get(of.inf, owner_namespace(of, o), pb_s(ref->name)) : NULL;

		if (owner)
			enqueue_obj(q, of, owner);
	}
}

static void map_any(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	changed(q, v, source_of_view(v, view_of(o)), o);
}

void map_custom(struct enqueue *q, const struct view *v, const struct custom_kind *kind, const struct informer_obj *o)
{
	if (o)
		changed(q, v, source_of_custom(kind), o);
	else
		each_source(v, enqueue_dependents, &(struct wave){q, NULL});
}

const struct controller_row controller_garbage = {
	.name = "garbage-collector-controller",
	.account = "generic-garbage-collector",
	.watches = {{VIEW_PODS, map_any}, {VIEW_REPLICASETS, map_any}, {VIEW_DEPLOYMENTS, map_any}, {VIEW_SERVICES, map_any},
			{VIEW_ENDPOINTS, map_any}, {VIEW_ENDPOINTSLICES, map_any}, {VIEW_CONFIGMAPS, map_any},
			{VIEW_SERVICEACCOUNTS, map_any}, {VIEW_LEASES, map_any}, {VIEW_NODES, map_any}, {VIEW_DAEMONSETS, map_any},
			{VIEW_STATEFULSETS, map_any}, {VIEW_REVISIONS, map_any}, {VIEW_CLAIMS, map_any}, {VIEW_JOBS, map_any},
			{VIEW_CRONJOBS, map_any}, {VIEW_REPLICATIONCONTROLLERS, map_any}},
	.reconcile = reconcile_garbage,
	.workers = 16,
};
