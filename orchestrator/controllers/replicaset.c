/* ReplicaSet: as many pods of a template as asked for, and a status that tells how many there are. */
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

/* The pods of a set, sorted into kinds. */
struct pods {
	const struct informer_obj **active; /* ours, neither finished nor going */
	size_t n_active;
	size_t n_labeled, n_ready, n_available, n_terminating;
	int64_t next_available_s; /* when a ready pod becomes available; 0: none waits */
};

static void take_pod(struct reconcile *r, const Apps__ReplicaSet *rs, const struct informer_obj *o, struct pods *ps)
{
	const Core__Pod *p = o->msg;
	int64_t available;

	if (o->meta->deletion_timestamp != NULL) {
		ps->n_terminating++;
		return;
	}
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

static struct pods collect(struct reconcile *r, const struct informer_obj *set)
{
	const Apps__ReplicaSet *rs = set->msg;
	struct informer_objs all = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	struct pods ps = {.active = arena_new_array(r->arena, const struct informer_obj *, all.n + 1)};

	for (size_t i = 0; i < all.n; i++)
		if (pod_adopt_or_release(r, set, rs->spec->selector, "apps/v1", "ReplicaSet", all.v[i]))
			take_pod(r, rs, all.v[i], &ps);
	return ps;
}

static void create_pod(struct reconcile *r, const struct informer_obj *set)
{
	const Apps__ReplicaSet *rs = set->msg;
	Core__Pod *pod = pb_new_of(r->arena, core__pod, Core__Pod);
	const Core__PodTemplateSpec *t = rs->spec->template_;
	char suffix[6];

	pod->metadata = t && t->metadata ? pb_copy(r->arena, t->metadata) : pb_new_of(r->arena, meta__object_meta, Meta__ObjectMeta);
	pod->spec = t && t->spec ? pb_copy(r->arena, t->spec) : NULL;
	random_suffix(suffix, 5);
	/* As the API server does with generateName; here, so that the event can tell the name. */
	pod->metadata->generate_name = arena_printf(r->arena, "%.57s-", set->meta->name);
	pod->metadata->name = arena_printf(r->arena, "%.57s-%s", set->meta->name, suffix);
	pod->metadata->namespace_ = arena_strdup(r->arena, r->ns);
	owner_set(r->arena, pod, set, "apps/v1", "ReplicaSet");
	plan_create(r, VIEW_PODS, r->ns, pod);
	plan_event(r, VIEW_REPLICASETS, set, "Normal", "SuccessfulCreate", "Created pod: %s", pod->metadata->name);
}

static void scale(struct reconcile *r, const struct informer_obj *set, struct pods *ps)
{
	const Apps__ReplicaSet *rs = set->msg;
	size_t want = (size_t)MAX(pb_or(rs->spec, replicas, 1), 0);

	if (set->meta->deletion_timestamp != NULL)
		return;
	for (size_t i = ps->n_active, n = 0; i < want && n < BURST; i++, n++)
		create_pod(r, set);
	if (ps->n_active <= want)
		return;
	pods_sort_for_deletion(ps->active, ps->n_active, r->now_s);
	for (size_t i = 0; i < MIN(ps->n_active - want, (size_t)BURST); i++) {
		plan_delete(r, VIEW_PODS, ps->active[i], -1, NULL);
		plan_event(r, VIEW_REPLICASETS, set, "Normal", "SuccessfulDelete", "Deleted pod: %s", ps->active[i]->meta->name);
	}
}

static void update_status(struct reconcile *r, const struct informer_obj *set, const struct pods *ps)
{
	const Apps__ReplicaSet *rs = set->msg;
	Apps__ReplicaSet *copy = pb_copy(r->arena, rs);
	Apps__ReplicaSetStatus *st = pb_sub(r->arena, copy, "status");

	/* Zero is left out, as in what is stored, so that equal means equal. */
#define SET(field, value) (st->field = (value), st->has_##field = st->field != 0)
	SET(replicas, (int32_t)ps->n_active);
	SET(fully_labeled_replicas, (int32_t)ps->n_labeled);
	SET(ready_replicas, (int32_t)ps->n_ready);
	SET(available_replicas, (int32_t)ps->n_available);
	SET(observed_generation, pb_or(set->meta, generation, 0));
#undef SET
	if (!pb_equal(rs->status, st))
		plan_update_status(r, VIEW_REPLICASETS, copy);
}

static void reconcile_replicaset(struct reconcile *r)
{
	const struct informer_obj *set = view_get(r->view, VIEW_REPLICASETS, r->ns, r->name);
	const Apps__ReplicaSet *rs = informer_msg(set);
	struct pods ps;

	if (rs == NULL || rs->spec == NULL)
		return;
	ps = collect(r, set);
	scale(r, set, &ps);
	update_status(r, set, &ps);
	if (ps.next_available_s > 0)
		plan_again(r, (uint64_t)(ps.next_available_s - r->now_s) * 1000);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	struct informer *sets = v->inf[VIEW_REPLICASETS];

	if (owner_of(o->meta) != NULL) {
		map_owner(q, o, "ReplicaSet");
		return;
	}
	/* A pod without an owner may be adopted. */
	INFORMER_FOR_EACH (s, sets) {
		const Apps__ReplicaSet *rs = s->msg;

		if (pb_streq(s->meta->namespace_, o->meta->namespace_) && rs->spec && label_selector_matches(rs->spec->selector, o->meta))
			enqueue_key(q, s->key);
	}
}

const struct controller_row controller_replicaset = {
	.name = "replicaset-controller",
	.account = "replicaset-controller",
	.watches = {{VIEW_REPLICASETS, map_self}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_replicaset,
};
