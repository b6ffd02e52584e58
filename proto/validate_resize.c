/*
 * Resizing a pod: cpu and memory of the pod as a whole, of its containers and sidecars may change, and nothing else; the pod's quality of
 * service is decided once. Also what a container says about being resized, and the quality of service itself.
 */
#include <string.h>

#include "base/util.h"
#include "proto/quantity.h"
#include "proto/validate-priv.h"

/* ---- quality of service ---- */

static bool asks(const struct json *map, const char *what)
{
	return quantity_sign(quantity_of(json_cstr(json_getc(map, what)))) > 0;
}

/* A request that is left out is what the limit says. */
static bool is_guaranteed(const struct json *requests, const struct json *limits, const char *what)
{
	const char *request = json_cstr(json_getc(requests, what)), *limit = json_cstr(json_getc(limits, what));

	return asks(limits, what) &&
	       (!asks(requests, what) || quantity_cmp(quantity_of(request), quantity_of(limit)) == 0);
}

static void judge(const struct json *has, bool *any, bool *guaranteed)
{
	const struct json *req = json_getp(has, "resources.requests"), *lim = json_getp(has, "resources.limits");

	*any |= asks(req, "cpu") || asks(req, "memory") || asks(lim, "cpu") || asks(lim, "memory");
	*guaranteed &= is_guaranteed(req, lim, "cpu") && is_guaranteed(req, lim, "memory");
}

const char *validate_qos_class(const struct json *pod)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const struct json *spec = json_getc(pod, "spec");
	bool any = false, guaranteed = true;

	/* Where the pod as a whole has resources its containers' do not count. */
	if (json_is(json_getc(spec, "resources"), JSON_OBJECT)) {
		judge(spec, &any, &guaranteed);
	} else {
		for (size_t i = 0; i < ARRAY_LEN(lists); i++)
			JSON_ITEMS (c, json_getc(spec, lists[i]))
				judge(c, &any, &guaranteed);
	}
	return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* ---- resizePolicy ---- */

void validate__resize_policy(struct field_errs *e, const struct field_path *up, const struct json *container, bool never)
{
	static const char *const resources[] = {"cpu", "memory", NULL}, *const policies[] = {"NotRequired", "RestartContainer", NULL};
	struct field_path path = field_child(up, "resizePolicy");
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (p, json_getc(container, "resizePolicy")) {
		struct field_path at = field_index(&path, i++);
		struct str name = json_str(json_getc(p, "resourceName")), policy = json_str(json_getc(p, "restartPolicy"));

		if (json_get(seen, name))
			field_duplicate(e, &at, name);
		json_set(e->arena, seen, name, json_new_bool(e->arena, true));
		if (name.n == 0)
			field_required(e, &path, "");
		else if (!str_eqc(name, "cpu") && !str_eqc(name, "memory"))
			field_not_supported(e, &path, name, resources);
		if (policy.n == 0)
			field_required(e, &path, "");
		else if (!str_eqc(policy, "NotRequired") && !str_eqc(policy, "RestartContainer"))
			field_not_supported(e, &path, policy, policies);
		if (never && !str_eqc(policy, "NotRequired"))
			field_invalid_str(e, &path, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'");
	}
}

/* ---- the update ---- */

/* A running container whose node does not say what it runs with: nothing there would follow. */
static bool node_follows(const struct json *pod)
{
	JSON_ITEMS (s, json_getp(pod, "status.containerStatuses"))
		if (!json_is_null(json_getp(s, "state.running")))
			return !json_is_null(json_getc(s, "resources"));
	return true;
}

static bool same_names(struct field_errs *e, const struct field_path *spec, const struct json *now, const struct json *was,
		const char *list)
{
	const struct json *is = json_getc(now, list), *old = json_getc(was, list);
	struct field_path path = field_child(spec, list);
	bool same = true;

	if (json_len(is) != json_len(old)) {
		field_forbidden(e, &path, "%s may not be added or removed on resize", list);
		return false;
	}
	for (size_t i = 0; i < json_len(is); i++) {
		struct field_path at = field_index(&path, i), name = field_child(&at, "name");

		if (json_equal(json_getc(json_at(is, i), "name"), json_getc(json_at(old, i), "name")))
			continue;
		field_forbidden(e, &name, "%s may not be renamed or reordered on resize", list);
		same = false;
	}
	return same;
}

static void nothing_removed(struct field_errs *e, const struct field_path *at, const struct json *is, const struct json *was)
{
	static const char *const whats[] = {"requests", "limits"};
	struct field_path resources = field_child(at, "resources");

	for (size_t i = 0; i < ARRAY_LEN(whats); i++) {
		const struct json *now = json_getc(json_getc(is, "resources"), whats[i]);
		struct field_path p = field_child(&resources, whats[i]);
		bool removed = false;

		JSON_MEMBERS (m, json_getc(json_getc(was, "resources"), whats[i]))
			removed |= json_is_null(json_get(now, m->key));
		if (removed)
			field_forbidden(e, &p, "resource %s cannot be removed", whats[i]);
	}
}

/* A copy of the container with the amounts of cpu and memory that it had. */
static struct json *put_back(struct arena *a, const struct json *is, const struct json *was)
{
	static const char *const whats[] = {"requests", "limits"}, *const names[] = {"cpu", "memory"};
	struct json *c = json_copy(a, is), *resources = json_object_at(a, c, "resources");

	for (size_t i = 0; resources && i < ARRAY_LEN(whats); i++)
		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			struct json *map = json_object_at(a, resources, whats[i]);
			struct json *old = json_getc(json_getc(json_getc(was, "resources"), whats[i]), names[k]);

			if (!map)
				continue;
			json_delc(map, names[k]);
			if (old)
				json_setc(a, map, names[k], old);
		}
	return c;
}

