/* What clients see of answers besides the objects: headers, what they may keep, and the words of failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"
#define DISCOVERY "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static void is(const struct json *doc, const char *path, const char *want)
{
	assert_string_equal(arena_cstr(&rig_arena, json_strp(doc, path)), want);
}

static int start(void **state)
{
	(void)state;
	rig_start();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

static void test_audit_id(void **state)
{
	const char *first;

	(void)state;
	rig_call("GET", "/version", NULL, 200);
	first = rig_answer_header("audit-id");
	assert_int_equal(strlen(first), 36);
	rig_call("GET", CM "/none", NULL, 404);
	assert_int_equal(strlen(rig_answer_header("audit-id")), 36);
	assert_string_not_equal(rig_answer_header("audit-id"), first);
	rig_header("Audit-ID", "mine");
	rig_call("GET", "/version", NULL, 200);
	assert_string_equal(rig_answer_header("audit-id"), "mine");
}

/* Who has it is told so, until it is another. */
static void test_etags(void **state)
{
	static const char *const paths[] = {"/apis", "/api", "/openapi/v2", "/openapi/v3"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		const char *tag;

		rig_header("Accept", i < 2 ? DISCOVERY : "application/json");
		rig_call("GET", paths[i], NULL, 200);
		tag = rig_answer_header("etag");
		assert_int_equal(strlen(tag), 18);
		assert_string_equal(rig_answer_header("vary"), "Accept");
		rig_header("Accept", i < 2 ? DISCOVERY : "application/json");
		rig_header("If-None-Match", tag);
		assert_int_equal(rig_raw("GET", paths[i], STR_NULL, 304).n, 0);
		assert_string_equal(rig_answer_header("etag"), tag);
		rig_header("Accept", i < 2 ? DISCOVERY : "application/json");
		rig_header("If-None-Match", "\"0123456789ABCDEF\"");
		rig_call("GET", paths[i], NULL, 200);
	}
}

static const char *v3_of(const char *group_version)
{
	const struct json *paths = json_getc(rig_call("GET", "/openapi/v3", NULL, 200), "paths");

	return json_cstr(json_getc(json_getc(paths, group_version), "serverRelativeURL"));
}

static void test_openapi_by_hash(void **state)
{
	const char *core = v3_of("api/v1"), *apps = v3_of("apis/apps/v1");

	(void)state;
	assert_string_not_equal(strchr(core, '='), strchr(apps, '='));
	rig_call("GET", core, NULL, 200);
	assert_string_equal(rig_answer_header("cache-control"), "public, immutable");
	rig_call("GET", "/openapi/v3/api/v1?hash=OLD", NULL, 301);
	assert_string_equal(rig_answer_header("location"), core);
	rig_call("GET", "/openapi/v3/api/v1", NULL, 200);
	assert_string_equal(rig_answer_header("cache-control"), "no-cache, private");
}

/* A definition that changes moves its document, and no other one. */
static void test_openapi_hash_of_definition(void **state)
{
	static const char crd[] =
			"{\"metadata\":{\"name\":\"tops.toys.example\"},\"spec\":{\"group\":\"toys.example\",\"scope\":\"Namespaced\","
			"\"names\":{\"plural\":\"tops\",\"kind\":\"Top\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
			"\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\"}}}}}]}}";
	const char *core = v3_of("api/v1"), *before, *after;

	(void)state;
	rig_call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd, 201);
	before = v3_of("apis/toys.example/v1");
	assert_string_equal(v3_of("api/v1"), core);
	rig_call("GET", before, NULL, 200);
	rig_type("application/json-patch+json");
	rig_call("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tops.toys.example",
			"[{\"op\":\"add\",\"path\":\"/spec/versions/0/subresources\",\"value\":{\"status\":{}}}]", 200);
	after = v3_of("apis/toys.example/v1");
	assert_string_not_equal(before, after);
	rig_call("GET", before, NULL, 301);
	assert_string_equal(rig_answer_header("location"), after);
	rig_call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tops.toys.example", NULL, 200);
}

