/*
 * The runner and the scheduler over an API that the test plays: every list, watch and write of theirs comes here, and is answered as
 * the test says. What is written is shown by the watches, with a new version.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/scheduler/scheduler.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "proto/wire.h"

#define WAIT_MS 60000

/* A request or a watch under way. */
struct call {
	struct client_req *req;
	struct client_watch *watch;
	struct loop_timer timer;
	struct list link; /* of a watch, in api.watches */
};

static struct api {
	struct client client;
	struct list watches;
	struct arena arena;
	struct {
		const char *plural;
		struct str bytes;
	} objects[8]; /* what lists show at first */
	size_t n_objects;
	uint64_t version;
	/* The test's word on a write, before it is done. False: it is taken. */
	bool (*refuses)(struct client_req *);
	struct call *held; /* one that the test answers later */
} api;

static struct controllers *controllers;
static struct scheduler *scheduler;

/* --- The API -------------------------------------------------------------------------------------------------------- */

/* The object with a version, as a merge: field 6 of the metadata, which is field 1. */
static struct str with_version(struct arena *a, struct str object, uint64_t version)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	char text[24];
	size_t meta;

	buf_adds(&b, object);
	meta = wire_open(&b, 1);
	wire_add_bytes(&b, 6, str_of(text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)version)));
	wire_close(&b, meta);
	return arena_str(a, buf_str(&b));
}

static void show(const char *plural, enum client_event type, struct str object)
{
	uint64_t version = ++api.version;

	LIST_FOR_EACH_SAFE (c, next, &api.watches, struct call, link)
		if (strcmp(c->watch->resource->plural, plural) == 0 && !c->watch->field_selector)
			c->watch->event(c->watch, type, with_version(&api.arena, object, version), version);
}

static struct str list_of(struct client_req *r)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	char text[24];
	size_t meta = wire_open(&b, 1);

	wire_add_bytes(&b, 2, str_of(text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)api.version)));
	wire_close(&b, meta);
	for (size_t i = 0; i < api.n_objects && !r->field_selector; i++)
		if (strcmp(api.objects[i].plural, r->resource->plural) == 0)
			wire_add_bytes(&b, 2, api.objects[i].bytes);
	return arena_str(&r->arena, buf_str(&b));
}

static void finish(struct call *c, enum err_code code)
{
	struct client_req *r = c->req;

	if (code)
		err_set(&r->err, code, "the test says so");
	r->impl = NULL;
	free(c);
	r->done(r);
}

static void answer(struct loop_timer *t)
{
	struct call *c = container_of(t, struct call, timer);
	struct client_req *r = c->req;
	struct str object = r->msg ? pb_pack_arena(r->msg, &r->arena) : r->body;

	if (r->verb == CLIENT_LIST) {
		r->answer = list_of(r);
		finish(c, ERR_OK);
	} else if (r->verb == CLIENT_GET) {
		finish(c, ERR_NOT_FOUND);
	} else if (r->verb == CLIENT_RAW) {
		finish(c, ERR_UNAVAILABLE);
	} else if (api.refuses && api.refuses(r)) {
		if (api.held != c)
			finish(c, ERR_FORBIDDEN);
	} else {
		r->answer = with_version(&r->arena, object, api.version + 1);
		if (r->verb != CLIENT_DELETE && !(r->sub && strcmp(r->sub, "binding") == 0))
			show(r->resource->plural, r->verb == CLIENT_CREATE ? CLIENT_ADDED : CLIENT_MODIFIED, object);
		finish(c, ERR_OK);
	}
}

static void api_start(struct client *client, struct client_req *r)
{
	struct call *c = xcalloc(1, sizeof(*c));

	c->req = r;
	r->impl = c;
	loop_timer_start(&c->timer, client->loop, 0, answer);
}

