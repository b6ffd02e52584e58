/* Admission webhooks with a server that asks one over TLS: order, refusals, failures, and who is asked about what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "io/http_server.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/webhook.h"
#include "tests/unit/orchestrator/apiserver/hook_rig.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define REG "/apis/admissionregistration.k8s.io/v1"
#define MAPS "/api/v1/namespaces/default/configmaps"

static struct json *asked; /* requests, in order */
static struct http_request *silent;
static int is_silent, was_canceled;

/* What each path answers, %s is the question's uid. */
static const struct {
	const char *path, *response, *patch;
} paths[] = {
		{"/allow", "'allowed':true,'warnings':['be careful'],'auditAnnotations':{'k':'v'}", NULL},
		{"/deny", "'allowed':false,'status':{'code':403,'reason':'Forbidden','message':'not today'}", NULL},
		{"/label", "'allowed':true",
				"[{'op':'add','path':'/data/b','value':'2'},{'op':'replace','path':'/metadata/uid','value':'mine'}]"},
		{"/chain", "'allowed':true", "[{'op':'test','path':'/data/b','value':'2'},{'op':'add','path':'/data/c','value':'3'}]"},
		{"/scale", "'allowed':true", "[{'op':'replace','path':'/spec/replicas','value':7}]"},
		{"/most", "'allowed':true", "[{'op':'replace','path':'/spec/maxReplicas','value':4}]"},
		{"/elsewhere", "'allowed':true", "[{'op':'replace','path':'/target/name','value':'elsewhere'}]"},
		{"/broken", "'allowed':true", "[{'op':'test','path':'/data/none','value':'2'}]"},
};

static void asked_body(struct http_request *r, int status, struct str body)
{
	struct http_header type = {STR("Content-Type"), STR("application/json")};
	struct json *doc, *response, *out;
	struct err e = ERR_INIT;

	assert_int_equal(status, 0);
	assert_int_equal(json_parse(&rig_arena, arena_str(&rig_arena, body), NULL, &doc, &e), 0);
	json_push(&rig_arena, asked, json_getc(doc, "request"));
	if (str_eqc(r->path, "/silent")) {
		silent = r;
		is_silent = 1;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (!str_eqc(r->path, paths[i].path))
			continue;
		out = parse("{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview'}");
		response = parse(arena_printf(&rig_arena, "{%s}", paths[i].response));
		json_setc(&rig_arena, response, "uid", json_getp(doc, "request.uid"));
		if (paths[i].patch) {
			json_setc(&rig_arena, response, "patchType", json_newc(&rig_arena, "JSONPatch"));
			json_setc(&rig_arena, response, "patch",
					json_new_str(&rig_arena, api_base64(&rig_arena, str_from(quoted(paths[i].patch)))));
		}
		json_setc(&rig_arena, out, "response", response);
		http_respond(r, 200, &type, 1, json_text(&rig_arena, out));
		return;
	}
	http_respond(r, 500, NULL, 0, STR("no such path"));
}

static void gone(struct http_request *r)
{
	was_canceled = was_canceled || r == silent;
	if (r == silent)
		silent = NULL;
	http_respond_abort(r);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	(void)h;
	r->on_cancel = gone;
	http_request_body(r, 0, asked_body);
}

static int start(void **state)
{
	(void)state;
	hook_rig_start(on_request);
	asked = json_new_array(&rig_arena);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	hook_rig_stop();
	return 0;
}

/* A configuration of one webhook, there once every loop knows it. */
static void hook(const char *kind, const char *name, const char *path, const char *more)
{
	rig_call("POST", arena_printf(&rig_arena, REG "/%s", kind),
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'%s'},'webhooks':[{'name':'%s.example.com','admissionReviewVersions':['v1'],"
					"'sideEffects':'None','clientConfig':{'url':'https://127.0.0.1:%u%s','caBundle':'%s'},'objectSelector':{"
					"'matchLabels':{'hooked':'yes'}},"
					"'rules':[{'operations':['CREATE','UPDATE','DELETE'],'apiGroups':[''],'apiVersions':['v1'],'resources':["
					"'configmaps']}]%s}]}",
					name, name, hook_rig_port(), path, hook_rig_ca, more)),
			201);
}

