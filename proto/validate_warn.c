/* What is let through, but told: fields that are old, that are dropped, or that do not do what they look like. */
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "proto/quantity.h"
#include "proto/resource.h"
#include "proto/selector.h"
#include "proto/validate-priv.h"

void validate__warn(struct field_errs *e, const struct field_path *path, const char *fmt, ...)
{
	va_list ap;

	if (!e->warnings)
		return;
	va_start(ap, fmt);
	field_err_add(e->warnings, path, FIELD_INVALID, "%s", arena_vprintf(e->arena, fmt, ap));
	va_end(ap);
}

/* --- Labels of nodes, annotations ---------------------------------------------------------------------------------- */

static void node_label(struct field_errs *e, const struct field_path *path, struct str key)
{
	static const struct {
		const char *old, *since, *now;
	} rows[] = {
		{"beta.kubernetes.io/arch", "1.14", "kubernetes.io/arch"},
		{"beta.kubernetes.io/os", "1.14", "kubernetes.io/os"},
		{"failure-domain.beta.kubernetes.io/region", "1.17", "topology.kubernetes.io/region"},
		{"failure-domain.beta.kubernetes.io/zone", "1.17", "topology.kubernetes.io/zone"},
		{"beta.kubernetes.io/instance-type", "1.17", "node.kubernetes.io/instance-type"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eqc(key, rows[i].old))
			validate__warn(e, path, "deprecated since v%s; use \"%s\" instead", rows[i].since, rows[i].now);
}

static void annotations(struct field_errs *e, const struct field_path *meta, const struct json *m)
{
	static const struct {
		const char *key, *text;
	} rows[] = {
		{"seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"},
		{"container.seccomp.security.alpha.kubernetes.io/", "non-functional in v1.27+; use the \"seccompProfile\" field instead"},
		{"container.apparmor.security.beta.kubernetes.io/", "deprecated since v1.30; use the \"appArmorProfile\" field instead"},
		{"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
	};
	struct field_path all = field_child(meta, "annotations");

	JSON_MEMBERS (a, json_getc(m, "annotations")) {
		struct field_path at = field_key(&all, a->key);

		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct str key = str_from(rows[i].key);
			bool is = str_has_suffix(key, STR("/")) ? str_has_prefix(a->key, key) : str_eq(a->key, key);

			if (is)
				validate__warn(e, &at, "%s", rows[i].text);
		}
	}
}

/* --- Containers -------------------------------------------------------------------------------------------------------- */

/* Two of one name: the later one counts, and merges of lists by name lose one of them. One that is made of the former is meant. */
static void env(struct field_errs *e, const struct field_path *up, const struct json *c)
{
	struct field_path all = field_child(up, "env");
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (v, json_getc(c, "env")) {
		struct field_path at = field_index(&all, i++);
		struct str name = json_str(json_getc(v, "name"));
		struct str ref = arena_sprintf(e->arena, "$(%.*s)", STR_FMT(name));

		if (json_get(seen, name) && str_search(json_str(json_getc(v, "value")), ref) < 0)
			validate__warn(e, &at, "hides previous definition of \"%.*s\", which may be dropped when using apply", STR_FMT(name));
		json_set(e->arena, seen, name, v);
	}
}

static void ports(struct field_errs *e, const struct field_path *up, const struct json *c)
{
	struct field_path all = field_child(up, "ports");
	const struct json *list = json_getc(c, "ports");

	for (size_t i = 1; i < json_len(list); i++) {
		struct field_path at = field_index(&all, i);
		const struct json *p = json_at(list, i);

		for (size_t k = 0; k < i; k++) {
			const struct json *q = json_at(list, k);
			struct field_path before = field_index(&all, k);
			struct buf where = BUF_INIT;

			if (!json_equal(json_getc(p, "containerPort"), json_getc(q, "containerPort")) ||
				!json_equal(json_getc(p, "protocol"), json_getc(q, "protocol")) ||
				!json_equal(json_getc(p, "hostPort"), json_getc(q, "hostPort")) ||
				!json_equal(json_getc(p, "hostIP"), json_getc(q, "hostIP")))
				continue;
			field_path_print(&where, &before);
			validate__warn(e, &at, "duplicate port definition with %s", where.p);
			buf_fini(&where);
			break;
		}
	}
}

static void whole_bytes(struct field_errs *e, const struct field_path *up, const struct json *amounts)
{
	static const char *const bytes[] = {"memory", "ephemeral-storage"};

	for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
		struct field_path at = field_key(up, str_from(bytes[i]));
		const struct json *v = json_getc(amounts, bytes[i]);

		if (v && quantity_of(json_cstr(v)).nano % 1000000000 != 0)
			validate__warn(e, &at, "fractional byte value \"%s\" is invalid, must be an integer", json_cstr(v));
	}
}

