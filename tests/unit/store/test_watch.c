/*
 * Watches: order, completeness, replay, the hand-over to live events, pauses, backlog limits, compaction; and readers and
 * hubs on other threads while the writer works (this test is worth a run under ThreadSanitizer).
 */
#include <inttypes.h>
#include <string.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"
#include "store/watch.h"
#include "tests/unit/store/common.h"

/* A watcher that writes down what it is told: "revision:key=value(previous) ...". */
struct tape {
	struct watcher w;
	struct buf text;
	int64_t last, upto, gone;
	size_t n, calls;
	bool was_gone;
	size_t pause_after; /* pause at this many events; 0: never */
	bool stop_inside;
};

static void tape_events(struct watcher *w, int64_t revision, const struct watch_event *const *ev, size_t n)
{
	struct tape *t = container_of(w, struct tape, w);

	t->calls++;
	assert_true(revision > t->upto);
	for (size_t i = 0; i < n; i++) {
		assert_true(ev[i]->kv.mod_revision > t->upto && ev[i]->kv.mod_revision >= t->last);
		assert_true(ev[i]->kv.mod_revision <= revision);
		t->last = ev[i]->kv.mod_revision;
		buf_printf(&t->text, "%s%" PRId64 ":%.*s", t->text.n ? " " : "", ev[i]->kv.mod_revision, STR_FMT(ev[i]->kv.key));
		if (!ev[i]->is_delete)
			buf_printf(&t->text, "=%.*s", STR_FMT(ev[i]->kv.value));
		if (ev[i]->has_prev)
			buf_printf(&t->text, "(%.*s)", STR_FMT(ev[i]->prev.value));
		t->n++;
	}
	t->upto = revision;
	if (t->pause_after != 0 && t->n >= t->pause_after)
		watch_pause(w);
	if (t->stop_inside)
		watch_stop(w);
}

static void tape_gone(struct watcher *w, int64_t compact_revision)
{
	struct tape *t = container_of(w, struct tape, w);

	t->gone = compact_revision;
	t->was_gone = true;
}

static void tape_init(struct tape *t, const char *key, const char *end)
{
	*t = (struct tape){.text = BUF_INIT};
	t->w.key = str_from(key);
	t->w.end = end ? (end[0] ? str_from(end) : STR("\0")) : STR_NULL;
	t->w.events = tape_events;
	t->w.gone = tape_gone;
}

static void tape_fini(struct tape *t)
{
	watch_stop(&t->w);
	buf_fini(&t->text);
}

static const char *tape_text(struct tape *t)
{
	return t->text.p ? t->text.p : "";
}

static void turns(struct loop *l)
{
	for (int i = 0; i < 20; i++)
		loop_turn(l, 0);
}

struct hub_fixture {
	struct fixture f;
	struct loop *loop;
	struct watch_hub *hub;
};

static void hub_open(struct hub_fixture *h, size_t backlog)
{
	fixture_open(&h->f, NULL);
	h->loop = loop_new("test");
	h->hub = watch_hub_new(h->f.store, h->loop, backlog);
}

static void hub_close(struct hub_fixture *h)
{
	watch_hub_free(h->hub);
	turns(h->loop);
	loop_free(h->loop);
	fixture_close(&h->f);
}

static void test_live(void **state)
{
	struct hub_fixture h;
	struct tape one, prefix, all, future;

	hub_open(&h, 0);
	put(&h.f, "a/1", "x"); /* 2 */
	tape_init(&one, "a/1", NULL);
	tape_init(&prefix, "a/", "a0");
	tape_init(&all, "", "");
	tape_init(&future, "a/1", NULL);
	assert_int_equal(watch_start(h.hub, &one.w, 0), 2);
	watch_start(h.hub, &prefix.w, 0);
	watch_start(h.hub, &all.w, 0);
	watch_start(h.hub, &future.w, 5);
	put(&h.f, "a/1", "y"); /* 3 */
	put(&h.f, "a/2", "z"); /* 4 */
	turns(h.loop);
	assert_int_equal(watch_progress(&one.w), 4);
	assert_int_equal(watch_progress(&future.w), 4);
	put(&h.f, "b", "1");   /* 5 */
	del(&h.f, "a/", "a0", NULL); /* 6: two keys, one revision */
	assert_string_equal(tape_text(&one), "3:a/1=y(x)");
	turns(h.loop);
	assert_string_equal(tape_text(&one), "3:a/1=y(x) 6:a/1(y)");
	assert_string_equal(tape_text(&prefix), "3:a/1=y(x) 4:a/2=z 6:a/1(y) 6:a/2(z)");
	assert_string_equal(tape_text(&all), "3:a/1=y(x) 4:a/2=z 5:b=1 6:a/1(y) 6:a/2(z)");
	assert_string_equal(tape_text(&future), "6:a/1(y)");
	assert_int_equal(prefix.calls, 3);
	assert_int_equal(watch_hub_watchers(h.hub), 4);
	tape_fini(&one);
	tape_fini(&prefix);
	tape_fini(&all);
	tape_fini(&future);
	hub_close(&h);
}

