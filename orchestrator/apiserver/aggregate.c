#include "orchestrator/apiserver/aggregate.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/custom.h"
#include "proto/json.h"

#define DEFAULT_PORT 443

void api_service_parse(struct arena *a, const struct json *doc, struct api_service *ret)
{
	const struct json *spec = json_getc(doc, "spec"), *service = json_getc(spec, "service");

	*ret = (struct api_service){.name = api_name(doc),
			.group = json_strp(spec, "group"),
			.version = json_strp(spec, "version"),
			.remote = !json_is_null(service),
			.service_ns = json_strp(service, "namespace"),
			.service = json_strp(service, "name"),
			.port = json_i64_or(json_getc(service, "port"), DEFAULT_PORT),
			.insecure = json_true(json_getc(spec, "insecureSkipTLSVerify")),
			.group_priority = json_i64_or(json_getc(spec, "groupPriorityMinimum"), 0),
			.version_priority = json_i64_or(json_getc(spec, "versionPriority"), 0),
			.managed = json_str(json_getc(json_getp(doc, "metadata.labels"), AGGREGATE_MANAGED))};
	if (!api_base64_decode(a, json_strp(spec, "caBundle"), &ret->ca_pem))
		ret->ca_pem = STR_NULL;
	JSON_ITEMS (c, json_getp(doc, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "Available"))
			ret->condition = (struct aggregate_condition){arena_cstr(a, json_strp(c, "status")), arena_cstr(a, json_strp(c, "reason")),
					json_strp(c, "message")};
	ret->available = ret->condition.status && strcmp(ret->condition.status, "True") == 0;
}

bool aggregate_path(struct str path, struct str *ret_group, struct str *ret_version)
{
	struct str rest;

	if (!str_has_prefix(path, STR("/apis/")) || !str_cut(str_skip(path, 6), '/', ret_group, &rest))
		return false;
	str_cut(rest, '/', ret_version, &rest);
	return ret_group->n > 0 && ret_version->n > 0;
}

bool aggregate_is_ours(struct str group)
{
	return group.n == 0 || str_eqc(group, "apiregistration.k8s.io");
}

/* --- Order ------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *group, *version;
	int group_priority, version_priority;
} priorities[] = {
		{"", "v1", 18000, 1},
		{"apiregistration.k8s.io", "v1", 18000, 15},
		{"apps", "v1", 17800, 15},
		{"events.k8s.io", "v1", 17750, 15},
		{"authentication.k8s.io", "v1", 17700, 15},
		{"authorization.k8s.io", "v1", 17600, 15},
		{"autoscaling", "v1", 17500, 15},
		{"autoscaling", "v2", 17500, 30},
		{"batch", "v1", 17400, 15},
		{"certificates.k8s.io", "v1", 17300, 15},
		{"networking.k8s.io", "v1", 17200, 15},
		{"policy", "v1", 17100, 15},
		{"rbac.authorization.k8s.io", "v1", 17000, 15},
		{"storage.k8s.io", "v1", 16800, 15},
		{"apiextensions.k8s.io", "v1", 16700, 15},
		{"admissionregistration.k8s.io", "v1", 16700, 15},
		{"scheduling.k8s.io", "v1", 16600, 15},
		{"coordination.k8s.io", "v1", 16500, 15},
		{"node.k8s.io", "v1", 16300, 15},
		{"discovery.k8s.io", "v1", 16200, 15},
		{"flowcontrol.apiserver.k8s.io", "v1", 16100, 21},
		{"resource.k8s.io", "v1", 15900, 20},
		{"metrics.k8s.io", "v1beta1", 100, 100}, /* as metrics-server's own registration */
};

void aggregate_priorities(struct str group, struct str version, bool custom, int64_t *ret_group, int64_t *ret_version)
{
	*ret_group = custom ? 1000 : 15000;
	*ret_version = custom ? 100 : 1;
	for (size_t i = 0; !custom && i < ARRAY_LEN(priorities); i++)
		if (str_eqc(group, priorities[i].group) && str_eqc(version, priorities[i].version)) {
			*ret_group = priorities[i].group_priority;
			*ret_version = priorities[i].version_priority;
		}
}

