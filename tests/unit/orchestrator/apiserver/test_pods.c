/* What clients do with pods beside writing them: binding, status, resizing, eviction, and requests passed on to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"

static void make_pod(const char *name, const char *status)
{
	rig_call("POST", PODS, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"evict\"}},\"spec\":{\"containers\":[{"
				       "\"name\":\"c\",\"image\":\"i\"}],\"nodeName\":\"n\",\"terminationGracePeriodSeconds\":0}}", name), 201);
	patch(arena_printf(&rig_arena, PODS "/%s/status", name), MERGE, status, 200);
}

static void test_proxy(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("GET", SVC "/none/proxy/", NULL, 404), "message", "services \"none\" not found");
	rig_call("POST", SVC, "{\"metadata\":{\"name\":\"px\"},\"spec\":{\"ports\":[{\"name\":\"web\",\"port\":80}]}}", 201);
	is(rig_call("GET", SVC "/px/proxy/", NULL, 503), "message", "no endpoints available for service \"px\"");
	is(rig_call("GET", SVC "/px:81/proxy/", NULL, 503), "message", "no service port 81 found for service \"px\"");
	is(rig_call("GET", SVC "/ftp:px:80/proxy/", NULL, 400), "message", "invalid service request \"ftp:px:80\"");
	/* Never back into this machine. */
	rig_call("POST", "/api/v1/namespaces/default/endpoints", "{\"metadata\":{\"name\":\"px\"},\"subsets\":[{\"addresses\":[{\"ip\":"
			"\"10.255.255.1\"}],\"ports\":[{\"name\":\"other\",\"port\":1}]}]}", 201);
	is(rig_call("GET", SVC "/px/proxy/", NULL, 503), "reason", "ServiceUnavailable");
	rig_call("GET", SVC "/px/proxy", NULL, 301);
	make_pod("px", "{\"status\":{\"phase\":\"Running\",\"podIP\":\"127.0.0.1\"}}");
	is(rig_call("GET", PODS "/px:443/proxy/etc", NULL, 400), "message", "address not allowed");
	rig_as("jane");
	o = rig_call("POST", PODS "/px/proxy/", "{}", 403);
	assert_true(str_search(json_strp(o, "message"), STR("cannot create resource \"pods/proxy\"")) > 0);
	rig_as("admin");
	rig_call("DELETE", SVC "/px", NULL, 200);
	rig_call("DELETE", PODS "/px", NULL, 200);
}

/* A manifest with tolerations of its own, sent again without the default ones: they stay. */
static void test_tolerations_again(void **state)
{
	static const char patch[] = "{\"spec\":{\"tolerations\":[{\"key\":\"x\",\"operator\":\"Exists\"}]}}";
	struct json *o, *again;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"again\"}}", 201);
	o = rig_call("POST", "/api/v1/namespaces/default/pods",
			"{\"metadata\":{\"name\":\"again\"},\"spec\":{\"serviceAccountName\":\"again\",\"tolerations\":[{\"key\":\"x\","
			"\"operator\":\"Exists\"}],\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201);
	assert_int_equal(json_len(json_getp(o, "spec.tolerations")), 3);
	rig_type("application/strategic-merge-patch+json");
	again = rig_call("PATCH", "/api/v1/namespaces/default/pods/again", patch, 200);
	assert_true(json_equal(json_getc(again, "spec"), json_getc(o, "spec")));
	is(again, "metadata.resourceVersion", arena_cstr(&rig_arena, json_strp(o, "metadata.resourceVersion")));
	rig_call("DELETE", "/api/v1/namespaces/default/pods/again?gracePeriodSeconds=0", NULL, 200);
	rig_call("DELETE", "/api/v1/namespaces/default/serviceaccounts/again", NULL, 200);
}

