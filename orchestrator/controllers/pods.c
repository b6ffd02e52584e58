#include "orchestrator/controllers/pods.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/json.h"
#include "proto/pb.h"

bool pod_is_active(const Core__Pod *p)
{
	const char *phase = p->status ? pb_s(p->status->phase) : "";

	return strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0 &&
	       (p->metadata == NULL || p->metadata->deletion_timestamp == NULL);
}

const Core__PodCondition *pod_condition(const Core__Pod *p, const char *type)
{
	for (size_t i = 0; p->status && i < p->status->n_conditions; i++)
		if (pb_streq(p->status->conditions[i]->type, type))
			return p->status->conditions[i];
	return NULL;
}

bool pod_is_ready(const Core__Pod *p)
{
	const Core__PodCondition *c = pod_condition(p, "Ready");

	return c && pb_streq(c->status, "True");
}

static bool has_ended(const Core__Pod *p)
{
	return p->status && (pb_streq(p->status->phase, "Succeeded") || pb_streq(p->status->phase, "Failed"));
}

struct json *pod_disruption(struct arena *a, const Core__Pod *p, const char *reason, const char *message, bool failed, int64_t now_s)
{
	const Core__PodCondition *old = pod_condition(p, "DisruptionTarget");
	bool on = old && pb_streq(old->status, "True");
	struct json *status, *list, *c;

	failed = failed && !has_ended(p);
	if (!failed && on && pb_streq(old->reason, reason) && pb_streq(old->message, message))
		return NULL;
	status = json_new_object(a);
	list = json_new_array(a);
	c = json_new_object(a);
	json_setc(a, c, "type", json_newc(a, "DisruptionTarget"));
	json_setc(a, c, "status", json_newc(a, "True"));
	json_setc(a, c, "reason", json_newc(a, reason));
	json_setc(a, c, "message", json_newc(a, message));
	if (p->metadata && pb_or(p->metadata, generation, 0) > 0)
		json_setc(a, c, "observedGeneration", json_new_int(a, p->metadata->generation));
	if (!on) {
		char text[CLOCK_RFC3339_SIZE];

		clock_rfc3339(now_s, text);
		json_setc(a, c, "lastTransitionTime", json_newc(a, text));
	}
	json_push(a, list, c);
	json_setc(a, status, "conditions", list);
	if (failed)
		json_setc(a, status, "phase", json_newc(a, "Failed"));
	return status;
}

void pod_disrupt(struct reconcile *r, const struct informer_obj *o, const char *reason, const char *message, bool failed)
{
	struct json *status = pod_disruption(r->arena, o->msg, reason, message, failed, r->now_s);

	if (status == NULL)
		return;
	plan_patch_status(r, VIEW_PODS, o, status);
	plan_stage(r);
}

int64_t pod_available_at(const Core__Pod *p, int32_t min_ready_s)
{
	const Core__PodCondition *c = pod_condition(p, "Ready");

	if (c == NULL || !pb_streq(c->status, "True"))
		return INT64_MAX;
	return min_ready_s > 0 ? time_s(c->last_transition_time) + min_ready_s : 0;
}

static int phase_rank(const Core__Pod *p)
{
	const char *phase = p->status ? pb_s(p->status->phase) : "";

	return strcmp(phase, "Running") == 0 ? 2 : strcmp(phase, "Unknown") == 0 ? 1 : 0;
}

static int64_t deletion_cost(const Core__Pod *p)
{
	const char *text = pb_map_get(p->metadata->annotations, p->metadata->n_annotations, "controller.kubernetes.io/pod-deletion-cost");
	int64_t v = 0;

	if (text)
		str_to_i64(str_from(text), &v);
	return v;
}

static int64_t restarts(const Core__Pod *p)
{
	int64_t most = 0;

	for (size_t i = 0; p->status && i < p->status->n_container_statuses; i++)
		most = MAX(most, (int64_t)pb_or(p->status->container_statuses[i], restart_count, 0));
	return most;
}

static const char *node_of(const Core__Pod *p)
{
	return p->spec ? pb_s(p->spec->node_name) : "";
}

/* What decides, most important first; the smaller one goes first. */
struct rank {
	const struct informer_obj *o;
	int64_t v[7];
};

static int compare(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	for (size_t i = 0; i < ARRAY_LEN(x->v); i++)
		if (x->v[i] != y->v[i])
			return x->v[i] < y->v[i] ? -1 : 1;
	return str_cmp(x->o->key, y->o->key);
}

void pods_sort_for_deletion(const struct informer_obj **pods, size_t n, int64_t now_s)
{
	struct rank *ranks = xcalloc(n, sizeof(*ranks));

	for (size_t i = 0; i < n; i++) {
		const Core__Pod *p = pods[i]->msg;
		const Core__PodCondition *ready = pod_condition(p, "Ready");
		int64_t together = 0;

		for (size_t k = 0; k < n; k++)
			together += strcmp(node_of(p), node_of(pods[k]->msg)) == 0;
		ranks[i] = (struct rank){pods[i],
				{node_of(p)[0] != '\0', phase_rank(p), pod_is_ready(p), deletion_cost(p), -together,
						pod_is_ready(p) ? -time_s(ready->last_transition_time) : 0,
						-restarts(p) * 4000000000 - time_s(p->metadata->creation_timestamp)}};
	}
	qsort(ranks, n, sizeof(*ranks), compare);
	for (size_t i = 0; i < n; i++)
		pods[i] = ranks[i].o;
	free(ranks);
}

int32_t pods_scaled(const Intstr__IntOrString *v, int32_t n, bool round_up)
{
	const char *s;
	int64_t percent;

	if (pb_or(v, type, 0) == 0)
		return MAX(pb_or(v, int_val, 0), 0);
	s = pb_s(v->str_val);
	if (!str_has_suffix(str_from(s), STR("%")) || !str_to_i64(str_sub(str_from(s), 0, strlen(s) - 1), &percent) || percent < 0)
		return 0;
	percent = MIN(percent, (int64_t)1000000);
	return (int32_t)((n * percent + (round_up ? 99 : 0)) / 100);
}

bool pod_adopt_or_release(struct reconcile *r, const struct informer_obj *owner, const Meta__LabelSelector *selector,
		const char *api_version, const char *kind, const struct informer_obj *o)
{
	bool ours = owner_is(o->meta, owner), matches = label_selector_matches(selector, o->meta);
	struct json *left;
	Core__Pod *copy;

	if (o->meta->deletion_timestamp != NULL || owner->meta->deletion_timestamp != NULL || ours == matches ||
			(!ours && owner_of(o->meta) != NULL) || !pod_is_active(o->msg))
		return ours;
	copy = pb_copy(r->arena, o->msg);
	if (matches)
		owner_set(r->arena, copy, owner, api_version, kind);
	left = json_new_array(r->arena);
	for (size_t i = 0; i < copy->metadata->n_owner_references; i++)
		if (matches || !pb_streq(copy->metadata->owner_references[i]->uid, owner->meta->uid))
			json_push(r->arena, left, owner_json(r->arena, copy->metadata->owner_references[i]));
	plan_patch_list(r, VIEW_PODS, NULL, o, "ownerReferences", left);
	return matches;
}
