/* A StatefulSet's claims and status. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/statefulset-priv.h"
#include "proto/pb.h"

/* --- Claims -------------------------------------------------------------------------------------------- */

const char *stateful_claim_name(const struct stateful *s, size_t i, int32_t ordinal)
{
	const Core__PersistentVolumeClaim *c = s->spec->volume_claim_templates[i];

	return arena_printf(s->r->arena, "%s-%s-%d", c->metadata ? pb_s(c->metadata->name) : "", s->o->meta->name, ordinal);
}

void stateful_create_claims(struct stateful *s, int32_t ordinal)
{
	struct arena *a = s->r->arena;

	for (size_t i = 0; i < s->spec->n_volume_claim_templates; i++) {
		const char *name = stateful_claim_name(s, i, ordinal);
		Core__PersistentVolumeClaim *claim;

		if (view_get(s->r->view, VIEW_CLAIMS, s->r->ns, name))
			continue;
		claim = pb_copy(a, s->spec->volume_claim_templates[i]);
		claim->status = NULL;
		claim->metadata->name = name;
		claim->metadata->namespace_ = arena_strdup(a, s->r->ns);
		for (size_t k = 0; s->spec->selector && k < s->spec->selector->n_match_labels; k++)
			pb_map_set(a, claim->metadata, "labels", s->spec->selector->match_labels[k]->key,
					pb_s(s->spec->selector->match_labels[k]->value));
		plan_create(s->r, VIEW_CLAIMS, s->r->ns, claim);
		plan_event(s->r, VIEW_STATEFULSETS, s->o, "Normal", "SuccessfulCreate", "create Claim %s in StatefulSet %s success",
				name, s->o->meta->name);
	}
	if (s->spec->n_volume_claim_templates > 0)
		plan_stage(s->r);
}

static bool is_owned(const Meta__ObjectMeta *m, const char *uid)
{
	for (size_t i = 0; i < m->n_owner_references; i++)
		if (pb_streq(m->owner_references[i]->uid, uid))
			return true;
	return false;
}

static void own(struct stateful *s, Core__PersistentVolumeClaim *copy, const Meta__ObjectMeta *owner, const char *api_version,
		const char *kind, bool wanted)
{
	struct arena *a = s->r->arena;
	Meta__OwnerReference *ref;

	for (size_t i = copy->metadata->n_owner_references; i-- > 0;)
		if (pb_streq(copy->metadata->owner_references[i]->uid, owner->uid)) {
			if (wanted)
				return;
			pb_remove(copy->metadata, "owner_references", i);
		}
	if (!wanted)
		return;
	ref = pb_add(a, copy->metadata, "owner_references");
	ref->api_version = api_version;
	ref->kind = kind;
	ref->name = arena_strdup(a, owner->name);
	ref->uid = arena_strdup(a, pb_s(owner->uid));
}

static void keep_claim(struct stateful *s, const struct informer_obj *claim, const struct stateful_pod *p, bool with_set, bool with_pod)
{
	Core__PersistentVolumeClaim *copy;

	if (claim->meta->deletion_timestamp != NULL ||
			(is_owned(claim->meta, s->o->meta->uid) == with_set && is_owned(claim->meta, p->o->meta->uid) == with_pod))
		return;
	copy = pb_copy(s->r->arena, claim->msg);
	own(s, copy, s->o->meta, "apps/v1", "StatefulSet", with_set);
	own(s, copy, p->o->meta, "v1", "Pod", with_pod);
	plan_update(s->r, VIEW_CLAIMS, copy);
}

void stateful_keep_claims(struct stateful *s)
{
	const Apps__StatefulSetPersistentVolumeClaimRetentionPolicy *policy = s->spec->persistent_volume_claim_retention_policy;
	bool deleted = policy && pb_streq(policy->when_deleted, "Delete"), scaled = policy && pb_streq(policy->when_scaled, "Delete");

	for (size_t i = 0; i < s->n_pods; i++) {
		bool surplus = s->pods[i].ordinal < s->start || s->pods[i].ordinal - s->start >= s->replicas;

		for (size_t k = 0; k < s->spec->n_volume_claim_templates; k++) {
			const struct informer_obj *claim =
				view_get(s->r->view, VIEW_CLAIMS, s->r->ns, stateful_claim_name(s, k, s->pods[i].ordinal));

			if (claim)
				keep_claim(s, claim, &s->pods[i], deleted && !(scaled && surplus), scaled && surplus);
		}
	}
	/* A pod that is taken away after this takes its claims along. */
	if (s->spec->n_volume_claim_templates > 0)
		plan_stage(s->r);
}

/* --- Status -------------------------------------------------------------------------------------------- */

void stateful_status(struct stateful *s)
{
	Apps__StatefulSet *copy = pb_copy(s->r->arena, s->set);
	Apps__StatefulSetStatus *st = pb_sub(s->r->arena, copy, "status");
	int32_t replicas = 0, ready = 0, available = 0, current = 0, updated = 0;
	const char *now = s->revisions.name;

	for (size_t i = 0; i < s->n_pods; i++) {
		const struct stateful_pod *p = &s->pods[i];

		replicas += !p->ended;
		ready += p->ready;
		available += p->available;
		current += !p->going && !p->ended && pb_streq(p->revision, s->current_revision);
		updated += !p->going && !p->ended && pb_streq(p->revision, now);
	}
	/* The rollout is over when every pod has today's template and is well. */
	if (!s->on_delete && s->partition == 0 && updated == s->replicas && replicas == s->replicas && ready == s->replicas) {
		s->current_revision = now;
		current = updated;
	}
	/* What is zero is left out where it is in what is stored, so that equal means equal. */
#define SET(field, value, always) (st->field = (value), st->has_##field = st->field != 0 || always)
	SET(replicas, replicas, true);
	SET(available_replicas, available, true);
	SET(ready_replicas, ready, false);
	SET(current_replicas, current, false);
	SET(updated_replicas, updated, false);
	SET(observed_generation, pb_or(s->o->meta, generation, 0), false);
#undef SET
	st->has_collision_count = true;
	st->current_revision = arena_strdup(s->r->arena, s->current_revision);
	st->update_revision = now;
	if (!pb_equal(s->set->status, st))
		plan_update_status(s->r, VIEW_STATEFULSETS, copy);
}
