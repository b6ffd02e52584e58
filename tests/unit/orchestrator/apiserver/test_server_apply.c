/* Server-side apply as clients see it: who owns which field, of objects and of their subresources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/orchestrator/apiserver/words.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"

/* The entry of a manager, as text: its operation, subresource and fields. */
static const char *managed(const struct json *o, const char *who)
{
	JSON_ITEMS (it, json_getp(o, "metadata.managedFields"))
		if (json_eqc(json_getc(it, "manager"), who))
			return arena_printf(&rig_arena, "%s %s %s", json_cstr(json_getc(it, "operation")),
					json_cstr(json_getc(it, "subresource")), text(json_getc(it, "fieldsV1")));
	return "";
}

#define CONFIG(data) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"ssa\"},\"data\":{" data "}}"

static void test_apply(void **state)
{
	struct json *o, *again, *causes;

	(void)state;
	/* Made by the first apply; the same again is no new version. */
	o = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG("\"a\":\"1\",\"b\":\"1\""), 201);
	assert_string_equal(managed(o, "one"), "Apply  {\"f:data\":{\"f:a\":{},\"f:b\":{}}}");
	again = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG("\"a\":\"1\",\"b\":\"1\""), 200);
	is(again, "metadata.resourceVersion", json_cstr(json_getp(o, "metadata.resourceVersion")));
	o = patch(CM "/ssa?fieldManager=two", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {a: '2'}", 409);
	is(o, "message", "Apply failed with 1 conflict: conflict with \"one\": .data.a");
	is(o, "reason", "Conflict");
	causes = json_at(json_getp(o, "details.causes"), 0);
	is(causes, "reason", "FieldManagerConflict");
	is(causes, "field", ".data.a");
	is(causes, "message", "conflict with \"one\"");
	o = patch(CM "/ssa?fieldManager=two&force=true", APPLY, CONFIG("\"a\":\"2\""), 200);
	assert_string_equal(managed(o, "one"), "Apply  {\"f:data\":{\"f:b\":{}}}");
	/* What nobody names any more goes. */
	o = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG(""), 200);
	assert_string_equal(text(json_getc(o, "data")), "{\"a\":\"2\"}");
	/* Other writes are updates by their user agent, and take what they change. */
	rig_header("User-Agent", "robot/1.0 (linux)");
	o = patch(CM "/ssa", MERGE, "{\"data\":{\"a\":\"3\"}}", 200);
	assert_string_equal(managed(o, "robot"), "Update  {\"f:data\":{\"f:a\":{}}}");
	assert_string_equal(managed(o, "two"), "");
	o = patch(CM "/ssa", MERGE, "{\"metadata\":{\"managedFields\":[{}]}}", 200);
	assert_null(json_getp(o, "metadata.managedFields"));
	o = patch(CM "/ssa?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"wrong\":1}", 500);
	is(o, "message", "failed to create typed patch object (/; /v1, Kind=ConfigMap): .wrong: field not declared in schema");
	is(patch(CM "/ssa?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}", 400), "reason", "BadRequest");
	/* A name that is not there is made, but not with a uid. */
	patch(CM "/ssa2?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"uid\":\"u\"}}", 409);
	patch(CM "/ssa?fieldManager=x&dryRun=All", APPLY, CONFIG("\"z\":\"1\""), 200);
	assert_null(json_getp(rig_call("GET", CM "/ssa", NULL, 200), "data.z"));
	rig_call("DELETE", CM "/ssa", NULL, 200);
}

static void test_apply_subresources(void **state)
{
	static const char body[] = "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"ssa\"},\"spec\":{\"replicas\":1,"
				   "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
				   "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}";
	struct json *o;

	(void)state;
	patch(DEPLOY "/ssa?fieldManager=one", APPLY, body, 201);
	o = patch(DEPLOY "/ssa/scale?fieldManager=hpa", APPLY,
			"{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"metadata\":{\"name\":\"ssa\"},\"spec\":{\"replicas\":4}}", 409);
	is(o, "message", "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
	patch(DEPLOY "/ssa/scale?fieldManager=hpa", MERGE, "{\"spec\":{\"replicas\":4}}", 200);
	o = rig_call("GET", DEPLOY "/ssa", NULL, 200);
	assert_string_equal(managed(o, "hpa"), "Update scale {\"f:spec\":{\"f:replicas\":{}}}");
	/* Who applies the status does not get the specification, and the other way round. */
	o = patch(DEPLOY "/ssa/status?fieldManager=ctl", APPLY,
			"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"spec\":{\"replicas\":9},\"status\":{\"replicas\":4}}", 200);
	assert_string_equal(managed(o, "ctl"), "Apply status {\"f:status\":{\"f:replicas\":{}}}");
	assert_string_equal(text(json_getp(o, "spec.replicas")), "4");
	assert_string_equal(text(json_getp(o, "status.replicas")), "4");
	patch(DEPLOY "/none/status?fieldManager=ctl", APPLY, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}", 404);
	rig_call("DELETE", DEPLOY "/ssa?propagationPolicy=Background", NULL, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_apply),
			cmocka_unit_test(test_apply_subresources),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
