/*
 * Deployment: one ReplicaSet for each version of the template; a rollout moves replicas from the old sets to the new
 * one within maxSurge and maxUnavailable. The old sets stay, empty, as the history that `kubectl rollout undo` returns to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/deployment-priv.h"
#include "orchestrator/controllers/pods.h"
#include "proto/pb.h"

#define HASH_LABEL "pod-template-hash"

/* --- Reading ------------------------------------------------------------------------------------------- */

static const char *annotation(const Meta__ObjectMeta *m, const char *key)
{
	return pb_map_get(m->annotations, m->n_annotations, key);
}

static int64_t annotation_i64(const Meta__ObjectMeta *m, const char *key, int64_t otherwise)
{
	const char *v = annotation(m, key);
	int64_t n;

	return v && str_to_i64(str_from(v), &n) ? n : otherwise;
}

/* Whether the set was made from this template: equal but for the hash label that we add. */
static bool same_template(struct arena *a, const Apps__ReplicaSet *rs, const Core__PodTemplateSpec *t)
{
	Core__PodTemplateSpec *x = pb_copy(a, rs->spec->template_), *y = pb_copy(a, t);

	if (x == NULL || y == NULL)
		return x == y;
	pb_map_del(pb_sub(a, x, "metadata"), "labels", HASH_LABEL);
	pb_map_del(pb_sub(a, y, "metadata"), "labels", HASH_LABEL);
	return template_equal(a, x, y);
}

static int by_creation(const void *a, const void *b)
{
	const struct set *x = a, *y = b;
	int64_t tx = time_s(x->o->meta->creation_timestamp), ty = time_s(y->o->meta->creation_timestamp);

	return tx != ty ? (tx < ty ? -1 : 1) : str_cmp(x->o->key, y->o->key);
}

static void collect(struct rollout *d)
{
	struct informer_objs all = informer_index_get(d->r->view->replicasets_by_owner, str_from(pb_s(d->o->meta->uid)));

	d->sets = arena_new_array(d->r->arena, struct set, all.n + 2);
	for (size_t i = 0; i < all.n; i++) {
		const Apps__ReplicaSet *rs = all.v[i]->msg;

		if (all.v[i]->meta->deletion_timestamp == NULL && rs->spec != NULL)
			d->sets[d->n_sets++] = (struct set){
				.o = all.v[i],
				.rs = rs,
				.replicas = pb_or(rs->spec, replicas, 1),
				.want = pb_or(rs->spec, replicas, 1),
				.actual = rs->status ? pb_or(rs->status, replicas, 0) : 0,
				.ready = rs->status ? pb_or(rs->status, ready_replicas, 0) : 0,
				.available = rs->status ? pb_or(rs->status, available_replicas, 0) : 0,
			};
	}
	qsort(d->sets, d->n_sets, sizeof(*d->sets), by_creation);
	for (size_t i = 0; i < d->n_sets && d->current == NULL; i++)
		if (same_template(d->r->arena, d->sets[i].rs, d->spec->template_))
			d->current = &d->sets[i];
}

/* --- The new set -------------------------------------------------------------------------------------- */

/* As upstream prints hashes: a number in the alphabet of generated names. */
static char *template_hash(struct rollout *d)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	struct str bytes = template_canonical(d->r->arena, d->spec->template_);
	uint64_t h = str_hash(bytes) + (uint64_t)(d->dep->status ? pb_or(d->dep->status, collision_count, 0) : 0) * 0x9e3779b97f4a7c15u;
	char *out = arena_alloc(d->r->arena, 11), digits[11];

	snprintf(digits, sizeof(digits), "%u", (unsigned)(h ^ (h >> 32)));
	for (size_t i = 0; i <= strlen(digits); i++)
		out[i] = digits[i] ? alphabet[(unsigned char)digits[i] % (sizeof(alphabet) - 1)] : '\0';
	return out;
}

static int64_t max_revision(const struct rollout *d, const struct set *but)
{
	int64_t max = 0;

	for (size_t i = 0; i < d->n_sets; i++)
		if (&d->sets[i] != but)
			max = MAX(max, annotation_i64(d->sets[i].o->meta, REVISION, 0));
	return max;
}

/* The Deployment's annotations go to its set, but not those that tell about the Deployment itself. */
static void copy_annotations(struct rollout *d, Meta__ObjectMeta *to)
{
	static const char *const skipped[] = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY,
			DESIRED_REPLICAS, MAX_REPLICAS, "deprecated.deployment.rollback.to"};
	const Meta__ObjectMeta *from = d->o->meta;

	for (size_t i = 0; i < from->n_annotations; i++) {
		bool skip = false;

		for (size_t k = 0; k < ARRAY_LEN(skipped); k++)
			skip = skip || pb_streq(from->annotations[i]->key, skipped[k]);
		if (!skip)
			pb_map_set(d->r->arena, to, "annotations", from->annotations[i]->key, pb_s(from->annotations[i]->value));
	}
}

