/* pod-tell.c: what was not taken is said again, and what somebody else says otherwise; against a client that answers as it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

/* One request is under way at a time; answered in the loop's next turn. */
static struct api {
	struct client client;
	struct client_req *req;
	struct loop_timer answer;
	enum err_code next[8]; /* the answers to come; then all is well */
	size_t n_asked, n_deletes;
	uint64_t version; /* of the object, after each write one more */
	char ready[8];    /* the Ready condition's status in the last write that came */
} api;

static struct kubelet kubelet;
static struct pod_worker *w;

static Core__PodStatus *status_of(struct arena *a, const char *ready)
{
	Core__PodStatus *s = PB_NEW(a, Core__PodStatus, core__pod_status);
	Core__PodCondition *c = pb_add(a, s, "conditions");

	s->phase = "Running";
	c->type = "Ready";
	c->status = (char *)ready;
	return s;
}

static Core__Pod *pod_of(struct arena *a, const char *ready, uint64_t version)
{
	Core__Pod *pod = PB_NEW(a, Core__Pod, core__pod);

	pod->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
	pod->metadata->name = "p";
	pod->metadata->namespace_ = "default";
	pod->metadata->uid = "u";
	pod->metadata->resource_version = arena_printf(a, "%llu", (unsigned long long)version);
	pod->spec = PB_NEW(a, Core__PodSpec, core__pod_spec);
	pod->status = status_of(a, ready);
	return pod;
}

static void answer(struct loop_timer *t)
{
	struct client_req *r = TAKE(api.req);
	enum err_code code = api.n_asked < ARRAY_LEN(api.next) ? api.next[api.n_asked] : ERR_OK;
	Core__Pod *sent = r->verb == CLIENT_UPDATE ? pb_unpack(&r->arena, &core__pod__descriptor, r->body) : NULL;

	(void)t;
	api.n_asked++;
	api.n_deletes += r->verb == CLIENT_DELETE;
	if (sent)
		snprintf(api.ready, sizeof(api.ready), "%s", sent->status->conditions[0]->status);
	if (code)
		err_set(&r->err, code, "no");
	else if (sent)
		r->answer = pb_pack_arena(pod_of(&r->arena, api.ready, ++api.version), &r->arena);
	r->done(r);
}

static void start(struct client *c, struct client_req *r)
{
	assert_null(api.req);
	api.req = r;
	loop_timer_start(&api.answer, c->loop, 0, answer);
}

static const struct client_ops ops = {.name = "test", .start = start};

static int begin(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	api = (struct api){.version = 10};
	kubelet = (struct kubelet){.loop = loop_new("test"), .client = &api.client};
	api.client = (struct client){.ops = &ops, .loop = kubelet.loop};
	map_init(&kubelet.workers);
	w = worker_new(&kubelet, "u", "default", "p");
	w->pod = kept_new(pod_of(&a, "False", 1));
	w->wanted = kept_ref(w->pod);
	w->status = kept_new(status_of(&a, "True"));
	w->objects = xcalloc(1, sizeof(*w->objects));
	arena_init(&w->objects->arena);
	arena_fini(&a);
	return 0;
}

static int end(void **state)
{
	(void)state;
	worker_close(w);
	loop_timer_stop(&kubelet.resize_timer);
	loop_timer_stop(&api.answer);
	map_fini(&kubelet.workers);
	loop_free(kubelet.loop);
	return 0;
}

/* Until so much was asked and everything that is due has been done. */
static void asked(size_t n)
{
	uint64_t until = clock_mono_ms() + 30000;

	while (api.n_asked < n && clock_mono_ms() < until)
		loop_turn(kubelet.loop, 50);
	assert_int_equal(api.n_asked, n);
	for (int i = 0; i < 5; i++)
		loop_turn(kubelet.loop, 0);
}

/* Nothing more comes, now or later. */
static void silence(void)
{
	size_t n = api.n_asked;

	for (int i = 0; i < 5; i++)
		loop_turn(kubelet.loop, 0);
	assert_int_equal(api.n_asked, n);
	assert_false(w->status_busy);
	assert_false(loop_timer_active(&w->retell));
}

/* What the informer brings. */
static void api_says(const char *ready, uint64_t version)
{
	struct arena a;

	arena_init(&a);
	kept_unref(w->wanted);
	w->wanted = kept_new(pod_of(&a, ready, version));
	arena_fini(&a);
	tell_if_contradicted(w);
}

