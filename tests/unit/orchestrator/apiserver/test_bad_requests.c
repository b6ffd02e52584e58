/* Requests that are wrong, and those that are made to hurt: each gets its error, none takes much memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "base/util.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"

static void test_bad_input(void **state)
{
	struct json *o;
	size_t n = (3u << 20) + 10;
	char *big = xmalloc(n + 1);

	(void)state;
	rig_call("POST", CM, "{\"metadata\":", 400);
	rig_call("POST", CM, "[]", 400);
	o = rig_call("POST", CM, "{\"metadata\":{\"name\":5}}", 400);
	assert_true(str_search(json_strp(o, "message"), STR("metadata.name")) >= 0);
	o = rig_call("POST", CM "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"s\"},\"foo\":1}", 400);
	assert_true(str_search(json_strp(o, "message"), STR("unknown field \"foo\"")) >= 0);
	rig_call("POST", CM, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"}}", 400);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"Not_a_name\"}}", 422);
	rig_call("POST", CM, "{}", 422);
	rig_call("POST", "/api/v1/namespaces/none/configmaps", "{\"metadata\":{\"name\":\"s\"}}", 404);
	rig_type("application/vnd.kubernetes.protobuf");
	rig_call("POST", CM, "k8s", 400);
	rig_type("text/csv");
	rig_call("POST", CM, "a,b", 415);
	is(patch(CM "/a", APPLY, "a: b", 422), "message",
			"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
	patch(CM "/a?fieldManager=x", APPLY, "a: b", 400);
	patch(CM "/a?fieldManager=x", APPLY, "a: [", 400);
	patch(CM "/a?force=true", MERGE, "{}", 422);
	memset(big, 'x', n);
	big[n] = '\0';
	is(rig_call("POST", CM, big, 413), "reason", "RequestEntityTooLarge");
	/* A stranger's is not even read. */
	rig_as(NULL);
	is(rig_call("POST", CM, big, 403), "reason", "Forbidden");
	rig_as("admin");
	free(big);
	rig_call("GET", CM "?labelSelector=a+b", NULL, 400);
	rig_call("GET", CM "?fieldSelector=spec.x%3D1", NULL, 400);
	rig_call("GET", CM "?continue=zz", NULL, 400);
	rig_call("GET", "/api/v1/unknown", NULL, 404);
	rig_call("GET", "/unknown", NULL, 404);
	rig_call("POST", CM "/x", "{}", 405);
	rig_header("Accept", "image/png");
	rig_call("GET", CM, NULL, 406);
}

static size_t resident_mb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long total = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &total, &resident), 2);
	fclose(f);
	return resident * 4096 / 1000000;
}

/* Requests made to hurt: each gets an error, none takes much memory. */
static void test_hostile(void **state)
{
	size_t before = resident_mb();

	(void)state;
	for (int i = 0; i < 5; i++) {
		rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":", "{\"a\":", 100000, "1"), 400);
		rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":", "[", 100000, ""), 400);
		/* So many values, each a tree node of its own. */
		rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":[", "0,", 1400000, "0]}"), 413);
		patch(CM "/h?fieldManager=x", APPLY, repeat("a: ", "[", 100000, ""), 400);
		patch(CM "/h?fieldManager=x", APPLY, repeat("a: &a [x]\nb: [", "*a,", 100000, "*a]\n"), 400);
		patch(CM "/h", MERGE, repeat("{\"data\":", "{\"a\":", 100000, "1"), 400);
		rig_type("application/vnd.kubernetes.protobuf");
		rig_call("POST", CM, repeat("k8s", "\x0a\xff\xff\xff\x7f", 100000, ""), 400);
		/* A bomb stays packed. */
		rig_header("Content-Encoding", "gzip");
		is(rig_call("POST", CM, repeat("", "\x1f\x8b", 1000, ""), 415), "reason", "UnsupportedMediaType");
		rig_header("X-Large", repeat("", "x", 70000, ""));
		rig_call("GET", CM, NULL, 431);
		rig_call("GET", repeat(CM "?labelSelector=", "a%3Db,", 8000, "z"), NULL, 0);
	}
	/* An object whose managers' fields are a million paths is still only an object. */
	rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\",\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"v1\","
			      "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":", "{\"f:a\":", 600, "1"), 400);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"h\"}}", 201);
	patch(CM "/h", "application/json-patch+json", repeat("[", "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/data\"},", 1000,
			"{\"op\":\"test\",\"path\":\"\",\"value\":1}]"), 0);
	rig_call("DELETE", CM "/h", NULL, 200);
