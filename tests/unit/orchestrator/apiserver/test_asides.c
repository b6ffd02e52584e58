/* Custom objects that admission sees in another version than they are written in, parameters of policies, and objects as they lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "proto/meta.pb-c.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/lamp_rig.h"

#define REG "/apis/admissionregistration.k8s.io/v1/"
#define RULES "'operations':['CREATE','UPDATE','DELETE'],'apiGroups':['example.com'],'apiVersions':['v1'],'resources':['lamps','lamps/scale']"

static struct json *asked; /* the last request of a review */
static unsigned n_asked;
static const char *change; /* base64 of what the webhook changes; NULL: nothing */

static struct json *review(const struct json *request)
{
	struct json *o = parse("{'allowed':true}");

	asked = json_copy(&rig_arena, request);
	n_asked++;
	if (change) {
		json_setc(&rig_arena, o, "patchType", json_newc(&rig_arena, "JSONPatch"));
		json_setc(&rig_arena, o, "patch", json_newc(&rig_arena, change));
	}
	return o;
}

static int start(void **state)
{
	lamp_rig_other = review;
	return lamp_rig_start(state);
}

static void hook(const char *kind, const char *more)
{
	rig_call("POST", arena_printf(&rig_arena, REG "%s", kind),
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'h'},'webhooks':[{'name':'h.example.com','admissionReviewVersions':['v1'],'sideEffects':'None',"
					"'clientConfig':{'url':'https://127.0.0.1:%u/admit','caBundle':'%s'},%s'rules':[{" RULES "}]}]}",
					hook_rig_port(), hook_rig_ca, more)),
			201);
	n_asked = lamp_rig_calls = 0;
}

static void unhook(const char *kind)
{
	rig_call("DELETE", arena_printf(&rig_arena, REG "%s/h", kind), NULL, 200);
}

#define VALIDATING "validatingwebhookconfigurations"
#define MUTATING "mutatingwebhookconfigurations"

/* Written in v1beta1, asked about in v1: the rule's version, and both documents. */
static void test_validating(void **state)
{
	(void)state;
	hook(VALIDATING, "");
	rig_call("POST", OLD, lamp("v1beta1", "'generateName':'a-'", "'watts':60"), 201);
	assert_int_equal(n_asked, 1);
	assert_int_equal(lamp_rig_calls, 1);
	is(asked, "object.apiVersion", "example.com/v1");
	is(asked, "object.spec.power", "60W");
	is(asked, "kind.version", "v1");
	is(asked, "resource.version", "v1");
	is(asked, "requestKind.version", "v1beta1");
	is(asked, "requestResource.version", "v1beta1");
	rig_call("POST", OLD, lamp("v1beta1", "'name':'a'", "'watts':60"), 201);
	patch(OLD "/a", MERGE, "{\"spec\":{\"watts\":61}}", 200);
	is(asked, "object.spec.power", "61W");
	is(asked, "oldObject.spec.power", "60W");
	/* In the rule's own version nothing is converted for it. */
	lamp_rig_objects = 0;
	rig_call("GET", NEW "/a", NULL, 200);
	assert_int_equal(lamp_rig_objects, 1);
	patch(NEW "/a", MERGE, "{\"spec\":{\"power\":\"62W\"}}", 200);
	is(asked, "requestKind.version", "v1");
	is(asked, "object.spec.power", "62W");
	/* A Scale is one in every version. */
	patch(OLD "/a/scale", MERGE, "{\"spec\":{\"replicas\":2}}", 200);
	is(asked, "object.kind", "Scale");
	is(asked, "kind.group", "autoscaling");
	is(asked, "resource.version", "v1");
	rig_call("DELETE", OLD "/a", NULL, 200);
	assert_true(json_is_null(json_getc(asked, "object")));
	is(asked, "oldObject.spec.power", "62W");
	unhook(VALIDATING);
}

