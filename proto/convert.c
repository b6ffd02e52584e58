#include "proto/convert.h"

#include <string.h>

#include "base/util.h"
#include "proto/defaults.h"
#include "proto/json.h"
#include "proto/resource.h"

/* ---- moving fields by table ---- */

struct move {
	const char *served, *stored; /* dotted paths */
};

/* Each of the fields that is there, into `to`, under its other name. */
static void move(struct arena *a, const struct move *rows, size_t n, const struct json *from, struct json *to, bool to_stored)
{
	for (size_t i = 0; i < n; i++) {
		struct json *v = json_getp(from, to_stored ? rows[i].served : rows[i].stored);

		if (v)
			json_setp(a, to, to_stored ? rows[i].stored : rows[i].served, v);
	}
}

/* A copy of the top level; what is below is shared. */
static struct json *shallow(struct arena *a, const struct json *obj)
{
	struct json *copy = json_new_object(a);

	JSON_MEMBERS (m, obj)
		json_set(a, copy, m->key, m->value);
	return copy;
}

/* ---- events ---- */

static const struct move event_fields[] = {
	{"regarding", "involvedObject"},
	{"note", "message"},
	{"deprecatedSource", "source"},
	{"deprecatedFirstTimestamp", "firstTimestamp"},
	{"deprecatedLastTimestamp", "lastTimestamp"},
	{"deprecatedCount", "count"},
	{"reportingController", "reportingComponent"},
	{"metadata", "metadata"},
	{"eventTime", "eventTime"},
	{"series", "series"},
	{"reportingInstance", "reportingInstance"},
	{"action", "action"},
	{"reason", "reason"},
	{"related", "related"},
	{"type", "type"},
};

static struct json *event(struct arena *a, const struct json *obj, bool to_stored)
{
	struct json *out = json_new_object(a);

	move(a, event_fields, ARRAY_LEN(event_fields), obj, out, to_stored);
	return out;
}

/* ---- autoscalers ---- */

#define NOTE "autoscaling.alpha.kubernetes.io/"

static const struct move plain_spec[] = {
	{"scaleTargetRef", "scaleTargetRef"}, {"minReplicas", "minReplicas"}, {"maxReplicas", "maxReplicas"}};
static const struct move plain_status[] = {{"observedGeneration", "observedGeneration"},
	{"lastScaleTime", "lastScaleTime"}, {"currentReplicas", "currentReplicas"},
	{"desiredReplicas", "desiredReplicas"}};

/* Metrics in the two versions, as they are asked for and as they are measured. */
static const struct move resource_metric[] = {{"name", "name"}, {"container", "container"},
	{"targetAverageUtilization", "target.averageUtilization"}, {"targetAverageValue", "target.averageValue"},
	{"currentAverageUtilization", "current.averageUtilization"}, {"currentAverageValue", "current.averageValue"}};
static const struct move pods_metric[] = {{"metricName", "metric.name"}, {"selector", "metric.selector"},
	{"targetAverageValue", "target.averageValue"}, {"currentAverageValue", "current.averageValue"}};
static const struct move object_spec[] = {{"target", "describedObject"}, {"metricName", "metric.name"},
	{"selector", "metric.selector"}, {"targetValue", "target.value"}, {"averageValue", "target.averageValue"}};
static const struct move object_status[] = {{"target", "describedObject"}, {"metricName", "metric.name"},
	{"selector", "metric.selector"}, {"currentValue", "current.value"}, {"averageValue", "current.averageValue"}};
static const struct move external_metric[] = {{"metricName", "metric.name"}, {"metricSelector", "metric.selector"},
	{"targetValue", "target.value"}, {"targetAverageValue", "target.averageValue"},
	{"currentValue", "current.value"}, {"currentAverageValue", "current.averageValue"}};

static const struct source {
	const char *key;
	const struct move *spec;
	size_t n_spec;
	const struct move *status;
	size_t n_status;
} sources[] = {
	{"resource", resource_metric, ARRAY_LEN(resource_metric), resource_metric, ARRAY_LEN(resource_metric)},
	{"containerResource", resource_metric, ARRAY_LEN(resource_metric), resource_metric, ARRAY_LEN(resource_metric)},
	{"pods", pods_metric, ARRAY_LEN(pods_metric), pods_metric, ARRAY_LEN(pods_metric)},
	{"object", object_spec, ARRAY_LEN(object_spec), object_status, ARRAY_LEN(object_status)},
	{"external", external_metric, ARRAY_LEN(external_metric), external_metric, ARRAY_LEN(external_metric)},
};

static struct json *metric(struct arena *a, const struct json *m, bool to_stored, bool status)
{
	struct json *out = json_new_object(a), *target;

	if (json_getc(m, "type"))
		json_setc(a, out, "type", json_getc(m, "type"));
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct json *from = json_getc(m, sources[i].key);
		struct json *to;

