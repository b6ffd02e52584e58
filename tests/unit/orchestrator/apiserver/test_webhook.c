/* Admission webhooks, what is decided: whom a rule concerns, where a webhook is, what its answer says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/webhook.h"
#include "tests/unit/orchestrator/apiserver/hook_rig.h"
#include "tests/unit/orchestrator/apiserver/words.h"

static bool matches(const char *rule, struct webhook_target t)
{
	struct webhook *h;
	size_t n;

	webhook_compile(&rig_arena, parse(arena_printf(&rig_arena, "{'webhooks':[{'rules':[%s]}]}", rule)), &h, &n);
	assert_int_equal(n, 1);
	return webhook_rules_match(&h->match, &t);
}

#define TARGET(o, g, v, r, s, ns)                                                                                                 \
	((struct webhook_target){.op = WEBHOOK_##o, .group = STR(g), .version = STR(v), .resource = STR(r), .sub = STR(s), .namespaced = ns})

static void test_rules(void **state)
{
	static const char *pods = RULE("'CREATE','UPDATE'", "''", "'v1'", "'pods'", "*");

	(void)state;
	assert_true(matches(pods, TARGET(CREATE, "", "v1", "pods", "", true)));
	assert_true(matches(pods, TARGET(UPDATE, "", "v1", "pods", "", true)));
	assert_false(matches(pods, TARGET(DELETE, "", "v1", "pods", "", true)));
	assert_false(matches(pods, TARGET(CREATE, "", "v1", "pods", "status", true)));
	assert_false(matches(pods, TARGET(CREATE, "x", "v1", "pods", "", true)));
	assert_false(matches(pods, TARGET(CREATE, "", "v2", "pods", "", true)));
	assert_true(matches(RULE("'*'", "'*'", "'*'", "'*'", "*"), TARGET(DELETE, "apps", "v1", "deployments", "", true)));
	assert_false(matches(RULE("'*'", "'*'", "'*'", "'*'", "*"), TARGET(UPDATE, "apps", "v1", "deployments", "scale", true)));
	assert_true(matches(RULE("'*'", "'*'", "'*'", "'*/*'", "*"), TARGET(UPDATE, "apps", "v1", "deployments", "scale", true)));
	assert_true(matches(RULE("'*'", "'*'", "'*'", "'*/scale'", "*"), TARGET(UPDATE, "apps", "v1", "deployments", "scale", true)));
	assert_true(matches(RULE("'*'", "'*'", "'*'", "'pods/*'", "*"), TARGET(UPDATE, "", "v1", "pods", "status", true)));
	assert_false(matches(RULE("'*'", "'*'", "'*'", "'pods/*'", "*"), TARGET(UPDATE, "", "v1", "nodes", "status", false)));
	assert_false(matches(RULE("'*'", "'*'", "'*'", "'*'", "Cluster"), TARGET(CREATE, "", "v1", "pods", "", true)));
	assert_true(matches(RULE("'*'", "'*'", "'*'", "'*'", "Cluster"), TARGET(CREATE, "", "v1", "namespaces", "", false)));
	assert_false(matches(RULE("'*'", "'*'", "'*'", "'*'", "Namespaced"), TARGET(CREATE, "", "v1", "namespaces", "", false)));
}

static void test_selectors(void **state)
{
	struct webhook *h;
	size_t n;

	(void)state;
	webhook_compile(&rig_arena, parse("{'webhooks':[{'objectSelector':{'matchLabels':{'a':'b'}}},{}]}"), &h, &n);
	assert_int_equal(n, 2);
	assert_true(webhook_objects_match(&h->match, parse("{'metadata':{'labels':{'a':'b'}}}"), NULL));
	assert_false(webhook_objects_match(&h->match, parse("{'metadata':{'labels':{'a':'c'}}}"), NULL));
	assert_true(webhook_objects_match(&h->match, parse("{'metadata':{}}"), parse("{'metadata':{'labels':{'a':'b'}}}")));
	assert_false(webhook_objects_match(&h->match, NULL, NULL));
	assert_true(webhook_objects_match(&h[1].match, parse("{}"), NULL));
}

