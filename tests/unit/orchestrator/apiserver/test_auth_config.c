/* AuthenticationConfiguration and AuthorizationConfiguration: what they mean, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/authn_config.h"
#include "orchestrator/apiserver/authz_config.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"
#include "tests/lib/json_words.h"
#include "tests/lib/test_arena.h"

static struct json *json(const char *quoted)
{
	return json_must(&a, str_from(json_quoted(&a, quoted)));
}

/* --- Who comes --------------------------------------------------------------------------------------------------------------- */

#define AUTHN(rest) "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, " rest "}"
#define ISSUER "issuer: {url: 'https://i', audiences: [me]}"
#define JWT(rest) AUTHN("jwt: [{" ISSUER ", " rest "}]")
#define NAMED "claimMappings: {username: {claim: sub, prefix: 'x:'}}"

static int authn(const char *text, struct authn_config *ret, struct err *e)
{
	err_clear(e);
	return authn_config_parse(&a, str_from(text), STR("https://ours"), ret, e);
}

static void test_users(void **state)
{
	static const struct {
		const char *config, *claims, *name, *group, *extra; /* name NULL: refused, with `group` as the reason */
	} rows[] = {
			{JWT(NAMED), "{'sub':'u'}", "x:u", "system:authenticated", NULL},
			{JWT("claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: 'g:'}}"), "{'sub':'u','g':['a','','b']}", "u",
					"g:a", NULL},
			{JWT("claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: ''}}"), "{'sub':'u','g':[1]}", NULL,
					"groups must be a string or a list of strings", NULL},
			{JWT("claimMappings: {username: {expression: \"claims.sub + '@' + claims.org.name\"}}"), "{'sub':'u','org':{'name':'o'}}", "u@o",
					"system:authenticated", NULL},
			{JWT("claimMappings: {username: {expression: 'claims.sub + claims.org'}}"), "{'sub':'u'}", NULL, "username: the expression fails: ", NULL},
			{JWT("claimMappings: {username: {expression: 'claims.n'}}"), "{'n':7}", NULL, "username: the expression gives no string", NULL},
			{JWT("claimMappings: {username: {expression: claims.sub}, groups: {expression: \"claims.roles.split(',')\"}, uid: {claim: id}}"),
					"{'sub':'u','roles':'a,b','id':'7'}", "u", "a", NULL},
			{JWT("claimMappings: {username: {expression: claims.sub}, uid: {claim: id}}"), "{'sub':'u'}", NULL, "uid must be a string", NULL},
			{JWT("claimMappings: {username: {expression: claims.sub}, extra: [{key: example.com/team, valueExpression: claims.t}]}"),
					"{'sub':'u','t':['r','s']}", "u", "system:authenticated", "r"},
			{JWT("claimValidationRules: [{claim: hd, requiredValue: example.com}], " NAMED), "{'sub':'u','hd':'example.com'}", "x:u", NULL, NULL},
			{JWT("claimValidationRules: [{claim: hd, requiredValue: example.com}], " NAMED), "{'sub':'u'}", NULL, "required claim hd is not example.com",
					NULL},
			{JWT("claimValidationRules: [{expression: 'claims.exp - claims.iat <= 86400', message: too long}], " NAMED),
					"{'sub':'u','iat':-100000}", NULL, "validation expression 'claims.exp - claims.iat <= 86400' failed: too long", NULL},
			{JWT("userValidationRules: [{expression: \"!user.username.startsWith('x:sys')\", message: ours}], " NAMED), "{'sub':'system'}", NULL,
					"validation expression '!user.username.startsWith('x:sys')' failed: ours", NULL},
			{JWT("userValidationRules: [{expression: \"user.groups.all(g, !g.startsWith('system:'))\"}], " NAMED), "{'sub':'u'}", "x:u", NULL, NULL},
			{JWT("claimMappings: {username: {expression: 'claims.email_verified ? claims.email : claims.sub'}}"),
					"{'sub':'u','email':'e','email_verified':true}", "e", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *claims = json(rows[i].claims);
		struct authn_config c;
		struct api_user u;
		struct err e = ERR_INIT;

		if (authn(rows[i].config, &c, &e) < 0)
			fail_msg("row %zu: %s", i, e.text);
		json_setc(&a, claims, "iss", json_newc(&a, "https://i"));
		json_setc(&a, claims, "aud", json_newc(&a, "me"));
		json_setc(&a, claims, "exp", json_new_int(&a, 100));
		if ((jwt_issuer_user(&c.issuers[0], &a, claims, 50, &u, &e) == 0) != (rows[i].name != NULL))
			fail_msg("row %zu: %s", i, e.text);
		if (!rows[i].name) {
			if (!strstr(e.text, rows[i].group))
				fail_msg("row %zu: %s", i, e.text);
			continue;
		}
		assert_string_equal(arena_cstr(&a, u.name), rows[i].name);
		if (rows[i].group)
			assert_string_equal(arena_cstr(&a, u.groups[0]), rows[i].group);
		assert_int_equal(u.n_extra, rows[i].extra ? 2 : 0);
		if (rows[i].extra)
			assert_string_equal(arena_cstr(&a, u.extra[0].value), rows[i].extra);
	}
}

/* At 50: when a token is good. */
static void test_times(void **state)
{
	static const struct {
		const char *claims;
		bool good;
	} rows[] = {
			{"{'exp':51}", true}, {"{'exp':51.5,'nbf':49.5}", true}, {"{'exp':100,'nbf':110}", true}, {"{'exp':100,'nbf':null}", true},
			{"{'exp':50}", false}, {"{'exp':50.9}", false}, {"{}", false}, {"{'exp':null}", false}, {"{'exp':'100'}", false}, {"{'exp':[100]}", false},
			{"{'exp':-100}", false}, {"{'exp':1e300}", false}, {"{'exp':100,'nbf':111}", false}, {"{'exp':100,'nbf':'x'}", false},
			{"{'exp':100,'nbf':[0]}", false}, {"{'exp':100,'nbf':true}", false},
	};
	struct authn_config c;
	struct api_user u;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(authn(JWT(NAMED), &c, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *claims = json(rows[i].claims);

		json_setc(&a, claims, "iss", json_newc(&a, "https://i"));
		json_setc(&a, claims, "aud", json_newc(&a, "me"));
		json_setc(&a, claims, "sub", json_newc(&a, "u"));
		if ((jwt_issuer_user(&c.issuers[0], &a, claims, 50, &u, &e) == 0) != rows[i].good)
			fail_msg("%s is %s", rows[i].claims, rows[i].good ? "refused" : "taken");
	}
}

static void test_authn_refused(void **state)
{
	static const struct {
		const char *config, *why;
	} rows[] = {
			{"{kind: AuthenticationConfiguration}", "this is no AuthenticationConfiguration of apiserver.config.k8s.io/v1"},
			{AUTHN("jwts: []"), "the configuration: unknown field \"jwts\""},
			{AUTHN("jwt: [{issuer: {url: 'http://i', audiences: [me]}, " NAMED "}]"), "jwt[0].issuer.url: Invalid value: \"http://i\""},
			{AUTHN("jwt: [{issuer: {url: 'https://ours', audiences: [me]}, " NAMED "}]"), "that is this server's own issuer"},
			{AUTHN("jwt: [{issuer: {url: 'https://i'}, " NAMED "}]"), "jwt[0].issuer.audiences: Required value"},
			{AUTHN("jwt: [{issuer: {url: 'https://i', audiences: [a, b]}, " NAMED "}]"), "jwt[0].issuer.audienceMatchPolicy: must be MatchAny"},
			{AUTHN("jwt: [{issuer: {url: 'https://i', audiences: [a], discoveryURL: 'https://i'}, " NAMED "}]"), "jwt[0].issuer.discoveryURL"},
			{AUTHN("jwt: [{issuer: {url: 'https://i', audiences: [a], certificateAuthority: x}, " NAMED "}]"), "jwt[0].issuer.certificateAuthority"},
			{AUTHN("jwt: [{" ISSUER ", " NAMED "}, {" ISSUER ", " NAMED "}]"), "jwt[1].issuer.url: Duplicate value: \"https://i\""},
			{JWT("claimMappings: {}"), "jwt[0].claimMappings.username: Required value"},
			{JWT("claimMappings: {username: {claim: sub}}"), "jwt[0].claimMappings.username.prefix: Required value"},
			{JWT("claimMappings: {username: {claim: sub, prefix: '', expression: claims.sub}}"), "claim and expression cannot both be set"},
			{JWT("claimMappings: {username: {prefix: x, expression: claims.sub}}"), "username.prefix: it cannot be set with an expression"},
			{JWT("claimMappings: {username: {expression: claim.sub}}"), "compilation failed: ERROR: <input>:1:1: undeclared reference to 'claim'"},
			{JWT("claimMappings: {username: {expression: claims.email}}"), "claims.email_verified must be looked at"},
			{JWT("claimMappings: {username: {claim: s, prefix: ''}, extra: [{key: team, valueExpression: claims.t}]}"), "extra[0].key: Invalid value"},
			{JWT("claimMappings: {username: {claim: s, prefix: ''}, extra: [{key: a.k8s.io/t, valueExpression: claims.t}]}"), "extra[0].key: Invalid"},
			{JWT("claimValidationRules: [{claim: a, expression: 'true'}], " NAMED), "claimValidationRules[0]: either claim or expression is needed"},
			{JWT("claimValidationRules: [{expression: '1'}], " NAMED), "claimValidationRules[0].expression: Invalid value: \"1\": must evaluate to bool"},
			{JWT("userValidationRules: [{expression: 'user.age > 3'}], " NAMED), "undefined field 'age'"},
			{AUTHN("anonymous: {enabled: false, conditions: [{path: /livez}]}"), "anonymous.conditions: enabled must be true"},
			{AUTHN("anonymous: {enabled: true, conditions: [{paths: /livez}]}"), "anonymous.conditions[0]: unknown field \"paths\""},
			{"][", ""},
	};
	struct authn_config c;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(authn(rows[i].config, &c, &e) < 0);
		if (!strstr(e.text, rows[i].why))
			fail_msg("row %zu: %s", i, e.text);
	}
}

static void test_anonymous(void **state)
{
	struct authn_config c;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(authn(AUTHN("jwt: []"), &c, &e), 0);
	assert_true(authn_config_anonymous(&c, STR("/api")));
	assert_int_equal(authn(AUTHN("anonymous: {enabled: true, conditions: [{path: /livez}, {path: /healthz}]}"), &c, &e), 0);
	assert_true(authn_config_anonymous(&c, STR("/healthz")));
	assert_false(authn_config_anonymous(&c, STR("/healthz/ping")));
	assert_int_equal(authn(AUTHN("anonymous: {enabled: false}"), &c, &e), 0);
	assert_false(authn_config_anonymous(&c, STR("/healthz")));
}

/* --- What he may ------------------------------------------------------------------------------------------------------------- */

#define AUTHZ(list) "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthorizationConfiguration, authorizers: [" list "]}"
#define HOOK_PARTS "timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /x}"
#define HOOK(more) AUTHZ("{type: Webhook, name: w, webhook: {" HOOK_PARTS more "}}")
#define CONDITIONS(list) HOOK(", matchConditionSubjectAccessReviewVersion: v1, matchConditions: [" list "]")

static int authz(const char *text, struct authz_config *ret, struct err *e)
{
	err_clear(e);
	return authz_config_parse(&a, str_from(text), ret, e);
}

static void test_authz(void **state)
{
	struct authz_config c;
	struct err e = ERR_INIT;

	(void)state;
	if (authz(AUTHZ("{type: Webhook, name: w, webhook: {" HOOK_PARTS ", authorizedTTL: 10s, cacheUnauthorizedRequests: false}}, {type: Node, name: node}, "
			"{type: RBAC, name: roles}"), &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.v[0].kind, AUTHZ_WEBHOOK);
	assert_int_equal(c.v[0].timeout_ms, 3000);
	assert_int_equal(c.v[0].yes_ms, 10000);
	assert_int_equal(c.v[0].no_ms, 0);
	assert_true(c.v[0].deny_on_failure);
	assert_int_equal(c.v[2].kind, AUTHZ_RBAC);
}

static void test_authz_refused(void **state)
{
	static const struct {
		const char *config, *why;
	} rows[] = {
			{AUTHZ(""), "authorizers: Required value"},
			{AUTHZ("{type: ABAC, name: a}"), "authorizers[0].type: Unsupported value: \"ABAC\""},
			{AUTHZ("{type: RBAC}"), "authorizers[0].name: Required value"},
			{AUTHZ("{type: RBAC, name: a}, {type: RBAC, name: b}"), "authorizers[1].type: Duplicate value: \"RBAC\""},
			{AUTHZ("{type: RBAC, name: a}, {type: Node, name: a}"), "authorizers[1].name: Duplicate value: \"a\""},
			{AUTHZ("{type: RBAC, name: a, webhook: {}}"), "authorizers[0].webhook: it may only be set with the type Webhook"},
			{AUTHZ("{type: Webhook, name: a}"), "authorizers[0].webhook: Required value"},
			{HOOK(", timeout: 1m"), ""},
			{HOOK(", authorizedTTL: soon"), "authorizers[0].webhook.authorizedTTL: Invalid value: \"soon\""},
			{HOOK(", retries: 3"), "authorizers[0].webhook: unknown field \"retries\""},
			{AUTHZ("{type: Webhook, name: w, webhook: {subjectAccessReviewVersion: v1, failurePolicy: Deny, timeout: 31s, connectionInfo: {type: "
			       "KubeConfigFile, kubeConfigFile: /x}}}"), "authorizers[0].webhook.timeout: it must be given, and be at most 30s"},
			{AUTHZ("{type: Webhook, name: w, webhook: {subjectAccessReviewVersion: v1, failurePolicy: Deny, timeout: 3s, connectionInfo: {type: "
			       "InClusterConfig}}}"), "authorizers[0].webhook.connectionInfo.type: Unsupported value: \"InClusterConfig\""},
			{HOOK(", matchConditions: [{expression: 'true'}]"), "matchConditionSubjectAccessReviewVersion: Required value"},
			{CONDITIONS("{expression: request.userr}"), "undefined field 'userr'"},
			{CONDITIONS("{expression: request.user}"), "must evaluate to bool"},
	};
	struct authz_config c;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(authz(rows[i].config, &c, &e) < 0);
		if (!strstr(e.text, rows[i].why))
			fail_msg("row %zu: %s", i, e.text);
	}
}

static void test_conditions(void **state)
{
	static const struct {
		const char *conditions, *spec;
		enum authz_match m;
	} rows[] = {
			{"{expression: has(request.resourceAttributes)}, {expression: \"request.resourceAttributes.namespace == 'kube-system'\"}",
					"{'user':'u','resourceAttributes':{'namespace':'kube-system'}}", AUTHZ_MATCHES},
			{"{expression: \"request.resourceAttributes.namespace == ''\"}", "{'user':'u','resourceAttributes':{'verb':'get'}}", AUTHZ_MATCHES},
			{"{expression: \"!('system:serviceaccounts' in request.groups)\"}", "{'user':'u','groups':['system:serviceaccounts']}", AUTHZ_DOES_NOT},
			{"{expression: \"!('x' in request.groups)\"}", "{'user':'u'}", AUTHZ_MATCHES},
			{"{expression: \"request.resourceAttributes.verb == 'get'\"}", "{'user':'u','nonResourceAttributes':{'path':'/'}}", AUTHZ_CANNOT_TELL},
			/* A no settles it. */
			{"{expression: \"request.resourceAttributes.verb == 'get'\"}, {expression: \"request.user == 'v'\"}",
					"{'user':'u','nonResourceAttributes':{'path':'/'}}", AUTHZ_DOES_NOT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *text = arena_printf(&a, "%s%s%s", "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthorizationConfiguration, authorizers: [{type: "
				"Webhook, name: w, webhook: {" HOOK_PARTS ", matchConditionSubjectAccessReviewVersion: v1, matchConditions: [", rows[i].conditions,
				"]}}]}");
		struct authz_config c;
		struct err e = ERR_INIT;
		struct str why;

		if (authz(text, &c, &e) < 0)
			fail_msg("row %zu: %s", i, e.text);
		if (authz_conditions(&a, &c.v[0], json(rows[i].spec), &why) != rows[i].m)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			with_arena(test_users),
			with_arena(test_times),
			with_arena(test_authn_refused),
			with_arena(test_anonymous),
			with_arena(test_authz),
			with_arena(test_authz_refused),
			with_arena(test_conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
