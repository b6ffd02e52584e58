/* Sealed batches: nobody can tell them from committed ones, save by a commit that fails. */
#include "tests/unit/store/common.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "io/loop.h"
#include "store/watch.h"

static void test_seen(void **state _unused_)
{
	struct fixture f;

	fixture_open(&f, NULL);
	f.seal = 100;
	put(&f, "a", "1");
	put(&f, "b", "2");
	assert_true(store_is_sealed(f.store));
	assert_int_equal(store_revision(f.store), 3);
	assert_int_equal(store_applied(f.store).index, 2);
	assert_string_equal(dump(&f, "a", "z", 0), "a=1 b=2");
	assert_false(store_is_sealed(f.store));
	put(&f, "a", "3");
	OK(store_checkpoint(f.store, &e));
	assert_false(store_is_sealed(f.store));
	assert_int_equal(store_checkpointed(f.store).index, 3);
	put(&f, "c", "4");
	/* A crash goes back to the checkpoint, a clean end keeps all. */
	fixture_reopen(&f, false);
	assert_string_equal(dump(&f, "a", "z", 0), "a=3 b=2");
	put(&f, "c", "5");
	fixture_reopen(&f, true);
	assert_string_equal(dump(&f, "a", "z", 0), "a=3 b=2 c=5");
	fixture_close(&f);
}

struct seer {
	struct watcher w;
	int64_t last;
	size_t n;
};

static void on_events(struct watcher *w, int64_t upto, const struct watch_event *const *ev _unused_, size_t n)
{
	struct seer *s = container_of(w, struct seer, w);

	s->last = upto;
	s->n += n;
}

static void on_gone(struct watcher *w _unused_, int64_t compact _unused_)
{
	fail();
}

static void turn(struct loop *l)
{
	for (int i = 0; i < 5; i++)
		loop_turn(l, 0);
}

/* Watchers hear of it with the commit, once and in order, whenever they came. */
static void test_watched(void **state _unused_)
{
	struct fixture f;
	struct loop *loop = loop_new("test");
	struct seer early = {.w = {.key = STR("k"), .events = on_events, .gone = on_gone}}, late = early, past = early;
	struct watch_hub *hub;

	fixture_open(&f, NULL);
	f.seal = 100;
	hub = watch_hub_new(f.store, loop, 0);
	assert_false(store_is_watched(f.store));
	watch_start(hub, &early.w, 0);
	assert_true(store_is_watched(f.store));
	put(&f, "k", "1");
	put(&f, "k", "2");
	turn(loop);
	assert_int_equal(early.n, 0);
	watch_start(hub, &late.w, 0);
	watch_start(hub, &past.w, 2);
	put(&f, "k", "3");
	OK(store_settle(f.store, &e));
	turn(loop);
	assert_int_equal(early.n, 3);
	assert_int_equal(late.n, 1);
	assert_int_equal(past.n, 3);
	assert_int_equal(early.last, 4);
	watch_stop(&early.w);
	watch_stop(&late.w);
	watch_stop(&past.w);
	assert_false(store_is_watched(f.store));
	watch_hub_free(hub);
	turn(loop);
	loop_free(loop);
	fixture_close(&f);
}

/* The disk is full: the whole transaction is undone, and can be done again. */
static void test_undone(void **state _unused_)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__LeaseGrantRequest g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	struct fixture f;
	char *value = xmalloc(100001);
	struct err bad = ERR_INIT;
	struct rlimit old, low;
	uint64_t before;
	int64_t left, granted;
	struct str cmd;

	fixture_open(&f, NULL);
	put(&f, "a", "1");
	before = f.index;
	f.seal = 100;
	put(&f, "a", "2");
	g.id = 77;
	g.ttl = 100;
	c.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	c.lease_grant = &g;
	(void)apply(&f, &c, &etcdserverpb__lease_grant_response__descriptor, NULL);
	store_leases_promote(f.store, 0, 0);
	store_lease_ttl(f.store, 77, 0, &left, &granted);
	assert_int_equal(left, 100);
	memset(value, 'x', 100000);
	value[100000] = '\0';
	c = (Raftpb__Command)RAFTPB__COMMAND__INIT;
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = bin(&f.arena, "big");
	p.value = bin(&f.arena, value);
	cmd = encode(&f.arena, &c.base);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 400000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	for (int i = 0; i < 20; i++) {
		OK(store_begin(f.store, &e));
		OK(store_apply(f.store, ++f.index, 1, cmd, NULL, &e));
		store_seal(f.store);
	}
	assert_int_not_equal(store_settle(f.store, &bad), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(bad.code == ERR_NO_SPACE || bad.code == ERR_IO);
	assert_false(store_is_sealed(f.store));
	assert_int_equal(store_applied(f.store).index, before);
	assert_int_equal(store_revision(f.store), 2);
	store_lease_ttl(f.store, 77, 0, &left, &granted);
	assert_int_equal(left, -1);
	assert_string_equal(dump(&f, "a", NULL, 0), "a=1");
	f.index = before;
	put(&f, "a", "2");
	assert_string_equal(dump(&f, "a", NULL, 0), "a=2");
	free(value);
	fixture_close(&f);
}

/* --- Threads: a view holds all that was answered before it was opened ------------------------------------------------- */

static atomic_bool wanted, done;
static atomic_llong answered;

static void on_wanted(void *arg _unused_)
{
	atomic_store(&wanted, true);
}

static void *read_main(void *arg)
{
	struct store *s = arg;

	do {
		int64_t known = MAX((int64_t)atomic_load(&answered), store_revision(s));
		struct store_view *v;

		ASSERT(store_view_open(s, &v, NULL) == 0);
		ASSERT(view_revision(v) >= known);
		store_view_close(v);
	} while (!atomic_load(&done));
	return NULL;
}

static void test_threads(void **state _unused_)
{
	struct fixture f;
	pthread_t readers[2];
	char value[16];

	fixture_open(&f, NULL);
	f.seal = 100;
	store_on_wanted(f.store, on_wanted, NULL);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_main, f.store), 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(value, sizeof(value), "%d", i);
		atomic_store(&answered, put(&f, "k", value));
		if (atomic_exchange(&wanted, false))
			OK(store_settle(f.store, &e));
		arena_fini(&f.arena);
	}
	atomic_store(&done, true);
	/* Who waits now waits for this. */
	OK(store_settle(f.store, &e));
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	fixture_close(&f);
}

/* What a transaction holds in memory, as may_linger sees it: few keys stand on few pages, however often they are written. */
static void test_pages(void **state _unused_)
{
	static char large[5000];
	struct fixture f;
	char key[16];
	size_t n;

	fixture_open(&f, NULL);
	f.seal = 100;
	for (unsigned i = 0; i < 1000; i++)
		put(&f, "a", "1");
	n = store_batch_pages(f.store);
	assert_in_range(n, 1000 * 100 / 4096, 40);
	/* New ones fill pages: so many at the least, and no page twice. */
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%04u", i);
		put(&f, key, "1");
	}
	assert_in_range(store_batch_pages(f.store), n + 1000 * 2 * 60 / 4096, n + 60);
	n = store_batch_pages(f.store);
	memset(large, 'x', sizeof(large) - 1);
	for (unsigned i = 0; i < 100; i++)
		put(&f, "a", large);
	assert_in_range(store_batch_pages(f.store), n + 100 * 2, n + 100 * 5);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_seen),
			cmocka_unit_test(test_watched),
			cmocka_unit_test(test_undone),
			cmocka_unit_test(test_pages),
			cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
