/* Custom resources, asked of a server: from the definition to the last object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "store/view.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define GROUP "/apis/stable.example.com"
#define TABS GROUP "/v1/namespaces/default/crontabs"

static const struct json *by(const struct json *list, const char *key, const char *value)
{
	JSON_ITEMS (it, list)
		if (json_eqc(json_getc(it, key), value))
			return it;
	return NULL;
}

static void condition_is(const struct json *crd, const char *type, const char *status)
{
	is(by(json_getp(crd, "status.conditions"), "type", type), "status", status);
}

#define SCHEMA                                                                                                         \
	"{'type':'object','properties':{'spec':{'type':'object','required':['cron'],'properties':{"                    \
	"'cron':{'type':'string','pattern':'^[0-9* ]+$'},'image':{'type':'string','default':'busybox'},"              \
	"'replicas':{'type':'integer','minimum':1,'maximum':10},'suspend':{'type':'boolean'},"                         \
	"'free':{'type':'object','x-kubernetes-preserve-unknown-fields':true},"                                        \
	"'ports':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['name'],"                \
	"'items':{'type':'object','required':['name'],'properties':{'name':{'type':'string'},"                         \
	"'port':{'x-kubernetes-int-or-string':true}}}},"                                                               \
	"'tags':{'type':'array','items':{'type':'string'}}}},"                                                         \
	"'status':{'type':'object','properties':{'replicas':{'type':'integer'},'selector':{'type':'string'},"          \
	"'phase':{'type':'string'}}}}}"

/* extra: more members of spec.versions[0], more: of spec. */
static const char *definition(const char *plural, const char *kind, const char *scope, const char *schema, const char *extra)
{
	return quoted(arena_printf(&rig_arena,
			"{'apiVersion':'apiextensions.k8s.io/v1','kind':'CustomResourceDefinition','metadata':{'name':'%s.stable.example.com'},"
			"'spec':{'group':'stable.example.com','scope':'%s','names':{'plural':'%s','kind':'%s'%s},"
			"'versions':[{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':%s}%s},"
			"{'name':'v1beta1','served':true,'storage':false,'schema':{'openAPIV3Schema':%s}}]}}",
			plural, scope, plural, kind, strcmp(plural, "crontabs") == 0 ? ",'shortNames':['ct']" : "", schema, extra, schema));
}

#define CRONTAB_EXTRA                                                                                                  \
	",'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.replicas','statusReplicasPath':'.status.replicas'," \
	"'labelSelectorPath':'.status.selector'}},'additionalPrinterColumns':[{'name':'Cron','type':'string','jsonPath':'.spec.cron'}," \
	"{'name':'Replicas','type':'integer','jsonPath':'.spec.replicas'},{'name':'Age','type':'date','jsonPath':"      \
	"'.metadata.creationTimestamp'}],'selectableFields':[{'jsonPath':'.spec.image'}]"

static const char *tab(const char *name, const char *spec)
{
	return quoted(arena_printf(&rig_arena, "{'apiVersion':'stable.example.com/v1','kind':'CronTab','metadata':{'name':'%s'},'spec':{%s}}",
			name, spec));
}

static void test_definition(void **state)
{
	struct json *o;

	(void)state;
	rig_call("GET", TABS, NULL, 404);
	o = rig_call("POST", CRDS, definition("crontabs", "CronTab", "Namespaced", SCHEMA, CRONTAB_EXTRA), 201);
	condition_is(o, "NamesAccepted", "True");
	condition_is(o, "Established", "True");
	is(o, "status.acceptedNames.listKind", "CronTabList");
	is(json_getp(o, "status"), "acceptedNames.singular", "crontab");
	assert_int_equal(json_len(json_getp(o, "status.storedVersions")), 1);
	/* At once. */
	o = rig_call("GET", TABS, NULL, 200);
	is(o, "kind", "CronTabList");
	is(o, "apiVersion", "stable.example.com/v1");
	/* Another one of that kind is not served. */
	o = rig_call("POST", CRDS, definition("crontabs2", "CronTab", "Namespaced", SCHEMA, ""), 201);
	condition_is(o, "NamesAccepted", "False");
	condition_is(o, "Established", "False");
	is(by(json_getp(o, "status.conditions"), "type", "NamesAccepted"), "reason", "ListKindConflict");
	rig_call("GET", GROUP "/v1/namespaces/default/crontabs2", NULL, 404);
	rig_call("DELETE", CRDS "/crontabs2.stable.example.com", NULL, 200);
}

