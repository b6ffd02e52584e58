#include <string.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/validate-priv.h"

/* Bytes of all values of one ConfigMap or Secret. */
#define DATA_MAX (1024u * 1024u)

/* ---- data ---- */

static size_t data_keys(
	struct field_errs *e, const char *field, const struct json *map, bool base64)
{
	struct field_path path = field_child(NULL, field);
	size_t total = 0;

	JSON_MEMBERS (m, map) {
		struct field_path at = field_key(&path, m->key);
		const char *bad = validate__config_key(m->key);

		if (bad)
			field_invalid_str(e, &at, m->key, "%s", bad);
		total += base64 ? json_str(m->value).n / 4 * 3 : json_str(m->value).n;
	}
	return total;
}

/* Once an object says that it is immutable, it is. */
static void immutable(const struct validate__ctx *c, const char *const *fields)
{
	static const char text[] = "field is immutable when `immutable` is set";
	struct field_path flag = field_child(NULL, "immutable");

	if (!json_true(json_getc(c->old, "immutable")))
		return;
	if (!json_true(json_getc(c->obj, "immutable")))
		field_forbidden(c->errs, &flag, "%s", text);
	for (size_t i = 0; fields[i]; i++) {
		struct field_path path = field_child(NULL, fields[i]);
		struct json *now = json_getc(c->obj, fields[i]),
			    *was = json_getc(c->old, fields[i]);

		if (json_len(now) + json_len(was) > 0 && !json_equal(now, was))
			field_forbidden(c->errs, &path, "%s", text);
	}
}

void validate__config_map(const struct validate__ctx *c)
{
	static const char *const fields[] = {"data", "binaryData", NULL};
	struct field_path binary = field_child(NULL, "binaryData"), top = field_child(NULL, "");
	struct json *data = json_getc(c->obj, "data");
	size_t total = data_keys(c->errs, "data", data, false);

	total += data_keys(c->errs, "binaryData", json_getc(c->obj, "binaryData"), true);
	JSON_MEMBERS (m, json_getc(c->obj, "binaryData")) {
		struct field_path at = field_key(&binary, m->key);

		if (json_get(data, m->key))
			field_invalid_str(c->errs, &at, m->key, "duplicate of key present in data");
	}
	if (total > DATA_MAX)
		field_too_long(c->errs, &top, DATA_MAX);
	immutable(c, fields);
}

/* What a kubelet would stumble over when it pulls an image. */
static void secret_json(struct field_errs *e, const struct field_path *path, struct str base64)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct json *doc = NULL;
	struct err why = ERR_INIT;

	if (codec_base64_parse(base64, &text) >= 0)
		return;
	if (json_parse(e->arena, buf_str(&text), NULL, &doc, &why) < 0)
		field_invalid_str(e, path, STR("<secret contents redacted>"), "%s", why.text);
	else if (!json_is(doc, JSON_OBJECT) && !json_is_null(doc))
		field_invalid_str(e, path, STR("<secret contents redacted>"),
			"json: cannot unmarshal %s into Go value of type map[string]interface {}",
			json_is(doc, JSON_ARRAY) ? "array" : json_is(doc, JSON_STRING) ? "string" :
			json_is(doc, JSON_BOOL) ? "bool" : "number");
}