static void test_replay(void **state)
{
	struct hub_fixture h;
	struct tape past, filtered, late;

	hub_open(&h, 0);
	put(&h.f, "a", "1"); /* 2 */
	put(&h.f, "a", "2"); /* 3 */
	del(&h.f, "a", NULL, NULL); /* 4 */
	put(&h.f, "a", "3"); /* 5 */
	put(&h.f, "b", "9"); /* 6 */
	tape_init(&past, "a", NULL);
	tape_init(&filtered, "a", "");
	tape_init(&late, "a", NULL);
	filtered.w.no_put = true;
	watch_start(h.hub, &past.w, 3);
	watch_start(h.hub, &filtered.w, 1);
	assert_int_equal(watch_progress(&past.w), 0);
	put(&h.f, "a", "4"); /* 7: on its way as a batch while the log has it, too */
	watch_start(h.hub, &late.w, 7);
	turns(h.loop);
	put(&h.f, "a", "5"); /* 8 */
	turns(h.loop);
	assert_string_equal(tape_text(&past), "3:a=2(1) 4:a(2) 5:a=3 7:a=4(3) 8:a=5(4)");
	assert_string_equal(tape_text(&filtered), "4:a(2)");
	assert_string_equal(tape_text(&late), "7:a=4(3) 8:a=5(4)");
	assert_int_equal(watch_progress(&filtered.w), 8);
	tape_fini(&past);
	tape_fini(&filtered);
	tape_fini(&late);
	hub_close(&h);
}

static void test_pause_and_backlog(void **state)
{
	struct hub_fixture h;
	struct tape slow, quick;
	struct buf expect = BUF_INIT;

	hub_open(&h, 1); /* one batch fits, no more */
	tape_init(&slow, "k", NULL);
	tape_init(&quick, "k", NULL);
	slow.pause_after = 3;
	watch_start(h.hub, &slow.w, 0);
	watch_start(h.hub, &quick.w, 0);
	for (int i = 0; i < 50; i++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", i);
		put(&h.f, "k", value);
		buf_printf(&expect, "%s%d:k=%d", i ? " " : "", i + 2, i);
		if (i)
			buf_printf(&expect, "(%d)", i - 1);
		if (i == 2 || i == 30)
			turns(h.loop);
	}
	turns(h.loop);
	assert_string_equal(tape_text(&quick), expect.p);
	assert_int_equal(slow.n, 3); /* the third is the last one that it got before it paused */
	assert_int_equal(watch_progress(&slow.w), 0);
	slow.pause_after = 0;
	watch_resume(&slow.w);
	turns(h.loop);
	assert_string_equal(tape_text(&slow), expect.p);
	assert_int_equal(watch_progress(&slow.w), 51);
	tape_fini(&slow);
	tape_fini(&quick);
	buf_fini(&expect);
	hub_close(&h);
}

static void test_compaction(void **state)
{
	struct hub_fixture h;
	struct tape at, below, paused;

	hub_open(&h, 0);
	put(&h.f, "a", "1"); /* 2 */
	tape_init(&paused, "a", NULL);
	watch_start(h.hub, &paused.w, 0);
	watch_pause(&paused.w);
	put(&h.f, "a", "2"); /* 3 */
	put(&h.f, "a", "3"); /* 4 */
	del(&h.f, "a", NULL, NULL); /* 5 */
	assert_null(compact(&h.f, 5));
	put(&h.f, "a", "4"); /* 6 */
	tape_init(&at, "a", NULL);
	tape_init(&below, "a", NULL);
	watch_start(h.hub, &at.w, 5);
	watch_start(h.hub, &below.w, 4);
	turns(h.loop);
	watch_resume(&paused.w);
	turns(h.loop);
	assert_string_equal(tape_text(&at), "5:a(3) 6:a=4"); /* the delete at the compacted revision, with what was before */
	assert_int_equal(below.gone, 5);
	assert_int_equal(paused.gone, 5);
	assert_null(below.w.hub);
	tape_fini(&at);
	tape_fini(&below);
	tape_fini(&paused);
	hub_close(&h);
}