static void unhook(const char *kind, const char *name)
{
	rig_call("DELETE", arena_printf(&rig_arena, REG "/%s/%s", kind, name), NULL, 200);
}

#define MUTATING "mutatingwebhookconfigurations"
#define VALIDATING "validatingwebhookconfigurations"
#define MAP(name) "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"hooked\":\"yes\"}},\"data\":{\"a\":\"1\"}}"

static void test_allow_and_deny(void **state)
{
	struct json *r;
	size_t n;

	(void)state;
	hook(VALIDATING, "ok", "/allow", "");
	n = json_len(asked);
	rig_call("POST", MAPS, MAP("allowed"), 201);
	assert_int_equal(json_len(asked), n + 1);
	r = json_at(asked, n);
	is(r, "operation", "CREATE");
	is(r, "kind.kind", "ConfigMap");
	is(r, "resource.resource", "configmaps");
	is(r, "namespace", "default");
	is(r, "name", "allowed");
	is(r, "object.data.a", "1");
	is(r, "object.apiVersion", "v1");
	assert_true(json_is(json_getc(r, "oldObject"), JSON_NULL));
	is(r, "options.kind", "CreateOptions");
	rig_call("POST", MAPS, "{\"metadata\":{\"name\":\"other\"}}", 201);
	assert_int_equal(json_len(asked), n + 1);
	hook(VALIDATING, "no", "/deny", "");
	r = rig_call("POST", MAPS, MAP("denied"), 403);
	is(r, "message", "admission webhook \"no.example.com\" denied the request: not today");
	is(r, "reason", "Forbidden");
	rig_call("GET", MAPS "/denied", NULL, 404);
	rig_call("DELETE", MAPS "/allowed", NULL, 403);
	r = json_at(asked, json_len(asked) - 1);
	is(r, "operation", "DELETE");
	is(r, "oldObject.data.a", "1");
	assert_true(json_is(json_getc(r, "object"), JSON_NULL));
	rig_type("application/merge-patch+json");
	rig_call("PATCH", MAPS "/allowed", "{\"data\":{\"a\":\"2\"}}", 403);
	unhook(VALIDATING, "no");
	rig_type("application/merge-patch+json");
	r = rig_call("PATCH", MAPS "/allowed", "{\"data\":{\"a\":\"2\"}}", 200);
	is(r, "data.a", "2");
	r = json_at(asked, json_len(asked) - 1);
	is(r, "operation", "UPDATE");
	is(r, "object.data.a", "2");
	is(r, "oldObject.data.a", "1");
	is(r, "options.kind", "PatchOptions");
	assert_true(json_strp(r, "object.metadata.resourceVersion").n > 0);
	unhook(VALIDATING, "ok");
}

static void test_mutate(void **state)
{
	struct json *r;
	size_t n;

	(void)state;
	hook(MUTATING, "b-chain", "/chain", "");
	hook(MUTATING, "a-label", "/label", ",'reinvocationPolicy':'IfNeeded'");
	n = json_len(asked);
	r = rig_call("POST", MAPS, MAP("mutated"), 201);
	is(r, "data.b", "2");
	is(r, "data.c", "3");
	assert_string_not_equal(json_cstr(json_getp(r, "metadata.uid")), "mine");
	/* Both, and the first again because the second changed something. */
	assert_int_equal(json_len(asked), n + 3);
	r = rig_call("GET", MAPS "/mutated", NULL, 200);
	is(r, "data.c", "3");
	rig_call("POST", MAPS "?dryRun=All", MAP("dry"), 201);
	r = json_at(asked, json_len(asked) - 1);
	assert_true(json_true(json_getc(r, "dryRun")));
	rig_call("GET", MAPS "/dry", NULL, 404);
	unhook(MUTATING, "b-chain");
	unhook(MUTATING, "a-label");
	hook(MUTATING, "c-broken", "/broken", "");
	rig_call("POST", MAPS, MAP("unpatched"), 500);
	unhook(MUTATING, "c-broken");
	hook(MUTATING, "d-delete", "/label", "");
	r = rig_call("DELETE", MAPS "/mutated", NULL, 500);
	is(r, "message", "Internal error occurred: admission webhook \"d-delete.example.com\" attempted to modify the object, which is "
			 "not supported for this operation");
	unhook(MUTATING, "d-delete");
}