		if (!json_is(from, JSON_OBJECT))
			continue;
		to = json_new_object(a);
		json_setc(a, out, sources[i].key, to);
		move(a, status ? sources[i].status : sources[i].spec, status ? sources[i].n_status : sources[i].n_spec, from,
			to, to_stored);
		if (!to_stored || status)
			continue;
		/* Only v2 says which kind of target it is. */
		target = json_object_at(a, to, "target");
		if (!target)
			continue;
		if (json_getc(target, "averageUtilization")) {
			json_setc(a, target, "type", json_newc(a, "Utilization"));
		} else if (json_getc(target, "averageValue")) {
			json_setc(a, target, "type", json_newc(a, "AverageValue"));
			json_delc(target, "value");
		} else {
			json_setc(a, target, "type", json_newc(a, "Value"));
		}
	}
	return out;
}

/* Adds `list`, converted, to what stands there. */
static void metrics(struct arena *a, const struct json *list, struct json *to, bool to_stored, bool status)
{
	JSON_ITEMS (m, list)
		json_push(a, to, metric(a, m, to_stored, status));
}

static bool is_cpu(const struct json *m, const char *value)
{
	return json_eqc(json_getc(m, "type"), "Resource") && json_eqc(json_getp(m, "resource.name"), "cpu") &&
	       json_is(json_getp(m, value), JSON_NUMBER);
}

static struct json *cpu_metric(struct arena *a, const char *value, struct json *percent, bool target)
{
	struct json *m = json_new_object(a);

	json_setc(a, m, "type", json_newc(a, "Resource"));
	json_setp(a, m, "resource.name", json_newc(a, "cpu"));
	if (target)
		json_setp(a, m, "resource.target.type", json_newc(a, "Utilization"));
	json_setp(a, m, value, percent);
	return m;
}

/* The value of an annotation as JSON; NULL when there is none, or none that can be read: then it is left alone. */
static struct json *take_note(struct arena *a, struct json *notes, const char *key, enum json_type type)
{
	struct json *text = json_getc(notes, key), *v;

	if (!text || json_parse(a, json_str(text), NULL, &v, NULL) < 0 || !json_is(v, type))
		return NULL;
	json_delc(notes, key);
	return v;
}

/*
 * Behaviour is written there as upstream's unversioned struct has it: names begin with capitals, and what is not said is null. It is
 * read in either spelling.
 */
static struct json *behavior_note(struct arena *a, const struct json *behavior)
{
	static const char *const ways[][2] = {{"scaleUp", "ScaleUp"}, {"scaleDown", "ScaleDown"}};
	static const char *const rules[][2] = {{"stabilizationWindowSeconds", "StabilizationWindowSeconds"},
		{"selectPolicy", "SelectPolicy"}, {"policies", "Policies"}, {"tolerance", "Tolerance"}};
	static const char *const policy[][2] = {{"type", "Type"}, {"value", "Value"}, {"periodSeconds", "PeriodSeconds"}};
	struct json *out = json_new_object(a);

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct json *from = json_getc(behavior, ways[i][0]);
		struct json *to = json_is(from, JSON_OBJECT) ? json_new_object(a) : json_new_null(a);

		json_setc(a, out, ways[i][1], to);
		for (size_t k = 0; k < ARRAY_LEN(rules) && json_is(from, JSON_OBJECT); k++) {
			struct json *v = json_getc(from, rules[k][0]), *list = json_new_array(a);

			JSON_ITEMS (p, v) {
				struct json *one = json_new_object(a);

				for (size_t n = 0; n < ARRAY_LEN(policy); n++)
					if (json_getc(p, policy[n][0]))
						json_setc(a, one, policy[n][1], json_getc(p, policy[n][0]));
				json_push(a, list, one);
			}
			json_setc(a, to, rules[k][1], json_is(v, JSON_ARRAY) ? list : v ? v : json_new_null(a));
		}
	}
	return out;
}

static struct json *small_letters(struct arena *a, const struct json *v)
{
	struct json *out;

	if (json_is(v, JSON_ARRAY)) {
		out = json_new_array(a);
		JSON_ITEMS (it, v)
			json_push(a, out, small_letters(a, it));
		return out;
	}
	if (!json_is(v, JSON_OBJECT))
		return json_copy(a, v);
	out = json_new_object(a);
	JSON_MEMBERS (m, v) {
		char *key = arena_cstr(a, m->key);

		if (json_is_null(m->value))
			continue;
		key[0] = (char)(key[0] >= 'A' && key[0] <= 'Z' ? key[0] + 'a' - 'A' : key[0]);
		json_setc(a, out, key, small_letters(a, m->value));
	}
	return out;
}

static void put_note(struct arena *a, struct json *meta, const char *key, const struct json *v)
{
	struct json *notes;

	if (json_len(v) == 0)
		return;
	notes = json_object_at(a, meta, "annotations");
	if (notes)
		json_setc(a, notes, key, json_new_str(a, json_text(a, v)));
}

/* metadata with annotations that may be changed. */
static struct json *own_meta(struct arena *a, struct json *out, const struct json *obj)
{
	struct json *meta = shallow(a, json_getc(obj, "metadata")), *notes = json_getc(meta, "annotations");

	if (notes)
		json_setc(a, meta, "annotations", shallow(a, notes));
	json_setc(a, out, "metadata", meta);
	return meta;
}

