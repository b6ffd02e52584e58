/*
 * The leader goes away with a proposal: whether it was taken or not, the client gets the answer that is true, and the write happens once.
 * kv_propose is wrapped (ld --wrap): the next proposals are lost before they are taken, or their answers are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "base/util.h"
#include "raft/kv.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define CMS "/api/v1/namespaces/default/configmaps"

enum fate { FINE, LOST_REQUEST, LOST_ANSWER };

static atomic_int fate; /* of the next proposal of an object */
static atomic_int n_lost;

/* One that passes through; its answer may not come. */
struct passing {
	struct kv_req own;
	struct kv_req *theirs;
	struct loop_timer timer;
	enum err_code code;
};

void __real_kv_propose(struct kv *, struct kv_req *);
void __wrap_kv_propose(struct kv *, struct kv_req *);

static void lose(struct loop_timer *t)
{
	struct passing *p = container_of(t, struct passing, timer);
	struct kv_req *theirs = p->theirs;

	err_set(&theirs->err, p->code, "the leader has changed");
	theirs->response = NULL;
	theirs->response_size = 0;
	free(p->own.response);
	free(p);
	theirs->done(theirs);
}

static void taken(struct kv_req *own)
{
	struct passing *p = container_of(own, struct passing, own);

	assert_int_equal(own->err.code, 0);
	lose(&p->timer);
}

void __wrap_kv_propose(struct kv *kv, struct kv_req *req)
{
	struct passing *p;
	int f;

	/* Only what the test writes: controllers and bootstrap go on. */
	if (atomic_load(&fate) == FINE || str_search(req->command, STR("lost-")) < 0 || (f = atomic_exchange(&fate, FINE)) == FINE) {
		__real_kv_propose(kv, req);
		return;
	}
	atomic_fetch_add(&n_lost, 1);
	p = xcalloc(1, sizeof(*p));
	p->theirs = req;
	p->code = f == LOST_REQUEST ? ERR_UNAVAILABLE : ERR_TIMEOUT;
	if (f == LOST_REQUEST) {
		loop_timer_start(&p->timer, loop_current(), 1, lose);
		return;
	}
	p->own.command = req->command;
	p->own.done = taken;
	__real_kv_propose(kv, &p->own);
}

static struct json *with_fate(enum fate f, const char *method, const char *path, const char *body, int want)
{
	int before = atomic_load(&n_lost);
	struct json *o;

	atomic_store(&fate, f);
	o = rig_call(method, path, body, want);
	/* Otherwise it would show nothing. */
	assert_int_equal(atomic_load(&n_lost), before + 1);
	return o;
}

static const char *string_at(struct json *o, const char *path)
{
	return arena_cstr(&rig_arena, json_strp(o, path));
}

static size_t count(const char *label)
{
	char path[200];

	snprintf(path, sizeof(path), CMS "?labelSelector=t%%3D%s", label);
	return json_len(json_getp(rig_call("GET", path, NULL, 200), "items"));
}

static void each(void (*f)(enum fate, const char *label))
{
	f(LOST_REQUEST, "before");
	f(LOST_ANSWER, "after");
}

static void create(enum fate f, const char *label)
{
	char body[300], path[200];
	struct json *o, *there;

	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"lost-create-%s\",\"labels\":{\"t\":\"c%s\"}},\"data\":{\"a\":\"b\"}}", label, label);
	o = with_fate(f, "POST", CMS, body, 201);
	snprintf(path, sizeof(path), CMS "/lost-create-%s", label);
	there = rig_call("GET", path, NULL, 200);
	assert_string_equal(string_at(o, "metadata.uid"), string_at(there, "metadata.uid"));
	assert_string_equal(string_at(o, "metadata.resourceVersion"), string_at(there, "metadata.resourceVersion"));
	/* It is somebody else's now. */
	rig_call("POST", CMS, body, 409);
}

static void generated(enum fate f, const char *label)
{
	char body[200];

	snprintf(body, sizeof(body), "{\"metadata\":{\"generateName\":\"lost-\",\"labels\":{\"t\":\"g%s\"}}}", label);
	with_fate(f, "POST", CMS, body, 201);
	/* Not a second one under another name. */
	snprintf(body, sizeof(body), "g%s", label);
	assert_int_equal(count(body), 1);
}

static void change(enum fate f, const char *label)
{
	char body[400], path[200], rv[40];
	struct json *o;

	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"lost-change-%s\"},\"data\":{\"n\":\"0\"}}", label);
	o = rig_call("POST", CMS, body, 201);
	snprintf(rv, sizeof(rv), "%s", string_at(o, "metadata.resourceVersion"));
	snprintf(path, sizeof(path), CMS "/lost-change-%s", label);
	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"lost-change-%s\",\"resourceVersion\":\"%s\"},\"data\":{\"n\":\"1\"}}", label, rv);
	o = with_fate(f, "PUT", path, body, 200);
	assert_string_equal(string_at(o, "data.n"), "1");
	/* The version that was sent is used up, whichever way it went. */
	rig_call("PUT", path, body, 409);
	/* A patch that shows when it is done twice. */
	rig_type("application/json-patch+json");
	rig_call("PATCH", path, "[{\"op\":\"add\",\"path\":\"/metadata/finalizers\",\"value\":[\"example.com/lost-0\"]}]", 200);
	rig_type("application/json-patch+json");
	o = with_fate(f, "PATCH", path, "[{\"op\":\"add\",\"path\":\"/metadata/finalizers/0\",\"value\":\"example.com/lost-1\"}]", 200);
	assert_int_equal(json_len(json_getp(o, "metadata.finalizers")), 2);
	assert_int_equal(json_len(json_getp(rig_call("GET", path, NULL, 200), "metadata.finalizers")), 2);
	rig_type("application/merge-patch+json");
	rig_call("PATCH", path, "{\"metadata\":{\"finalizers\":null}}", 200);
}

static void removal(enum fate f, const char *label)
{
	char body[200], path[200];

	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"lost-delete-%s\"}}", label);
	rig_call("POST", CMS, body, 201);
	snprintf(path, sizeof(path), CMS "/lost-delete-%s", label);
	with_fate(f, "DELETE", path, NULL, 200);
	rig_call("GET", path, NULL, 404);
}

static void test_create(void **state)
{
	each(create);
}

static void test_generated_name(void **state)
{
	each(generated);
}

static void test_change(void **state)
{
	each(change);
}

static void test_delete(void **state)
{
	each(removal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_generated_name),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_delete),
	};
	return cmocka_run_group_tests_name("lost leader", tests, with_server, without_server);
}
