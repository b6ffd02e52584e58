/* Horizontal autoscalers, quotas and limits. */
#include <string.h>

#include "base/util.h"
#include "proto/quantity.h"
#include "proto/resource.h"
#include "proto/validate-priv.h"

/* ---- autoscalers ---- */

static void reference(struct field_errs *e, const struct field_path *path, const struct json *ref)
{
	static const char *const keys[] = {"kind", "name"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (validate__required(e, path, ref, keys[i]))
			validate__name(e, path, ref, keys[i], validate_path_segment);
}

static void target(struct field_errs *e, const struct field_path *up, const struct json *source)
{
	static const char *const types[] = {"AverageValue", "Utilization", "Value", NULL};
	static const char *const amounts[] = {"value", "averageValue"};
	struct field_path path = field_child(up, "target");
	const struct json *t = json_getc(source, "target");

	if (json_str(json_getc(t, "type")).n == 0)
		validate__missing(e, &path, "type", "must specify a metric target type");
	else
		validate__one_of_opt(e, &path, t, "type", types);
	for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
		if (!json_is_null(json_getc(t, amounts[i])) && quantity_sign(quantity_of(json_cstr(json_getc(t, amounts[i])))) <= 0)
			validate__bad(e, &path, t, amounts[i], "must be positive");
	validate__range(e, &path, t, "averageUtilization", 1, INT32_MAX, "must be greater than 0");
}

static void metric_id(struct field_errs *e, const struct field_path *up, const struct json *source)
{
	struct field_path path = field_child(up, "metric"), sel = field_child(&path, "selector");
	const struct json *m = json_getc(source, "metric");

	if (json_str(json_getc(m, "name")).n == 0)
		validate__missing(e, &path, "name", "must specify a metric name");
	else
		validate__name(e, &path, m, "name", validate_path_segment);
	validate__label_selector(e, &sel, json_getc(m, "selector"));
}

static void metric(struct field_errs *e, const struct field_path *at, const struct json *m)
{
	static const char *const types[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
	static const char *const keys[] = {"containerResource", "external", "object", "pods", "resource"};
	struct field_path type_path = field_child(at, "type");
	struct json *type = json_getc(m, "type");

	if (json_str(type).n == 0) {
		field_required(e, &type_path, "must specify a metric source type");
		return;
	}
	validate__one_of_opt(e, at, m, "type", types);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct field_path path = field_child(at, keys[i]), object = field_child(&path, "describedObject");
		const struct json *source = json_getc(m, keys[i]);

		if (!json_eqc(type, types[i])) {
			if (!json_is_null(source))
				field_forbidden(e, &path, "must populate the given metric source only");
			continue;
		}
		if (json_is_null(source)) {
			field_required(e, &path, "must populate information for the given metric source");
			continue;
		}
		if (i == 0 && json_str(json_getc(source, "container")).n == 0)
			validate__missing(e, &path, "container", "must specify a container");
		if (i == 0 || i == 4) {
			if (json_str(json_getc(source, "name")).n == 0)
				validate__missing(e, &path, "name", "must specify a resource name");
		} else {
			metric_id(e, &path, source);
		}
		if (i == 2)
			reference(e, &object, json_getc(source, "describedObject"));
		target(e, &path, source);
	}
}

static void policy(struct field_errs *e, const struct field_path *at, const struct json *p)
{
	static const char *const types[] = {"Percent", "Pods", NULL};
	int64_t period = json_i64_or(json_getc(p, "periodSeconds"), 0);

	validate__one_of(e, at, p, "type", types);
	if (json_i64_or(json_getc(p, "value"), 0) <= 0)
		validate__bad_count(e, at, p, "value", "must be greater than zero");
	if (period <= 0)
		validate__bad_count(e, at, p, "periodSeconds", "must be greater than zero");
	if (period > 1800)
		validate__bad_count(e, at, p, "periodSeconds", "must be less than or equal to 1800");
}

static void scaling_rules(struct field_errs *e, const struct field_path *up, const struct json *behavior, const char *key)
{
	static const char *const select[] = {"Disabled", "Max", "Min", NULL};
	struct field_path path = field_child(up, key);
	const struct json *r = json_getc(behavior, key);

	if (json_is_null(r))
		return;
	validate__nonneg(e, &path, r, "stabilizationWindowSeconds");
	validate__range(e, &path, r, "stabilizationWindowSeconds", INT32_MIN, 3600, "must be less than or equal to 3600");
	validate__one_of_opt(e, &path, r, "selectPolicy", select);
	if (json_len(json_getc(r, "policies")) == 0)
		validate__missing(e, &path, "policies", "must specify at least one Policy");
	validate__each(e, &path, r, "policies", policy);
}

/* Of both versions. */
void validate__hpa(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), to = field_child(&path, "scaleTargetRef"),
			  behavior = field_child(&path, "behavior");
	const struct json *spec = json_getc(c->obj, "spec");
	int64_t max = json_i64_or(json_getc(spec, "maxReplicas"), 0), min = json_i64_or(json_getc(spec, "minReplicas"), 1);

	if (c->sub[0] != '\0')
		return;
	if (min < 1)
		validate__bad(c->errs, &path, spec, "minReplicas", "must be greater than or equal to 1");
	if (max < 1)
		validate__bad_count(c->errs, &path, spec, "maxReplicas", "must be greater than 0");
	if (max < min)
		validate__bad_count(c->errs, &path, spec, "maxReplicas", "must be greater than or equal to `minReplicas`");
	reference(c->errs, &to, json_getc(spec, "scaleTargetRef"));
	validate__range(c->errs, &path, spec, "targetCPUUtilizationPercentage", 1, INT32_MAX, "must be greater than 0");
	validate__each(c->errs, &path, spec, "metrics", metric);
	scaling_rules(c->errs, &behavior, json_getc(spec, "behavior"), "scaleUp");
	scaling_rules(c->errs, &behavior, json_getc(spec, "behavior"), "scaleDown");
}

