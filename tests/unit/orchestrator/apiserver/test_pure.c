/* What of the API server needs no server: paths and queries, tokens, stored bytes, transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/buf.h"
#include "io/jws.h"
#include "io/x509.h"
#include "base/util.h"
#include "orchestrator/apiserver/attrs.h"
#include "orchestrator/apiserver/parent_cache.h"
#include "orchestrator/apiserver/proxy_target.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/txn.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "tests/lib/test_arena.h"

static void assert_str(struct str got, const char *want)
{
	assert_string_equal(arena_cstr(&a, got), want);
}

static void test_attrs(void **state)
{
	static const struct {
		const char *method, *target, *verb, *group, *resource, *ns, *name, *sub;
		bool is_resource;
	} rows[] = {
			{"GET", "/api/v1/pods", "list", "", "pods", "", "", "", true},
			{"GET", "/api/v1/pods?watch=1", "watch", "", "pods", "", "", "", true},
			{"GET", "/api/v1/pods?watch=false", "list", "", "pods", "", "", "", true},
			{"GET", "/api/v1/namespaces/d/pods/x", "get", "", "pods", "d", "x", "", true},
			{"GET", "/api/v1/namespaces/d/pods/x/log?follow=true", "get", "", "pods", "d", "x", "log", true},
			{"POST", "/api/v1/namespaces/d/pods/x/binding", "create", "", "pods", "d", "x", "binding", true},
			{"GET", "/api/v1/namespaces/d", "get", "", "namespaces", "d", "d", "", true},
			{"PUT", "/api/v1/namespaces/d/finalize", "update", "", "namespaces", "d", "d", "finalize", true},
			{"PATCH", "/apis/apps/v1/namespaces/d/deployments/w/scale", "patch", "apps", "deployments", "d", "w",
					"scale", true},
			{"DELETE", "/apis/apps/v1/namespaces/d/deployments", "deletecollection", "apps", "deployments", "d",
					"", "", true},
			{"GET", "/api/v1/watch/namespaces/d/pods", "watch", "", "pods", "d", "", "", true},
			{"GET", "/api/v1/pods?fieldSelector=metadata.name%3Dq", "list", "", "pods", "", "q", "", true},
			{"GET", "/apis/apps/v1", "get", "", "", "", "", "", false},
			{"GET", "/healthz", "get", "", "", "", "", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct api_query q;
		struct api_attrs at;
		struct str path;

		assert_int_equal(api_target_parse(&a, str_from(rows[i].target), &path, &q, NULL), 0);
		api_attrs_parse(&a, str_from(rows[i].method), path, &q, &at);
		assert_int_equal(at.is_resource, rows[i].is_resource);
		assert_string_equal(api_verb_name(at.verb), rows[i].verb);
		if (!at.is_resource)
			continue;
		assert_str(at.group, rows[i].group);
		assert_str(at.resource, rows[i].resource);
		assert_str(at.ns, rows[i].ns);
		assert_str(at.name, rows[i].name);
		assert_str(at.sub, rows[i].sub);
	}
}

static void test_target_refused(void **state)
{
	static const char *const bad[] = {"", "api", "/a%", "/a%2", "/a%zz", "/a%00b", "/x?a=%f"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct api_query q;
		struct str path;
		struct err e = ERR_INIT;

		assert_int_equal(api_target_parse(&a, str_from(bad[i]), &path, &q, &e), -ERR_BAD_REQUEST);
	}
}

static void test_options(void **state)
{
	struct api_query q;
	struct api_options o;
	struct err e = ERR_INIT;
	struct str path;

	(void)state;
	assert_int_equal(api_target_parse(&a, STR("/x?limit=5&labelSelector=a%3Db+c&dryRun=All&fieldValidation=Strict"),
					  &path, &q, &e),
			0);
	assert_int_equal(api_options_parse(&q, &o, &e), 0);
	assert_int_equal(o.limit, 5);
	assert_true(o.dry_run);
	assert_int_equal(o.field_validation, FIELDS_STRICT);
	assert_str(o.label_selector, "a=b c");
	assert_int_equal(o.grace_period_s, -1);
	assert_int_equal(api_target_parse(&a, STR("/x?limit=a"), &path, &q, &e), 0);
	assert_int_equal(api_options_parse(&q, &o, &e), -ERR_BAD_REQUEST);
	assert_int_equal(api_target_parse(&a, STR("/x?dryRun=Some"), &path, &q, &e), 0);
	/* Nothing that asks for a trial, however badly, is done in earnest. */
	assert_int_equal(api_options_parse(&q, &o, &e), 0);
	assert_true(o.dry_run);
	assert_str(o.bad_dry_run, "Some");
}

static void test_base64url(void **state)
{
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"\xff\xfe", "__4"}};
	struct str out;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		assert_str(jws_base64url(&a, str_from(pairs[i][0])), pairs[i][1]);
		assert_true(jws_base64url_decode(&a, str_from(pairs[i][1]), &out));
		assert_str(out, pairs[i][0]);
	}
	assert_false(jws_base64url_decode(&a, STR("A"), &out));
	assert_false(jws_base64url_decode(&a, STR("Zg=="), &out));
}

