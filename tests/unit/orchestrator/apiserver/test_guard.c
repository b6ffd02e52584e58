/* Who may do what, asked of a server: roles, escalation, impersonation, reviews, nodes, and a matrix of them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/rbac_default.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define NS RBAC "/namespaces/default"

static struct json *as(const char *user, const char *group, const char *method, const char *path, const char *body, int want)
{
	rig_header("Impersonate-User", user);
	if (group)
		rig_header("Impersonate-Group", group);
	return rig_call(method, path, body, want);
}

static void grant(const char *name, const char *rules, const char *user)
{
	rig_call("POST", NS "/roles", arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s\"},\"rules\":[%s]}", name, rules),
			201);
	rig_call("POST", NS "/rolebindings",
			arena_printf(&rig_arena,
					"{\"metadata\":{\"name\":\"%s\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"%s\"}],"
					"\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"%s\"}}",
					name, user, name),
			201);
}

static void test_roles(void **state)
{
	struct json *o;

	(void)state;
	as("amy", NULL, "GET", "/api/v1/namespaces/default/pods", NULL, 403);
	grant("amy", "{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"list\"]}", "amy");
	/* At once: a no is looked at again behind a read point. */
	as("amy", NULL, "GET", "/api/v1/namespaces/default/pods", NULL, 200);
	o = as("amy", NULL, "GET", "/api/v1/namespaces/kube-system/pods", NULL, 403);
	is(o, "message", "pods is forbidden: User \"amy\" cannot list resource \"pods\" in API group \"\" in the namespace "
			 "\"kube-system\"");
	o = as("amy", NULL, "DELETE", "/apis/apps/v1/namespaces/default/deployments/web", NULL, 403);
	is(o, "message", "deployments.apps \"web\" is forbidden: User \"amy\" cannot delete resource \"deployments\" in API "
			 "group \"apps\" in the namespace \"default\"");
	is(o, "details.group", "apps");
	o = as("amy", NULL, "GET", "/api/v1/nodes", NULL, 403);
	is(o, "message", "nodes is forbidden: User \"amy\" cannot list resource \"nodes\" in API group \"\" at the cluster scope");
	as("amy", NULL, "GET", "/apis", NULL, 200);
	o = as("amy", NULL, "GET", "/metrics", NULL, 403);
	is(o, "message", "forbidden: User \"amy\" cannot get path \"/metrics\"");
	rig_call("DELETE", NS "/rolebindings/amy", NULL, 200);
}

static void test_escalation(void **state)
{
	struct json *o;

	(void)state;
	grant("bob",
			"{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"roles\",\"rolebindings\"],\"verbs\":[\"create\","
			"\"update\",\"get\"]},{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]}",
			"bob");
	as("bob", NULL, "POST", NS "/roles",
			"{\"metadata\":{\"name\":\"fine\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]}]}",
			201);
	o = as("bob", NULL, "POST", NS "/roles",
			"{\"metadata\":{\"name\":\"more\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":["
			"\"get\"]}]}",
			403);
	is(o, "message", "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"bob\" (groups=[\"system:authenticated\"]) is "
			 "attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], "
			 "Verbs:[\"get\"]}");
	as("bob", NULL, "POST", NS "/rolebindings",
			"{\"metadata\":{\"name\":\"b\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}],\"roleRef\":{\"apiGroup\":"
			"\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"cluster-admin\"}}",
			403);
	as("bob", NULL, "POST", NS "/rolebindings",
			"{\"metadata\":{\"name\":\"b\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"x\"}],\"roleRef\":{\"apiGroup\":"
			"\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"fine\"}}",
			201);
	/* With "bind" on that one role it is allowed. */
	grant("bob-binds",
			"{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"clusterroles\"],\"verbs\":[\"bind\"],"
			"\"resourceNames\":[\"edit\"]}",
			"bob");
	as("bob", NULL, "POST", NS "/rolebindings",
			"{\"metadata\":{\"name\":\"c\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"x\"}],\"roleRef\":{\"apiGroup\":"
			"\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"edit\"}}",
			201);
}

static void test_impersonation(void **state)
{
	struct json *o;

	(void)state;
	rig_header("Impersonate-User", "carl");
	rig_header("Impersonate-Extra-Team%2fx", "red");
	rig_header("Impersonate-Uid", "7");
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", 201);
	is(o, "status.userInfo.username", "carl");
	is(o, "status.userInfo.uid", "7");
	assert_string_equal(json_cstr(json_at(json_getc(json_getp(o, "status.userInfo.extra"), "team/x"), 0)), "red");
	o = as("system:serviceaccount:d:x", NULL, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}", 201);
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 1)), "system:serviceaccounts:d");
	rig_header("Impersonate-Group", "g");
	rig_call("GET", "/version", NULL, 400);
	rig_header("Impersonate-User", "\xff");
	rig_call("GET", "/version", NULL, 400);
	/* What is told of what was asked for is text, whatever was asked for. */
	is(rig_call("GET", "/api/v1/namespaces/default/pods/a%ff%e2%82%ac", NULL, 404), "message", "pods \"a\xef\xbf\xbd\xe2\x82\xac\" not found");
	rig_as("jane");
	o = as("carl", NULL, "GET", "/version", NULL, 403);
	is(o, "message", "users \"carl\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the "
			 "cluster scope");
	rig_as("admin");
}

