#include "orchestrator/controllers/hpa_round.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/hpa_propose.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/quantity.h"
#include "proto/quantity.pb-c.h"
#include "proto/selector.h"

#define ABLE "AbleToScale"
#define ACTIVE "ScalingActive"
#define LIMITED "ScalingLimited"

/* --- Saying ---------------------------------------------------------------------------------------------------------- */

static void event(struct hpa_round *r, bool warning, const char *reason, const char *message)
{
	struct hpa_event *ev = arena_new_of(r->arena, struct hpa_event), **end = &r->events;

	*ev = (struct hpa_event){warning, reason, message, NULL};
	while (*end)
		end = &(*end)->next;
	*end = ev;
}

static void condition(struct hpa_round *r, const char *type, bool status, const char *reason, const char *message)
{
	Autoscalingv2__HorizontalPodAutoscalerStatus *s = r->copy->status;
	Autoscalingv2__HorizontalPodAutoscalerCondition *c = NULL;

	for (size_t i = 0; i < s->n_conditions && !c; i++)
		if (pb_streq(s->conditions[i]->type, type))
			c = s->conditions[i];
	if (!c)
		c = pb_add(r->arena, s, "conditions");
	if (!pb_streq(c->status, status ? "True" : "False"))
		c->last_transition_time = time_now(r->arena, r->now_s);
	c->type = type;
	c->status = status ? "True" : "False";
	c->reason = reason;
	c->message = message;
}

/* What the replicas were, and no wish any more if there is nothing new. */
static void counts(struct hpa_round *r, int32_t desired)
{
	Autoscalingv2__HorizontalPodAutoscalerStatus *s = r->copy->status;

	s->has_current_replicas = true;
	s->current_replicas = r->current;
	s->has_desired_replicas = true;
	s->desired_replicas = desired;
	s->has_observed_generation = false;
}

/* --- The spec -------------------------------------------------------------------------------------------------------- */

static double approximately(const Resource__Quantity *q, double otherwise)
{
	return q ? (double)quantity_of(q->string).nano / 1e9 : otherwise;
}

/* Old objects may lack what is given by default today. */
static struct hpa_rules rules_of(struct arena *a, const Autoscalingv2__HPAScalingRules *s, bool up)
{
	static const struct hpa_policy up_policies[] = {{false, 4, 15}, {true, 100, 15}}, down_policies[] = {{true, 100, 15}};
	struct hpa_rules r = {.select = HPA_MOST, .window_s = up ? 0 : HPA_DOWNSCALE_WINDOW_S, .tolerance = HPA_TOLERANCE,
			.policies = up ? up_policies : down_policies, .n_policies = up ? ARRAY_LEN(up_policies) : ARRAY_LEN(down_policies)};
	struct hpa_policy *own;

	if (!s)
		return r;
	r.window_s = pb_or(s, stabilization_window_seconds, r.window_s);
	r.tolerance = approximately(s->tolerance, HPA_TOLERANCE);
	r.select = pb_streq(s->select_policy, "Disabled") ? HPA_NONE : pb_streq(s->select_policy, "Min") ? HPA_LEAST : HPA_MOST;
	if (s->n_policies == 0)
		return r;
	own = arena_new_array(a, struct hpa_policy, s->n_policies);
	for (size_t i = 0; i < s->n_policies; i++)
		own[i] = (struct hpa_policy){pb_streq(s->policies[i]->type, "Percent"), pb_or(s->policies[i], value, 0),
				pb_or(s->policies[i], period_seconds, 0)};
	r.policies = own;
	r.n_policies = s->n_policies;
	return r;
}

static struct hpa_bounds bounds_of(struct arena *a, const Autoscalingv2__HorizontalPodAutoscalerSpec *s)
{
	const Autoscalingv2__HorizontalPodAutoscalerBehavior *b = s->behavior;

	return (struct hpa_bounds){.min = pb_or(s, min_replicas, 1), .max = pb_or(s, max_replicas, 1), .has_behavior = b != NULL,
			.up = rules_of(a, b ? b->scale_up : NULL, true), .down = rules_of(a, b ? b->scale_down : NULL, false)};
}

void hpa_round_begin(struct hpa_round *r)
{
	r->copy = pb_copy(r->arena, r->hpa);
	pb_sub(r->arena, r->copy, "status");
	r->events = NULL;
	r->bounds = bounds_of(r->arena, r->hpa->spec);
	r->rescale = false;
}

void hpa_round_no_scale(struct hpa_round *r, const char *why)
{
	event(r, true, "FailedGetScale", why);
	condition(r, ABLE, false, "FailedGetScale",
			arena_printf(r->arena, "the HPA controller was unable to get the target's current scale: %s", why));
}