/* What kubectl patch --subresource resize sends: resources change, nothing else does, and whoever looks at the limits is asked. */
/* A pod that has resources as a whole. */
static void test_pod_resize_whole(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"resources\":{\"limits\":{\"cpu\":\"2\",\"memory\":\"128Mi\"}},\"containers\":"
			"[{\"name\":\"c\",\"image\":\"b\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}]}}";
	static const char plain[] = "{\"metadata\":{\"name\":\"plain\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"b\"}]}}";
	struct json *o = rig_call("POST", PODS, pod, 201);

	(void)state;
	is(o, "spec.resources.requests.cpu", "100m");
	is(o, "spec.resources.requests.memory", "128Mi");
	is(o, "status.qosClass", "Burstable");
	o = patch(PODS "/w/resize", STRATEGIC, "{\"spec\":{\"resources\":{\"limits\":{\"cpu\":\"4\"},\"requests\":{\"cpu\":\"1\"}}}}", 200);
	is(o, "spec.resources.limits.cpu", "4");
	is(o, "spec.resources.requests.cpu", "1");
	is(o, "spec.resources.limits.memory", "128Mi");
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	o = patch(PODS "/w/resize", STRATEGIC, "{\"spec\":{\"resources\":{\"limits\":{\"memory\":null}}}}", 422);
	is(o, "message", "Pod \"w\" is invalid: spec.resources.limits: Forbidden: resource limits cannot be removed");
	o = patch(PODS "/w/resize", STRATEGIC, "{\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"50m\"}}}}", 422);
	is(o, "message", "Pod \"w\" is invalid: spec.resources.requests[cpu]: Invalid value: \"50m\": must be greater than or equal to aggregate "
			"container requests of 100m");
	o = patch(PODS "/w/resize", STRATEGIC, "{\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"4\"}}}}", 422);
	is(o, "message", "Pod \"w\" is invalid: spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing");
	patch(PODS "/w", STRATEGIC, "{\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"2\"}}}}", 422);
	rig_call("POST", PODS, plain, 201);
	o = patch(PODS "/plain/resize", STRATEGIC, "{\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"2\"}}}}", 422);
	assert_true(str_search(json_str(json_getc(o, "message")), STR("spec.resources: Forbidden: pod-level resources may not be added on resize")) >= 0);
	rig_call("DELETE", PODS "/plain", NULL, 200);
	rig_call("DELETE", PODS "/w", NULL, 200);
}

static void test_pod_resize(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"b\","
			"\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}]}}";
	static const char range[] = "{\"metadata\":{\"name\":\"range\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\"},"
			"\"default\":{\"cpu\":\"2\"}}]}}";
	static const char quota[] = "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"requests.cpu\":\"500m\"}}}";
	struct json *o = rig_call("POST", PODS, pod, 201);

	(void)state;
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 1);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"nodeName\":\"z\",\"containers\":[{"
			"\"name\":\"c\",\"image\":\"other\",\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}]}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	assert_null(json_getp(o, "metadata.labels"));
	assert_null(json_getp(o, "spec.nodeName"));
	o = json_at(json_getp(o, "spec.containers"), 0);
	is(o, "image", "b");
	is(o, "resources.requests.cpu", "200m");
	o = rig_call("GET", PODS "/r/resize", NULL, 200);
	is(o, "kind", "Pod");
	o = rig_call("PUT", PODS "/r/resize", "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":"
			"{\"requests\":{\"cpu\":\"300m\"}}}]}}", 200);
	is(json_at(json_getp(o, "spec.containers"), 0), "resources.requests.cpu", "300m");
	is(json_at(json_getp(o, "spec.containers"), 0), "image", "b");
	o = patch(PODS "/r/resize?fieldManager=m&force=true", "application/apply-patch+yaml", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"r\"},"
			"\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"310m\"}}}]}}", 200);
	is(json_at(json_getp(o, "spec.containers"), 0), "resources.requests.cpu", "310m");
	o = json_at(json_getp(o, "metadata.managedFields"), 0);
	is(o, "manager", "m");
	is(o, "subresource", "resize");
	/* The pod itself takes them from nobody. */
	patch(PODS "/r", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}", 422);
	patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"new\",\"image\":\"b\"}]}}", 422);
	rig_call("POST", "/api/v1/namespaces/default/limitranges", range, 201);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"3\"}}}]}}", 403);
	is(o, "message", "pods \"r\" is forbidden: maximum cpu usage per Container is 2, but limit is 3");
	rig_call("DELETE", "/api/v1/namespaces/default/limitranges/range", NULL, 200);
	o = rig_call("POST", "/api/v1/namespaces/default/resourcequotas", quota, 201);
	/* As the controller asks for it. */
	rig_call("PUT", "/api/v1/namespaces/default/resourcequotas/q/status", text(o), 200);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"600m\"}}}]}}", 403);
	is(o, "message", "pods \"r\" is forbidden: exceeded quota: q, requested: requests.cpu=290m, used: requests.cpu=310m, limited: "
			"requests.cpu=500m");
	patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"400m\"}}}]}}", 200);
	o = rig_call("GET", "/api/v1/namespaces/default/resourcequotas/q", NULL, 200);
	assert_string_equal(json_cstr(json_getc(json_getp(o, "status.used"), "requests.cpu")), "400m");
	rig_call("DELETE", "/api/v1/namespaces/default/resourcequotas/q", NULL, 200);
	rig_call("DELETE", PODS "/r", "{\"gracePeriodSeconds\":0}", 200);
}