static void test_rules_review(void **state)
{
	struct json *o;
	bool found = false;

	(void)state;
	grant("dora", "{\"apiGroups\":[\"apps\"],\"resources\":[\"deployments\"],\"verbs\":[\"watch\"]}", "dora");
	o = as("dora", NULL, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
			"{\"spec\":{\"namespace\":\"default\"}}", 201);
	JSON_ITEMS (r, json_getp(o, "status.resourceRules"))
		found = found || str_eqc(json_str(json_at(json_getc(r, "resources"), 0)), "deployments");
	assert_true(found);
	assert_true(json_len(json_getp(o, "status.nonResourceRules")) > 0);
	o = rig_call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
			"{\"spec\":{\"user\":\"dora\",\"resourceAttributes\":{\"verb\":\"watch\",\"group\":\"apps\",\"resource\":"
			"\"deployments\",\"namespace\":\"default\"}}}",
			201);
	assert_true(json_true(json_getp(o, "status.allowed")));
	is(o, "status.reason", "RBAC: allowed by RoleBinding \"dora/default\" of Role \"dora\" to User \"dora\"");
	rig_call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{\"spec\":{\"user\":\"dora\"}}", 422);
}

static void test_node(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"mine\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"other\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/pods",
			"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"node1\",\"containers\":[{\"name\":\"c\",\"image\":"
			"\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"mine\"}}]}]}}",
			201);
	rig_as("node1");
	rig_call("GET", "/api/v1/namespaces/default/secrets/mine", NULL, 200);
	o = rig_call("GET", "/api/v1/namespaces/default/secrets/other", NULL, 403);
	is(o, "message", "secrets \"other\" is forbidden: User \"system:node:node1\" cannot get resource \"secrets\" in API group "
			 "\"\" in the namespace \"default\": no relationship found between node 'node1' and this object");
	rig_call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1", NULL, 200);
	rig_call("GET", "/api/v1/pods", NULL, 403);
	rig_as("admin");
	rig_call("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
			"{\"metadata\":{\"name\":\"deny\"},\"spec\":{\"podSelector\":{}}}", 201);
	rig_as("node1");
	rig_call("GET", "/api/v1/pods", NULL, 200); /* it enforces the policy, which may be about any pod */
	rig_as("admin");
	rig_call("DELETE", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/deny", NULL, 200);
	rig_as("node1");
	rig_call("GET", "/api/v1/pods", NULL, 403);
	rig_call("GET", "/api/v1/namespaces/default/pods/p", NULL, 200);
	rig_call("GET", "/api/v1/nodes", NULL, 200);
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{\"spec\":{}}", 403);
	o = rig_call("GET", "/api/v1/namespaces/default/pods/p", NULL, 200);
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token",
			arena_printf(&rig_arena, "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"%s\"}}}",
					json_cstr(json_getp(o, "metadata.uid"))),
			201);
	rig_call("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node2", NULL, 403);
	rig_as("admin");
	rig_call("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", NULL, 200);
	rig_as("node1");
	rig_call("GET", "/api/v1/namespaces/default/secrets/mine", NULL, 403);
	rig_as("admin");
}

#define INGRESSES "/apis/networking.k8s.io/v1/namespaces/default/ingresses"

static void ingress(const char *name, const char *class, const char *secret)
{
	rig_call("POST", INGRESSES,
			arena_printf(&rig_arena,
					"{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"ingressClassName\":\"%s\",\"tls\":[{\"hosts\":[\"a.com\"]},{"
					"\"secretName\":\"%s\"}],\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}}",
					name, class, secret),
			201);
}

/* The certificates of Ingresses that nodes serve, and no others. */
static void test_node_certificates(void **state)
{
	static const char *const secrets[] = {"served", "foreign", "unnamed"};

	(void)state;
	rig_call("POST", "/apis/networking.k8s.io/v1/ingressclasses",
			"{\"metadata\":{\"name\":\"ours\"},\"spec\":{\"controller\":\"kontiki.dev/ingress\"}}", 201);
	rig_call("POST", "/apis/networking.k8s.io/v1/ingressclasses",
			"{\"metadata\":{\"name\":\"theirs\"},\"spec\":{\"controller\":\"k8s.io/ingress-nginx\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
		rig_call("POST", "/api/v1/namespaces/default/secrets", arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s\"}}", secrets[i]), 201);
	ingress("one", "ours", "served");
	ingress("two", "theirs", "foreign");
	rig_as("node1");
	rig_call("GET", INGRESSES, NULL, 200);
	rig_call("POST", INGRESSES, "{}", 403);
	rig_call("GET", "/api/v1/namespaces/default/secrets/served", NULL, 200);
	rig_call("GET", "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dserved", NULL, 200);
	rig_call("GET", "/api/v1/namespaces/default/secrets/foreign", NULL, 403);
	rig_call("GET", "/api/v1/namespaces/default/secrets/unnamed", NULL, 403);
	rig_call("GET", "/api/v1/namespaces/default/secrets", NULL, 403);
	rig_call("DELETE", "/api/v1/namespaces/default/secrets/served", NULL, 403);
	rig_as("admin");
	rig_call("DELETE", INGRESSES "/one", NULL, 200);
	rig_as("node1");
	rig_call("GET", "/api/v1/namespaces/default/secrets/served", NULL, 403);
	rig_as("admin");
}