/* --- The target's pods ------------------------------------------------------------------------------------------------ */

static bool selects(const struct selector *sel, const Core__Pod *p)
{
	return selector_matches_pb(sel, p->metadata->labels, p->metadata->n_labels);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The others whose targets' pods are ours, too; NULL: there are none. */
static const char *rivals_of(struct hpa_round *r)
{
	const char **names = arena_new_array(r->arena, const char *, r->n_rivals + 1);
	const char *ns = pb_s(r->hpa->metadata->namespace_), *text = NULL;
	size_t n = 0;

	for (size_t i = 0; i < r->n_rivals; i++) {
		struct selector sel;
		bool same = false;

		if (selector_parse(r->arena, str_from(r->rivals[i].selector), &sel, NULL) < 0)
			continue;
		for (size_t k = 0; k < r->n_pods && !same; k++)
			same = selects(&sel, r->pods[k]);
		if (same)
			names[n++] = r->rivals[i].name;
	}
	if (n == 0)
		return NULL;
	names[n++] = r->hpa->metadata->name;
	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++)
		text = arena_printf(r->arena, "%s%s%s/%s", text ? text : "", i ? " " : "", ns, names[i]);
	return text;
}

/* It cannot be known what to measure. */
static void unselected(struct hpa_round *r, const char *event_reason, const char *event_text, const char *reason, const char *message)
{
	event(r, true, event_reason, event_text);
	condition(r, ACTIVE, false, reason, message);
	r->copy->status->n_current_metrics = 0;
	counts(r, pb_or(r->copy->status, desired_replicas, 0));
	event(r, true, "FailedComputeMetricsReplicas", event_text);
}

static void keep_selected(struct hpa_round *r, const struct selector *sel)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_pods; i++)
		if (selects(sel, r->pods[i]))
			r->pods[n++] = r->pods[i];
	r->n_pods = n;
}

/* Leaves the pods that the selector finds. False: none can be told from others, and the round is over. */
static bool select_pods(struct hpa_round *r)
{
	struct selector sel;
	struct err e = ERR_INIT;
	const char *text;

	if (r->selector[0] == '\0') {
		unselected(r, "SelectorRequired", "selector is required", "InvalidSelector", "the HPA target's scale is missing a selector");
		return false;
	}
	if (selector_parse(r->arena, str_from(r->selector), &sel, &e) < 0) {
		text = arena_printf(r->arena, "couldn't convert selector into a corresponding internal selector object: %s", e.text);
		unselected(r, "InvalidSelector", text, "InvalidSelector", text);
		return false;
	}
	keep_selected(r, &sel);
	text = rivals_of(r);
	if (text) {
		text = arena_printf(r->arena, "pods by selector %s are controlled by multiple HPAs: [%s]", r->selector, text);
		unselected(r, "AmbiguousSelector", text, "AmbiguousSelector", text);
		return false;
	}
	return true;
}

static void ask_for(struct hpa_round *r, int32_t replicas, const char *why)
{
	r->rescale = replicas != r->current;
	r->replicas = replicas;
	r->why = why;
}

