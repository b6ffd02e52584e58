/* store/bolt: a store written as etcd's database file and read into another one is the same store; damage is found. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "io/x509.h"
#include "store/auth.h"
#include "store/bolt.h"
#include "store/record.h"
#include "tests/unit/store/common.h"

static int64_t grant(struct fixture *f, int64_t id)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest m = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

	m.id = id;
	m.ttl = 77;
	c.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	c.lease_grant = &m;
	assert_non_null(apply(f, &c, &etcdserverpb__lease_grant_response__descriptor, NULL));
	return id;
}

static void add_user(struct fixture *f, const char *name)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__AuthUserAddRequest m = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;

	m.name = (char *)(uintptr_t)name;
	m.hashedpassword = (char *)(uintptr_t) "aGFzaA==";
	c.op_case = RAFTPB__COMMAND__OP_USER_ADD;
	c.user_add = &m;
	assert_non_null(apply(f, &c, &etcdserverpb__auth_user_add_response__descriptor, NULL));
}

/* The whole file; with_sum: as a backup has it. */
static char *save(struct fixture *f, bool with_sum)
{
	char *path = xasprintf("%s/etcd.db", f->dir);
	struct buf b = BUF_INIT;
	struct bolt_out *out;
	struct store_view *v;
	bool last = false;
	uint8_t sum[32];
	uint64_t size;
	int fd;

	OK(store_view_open(f->store, &v, &e));
	OK(bolt_out_new(v, &out, &e));
	size = bolt_out_size(out);
	while (!last)
		OK(bolt_out_next(out, &b, &last, &e));
	bolt_out_free(out);
	store_view_close(v);
	assert_int_equal(b.n, size);
	if (with_sum) {
		x509_sha256(buf_str(&b), sum);
		buf_add(&b, sum, sizeof(sum));
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.p, b.n), b.n);
	close(fd);
	buf_fini(&b);
	return path;
}

static int load(const char *path, struct fixture *to, struct bolt_import *ret, struct err *e)
{
	struct bolt_in *in;
	int rc;

	if (!bolt_is(path))
		return err_set(e, ERR_CORRUPT, "its first bytes are wrong");
	rc = bolt_in_open(path, &in, e);
	if (rc != 0)
		return rc;
	rc = bolt_import(in, to->store, ret, e);
	bolt_in_close(in);
	return rc;
}

static void fill(struct fixture *f, int n)
{
	char key[64], value[600], *big = xcalloc(1, 300001), *longer = xcalloc(1, 1201);

	memset(big, 'b', 300000);
	memset(longer, 'l', 1200);
	memset(value, 'v', sizeof(value));
	put(f, big, "a long key");
	put(f, longer, big);
	grant(f, 9);
	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "key/%d", i * 7919 % 997);
		value[i % 500] = '\0';
		if (i % 11 == 3)
			del(f, key, i % 3 ? NULL : "key/5", NULL);
		else
			put_lease(f, key, value, i % 13 == 0 ? 9 : 0, NULL);
		value[i % 500] = 'v';
	}
	add_user(f, "root");
	add_user(f, "somebody");
	free(big);
	free(longer);
}

static bool count(void *arg, struct str name _unused_)
{
	++*(int *)arg;
	return true;
}

static int lease_keys(struct fixture *f, int64_t id)
{
	struct store_view *v;
	int n = 0;

	OK(store_view_open(f->store, &v, &e));
	OK(view_lease_keys(v, id, count, &n, &e));
	store_view_close(v);
	return n;
}

static int users(struct fixture *f)
{
	struct store_view *v;
	int n = 0;

	OK(store_view_open(f->store, &v, &e));
	OK(view_auth_users(v, count, &n, &e));
	store_view_close(v);
	return n;
}

static uint64_t hash(struct fixture *f, int64_t rev)
{
	int64_t at, compact_rev;
	struct store_view *v;
	uint64_t h = 0;

	OK(store_view_open(f->store, &v, &e));
	OK(view_hash(v, rev, &h, &at, &compact_rev, &e));
	store_view_close(v);
	return h;
}

static bool add_kv(void *arg, const struct store_kv *kv)
{
	buf_printf(arg, "%.*s=%.*s %lld %lld %lld %lld\n", STR_FMT(kv->key), STR_FMT(kv->value), (long long)kv->create_revision,
			(long long)kv->mod_revision, (long long)kv->version, (long long)kv->lease);
	return true;
}

/* All that can be read at a revision. */
static char *content(struct fixture *f, int64_t rev)
{
	struct buf b = BUF_INIT;
	struct store_view *v;

	OK(store_view_open(f->store, &v, &e));
	OK(view_range(v, STR("\0"), STORE_TO_END, rev, 0, add_kv, &b, NULL, &e));
	store_view_close(v);
	buf_add1(&b, '\n');
	return buf_take(&b, NULL);
}

static void same(struct fixture *a, struct fixture *b)
{
	int64_t now = store_revision(a->store), from = store_compact_revision(a->store);

	assert_int_equal(store_revision(b->store), now);
	assert_int_equal(store_compact_revision(b->store), from);
	for (int64_t rev = MAX(from, 1); rev <= now; rev += MAX(1, (now - from) / 7)) {
		char *want = content(a, rev), *got = content(b, rev);

		assert_true(strcmp(got, want) == 0);
		free(want);
		free(got);
		assert_true(hash(a, rev) == hash(b, rev));
	}
	assert_int_equal(lease_keys(a, 9), lease_keys(b, 9));
	assert_int_equal(users(a), users(b));
}