/* ---- quotas ---- */

static bool standard_for_quota(struct str name)
{
	static const char *const names[] = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory",
		"requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
		"limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
		"persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(name, names[i]))
			return true;
	return str_has_prefix(name, STR("requests.hugepages-")) || str_has_prefix(name, STR("hugepages-")) ||
	       str_has_prefix(name, STR("count/"));
}

static bool whole(struct str name)
{
	static const char *const names[] = {"pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
		"persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(name, names[i]))
			return true;
	return str_has_prefix(name, STR("count/"));
}

static void quota_amounts(struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);

	JSON_MEMBERS (m, json_getc(obj, key)) {
		struct field_path at = field_key(&path, m->key);
		const char *bad = validate__qualified_name(m->key);
		struct quantity q = quantity_of(json_cstr(m->value));

		if (bad)
			field_invalid_str(e, &at, m->key, "%s", bad);
		else if (str_find(m->key, '/') < 0 && !standard_for_quota(m->key)) {
			field_invalid_str(e, &at, m->key, "must be a standard resource type or fully qualified");
			field_invalid_str(e, &at, m->key, "must be a standard resource for quota");
		}
		if (quantity_sign(q) < 0)
			field_invalid(e, &at, m->value, "must be greater than or equal to 0");
		if (whole(m->key) && q.nano % 1000000000 != 0)
			field_invalid(e, &at, m->value, "must be an integer");
	}
}