/* Below the roots of what is served a Status, elsewhere a plain web server's page: clients tell them apart. */
static void test_not_found(void **state)
{
	static const char *const plain[] = {"/nope", "/apis/nope", "/apis/nope/v1", "/apis/nope.example/v1/namespaces/default/things"};
	static const char *const status[] = {"/api/v1/nope", "/api/v2/pods", "/apis/apps/v2", "/apis/apps/v1/nope"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		assert_true(str_eqc(rig_raw("GET", plain[i], STR_NULL, 404), "404 page not found\n"));
		assert_string_equal(rig_answer_header("content-type"), "text/plain; charset=utf-8");
	}
	for (size_t i = 0; i < ARRAY_LEN(status); i++)
		is(rig_call("GET", status[i], NULL, 404), "message", "the server could not find the requested resource");
	assert_non_null(json_getc(rig_call("PUT", CM, "{}", 405), "details"));
	/* An object of a namespace is not to be had without it; its collection is, but not for everything. */
	rig_call("GET", "/api/v1/configmaps/a", NULL, 404);
	rig_call("POST", "/api/v1/configmaps", "{}", 405);
}

static void test_words(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("POST", DEPLOY "?fieldValidation=Strict", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"spec\":{\"a\":1}}", 400),
			"message", "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.a\"");
	is(rig_call("POST", DEPLOY, "{}", 422), "message",
			"Deployment.apps \"\" is invalid: [metadata.name: Required value: name or generateName is required, spec.selector: Required value, "
			"spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match template `labels`, "
			"spec.template.spec.containers: Required value]");
	is(rig_call("POST", CM, "{\"metadata\":{\"name\":\"a\",\"labels\":{\"b\":1}}}", 400), "message",
			"ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field "
			"ObjectMeta.metadata.labels of type string");
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"words\"}}", 201);
	rig_type("application/merge-patch+json");
	is(rig_call("PATCH", CM "/words", "{\"metadata\":{\"uid\":\"x\"}}", 422), "message",
			"ConfigMap \"words\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable");
	o = rig_call("PATCH", CM "/words", "{}", 415);
	is(o, "message", "415: Unsupported Media Type");
	assert_non_null(json_getc(o, "details"));
}

static void warned(const char *const *want, size_t n)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "299 - \"%s\"\n", want[i]);
	assert_string_equal(arena_cstr(&rig_arena, rig_warnings()), b.p ? b.p : "");
}

/* What YAML says twice is told by lines, in its reader's words. */
static void test_strict_yaml(void **state)
{
	static const char object[] = "metadata:\n  name: strict-yaml\n  foo: 1\ndata:\n  k: \"1\"\n  k: \"2\"\n  k:\n    \"3\"\n";
	static const char apply[] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: strict-apply}\ndata:\n  k: \"1\"\n  k: \"2\"\n";
	static const char unknown[] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: strict-apply}\nfoo: 1\ndata: {k: \"1\", k: \"2\"}\n";
	static const char *const in_object[] = {"line 6: key \\\"k\\\" already set in map", "line 8: key \\\"k\\\" already set in map",
			"unknown field \\\"metadata.foo\\\""};
	static const char *const in_apply[] = {"line 6: key \\\"k\\\" already set in map"};

	(void)state;
	rig_type("application/yaml");
	is(rig_call("POST", CM "?fieldValidation=Strict", object, 400), "message",
			"ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n"
			"  line 6: key \"k\" already set in map\n  line 8: key \"k\" already set in map, unknown field \"metadata.foo\"");
	rig_type("application/yaml");
	is(rig_call("POST", CM, object, 201), "data.k", "3");
	warned(in_object, ARRAY_LEN(in_object));
	rig_type("application/apply-patch+yaml");
	is(rig_call("PATCH", CM "/strict-apply?fieldManager=m&fieldValidation=Strict", apply, 400), "message",
			"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"k\" already set in map");
	rig_type("application/apply-patch+yaml");
	rig_call("PATCH", CM "/strict-apply?fieldManager=m", apply, 201);
	warned(in_apply, ARRAY_LEN(in_apply));
	/* What cannot be applied at all is said first. */
	rig_type("application/apply-patch+yaml");
	is(rig_call("PATCH", CM "/strict-apply?fieldManager=m&fieldValidation=Strict", unknown, 500), "message",
			"failed to create typed patch object (/strict-apply; /v1, Kind=ConfigMap): .foo: field not declared in schema");
	rig_type("application/yaml");
	is(rig_call("POST", CM, "a: [b\n", 400), "message",
			"the object provided is unrecognized (must be of type ConfigMap): yaml: line 2: did not find expected ',' or ']' (613a205b620a)");
}

