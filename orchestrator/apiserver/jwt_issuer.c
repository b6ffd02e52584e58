#include "orchestrator/apiserver/jwt_issuer.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/oidc.h"
#include "orchestrator/apiserver/request.h"
#include "proto/cel/cel.h"
#include "proto/json.h"

static const struct cel_type *claims_type(struct arena *a)
{
	return cel_type_map(a, &cel_string, &cel_dyn);
}

static const struct cel_type *user_type(struct arena *a)
{
	const struct cel_field fields[] = {{"username", &cel_string, NULL}, {"uid", &cel_string, NULL},
			{"groups", cel_type_list(a, &cel_string), NULL},
			{"extra", cel_type_map(a, &cel_string, cel_type_list(a, &cel_string)), NULL}};

	return cel_type_object(a, "kubernetes.UserInfo", fields, ARRAY_LEN(fields));
}

struct cel_env *jwt_claims_env(struct arena *a)
{
	struct cel_env *env = cel_env_new(a, CEL_LIBS_KUBERNETES & ~(unsigned)CEL_LIB_AUTHZ);

	cel_env_var(env, "claims", claims_type(a));
	return env;
}

struct cel_env *jwt_user_env(struct arena *a)
{
	struct cel_env *env = cel_env_new(a, CEL_LIBS_KUBERNETES & ~(unsigned)CEL_LIB_AUTHZ);

	cel_env_var(env, "user", user_type(a));
	return env;
}

/* --- The flags ------------------------------------------------------------------------------------------------------------- */

static const char *username_prefix(const struct oidc_cfg *c, struct arena *a, const char *claim)
{
	if (c->username_prefix)
		return strcmp(c->username_prefix, "-") == 0 ? "" : c->username_prefix;
	return strcmp(claim, "email") == 0 ? "" : arena_printf(a, "%s#", c->issuer);
}

/* "k=v,k=v" */
static void required_claims(struct arena *a, const char *list, struct jwt_issuer *ret)
{
	struct str one, key, value, rest = str_from(list);

	ret->claim_rules = arena_new_array(a, struct jwt_rule, rest.n);
	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		str_cut(one, '=', &key, &value);
		ret->claim_rules[ret->n_claim_rules++] = (struct jwt_rule){.claim = arena_cstr(a, key), .value = arena_cstr(a, value)};
	}
}

void jwt_issuer_of_flags(struct arena *a, const struct oidc_cfg *c, struct jwt_issuer *ret)
{
	const char *claim = c->username_claim ? c->username_claim : "sub";

	*ret = (struct jwt_issuer){.url = c->issuer, .n_audiences = 1, .guarded = true,
			.username = {.claim = claim, .prefix = username_prefix(c, a, claim)},
			.groups = {.claim = c->groups_claim, .prefix = c->groups_prefix}};
	ret->audiences = arena_new_array(a, const char *, 1);
	ret->audiences[0] = c->client_id;
	if (c->required_claims)
		required_claims(a, c->required_claims, ret);
}

/* --- Claims to user --------------------------------------------------------------------------------------------------------- */

static bool is_for(const struct jwt_issuer *is, const struct json *aud)
{
	for (size_t i = 0; i < is->n_audiences; i++) {
		if (json_eqc(aud, is->audiences[i]))
			return true;
		JSON_ITEMS (it, aud)
			if (json_eqc(it, is->audiences[i]))
				return true;
	}
	return false;
}

/* What an expression gives, in the arena; NULL: it fails. */
static struct json *value_of(struct arena *a, const struct cel_program *p, const struct cel_var *var, const char *what, struct err *e)
{
	struct cel_run run = {.arena = a, .vars = var, .n_vars = 1};
	struct cel_value v = cel_run(p, &run);
	const char *why = NULL;
	struct json *out;

	if (v.kind == CEL_ERROR) {
		err_set(e, ERR_UNAUTHORIZED, "%s: the expression fails: %.*s", what, STR_FMT(v.s));
		return NULL;
	}
	out = cel_to_json(a, v, &why);
	if (!out)
		err_set(e, ERR_UNAUTHORIZED, "%s: the expression gives what no user can have: %s", what, why);
	return out;
}

