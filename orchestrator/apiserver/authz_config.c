#include "orchestrator/apiserver/authz_config.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/config_file.h"
#include "proto/cel/cel.h"
#include "proto/duration.h"
#include "proto/json.h"
#include "proto/schema.h"

#define MAX_CONDITIONS 64
#define MAX_TIMEOUT_MS 30000

/* --- Reading ---------------------------------------------------------------------------------------------------------------- */

static int read_duration(const struct json *o, const char *path, const char *member, uint64_t dflt_ms, uint64_t *ret_ms, struct err *e)
{
	const struct json *v = json_getc(o, member);
	int64_t ns;

	*ret_ms = dflt_ms;
	if (json_is_null(v))
		return 0;
	if (!json_is(v, JSON_STRING) || !duration_parse(json_str(v), &ns) || ns <= 0)
		return err_set(e, ERR_INVALID, "%s.%s: Invalid value: \"%.*s\": it must be a duration greater than zero, such as 3s", path, member,
				STR_FMT(json_str(v)));
	*ret_ms = (uint64_t)MAX(ns / 1000000, 1);
	return 0;
}

static int read_conditions(struct arena *a, const struct json *list, const char *path, struct authz_authorizer *z, struct err *e)
{
	struct cel_env *env = cel_env_new(a, CEL_LIBS_KUBERNETES & ~(unsigned)CEL_LIB_AUTHZ);

	z->spec = cel_type_schema(a, schema_type_find("authorization.v1.SubjectAccessReviewSpec"));
	cel_env_var(env, "request", z->spec);
	if (json_len(list) > MAX_CONDITIONS)
		return err_set(e, ERR_INVALID, "%s.matchConditions: Too many: %zu: must have at most %d items", path, json_len(list), MAX_CONDITIONS);
	z->conditions = arena_new_array(a, const struct cel_program *, json_len(list) + 1);
	JSON_ITEMS (c, list) {
		const char *at = arena_printf(a, "%s.matchConditions[%zu]", path, z->n_conditions), *text;

		if (config_file_known(c, at, "expression", e) < 0 || config_file_string(a, c, at, "expression", true, &text, e) < 0 ||
				config_file_expression(a, env, arena_printf(a, "%s.expression", at), text, &cel_bool,
						&z->conditions[z->n_conditions++], e) < 0)
			return -(int)e->code;
	}
	return 0;
}

static int read_connection(struct arena *a, const struct json *o, const char *path, struct authz_authorizer *z, struct err *e)
{
	const char *type, *at = arena_printf(a, "%s.connectionInfo", path);

	if (config_file_known(o, at, "type kubeConfigFile", e) < 0 || config_file_string(a, o, at, "type", true, &type, e) < 0)
		return -(int)e->code;
	if (strcmp(type, "KubeConfigFile") != 0)
		return err_set(e, ERR_INVALID, "%s.type: Unsupported value: \"%s\": supported values: \"KubeConfigFile\"", at, type);
	if (config_file_string(a, o, at, "kubeConfigFile", true, &z->kubeconfig, e) < 0)
		return -(int)e->code;
	return z->kubeconfig[0] == '/' ? 0 : err_set(e, ERR_INVALID, "%s.kubeConfigFile: Invalid value: \"%s\": must be an absolute path", at, z->kubeconfig);
}

/* Absent stands for yes. */
static bool is_on(const struct json *v)
{
	return json_is_null(v) || json_true(v);
}