/* --- Admission ---------------------------------------------------------------------------------------------------- */

#define POD_OF(name, more) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"" more "}]}}"

static const char *space(const char *name, const char *labels)
{
	rig_call("POST", "/api/v1/namespaces",
			arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}}", name, labels), 201);
	rig_call("POST", arena_printf(&rig_arena, "/api/v1/namespaces/%s/serviceaccounts", name),
			"{\"metadata\":{\"name\":\"default\"}}", 201);
	return arena_printf(&rig_arena, "/api/v1/namespaces/%s", name);
}

static const char *in(const char *space, const char *what)
{
	return arena_printf(&rig_arena, "%s/%s", space, what);
}

static void test_immortal(void **state)
{
	(void)state;
	is(rig_call("DELETE", "/api/v1/namespaces/default", NULL, 403), "message",
			"namespaces \"default\" is forbidden: this namespace may not be deleted");
}

static void test_pod_security(void **state)
{
	const char *ns = space("secure", "\"pod-security.kubernetes.io/enforce\":\"baseline\"");
	struct json *o;

	(void)state;
	o = rig_call("POST", in(ns, "pods"), POD_OF("bad", ",\"securityContext\":{\"privileged\":true}"), 403);
	is(o, "message", "pods \"bad\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not "
			 "set securityContext.privileged=true)");
	rig_call("POST", in(ns, "pods"), POD_OF("good", ""), 201);
	/* Nor by a container that is added later. */
	o = rig_call("PUT", in(ns, "pods/good/ephemeralcontainers"),
			"{\"metadata\":{\"name\":\"good\"},\"spec\":{\"ephemeralContainers\":[{\"name\":\"e\",\"image\":\"b\","
			"\"securityContext\":{\"privileged\":true}}]}}", 403);
	is(o, "message", "pods \"good\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"e\" must not "
			 "set securityContext.privileged=true)");
	rig_call("POST", "/api/v1/namespaces",
			"{\"metadata\":{\"name\":\"odd\",\"labels\":{\"pod-security.kubernetes.io/enforce\":\"strict\"}}}", 422);
}

static void label(const char *ns, const char *level)
{
	rig_type("application/merge-patch+json");
	rig_call("PATCH", arena_printf(&rig_arena, "/api/v1/namespaces/%s", ns),
			arena_printf(&rig_arena, "{\"metadata\":{\"labels\":{\"pod-security.kubernetes.io/enforce\":\"%s\"}}}", level), 200);
}

/* A stricter level does nothing to pods that are there; who sets it is told which would be refused. */
static void test_pod_security_existing(void **state)
{
	const char *ns = space("settled", "");

	(void)state;
	rig_call("POST", in(ns, "pods"), POD_OF("c-root", ",\"securityContext\":{\"privileged\":true}"), 201);
	rig_call("POST", in(ns, "pods"), POD_OF("a-root", ",\"securityContext\":{\"privileged\":true}"), 201);
	rig_call("POST", in(ns, "pods"), POD_OF("b-root", ",\"securityContext\":{\"privileged\":true}"), 201);
	rig_call("POST", in(ns, "pods"), POD_OF("plain", ""), 201);
	label("settled", "baseline");
	assert_string_equal(arena_cstr(&rig_arena, rig_warnings()),
			"299 - \"existing pods in namespace \\\"settled\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"\n"
			"299 - \"a-root (and 2 other pods): privileged\"\n");
	/* The same again, or less, is no news. */
	label("settled", "baseline");
	assert_int_equal(rig_warnings().n, 0);
	label("settled", "restricted");
	assert_true(str_search(rig_warnings(), STR("\"plain: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\"")) > 0);
	label("settled", "baseline");
	assert_int_equal(rig_warnings().n, 0);
	label("settled", "privileged");
	assert_int_equal(rig_warnings().n, 0);
}