/* A claim or what an expression makes of them; *ret NULL: there is nothing. */
static int source_of(struct arena *a, const struct jwt_source *s, const struct cel_var *claims, const struct json *doc, const char *what,
		const struct json **ret, struct err *e)
{
	*ret = s->claim ? json_getc(doc, s->claim) : NULL;
	if (!s->expr)
		return 0;
	*ret = value_of(a, s->expr, claims, what, e);
	return *ret ? 0 : -(int)e->code;
}

/* One string or several, each with the prefix in front; empty ones and null are none. */
static int strings_of(struct arena *a, const struct json *v, const char *prefix, const char *what, struct str **ret, size_t *ret_n, struct err *e)
{
	*ret = arena_new_array(a, struct str, json_len(v) + 2);
	*ret_n = 0;
	if (json_is_null(v))
		return 0;
	if (!json_is(v, JSON_STRING) && !json_is(v, JSON_ARRAY))
		return err_set(e, ERR_UNAUTHORIZED, "%s must be a string or a list of strings", what);
	if (json_str(v).n > 0)
		(*ret)[(*ret_n)++] = arena_sprintf(a, "%s%.*s", prefix ? prefix : "", STR_FMT(json_str(v)));
	JSON_ITEMS (it, json_is(v, JSON_ARRAY) ? v : NULL) {
		if (!json_is(it, JSON_STRING))
			return err_set(e, ERR_UNAUTHORIZED, "%s must be a string or a list of strings", what);
		if (json_str(it).n > 0)
			(*ret)[(*ret_n)++] = arena_sprintf(a, "%s%.*s", prefix ? prefix : "", STR_FMT(json_str(it)));
	}
	return 0;
}

static int rules_hold(struct arena *a, const struct jwt_rule *rules, size_t n, const struct cel_var *var, const struct json *claims, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct jwt_rule *r = &rules[i];
		const struct json *v;

		if (r->claim) {
			if (!str_eqc(json_str(json_getc(claims, r->claim)), r->value))
				return err_set(e, ERR_UNAUTHORIZED, "required claim %s is not %s", r->claim, r->value);
			continue;
		}
		v = value_of(a, r->expr, var, "a validation rule", e);
		if (!v)
			return -(int)e->code;
		if (!json_true(v))
			return err_set(e, ERR_UNAUTHORIZED, "validation expression '%.*s' failed: %s", STR_FMT(cel_program_source(r->expr)),
					r->message ? r->message : "it is not true");
	}
	return 0;
}

static int name_user(const struct jwt_issuer *is, struct arena *a, const struct cel_var *var, const struct json *claims, struct api_user *u, struct err *e)
{
	const struct json *v;

	if (source_of(a, &is->username, var, claims, "username", &v, e) < 0)
		return -(int)e->code;
	if (json_str(v).n == 0 && is->username.claim)
		return err_set(e, ERR_UNAUTHORIZED, "the token has no claim %s", is->username.claim);
	if (json_str(v).n == 0)
		return err_set(e, ERR_UNAUTHORIZED, "username: the expression gives no string, or an empty one");
	if (is->username.claim && strcmp(is->username.claim, "email") == 0 && json_getc(claims, "email_verified") &&
			!json_true(json_getc(claims, "email_verified")))
		return err_set(e, ERR_UNAUTHORIZED, "the email is not verified");
	u->name = arena_sprintf(a, "%s%.*s", is->username.prefix ? is->username.prefix : "", STR_FMT(json_str(v)));
	if (source_of(a, &is->uid, var, claims, "uid", &v, e) < 0)
		return -(int)e->code;
	if ((is->uid.claim || is->uid.expr) && !json_is(v, JSON_STRING))
		return err_set(e, ERR_UNAUTHORIZED, "uid must be a string");
	u->uid = json_str(v);
	return 0;
}

