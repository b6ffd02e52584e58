/* API aggregation, what is decided: registrations, conditions, headers of what is passed on, merged documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/aggregate.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_openapi.h"
#include "orchestrator/apiserver/client_remote.h"
#include "orchestrator/apiserver/forward.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/service_clients.h"
#include "proto/schema.h"
#include "tests/unit/orchestrator/apiserver/words.h"

static void test_path(void **state)
{
	static const struct {
		const char *path, *group, *version;
	} rows[] = {
			{"/apis/g.x/v1", "g.x", "v1"},
			{"/apis/g.x/v1/", "g.x", "v1"},
			{"/apis/g.x/v1/namespaces/a/b/c", "g.x", "v1"},
			{"/apis/g.x", NULL, NULL},
			{"/apis/g.x/", NULL, NULL},
			{"/apis", NULL, NULL},
			{"/apis//v1", NULL, NULL},
			{"/api/v1/pods", NULL, NULL},
			{"/apisx/g/v1", NULL, NULL},
	};
	struct str g, v;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(aggregate_path(str_from(rows[i].path), &g, &v), rows[i].group != NULL);
		assert_true(!rows[i].group || (str_eqc(g, rows[i].group) && str_eqc(v, rows[i].version)));
	}
}

static void test_order(void **state)
{
	struct aggregate_gv v[] = {{"b", "v1", 10, 1, NULL}, {"a", "v1beta1", 10, 5, NULL}, {"c", "v1", 1, 1, NULL}, {"a", "v1", 10, 5, NULL},
			{"c", "v2", 50, 9, NULL}, {"a", "v0", 2, 7, NULL}};
	struct buf out = BUF_INIT;

	(void)state;
	aggregate_sort(v, ARRAY_LEN(v));
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		buf_printf(&out, "%s/%s ", v[i].group, v[i].version);
	/* A group is as important as its most important version. */
	assert_string_equal(out.p, "c/v2 c/v1 a/v0 a/v1 a/v1beta1 b/v1 ");
	buf_fini(&out);
}

static const char *reason(const char *service, const char *slices, const char *endpoints, bool asked, const char *failure)
{
	struct aggregate_facts f = {service ? parse(service) : NULL, slices ? parse(slices) : NULL, endpoints ? parse(endpoints) : NULL, asked,
			str_from(failure)};
	struct aggregate_condition c;
	struct api_service s;

	api_service_parse(&rig_arena, parse("{'metadata':{'name':'v1.x'},'spec':{'group':'x','version':'v1','service':{'name':'s','namespace':'n',"
					    "'port':444}}}"), &s);
	if (!aggregate_judge(&rig_arena, &s, &f, &c))
		return "?";
	assert_string_equal(c.status, strcmp(c.reason, "Passed") == 0 ? "True" : "False");
	return arena_printf(&rig_arena, "%s: %.*s", c.reason, STR_FMT(c.message));
}

