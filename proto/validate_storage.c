/* Volumes, claims, and the classes and drivers behind them. */
#include <string.h>

#include "base/util.h"
#include "proto/quantity.h"
#include "proto/validate-priv.h"

#define DRIVER_NAME_MAX 63u
#define NODE_ID_MAX 192u

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};

static void modes(struct field_errs *e, const struct field_path *up, const struct json *spec, const char *none)
{
	struct field_path path = field_child(up, "accessModes");
	struct json *list = json_getc(spec, "accessModes");
	bool alone = false;

	if (json_len(list) == 0)
		field_required(e, &path, none);
	JSON_ITEMS (m, list) {
		size_t i = 0;

		while (access_modes[i] && !json_eqc(m, access_modes[i]))
			i++;
		if (!access_modes[i])
			field_not_supported(e, &path, json_str(m), access_modes);
		alone |= json_eqc(m, "ReadWriteOncePod");
	}
	if (alone && json_len(list) > 1)
		field_forbidden(e, &path, "may not use ReadWriteOncePod with other access modes");
}

static bool positive(const struct json *q)
{
	return quantity_sign(quantity_of(json_cstr(q))) > 0;
}

/* A string of that name differs between old and new. */
static bool differs(const struct json *now, const struct json *was, const char *key)
{
	const struct json *a = json_getc(now, key), *b = json_getc(was, key);

	return !json_equal(a, b) && json_len(a) + json_len(b) + json_str(a).n + json_str(b).n > 0;
}

/* ---- persistent volumes ---- */

static bool is_source(struct str key)
{
	static const char *const others[] = {"capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy",
		"storageClassName", "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName"};

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (str_eqc(key, others[i]))
			return false;
	return true;
}

static void source(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	size_t n = 0;

	JSON_MEMBERS (m, spec) {
		struct field_path at = field_child(path, m->key.p);

		if (!is_source(m->key) || json_is_null(m->value))
			continue;
		if (n++ > 0)
			field_forbidden(e, &at, "may not specify more than 1 volume type");
		else
			validate__volume_source(e, &at, m->key, m->value);
	}
	if (n == 0)
		field_required(e, path, "must specify a volume type");
}

static void capacity(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const known[] = {"storage", NULL};
	struct field_path path = field_child(up, "capacity");
	const struct json *map = json_getc(spec, "capacity");

	if (json_len(map) == 0)
		field_required(e, &path, "");
	else if (json_len(map) > 1 || !json_getc(map, "storage"))
		field_not_supported(e, &path, json_text(e->arena, map), known);
	JSON_MEMBERS (m, map) {
		struct field_path at = field_key(&path, m->key);

		if (!positive(m->value))
			field_invalid(e, &at, m->value, "must be greater than zero");
	}
}

static void pv_update(const struct validate__ctx *c, const struct field_path *path, const struct json *spec)
{
	const struct json *was = json_getc(c->old, "spec");
	bool same = true;

	JSON_MEMBERS (m, spec)
		same &= !is_source(m->key) || json_equal(m->value, json_get(was, m->key));
	JSON_MEMBERS (m, was)
		same &= !is_source(m->key) || json_get(spec, m->key) != NULL;
	if (!same)
		validate__forbid(c->errs, path, "persistentvolumesource",
			"spec.persistentvolumesource is immutable after creation");
	validate__immutable(c->errs, path, spec, was, "volumeMode");
	if (!json_is_null(json_getc(was, "nodeAffinity")))
		validate__immutable(c->errs, path, spec, was, "nodeAffinity");
}

