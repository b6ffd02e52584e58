/* API aggregation with two servers: one passes requests on to another one over TLS, and tells of its kinds as of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/apiserver/aggregate.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "orchestrator/apiserver/objects.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define REG "/apis/apiregistration.k8s.io/v1/apiservices"
#define FISH "/apis/fish.example.com/v1"
#define SHOAL FISH "/namespaces/default/fishes"

static char pki[64], paths[3][160], ca_base64[8192];
static struct http_handler handler;
static struct http_server *server;
static struct tls_ctx *tls;
static size_t body_bytes;
static struct http_request *watching, *slow;
static int is_watching, was_canceled, is_slow;
static bool broken;
static struct json *seen; /* headers of the last request for an object */

static void keep_dir(const char *dir, struct apiserver_cfg *cfg)
{
	snprintf(pki, sizeof(pki), "%s", dir);
	snprintf(paths[0], sizeof(paths[0]), "%s/jane.crt", dir);
	snprintf(paths[1], sizeof(paths[1]), "%s/jane.key", dir);
	snprintf(paths[2], sizeof(paths[2]), "%s/ca.crt", dir);
	cfg->front_proxy_cert = paths[0];
	cfg->front_proxy_key = paths[1];
	cfg->front_proxy_ca = paths[2];
}

static void answer(struct http_request *r, int status, const char *text)
{
	struct http_header type = {STR("Content-Type"), STR("application/json")};

	http_respond(r, status, &type, 1, str_from(quoted(text)));
}

static void canceled(struct http_request *r)
{
	was_canceled = 1;
	if (r == watching)
		watching = NULL;
	if (r == slow)
		slow = NULL;
	http_respond_abort(r);
}

static void counted(struct http_request *r, struct str bytes, bool last)
{
	body_bytes += bytes.n;
	if (last)
		answer(r, 201, arena_printf(&rig_arena, "{'bytes':%zu}", body_bytes));
}

static struct stream_user echo;

static void echo_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	(void)u;
	stream_write(s, bytes, NULL);
}

static void echo_end(struct stream_user *u, struct stream *s, const struct err *e)
{
	(void)u, (void)e;
	stream_close(s, NULL, NULL);
}

static void look_at(struct http_request *r)
{
	seen = json_new_object(&rig_arena);
	for (size_t i = 0; i < r->headers.n; i++)
		json_set(&rig_arena, seen, arena_str(&rig_arena, r->headers.h[i].name),
				json_new_str(&rig_arena, arena_str(&rig_arena, r->headers.h[i].value)));
	json_setc(&rig_arena, seen, "cn", json_new_str(&rig_arena, r->peer && r->peer_verified ? arena_str(&rig_arena, r->peer->cn) : STR("")));
	json_setc(&rig_arena, seen, "host", json_new_str(&rig_arena, arena_str(&rig_arena, r->host)));
	json_setc(&rig_arena, seen, "target", json_new_str(&rig_arena, arena_str(&rig_arena, r->target)));
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	static const struct http_header upgrade = {STR("Upgrade"), STR("echo")}, type = {STR("Content-Type"), STR("application/json")};
	struct stream *s;
	struct err e = ERR_INIT;

	(void)h;
	r->on_cancel = canceled;
	if (broken) {
		answer(r, 500, "{}");
	} else if (str_eqc(r->path, FISH)) {
		answer(r, 200, "{'kind':'APIResourceList','apiVersion':'v1','groupVersion':'fish.example.com/v1','resources':[{'name':'fishes',"
			       "'singularName':'fish','namespaced':true,'kind':'Fish','verbs':['get','list','watch','create']},{'name':"
			       "'fishes/status','singularName':'','namespaced':true,'kind':'Fish','verbs':['get']}]}");
	} else if (str_eqc(r->path, "/openapi/v3")) {
		answer(r, 200, "{'paths':{'apis/fish.example.com/v1':{'serverRelativeURL':'/openapi/v3/apis/fish.example.com/v1?hash=F'},"
			       "'apis/apps/v1':{'serverRelativeURL':'/openapi/v3/apis/apps/v1?hash=NOT'}}}");
	} else if (str_eqc(r->path, "/openapi/v3/apis/fish.example.com/v1")) {
		answer(r, 200, "{'openapi':'3.0.0','mine':true}");
	} else if (str_eqc(r->path, "/openapi/v2")) {
		answer(r, 200, "{'swagger':'2.0','paths':{'" FISH "/fishes':{'get':{'schema':{'$ref':'#/definitions/io.k8s.api.core.v1.Pod'}}},"
			       "'/apis/apps/v1/':{'get':{'description':'not ours to change'}}},'definitions':{'com.example.Fish':{'type':'object'},"
			       "'io.k8s.api.core.v1.Pod':{'type':'object','description':'another'}}}");
	} else if (str_eqc(r->method, "POST")) {
		body_bytes = 0;
		if (str_has_suffix(r->path, STR("/slow"))) {
			slow = r; /* reads when it is told to */
			is_slow = 1;
		} else {
			http_request_read_start(r, counted);
		}
	} else if (str_has_suffix(r->path, STR("/hangs"))) {
		is_slow = 1;
	} else if (str_search(r->query, STR("watch=")) >= 0) {
		http_respond_start(r, 200, &type, 1);
		watching = r;
		is_watching = 1;
	} else if (http_header_has_token(&r->headers, "connection", "upgrade")) {
		look_at(r);
		s = http_upgrade(r, &upgrade, 1, &e);
		assert_non_null(s);
		echo = (struct stream_user){echo_data, echo_end, NULL};
		stream_start(s, &echo);
		stream_read_start(s);
	} else {
		look_at(r);
		answer(r, 200, "{'kind':'FishList','items':[]}");
	}
}