static void test_exact(void **state)
{
	(void)state;
	hook(VALIDATING, "'matchPolicy':'Exact',");
	rig_call("POST", OLD, lamp("v1beta1", "'name':'e'", "'watts':60"), 201);
	assert_int_equal(n_asked, 0);
	rig_call("POST", NEW, lamp("v1", "'name':'f'", "'power':'6W'"), 201);
	assert_int_equal(n_asked, 1);
	unhook(VALIDATING);
}

/* What the webhook makes of it in v1 comes back as v1beta1. */
static void test_mutating(void **state)
{
	struct json *o;

	(void)state;
	hook(MUTATING, "");
	change = "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zcGVjL3Bvd2VyIiwidmFsdWUiOiI3N1cifV0="; /* replace /spec/power by 77W */
	o = rig_call("POST", OLD, lamp("v1beta1", "'generateName':'m-'", "'watts':60"), 201);
	assert_int_equal(n_asked, 1);
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 77);
	is(o, "apiVersion", "example.com/v1beta1");
	o = stored(json_cstr(json_getp(o, "metadata.name")));
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 77);
	assert_null(json_getp(o, "spec.power"));
	change = NULL;
	n_asked = 0;
	o = rig_call("POST", OLD, lamp("v1beta1", "'name':'m'", "'watts':60"), 201);
	assert_int_equal(n_asked, 1);
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 60);
	/* What it changes so that it cannot be converted back, or that its own version forbids, is an error and nothing is stored. */
	lamp_rig_broken = "out of order";
	o = rig_call("POST", OLD, lamp("v1beta1", "'name':'n'", "'watts':60"), 500);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "Internal error occurred: conversion webhook for example.com/v1beta1, Kind=Lamp "
								   "failed: "));
	lamp_rig_broken = NULL;
	change = "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zcGVjL3Bvd2VyIiwidmFsdWUiOiIwVyJ9XQ=="; /* 0W: below the minimum of v1beta1 */
	rig_call("POST", OLD, lamp("v1beta1", "'name':'n'", "'watts':60"), 422);
	change = NULL;
	rig_call("GET", OLD "/n", NULL, 404);
	unhook(MUTATING);
}

static void validating_policy(const char *expression)
{
	rig_call("POST", REG "validatingadmissionpolicies",
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'v'},'spec':{'matchConstraints':{'resourceRules':[{" RULES "}]},'validations':[{"
					"'expression':'%s'}]}}",
					expression)),
			201);
	rig_call("POST", REG "validatingadmissionpolicybindings",
			quoted("{'metadata':{'name':'v'},'spec':{'policyName':'v','validationActions':['Deny']}}"), 201);
}

static void test_policies(void **state)
{
	struct json *o;

	(void)state;
	validating_policy("oldObject != null || object.spec.power != \\'13W\\'");
	rig_call("POST", OLD, lamp("v1beta1", "'name':'v'", "'watts':12"), 201);
	rig_call("POST", OLD, lamp("v1beta1", "'name':'w'", "'watts':13"), 422);
	rig_call("POST", NEW, lamp("v1", "'name':'w'", "'power':'13W'"), 422);
	lamp_rig_broken = "out of order";
	o = rig_call("POST", OLD, lamp("v1beta1", "'name':'w'", "'watts':14"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "ValidatingAdmissionPolicy 'v' denied request: failed to configure policy: failed "
								   "to convert object version: conversion webhook for"));
	patch(REG "validatingadmissionpolicies/v", MERGE, "{\"spec\":{\"failurePolicy\":\"Ignore\"}}", 200);
	rig_call("POST", OLD, lamp("v1beta1", "'name':'w'", "'watts':13"), 201);
	lamp_rig_broken = NULL;
	rig_call("DELETE", REG "validatingadmissionpolicybindings/v", NULL, 200);
	rig_call("DELETE", REG "validatingadmissionpolicies/v", NULL, 200);
}