void validate__pv_spec(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
	struct field_path affinity = field_child(path, "nodeAffinity"), required = field_child(&affinity, "required");

	modes(e, path, spec, "");
	capacity(e, path, spec);
	validate__one_of_opt(e, path, spec, "persistentVolumeReclaimPolicy", policies);
	if (!json_is_null(json_getc(spec, "nodeAffinity"))) {
		if (json_is_null(json_getp(spec, "nodeAffinity.required")))
			field_required(e, &required, "must specify required node constraints");
		else
			validate__node_selector(e, &required, json_getp(spec, "nodeAffinity.required"));
	}
	source(e, path, spec);
	if (str_eqc(json_strp(spec, "hostPath.path"), "/") &&
		json_eqc(json_getc(spec, "persistentVolumeReclaimPolicy"), "Recycle"))
		validate__forbid(e, path, "persistentVolumeReclaimPolicy",
			"may not be 'recycle' for a hostPath mount of '/'");
	validate__name_opt(e, path, spec, "storageClassName", validate_dns1123_subdomain);
	validate__one_of_opt(e, path, spec, "volumeMode", volume_modes);
	validate__name_opt(e, path, spec, "volumeAttributesClassName", validate_dns1123_subdomain);
}

void validate__pv(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");
	const struct json *spec = json_getc(c->obj, "spec");

	if (c->sub[0] != '\0')
		return;
	validate__pv_spec(c->errs, &path, spec);
	if (c->old)
		pv_update(c, &path, spec);
}

/* ---- claims ---- */