/* A second round has the order of the first: policies, then webhooks, which see what policies changed last. */
static void test_rounds(void **state)
{
	struct json *r;
	size_t n;

	(void)state;
	rig_call("POST", REG "/mutatingadmissionpolicies",
			quoted("{'metadata':{'name':'sum'},'spec':{'reinvocationPolicy':'IfNeeded','failurePolicy':'Fail','matchConstraints':{"
			       "'resourceRules':[{'operations':['CREATE'],'apiGroups':[''],'apiVersions':['v1'],'resources':['configmaps']}]},"
			       "'mutations':[{'patchType':'JSONPatch','jsonPatch':{'expression':'[JSONPatch{op: \\\"add\\\", path: \\\"/metadata/labels/keys\\\", "
			       "value: string(object.data.size())}]'}}]}}"),
			201);
	rig_call("POST", REG "/mutatingadmissionpolicybindings", quoted("{'metadata':{'name':'sum'},'spec':{'policyName':'sum'}}"), 201);
	hook(MUTATING, "a-sees", "/allow", ",'reinvocationPolicy':'IfNeeded'");
	hook(MUTATING, "b-label", "/label", "");
	hook(MUTATING, "c-once", "/allow", ",'reinvocationPolicy':'Never'");
	n = json_len(asked);
	r = rig_call("POST", MAPS, quoted("{'metadata':{'name':'rounds','labels':{'hooked':'yes'}},'data':{'a':'1'}}"), 201);
	is(r, "metadata.labels.keys", "2");
	is(json_at(asked, n), "object.metadata.labels.keys", "1");
	assert_int_equal(json_len(asked), n + 4);
	r = json_at(asked, n + 3);
	is(r, "object.metadata.labels.keys", "2");
	is(r, "object.data.b", "2");
	unhook(MUTATING, "a-sees");
	unhook(MUTATING, "b-label");
	unhook(MUTATING, "c-once");
	unhook("mutatingadmissionpolicybindings", "sum");
	unhook("mutatingadmissionpolicies", "sum");
}

static void test_failure(void **state)
{
	struct json *r;
	const char *want;

	(void)state;
	hook(VALIDATING, "slow", "/silent", ",'timeoutSeconds':1");
	r = rig_call("POST", MAPS, MAP("slow"), 500);
	want = arena_printf(&rig_arena, "Internal error occurred: failed calling webhook \"slow.example.com\": failed to call webhook: "
					"Post \"https://127.0.0.1:%u/silent?timeout=1s\": context deadline exceeded",
			hook_rig_port());
	is(r, "message", want);
	is(r, "reason", "InternalError");
	unhook(VALIDATING, "slow");
	hook(VALIDATING, "slow", "/silent", ",'timeoutSeconds':1,'failurePolicy':'Ignore'");
	rig_call("POST", MAPS, MAP("slow"), 201);
	unhook(VALIDATING, "slow");
	hook(VALIDATING, "odd", "/unknown", "");
	r = rig_call("POST", MAPS, MAP("odd"), 500);
	is(r, "message", "Internal error occurred: failed calling webhook \"odd.example.com\": failed to call webhook: an error on the "
			 "server (\"no such path\") has prevented the request from succeeding");
	unhook(VALIDATING, "odd");
	rig_call("POST", REG "/" VALIDATING,
			quoted("{'metadata':{'name':'svc'},'webhooks':[{'name':'svc.example.com','admissionReviewVersions':['v1'],"
			       "'sideEffects':'None','clientConfig':{'service':{'namespace':'default','name':'nobody','path':'/x'}},'rules':[{"
			       "'operations':['*'],'apiGroups':[''],'apiVersions':['*'],'resources':['configmaps']}]}]}"),
			201);
	r = rig_call("POST", MAPS, MAP("svc"), 500);
	is(r, "message", "Internal error occurred: failed calling webhook \"svc.example.com\": failed to call webhook: Post "
			 "\"https://nobody.default.svc:443/x?timeout=10s\": service \"nobody\" not found");
	/* What calls nobody can still be taken back. */
	unhook(VALIDATING, "svc");
}

