/* Webhooks, admission policies, and API services: what the server is told to call or to check. */
#include <string.h>

#include "base/util.h"
#include "proto/admission_policy.h"
#include "proto/cel/cel.h"
#include "proto/resource.h"
#include "proto/validate-priv.h"

/* ---- where to call ---- */

void validate__hook_service(struct field_errs *e, const struct field_path *path, const struct json *service)
{
	struct str where = json_str(json_getc(service, "path"));
	struct json *port = json_getc(service, "port");

	if (json_str(json_getc(service, "name")).n == 0)
		validate__missing(e, path, "name", "service name is required");
	if (json_str(json_getc(service, "namespace")).n == 0)
		validate__missing(e, path, "namespace", "service namespace is required");
	if (json_i64_or(port, 443) < 1 || json_i64_or(port, 443) > 65535)
		validate__bad(e, path, service, "port", "port is not valid: must be between 1 and 65535, inclusive");
	if (where.n == 0)
		return;
	if (where.p[0] != '/')
		validate__bad(e, path, service, "path", "must start with a '/'");
	else if (str_search(where, STR("//")) >= 0)
		validate__bad(e, path, service, "path", "segment[0] may not be empty");
}

void validate__hook_url(struct field_errs *e, const struct field_path *up, const struct json *config)
{
	static const char form[] = "; desired format: https://host[/path]";
	struct field_path path = field_child(up, "url");
	struct str url = json_str(json_getc(config, "url")), rest = url, scheme = STR(""), host;
	ptrdiff_t at = str_search(url, STR("://"));

	if (at >= 0) {
		scheme = str_sub(url, 0, (size_t)at);
		rest = str_skip(url, (size_t)at + 3);
	} else {
		rest = STR("");
	}
	if (!str_eqc(scheme, "https"))
		field_invalid_str(e, &path, scheme, "'https' is the only allowed URL scheme%s", form);
	host = rest;
	for (size_t i = 0; i < host.n; i++)
		if (strchr("/?#", host.p[i]))
			host = str_sub(host, 0, i);
	if (host.n == 0)
		field_invalid_str(e, &path, host, "host must be specified%s", form);
	if (str_find(host, '@') >= 0)
		field_invalid_str(e, &path, host, "user information is not permitted in the URL");
	if (str_find(rest, '#') >= 0)
		field_invalid_str(e, &path, str_skip(rest, (size_t)str_find(rest, '#') + 1),
			"fragments are not permitted in the URL");
	if (str_find(rest, '?') >= 0)
		field_invalid_str(e, &path, str_skip(rest, (size_t)str_find(rest, '?') + 1),
			"query parameters are not permitted in the URL");
}

/* ---- rules ---- */

static bool has(const struct json *list, const char *word)
{
	JSON_ITEMS (it, list)
		if (json_eqc(it, word))
			return true;
	return false;
}

/* A list that must say something, in which "*" stands alone and nothing is empty. */
static void words(struct field_errs *e, const struct field_path *at, const struct json *r, const char *key,
	const char *what, bool allow_empty)
{
	struct field_path all = field_child(at, key);
	struct json *list = json_getc(r, key);
	size_t i = 0;

	if (json_len(list) == 0)
		field_required(e, &all, "");
	if (json_len(list) > 1 && has(list, "*"))
		validate__bad(e, at, r, key, "if '*' is present, must not specify other %s", what);
	JSON_ITEMS (it, list) {
		struct field_path one = field_index(&all, i++);

		if (!allow_empty && json_str(it).n == 0)
			field_required(e, &one, "");
	}
}

/* What a name means is told once: "pods/x" beside "pods/x" would be said twice by a wildcard. */
static void rule_resources(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	struct field_path all = field_child(at, "resources");
	struct json *list = json_getc(r, "resources");
	bool plain = false;
	size_t i = 0;

	if (json_len(list) == 0)
		field_required(e, &all, "");
	JSON_ITEMS (it, list) {
		struct field_path one = field_index(&all, i++);
		struct str s = json_str(it), res, sub;

		if (s.n == 0)
			field_required(e, &one, "");
		if (!str_cut(s, '/', &res, &sub)) {
			plain |= !str_eqc(s, "*");
			continue;
		}
		if (str_eqc(s, "*/*"))
			continue;
		if (!str_eqc(sub, "*") && has(list, arena_printf(e->arena, "%.*s/*", STR_FMT(res))))
			field_invalid_str(e, &one, s, "if '%.*s/*' is present, must not specify %.*s", STR_FMT(res),
				STR_FMT(s));
		if (!str_eqc(res, "*") && has(list, arena_printf(e->arena, "*/%.*s", STR_FMT(sub))))
			field_invalid_str(e, &one, s, "if '*/%.*s' is present, must not specify %.*s", STR_FMT(sub),
				STR_FMT(s));
	}
	if (json_len(list) > 1 && has(list, "*/*"))
		validate__bad(e, at, r, "resources", "if '*/*' is present, must not specify other resources");
	if (has(list, "*") && plain)
		validate__bad(e, at, r, "resources",
			"if '*' is present, must not specify other resources without subresources");
}