static struct json *hpa_to_stored(struct arena *a, const struct json *obj)
{
	struct json *out = json_new_object(a), *spec = json_new_object(a), *status = json_new_object(a);
	struct json *meta = own_meta(a, out, obj), *notes = json_getc(meta, "annotations"), *v;
	struct json *wanted = json_new_array(a), *measured = json_new_array(a);

	move(a, plain_spec, ARRAY_LEN(plain_spec), json_getc(obj, "spec"), spec, true);
	move(a, plain_status, ARRAY_LEN(plain_status), json_getc(obj, "status"), status, true);
	v = json_getp(obj, "spec.targetCPUUtilizationPercentage");
	if (v)
		json_push(a, wanted, cpu_metric(a, "resource.target.averageUtilization", v, true));
	metrics(a, take_note(a, notes, NOTE "metrics", JSON_ARRAY), wanted, true, false);
	v = json_getp(obj, "status.currentCPUUtilizationPercentage");
	if (v)
		json_push(a, measured, cpu_metric(a, "resource.current.averageUtilization", v, false));
	metrics(a, take_note(a, notes, NOTE "current-metrics", JSON_ARRAY), measured, true, true);
	if (json_len(wanted) > 0)
		json_setc(a, spec, "metrics", wanted);
	if (json_len(measured) > 0)
		json_setc(a, status, "currentMetrics", measured);
	v = take_note(a, notes, NOTE "behavior", JSON_OBJECT);
	if (v)
		json_setc(a, spec, "behavior", small_letters(a, v));
	v = take_note(a, notes, NOTE "conditions", JSON_ARRAY);
	if (v)
		json_setc(a, status, "conditions", v);
	if (notes && json_len(notes) == 0)
		json_delc(meta, "annotations");
	json_setc(a, out, "spec", spec);
	json_setc(a, out, "status", status);
	return out;
}

static struct json *hpa_from_stored(struct arena *a, const struct json *obj)
{
	struct json *out = json_new_object(a), *spec = json_new_object(a), *status = json_new_object(a);
	struct json *meta = own_meta(a, out, obj), *rest = json_new_array(a), *measured = json_new_array(a);

	move(a, plain_spec, ARRAY_LEN(plain_spec), json_getc(obj, "spec"), spec, false);
	move(a, plain_status, ARRAY_LEN(plain_status), json_getc(obj, "status"), status, false);
	JSON_ITEMS (m, json_getp(obj, "spec.metrics")) {
		if (is_cpu(m, "resource.target.averageUtilization") && !json_getc(spec, "targetCPUUtilizationPercentage"))
			json_setc(a, spec, "targetCPUUtilizationPercentage", json_getp(m, "resource.target.averageUtilization"));
		else
			json_push(a, rest, metric(a, m, false, false));
	}
	JSON_ITEMS (m, json_getp(obj, "status.currentMetrics")) {
		if (is_cpu(m, "resource.current.averageUtilization") && !json_getc(status, "currentCPUUtilizationPercentage") &&
				json_is_null(json_getp(m, "resource.current.averageValue")))
			json_setc(a, status, "currentCPUUtilizationPercentage",
				json_getp(m, "resource.current.averageUtilization"));
		else
			json_push(a, measured, metric(a, m, false, true));
	}
	put_note(a, meta, NOTE "metrics", rest);
	put_note(a, meta, NOTE "current-metrics", measured);
	if (json_is(json_getp(obj, "spec.behavior"), JSON_OBJECT))
		put_note(a, meta, NOTE "behavior", behavior_note(a, json_getp(obj, "spec.behavior")));
	put_note(a, meta, NOTE "conditions", json_getp(obj, "status.conditions"));
	json_setc(a, out, "spec", spec);
	json_setc(a, out, "status", status);
	return out;
}

/* ---- both ways ---- */

static struct json *typed(struct arena *a, const struct resource *res, struct json *body)
{
	struct json *out = json_new_object(a);

	json_setc(a, out, "kind", json_newc(a, res->kind));
	json_setc(a, out, "apiVersion", json_newc(a, res->api_version));
	JSON_MEMBERS (m, body)
		json_set(a, out, m->key, m->value);
	return out;
}

struct json *convert_from_storage(struct arena *a, const struct resource *res, const struct json *stored)
{
	bool is_event = strcmp(res->kind, "Event") == 0;

	ASSERT(is_event || strcmp(res->kind, "HorizontalPodAutoscaler") == 0);
	return typed(a, res, is_event ? event(a, stored, false) : hpa_from_stored(a, stored));
}

struct json *convert_to_storage(struct arena *a, const struct resource *res, const struct json *doc)
{
	const struct resource *to = resource_storage(res);
	bool is_event = strcmp(res->kind, "Event") == 0;
	struct json *out;

	ASSERT(is_event || strcmp(res->kind, "HorizontalPodAutoscaler") == 0);
	out = typed(a, to, is_event ? event(a, doc, true) : hpa_to_stored(a, doc));
	defaults_apply(a, resource_type(to), out);
	return out;
}