static void test_namespaces(void **state)
{
	size_t n;

	(void)state;
	hook(VALIDATING, "ns", "/deny", ",'namespaceSelector':{'matchLabels':{'guarded':'yes'}}");
	n = json_len(asked);
	rig_call("POST", MAPS, MAP("elsewhere"), 201);
	assert_int_equal(json_len(asked), n);
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"guarded\",\"labels\":{\"guarded\":\"yes\"}}}", 201);
	rig_call("POST", "/api/v1/namespaces/guarded/configmaps", MAP("here"), 403);
	unhook(VALIDATING, "ns");
}

/* All are asked before one has answered: of two silent ones, both hear the question in the time of one. */
static void test_parallel(void **state)
{
	size_t n;

	(void)state;
	hook(VALIDATING, "one", "/silent", ",'timeoutSeconds':1");
	hook(VALIDATING, "two", "/silent", ",'timeoutSeconds':1");
	/* On a busy machine their time may be over before they have heard it. */
	for (int i = 0; i < 50; i++) {
		n = json_len(asked);
		rig_call("POST", MAPS, MAP("waits"), 500);
		if (json_len(asked) == n + 2)
			break;
	}
	assert_int_equal(json_len(asked), n + 2);
	unhook(VALIDATING, "one");
	unhook(VALIDATING, "two");
}

/* By a service, whose name the certificate must have; wherever it leads. */
static void hook_service(const char *service)
{
	rig_call("POST", "/api/v1/namespaces/default/services",
			quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s'},'spec':{'type':'ExternalName','externalName':'localhost'}}",
					service)),
			201);
	rig_call("POST", REG "/" VALIDATING,
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'svc'},'webhooks':[{'name':'svc.example.com','admissionReviewVersions':['v1'],"
					"'sideEffects':'None','clientConfig':{'service':{'namespace':'default','name':'%s','path':'/allow','port':%u},"
					"'caBundle':'%s'},'rules':[" RULE("'*'", "''", "'*'", "'configmaps'", "*") "]}]}",
					service, hook_rig_port(), hook_rig_ca)),
			201);
}

static void test_service(void **state)
{
	size_t n = json_len(asked);

	(void)state;
	hook_service("hook");
	rig_call("POST", MAPS, MAP("by-service"), 201);
	assert_int_equal(json_len(asked), n + 1);
	unhook(VALIDATING, "svc");
	hook_service("impostor");
	rig_call("POST", MAPS, MAP("by-impostor"), 500);
	assert_int_equal(json_len(asked), n + 1);
	unhook(VALIDATING, "svc");
}

/* Another certificate authority: nobody is trusted. */
static void test_untrusted(void **state)
{
	char keep = hook_rig_ca[0];

	(void)state;
	hook_rig_ca[0] = '\0';
	hook(VALIDATING, "stranger", "/allow", "");
	rig_call("POST", MAPS, MAP("stranger"), 500);
	unhook(VALIDATING, "stranger");
	hook_rig_ca[0] = keep;
}

