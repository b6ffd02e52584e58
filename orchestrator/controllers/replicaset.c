/*
 * ReplicaSet and ReplicationController: as many pods of a template as asked for, and a status that tells how many there are.
 *
 * The older kind is looked at as if it were the newer one (struct kind): it is read into a ReplicaSet, and what came of it is written
 * back into its own status. Everything between is the same for both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/apps.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

/* At most so many pods are made or removed in one round; the next round follows when they show. */
#define BURST 100

/* --- The two kinds --------------------------------------------------------------------------------------- */

struct kind {
	enum view_id view;
	const char *api_version, *name;
	/* The object as a ReplicaSet, which borrows from it; NULL when it has no spec. */
	const Apps__ReplicaSet *(*read)(struct arena *, const struct informer_obj *);
	void (*write)(struct reconcile *, const struct informer_obj *, Apps__ReplicaSetStatus *);
};

static const Apps__ReplicaSet *read_set(struct arena *a, const struct informer_obj *o)
{
	const Apps__ReplicaSet *rs = o->msg;

	return rs->spec ? rs : NULL;
}

static void write_set(struct reconcile *r, const struct informer_obj *o, Apps__ReplicaSetStatus *st)
{
	Apps__ReplicaSet *copy = pb_copy(r->arena, o->msg);

	copy->status = st;
	plan_update_status(r, VIEW_REPLICASETS, copy);
}

static const Apps__ReplicaSet *read_controller(struct arena *a, const struct informer_obj *o)
{
	const Core__ReplicationController *rc = o->msg;
	const Core__ReplicationControllerStatus *from = rc->status;
	Apps__ReplicaSet *rs = pb_new_of(a, apps__replica_set, Apps__ReplicaSet);
	Apps__ReplicaSetStatus *st;
	Meta__LabelSelector *selector;

	if (rc->spec == NULL)
		return NULL;
	rs->metadata = rc->metadata;
	rs->spec = pb_new_of(a, apps__replica_set_spec, Apps__ReplicaSetSpec);
	rs->spec->template_ = rc->spec->template_;
	rs->spec->has_replicas = rc->spec->has_replicas;
	rs->spec->replicas = rc->spec->replicas;
	rs->spec->has_min_ready_seconds = rc->spec->has_min_ready_seconds;
	rs->spec->min_ready_seconds = rc->spec->min_ready_seconds;
	selector = pb_sub(a, rs->spec, "selector");
	for (size_t i = 0; i < rc->spec->n_selector; i++)
		pb_map_set(a, selector, "match_labels", rc->spec->selector[i]->key, pb_s(rc->spec->selector[i]->value));
	if (from == NULL)
		return rs;
	st = rs->status = pb_new_of(a, apps__replica_set_status, Apps__ReplicaSetStatus);
#define GET(field) (st->field = from->field, st->has_##field = from->has_##field)
	GET(replicas);
	GET(fully_labeled_replicas);
	GET(ready_replicas);
	GET(available_replicas);
	GET(observed_generation);
#undef GET
	for (size_t i = 0; i < from->n_conditions; i++) {
		Apps__ReplicaSetCondition *c = pb_add(a, st, "conditions");

		c->type = from->conditions[i]->type;
		c->status = from->conditions[i]->status;
		c->last_transition_time = from->conditions[i]->last_transition_time;
		c->reason = from->conditions[i]->reason;
		c->message = from->conditions[i]->message;
	}
	return rs;
}

static void write_controller(struct reconcile *r, const struct informer_obj *o, Apps__ReplicaSetStatus *from)
{
	Core__ReplicationController *copy = pb_copy(r->arena, o->msg);
	Core__ReplicationControllerStatus *st = copy->status =
			pb_new_of(r->arena, core__replication_controller_status, Core__ReplicationControllerStatus);

#define PUT(field) (st->field = from->field, st->has_##field = from->has_##field)
	PUT(replicas);
	PUT(fully_labeled_replicas);
	PUT(ready_replicas);
	PUT(available_replicas);
	PUT(observed_generation);
#undef PUT
	for (size_t i = 0; i < from->n_conditions; i++) {
		Core__ReplicationControllerCondition *c = pb_add(r->arena, st, "conditions");

		c->type = from->conditions[i]->type;
		c->status = from->conditions[i]->status;
		c->last_transition_time = from->conditions[i]->last_transition_time;
		c->reason = from->conditions[i]->reason;
		c->message = from->conditions[i]->message;
	}
	plan_update_status(r, VIEW_REPLICATIONCONTROLLERS, copy);
}