void validate__secret(const struct validate__ctx *c)
{
	static const char *const fields[] = {"data", NULL};
	/* What secrets of a well-known type must hold. */
	static const struct {
		const char *type, *key;
		bool is_json;
	} rows[] = {
		{"kubernetes.io/dockercfg", ".dockercfg", true},
		{"kubernetes.io/dockerconfigjson", ".dockerconfigjson", true},
		{"kubernetes.io/ssh-auth", "ssh-privatekey", false},
		{"kubernetes.io/tls", "tls.crt", false},
		{"kubernetes.io/tls", "tls.key", false},
	};
	struct field_path data_path = field_child(NULL, "data"),
			  meta = field_child(NULL, "metadata"),
			  notes = field_child(&meta, "annotations");
	struct field_path account = field_key(&notes, STR("kubernetes.io/service-account.name"));
	struct field_path user = field_key(&data_path, STR("username")),
			  password = field_key(&data_path, STR("password"));
	struct json *type = json_getc(c->obj, "type"), *data = json_getc(c->obj, "data");

	if (data_keys(c->errs, "data", data, true) > DATA_MAX)
		field_too_long(c->errs, &data_path, DATA_MAX);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_path at = field_key(&data_path, str_from(rows[i].key));

		if (json_eqc(type, rows[i].type) && json_getc(data, rows[i].key) == NULL)
			field_required(c->errs, &at, "");
		else if (json_eqc(type, rows[i].type) && rows[i].is_json)
			secret_json(c->errs, &at, json_str(json_getc(data, rows[i].key)));
	}
	if (json_eqc(type, "kubernetes.io/basic-auth") && !json_getc(data, "username") &&
		!json_getc(data, "password")) {
		field_required(c->errs, &user, "");
		field_required(c->errs, &password, "");
	}
	if (json_eqc(type, "kubernetes.io/service-account-token") &&
		json_str(json_getc(json_getp(c->obj, "metadata.annotations"),
				 "kubernetes.io/service-account.name"))
				.n == 0)
		field_required(c->errs, &account, "");
	if (c->old == NULL)
		return;
	validate__immutable(c->errs, NULL, c->obj, c->old, "type");
	immutable(c, fields);
}

/* ---- namespaces, nodes ---- */

void validate__namespace(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"), path = field_child(&spec, "finalizers");

	JSON_ITEMS (f, json_getp(c->obj, "spec.finalizers")) {
		const char *bad = validate__qualified_name(json_str(f));

		if (bad)
			field_invalid(c->errs, &path, f, "%s", bad);
		else if (str_find(json_str(f), '/') < 0 && !json_eqc(f, "kubernetes"))
			field_invalid(c->errs, &path, f,
				"name is neither a standard finalizer name nor is it fully "
				"qualified");
	}
}

static void taints(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	struct field_path all = field_child(up, "taints");
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (t, list) {
		struct field_path at = field_index(&all, i++);
		struct str key = arena_sprintf(e->arena, "%s:%s", json_cstr(json_getc(t, "key")),
			json_cstr(json_getc(t, "effect")));

		validate__name(e, &at, t, "key", validate__qualified_name);
		validate__label_value(e, &at, t, "value");
		validate__one_of(e, &at, t, "effect", effects);
		if (json_get(seen, key))
			field_duplicate(e, &at, key);
		json_set(e->arena, seen, key, t);
	}
}

void validate__node(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"), cidrs = field_child(&spec, "podCIDRs"),
			  provider = field_child(&spec, "providerID");
	struct json *list = json_getp(c->obj, "spec.podCIDRs"),
		    *was = json_getp(c->old, "spec.podCIDRs");
	size_t i = 0;

	taints(c->errs, &spec, json_getp(c->obj, "spec.taints"));
	JSON_ITEMS (s, list) {
		struct field_path at = field_index(&cidrs, i++);

		if (!validate__is_cidr(json_str(s)))
			field_invalid(c->errs, &at, s,
				"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	}
	if (json_len(was) > 0 && !json_equal(list, was))
		field_forbidden(c->errs, &cidrs,
			"node updates may not change podCIDR except from \"\" to valid");
	if (json_strp(c->old, "spec.providerID").n > 0 &&
		!str_eq(json_strp(c->old, "spec.providerID"), json_strp(c->obj, "spec.providerID")))
		field_forbidden(c->errs, &provider,
			"node updates may not change providerID except from \"\" to valid");
}

/* ---- leases, events ---- */

void validate__lease(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"),
			  path = field_child(&spec, "leaseDurationSeconds");
	struct json *v = json_getp(c->obj, "spec.leaseDurationSeconds");

	if (json_is(v, JSON_NUMBER) && json_i64_or(v, 0) <= 0)
		field_invalid(c->errs, &path, v, "must be greater than 0");
	validate__nonneg(c->errs, &spec, json_getc(c->obj, "spec"), "leaseTransitions");
}
