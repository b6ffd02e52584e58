/* The API server as its clients see it over TLS: the life of objects, and what it says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"

static void test_create_read_update(void **state)
{
	struct json *o, *again;

	(void)state;
	o = rig_call("POST", CM, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 201);
	is(o, "kind", "ConfigMap");
	is(o, "data.k", "v");
	assert_int_equal(json_strp(o, "metadata.uid").n, 36);
	is(rig_call("POST", CM, "{\"metadata\":{\"name\":\"a\"}}", 409), "reason", "AlreadyExists");
	json_setp(&rig_arena, o, "data.k", json_newc(&rig_arena, "w"));
	again = rig_call("PUT", CM "/a", text(o), 200);
	is(again, "data.k", "w");
	o = rig_call("PUT", CM "/a", text(o), 409);
	is(o, "reason", "Conflict");
	is(o, "message", "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your "
			 "changes to the latest version and try again");
	/* No change, no new version. */
	is(rig_call("PUT", CM "/a", text(again), 200), "metadata.resourceVersion",
			json_cstr(json_getp(again, "metadata.resourceVersion")));
	o = patch(CM "/a", MERGE, "{\"data\":{\"k\":null,\"x\":\"y\"}}", 200);
	is(o, "data.x", "y");
	assert_null(json_getp(o, "data.k"));
	patch(CM "/a", "application/json-patch+json", "[{\"op\":\"replace\",\"path\":\"/data/x\",\"value\":\"z\"}]", 200);
	patch(CM "/a", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409);
	o = patch(CM "/a", "application/json-patch+json", "[{\"op\":\"test\",\"path\":\"/data/x\",\"value\":\"no\"}]", 422);
	is(o, "message", "the server rejected our request due to an error in our request");
	is(json_at(json_getp(o, "details.causes"), 0), "message", "testing value /data/x failed: test failed");
	is(rig_call("GET", CM "/a", NULL, 200), "data.x", "z");
	is(rig_call("DELETE", CM "/a", NULL, 200), "status", "Success");
	is(rig_call("GET", CM "/a", NULL, 404), "message", "configmaps \"a\" not found");
	rig_call("POST", CM "?dryRun=All", "{\"metadata\":{\"name\":\"dry\"}}", 201);
	rig_call("GET", CM "/dry", NULL, 404);
}

static void test_namespace(void **state)
{
	struct json *o = rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}", 201);

	(void)state;
	is(o, "status.phase", "Active");
	/* From here on the server remembers the namespace as it is now, and must find out that it is another one. */
	rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"w\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"v\"}}", 201);
	patch("/api/v1/namespaces/n", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200);
	rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"u\"}}", 201);
	is(rig_call("DELETE", "/api/v1/namespaces/n", NULL, 200), "status.phase", "Terminating");
	rig_call("DELETE", "/api/v1/namespaces/n", NULL, 409);
	o = rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 403);
	is(o, "message", "configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being "
			 "terminated");
	o = rig_call("GET", "/api/v1/namespaces/n", NULL, 200);
	json_setp(&rig_arena, o, "spec.finalizers", json_new_array(&rig_arena));
	rig_call("PUT", "/api/v1/namespaces/n/finalize", text(o), 200);
	rig_call("GET", "/api/v1/namespaces/n", NULL, 404);
	o = rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 404);
	is(o, "message", "namespaces \"n\" not found");
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 201);
}

/* A namespace that was there a moment ago and is gone while nobody looked: the transaction finds out. */
static void test_namespace_gone(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"m\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/m/configmaps", "{\"metadata\":{\"name\":\"w\"}}", 201);
	rig_call("DELETE", "/api/v1/namespaces/m", NULL, 200);
	o = rig_call("GET", "/api/v1/namespaces/m", NULL, 200);
	json_setp(&rig_arena, o, "spec.finalizers", json_new_array(&rig_arena));
	rig_call("PUT", "/api/v1/namespaces/m/finalize", text(o), 200);
	o = rig_call("POST", "/api/v1/namespaces/m/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 404);
	is(o, "message", "namespaces \"m\" not found");
	rig_call("POST", "/api/v1/namespaces/m/configmaps?dryRun=All", "{\"metadata\":{\"name\":\"x\"}}", 404);
	/* Another one of that name. */
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"m\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/m/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 201);
}