/* A configuration with these rules. */
static void hook_rules(const char *kind, const char *path, const char *rules)
{
	rig_call("POST", arena_printf(&rig_arena, REG "/%s", kind),
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'x'},'webhooks':[{'name':'x.example.com','admissionReviewVersions':['v1'],"
					"'sideEffects':'None','clientConfig':{'url':'https://127.0.0.1:%u%s','caBundle':'%s'},'rules':[%s]}]}",
					hook_rig_port(), path, hook_rig_ca, rules)),
			201);
}

#define DEPLOYMENTS "/apis/apps/v1/namespaces/default/deployments"
#define HPA2 "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"

static void test_subresource(void **state)
{
	struct json *r;

	(void)state;
	rig_call("POST", DEPLOYMENTS, quoted("{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{"
					     "'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}"), 201);
	hook_rules(MUTATING, "/scale", RULE("'UPDATE'", "'apps'", "'v1'", "'deployments/scale'", "Namespaced"));
	rig_type("application/merge-patch+json");
	r = rig_call("PATCH", DEPLOYMENTS "/d/scale", "{\"spec\":{\"replicas\":3}}", 200);
	assert_int_equal(json_i64_or(json_getp(r, "spec.replicas"), 0), 7);
	r = rig_call("GET", DEPLOYMENTS "/d", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(r, "spec.replicas"), 0), 7);
	assert_int_equal(json_i64_or(json_getp(r, "metadata.generation"), 0), 2);
	r = json_at(asked, json_len(asked) - 1);
	is(r, "kind.kind", "Scale");
	is(r, "subResource", "scale");
	assert_int_equal(json_i64_or(json_getp(r, "object.spec.replicas"), 0), 3);
	assert_int_equal(json_i64_or(json_getp(r, "oldObject.spec.replicas"), 0), 1);
	unhook(MUTATING, "x");
}

/* A rule about the other version of a kind is about the kind. */
static void test_equivalent(void **state)
{
	struct json *r;

	(void)state;
	hook_rules(MUTATING, "/most", RULE("'CREATE'", "'autoscaling'", "'v1'", "'horizontalpodautoscalers'", "*"));
	r = rig_call("POST", HPA2, quoted("{'metadata':{'name':'h'},'spec':{'maxReplicas':9,'scaleTargetRef':{'kind':'Deployment','name':'d'}}}"),
			201);
	is(r, "apiVersion", "autoscaling/v2");
	assert_int_equal(json_i64_or(json_getp(r, "spec.maxReplicas"), 0), 4);
	r = json_at(asked, json_len(asked) - 1);
	is(r, "kind.version", "v1");
	is(r, "requestKind.version", "v2");
	is(r, "object.apiVersion", "autoscaling/v1");
	unhook(MUTATING, "x");
}

static void test_apply(void **state)
{
	struct json *r;

	(void)state;
	hook(MUTATING, "label", "/label", "");
	rig_type("application/apply-patch+yaml");
	r = rig_call("PATCH", MAPS "/applied?fieldManager=m",
			quoted("{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'applied','labels':{'hooked':'yes'}},'data':{'a':'1'}}"), 201);
	is(r, "data.b", "2");
	rig_type("application/apply-patch+yaml");
	r = rig_call("PATCH", MAPS "/applied?fieldManager=m",
			quoted("{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'applied','labels':{'hooked':'yes'}},'data':{'a':'5'}}"), 200);
	is(r, "data.a", "5");
	is(r, "data.b", "2");
	is(json_at(asked, json_len(asked) - 1), "operation", "UPDATE");
	/* What the webhook added is nobody's whose request it was. */
	assert_null(json_getp(json_at(json_getp(r, "metadata.managedFields"), 0), "fieldsV1.f:data.f:b"));
	assert_non_null(json_getp(json_at(json_getp(r, "metadata.managedFields"), 0), "fieldsV1.f:data.f:a"));
	unhook(MUTATING, "label");
}