static void set_numbers(struct rollout *d, Meta__ObjectMeta *meta)
{
	struct arena *a = d->r->arena;

	pb_map_set(a, meta, "annotations", DESIRED_REPLICAS, arena_printf(a, "%d", d->replicas));
	pb_map_set(a, meta, "annotations", MAX_REPLICAS, arena_printf(a, "%d", d->replicas + d->max_surge));
}

/* How many the new set may have now: all that is missing, but no more than replicas + maxSurge over all sets. */
static int32_t new_set_size(const struct rollout *d, int32_t has)
{
	int32_t total = 0, room;

	if (!d->rolling)
		return d->replicas;
	for (size_t i = 0; i < d->n_sets; i++)
		total += d->sets[i].want;
	room = d->replicas + d->max_surge - total;
	return room <= 0 ? MIN(has, d->replicas) : has + MIN(room, MAX(d->replicas - has, 0));
}

static void create_set(struct rollout *d)
{
	struct arena *a = d->r->arena;
	Apps__ReplicaSet *rs = pb_new_of(a, apps__replica_set, Apps__ReplicaSet);
	Meta__ObjectMeta *meta = pb_sub(a, rs, "metadata");
	Apps__ReplicaSetSpec *spec = pb_sub(a, rs, "spec");
	const char *hash = template_hash(d);
	struct set *s = &d->sets[d->n_sets];

	d->revision = max_revision(d, NULL) + 1;
	meta->name = arena_printf(a, "%s-%s", d->r->name, hash);
	meta->namespace_ = arena_strdup(a, d->r->ns);
	spec->template_ = pb_copy(a, d->spec->template_);
	spec->selector = pb_copy(a, d->spec->selector);
	meta = pb_sub(a, spec->template_, "metadata");
	pb_map_set(a, meta, "labels", HASH_LABEL, hash);
	for (size_t i = 0; i < meta->n_labels; i++)
		pb_map_set(a, rs->metadata, "labels", meta->labels[i]->key, pb_s(meta->labels[i]->value));
	pb_map_set(a, pb_sub(a, spec, "selector"), "match_labels", HASH_LABEL, hash);
	copy_annotations(d, rs->metadata);
	pb_map_set(a, rs->metadata, "annotations", REVISION, arena_printf(a, "%" PRId64, d->revision));
	set_numbers(d, rs->metadata);
	owner_set(a, rs, d->o, "apps/v1", "Deployment");
	*s = (struct set){.want = new_set_size(d, 0)};
	s->replicas = s->want;
	spec->has_replicas = true;
	spec->replicas = s->want;
	spec->has_min_ready_seconds = pb_or(d->spec, min_ready_seconds, 0) > 0;
	spec->min_ready_seconds = pb_or(d->spec, min_ready_seconds, 0);
	d->created = s;
	plan_create(d->r, VIEW_REPLICASETS, d->r->ns, rs);
	if (s->want > 0)
		plan_event(d->r, VIEW_DEPLOYMENTS, d->o, "Normal", "ScalingReplicaSet", "Scaled up replica set %s to %d",
				rs->metadata->name, s->want);
}

/* --- Moving replicas ----------------------------------------------------------------------------------- */

static int32_t total_want(const struct rollout *d)
{
	int32_t n = 0;

	for (size_t i = 0; i < d->n_sets; i++)
		n += d->sets[i].want;
	return n;
}

/* Take replicas from old sets: first those that are not available anyway, then as many as availability allows. */
static void shrink_old(struct rollout *d)
{
	int32_t min_available = d->replicas - d->max_unavailable, available = 0, unavailable_new, budget;

	/* A status may be older than the size: a set has no more available pods than it is to have. */
	for (size_t i = 0; i < d->n_sets; i++)
		available += MIN(d->sets[i].available, d->sets[i].want);
	unavailable_new = d->current ? d->current->want - d->current->available : d->created ? d->created->want : 0;
	budget = total_want(d) + (d->created ? d->created->want : 0) - min_available - unavailable_new;
	if (budget <= 0)
		return;
	for (size_t i = 0; i < d->n_sets && budget > 0; i++) {
		struct set *s = &d->sets[i];
		int32_t n = MIN(s->want - s->available, budget);

		if (s == d->current || n <= 0)
			continue;
		s->want -= n;
		budget -= n;
	}
	budget = available - min_available;
	for (size_t i = 0; i < d->n_sets && budget > 0; i++) {
		struct set *s = &d->sets[i];
		int32_t n = MIN(s->want, budget);

		if (s == d->current || n <= 0)
			continue;
		s->want -= n;
		budget -= n;
	}
}