static void test_pod(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\"}]}}";
	struct json *o = rig_call("POST", PODS, pod, 201);

	(void)state;
	is(o, "status.phase", "Pending");
	is(o, "status.qosClass", "BestEffort");
	is(o, "spec.serviceAccountName", "default");
	assert_int_equal(json_len(json_getp(o, "spec.volumes")), 1);
	assert_int_equal(json_len(json_getp(o, "spec.tolerations")), 2);
	rig_call("POST", PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"node1\"}}", 201);
	rig_call("POST", PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"node2\"}}", 409);
	o = patch(PODS "/p/status", MERGE, "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"x\"}}", 200);
	is(o, "status.phase", "Running");
	is(o, "spec.nodeName", "node1");
	/* What kubectl debug sends; nothing else of the pod changes that way. */
	o = patch(PODS "/p/ephemeralcontainers", STRATEGIC,
			"{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"nodeName\":\"other\",\"ephemeralContainers\":[{\"name\":\"dbg\",\"image\":\"b\","
			"\"stdin\":true,\"tty\":true,\"resources\":{}}]}}", 200);
	is(o, "spec.nodeName", "node1");
	assert_null(json_getp(o, "metadata.labels"));
	is(json_at(json_getp(o, "spec.ephemeralContainers"), 0), "terminationMessagePolicy", "File");
	o = patch(PODS "/p/ephemeralcontainers", STRATEGIC, "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"two\",\"image\":\"b\"}]}}", 200);
	assert_int_equal(json_len(json_getp(o, "spec.ephemeralContainers")), 2);
	o = rig_call("GET", PODS "/p/ephemeralcontainers", NULL, 200);
	is(o, "kind", "Pod");
	assert_int_equal(json_len(json_getp(o, "spec.ephemeralContainers")), 2);
	patch(PODS "/p/ephemeralcontainers", MERGE, "{\"spec\":{\"ephemeralContainers\":[]}}", 422);
	patch(PODS "/p", MERGE, "{\"spec\":{\"ephemeralContainers\":null}}", 422);
	o = rig_call("DELETE", PODS "/p", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.deletionGracePeriodSeconds"), -1), 30);
	rig_as("node1");
	rig_call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1", NULL, 200);
	rig_call("GET", "/api/v1/pods", NULL, 403);
	rig_call("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", NULL, 404);
	rig_call("GET", "/api/v1/namespaces/default/configmaps/other", NULL, 403);
	rig_call("DELETE", PODS "/p", "{\"gracePeriodSeconds\":0}", 200);
	rig_as("admin");
	rig_call("GET", PODS "/p", NULL, 404);
	/* Without an account "default" a pod waits for one, but not for ever. */
	rig_call("POST", "/api/v1/namespaces/kube-system/pods", pod, 403);
	rig_call("POST", PODS,
			"{\"metadata\":{\"name\":\"q\"},\"spec\":{\"serviceAccountName\":\"none\",\"containers\":[{\"name\":\"c\","
			"\"image\":\"b\"}]}}",
			403);
}

#define PDBS "/apis/policy/v1/namespaces/default/poddisruptionbudgets"

static struct json *evict(const char *name, const char *query, int want)
{
	return rig_call("POST", arena_printf(&rig_arena, PODS "/%s/eviction%s", name, query),
			arena_printf(&rig_arena, "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"%s\"}}", name), want);
}

static void test_eviction(void **state)
{
	static const char ready[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}";
	static const char unready[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}";
	struct json *o;

	(void)state;
	for (int i = 0; i < 3; i++)
		make_pod(arena_printf(&rig_arena, "ev%d", i), ready);
	make_pod("ev-unready", unready);
	make_pod("ev-done", "{\"status\":{\"phase\":\"Succeeded\"}}");
	rig_call("POST", PDBS, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"minAvailable\":2,\"selector\":{\"matchLabels\":{\"app\":\"evict\"}}}}", 201);
	/* The controller has not looked at it yet. */
	o = evict("ev0", "", 429);
	is(o, "message", "Cannot evict pod as it would violate the pod's disruption budget.");
	is(o, "reason", "TooManyRequests");
	is(json_at(json_getp(o, "details.causes"), 0), "reason", "DisruptionBudget");
	is(json_at(json_getp(o, "details.causes"), 0), "message", "The disruption budget b is still being processed by the server.");
	assert_string_equal(text(json_getp(o, "details.retryAfterSeconds")), "10");
	patch(PDBS "/b/status", MERGE,
			"{\"status\":{\"observedGeneration\":1,\"disruptionsAllowed\":1,\"currentHealthy\":3,\"desiredHealthy\":2,\"expectedPods\":3}}", 200);
	/* A dry run costs nothing. */
	evict("ev0", "?dryRun=All", 201);
	assert_string_equal(text(json_getp(rig_call("GET", PDBS "/b", NULL, 200), "status.disruptionsAllowed")), "1");
	is(evict("ev0", "", 201), "status", "Success");
	rig_call("GET", PODS "/ev0", NULL, 404);
	o = rig_call("GET", PDBS "/b", NULL, 200);
	assert_string_equal(text(json_getp(o, "status.disruptionsAllowed")), "0");
	assert_int_equal(json_strp(o, "status.disruptedPods.ev0").n, 20);
	is(json_at(json_getp(o, "status.conditions"), 0), "reason", "InsufficientPods");
	o = evict("ev1", "", 429);
	is(json_at(json_getp(o, "details.causes"), 0), "message", "The disruption budget b needs 2 healthy pods and has 3 currently");
	rig_call("GET", PODS "/ev1", NULL, 200);
	/* What is not healthy, or over, takes nothing from the budget. */
	evict("ev-unready", "", 201);
	evict("ev-done", "", 201);
	rig_call("POST", PDBS, "{\"metadata\":{\"name\":\"b2\"},\"spec\":{\"minAvailable\":1,\"selector\":{}}}", 201);
	is(evict("ev1", "", 500), "message",
			"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
	rig_call("DELETE", PDBS, NULL, 200);
	evict("ev1", "", 201);
	rig_call("POST", PODS "/ev2/eviction", "{\"metadata\":{\"name\":\"other\"}}", 400);
	evict("ev2", "", 201);
	evict("ev2", "", 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_proxy),
			cmocka_unit_test(test_pod),
			cmocka_unit_test(test_pod_resize),
			cmocka_unit_test(test_pod_resize_whole),
			cmocka_unit_test(test_tolerations_again),
			cmocka_unit_test(test_eviction),
	};

	return cmocka_run_group_tests(tests, with_account, without_server);
}