static void rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	static const char *const known[] = {"*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL};
	static const char *const scopes[] = {"*", "Cluster", "Namespaced", NULL};
	struct field_path all = field_child(at, "operations");
	size_t i = 0;

	words(e, at, r, "operations", "operations", true);
	JSON_ITEMS (op, json_getc(r, "operations")) {
		struct field_path one = field_index(&all, i++);
		size_t k = 0;

		while (known[k] && !json_eqc(op, known[k]))
			k++;
		if (!known[k])
			field_not_supported(e, &one, json_str(op), known);
	}
	words(e, at, r, "apiGroups", "API groups", true);
	words(e, at, r, "apiVersions", "API versions", false);
	rule_resources(e, at, r);
	validate__one_of_opt(e, at, r, "scope", scopes);
}

static void match_condition(struct field_errs *e, const struct field_path *at, const struct json *m)
{
	if (str_trim(json_str(json_getc(m, "expression"))).n == 0)
		validate__missing(e, at, "expression", "");
	if (json_str(json_getc(m, "name")).n == 0)
		validate__missing(e, at, "name", "");
	else
		validate__name(e, at, m, "name", validate__qualified_name);
}

static void once(struct field_errs *e, const struct field_path *up, const struct json *obj, const char *list, const char *key)
{
	struct field_path all = field_child(up, list);
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (it, json_getc(obj, list)) {
		struct field_path one = field_index(&all, i++);

		validate__once(e, seen, &one, it, key);
	}
}

static void match_conditions(struct field_errs *e, const struct field_path *at, const struct json *hook)
{
	struct admission_exprs compiled;

	validate__each(e, at, hook, "matchConditions", match_condition);
	once(e, at, hook, "matchConditions", "name");
	admission_conditions_compile(e->arena, json_getc(hook, "matchConditions"), at, e, &compiled);
}

/* ---- webhooks ---- */

void validate__review_versions(struct field_errs *e, const struct field_path *at, const struct json *hook, const char *key, const char *wanted)
{
	struct field_path all = field_child(at, key);
	struct json *list = json_getc(hook, key), *seen = json_new_object(e->arena);
	size_t i = 0;

	if (json_len(list) == 0) {
		field_required(e, &all, wanted);
		return;
	}
	JSON_ITEMS (v, list) {
		struct field_path one = field_index(&all, i++);
		const char *bad = validate_dns1035_label(json_str(v));

		if (json_get(seen, json_str(v)))
			field_invalid(e, &one, v, "duplicate version");
		json_set(e->arena, seen, json_str(v), v);
		if (bad)
			field_invalid(e, &one, v, "%s", bad);
	}
	if (!has(list, "v1") && !has(list, "v1beta1"))
		validate__bad(e, at, hook, key, "must include at least one of v1, v1beta1");
}

/* A domain of three parts at least. */
static void hook_name(struct field_errs *e, const struct field_path *at, const struct json *hook)
{
	struct str name = json_str(json_getc(hook, "name"));
	size_t dots = 0;

	if (!validate__required(e, at, hook, "name"))
		return;
	for (size_t i = 0; i < name.n; i++)
		dots += name.p[i] == '.';
	if (validate_dns1123_subdomain(name))
		validate__name(e, at, hook, "name", validate_dns1123_subdomain);
	else if (dots < 2)
		validate__bad(e, at, hook, "name",
			"should be a domain with at least three segments separated by dots");
}