static void refused(const char *schema, const char *extra, const char *field)
{
	struct json *o = rig_call("POST", CRDS, definition("bads", "Bad", "Namespaced", schema, extra), 422);
	bool found = false;

	JSON_ITEMS (c, json_getp(o, "details.causes"))
		found |= json_eqc(json_getc(c, "field"), field);
	if (!found)
		fail_msg("no cause for %s in %s", field, json_cstr(json_getc(o, "message")));
}

static void test_refused(void **state)
{
#define V0 "spec.versions[0]."
	(void)state;
	refused("{'properties':{}}", "", V0 "schema.openAPIV3Schema.type");
	refused("{'type':'object','properties':{'spec':{'properties':{}}}}", "", V0 "schema.openAPIV3Schema.properties[spec].type");
	refused("{'type':'object','x-kubernetes-validations':[{'rule':'self.none'}]}", "",
			V0 "schema.openAPIV3Schema.x-kubernetes-validations[0].rule");
	refused("{'type':'object'}", ",'subresources':{'scale':{'specReplicasPath':'spec.replicas','statusReplicasPath':'.status.replicas'}}",
			V0 "subresources.scale.specReplicasPath");
	refused("{'type':'object'}", ",'additionalPrinterColumns':[{'name':'A','type':'colour','jsonPath':'.spec.a'}]",
			V0 "additionalPrinterColumns[0].type");
	refused("{'type':'object'}", ",'selectableFields':[{'jsonPath':'.spec.none'}]", V0 "selectableFields[0].jsonPath");
}

/* Groups of the project itself take no newcomers by accident; of one that is served already, none of its names. */
static void test_protected(void **state)
{
	static const char definition[] =
		"{'metadata':{'name':'ingresses.networking.k8s.io'%s},'spec':{'group':'networking.k8s.io','scope':'Namespaced',"
		"'names':{'plural':'ingresses','kind':'Other'},'versions':[{'name':'v9','served':true,'storage':true,'schema':"
		"{'openAPIV3Schema':{'type':'object'}}}]}}";
	struct json *o;

	(void)state;
	rig_call("POST", CRDS, quoted(arena_printf(&rig_arena, definition, "")), 422);
	o = rig_call("POST", CRDS, quoted(arena_printf(&rig_arena, definition, ",'annotations':{'api-approved.kubernetes.io':'unapproved'}")), 201);
	condition_is(o, "Established", "False");
	rig_call("GET", "/apis/networking.k8s.io/v9/ingresses", NULL, 404);
	rig_call("DELETE", CRDS "/ingresses.networking.k8s.io", NULL, 200);
}

static void test_objects(void **state)
{
	struct json *o;

	(void)state;
	o = rig_call("POST", TABS, tab("a", "'cron':'* *','replicas':2,'ports':[{'name':'x','port':80},{'name':'y','port':'web'}],"
					    "'free':{'any':{'thing':1}}"),
			201);
	is(o, "spec.image", "busybox");
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 1);
	assert_int_equal(json_i64_or(json_getp(o, "spec.free.any.thing"), 0), 1);
	/* Wrong values, with upstream's words. */
	o = rig_call("POST", TABS, tab("b", "'cron':'* *','replicas':11"), 422);
	is(o, "message", "CronTab.stable.example.com \"b\" is invalid: spec.replicas: Invalid value: 11: spec.replicas in body should be "
			 "less than or equal to 10");
	rig_call("POST", TABS, tab("b", "'replicas':1"), 422);
	/* Unknown fields: kept by nobody, told of by default, refused on request. */
	o = rig_call("POST", TABS "?fieldValidation=Strict", tab("b", "'cron':'*','colour':1"), 400);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "unknown field \"spec.colour\""));
	o = rig_call("POST", TABS, tab("b", "'cron':'*','colour':1"), 201);
	assert_null(json_getp(o, "spec.colour"));
	rig_call("POST", TABS, tab("b", "'cron':'*'"), 409);
	/* Versions differ in nothing but their name. */
	o = rig_call("GET", GROUP "/v1beta1/namespaces/default/crontabs/a", NULL, 200);
	is(o, "apiVersion", "stable.example.com/v1beta1");
	is(o, "spec.cron", "* *");
	/* Selectors. */
	rig_type(MERGE);
	rig_call("PATCH", TABS "/b", quoted("{'metadata':{'labels':{'x':'y'}},'spec':{'image':'other'}}"), 200);
	o = rig_call("GET", TABS "?labelSelector=x%3Dy", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1);
	is(json_at(json_getc(o, "items"), 0), "kind", "CronTab");
	o = rig_call("GET", TABS "?fieldSelector=spec.image%3Dbusybox", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1);
	is(json_at(json_getc(o, "items"), 0), "metadata.name", "a");
	rig_call("GET", TABS "?fieldSelector=spec.cron%3Dx", NULL, 400);
	o = rig_call("GET", TABS "?limit=1", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1);
	assert_true(json_str(json_getp(o, "metadata.continue")).n > 0);
}

