/* A database file whose bytes change by themselves: found, named, not served, not sent to others; and a store that is given up. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store/common.h"

#define NEEDLE "the value that will rot away on the disk"

/* Flip one bit in each place where the text stands in the database file; how many. */
static int rot(struct fixture *f, const char *text)
{
	_cleanup_(freep) char *path = xasprintf("%s/db.1", f->dir);
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC), n = 0;
	char *bytes, *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	bytes = xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	for (p = bytes; (p = memmem(p, (size_t)(bytes + st.st_size - p), text, strlen(text))) != NULL; p++, n++) {
		*p ^= 4;
		assert_int_equal(pwrite(fd, p, 1, p - bytes), 1);
	}
	close(fd);
	free(bytes);
	return n;
}

static void *open_damaged(struct fixture *f)
{
	fixture_open(f, NULL);
	put(f, "a", "1");
	put(f, "b", NEEDLE);
	put(f, "c", "3");
	fixture_reopen(f, true);
	assert_true(rot(f, NEEDLE) > 0);
	return f;
}

static void test_read(void **state _unused_)
{
	struct fixture f;
	struct store_view *v;
	struct store_kv kv;
	struct err err = ERR_INIT;

	open_damaged(&f);
	assert_false(store_damage(f.store, &err));
	OK(store_view_open(f.store, &v, &e));
	OK(view_get(v, STR("a"), 0, &kv, &e));
	assert_false(store_damage(f.store, &err));
	assert_int_equal(view_get(v, STR("b"), 0, &kv, &err), -(int)ERR_CORRUPT);
	assert_non_null(strstr(err.text, "\"b\""));
	store_view_close(v);
	err_clear(&err);
	assert_true(store_damage(f.store, &err));
	assert_int_equal(err.code, ERR_CORRUPT);
	assert_non_null(strstr(err.text, "\"b\""));
	fixture_close(&f);
}

/* The CORRUPT alarm answers every request with the same code; that says nothing of this member's file. */
static void test_alarm(void **state _unused_)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__AlarmRequest a = ETCDSERVERPB__ALARM_REQUEST__INIT;
	struct buf out = BUF_INIT;
	struct store_view *v;
	struct fixture f;
	struct err err = ERR_INIT;

	fixture_open(&f, NULL);
	put(&f, "a", "1");
	c.op_case = RAFTPB__COMMAND__OP_ALARM;
	c.alarm = &a;
	a.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	a.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
	a.memberid = 1;
	(void)apply(&f, &c, &etcdserverpb__alarm_response__descriptor, NULL);
	OK(store_view_open(f.store, &v, &e));
	assert_int_equal(view_range_request(v, STR("\x0a\x01"
						   "a"), &out, &err), -(int)ERR_CORRUPT);
	store_view_close(v);
	assert_false(store_damage(f.store, &err));
	buf_fini(&out);
	fixture_close(&f);
}

/* Neither does the damage reach others in a snapshot, from a sender that looks or from one that does not. */
static void test_snapshot(void **state _unused_)
{
	struct fixture f;
	struct store_snapshot *sn;
	struct buf chunk = BUF_INIT;
	struct err err = ERR_INIT;
	bool last = false;
	int rc = 0;

	open_damaged(&f);
	OK(store_snapshot_open(f.store, &sn, &e));
	for (uint64_t n = 0; rc == 0 && !last; n++) {
		buf_clear(&chunk);
		rc = store_snapshot_chunk(sn, n, &chunk, &last, &err);
	}
	assert_int_equal(rc, -(int)ERR_CORRUPT);
	assert_non_null(strstr(err.text, "\"b\""));
	store_snapshot_close(sn);
	buf_fini(&chunk);
	assert_true(store_damage(f.store, &err));
	fixture_close(&f);
}

static void test_condemned(void **state _unused_)
{
	struct fixture f;
	struct store_cfg cfg = {0};
	struct err err = ERR_INIT;
	struct store *s;
	char *bad;

	open_damaged(&f);
	cfg.dir = f.dir;
	OK(store_condemn(f.store, "the record of key \"b\" is wrong", &e));
	store_abandon(TAKE(f.store));
	/* As often as one tries. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_open(&cfg, &s, &err), -(int)ERR_CORRUPT);
		assert_non_null(strstr(err.text, "key \"b\""));
	}
	bad = xasprintf("%s.bad", f.dir);
	for (int i = 0; i < 2; i++) {
		OK(store_set_aside(f.dir, &e));
		OK(store_open(&cfg, &s, &e));
		assert_int_equal(store_applied(s).index, 0);
		store_close(s);
		assert_int_equal(access(bad, F_OK), 0);
	}
	/* Nothing to put aside is no error. */
	OK(store_set_aside(f.dir, &e));
	OK(store_set_aside(f.dir, &e));
	remove_tree(bad);
	free(bad);
	OK(store_open(&cfg, &f.store, &e));
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_alarm),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_condemned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