static void client_config(struct field_errs *e, const struct field_path *at, const struct json *hook)
{
	struct field_path path = field_child(at, "clientConfig"), service = field_child(&path, "service");
	const struct json *c = json_getc(hook, "clientConfig");
	bool url = !json_is_null(json_getc(c, "url")), svc = !json_is_null(json_getc(c, "service"));

	if (url == svc)
		field_required(e, &path, "exactly one of url or service is required");
	else if (url)
		validate__hook_url(e, &path, c);
	else
		validate__hook_service(e, &service, json_getc(c, "service"));
}

static const char *const failure_policies[] = {"Fail", "Ignore", NULL};
static const char *const match_policies[] = {"Equivalent", "Exact", NULL};
static const char *const reinvocation_policies[] = {"IfNeeded", "Never", NULL};

static void webhook(struct field_errs *e, const struct field_path *at, const struct json *hook)
{
	static const char *const effects[] = {"None", "NoneOnDryRun", NULL};
	struct field_path ns = field_child(at, "namespaceSelector"), obj = field_child(at, "objectSelector");

	hook_name(e, at, hook);
	validate__each(e, at, hook, "rules", rule);
	validate__one_of_opt(e, at, hook, "failurePolicy", failure_policies);
	validate__one_of_opt(e, at, hook, "matchPolicy", match_policies);
	if (json_str(json_getc(hook, "sideEffects")).n == 0)
		validate__missing(e, at, "sideEffects", "must specify one of None, NoneOnDryRun");
	else
		validate__one_of_opt(e, at, hook, "sideEffects", effects);
	validate__range(e, at, hook, "timeoutSeconds", 1, 30, "the timeout value must be between 1 and 30 seconds");
	validate__label_selector(e, &ns, json_getc(hook, "namespaceSelector"));
	validate__label_selector(e, &obj, json_getc(hook, "objectSelector"));
	client_config(e, at, hook);
	validate__one_of_opt(e, at, hook, "reinvocationPolicy", reinvocation_policies);
	match_conditions(e, at, hook);
	validate__review_versions(e, at, hook, "admissionReviewVersions", "must specify one of v1, v1beta1");
}

void validate__webhooks(const struct validate__ctx *c)
{
	struct field_path all = field_child(NULL, "webhooks");
	struct json *seen = json_new_object(c->errs->arena);
	size_t i = 0;

	JSON_ITEMS (hook, json_getc(c->obj, "webhooks")) {
		struct field_path at = field_index(&all, i++);

		webhook(c->errs, &at, hook);
		validate__once(c->errs, seen, &at, hook, "name");
	}
}

/* ---- policies ---- */

static void match_resources(struct field_errs *e, const struct field_path *path, const struct json *m)
{
	struct field_path ns = field_child(path, "namespaceSelector"), obj = field_child(path, "objectSelector");

	if (json_str(json_getc(m, "matchPolicy")).n == 0)
		validate__missing(e, path, "matchPolicy", "");
	validate__one_of_opt(e, path, m, "matchPolicy", match_policies);
	validate__label_selector(e, &ns, json_getc(m, "namespaceSelector"));
	validate__label_selector(e, &obj, json_getc(m, "objectSelector"));
	validate__each(e, path, m, "resourceRules", rule);
	validate__each(e, path, m, "excludeResourceRules", rule);
}

static void validation(struct field_errs *e, const struct field_path *at, const struct json *v)
{
	static const char *const reasons[] = {"Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized", NULL};

	if (str_trim(json_str(json_getc(v, "expression"))).n == 0)
		validate__missing(e, at, "expression", "expression is not specified");
	if (str_find(json_str(json_getc(v, "message")), '\n') >= 0)
		validate__bad(e, at, v, "message", "message must not contain line breaks");
	validate__one_of_opt(e, at, v, "reason", reasons);
}

static void mutation(struct field_errs *e, const struct field_path *at, const struct json *m)
{
	static const char *const types[] = {"ApplyConfiguration", "JSONPatch", NULL};
	static const char *const fields[] = {"applyConfiguration", "jsonPatch"};

	validate__one_of(e, at, m, "patchType", types);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		struct field_path path = field_child(at, fields[i]);

		if (!json_eqc(json_getc(m, "patchType"), types[i]))
			continue;
		if (str_trim(json_str(json_getc(json_getc(m, fields[i]), "expression"))).n == 0)
			validate__missing(e, &path, "expression", "expression is not specified");
	}
}

static void audit_annotation(struct field_errs *e, const struct field_path *at, const struct json *v)
{
	if (json_str(json_getc(v, "key")).n == 0)
		validate__missing(e, at, "key", "");
	else
		validate__name(e, at, v, "key", validate__qualified_name);
	if (str_trim(json_str(json_getc(v, "valueExpression"))).n == 0)
		validate__missing(e, at, "valueExpression", "");
}

