/* Admission policies, asked of a server: what they refuse, warn of and change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "store/watch.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define REG "/apis/admissionregistration.k8s.io/v1/"
#define MAPS "/api/v1/namespaces/default/configmaps"

#define CONSTRAINTS(ops, groups, resources)                                                                                              \
	"'matchConstraints':{'matchPolicy':'Equivalent','resourceRules':[{'operations':[" ops "],'apiGroups':[" groups "],'apiVersions':['v1'],"  \
	"'resources':[" resources "]}]}"
#define ON_MAPS CONSTRAINTS("'CREATE','UPDATE'", "''", "'configmaps'")

/* A policy and its binding, there once both loops know of it: this server's only one does at once. */
static void policy(const char *name, const char *spec, const char *binding)
{
	rig_call("POST", REG "validatingadmissionpolicies", quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s'},'spec':{%s}}", name, spec)), 201);
	rig_call("POST", REG "validatingadmissionpolicybindings",
			quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s-b'},'spec':{'policyName':'%s',%s}}", name, name, binding)), 201);
}

static void forget(const char *name)
{
	rig_call("DELETE", arena_printf(&rig_arena, REG "validatingadmissionpolicybindings/%s-b", name), NULL, 200);
	rig_call("DELETE", arena_printf(&rig_arena, REG "validatingadmissionpolicies/%s", name), NULL, 200);
}

static const char *map(const char *name, const char *data)
{
	return quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s','labels':{'app':'x'}},'data':{%s}}", name, data));
}

#define DENY "'validationActions':['Deny']"

static void test_validate(void **state)
{
	struct json *o;

	(void)state;
	policy("p", ON_MAPS ",'variables':[{'name':'n','expression':'object.data.size()'},{'name':'twice','expression':'variables.n * 2'}],"
		    "'validations':[{'expression':'variables.twice <= 4','messageExpression':'string(variables.n) + ` entries, not more than 2`'},"
		    "{'expression':'!(`bad` in object.data)','message':'bad is bad','reason':'Forbidden'}]", DENY);
	o = rig_call("POST", MAPS, map("a", "'a':'1','b':'2','c':'3'"), 422);
	is(o, "message", "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: 3 entries, not more than 2");
	is(o, "reason", "Invalid");
	is(json_at(json_getp(o, "details.causes"), 0), "message",
			"ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: 3 entries, not more than 2");
	o = rig_call("POST", MAPS, map("a", "'bad':'1'"), 403);
	is(o, "reason", "Forbidden");
	rig_call("POST", MAPS, map("a", "'a':'1'"), 201);
	/* What cannot be told is a no. */
	o = rig_call("POST", MAPS, quoted("{'metadata':{'name':'none'}}"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "expression 'variables.twice <= 4' resulted in error: composited variable \"twice\" "
								   "fails to evaluate: composited variable \"n\" fails to evaluate: no such key: data"));
	rig_type(MERGE);
	rig_call("PATCH", MAPS "/a", "{\"data\":{\"b\":\"2\",\"c\":\"3\"}}", 422);
	rig_type(MERGE);
	rig_call("PATCH", MAPS "/a", "{\"data\":{\"b\":\"2\"}}", 200);
	rig_call("DELETE", MAPS "/a", NULL, 200);
	forget("p");
	rig_call("POST", MAPS, map("a", "'a':'1','b':'2','c':'3'"), 201);
	rig_call("DELETE", MAPS "/a", NULL, 200);
}

/* Where the machine has the database of time zones. */
static void test_zones(void **state)
{
	struct json *o;

	(void)state;
	if (access("/usr/share/zoneinfo/Asia/Tokyo", R_OK) != 0)
		skip();
	policy("z", ON_MAPS ",'validations':[{'expression':'timestamp(`2024-01-01T20:00:00Z`).getHours(`Asia/Tokyo`) == 5 || object.metadata.name == `x`'},"
		    "{'expression':'timestamp(`2024-07-01T20:00:00Z`).getHours(object.data.zone) >= 0'}]", DENY);
	rig_call("POST", MAPS, map("tokyo", "'zone':'Asia/Tokyo'"), 201);
	rig_call("POST", MAPS, map("offset", "'zone':'+02:00'"), 201);
	o = rig_call("POST", MAPS, map("up", "'zone':'../zoneinfo/Asia/Tokyo'"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "unknown time zone ../zoneinfo/Asia/Tokyo"));
	rig_call("POST", MAPS, map("root", "'zone':'/usr/share/zoneinfo/Asia/Tokyo'"), 422);
	forget("z");
	rig_call("DELETE", MAPS "/tokyo", NULL, 200);
	rig_call("DELETE", MAPS "/offset", NULL, 200);
}

static void test_match(void **state)
{
	(void)state;
	/* Only some, and of those the binding's. */
	policy("m", ON_MAPS ",'matchConditions':[{'name':'c','expression':'object.metadata.name != `free`'}],'validations':[{'expression':'false'}]",
			DENY ",'matchResources':{'objectSelector':{'matchLabels':{'app':'x'}},'excludeResourceRules':[{'resourceNames':['spared'],"
			     "'operations':['*'],'apiGroups':['*'],'apiVersions':['*'],'resources':['configmaps']}]}");
	rig_call("POST", MAPS, map("hit", ""), 422);
	rig_call("POST", MAPS, map("free", ""), 201);
	rig_call("POST", MAPS, map("spared", ""), 201);
	rig_call("POST", MAPS, quoted("{'metadata':{'name':'other'}}"), 201);
	rig_call("POST", "/api/v1/namespaces/default/secrets", quoted("{'metadata':{'name':'s','labels':{'app':'x'}}}"), 201);
	forget("m");
	/* Deletes and connections; what is not there any more is oldObject. */
	policy("d", CONSTRAINTS("'DELETE','CONNECT'", "''", "'configmaps','pods/exec'") ",'validations':[{'expression':"
		    "'request.operation == `CONNECT` ? !object.stdin : object == null && oldObject.metadata.name != `free`'}]", DENY);
	rig_call("DELETE", MAPS "/free", NULL, 422);
	rig_call("DELETE", MAPS "/spared", NULL, 200);
	rig_call("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true", NULL, 422);
	rig_call("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=false", NULL, 404);
	forget("d");
	rig_call("DELETE", MAPS "/free", NULL, 200);
	/* Without a binding nothing happens; what fails may be ignored; a warning lets it pass. */
	rig_call("POST", REG "validatingadmissionpolicies", quoted("{'metadata':{'name':'idle'},'spec':{" ON_MAPS ",'validations':[{'expression':'false'}]}}"),
			201);
	policy("i", ON_MAPS ",'failurePolicy':'Ignore','validations':[{'expression':'object.data.none == `x`'}]", DENY);
	policy("w", ON_MAPS ",'validations':[{'expression':'false','message':'careful'}],'auditAnnotations':[{'key':'k','valueExpression':"
		    "'`v`'}]", "'validationActions':['Warn','Audit']");
	rig_call("POST", MAPS, map("passes", ""), 201);
	rig_call("DELETE", MAPS "/passes", NULL, 200);
	rig_call("DELETE", REG "validatingadmissionpolicies/idle", NULL, 200);
	forget("i");
	forget("w");
}

static void test_params(void **state)
{
	struct json *o;

	(void)state;
	policy("q", ON_MAPS ",'paramKind':{'apiVersion':'v1','kind':'ConfigMap'},'matchConditions':[{'name':'n','expression':"
		    "'object.metadata.name.startsWith(`t`)'}],'validations':[{'expression':'object.data.size() <= int(params.data.max)',"
		    "'messageExpression':'`at most ` + params.data.max'}]",
			DENY ",'matchResources':{'namespaceSelector':{'matchLabels':{'kubernetes.io/metadata.name':'default'}}},'paramRef':{'name':'limits',"
			     "'namespace':'kube-system','parameterNotFoundAction':'Deny'}");
	o = rig_call("POST", MAPS, map("t", "'a':'1'"), 422);
	is(o, "message", "configmaps \"t\" is forbidden: ValidatingAdmissionPolicy 'q' with binding 'q-b' denied request: failed to configure binding: no "
			 "params found for policy binding with `Deny` parameterNotFoundAction");
	rig_call("POST", "/api/v1/namespaces/kube-system/configmaps", map("limits", "'max':'1'"), 201);
	rig_call("POST", MAPS, map("t", "'a':'1'"), 201);
	o = rig_call("POST", MAPS, map("t2", "'a':'1','b':'2'"), 422);
	is(o, "message", "configmaps \"t2\" is forbidden: ValidatingAdmissionPolicy 'q' with binding 'q-b' denied request: at most 1");
	rig_type(MERGE);
	rig_call("PATCH", "/api/v1/namespaces/kube-system/configmaps/limits", "{\"data\":{\"max\":\"2\"}}", 200);
	rig_call("POST", MAPS, map("t2", "'a':'1','b':'2'"), 201);
	forget("q");
	/* Of a custom kind, all that a selector likes. */
	rig_call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
			quoted("{'metadata':{'name':'limits.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{'plural':'limits',"
			       "'singular':'limit','kind':'Limit','listKind':'LimitList'},'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
			       "'openAPIV3Schema':{'type':'object','properties':{'spec':{'type':'object','properties':{'max':{'type':'integer'}}}}}}}]}}"),
			201);
	rig_call("POST", "/apis/example.com/v1/limits", quoted("{'apiVersion':'example.com/v1','kind':'Limit','metadata':{'name':'one','labels':{'set':'a'}},'spec':{'max':5}}"), 201);
	rig_call("POST", "/apis/example.com/v1/limits", quoted("{'apiVersion':'example.com/v1','kind':'Limit','metadata':{'name':'two','labels':{'set':'a'}},'spec':{'max':1}}"), 201);
	rig_call("POST", "/apis/example.com/v1/limits", quoted("{'apiVersion':'example.com/v1','kind':'Limit','metadata':{'name':'three','labels':{'set':'b'}},'spec':{'max':0}}"), 201);
	policy("c", ON_MAPS ",'paramKind':{'apiVersion':'example.com/v1','kind':'Limit'},'validations':[{'expression':'object.data.size() <= params.spec.max',"
		    "'messageExpression':'string(params.metadata.name)'}]",
			DENY ",'paramRef':{'selector':{'matchLabels':{'set':'a'}},'parameterNotFoundAction':'Allow'}");
	o = rig_call("POST", MAPS, map("u", "'a':'1','b':'2'"), 422);
	assert_true(str_has_suffix(str_from(json_cstr(json_getc(o, "message"))), STR("denied request: two")));
	rig_call("POST", MAPS, map("u", "'a':'1'"), 201);
	forget("c");
}

static void test_world(void **state)
{
	(void)state;
	/* The namespace, and who may do what. */
	rig_call("POST", "/api/v1/namespaces", quoted("{'metadata':{'name':'tight','labels':{'tight':'yes'}}}"), 201);
	policy("n", ON_MAPS ",'validations':[{'expression':'namespaceObject.metadata.labels[?`tight`].orValue(`no`) != `yes` || "
		    "authorizer.group(``).resource(`secrets`).namespace(`tight`).check(`get`).allowed()','message':'tight'}]", DENY);
	rig_call("POST", "/api/v1/namespaces/tight/configmaps", map("a", ""), 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/tight/roles",
			quoted("{'metadata':{'name':'maps'},'rules':[{'apiGroups':[''],'resources':['configmaps'],'verbs':['*']}]}"), 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/tight/rolebindings",
			quoted("{'metadata':{'name':'maps'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':'maps'},'subjects':[{"
			       "'kind':'User','name':'jane','apiGroup':'rbac.authorization.k8s.io'}]}"), 201);
	rig_as("jane");
	rig_call("POST", "/api/v1/namespaces/tight/configmaps", map("b", ""), 422);
	rig_as("admin");
	forget("n");
}

static void mutation(const char *name, const char *spec, const char *binding)
{
	rig_call("POST", REG "mutatingadmissionpolicies",
			quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s'},'spec':{'failurePolicy':'Fail',%s}}", name, spec)), 201);
	rig_call("POST", REG "mutatingadmissionpolicybindings",
			quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s-b'},'spec':{'policyName':'%s'%s}}", name, name, binding)), 201);
}

static void unmutate(const char *name)
{
	rig_call("DELETE", arena_printf(&rig_arena, REG "mutatingadmissionpolicybindings/%s-b", name), NULL, 200);
	rig_call("DELETE", arena_printf(&rig_arena, REG "mutatingadmissionpolicies/%s", name), NULL, 200);
}

static void test_mutate(void **state)
{
	struct json *o;

	(void)state;
	mutation("a", ON_MAPS ",'reinvocationPolicy':'IfNeeded','matchConditions':[{'name':'l','expression':'has(object.metadata.labels) && "
		    "object.metadata.labels.app == `m`'}],'mutations':[{'patchType':'JSONPatch','jsonPatch':{'expression':'[JSONPatch{op: `add`, path: "
		    "`/metadata/labels/` + jsonpatch.escapeKey(`a.b/c`), value: string(object.data.size())}]'}}]", "");
	mutation("b", ON_MAPS ",'reinvocationPolicy':'Never','matchConditions':[{'name':'l','expression':'has(object.metadata.labels) && "
		    "object.metadata.labels.app == `m`'}],'mutations':[{'patchType':'ApplyConfiguration','applyConfiguration':{'expression':'Object{"
		    "metadata: Object.metadata{labels: {`by`: request.userInfo.username}}, data: {`c`: `3`}}'}}]", "");
	o = rig_call("POST", MAPS, quoted("{'metadata':{'name':'mut','labels':{'app':'m'}},'data':{'x':'1'}}"), 201);
	/* The first one ran again behind the second: two entries by then. */
	assert_string_equal(json_cstr(json_getc(json_getp(o, "metadata.labels"), "a.b/c")), "2");
	is(o, "data.c", "3");
	is(o, "data.x", "1");
	is(o, "metadata.labels.app", "m");
	is(o, "metadata.labels.by", "kubernetes-admin");
	o = rig_call("POST", MAPS, quoted("{'metadata':{'name':'same'},'data':{'x':'1'}}"), 201);
	assert_null(json_getp(o, "data.c"));
	unmutate("a");
	unmutate("b");
	/* What was changed is what is validated; what cannot be done refuses the request. */
	mutation("v", ON_MAPS ",'reinvocationPolicy':'Never','mutations':[{'patchType':'JSONPatch','jsonPatch':{'expression':'[JSONPatch{op: `add`, "
		    "path: `/data/b@d`, value: `x`}]'}}]", "");
	rig_call("POST", MAPS, map("invalid", "'a':'1'"), 422);
	unmutate("v");
	mutation("t", ON_MAPS ",'reinvocationPolicy':'Never','mutations':[{'patchType':'JSONPatch','jsonPatch':{'expression':'[JSONPatch{op: `test`, "
		    "path: `/data/a`, value: `x`}]'}}]", "");
	o = rig_call("POST", MAPS, map("untested", "'a':'1'"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "policy 't' with binding 't-b' denied request: error applying JSONPatch"));
	unmutate("t");
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 0);
	mutation("l", CONSTRAINTS("'CREATE'", "''", "'pods'") ",'reinvocationPolicy':'Never','mutations':[{'patchType':'ApplyConfiguration',"
		    "'applyConfiguration':{'expression':'Object{spec: Object.spec{containers: [Object.spec.containers{name: `c`, command: [`sh`]}]}}'}}]", "");
	o = rig_call("POST", "/api/v1/namespaces/default/pods", quoted("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]}}"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "may not mutate atomic arrays, maps or structs: .spec.containers.command"));
	unmutate("l");
	/* Items of keyed lists are merged into theirs. */
	mutation("k", CONSTRAINTS("'CREATE'", "''", "'pods'") ",'reinvocationPolicy':'Never','mutations':[{'patchType':'ApplyConfiguration',"
		    "'applyConfiguration':{'expression':'Object{spec: Object.spec{containers: object.spec.containers.map(c, Object.spec.containers{name: "
		    "c.name, imagePullPolicy: `Never`})}}'}}]", "");
	o = rig_call("POST", "/api/v1/namespaces/default/pods", quoted("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'},"
								       "{'name':'d','image':'j'}]}}"), 201);
	is(json_at(json_getp(o, "spec.containers"), 1), "imagePullPolicy", "Never");
	is(json_at(json_getp(o, "spec.containers"), 1), "image", "j");
	unmutate("k");
}

static const struct policy *policy_of(struct webhook_index *ix, const char *name)
{
	for (size_t i = 0; i < ix->n_policies[WEBHOOK_VALIDATING]; i++)
		if (str_eqc(ix->policies[WEBHOOK_VALIDATING][i].cel.name, name))
			return &ix->policies[WEBHOOK_VALIDATING][i];
	fail_msg("%s is not in the index", name);
	return NULL;
}

/* Once it has heard of a change; each answer lets the loop's watches run. */
static struct webhook_index *next_index(struct webhook_state *st, const struct webhook_index *before)
{
	for (unsigned i = 0; i < 1000 && webhook_state_index(st) == before; i++)
		rig_call("GET", MAPS, NULL, 200);
	assert_ptr_not_equal(webhook_state_index(st), before);
	return webhook_state_index(st);
}

/* A change compiles the policy that it is of, and no other; a change of a binding none. */
static void test_recompiled(void **state)
{
	struct watch_hub *hub = watch_hub_new(rig_store(), rig_loop, 1u << 20);
	struct webhook_state *st = webhook_state_new(rig_store(), hub);
	struct webhook_index *first, *second, *third;

	(void)state;
	policy("one", ON_MAPS ",'validations':[{'expression':'true'}]", DENY);
	policy("two", ON_MAPS ",'validations':[{'expression':'true'}]", DENY);
	first = webhook_state_index(st);
	while (first->n_policies[WEBHOOK_VALIDATING] < 2)
		first = next_index(st, first);
	first->refs++;
	rig_type(MERGE);
	rig_call("PATCH", REG "validatingadmissionpolicies/two", quoted("{'spec':{'validations':[{'expression':'1 == 1'}]}}"), 200);
	second = next_index(st, first);
	second->refs++;
	assert_ptr_equal(policy_of(second, "one")->cel.validations, policy_of(first, "one")->cel.validations);
	assert_ptr_not_equal(policy_of(second, "two")->cel.validations, policy_of(first, "two")->cel.validations);
	assert_true(str_eqc(policy_of(second, "two")->cel.validations[0].expr.text, "1 == 1"));
	rig_type(MERGE);
	rig_call("PATCH", REG "validatingadmissionpolicybindings/one-b", quoted("{'spec':{'validationActions':['Audit']}}"), 200);
	third = next_index(st, second);
	assert_false(policy_of(third, "one")->bindings[0].deny);
	assert_ptr_equal(policy_of(third, "one")->cel.validations, policy_of(first, "one")->cel.validations);
	assert_ptr_equal(policy_of(third, "two")->cel.validations, policy_of(second, "two")->cel.validations);
	/* What the old indexes alone hold goes with them, the rest stays. */
	webhook_index_unref(first);
	webhook_index_unref(second);
	assert_true(str_eqc(policy_of(third, "one")->cel.validations[0].expr.text, "true"));
	webhook_state_free(st);
	watch_hub_free(hub);
	forget("one");
	forget("two");
}

static void test_refused(void **state)
{
	struct json *o;

	(void)state;
	o = rig_call("POST", REG "validatingadmissionpolicies", quoted("{'metadata':{'name':'x'},'spec':{" ON_MAPS ",'validations':[{'expression':"
								       "'object.data.size()'},{'expression':'objekt','messageExpression':'1'}]}}"), 422);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "spec.validations[0].expression: Invalid value: \"object.data.size()\": must evaluate "
								   "to bool"));
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "spec.validations[1].expression: Invalid value: \"objekt\": compilation failed: "
								   "ERROR: <input>:1:1: undeclared reference to 'objekt'"));
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "spec.validations[1].messageExpression: Invalid value: \"1\": must evaluate to string"));
	o = rig_call("POST", REG "validatingadmissionpolicies", quoted("{'metadata':{'name':'x'},'spec':{" ON_MAPS ",'variables':[{'name':'a-b','expression':"
								       "'1'},{'name':'in','expression':'1'},{'name':'_ok','expression':'1'}],"
								       "'validations':[{'expression':'variables._ok == 1'}]}}"), 422);
	assert_int_equal(json_len(json_getp(o, "details.causes")), 2);
	/* Parameters are there where there is a kind of them. */
	rig_call("POST", REG "validatingadmissionpolicies", quoted("{'metadata':{'name':'x'},'spec':{" ON_MAPS ",'validations':[{'expression':"
								   "'params == null'}]}}"), 422);
	rig_call("POST", REG "mutatingadmissionpolicies", quoted("{'metadata':{'name':'x'},'spec':{'failurePolicy':'Fail','reinvocationPolicy':'Never'," ON_MAPS
								 ",'mutations':[{'patchType':'JSONPatch','jsonPatch':{'expression':'1'}}]}}"), 422);
	/* Policies are not asked about policies. */
	policy("z", CONSTRAINTS("'*'", "'*'", "'*'") ",'validations':[{'expression':'false'}]", DENY);
	rig_call("POST", MAPS, map("z", ""), 422);
	rig_call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", quoted("{'spec':{'resourceAttributes':{'verb':'get'}}}"), 201);
	forget("z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_validate),
			cmocka_unit_test(test_zones),
			cmocka_unit_test(test_match),
			cmocka_unit_test(test_params),
			cmocka_unit_test(test_world),
			cmocka_unit_test(test_mutate),
			cmocka_unit_test(test_recompiled),
			cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
