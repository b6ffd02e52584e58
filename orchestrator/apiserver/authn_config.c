#include "orchestrator/apiserver/authn_config.h"

#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/config_file.h"
#include "proto/cel/cel.h"
#include "proto/json.h"

struct reader {
	struct arena *arena;
	const struct cel_env *claims, *user;
	struct err *e;
};

static const char *below(const struct reader *r, const char *path, const char *member)
{
	return arena_printf(r->arena, "%s.%s", path, member);
}

static const char *item(const struct reader *r, const char *path, const char *list, size_t i)
{
	return arena_printf(r->arena, "%s.%s[%zu]", path, list, i);
}

/* --- Who issues ------------------------------------------------------------------------------------------------------------- */

static int read_audiences(struct reader *r, const struct json *o, const char *path, struct jwt_issuer *is)
{
	const struct json *list = json_getc(o, "audiences"), *policy = json_getc(o, "audienceMatchPolicy");

	is->audiences = arena_new_array(r->arena, const char *, json_len(list) + 1);
	JSON_ITEMS (it, list) {
		if (json_str(it).n == 0)
			return err_set(r->e, ERR_INVALID, "%s.audiences[%zu]: Required value: a text that is not empty", path, is->n_audiences);
		is->audiences[is->n_audiences++] = arena_cstr(r->arena, json_str(it));
	}
	if (is->n_audiences == 0)
		return err_set(r->e, ERR_INVALID, "%s.audiences: Required value: at least one is needed", path);
	if (json_str(policy).n > 0 && !json_eqc(policy, "MatchAny"))
		return err_set(r->e, ERR_INVALID, "%s.audienceMatchPolicy: Invalid value: \"%.*s\": must be empty or MatchAny", path, STR_FMT(json_str(policy)));
	if (is->n_audiences > 1 && json_str(policy).n == 0)
		return err_set(r->e, ERR_INVALID, "%s.audienceMatchPolicy: must be MatchAny for more than one audience", path);
	return 0;
}

static int read_issuer(struct reader *r, const struct json *o, const char *path, struct str ours, struct jwt_issuer *is)
{
	const char *ca;

	if (config_file_known(o, path, "url discoveryURL certificateAuthority audiences audienceMatchPolicy", r->e) < 0 ||
			config_file_string(r->arena, o, path, "url", true, &is->url, r->e) < 0 ||
			config_file_string(r->arena, o, path, "discoveryURL", false, &is->discovery_url, r->e) < 0 ||
			config_file_string(r->arena, o, path, "certificateAuthority", false, &ca, r->e) < 0)
		return -(int)r->e->code;
	if (strncmp(is->url, "https://", 8) != 0 || strpbrk(is->url, "?#@"))
		return err_set(r->e, ERR_INVALID, "%s.url: Invalid value: \"%s\": it must begin with https://, without user, query and fragment", path, is->url);
	if (str_eqc(ours, is->url))
		return err_set(r->e, ERR_INVALID, "%s.url: Invalid value: \"%s\": that is this server's own issuer", path, is->url);
	if (is->discovery_url && (strncmp(is->discovery_url, "https://", 8) != 0 || strpbrk(is->discovery_url, "?#@") ||
						 strcmp(is->discovery_url, is->url) == 0))
		return err_set(r->e, ERR_INVALID, "%s.discoveryURL: Invalid value: \"%s\": it must begin with https://, and be another than url", path,
				is->discovery_url);
	is->ca_pem = ca ? str_from(ca) : STR("");
	if (ca && !strstr(ca, "-----BEGIN CERTIFICATE-----"))
		return err_set(r->e, ERR_INVALID, "%s.certificateAuthority: Invalid value: it is no PEM with certificates", path);
	return read_audiences(r, o, path, is);
}

/* --- Who it names ------------------------------------------------------------------------------------------------------------ */

