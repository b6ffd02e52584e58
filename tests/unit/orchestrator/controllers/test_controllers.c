/*
 * Controllers and scheduler against a whole API server of one member in this process. Nodes and their kubelets are played
 * by the test (world.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/plan-priv.h"
#include "orchestrator/controllers/remotes.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/controllers/world.h"

static int64_t deployed(const char *name, const char *field)
{
	return num(get(fmt(APPS "/deployments/%s", name)), fmt("status.%s", field));
}

static void deploy(const char *name, int replicas, const char *more)
{
	post(APPS "/deployments", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%d,%s\"selector\":{\"matchLabels\":{\"app\":\"%s\"}},"
				      "\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
				      "\"image\":\"one\",\"resources\":{\"requests\":{\"cpu\":\"10m\"}}}]}}}}", name, replicas, more, name, name));
}

/* --- Tests ------------------------------------------------------------------------------------------------------------ */

static bool has_namespace_things(void)
{
	return json_len(json_getc(get(NS "/serviceaccounts"), "items")) > 0 && json_len(json_getc(get(NS "/configmaps"), "items")) > 0;
}

static bool nodes_have_networks(void)
{
	const struct json *all = json_getc(get("/api/v1/nodes"), "items");

	JSON_ITEMS (n, all)
		if (str(n, "spec.podCIDR")[0] == '\0')
			return false;
	return true;
}

static void test_nodes(void **state)
{
	struct json *items;

	WAIT(has_namespace_things);
	assert_string_equal(str(get(NS "/configmaps/kube-root-ca.crt"), "data"), "");
	assert_true(json_eqc(json_getc(json_getc(get(NS "/configmaps/kube-root-ca.crt"), "data"), "ca.crt"), "a certificate"));
	add_node("n1", "2");
	add_node("n2", "2");
	add_node("n3", "2");
	WAIT(nodes_have_networks);
	items = json_getc(get("/api/v1/nodes"), "items");
	for (size_t i = 0; i < json_len(items); i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(str(json_at(items, i), "spec.podCIDR"), str(json_at(items, k), "spec.podCIDR"));
}

/* Of the newest specification: an old status may look complete too. */
static bool web_is_complete(void)
{
	struct json *d = get(APPS "/deployments/web");

	return num(d, "status.observedGeneration") >= num(d, "metadata.generation") && deployed("web", "availableReplicas") == 3 && deployed("web", "updatedReplicas") == 3 && deployed("web", "replicas") == 3;
}

static bool web_has_endpoints(void)
{
	struct json *slices = get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name=web");
	struct json *slice = json_at(json_getc(slices, "items"), 0);
	size_t n_ready = 0;

	JSON_ITEMS (ep, json_getc(slice, "endpoints"))
		n_ready += json_true(json_getp(ep, "conditions.ready"));
	return n_ready == 3 && num(json_at(json_getc(slice, "ports"), 0), "port") == 8080;
}

static void test_deployment(void **state)
{
	struct json *pods, *ep;
	char nodes[64] = "";

	deploy("web", 3, "");
	post(NS "/services", "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"targetPort\":8080}]}}");
	WAIT(web_is_complete);
	/* Three pods, three nodes: spread. */
	pods = get(NS "/pods?labelSelector=app=web");
	assert_int_equal(json_len(json_getc(pods, "items")), 3);
	JSON_ITEMS (p, json_getc(pods, "items")) {
		assert_null(strstr(nodes, str(p, "spec.nodeName")));
		strcat(nodes, str(p, "spec.nodeName"));
		assert_string_equal(str(json_at(json_getp(p, "metadata.ownerReferences"), 0), "kind"), "ReplicaSet");
	}
	WAIT(web_has_endpoints);
	ep = json_at(json_getc(get(NS "/endpoints/web"), "subsets"), 0);
	assert_int_equal(json_len(json_getc(ep, "addresses")), 3);
	/* Nothing goes on changing when nothing happens. */
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, 20);
	assert_int_equal(json_len(json_getc(get(NS "/pods?labelSelector=app=web"), "items")), 3);
	const char *rv = str(get(APPS "/deployments/web"), "metadata.resourceVersion");
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, 20);
	assert_string_equal(str(get(APPS "/deployments/web"), "metadata.resourceVersion"), rv);
}