/* Bodies that are something else than what the path takes. */
static void test_other_kinds(void **state)
{
	static const struct {
		const char *path, *body, *message;
		int status;
	} rows[] = {
		{CM, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}",
				"Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion", 400},
		{DEPLOY, "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\"}",
				"Job in version \"v1\" cannot be handled as a Deployment: converting (v1.Job) to (apps.Deployment): unknown conversion", 400},
		{CM, "{\"kind\":\"Nothing\"}",
				"Nothing in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nothing\" is registered for version \"v1\" in scheme "
				"\"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"", 400},
		{DEPLOY, "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v9\"}",
				"Deployment in version \"v9\" cannot be handled as a Deployment: no kind \"Deployment\" is registered for version \"apps/v9\" in "
				"scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"", 400},
		{CM, "[1]", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot "
				"unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
				"\"json:\\\"kind,omitempty\\\"\" } (5b315d)", 400},
		{CM, "null", "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required", 422},
		{CM, "{\"metadata\":{\"creationTimestamp\":\"x\"}}",
				"ConfigMap in version \"v1\" cannot be handled as a ConfigMap: parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
				"\"x\" as \"2006\"", 400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		is(rig_call("POST", rows[i].path, rows[i].body, rows[i].status), "message", rows[i].message);
	is(rig_call("POST", "/api/v1/namespaces/default/pods/p/binding", "{}", 500), "message", "target.name: Required value");
	is(rig_call("POST", "/api/v1/namespaces/default/pods/p/binding", "{\"target\":{\"name\":\"n\",\"kind\":\"Pod\"}}", 500), "message",
			"target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"");
	/* A merge that makes it another kind; a strategic one cannot. */
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"other-kind\"}}", 201);
	rig_type("application/merge-patch+json");
	assert_non_null(strstr(json_cstr(json_getc(rig_call("PATCH", CM "/other-kind", "{\"kind\":\"Secret\"}", 422), "message")),
			"converting (v1.Secret) to (core.ConfigMap): unknown conversion"));
	rig_type("application/strategic-merge-patch+json");
	is(rig_call("PATCH", CM "/other-kind", "{\"kind\":\"Secret\"}", 200), "kind", "ConfigMap");
	rig_type("application/merge-patch+json");
	is(rig_call("PATCH", CM "/other-kind", "[]", 400), "message",
			"error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
	rig_type("application/json-patch+json");
	is(rig_call("PATCH", CM "/other-kind", "{}", 400), "message",
			"error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp");
	rig_type("application/json-patch+json");
	is(json_at(json_getp(rig_call("PATCH", CM "/other-kind", "[{\"op\":\"jump\"}]", 422), "details.causes"), 0), "message",
			"Unexpected kind: jump");
}

/* Keys that come twice and fields that nobody knows, in bodies and in patches. */
static void test_strict(void **state)
{
	static const char object[] = "{\"metadata\":{\"name\":\"strict\"},\"x\":1,\"x\":2,\"data\":{\"k\":\"1\",\"k\":\"2\"}}";
	static const char merge[] = "{\"x\":1,\"x\":2,\"data\":{\"k\":\"3\",\"k\":\"4\"}}";
	static const char ops[] = "[{\"op\":\"add\",\"path\":\"/x\",\"path\":\"/y\",\"value\":{\"a\":1,\"a\":2},\"foo\":1}]";
	static const char *const in_object[] = {"duplicate field \\\"data.k\\\"", "unknown field \\\"x\\\""};
	static const char *const in_patch[] = {"duplicate field \\\"x\\\"", "duplicate field \\\"data.k\\\"", "unknown field \\\"x\\\""};
	static const char *const in_ops[] = {"json patch unknown field \\\"[0].foo\\\"", "json patch duplicate field \\\"[0].path\\\"",
			"unknown field \\\"y\\\""};
	struct json *o;

	(void)state;
	is(rig_call("POST", CM "?fieldValidation=Strict", object, 400), "message",
			"ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data.k\", "
			"unknown field \"x\"");
	rig_call("POST", CM, object, 201);
	warned(in_object, ARRAY_LEN(in_object));
	rig_type("application/merge-patch+json");
	rig_call("PATCH", CM "/strict", merge, 200);
	warned(in_patch, ARRAY_LEN(in_patch));
	rig_type("application/strategic-merge-patch+json");
	o = rig_call("PATCH", CM "/strict?fieldValidation=Strict", merge, 422);
	is(o, "message", " \"\" is invalid: patch: Invalid value: \"map[data:map[k:4] x:2]\": strict decoding error: duplicate field \"x\", "
			 "duplicate field \"data.k\", unknown field \"x\"");
	rig_type("application/json-patch+json");
	rig_call("PATCH", CM "/strict", ops, 200);
	warned(in_ops, ARRAY_LEN(in_ops));
	rig_type("application/merge-patch+json");
	rig_call("PATCH", CM "/strict?fieldValidation=Ignore", merge, 200);
	warned(NULL, 0);
}

/* Which object is meant is said twice, or not at all; options are refused with their causes. */
static void test_whom_and_how(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"whom\"},\"data\":{\"k\":\"v\"}}", 201);
	is(rig_call("PUT", CM "/whom", "{\"data\":{}}", 400), "message",
			"the name of the object (whom based on URL) was undeterminable: name must be provided");
	is(rig_call("GET", CM "/whom?watch=true", NULL, 200), "data.k", "v");
	o = rig_call("DELETE", CM "/whom", "{\"propagationPolicy\":\"Foo\"}", 422);
	is(o, "message", "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Foo\": supported values: "
			 "\"Foreground\", \"Background\", \"Orphan\", \"nil\"");
	is(o, "details.kind", "DeleteOptions");
	is(json_at(json_getp(o, "details.causes"), 0), "field", "propagationPolicy");
	is(rig_call("DELETE", CM "/whom", "{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}", 422), "details.group", "meta.k8s.io");
	o = rig_call("POST", CM "?dryRun=some", "{}", 422);
	is(json_at(json_getp(o, "details.causes"), 0), "reason", "FieldValueNotSupported");
	is(rig_call("GET", CM "?limit=1&continue=eyJ2IjoieCJ9", NULL, 400), "message",
			"invalid continue token: continue key is not valid: server does not recognize this encoded version");
	is(rig_call("GET", CM "?limit=1&continue=!", NULL, 400), "message", "invalid continue token: continue key is not valid: it is no base64");
	is(rig_call("GET", CM "?resourceVersion=x", NULL, 400), "message",
			"invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax");
	o = rig_call("GET", CM "/kube-root-ca.crt?resourceVersion=x", NULL, 500);
	is(o, "message", "resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax");
	assert_null(json_getc(o, "reason"));
}

/* What a service gets by itself, and what it may not ask for. */
static void test_service_ports_and_families(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("POST", SVC, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":80,\"nodePort\":30123}]}}", 422), "message",
			"Service \"a\" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'");
	o = rig_call("POST", SVC, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}}", 201);
	is(o, "spec.ipFamilyPolicy", "RequireDualStack");
	assert_int_equal(json_len(json_getp(o, "spec.ipFamilies")), 2);
	o = rig_call("POST", SVC, "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"},"
				  "\"ports\":[{\"port\":80}]}}", 201);
	is(o, "spec.ipFamilyPolicy", "SingleStack");
	/* Without ports of their own load balancers may still be given some. */
	o = rig_call("POST", SVC, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,"
				  "\"ports\":[{\"name\":\"x\",\"port\":80,\"nodePort\":30123},{\"name\":\"y\",\"port\":81}]}}", 201);
	o = json_getp(o, "spec.ports");
	assert_int_equal(json_i64_or(json_getc(json_at(o, 0), "nodePort"), 0), 30123);
	assert_null(json_getc(json_at(o, 1), "nodePort"));
	/* A change of type takes the ports along. */
	rig_type("application/merge-patch+json");
	o = rig_call("PATCH", SVC "/d", "{\"spec\":{\"type\":\"ClusterIP\"}}", 200);
	assert_null(json_getc(json_at(json_getp(o, "spec.ports"), 0), "nodePort"));
}

