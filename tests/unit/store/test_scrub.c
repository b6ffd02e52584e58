/*
 * Passes through the file: whatever was written and deleted, all is well; whatever changes on the disk then, either it is found or it
 * changes nothing that can be read.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store-priv.h"
#include "tests/unit/store/common.h"

/* Repeatable, and not LMDB's business. */
static uint64_t rng = 88172645463325252ULL;
static uint64_t below(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

/* A whole pass: 0, or the error of what was found. */
static int pass(struct fixture *f, size_t max_pages, unsigned *ret_stretches, struct err *e)
{
	struct store_scrub at = {0};
	bool done = false, head;
	int rc = 0;

	for (*ret_stretches = 0; rc == 0 && !done; ++*ret_stretches)
		rc = store_scrub(f->store, &at, max_pages, &done, &head, e);
	return rc;
}

static void expect_well(struct fixture *f, size_t max_pages)
{
	unsigned n;

	OK(pass(f, max_pages, &n, &e));
	assert_false(store_damage(f->store, NULL));
	/* All in one, or many. */
	if (max_pages > 1000000)
		assert_int_equal(n, 1);
}

static char *text(size_t n, uint64_t seed)
{
	char *s = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)('a' + (seed + i * 7 + i / 100) % 26);
	s[n] = '\0';
	return s;
}

static void key_of(uint64_t i, char *out, size_t size)
{
	if (i % 23 == 0)
		snprintf(out, size, "long/%0*d/%06d", 300 + (int)(i % 5) * 150, 0, (int)i);
	else
		snprintf(out, size, "/registry/things/%06d", (int)(i * 7919 % 100000));
}

static size_t value_size(void)
{
	switch (below(12)) {
	case 0:
		return 2000 + below(200);
	case 1:
		return 4000 + below(9000);
	default:
		return below(300);
	}
}

static void write_some(struct fixture *f, unsigned n, unsigned keys)
{
	char key[2000];

	for (unsigned i = 0; i < n; i++) {
		key_of(below(keys), key, sizeof(key));
		if (below(5) == 0) {
			int64_t gone;

			del(f, key, NULL, &gone);
		} else {
			char *v = text(value_size(), below(1000));

			put(f, key, v);
			free(v);
		}
	}
}

/* Every shape that LMDB's pages take on the way: splits, merges, values that move out of their page and back. */
static void test_well(void **state _unused_)
{
	struct fixture f;

	fixture_open(&f, NULL);
	expect_well(&f, 1);
	for (unsigned round = 0; round < 30; round++) {
		f.seal = round % 3 == 0 ? 70 : 0;
		write_some(&f, 100, round < 20 ? 1500 : 200);
		if (round % 7 == 6)
			compact(&f, store_revision(f.store) - 50);
		if (round == 25) {
			int64_t n;

			del(&f, "/registry", "/registrz", &n);
		}
		if (round % 10 == 9) {
			OK(store_checkpoint(f.store, &e));
			fixture_reopen(&f, round % 20 == 9);
		}
		expect_well(&f, round % 2 ? 2 + below(40) : 1000001);
	}
	fixture_close(&f);
}

/* A stretch ends where it was told to, and the pass comes to its end all the same, also when everything changes below it. */
static void test_stretches(void **state _unused_)
{
	struct store_scrub at = {0};
	struct fixture f;
	bool done = false, head;
	unsigned n = 0;
	uint64_t before = 0;

	fixture_open(&f, NULL);
	write_some(&f, 1500, 1000);
	while (!done) {
		OK(store_scrub(f.store, &at, 10, &done, &head, &e));
		if (n > 0 && !done)
			assert_true(at.pages - before <= 10 + 8 + 12);
		before = at.pages;
		write_some(&f, 5, 1000);
		assert_true(++n < 10000);
	}
	assert_true(n > 20);
	fixture_close(&f);
}

/* --- Damage ------------------------------------------------------------------------------------------------------------------ */

static char *db_path(struct fixture *f)
{
	return xasprintf("%s/db.1", f->dir);
}

/* What can be read, by every way there is: each key by itself, in order, and the history. */
static uint64_t all_there(struct fixture *f, unsigned keys)
{
	struct store_view *v;
	struct store_kv kv;
	char key[2000];
	uint64_t h = 0;
	int64_t rev, compact_rev;

	OK(store_view_open(f->store, &v, &e));
	OK(view_hash(v, 0, &h, &rev, &compact_rev, &e));
	for (unsigned i = 0; i < keys; i++) {
		struct err e = ERR_INIT;
		int rc;

		key_of(i, key, sizeof(key));
		rc = view_get(v, str_from(key), 0, &kv, &e);
		if (rc != 0)
			assert_int_equal(rc, -(int)ERR_NOT_FOUND);
		h = h * 31 + (rc == 0 ? (uint64_t)kv.mod_revision * 1000003 + kv.value.n : 7);
	}
	store_view_close(v);
	return h;
}

/* The store forgets what it found; the file is mended by the caller. */
static void forget(struct fixture *f)
{
	free(atomic_exchange(&f->store->env->damage, NULL));
}

#define KEYS 200

static int found(struct fixture *f)
{
	struct err e = ERR_INIT;
	unsigned n;
	int rc = pass(f, 500, &n, &e);

	if (rc != 0)
		assert_int_equal(rc, -(int)ERR_CORRUPT);
	if (store_damage(f->store, NULL) != (rc != 0))
		fail_msg("%s", e.text);
	return rc != 0;
}