static void round_trip(int n, int64_t keep, bool removed, bool with_sum, int64_t by)
{
	struct bolt_import info = {0};
	struct fixture a, b;
	bool more = true;
	char *path;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	if (n > 0)
		fill(&a, n);
	if (keep >= 0)
		assert_null(compact(&a, store_revision(a.store) - keep));
	OK(store_begin(a.store, &e));
	OK(store_bump_revision(a.store, by, &e));
	OK(store_commit(a.store, &e));
	while (removed && more)
		OK(store_work(a.store, &more, &e));
	path = save(&a, with_sum);
	OK(load(path, &b, &info, &e));
	b.index = store_applied(b.store).index;
	assert_int_equal(info.revision, store_revision(a.store));
	same(&a, &b);
	/* And it lives on: new writes, compaction of what came over. */
	put(&a, "key/1", "after");
	put(&b, "key/1", "after");
	assert_null(compact(&a, store_revision(a.store)));
	assert_null(compact(&b, store_revision(b.store)));
	for (more = true; more;)
		OK(store_work(b.store, &more, &e));
	same(&a, &b);
	unlink(path);
	free(path);
	fixture_close(&a);
	fixture_close(&b);
}

static void test_round_trip(void **state)
{
	round_trip(0, -1, false, true, 0);
	round_trip(1, -1, false, false, 0);
	round_trip(3000, -1, false, true, 0);
	round_trip(3000, 500, true, true, 0);
	round_trip(3000, 500, false, true, 0);
	round_trip(3000, 0, true, false, 0);
	/* Raised beyond its last key: what is compacted says how far it is. */
	round_trip(3000, -1, true, true, 1000000000);
	round_trip(3000, 500, false, true, 7);
}

/* The file with the last revision's key gone, as etcdutl's --bump-revision writes one: a revision without a key. */
static void empty_revision(const char *path, int64_t rev)
{
	int fd = open(path, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t *p = xmalloc((size_t)size), want[17] = {0};
	bool done = false;

	assert_int_equal(pread(fd, p, (size_t)size, 0), size);
	put_be64(want, (uint64_t)rev);
	want[8] = '_';
	for (size_t at = 0; at + sizeof(want) <= (size_t)size; at++) {
		if (memcmp(p + at, want, sizeof(want)) != 0)
			continue;
		/* A leaf's elements {flags, position from here, key size, value size} are before its keys, on the same page. */
		for (size_t el = at / 4096 * 4096 + 16; el + 16 <= at; el += 16)
			if (!done && el + get_le32(p + el + 4) == at && get_le32(p + el + 8) == sizeof(want)) {
				put_le32(p + el + 12, 0);
				done = true;
			}
	}
	assert_true(done);
	assert_int_equal(pwrite(fd, p, (size_t)size, 0), size);
	close(fd);
	free(p);
}

static void test_empty_revision(void **state _unused_)
{
	struct bolt_import info;
	struct fixture a, b;
	int64_t rev;
	char *path;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	put(&a, "a", "1");
	put(&a, "b", "2");
	rev = put(&a, "c", "3");
	path = save(&a, false);
	empty_revision(path, rev);
	OK(load(path, &b, &info, &e));
	assert_int_equal(info.revision, rev);
	assert_int_equal(info.n_revisions, 2);
	b.index = store_applied(b.store).index;
	assert_string_equal(dump(&b, "a", "z", 0), "a=1 b=2");
	assert_int_equal(put(&b, "c", "4"), rev + 1);
	unlink(path);
	free(path);
	fixture_close(&a);
	fixture_close(&b);
}

/* A byte anywhere: with the checksum it is found; without, nothing worse than an error or other data happens. */
static void test_damage(void **state)
{
	struct bolt_import info;
	struct fixture a;
	char *path;
	off_t size;
	int fd, found = 0;

	fixture_open(&a, NULL);
	fill(&a, 400);
	for (int pass = 0; pass < 2; pass++) {
		path = save(&a, pass == 0);
		fd = open(path, O_RDWR);
		size = lseek(fd, 0, SEEK_END);
		for (int i = 0; i < 120; i++) {
			/* The structure is at the beginning of each page. */
			off_t at = i < 60 ? (off_t)i * 4096 % size + i * 5 % 48 : (off_t)((uint64_t)i * 2654435761u % (uint64_t)size);
			struct fixture b;
			struct err e = ERR_INIT;
			uint8_t was, now;

			assert_int_equal(pread(fd, &was, 1, at), 1);
			now = (uint8_t)(was ^ (1u << i % 8));
			assert_int_equal(pwrite(fd, &now, 1, at), 1);
			fixture_open(&b, NULL);
			if (load(path, &b, &info, &e) != 0)
				found++;
			else
				assert_int_equal(pass, 1);
			fixture_close(&b);
			assert_int_equal(pwrite(fd, &was, 1, at), 1);
		}
		close(fd);
		unlink(path);
		free(path);
	}
	assert_in_range(found, 121, 239);
	fixture_close(&a);
}

static void test_refusals(void **state)
{
	struct bolt_import info;
	struct err e = ERR_INIT;
	struct fixture a, b;
	char *path;

	fixture_open(&a, NULL);
	fixture_open(&b, NULL);
	put(&a, "a", "1");
	path = save(&a, true);
	assert_int_equal(load(path, &a, &info, &e), -ERR_FAILED_PRECONDITION);
	assert_int_equal(truncate(path, 5000), 0);
	assert_int_equal(load(path, &b, &info, &e), -ERR_CORRUPT);
	assert_int_equal(truncate(path, 0), 0);
	assert_false(bolt_is(path));
	unlink(path);
	free(path);
	fixture_close(&a);
	fixture_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_round_trip),
			cmocka_unit_test(test_empty_revision),
			cmocka_unit_test(test_damage),
			cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