static int read_source(struct reader *r, const struct json *o, const char *path, bool needed, bool with_prefix, struct jwt_source *ret)
{
	const char *expr;

	if (config_file_known(o, path, with_prefix ? "claim prefix expression" : "claim expression", r->e) < 0 ||
			config_file_string(r->arena, o, path, "claim", false, &ret->claim, r->e) < 0 ||
			config_file_string(r->arena, o, path, "expression", false, &expr, r->e) < 0)
		return -(int)r->e->code;
	if (ret->claim && expr)
		return err_set(r->e, ERR_INVALID, "%s: claim and expression cannot both be set", path);
	if (needed && !ret->claim && !expr)
		return err_set(r->e, ERR_INVALID, "%s: Required value: claim or expression is needed", path);
	if (with_prefix && expr && !json_is_null(json_getc(o, "prefix")))
		return err_set(r->e, ERR_INVALID, "%s.prefix: it cannot be set with an expression", path);
	if (with_prefix && ret->claim && !json_is(json_getc(o, "prefix"), JSON_STRING))
		return err_set(r->e, ERR_INVALID, "%s.prefix: Required value: with a claim it must be set, to \"\" if nothing shall be in front", path);
	ret->prefix = arena_cstr(r->arena, json_str(json_getc(o, "prefix")));
	return expr ? config_file_expression(r->arena, r->claims, below(r, path, "expression"), expr, NULL, &ret->expr, r->e) : 0;
}

/* "domain/path" in lower case, and no domain of Kubernetes. */
static bool key_ok(const char *key)
{
	const char *slash = strchr(key, '/');
	struct str domain = slash ? str_of(key, (size_t)(slash - key)) : STR_NULL;

	for (const char *p = key; *p; p++)
		if (isupper((unsigned char)*p) || isspace((unsigned char)*p))
			return false;
	if (domain.n == 0 || slash[1] == '\0')
		return false;
	return !str_eqc(domain, "k8s.io") && !str_eqc(domain, "kubernetes.io") && !str_has_suffix(domain, STR(".k8s.io")) &&
	       !str_has_suffix(domain, STR(".kubernetes.io"));
}

static int read_extra(struct reader *r, const struct json *list, const char *path, struct jwt_issuer *is)
{
	is->extra = arena_new_array(r->arena, struct jwt_extra, json_len(list));
	JSON_ITEMS (o, list) {
		const char *at = item(r, path, "extra", is->n_extra), *expr;
		struct jwt_extra *x = &is->extra[is->n_extra];

		if (config_file_known(o, at, "key valueExpression", r->e) < 0 || config_file_string(r->arena, o, at, "key", true, &x->key, r->e) < 0 ||
				config_file_string(r->arena, o, at, "valueExpression", true, &expr, r->e) < 0)
			return -(int)r->e->code;
		if (!key_ok(x->key))
			return err_set(r->e, ERR_INVALID, "%s.key: Invalid value: \"%s\": it must be domain/path in lower case, and no domain of Kubernetes",
					at, x->key);
		for (size_t i = 0; i < is->n_extra; i++)
			if (strcmp(is->extra[i].key, x->key) == 0)
				return err_set(r->e, ERR_INVALID, "%s.key: Duplicate value: \"%s\"", at, x->key);
		if (config_file_expression(r->arena, r->claims, below(r, at, "valueExpression"), expr, NULL, &x->expr, r->e) < 0)
			return -(int)r->e->code;
		is->n_extra++;
	}
	return 0;
}

/* A word of the claims, and not the beginning of a longer one. */
static bool mentions(const struct cel_program *p, const char *word)
{
	struct str text = p ? cel_program_source(p) : STR("");
	size_t n = strlen(word);

	for (ptrdiff_t at; (at = str_search(text, str_from(word))) >= 0; text = str_skip(text, (size_t)at + n))
		if ((size_t)at + n == text.n || (!isalnum((unsigned char)text.p[at + (ptrdiff_t)n]) && text.p[at + (ptrdiff_t)n] != '_'))
			return true;
	return false;
}