static void canceled(struct loop_timer *t)
{
	struct call *c = container_of(t, struct call, timer);
	struct err e = ERR_INIT;

	if (c->req) {
		finish(c, ERR_CANCELED);
		return;
	}
	err_set(&e, ERR_CANCELED, "stopped");
	c->watch->impl = NULL;
	list_del(&c->link);
	c->watch->end(c->watch, &e);
	free(c);
}

static void api_cancel(struct client *client, struct client_req *r)
{
	loop_timer_start(&((struct call *)r->impl)->timer, client->loop, 0, canceled);
}

static void api_watch(struct client *client, struct client_watch *w)
{
	struct call *c = xcalloc(1, sizeof(*c));

	(void)client;
	c->watch = w;
	w->impl = c;
	list_add_tail(&api.watches, &c->link);
}

static void api_unwatch(struct client *client, struct client_watch *w)
{
	loop_timer_start(&((struct call *)w->impl)->timer, client->loop, 0, canceled);
}

static const struct client_ops ops = {
	.name = "test", .start = api_start, .cancel = api_cancel, .watch_start = api_watch, .watch_stop = api_unwatch};

/* --- Start and stop ------------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
	(void)state;
	log_set_level("error");
	api = (struct api){.version = 100};
	arena_init(&api.arena);
	list_init(&api.watches);
	api.client = (struct client){.ops = &ops, .loop = loop_new("test")};
	return 0;
}

static void start(bool schedule)
{
	struct controllers_cfg cfg = {.client = &api.client, .loop = api.client.loop, .cluster_cidr = "10.244.0.0/16", .root_ca_pem = STR_INIT("x")};

	controllers = controllers_start(&cfg);
	scheduler = schedule ? scheduler_start(api.client.loop, &api.client, controllers_view(controllers)) : NULL;
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void turn_until(const bool *flag)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (!*flag && clock_mono_ms() < end)
		loop_turn(api.client.loop, 50);
	assert_true(*flag);
}

static int end(void **state)
{
	bool stopped = false;

	(void)state;
	if (scheduler) {
		scheduler_stop(scheduler, set_flag, &stopped);
		turn_until(&stopped);
	}
	stopped = false;
	controllers_stop(controllers, set_flag, &stopped);
	turn_until(&stopped);
	loop_free(api.client.loop);
	arena_fini(&api.arena);
	return 0;
}

static void listed(const char *plural, const void *msg)
{
	api.objects[api.n_objects].plural = plural;
	api.objects[api.n_objects++].bytes = with_version(&api.arena, pb_pack_arena(msg, &api.arena), ++api.version);
}

static Meta__ObjectMeta *meta_of(const char *ns, const char *name)
{
	Meta__ObjectMeta *m = pb_new_of(&api.arena, meta__object_meta, Meta__ObjectMeta);

	m->namespace_ = (char *)ns;
	m->name = (char *)name;
	m->uid = arena_printf(&api.arena, "uid-%s", name);
	return m;
}

/* --- Back-off: who failed often is looked at again soon when something of it changes --------------------------------- */

static Core__Namespace *namespace(const char *name)
{
	Core__Namespace *n = pb_new_of(&api.arena, core__namespace, Core__Namespace);

	n->metadata = meta_of(NULL, name);
	return n;
}

static struct {
	unsigned n;
	uint64_t at_ms;
} tried[2]; /* to give namespaces a and b their certificate */

static bool refuses_certificates(struct client_req *r)
{
	if (r->verb != CLIENT_CREATE || strcmp(r->resource->plural, "configmaps") != 0)
		return false;
	tried[r->ns[0] - 'a'].n++;
	tried[r->ns[0] - 'a'].at_ms = clock_mono_ms();
	return true;
}

static void tried_at_least(unsigned n)
{
	uint64_t until = clock_mono_ms() + WAIT_MS;

	while ((tried[0].n < n || tried[1].n < n) && clock_mono_ms() < until)
		loop_turn(api.client.loop, 50);
	assert_true(tried[0].n >= n && tried[1].n >= n);
}