static void test_stop_inside(void **state)
{
	struct hub_fixture h;
	struct tape a, b;

	hub_open(&h, 0);
	tape_init(&a, "k", NULL);
	tape_init(&b, "k", NULL);
	a.stop_inside = b.stop_inside = true;
	watch_start(h.hub, &a.w, 0);
	put(&h.f, "k", "1");
	put(&h.f, "k", "2");
	turns(h.loop);
	watch_start(h.hub, &b.w, 2);
	turns(h.loop);
	assert_string_equal(tape_text(&a), "2:k=1");
	assert_true(b.calls == 1);
	assert_int_equal(watch_hub_watchers(h.hub), 0);
	tape_fini(&a);
	tape_fini(&b);
	hub_close(&h);
}

struct waiting {
	struct watch_wait wait;
	bool reached;
};

static void on_reached(struct watch_wait *w)
{
	container_of(w, struct waiting, wait)->reached = true;
}

static void test_wait(void **state)
{
	struct hub_fixture h;
	struct waiting now = {.wait = {.reached = on_reached, .revision = 1}};
	struct waiting later = {.wait = {.reached = on_reached, .revision = 3}};
	struct waiting never = {.wait = {.reached = on_reached, .revision = 99}};

	hub_open(&h, 0);
	watch_hub_wait(h.hub, &now.wait);
	watch_hub_wait(h.hub, &later.wait);
	watch_hub_wait(h.hub, &never.wait);
	assert_false(now.reached);
	turns(h.loop);
	assert_true(now.reached && !later.reached);
	put(&h.f, "a", "1");
	turns(h.loop);
	assert_false(later.reached);
	put(&h.f, "a", "2");
	turns(h.loop);
	assert_true(later.reached && !never.reached);
	watch_wait_cancel(&never.wait);
	hub_close(&h);
}

/* --- Threads ---------------------------------------------------------------------------------------------- */

/*
 * Every key counts its own changes: a watcher checks that it sees each number once, in order, whatever pauses, restarts
 * and backlog limits do; readers check that a view is of one moment: two keys written in one transaction are equal.
 */
#define KEYS 5
#define ROUNDS 4000

struct counter {
	struct watcher w;
	struct watch_hub *hub;
	char key[16];
	int64_t seen, last_rev, restarts;
	unsigned seed;
	struct loop_timer timer;
};

struct worker {
	struct loop *loop;
	struct watch_hub *hub;
	struct counter c[KEYS];
	struct loop_timer check, start;
	atomic_bool done;
};

static atomic_bool writer_done;
static atomic_llong final_revision;

static void counter_resume(struct loop_timer *t)
{
	struct counter *c = container_of(t, struct counter, timer);

	watch_resume(&c->w);
}

static void counter_events(struct watcher *w, int64_t revision, const struct watch_event *const *ev, size_t n)
{
	struct counter *c = container_of(w, struct counter, w);

	for (size_t i = 0; i < n; i++) {
		int64_t v = 0;

		ASSERT(str_to_i64(ev[i]->kv.value, &v));
		ASSERT(v == c->seen + 1);
		ASSERT(ev[i]->has_prev == (v != 1));
		c->seen = v;
	}
	c->last_rev = revision;
	c->seed = c->seed * 1103515245 + 12345;
	if ((c->seed >> 16) % 50 == 0) {
		watch_pause(w);
		loop_timer_start(&c->timer, loop_current(), (c->seed >> 20) % 3, counter_resume);
	} else if ((c->seed >> 16) % 50 == 1) {
		watch_stop(w);
		w->key = str_from(c->key);
		c->restarts++;
		watch_start(c->hub, w, revision + 1);
	}
}

static void counter_gone(struct watcher *w, int64_t compact)
{
	ASSERT(!"gone");
}