static void test_mutating_policy(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", REG "mutatingadmissionpolicies",
			quoted("{'metadata':{'name':'m'},'spec':{'reinvocationPolicy':'Never','matchConstraints':{'resourceRules':[{'operations':['CREATE'],"
			       "'apiGroups':['example.com'],'apiVersions':['v1'],'resources':['lamps']}]},'mutations':[{'patchType':"
			       "'ApplyConfiguration','applyConfiguration':{'expression':'Object{spec: Object.spec{power: \\\"3W\\\"}}'}}]}}"),
			201);
	rig_call("POST", REG "mutatingadmissionpolicybindings", quoted("{'metadata':{'name':'m'},'spec':{'policyName':'m'}}"), 201);
	o = rig_call("POST", OLD, lamp("v1beta1", "'generateName':'p-'", "'watts':60"), 201);
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 3);
	o = stored(json_cstr(json_getp(o, "metadata.name")));
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 3);
	rig_call("DELETE", REG "mutatingadmissionpolicybindings/m", NULL, 200);
	rig_call("DELETE", REG "mutatingadmissionpolicies/m", NULL, 200);
}

/* --- Parameters -------------------------------------------------------------------------------------------------------------------- */

static struct json *with_params(const char *version, const char *expression, const char *ref, int want)
{
	struct json *o;

	rig_call("POST", REG "validatingadmissionpolicies",
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'p'},'spec':{'paramKind':{'apiVersion':'example.com/%s','kind':'Lamp'},'matchConstraints':{"
					"'resourceRules':[{'operations':['CREATE'],'apiGroups':[''],'apiVersions':['v1'],'resources':['configmaps']}]},"
					"'validations':[{'expression':'%s'}]}}",
					version, expression)),
			201);
	rig_call("POST", REG "validatingadmissionpolicybindings",
			quoted(arena_printf(&rig_arena, "{'metadata':{'name':'p'},'spec':{'policyName':'p','validationActions':['Deny'],'paramRef':{%s,"
							"'namespace':'default','parameterNotFoundAction':'Allow'}}}", ref)),
			201);
	o = rig_call("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", "{\"metadata\":{\"name\":\"m\"}}", want);
	rig_call("DELETE", REG "validatingadmissionpolicybindings/p", NULL, 200);
	rig_call("DELETE", REG "validatingadmissionpolicies/p", NULL, 200);
	return o;
}

/* A policy reads its parameters in the version that it names; those that it cannot read are not taken for none. */
static void test_params(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", OLD, lamp("v1beta1", "'name':'one','labels':{'param':'yes'}", "'watts':8"), 201);
	rig_call("POST", OLD, lamp("v1beta1", "'name':'two','labels':{'param':'yes'}", "'watts':9"), 201);
	lamp_rig_calls = 0;
	with_params("v1beta1", "params.spec.watts == 8", "'name':'one'", 201);
	with_params("v1beta1", "params.spec.watts < 0", "'name':'one'", 422);
	assert_int_equal(lamp_rig_calls, 0);
	with_params("v1", "params.spec.power == \\'8W\\'", "'name':'one'", 201);
	assert_int_equal(lamp_rig_calls, 1);
	with_params("v1", "params.spec.power == \\'8W\\'", "'name':'two'", 422);
	assert_int_equal(lamp_rig_calls, 2);
	with_params("v1", "params.spec.power in [\\'8W\\',\\'9W\\']", "'selector':{'matchLabels':{'param':'yes'}}", 201);
	assert_int_equal(lamp_rig_calls, 3);
	/* What has been converted once is known, until the object changes. */
	with_params("v1", "params.spec.power in [\\'8W\\',\\'9W\\']", "'selector':{'matchLabels':{'param':'yes'}}", 201);
	assert_int_equal(lamp_rig_calls, 3);
	patch(OLD "/one", MERGE, "{\"spec\":{\"watts\":7}}", 200);
	lamp_rig_objects = 0;
	with_params("v1", "params.spec.power in [\\'7W\\',\\'9W\\']", "'selector':{'matchLabels':{'param':'yes'}}", 201);
	assert_int_equal(lamp_rig_objects, 1);
	with_params("v1", "params.spec.power == \\'8W\\'", "'selector':{'matchLabels':{'param':'yes'}}", 422);
	lamp_rig_broken = "out of order";
	with_params("v1", "params.spec.power == \\'7W\\'", "'name':'one'", 201);
	patch(OLD "/one", MERGE, "{\"metadata\":{\"labels\":{\"other\":\"yes\"}}}", 200);
	o = with_params("v1", "true", "'name':'one'", 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "failed to configure binding: a param cannot be read as example.com/v1, Kind=Lamp: "
								   "conversion webhook for example.com/v1beta1, Kind=Lamp failed"));
	lamp_rig_broken = NULL;
}

