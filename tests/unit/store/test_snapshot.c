/* Snapshots: out and in, with chunks lost, repeated, damaged; what views and watches see of the swap. */
#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/loop.h"
#include "store/watch.h"
#include "tests/unit/store/common.h"

static char *big_value(size_t n, int seed)
{
	char *p = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)('a' + (i * 7 + (size_t)seed) % 26);
	p[n] = '\0';
	return p;
}

/* Keys of all kinds, history, a lease, a tombstone; some values larger than a chunk. */
static void fill(struct fixture *f)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	char *value, *key;

	c.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	c.lease_grant = &g;
	g.id = 42;
	g.ttl = 100;
	(void)apply(f, &c, &etcdserverpb__lease_grant_response__descriptor, NULL);
	for (int i = 0; i < 300; i++) {
		char k[32];

		snprintf(k, sizeof(k), "key/%03d", i % 100);
		value = big_value(10 + (size_t)i * 37, i);
		put_lease(f, k, value, i % 3 ? 0 : 42, NULL);
		free(value);
	}
	value = big_value(1500000, 1);
	key = big_value(1800, 2);
	put(f, "large/1", value);
	put(f, "large/2", value);
	put(f, key, "long");
	del(f, "key/05", "key/06", NULL);
	assert_null(compact(f, 200));
	free(value);
	free(key);
}

static uint64_t hash(struct fixture *f)
{
	struct store_view *v;
	int64_t rev, compact_rev;
	uint64_t h;

	OK(store_view_open(f->store, &v, &e));
	OK(view_hash(v, 0, &h, &rev, &compact_rev, &e));
	store_view_close(v);
	return h;
}

static int files(struct fixture *f, const char *prefix)
{
	DIR *d = opendir(f->dir);
	struct dirent *ent;
	int n = 0;

	while ((ent = readdir(d)) != NULL)
		n += strncmp(ent->d_name, prefix, strlen(prefix)) == 0 && strstr(ent->d_name, "lock") == NULL;
	closedir(d);
	return n;
}

/* All chunks; every third one is asked for again, as after a broken connection. */
static void copy(struct fixture *from, struct store_install *in)
{
	struct store_snapshot *sn;
	struct buf chunk = BUF_INIT, again = BUF_INIT;
	bool last = false, in_last = false;

	OK(store_snapshot_open(from->store, &sn, &e));
	for (uint64_t n = 0; !last; n++) {
		struct str s;

		buf_clear(&chunk);
		OK(store_snapshot_chunk(sn, n, &chunk, &last, &e));
		assert_true(chunk.n <= STORE_CHUNK_MAX);
		if (n % 3 == 2) {
			bool l;

			buf_clear(&again);
			OK(store_snapshot_chunk(sn, n - 1, &again, &l, &e));
			buf_clear(&again);
			OK(store_snapshot_chunk(sn, n, &again, &l, &e));
			assert_true(str_eq(buf_str(&again), buf_str(&chunk)));
		}
		s = buf_str(&chunk);
		chunk.p[chunk.n / 2] ^= 1;
		assert_int_equal(store_install_chunk(in, s, &in_last, NULL), -ERR_CORRUPT);
		chunk.p[chunk.n / 2] ^= 1;
		assert_int_equal(store_install_next(in), n);
		OK(store_install_chunk(in, s, &in_last, &e));
		assert_int_equal(in_last, last);
		assert_int_equal(store_install_chunk(in, s, &in_last, NULL), -ERR_OUT_OF_RANGE);
	}
	store_snapshot_close(sn);
	buf_fini(&chunk);
	buf_fini(&again);
}