static void test_finalizers(void **state)
{
	(void)state;
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"f\",\"finalizers\":[\"x.io/y\"]}}", 201);
	assert_non_null(json_getp(rig_call("DELETE", CM "/f", NULL, 200), "metadata.deletionTimestamp"));
	rig_call("GET", CM "/f", NULL, 200);
	patch(CM "/f", MERGE, "{\"metadata\":{\"finalizers\":null}}", 200);
	rig_call("GET", CM "/f", NULL, 404);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"g\"}}", 201);
	rig_call("DELETE", CM "/g", "{\"preconditions\":{\"uid\":\"other\"}}", 409);
	assert_int_equal(json_len(json_getp(rig_call("DELETE", CM "/g?propagationPolicy=Orphan", NULL, 200), "metadata.finalizers")),
			1);
	patch(CM "/g", MERGE, "{\"metadata\":{\"finalizers\":[]}}", 200);
	rig_call("GET", CM "/g", NULL, 404);
}

/* One object is no list, a list is not one object; a status takes no labels where upstream's does not. */
static void test_forms_and_status(void **state)
{
	static const char deployments[] = "/apis/apps/v1/namespaces/default/deployments";
	struct json *o;

	(void)state;
	rig_call("POST", deployments, "{\"metadata\":{\"name\":\"fs\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"a\":"
			"\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", 201);
	o = patch("/apis/apps/v1/namespaces/default/deployments/fs/status", MERGE,
			"{\"metadata\":{\"labels\":{\"c\":\"d\"},\"annotations\":{\"e\":\"f\"}},\"status\":{\"replicas\":5}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "status.replicas"), 0), 5);
	assert_null(json_getp(o, "metadata.labels.c"));
	is(o, "metadata.labels.a", "b");
	is(o, "metadata.annotations.e", "f");
	rig_header("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/deployments/fs", NULL, 406);
	is(o, "message", "you requested PartialObjectMetadataList, but the requested object is not a list (*apps.Deployment)");
	rig_header("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
	o = rig_call("GET", deployments, NULL, 406);
	is(o, "message", "you requested PartialObjectMetadata, but the requested object is a list (*apps.DeploymentList)");
	rig_header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/deployments?includeObject=All", NULL, 400);
	is(o, "message", "unrecognized includeObject value: \"All\"");
	rig_call("DELETE", "/apis/apps/v1/namespaces/default/deployments/fs", NULL, 200);
}

/* More than a page of them, a limit, and what is answered. */
static void test_collection_pages(void **state)
{
	static const char all[] = CM "?labelSelector=many";
	struct json *o;

	(void)state;
	for (int i = 0; i < 1300; i++)
		rig_call("POST", CM, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"many%04d\",\"labels\":{\"many\":\"x\"}}}", i), 201);
	o = rig_call("DELETE", CM "?labelSelector=many&dryRun=All", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1300);
	/* With a limit just so many, and where it went on. */
	o = rig_call("DELETE", CM "?labelSelector=many&limit=7", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 7);
	is(json_at(json_getc(o, "items"), 6), "metadata.name", "many0006");
	assert_true(json_strp(o, "metadata.continue").n > 0);
	rig_call("GET", CM "/many0007", NULL, 200);
	o = rig_call("DELETE", all, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1293);
	is(json_at(json_getc(o, "items"), 0), "metadata.name", "many0007");
	is(json_at(json_getc(o, "items"), 1292), "metadata.name", "many1299");
	o = rig_call("GET", all, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 0);
}

static void test_collection(void **state)
{
	static const char *const paths[] = {"/api/v1/namespaces/default/configmaps?labelSelector=set%3Done&dryRun=All",
			"/api/v1/namespaces/default/configmaps?labelSelector=set%3Done"};
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/configmaps",
			"{\"metadata\":{\"name\":\"sel-a\",\"labels\":{\"set\":\"one\"}},\"data\":{\"k\":\"v\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/configmaps",
			"{\"metadata\":{\"name\":\"sel-b\",\"labels\":{\"set\":\"one\"}}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"sel-c\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		o = rig_call("DELETE", paths[i], NULL, 200);
		is(o, "kind", "ConfigMapList");
		assert_int_equal(json_len(json_getc(o, "items")), 2);
		is(json_at(json_getc(o, "items"), 0), "metadata.name", "sel-a");
		is(json_at(json_getc(o, "items"), 0), "data.k", "v");
		rig_call("GET", "/api/v1/namespaces/default/configmaps/sel-b", NULL, i == 0 ? 200 : 404);
	}
	rig_call("GET", "/api/v1/namespaces/default/configmaps/sel-c", NULL, 200);
	o = rig_call("DELETE", paths[1], NULL, 200);
	is(o, "kind", "ConfigMapList");
	assert_int_equal(json_len(json_getc(o, "items")), 0);
	rig_call("DELETE", "/api/v1/namespaces/default/configmaps/sel-c", NULL, 200);
}

