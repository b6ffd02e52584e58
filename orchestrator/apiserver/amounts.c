#include "orchestrator/apiserver/amounts.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/json.h"
#include "proto/pod_resources.h"
#include "proto/resource.h"

bool amount_of_pod(const struct json *spec, const char *what, struct str resource, struct quantity *ret)
{
	const struct json *overhead = json_get(json_getc(spec, "overhead"), resource);
	/* What the pod says as a whole counts instead of its parts. */
	bool any = resources_amount(spec, what, resource, ret) || containers_amount(spec, what, resource, ret);

	if (!json_is_null(overhead) && any)
		*ret = quantity_add(*ret, quantity_of_json(overhead));
	return any;
}

/* --- Quotas ------------------------------------------------------------------------------------------------------- */

static bool is_core(const struct resource *res, const char *plural)
{
	return res->group[0] == '\0' && strcmp(res->plural, plural) == 0;
}

/* "requests.cpu" is "cpu"; which of requests and limits. */
static struct str pod_resource(struct str name, const char **ret_what)
{
	*ret_what = "requests";
	if (str_has_prefix(name, STR("requests.")))
		return str_skip(name, strlen("requests."));
	if (str_has_prefix(name, STR("limits."))) {
		*ret_what = "limits";
		return str_skip(name, strlen("limits."));
	}
	return name;
}

static bool is_compute(struct str name)
{
	const char *what;
	struct str r = pod_resource(name, &what);

	if (str_eqc(name, "requests.storage"))
		return false;
	return r.n != name.n || str_eqc(r, "cpu") || str_eqc(r, "memory") || str_eqc(r, "ephemeral-storage") ||
	       str_has_prefix(r, STR("hugepages-"));
}

#define CLASS ".storageclass.storage.k8s.io/"

static bool is_storage(struct str name, struct str *ret_class, struct str *ret_rest)
{
	ptrdiff_t at = str_search(name, STR(CLASS));

	*ret_class = at < 0 ? STR_NULL : str_sub(name, 0, (size_t)at);
	*ret_rest = at < 0 ? name : str_skip(name, (size_t)at + strlen(CLASS));
	return str_eqc(*ret_rest, "requests.storage") || str_eqc(*ret_rest, "persistentvolumeclaims");
}

bool quota_object_count(struct str name, struct str *ret_plural, struct str *ret_group)
{
	if (!str_has_prefix(name, STR("count/")))
		return false;
	str_cut(str_skip(name, strlen("count/")), '.', ret_plural, ret_group);
	return true;
}

const struct resource *quota_kind(struct arena *a, struct str name)
{
	struct str plural, group, class, rest;

	if (quota_object_count(name, &plural, &group)) {
		RESOURCE_FOR_EACH (r)
			if (r->namespaced && str_eqc(plural, r->plural) && str_eqc(group, r->group))
				return r;
		return NULL;
	}
	if (is_storage(name, &class, &rest))
		return resource_find("", "v1", "persistentvolumeclaims");
	if (is_compute(name))
		return resource_find("", "v1", "pods");
	if (str_has_prefix(name, STR("services.")))
		return resource_find("", "v1", "services");
	return resource_find("", "v1", arena_cstr(a, name));
}

bool quota_counts(struct arena *a, const struct resource *res, struct str name)
{
	const struct resource *kind;
	struct str plural, group;

	/* Of custom kinds, too. */
	if (quota_object_count(name, &plural, &group))
		return res->namespaced && str_eqc(plural, res->plural) && str_eqc(group, res->group);
	kind = quota_kind(a, name);
	return kind && strcmp(kind->plural, res->plural) == 0 && strcmp(kind->group, res->group) == 0;
}

static bool pod_is_over(const struct json *pod)
{
	struct str phase = json_str(json_getp(pod, "status.phase"));

	return str_eqc(phase, "Succeeded") || str_eqc(phase, "Failed");
}

static struct quantity service_use(const struct json *svc, struct str name)
{
	struct str type = json_str(json_getp(svc, "spec.type"));
	bool balancer = str_eqc(type, "LoadBalancer");
	int64_t n = 0;

