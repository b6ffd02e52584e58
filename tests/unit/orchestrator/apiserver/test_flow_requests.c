/*
 * Priority and fairness in the request path: requests made on this test's loop, with a flow state of its own, and a level of one seat. A
 * request whose body does not come keeps its seat for as long as the test likes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow-priv.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define FLOW "/apis/flowcontrol.apiserver.k8s.io/v1"
#define CMS "/api/v1/namespaces/default/configmaps"

static struct api_loop *al;

struct asked {
	struct api_request *req; /* NULL: over */
	struct x509_info peer;
	struct http_header type;
	const char *body; /* NULL: it does not come */
	bool waits_for_body, begun;
	int status;
	struct buf answer;
	char schema_uid[64];
};

/* --- The responder ----------------------------------------------------------------------------------------------------- */

static void on_respond(struct api_request *req, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct asked *a = req->owner;

	for (size_t i = 0; i < n; i++)
		if (str_eqc(h[i].name, "X-Kubernetes-PF-FlowSchema-UID"))
			snprintf(a->schema_uid, sizeof(a->schema_uid), "%.*s", STR_FMT(h[i].value));
	a->status = status;
	buf_adds(&a->answer, buf_str(body));
	buf_fini(body);
	a->req = NULL;
}

static void on_begin(struct api_request *req, int status, const struct http_header *h, size_t n)
{
	struct asked *a = req->owner;

	(void)h, (void)n;
	a->status = status;
	a->begun = true;
}

static void on_write(struct api_request *req, struct str chunk)
{
	buf_adds(&((struct asked *)req->owner)->answer, chunk);
}

static size_t on_queued(struct api_request *req)
{
	(void)req;
	return 0;
}

static void on_end(struct api_request *req)
{
	((struct asked *)req->owner)->req = NULL;
}

static bool on_read_body(struct api_request *req)
{
	struct asked *a = req->owner;

	a->waits_for_body = !a->body;
	if (a->body)
		req->body = str_from(a->body);
	return a->body;
}

static const struct api_responder responder = {.respond = on_respond, .begin = on_begin, .write = on_write, .queued = on_queued,
		.end = on_end, .abort = on_end, .read_body = on_read_body};

/* --- Requests ------------------------------------------------------------------------------------------------------------ */

/* Requests belong to the loop: they are made and given up in its callbacks only. */
struct in_loop {
	struct loop_timer timer;
	void (*fn)(struct asked *);
	struct asked *arg;
	int done;
};

static void in_loop_due(struct loop_timer *t)
{
	struct in_loop *il = container_of(t, struct in_loop, timer);

	il->fn(il->arg);
	il->done = 1;
}

static void in_loop(void (*fn)(struct asked *), struct asked *a)
{
	struct in_loop il = {.fn = fn, .arg = a};

	loop_timer_start(&il.timer, rig_loop, 0, in_loop_due);
	rig_until(&il.done);
}

static void start_request(struct asked *a)
{
	apiserver_handle(a->req);
}

static void cancel_request(struct asked *a)
{
	api_request_cancel(a->req);
}

static void resume_request(struct asked *a)
{
	api_request_resume(a->req);
}

static void ask(struct asked *a, const char *user, const char *method, const char *target, const char *body)
{
	static struct str masters = STR_INIT("system:masters");

	*a = (struct asked){.body = body, .peer.cn = str_from(user)};
	buf_init(&a->answer, BUF_NO_LIMIT);
	if (strcmp(user, "admin") == 0) {
		a->peer.orgs = &masters;
		a->peer.n_orgs = 1;
	}
	a->type = (struct http_header){STR("Content-Type"), STR("application/json")};
	a->req = api_request_new(al, &responder, a);
	a->req->method = str_from(method);
	a->req->target = str_from(target);
	a->req->headers = (struct http_headers){&a->type, 1};
	a->req->remote = STR("10.0.0.1:1");
	a->req->peer = &a->peer;
	in_loop(start_request, a);
}

static void until_over(struct asked *a)
{
	for (int i = 0; i < 500 && a->req; i++)
		loop_turn(rig_loop, 10);
	assert_null(a->req);
}

static void until_body(struct asked *a)
{
	for (int i = 0; i < 500 && !a->waits_for_body; i++)
		loop_turn(rig_loop, 10);
	assert_true(a->waits_for_body);
}

static void end(struct asked *a, int want)
{
	until_over(a);
	if (a->status != want)
		fail_msg("status %d instead of %d: %.*s", a->status, want, STR_FMT(buf_str(&a->answer)));
	buf_fini(&a->answer);
}

/* --- The level --------------------------------------------------------------------------------------------------------------- */

static struct flow_level *narrow(void)
{
	struct flow_level *l = flow__level_find(al->flow, STR("narrow"));

	assert_non_null(l);
	return l;
}