static int gv_cmp(const void *a, const void *b)
{
	const struct aggregate_gv *x = a, *y = b;
	int c = strcmp(x->group, y->group);

	if (x->group_priority != y->group_priority)
		return x->group_priority > y->group_priority ? -1 : 1;
	if (c != 0)
		return c;
	if (x->version_priority != y->version_priority)
		return x->version_priority > y->version_priority ? -1 : 1;
	return custom_version_cmp(x->version, y->version);
}

void aggregate_sort(struct aggregate_gv *v, size_t n)
{
	int64_t max;

	for (size_t i = 0; i < n; i++) {
		max = 0;
		for (size_t j = 0; j < n; j++)
			if (strcmp(v[j].group, v[i].group) == 0)
				max = MAX(max, v[j].group_priority);
		for (size_t j = 0; j < n; j++)
			if (strcmp(v[j].group, v[i].group) == 0)
				v[j].group_priority = max;
	}
	if (n > 1)
		qsort(v, n, sizeof(*v), gv_cmp);
}

/* --- Availability ------------------------------------------------------------------------------------------------------------ */

static bool find_port(const struct json *service, int64_t port, struct str *ret_name)
{
	JSON_ITEMS (p, json_getp(service, "spec.ports"))
		if (json_i64_or(json_getc(p, "port"), -1) == port) {
			*ret_name = json_str(json_getc(p, "name"));
			return true;
		}
	return false;
}

static bool has_port(const struct json *ports, struct str name)
{
	JSON_ITEMS (p, ports)
		if (str_eq(json_str(json_getc(p, "name")), name) && json_getc(p, "port"))
			return true;
	return false;
}

static bool slice_answers(const struct json *slice, struct str port)
{
	bool ready = false;

	JSON_ITEMS (e, json_getc(slice, "endpoints")) {
		const struct json *r = json_getp(e, "conditions.ready");

		ready = ready || json_is_null(r) || json_true(r);
	}
	return ready && has_port(json_getc(slice, "ports"), port);
}

static bool somebody_answers(const struct aggregate_facts *f, struct str port)
{
	JSON_ITEMS (s, f->slices)
		if (slice_answers(s, port))
			return true;
	JSON_ITEMS (s, json_getc(f->endpoints, "subsets"))
		if (json_len(json_getc(s, "addresses")) > 0 && has_port(json_getc(s, "ports"), port))
			return true;
	return false;
}

static bool no(struct aggregate_condition *ret, const char *reason, struct str message)
{
	*ret = (struct aggregate_condition){"False", reason, message};
	return true;
}

bool aggregate_judge(struct arena *a, const struct api_service *s, const struct aggregate_facts *f, struct aggregate_condition *ret)
{
	struct str port = STR("");

	if (!s->remote) {
		*ret = (struct aggregate_condition){"True", "Local", STR("Local APIServices are always available")};
		return true;
	}
	if (!f->service)
		return no(ret, "ServiceNotFound", arena_sprintf(a, "service/%.*s in \"%.*s\" is not present", STR_FMT(s->service),
				STR_FMT(s->service_ns)));
	if (json_eqc(json_getp(f->service, "spec.type"), "ClusterIP")) {
		if (!find_port(f->service, s->port, &port))
			return no(ret, "ServicePortError", arena_sprintf(a, "service/%.*s in \"%.*s\" is not listening on port %lld",
					STR_FMT(s->service), STR_FMT(s->service_ns), (long long)s->port));
		if (json_len(f->slices) == 0 && !f->endpoints)
			return no(ret, "EndpointsNotFound", arena_sprintf(a, "cannot find endpointslices for service/%.*s in \"%.*s\"",
					STR_FMT(s->service), STR_FMT(s->service_ns)));
		if (!somebody_answers(f, port))
			return no(ret, "MissingEndpoints",
					arena_sprintf(a, "endpointslices for service/%.*s in \"%.*s\" have no addresses with port name \"%.*s\"",
							STR_FMT(s->service), STR_FMT(s->service_ns), STR_FMT(port)));
	}
	if (!f->asked)
		return false;
	if (f->failure.n > 0)
		return no(ret, "FailedDiscoveryCheck", f->failure);
	*ret = (struct aggregate_condition){"True", "Passed", STR("all checks passed")};
	return true;
}