static void test_limit_ranger(void **state)
{
	const char *ns = space("limited", "");
	struct json *o;

	(void)state;
	rig_call("POST", in(ns, "limitranges"),
			"{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"default\":{\"cpu\":\"1\"},"
			"\"max\":{\"cpu\":\"2\"}}]}}",
			201);
	o = rig_call("POST", in(ns, "pods"), POD_OF("p", ""), 201);
	is(json_at(json_getp(o, "spec.containers"), 0), "resources.limits.cpu", "1");
	o = rig_call("POST", in(ns, "pods"), POD_OF("q", ",\"resources\":{\"limits\":{\"cpu\":\"3\"}}"), 403);
	assert_true(str_search(json_strp(o, "message"), STR("maximum cpu usage per Container is 2, but limit is 3")) >= 0);
}

static void test_priority(void **state)
{
	const char *ns = space("prio", "");
	struct json *o;

	(void)state;
	rig_call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
			"{\"metadata\":{\"name\":\"mid\"},\"value\":100,\"globalDefault\":true}", 201);
	rig_call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
			"{\"metadata\":{\"name\":\"mid2\"},\"value\":100,\"globalDefault\":true}", 403);
	o = rig_call("POST", in(ns, "pods"), POD_OF("p", ""), 201);
	is(o, "spec.priorityClassName", "mid");
	assert_int_equal(json_i64_or(json_getp(o, "spec.priority"), 0), 100);
	rig_call("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/mid", NULL, 200);
	rig_call("POST", in(ns, "pods"),
			"{\"metadata\":{\"name\":\"r\"},\"spec\":{\"runtimeClassName\":\"none\",\"containers\":[{\"name\":\"c\",\"image\":"
			"\"i\"}]}}",
			403);
}

/* As the controller asks for it. */
static void count_quota(const char *ns, const char *name)
{
	struct json *q = rig_call("GET", in(ns, arena_printf(&rig_arena, "resourcequotas/%s", name)), NULL, 200);

	rig_call("PUT", in(ns, arena_printf(&rig_arena, "resourcequotas/%s/status", name)), json_text(&rig_arena, q).p, 200);
}

static const char *used(const char *ns, const char *name, const char *what)
{
	struct json *q = rig_call("GET", in(ns, arena_printf(&rig_arena, "resourcequotas/%s", name)), NULL, 200);

	return json_cstr(json_getc(json_getp(q, "status.used"), what));
}

static void test_quota(void **state)
{
	const char *ns = space("quota", "");
	struct json *o;

	(void)state;
	rig_call("POST", in(ns, "pods"), POD_OF("before", ",\"resources\":{\"requests\":{\"cpu\":\"1\"}}"), 201);
	rig_call("POST", in(ns, "resourcequotas"),
			"{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"pods\":\"2\",\"requests.cpu\":\"3\",\"count/configmaps\":"
			"\"1\"}}}",
			201);
	count_quota(ns, "q");
	assert_string_equal(used(ns, "q", "pods"), "1");
	assert_string_equal(used(ns, "q", "requests.cpu"), "1");
	o = rig_call("POST", in(ns, "pods"), POD_OF("p", ""), 403);
	is(o, "message", "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c");
	o = rig_call("POST", in(ns, "pods"), POD_OF("p", ",\"resources\":{\"requests\":{\"cpu\":\"2500m\"}}"), 403);
	is(o, "message", "pods \"p\" is forbidden: exceeded quota: q, requested: requests.cpu=2500m, used: requests.cpu=1, limited: "
			 "requests.cpu=3");
	rig_call("POST", in(ns, "pods"), POD_OF("p", ",\"resources\":{\"requests\":{\"cpu\":\"2\"}}"), 201);
	assert_string_equal(used(ns, "q", "requests.cpu"), "3");
	rig_call("POST", in(ns, "pods"), POD_OF("r", ",\"resources\":{\"requests\":{\"cpu\":\"0\"}}"), 403);
	rig_call("POST", in(ns, "configmaps"), "{\"metadata\":{\"name\":\"a\"}}", 201);
	rig_call("POST", in(ns, "configmaps"), "{\"metadata\":{\"name\":\"b\"}}", 403);
	/* A failed create books nothing, neither does a dry run. */
	rig_call("POST", in(ns, "pods?dryRun=All"), POD_OF("p", ",\"resources\":{\"requests\":{\"cpu\":\"0\"}}"), 403);
	assert_string_equal(used(ns, "q", "pods"), "2");
	/* What goes gives back at once; a pod that is over does not count. */
	rig_call("DELETE", in(ns, "configmaps/a"), NULL, 200);
	rig_call("POST", in(ns, "configmaps"), "{\"metadata\":{\"name\":\"b\"}}", 201);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", in(ns, "pods/before/status"), "{\"status\":{\"phase\":\"Succeeded\"}}", 200);
	assert_string_equal(used(ns, "q", "pods"), "1");
	assert_string_equal(used(ns, "q", "requests.cpu"), "2");
	rig_call("DELETE", in(ns, "pods/p?gracePeriodSeconds=0"), NULL, 200);
	rig_call("DELETE", in(ns, "pods/before?gracePeriodSeconds=0"), NULL, 200);
	assert_string_equal(used(ns, "q", "pods"), "0");
	count_quota(ns, "q");
	assert_string_equal(used(ns, "q", "pods"), "0");
	assert_string_equal(used(ns, "q", "count/configmaps"), "1");
}