/* What lies in the store is what upstream stores. */
/* Counted like any other kind: what was there, what comes, what goes. */
static void test_quota(void **state)
{
	static const char quota[] = "/api/v1/namespaces/counted/resourcequotas/q", tabs[] = GROUP "/v1/namespaces/counted/crontabs";
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces", quoted("{'metadata':{'name':'counted'}}"), 201);
	rig_call("POST", tabs, tab("one", "'cron':'*'"), 201);
	rig_call("POST", "/api/v1/namespaces/counted/resourcequotas",
			quoted("{'metadata':{'name':'q'},'spec':{'hard':{'count/crontabs.stable.example.com':'2'}}}"), 201);
	/* As the controller asks for the first count. */
	o = rig_call("GET", quota, NULL, 200);
	o = rig_call("PUT", arena_printf(&rig_arena, "%s/status", quota), arena_cstr(&rig_arena, json_text(&rig_arena, o)), 200);
	assert_string_equal(json_cstr(json_getc(json_getp(o, "status.used"), "count/crontabs.stable.example.com")), "1");
	rig_call("POST", tabs, tab("two", "'cron':'*'"), 201);
	o = rig_call("POST", tabs, tab("three", "'cron':'*'"), 403);
	is(o, "message", "crontabs.stable.example.com \"three\" is forbidden: exceeded quota: q, requested: count/crontabs.stable.example.com=1, used: "
			 "count/crontabs.stable.example.com=2, limited: count/crontabs.stable.example.com=2");
	rig_call("DELETE", arena_printf(&rig_arena, "%s/one", tabs), NULL, 200);
	rig_call("POST", tabs, tab("three", "'cron':'*'"), 201);
	rig_call("DELETE", arena_printf(&rig_arena, "%s/two", tabs), NULL, 200);
	rig_call("DELETE", arena_printf(&rig_arena, "%s/three", tabs), NULL, 200);
	o = rig_call("GET", quota, NULL, 200);
	assert_string_equal(json_cstr(json_getc(json_getp(o, "status.used"), "count/crontabs.stable.example.com")), "0");
}

static void test_stored(void **state)
{
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	struct json *o;

	(void)state;
	assert_int_equal(store_view_open(rig_store(), &v, &e), 0);
	assert_int_equal(view_get(v, STR("/registry/stable.example.com/crontabs/default/a"), 0, &kv, &e), 0);
	assert_int_equal(json_parse(&rig_arena, kv.value, NULL, &o, &e), 0);
	store_view_close(v);
	is(o, "apiVersion", "stable.example.com/v1");
	is(o, "kind", "CronTab");
	is(o, "metadata.name", "a");
	assert_null(json_getp(o, "metadata.resourceVersion"));
}