static int start(void **state)
{
	struct http_server_config hc = {.address = "127.0.0.1:0"};
	struct tls_config tc = {.server = true, .alpn = "h2,http/1.1", .verify = TLS_VERIFY_REQUIRED};
	struct buf pem = BUF_INIT;
	char cert[160], key[160];
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	rig_configure = keep_dir;
	rig_start();
	snprintf(cert, sizeof(cert), "%s/server.crt", pki);
	snprintf(key, sizeof(key), "%s/server.key", pki);
	assert_int_equal(tls_ctx_new_files(&tc, cert, key, paths[2], &tls, &e), 0);
	handler.on_request = on_request;
	hc.tls = tls;
	assert_int_equal(http_server_new(rig_loop, &hc, &handler, &server, &e), 0);
	f = fopen(paths[2], "re");
	assert_non_null(f);
	buf_reserve(&pem, 8192);
	pem.n = fread(pem.p, 1, 6000, f);
	fclose(f);
	snprintf(ca_base64, sizeof(ca_base64), "%.*s", STR_FMT(api_base64(&rig_arena, buf_str(&pem))));
	buf_fini(&pem);
	return 0;
}

static void closed(void *arg)
{
	*(int *)arg = 1;
}

static int stop(void **state)
{
	int done = 0;

	(void)state;
	http_server_close(server, 0, closed, &done);
	rig_until(&done);
	tls_ctx_unref(tls);
	rig_stop();
	return 0;
}

static struct json *condition(const char *name)
{
	return json_at(json_getp(rig_call("GET", arena_printf(&rig_arena, REG "/%s", name), NULL, 0), "status.conditions"), 0);
}

/* Wait until the condition has that reason. */
static void until_reason(const char *name, const char *want)
{
	uint64_t deadline = clock_mono_ms() + 60000;

	while (!json_eqc(json_getc(condition(name), "reason"), want) && clock_mono_ms() < deadline)
		loop_turn(rig_loop, 20);
	assert_string_equal(json_cstr(json_getc(condition(name), "reason")), want);
}

static void registration(const char *extra)
{
	rig_call("POST", REG,
			quoted(arena_printf(&rig_arena,
					"{'metadata':{'name':'v1.fish.example.com'},'spec':{'group':'fish.example.com','version':'v1','groupPriorityMinimum':"
					"17790,'versionPriority':15,'service':{'namespace':'default','name':'hook','port':%u}%s}}",
					http_server_port(server), extra)),
			201);
}

