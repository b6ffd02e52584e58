/* Budgets, and classes of priority and of runtime. */
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

#define USER_PRIORITY_MAX 1000000000

/* ---- priority classes ---- */

/* Only these may begin with "system-". */
static const struct {
	const char *name;
	int64_t value;
} system_classes[] = {
	{"system-cluster-critical", 2000000000},
	{"system-node-critical", 2000001000},
};

static void system_class(const struct validate__ctx *c, struct str name)
{
	static const char text[] = "priority class names with 'system-' prefix are reserved for system use only. error:";
	struct field_path meta = field_child(NULL, "metadata");
	int64_t value = json_i64_or(json_getc(c->obj, "value"), 0);

	for (size_t i = 0; i < ARRAY_LEN(system_classes); i++) {
		if (!str_eqc(name, system_classes[i].name))
			continue;
		if (value != system_classes[i].value)
			validate__forbid(c->errs, &meta, "name", "%s value of %s PriorityClass must be %lld", text,
				system_classes[i].name, (long long)system_classes[i].value);
		else if (json_true(json_getc(c->obj, "globalDefault")))
			validate__forbid(c->errs, &meta, "name",
				"%s globalDefault of %s PriorityClass must be false", text, system_classes[i].name);
		return;
	}
	validate__forbid(c->errs, &meta, "name", "%s %.*s is not a known system priority class", text, STR_FMT(name));
}

void validate__priority_class(const struct validate__ctx *c)
{
	static const char *const policies[] = {"Never", "PreemptLowerPriority", NULL};
	struct str name = json_strp(c->obj, "metadata.name");

	if (str_has_prefix(name, STR("system-")))
		system_class(c, name);
	else if (json_i64_or(json_getc(c->obj, "value"), 0) > USER_PRIORITY_MAX)
		validate__forbid(c->errs, NULL, "value", "maximum allowed value of a user defined priority is %d",
			USER_PRIORITY_MAX);
	validate__one_of(c->errs, NULL, c->obj, "preemptionPolicy", policies);
	if (!c->old)
		return;
	if (json_i64_or(json_getc(c->obj, "value"), 0) != json_i64_or(json_getc(c->old, "value"), 0))
		validate__forbid(c->errs, NULL, "value", "may not be changed in an update.");
	validate__immutable(c->errs, NULL, c->obj, c->old, "preemptionPolicy");
}

/* ---- runtime classes ---- */

void validate__runtime_class(const struct validate__ctx *c)
{
	struct field_path overhead = field_child(NULL, "overhead"), fixed = field_child(&overhead, "podFixed"),
			  scheduling = field_child(NULL, "scheduling"),
			  selector = field_child(&scheduling, "nodeSelector");
	const struct json *s = json_getc(c->obj, "scheduling");

	validate__name(c->errs, NULL, c->obj, "handler", validate_dns1123_label);
	validate__quantities(c->errs, &fixed, json_getp(c->obj, "overhead.podFixed"));
	validate_labels(json_getc(s, "nodeSelector"), &selector, c->errs);
	validate__tolerations(c->errs, &scheduling, s);
	if (c->old)
		validate__immutable(c->errs, NULL, c->obj, c->old, "handler");
}

/* ---- disruption budgets ---- */

static void pdb_status(const struct validate__ctx *c)
{
	static const char *const counts[] = {
		"disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"};
	struct field_path status = field_child(NULL, "status");

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		validate__nonneg(c->errs, &status, json_getc(c->obj, "status"), counts[i]);
}

void validate__pdb(const struct validate__ctx *c)
{
	static const char *const policies[] = {"AlwaysAllow", "IfHealthyBudget", NULL};
	struct field_path path = field_child(NULL, "spec"), min = field_child(&path, "minAvailable"),
			  max = field_child(&path, "maxUnavailable"), selector = field_child(&path, "selector");
	const struct json *spec = json_getc(c->obj, "spec");

	if (strcmp(c->sub, "status") == 0) {
		pdb_status(c);
		return;
	}
	if (!json_is_null(json_getc(spec, "minAvailable")) && !json_is_null(json_getc(spec, "maxUnavailable")))
		field_invalid(c->errs, &path, spec, "minAvailable and maxUnavailable cannot be both set");
	validate__part_of_all(c->errs, &min, json_getc(spec, "minAvailable"));
	validate__part_of_all(c->errs, &max, json_getc(spec, "maxUnavailable"));
	validate__label_selector(c->errs, &selector, json_getc(spec, "selector"));
	validate__one_of_opt(c->errs, &path, spec, "unhealthyPodEvictionPolicy", policies);
}
