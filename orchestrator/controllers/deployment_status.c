/* A Deployment's limits and status. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/deployment-priv.h"
#include "orchestrator/controllers/pods.h"
#include "proto/pb.h"

void rollout_limits(struct rollout *d)
{
	const Apps__DeploymentStrategy *s = d->spec->strategy;
	const Apps__RollingUpdateDeployment *ru = s ? s->rolling_update : NULL;

	d->replicas = MAX(pb_or(d->spec, replicas, 1), 0);
	d->rolling = s == NULL || !pb_streq(s->type, "Recreate");
	if (!d->rolling)
		return;
	d->max_surge = ru && ru->max_surge ? pods_scaled(ru->max_surge, d->replicas, true) : (d->replicas * 25 + 99) / 100;
	d->max_unavailable = ru && ru->max_unavailable ? pods_scaled(ru->max_unavailable, d->replicas, false) : d->replicas * 25 / 100;
	d->max_unavailable = MIN(d->max_unavailable, d->replicas);
	/* Both zero could never move. */
	if (d->max_surge == 0 && d->max_unavailable == 0)
		d->max_unavailable = 1;
}

/* --- Templates ------------------------------------------------------------------------------------------ */


static int by_key(const void *a, const void *b)
{
	/* Each entry message starts with its base, then the key. */
	const Meta__ObjectMeta__LabelsEntry *const *x = a, *const *y = b;

	return strcmp(pb_s((*x)->key), pb_s((*y)->key));
}

static void sort_entries(void *entries, size_t n)
{
	if (n > 1)
		qsort(entries, n, sizeof(void *), by_key);
}

static void sort_maps(Core__PodTemplateSpec *t)
{
	Meta__ObjectMeta *m = t->metadata;

	if (m) {
		sort_entries(m->labels, m->n_labels);
		sort_entries(m->annotations, m->n_annotations);
	}
	if (t->spec)
		sort_entries(t->spec->node_selector, t->spec->n_node_selector);
}

struct str template_canonical(struct arena *a, const Core__PodTemplateSpec *t)
{
	Core__PodTemplateSpec *copy = pb_copy(a, t);

	if (copy == NULL)
		return STR_NULL;
	sort_maps(copy);
	return pb_pack_arena(copy, a);
}

bool template_equal(struct arena *a, Core__PodTemplateSpec *x, Core__PodTemplateSpec *y)
{
	return str_eq(template_canonical(a, x), template_canonical(a, y));
}

/* --- Status ---------------------------------------------------------------------------------------------- */

static Apps__DeploymentCondition *condition(struct rollout *d, Apps__DeploymentStatus *st, const char *type)
{
	Apps__DeploymentCondition *c;

	for (size_t i = 0; i < st->n_conditions; i++)
		if (pb_streq(st->conditions[i]->type, type))
			return st->conditions[i];
	c = pb_add(d->r->arena, st, "conditions");
	c->type = (char *)type;
	return c;
}

/* Times move only when something does: lastUpdateTime with the reason, lastTransitionTime with the status. */
static void set_condition(struct rollout *d, Apps__DeploymentStatus *st, const char *type, const char *status, const char *reason,
		const char *message, bool touch)
{
	Apps__DeploymentCondition *c = condition(d, st, type);

	if (!pb_streq(c->status, status))
		c->last_transition_time = time_now(d->r->arena, d->r->now_s);
	if (touch || !pb_streq(c->status, status) || !pb_streq(c->reason, reason))
		c->last_update_time = time_now(d->r->arena, d->r->now_s);
	c->status = (char *)status;
	c->reason = (char *)reason;
	c->message = arena_strdup(d->r->arena, message);
}