static void test_jwt(void **state)
{
	struct x509_key *key, *other;
	struct json *claims = json_new_object(&a), *got;
	struct err e = ERR_INIT;
	struct str token;

	(void)state;
	assert_int_equal(x509_key_new(&key, &e), 0);
	assert_int_equal(x509_key_new(&other, &e), 0);
	json_setc(&a, claims, "sub", json_newc(&a, "x"));
	assert_int_equal(jwt_sign(&a, key, claims, &token, &e), 0);
	assert_int_equal(jwt_verify(&a, key, token, &got, &e), 0);
	assert_str(json_strp(got, "sub"), "x");
	assert_int_equal(jwt_verify(&a, other, token, &got, &e), -ERR_UNAUTHORIZED);
	for (size_t i = 0; i < token.n; i += 7) {
		char *copy = arena_cstr(&a, token);

		copy[i] = copy[i] == 'A' ? 'B' : 'A';
		if (jwt_verify(&a, key, str_from(copy), &got, &e) == 0)
			fail_msg("a token with byte %zu changed was accepted", i);
	}
	assert_int_equal(jwt_verify(&a, key, STR("a.b"), &got, &e), -ERR_UNAUTHORIZED);
	assert_int_equal(jwt_verify(&a, key, STR("..."), &got, &e), -ERR_UNAUTHORIZED);
	x509_key_free(key);
	x509_key_free(other);
}

static void test_storage_rv(void **state)
{
	const struct resource *res = resource_find("", "v1", "configmaps");
	static const char text[] = "{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\",\"labels\":{\"a\":\"b\"}},\"data\":{\"k\":\"v\"}}";
	struct buf raw = BUF_INIT, with_rv = BUF_INIT, value = BUF_INIT;
	struct codec_errs errs;
	struct storage_meta m;
	struct json *doc, *back;
	struct str got;

	(void)state;
	assert_int_equal(json_parse(&a, str_from(text), NULL, &doc, NULL), 0);
	codec_errs_init(&errs, &a);
	codec_to_wire(&raw, resource_type(res), doc, &errs);
	assert_int_equal(errs.n, 0);
	/* What a dry run would make has no version. */
	storage_with_rv(&with_rv, buf_str(&raw), 0);
	assert_true(str_eq(buf_str(&with_rv), buf_str(&raw)));
	buf_clear(&with_rv);
	storage_with_rv(&with_rv, buf_str(&raw), 42);
	assert_int_equal(codec_wire_to_dom(&a, resource_type(res), buf_str(&with_rv), NULL, &back, NULL), 0);
	assert_str(json_strp(back, "metadata.resourceVersion"), "42");
	assert_str(json_strp(back, "metadata.name"), "n");
	assert_str(json_strp(back, "data.k"), "v");
	assert_true(storage_meta(buf_str(&raw), &m));
	assert_str(m.name, "n");
	assert_str(m.ns, "s");
	assert_true(storage_label(m.bytes, STR("a"), &got));
	assert_str(got, "b");
	assert_false(storage_label(m.bytes, STR("b"), &got));
	codec_wrap(&value, "v1", "ConfigMap", buf_str(&raw));
	assert_true(storage_unwrap(buf_str(&value), &got));
	assert_true(str_eq(got, buf_str(&raw)));
	assert_false(storage_unwrap(STR("rubbish"), &got));
	assert_str(storage_key(&a, res, STR("s"), STR("n")), "/registry/configmaps/s/n");
	assert_str(storage_end(&a, storage_prefix(&a, res, STR("s"))), "/registry/configmaps/s0");
	buf_fini(&raw);
	buf_fini(&with_rv);
	buf_fini(&value);
}

static void test_txn_response(void **state)
{
	(void)state;
	assert_true(txn_succeeded(STR("\x0a\x02\x18\x05\x10\x01")));
	assert_false(txn_succeeded(STR("\x0a\x02\x18\x05")));
	assert_false(txn_succeeded(STR("")));
}

static struct json *doc(const char *text)
{
	struct json *j = NULL;
	struct err e = ERR_INIT;

	if (json_parse(&a, str_from(text), NULL, &j, &e) < 0)
		fail_msg("%s", e.text);
	return j;
}