static int add_groups(const struct jwt_issuer *is, struct arena *a, const struct cel_var *var, const struct json *claims, struct api_user *u, struct err *e)
{
	const struct json *v;

	if (source_of(a, &is->groups, var, claims, "groups", &v, e) < 0 ||
			strings_of(a, v, is->groups.prefix, "groups", &u->groups, &u->n_groups, e) < 0)
		return -(int)e->code;
	u->groups[u->n_groups++] = STR("system:authenticated");
	return 0;
}

static int add_extra(const struct jwt_issuer *is, struct arena *a, const struct cel_var *var, struct api_user *u, struct err *e)
{
	for (size_t i = 0; i < is->n_extra; i++) {
		const struct json *v = value_of(a, is->extra[i].expr, var, is->extra[i].key, e);
		struct str *values;
		size_t n;

		if (!v || strings_of(a, v, NULL, is->extra[i].key, &values, &n, e) < 0)
			return -(int)e->code;
		for (size_t k = 0; k < n; k++)
			authn_extra(a, u, is->extra[i].key, values[k]);
	}
	return 0;
}

/* Our own names are not an issuer's to give. */
static int guard(const struct api_user *u, struct err *e)
{
	if (str_has_prefix(u->name, STR("system:")))
		return err_set(e, ERR_UNAUTHORIZED, "an issuer cannot name a user system:");
	for (size_t i = 0; i + 1 < u->n_groups; i++)
		if (str_has_prefix(u->groups[i], STR("system:")))
			return err_set(e, ERR_UNAUTHORIZED, "an issuer cannot name a group system:");
	return 0;
}

static int user_rules(const struct jwt_issuer *is, struct arena *a, const struct api_user *u, struct err *e)
{
	struct api_user said = *u;
	struct cel_var user;
	struct json *doc;

	if (is->n_user_rules == 0)
		return 0;
	/* system:authenticated is ours to add. */
	said.n_groups--;
	doc = api_user_dom(a, &said);
	user = (struct cel_var){"user", cel_from_json(a, doc, user_type(a))};
	return rules_hold(a, is->user_rules, is->n_user_rules, &user, NULL, e);
}

/* Seconds, maybe with a fraction (RFC 7519, section 2). */
static bool date_of(const struct json *v, int64_t *ret)
{
	double seconds;

	if (!json_is(v, JSON_NUMBER) || !json_f64(v, &seconds) || seconds < 0 || seconds > 0x1p53)
		return false;
	*ret = (int64_t)seconds;
	return true;
}

static int in_time(const struct json *claims, int64_t now, struct err *e)
{
	const struct json *from = json_getc(claims, "nbf");
	int64_t until, since = 0;

	if (!date_of(json_getc(claims, "exp"), &until) || now >= until)
		return err_set(e, ERR_UNAUTHORIZED, "the token has expired, or does not say when it does");
	if (!json_is_null(from) && !date_of(from, &since))
		return err_set(e, ERR_UNAUTHORIZED, "the token's nbf is no time");
	return now + 60 >= since ? 0 : err_set(e, ERR_UNAUTHORIZED, "the token is not good yet");
}

int jwt_issuer_user(const struct jwt_issuer *is, struct arena *a, const struct json *claims, int64_t now, struct api_user *u, struct err *e)
{
	struct cel_var var;

	*u = (struct api_user){.method = "oidc"};
	if (!json_eqc(json_getc(claims, "iss"), is->url))
		return err_set(e, ERR_UNAUTHORIZED, "the token is of another issuer");
	if (!is_for(is, json_getc(claims, "aud")))
		return err_set(e, ERR_UNAUTHORIZED, "the token is for another audience");
	if (in_time(claims, now, e) < 0)
		return -(int)e->code;
	var = (struct cel_var){"claims", cel_from_json(a, claims, claims_type(a))};
	if (name_user(is, a, &var, claims, u, e) < 0 || rules_hold(a, is->claim_rules, is->n_claim_rules, &var, claims, e) < 0 ||
			add_groups(is, a, &var, claims, u, e) < 0 || add_extra(is, a, &var, u, e) < 0 || (is->guarded && guard(u, e) < 0))
		return -(int)e->code;
	return user_rules(is, a, u, e);
}