static int open_filled(struct fixture *f, off_t *ret_size)
{
	_cleanup_(freep) char *path = NULL;
	struct stat st;
	int fd;

	fixture_open(f, NULL);
	/* Checkpoints in between, so that pages are used again and few are free. */
	for (unsigned i = 0; i < 30; i++) {
		write_some(f, 12, KEYS);
		OK(store_checkpoint(f->store, &e));
	}
	path = db_path(f);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*ret_size = st.st_size;
	expect_well(f, 1000001);
	return fd;
}

/* One bit anywhere: found, or all can be read as before. Asking LMDB is safe only then. */
static void test_bits(void **state _unused_)
{
	struct fixture f;
	unsigned n_found = 0;
	uint64_t before;
	off_t size;
	int fd = open_filled(&f, &size);

	before = all_there(&f, KEYS);
	for (unsigned i = 0; i < 300; i++) {
		off_t at = 8192 + (off_t)below((uint64_t)size - 8192);
		uint8_t old, b;

		/* Heads of pages and the places of their nodes more often than by chance. */
		if (i % 2)
			at = at / 4096 * 4096 + (off_t)below(120);
		assert_int_equal(pread(fd, &old, 1, at), 1);
		b = old ^ (uint8_t)(1u << below(8));
		assert_int_equal(pwrite(fd, &b, 1, at), 1);
		if (found(&f))
			n_found++;
		else if (all_there(&f, KEYS) != before)
			fail_msg("a bit at %lld was not found, and what is read has changed", (long long)at);
		assert_int_equal(pwrite(fd, &old, 1, at), 1);
		forget(&f);
	}
	assert_true(n_found > 100);
	assert_int_equal(all_there(&f, KEYS), before);
	close(fd);
	fixture_close(&f);
}

enum kind { ZEROS, NOISE, OTHER_PAGE, HEAD_LEFT };

/* A whole page is not what it was: found if it is in use, and nothing is ever believed of it that makes us fall over. */
static void lose_pages(enum kind kind)
{
	struct fixture f;
	unsigned n_found = 0, n = 0;
	uint8_t old[4096], now[4096];
	uint64_t before;
	off_t size;
	int fd = open_filled(&f, &size);

	before = all_there(&f, KEYS);
	for (off_t at = 8192; at < size; at += 4096, n++) {
		assert_int_equal(pread(fd, old, sizeof(old), at), sizeof(old));
		memset(now, 0, sizeof(now));
		if (kind == OTHER_PAGE)
			assert_int_equal(pread(fd, now, sizeof(now), 8192 + (off_t)below((uint64_t)(size - 8192) / 4096) * 4096), sizeof(now));
		for (size_t i = 0; (kind == NOISE || kind == HEAD_LEFT) && i < sizeof(now); i++)
			now[i] = i < 16 && kind == HEAD_LEFT ? old[i] : (uint8_t)below(256);
		if (memcmp(old, now, sizeof(old)) == 0)
			continue;
		assert_int_equal(pwrite(fd, now, sizeof(now), at), sizeof(now));
		if (found(&f))
			n_found++;
		else if (all_there(&f, KEYS) != before)
			fail_msg("a lost page %lld was not found", (long long)at / 4096);
		assert_int_equal(pwrite(fd, old, sizeof(old), at), sizeof(old));
		forget(&f);
	}
	/* The rest is free. */
	assert_true(n_found > 100);
	close(fd);
	fixture_close(&f);
}

static void test_zeros(void **state _unused_)
{
	lose_pages(ZEROS);
}

static void test_noise(void **state _unused_)
{
	lose_pages(NOISE);
	lose_pages(HEAD_LEFT);
}

static void test_wrong_page(void **state _unused_)
{
	lose_pages(OTHER_PAGE);
}

static void test_cut(void **state _unused_)
{
	struct fixture f;
	off_t size;
	int fd = open_filled(&f, &size);

	assert_int_equal(ftruncate(fd, size / 2), 0);
	assert_true(found(&f));
	/* What is mapped is not there any more, so LMDB must not look at it. */
	assert_int_equal(ftruncate(fd, size), 0);
	forget(&f);
	close(fd);
	store_abandon(TAKE(f.store));
	fixture_close(&f);
}

/* The file `checkpoint` is written anew by the next checkpoint, so it is not the store that is damaged. */
static void test_head(void **state _unused_)
{
	struct fixture f;
	struct store_scrub at = {0};
	struct err err = ERR_INIT;
	_cleanup_(freep) char *path = NULL;
	bool done, head;
	int fd;

	fixture_open(&f, NULL);
	write_some(&f, 10, 10);
	OK(store_checkpoint(f.store, &e));
	path = xasprintf("%s/checkpoint", f.dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 100), 1);
	close(fd);
	assert_int_equal(store_scrub(f.store, &at, 1000, &done, &head, &err), -(int)ERR_CORRUPT);
	assert_true(head);
	assert_false(store_damage(f.store, NULL));
	OK(store_checkpoint(f.store, &e));
	expect_well(&f, 1000001);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_well), cmocka_unit_test(test_stretches), cmocka_unit_test(test_bits),
			cmocka_unit_test(test_zeros), cmocka_unit_test(test_noise), cmocka_unit_test(test_wrong_page),
			cmocka_unit_test(test_cut), cmocka_unit_test(test_head),
	};

	/* Thousands of findings. */
	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