static void test_proxy_names(void **state)
{
	static const struct {
		const char *text, *scheme, *name, *port;
	} rows[] = {
			{"web", "", "web", ""},
			{"web:80", "", "web", "80"},
			{"https:web:443", "https", "web", "443"},
			{"http:web:", "http", "web", ""},
			{":web:http", "", "web", "http"},
			{"ftp:web:1", NULL, NULL, NULL},
			{"a:b:c:d", NULL, NULL, NULL},
			{":80", NULL, NULL, NULL},
			{"", NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct proxy_name n;

		assert_int_equal(proxy_name_parse(str_from(rows[i].text), &n), rows[i].name != NULL);
		if (!rows[i].name)
			continue;
		assert_true(str_eqc(n.scheme, rows[i].scheme) && str_eqc(n.name, rows[i].name) && str_eqc(n.port, rows[i].port));
	}
}

static void test_proxy_targets(void **state)
{
	static const char *const allowed[] = {"10.0.0.1", "192.168.1.1", "fd00::1", "2001:db8::1"};
	static const char *const refused[] = {"127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "::", "fe80::1", "ff02::1",
			"::ffff:127.0.0.1", "localhost", ""};
	struct json *service = doc("{\"spec\":{\"ports\":[{\"name\":\"a\",\"port\":80},{\"name\":\"b\",\"port\":443}]}}");
	struct json *endpoints = doc("{\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}],\"ports\":[{\"name\":\"b\",\"port\":8443},"
				     "{\"name\":\"a\",\"port\":8080}]}]}");
	struct proxy_target t;
	struct proxy_name n;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		assert_true(proxy_address_allowed(str_from(allowed[i])));
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_false(proxy_address_allowed(str_from(refused[i])));
	proxy_name_parse(STR("https:s:443"), &n);
	assert_int_equal(proxy_service_target(&a, &n, service, endpoints, 1, &t, &e), 0);
	assert_string_equal(t.address, "10.0.0.2:8443");
	assert_true(t.tls);
	proxy_name_parse(STR("s"), &n);
	assert_int_equal(proxy_service_target(&a, &n, service, endpoints, 0, &t, &e), 0);
	assert_string_equal(t.address, "10.0.0.1:8080");
	assert_false(t.tls);
	proxy_name_parse(STR("s:c"), &n);
	assert_true(proxy_service_target(&a, &n, service, endpoints, 0, &t, &e) < 0);
	proxy_name_parse(STR("p"), &n);
	assert_int_equal(proxy_pod_target(&a, &n, doc("{\"spec\":{\"containers\":[{},{\"ports\":[{\"containerPort\":81}]}]},\"status\":{\"podIP\":"
						      "\"fd00::5\"}}"), &t, &e), 0);
	assert_string_equal(t.address, "[fd00::5]:81");
	proxy_name_parse(STR("p:0"), &n);
	assert_true(proxy_pod_target(&a, &n, doc("{\"status\":{\"podIP\":\"10.0.0.1\"}}"), &t, &e) < 0);
	assert_true(str_eqc(proxy_location(&a, STR("/x?y"), "10.0.0.1:80", STR("/p/proxy")), "/p/proxy/x?y"));
	assert_true(str_eqc(proxy_location(&a, STR("http://10.0.0.1:80/x"), "10.0.0.1:80", STR("/p/proxy")), "/p/proxy/x"));
	assert_null(proxy_location(&a, STR("https://example.com/x"), "10.0.0.1:80", STR("/p/proxy")).p);
	assert_null(proxy_location(&a, STR("//example.com/x"), "10.0.0.1:80", STR("/p/proxy")).p);
	assert_null(proxy_location(&a, STR("x"), "10.0.0.1:80", STR("/p/proxy")).p);
}

static void test_parent_cache(void **state _unused_)
{
	struct parent_cache c = {0};
	char longest[PARENT_CACHE_NAME + 1];
	uint64_t v = 0;

	assert_false(parent_cache_get(&c, STR("a"), &v));
	assert_false(parent_cache_get(&c, STR(""), &v));
	parent_cache_put(&c, STR("a"), 5);
	assert_true(parent_cache_get(&c, STR("a"), &v) && v == 5);
	parent_cache_put(&c, STR("a"), 7);
	assert_true(parent_cache_get(&c, STR("a"), &v) && v == 7);
	parent_cache_put(&c, STR("a"), 0);
	assert_false(parent_cache_get(&c, STR("a"), &v));
	memset(longest, 'x', sizeof(longest));
	parent_cache_put(&c, str_of(longest, sizeof(longest)), 1);
	assert_false(parent_cache_get(&c, str_of(longest, sizeof(longest)), &v));
	parent_cache_put(&c, str_of(longest, PARENT_CACHE_NAME), 1);
	assert_true(parent_cache_get(&c, str_of(longest, PARENT_CACHE_NAME), &v));
	/* Many names share places: one that is found is right, and one that is forgotten takes no other with it. */
	for (unsigned i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%u", i);
		parent_cache_put(&c, str_from(name), i + 1);
		assert_true(parent_cache_get(&c, str_from(name), &v) && v == i + 1);
		parent_cache_put(&c, STR("n0"), 0);
		assert_int_equal(parent_cache_get(&c, str_from(name), &v), i > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			with_arena(test_attrs),
			cmocka_unit_test(test_parent_cache),
			with_arena(test_proxy_names),
			with_arena(test_proxy_targets),
			with_arena(test_target_refused),
			with_arena(test_options),
			with_arena(test_base64url),
			with_arena(test_jwt),
			with_arena(test_storage_rv),
			with_arena(test_txn_response),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
