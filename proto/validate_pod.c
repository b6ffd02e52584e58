#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

/* ---- the spec ---- */

static void toleration(struct field_errs *e, const struct field_path *at, const struct json *t)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	static const char *const ops[] = {"Equal", "Exists", NULL};
	struct field_path op_path = field_child(at, "operator"),
			  effect_path = field_child(at, "effect"),
			  value_path = field_child(at, "value");
	struct str op = json_str(json_getc(t, "operator")), value = json_str(json_getc(t, "value")),
		   key = json_str(json_getc(t, "key"));

	if (key.n > 0)
		validate__name(e, at, t, "key", validate__qualified_name);
	else if (!str_eqc(op, "Exists"))
		field_invalid_str(e, &op_path, op,
			"operator must be Exists when `key` is empty, which means \"match all "
			"values and all keys\"");
	if (!json_is_null(json_getc(t, "tolerationSeconds")) &&
		!json_eqc(json_getc(t, "effect"), "NoExecute"))
		field_invalid_str(e, &effect_path, json_str(json_getc(t, "effect")),
			"effect must be 'NoExecute' when `tolerationSeconds` is set");
	if (op.n > 0 && !str_eqc(op, "Exists") && !str_eqc(op, "Equal"))
		field_not_supported(e, &op_path, op, ops);
	else if (str_eqc(op, "Exists") && value.n > 0)
		field_invalid_str(
			e, &value_path, value, "value must be empty when `operator` is 'Exists'");
	validate__one_of_opt(e, at, t, "effect", effects);
}

void validate__tolerations(
	struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	validate__each(e, up, spec, "tolerations", toleration);
}

static void topology(struct field_errs *e, const struct field_path *at, const struct json *c)
{
	static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL}, *const policies[] = {"Honor", "Ignore", NULL};
	struct field_path skew = field_child(at, "maxSkew"), sel = field_child(at, "labelSelector"),
			  key = field_child(at, "topologyKey"), domains = field_child(at, "minDomains");
	const struct json *min = json_getc(c, "minDomains");

	if (json_i64_or(json_getc(c, "maxSkew"), 0) <= 0)
		field_invalid(e, &skew, json_getc(c, "maxSkew"), "must be greater than zero");
	if (json_str(json_getc(c, "topologyKey")).n == 0)
		field_required(e, &key, "can not be empty");
	validate__one_of(e, at, c, "whenUnsatisfiable", actions);
	if (json_is(min, JSON_NUMBER) && json_i64_or(min, 1) <= 0)
		field_invalid(e, &domains, min, "must be greater than zero");
	if (json_is(min, JSON_NUMBER) && !json_eqc(json_getc(c, "whenUnsatisfiable"), "DoNotSchedule"))
		field_invalid(e, &domains, min, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s",
			json_cstr(json_getc(c, "whenUnsatisfiable")));
	validate__one_of_opt(e, at, c, "nodeAffinityPolicy", policies);
	validate__one_of_opt(e, at, c, "nodeTaintsPolicy", policies);
	validate__label_selector(e, &sel, json_getc(c, "labelSelector"));
}

/* One topology is spread over in one way: the earlier of two is told that a later one is the same. */
static void topologies_differ(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	struct field_path all = field_child(up, "topologySpreadConstraints");

	for (size_t i = 0; i < json_len(list); i++) {
		struct field_path at = field_index(&all, i), path = field_child(&at, "{topologyKey, whenUnsatisfiable}");
		const struct json *c = json_at(list, i), *key = json_getc(c, "topologyKey"), *when = json_getc(c, "whenUnsatisfiable");

		for (size_t k = i + 1; k < json_len(list); k++) {
			if (!json_equal(json_getc(json_at(list, k), "topologyKey"), key) ||
				!json_equal(json_getc(json_at(list, k), "whenUnsatisfiable"), when))
				continue;
			field_duplicate(e, &path, arena_sprintf(e->arena, "{%s, %s}", json_cstr(key), json_cstr(when)));
			break;
		}
	}
}

static void host_alias(struct field_errs *e, const struct field_path *at, const struct json *h)
{
	struct field_path names = field_child(at, "hostnames");

	validate__name(e, at, h, "ip", validate__ip);
	JSON_ITEMS (n, json_getc(h, "hostnames")) {
		const char *bad = validate_dns1123_subdomain(json_str(n));

		if (bad)
			field_invalid(e, &names, n, "%s", bad);
	}
}

static void scheduling_gates(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	struct field_path all = field_child(up, "schedulingGates");
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (g, list) {
		struct field_path at = field_index(&all, i++);
		struct str name = json_str(json_getc(g, "name"));
		const char *bad = validate__qualified_name(name);

		if (bad)
			field_invalid_str(e, &at, name, "%s", bad);
		if (json_get(seen, name))
			field_duplicate(e, &at, name);
		json_set(e->arena, seen, name, g);
	}
}