static void containers(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const lists[] = {"initContainers", "containers"};

	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		struct field_path all = field_child(up, lists[k]);
		size_t i = 0;

		JSON_ITEMS (c, json_getc(spec, lists[k])) {
			struct field_path at = field_index(&all, i++), res = field_child(&at, "resources"),
					  requests = field_child(&res, "requests"), limits = field_child(&res, "limits");

			whole_bytes(e, &requests, json_getp(c, "resources.requests"));
			whole_bytes(e, &limits, json_getp(c, "resources.limits"));
			env(e, &at, c);
			ports(e, &at, c);
		}
	}
}

/* --- Pods ---------------------------------------------------------------------------------------------------------------- */

static void volumes(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const struct {
		const char *source, *text;
	} rows[] = {
		{"gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
		{"photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
		{"scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
		{"flocker", "deprecated in v1.22, non-functional in v1.25+"},
		{"quobyte", "deprecated in v1.22, non-functional in v1.25+"},
		{"storageos", "deprecated in v1.22, non-functional in v1.25+"},
		{"glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
		{"cephfs", "deprecated in v1.28, non-functional in v1.31+"},
		{"rbd", "deprecated in v1.28, non-functional in v1.31+"},
	};
	struct field_path all = field_child(up, "volumes");
	size_t i = 0;

	JSON_ITEMS (v, json_getc(spec, "volumes")) {
		struct field_path at = field_index(&all, i++);

		for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
			struct field_path p = field_child(&at, rows[k].source);

			if (!json_is_null(json_getc(v, rows[k].source)))
				validate__warn(e, &p, "%s", rows[k].text);
		}
	}
}

static void pull_secrets(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path all = field_child(up, "imagePullSecrets");
	size_t i = 0;

	JSON_ITEMS (s, json_getc(spec, "imagePullSecrets")) {
		struct field_path at = field_index(&all, i++), name = field_child(&at, "name");

		if (json_str(json_getc(s, "name")).n == 0)
			validate__warn(e, &name, "invalid empty name \"\"");
	}
}

static void pod(struct field_errs *e, const struct field_path *meta_path, const struct json *meta, const struct field_path *path,
	const struct json *spec)
{
	struct field_path selector = field_child(path, "nodeSelector"), grace = field_child(path, "terminationGracePeriodSeconds"),
			  all = field_child(path, "topologySpreadConstraints");
	size_t i = 0;

	JSON_MEMBERS (m, json_getc(spec, "nodeSelector")) {
		struct field_path at = field_key(&selector, m->key);

		node_label(e, &at, m->key);
	}
	JSON_ITEMS (c, json_getc(spec, "topologySpreadConstraints")) {
		struct field_path at = field_index(&all, i++), key = field_child(&at, "topologyKey"), sel = field_child(&at, "labelSelector");

		node_label(e, &key, json_str(json_getc(c, "topologyKey")));
		if (json_is_null(json_getc(c, "labelSelector")))
			validate__warn(e, &sel, "a null labelSelector results in matching no pod");
	}
	annotations(e, meta_path, meta);
	volumes(e, path, spec);
	pull_secrets(e, path, spec);
	containers(e, path, spec);
	if (json_i64_or(json_getc(spec, "terminationGracePeriodSeconds"), 0) < 0)
		validate__warn(e, &grace, "must be >= 0; negative values are invalid and will be treated as 1");
}

/* --- Objects --------------------------------------------------------------------------------------------------------------- */

/* Kinds that make pods: what their names end up in, and where the template is. */
static const struct {
	const char *kind, *name_in, *template;
} makers[] = {
	{"Pod", "the Pod's hostname", NULL},
	{"Deployment", "Pod names and hostnames", "spec.template"},
	{"ReplicaSet", "Pod names and hostnames", "spec.template"},
	{"ReplicationController", "Pod names and hostnames", "spec.template"},
	{"StatefulSet", "Pod names and hostnames", "spec.template"},
	{"Job", "Pod names and hostnames", "spec.template"},
	{"CronJob", "Pod names and hostnames", "spec.jobTemplate.spec.template"},
	{"DaemonSet", NULL, "spec.template"},
	{"PodTemplate", NULL, "template"},
};

static void maker(const struct validate__ctx *c, size_t i)
{
	struct field_path top, meta, spec, name_path;
	const struct json *t = makers[i].template ? json_getp(c->obj, makers[i].template) : c->obj,
			  *was = makers[i].template ? json_getp(c->old, makers[i].template) : c->old;
	struct str name = json_strp(c->obj, "metadata.name");
	const char *bad = name.n > 0 ? validate_dns1123_label(name) : NULL;

	meta = field_child(NULL, "metadata");
	name_path = field_child(&meta, "name");
	if (!c->old && makers[i].name_in && bad)
		validate__warn(c->errs, &name_path,
			"this is used in %s, which can result in surprising behavior; a DNS label is recommended: [%s]", makers[i].name_in, bad);
	/* What a pod is told when it is made need not be said again at each of its changes. */
	if (c->old && (!makers[i].template || json_equal(t, was)))
		return;
	top = field_child(NULL, makers[i].template ? makers[i].template : "");
	meta = field_child(makers[i].template ? &top : NULL, "metadata");
	spec = field_child(makers[i].template ? &top : NULL, "spec");
	pod(c->errs, &meta, json_getc(t, "metadata"), &spec, json_getc(t, "spec"));
}

void validate__warnings(const struct validate__ctx *c)
{
	struct field_path meta = field_child(NULL, "metadata"), notes = field_child(&meta, "annotations"), spec = field_child(NULL, "spec"),
			  reclaim = field_child(&spec, "persistentVolumeReclaimPolicy"), capacity = field_child(&spec, "capacity"),
			  size = field_key(&capacity, STR("storage")), class = field_key(&notes, STR("volume.beta.kubernetes.io/storage-class"));
	const struct json *v = json_getp(c->obj, "spec.capacity.storage");

	if (!c->errs->warnings || c->sub[0] != '\0')
		return;
	for (size_t i = 0; i < ARRAY_LEN(makers); i++)
		if (strcmp(c->res->kind, makers[i].kind) == 0)
			maker(c, i);
	if (strcmp(c->res->kind, "Ingress") == 0 && !c->old &&
		json_getc(json_getp(c->obj, "metadata.annotations"), "kubernetes.io/ingress.class"))
		validate__warn(c->errs, NULL, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
	if (strcmp(c->res->kind, "PersistentVolume") != 0 || c->old)
		return;
	if (json_getc(json_getp(c->obj, "metadata.annotations"), "volume.beta.kubernetes.io/storage-class"))
		validate__warn(c->errs, &class, "deprecated since v1.8; use \"storageClassName\" attribute instead");
	if (json_eqc(json_getp(c->obj, "spec.persistentVolumeReclaimPolicy"), "Recycle"))
		validate__warn(c->errs, &reclaim,
			"The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
	if (v && quantity_of(json_cstr(v)).nano % 1000000000 != 0)
		validate__warn(c->errs, &size, "fractional byte value \"%s\" is invalid, must be an integer", json_cstr(v));
}