static const struct kind kind_set = {VIEW_REPLICASETS, "apps/v1", "ReplicaSet", read_set, write_set};
static const struct kind kind_controller = {VIEW_REPLICATIONCONTROLLERS, "v1", "ReplicationController", read_controller, write_controller};

/* --- What both do ---------------------------------------------------------------------------------------- */

/* One object in one round. */
struct set {
	const struct kind *kind;
	const struct informer_obj *o;
	const Apps__ReplicaSet *rs;
};

/* The pods of a set, sorted into kinds. */
struct pods {
	const struct informer_obj **active; /* ours, neither finished nor going */
	size_t n_active;
	size_t n_labeled, n_ready, n_available;
	int64_t next_available_s; /* when a ready pod becomes available; 0: none waits */
};

static void take_pod(struct reconcile *r, const Apps__ReplicaSet *rs, const struct informer_obj *o, struct pods *ps)
{
	const Core__Pod *p = o->msg;
	int64_t available;

	if (!pod_is_active(p))
		return;
	ps->active[ps->n_active++] = o;
	if (label_selector_matches(rs->spec->selector, o->meta))
		ps->n_labeled++;
	if (!pod_is_ready(p))
		return;
	ps->n_ready++;
	available = pod_available_at(p, pb_or(rs->spec, min_ready_seconds, 0));
	if (available <= r->now_s)
		ps->n_available++;
	else if (ps->next_available_s == 0 || available < ps->next_available_s)
		ps->next_available_s = available;
}

static struct pods collect(struct reconcile *r, const struct set *set)
{
	struct informer_objs all = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	struct pods ps = {.active = arena_new_array(r->arena, const struct informer_obj *, all.n + 1)};

	for (size_t i = 0; i < all.n; i++)
		if (pod_adopt_or_release(r, set->o, set->rs->spec->selector, set->kind->api_version, set->kind->name, all.v[i]))
			take_pod(r, set->rs, all.v[i], &ps);
	return ps;
}

static void create_pod(struct reconcile *r, const struct set *set)
{
	Core__Pod *pod = pb_new_of(r->arena, core__pod, Core__Pod);
	const Core__PodTemplateSpec *t = set->rs->spec->template_;
	char suffix[6];

	pod->metadata = t && t->metadata ? pb_copy(r->arena, t->metadata) : pb_new_of(r->arena, meta__object_meta, Meta__ObjectMeta);
	pod->spec = t && t->spec ? pb_copy(r->arena, t->spec) : NULL;
	random_suffix(suffix, 5);
	/* As the API server does with generateName; here, so that the event can tell the name. */
	pod->metadata->generate_name = arena_printf(r->arena, "%.57s-", set->o->meta->name);
	pod->metadata->name = arena_printf(r->arena, "%.57s-%s", set->o->meta->name, suffix);
	pod->metadata->namespace_ = arena_strdup(r->arena, r->ns);
	owner_set(r->arena, pod, set->o, set->kind->api_version, set->kind->name);
	plan_create(r, VIEW_PODS, r->ns, pod);
	plan_event(r, set->kind->view, set->o, "Normal", "SuccessfulCreate", "Created pod: %s", pod->metadata->name);
}

static void scale(struct reconcile *r, const struct set *set, struct pods *ps)
{
	size_t want = (size_t)MAX(pb_or(set->rs->spec, replicas, 1), 0);

	if (set->o->meta->deletion_timestamp != NULL)
		return;
	for (size_t i = ps->n_active, n = 0; i < want && n < BURST; i++, n++)
		create_pod(r, set);
	if (ps->n_active <= want)
		return;
	pods_sort_for_deletion(ps->active, ps->n_active, r->now_s);
	for (size_t i = 0; i < MIN(ps->n_active - want, (size_t)BURST); i++) {
		plan_delete(r, VIEW_PODS, ps->active[i], -1, NULL);
		plan_event(r, set->kind->view, set->o, "Normal", "SuccessfulDelete", "Deleted pod: %s", ps->active[i]->meta->name);
	}
}