static bool old_pods_left(const struct rollout *d)
{
	for (size_t i = 0; i < d->n_sets; i++) {
		struct informer_objs pods;

		if (&d->sets[i] == d->current)
			continue;
		pods = informer_index_get(d->r->view->pods_by_owner, str_from(pb_s(d->sets[i].o->meta->uid)));
		for (size_t k = 0; k < pods.n; k++) {
			const Core__Pod *p = pods.v[k]->msg;
			const char *phase = p->status ? pb_s(p->status->phase) : "";

			if (strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0)
				return true;
		}
	}
	return false;
}

static void recreate(struct rollout *d)
{
	for (size_t i = 0; i < d->n_sets; i++)
		if (&d->sets[i] != d->current)
			d->sets[i].want = 0;
	if (old_pods_left(d))
		return;
	if (d->current)
		d->current->want = d->replicas;
	else
		create_set(d);
}

static void roll(struct rollout *d)
{
	if (d->current == NULL)
		create_set(d);
	else if (d->current->want > d->replicas)
		d->current->want = d->replicas;
	else
		d->current->want = new_set_size(d, d->current->want);
	shrink_old(d);
}

/* The wanted number changed since a set was last sized. */
static bool is_scaling(const struct rollout *d)
{
	for (size_t i = 0; i < d->n_sets; i++)
		if (d->sets[i].want > 0 && annotation_i64(d->sets[i].o->meta, DESIRED_REPLICAS, d->replicas) != d->replicas)
			return true;
	return false;
}

static int by_size(const void *a, const void *b)
{
	const struct set *const *x = a, *const *y = b;

	return (*x)->want != (*y)->want ? ((*x)->want > (*y)->want ? -1 : 1) : by_creation(*y, *x);
}

/* In the middle of a rollout each set gets its share of what is added or taken. */
static void scale_in_proportion(struct rollout *d)
{
	struct set **active = arena_new_array(d->r->arena, struct set *, d->n_sets + 1);
	int32_t allowed = d->replicas > 0 ? d->replicas + d->max_surge : 0, left = allowed - total_want(d);
	size_t n = 0;

	for (size_t i = 0; i < d->n_sets; i++)
		if (d->sets[i].want > 0)
			active[n++] = &d->sets[i];
	if (n <= 1) {
		struct set *s = n == 1 ? active[0] : d->current;

		if (s)
			s->want = d->replicas;
		return;
	}
	qsort(active, n, sizeof(*active), by_size);
	for (size_t i = 0; i < n && left != 0; i++) {
		struct set *s = active[i];
		int64_t was = annotation_i64(s->o->meta, MAX_REPLICAS, d->dep->status ? pb_or(d->dep->status, replicas, 1) : 1);
		int64_t target = was > 0 ? ((int64_t)s->want * allowed * 2 + was) / (was * 2) : s->want;
		int32_t add = (int32_t)target - s->want;

		add = left > 0 ? MIN(MAX(add, 0), left) : MAX(MIN(add, 0), left);
		s->want += add;
		left -= add;
	}
	/* What rounding left over goes to the largest. */
	active[0]->want = MAX(active[0]->want + left, 0);
}

/* --- Writing ------------------------------------------------------------------------------------------- */

static bool needs_update(struct rollout *d, const struct set *s, bool is_current)
{
	const Meta__ObjectMeta *m = s->o->meta;

	if (s->want != s->replicas)
		return true;
	if (s->want > 0 && (annotation_i64(m, DESIRED_REPLICAS, -1) != d->replicas ||
					   annotation_i64(m, MAX_REPLICAS, -1) != d->replicas + d->max_surge))
		return true;
	if (!is_current)
		return false;
	if (annotation_i64(m, REVISION, 0) != d->revision || pb_or(s->rs->spec, min_ready_seconds, 0) != pb_or(d->spec, min_ready_seconds, 0))
		return true;
	return !pb_streq(annotation(m, CHANGE_CAUSE), annotation(d->o->meta, CHANGE_CAUSE));
}

/* A set that becomes current again gets a new revision and remembers the ones it had. */
static void set_revision(struct rollout *d, const struct set *s, Meta__ObjectMeta *meta)
{
	struct arena *a = d->r->arena;
	const char *old = annotation(s->o->meta, REVISION), *history = annotation(s->o->meta, REVISION_HISTORY);

	if (annotation_i64(s->o->meta, REVISION, 0) == d->revision)
		return;
	if (old)
		pb_map_set(a, meta, "annotations", REVISION_HISTORY, history ? arena_printf(a, "%s,%s", history, old) : old);
	pb_map_set(a, meta, "annotations", REVISION, arena_printf(a, "%" PRId64, d->revision));
}