static void gate(struct field_errs *e, const struct field_path *at, const struct json *g)
{
	validate__name(e, at, g, "conditionType", validate__qualified_name);
}

static void dns_words(struct field_errs *e, const struct field_path *config, const struct json *c)
{
	struct field_path searches = field_child(config, "searches"), options = field_child(config, "options");
	const struct json *list = json_getc(c, "searches");
	size_t i = 0, k = 0;

	if (json_len(list) > 32)
		field_invalid(e, &searches, list, "must not have more than 32 search paths");
	JSON_ITEMS (s, list) {
		struct field_path at = field_index(&searches, i++);
		struct str name = json_str(s);
		char *plain = arena_cstr(e->arena, str_sub(name, 0, name.n - str_has_suffix(name, STR("."))));
		const char *bad;

		/* Names of services have underscores, and resolvers search for them. */
		for (char *p = plain; *p; p++)
			*p = *p == '_' ? 'a' : *p;
		bad = str_eqc(name, ".") ? NULL : validate_dns1123_subdomain(str_from(plain));

		if (bad)
			field_invalid(e, &at, s, "%s", bad);
	}
	JSON_ITEMS (o, json_getc(c, "options")) {
		struct field_path at = field_index(&options, k++);

		if (json_str(json_getc(o, "name")).n == 0)
			field_required(e, &at, "must not be empty");
	}
}

static void dns(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const policies[] = {
		"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
	struct field_path config = field_child(path, "dnsConfig"),
			  servers = field_child(&config, "nameservers");
	struct json *list = json_getp(spec, "dnsConfig.nameservers");
	size_t i = 0;

	validate__one_of(e, path, spec, "dnsPolicy", policies);
	if (json_eqc(json_getc(spec, "dnsPolicy"), "None") && json_len(list) == 0)
		field_required(e, &servers,
			"must provide at least one DNS nameserver when `dnsPolicy` is None");
	dns_words(e, &config, json_getp(spec, "dnsConfig"));
	if (json_len(list) > 3)
		field_invalid(e, &servers, list, "must not have more than 3 nameservers");
	JSON_ITEMS (s, list) {
		struct field_path at = field_index(&servers, i++);
		const char *bad = validate__ip(json_str(s));

		if (bad)
			field_invalid(e, &at, s, "%s", bad);
	}
}

/* With the host's network a container port is a host port. */
static void host_network(
	struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path all = field_child(path, "containers");
	size_t i = 0;

	if (!json_true(json_getc(spec, "hostNetwork")))
		return;
	JSON_ITEMS (c, json_getc(spec, "containers")) {
		struct field_path at = field_index(&all, i++), ports = field_child(&at, "ports");
		size_t k = 0;

		JSON_ITEMS (p, json_getc(c, "ports")) {
			struct field_path port = field_index(&ports, k++),
					  where = field_child(&port, "containerPort");
			int64_t host = json_i64_or(json_getc(p, "hostPort"), 0);

			if (host != 0 && host != json_i64_or(json_getc(p, "containerPort"), 0))
				field_invalid(e, &where, json_getc(p, "containerPort"),
					"must match `hostPort` when `hostNetwork` is true");
		}
	}
}

void validate__pod_spec(struct field_errs *e, const struct field_path *path,
	const struct json *spec, const struct json *meta)
{
	static const char *const restarts[] = {"Always", "OnFailure", "Never", NULL}, *const systems[] = {"linux", "windows", NULL};
	struct field_path volumes = field_child(path, "volumes"),
			  selector = field_child(path, "nodeSelector"),
			  ephemeral = field_child(path, "ephemeralContainers"), os = field_child(path, "os");
	struct field_path deadline = field_child(path, "activeDeadlineSeconds");
	struct json *names = json_new_object(e->arena),
		    *d = json_getc(spec, "activeDeadlineSeconds");

	/* What is below something is a template's. */
	if (path->up && json_len(json_getc(spec, "ephemeralContainers")) > 0)
		field_forbidden(e, &ephemeral, "ephemeral containers not allowed in pod template");
	validate__volumes(e, &volumes, json_getc(spec, "volumes"), names);
	validate__containers(e, path, spec, names);
	validate__one_of(e, path, spec, "restartPolicy", restarts);
	dns(e, path, spec);
	validate_labels(json_getc(spec, "nodeSelector"), &selector, e);
	validate__pod_security(e, path, spec);
	host_network(e, path, spec);
	validate__each(e, path, spec, "readinessGates", gate);
	validate__name_opt(e, path, spec, "serviceAccountName", validate_dns1123_subdomain);
	validate__name_opt(e, path, spec, "nodeName", validate_dns1123_subdomain);
	if (json_is(d, JSON_NUMBER) && (json_i64_or(d, 0) < 1 || json_i64_or(d, 0) > INT32_MAX))
		field_invalid(e, &deadline, d, "must be between 1 and 2147483647, inclusive");
	validate__affinity(e, path, json_getc(spec, "affinity"));
	validate__name_opt(e, path, spec, "hostname", validate_dns1123_label);
	validate__name_opt(e, path, spec, "subdomain", validate_dns1123_label);
	validate__tolerations(e, path, spec);
	validate__each(e, path, spec, "hostAliases", host_alias);
	validate__name_opt(e, path, spec, "priorityClassName", validate_dns1123_subdomain);
	validate__name_opt(e, path, spec, "runtimeClassName", validate_dns1123_subdomain);
	validate__each(e, path, spec, "topologySpreadConstraints", topology);
	topologies_differ(e, path, json_getc(spec, "topologySpreadConstraints"));
	scheduling_gates(e, path, json_getc(spec, "schedulingGates"));
	validate__one_of_opt(e, &os, json_getc(spec, "os"), "name", systems);
	validate__pod_resources(e, path, spec);
}

/* ---- updates ---- */

static void same_images(struct arena *a, struct json *now, const struct json *was, const char *list)
{
	struct json *old = json_getc(was, list);
	size_t i = 0;

	JSON_ITEMS (c, json_getc(now, list)) {
		struct json *image = json_getc(json_at(old, i++), "image");

		if (image)
			json_setc(a, c, "image", image);
		else
			json_delc(c, "image");
	}
}

static void put_back(struct arena *a, struct json *now, const struct json *was, const char *key)
{
	struct json *v = json_getc(was, key);

	json_delc(now, key);
	if (v)
		json_setc(a, now, key, v);
}

static void tolerations_kept(struct field_errs *e, const struct field_path *path,
	const struct json *now, const struct json *was)
{
	JSON_ITEMS (old, was) {
		bool kept = false;

		JSON_ITEMS (t, now) {
			struct json *x = json_copy(e->arena, t), *y = json_copy(e->arena, old);

			json_delc(x, "tolerationSeconds");
			json_delc(y, "tolerationSeconds");
			kept |= json_equal(x, y);
		}
		if (!kept)
			field_forbidden(e, path,
				"existing toleration can not be modified except its "
				"tolerationSeconds");
	}
}

bool validate__is_nothing(const struct json *v)
{
	switch (json_type(v)) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return !v->b;
	case JSON_NUMBER:
		return str_eqc(v->s, "0");
	case JSON_STRING:
		return v->s.n == 0;
	case JSON_ARRAY:
		return v->n == 0;
	case JSON_OBJECT:
		JSON_MEMBERS (m, v)
			if (!validate__is_nothing(m->value))
				return false;
		return true;
	}
	UNREACHABLE();
}