static void test_round_trip(void **state)
{
	struct fixture a, b;
	struct store_install *in;
	struct store_view *old;
	struct store_kv kv;
	struct buf blob = BUF_INIT;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	fill(&a);
	put(&b, "mine", "old");
	OK(store_begin(b.store, &e));
	OK(store_blob_put(b.store, false, "local", STR("mine"), &e));
	OK(store_blob_put(b.store, true, "shared", STR("mine"), &e));
	OK(store_commit(b.store, &e));
	OK(store_view_open(b.store, &old, &e));
	OK(store_install_begin(b.store, &in, &e));
	copy(&a, in);
	OK(store_install_sync(in, &e));
	OK(store_install_finish(in, &e));
	OK(view_get(old, STR("mine"), 0, &kv, &e)); /* an open view keeps the old state */
	assert_int_equal(files(&b, "db."), 2);
	store_view_close(old);
	assert_int_equal(files(&b, "db."), 1);
	assert_int_equal(hash(&a), hash(&b));
	assert_int_equal(store_applied(b.store).index, a.index);
	assert_int_equal(store_revision(b.store), store_revision(a.store));
	assert_int_equal(store_rolling_hash(b.store).hash, store_rolling_hash(a.store).hash);
	assert_int_equal(store_checkpointed(b.store).index, a.index);
	OK(store_blob_get(b.store, false, "local", &blob, &e));
	assert_true(str_eqc(buf_str(&blob), "mine"));
	assert_int_equal(store_blob_get(b.store, true, "shared", &blob, NULL), -ERR_NOT_FOUND);
	/* Both go on alike, and the copy is what a crash comes back to. */
	fixture_reopen(&b, false);
	assert_int_equal(b.index, a.index);
	for (int i = 0; i < 2; i++) {
		struct fixture *f = i ? &b : &a;
		bool more = true;

		put(f, "key/001", "after");
		del(f, "large/", "large0", NULL);
		assert_null(compact(f, 250));
		while (more)
			OK(store_work(f->store, &more, &e));
	}
	assert_int_equal(hash(&a), hash(&b));
	assert_int_equal(store_rolling_hash(b.store).hash, store_rolling_hash(a.store).hash);
	buf_fini(&blob);
	fixture_close(&a);
	fixture_close(&b);
}

static void test_refused_and_aborted(void **state)
{
	struct store_cfg cfg_a = {.cluster_id = 1, .no_sync = true}, cfg_b = {.cluster_id = 2, .no_sync = true};
	struct fixture a, b, c;
	struct store_install *in, *second;
	struct store_snapshot *sn;
	struct buf chunk = BUF_INIT;
	struct err bad = ERR_INIT;
	bool last;

	fixture_open(&a, &cfg_a);
	fixture_open(&b, &cfg_b);
	fixture_open(&c, NULL);
	fill(&a);
	put(&c, "c", "1");
	OK(store_snapshot_open(a.store, &sn, &e));
	assert_int_equal(store_snapshot_chunk(sn, 1, &chunk, &last, NULL), -ERR_OUT_OF_RANGE);
	OK(store_snapshot_chunk(sn, 0, &chunk, &last, &e));
	OK(store_install_begin(b.store, &in, &e));
	assert_int_equal(store_install_chunk(in, buf_str(&chunk), &last, &bad), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(bad.text, "cluster"));
	store_install_abort(in);
	assert_int_equal(files(&b, "db."), 1);
	/* Half a snapshot cannot be put in force; given up, nothing has happened. */
	OK(store_install_begin(c.store, &in, &e));
	assert_int_equal(store_install_begin(c.store, &second, NULL), -ERR_UNAVAILABLE);
	OK(store_install_chunk(in, buf_str(&chunk), &last, &e));
	assert_false(last);
	assert_int_equal(store_install_sync(in, NULL), -ERR_FAILED_PRECONDITION);
	store_install_abort(in);
	assert_string_equal(dump(&c, "c", NULL, 0), "c=1");
	store_snapshot_close(sn);
	buf_fini(&chunk);
	fixture_close(&a);
	fixture_close(&b);
	fixture_close(&c);
}

struct seen {
	struct watcher w;
	int64_t last, gone;
	size_t n;
};