static void woken_for_another_reason(struct loop_timer *t)
{
	(void)t;
}

static void test_failed_write_comes_again(void **state)
{
	(void)state;
	api.next[0] = ERR_UNAVAILABLE;
	api.next[1] = ERR_FORBIDDEN;
	api.next[2] = ERR_CONFLICT;
	tell_status(w);
	asked(1);
	/* The status stays as it is, and whatever else the worker waits for is none of the write's business. */
	loop_timer_start(&w->wake, kubelet.loop, 3600000, woken_for_another_reason);
	asked(4);
	assert_string_equal(api.ready, "True");
	assert_ptr_equal(w->saved, w->status);
	silence();
	loop_timer_stop(&w->wake);
}

static void test_newest_is_told_last(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	tell_status(w);
	kept_unref(w->status);
	w->status = kept_new(status_of(&a, "False"));
	tell_status(w); /* one is under way: this comes after it */
	asked(2);
	assert_string_equal(api.ready, "False");
	/* A new status does not wait for the old one's next try. */
	api.next[2] = ERR_TIMEOUT;
	kept_unref(w->status);
	w->status = kept_new(status_of(&a, "True"));
	tell_status(w);
	asked(3);
	kept_unref(w->status);
	w->status = kept_new(status_of(&a, "False"));
	tell_status(w);
	asked(4);
	assert_string_equal(api.ready, "False");
	arena_fini(&a);
}

static void test_contradiction_is_answered(void **state)
{
	(void)state;
	tell_status(w);
	asked(1);
	api_says("False", 10); /* from before our word came */
	silence();
	api_says("True", 11);
	silence();
	api_says("False", 12);
	asked(2);
	assert_string_equal(api.ready, "True");
	silence();
	/* Whoever has given up the node will not be talked out of it pod by pod. */
	api.version = 20;
	kubelet.called_unready = true;
	api_says("False", 21);
	silence();
	kubelet.called_unready = false;
	tell_if_contradicted(w);
	asked(3);
}

static void test_node_is_believed_again(void **state)
{
	Core__Node node = CORE__NODE__INIT;
	Core__NodeStatus s = CORE__NODE_STATUS__INIT;
	Core__NodeCondition c = CORE__NODE_CONDITION__INIT, *list[] = {&c};

	(void)state;
	node.status = &s;
	s.conditions = list;
	s.n_conditions = 1;
	c.type = "Ready";
	c.status = "Unknown";
	kubelet_node_set(&kubelet, &node);
	assert_true(kubelet.called_unready);
	assert_false(loop_timer_active(&w->kick));
	c.status = "True";
	kubelet_node_set(&kubelet, &node);
	assert_false(kubelet.called_unready);
	assert_true(loop_timer_active(&w->kick)); /* the pods are looked at */
}

static void test_deletion_comes_again(void **state)
{
	uint64_t until = clock_mono_ms() + 30000;

	(void)state;
	api.next[0] = ERR_UNAVAILABLE; /* the last status */
	api.next[2] = ERR_TIMEOUT;     /* the deletion */
	api.next[3] = ERR_CONFLICT;
	tell_deleted(w);
	asked(1);
	tell_deleted(w); /* a look at the pod meanwhile does not hurry it */
	assert_null(api.req);
	/* The worker's looks at the pod, as often as they may come. */
	while (!w->deleted && clock_mono_ms() < until) {
		loop_turn(kubelet.loop, 50);
		tell_deleted(w);
	}
	assert_int_equal(api.n_asked, 5);
	assert_int_equal(api.n_deletes, 3);
	assert_true(w->deleted);
	tell_deleted(w);
	silence();
}

static void test_gone_pod_is_no_failure(void **state)
{
	(void)state;
	api.next[0] = ERR_NOT_FOUND;
	tell_status(w);
	asked(1);
	silence();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_failed_write_comes_again, begin, end),
		cmocka_unit_test_setup_teardown(test_newest_is_told_last, begin, end),
		cmocka_unit_test_setup_teardown(test_contradiction_is_answered, begin, end),
		cmocka_unit_test_setup_teardown(test_node_is_believed_again, begin, end),
		cmocka_unit_test_setup_teardown(test_deletion_comes_again, begin, end),
		cmocka_unit_test_setup_teardown(test_gone_pod_is_no_failure, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
