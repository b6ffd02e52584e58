/* Amounts of resources, and what resources are called: in containers, and where one refers to them. */
#include <string.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/pod_resources.h"
#include "proto/quantity.h"
#include "proto/validate-priv.h"

#define HUGE_PAGES "hugepages-"

void validate__quantities(struct field_errs *e, const struct field_path *path, const struct json *map)
{
	JSON_MEMBERS (m, map) {
		struct field_path p = field_key(path, m->key);
		const char *bad = validate__qualified_name(m->key);

		if (bad)
			field_invalid_str(e, &p, m->key, "%s", bad);
		if (quantity_sign(quantity_of(json_cstr(m->value))) < 0)
			field_invalid(e, &p, m->value, "must be greater than or equal to 0");
	}
}

/* Names without a domain, and those of kubernetes.io. */
static bool is_native(struct str name)
{
	return str_find(name, '/') < 0 || str_search(name, STR("kubernetes.io/")) >= 0;
}

static bool is_one_of(struct str name, const char *const *names)
{
	for (; *names; names++)
		if (str_eqc(name, *names))
			return true;
	return false;
}

/* Of a domain of its own, and such that a quota can put "requests." in front. */
static bool is_extended(struct str name)
{
	return !is_native(name) && !str_has_prefix(name, STR("requests.")) && name.n <= 253 - strlen("requests.");
}

static void name(struct field_errs *e, const struct field_path *path, struct str name, bool of_pod)
{
	static const char *const of_pods[] = {"cpu", HUGE_PAGES, "memory", NULL};
	static const char *const of_containers[] = {"cpu", "memory", "ephemeral-storage", NULL};
	static const char *const of_quotas[] = {"requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu",
		"limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
		"configmaps", "persistentvolumeclaims", "storage", "requests.storage", "services.nodeports", "services.loadbalancers", NULL};
	const char *bad = validate__qualified_name(name);

	if (bad) {
		field_invalid_str(e, path, name, "%s", bad);
	} else if (of_pod && str_find(name, '/') < 0 && !str_has_prefix(name, STR(HUGE_PAGES)) && !is_one_of(name, of_containers) &&
		   !is_one_of(name, of_quotas)) {
		field_invalid_str(e, path, name, "must be a standard resource type or fully qualified");
	} else if (of_pod) {
		if (!pod_level_resource(name))
			field_not_supported(e, path, name, of_pods);
	} else if (str_find(name, '/') >= 0) {
		if (!is_native(name) && !is_extended(name))
			field_invalid_str(e, path, name, "doesn't follow extended resource name standard");
	} else if (!str_has_prefix(name, STR(HUGE_PAGES)) && !is_one_of(name, of_containers)) {
		if (!is_one_of(name, of_quotas))
			field_invalid_str(e, path, name, "must be a standard resource type or fully qualified");
		field_invalid_str(e, path, name, "must be a standard resource for containers");
	}
}

static void amounts(struct field_errs *e, const struct field_path *path, const struct json *map, bool of_pod)
{
	JSON_MEMBERS (m, map) {
		struct field_path p = field_key(path, m->key);
		struct quantity q = quantity_of(json_cstr(m->value));

		name(e, &p, m->key, of_pod);
		if (quantity_sign(q) < 0)
			field_invalid(e, &p, m->value, "must be greater than or equal to 0");
		if (is_extended(m->key) && quantity_milli(q) % 1000 != 0)
			field_invalid(e, &p, m->value, "must be an integer");
	}
}

/* Memory and cpu may be promised more than once; huge pages and devices not. */
static bool may_overcommit(struct str name)
{
	return is_native(name) && !str_has_prefix(name, STR(HUGE_PAGES));
}

static void request(struct field_errs *e, const struct field_path *up, const struct json *limits, const struct json_member *m)
{
	struct field_path limits_path = field_child(up, "limits"), path = field_child(up, "requests");
	struct json *limit = json_get(limits, m->key);
	int cmp;

	if (!limit && !may_overcommit(m->key))
		field_required(e, &limits_path, "Limit must be set for non overcommitable resources");
	if (!limit)
		return;
	cmp = quantity_cmp(quantity_of(json_cstr(m->value)), quantity_of(json_cstr(limit)));
	if (cmp != 0 && !may_overcommit(m->key))
		field_invalid(e, &path, m->value, "must be equal to %.*s limit of %s", STR_FMT(m->key), json_cstr(limit));
	else if (cmp > 0)
		field_invalid(e, &path, m->value, "must be less than or equal to %.*s limit of %s", STR_FMT(m->key), json_cstr(limit));
}