static void test_custom(void **state)
{
	struct json *r;

	(void)state;
	rig_call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
			quoted("{'metadata':{'name':'toys.example.com'},'spec':{'group':'example.com','scope':'Namespaced','names':{'plural':'toys',"
			       "'singular':'toy','kind':'Toy','listKind':'ToyList'},'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
			       "'openAPIV3Schema':{'type':'object','properties':{'data':{'type':'object','additionalProperties':{'type':'string'}"
			       "}}}}}]}}"),
			201);
	hook_rules(MUTATING, "/label", RULE("'*'", "'example.com'", "'*'", "'*'", "*"));
	r = rig_call("POST", "/apis/example.com/v1/namespaces/default/toys",
			quoted("{'apiVersion':'example.com/v1','kind':'Toy','metadata':{'name':'t'},'data':{'a':'1'}}"), 201);
	is(r, "data.b", "2");
	is(json_at(asked, json_len(asked) - 1), "kind.kind", "Toy");
	is(json_at(asked, json_len(asked) - 1), "resource.resource", "toys");
	unhook(MUTATING, "x");
	rig_call("DELETE", "/apis/example.com/v1/namespaces/default/toys/t", NULL, 200);
}

/* Conditions are held against the request before anybody is asked. */
static void test_conditions(void **state)
{
	struct json *r;
	size_t n;

	(void)state;
	hook(VALIDATING, "some", "/deny", ",'matchConditions':[{'name':'big','expression':'object.data.size() > 1'},{'name':'mine','expression':"
					  "'request.userInfo.groups.size() > 0 && !request.dryRun && oldObject == null'}]");
	n = json_len(asked);
	rig_call("POST", MAPS, MAP("small"), 201);
	assert_int_equal(json_len(asked), n);
	rig_call("POST", MAPS, "{\"metadata\":{\"name\":\"large\",\"labels\":{\"hooked\":\"yes\"}},\"data\":{\"a\":\"1\",\"b\":\"2\"}}", 403);
	assert_int_equal(json_len(asked), n + 1);
	/* What cannot be told is a no to the request, or, where failures are ignored, to the webhook. */
	r = rig_call("POST", MAPS, "{\"metadata\":{\"name\":\"odd\",\"labels\":{\"hooked\":\"yes\"}}}", 403);
	is(r, "message", "configmaps \"odd\" is forbidden: expression 'object.data.size() > 1' resulted in error: no such key: data");
	unhook(VALIDATING, "some");
	hook(VALIDATING, "some", "/deny", ",'failurePolicy':'Ignore','matchConditions':[{'name':'big','expression':'object.data.size() > 1'}]");
	rig_call("POST", MAPS, "{\"metadata\":{\"name\":\"odd\",\"labels\":{\"hooked\":\"yes\"}}}", 201);
	unhook(VALIDATING, "some");
}

/* The client goes while the webhook thinks: the call to it is given up, and nothing is written. */
static void test_canceled(void **state)
{
	(void)state;
	hook(VALIDATING, "slow", "/silent", ",'timeoutSeconds':30");
	hook_rig_leave(MAPS, MAP("gone"), &is_silent, &was_canceled);
	unhook(VALIDATING, "slow");
	rig_call("GET", MAPS "/gone", NULL, 404);
}

/* A request has its time, whatever a webhook may have: the call to it is given up, and the client hears of it. */
static void out_of_time(const char *method, const char *path, const char *body)
{
	struct json *r;

	/* On a busy machine its time may be over before the webhook is asked. */
	for (int i = 0; i < 50; i++) {
		is_silent = was_canceled = 0;
		r = rig_call(method, path, body, 504);
		is(r, "message", "Timeout: request did not complete within the allotted timeout");
		is(r, "reason", "Timeout");
		if (is_silent)
			break;
	}
	assert_int_equal(is_silent, 1);
	rig_until(&was_canceled);
}