static bool is_identifier(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '_' && !(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= 'A' && s.p[i] <= 'Z') && (i == 0 || s.p[i] < '0' || s.p[i] > '9'))
			return false;
	return true;
}

/* Reserved words have to be escaped in an expression, so they are no names. */
static void variable(struct field_errs *e, const struct field_path *at, const struct json *v)
{
	struct str name = json_str(json_getc(v, "name")), escaped;

	if (str_trim(name).n == 0)
		validate__missing(e, at, "name", "name is not specified");
	else if (!is_identifier(name) || !cel_escape(e->arena, name, &escaped) || (name.p[0] != '_' && !str_eq(name, escaped)))
		validate__bad(e, at, v, "name", "name is not a valid CEL identifier");
	if (str_trim(json_str(json_getc(v, "expression"))).n == 0)
		validate__missing(e, at, "expression", "expression is not specified");
}

static void param_kind(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path path = field_child(up, "paramKind");
	const struct json *k = json_getc(spec, "paramKind");

	if (json_is_null(k))
		return;
	validate__required(e, &path, k, "apiVersion");
	validate__required(e, &path, k, "kind");
}

void validate__admission_policy(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), match = field_child(&path, "matchConstraints");
	const struct json *spec = json_getc(c->obj, "spec"), *m = json_getc(spec, "matchConstraints");
	bool mutates = strcmp(c->res->kind, "MutatingAdmissionPolicy") == 0;
	struct admission_policy compiled;

	if (c->sub[0] != '\0')
		return;
	admission_policy_compile(c->errs->arena, c->obj, c->errs, &compiled);
	validate__one_of(c->errs, &path, spec, "failurePolicy", failure_policies);
	param_kind(c->errs, &path, spec);
	if (json_is_null(m)) {
		field_required(c->errs, &match, "");
	} else {
		match_resources(c->errs, &match, m);
		if (json_len(json_getc(m, "resourceRules")) == 0)
			validate__missing(c->errs, &match, "resourceRules", "");
	}
	validate__each(c->errs, &path, spec, "matchConditions", match_condition);
	once(c->errs, &path, spec, "matchConditions", "name");
	validate__each(c->errs, &path, spec, "variables", variable);
	once(c->errs, &path, spec, "variables", "name");
	if (mutates) {
		if (json_len(json_getc(spec, "mutations")) == 0)
			validate__missing(c->errs, &path, "mutations", "mutations must contain at least one item");
		validate__each(c->errs, &path, spec, "mutations", mutation);
		validate__one_of(c->errs, &path, spec, "reinvocationPolicy", reinvocation_policies);
		return;
	}
	if (json_len(json_getc(spec, "validations")) + json_len(json_getc(spec, "auditAnnotations")) == 0) {
		validate__missing(c->errs, &path, "validations",
			"validations or auditAnnotations must contain at least one item");
		validate__missing(c->errs, &path, "auditAnnotations",
			"validations or auditAnnotations must contain at least one item");
	}
	validate__each(c->errs, &path, spec, "validations", validation);
	validate__each(c->errs, &path, spec, "auditAnnotations", audit_annotation);
	once(c->errs, &path, spec, "auditAnnotations", "key");
}

static void param_ref(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const actions[] = {"Allow", "Deny", NULL};
	struct field_path path = field_child(up, "paramRef"), sel = field_child(&path, "selector");
	const struct json *r = json_getc(spec, "paramRef");
	bool name = json_str(json_getc(r, "name")).n > 0, selector = !json_is_null(json_getc(r, "selector"));

	if (json_is_null(r))
		return;
	if (name && selector)
		validate__forbid(e, &path, "name", "name and selector are mutually exclusive");
	else if (name)
		validate__name(e, &path, r, "name", validate_path_segment);
	else if (selector)
		validate__label_selector(e, &sel, json_getc(r, "selector"));
	else
		field_required(e, &path, "one of name or selector must be specified");
	if (json_str(json_getc(r, "parameterNotFoundAction")).n == 0)
		validate__missing(e, &path, "parameterNotFoundAction", "");
	validate__one_of_opt(e, &path, r, "parameterNotFoundAction", actions);
}