int hpa_round_scale(struct hpa_round *r, struct str answer, bool *ret_ask, struct err *e)
{
	if (json_parse(r->arena, arena_str(r->arena, answer), NULL, &r->scale, e) < 0)
		return -(int)e->code;
	if (!json_eqc(json_getc(r->scale, "kind"), "Scale"))
		return err_set(e, ERR_BAD_REQUEST, "the answer is no Scale");
	*ret_ask = false;
	r->current = (int32_t)json_i64_or(json_getp(r->scale, "spec.replicas"), 0);
	r->status_replicas = (int32_t)json_i64_or(json_getp(r->scale, "status.replicas"), 0);
	r->selector = arena_cstr(r->arena, json_strp(r->scale, "status.selector"));
	condition(r, ABLE, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
	hpa_history_begin(r->history, r->current, r->now_ms);
	if (r->current == 0 && r->bounds.min != 0) {
		condition(r, ACTIVE, false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
		r->copy->status->n_current_metrics = 0;
		counts(r, 0);
	} else if (r->current > r->bounds.max) {
		ask_for(r, r->bounds.max, "Current number of replicas above Spec.MaxReplicas");
		r->copy->status->n_current_metrics = 0;
	} else if (r->current < r->bounds.min) {
		ask_for(r, r->bounds.min, "Current number of replicas below Spec.MinReplicas");
		r->copy->status->n_current_metrics = 0;
	} else {
		*ret_ask = select_pods(r);
	}
	return 0;
}

/* --- All metrics ------------------------------------------------------------------------------------------------------- */

struct failure {
	const char *reason, *message; /* of the condition */
	const char *text;             /* of the first one */
	size_t n;
};

static void failed(struct hpa_round *r, struct failure *f, const char *reason, const char *why, const char *text)
{
	event(r, true, reason, why);
	if (f->n++ > 0)
		return;
	f->reason = reason;
	f->message = arena_printf(r->arena, "the HPA was unable to compute the replica count: %s", why);
	f->text = text;
}

/* A failed metric leaves an empty status, so that the statuses stand in the order of the spec. */
static bool propose(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct failure *f,
		struct hpa_proposal *p)
{
	Autoscalingv2__MetricStatus *place = pb_add(r->arena, r->copy->status, "current_metrics");

	if (hpa_propose(r, m, l, p)) {
		*place = *p->status;
		return true;
	}
	failed(r, f, p->reason, p->why, p->text);
	return false;
}

static const char *all_failures(struct hpa_round *r, const struct failure *f, size_t n_metrics)
{
	return arena_printf(r->arena, "invalid metrics (%zu invalid out of %zu), first error is: %s", f->n, n_metrics, f->text);
}

/* The largest number counts. Where one is not known, it can only grow: the unknown one might want more. */
void hpa_round_decide(struct hpa_round *r, const struct hpa_learnt *learnt)
{
	const Autoscalingv2__HorizontalPodAutoscalerSpec *s = r->hpa->spec;
	struct failure f = {.n = 0};
	int32_t wanted = 0;
	const char *metric = "";
	struct selector sel;
	struct hpa_limited v;

	if (selector_parse(r->arena, str_from(r->selector), &sel, NULL) == 0)
		keep_selected(r, &sel);
	r->copy->status->n_current_metrics = 0;
	r->copy->status->current_metrics = NULL;
	for (size_t i = 0; i < s->n_metrics; i++) {
		struct hpa_proposal p;

		if (propose(r, s->metrics[i], &learnt[i], &f, &p) && (wanted == 0 || p.answer.replicas > wanted)) {
			wanted = p.answer.replicas;
			metric = p.name;
		}
	}
	if (f.n > 0 && (f.n >= s->n_metrics || wanted < r->current)) {
		condition(r, ACTIVE, false, f.reason, f.message);
		counts(r, pb_or(r->copy->status, desired_replicas, 0));
		event(r, true, "FailedComputeMetricsReplicas", all_failures(r, &f, s->n_metrics));
		return;
	}
	condition(r, ACTIVE, true, "ValidMetricFound",
			arena_printf(r->arena, "the HPA was able to successfully calculate a replica count from %s", metric));
	v = hpa_limit(r->history, &r->bounds, r->current, wanted, r->now_ms);
	condition(r, ABLE, true, v.able_reason, v.able_message);
	condition(r, LIMITED, v.limited, v.limit_reason, v.limit_message);
	ask_for(r, v.replicas, wanted > r->current ? arena_printf(r->arena, "%s above target", metric) :
			       wanted < r->current ? "All metrics below target" : "");
	counts(r, r->current);
}

/* --- Writing ------------------------------------------------------------------------------------------------------------ */

struct str hpa_round_wanted(struct hpa_round *r)
{
	json_setp(r->arena, r->scale, "spec.replicas", json_new_int(r->arena, r->replicas));
	return json_text(r->arena, r->scale);
}

void hpa_round_rescaled(struct hpa_round *r, const char *why_not)
{
	if (why_not) {
		event(r, true, "FailedRescale",
				arena_printf(r->arena, "New size: %d; reason: %s; error: %s", r->replicas, r->why, why_not));
		condition(r, ABLE, false, "FailedUpdateScale",
				arena_printf(r->arena, "the HPA controller was unable to update the target scale: %s", why_not));
		counts(r, r->hpa->status ? pb_or(r->hpa->status, desired_replicas, 0) : 0);
		return;
	}
	condition(r, ABLE, true, "SucceededRescale",
			arena_printf(r->arena, "the HPA controller was able to update the target scale to %d", r->replicas));
	event(r, false, "SuccessfulRescale", arena_printf(r->arena, "New size: %d; reason: %s", r->replicas, r->why));
	hpa_scaled(r->history, &r->bounds, r->current, r->replicas, r->now_ms);
	counts(r, r->replicas);
	r->copy->status->last_scale_time = time_now(r->arena, r->now_s);
}

bool hpa_round_changed(const struct hpa_round *r)
{
	return !r->hpa->status || !pb_equal(r->hpa->status, r->copy->status);
}