#if WITH_ASAN
	return; /* what was freed stays for a while */
#endif
	if (resident_mb() > before + 250)
		fail_msg("resident memory grew from %zu to %zu MB", before, resident_mb());
}

/* The answer is the list of what was selected, as it was; of a dry run too. */
/* Options with values that are none, and documents that cannot be: upstream's codes and words. */
static void test_wrong_options(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int want;
		const char *message;
	} rows[] = {
			{"POST", CM "?dryRun=Some", "{\"metadata\":{\"name\":\"wo\"}}", 422,
					"CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
			{"PUT", CM "/wo?fieldValidation=No", "{}", 422,
					"UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"No\": supported values: \"\", "
					"\"Ignore\", \"Strict\", \"Warn\""},
			{"DELETE", CM "/wo?dryRun=Some", NULL, 422,
					"DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
			{"DELETE", CM "/wo", "{\"dryRun\":[\"None\"]}", 422,
					"DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"None\"}: supported values: \"All\""},
			{"DELETE", CM "?dryRun=Some", NULL, 422, NULL},
			{"POST", CM, "{bad", 400,
					"the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid "
					"character 'b' looking for beginning of object key string ({bad)"},
			{"POST", CM, "bad", 400, NULL},
			{"GET", CM "?limit=abc", NULL, 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
			{"GET", CM "?limit=99999999999999999999", NULL, 400, "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"},
			{"PUT", CM, "{}", 405, NULL},
			{"PATCH", CM, "{}", 405, NULL},
			{"POST", CM "/wo", "{}", 405, NULL},
	};
	struct json *o;

	(void)state;
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"wo\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		o = rig_call(rows[i].method, rows[i].path, rows[i].body, rows[i].want);
		if (rows[i].message)
			is(o, "message", rows[i].message);
	}
	o = rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{\"spec\":{\"expirationSeconds\":5}}", 422);
	is(o, "message", "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less "
			"than 10 minutes");
	/* A GET has no such options. */
	rig_call("GET", CM "/wo?dryRun=Some", NULL, 200);
	/* A patch that leaves something wrong says so of itself. */
	o = patch(CM "/wo?fieldValidation=Strict", STRATEGIC, "{\"foo\":{\"a\":1}}", 422);
	is(o, "message", " \"\" is invalid: patch: Invalid value: \"map[foo:map[a:1]]\": strict decoding error: unknown field \"foo\"");
	is(json_at(json_getp(o, "details.causes"), 0), "field", "patch");
	o = patch(CM "/wo?fieldValidation=Strict", MERGE, "{\"foo\":1}", 422);
	assert_true(str_has_prefix(json_strp(o, "message"), STR(" \"\" is invalid: patch: Invalid value: \"{\\\"kind\\\":\\\"ConfigMap\\\"")));
	patch(CM "/wo", MERGE, "{\"data\":3}", 422);
	rig_call("DELETE", CM "/wo", NULL, 200);
	rig_call("GET", "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dx,spec.driver%3Dy", NULL, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_bad_input),
			cmocka_unit_test(test_hostile),
			cmocka_unit_test(test_wrong_options),
	};

	return cmocka_run_group_tests(tests, with_account, without_server);
}