static const char *victim;

static bool victim_is_replaced(void)
{
	const struct json *all = json_getc(get(NS "/pods?labelSelector=app=web"), "items");

	JSON_ITEMS (p, all)
		if (strcmp(str(p, "metadata.name"), victim) == 0)
			return false;
	return count_pods("app=web", is_ready) == 3;
}

static void test_deleted_pod_is_replaced(void **state)
{
	struct json *pods = get(NS "/pods?labelSelector=app=web");

	victim = str(json_at(json_getc(pods, "items"), 0), "metadata.name");
	rig_call("DELETE", fmt(NS "/pods/%s", victim), NULL, 200);
	WAIT(victim_is_replaced);
	WAIT(web_is_complete);
	assert_int_equal(count_pods("app=web", NULL), 3);
}

static bool web_has_one(void)
{
	return num(get(APPS "/deployments/web/scale"), "spec.replicas") == 1 && deployed("web", "replicas") == 1 && count_pods("app=web", NULL) == 1;
}

static void test_scale(void **state)
{
	merge(APPS "/deployments/web/scale", "{\"spec\":{\"replicas\":1}}");
	WAIT(web_has_one);
	merge(APPS "/deployments/web", "{\"spec\":{\"replicas\":3}}");
	WAIT(web_is_complete);
}

/* maxSurge 1 and maxUnavailable 0 at replicas 3: never more than 4 pods, never fewer than 3 available. */
static bool web_is_two(void)
{
	struct json *pods = get(NS "/pods?labelSelector=app=web");
	size_t n = 0, n_ready = 0, n_two = 0;

	JSON_ITEMS (p, json_getc(pods, "items")) {
		if (json_getp(p, "metadata.deletionTimestamp"))
			continue;
		n++;
		n_ready += is_ready(p);
		n_two += strcmp(str(json_at(json_getp(p, "spec.containers"), 0), "image"), "two") == 0;
	}
	assert_true(n <= 4);
	assert_true(n_ready >= 3);
	return n_two == 3 && n == 3 && web_is_complete();
}

static void test_rolling_update_and_undo(void **state)
{
	struct json *sets;
	const char *first = NULL;

	sets = get(APPS "/replicasets?labelSelector=app=web");
	assert_int_equal(json_len(json_getc(sets, "items")), 1);
	first = str(json_at(json_getc(sets, "items"), 0), "metadata.name");
	merge(APPS "/deployments/web", "{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}},"
				       "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"two\"}]}}}}");
	WAIT(web_is_two);
	assert_string_equal(str(get(APPS "/deployments/web"), "metadata.annotations"), "");
	assert_true(json_eqc(json_getc(json_getp(get(APPS "/deployments/web"), "metadata.annotations"), "deployment.kubernetes.io/revision"), "2"));
	assert_int_equal(json_len(json_getc(get(APPS "/replicasets?labelSelector=app=web"), "items")), 2);
	/* Undo: the first template again. Its set comes back, with a new revision. */
	merge(APPS "/deployments/web", "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"one\","
				       "\"resources\":{\"requests\":{\"cpu\":\"10m\"}}}]}}}}");
	WAIT(web_is_complete);
	assert_int_equal(json_len(json_getc(get(APPS "/replicasets?labelSelector=app=web"), "items")), 2);
	assert_int_equal(num(get(fmt(APPS "/replicasets/%s", first)), "spec.replicas"), 3);
	assert_true(json_eqc(json_getc(json_getp(get(APPS "/deployments/web"), "metadata.annotations"), "deployment.kubernetes.io/revision"), "3"));
}

