/* Definitions of custom resources. */
#include <string.h>

#include "base/util.h"
#include "proto/jsonpath.h"
#include "proto/structural_rules.h"
#include "proto/validate-priv.h"

static void names(struct field_errs *e, const struct field_path *path, const struct json *n)
{
	static const char *const labels[] = {"plural", "singular"};
	static const char *const kinds[] = {"kind", "listKind"};
	struct field_path shorts = field_child(path, "shortNames"), categories = field_child(path, "categories");
	size_t i;

	for (i = 0; i < ARRAY_LEN(labels); i++)
		if (i == 1 ? json_str(json_getc(n, labels[i])).n > 0 : validate__required(e, path, n, labels[i]))
			validate__name(e, path, n, labels[i], validate_dns1035_label);
	i = 0;
	JSON_ITEMS (s, json_getc(n, "shortNames")) {
		struct field_path at = field_index(&shorts, i++);

		if (validate_dns1035_label(json_str(s)))
			field_invalid(e, &at, s, "%s", validate_dns1035_label(json_str(s)));
	}
	for (i = 0; i < ARRAY_LEN(kinds); i++) {
		struct field_path at = field_child(path, kinds[i]);
		struct str kind = json_str(json_getc(n, kinds[i]));
		char *lower = arena_cstr(e->arena, kind);

		if (kind.n == 0) {
			field_required(e, &at, "");
			continue;
		}
		for (char *c = lower; *c; c++)
			*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
		if (validate_dns1035_label(str_from(lower)))
			field_invalid_str(e, &at, kind, "may have mixed case, but should otherwise match: %s",
				validate_dns1035_label(str_from(lower)));
	}
	if (json_str(json_getc(n, "kind")).n > 0 && json_equal(json_getc(n, "kind"), json_getc(n, "listKind")))
		validate__bad(e, path, n, "listKind", "kind and listKind may not be the same");
	i = 0;
	JSON_ITEMS (s, json_getc(n, "categories")) {
		struct field_path at = field_index(&categories, i++);

		if (validate_dns1035_label(json_str(s)))
			field_invalid(e, &at, s, "%s", validate_dns1035_label(json_str(s)));
	}
}

/* ".spec.replicas": members, nothing else. */
static bool is_simple_path(struct str s)
{
	if (s.n < 2 || s.p[0] != '.' || s.p[s.n - 1] == '.')
		return false;
	for (size_t i = 1; i < s.n; i++)
		if (strchr("[]{}()*?@,' \"", s.p[i]) || (s.p[i] == '.' && s.p[i - 1] == '.'))
			return false;
	return true;
}

static void scale_path(struct field_errs *e, const struct field_path *at, const struct json *scale, const char *key, const char *below)
{
	struct str path = json_str(json_getc(scale, key));

	if (!is_simple_path(path))
		validate__bad(e, at, scale, key, "should be a simple json path starting with .");
	else if (!str_has_prefix(path, str_from(below)))
		validate__bad(e, at, scale, key, "should be a json path under %.*s", (int)strlen(below) - 1, below);
}

static void scale(struct field_errs *e, const struct field_path *up, const struct json *s)
{
	struct field_path subs = field_child(up, "subresources"), at = field_child(&subs, "scale");
	struct str selector = json_str(json_getc(s, "labelSelectorPath"));

	if (json_is_null(s))
		return;
	if (validate__required(e, &at, s, "specReplicasPath"))
		scale_path(e, &at, s, "specReplicasPath", ".spec.");
	if (validate__required(e, &at, s, "statusReplicasPath"))
		scale_path(e, &at, s, "statusReplicasPath", ".status.");
	if (selector.n > 0 && (!is_simple_path(selector) || !(str_has_prefix(selector, STR(".spec.")) ||
							      str_has_prefix(selector, STR(".status.")))))
		validate__bad(e, &at, s, "labelSelectorPath", "should be a simple json path starting with .spec. or .status.");
}

static void column(struct field_errs *e, const struct field_path *at, const struct json *c)
{
	static const char *const types[] = {"boolean", "date", "integer", "number", "string", NULL};
	static const char *const formats[] = {"byte", "date", "date-time", "double", "float", "int32", "int64", "password", NULL};
	struct json **found;
	struct err why = ERR_INIT;
	size_t n;

	validate__required(e, at, c, "name");
	if (validate__required(e, at, c, "type"))
		validate__one_of(e, at, c, "type", types);
	validate__one_of_opt(e, at, c, "format", formats);
	if (!validate__required(e, at, c, "jsonPath"))
		return;
	if (json_str(json_getc(c, "jsonPath")).p[0] != '.')
		validate__bad(e, at, c, "jsonPath", "should be a simple json path starting with .");
	else if (jsonpath_find(e->arena, json_str(json_getc(c, "jsonPath")), json_new_object(e->arena), &found, &n, &why) < 0 &&
			why.code == ERR_BAD_REQUEST && !strstr(why.text, "is not found"))
		validate__bad(e, at, c, "jsonPath", "is an invalid jsonpath: %s", why.text);
}

