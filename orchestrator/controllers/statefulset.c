/*
 * StatefulSet: pods with names and claims that stay: name-0, name-1 ... Ordered sets come up one after the other and go down from
 * the top; in Parallel ones pods do not wait for each other. An update replaces pods from the highest ordinal down to the partition.
 *
 * The pod that runs is told from the pod that should be by its label controller-revision-hash: the name of its revision. Below
 * the partition a pod that has to be made again gets the template of status.currentRevision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/pods.h"
#include "orchestrator/controllers/statefulset-priv.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/schema.h"

#define BURST 100

/* --- Reading ------------------------------------------------------------------------------------------- */

/* The ordinal in a pod's name, -1 when it is no name of this set. */
static int64_t ordinal_of(const struct stateful *s, const char *name)
{
	size_t n = strlen(s->o->meta->name);
	int64_t ordinal;

	if (strncmp(name, s->o->meta->name, n) != 0 || name[n] != '-' || !str_to_i64(str_from(name + n + 1), &ordinal) || ordinal < 0 ||
			ordinal > INT32_MAX || (name[n + 1] == '0' && name[n + 2] != '\0'))
		return -1;
	return ordinal;
}

static bool is_available(struct stateful *s, const Core__Pod *p)
{
	int64_t at = pod_available_at(p, pb_or(s->spec, min_ready_seconds, 0));

	if (at <= s->r->now_s)
		return true;
	if (at != INT64_MAX)
		plan_again(s->r, (uint64_t)(at - s->r->now_s) * 1000);
	return false;
}