static int read_webhook(struct arena *a, const struct json *o, const char *path, struct authz_authorizer *z, struct err *e)
{
	const char *version, *of_conditions, *policy;
	uint64_t timeout_ms;

	if (json_is_null(o))
		return err_set(e, ERR_INVALID, "%s: Required value: an authorizer of the type Webhook needs it", path);
	if (config_file_known(o, path, "authorizedTTL cacheAuthorizedRequests unauthorizedTTL cacheUnauthorizedRequests timeout "
				       "subjectAccessReviewVersion matchConditionSubjectAccessReviewVersion failurePolicy connectionInfo matchConditions", e) < 0 ||
			config_file_string(a, o, path, "subjectAccessReviewVersion", true, &version, e) < 0 ||
			config_file_string(a, o, path, "matchConditionSubjectAccessReviewVersion", false, &of_conditions, e) < 0 ||
			config_file_string(a, o, path, "failurePolicy", true, &policy, e) < 0 ||
			read_duration(o, path, "authorizedTTL", 5 * 60 * 1000, &z->yes_ms, e) < 0 ||
			read_duration(o, path, "unauthorizedTTL", 30 * 1000, &z->no_ms, e) < 0 ||
			read_duration(o, path, "timeout", 0, &timeout_ms, e) < 0 ||
			read_connection(a, json_getc(o, "connectionInfo"), path, z, e) < 0 ||
			read_conditions(a, json_getc(o, "matchConditions"), path, z, e) < 0)
		return -(int)e->code;
	if (strcmp(version, "v1") != 0)
		return err_set(e, ERR_INVALID, "%s.subjectAccessReviewVersion: Unsupported value: \"%s\": supported values: \"v1\"", path, version);
	if (z->n_conditions > 0 && !of_conditions)
		return err_set(e, ERR_INVALID, "%s.matchConditionSubjectAccessReviewVersion: Required value: with matchConditions", path);
	if (of_conditions && strcmp(of_conditions, "v1") != 0)
		return err_set(e, ERR_INVALID, "%s.matchConditionSubjectAccessReviewVersion: Unsupported value: \"%s\": supported values: \"v1\"", path,
				of_conditions);
	if (strcmp(policy, "Deny") != 0 && strcmp(policy, "NoOpinion") != 0)
		return err_set(e, ERR_INVALID, "%s.failurePolicy: Unsupported value: \"%s\": supported values: \"Deny\", \"NoOpinion\"", path, policy);
	if (timeout_ms == 0 || timeout_ms > MAX_TIMEOUT_MS)
		return err_set(e, ERR_INVALID, "%s.timeout: it must be given, and be at most 30s", path);
	z->timeout_ms = (uint32_t)timeout_ms;
	z->deny_on_failure = policy[0] == 'D';
	if (!is_on(json_getc(o, "cacheAuthorizedRequests")))
		z->yes_ms = 0;
	if (!is_on(json_getc(o, "cacheUnauthorizedRequests")))
		z->no_ms = 0;
	return 0;
}

static int kind_of(const char *type, const char *path, enum authz_kind *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum authz_kind kind;
	} kinds[] = {{"Node", AUTHZ_NODE}, {"RBAC", AUTHZ_RBAC}, {"Webhook", AUTHZ_WEBHOOK}, {"AlwaysAllow", AUTHZ_ALWAYS_ALLOW},
			{"AlwaysDeny", AUTHZ_ALWAYS_DENY}};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(type, kinds[i].name) == 0) {
			*ret = kinds[i].kind;
			return 0;
		}
	return err_set(e, ERR_INVALID, "%s.type: Unsupported value: \"%s\": supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", "
				       "\"Webhook\"", path, type);
}

static int read_authorizer(struct arena *a, const struct json *o, const char *path, const struct authz_config *before, struct authz_authorizer *z,
		struct err *e)
{
	const char *type;