/* Whether pods could be made is known after the round that tried: see reconcile.refused. */
static void update_failure(struct reconcile *r, const struct set *set, const struct pods *ps, Apps__ReplicaSetStatus *st)
{
	bool fails = r->refused && set->o->meta->deletion_timestamp == NULL && (int64_t)ps->n_active < pb_or(set->rs->spec, replicas, 1);
	Apps__ReplicaSetCondition *c;
	size_t i = 0;

	while (i < st->n_conditions && !pb_streq(st->conditions[i]->type, "ReplicaFailure"))
		i++;
	if (!fails && i < st->n_conditions)
		pb_remove(st, "conditions", i);
	if (!fails || i < st->n_conditions)
		return;
	c = pb_add(r->arena, st, "conditions");
	c->type = "ReplicaFailure";
	c->status = "True";
	c->reason = "FailedCreate";
	c->message = r->refused;
	c->last_transition_time = time_now(r->arena, r->now_s);
	plan_event(r, set->kind->view, set->o, "Warning", "FailedCreate", "Error creating: %s", r->refused);
}

static void update_status(struct reconcile *r, const struct set *set, const struct pods *ps)
{
	Apps__ReplicaSetStatus *st = set->rs->status ? pb_copy(r->arena, set->rs->status)
						     : pb_new_of(r->arena, apps__replica_set_status, Apps__ReplicaSetStatus);

	/* Zero is left out, as in what is stored, so that equal means equal. */
#define SET(field, value) (st->field = (value), st->has_##field = st->field != 0)
	SET(replicas, (int32_t)ps->n_active);
	SET(fully_labeled_replicas, (int32_t)ps->n_labeled);
	SET(ready_replicas, (int32_t)ps->n_ready);
	SET(available_replicas, (int32_t)ps->n_available);
	SET(observed_generation, pb_or(set->o->meta, generation, 0));
#undef SET
	update_failure(r, set, ps, st);
	if (!pb_equal(set->rs->status, st))
		set->kind->write(r, set->o, st);
}

static void reconcile_kind(struct reconcile *r, const struct kind *kind)
{
	const struct informer_obj *o = view_get(r->view, kind->view, r->ns, r->name);
	struct set set = {kind, o, o ? kind->read(r->arena, o) : NULL};
	struct pods ps;

	if (set.rs == NULL)
		return;
	ps = collect(r, &set);
	scale(r, &set, &ps);
	update_status(r, &set, &ps);
	if (ps.next_available_s > 0)
		plan_again(r, (uint64_t)(ps.next_available_s - r->now_s) * 1000);
}

static void map_pod_to(const struct kind *kind, struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	struct arena tmp;

	if (owner_of(o->meta) != NULL) {
		map_owner(q, o, kind->name);
		return;
	}
	/* A pod without an owner may be adopted. */
	arena_init(&tmp);
	INFORMER_FOR_EACH (s, v->inf[kind->view]) {
		const Apps__ReplicaSet *rs = pb_streq(s->meta->namespace_, o->meta->namespace_) ? kind->read(&tmp, s) : NULL;

		if (rs && label_selector_matches(rs->spec->selector, o->meta))
			enqueue_key(q, s->key);
	}
	arena_fini(&tmp);
}

/* --- Rows ------------------------------------------------------------------------------------------------ */

static void reconcile_replicaset(struct reconcile *r)
{
	reconcile_kind(r, &kind_set);
}

static void map_pod_to_set(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_pod_to(&kind_set, q, v, o);
}

const struct controller_row controller_replicaset = {
	.name = "replicaset-controller",
	.account = "replicaset-controller",
	.watches = {{VIEW_REPLICASETS, map_self}, {VIEW_PODS, map_pod_to_set}},
	.reconcile = reconcile_replicaset,
};

static void reconcile_replication_controller(struct reconcile *r)
{
	reconcile_kind(r, &kind_controller);
}

static void map_pod_to_controller(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_pod_to(&kind_controller, q, v, o);
}

const struct controller_row controller_replication = {
	.name = "replication-controller",
	.account = "replication-controller",
	.watches = {{VIEW_REPLICATIONCONTROLLERS, map_self}, {VIEW_PODS, map_pod_to_controller}},
	.reconcile = reconcile_replication_controller,
};