static uint64_t rejected(enum flow_reason why)
{
	LIST_FOR_EACH (s, &al->flow->stats, struct flow_stat, link)
		if (strcmp(s->schema, "narrow") == 0)
			return s->rejected[why];
	return 0;
}

static void until_known(void)
{
	for (int i = 0; i < 500 && !(flow__level_find(al->flow, STR("narrow")) && narrow()->refs > 1); i++)
		loop_turn(rig_loop, 10);
	for (int i = 0; i < 5; i++)
		loop_turn(rig_loop, 10);
}

static int start(void **state)
{
	(void)state;
	rig_start();
	rig_call("POST", FLOW "/prioritylevelconfigurations",
			"{\"metadata\":{\"name\":\"narrow\"},\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":0,"
			"\"borrowingLimitPercent\":0,\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":1,\"handSize\":1,"
			"\"queueLengthLimit\":2}}}}}", 201);
	rig_call("POST", FLOW "/flowschemas",
			"{\"metadata\":{\"name\":\"narrow\"},\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"narrow\"},"
			"\"matchingPrecedence\":50,\"rules\":[{\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"loud\"}}],\"resourceRules\":["
			"{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"namespaces\":[\"*\"],\"clusterScope\":true}]}]}}", 201);
	rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
			"{\"metadata\":{\"name\":\"loud\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"loud\"}],\"roleRef\":{\"apiGroup\":"
			"\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"cluster-admin\"}}", 201);
	al = api__loop_get(rig_server, rig_loop);
	/* As of a further serve loop. */
	al->flow = flow_state_new(al, 1);
	until_known();
	assert_int_equal(narrow()->limit, 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	api__loop_put(al);
	rig_stop();
	return 0;
}

/* --- Tests ----------------------------------------------------------------------------------------------------------------------- */

static void test_queue(void **state)
{
	struct asked held, second, third, fourth, admin;

	(void)state;
	ask(&held, "loud", "POST", CMS, NULL);
	until_body(&held);
	assert_int_equal(narrow()->in_use, 1);
	ask(&second, "loud", "GET", CMS, "");
	ask(&third, "loud", "GET", CMS, "");
	assert_int_equal(narrow()->fair.n, 2);
	/* The queue is full. */
	ask(&fourth, "loud", "GET", CMS, "");
	until_over(&fourth);
	assert_non_null(strstr(arena_cstr(&rig_arena, buf_str(&fourth.answer)), "Too many requests, please try again later."));
	assert_true(strlen(fourth.schema_uid) == 36);
	end(&fourth, 429);
	assert_int_equal(rejected(FLOW_QUEUE_FULL), 1);
	/* Others are served. */
	ask(&admin, "admin", "GET", CMS, "");
	end(&admin, 200);
	/* One gives up. */
	in_loop(cancel_request, &second);
	until_over(&second);
	buf_fini(&second.answer);
	assert_int_equal(rejected(FLOW_CANCELLED), 1);
	assert_int_equal(narrow()->fair.n, 1);
	/* The seat comes free: the one that is left is served. */
	held.body = "{\"metadata\":{\"name\":\"held\"}}";
	in_loop(resume_request, &held);
	end(&held, 201);
	end(&third, 200);
	assert_int_equal(narrow()->in_use, 0);
	assert_int_equal(narrow()->running, 0);
	assert_int_equal(narrow()->fair.n, 0);
}

static void test_time_out(void **state)
{
	struct asked held, second;

	(void)state;
	ask(&held, "loud", "POST", CMS, NULL);
	until_body(&held);
	al->flow->wait_ms = 20;
	ask(&second, "loud", "GET", CMS, "");
	end(&second, 429);
	al->flow->wait_ms = FLOW_WAIT_MS;
	assert_int_equal(rejected(FLOW_TIMEOUT), 1);
	in_loop(cancel_request, &held);
	until_over(&held);
	buf_fini(&held.answer);
	assert_int_equal(narrow()->in_use, 0);
}

/* The first list of something is as wide as what is stored of it. */
static void test_first_list(void **state)
{
	char filler[300001];
	struct asked held, wide, one;

	(void)state;
	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	for (int i = 0; i < 3; i++)
		rig_call("POST", "/api/v1/namespaces/kube-public/configmaps",
				arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"wide%d\"},\"data\":{\"a\":\"%s\"}}", i, filler), 201);
	ask(&held, "loud", "POST", CMS, NULL);
	until_body(&held);
	ask(&wide, "loud", "GET", "/api/v1/namespaces/kube-public/configmaps", "");
	ask(&one, "loud", "GET", "/api/v1/namespaces/kube-public/configmaps/wide0", "");
	assert_int_equal(narrow()->fair.n, 2);
	assert_int_equal(wide.req->flow.seats, 4);
	assert_int_equal(one.req->flow.seats, 1);
	in_loop(cancel_request, &held);
	until_over(&held);
	buf_fini(&held.answer);
	end(&wide, 200);
	end(&one, 200);
	rig_call("DELETE", "/api/v1/namespaces/kube-public/configmaps", NULL, 200);
}