static void seen_events(struct watcher *w, int64_t revision, const struct watch_event *const *ev, size_t n)
{
	struct seen *s = container_of(w, struct seen, w);

	for (size_t i = 0; i < n; i++) {
		assert_true(ev[i]->kv.mod_revision >= s->last);
		s->last = ev[i]->kv.mod_revision;
	}
	s->n += n;
}

static void seen_gone(struct watcher *w, int64_t compact_revision)
{
	container_of(w, struct seen, w)->gone = compact_revision;
}

static void test_watches_across_install(void **state)
{
	struct fixture a, b;
	struct store_install *in;
	struct loop *loop = loop_new("test");
	struct watch_hub *hub;
	struct seen passed = {.w = {.key = STR("\0"), .end = STR("\0"), .events = seen_events, .gone = seen_gone}};
	struct seen future = passed;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	fill(&a); /* compacted at 200 */
	hub = watch_hub_new(b.store, loop, 0);
	watch_start(hub, &passed.w, 0);
	watch_start(hub, &future.w, 250);
	OK(store_install_begin(b.store, &in, &e));
	copy(&a, in);
	OK(store_install_sync(in, &e));
	OK(store_install_finish(in, &e));
	b.index = a.index;
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 0);
	assert_int_equal(passed.gone, 200); /* it would have needed what is compacted */
	assert_int_equal(passed.n, 0);
	assert_int_equal(future.gone, 0);
	assert_int_equal(future.last, store_revision(b.store));
	assert_int_equal(watch_hub_revision(hub), store_revision(b.store));
	put(&b, "next", "1");
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 0);
	assert_int_equal(future.last, store_revision(b.store));
	watch_stop(&future.w);
	watch_hub_free(hub);
	loop_turn(loop, 0);
	loop_free(loop);
	fixture_close(&a);
	fixture_close(&b);
}

static void bump(struct fixture *f, int64_t by)
{
	OK(store_begin(f->store, &e));
	OK(store_bump_revision(f->store, by, &e));
	OK(store_commit(f->store, &e));
}

static void turns(struct loop *loop)
{
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 0);
}

/* A watcher that starts at `from`: where it is told that history begins, or 0. */
static int64_t gone_at(struct fixture *f, int64_t from)
{
	struct loop *loop = loop_new("test");
	struct watch_hub *hub = watch_hub_new(f->store, loop, 0);
	struct seen s = {.w = {.key = STR("\0"), .end = STR("\0"), .events = seen_events, .gone = seen_gone}};

	watch_start(hub, &s.w, from);
	turns(loop);
	assert_int_equal(s.n, 0);
	watch_stop(&s.w);
	watch_hub_free(hub);
	turns(loop);
	loop_free(loop);
	return s.gone;
}