static void register_fish(void)
{
	if (json_len(json_getc(rig_call("GET", "/api/v1/namespaces/default/services?fieldSelector=metadata.name%3Dhook", NULL, 200), "items")) == 0)
		rig_call("POST", "/api/v1/namespaces/default/services",
				quoted("{'metadata':{'name':'hook'},'spec':{'type':'ExternalName','externalName':'127.0.0.1'}}"), 201);
	registration(arena_printf(&rig_arena, ",'caBundle':'%s'", ca_base64));
	until_reason("v1.fish.example.com", "Passed");
}

static void unregister(void)
{
	rig_call("DELETE", REG "/v1.fish.example.com", NULL, 200);
}

/* The server is asked again at once when its registration says something new. */
static void turn(bool off)
{
	static bool insecure;

	broken = off;
	insecure = !insecure;
	rig_type("application/merge-patch+json");
	rig_call("PATCH", REG "/v1.fish.example.com",
			quoted(insecure ? "{'spec':{'caBundle':null,'insecureSkipTLSVerify':true}}" :
					  arena_printf(&rig_arena, "{'spec':{'caBundle':'%s','insecureSkipTLSVerify':false}}", ca_base64)),
			200);
	until_reason("v1.fish.example.com", off ? "FailedDiscoveryCheck" : "Passed");
}

static void test_pass_on(void **state)
{
	(void)state;
	register_fish();
	rig_header("X-Remote-User", "root");
	rig_header("Accept", "application/anything");
	assert_true(json_eqc(json_getc(rig_call("GET", SHOAL "?limit=many&x=%2F", NULL, 200), "kind"), "FishList"));
	is(seen, "x-remote-user", "kubernetes-admin");
	is(seen, "x-remote-group", "system:authenticated");
	is(seen, "accept", "application/anything");
	is(seen, "cn", "jane");
	is(seen, "host", "hook.default.svc");
	is(seen, "target", SHOAL "?limit=many&x=%2F");
	/* We say who may. */
	rig_as("jane");
	rig_call("GET", SHOAL, NULL, 403);
	rig_as("admin");
	rig_header("Impersonate-User", "jane");
	rig_call("GET", SHOAL, NULL, 403);
	unregister();
	rig_call("GET", SHOAL, NULL, 404);
}

static void test_upload(void **state)
{
	size_t n = 12u << 20;
	char *big = calloc(1, n);

	(void)state;
	memset(big, ' ', n);
	register_fish();
	/* More than an object may be: it is not ours. */
	assert_int_equal(json_i64_or(json_getc(json_at(parse(arena_printf(&rig_arena, "[%.*s]", STR_FMT(rig_raw("POST", SHOAL, str_of(big, n), 201)))), 0),
					"bytes"), 0), (int64_t)n);
	free(big);
	unregister();
}

struct upload {
	struct http_call call;
	size_t accepted;
	int done, status;
};

static void uploaded(struct http_call *c, const struct err *e)
{
	struct upload *u = container_of(c, struct upload, call);

	u->status = e ? -1 : c->status;
	u->done = 1;
}

/* Write as long as it is taken; until all of it was, or nothing more is. */
static void push(struct upload *u, size_t total)
{
	static const char chunk[256 << 10];

	for (int idle = 0; u->accepted < total && idle < 100; loop_turn(rig_loop, 5), idle++)
		while (u->accepted < total && http_call_queued_bytes(&u->call) < sizeof(chunk)) {
			http_call_write(&u->call, str_of(chunk, sizeof(chunk)), NULL);
			u->accepted += sizeof(chunk);
			idle = 0;
		}
}

/* A server that does not read stops the client, not us. */
static void test_slow_upload(void **state)
{
	const size_t total = 96u << 20;
	struct upload u = {.call = {.method = "POST", .path = SHOAL "/slow", .stream_body = true, .done = uploaded}};

	(void)state;
	register_fish();
	http_call_start(rig_client(), &u.call);
	push(&u, total);
	rig_until(&is_slow);
	assert_true(u.accepted < total / 2);
	http_request_read_start(slow, counted);
	while (u.accepted < total)
		push(&u, total);
	http_call_end(&u.call);
	rig_until(&u.done);
	assert_int_equal(u.status, 201);
	assert_int_equal(body_bytes, total);
	http_call_fini(&u.call);
	unregister();
}