/* Who asked goes while the webhook thinks. */
static void test_canceled(void **state)
{
	(void)state;
	hook(VALIDATING, "");
	lamp_rig_silent = true;
	hook_rig_leave(OLD, lamp("v1beta1", "'name':'gone'", "'watts':1"), &lamp_rig_is_silent, &lamp_rig_was_canceled);
	lamp_rig_silent = false;
	rig_call("GET", OLD "/gone", NULL, 404);
	unhook(VALIDATING);
}

/* --- As it lies ------------------------------------------------------------------------------------------------------------------- */

struct local {
	struct client *client;
	struct client_req req;
	struct client_watch watch;
	int done, ended;
	unsigned n_events;
};

static struct local local;

static void local_done(struct client_req *r)
{
	container_of(r, struct local, req)->done = 1;
}

static void local_event(struct client_watch *w, enum client_event ev, struct str object, uint64_t rv)
{
	(void)ev, (void)object, (void)rv;
	container_of(w, struct local, watch)->n_events++;
}

static void local_end(struct client_watch *w, const struct err *e)
{
	(void)e;
	container_of(w, struct local, watch)->ended = 1;
}

static void local_closed(void *arg)
{
	((struct local *)arg)->done = 1;
}

static void ask(enum client_verb verb, const char *name, const char *body, enum err_code want)
{
	static const struct resource v1 = {.group = "example.com", .version = "v1", .api_version = "example.com/v1", .plural = "lamps", .kind = "Lamp",
			.namespaced = true, .verbs = V_ALL, .served = true};

	client_req_fini(&local.req);
	client_req_init(&local.req, verb, &v1);
	local.req.ns = "default";
	local.req.name = name;
	local.req.metadata = true;
	local.req.body = body ? str_from(body) : STR_NULL;
	local.req.content_type = body ? CLIENT_MERGE_PATCH : NULL;
	local.req.done = local_done;
	local.done = 0;
	client_do(local.client, &local.req);
	rig_until(&local.done);
	if (local.req.err.code != want)
		fail_msg("%s", local.req.err.text);
}