static void test_patience(void **state)
{
	struct json *r;

	(void)state;
	rig_call("POST", MAPS, MAP("there"), 201);
	hook(VALIDATING, "slow", "/silent", ",'timeoutSeconds':30,'failurePolicy':'Ignore'");
	out_of_time("POST", MAPS "?timeout=300ms", MAP("late"));
	out_of_time("DELETE", MAPS "?timeout=300ms&labelSelector=hooked", NULL);
	unhook(VALIDATING, "slow");
	hook(MUTATING, "slow", "/silent", ",'timeoutSeconds':30");
	out_of_time("POST", MAPS "?timeout=0.3s", MAP("late"));
	unhook(MUTATING, "slow");
	rig_call("GET", MAPS "/late?timeout=0s", NULL, 404);
	rig_call("GET", MAPS "/there?timeout=24h", NULL, 200);
	r = rig_call("GET", MAPS "?timeout=soon", NULL, 400);
	is(r, "message", "invalid timeout specified in the request URL - time: invalid duration \"soon\"");
	rig_call("DELETE", MAPS "/there", NULL, 200);
}

/* The server's own limit: no client's ?timeout= is longer, and it is not one of watches. */
static void test_request_timeout(void **state)
{
	struct rig_watch *w = rig_watch(MAPS "?watch=1&timeoutSeconds=300");

	(void)state;
	rig_watch_begun(w);
	hook(VALIDATING, "slow", "/silent", ",'timeoutSeconds':30");
	out_of_time("POST", MAPS, MAP("late"));
	out_of_time("POST", MAPS "?timeout=1h", MAP("late"));
	unhook(VALIDATING, "slow");
	rig_call("POST", MAPS, MAP("soon"), 201);
	for (size_t i = 0;; i++)
		if (json_eqc(json_getp(rig_event(w, i), "object.metadata.name"), "soon"))
			break;
	rig_watch_stop(w);
}

static int start_hasty(void **state)
{
	hook_rig_request_ms = 1000;
	return start(state);
}

static const struct json *last(void)
{
	return json_at(asked, json_len(asked) - 1);
}

/* What is no write of an object: connections, and bodies that are acted on. */
static void test_special(void **state)
{
	struct json *r;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 0);
	rig_call("POST", "/api/v1/namespaces/default/pods",
			quoted("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]}}"), 201);
	hook_rules(VALIDATING, "/deny", RULE("'CONNECT'", "''", "'v1'", "'pods/exec','nodes/proxy'", "*"));
	r = rig_call("GET", "/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdin=true&tty=0", NULL, 403);
	is(r, "message", "admission webhook \"x.example.com\" denied the request: not today");
	is(last(), "operation", "CONNECT");
	is(last(), "kind.kind", "PodExecOptions");
	is(last(), "resource.resource", "pods");
	is(last(), "subResource", "exec");
	is(last(), "name", "p");
	is(last(), "namespace", "default");
	assert_true(json_eqc(json_at(json_getp(last(), "object.command"), 1), "-l"));
	assert_true(json_true(json_getp(last(), "object.stdin")));
	assert_true(json_true(json_getp(last(), "object.stdout")));
	assert_false(json_true(json_getp(last(), "object.tty")));
	assert_true(json_is_null(json_getc(last(), "options")) && json_is_null(json_getc(last(), "oldObject")));
	rig_call("GET", "/api/v1/nodes/n/proxy/logs/x", NULL, 403);
	is(last(), "object.path", "/logs/x");
	rig_call("GET", "/api/v1/namespaces/default/pods/p/attach", NULL, 400);
	unhook(VALIDATING, "x");
	/* Bodies. */
	hook_rules(VALIDATING, "/deny", RULE("'CREATE'", "'*'", "'*'", "'pods/binding','bindings','pods/eviction','serviceaccounts/token','tokenreviews',"
							       "'selfsubjectaccessreviews'", "*"));
	rig_call("POST", "/api/v1/namespaces/default/pods/p/binding", quoted("{'metadata':{'name':'p'},'target':{'name':'n'}}"), 403);
	is(last(), "object.target.name", "n");
	is(last(), "kind.kind", "Binding");
	rig_call("POST", "/api/v1/namespaces/default/bindings", quoted("{'metadata':{'name':'p'},'target':{'name':'n'}}"), 403);
	is(last(), "resource.resource", "bindings");
	rig_call("POST", "/api/v1/namespaces/default/pods/p/eviction", quoted("{'apiVersion':'policy/v1','kind':'Eviction','metadata':{'name':'p'}}"),
			403);
	is(last(), "kind.group", "policy");
	rig_call("GET", "/api/v1/namespaces/default/pods/p", NULL, 200);
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", quoted("{'spec':{'audiences':['a']}}"), 403);
	is(last(), "kind.kind", "TokenRequest");
	rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", quoted("{'spec':{'token':'t'}}"), 403);
	is(last(), "object.spec.token", "t");
	rig_call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", quoted("{'spec':{'resourceAttributes':{'verb':'get'}}}"), 403);
	unhook(VALIDATING, "x");
	/* A change counts: another node than the scheduler's, other attributes than the asker's. */
	hook_rules(MUTATING, "/elsewhere", RULE("'CREATE'", "''", "'v1'", "'pods/binding'", "*"));
	rig_call("POST", "/api/v1/namespaces/default/pods/p/binding", quoted("{'metadata':{'name':'p'},'target':{'name':'n'}}"), 201);
	is(rig_call("GET", "/api/v1/namespaces/default/pods/p", NULL, 200), "spec.nodeName", "elsewhere");
	unhook(MUTATING, "x");
	rig_call("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0", NULL, 200);
}