static int by_ordinal(const void *a, const void *b)
{
	const struct stateful_pod *x = a, *y = b;

	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

static void take_pod(struct stateful *s, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;
	int64_t ordinal = ordinal_of(s, o->meta->name);
	struct stateful_pod *sp;

	if (ordinal < 0)
		return;
	sp = &s->pods[s->n_pods++];
	*sp = (struct stateful_pod){
		.o = o,
		.ordinal = (int32_t)ordinal,
		.going = o->meta->deletion_timestamp != NULL,
		.ended = p->status && (pb_streq(p->status->phase, "Failed") || pb_streq(p->status->phase, "Succeeded")),
		.revision = pb_s(pb_map_get(o->meta->labels, o->meta->n_labels, REVISION_LABEL)),
	};
	sp->ready = !sp->going && !sp->ended && pod_is_ready(p);
	sp->available = sp->ready && is_available(s, p);
}

static void collect(struct stateful *s)
{
	struct informer_objs all = informer_index_get(s->r->view->pods_by_namespace, str_from(s->r->ns));

	s->pods = arena_new_array(s->r->arena, struct stateful_pod, all.n + 1);
	for (size_t i = 0; i < all.n; i++) {
		/* Another name can never be one of ours. */
		if (!owner_is(all.v[i]->meta, s->o) && ordinal_of(s, all.v[i]->meta->name) < 0)
			continue;
		if (pod_adopt_or_release(s->r, s->o, s->spec->selector, "apps/v1", "StatefulSet", all.v[i]))
			take_pod(s, all.v[i]);
	}
	qsort(s->pods, s->n_pods, sizeof(*s->pods), by_ordinal);
}

static struct stateful_pod *pod_at(const struct stateful *s, int32_t ordinal)
{
	struct stateful_pod key = {.ordinal = ordinal};

	return bsearch(&key, s->pods, s->n_pods, sizeof(key), by_ordinal);
}

static bool is_wanted(const struct stateful *s, int32_t ordinal)
{
	return ordinal >= s->start && ordinal - s->start < s->replicas;
}

/* --- Making pods --------------------------------------------------------------------------------------- */

/* The template that a revision holds; NULL when it cannot be read. */
static Core__PodTemplateSpec *template_of(struct arena *a, const struct informer_obj *revision)
{
	const Apps__ControllerRevision *rev = revision->msg;
	struct err e = ERR_INIT;
	struct codec_errs errs;
	struct json *doc, *t;
	struct buf wire = BUF_INIT;
	Core__PodTemplateSpec *out = NULL;

	if (rev->data == NULL || json_parse(a, str_of(rev->data->_.data, rev->data->_.len), NULL, &doc, &e) < 0)
		return NULL;
	t = json_getp(doc, "spec.template");
	if (!json_is(t, JSON_OBJECT))
		return NULL;
	json_delc(t, "$patch");
	codec_errs_init(&errs, a);
	codec_to_wire(&wire, schema_type_find("core.v1.PodTemplateSpec"), t, &errs);
	if (codec_errs_hard(&errs) == NULL)
		out = pb_unpack(a, &core__pod_template_spec__descriptor, buf_str(&wire));
	buf_fini(&wire);
	return out;
}

/* Today's template, or, below the partition, that of the current revision. */
static const Core__PodTemplateSpec *template_for(struct stateful *s, int32_t ordinal, const char **ret_revision)
{
	*ret_revision = s->revisions.name;
	if (!s->on_delete && ordinal - s->start >= s->partition)
		return s->spec->template_;
	if (pb_streq(s->current_revision, s->revisions.name))
		return s->spec->template_;
	for (size_t i = 0; i < s->revisions.n; i++) {
		Core__PodTemplateSpec *t;

		if (s->on_delete || !pb_streq(s->revisions.v[i]->meta->name, s->current_revision))
			continue;
		t = template_of(s->r->arena, s->revisions.v[i]);
		if (t) {
			*ret_revision = s->current_revision;
			return t;
		}
	}
	return s->spec->template_;
}

static void mount_claims(struct stateful *s, Core__Pod *pod, int32_t ordinal)
{
	struct arena *a = s->r->arena;

	for (size_t i = 0; i < s->spec->n_volume_claim_templates; i++) {
		const Core__PersistentVolumeClaim *c = s->spec->volume_claim_templates[i];
		const char *name = c->metadata ? pb_s(c->metadata->name) : "";
		Core__Volume *v;
		Core__PersistentVolumeClaimVolumeSource *source;

		for (size_t k = pod->spec->n_volumes; k-- > 0;)
			if (pb_streq(pod->spec->volumes[k]->name, name))
				pb_remove(pod->spec, "volumes", k);
		v = pb_add(a, pod->spec, "volumes");
		v->name = arena_strdup(a, name);
		source = pb_sub(a, pb_sub(a, v, "volume_source"), "persistent_volume_claim");
		source->claim_name = stateful_claim_name(s, i, ordinal);
	}
}

static void create_pod(struct stateful *s, int32_t ordinal)
{
	struct arena *a = s->r->arena;
	Core__Pod *pod = pb_new_of(a, core__pod, Core__Pod);
	const char *revision, *number = arena_printf(a, "%d", ordinal);
	const Core__PodTemplateSpec *t = template_for(s, ordinal, &revision);

	stateful_create_claims(s, ordinal);
	pod->metadata = t->metadata ? pb_copy(a, t->metadata) : pb_new_of(a, meta__object_meta, Meta__ObjectMeta);
	pod->spec = pb_copy(a, t->spec);
	pod->metadata->name = arena_printf(a, "%s-%d", s->o->meta->name, ordinal);
	pod->metadata->generate_name = arena_printf(a, "%s-", s->o->meta->name);
	pod->metadata->namespace_ = arena_strdup(a, s->r->ns);
	pb_map_set(a, pod->metadata, "labels", REVISION_LABEL, revision);
	pb_map_set(a, pod->metadata, "labels", "statefulset.kubernetes.io/pod-name", pod->metadata->name);
	pb_map_set(a, pod->metadata, "labels", "apps.kubernetes.io/pod-index", number);
	pod->spec->hostname = pod->metadata->name;
	pod->spec->subdomain = s->spec->service_name ? arena_strdup(a, s->spec->service_name) : NULL;
	mount_claims(s, pod, ordinal);
	owner_set(a, pod, s->o, "apps/v1", "StatefulSet");
	plan_create(s->r, VIEW_PODS, s->r->ns, pod);
	plan_event(s->r, VIEW_STATEFULSETS, s->o, "Normal", "SuccessfulCreate", "create Pod %s in StatefulSet %s successful",
			pod->metadata->name, s->o->meta->name);
	s->n_actions++;
}

static void remove_pod(struct stateful *s, struct stateful_pod *p, bool recreate)
{
	if (p->going)
		return;
	plan_delete(s->r, VIEW_PODS, p->o, -1, NULL);
	plan_event(s->r, VIEW_STATEFULSETS, s->o, recreate && p->ended ? "Warning" : "Normal",
			recreate && p->ended ? "RecreatingFailedPod" : "SuccessfulDelete", "delete Pod %s in StatefulSet %s successful",
			p->o->meta->name, s->o->meta->name);
	p->going = true;
	p->ready = p->available = false;
	s->n_actions++;
}

/* --- One round ----------------------------------------------------------------------------------------- */

/* Makes what is missing, in order. False: an ordered set waits for this one. */
static bool fill(struct stateful *s)
{
	for (int32_t i = 0; i < s->replicas && s->n_actions < BURST; i++) {
		struct stateful_pod *p = pod_at(s, s->start + i);

		if (p == NULL)
			create_pod(s, s->start + i);
		else if (p->ended && !p->going)
			remove_pod(s, p, true);
		if (!s->parallel && (p == NULL || p->going || !p->available))
			return false;
	}
	return true;
}

/* From the top. An ordered set takes one at a time, and only while the others are well. */
static bool shrink(struct stateful *s)
{
	bool left = false;

	for (size_t i = s->n_pods; i-- > 0 && s->n_actions < BURST;) {
		struct stateful_pod *p = &s->pods[i];

		if (is_wanted(s, p->ordinal))
			continue;
		left = true;
		remove_pod(s, p, false);
		if (!s->parallel)
			return false;
	}
	return !left;
}

/* From the top down to the partition, so many at a time as may be missing. */
static void roll(struct stateful *s)
{
	int32_t missing = 0;

	if (s->on_delete)
		return;
	for (int32_t i = s->replicas; i-- > 0;) {
		struct stateful_pod *p = pod_at(s, s->start + i);

		missing += p == NULL || !p->available;
	}
	for (int32_t i = s->replicas; i-- > s->partition;) {
		struct stateful_pod *p = pod_at(s, s->start + i);
		bool old = p && !pb_streq(p->revision, s->revisions.name);

		/* One that is not well and old is replaced whatever is missing: waiting for it might last for ever. */
		if (old && !p->going && (!p->available || missing < s->max_unavailable)) {
			missing += p->available;
			remove_pod(s, p, false);
			if (missing >= s->max_unavailable)
				return;
			continue;
		}
		if (!s->parallel && (p == NULL || p->going || !p->available) && missing >= s->max_unavailable)
			return;
	}
}

static void limits(struct stateful *s)
{
	const Apps__StatefulSetUpdateStrategy *u = s->spec->update_strategy;
	const Apps__RollingUpdateStatefulSetStrategy *ru = u ? u->rolling_update : NULL;

	s->replicas = MAX(pb_or(s->spec, replicas, 1), 0);
	s->start = s->spec->ordinals ? pb_or(s->spec->ordinals, start, 0) : 0;
	s->on_delete = u && pb_streq(u->type, "OnDelete");
	s->partition = ru ? pb_or(ru, partition, 0) : 0;
	s->max_unavailable = ru && ru->max_unavailable ? MAX(pods_scaled(ru->max_unavailable, s->replicas, true), 1) : 1;
	s->parallel = pb_streq(s->spec->pod_management_policy, "Parallel");
	s->current_revision = s->set->status ? pb_s(s->set->status->current_revision) : "";
	if (s->current_revision[0] == '\0')
		s->current_revision = s->revisions.name;
}

static bool pod_uses(const void *arg, const struct informer_obj *revision)
{
	const struct stateful *s = arg;

	if (pb_streq(revision->meta->name, s->current_revision))
		return true;
	for (size_t i = 0; i < s->n_pods; i++)
		if (pb_streq(s->pods[i].revision, revision->meta->name))
			return true;
	return false;
}

static void reconcile_statefulset(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_STATEFULSETS, r->ns, r->name);
	struct stateful s = {.r = r, .o = o, .set = informer_msg(o)};

	if (s.set == NULL || s.set->spec == NULL || s.set->spec->template_ == NULL || s.set->spec->template_->spec == NULL)
		return;
	s.spec = s.set->spec;
	revisions_sync(r, VIEW_STATEFULSETS, o, s.spec->template_, &s.revisions);
	limits(&s);
	collect(&s);
	stateful_keep_claims(&s);
	if (o->meta->deletion_timestamp == NULL) {
		if (fill(&s) && shrink(&s))
			roll(&s);
		if (s.n_actions >= BURST)
			plan_again(r, 1);
	}
	stateful_status(&s);
	revisions_trim(r, &s.revisions, pb_or(s.spec, revision_history_limit, 10), pod_uses, &s);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	if (owner_of(o->meta) != NULL) {
		map_owner(q, o, "StatefulSet");
		return;
	}
	/* A pod without an owner may be adopted. */
	INFORMER_FOR_EACH (s, v->inf[VIEW_STATEFULSETS]) {
		const Apps__StatefulSet *set = s->msg;

		if (pb_streq(s->meta->namespace_, o->meta->namespace_) && set->spec && label_selector_matches(set->spec->selector, o->meta))
			enqueue_key(q, s->key);
	}
}

static void map_revision(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_owner(q, o, "StatefulSet");
}

const struct controller_row controller_statefulset = {
	.name = "statefulset-controller",
	.account = "statefulset-controller",
	.watches = {{VIEW_STATEFULSETS, map_self}, {VIEW_PODS, map_pod}, {VIEW_REVISIONS, map_revision}, {VIEW_CLAIMS, map_revision}},
	.reconcile = reconcile_statefulset,
};