#define MIRROR(meta, spec) "{'metadata':{'name':'mirror','annotations':{'kubernetes.io/config.mirror':'h'}" meta "},'spec':{'nodeName':'node1'," \
	"'containers':[{'name':'c','image':'i'}]" spec "}}"
#define OWNED(more) ",'ownerReferences':[{'apiVersion':'v1','kind':'Node','name':'node1','uid':'u','controller':true" more "}]"

/* What a pod refers to its node may read: one that a node makes itself refers to nothing. */
/* A token dies with a Pod, a Secret or a Node, of the core's; a binding is of the pod that it names. */
static void test_names_of_others(void **state)
{
	static const char token[] = "/api/v1/namespaces/default/serviceaccounts/bound/token";

	(void)state;
	rig_as("admin");
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", quoted("{'metadata':{'name':'bound'}}"), 201);
	rig_call("POST", "/api/v1/namespaces/default/secrets", quoted("{'metadata':{'name':'tie'}}"), 201);
	rig_call("POST", token, quoted("{'spec':{'boundObjectRef':{'apiVersion':'v1','kind':'Secret','name':'tie'}}}"), 201);
	is(rig_call("POST", token, quoted("{'spec':{'boundObjectRef':{'apiVersion':'apps/v1','kind':'Secret','name':'tie'}}}"), 400), "message",
			"cannot bind token for object of type apps/v1, Kind=Secret");
	is(rig_call("POST", token, quoted("{'spec':{'boundObjectRef':{'apiVersion':'v1','kind':'ConfigMap','name':'tie'}}}"), 400), "message",
			"cannot bind token for object of type v1, Kind=ConfigMap");
	is(rig_call("POST", "/api/v1/namespaces/default/pods/nobody/binding", quoted("{'metadata':{'name':'other'},'target':{'name':'node1'}}"), 400), "message",
			"name in URL does not match name in Binding object");
	rig_call("DELETE", "/api/v1/namespaces/default/secrets/tie", NULL, 200);
	rig_call("DELETE", "/api/v1/namespaces/default/serviceaccounts/bound", NULL, 200);
}