static void test_writes(void **state)
{
	struct json *o;

	(void)state;
	/* Status apart from the rest. */
	rig_type(MERGE);
	o = rig_call("PATCH", TABS "/a", quoted("{'spec':{'suspend':true},'status':{'phase':'x'}}"), 200);
	assert_null(json_getc(o, "status"));
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	rig_type(MERGE);
	o = rig_call("PATCH", TABS "/a/status", quoted("{'spec':{'suspend':false},'status':{'phase':'x','replicas':1,'selector':'a=b'}}"), 200);
	is(o, "status.phase", "x");
	assert_true(json_true(json_getp(o, "spec.suspend")));
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	/* Scale. */
	o = rig_call("GET", TABS "/a/scale", NULL, 200);
	is(o, "kind", "Scale");
	is(o, "status.selector", "a=b");
	assert_int_equal(json_i64_or(json_getp(o, "spec.replicas"), 0), 2);
	rig_type(MERGE);
	rig_call("PATCH", TABS "/a/scale", quoted("{'spec':{'replicas':5}}"), 200);
	rig_type(MERGE);
	rig_call("PATCH", TABS "/a/scale", quoted("{'spec':{'replicas':50}}"), 422);
	o = rig_call("GET", TABS "/a", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(o, "spec.replicas"), 0), 5);
	/* Patches. */
	rig_type("application/strategic-merge-patch+json");
	rig_call("PATCH", TABS "/a", "{}", 415);
	rig_type("application/json-patch+json");
	o = rig_call("PATCH", TABS "/a", quoted("[{'op':'add','path':'/spec/tags','value':['t']}]"), 200);
	assert_int_equal(json_len(json_getp(o, "spec.tags")), 1);
	/* Nothing changes: no write. */
	is(rig_call("PUT", TABS "/a", json_cstr(json_new_str(&rig_arena, json_text(&rig_arena, o))), 200), "metadata.resourceVersion",
			json_cstr(json_getp(o, "metadata.resourceVersion")));
	/* Protobuf has no words for it. */
	rig_type("application/vnd.kubernetes.protobuf");
	rig_call("POST", TABS, "k8s", 415);
	rig_header("Accept", "application/vnd.kubernetes.protobuf,application/json");
	is(rig_call("GET", TABS "/a", NULL, 200), "kind", "CronTab");
	rig_header("Accept", "application/vnd.kubernetes.protobuf");
	rig_call("GET", TABS "/a", NULL, 406);
}

static struct json *apply(const char *manager, const char *spec, int want)
{
	rig_type("application/apply-patch+yaml");
	return rig_call("PATCH", arena_printf(&rig_arena, TABS "/s?fieldManager=%s", manager), tab("s", spec), want);
}

static void test_apply(void **state)
{
	struct json *o;

	(void)state;
	apply("one", "'cron':'*','ports':[{'name':'x','port':1}],'free':{'a':1}", 201);
	/* Elements of a keyed list and members of a free map have owners of their own. */
	o = apply("two", "'ports':[{'name':'y','port':2}],'free':{'b':2}", 200);
	assert_int_equal(json_len(json_getp(o, "spec.ports")), 2);
	assert_int_equal(json_len(json_getp(o, "spec.free")), 2);
	o = apply("two", "'cron':'1'", 409);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), ".spec.cron"));
	/* What only this manager had and names no more is gone. */
	o = apply("two", "'ports':[{'name':'y'}]", 200);
	assert_int_equal(json_len(json_getp(o, "spec.free")), 1);
	assert_null(json_getc(json_at(json_getp(o, "spec.ports"), 1), "port"));
	apply("two", "'nothing':1", 500);
}

static void test_table(void **state)
{
	struct json *o, *row;

	(void)state;
	rig_header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
	o = rig_call("GET", TABS "/a", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "columnDefinitions")), 4);
	row = json_getc(json_at(json_getc(o, "rows"), 0), "cells");
	assert_string_equal(json_cstr(json_at(row, 0)), "a");
	assert_string_equal(json_cstr(json_at(row, 1)), "* *");
	assert_int_equal(json_i64_or(json_at(row, 2), 0), 5);
}