/* What a set could not do, its deployment cannot do either: the newest set that says so is heard. */
static void replica_failure(struct rollout *d, Apps__DeploymentStatus *st)
{
	const Apps__ReplicaSetCondition *why = NULL;

	for (size_t i = 0; i <= d->n_sets; i++) {
		/* The current one last: it has the last word. */
		const Apps__ReplicaSet *rs = i < d->n_sets ? d->sets[i].rs : d->current ? d->current->rs : NULL;

		for (size_t k = 0; rs && rs->status && k < rs->status->n_conditions; k++)
			if (pb_streq(rs->status->conditions[k]->type, "ReplicaFailure") && pb_streq(rs->status->conditions[k]->status, "True"))
				why = rs->status->conditions[k];
	}
	if (why) {
		set_condition(d, st, "ReplicaFailure", "True", arena_strdup(d->r->arena, pb_s(why->reason)), pb_s(why->message), false);
		return;
	}
	for (size_t i = 0; i < st->n_conditions; i++) {
		if (pb_streq(st->conditions[i]->type, "ReplicaFailure")) {
			pb_remove(st, "conditions", i);
			return;
		}
	}
}

static const char *current_name(const struct rollout *d)
{
	return d->current ? d->current->o->meta->name : "";
}

static void progressing(struct rollout *d, Apps__DeploymentStatus *st, const Apps__DeploymentStatus *old)
{
	int32_t deadline = pb_or(d->spec, progress_deadline_seconds, 600);
	Apps__DeploymentCondition *c;
	bool moved;
	int64_t since;

	if (d->complete) {
		set_condition(d, st, "Progressing", "True", "NewReplicaSetAvailable",
				arena_printf(d->r->arena, "ReplicaSet \"%s\" has successfully progressed.", current_name(d)), false);
		return;
	}
	if (d->created) {
		set_condition(d, st, "Progressing", "True", "NewReplicaSetCreated", "Created new replica set", true);
		return;
	}
	if (pb_or(d->spec, paused, false)) {
		set_condition(d, st, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", false);
		return;
	}
	moved = old == NULL || st->updated_replicas > pb_or(old, updated_replicas, 0) || st->ready_replicas > pb_or(old, ready_replicas, 0) ||
		st->available_replicas > pb_or(old, available_replicas, 0) ||
		st->replicas - st->updated_replicas < pb_or(old, replicas, 0) - pb_or(old, updated_replicas, 0);
	c = condition(d, st, "Progressing");
	if (moved || c->status == NULL || pb_streq(c->reason, "NewReplicaSetAvailable") || pb_streq(c->reason, "DeploymentPaused")) {
		set_condition(d, st, "Progressing", "True", "ReplicaSetUpdated",
				arena_printf(d->r->arena, "ReplicaSet \"%s\" is progressing.", current_name(d)), true);
		c = condition(d, st, "Progressing");
	}
	since = d->r->now_s - time_s(c->last_update_time);
	if (since >= deadline)
		set_condition(d, st, "Progressing", "False", "ProgressDeadlineExceeded",
				arena_printf(d->r->arena, "ReplicaSet \"%s\" has timed out progressing.", current_name(d)), false);
	else
		plan_again(d->r, (uint64_t)(deadline - since) * 1000);
}

void rollout_status(struct rollout *d)
{
	const Apps__DeploymentStatus *old = d->dep->status;
	Apps__Deployment *copy = pb_copy(d->r->arena, d->dep);
	Apps__DeploymentStatus *st = pb_sub(d->r->arena, copy, "status");
	int32_t all = 0, ready = 0, available = 0, updated = d->current ? d->current->actual : 0;

	for (size_t i = 0; i < d->n_sets; i++) {
		all += d->sets[i].actual;
		ready += d->sets[i].ready;
		available += d->sets[i].available;
	}
	/* Zero is left out, as in what is stored, so that equal means equal. */
#define SET(field, value) (st->field = (value), st->has_##field = st->field != 0)
	SET(replicas, all);
	SET(updated_replicas, updated);
	SET(ready_replicas, ready);
	SET(available_replicas, available);
	SET(unavailable_replicas, MAX(d->replicas - available, 0));
	SET(observed_generation, pb_or(d->o->meta, generation, 0));
#undef SET
	d->complete = d->current && updated == d->replicas && all == d->replicas && available == d->replicas &&
		      pb_or(d->current->rs->spec, replicas, 1) == d->replicas;
	if (available >= d->replicas - d->max_unavailable)
		set_condition(d, st, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", false);
	else
		set_condition(d, st, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.",
				false);
	replica_failure(d, st);
	progressing(d, st, old);
	if (!d->meta_changed && !pb_equal(old, st))
		plan_update_status(d->r, VIEW_DEPLOYMENTS, copy);
}
