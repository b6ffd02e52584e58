#include "orchestrator/controllers/hpa_propose.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/hpa_metrics.h"
#include "proto/pb.h"
#include "proto/quantity.h"
#include "proto/quantity.pb-c.h"

/* --- Small things ---------------------------------------------------------------------------------------------------- */

static int64_t milli(const Resource__Quantity *q)
{
	return quantity_milli(quantity_of(q->string));
}

static void set_milli(struct arena *a, void *msg, const char *field, int64_t milli)
{
	Resource__Quantity *q = pb_sub(a, msg, field);
	char text[QUANTITY_SIZE];

	quantity_print(quantity_from_milli(milli), text);
	q->string = arena_strdup(a, text);
}

/* As Go prints a *LabelSelector, which upstream's messages do. */
static const char *go_selector(struct arena *a, const Meta__LabelSelector *s)
{
	struct buf b = BUF_INIT;
	const char *text;

	if (!s)
		return "nil";
	buf_adds(&b, STR("&LabelSelector{MatchLabels:map[string]string{"));
	for (size_t i = 0; i < s->n_match_labels; i++)
		buf_printf(&b, "%s: %s,", pb_s(s->match_labels[i]->key), pb_s(s->match_labels[i]->value));
	buf_adds(&b, STR("},MatchExpressions:[]LabelSelectorRequirement{"));
	for (size_t i = 0; i < s->n_match_expressions; i++) {
		const Meta__LabelSelectorRequirement *q = s->match_expressions[i];

		buf_printf(&b, "LabelSelectorRequirement{Key:%s,Operator:%s,Values:[", pb_s(q->key), pb_s(q->operator_));
		for (size_t k = 0; k < q->n_values; k++)
			buf_printf(&b, "%s%s", k ? " " : "", q->values[k]);
		buf_adds(&b, STR("],},"));
	}
	buf_adds(&b, STR("},}"));
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

static struct hpa_tolerance tolerance_of(const struct hpa_round *r)
{
	return (struct hpa_tolerance){r->bounds.up.tolerance, r->bounds.down.tolerance};
}

/* --- Pods -------------------------------------------------------------------------------------------------------------- */

static int64_t request_in(const Core__Container *c, const char *resource, bool *ret_found)
{
	const Core__ResourceRequirements *q = c->resources;
	const Resource__Quantity *v = q ? pb_map_get(q->requests, q->n_requests, resource) : NULL;

	*ret_found = v != NULL;
	return v ? milli(v) : 0;
}

/* One container's, or the pod's own, or the sum of those of all containers that run on (sidecars, too). */
static void request_of(struct arena *a, const Core__Pod *p, const char *resource, const char *container, struct hpa_pod *ret)
{
	const Core__PodSpec *s = p->spec;
	const Core__ResourceRequirements *whole = s->resources;
	const Resource__Quantity *v = whole ? pb_map_get(whole->requests, whole->n_requests, resource) : NULL;
	bool found = false;

	if (!container[0] && whole && whole->n_requests > 0) {
		ret->request_milli = v ? milli(v) : 0;
		if (!v)
			ret->no_request = arena_printf(a, "missing pod-level request for %s in Pod %s", resource, p->metadata->name);
		return;
	}
	for (size_t i = 0; i < s->n_containers + s->n_init_containers; i++) {
		const Core__Container *c = i < s->n_containers ? s->containers[i] : s->init_containers[i - s->n_containers];
		bool has;

		if ((i >= s->n_containers && !pb_streq(c->restart_policy, "Always")) || (container[0] && !pb_streq(c->name, container)))
			continue;
		found = true;
		ret->request_milli += request_in(c, resource, &has);
		if (!has && !ret->no_request)
			ret->no_request = arena_printf(a, "missing request for %s in container %s of Pod %s", resource, pb_s(c->name),
					p->metadata->name);
	}
	if (container[0] && !found)
		ret->no_request = arena_printf(a, "container %s not found in Pod %s", container, p->metadata->name);
}

static void readiness_of(const Core__PodStatus *s, struct hpa_pod *ret)
{
	for (size_t i = 0; i < s->n_conditions; i++) {
		const Core__PodCondition *c = s->conditions[i];

		if (!pb_streq(c->type, "Ready"))
			continue;
		ret->ready = pb_streq(c->status, "True") ? HPA_READY : pb_streq(c->status, "False") ? HPA_NOT_READY : HPA_READY_UNKNOWN;
		ret->ready_since_s = time_s(c->last_transition_time);
	}
}

/* resource NULL: no requests are needed. */
static struct hpa_pod *pods_of(const struct hpa_round *r, const char *resource, const char *container)
{
	struct hpa_pod *v = arena_new_array(r->arena, struct hpa_pod, r->n_pods + 1);

	for (size_t i = 0; i < r->n_pods; i++) {
		const Core__Pod *p = r->pods[i];

		v[i].name = p->metadata->name;
		v[i].leaving = p->metadata->deletion_timestamp != NULL;
		if (resource)
			request_of(r->arena, p, resource, container, &v[i]);
		v[i].phase = HPA_PENDING;
		if (!p->status)
			continue;
		v[i].phase = pb_streq(p->status->phase, "Pending") ? HPA_PENDING : pb_streq(p->status->phase, "Failed") ? HPA_FAILED : HPA_OTHER;
		v[i].running = pb_streq(p->status->phase, "Running");
		v[i].started_s = time_s(p->status->start_time);
		readiness_of(p->status, &v[i]);
	}
	return v;
}

/* resource NULL: of a metric that is none. */
static int of_pods(struct hpa_round *r, const char *resource, const char *container, bool percent, int64_t target,
		const struct hpa_sample *samples, size_t n_samples, struct hpa_proposal *p, struct err *e)
{
	struct hpa_pods_ask ask = {.cpu = resource && strcmp(resource, "cpu") == 0, .percent = percent, .target = target, .current = r->current,
			.tolerance = tolerance_of(r), .pods = pods_of(r, percent ? resource : NULL, container), .n_pods = r->n_pods,
			.samples = samples, .n_samples = n_samples, .now_s = r->now_s};

	return hpa_count_pods(&ask, &p->answer, e);
}

/* --- What they use of a resource ---------------------------------------------------------------------------------------- */

static int of_resource(struct hpa_round *r, const char *resource, const char *container, const Autoscalingv2__MetricTarget *t,
		const struct hpa_learnt *l, void *status, struct hpa_proposal *p, struct err *e)
{
	struct hpa_sample *samples;
	size_t n;
	bool percent = !t->average_value;
	Autoscalingv2__MetricValueStatus *now;

	if (percent && !t->has_average_utilization)
		return err_set(e, ERR_BAD_REQUEST, "invalid resource metric source: neither an average utilization target nor an average value (usage) "
						   "target was set");
	if (l->err.code)
		err_set(e, l->err.code, "unable to get metrics for resource %s: unable to fetch metrics from resource metrics API: %s", resource,
				l->err.text);
	else if (hpa_read_resource(r->arena, l->text, resource, container, &samples, &n, e) < 0)
		err_prefix(e, "unable to get metrics for resource %s", resource);
	else
		of_pods(r, resource, container, percent, percent ? t->average_utilization : milli(t->average_value), samples, n, p, e);
	if (e->code)
		return err_prefix(e, "failed to get %s %s", resource, percent ? "utilization" : "usage");
	now = pb_sub(r->arena, status, "current");
	set_milli(r->arena, now, "average_value", p->answer.milli);
	now->has_average_utilization = percent;
	now->average_utilization = p->answer.percent;
	p->name = !percent ? arena_printf(r->arena, "%s resource", resource) :
			     arena_printf(r->arena, "%s %sresource utilization (percentage of request)", resource, container[0] ? "container " : "");
	return 0;
}

static int resource_metric(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p,
		struct err *e)
{
	Autoscalingv2__ResourceMetricStatus *s = pb_sub(r->arena, p->status, "resource");

	s->name = m->resource->name;
	p->text = arena_printf(r->arena, "failed to get %s resource metric value", pb_s(s->name));
	return of_resource(r, pb_s(s->name), "", m->resource->target, l, s, p, e);
}

static int container_metric(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p,
		struct err *e)
{
	Autoscalingv2__ContainerResourceMetricStatus *s = pb_sub(r->arena, p->status, "container_resource");

	s->name = m->container_resource->name;
	s->container = m->container_resource->container;
	p->text = arena_printf(r->arena, "failed to get %s container metric value", pb_s(s->container));
	return of_resource(r, pb_s(s->name), pb_s(s->container), m->container_resource->target, l, s, p, e);
}

/* --- Other metrics ------------------------------------------------------------------------------------------------------ */

static void custom_failed(const struct hpa_learnt *l, struct err *e)
{
	err_set(e, l->err.code, "unable to fetch metrics from custom metrics API: %s", l->err.text);
}

static int pods_metric(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p,
		struct err *e)
{
	const Autoscalingv2__PodsMetricSource *src = m->pods;
	Autoscalingv2__PodsMetricStatus *s = pb_sub(r->arena, p->status, "pods");
	struct hpa_sample *samples;
	size_t n;

	p->text = "failed to get pods metric value";
	if (!src->target->average_value)
		return err_set(e, ERR_BAD_REQUEST, "invalid pods metric source: no average value target was set");
	if (l->err.code)
		custom_failed(l, e);
	else
		hpa_read_pods(r->arena, l->text, &samples, &n, e);
	if (e->code)
		return err_prefix(e, "unable to get metric %s", pb_s(src->metric->name));
	if (of_pods(r, NULL, "", false, milli(src->target->average_value), samples, n, p, e) < 0)
		return -(int)e->code;
	s->metric = pb_copy(r->arena, src->metric);
	set_milli(r->arena, pb_sub(r->arena, s, "current"), "average_value", p->answer.milli);
	p->name = arena_printf(r->arena, "pods metric %s", pb_s(src->metric->name));
	return 0;
}

/* A value for all, or so much for each pod. */
static int of_value(struct hpa_round *r, const Autoscalingv2__MetricTarget *t, bool average, int64_t usage, void *status,
		struct hpa_proposal *p, struct err *e)
{
	if (average)
		hpa_count_average(usage, milli(t->average_value), r->status_replicas, tolerance_of(r), &p->answer);
	else if (hpa_count_value(usage, milli(t->value), r->current, tolerance_of(r), pods_of(r, NULL, ""), r->n_pods, &p->answer, e) < 0)
		return -(int)e->code;
	set_milli(r->arena, pb_sub(r->arena, status, "current"), average ? "average_value" : "value", p->answer.milli);
	return 0;
}

static const char *external_name(struct arena *a, const Autoscalingv2__MetricIdentifier *metric)
{
	return arena_printf(a, "external metric %s(%s)", pb_s(metric->name), go_selector(a, metric->selector));
}

static int object_metric(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p,
		struct err *e)
{
	const Autoscalingv2__ObjectMetricSource *src = m->object;
	const Autoscalingv2__CrossVersionObjectReference *ref = src->described_object;
	Autoscalingv2__ObjectMetricStatus *s = pb_sub(r->arena, p->status, "object");
	const char *name = pb_s(src->metric->name);
	bool average = pb_streq(src->target->type, "AverageValue") && src->target->average_value;
	int64_t usage = 0;

	p->text = average ? arena_printf(r->arena, "failed to get object metric value: failed to get %s object metric", name) :
			    "failed to get object metric value";
	if (!average && !(pb_streq(src->target->type, "Value") && src->target->value))
		return err_set(e, ERR_BAD_REQUEST, "invalid object metric source: neither a value target nor an average value target was set");
	if (l->err.code)
		custom_failed(l, e);
	else
		hpa_read_object(r->arena, l->text, &usage, e);
	if (e->code) {
		struct err why = *e;

		/* Upstream has cause and object the wrong way round here, and people look for that text. */
		return err_set(e, why.code, "unable to get metric %s: %s on %s %s/%s", name, pb_s(ref->kind), pb_s(r->hpa->metadata->namespace_),
				pb_s(ref->name), why.text);
	}
	if (of_value(r, src->target, average, usage, s, p, e) < 0)
		return -(int)e->code;
	s->metric = pb_copy(r->arena, src->metric);
	s->described_object = pb_copy(r->arena, ref);
	p->name = average ? external_name(r->arena, src->metric) : arena_printf(r->arena, "%s metric %s", pb_s(ref->kind), name);
	return 0;
}

static int external_metric(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p,
		struct err *e)
{
	const Autoscalingv2__ExternalMetricSource *src = m->external;
	Autoscalingv2__ExternalMetricStatus *s = pb_sub(r->arena, p->status, "external");
	const char *name = pb_s(src->metric->name);
	bool average = src->target->average_value != NULL;
	int64_t usage = 0;

	p->text = average ? arena_printf(r->arena, "failed to get %s external metric value: failed to get %s external metric", name, name) :
			    arena_printf(r->arena, "failed to get %s external metric value: failed to get external metric %s", name, name);
	if (!average && !src->target->value)
		return err_set(e, ERR_BAD_REQUEST, "invalid external metric source: neither a value target nor an average value target was set");
	if (l->err.code)
		err_set(e, l->err.code, "unable to fetch metrics from external metrics API: %s", l->err.text);
	else
		hpa_read_external(r->arena, l->text, &usage, e);
	if (e->code)
		return err_prefix(e, "unable to get external metric %s/%s/%s", pb_s(r->hpa->metadata->namespace_), name,
				go_selector(r->arena, src->metric->selector));
	if (of_value(r, src->target, average, usage, s, p, e) < 0)
		return -(int)e->code;
	s->metric = pb_copy(r->arena, src->metric);
	p->name = external_name(r->arena, src->metric);
	return 0;
}

/* --- Any ------------------------------------------------------------------------------------------------------------------ */

static const struct metric_type {
	const char *type, *reason;
	size_t member; /* of the spec: it must be there */
	int (*propose)(struct hpa_round *, const Autoscalingv2__MetricSpec *, const struct hpa_learnt *, struct hpa_proposal *, struct err *);
} metric_types[] = {
#define MEMBER(m) offsetof(Autoscalingv2__MetricSpec, m)
	{"Resource", "FailedGetResourceMetric", MEMBER(resource), resource_metric},
	{"ContainerResource", "FailedGetContainerResourceMetric", MEMBER(container_resource), container_metric},
	{"Pods", "FailedGetPodsMetric", MEMBER(pods), pods_metric},
	{"Object", "FailedGetObjectMetric", MEMBER(object), object_metric},
	{"External", "FailedGetExternalMetric", MEMBER(external), external_metric},
#undef MEMBER
};

static const struct metric_type *type_of(const Autoscalingv2__MetricSpec *m)
{
	for (size_t i = 0; i < ARRAY_LEN(metric_types); i++)
		if (pb_streq(m->type, metric_types[i].type) && *(void *const *)((const char *)m + metric_types[i].member))
			return &metric_types[i];
	return NULL;
}

bool hpa_propose(struct hpa_round *r, const Autoscalingv2__MetricSpec *m, const struct hpa_learnt *l, struct hpa_proposal *p)
{
	const struct metric_type *type = type_of(m);
	struct err e = ERR_INIT;

	*p = (struct hpa_proposal){.status = pb_new_of(r->arena, autoscalingv2__metric_status, Autoscalingv2__MetricStatus)};
	if (!type) {
		p->reason = "InvalidMetricSourceType";
		p->text = p->why = arena_printf(r->arena, "unknown metric source type \"%s\"", pb_s(m->type));
		return false;
	}
	if (type->propose(r, m, l, p, &e) < 0) {
		p->reason = type->reason;
		p->why = arena_strdup(r->arena, e.text);
		p->text = arena_printf(r->arena, "%s: %s", p->text, e.text);
		return false;
	}
	p->status->type = type->type;
	return true;
}