struct upgrade {
	struct http_call call;
	struct stream_user user;
	struct buf got;
	int done, enough;
};

static void upgraded(struct http_call *c, const struct err *e)
{
	(void)e;
	container_of(c, struct upgrade, call)->done = 1;
}

static void echoed(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct upgrade *u = container_of(user, struct upgrade, user);

	(void)s;
	buf_adds(&u->got, bytes);
	u->enough = u->got.n >= 5;
}

static void echo_over(struct stream_user *user, struct stream *s, const struct err *e)
{
	(void)user, (void)s, (void)e;
}

/* Whatever protocol it is: the connection is the other server's from then on. */
static void test_upgrade(void **state)
{
	struct http_header headers[] = {{STR("Upgrade"), STR("echo")}, {STR("X-Remote-User"), STR("root")}};
	struct upgrade u = {.call = {.method = "GET", .path = SHOAL "/a/connect", .upgrade = true, .headers = headers, .n_headers = 2, .done = upgraded},
			.user = {echoed, echo_over, NULL}, .got = BUF_INIT};
	struct stream *s;
	int closed_now = 0;

	(void)state;
	register_fish();
	http_call_start(rig_client(), &u.call);
	rig_until(&u.done);
	assert_int_equal(u.call.status, 101);
	assert_true(str_eqc(http_call_header(&u.call, "upgrade"), "echo"));
	is(seen, "x-remote-user", "kubernetes-admin");
	is(seen, "upgrade", "echo");
	s = http_call_take_stream(&u.call);
	stream_start(s, &u.user);
	stream_read_start(s);
	stream_write(s, STR("hello"), NULL);
	rig_until(&u.enough);
	assert_true(str_eqc(buf_str(&u.got), "hello"));
	stream_close(s, closed, &closed_now);
	rig_until(&closed_now);
	http_call_fini(&u.call);
	buf_fini(&u.got);
	unregister();
}

static void test_watch(void **state)
{
	struct rig_watch *w;

	(void)state;
	register_fish();
	w = rig_watch(SHOAL "?watch=true");
	rig_until(&is_watching);
	http_respond_write(watching, STR("{\"type\":\"ADDED\",\"object\":{\"n\":1}}\n"), NULL);
	assert_int_equal(json_i64_or(json_getp(rig_event(w, 0), "object.n"), 0), 1);
	http_respond_write(watching, STR("{\"type\":\"ADDED\",\"object\":{\"n\":2}}\n"), NULL);
	assert_int_equal(json_i64_or(json_getp(rig_event(w, 1), "object.n"), 0), 2);
	http_respond_end(watching);
	watching = NULL;
	assert_int_equal(rig_watch_end(w), 2);
	/* Who goes away is told to the other server. */
	is_watching = was_canceled = 0;
	w = rig_watch(SHOAL "?watch=true");
	rig_until(&is_watching);
	rig_watch_begun(w);
	rig_as("admin");
	rig_until(&was_canceled);
	rig_watch_end(w);
	unregister();
}