bool validate__differ(const struct json *a, const struct json *b, struct buf *where)
{
	size_t n = where->n;

	if (validate__is_nothing(a) && validate__is_nothing(b))
		return false;
	if (json_is(a, JSON_OBJECT) && json_is(b, JSON_OBJECT)) {
		for (int side = 0; side < 2; side++) {
			JSON_MEMBERS (m, side ? b : a) {
				buf_printf(where, "%s%.*s", where->n ? "." : "", STR_FMT(m->key));
				if (validate__differ(json_get(a, m->key), json_get(b, m->key), where))
					return true;
				where->n = n;
			}
		}
		return false;
	}
	if (json_is(a, JSON_ARRAY) && json_is(b, JSON_ARRAY) && a->n == b->n) {
		for (size_t i = 0; i < a->n; i++) {
			buf_printf(where, "[%zu]", i);
			if (validate__differ(a->items[i], b->items[i], where))
				return true;
			where->n = n;
		}
		return false;
	}
	return !json_equal(a, b);
}

static void gates_only_go(struct field_errs *e, const struct field_path *path, const struct json *now, const struct json *was)
{
	size_t i = 0;

	JSON_ITEMS (g, now) {
		struct field_path at = field_index(path, i++);
		bool had = false;

		JSON_ITEMS (old, was)
			had |= json_equal(json_getc(g, "name"), json_getc(old, "name"));
		if (!had)
			field_forbidden(e, &at, "only deletion is allowed, but found new scheduling gate '%s'", json_cstr(json_getc(g, "name")));
	}
}