/* Let through, but told. */
static void test_warnings(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"a.b\"},\"spec\":{\"terminationGracePeriodSeconds\":-1,\"imagePullSecrets\":[{}],"
				  "\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\"},\"containers\":[{\"name\":\"c\",\"image\":\"i\","
				  "\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"$(A)2\"},{\"name\":\"A\",\"value\":\"3\"}],"
				  "\"ports\":[{\"containerPort\":80},{\"name\":\"x\",\"containerPort\":80}],"
				  "\"resources\":{\"requests\":{\"memory\":\"0.5\"}}}]}}";
	static const char *const of_pod[] = {
			"metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: "
			"[must not contain dots]",
			"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" instead",
			"spec.imagePullSecrets[0].name: invalid empty name \\\"\\\"",
			"spec.containers[0].resources.requests[memory]: fractional byte value \\\"500m\\\" is invalid, must be an integer",
			"spec.containers[0].env[2]: hides previous definition of \\\"A\\\", which may be dropped when using apply",
			"spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
			"spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"};
	static const char deploy[] = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
				     "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
				     "\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}]}]}}}}";
	static const char *const of_deploy[] = {
			"spec.template.spec.containers[0].env[1]: hides previous definition of \\\"A\\\", which may be dropped when using apply"};
	static const char *const of_endpoints[] = {"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"};

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/pods", pod, 201);
	warned(of_pod, ARRAY_LEN(of_pod));
	rig_call("POST", DEPLOY, deploy, 201);
	warned(of_deploy, ARRAY_LEN(of_deploy));
	/* Not again with every change. */
	rig_type("application/merge-patch+json");
	rig_call("PATCH", DEPLOY "/d", "{\"spec\":{\"replicas\":2}}", 200);
	warned(NULL, 0);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", DEPLOY "/d", "{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"c\":\"d\"}}}}}", 200);
	warned(of_deploy, ARRAY_LEN(of_deploy));
	rig_call("GET", "/api/v1/namespaces/default/endpoints", NULL, 200);
	warned(of_endpoints, 1);
}