static void write_set(struct rollout *d, struct set *s)
{
	struct arena *a = d->r->arena;
	bool is_current = s == d->current;
	Apps__ReplicaSet *copy;

	if (!needs_update(d, s, is_current))
		return;
	copy = pb_copy(a, s->rs);
	copy->spec->has_replicas = true;
	copy->spec->replicas = s->want;
	set_numbers(d, copy->metadata);
	if (is_current) {
		copy_annotations(d, copy->metadata);
		set_revision(d, s, copy->metadata);
		copy->spec->has_min_ready_seconds = pb_or(d->spec, min_ready_seconds, 0) > 0;
		copy->spec->min_ready_seconds = pb_or(d->spec, min_ready_seconds, 0);
	}
	plan_update(d->r, VIEW_REPLICASETS, copy);
	if (s->want != s->replicas)
		plan_event(d->r, VIEW_DEPLOYMENTS, d->o, "Normal", "ScalingReplicaSet", "Scaled %s replica set %s to %d from %d",
				s->want > s->replicas ? "up" : "down", s->o->meta->name, s->want, s->replicas);
}

/* Empty old sets beyond the history limit go, the oldest revision first. */
static void clean_up(struct rollout *d)
{
	int32_t limit = pb_or(d->spec, revision_history_limit, 10);
	int32_t n = 0;

	for (size_t i = 0; i < d->n_sets; i++)
		n += &d->sets[i] != d->current;
	while (n-- > limit) {
		struct set *oldest = NULL;

		for (size_t i = 0; i < d->n_sets; i++) {
			struct set *s = &d->sets[i];

			if (s == d->current || s->deleted || s->want != 0 || s->replicas != 0 || s->actual != 0)
				continue;
			if (oldest == NULL || annotation_i64(s->o->meta, REVISION, 0) < annotation_i64(oldest->o->meta, REVISION, 0))
				oldest = s;
		}
		if (oldest == NULL)
			return;
		oldest->deleted = true;
		plan_delete(d->r, VIEW_REPLICASETS, oldest->o, -1, NULL);
	}
}

static void write_revision(struct rollout *d)
{
	Apps__Deployment *copy;

	if (d->revision == 0 || annotation_i64(d->o->meta, REVISION, 0) == d->revision)
		return;
	copy = pb_copy(d->r->arena, d->dep);
	pb_map_set(d->r->arena, pb_sub(d->r->arena, copy, "metadata"), "annotations", REVISION,
			arena_printf(d->r->arena, "%" PRId64, d->revision));
	plan_update(d->r, VIEW_DEPLOYMENTS, copy);
	/* The status follows in the next round, on top of this version. */
	d->meta_changed = true;
}

static void reconcile_deployment(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_DEPLOYMENTS, r->ns, r->name);
	struct rollout d = {.r = r, .o = o, .dep = informer_msg(o)};

	if (d.dep == NULL || d.dep->spec == NULL)
		return;
	d.spec = d.dep->spec;
	rollout_limits(&d);
	collect(&d);
	if (o->meta->deletion_timestamp == NULL) {
		if (d.current)
			d.revision = MAX(max_revision(&d, d.current) + 1, annotation_i64(d.current->o->meta, REVISION, 1));
		if (d.current && annotation_i64(d.current->o->meta, REVISION, 0) > max_revision(&d, d.current))
			d.revision = annotation_i64(d.current->o->meta, REVISION, 0);
		if (is_scaling(&d) || pb_or(d.spec, paused, false))
			scale_in_proportion(&d);
		else if (d.rolling)
			roll(&d);
		else
			recreate(&d);
		for (size_t i = 0; i < d.n_sets; i++)
			write_set(&d, &d.sets[i]);
		write_revision(&d);
	}
	rollout_status(&d);
	if (d.complete)
		clean_up(&d);
}

static void map_set(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_owner(q, o, "Deployment");
}

/* Recreate waits for pods to go; only their end matters here. */
static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Meta__OwnerReference *ref = owner_of(o->meta);
	const struct informer_obj *rs = ref && pb_streq(ref->kind, "ReplicaSet")
			? view_get(v, VIEW_REPLICASETS, o->meta->namespace_, ref->name) : NULL;

	if (rs && o->meta->deletion_timestamp != NULL)
		map_owner(q, rs, "Deployment");
}

const struct controller_row controller_deployment = {
	.name = "deployment-controller",
	.account = "deployment-controller",
	.watches = {{VIEW_DEPLOYMENTS, map_self}, {VIEW_REPLICASETS, map_set}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_deployment,
};