/* Who is named by an address must have looked whether it is his. */
static int email_is_verified(struct reader *r, const char *path, const struct jwt_issuer *is)
{
	bool verified = mentions(is->username.expr, "claims.email_verified");

	if (!mentions(is->username.expr, "claims.email"))
		return 0;
	for (size_t i = 0; i < is->n_extra; i++)
		verified |= mentions(is->extra[i].expr, "claims.email_verified");
	for (size_t i = 0; i < is->n_claim_rules; i++)
		verified |= mentions(is->claim_rules[i].expr, "claims.email_verified");
	return verified ? 0 : err_set(r->e, ERR_INVALID, "%s.claimMappings.username.expression: claims.email_verified must be looked at, too: in it, in "
							 "extra[*].valueExpression or in claimValidationRules[*].expression", path);
}

/* --- What must hold --------------------------------------------------------------------------------------------------------- */

static int read_claim_rules(struct reader *r, const struct json *list, const char *path, struct jwt_issuer *is)
{
	is->claim_rules = arena_new_array(r->arena, struct jwt_rule, json_len(list));
	JSON_ITEMS (o, list) {
		const char *at = item(r, path, "claimValidationRules", is->n_claim_rules), *expr;
		struct jwt_rule *rule = &is->claim_rules[is->n_claim_rules++];

		if (config_file_known(o, at, "claim requiredValue expression message", r->e) < 0 ||
				config_file_string(r->arena, o, at, "claim", false, &rule->claim, r->e) < 0 ||
				config_file_string(r->arena, o, at, "requiredValue", false, &rule->value, r->e) < 0 ||
				config_file_string(r->arena, o, at, "expression", false, &expr, r->e) < 0 ||
				config_file_string(r->arena, o, at, "message", false, &rule->message, r->e) < 0)
			return -(int)r->e->code;
		if (!rule->claim == !expr)
			return err_set(r->e, ERR_INVALID, "%s: either claim or expression is needed", at);
		if (rule->claim && rule->message)
			return err_set(r->e, ERR_INVALID, "%s.message: it cannot be set with a claim", at);
		if (expr && rule->value)
			return err_set(r->e, ERR_INVALID, "%s.requiredValue: it cannot be set with an expression", at);
		rule->value = rule->value ? rule->value : "";
		if (expr && config_file_expression(r->arena, r->claims, below(r, at, "expression"), expr, &cel_bool, &rule->expr, r->e) < 0)
			return -(int)r->e->code;
	}
	return 0;
}

static int read_user_rules(struct reader *r, const struct json *list, const char *path, struct jwt_issuer *is)
{
	is->user_rules = arena_new_array(r->arena, struct jwt_rule, json_len(list));
	JSON_ITEMS (o, list) {
		const char *at = item(r, path, "userValidationRules", is->n_user_rules), *expr;
		struct jwt_rule *rule = &is->user_rules[is->n_user_rules++];

		if (config_file_known(o, at, "expression message", r->e) < 0 ||
				config_file_string(r->arena, o, at, "expression", true, &expr, r->e) < 0 ||
				config_file_string(r->arena, o, at, "message", false, &rule->message, r->e) < 0 ||
				config_file_expression(r->arena, r->user, below(r, at, "expression"), expr, &cel_bool, &rule->expr, r->e) < 0)
			return -(int)r->e->code;
	}
	return 0;
}