/* Without its webhook a kind's objects are seen, let go of and deleted, by their metadata: in v1 where they lie in v1beta1. */
static void test_as_it_lies(void **state)
{
	Meta__PartialObjectMetadata *got;
	struct json *before, *o;

	(void)state;
	rig_call("POST", OLD, lamp("v1beta1", "'name':'lies','finalizers':['example.com/x']", "'watts':60"), 201);
	before = stored("lies");
	lamp_rig_broken = "out of order";
	lamp_rig_calls = 0;
	rig_call("GET", NEW "/lies", NULL, 500);
	assert_int_equal(lamp_rig_calls, 1);
	local.client = apiserver_client(rig_server, rig_loop, "test");
	client_req_init(&local.req, CLIENT_GET, NULL);
	ask(CLIENT_GET, "lies", NULL, ERR_OK);
	got = client_req_unpack(&local.req, &meta__partial_object_metadata__descriptor);
	assert_string_equal(got->metadata->finalizers[0], "example.com/x");
	ask(CLIENT_LIST, NULL, NULL, ERR_OK);
	assert_non_null(memmem(local.req.answer.p, local.req.answer.n, "lies", 4));
	client_watch_init(&local.watch, local.req.resource);
	local.watch.metadata = true;
	local.watch.event = local_event;
	local.watch.end = local_end;
	client_watch_start(local.client, &local.watch);
	while (local.n_events < 3)
		loop_turn(rig_loop, 10);
	/* A patch changes the metadata and no more. */
	ask(CLIENT_PATCH, "lies", "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"o\",\"uid\":\"u\"}]}}", ERR_OK);
	o = stored("lies");
	is(o, "apiVersion", "example.com/v1beta1");
	assert_true(json_equal(json_getc(o, "spec"), json_getc(before, "spec")));
	is(json_at(json_getp(o, "metadata.ownerReferences"), 0), "name", "o");
	/* Marked, then let go of. */
	ask(CLIENT_DELETE, "lies", NULL, ERR_OK);
	o = stored("lies");
	assert_non_null(json_getp(o, "metadata.deletionTimestamp"));
	is(o, "apiVersion", "example.com/v1beta1");
	assert_true(json_equal(json_getc(o, "spec"), json_getc(before, "spec")));
	ask(CLIENT_PATCH, "lies", "{\"metadata\":{\"finalizers\":null}}", ERR_OK);
	rig_call("GET", OLD "/lies", NULL, 404);
	ask(CLIENT_DELETE_COLLECTION, NULL, NULL, ERR_OK);
	o = rig_call("GET", OLD, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 0);
	assert_int_equal(lamp_rig_calls, 1);
	/* A webhook about the object is still asked about it in its version, so it has to be converted. */
	rig_call("POST", OLD, lamp("v1beta1", "'name':'lies'", "'watts':60"), 201);
	hook(VALIDATING, "");
	ask(CLIENT_DELETE, "lies", NULL, ERR_INTERNAL);
	lamp_rig_broken = NULL;
	n_asked = 0;
	ask(CLIENT_DELETE, "lies", NULL, ERR_OK);
	assert_int_equal(n_asked, 1);
	is(asked, "oldObject.spec.power", "60W");
	is(asked, "requestKind.version", "v1");
	unhook(VALIDATING);
	client_req_fini(&local.req);
	client_watch_stop(&local.watch);
	rig_until(&local.ended);
	local.done = 0;
	client_close(local.client, local_closed, &local);
	rig_until(&local.done);
}

/* A version that is not served is met in rules, and where objects lie in it. */
static void test_unserved(void **state)
{
	struct json *o, *crd;

	(void)state;
	rig_call("POST", OLD, lamp("v1beta1", "'name':'u'", "'watts':5"), 201);
	crd = rig_call("GET", CRDS "/lamps.example.com", NULL, 200);
	o = json_at(json_getp(crd, "spec.versions"), 0);
	is(o, "name", "v1");
	json_setc(&rig_arena, o, "served", json_new_bool(&rig_arena, false));
	rig_call("PUT", CRDS "/lamps.example.com", arena_cstr(&rig_arena, json_text(&rig_arena, crd)), 200);
	rig_call("GET", NEW "/u", NULL, 404);
	hook(VALIDATING, "");
	patch(OLD "/u", MERGE, "{\"spec\":{\"watts\":6}}", 200);
	is(asked, "object.spec.power", "6W");
	is(asked, "kind.version", "v1");
	unhook(VALIDATING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_validating),
			cmocka_unit_test(test_exact),
			cmocka_unit_test(test_mutating),
			cmocka_unit_test(test_policies),
			cmocka_unit_test(test_mutating_policy),
			cmocka_unit_test(test_params),
			cmocka_unit_test(test_canceled),
			cmocka_unit_test(test_as_it_lies),
			cmocka_unit_test(test_unserved),
	};

	return cmocka_run_group_tests(tests, start, lamp_rig_stop);
}