static bool first_is_unschedulable(void)
{
	struct json *pod = get(NS "/pods/picky");

	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "PodScheduled"))
			return json_eqc(json_getc(c, "status"), "False") &&
			       json_eqc(json_getc(c, "message"), "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
	return false;
}

static bool picky_runs_on_n2(void)
{
	return strcmp(str(get(NS "/pods/picky"), "spec.nodeName"), "n2") == 0;
}

static bool big_waits(void)
{
	struct json *pod = get(NS "/pods/big");

	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "PodScheduled"))
			return json_eqc(json_getc(c, "message"), "0/3 nodes are available: 3 Insufficient cpu.");
	return false;
}

static void test_scheduling(void **state)
{
	post(NS "/pods", "{\"metadata\":{\"name\":\"picky\"},\"spec\":{\"nodeSelector\":{\"disk\":\"ssd\"},\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
	WAIT(first_is_unschedulable);
	merge("/api/v1/nodes/n2", "{\"metadata\":{\"labels\":{\"disk\":\"ssd\"}}}");
	WAIT(picky_runs_on_n2);
	post(NS "/pods", "{\"metadata\":{\"name\":\"big\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\","
			 "\"resources\":{\"requests\":{\"cpu\":\"3\"}}}]}}");
	WAIT(big_waits);
	rig_call("DELETE", NS "/pods/big", NULL, 200);
}

static bool n1_is_unknown(void)
{
	struct json *node = get("/api/v1/nodes/n1");
	size_t n_taints = 0;

	renew("n2");
	renew("n3");
	JSON_ITEMS (t, json_getp(node, "spec.taints"))
		n_taints += json_eqc(json_getc(t, "key"), "node.kubernetes.io/unreachable");
	return n_taints == 2 && json_eqc(json_getc(json_at(json_getp(node, "status.conditions"), 0), "status"), "Unknown");
}

static bool nothing_is_ready_on_n1(void)
{
	struct json *pods = get(NS "/pods?fieldSelector=spec.nodeName=n1");

	renew("n2");
	renew("n3");
	JSON_ITEMS (p, json_getc(pods, "items"))
		if (is_ready(p))
			return false;
	return true;
}

static bool n1_is_clean(void)
{
	return json_len(json_getp(get("/api/v1/nodes/n1"), "spec.taints")) == 0;
}

static void test_silent_node(void **state)
{
	/* Its lease is renewed no more; the others' are. */
	world_renews = false;
	WAIT(n1_is_unknown);
	WAIT(nothing_is_ready_on_n1);
	/* A late report does not make them ready again. */
	merge(fmt(NS "/pods/%s/status", str(json_at(json_getc(get(NS "/pods?fieldSelector=spec.nodeName=n1"), "items"), 0), "metadata.name")),
			"{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	WAIT(nothing_is_ready_on_n1);
	/* It comes back: first the lease, then its own report. */
	world_renews = true;
	renew("n1");
	merge("/api/v1/nodes/n1/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	WAIT(n1_is_clean);
}

static bool web_is_gone(void)
{
	return json_len(json_getc(get(APPS "/replicasets?labelSelector=app=web"), "items")) == 0 &&
	       json_len(json_getc(get(NS "/pods?labelSelector=app=web"), "items")) == 0;
}

static void test_garbage(void **state)
{
	rig_call("DELETE", APPS "/deployments/web", "{\"propagationPolicy\":\"Background\"}", 200);
	WAIT(web_is_gone);
}

static bool orphan_is_left(void)
{
	struct json *sets = get(APPS "/replicasets?labelSelector=app=kept"), *set = json_at(json_getc(sets, "items"), 0);

	return json_len(json_getc(get(APPS "/deployments"), "items")) == 0 && set && json_len(json_getp(set, "metadata.ownerReferences")) == 0;
}

static bool kept_has_set(void)
{
	return json_len(json_getc(get(APPS "/replicasets?labelSelector=app=kept"), "items")) == 1;
}

static bool kept_is_gone(void)
{
	return json_len(json_getc(get(APPS "/replicasets"), "items")) == 0 && json_len(json_getc(get(NS "/pods?labelSelector=app=kept"), "items")) == 0;
}

static void test_orphan_and_foreground(void **state)
{
	struct json *set;

	deploy("kept", 1, "");
	WAIT(kept_has_set);
	rig_call("DELETE", APPS "/deployments/kept", "{\"propagationPolicy\":\"Orphan\"}", 200);
	WAIT(orphan_is_left);
	set = json_at(json_getc(get(APPS "/replicasets"), "items"), 0);
	rig_call("DELETE", fmt(APPS "/replicasets/%s", str(set, "metadata.name")), "{\"propagationPolicy\":\"Foreground\"}", 200);
	WAIT(kept_is_gone);
}

static bool red_is_ready(void)
{
	return json_len(json_getc(get("/api/v1/namespaces/red/serviceaccounts"), "items")) == 1;
}

static bool red_is_gone(void)
{
	const struct json *all = json_getc(get("/api/v1/namespaces"), "items");

	JSON_ITEMS (ns, all)
		if (strcmp(str(ns, "metadata.name"), "red") == 0)
			return false;
	return true;
}

static const char *discovery_failure(void)
{
	const struct json *all = json_getp(rig_call("GET", "/api/v1/namespaces/blue", NULL, 0), "status.conditions");

	JSON_ITEMS (c, all)
		if (json_eqc(json_getc(c, "type"), "NamespaceDeletionDiscoveryFailure") && json_eqc(json_getc(c, "status"), "True"))
			return str(c, "message");
	return "";
}

static bool waits_for_server(void)
{
	return discovery_failure()[0] != '\0';
}

static bool blue_is_gone(void)
{
	return json_eqc(json_getc(rig_call("GET", "/api/v1/namespaces/blue", NULL, 0), "reason"), "NotFound");
}

/* As long as a registered server does not say what it has, nobody knows whether a namespace is empty. */
static void test_silent_server(void **state)
{
	(void)state;
	post("/apis/apiregistration.k8s.io/v1/apiservices",
			"{\"metadata\":{\"name\":\"v1.silent.example\"},\"spec\":{\"group\":\"silent.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
			"\"versionPriority\":1,\"service\":{\"namespace\":\"default\",\"name\":\"silent\"}}}");
	post("/api/v1/namespaces", "{\"metadata\":{\"name\":\"blue\"}}");
	post("/api/v1/namespaces/blue/secrets", "{\"metadata\":{\"name\":\"s\"}}");
	rig_call("DELETE", "/api/v1/namespaces/blue", NULL, 200);
	WAIT(waits_for_server);
	assert_string_equal(discovery_failure(), "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
						 "silent.example/v1: stale GroupVersion discovery: silent.example/v1");
	rig_call("GET", "/api/v1/namespaces/blue/secrets/s", NULL, 404);
	rig_call("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1.silent.example", NULL, 200);
	WAIT(blue_is_gone);
}

/* A resource that is no row of the table may be gone before the plan that names it is through. */
static void test_plan_keeps(void **state)
{
	char plural[] = "fishes";
	struct resource gone = {.group = "g.x", .version = "v1", .api_version = "g.x/v1", .plural = plural, .kind = "Fish", .namespaced = true};
	struct arena a;
	struct reconcile r = {.arena = &a};
	const struct plan_action *action;

	(void)state;
	arena_init(&a);
	list_init(&r.actions);
	plan_delete_collection(&r, &gone, "ns");
	memset(plural, 'x', sizeof(plural) - 1);
	gone.group = "other";
	action = LIST_FIRST(&r.actions, struct plan_action, link);
	assert_string_equal(action->resource->plural, "fishes");
	assert_string_equal(action->resource->group, "g.x");
	plan_expect_empty(&r, resource_find("", "v1", "pods"), "ns");
	assert_ptr_equal(container_of(r.actions.prev, struct plan_action, link)->resource, resource_find("", "v1", "pods"));
	arena_fini(&a);
}

static void test_remote_resources(void **state)
{
	static const char text[] = "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"fishes\",\"namespaced\":true,\"kind\":\"Fish\",\"verbs\":["
				   "\"list\",\"delete\",\"fry\"]},{\"name\":\"fishes/scale\",\"kind\":\"Scale\"},{\"kind\":\"Nameless\"},{\"name\":\"ponds\"}]}";
	struct resource *v;
	struct arena a;
	size_t n;

	(void)state;
	arena_init(&a);
	assert_true(remote_resources(&a, "g.x", "v2", str_from(text), &v, &n));
	assert_int_equal(n, 2);
	assert_string_equal(v[0].plural, "fishes");
	assert_string_equal(v[0].api_version, "g.x/v2");
	assert_true(v[0].namespaced && !v[1].namespaced);
	assert_int_equal(v[0].verbs, V_LIST | V_DELETE);
	assert_int_equal(v[1].verbs, 0);
	assert_string_equal(remote_kind_name(&a, &v[0]), "apis/g.x/v2/fishes");
	assert_false(remote_resources(&a, "g.x", "v2", STR("{\"kind\":\"Status\"}"), &v, &n));
	assert_false(remote_resources(&a, "g.x", "v2", STR("oops"), &v, &n));
	arena_fini(&a);
}

static const char *gold_says(const char *type, const char *status)
{
	const struct json *all = json_getp(rig_call("GET", "/api/v1/namespaces/gold", NULL, 0), "status.conditions");

	JSON_ITEMS (c, all)
		if (json_eqc(json_getc(c, "type"), type) && json_eqc(json_getc(c, "status"), status))
			return str(c, "message");
	return "";
}

static bool gold_is_held(void)
{
	return strstr(gold_says("NamespaceFinalizersRemaining", "True"), "x.y/z in 1") != NULL;
}

static bool gold_is_gone(void)
{
	return json_eqc(json_getc(rig_call("GET", "/api/v1/namespaces/gold", NULL, 0), "reason"), "NotFound");
}

/* Whoever wonders why a namespace does not go is told what is in it, and who holds that. */
static void test_held_namespace(void **state)
{
	(void)state;
	post("/api/v1/namespaces", "{\"metadata\":{\"name\":\"gold\"}}");
	post("/api/v1/namespaces/gold/secrets", "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"a.b/c\",\"x.y/z\"]}}");
	post("/api/v1/namespaces/gold/secrets", "{\"metadata\":{\"name\":\"b\",\"finalizers\":[\"a.b/c\"]}}");
	post("/api/v1/namespaces/gold/configmaps", "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"a.b/c\"]}}");
	rig_call("DELETE", "/api/v1/namespaces/gold", NULL, 200);
	WAIT(gold_is_held);
	assert_string_equal(gold_says("NamespaceFinalizersRemaining", "True"),
			"Some content in the namespace has finalizers remaining: a.b/c in 3 resource instances, x.y/z in 1 resource instances");
	assert_string_equal(gold_says("NamespaceContentRemaining", "True"),
			"Some resources are remaining: configmaps. has 1 resource instances, secrets. has 2 resource instances");
	assert_string_equal(gold_says("NamespaceDeletionContentFailure", "False"),
			"All content successfully deleted, may be waiting on finalization");
	assert_string_equal(gold_says("NamespaceDeletionDiscoveryFailure", "False"), "All resources successfully discovered");
	merge("/api/v1/namespaces/gold/secrets/a", "{\"metadata\":{\"finalizers\":null}}");
	merge("/api/v1/namespaces/gold/secrets/b", "{\"metadata\":{\"finalizers\":null}}");
	merge("/api/v1/namespaces/gold/configmaps/a", "{\"metadata\":{\"finalizers\":null}}");
	WAIT(gold_is_gone);
}

static bool stray_is_told(void)
{
	const struct json *all = json_getc(get(NS "/events?fieldSelector=involvedObject.name=stray"), "items");

	JSON_ITEMS (e, all)
		if (json_eqc(json_getc(e, "reason"), "OwnerRefInvalidNamespace"))
			return json_eqc(json_getp(e, "source.component"), "garbage-collector-controller") &&
			       strstr(str(e, "message"), "name: lord") && strstr(str(e, "message"), "does not exist in namespace \"default\"");
	return false;
}

/* An owner elsewhere is none; who is deleted for that is told. */
static void test_stray(void **state)
{
	const struct json *lord;

	(void)state;
	lord = post("/api/v1/namespaces/kube-system/configmaps", "{\"metadata\":{\"name\":\"lord\"}}");
	post(NS "/configmaps", fmt("{\"metadata\":{\"name\":\"stray\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
				   "\"name\":\"lord\",\"uid\":\"%s\"}]}}", str(lord, "metadata.uid")));
	WAIT(stray_is_told);
}

static void test_namespace(void **state)
{
	post("/api/v1/namespaces", "{\"metadata\":{\"name\":\"red\"}}");
	WAIT(red_is_ready);
	post("/api/v1/namespaces/red/pods", "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
	post("/api/v1/namespaces/red/secrets", "{\"metadata\":{\"name\":\"s\"}}");
	rig_call("DELETE", "/api/v1/namespaces/red", NULL, 200);
	WAIT(red_is_gone);
	assert_int_equal(json_len(json_getc(get("/api/v1/pods?fieldSelector=metadata.namespace=red"), "items")), 0);
}

/* --- Custom resources ------------------------------------------------------------------------------------------ */

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define TOYS "/apis/toys.example/v1"

static void define(const char *plural)
{
	post(CRDS, fmt("{\"metadata\":{\"name\":\"%s.toys.example\"},\"spec\":{\"group\":\"toys.example\",\"scope\":\"Namespaced\",\"names\":"
		       "{\"plural\":\"%s\",\"kind\":\"Toy\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":"
		       "{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}",
		plural, plural));
}

static bool toys_are_undefined(void)
{
	const struct json *all = json_getc(get(CRDS), "items");

	JSON_ITEMS (crd, all)
		if (json_eqc(json_getp(crd, "metadata.name"), "toys.toys.example"))
			return false;
	return true;
}

static bool served(const char *path)
{
	const struct json *o = rig_call("GET", path, NULL, 0);

	return json_is(o, JSON_OBJECT) && !json_eqc(json_getc(o, "kind"), "Status");
}

static bool others_are_served(void)
{
	return served(TOYS "/others");
}

static bool owned_is_gone(void)
{
	return !served(NS "/configmaps/owned") && !served(TOYS "/namespaces/default/toys/child");
}

static bool kept_is_free(void)
{
	return !served(TOYS "/namespaces/default/toys/lax") && json_len(json_getp(get(NS "/configmaps/kept"), "metadata.ownerReferences")) == 0 &&
	       json_len(json_getp(get(TOYS "/namespaces/default/toys/kept"), "metadata.ownerReferences")) == 0;
}

static bool strict_is_gone(void)
{
	return !served(TOYS "/namespaces/default/toys/strict");
}

static void owned(const char *path, const char *name, const struct json *owner)
{
	post(path, fmt("{%s\"metadata\":{\"name\":\"%s\",\"ownerReferences\":[{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Toy\",\"name\":\"%s\",\"uid\":\"%s\"}]}}",
			strstr(path, "/toys") ? "\"apiVersion\":\"toys.example/v1\",\"kind\":\"Toy\"," : "", name, str(owner, "metadata.name"),
			str(owner, "metadata.uid")));
}

static struct json *toy(const char *name)
{
	return post(TOYS "/namespaces/default/toys", fmt("{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Toy\",\"metadata\":{\"name\":\"%s\"}}", name));
}

/* Custom objects own others, and are owned. */
static void test_custom_owners(void **state)
{
	struct json *o;

	define("toys");
	o = toy("easy");
	owned(NS "/configmaps", "owned", o);
	owned(TOYS "/namespaces/default/toys", "child", o);
	rig_call("DELETE", TOYS "/namespaces/default/toys/easy", NULL, 200);
	WAIT(owned_is_gone);
	o = toy("lax");
	owned(NS "/configmaps", "kept", o);
	owned(TOYS "/namespaces/default/toys", "kept", o);
	rig_call("DELETE", TOYS "/namespaces/default/toys/lax", "{\"propagationPolicy\":\"Orphan\"}", 200);
	WAIT(kept_is_free);
	o = toy("strict");
	owned(NS "/configmaps", "owned", o);
	rig_call("DELETE", TOYS "/namespaces/default/toys/strict", "{\"propagationPolicy\":\"Foreground\"}", 200);
	WAIT(strict_is_gone);
	WAIT(owned_is_gone);
	rig_call("DELETE", CRDS "/toys.toys.example", NULL, 200);
	WAIT(toys_are_undefined);
}

static void test_custom(void **state)
{
	define("toys");
	define("others"); /* of the same kind: it has to wait */
	assert_false(others_are_served());
	post("/api/v1/namespaces", "{\"metadata\":{\"name\":\"red\"}}");
	post(TOYS "/namespaces/red/toys", "{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Toy\",\"metadata\":{\"name\":\"a\"}}");
	post(TOYS "/namespaces/default/toys", "{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Toy\",\"metadata\":{\"name\":\"b\"}}");
	rig_call("DELETE", "/api/v1/namespaces/red", NULL, 200);
	WAIT(red_is_gone);
	assert_int_equal(json_len(json_getc(get(TOYS "/toys"), "items")), 1);
	rig_call("DELETE", CRDS "/toys.toys.example", NULL, 200);
	WAIT(toys_are_undefined);
	WAIT(others_are_served);
	define("toys");
	assert_int_equal(json_len(json_getc(get(TOYS "/others"), "items")), 0);
	rig_call("DELETE", CRDS "/others.toys.example", NULL, 200);
	rig_call("DELETE", CRDS "/toys.toys.example", NULL, 200);
	WAIT(toys_are_undefined);
}

#define POLICIES "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"

static int64_t checked_generation;

static bool policy_is_checked(void)
{
	const struct json *o = get(POLICIES "/typed");

	return json_is(json_getp(o, "status.typeChecking"), JSON_OBJECT) && num(o, "status.observedGeneration") == checked_generation;
}

/* What a policy looks for in vain in the kinds that it names is told in its status. */
static void test_policy_types(void **state)
{
	const struct json *warnings;

	(void)state;
	post(POLICIES, "{\"metadata\":{\"name\":\"typed\"},\"spec\":{\"matchConstraints\":{\"resourceRules\":[{\"operations\":[\"CREATE\"],"
		       "\"apiGroups\":[\"apps\"],\"apiVersions\":[\"v1\"],\"resources\":[\"deployments\",\"replicasets\"]}]},\"validations\":["
		       "{\"expression\":\"object.spec.replicas < 5\"},{\"expression\":\"object.spec.strategy.type == 'x'\"}]}}");
	checked_generation = 1;
	WAIT(policy_is_checked);
	warnings = json_getp(get(POLICIES "/typed"), "status.typeChecking.expressionWarnings");
	assert_int_equal(json_len(warnings), 1);
	assert_string_equal(str(json_at(warnings, 0), "fieldRef"), "spec.validations[1].expression");
	assert_non_null(strstr(str(json_at(warnings, 0), "warning"), "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'"));
	assert_null(strstr(str(json_at(warnings, 0), "warning"), "Kind=Deployment"));
	merge(POLICIES "/typed", "{\"spec\":{\"validations\":[{\"expression\":\"object.spec.replicas < 5\"}]}}");
	checked_generation = 2;
	WAIT(policy_is_checked);
	assert_int_equal(json_len(json_getp(get(POLICIES "/typed"), "status.typeChecking.expressionWarnings")), 0);
	rig_call("DELETE", POLICIES "/typed", NULL, 200);
}

static const struct json *geared_warnings(void)
{
	return json_getp(get(POLICIES "/geared"), "status.typeChecking.expressionWarnings");
}

static bool is_without_warning(void)
{
	return json_is(json_getp(get(POLICIES "/geared"), "status.typeChecking"), JSON_OBJECT) && json_len(geared_warnings()) == 0;
}

static bool is_warned(void)
{
	return json_len(geared_warnings()) > 0;
}

static bool is_warned_once(void)
{
	return json_len(geared_warnings()) == 1;
}

static void define_gears(const char *property)
{
	post(CRDS, fmt("{\"metadata\":{\"name\":\"gears.toys.example\"},\"spec\":{\"group\":\"toys.example\",\"scope\":\"Namespaced\",\"names\":{"
			"\"plural\":\"gears\",\"kind\":\"Gear\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{"
			"\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"%s\":{\"type\":\"integer\"}}}}}}}]}}", property));
}

/* Of custom kinds, too, objects and parameters, when their definitions come and change. */
static void test_policy_custom_types(void **state)
{
	(void)state;
	post(POLICIES, "{\"metadata\":{\"name\":\"geared\"},\"spec\":{\"paramKind\":{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Gear\"},\"matchConstraints\":{"
		       "\"resourceRules\":[{\"operations\":[\"CREATE\"],\"apiGroups\":[\"toys.example\"],\"apiVersions\":[\"v1\"],\"resources\":[\"gears\"]}]},"
		       "\"validations\":[{\"expression\":\"object.spec.teeth < 5\"},{\"expression\":\"object.metadata.name != params.spec.teeth\"}]}}");
	WAIT(is_without_warning);
	define_gears("cogs");
	WAIT(is_warned);
	assert_int_equal(json_len(geared_warnings()), 2);
	assert_string_equal(str(json_at(geared_warnings(), 0), "fieldRef"), "spec.validations[0].expression");
	assert_non_null(strstr(str(json_at(geared_warnings(), 0), "warning"), "toys.example/v1, Kind=Gear: ERROR: <input>:1:12: undefined field 'teeth'"));
	assert_non_null(strstr(str(json_at(geared_warnings(), 1), "warning"), "undefined field 'teeth'"));
	merge(CRDS "/gears.toys.example", "{\"spec\":{\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":"
					  "\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"teeth\":{\"type\":\"integer\"}}}}}}}]}}");
	/* A name is no number: that is what is left. */
	WAIT(is_warned_once);
	assert_non_null(strstr(str(json_at(geared_warnings(), 0), "warning"), "no matching overload"));
	rig_call("DELETE", POLICIES "/geared", NULL, 200);
	rig_call("DELETE", CRDS "/gears.toys.example", NULL, 200);
}

static int start(void **state)
{
	world_grace_s = 8;
	return world_start(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_policy_types),
		cmocka_unit_test(test_policy_custom_types),
		cmocka_unit_test(test_deployment),
		cmocka_unit_test(test_deleted_pod_is_replaced),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_rolling_update_and_undo),
		cmocka_unit_test(test_scheduling),
		cmocka_unit_test(test_silent_node),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_orphan_and_foreground),
		cmocka_unit_test(test_namespace),
		cmocka_unit_test(test_stray),
		cmocka_unit_test(test_held_namespace),
		cmocka_unit_test(test_silent_server),
		cmocka_unit_test(test_remote_resources),
		cmocka_unit_test(test_plan_keeps),
		cmocka_unit_test(test_custom),
		cmocka_unit_test(test_custom_owners),
	};
	return cmocka_run_group_tests_name("controllers", tests, start, world_stop);
}