static void selectable(struct field_errs *e, const struct field_path *up, const struct json *v, const struct structural *s)
{
	struct field_path list = field_child(up, "selectableFields");
	size_t i = 0;

	validate__no_doubles(e, up, v, "selectableFields");
	if (json_len(json_getc(v, "selectableFields")) > 8)
		field_too_many(e, &list, json_len(json_getc(v, "selectableFields")), 8);
	JSON_ITEMS (f, json_getc(v, "selectableFields")) {
		struct field_path at = field_index(&list, i++);
		struct str path = json_str(json_getc(f, "jsonPath")), rest, key;
		const struct structural *of = s;

		if (!validate__required(e, &at, f, "jsonPath"))
			continue;
		if (!is_simple_path(path)) {
			validate__bad(e, &at, f, "jsonPath", "is an invalid path: must be a simple path of fields starting with .");
			continue;
		}
		for (rest = str_skip(path, 1); of && rest.n > 0;) {
			str_cut(rest, '.', &key, &rest);
			of = of->n_properties > 0 ? structural_property(of, key) : NULL;
		}
		if (str_has_prefix(path, STR(".metadata.")))
			validate__bad(e, &at, f, "jsonPath", "must not point to fields in metadata");
		else if (s && !of)
			validate__bad(e, &at, f, "jsonPath", "is an invalid path: does not refer to a valid field");
		else if (s && of->type != STRUCTURAL_STRING && of->type != STRUCTURAL_BOOLEAN && of->type != STRUCTURAL_INTEGER)
			validate__bad(e, &at, f, "jsonPath",
				"must point to a field of type string, boolean or integer. Enum string fields and strings with "
				"formats are allowed.");
	}
}

static void version(struct field_errs *e, const struct field_path *at, const struct json *v)
{
	struct field_path schema = field_child(at, "schema"), open = field_child(&schema, "openAPIV3Schema");
	const struct json *s = json_getp(v, "schema.openAPIV3Schema");
	const struct structural *compiled = NULL;

	validate__name(e, at, v, "name", validate_dns1035_label);
	if (json_is_null(s))
		field_required(e, &open, "schemas are required");
	else if (json_str(json_getc(s, "type")).n == 0)
		validate__missing(e, &open, "type", "must not be empty at the root");
	else if (!json_eqc(json_getc(s, "type"), "object"))
		validate__bad(e, &open, s, "type", "must be object at the root");
	else
		compiled = structural_compile(e->arena, s, &open, e);
	if (!json_is_null(json_getc(v, "deprecationWarning")) && !json_true(json_getc(v, "deprecated")))
		validate__bad(e, at, v, "deprecationWarning", "can only be set for deprecated versions");
	scale(e, at, json_getp(v, "subresources.scale"));
	validate__each(e, at, v, "additionalPrinterColumns", column);
	selectable(e, at, v, compiled);
}

/* What its rules may cost. A version that is as it was is let be. */
static void rule_costs(struct field_errs *e, const struct field_path *at, const struct json *v, const struct json *was)
{
	struct field_path schema = field_child(at, "schema"), open = field_child(&schema, "openAPIV3Schema");
	const struct structural *compiled;
	struct field_errs none;

	JSON_ITEMS (o, json_getc(was, "versions"))
		if (json_equal(json_getc(o, "name"), json_getc(v, "name")) && json_equal(json_getc(o, "schema"), json_getc(v, "schema")))
			return;
	field_errs_init(&none, e->arena);
	compiled = structural_compile(e->arena, json_getp(v, "schema.openAPIV3Schema"), &open, &none);
	if (compiled)
		structural_rules_costs(compiled, &open, e);
}

static void versions(struct field_errs *e, const struct field_path *up, const struct json *spec, const struct json *was)
{
	struct field_path path = field_child(up, "versions");
	struct json *seen = json_new_object(e->arena), *list = json_getc(spec, "versions");
	size_t stored = 0, i = 0, before = e->n;
	bool twice = false;

	validate__each(e, up, spec, "versions", version);
	JSON_ITEMS (v, e->n == before ? list : NULL) {
		struct field_path at = field_index(&path, i++);

		rule_costs(e, &at, v, was);
	}
	JSON_ITEMS (v, list) {
		stored += json_true(json_getc(v, "storage"));
		twice |= json_get(seen, json_str(json_getc(v, "name"))) != NULL;
		json_set(e->arena, seen, json_str(json_getc(v, "name")), v);
	}
	if (twice)
		field_invalid(e, &path, list, "must contain unique version names");
	if (stored != 1)
		field_invalid(e, &path, list, "must have exactly one version marked as storage version");
}