static void test_change_ends_back_off(void **state)
{
	Core__Namespace *a = namespace("a");

	(void)state;
	listed("namespaces", a);
	listed("namespaces", namespace("b"));
	api.refuses = refuses_certificates;
	start(false);
	/* Both wait for some five seconds from now on; one of them changes. A machine that sleeps meanwhile tries once more. */
	for (unsigned n = 10;; n++) {
		tried_at_least(n);
		if (tried[0].n == n && tried[1].n == n && clock_mono_ms() - MIN(tried[0].at_ms, tried[1].at_ms) < 1000)
			break;
	}
	for (unsigned n = tried[0].n; tried[0].n == n && tried[1].n == n;) {
		show("namespaces", CLIENT_MODIFIED, pb_pack_arena(a, &api.arena)); /* however often: it is not tried as often */
		loop_turn(api.client.loop, 50);
	}
	assert_true(tried[0].n == tried[1].n + 1);
}

/* --- A binding whose answer is lost --------------------------------------------------------------------------------- */

static Core__Pod *pod(const char *name, const char *node)
{
	Core__Pod *p = pb_new_of(&api.arena, core__pod, Core__Pod);

	p->metadata = meta_of("default", name);
	p->spec = pb_new_of(&api.arena, core__pod_spec, Core__PodSpec);
	p->spec->node_name = (char *)node;
	return p;
}

static Core__Node *node_for_one_pod(void)
{
	Core__Node *n = pb_new_of(&api.arena, core__node, Core__Node);
	Core__NodeStatus__AllocatableEntry *e;
	Core__NodeCondition *c;

	n->metadata = meta_of(NULL, "n");
	n->status = pb_new_of(&api.arena, core__node_status, Core__NodeStatus);
	e = pb_add(&api.arena, n->status, "allocatable");
	e->key = (char *)"pods";
	e->value = pb_new_of(&api.arena, resource__quantity, Resource__Quantity);
	e->value->string = (char *)"1";
	c = pb_add(&api.arena, n->status, "conditions");
	c->type = (char *)"Ready";
	c->status = (char *)"True";
	return n;
}

static char bound[8]; /* names of pods to bind, as they were asked for: one letter each */
static bool is_bound[3];

static bool holds_first_binding(struct client_req *r)
{
	size_t n = strlen(bound);

	if (r->verb != CLIENT_CREATE || !r->sub || strcmp(r->sub, "binding") != 0)
		return false;
	assert_true(n + 1 < sizeof(bound));
	bound[n] = r->name[0];
	is_bound[n + 1] = true;
	if (n == 0)
		api.held = r->impl;
	return n == 0;
}

static void some_turns(void)
{
	for (int i = 0; i < 20; i++)
		loop_turn(api.client.loop, 0);
}

static void test_lost_binding_counts(void **state)
{
	Core__Node *n = node_for_one_pod();
	const char *first, *second;

	(void)state;
	listed("nodes", n);
	listed("pods", pod("p", ""));
	listed("pods", pod("q", ""));
	api.refuses = holds_first_binding;
	start(true);
	turn_until(&is_bound[1]);
	first = bound[0] == 'p' ? "p" : "q";
	second = bound[0] == 'p' ? "q" : "p";
	/* It has happened, and is seen; then the answer is lost. */
	show("pods", CLIENT_MODIFIED, pb_pack_arena(pod(first, "n"), &api.arena));
	some_turns();
	finish(TAKE(api.held), ERR_TIMEOUT);
	/* The other one is looked at again: there is still no room. */
	show("nodes", CLIENT_MODIFIED, pb_pack_arena(n, &api.arena));
	some_turns();
	assert_int_equal(strlen(bound), 1);
	show("pods", CLIENT_DELETED, pb_pack_arena(pod(first, "n"), &api.arena));
	turn_until(&is_bound[2]);
	assert_int_equal(bound[1], second[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_change_ends_back_off, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_binding_counts, begin, end),
	};

	return cmocka_run_group_tests_name("runner", tests, NULL, NULL);
}