static void test_judge(void **state)
{
	static const char service[] = "{'spec':{'type':'ClusterIP','ports':[{'name':'https','port':444}]}}";
	static const char ready[] = "{'subsets':[{'addresses':[{'ip':'1.2.3.4'}],'ports':[{'name':'https','port':1}]}]}";
	static const char slice[] = "[{'endpoints':[{'addresses':['1.2.3.4'],'conditions':{%s}}],'ports':[{'name':'%s','port':1}]}]";
	struct aggregate_condition c;
	struct api_service s;

	(void)state;
	assert_string_equal(reason(NULL, NULL, NULL, false, ""), "ServiceNotFound: service/s in \"n\" is not present");
	assert_string_equal(reason("{'spec':{'type':'ClusterIP','ports':[{'port':443}]}}", NULL, ready, false, ""),
			"ServicePortError: service/s in \"n\" is not listening on port 444");
	assert_string_equal(reason(service, NULL, NULL, true, ""), "EndpointsNotFound: cannot find endpointslices for service/s in \"n\"");
	assert_string_equal(reason(service, NULL, "{'subsets':[]}", true, ""),
			"MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
	assert_string_equal(reason(service, arena_printf(&rig_arena, slice, "'ready':false", "https"), NULL, true, ""),
			"MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
	assert_string_equal(reason(service, arena_printf(&rig_arena, slice, "", "http"), NULL, true, ""),
			"MissingEndpoints: endpointslices for service/s in \"n\" have no addresses with port name \"https\"");
	assert_string_equal(reason(service, arena_printf(&rig_arena, slice, "", "https"), NULL, true, ""), "Passed: all checks passed");
	assert_string_equal(reason(service, NULL, ready, false, ""), "?");
	assert_string_equal(reason(service, NULL, ready, true, "no answer"), "FailedDiscoveryCheck: no answer");
	assert_string_equal(reason(service, NULL, ready, true, ""), "Passed: all checks passed");
	/* Where the name leads is not ours to see. */
	assert_string_equal(reason("{'spec':{'type':'ExternalName'}}", NULL, NULL, true, ""), "Passed: all checks passed");
	api_service_parse(&rig_arena, parse("{'metadata':{'name':'v1.x'},'spec':{'group':'x','version':'v1'}}"), &s);
	assert_true(aggregate_judge(&rig_arena, &s, &(struct aggregate_facts){.asked = false}, &c));
	assert_string_equal(c.reason, "Local");
}

static void test_slices(void **state)
{
	struct json *slices = parse("[{'endpoints':[{'addresses':['1.1.1.1']},{'addresses':['2.2.2.2'],'conditions':{'ready':false}},{'addresses':"
				    "['3.3.3.3'],'conditions':{'ready':true}}],'ports':[{'name':'x','port':7}]}]");

	(void)state;
	assert_true(json_equal(service_endpoints_of(&rig_arena, slices),
			parse("{'subsets':[{'ports':[{'name':'x','port':7}],'addresses':[{'ip':'1.1.1.1'},{'ip':'3.3.3.3'}]}]}")));
}

static void test_status(void **state)
{
	struct aggregate_condition c = {"False", "ServiceNotFound", STR_INIT("gone")};
	struct json *doc = parse("{'status':{'conditions':[{'type':'Other','status':'True'}]}}"), *now = parse("'T1'"), *later = parse("'T2'");

	(void)state;
	doc = aggregate_status(&rig_arena, doc, &c, now);
	assert_int_equal(json_len(json_getp(doc, "status.conditions")), 2);
	/* The time is that of the last change of status. */
	c.reason = "MissingEndpoints";
	doc = aggregate_status(&rig_arena, doc, &c, later);
	assert_true(json_equal(json_at(json_getp(doc, "status.conditions"), 1),
			parse("{'type':'Available','lastTransitionTime':'T1','status':'False','reason':'MissingEndpoints','message':'gone'}")));
	c.status = "True";
	doc = aggregate_status(&rig_arena, doc, &c, later);
	assert_true(json_eqc(json_getc(json_at(json_getp(doc, "status.conditions"), 1), "lastTransitionTime"), "T2"));
}

/* A registration, as text: "-" none, else "LABEL[ remote][ other]". */
static enum aggregate_action decide(const char *have, const struct aggregate_want *want, bool starting)
{
	struct api_service s = {.managed = str_from(have)};
	struct str rest;

	if (strcmp(have, "-") == 0)
		return aggregate_decide(NULL, want, starting);
	str_cut(str_from(have), ' ', &s.managed, &rest);
	s.remote = str_search(rest, STR("remote")) >= 0;
	if (want)
		aggregate_priorities(str_from(want->group), str_from(want->version), want->custom, &s.group_priority, &s.version_priority);
	s.version_priority += str_search(rest, STR("other")) >= 0;
	return aggregate_decide(&s, want, starting);
}

static void test_decide(void **state)
{
	struct aggregate_want apps = {"apps", "v1", false}, crd = {"x.io", "v1", true}, metrics = {"metrics.k8s.io", "v1beta1", false};
	struct api_service s;

	(void)state;
	assert_int_equal(decide("-", &apps, true), AGGREGATE_CREATE);
	assert_int_equal(decide("-", &apps, false), AGGREGATE_LEAVE);
	assert_int_equal(decide("-", &crd, false), AGGREGATE_CREATE);
	assert_int_equal(decide("-", NULL, true), AGGREGATE_LEAVE);
	assert_int_equal(decide("onstart", &apps, true), AGGREGATE_LEAVE);
	assert_int_equal(decide("onstart other", &apps, true), AGGREGATE_UPDATE);
	assert_int_equal(decide("onstart remote", &apps, true), AGGREGATE_UPDATE);
	assert_int_equal(decide("onstart other", &apps, false), AGGREGATE_LEAVE);
	assert_int_equal(decide("onstart", NULL, true), AGGREGATE_DELETE);
	assert_int_equal(decide("onstart", NULL, false), AGGREGATE_LEAVE);
	assert_int_equal(decide("true other", &crd, false), AGGREGATE_UPDATE);
	assert_int_equal(decide("true", &crd, false), AGGREGATE_LEAVE);
	assert_int_equal(decide("true", NULL, false), AGGREGATE_DELETE);
	/* A user's own. */
	assert_int_equal(decide(" remote", &crd, true), AGGREGATE_LEAVE);
	assert_int_equal(decide(" remote", NULL, true), AGGREGATE_LEAVE);
	assert_int_equal(decide("onstart remote", &metrics, true), AGGREGATE_LEAVE);
	api_service_parse(&rig_arena, aggregate_local(&rig_arena, &crd, NULL), &s);
	assert_int_equal(aggregate_decide(&s, &crd, true), AGGREGATE_LEAVE);
	assert_true(str_eqc(s.name, "v1.x.io") && str_eqc(s.managed, "true") && s.group_priority == 1000 && s.version_priority == 100);
}

static const char *text_of(struct http_headers h)
{
	struct buf out = BUF_INIT;
	const char *text;

	for (size_t i = 0; i < h.n; i++)
		buf_printf(&out, "%.*s: %.*s\n", STR_FMT(h.h[i].name), STR_FMT(h.h[i].value));
	text = arena_cstr(&rig_arena, buf_str(&out));
	buf_fini(&out);
	return text;
}

static void test_headers(void **state)
{
	struct http_header in[] = {{STR("Host"), STR("api:6443")}, {STR("Authorization"), STR("Bearer x")}, {STR("Accept"), STR("a/b")},
			{STR("X-Remote-User"), STR("root")}, {STR("x-remote-group"), STR("system:masters")}, {STR("X-REMOTE-EXTRA-a"), STR("b")},
			{STR("Impersonate-User"), STR("root")}, {STR("Connection"), STR("Upgrade, X-Mine")}, {STR("Upgrade"), STR("websocket")},
			{STR("X-Mine"), STR("1")}, {STR("X-Forwarded-For"), STR("9.9.9.9")}, {STR("X-Forwarded-Proto"), STR("http")},
			{STR("Sec-WebSocket-Protocol"), STR("base64url.bearer.authorization.k8s.io.eHg")}};
	struct str groups[] = {STR("dev"), STR("system:authenticated")};
	struct api_extra extra[] = {{STR("example.com/Key %"), STR("v1")}, {STR("scopes"), STR("v2")}};
	struct api_user u = {.name = STR("jane"), .uid = STR("42"), .groups = groups, .n_groups = 2, .extra = extra, .n_extra = 2};
	struct http_headers all = {in, ARRAY_LEN(in)}, h = forward_headers(&rig_arena, &all, false, STR("1.2.3.4:5"), STR("/apis/x"));
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(forward_user(&rig_arena, &u, &h, &e), 0);
	assert_string_equal(text_of(h),
			"Accept: a/b\nX-Forwarded-For: 9.9.9.9, 1.2.3.4\nX-Forwarded-Host: api:6443\nX-Forwarded-Proto: https\nX-Forwarded-Uri: /apis/x\n"
			"X-Remote-User: jane\nX-Remote-Uid: 42\nX-Remote-Group: dev\nX-Remote-Group: system:authenticated\n"
			"X-Remote-Extra-example.com%2FKey%20%25: v1\nX-Remote-Extra-scopes: v2\n");
	h = forward_headers(&rig_arena, &all, true, STR("1.2.3.4:5"), STR("/"));
	/* The client's Connection could name X-Remote-User: a proxy behind us would take it out. */
	assert_string_equal(text_of(h), "Accept: a/b\nUpgrade: websocket\nConnection: Upgrade\nX-Forwarded-For: 9.9.9.9, 1.2.3.4\n"
					"X-Forwarded-Host: api:6443\nX-Forwarded-Proto: https\nX-Forwarded-Uri: /\n");
	/* A name with a line's end in it would be two headers. */
	u.name = STR("jane\r\nX-Remote-Group: system:masters");
	assert_int_equal(forward_user(&rig_arena, &u, &h, &e), -ERR_BAD_REQUEST);
}

static struct str make_ca(const char *name)
{
	struct x509_key *key;
	struct x509_cert *ca;
	struct buf pem = BUF_INIT;
	struct str text;

	assert_int_equal(x509_key_new(&key, NULL), 0);
	assert_int_equal(x509_ca_new(name, 10, key, &ca, NULL), 0);
	assert_int_equal(x509_cert_to_pem(ca, &pem, NULL), 0);
	text = arena_str(&rig_arena, buf_str(&pem));
	buf_fini(&pem);
	x509_key_free(key);
	x509_cert_free(ca);
	return text;
}

static void test_config(void **state)
{
	struct str one = make_ca("a"), two = make_ca("b"), again = make_ca("a"), all;
	struct str here = make_ca(FRONT_PROXY_CA "server-1"), gone = make_ca(FRONT_PROXY_CA "server-2");
	const struct str servers[] = {STR("server-1"), STR("server-3")};
	struct json *doc = front_proxy_config(&rig_arena, NULL, STR("CA"), one, NULL, 0);

	(void)state;
	assert_true(json_eqc(json_getp(doc, "data.client-ca-file"), "CA"));
	assert_true(json_eqc(json_getp(doc, "data.requestheader-username-headers"), "[\"X-Remote-User\"]"));
	assert_null(front_proxy_config(&rig_arena, doc, STR("CA"), one, NULL, 0));
	doc = front_proxy_config(&rig_arena, doc, STR("CA"), two, NULL, 0);
	all = json_str(json_getp(doc, "data.requestheader-client-ca-file"));
	assert_true(str_search(all, str_trim(one)) >= 0 && str_search(all, str_trim(two)) >= 0);
	/* A server that was made anew has its old one taken out. */
	doc = front_proxy_config(&rig_arena, doc, STR("CA"), again, NULL, 0);
	all = json_str(json_getp(doc, "data.requestheader-client-ca-file"));
	assert_true(str_search(all, str_trim(one)) < 0 && str_search(all, str_trim(two)) >= 0 && str_search(all, str_trim(again)) >= 0);
	assert_non_null(front_proxy_config(&rig_arena, doc, STR("new CA"), two, NULL, 0));
	/* Who knows which servers there are takes out those of others; what was put there by hand stays. */
	doc = front_proxy_config(&rig_arena, doc, STR("CA"), gone, NULL, 0);
	doc = front_proxy_config(&rig_arena, doc, STR("CA"), here, NULL, 0);
	doc = front_proxy_config(&rig_arena, doc, STR("CA"), here, servers, 2);
	all = json_str(json_getp(doc, "data.requestheader-client-ca-file"));
	assert_true(str_search(all, str_trim(gone)) < 0 && str_search(all, str_trim(here)) >= 0 && str_search(all, str_trim(two)) >= 0);
	assert_null(front_proxy_config(&rig_arena, doc, STR("CA"), here, servers, 2));
}

static void test_version(void **state)
{
	struct json *list = parse("{'resources':[{'name':'fishes','singularName':'fish','namespaced':true,'kind':'Fish','verbs':['get'],"
				  "'shortNames':['fi']},{'name':'fishes/scale','namespaced':true,'group':'autoscaling','version':'v1','kind':'Scale',"
				  "'verbs':['get','update']},{'name':'ponds','singularName':'pond','namespaced':false,'kind':'Pond','verbs':[]}]}");

	(void)state;
	assert_true(json_equal(aggregate_version(&rig_arena, "g", "v1", list),
			parse("{'version':'v1','resources':[{'resource':'fishes','scope':'Namespaced','singularResource':'fish','shortNames':['fi'],"
			      "'responseKind':{'group':'g','version':'v1','kind':'Fish'},'verbs':['get'],'subresources':[{'subresource':'scale',"
			      "'responseKind':{'group':'autoscaling','version':'v1','kind':'Scale'},'verbs':['get','update']}]},{'resource':'ponds',"
			      "'scope':'Cluster','singularResource':'pond','responseKind':{'group':'g','version':'v1','kind':'Pond'},'verbs':[]}],"
			      "'freshness':'Current'}")));
	assert_true(json_equal(aggregate_version(&rig_arena, "g", "v1", NULL), parse("{'version':'v1','freshness':'Stale'}")));
}

static struct json *merge(const char *ours, const char *theirs)
{
	struct aggregate_doc d[2] = {{.group = STR("g"), .version = STR("v1"), .v2 = str_from(quoted(theirs))},
			{.group = STR("g"), .version = STR("v2"), .v2 = str_from(quoted(theirs))}};
	struct buf out = BUF_INIT;
	struct json *doc;

	buf_init(&out, BUF_NO_LIMIT);
	aggregate_openapi_v2(&rig_arena, &out, str_from(quoted(ours)), d, 2);
	doc = parse(arena_cstr(&rig_arena, buf_str(&out)));
	buf_fini(&out);
	return doc;
}

static void test_openapi(void **state)
{
	static const char ours[] = "{'swagger':'2.0','paths':{'/api/v1/':{'get':{}},'/apis/g/v1/mine':{'x':1}},'definitions':{'A':{'a':'}{'},'B':{'b':1}}}";

	(void)state;
	/* What is the same is not there twice, what only has the same name gets another. */
	assert_true(json_equal(
			merge(ours, "{'paths':{'/apis/g/v1/a':{'$ref':'#/definitions/B'},'/apis/g/v2/b':{'$ref':'#/definitions/A'},'/apis/g/v1/mine':{'x':2},"
				    "'/api/v1/':{'get':1},'/apis/other/v1/':{}},'definitions':{'A':{'a':'}{'},'B':{'b':{'$ref':'#/definitions/C'}},'C':{'c':"
				    "{'$ref':'#/definitions/B'}}}}"),
			parse("{'swagger':'2.0','paths':{'/api/v1/':{'get':{}},'/apis/g/v1/mine':{'x':1},'/apis/g/v1/a':{'$ref':'#/definitions/B_v2'},"
			      "'/apis/g/v2/b':{'$ref':'#/definitions/A'}},'definitions':{'A':{'a':'}{'},'B':{'b':1},'B_v2':{'b':{'$ref':'#/definitions/C'}},"
			      "'C':{'c':{'$ref':'#/definitions/B_v2'}}}}")));
	/* A definition is no member of another one. */
	assert_non_null(json_getp(merge("{'paths':{},'definitions':{'A':{'x':{'y':1}}}}", "{'paths':{},'definitions':{'x':{}}}"), "definitions.x"));
	assert_true(json_equal(merge(ours, "nonsense"), parse(ours)));
	assert_true(json_equal(merge(ours, "[]"), parse(ours)));
}

static void test_client(void **state)
{
	enum client_event type;
	struct err e = ERR_INIT;
	struct json *doc;
	struct str raw;
	uint64_t rv = 1;

	(void)state;
	assert_int_equal(client_remote_answer(&rig_arena, str_from(quoted("{'kind':'FishList','metadata':{'resourceVersion':'7'},'items':[{'metadata':"
			"{'name':'a','labels':{'x':'y'}},'spec':{'big':true}},{'metadata':{'name':'b'}}]}")), &raw, &e), 0);
	assert_int_equal(api_dom_of_type(&rig_arena, schema_type_find("meta.v1.PartialObjectMetadataList"), raw, &doc, &e), 0);
	assert_true(json_eqc(json_getp(doc, "metadata.resourceVersion"), "7"));
	assert_int_equal(json_len(json_getc(doc, "items")), 2);
	assert_true(json_eqc(json_getp(json_at(json_getc(doc, "items"), 0), "metadata.labels.x"), "y"));
	assert_int_equal(client_remote_event(&rig_arena, str_from(quoted("{'type':'DELETED','object':{'metadata':{'name':'a','resourceVersion':'9'}}}")),
			&type, &raw, &rv, &e), 0);
	assert_int_equal(type, CLIENT_DELETED);
	assert_int_equal(rv, 9);
	assert_int_equal(client_remote_event(&rig_arena, str_from(quoted("{'type':'BOOKMARK','object':{'metadata':{'resourceVersion':'a-7'}}}")),
			&type, &raw, &rv, &e), 0);
	assert_int_equal(rv, 0);
	/* What has expired is listed again. */
	assert_int_equal(client_remote_event(&rig_arena, str_from(quoted("{'type':'ERROR','object':{'kind':'Status','code':410,'message':'too old'}}")),
			&type, &raw, &rv, &e), -(int)err_from_http(410));
	assert_string_equal(e.text, "too old");
	assert_true(client_remote_event(&rig_arena, STR("{"), &type, &raw, &rv, &e) < 0);
	assert_true(client_remote_answer(&rig_arena, STR("<html>"), &raw, &e) < 0);
	client_remote_refusal(&rig_arena, 503, STR("service unavailable\n"), &e);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	assert_string_equal(e.text, "service unavailable");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_path),
			cmocka_unit_test(test_order),
			cmocka_unit_test(test_judge),
			cmocka_unit_test(test_slices),
			cmocka_unit_test(test_status),
			cmocka_unit_test(test_decide),
			cmocka_unit_test(test_headers),
			cmocka_unit_test(test_config),
			cmocka_unit_test(test_version),
			cmocka_unit_test(test_openapi),
			cmocka_unit_test(test_client),
	};

	return cmocka_run_group_tests(tests, with_arena, without_arena);
}
