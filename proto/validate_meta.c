#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "proto/resource.h"
#include "proto/selector.h"
#include "proto/validate-priv.h"

/* Bytes of all annotations of one object. */
#define ANNOTATIONS_MAX (256u * 1024u)

/* Kinds whose names follow another rule than the RFC 1123 subdomain. */
static const struct {
	const char *api_version, *kind;
	const char *(*syntax)(struct str);
} rules[] = {
	{"v1", "Namespace", validate_dns1123_label},
	{"v1", "Service", validate_dns1035_label},
	{"v1", "Event", validate_path_segment},
	{"events.k8s.io/v1", "Event", validate_path_segment},
	{"rbac.authorization.k8s.io/v1", "Role", validate_path_segment},
	{"rbac.authorization.k8s.io/v1", "RoleBinding", validate_path_segment},
	{"rbac.authorization.k8s.io/v1", "ClusterRole", validate_path_segment},
	{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", validate_path_segment},
	{"certificates.k8s.io/v1", "CertificateSigningRequest", validate_path_segment},
	{"networking.k8s.io/v1", "IPAddress", validate_path_segment},
	{"apiregistration.k8s.io/v1", "APIService", validate_path_segment},
	{"authorization.k8s.io/v1", NULL, validate_path_segment},
	{"authentication.k8s.io/v1", NULL, validate_path_segment},
};

const char *validate_name(const struct resource *res, struct str name, bool prefix)
{
	const char *(*syntax)(struct str) = validate_dns1123_subdomain;
	char masked[256];

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (strcmp(rules[i].api_version, res->api_version) == 0 &&
			(!rules[i].kind || strcmp(rules[i].kind, res->kind) == 0))
			syntax = rules[i].syntax;
	/* What is generated behind a prefix makes its last '-' an inner one. */
	if (prefix && name.n > 1 && name.n < sizeof(masked) && name.p[name.n - 1] == '-') {
		memcpy(masked, name.p, name.n - 1);
		masked[name.n - 1] = 'a';
		return syntax(str_of(masked, name.n));
	}
	return syntax(name);
}

void validate_labels(const struct json *labels, const struct field_path *path, struct field_errs *e)
{
	JSON_MEMBERS (m, labels) {
		const char *key = label_key_error(e->arena, m->key),
			   *value = label_value_error(e->arena, json_str(m->value));

		if (key)
			field_invalid_str(e, path, m->key, "%s", key);
		if (value)
			field_invalid_str(e, path, json_str(m->value), "%s", value);
	}
}

void validate_annotations(
	const struct json *annotations, const struct field_path *path, struct field_errs *e)
{
	size_t total = 0;

	JSON_MEMBERS (m, annotations) {
		char *lower = arena_cstr(e->arena, m->key);
		const char *bad;

		/* Annotation keys may use capitals in the prefix. */
		for (size_t i = 0; i < m->key.n; i++)
			lower[i] = (char)tolower((unsigned char)lower[i]);
		bad = label_key_error(e->arena, str_of(lower, m->key.n));
		if (bad)
			field_invalid_str(e, path, m->key, "%s", bad);
		total += m->key.n + json_str(m->value).n;
	}
	if (total > ANNOTATIONS_MAX)
		field_too_long(e, path, ANNOTATIONS_MAX);
}

void validate__template_meta(
	struct field_errs *e, const struct field_path *path, const struct json *meta)
{
	struct field_path labels = field_child(path, "labels"),
			  annotations = field_child(path, "annotations");

	validate_labels(json_getc(meta, "labels"), &labels, e);
	validate_annotations(json_getc(meta, "annotations"), &annotations, e);
}

static void owners(struct field_errs *e, const struct field_path *path, const struct json *list)
{
	static const char *const required[] = {"kind", "name", "uid"};
	struct json *controller = NULL;

	JSON_ITEMS (o, list) {
		struct field_path api_version = field_child(path, "apiVersion");

		if (json_str(json_getc(o, "apiVersion")).n == 0)
			field_invalid_str(e, &api_version, STR(""), "version must not be empty");
		for (size_t i = 0; i < ARRAY_LEN(required); i++) {
			struct field_path p = field_child(path, required[i]);

			if (json_str(json_getc(o, required[i])).n == 0)
				field_invalid_str(e, &p, STR(""), "must not be empty");
		}
		if (json_eqc(json_getc(o, "apiVersion"), "v1") && json_eqc(json_getc(o, "kind"), "Event"))
			field_invalid(e, path, o, "/v1, Kind=Event is disallowed from being an owner");
		if (!json_true(json_getc(o, "controller")))
			continue;
		if (controller)
			field_invalid(e, path, list,
				"Only one reference can have Controller set to true. Found "
				"\"true\" in references for %s and %s",
				json_cstr(json_getc(controller, "name")),
				json_cstr(json_getc(o, "name")));
		controller = o;
	}
}

/* `strict`: as upstream has it of its own kinds. Others may call them as they like. */
static void finalizers(struct field_errs *e, const struct field_path *path, const struct json *list, bool strict)
{
	static const char *const standard[] = {"kubernetes", "orphan", "foregroundDeletion", NULL};

	JSON_ITEMS (f, list) {
		const char *bad = validate__qualified_name(json_str(f));
		bool known = str_find(json_str(f), '/') >= 0;

		for (size_t i = 0; standard[i]; i++)
			known |= json_eqc(f, standard[i]);
		if (bad)
			field_invalid(e, path, f, "%s", bad);
		else if (!known && !strict)
			validate__warn(e, path,
				"\"%s\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other "
				"finalizer writers", json_cstr(f));
		else if (!known)
			field_invalid(e, path, f,
				"name is neither a standard finalizer name nor is it fully "
				"qualified");
	}
}

/* Nothing may be added to what holds a dying object. */
static void finalizers_update(struct field_errs *e, const struct field_path *path,
	const struct json *now, const struct json *was)
{
	JSON_ITEMS (f, now) {
		bool had = false;

		JSON_ITEMS (g, was)
			had |= json_equal(f, g);
		if (had)
			continue;
		field_forbidden(e, path,
			"no new finalizers can be added if the object is being deleted, found new "
			"finalizers []string{\"%s\"}",
			json_cstr(f));
		return;
	}
}

static void names(
	const struct validate__ctx *c, const struct field_path *path, const struct json *meta)
{
	struct field_path name = field_child(path, "name"),
			  generate = field_child(path, "generateName");
	struct field_path ns_path = field_child(path, "namespace");
	struct str n = json_str(json_getc(meta, "name")),
		   g = json_str(json_getc(meta, "generateName"));
	struct str ns = json_str(json_getc(meta, "namespace"));
	const char *bad;

	bad = g.n ? validate_name(c->res, g, true) : NULL;
	if (bad)
		field_invalid_str(c->errs, &generate, g, "%s", bad);
	if (n.n == 0)
		field_required(c->errs, &name, "name or generateName is required");
	bad = n.n ? validate_name(c->res, n, false) : NULL;
	if (bad)
		field_invalid_str(c->errs, &name, n, "%s", bad);
	if (!c->res->namespaced) {
		if (ns.n > 0)
			field_forbidden(c->errs, &ns_path, "not allowed on this type");
		return;
	}
	bad = ns.n ? validate_dns1123_label(ns) : NULL;
	if (ns.n == 0)
		field_required(c->errs, &ns_path, "");
	else if (bad)
		field_invalid_str(c->errs, &ns_path, ns, "%s", bad);
}

void validate__meta(const struct validate__ctx *c, const struct field_path *path)
{
	struct field_path owner_path = field_child(path, "ownerReferences"),
			  fin_path = field_child(path, "finalizers");
	const struct json *meta = json_getc(c->obj, "metadata"),
			  *old = json_getc(c->old, "metadata");

	names(c, path, meta);
	validate__nonneg(c->errs, path, meta, "generation");
	validate__template_meta(c->errs, path, meta);
	owners(c->errs, &owner_path, json_getc(meta, "ownerReferences"));
	finalizers(c->errs, &fin_path, json_getc(meta, "finalizers"),
		!c->res->custom && strcmp(c->res->group, "apiextensions.k8s.io") != 0 && strcmp(c->res->group, "apiregistration.k8s.io") != 0);
	if (old == NULL)
		return;
	if (!json_is_null(json_getc(old, "deletionTimestamp")))
		finalizers_update(c->errs, &fin_path, json_getc(meta, "finalizers"),
			json_getc(old, "finalizers"));
	validate__immutable(c->errs, path, meta, old, "name");
	validate__immutable(c->errs, path, meta, old, "namespace");
	if (json_str(json_getc(meta, "uid")).n > 0)
		validate__immutable(c->errs, path, meta, old, "uid");
}