#define BASE "{'metadata':{'name':'x'},'webhooks':[{'name':'x.example.com','admissionReviewVersions':['v1'],'sideEffects':'None',"           \
	     "'clientConfig':{'url':'https://127.0.0.1:1/'},"

static void test_refused(void **state)
{
	struct json *r;

	(void)state;
	r = rig_call("POST", REG "/" VALIDATING, quoted(BASE "'matchConditions':[{'name':'c','expression':'1'}]}]}"), 422);
	is(r, "message", "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"x\" is invalid: webhooks[0].matchConditions[0].expression: "
			 "Invalid value: \"1\": must evaluate to bool");
	r = rig_call("POST", REG "/" VALIDATING, quoted(BASE "'matchConditions':[{'name':'c','expression':'thing'}]}]}"), 422);
	assert_non_null(strstr(json_cstr(json_getc(r, "message")), "compilation failed: ERROR: <input>:1:1: undeclared reference to 'thing'"));
	rig_call("POST", REG "/" VALIDATING, quoted(BASE "'matchConditions':[{'name':'c','expression':'true'},{'name':'c','expression':'true'}]}]}"),
			422);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_allow_and_deny),
			cmocka_unit_test(test_mutate),
			cmocka_unit_test(test_rounds),
			cmocka_unit_test(test_failure),
			cmocka_unit_test(test_namespaces),
			cmocka_unit_test(test_parallel),
			cmocka_unit_test(test_service),
			cmocka_unit_test(test_untrusted),
			cmocka_unit_test(test_refused),
			cmocka_unit_test(test_subresource),
			cmocka_unit_test(test_equivalent),
			cmocka_unit_test(test_apply),
			cmocka_unit_test(test_custom),
			cmocka_unit_test(test_canceled),
			cmocka_unit_test(test_patience),
			cmocka_unit_test(test_special),
			cmocka_unit_test(test_conditions),
	};

	const struct CMUnitTest hasty[] = {cmocka_unit_test(test_request_timeout)};
	int r = cmocka_run_group_tests(tests, start, stop);

	return cmocka_run_group_tests(hasty, start_hasty, stop) + r;
}