void validate__quota(const struct validate__ctx *c)
{
	static const char *const scopes[] = {"BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating",
		"PriorityClass", "Terminating", "VolumeAttributesClass"};
	static const char *const ops[] = {"DoesNotExist", "Exists", "In", "NotIn", NULL};
	struct field_path path = field_child(NULL, "spec"), status = field_child(NULL, "status"),
			  sel = field_child(&path, "scopeSelector"), all = field_child(&sel, "matchExpressions");
	const struct json *spec = json_getc(c->obj, "spec");
	size_t n = 0;

	if (strcmp(c->sub, "status") == 0) {
		quota_amounts(c->errs, &status, json_getc(c->obj, "status"), "hard");
		quota_amounts(c->errs, &status, json_getc(c->obj, "status"), "used");
		return;
	}
	quota_amounts(c->errs, &path, spec, "hard");
	JSON_ITEMS (s, json_getc(spec, "scopes")) {
		size_t i = 0;

		while (i < ARRAY_LEN(scopes) && !json_eqc(s, scopes[i]))
			i++;
		if (i == ARRAY_LEN(scopes)) {
			validate__bad(c->errs, &path, spec, "scopes", "unsupported scope");
			break;
		}
	}
	JSON_ITEMS (x, json_getp(spec, "scopeSelector.matchExpressions")) {
		struct field_path at = field_index(&all, n++), values = field_child(&at, "values");
		struct json *op = json_getc(x, "operator");
		bool listed = json_eqc(op, "In") || json_eqc(op, "NotIn");

		validate__one_of(c->errs, &at, x, "operator", ops);
		if (listed && json_len(json_getc(x, "values")) == 0)
			field_required(c->errs, &values,
				"must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
		if (!listed && json_len(json_getc(x, "values")) > 0)
			field_invalid(c->errs, &values, json_getc(x, "values"),
				"must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
	}
	if (c->old && !json_equal(json_getc(spec, "scopes"), json_getp(c->old, "spec.scopes")))
		validate__bad(c->errs, &path, spec, "scopes", "field is immutable");
}

/* ---- limits ---- */

/* {"min", "max"}: an amount of the first over one of the second. */
static void ordered(struct field_errs *e, const struct field_path *at, const struct json *item, const char *less,
	const char *more, const char *less_name, const char *more_name)
{
	struct field_path path = field_child(at, less);

	JSON_MEMBERS (m, json_getc(item, less)) {
		struct field_path one = field_key(&path, m->key);
		struct json *top = json_get(json_getc(item, more), m->key);

		if (top && quantity_cmp(quantity_of(json_cstr(m->value)), quantity_of(json_cstr(top))) > 0)
			field_invalid(e, &one, m->value, "%s value %s is greater than %s value %s", less_name,
				json_cstr(m->value), more_name, json_cstr(top));
	}
}

static void limit(struct field_errs *e, const struct field_path *at, const struct json *item)
{
	static const char *const maps[] = {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"};
	bool pods = json_eqc(json_getc(item, "type"), "Pod");

	if (json_str(json_getc(item, "type")).n == 0 || validate__qualified_name(json_str(json_getc(item, "type"))))
		validate__name(e, at, item, "type", validate__qualified_name);
	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		struct field_path path = field_child(at, maps[i]);

		validate__quantities(e, &path, json_getc(item, maps[i]));
		if (pods && (i == 2 || i == 3) && json_len(json_getc(item, maps[i])) > 0)
			field_forbidden(e, &path, "may not be specified when `type` is 'Pod'");
	}
	if (json_eqc(json_getc(item, "type"), "PersistentVolumeClaim") && !json_getp(item, "min.storage") &&
		!json_getp(item, "max.storage"))
		field_required(e, at, "either minimum or maximum storage value is required, but neither was provided");
	ordered(e, at, item, "min", "max", "min", "max");
	ordered(e, at, item, "min", "defaultRequest", "min", "default request");
	ordered(e, at, item, "defaultRequest", "max", "default request", "max");
	ordered(e, at, item, "defaultRequest", "default", "default request", "default limit");
	ordered(e, at, item, "min", "default", "min", "default");
	ordered(e, at, item, "default", "max", "default", "max");
	JSON_MEMBERS (m, json_getc(item, "maxLimitRequestRatio")) {
		struct field_path path = field_child(at, "maxLimitRequestRatio"), one = field_key(&path, m->key);

		if (quantity_milli(quantity_of(json_cstr(m->value))) < 1000)
			field_invalid(e, &one, m->value, "ratio %s is less than 1", json_cstr(m->value));
	}
}

void validate__limit_range(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), all = field_child(&path, "limits");
	struct json *seen = json_new_object(c->errs->arena);
	size_t i = 0;

	JSON_ITEMS (item, json_getp(c->obj, "spec.limits")) {
		struct field_path at = field_index(&all, i++);

		limit(c->errs, &at, item);
		validate__once(c->errs, seen, &at, item, "type");
	}
}