static void test_described(void **state)
{
	struct json *o;

	(void)state;
	o = rig_call("GET", "/apis", NULL, 200);
	is(by(json_getc(o, "groups"), "name", "stable.example.com"), "preferredVersion.version", "v1");
	o = rig_call("GET", GROUP "/v1", NULL, 200);
	is(by(json_getc(o, "resources"), "name", "crontabs"), "kind", "CronTab");
	is(by(json_getc(o, "resources"), "name", "crontabs/scale"), "kind", "Scale");
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	o = rig_call("GET", "/apis", NULL, 200);
	assert_non_null(strstr(json_cstr(json_new_str(&rig_arena, json_text(&rig_arena, o))), "\"crontabs\""));
	o = rig_call("GET", "/openapi/v3/apis/stable.example.com/v1", NULL, 200);
	o = json_getc(json_getp(o, "components.schemas"), "com.example.stable.v1.CronTab");
	is(o, "properties.spec.properties.cron.type", "string");
	is(json_at(json_getc(o, "x-kubernetes-group-version-kind"), 0), "kind", "CronTab");
	o = rig_call("GET", "/openapi/v3", NULL, 200);
	assert_non_null(json_getc(json_getc(o, "paths"), "apis/stable.example.com/v1beta1"));
	o = rig_call("GET", "/openapi/v2", NULL, 200);
	assert_non_null(json_getc(json_getc(o, "definitions"), "com.example.stable.v1.CronTab"));
}

static void test_watch(void **state)
{
	struct rig_watch *w = rig_watch(GROUP "/v1/crontabs?watch=1&fieldSelector=spec.image%3Dwatched");

	(void)state;
	rig_watch_begun(w);
	rig_call("POST", TABS, tab("w", "'cron':'*','image':'watched'"), 201);
	rig_type(MERGE);
	rig_call("PATCH", TABS "/w", quoted("{'spec':{'image':'no more'}}"), 200);
	is(rig_event(w, 0), "type", "ADDED");
	is(rig_event(w, 0), "object.apiVersion", "stable.example.com/v1");
	is(rig_event(w, 0), "object.spec.image", "watched");
	is(rig_event(w, 1), "type", "DELETED");
	/* Another schema: whoever watches must look again. */
	rig_type(MERGE);
	rig_call("PATCH", CRDS "/crontabs.stable.example.com", quoted("{'spec':{'names':{'shortNames':['ctab']}}}"), 200);
	rig_watch_end(w);
}

static void test_roles(void **state)
{
	(void)state;
	rig_header("Impersonate-User", "carla");
	rig_call("GET", TABS, NULL, 403);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
			quoted("{'metadata':{'name':'tabs'},'rules':[{'apiGroups':['stable.example.com'],'resources':['crontabs'],'verbs':['list']}]}"),
			201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
			quoted("{'metadata':{'name':'tabs'},'subjects':[{'kind':'User','name':'carla'}],'roleRef':{'apiGroup':"
			       "'rbac.authorization.k8s.io','kind':'Role','name':'tabs'}}"),
			201);
	rig_header("Impersonate-User", "carla");
	rig_call("GET", TABS, NULL, 200);
	rig_header("Impersonate-User", "carla");
	rig_call("GET", TABS "/a", NULL, 403);
}

static void test_deletion(void **state)
{
	struct json *o;

	(void)state;
	rig_type(MERGE);
	rig_call("PATCH", TABS "/a", quoted("{'metadata':{'finalizers':['example.com/f']}}"), 200);
	o = rig_call("DELETE", TABS "/a", NULL, 200);
	assert_non_null(json_getp(o, "metadata.deletionTimestamp"));
	rig_type(MERGE);
	rig_call("PATCH", TABS "/a", quoted("{'metadata':{'finalizers':null}}"), 200);
	rig_call("GET", TABS "/a", NULL, 404);
	rig_call("DELETE", TABS "?labelSelector=x%3Dy", NULL, 200);
	rig_call("GET", TABS "/b", NULL, 404);
	rig_call("GET", TABS "/w", NULL, 200);
	/* The definition waits for its objects, and takes no new ones. */
	o = rig_call("DELETE", CRDS "/crontabs.stable.example.com", NULL, 200);
	condition_is(o, "Terminating", "True");
	assert_string_equal(json_cstr(json_at(json_getp(o, "metadata.finalizers"), 0)), "customresourcecleanup.apiextensions.k8s.io");
	o = rig_call("POST", TABS, tab("late", "'cron':'*'"), 405);
	is(o, "message", "create not allowed while custom resource definition is terminating");
	rig_call("GET", TABS "/w", NULL, 200);
	rig_call("DELETE", TABS, NULL, 200);
	rig_type(MERGE);
	rig_call("PATCH", CRDS "/crontabs.stable.example.com", quoted("{'metadata':{'finalizers':null}}"), 200);
	rig_call("GET", TABS, NULL, 404);
	o = rig_call("GET", "/apis", NULL, 200);
	assert_null(by(json_getc(o, "groups"), "name", "stable.example.com"));
	rig_call("GET", "/openapi/v3/apis/stable.example.com/v1", NULL, 404);
}