static void test_unavailable(void **state)
{
	(void)state;
	rig_call("POST", REG, quoted("{'metadata':{'name':'v1.none.example.com'},'spec':{'group':'none.example.com','version':'v1',"
				     "'groupPriorityMinimum':100,'versionPriority':15,'insecureSkipTLSVerify':true,"
				     "'service':{'namespace':'default','name':'none'}}}"), 201);
	assert_true(str_eqc(rig_raw("GET", "/apis/none.example.com/v1/things", STR_NULL, 503), "service unavailable\n"));
	until_reason("v1.none.example.com", "ServiceNotFound");
	rig_call("POST", "/api/v1/namespaces/default/services", quoted("{'metadata':{'name':'none'},'spec':{'ports':[{'port':444}]}}"), 201);
	until_reason("v1.none.example.com", "ServicePortError");
	rig_call("PATCH", "/api/v1/namespaces/default/services/none", NULL, 415);
	rig_type("application/json-patch+json");
	rig_call("PATCH", "/api/v1/namespaces/default/services/none", quoted("[{'op':'replace','path':'/spec/ports/0/port','value':443}]"), 200);
	until_reason("v1.none.example.com", "EndpointsNotFound");
	rig_call("POST", "/api/v1/namespaces/default/endpoints", quoted("{'metadata':{'name':'none'},'subsets':[]}"), 201);
	until_reason("v1.none.example.com", "MissingEndpoints");
	rig_call("DELETE", REG "/v1.none.example.com", NULL, 200);

	register_fish();
	turn(true);
	rig_call("GET", SHOAL, NULL, 503);
	turn(false);
	rig_call("GET", SHOAL, NULL, 200);
	unregister();
	/* No certificate that we trust. */
	registration("");
	until_reason("v1.fish.example.com", "FailedDiscoveryCheck");
	rig_call("GET", SHOAL, NULL, 503);
	unregister();
}

static const struct json *group_named(const struct json *list, const char *name_path, const char *name, size_t *ret_at)
{
	size_t at = 0;

	JSON_ITEMS (g, list) {
		if (json_eqc(json_getp(g, name_path), name)) {
			*ret_at = at;
			return g;
		}
		at++;
	}
	return NULL;
}

static struct json *aggregated(void)
{
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	return json_getc(rig_call("GET", "/apis", NULL, 200), "items");
}

static void test_documents(void **state)
{
	const struct json *list, *g;
	struct json *doc;
	struct str proto;
	size_t at;

	(void)state;
	register_fish();
	list = json_getc(rig_call("GET", "/apis", NULL, 200), "groups");
	g = group_named(list, "name", "fish.example.com", &at);
	/* By its priority between apps (17800) and events (17750). */
	assert_int_equal(at, 2);
	is(json_at(list, 0), "name", "apiregistration.k8s.io");
	is(json_at(list, 1), "name", "apps");
	is(json_getc(g, "preferredVersion"), "groupVersion", "fish.example.com/v1");
	is(rig_call("GET", "/apis/fish.example.com", NULL, 200), "kind", "APIGroup");
	assert_int_equal(json_len(json_getc(rig_call("GET", FISH, NULL, 200), "resources")), 2);
	g = group_named(aggregated(), "metadata.name", "fish.example.com", &at);
	g = json_at(json_getc(g, "versions"), 0);
	is(g, "freshness", "Current");
	is(json_at(json_getc(g, "resources"), 0), "resource", "fishes");

	doc = json_getc(rig_call("GET", "/openapi/v3", NULL, 200), "paths");
	is(json_getc(doc, "apis/fish.example.com/v1"), "serverRelativeURL", "/openapi/v3/apis/fish.example.com/v1?hash=F");
	assert_true(str_search(json_str(json_getc(json_getc(doc, "apis/apps/v1"), "serverRelativeURL")), STR("NOT")) < 0);
	assert_true(json_true(json_getc(rig_call("GET", "/openapi/v3/apis/fish.example.com/v1?hash=F", NULL, 200), "mine")));
	doc = rig_call("GET", "/openapi/v2", NULL, 200);
	is(json_getc(json_getc(json_getc(json_getc(doc, "paths"), FISH "/fishes"), "get"), "schema"), "$ref",
			"#/definitions/io.k8s.api.core.v1.Pod_v2");
	assert_non_null(json_getc(json_getc(doc, "definitions"), "com.example.Fish"));
	is(json_getc(json_getc(doc, "definitions"), "io.k8s.api.core.v1.Pod_v2"), "description", "another");
	/* The same in protobuf. */
	rig_header("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf");
	proto = rig_raw("GET", "/openapi/v2", STR_NULL, 200);
	assert_true(str_search(proto, STR("com.example.Fish")) > 0);
	assert_true(str_search(proto, STR("io.k8s.api.core.v1.Pod_v2")) > 0);
	assert_true(str_search(proto, STR(FISH "/fishes")) > 0);

	/* Gone, but still registered: its versions are stale, its documents are left out. */
	turn(true);
	for (uint64_t deadline = clock_mono_ms() + 60000; clock_mono_ms() < deadline; loop_turn(rig_loop, 20)) {
		g = json_at(json_getc(group_named(aggregated(), "metadata.name", "fish.example.com", &at), "versions"), 0);
		if (json_eqc(json_getc(g, "freshness"), "Stale"))
			break;
	}
	is(g, "freshness", "Stale");
	assert_null(json_getc(g, "resources"));
	assert_null(json_getc(json_getc(rig_call("GET", "/openapi/v2", NULL, 200), "paths"), FISH "/fishes"));
	turn(false);
	unregister();
	assert_null(group_named(json_getc(rig_call("GET", "/apis", NULL, 200), "groups"), "name", "fish.example.com", &at));
}