static void test_urls(void **state)
{
	static const struct {
		const char *url, *address, *host, *path;
	} rows[] = {
			{"https://a.b/c/d", "a.b:443", "a.b", "/c/d"},
			{"https://a.b:8443", "a.b:8443", "a.b", "/"},
			{"https://[::1]:99/x", "[::1]:99", "::1", "/x"},
			{"https://[::1]/x", "[::1]:443", "::1", "/x"},
	};
	const char *address, *host;
	struct str path;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(hook_url_parse(&rig_arena, str_from(rows[i].url), &address, &host, &path));
		assert_string_equal(address, rows[i].address);
		assert_string_equal(host, rows[i].host);
		assert_string_equal(arena_cstr(&rig_arena, path), rows[i].path);
	}
	assert_false(hook_url_parse(&rig_arena, STR("http://a"), &address, &host, &path));
	assert_false(hook_url_parse(&rig_arena, STR("https://"), &address, &host, &path));
}

#define ANSWER(response) "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','response':" response "}"

static void test_answers(void **state)
{
	static const struct {
		bool mutating;
		const char *body, *error; /* "": fine */
	} rows[] = {
			{true, ANSWER("{'uid':'u','allowed':true}"), ""},
			{true, ANSWER("{'uid':'u','allowed':true,'patchType':'JSONPatch','patch':'W10='}"), ""},
			{true, ANSWER("{'uid':'u','patch':'W10='}"), "webhook returned response.patch but not response.patchType"},
			{true, ANSWER("{'uid':'u','patchType':'JSONPatch'}"), "webhook returned response.patchType but not response.patch"},
			{true, ANSWER("{'uid':'u','patchType':'Merge','patch':'W10='}"), "unsupported patch type \"Merge\""},
			{true, ANSWER("{'uid':'u','patchType':'JSONPatch','patch':'!'}"), "response.patch is no base64"},
			{true, ANSWER("{'uid':'u','patchType':'JSONPatch','patch':'e30='}"), "response.patch is no list of operations"},
			{false, ANSWER("{'uid':'u','patch':'W10='}"), "validating webhook may not return response.patch"},
			{false, ANSWER("{'uid':'v'}"), "expected response.uid=\"u\", got \"v\""},
			{false, ANSWER("null"), "webhook response was absent"},
			{false, ANSWER("{'uid':'u','allowed':'yes'}"), "response.allowed must be true or false"},
			{false, "{'apiVersion':'v1','kind':'Pod'}",
					"expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod"},
	};
	struct webhook_answer ans;
	struct str message;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;

		webhook_answer_read(&rig_arena, str_from(quoted(rows[i].body)), false, rows[i].mutating, STR("u"), &ans, &e);
		assert_string_equal(e.text, rows[i].error);
	}
	assert_int_equal(webhook_refusal(&rig_arena, STR("w"), NULL, &message), 400);
	assert_string_equal(arena_cstr(&rig_arena, message), "admission webhook \"w\" denied the request without explanation");
	assert_int_equal(webhook_refusal(&rig_arena, STR("w"), parse("{'code':200,'reason':'R'}"), &message), 400);
	assert_string_equal(arena_cstr(&rig_arena, message), "admission webhook \"w\" denied the request: R");
	assert_int_equal(webhook_refusal(&rig_arena, STR("w"), parse("{'code':418,'message':'m','reason':'R'}"), &message), 418);
	assert_string_equal(arena_cstr(&rig_arena, message), "admission webhook \"w\" denied the request: m");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_rules),
			cmocka_unit_test(test_selectors),
			cmocka_unit_test(test_urls),
			cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, with_arena, without_arena);
}