#define GATES GROUP "/v1/namespaces/default/gates"
#define GATE(name, spec) "{'apiVersion':'stable.example.com/v1','kind':'Gate','metadata':{'name':'" name "'},'spec':{" spec "}}"

/* Rules in CEL hold for creates, updates, patches and the status, each against what was there before. */
static void test_rules(void **state)
{
	static const char schema[] =
		"{'type':'object','x-kubernetes-validations':[{'rule':'self.metadata.name.startsWith(\\'g\\')','message':'begins with g'}],'properties':{"
		"'spec':{'type':'object','properties':{'min':{'type':'integer'},'max':{'type':'integer'},'color':{'type':'string',"
		"'x-kubernetes-validations':[{'rule':'self == oldSelf','message':'is for ever'}]}},'x-kubernetes-validations':[{'rule':"
		"'self.min <= self.max','messageExpression':'self.min > 2 ? \\'far above\\' : \\'above\\'','fieldPath':'.min'}]},"
		"'status':{'type':'object','properties':{'n':{'type':'integer'}},'x-kubernetes-validations':[{'rule':'self.n > 0'}]}}}";
	/* Quotes in rules are \\', which stay single. */
	char *body = arena_strdup(&rig_arena, definition("gates", "Gate", "Namespaced", "@", ",'subresources':{'status':{}}"));
	struct buf b = BUF_INIT;
	struct json *o;

	(void)state;
	for (const char *p = body; *p; p++) {
		if (*p != '@') {
			buf_add1(&b, *p);
			continue;
		}
		for (const char *q = schema; *q; q++) {
			if (*q == '\\')
				buf_add1(&b, *++q);
			else
				buf_add1(&b, *q == '\'' ? '"' : *q);
		}
	}
	rig_call("POST", CRDS, arena_cstr(&rig_arena, buf_str(&b)), 201);
	buf_fini(&b);
	o = rig_call("POST", GATES, quoted(GATE("x", "'min':3,'max':2,'color':'red'")), 422);
	is(o, "message", "Gate.stable.example.com \"x\" is invalid: [<nil>: Invalid value: \"object\": begins with g, spec.min: Invalid value: "
			 "\"object\": far above]");
	rig_call("POST", GATES, quoted(GATE("g", "'min':1,'max':2,'color':'red'")), 201);
	rig_type(MERGE);
	o = rig_call("PATCH", GATES "/g", "{\"spec\":{\"color\":\"blue\"}}", 422);
	is(o, "message", "Gate.stable.example.com \"g\" is invalid: spec.color: Invalid value: \"string\": is for ever");
	rig_type(MERGE);
	rig_call("PATCH", GATES "/g", "{\"spec\":{\"max\":9}}", 200);
	rig_type(MERGE);
	rig_call("PATCH", GATES "/g/status", "{\"status\":{\"n\":0}}", 422);
	rig_type(MERGE);
	rig_call("PATCH", GATES "/g/status", "{\"status\":{\"n\":1}}", 200);
	rig_type("application/apply-patch+yaml");
	rig_call("PATCH", GATES "/h?fieldManager=m", quoted(GATE("h", "'min':1,'max':0,'color':'red'")), 422);
	rig_call("DELETE", CRDS "/gates.stable.example.com", NULL, 200);
	rig_type(MERGE);
	rig_call("PATCH", CRDS "/gates.stable.example.com", "{\"metadata\":{\"finalizers\":[]}}", 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_definition),
			cmocka_unit_test(test_refused),
			cmocka_unit_test(test_rules),
			cmocka_unit_test(test_protected),
			cmocka_unit_test(test_objects),
			cmocka_unit_test(test_quota),
			cmocka_unit_test(test_stored),
			cmocka_unit_test(test_writes),
			cmocka_unit_test(test_apply),
			cmocka_unit_test(test_table),
			cmocka_unit_test(test_described),
			cmocka_unit_test(test_watch),
			cmocka_unit_test(test_roles),
			cmocka_unit_test(test_deletion),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