static void test_mirror_pods(void **state)
{
	static const char *const bad[] = {
			MIRROR(OWNED(""), ",'imagePullSecrets':[{'name':'own'}]"),
			MIRROR(OWNED(""), ",'initContainers':[{'name':'d','image':'i','env':[{'name':'A','valueFrom':{'secretKeyRef':{'name':'own','key':'a'}}}]}]"),
			MIRROR(OWNED(""), ",'initContainers':[{'name':'d','image':'i','envFrom':[{'secretRef':{'name':'own'}}]}]"),
			MIRROR(OWNED(""), ",'initContainers':[{'name':'d','image':'i','envFrom':[{'configMapRef':{'name':'own'}}]}]"),
			MIRROR(OWNED(""), ",'volumes':[{'name':'v','csi':{'driver':'d.example.com','nodePublishSecretRef':{'name':'own'}}}]"),
			MIRROR(OWNED(""), ",'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':{'spec':{'accessModes':['ReadWriteOnce'],'resources':{"
					  "'requests':{'storage':'1Gi'}}}}}}]"),
			MIRROR(OWNED(""), ",'resourceClaims':[{'name':'a','resourceClaimName':'b'}]"),
			MIRROR(OWNED(""), ",'serviceAccountName':'default'"),
			MIRROR("", ""),
			MIRROR(OWNED(",'blockOwnerDeletion':true"), ""),
			MIRROR(",'ownerReferences':[{'apiVersion':'v1','kind':'Node','name':'node2','uid':'u','controller':true}]", ""),
	};

	(void)state;
	rig_as("node1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		rig_call("POST", "/api/v1/namespaces/default/pods?dryRun=All", quoted(bad[i]), 403);
	rig_call("POST", "/api/v1/namespaces/default/pods?dryRun=All", quoted(MIRROR(OWNED(""), "")), 201);
	/* No node is a control plane because it says so. */
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/api/v1/nodes/node1", "{\"metadata\":{\"labels\":{\"node-role.kubernetes.io/control-plane\":\"\"}}}", 403);
	rig_as("admin");
}

/* exec is for who may create it, by whatever method it comes: "get" alone is what auditors have. */
static void test_exec_takes_create(void **state)
{
	static const char *const subs[] = {"exec?command=sh&stdout=1", "attach?stdout=1", "portforward?ports=80"};

	(void)state;
	rig_as("admin");
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", quoted("{'metadata':{'name':'auditor'},'rules':[{'apiGroups':[''],"
			"'resources':['pods','pods/exec','pods/attach','pods/portforward'],'verbs':['get']}]}"), 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", quoted("{'metadata':{'name':'auditor'},'roleRef':{'apiGroup':"
			"'rbac.authorization.k8s.io','kind':'Role','name':'auditor'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io','kind':'User','name':'jane'}]}"), 201);
	for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++) {
		rig_as("jane");
		rig_call("GET", arena_printf(&rig_arena, "/api/v1/namespaces/default/pods/none/%s", subs[i]), NULL, 403);
		rig_as("admin");
		rig_call("GET", arena_printf(&rig_arena, "/api/v1/namespaces/default/pods/none/%s", subs[i]), NULL, 404);
	}
	rig_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/auditor", NULL, 200);
	rig_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles/auditor", NULL, 200);
}

/* Who may change roles, but holds little, cannot have a strong one aggregated into his own. */
static void test_labels_grant(void **state)
{
	static const char label[] = "{\"metadata\":{\"labels\":{\"rbac.authorization.k8s.io/aggregate-to-view\":\"true\"}}}";

	(void)state;
	rig_as("admin");
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", quoted("{'metadata':{'name':'clerk'},'rules':[{'apiGroups':["
			"'rbac.authorization.k8s.io'],'resources':['clusterroles'],'verbs':['patch']}]}"), 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", quoted("{'metadata':{'name':'clerk'},'roleRef':{'apiGroup':"
			"'rbac.authorization.k8s.io','kind':'ClusterRole','name':'clerk'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io','kind':'User','name':'jane'}]}"), 201);
	rig_as("jane");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin", label, 403);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/clerk", label, 200);
	rig_as("admin");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/clerk", quoted("{'rules':[{'apiGroups':['rbac.authorization.k8s.io'],"
			"'resources':['clusterroles','clusterrolebindings'],'verbs':['patch']}]}"), 200);
	rig_as("jane");
	/* Nor does he change anything but owners and finalizers of a binding to one. */
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 403);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin", "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}", 403);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin", "{\"metadata\":{\"finalizers\":[\"a.b/c\"]}}", 200);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin", "{\"metadata\":{\"finalizers\":null}}", 200);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/clerk", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 200);
	rig_as("admin");
	rig_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/clerk", NULL, 200);
	rig_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/clerk", NULL, 200);
}

static void test_node_restriction(void **state)
{
	struct json *o;

	(void)state;
	rig_as("node1");
	o = rig_call("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"node2\"}}", 403);
	is(o, "message", "nodes \"node2\" is forbidden: node \"node1\" is not allowed to modify node \"node2\"");
	rig_call("POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"node1\"}}", 201);
	rig_type("application/merge-patch+json");
	o = rig_call("PATCH", "/api/v1/nodes/node1", "{\"metadata\":{\"labels\":{\"node-restriction.kubernetes.io/x\":\"y\"}}}", 403);
	is(o, "message", "nodes \"node1\" is forbidden: node \"node1\" is not allowed to modify labels: "
			 "node-restriction.kubernetes.io/x");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/api/v1/nodes/node1", "{\"metadata\":{\"labels\":{\"own\":\"y\"}}}", 200);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/api/v1/nodes/node1", "{\"spec\":{\"taints\":[]}}", 403);
	o = rig_call("POST", "/api/v1/namespaces/default/pods", POD_OF("m", ""), 403);
	/* Also who lets nodes resize pods does not make them do it. */
	rig_as("admin");
	rig_call("POST", "/api/v1/namespaces/default/pods", "{\"metadata\":{\"name\":\"mine\"},\"spec\":{\"nodeName\":\"node1\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
			"{\"metadata\":{\"name\":\"resizers\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods/resize\"],\"verbs\":[\"patch\"]}]}", 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
			"{\"metadata\":{\"name\":\"resizers\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":"
			"\"resizers\"},\"subjects\":[{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"system:nodes\"}]}", 201);
	rig_as("node1");
	rig_type("application/merge-patch+json");
	o = rig_call("PATCH", "/api/v1/namespaces/default/pods/mine/resize", "{}", 403);
	is(o, "message", "pods \"mine\" is forbidden: unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed");
	rig_as("admin");
	rig_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/resizers", NULL, 200);
	rig_call("DELETE", "/api/v1/namespaces/default/pods/mine?gracePeriodSeconds=0", NULL, 200);
}

/* A request by node1 for that signer; whether it was approved at once. */
static bool csr(const char *name, const char *signer, const char *usage, const char *cn, const char *const *sans)
{
	const char *const orgs[] = {"system:nodes", NULL};
	struct x509_spec spec = {.cn = cn, .orgs = orgs, .sans = sans};
	_cleanup_(buf_fini) struct buf pem = BUF_INIT;
	struct x509_key *key;
	struct err e = ERR_INIT;
	struct json *o;

	assert_int_equal(x509_key_new(&key, &e), 0);
	assert_int_equal(x509_csr_new(&spec, key, &pem, &e), 0);
	x509_key_free(key);
	o = rig_call("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests",
			arena_printf(&rig_arena,
					"{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"request\":\"%.*s\",\"signerName\":\"kubernetes.io/%s\","
					"\"usages\":[\"digital signature\",\"%s\"]}}",
					name, STR_FMT(api_base64(&rig_arena, buf_str(&pem))), signer, usage),
			201);
	return json_eqc(json_getc(json_at(json_getp(o, "status.conditions"), 0), "type"), "Approved");
}

static void test_csr(void **state)
{
	static const char *const own[] = {"node1", "127.0.0.1", NULL}, *const other[] = {"node1", "10.9.9.9", NULL},
				 *const api[] = {"kubernetes.default.svc", NULL};

	(void)state;
	rig_as("node1");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/api/v1/nodes/node1/status",
			"{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"},{\"type\":\"InternalIP\",\"address\":"
			"\"10.9.9.9\"},{\"type\":\"Hostname\",\"address\":\"kubernetes.default.svc\"}]}}",
			200);
	assert_true(csr("a", "kube-apiserver-client-kubelet", "client auth", "system:node:node1", NULL));
	assert_false(csr("b", "kube-apiserver-client-kubelet", "client auth", "system:node:node2", NULL));
	assert_true(csr("c", "kubelet-serving", "server auth", "system:node:node1", own));
	/* What it claims of itself does not make it another. */
	assert_false(csr("d", "kubelet-serving", "server auth", "system:node:node1", other));
	assert_false(csr("e", "kubelet-serving", "server auth", "system:node:node1", api));
	assert_false(csr("f", "kubelet-serving", "server auth", "system:node:node2", own));
	assert_false(csr("g", "kube-apiserver-client", "client auth", "system:node:node1", NULL));
	/* Whose name is no node's. */
	assert_false(csr("h", "kube-apiserver-client-kubelet", "client auth", "bob", NULL));
	assert_false(csr("i", "kubelet-serving", "server auth", "bob", own));
	rig_call("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/d/approval", "{\"metadata\":{\"name\":\"d\"}}", 403);
	rig_as("admin");
}

/* --- The matrix ------------------------------------------------------------------------------------------------- */

/*
 * A second opinion, written against the documents of the default roles instead of their bytes: does a rule of this role
 * allow it?
 */
static bool lists(const struct json *list, const char *word)
{
	JSON_ITEMS (it, list)
		if (json_eqc(it, "*") || json_eqc(it, word))
			return true;
	return false;
}

static bool role_says(const char *role, const char *verb, const char *group, const char *what)
{
	struct rbac_default d;
	struct arena a;
	bool yes = false;

	arena_init(&a);
	for (size_t pos = 0; !yes && rbac_default_next(&a, &pos, &d);)
		if (strcmp(d.plural, "clusterroles") == 0 && strcmp(d.name, role) == 0)
			JSON_ITEMS (r, json_getc(d.doc, "rules"))
				yes = yes || (lists(json_getc(r, "verbs"), verb) && lists(json_getc(r, "apiGroups"), group) &&
							     lists(json_getc(r, "resources"), what) &&
							     json_len(json_getc(r, "resourceNames")) == 0);
	arena_fini(&a);
	return yes;
}

/*
 * What a node without pods may do about an object x of namespace default that is not there: upstream's rules for nodes, and what the
 * role kontiki:node-agent adds. A pod that is gone may be asked for, and said to be gone.
 */
static const struct {
	const char *group, *what, *verbs;
} node_may[] = {
		{"", "services", "get list watch"},
		{"", "endpoints", "get list watch"},
		{"", "namespaces", "get list watch"},
		{"", "events", "create patch update"},
		{"", "nodes", "create get list patch update watch"},
		{"", "nodes/status", "patch update"},
		{"", "pods", "create delete get"},
		{"", "pods/status", "get patch update"},
		{"", "pods/eviction", "create"},
		{"authentication.k8s.io", "tokenreviews", "create"},
		{"authentication.k8s.io", "selfsubjectreviews", "create"},
		{"authorization.k8s.io", "subjectaccessreviews", "create"},
		{"authorization.k8s.io", "localsubjectaccessreviews", "create"},
		{"authorization.k8s.io", "selfsubjectaccessreviews", "create"},
		{"authorization.k8s.io", "selfsubjectrulesreviews", "create"},
		{"certificates.k8s.io", "certificatesigningrequests", "create get list watch"},
		{"certificates.k8s.io", "clustertrustbundles", "get list watch"},
		{"discovery.k8s.io", "endpointslices", "get list watch"},
		{"events.k8s.io", "events", "create patch update"},
		{"networking.k8s.io", "ingressclasses", "get list watch"},
		{"networking.k8s.io", "ingresses", "get list watch"},
		{"networking.k8s.io", "networkpolicies", "get list watch"},
		{"networking.k8s.io", "ingresses", "get list watch"},
		{"networking.k8s.io", "ingressclasses", "get list watch"},
		{"node.k8s.io", "runtimeclasses", "get list watch"},
		{"storage.k8s.io", "csidrivers", "get list watch"},
		{"storage.k8s.io", "csinodes", "create delete get patch update"},
};

static bool node_allowed(const char *verb, const char *group, const char *what)
{
	for (size_t i = 0; i < ARRAY_LEN(node_may); i++) {
		struct str one, rest = str_from(node_may[i].verbs);

		if (strcmp(node_may[i].group, group) != 0 || strcmp(node_may[i].what, what) != 0)
			continue;
		while (rest.n > 0) {
			str_cut(rest, ' ', &one, &rest);
			if (str_eqc(one, verb))
				return true;
		}
	}
	return false;
}

static const struct {
	const char *user, *group, *roles[4];
} people[] = {
		{"system:node:node9", "system:nodes\",\"system:authenticated", {NULL}},
		{"root", "system:masters", {"cluster-admin"}},
		{"reader", "system:authenticated", {"system:basic-user", "system:aggregate-to-view"}},
		{"writer", "system:authenticated", {"system:basic-user", "system:aggregate-to-view", "system:aggregate-to-edit"}},
		{"owner", "system:authenticated", {"system:basic-user", "system:aggregate-to-admin"}},
		{"monitor", "system:monitoring\",\"system:authenticated", {"system:basic-user", "system:monitoring"}},
		{"system:kube-scheduler", "system:authenticated", {"system:basic-user", "system:kube-scheduler", "system:volume-scheduler"}},
		{"system:serviceaccount:default:bot", "system:authenticated", {"system:basic-user"}},
		{"system:anonymous", "system:unauthenticated", {NULL}},
};

static void check_cell(size_t who, const char *verb, const struct resource *res, const char *sub)
{
	const char *what = sub ? arena_printf(&rig_arena, "%s/%s", res->plural, sub) : res->plural;
	bool want = who == 0 && node_allowed(verb, res->group, what), got;
	struct json *o;

	for (size_t i = 0; people[who].roles[i]; i++)
		want = want || role_says(people[who].roles[i], verb, res->group, what);
	o = rig_call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
			arena_printf(&rig_arena,
					"{\"spec\":{\"user\":\"%s\",\"groups\":[\"%s\"],\"resourceAttributes\":{\"verb\":\"%s\",\"group\":"
					"\"%s\",\"resource\":\"%s\",\"subresource\":\"%s\",\"namespace\":\"default\",\"name\":\"x\"}}}",
					people[who].user, people[who].group, verb, res->group, res->plural, sub ? sub : ""),
			201);
	got = json_true(json_getp(o, "status.allowed"));
	if (got != want)
		fail_msg("%s %s %s.%s: %s", people[who].user, verb, what, res->group, got ? "allowed" : "not allowed");
}