/* A watch has its seat only until it has begun. */
static void test_watch(void **state)
{
	struct asked watch, get;

	(void)state;
	ask(&watch, "loud", "GET", CMS "?watch=1", "");
	for (int i = 0; i < 500 && !watch.begun; i++)
		loop_turn(rig_loop, 10);
	assert_int_equal(watch.status, 200);
	assert_int_equal(narrow()->in_use, 0);
	ask(&get, "loud", "GET", CMS, "");
	end(&get, 200);
	in_loop(cancel_request, &watch);
	until_over(&watch);
	buf_fini(&watch.answer);
}

/* A level and its queues go away, and change, while requests wait: none is lost. */
static void test_changes(void **state)
{
	struct asked held, second, third;

	(void)state;
	ask(&held, "loud", "POST", CMS, NULL);
	until_body(&held);
	ask(&second, "loud", "GET", CMS, "");
	ask(&third, "loud", "GET", CMS, "");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", FLOW "/prioritylevelconfigurations/narrow",
			"{\"spec\":{\"limited\":{\"limitResponse\":{\"queuing\":{\"queues\":9,\"handSize\":3}}}}}", 200);
	for (int i = 0; i < 500 && narrow()->fair.n_queues != 9; i++)
		loop_turn(rig_loop, 10);
	assert_int_equal(narrow()->fair.n_queues, 9);
	assert_int_equal(narrow()->fair.n, 2);
	rig_call("DELETE", FLOW "/flowschemas/narrow", NULL, 200);
	rig_call("DELETE", FLOW "/prioritylevelconfigurations/narrow", NULL, 200);
	for (int i = 0; i < 500 && !narrow()->gone; i++)
		loop_turn(rig_loop, 10);
	assert_true(narrow()->gone);
	assert_int_equal(narrow()->fair.n, 2);
	held.body = "{\"metadata\":{\"name\":\"held-too\"}}";
	in_loop(resume_request, &held);
	end(&held, 201);
	end(&second, 200);
	end(&third, 200);
	/* When the last has gone, so has the level. */
	for (int i = 0; i < 5; i++)
		loop_turn(rig_loop, 5);
	assert_null(flow__level_find(al->flow, STR("narrow")));
}

/* A hand that one hash cannot deal. */
static void test_hand(void **state)
{
	static const char *const level = "{\"metadata\":{\"name\":\"wide\"},\"spec\":{\"type\":\"Limited\",\"limited\":{\"limitResponse\":{\"type\":\"Queue\","
					 "\"queuing\":{\"queues\":128,\"handSize\":%d,\"queueLengthLimit\":5}}}}}";
	struct json *o = rig_call("POST", FLOW "/prioritylevelconfigurations", arena_printf(&rig_arena, level, 9), 422);

	(void)state;
	assert_true(str_search(json_strp(o, "message"),
				    STR("required entropy bits of deckSize 128 and handSize 9 should not be greater than 60")) >= 0);
	rig_call("POST", FLOW "/prioritylevelconfigurations", arena_printf(&rig_arena, level, 8), 201);
}

/* Mandatory objects stay as they are; of the exempt level the seats may be set. */
static void test_mandatory(void **state)
{
	static const struct {
		const char *path, *body, *why;
	} rows[] = {
			{"/flowschemas/catch-all", "{\"spec\":{\"matchingPrecedence\":9000}}", "spec of 'catch-all' must equal the fixed value"},
			{"/flowschemas/exempt", "{\"spec\":{\"rules\":null}}", "spec of 'exempt' must equal the fixed value"},
			{"/prioritylevelconfigurations/catch-all", "{\"spec\":{\"limited\":{\"nominalConcurrencyShares\":50}}}",
					"spec of 'catch-all' must equal the fixed value"},
			{"/prioritylevelconfigurations/exempt", "{\"spec\":{\"exempt\":{\"nominalConcurrencyShares\":5}}}", NULL},
			{"/flowschemas/exempt", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", NULL},
			{"/flowschemas/probes", "{\"spec\":{\"matchingPrecedence\":3}}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *o;

		rig_type("application/merge-patch+json");
		o = rig_call("PATCH", arena_printf(&rig_arena, FLOW "%s", rows[i].path), rows[i].body, rows[i].why ? 422 : 200);
		if (rows[i].why && str_search(json_strp(o, "message"), str_from(rows[i].why)) < 0)
			fail_msg("%s", json_cstr(json_getp(o, "message")));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_queue), cmocka_unit_test(test_time_out), cmocka_unit_test(test_first_list), cmocka_unit_test(test_watch), cmocka_unit_test(test_hand), cmocka_unit_test(test_mandatory),
			cmocka_unit_test(test_changes)};

	return cmocka_run_group_tests(tests, start, stop);
}