	if (str_eqc(name, "services.loadbalancers")) {
		n = balancer;
	} else if (str_eqc(name, "services.nodeports")) {
		if (str_eqc(type, "NodePort") ||
				(balancer && json_type(json_getp(svc, "spec.allocateLoadBalancerNodePorts")) != JSON_BOOL) ||
				(balancer && json_true(json_getp(svc, "spec.allocateLoadBalancerNodePorts"))))
			n = (int64_t)json_len(json_getp(svc, "spec.ports"));
	} else {
		n = 1;
	}
	return quantity_from_i64(n, QUANTITY_DECIMAL_SI);
}

static struct quantity claim_use(const struct json *claim, struct str name)
{
	struct str class, rest, mine = json_str(json_getp(claim, "spec.storageClassName"));
	struct quantity q = QUANTITY_ZERO;

	is_storage(name, &class, &rest);
	if (class.n > 0 && !str_eq(class, mine))
		return QUANTITY_ZERO;
	if (str_eqc(rest, "persistentvolumeclaims"))
		return quantity_from_i64(1, QUANTITY_DECIMAL_SI);
	resources_amount(json_getc(claim, "spec"), "requests", STR("storage"), &q);
	return q;
}

/* What the kubelet says of the container: given to it (requests), and what it runs with. */
static struct quantity raised(const struct json *status, const char *what, struct str resource, struct quantity q)
{
	struct json *given = json_get(json_getc(status, "allocatedResources"), resource);
	struct quantity actual;

	if (strcmp(what, "requests") == 0 && given)
		q = quantity_max(q, quantity_of_json(given));
	return resources_amount(status, what, resource, &actual) ? quantity_max(q, actual) : q;
}

/* What it asks for becomes the largest of that and what its status says. */
static void hold_most(struct arena *a, struct json *has, const struct json *status, const char *what, struct str resource)
{
	char text[QUANTITY_SIZE];
	struct quantity q;

	if (!resources_amount(has, what, resource, &q))
		return;
	quantity_print(raised(status, what, resource, q), text);
	json_set(a, json_getc(json_getc(has, "resources"), what), resource, json_newc(a, text));
}

/* A pod on its way to other amounts holds, container by container, the largest of what it asks for, was given and runs with. */
static void amount_while_resized(struct arena *a, const struct json *pod, const char *what, struct str resource, struct quantity *ret)
{
	static const struct {
		const char *specs, *statuses;
	} lists[] = {{"containers", "containerStatuses"}, {"initContainers", "initContainerStatuses"}};
	const struct json *status = json_getc(pod, "status");
	struct json *spec = json_getc(pod, "spec");

	if (json_len(json_getc(status, "containerStatuses")) > 0 || json_getc(status, "resources"))
		spec = json_copy(a, spec);
	/* The pod as a whole has a status of the same form. */
	hold_most(a, spec, status, what, resource);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(spec, lists[i].specs)) {
			JSON_ITEMS (s, json_getc(status, lists[i].statuses))
				if (json_equal(json_getc(s, "name"), json_getc(c, "name")))
					hold_most(a, c, s, what, resource);
		}
	amount_of_pod(spec, what, resource, ret);
}

struct quantity quota_use(struct arena *a, const struct resource *res, const struct json *obj, struct str name)
{
	struct quantity one = quantity_from_i64(1, QUANTITY_DECIMAL_SI), q = QUANTITY_ZERO;
	const char *what;
	struct str resource;

	if (!quota_counts(a, res, name))
		return QUANTITY_ZERO;
	if (str_has_prefix(name, STR("count/")))
		return one;
	if (is_core(res, "services"))
		return service_use(obj, name);
	if (is_core(res, "persistentvolumeclaims"))
		return claim_use(obj, name);
	if (!is_core(res, "pods"))
		return one;
	if (pod_is_over(obj))
		return QUANTITY_ZERO;
	if (str_eqc(name, "pods"))
		return one;
	resource = pod_resource(name, &what);
	amount_while_resized(a, obj, what, resource, &q);
	return q;
}

/* --- Scopes --------------------------------------------------------------------------------------------------------- */