static void worker_check(struct loop_timer *t)
{
	struct worker *k = container_of(t, struct worker, check);
	bool all = atomic_load(&writer_done);

	for (int i = 0; all && i < KEYS; i++)
		all = watch_progress(&k->c[i].w) == atomic_load(&final_revision);
	if (!all) {
		loop_timer_start(&k->check, k->loop, 1, worker_check);
		return;
	}
	for (int i = 0; i < KEYS; i++) {
		loop_timer_stop(&k->c[i].timer);
		watch_stop(&k->c[i].w);
	}
	watch_hub_free(k->hub);
	atomic_store(&k->done, true);
	loop_stop(k->loop);
}

static void worker_start(struct loop_timer *t)
{
	struct worker *k = container_of(t, struct worker, start);

	for (int i = 0; i < KEYS; i++) {
		struct counter *c = &k->c[i];

		snprintf(c->key, sizeof(c->key), "key%d", i);
		c->w.key = str_from(c->key);
		c->w.events = counter_events;
		c->w.gone = counter_gone;
		c->hub = k->hub;
		c->seed = (unsigned)i + 77;
		watch_start(k->hub, &c->w, 1);
	}
	worker_check(&k->check);
}

static void *reader_main(void *arg)
{
	struct store *s = arg;
	struct store_view *v;
	struct store_kv a, b;

	while (!atomic_load(&writer_done)) {
		if (store_view_open(s, &v, NULL) != 0)
			continue;
		if (view_get(v, STR("twin1"), 0, &a, NULL) == 0) {
			ASSERT(view_get(v, STR("twin2"), 0, &b, NULL) == 0);
			ASSERT(str_eq(a.value, b.value) && a.mod_revision == b.mod_revision);
		}
		store_view_close(v);
	}
	return NULL;
}

static void put_twins(struct fixture *f, int n)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__PutRequest p[2] = {ETCDSERVERPB__PUT_REQUEST__INIT, ETCDSERVERPB__PUT_REQUEST__INIT};
	Etcdserverpb__RequestOp op[2] = {ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT};
	Etcdserverpb__RequestOp *ops[2] = {&op[0], &op[1]};
	char value[16];

	snprintf(value, sizeof(value), "%d", n);
	for (int i = 0; i < 2; i++) {
		p[i].key = bin(&f->arena, i ? "twin2" : "twin1");
		p[i].value = bin(&f->arena, value);
		op[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		op[i].request_put = &p[i];
	}
	t.n_success = 2;
	t.success = ops;
	c.op_case = RAFTPB__COMMAND__OP_TXN;
	c.txn = &t;
	(void)apply(f, &c, &etcdserverpb__txn_response__descriptor, NULL);
}

static void test_threads(void **state)
{
	struct fixture f;
	struct worker workers[2] = {0};
	pthread_t readers[2];
	int counts[KEYS] = {0};

	fixture_open(&f, NULL);
	atomic_store(&writer_done, false);
	for (int i = 0; i < 2; i++) {
		workers[i].loop = loop_new("worker");
		workers[i].hub = watch_hub_new(f.store, workers[i].loop, i ? 2000 : 0);
		loop_timer_start(&workers[i].start, workers[i].loop, 0, worker_start);
		loop_thread_start(workers[i].loop);
		pthread_create(&readers[i], NULL, reader_main, f.store);
	}
	for (int i = 0; i < ROUNDS; i++) {
		char value[16], key[16];
		int k = i * 7 % KEYS;

		if (i % 10 == 9) {
			put_twins(&f, i);
			continue;
		}
		snprintf(key, sizeof(key), "key%d", k);
		snprintf(value, sizeof(value), "%d", ++counts[k]);
		put(&f, key, value);
		arena_fini(&f.arena);
	}
	atomic_store(&final_revision, store_revision(f.store));
	atomic_store(&writer_done, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(readers[i], NULL);
		loop_thread_join(workers[i].loop);
		assert_true(atomic_load(&workers[i].done));
		for (int k = 0; k < KEYS; k++)
			assert_int_equal(workers[i].c[k].seen, counts[k]);
		loop_free(workers[i].loop);
	}
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_live),
			cmocka_unit_test(test_replay),
			cmocka_unit_test(test_pause_and_backlog),
			cmocka_unit_test(test_compaction),
			cmocka_unit_test(test_stop_inside),
			cmocka_unit_test(test_wait),
			cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