void validate__admission_binding(const struct validate__ctx *c)
{
	static const char *const known[] = {"Audit", "Deny", "Warn", NULL};
	struct field_path path = field_child(NULL, "spec"), match = field_child(&path, "matchResources"),
			  all = field_child(&path, "validationActions");
	const struct json *spec = json_getc(c->obj, "spec");
	struct json *list = json_getc(spec, "validationActions");
	size_t i = 0;

	if (validate__required(c->errs, &path, spec, "policyName"))
		validate__name(c->errs, &path, spec, "policyName", validate_dns1123_subdomain);
	param_ref(c->errs, &path, spec);
	if (!json_is_null(json_getc(spec, "matchResources")))
		match_resources(c->errs, &match, json_getc(spec, "matchResources"));
	if (strcmp(c->res->kind, "MutatingAdmissionPolicyBinding") == 0)
		return;
	if (json_len(list) == 0)
		field_required(c->errs, &all, "at least one validation action is required");
	validate__no_doubles(c->errs, &path, spec, "validationActions");
	JSON_ITEMS (action, list) {
		struct field_path one = field_index(&all, i++);
		size_t k = 0;

		while (known[k] && !json_eqc(action, known[k]))
			k++;
		if (!known[k])
			field_not_supported(c->errs, &one, json_str(action), known);
	}
	if (has(list, "Deny") && has(list, "Warn"))
		validate__bad(c->errs, &path, spec, "validationActions",
			"must not contain both Deny and Warn (repeating the same validation failure information in the API "
			"response and headers serves no purpose)");
}

/* ---- API services ---- */

void validate__api_service(const struct validate__ctx *c)
{
	struct field_path meta = field_child(NULL, "metadata"), path = field_child(NULL, "spec"),
			  svc = field_child(&path, "service");
	const struct json *spec = json_getc(c->obj, "spec"), *service = json_getc(spec, "service");
	const char *want = arena_printf(c->errs->arena, "%s.%s", json_cstr(json_getc(spec, "version")),
		json_cstr(json_getc(spec, "group")));
	struct json *ca = json_getc(spec, "caBundle");

	if (c->sub[0] != '\0')
		return;
	if (!json_eqc(json_getp(c->obj, "metadata.name"), want))
		validate__bad(c->errs, &meta, json_getc(c->obj, "metadata"), "name",
			"must be `spec.version+\".\"+spec.group`: \"%s\"", want);
	if (json_str(json_getc(spec, "group")).n > 0 || !json_eqc(json_getc(spec, "version"), "v1"))
		validate__name(c->errs, &path, spec, "group", validate_dns1123_subdomain);
	validate__name(c->errs, &path, spec, "version", validate_dns1035_label);
	if (json_i64_or(json_getc(spec, "groupPriorityMinimum"), 0) <= 0 ||
		json_i64_or(json_getc(spec, "groupPriorityMinimum"), 0) > 20000)
		validate__bad_count(c->errs, &path, spec, "groupPriorityMinimum", "must be positive and less than 20000");
	if (json_i64_or(json_getc(spec, "versionPriority"), 0) <= 0 ||
		json_i64_or(json_getc(spec, "versionPriority"), 0) > 1000)
		validate__bad_count(c->errs, &path, spec, "versionPriority", "must be positive and less than 1000");
	if (json_is_null(service)) {
		struct field_path bundle = field_child(&path, "caBundle");

		if (json_str(ca).n > 0)
			field_invalid_str(c->errs, &bundle,
				arena_sprintf(c->errs->arena, "%zu bytes", json_str(ca).n / 4 * 3),
				"local APIServices may not have a caBundle");
		if (json_true(json_getc(spec, "insecureSkipTLSVerify")))
			validate__bad(c->errs, &path, spec, "insecureSkipTLSVerify",
				"local APIServices may not have insecureSkipTLSVerify");
		return;
	}
	validate__required(c->errs, &svc, service, "namespace");
	validate__required(c->errs, &svc, service, "name");
	if (json_i64_or(json_getc(service, "port"), 443) < 1 || json_i64_or(json_getc(service, "port"), 443) > 65535)
		validate__bad(c->errs, &svc, service, "port",
			"port is not valid: must be between 1 and 65535, inclusive");
	if (json_true(json_getc(spec, "insecureSkipTLSVerify")) && json_str(ca).n > 0)
		validate__bad(c->errs, &path, spec, "insecureSkipTLSVerify", "may not be true if caBundle is present");
}