	if (config_file_known(o, path, "type name webhook", e) < 0 || config_file_string(a, o, path, "type", true, &type, e) < 0 ||
			config_file_string(a, o, path, "name", true, &z->name, e) < 0 || kind_of(type, path, &z->kind, e) < 0)
		return -(int)e->code;
	for (size_t i = 0; i < before->n; i++) {
		if (strcmp(before->v[i].name, z->name) == 0)
			return err_set(e, ERR_INVALID, "%s.name: Duplicate value: \"%s\"", path, z->name);
		if (before->v[i].kind == z->kind && z->kind != AUTHZ_WEBHOOK)
			return err_set(e, ERR_INVALID, "%s.type: Duplicate value: \"%s\"", path, type);
	}
	if (z->kind == AUTHZ_WEBHOOK)
		return read_webhook(a, json_getc(o, "webhook"), arena_printf(a, "%s.webhook", path), z, e);
	return json_is_null(json_getc(o, "webhook")) ? 0 : err_set(e, ERR_INVALID, "%s.webhook: it may only be set with the type Webhook", path);
}

int authz_config_parse(struct arena *a, struct str text, struct authz_config *ret, struct err *e)
{
	const struct json *list;
	struct json *doc;

	*ret = (struct authz_config){0};
	if (config_file_parse(a, text, "AuthorizationConfiguration", &doc, e) < 0 ||
			config_file_known(doc, "the configuration", "apiVersion kind authorizers", e) < 0)
		return -(int)e->code;
	list = json_getc(doc, "authorizers");
	if (json_len(list) == 0)
		return err_set(e, ERR_INVALID, "authorizers: Required value: at least one is needed");
	ret->v = arena_new_array(a, struct authz_authorizer, json_len(list));
	JSON_ITEMS (o, list) {
		const char *path = arena_printf(a, "authorizers[%zu]", ret->n);

		if (read_authorizer(a, o, path, ret, &ret->v[ret->n], e) < 0)
			return -(int)e->code;
		ret->n++;
	}
	return 0;
}

/* --- Conditions ------------------------------------------------------------------------------------------------------------- */

/* Expressions may name what is empty: it is there for them. */
static struct json *filled(struct arena *a, const struct json *spec)
{
	static const char *const resource[] = {"namespace", "verb", "group", "version", "resource", "subresource", "name"};
	static const char *const path[] = {"path", "verb"};
	struct json *o = json_copy(a, spec), *r = json_getc(o, "resourceAttributes"), *p = json_getc(o, "nonResourceAttributes");

	for (size_t i = 0; r && i < ARRAY_LEN(resource); i++)
		if (!json_getc(r, resource[i]))
			json_setc(a, r, resource[i], json_newc(a, ""));
	for (size_t i = 0; p && i < ARRAY_LEN(path); i++)
		if (!json_getc(p, path[i]))
			json_setc(a, p, path[i], json_newc(a, ""));
	for (size_t i = 0; i < 2; i++)
		if (!json_getc(o, i ? "uid" : "user"))
			json_setc(a, o, i ? "uid" : "user", json_newc(a, ""));
	if (!json_getc(o, "groups"))
		json_setc(a, o, "groups", json_new_array(a));
	if (!json_getc(o, "extra"))
		json_setc(a, o, "extra", json_new_object(a));
	return o;
}

enum authz_match authz_conditions(struct arena *a, const struct authz_authorizer *z, const struct json *spec, struct str *ret_why)
{
	struct cel_var request;
	struct cel_run run = {.arena = a, .vars = &request, .n_vars = 1};
	enum authz_match m = AUTHZ_MATCHES;

	if (z->n_conditions == 0)
		return AUTHZ_MATCHES;
	request = (struct cel_var){"request", cel_from_json(a, filled(a, spec), z->spec)};
	/* One that says no settles it, whatever is wrong with others. */
	for (size_t i = 0; i < z->n_conditions; i++) {
		struct cel_value v = cel_run(z->conditions[i], &run);

		if (v.kind == CEL_BOOL && !v.b)
			return AUTHZ_DOES_NOT;
		if (v.kind == CEL_BOOL)
			continue;
		m = AUTHZ_CANNOT_TELL;
		*ret_why = arena_sprintf(a, "webhook %s: matchConditions[%zu]: %.*s", z->name, i, STR_FMT(v.kind == CEL_ERROR ? v.s : STR("no bool")));
	}
	return m;
}