/* Raised beyond what clients have seen: the same keys, at a revision of which all that is older is compacted. */
static void test_bump(void **state _unused_)
{
	struct fixture a, b, other;
	struct err why = ERR_INIT;
	int64_t was, now;
	char *before;
	bool more;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	fixture_open(&other, NULL);
	fill(&a);
	fill(&b);
	fill(&other);
	was = store_revision(a.store);
	now = was + 1000000;
	before = xstrdup(dump(&a, "key/000", "key/003", 0));
	bump(&a, 1000000);
	bump(&b, 1000000);
	bump(&other, 999999);
	assert_int_equal(store_revision(a.store), now);
	assert_int_equal(store_compact_revision(a.store), now);
	assert_string_equal(dump(&a, "key/000", "key/003", 0), before);
	assert_string_equal(dump(&a, "key/000", "key/003", now), before);
	assert_non_null(strstr(dump(&a, "key/000", "key/003", was), "has been compacted"));
	assert_int_equal(gone_at(&a, was + 1), now);
	/* A client of the store before, which was ahead of the backup. */
	assert_int_equal(gone_at(&a, was + 500), now);
	assert_int_equal(gone_at(&a, now + 1), 0);
	assert_true(hash(&a) == hash(&b));
	assert_true(store_rolling_hash(a.store).hash == store_rolling_hash(b.store).hash);
	assert_true(store_rolling_hash(a.store).hash != store_rolling_hash(other.store).hash);
	/* They go on alike, whoever removes what is compacted first; with the lease and its keys. */
	for (more = true; more;)
		OK(store_work(a.store, &more, &e));
	OK(store_checkpoint(a.store, &e));
	fixture_reopen(&a, false);
	assert_string_equal(dump(&a, "key/000", "key/003", 0), before);
	for (int i = 0; i < 2; i++) {
		struct fixture *f = i ? &b : &a;

		assert_int_equal(put_lease(f, "key/001", "after", 42, NULL), now + 1);
		assert_int_equal(del(f, "large/", "large0", NULL), now + 2);
	}
	assert_true(hash(&a) == hash(&b));
	assert_true(store_rolling_hash(a.store).hash == store_rolling_hash(b.store).hash);
	/* Nothing, and what cannot be. */
	now = store_revision(a.store);
	was = store_compact_revision(a.store);
	bump(&a, 0);
	OK(store_begin(a.store, &e));
	assert_int_equal(store_bump_revision(a.store, -1, &why), -ERR_INVALID);
	assert_int_equal(store_bump_revision(a.store, INT64_MAX, &why), -ERR_INVALID);
	OK(store_commit(a.store, &e));
	assert_int_equal(store_revision(a.store), now);
	assert_int_equal(store_compact_revision(a.store), was);
	free(before);
	fixture_close(&a);
	fixture_close(&b);
	fixture_close(&other);
}

/* After a failed checkpoint the store goes back to the one before, in a new file, and on from there as if replayed. */
static void test_rebase(void **state _unused_)
{
	struct fixture f;
	struct store_install *in;
	struct store_applied good;
	struct store_view *old;
	struct err why = ERR_INIT;
	uint64_t before, index;
	char *block;

	fixture_open(&f, NULL);
	fill(&f);
	OK(store_checkpoint(f.store, &e));
	good = store_applied(f.store);
	before = hash(&f);
	index = f.index;
	put(&f, "later", "1");
	OK(store_view_open(f.store, &old, &e));
	assert_false(store_needs_rebase(f.store));
	/* A directory in its way: the checkpoint's file cannot be written. */
	block = xasprintf("%s/checkpoint.new", f.dir);
	assert_int_equal(mkdir(block, 0700), 0);
	assert_int_not_equal(store_checkpoint(f.store, &why), 0);
	assert_true(store_needs_rebase(f.store));
	/* The first try fails as well, and leaves everything as it was. */
	OK(store_rebase_begin(f.store, &in, &e));
	assert_int_not_equal(store_install_finish(in, &why), 0);
	assert_true(store_needs_rebase(f.store));
	assert_int_equal(rmdir(block), 0);
	free(block);
	OK(store_rebase_begin(f.store, &in, &e));
	OK(store_install_finish(in, &e));
	assert_false(store_needs_rebase(f.store));
	assert_int_equal(store_applied(f.store).index, good.index);
	assert_int_equal(store_checkpointed(f.store).index, good.index);
	assert_true(hash(&f) == before);
	assert_string_equal(dump(&f, "later", NULL, 0), "");
	/* A view from before still sees what it saw. */
	assert_true(view_applied_index(old) > good.index);
	store_view_close(old);
	f.index = index;
	put(&f, "later", "1");
	OK(store_checkpoint(f.store, &e));
	put(&f, "lost", "1");
	fixture_reopen(&f, false);
	assert_string_equal(dump(&f, "later", NULL, 0), "later=1");
	assert_string_equal(dump(&f, "lost", NULL, 0), "");
	assert_int_equal(files(&f, "db."), 1);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_round_trip),
			cmocka_unit_test(test_refused_and_aborted),
			cmocka_unit_test(test_bump),
			cmocka_unit_test(test_rebase),
			cmocka_unit_test(test_watches_across_install),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