static bool best_effort(const struct json *pod)
{
	static const char *const lists[] = {"containers", "initContainers"}, *const whats[] = {"requests", "limits"};
	const struct json *spec = json_getc(pod, "spec");
	struct quantity q;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (size_t k = 0; k < ARRAY_LEN(whats); k++) {
			JSON_ITEMS (c, json_getc(spec, lists[i]))
				if ((resources_amount(c, whats[k], STR("cpu"), &q) && quantity_sign(q)) ||
						(resources_amount(c, whats[k], STR("memory"), &q) && quantity_sign(q)))
					return false;
			if (resources_amount(spec, whats[k], STR("cpu"), &q) ||
					resources_amount(spec, whats[k], STR("memory"), &q))
				return false;
		}
	return true;
}

static bool crosses(const struct json *terms, const char *inner)
{
	JSON_ITEMS (t, terms) {
		const struct json *term = inner ? json_getc(t, inner) : t;

		if (json_len(json_getc(term, "namespaces")) > 0 || !json_is_null(json_getc(term, "namespaceSelector")))
			return true;
	}
	return false;
}

static bool cross_namespace(const struct json *pod)
{
	static const char *const kinds[] = {"podAffinity", "podAntiAffinity"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct json *o = json_getc(json_getp(pod, "spec.affinity"), kinds[i]);

		if (crosses(json_getc(o, "requiredDuringSchedulingIgnoredDuringExecution"), NULL) ||
				crosses(json_getc(o, "preferredDuringSchedulingIgnoredDuringExecution"), "podAffinityTerm"))
			return true;
	}
	return false;
}

static bool value_listed(const struct json *values, struct str v)
{
	JSON_ITEMS (it, values)
		if (str_eq(json_str(it), v))
			return true;
	return false;
}

static bool scope_selects(struct str scope, struct str op, const struct json *values, const struct json *pod)
{
	bool ends = !json_is_null(json_getp(pod, "spec.activeDeadlineSeconds"));
	struct str class = json_str(json_getp(pod, "spec.priorityClassName"));

	if (str_eqc(scope, "Terminating"))
		return ends;
	if (str_eqc(scope, "NotTerminating"))
		return !ends;
	if (str_eqc(scope, "BestEffort"))
		return best_effort(pod);
	if (str_eqc(scope, "NotBestEffort"))
		return !best_effort(pod);
	if (str_eqc(scope, "CrossNamespacePodAffinity"))
		return cross_namespace(pod);
	if (!str_eqc(scope, "PriorityClass"))
		return false;
	if (str_eqc(op, "In"))
		return value_listed(values, class);
	if (str_eqc(op, "NotIn"))
		return !value_listed(values, class);
	if (str_eqc(op, "DoesNotExist"))
		return class.n == 0;
	return class.n > 0;
}

bool quota_selects(const struct json *quota, const struct resource *res, const struct json *obj)
{
	const struct json *scopes = json_getp(quota, "spec.scopes"),
			  *exprs = json_getp(quota, "spec.scopeSelector.matchExpressions");

	if (json_len(scopes) == 0 && json_len(exprs) == 0)
		return true;
	if (!is_core(res, "pods"))
		return false;
	JSON_ITEMS (s, scopes)
		if (!scope_selects(json_str(s), STR("Exists"), NULL, obj))
			return false;
	JSON_ITEMS (x, exprs)
		if (!scope_selects(json_str(json_getc(x, "scopeName")), json_str(json_getc(x, "operator")),
				    json_getc(x, "values"), obj))
			return false;
	return true;
}

struct str quota_unsaid(struct arena *a, const struct json *spec, struct str name)
{
	static const char *const needed[] = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu",
			"limits.memory"};
	static const char *const lists[] = {"containers", "initContainers"};
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct quantity q;
	const char *what;
	struct str r = pod_resource(name, &what);
	bool asked = false;

	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		asked = asked || str_eqc(name, needed[i]);
	if (!asked || resources_amount(spec, what, r, &q))
		return STR_NULL;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(spec, lists[i]))
			if (!resources_amount(c, what, r, &q))
				buf_printf(&out, "%s%.*s", out.n ? "," : "", STR_FMT(json_str(json_getc(c, "name"))));
	return arena_str(a, buf_str(&out));
}