static void requirements(struct field_errs *e, const struct field_path *path, const struct json *res, bool of_pod)
{
	struct field_path limits = field_child(path, "limits"), requests = field_child(path, "requests");
	bool huge = false, computing = false;

	amounts(e, &limits, json_getc(res, "limits"), of_pod);
	amounts(e, &requests, json_getc(res, "requests"), of_pod);
	JSON_MEMBERS (m, json_getc(res, "requests"))
		request(e, path, json_getc(res, "limits"), m);
	for (int i = 0; i < 2; i++)
		JSON_MEMBERS (m, json_getc(res, i ? "requests" : "limits")) {
			huge |= str_has_prefix(m->key, STR(HUGE_PAGES));
			computing |= str_eqc(m->key, "cpu") || str_eqc(m->key, "memory");
		}
	if (huge && !computing)
		field_forbidden(e, path, "HugePages require cpu or memory");
}

void validate__resources(struct field_errs *e, const struct field_path *path, const struct json *res)
{
	requirements(e, path, res, false);
}

/* ---- of a pod as a whole ---- */

static const char *canonical(struct arena *a, struct quantity q)
{
	char text[QUANTITY_SIZE];

	quantity_print(q, text);
	return arena_strdup(a, text);
}

/* What the pod has must be enough for what its containers say together. */
static void covers(struct field_errs *e, const struct field_path *path, const struct json *spec, const char *what)
{
	bool limits = strcmp(what, "limits") == 0;
	struct field_path map = field_child(path, what);

	JSON_MEMBERS (m, json_getp(spec, limits ? "resources.limits" : "resources.requests")) {
		struct field_path at = field_key(&map, m->key);
		struct quantity sum, own = quantity_of(json_cstr(m->value));

		/* Containers may share a limit of cpu or memory. */
		if ((limits && !str_has_prefix(m->key, STR(HUGE_PAGES))) || !containers_amount(spec, what, m->key, &sum) ||
				quantity_cmp(sum, own) <= 0)
			continue;
		field_invalid_str(e, &at, str_from(canonical(e->arena, own)), "must be greater than or equal to aggregate container %s of %s", what,
				canonical(e->arena, sum));
	}
}

static void limits_within(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path list = field_child(path, "containers");
	size_t i = 0;

	JSON_ITEMS (c, json_getc(spec, "containers")) {
		struct field_path at = field_index(&list, i++);

		JSON_MEMBERS (m, json_getp(c, "resources.limits")) {
			struct field_path key = field_key(&at, m->key), limits = field_child(&key, "limits");
			struct quantity own = quantity_of(json_cstr(m->value)), pod;

			if (resources_amount(spec, "limits", m->key, &pod) && quantity_cmp(own, pod) > 0)
				field_invalid_str(e, &limits, str_from(canonical(e->arena, own)), "must be less than or equal to pod limits of %s",
						canonical(e->arena, pod));
		}
	}
}

void validate__pod_resources(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path path = field_child(up, "resources"), claims = field_child(&path, "claims");
	const struct json *res = json_getc(spec, "resources");

	if (!json_is(res, JSON_OBJECT))
		return;
	if (json_eqc(json_getp(spec, "os.name"), "windows")) {
		field_forbidden(e, &path, "may not be set for a windows pod");
		return;
	}
	if (json_len(json_getc(res, "claims")) > 0)
		field_forbidden(e, &claims, "may not be set for Resources at pod-level");
	requirements(e, &path, res, true);
	covers(e, &path, spec, "requests");
	covers(e, &path, spec, "limits");
	limits_within(e, &path, spec);
}

/* A divisor of 0 is 1. */
static void divisor(struct field_errs *e, const struct field_path *up, const struct json *ref, struct str resource)
{
	static const char *const of_cpu[] = {"1m", "1", NULL};
	static const char *const of_bytes[] = {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
	bool cpu = str_has_suffix(resource, STR(".cpu"));
	struct field_path path = field_child(up, "divisor");
	struct str d = json_str(json_getc(ref, "divisor"));

	if (quantity_sign(quantity_of(json_cstr(json_getc(ref, "divisor")))) == 0 || is_one_of(d, cpu ? of_cpu : of_bytes))
		return;
	field_invalid_str(e, &path, resource, "only divisor's values %s are supported with the %s resource",
		cpu ? "1m and 1" : "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei",
		cpu ? "cpu" : str_has_suffix(resource, STR("memory")) ? "memory" :
		str_has_suffix(resource, STR("storage")) ? "local ephemeral storage" : "hugepages");
}

void validate__resource_ref(struct field_errs *e, const struct field_path *up, const struct json *ref)
{
	static const char *const names[] = {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
		"requests.ephemeral-storage", "requests.memory", NULL};
	struct field_path path = field_child(up, "resource");
	struct str name = json_str(json_getc(ref, "resource"));

	if (name.n == 0)
		field_required(e, &path, "");
	else if (!is_one_of(name, names) && !str_has_prefix(name, STR("limits." HUGE_PAGES)) &&
		 !str_has_prefix(name, STR("requests." HUGE_PAGES)))
		field_not_supported(e, &path, name, names);
	else
		divisor(e, up, ref, name);
}