static void test_local(void **state)
{
	struct json *list, *one;
	size_t n = 0;

	(void)state;
	until_reason("v1.apps", "Local");
	until_reason("v1beta1.metrics.k8s.io", "Local");
	one = rig_call("GET", REG "/v1.apps", NULL, 200);
	assert_true(json_eqc(json_getc(json_getp(one, "metadata.labels"), AGGREGATE_MANAGED), "onstart"));
	assert_int_equal(json_i64_or(json_getp(one, "spec.groupPriorityMinimum"), 0), 17800);
	until_reason("v1.", "Local");
	rig_call("GET", REG "/v1.apiregistration.k8s.io", NULL, 404);
	list = json_getc(rig_call("GET", REG, NULL, 200), "items");
	JSON_ITEMS (s, list)
		n += json_is_null(json_getp(s, "spec.service"));
	assert_true(n >= 22);
	/* Somebody installs a metrics server, and takes it away. */
	rig_call("GET", "/apis/metrics.k8s.io/v1beta1/nodes", NULL, 200);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", REG "/v1beta1.metrics.k8s.io", quoted("{'spec':{'service':{'namespace':'default','name':'nobody'}}}"), 200);
	rig_call("GET", "/apis/metrics.k8s.io/v1beta1/nodes", NULL, 503);
	until_reason("v1beta1.metrics.k8s.io", "ServiceNotFound");
	assert_true(str_search(rig_raw("GET", "/metrics", STR_NULL, 200), STR("aggregator_unavailable_apiservice{name=\"v1beta1.metrics.k8s.io\"} 1\n")) > 0);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", REG "/v1beta1.metrics.k8s.io", quoted("{'spec':{'service':null}}"), 200);
	until_reason("v1beta1.metrics.k8s.io", "Local");
	rig_call("GET", "/apis/metrics.k8s.io/v1beta1/nodes", NULL, 200);
	one = rig_call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", NULL, 0);
	for (uint64_t deadline = clock_mono_ms() + 60000; !json_getc(one, "data") && clock_mono_ms() < deadline; loop_turn(rig_loop, 50))
		one = rig_call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", NULL, 0);
	assert_true(json_str(json_getp(one, "data.requestheader-client-ca-file")).n > 100);
	assert_true(json_str(json_getp(one, "data.client-ca-file")).n > 100);
}

/* A server that gives no answer in the request's time. */
static void test_hangs(void **state)
{
	struct json *r;

	(void)state;
	register_fish();
	/* On a busy machine the time may be over before it is asked. */
	for (int i = 0; i < 50; i++) {
		is_slow = was_canceled = 0;
		r = rig_call("GET", SHOAL "/hangs?timeout=400ms", NULL, 504);
		is(r, "message", "Timeout: request did not complete within the allotted timeout");
		if (is_slow)
			break;
	}
	assert_int_equal(is_slow, 1);
	rig_until(&was_canceled);
	rig_call("DELETE", REG "/v1.fish.example.com", NULL, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_local),
			cmocka_unit_test(test_pass_on),
			cmocka_unit_test(test_upload),
			cmocka_unit_test(test_slow_upload),
			cmocka_unit_test(test_upgrade),
			cmocka_unit_test(test_watch),
			cmocka_unit_test(test_hangs),
			cmocka_unit_test(test_unavailable),
			cmocka_unit_test(test_documents),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