struct json *aggregate_status(struct arena *a, const struct json *doc, const struct aggregate_condition *c, struct json *now)
{
	struct json *out = json_copy(a, doc), *list = json_getp(out, "status.conditions"), *mine = NULL;

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setp(a, out, "status.conditions", list);
	}
	JSON_ITEMS (o, list)
		if (json_eqc(json_getc(o, "type"), "Available"))
			mine = o;
	if (!mine) {
		mine = json_new_object(a);
		json_setc(a, mine, "type", json_newc(a, "Available"));
		json_push(a, list, mine);
	}
	if (!json_eqc(json_getc(mine, "status"), c->status))
		json_setc(a, mine, "lastTransitionTime", now);
	json_setc(a, mine, "status", json_newc(a, c->status));
	json_setc(a, mine, "reason", json_newc(a, c->reason));
	json_setc(a, mine, "message", json_new_str(a, c->message));
	return out;
}

/* --- Registrations ----------------------------------------------------------------------------------------------------------- */

static const char *managed_word(const struct aggregate_want *w)
{
	return w->custom ? "true" : "onstart";
}

static bool is_as_wanted(const struct api_service *have, const struct aggregate_want *w)
{
	int64_t group, version;

	aggregate_priorities(str_from(w->group), str_from(w->version), w->custom, &group, &version);
	return !have->remote && have->group_priority == group && have->version_priority == version &&
	       str_eqc(have->managed, managed_word(w));
}

/* What is served here for want of a server of its own: when somebody has installed that, it stays installed. */
static bool may_be_replaced(const struct aggregate_want *w)
{
	return strcmp(w->group, "metrics.k8s.io") == 0;
}

enum aggregate_action aggregate_decide(const struct api_service *have, const struct aggregate_want *want, bool starting)
{
	if (!have)
		return want && (want->custom || starting) ? AGGREGATE_CREATE : AGGREGATE_LEAVE;
	if (str_eqc(have->managed, "onstart") ? !starting : !str_eqc(have->managed, "true"))
		return AGGREGATE_LEAVE;
	if (!want)
		return AGGREGATE_DELETE;
	if (is_as_wanted(have, want) || (have->remote && may_be_replaced(want)))
		return AGGREGATE_LEAVE;
	return AGGREGATE_UPDATE;
}

struct json *aggregate_local(struct arena *a, const struct aggregate_want *w, const struct json *old)
{
	struct json *doc = old ? json_copy(a, old) : json_new_object(a), *spec = json_new_object(a), *labels;
	int64_t group, version;

	aggregate_priorities(str_from(w->group), str_from(w->version), w->custom, &group, &version);
	json_setc(a, doc, "apiVersion", json_newc(a, "apiregistration.k8s.io/v1"));
	json_setc(a, doc, "kind", json_newc(a, "APIService"));
	json_setp(a, doc, "metadata.name", json_newf(a, "%s.%s", w->version, w->group));
	labels = json_object_at(a, json_getc(doc, "metadata"), "labels");
	json_setc(a, labels, AGGREGATE_MANAGED, json_newc(a, managed_word(w)));
	if (w->group[0])
		json_setc(a, spec, "group", json_newc(a, w->group));
	json_setc(a, spec, "version", json_newc(a, w->version));
	json_setc(a, spec, "groupPriorityMinimum", json_new_int(a, group));
	json_setc(a, spec, "versionPriority", json_new_int(a, version));
	json_setc(a, doc, "spec", spec);
	return doc;
}