static int read_jwt(struct reader *r, const struct json *o, const char *path, struct str ours, struct jwt_issuer *is)
{
	const struct json *maps = json_getc(o, "claimMappings");
	const char *at = below(r, path, "claimMappings");

	if (config_file_known(o, path, "issuer claimValidationRules claimMappings userValidationRules", r->e) < 0 ||
			read_issuer(r, json_getc(o, "issuer"), below(r, path, "issuer"), ours, is) < 0 ||
			read_claim_rules(r, json_getc(o, "claimValidationRules"), path, is) < 0 ||
			config_file_known(maps, at, "username groups uid extra", r->e) < 0 ||
			read_source(r, json_getc(maps, "username"), below(r, at, "username"), true, true, &is->username) < 0 ||
			read_source(r, json_getc(maps, "groups"), below(r, at, "groups"), false, true, &is->groups) < 0 ||
			read_source(r, json_getc(maps, "uid"), below(r, at, "uid"), false, false, &is->uid) < 0 ||
			read_extra(r, json_getc(maps, "extra"), at, is) < 0 ||
			read_user_rules(r, json_getc(o, "userValidationRules"), path, is) < 0)
		return -(int)r->e->code;
	return email_is_verified(r, path, is);
}

/* --- The whole ----------------------------------------------------------------------------------------------------------------- */

static int read_anonymous(struct reader *r, const struct json *o, struct authn_config *ret)
{
	const struct json *list = json_getc(o, "conditions");

	if (json_is_null(o))
		return 0;
	if (config_file_known(o, "anonymous", "enabled conditions", r->e) < 0)
		return -(int)r->e->code;
	ret->no_anonymous = !json_true(json_getc(o, "enabled"));
	if (ret->no_anonymous && json_len(list) > 0)
		return err_set(r->e, ERR_INVALID, "anonymous.conditions: enabled must be true for them");
	if (json_len(list) == 0)
		return 0;
	ret->anonymous_paths = arena_new_array(r->arena, const char *, json_len(list));
	JSON_ITEMS (c, list) {
		const char *at = arena_printf(r->arena, "anonymous.conditions[%zu]", ret->n_anonymous_paths);

		if (config_file_known(c, at, "path", r->e) < 0 ||
				config_file_string(r->arena, c, at, "path", true, &ret->anonymous_paths[ret->n_anonymous_paths++], r->e) < 0)
			return -(int)r->e->code;
	}
	return 0;
}

int authn_config_parse(struct arena *a, struct str text, struct str ours, struct authn_config *ret, struct err *e)
{
	struct reader r = {.arena = a, .claims = jwt_claims_env(a), .user = jwt_user_env(a), .e = e};
	const struct json *list;
	struct json *doc;

	*ret = (struct authn_config){0};
	if (config_file_parse(a, text, "AuthenticationConfiguration", &doc, e) < 0 ||
			config_file_known(doc, "the configuration", "apiVersion kind jwt anonymous", e) < 0 ||
			read_anonymous(&r, json_getc(doc, "anonymous"), ret) < 0)
		return -(int)e->code;
	list = json_getc(doc, "jwt");
	if (json_len(list) > AUTHN_CONFIG_MAX_ISSUERS)
		return err_set(e, ERR_INVALID, "jwt: Too many: %zu: must have at most %d items", json_len(list), AUTHN_CONFIG_MAX_ISSUERS);
	ret->issuers = arena_new_array(a, struct jwt_issuer, json_len(list) + 1);
	JSON_ITEMS (o, list) {
		struct jwt_issuer *is = &ret->issuers[ret->n_issuers];
		const char *path = arena_printf(a, "jwt[%zu]", ret->n_issuers);

		if (read_jwt(&r, o, path, ours, is) < 0)
			return -(int)e->code;
		for (size_t i = 0; i < ret->n_issuers; i++)
			if (strcmp(ret->issuers[i].url, is->url) == 0)
				return err_set(e, ERR_INVALID, "%s.issuer.url: Duplicate value: \"%s\"", path, is->url);
		ret->n_issuers++;
	}
	return 0;
}

bool authn_config_anonymous(const struct authn_config *c, struct str path)
{
	if (c->no_anonymous)
		return false;
	for (size_t i = 0; i < c->n_anonymous_paths; i++)
		if (str_eqc(path, c->anonymous_paths[i]))
			return true;
	return c->n_anonymous_paths == 0;
}