static void spec_update(const struct validate__ctx *c, const struct field_path *path)
{
	static const char *const lists[] = {"containers", "initContainers"};
	struct field_path tol = field_child(path, "tolerations"), gates = field_child(path, "schedulingGates"),
			  deadline = field_child(path, "activeDeadlineSeconds");
	struct json *was = json_getc(c->old, "spec"),
		    *now = json_copy(c->errs->arena, json_getc(c->obj, "spec"));
	struct json *d = json_getc(now, "activeDeadlineSeconds"),
		    *old_d = json_getc(was, "activeDeadlineSeconds");
	struct arena *a = c->errs->arena;
	struct buf where = BUF_INIT;

	if (!json_is(now, JSON_OBJECT))
		return;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct field_path p = field_child(path, lists[i]);

		if (json_len(json_getc(now, lists[i])) != json_len(json_getc(was, lists[i]))) {
			field_forbidden(
				c->errs, &p, "pod updates may not add or remove containers");
			return;
		}
	}
	gates_only_go(c->errs, &gates, json_getc(now, "schedulingGates"), json_getc(was, "schedulingGates"));
	tolerations_kept(
		c->errs, &tol, json_getc(now, "tolerations"), json_getc(was, "tolerations"));
	if (json_is(old_d, JSON_NUMBER) && json_is_null(d))
		field_invalid(c->errs, &deadline, d,
			"must not update from a positive integer to nil value");
	else if (json_is(old_d, JSON_NUMBER) && json_i64_or(d, 0) > json_i64_or(old_d, 0))
		field_invalid(
			c->errs, &deadline, d, "must be less than or equal to previous value");
	same_images(a, now, was, "containers");
	same_images(a, now, was, "initContainers");
	put_back(a, now, was, "activeDeadlineSeconds");
	put_back(a, now, was, "tolerations");
	put_back(a, now, was, "schedulingGates");
	if (json_i64_or(json_getc(was, "terminationGracePeriodSeconds"), 0) < 0)
		put_back(a, now, was, "terminationGracePeriodSeconds");
	if (validate__differ(now, was, &where))
		field_forbidden(c->errs, path,
			"pod updates may not change fields other than "
			"`spec.containers[*].image`,`spec.initContainers[*].image`,"
			"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
			"existing tolerations),"
			"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
			"previously negative): `spec.%s` differs",
			where.p ? where.p : "");
	buf_fini(&where);
}

/* Annotations that decide how a pod is run, or whose it is, are those that it was made with. */
static const struct {
	const char *key, *what;
	bool prefix;
} lasting[] = {
	{"container.apparmor.security.beta.kubernetes.io/", "AppArmor annotations", true},
	{"kubernetes.io/config.mirror", "mirror pod annotation", false},
};

static const char *lasting_annotation(struct str key)
{
	for (size_t i = 0; i < ARRAY_LEN(lasting); i++)
		if (lasting[i].prefix ? str_has_prefix(key, str_from(lasting[i].key)) : str_eqc(key, lasting[i].key))
			return lasting[i].what;
	return NULL;
}

static void annotations_last(const struct validate__ctx *c)
{
	struct field_path meta = field_child(NULL, "metadata"), path = field_child(&meta, "annotations");
	const struct json *now = json_getp(c->obj, "metadata.annotations"), *was = json_getp(c->old, "metadata.annotations");

	JSON_MEMBERS (m, was) {
		const char *what = lasting_annotation(m->key);
		struct field_path at = field_key(&path, m->key);

		if (what && !json_equal(json_get(now, m->key), m->value))
			field_forbidden(c->errs, &at, "may not remove or update %s", what);
	}
	JSON_MEMBERS (m, now) {
		const char *what = lasting_annotation(m->key);
		struct field_path at = field_key(&path, m->key);

		if (what && !json_get(was, m->key))
			field_forbidden(c->errs, &at, "may not add %s", what);
	}
}

void validate__pod(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"),
			  list = field_child(&spec, "ephemeralContainers");
	bool ephemeral = strcmp(c->sub, "ephemeralcontainers") == 0, resize = strcmp(c->sub, "resize") == 0;

	/* The other subresources keep the metadata that there is. */
	if (c->old && !ephemeral && !resize)
		annotations_last(c);
	if (c->sub[0] != '\0' && !ephemeral && !resize)
		return;
	validate__pod_spec(
		c->errs, &spec, json_getc(c->obj, "spec"), json_getc(c->obj, "metadata"));
	if (ephemeral)
		validate__ephemeral_update(c);
	else if (resize)
		validate__resize_update(c);
	else if (c->old)
		spec_update(c, &spec);
	else if (json_len(json_getp(c->obj, "spec.ephemeralContainers")) > 0)
		field_forbidden(c->errs, &list, "cannot be set on create");
}