static bool differ(const struct json *a, const struct json *b)
{
	_cleanup_(buf_fini) struct buf where = BUF_INIT;

	return validate__differ(a, b, &where);
}

static void only_amounts(struct field_errs *e, const struct field_path *spec, const struct json *now, const struct json *was)
{
	struct field_path inits = field_child(spec, "initContainers");

	for (size_t i = 0; i < json_len(json_getc(now, "containers")); i++) {
		const struct json *is = json_at(json_getc(now, "containers"), i), *old = json_at(json_getc(was, "containers"), i);

		if (differ(put_back(e->arena, is, old), old))
			field_forbidden(e, spec, "only cpu and memory resources are mutable");
	}
	for (size_t i = 0; i < json_len(json_getc(now, "initContainers")); i++) {
		const struct json *is = json_at(json_getc(now, "initContainers"), i),
				  *old = json_at(json_getc(was, "initContainers"), i);
		struct field_path at = field_index(&inits, i);

		if (!json_eqc(json_getc(is, "restartPolicy"), "Always")) {
			if (differ(is, old))
				field_forbidden(e, &at, "resources for non-sidecar init containers are immutable");
		} else if (differ(put_back(e->arena, is, old), old)) {
			field_forbidden(e, &at, "only cpu and memory resources for sidecar containers are mutable");
		}
	}
}

static void amounts_stay(struct field_errs *e, const struct field_path *spec, const struct json *now, const struct json *was)
{
	static const char *const lists[] = {"initContainers", "containers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct field_path path = field_child(spec, lists[i]);

		for (size_t k = 0; k < json_len(json_getc(was, lists[i])); k++) {
			struct field_path at = field_index(&path, k);

			nothing_removed(e, &at, json_at(json_getc(now, lists[i]), k), json_at(json_getc(was, lists[i]), k));
		}
	}
}

/* The pod's own resources, which it has from the beginning or not at all. */
static void whole_pod(struct field_errs *e, const struct field_path *spec, const struct json *now, const struct json *was)
{
	struct field_path path = field_child(spec, "resources");
	struct json *is = json_new_object(e->arena), *old = json_new_object(e->arena);

	if (validate__is_nothing(json_getc(was, "resources"))) {
		if (!validate__is_nothing(json_getc(now, "resources")))
			field_forbidden(e, &path, "pod-level resources may not be added on resize");
		return;
	}
	json_setc(e->arena, old, "resources", json_getc(was, "resources"));
	if (json_getc(now, "resources"))
		json_setc(e->arena, is, "resources", json_getc(now, "resources"));
	nothing_removed(e, spec, is, old);
	if (differ(put_back(e->arena, is, old), old))
		field_forbidden(e, spec, "only cpu and memory resources are mutable");
}

void validate__resize_update(const struct validate__ctx *c)
{
	const struct json *now = json_getc(c->obj, "spec"), *was = json_getc(c->old, "spec");
	struct field_path root = field_child(NULL, ""), spec = field_child(NULL, "spec");
	struct json *had = json_getp(c->old, "status.qosClass");
	struct str class = had ? json_str(had) : str_from(validate_qos_class(c->old));
	bool names;

	if (json_getc(json_getp(c->old, "metadata.annotations"), "kubernetes.io/config.mirror"))
		field_forbidden(c->errs, &root, "static pods cannot be resized");
	if (json_eqc(json_getp(was, "os.name"), "windows"))
		field_forbidden(c->errs, &root, "windows pods cannot be resized");
	whole_pod(c->errs, &spec, now, was);
	if (!str_eqc(class, validate_qos_class(c->obj)))
		field_invalid_str(c->errs, &spec, class, "Pod QOS Class may not change as a result of resizing");
	if (!node_follows(c->old))
		field_forbidden(c->errs, &spec, "Pod running on node without support for resize");
	names = same_names(c->errs, &spec, now, was, "containers");
	names = same_names(c->errs, &spec, now, was, "initContainers") && names;
	if (!names)
		return;
	amounts_stay(c->errs, &spec, now, was);
	only_amounts(c->errs, &spec, now, was);
}