static void conversion(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const strategies[] = {"None", "Webhook", NULL};
	struct field_path path = field_child(up, "conversion"), hook = field_child(&path, "webhook"),
			  client = field_child(&hook, "clientConfig"), service = field_child(&client, "service");
	const struct json *c = json_getc(spec, "conversion"), *w = json_getc(c, "webhook"), *cc = json_getc(w, "clientConfig");
	bool url = !json_is_null(json_getc(cc, "url")), svc = !json_is_null(json_getc(cc, "service"));

	validate__one_of(e, &path, c, "strategy", strategies);
	if (!json_eqc(json_getc(c, "strategy"), "Webhook")) {
		if (!json_is_null(w))
			field_forbidden(e, &hook, "should not be set when strategy is not set to Webhook");
		return;
	}
	if (json_is_null(cc)) {
		field_required(e, &client, "required when strategy is set to Webhook");
		return;
	}
	if (url == svc)
		field_required(e, &client, "exactly one of url or service is required");
	else if (url)
		validate__hook_url(e, &client, cc);
	else
		validate__hook_service(e, &service, json_getc(cc, "service"));
	validate__review_versions(e, &hook, w, "conversionReviewVersions", "");
}

/* Objects may lie in the store in any version that ever was the stored one: it can go when the status says that none are left. */
static void stored_versions(struct field_errs *e, const struct json *obj)
{
	struct field_path status = field_child(NULL, "status"), path = field_child(&status, "storedVersions");
	const struct json *stored = json_getp(obj, "status.storedVersions");
	size_t i = 0;

	if (json_len(stored) == 0)
		validate__bad(e, &status, json_getc(obj, "status"), "storedVersions", "must have at least one stored version");
	JSON_ITEMS (s, stored) {
		struct field_path at = field_index(&path, i++);
		bool found = false;

		JSON_ITEMS (v, json_getp(obj, "spec.versions"))
			found |= json_equal(json_getc(v, "name"), s);
		if (!found)
			field_invalid(e, &at, s, "must appear in spec.versions");
	}
}

#define APPROVED "api-approved.kubernetes.io"

/* Groups under these names are the project's own: whoever adds to one says with whose approval, or that there is none. */
static void protected_group(struct field_errs *e, const struct field_path *meta, const struct json *obj, struct str group)
{
	struct field_path annotations = field_child(meta, "annotations"), at = field_key(&annotations, STR(APPROVED));
	struct str approved = json_str(json_getc(json_getp(obj, "metadata.annotations"), APPROVED));

	if (!str_has_suffix(group, STR(".k8s.io")) && !str_has_suffix(group, STR(".kubernetes.io")))
		return;
	if (approved.n == 0)
		field_required(e, &at, "protected groups must have approval annotation \"" APPROVED "\", see "
				       "https://github.com/kubernetes/enhancements/pull/1111");
	else if (!str_has_prefix(approved, STR("https://")) && !str_has_prefix(approved, STR("http://")) &&
			!str_has_prefix(approved, STR("unapproved")))
		field_invalid_str(e, &at, approved, "must be the URL of the approval, or begin with \"unapproved\"");
}

void validate__crd(const struct validate__ctx *c)
{
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
	struct field_path meta = field_child(NULL, "metadata"), path = field_child(NULL, "spec"),
			  names_path = field_child(&path, "names");
	const struct json *spec = json_getc(c->obj, "spec"), *n = json_getc(spec, "names"), *was = json_getc(c->old, "spec");
	struct str group = json_str(json_getc(spec, "group"));
	const char *want = arena_printf(c->errs->arena, "%s.%.*s", json_cstr(json_getc(n, "plural")), STR_FMT(group));

	if (c->old)
		stored_versions(c->errs, c->obj);
	if (c->sub[0] != '\0')
		return;
	if (!json_eqc(json_getp(c->obj, "metadata.name"), want))
		validate__bad(c->errs, &meta, json_getc(c->obj, "metadata"), "name",
			"must be spec.names.plural+\".\"+spec.group");
	if (validate__required(c->errs, &path, spec, "group")) {
		if (validate_dns1123_subdomain(group))
			validate__name(c->errs, &path, spec, "group", validate_dns1123_subdomain);
		else if (str_find(group, '.') < 0)
			validate__bad(c->errs, &path, spec, "group", "should be a domain with at least one dot");
	}
	if (!c->old)
		protected_group(c->errs, &meta, c->obj, group);
	validate__one_of(c->errs, &path, spec, "scope", scopes);
	versions(c->errs, &path, spec, was);
	if (json_true(json_getc(spec, "preserveUnknownFields")))
		validate__bad(c->errs, &path, spec, "preserveUnknownFields",
			"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
			"spec.versions[*].schema instead");
	names(c->errs, &names_path, n);
	conversion(c->errs, &path, spec);
	if (!c->old)
		return;
	validate__immutable(c->errs, &path, spec, was, "group");
	validate__immutable(c->errs, &path, spec, was, "scope");
	validate__immutable(c->errs, &names_path, n, json_getc(was, "names"), "plural");
}