/* Operators call finalizers as they like; upstream's own kinds are stricter. */
static void test_finalizers(void **state)
{
	static const char crd[] =
			"{\"metadata\":{\"name\":\"balls.toys.example\"},\"spec\":{\"group\":\"toys.example\",\"scope\":\"Namespaced\","
			"\"names\":{\"plural\":\"balls\",\"kind\":\"Ball\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
			"\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}";
	static const char *const told[] = {"metadata.finalizers: \\\"ball.toys.example\\\": prefer a domain-qualified finalizer name including a path "
					   "(/) to avoid accidental conflicts with other finalizer writers"};

	(void)state;
	rig_call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd, 201);
	rig_call("POST", "/apis/toys.example/v1/namespaces/default/balls",
			"{\"apiVersion\":\"toys.example/v1\",\"kind\":\"Ball\",\"metadata\":{\"name\":\"b\",\"finalizers\":[\"ball.toys.example\"]}}", 201);
	warned(told, 1);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"f\",\"finalizers\":[\"ball.toys.example\"]}}", 422);
}

/* Which certificate somebody came with is told to whoever wants to know it: webhooks, the audit log, the client itself. */
static void test_credential(void **state)
{
	struct json *o;
	struct str id;

	(void)state;
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"SelfSubjectReview\"}", 201);
	id = json_str(json_at(json_getc(json_getp(o, "status.userInfo.extra"), "authentication.kubernetes.io/credential-id"), 0));
	assert_true(str_has_prefix(id, STR("X509SHA256=")));
	assert_int_equal(id.n, strlen("X509SHA256=") + 64);
}

/* Who is no owner, whom a token is for, and the selector of what has labels only. */
static void test_owners_tokens_scale(void **state)
{
	static const char *const bodies[][2] = {
			{"{\"metadata\":{\"name\":\"other\"}}", "metadata.name: Invalid value: \"other\": must match the service account name if specified"},
			{"{\"metadata\":{\"namespace\":\"other\"}}",
					"metadata.namespace: Invalid value: \"other\": must match the service account namespace if specified"},
	};
	struct json *o;

	(void)state;
	o = rig_call("POST", CM, "{\"metadata\":{\"name\":\"owned\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"e\",\"uid\":\"u\"}]}}",
			422);
	is(json_at(json_getp(o, "details.causes"), 0), "field", "metadata.ownerReferences");
	assert_non_null(strstr(arena_cstr(&rig_arena, json_strp(o, "message")), "/v1, Kind=Event is disallowed from being an owner"));
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"bot\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		is(rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/bot/token", bodies[i][0], 422), "message",
				arena_printf(&rig_arena, "TokenRequest.authentication.k8s.io \"bot\" is invalid: %s", bodies[i][1]));
	rig_call("POST", "/api/v1/namespaces/default/replicationcontrollers",
			"{\"metadata\":{\"name\":\"rc\"},\"spec\":{\"replicas\":0,\"selector\":{\"b\":\"2\",\"a\":\"1\"},\"template\":{\"metadata\":{\"labels\":"
			"{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", 201);
	is(rig_call("GET", "/api/v1/namespaces/default/replicationcontrollers/rc/scale", NULL, 200), "status.selector", "a=1,b=2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_audit_id),
			cmocka_unit_test(test_etags),
			cmocka_unit_test(test_openapi_by_hash),
			cmocka_unit_test(test_openapi_hash_of_definition),
			cmocka_unit_test(test_not_found),
			cmocka_unit_test(test_words),
			cmocka_unit_test(test_strict),
		cmocka_unit_test(test_strict_yaml),
		cmocka_unit_test(test_other_kinds),
			cmocka_unit_test(test_whom_and_how),
			cmocka_unit_test(test_service_ports_and_families),
			cmocka_unit_test(test_warnings),
			cmocka_unit_test(test_finalizers),
			cmocka_unit_test(test_owners_tokens_scale),
			cmocka_unit_test(test_credential),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