static void check_resource(size_t who, const struct resource *res)
{
	size_t n;
	const struct resource_sub *subs = resource_subs(res, &n);

	for (unsigned v = 0; v < RESOURCE_N_VERBS; v++) {
		if (res->verbs & 1u << v)
			check_cell(who, resource_verb_names[v], res, NULL);
		for (size_t i = 0; i < n; i++)
			if (subs[i].verbs & 1u << v)
				check_cell(who, resource_verb_names[v], res, subs[i].name);
	}
}

static void test_matrix(void **state)
{
	(void)state;
	/* Those that the cluster binds by itself stand as they are. */
	for (size_t who = 0; who < ARRAY_LEN(people); who++)
		for (size_t i = 0; people[who].roles[i]; i++)
			if (strncmp(people[who].roles[i], "system:aggregate-to-", strlen("system:aggregate-to-")) == 0)
				rig_call("POST", RBAC "/clusterrolebindings",
						arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s-%zu\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"%s\"}],"
							"\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"%s\"}}",
							people[who].user, i, people[who].user, people[who].roles[i]), 201);
	for (size_t who = 0; who < ARRAY_LEN(people); who++)
		RESOURCE_FOR_EACH (res)
			if (res->served)
				check_resource(who, res);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_roles),
			cmocka_unit_test(test_escalation),
			cmocka_unit_test(test_impersonation),
			cmocka_unit_test(test_rules_review),
			cmocka_unit_test(test_node),
			cmocka_unit_test(test_node_certificates),
			cmocka_unit_test(test_immortal),
			cmocka_unit_test(test_pod_security),
			cmocka_unit_test(test_pod_security_existing),
			cmocka_unit_test(test_limit_ranger),
			cmocka_unit_test(test_priority),
			cmocka_unit_test(test_quota),
			cmocka_unit_test(test_node_restriction),
			cmocka_unit_test(test_names_of_others),
			cmocka_unit_test(test_mirror_pods),
			cmocka_unit_test(test_exec_takes_create),
			cmocka_unit_test(test_labels_grant),
			cmocka_unit_test(test_csr),
			cmocka_unit_test(test_matrix),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