static void data_source(struct field_errs *e, const struct field_path *up, const struct json *spec, const char *key)
{
	struct field_path path = field_child(up, key);
	const struct json *s = json_getc(spec, key);

	if (json_is_null(s))
		return;
	validate__required(e, &path, s, "name");
	validate__required(e, &path, s, "kind");
	if (json_str(json_getc(s, "apiGroup")).n == 0 && !json_eqc(json_getc(s, "kind"), "PersistentVolumeClaim") &&
		json_str(json_getc(s, "kind")).n > 0)
		field_invalid(e, &path, json_getc(s, "kind"),
			"must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

void validate__claim_spec(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path sel = field_child(path, "selector"), resources = field_child(path, "resources"),
			  storage = field_key(&resources, STR("storage"));
	struct json *size = json_getp(spec, "resources.requests.storage");

	modes(e, path, spec, "at least 1 access mode is required");
	validate__label_selector(e, &sel, json_getc(spec, "selector"));
	if (json_is_null(size))
		field_required(e, &storage, "");
	else if (!positive(size))
		field_invalid(e, &storage, size, "must be greater than zero");
	validate__name_opt(e, path, spec, "storageClassName", validate_dns1123_subdomain);
	validate__one_of_opt(e, path, spec, "volumeMode", volume_modes);
	data_source(e, path, spec, "dataSource");
	data_source(e, path, spec, "dataSourceRef");
	validate__name_opt(e, path, spec, "volumeAttributesClassName", validate_dns1123_subdomain);
}

/* A claim grows, and is bound once; what was asked beyond the volume's size may be taken back. */
static void claim_update(const struct validate__ctx *c, const struct field_path *path)
{
	struct arena *a = c->errs->arena;
	struct field_path resources = field_child(path, "resources"), requests = field_child(&resources, "requests");
	struct json *now = json_copy(a, json_getc(c->obj, "spec")), *was = json_copy(a, json_getc(c->old, "spec"));
	struct quantity size = quantity_of(json_cstr(json_getp(now, "resources.requests.storage"))),
			before = quantity_of(json_cstr(json_getp(was, "resources.requests.storage"))),
			real = quantity_of(json_cstr(json_getp(c->old, "status.capacity.storage")));
	bool bound = str_eqc(json_strp(c->old, "status.phase"), "Bound");

	if (json_str(json_getc(was, "volumeName")).n == 0)
		json_delc(now, "volumeName");
	json_delc(was, json_str(json_getc(was, "volumeName")).n == 0 ? "volumeName" : "");
	/* A class is given once when none was, also to the empty one. */
	if (json_is_null(json_getc(was, "storageClassName")))
		json_delc(now, "storageClassName");
	if (bound) {
		json_delp(now, "resources.requests");
		json_delp(was, "resources.requests");
		json_delc(now, "volumeAttributesClassName");
		json_delc(was, "volumeAttributesClassName");
	}
	if (!json_equal(now, was)) {
		field_forbidden(c->errs, path,
			"spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
			"claims");
		return;
	}
	if (quantity_cmp(size, before) < 0 && quantity_cmp(size, real) <= 0)
		validate__forbid(c->errs, &requests, "storage", "field can not be less than status.capacity");
}

void validate__pvc(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec");

	if (c->sub[0] != '\0')
		return;
	validate__claim_spec(c->errs, &path, json_getc(c->obj, "spec"));
	if (c->old)
		claim_update(c, &path);
}

/* ---- classes ---- */

static void kept(const struct validate__ctx *c, const char *key)
{
	if (differs(c->obj, c->old, key))
		validate__forbid(c->errs, NULL, key, "updates to %s are forbidden.", key);
}

void validate__storage_class(const struct validate__ctx *c)
{
	static const char *const policies[] = {"Delete", "Retain", NULL};
	static const char *const bindings[] = {"Immediate", "WaitForFirstConsumer", NULL};

	if (validate__required(c->errs, NULL, c->obj, "provisioner"))
		validate__name(c->errs, NULL, c->obj, "provisioner", validate__qualified_name);
	validate__one_of_opt(c->errs, NULL, c->obj, "reclaimPolicy", policies);
	validate__one_of(c->errs, NULL, c->obj, "volumeBindingMode", bindings);
	if (!c->old)
		return;
	kept(c, "parameters");
	kept(c, "provisioner");
	kept(c, "reclaimPolicy");
	validate__immutable(c->errs, NULL, c->obj, c->old, "volumeBindingMode");
}

void validate__attributes_class(const struct validate__ctx *c)
{
	if (validate__required(c->errs, NULL, c->obj, "driverName"))
		validate__name(c->errs, NULL, c->obj, "driverName", validate_dns1123_subdomain);
	if (json_len(json_getc(c->obj, "parameters")) == 0)
		validate__missing(c->errs, NULL, "parameters", "must contain at least one key/value pair");
	if (!c->old)
		return;
	kept(c, "driverName");
	kept(c, "parameters");
}

/* ---- drivers ---- */

static void driver_name(struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);
	struct str name = json_str(json_getc(obj, key));
	char *lower = arena_cstr(e->arena, name);
	const char *bad;

	if (name.n == 0) {
		field_required(e, &path, "");
		return;
	}
	if (name.n > DRIVER_NAME_MAX)
		field_too_long(e, &path, DRIVER_NAME_MAX);
	for (char *c = lower; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
	bad = validate_dns1123_subdomain(str_from(lower));
	if (bad)
		field_invalid_str(e, &path, name, "%s", bad);
}

static void token_requests(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path all = field_child(up, "tokenRequests");
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (t, json_getc(spec, "tokenRequests")) {
		struct field_path at = field_index(&all, i++), audience = field_child(&at, "audience");
		struct str a = json_str(json_getc(t, "audience"));

		if (json_get(seen, a))
			field_duplicate(e, &audience, a);
		json_set(e->arena, seen, a, t);
		validate__range(e, &at, t, "expirationSeconds", 600, (int64_t)1 << 32,
			json_i64_or(json_getc(t, "expirationSeconds"), 0) < 600
				? "may not specify a duration less than 10 minutes"
				: "may not specify a duration larger than 2^32 seconds");
	}
}

void validate__csi_driver(const struct validate__ctx *c)
{
	static const char *const lifecycles[] = {"Ephemeral", "Persistent", NULL};
	static const char *const policies[] = {"File", "None", "ReadWriteOnceWithFSType", NULL};
	struct field_path meta = field_child(NULL, "metadata"), path = field_child(NULL, "spec"),
			  all = field_child(&path, "volumeLifecycleModes");
	const struct json *spec = json_getc(c->obj, "spec"), *was = json_getc(c->old, "spec");

	driver_name(c->errs, &meta, json_getc(c->obj, "metadata"), "name");
	JSON_ITEMS (m, json_getc(spec, "volumeLifecycleModes"))
		if (!json_eqc(m, lifecycles[0]) && !json_eqc(m, lifecycles[1]))
			field_not_supported(c->errs, &all, json_str(m), lifecycles);
	validate__one_of_opt(c->errs, &path, spec, "fsGroupPolicy", policies);
	token_requests(c->errs, &path, spec);
	validate__range(c->errs, &path, spec, "nodeAllocatableUpdatePeriodSeconds", 10, INT64_MAX,
		"must be greater than or equal to 10 seconds");
	if (!c->old)
		return;
	validate__immutable(c->errs, &path, spec, was, "attachRequired");
	validate__immutable(c->errs, &path, spec, was, "volumeLifecycleModes");
}

static void node_driver(struct field_errs *e, const struct field_path *at, const struct json *d)
{
	struct field_path allocatable = field_child(at, "allocatable"), id = field_child(at, "nodeID");

	driver_name(e, at, d, "name");
	if (validate__required(e, at, d, "nodeID") && json_str(json_getc(d, "nodeID")).n > NODE_ID_MAX)
		field_too_long(e, &id, NODE_ID_MAX);
	validate__range(e, &allocatable, json_getc(d, "allocatable"), "count", 0, INT32_MAX,
		"must be greater than or equal to 0");
	validate__no_doubles(e, at, d, "topologyKeys");
	JSON_ITEMS (k, json_getc(d, "topologyKeys")) {
		struct field_path keys = field_child(at, "topologyKeys");
		const char *bad = validate__qualified_name(json_str(k));

		if (bad)
			field_invalid(e, &keys, k, "%s", bad);
	}
}

void validate__csi_node(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), all = field_child(&path, "drivers");
	struct json *seen = json_new_object(c->errs->arena);
	size_t i = 0;

	JSON_ITEMS (d, json_getp(c->obj, "spec.drivers")) {
		struct field_path at = field_index(&all, i++);

		node_driver(c->errs, &at, d);
		validate__once(c->errs, seen, &at, d, "name");
		JSON_ITEMS (old, json_getp(c->old, "spec.drivers"))
			if (json_equal(json_getc(old, "name"), json_getc(d, "name")) &&
				(differs(d, old, "nodeID") || differs(d, old, "topologyKeys")))
				field_invalid(c->errs, &at, d, "field is immutable");
	}
}

void validate__volume_attachment(const struct validate__ctx *c)
{
	static const char one[] = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
	struct field_path path = field_child(NULL, "spec"), from = field_child(&path, "source"),
			  spec_path = field_child(&from, "inlineVolumeSpec");
	const struct json *spec = json_getc(c->obj, "spec"), *src = json_getc(spec, "source");
	bool named = !json_is_null(json_getc(src, "persistentVolumeName")),
	     told = !json_is_null(json_getc(src, "inlineVolumeSpec"));

	if (c->sub[0] != '\0')
		return;
	driver_name(c->errs, &path, spec, "attacher");
	if (!named && !told)
		field_required(c->errs, &from, one);
	else if (named && told)
		field_forbidden(c->errs, &from, "%s", one);
	else if (named)
		validate__required(c->errs, &from, src, "persistentVolumeName");
	else
		validate__pv_spec(c->errs, &spec_path, json_getc(src, "inlineVolumeSpec"));
	validate__name(c->errs, &path, spec, "nodeName", validate_dns1123_subdomain);
	if (c->old && !json_equal(spec, json_getc(c->old, "spec")))
		field_invalid(c->errs, &path, spec, "field is immutable");
}

void validate__storage_capacity(const struct validate__ctx *c)
{
	static const char *const amounts[] = {"capacity", "maximumVolumeSize"};
	struct field_path sel = field_child(NULL, "nodeTopology");

	validate__name(c->errs, NULL, c->obj, "storageClassName", validate_dns1123_subdomain);
	for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
		if (quantity_sign(quantity_of(json_cstr(json_getc(c->obj, amounts[i])))) < 0)
			validate__bad(c->errs, NULL, c->obj, amounts[i], "must be greater than or equal to 0");
	validate__label_selector(c->errs, &sel, json_getc(c->obj, "nodeTopology"));
	if (!c->old)
		return;
	validate__immutable(c->errs, NULL, c->obj, c->old, "nodeTopology");
	validate__immutable(c->errs, NULL, c->obj, c->old, "storageClassName");
}