static void test_service(void **state)
{
	struct json *o = rig_call("POST", SVC, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}", 201);
	const char *ip = json_cstr(json_getp(o, "spec.clusterIP"));
	int64_t port = json_i64_or(json_getc(json_at(json_getp(o, "spec.ports"), 0), "nodePort"), 0);
	char body[256];

	(void)state;
	assert_in_range(port, 30000, 32767);
	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":80}]}}", ip);
	rig_call("POST", SVC, body, 422);
	rig_call("DELETE", SVC "/s", NULL, 200);
	rig_call("POST", SVC, body, 201);
	is(rig_call("GET", SVC "/kubernetes", NULL, 200), "spec.clusterIP", "10.96.0.1");
}

static void test_scale(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", DEPLOY,
			"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
			"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
			201);
	o = rig_call("GET", DEPLOY "/d/scale", NULL, 200);
	is(o, "kind", "Scale");
	is(o, "status.selector", "a=b");
	patch(DEPLOY "/d/scale", MERGE, "{\"spec\":{\"replicas\":5}}", 200);
	o = rig_call("GET", DEPLOY "/d", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(o, "spec.replicas"), 0), 5);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	patch(DEPLOY "/d/scale", MERGE, "{\"spec\":{\"replicas\":-1}}", 422);
}

static void test_identity(void **state)
{
	struct json *o;
	char bearer[4096];

	(void)state;
	o = rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{\"spec\":{}}", 201);
	snprintf(bearer, sizeof(bearer), "Bearer %s", json_cstr(json_getp(o, "status.token")));
	rig_as(NULL);
	rig_call("GET", "/version", NULL, 200);
	rig_call("GET", "/readyz", NULL, 200);
	is(rig_call("GET", PODS, NULL, 403), "message",
			"pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the "
			"namespace \"default\"");
	is(rig_call("GET", "/api", NULL, 403), "message",
			"forbidden: User \"system:anonymous\" cannot get path \"/api\"");
	rig_header("Authorization", "Bearer nonsense");
	is(rig_call("GET", PODS, NULL, 401), "message", "Unauthorized");
	rig_header("Authorization", bearer);
	rig_call("GET", "/apis", NULL, 200);
	rig_header("Authorization", bearer);
	rig_call("GET", PODS, NULL, 403);
	rig_header("Authorization", "Bearer test-token");
	rig_call("GET", PODS, NULL, 200);
	rig_as("jane");
	o = rig_call("GET", PODS, NULL, 403);
	is(o, "message", "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace "
			 "\"default\"");
	/* The account is gone: so is its token. */
	rig_as("admin");
	rig_call("POST", "/api/v1/namespaces/kube-public/serviceaccounts", "{\"metadata\":{\"name\":\"gone\"}}", 201);
	o = rig_call("POST", "/api/v1/namespaces/kube-public/serviceaccounts/gone/token", "{\"spec\":{}}", 201);
	snprintf(bearer, sizeof(bearer), "Bearer %s", json_cstr(json_getp(o, "status.token")));
	rig_call("DELETE", "/api/v1/namespaces/kube-public/serviceaccounts/gone", NULL, 200);
	rig_as(NULL);
	rig_header("Authorization", bearer);
	rig_call("GET", "/apis", NULL, 401);
	rig_as("admin");
}

static void test_discovery(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("GET", "/api", NULL, 200), "kind", "APIVersions");
	is(rig_call("GET", "/apis", NULL, 200), "kind", "APIGroupList");
	is(rig_call("GET", "/apis/apps/v1", NULL, 200), "groupVersion", "apps/v1");
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
	o = rig_call("GET", "/apis", NULL, 200);
	is(o, "kind", "APIGroupDiscoveryList");
	is(o, "apiVersion", "apidiscovery.k8s.io/v2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_create_read_update),
			cmocka_unit_test(test_namespace),
			cmocka_unit_test(test_namespace_gone),
			cmocka_unit_test(test_finalizers),
			cmocka_unit_test(test_collection),
			cmocka_unit_test(test_collection_pages),
			cmocka_unit_test(test_forms_and_status),
			cmocka_unit_test(test_service),
			cmocka_unit_test(test_scale),
			cmocka_unit_test(test_identity),
			cmocka_unit_test(test_discovery),
	};

	return cmocka_run_group_tests(tests, with_account, without_server);
}
