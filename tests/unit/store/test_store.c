/* store/: etcd's rules one by one, and what a restart keeps. The random test against a model is test_model. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "store/record.h"
#include "tests/unit/store/common.h"

#define COMPACTED "etcdserver: mvcc: required revision has been compacted"
#define FUTURE "etcdserver: mvcc: required revision is a future revision"

static void test_put_get_history(void **state)
{
	struct fixture f;
	struct store_view *v;
	struct store_kv kv;
	int64_t n;

	fixture_open(&f, NULL);
	assert_int_equal(store_revision(f.store), 1);
	assert_int_equal(store_compact_revision(f.store), -1);
	assert_int_equal(put(&f, "a", "1"), 2);
	assert_int_equal(put(&f, "b", "2"), 3);
	assert_int_equal(put(&f, "a", "3"), 4);
	assert_int_equal(del(&f, "b", NULL, &n), 5);
	assert_int_equal(n, 1);
	assert_int_equal(del(&f, "zzz", NULL, &n), 5);
	assert_int_equal(n, 0);
	assert_int_equal(put(&f, "b", "4"), 6);
	assert_string_equal(dump(&f, "a", "z", 0), "a=3 b=4");
	assert_string_equal(dump(&f, "a", "", 5), "a=3");
	assert_string_equal(dump(&f, "a", "z", 4), "a=3 b=2");
	assert_string_equal(dump(&f, "a", "z", 3), "a=1 b=2");
	assert_string_equal(dump(&f, "a", "z", 2), "a=1");
	assert_string_equal(dump(&f, "a", "z", 1), "");
	assert_string_equal(dump(&f, "a", "z", 7), FUTURE);
	OK(store_view_open(f.store, &v, &e));
	OK(view_get(v, STR("a"), 0, &kv, &e));
	assert_int_equal(kv.create_revision, 2);
	assert_int_equal(kv.mod_revision, 4);
	assert_int_equal(kv.version, 2);
	OK(view_get(v, STR("b"), 0, &kv, &e));
	assert_int_equal(kv.create_revision, 6);
	assert_int_equal(kv.version, 1);
	assert_int_equal(view_get(v, STR("b"), 5, &kv, NULL), -ERR_NOT_FOUND);
	store_view_close(v);
	fixture_close(&f);
}

/* Over the quota, and below it again once what was deleted is gone from the file. */
static void test_quota(void **state)
{
	struct store_cfg cfg = {.no_sync = true, .quota_bytes = 2u << 20};
	char *value = xcalloc(1, 50001);
	struct fixture f;
	bool more = true;
	int i = 0;

	memset(value, 'x', 50000);
	fixture_open(&f, &cfg);
	for (; i < 100 && !store_over_quota(f.store); i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		put(&f, key, value);
	}
	/* Each stands twice: as the head and in the log. */
	assert_in_range(i, 10, 40);
	assert_null(compact(&f, del(&f, "k", "l", NULL)));
	for (i = 0; i < 1000 && more; i++)
		OK(store_work(f.store, &more, &e));
	put(&f, "a", "1");
	assert_false(store_over_quota(f.store));
	free(value);
	fixture_close(&f);
}

static void test_compaction(void **state)
{
	struct fixture f;
	struct store_stats st;
	bool more = true;

	fixture_open(&f, NULL);
	put(&f, "a", "1"); /* 2 */
	put(&f, "a", "2"); /* 3 */
	put(&f, "b", "1"); /* 4 */
	del(&f, "b", NULL, NULL); /* 5 */
	put(&f, "a", "3"); /* 6 */
	assert_string_equal(compact(&f, 7), FUTURE);
	assert_null(compact(&f, 5));
	assert_string_equal(compact(&f, 5), COMPACTED);
	assert_string_equal(dump(&f, "a", "z", 4), COMPACTED);
	assert_string_equal(dump(&f, "a", "z", 5), "a=2");
	assert_string_equal(dump(&f, "a", "z", 0), "a=3");
	assert_null(compact(&f, 6));
	while (more)
		OK(store_work(f.store, &more, &e));
	OK(store_stats(f.store, &st, &e));
	assert_int_equal(st.n_keys, 1); /* the tombstone of b is gone */
	assert_int_equal(st.n_log, 2);  /* the change at 6, and the value before it */
	assert_true(store_compacted_physically(f.store, 6));
	/* The change of the head was removed: it is made again. */
	put(&f, "c", "1"); /* 7 */
	put(&f, "c", "2"); /* 8 */
	assert_null(compact(&f, 8));
	put(&f, "a", "4"); /* 9 */
	assert_string_equal(dump(&f, "a", "z", 8), "a=3 c=2");
	assert_string_equal(dump(&f, "a", "z", 9), "a=4 c=2");
	fixture_close(&f);
}

static void test_restart(void **state)
{
	struct fixture f;

	fixture_open(&f, NULL);
	put(&f, "a", "1");
	fixture_reopen(&f, true);
	assert_int_equal(f.index, 1);
	assert_string_equal(dump(&f, "a", "z", 0), "a=1");
	put(&f, "a", "2");
	put(&f, "b", "2");
	fixture_reopen(&f, false); /* back to the checkpoint of the close */
	assert_int_equal(f.index, 1);
	assert_string_equal(dump(&f, "a", "z", 0), "a=1");
	put(&f, "a", "2");
	OK(store_checkpoint(f.store, &e));
	put(&f, "a", "3");
	fixture_reopen(&f, false);
	assert_int_equal(store_checkpointed(f.store).index, 2);
	assert_string_equal(dump(&f, "a", "z", 0), "a=2");
	fixture_close(&f);
}

static void test_foreign_directory(void **state)
{
	struct store_cfg cfg = {.cluster_id = 0xabc, .member_id = 1, .no_sync = true};
	struct fixture f;
	struct store *other;
	struct err bad = ERR_INIT;

	fixture_open(&f, &cfg);
	cfg.dir = f.dir;
	assert_int_equal(store_open(&cfg, &other, &bad), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(bad.text, "in use"));
	store_close(f.store);
	cfg.cluster_id = 0xdef;
	assert_int_equal(store_open(&cfg, &other, &bad), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(bad.text, "belongs to cluster"));
	cfg.cluster_id = 0xabc;
	cfg.member_id = 2;
	assert_int_equal(store_open(&cfg, &other, &bad), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(bad.text, "belongs to member"));
	cfg.member_id = 1;
	OK(store_open(&cfg, &f.store, &e));
	assert_int_equal(store_cluster_id(f.store), 0xabc);
	fixture_close(&f);
}

/* Overwrite one byte of `file` at `at`. */
static void poke(struct fixture *f, const char *file, long at, int xor)
{
	char *path = xasprintf("%s/%s", f->dir, file);
	FILE *fp = fopen(path, "r+");
	int c;

	assert_non_null(fp);
	fseek(fp, at, SEEK_SET);
	c = fgetc(fp);
	fseek(fp, at, SEEK_SET);
	fputc(c ^ xor, fp);
	fclose(fp);
	free(path);
}

/* As a program of another format would have written it. */
static void reformat_checkpoint(struct fixture *f, int xor)
{
	char *path = xasprintf("%s/checkpoint", f->dir);
	uint8_t bytes[1 << 17], crc[4];
	FILE *fp;
	size_t n;

	poke(f, "checkpoint", 8, xor);
	fp = fopen(path, "r+");
	assert_non_null(fp);
	n = fread(bytes, 1, sizeof(bytes), fp);
	put_le32(crc, crc32c(0, bytes, n - 4));
	fseek(fp, (long)n - 4, SEEK_SET);
	assert_int_equal(fwrite(crc, 1, 4, fp), 4);
	fclose(fp);
	free(path);
}

static void test_newer_and_damaged_checkpoint(void **state)
{
	struct fixture f;
	struct store_cfg cfg = {.no_sync = true};
	struct err bad = ERR_INIT;
	struct store *s;

	fixture_open(&f, NULL);
	store_close(f.store);
	cfg.dir = f.dir;
	reformat_checkpoint(&f, 2);
	assert_int_equal(store_open(&cfg, &s, &bad), -ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(bad.text, "newer version"));
	reformat_checkpoint(&f, 2);
	/* A flipped bit of the format is damage, not another format. */
	poke(&f, "checkpoint", 8, 2);
	assert_int_equal(store_open(&cfg, &s, &bad), -ERR_CORRUPT);
	poke(&f, "checkpoint", 8, 2);
	poke(&f, "checkpoint", 100, 1);
	assert_int_equal(store_open(&cfg, &s, &bad), -ERR_CORRUPT);
	poke(&f, "checkpoint", 100, 1);
	OK(store_open(&cfg, &f.store, &e));
	fixture_close(&f);
}

/* Bit rot in a value is named, and nothing of it is handed out. */
static void test_bit_rot(void **state)
{
	struct fixture f;
	struct store_cfg cfg = {.no_sync = true, .map_size = 1 << 28};
	struct store_view *v;
	struct store_kv kv;
	struct err bad = ERR_INIT;
	char *path, *big = xmalloc(10000), *file;
	FILE *fp;
	long size, at = -1;

	memset(big, 'x', 9999);
	big[9999] = '\0';
	memcpy(big + 5000, "NEEDLE", 6);
	fixture_open(&f, NULL);
	put(&f, "rotten", big);
	put(&f, "sound", "1");
	store_close(f.store);
	path = xasprintf("%s/db.1", f.dir);
	fp = fopen(path, "r");
	assert_non_null(fp);
	file = xmalloc(1 << 24);
	size = (long)fread(file, 1, 1 << 24, fp);
	fclose(fp);
	for (long i = 0; i + 6 < size; i++)
		if (memcmp(file + i, "NEEDLE", 6) == 0)
			at = i;
	assert_true(at > 0);
	poke(&f, "db.1", at, 1);
	cfg.dir = f.dir;
	OK(store_open(&cfg, &f.store, &e));
	OK(store_view_open(f.store, &v, &e));
	err_clear(&bad);
	assert_int_equal(view_get(v, STR("rotten"), 0, &kv, &bad), -ERR_CORRUPT);
	assert_non_null(strstr(bad.text, "rotten"));
	OK(view_get(v, STR("sound"), 0, &kv, &e));
	store_view_close(v);
	fixture_close(&f);
	free(big);
	free(file);
	free(path);
}

static void test_batch_and_rollback(void **state)
{
	struct fixture f;
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	struct store_view *v;
	struct str cmd;

	fixture_open(&f, NULL);
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = bin(&f.arena, "k");
	p.value = bin(&f.arena, "v");
	cmd = encode(&f.arena, &c.base);
	OK(store_begin(f.store, &e));
	for (uint64_t i = 1; i <= 10; i++)
		OK(store_apply(f.store, i, 3, cmd, NULL, &e));
	OK(store_skip(f.store, 12, 4, &e));
	assert_int_not_equal(store_apply(f.store, 12, 4, cmd, NULL, NULL), 0);
	assert_int_equal(store_revision(f.store), 1); /* not yet */
	OK(store_commit(f.store, &e));
	assert_int_equal(store_revision(f.store), 11);
	assert_int_equal(store_applied(f.store).index, 12);
	assert_int_equal(store_applied(f.store).term, 4);
	OK(store_begin(f.store, &e));
	OK(store_apply(f.store, 13, 4, cmd, NULL, &e));
	store_rollback(f.store);
	assert_int_equal(store_applied(f.store).index, 12);
	assert_int_equal(store_revision(f.store), 11);
	/* Who was promised entry 13 before it was undone is not shown less. */
	OK(store_view_open_at(f.store, 12, &v, &e));
	store_view_close(v);
	assert_int_equal(store_view_open_at(f.store, 13, &v, NULL), -ERR_UNAVAILABLE);
	fixture_close(&f);
}

static void test_garbage_commands(void **state)
{
	struct fixture f;
	struct buf out = BUF_INIT, deep = BUF_INIT;
	struct store_result r;
	struct err bad = ERR_INIT;
	struct str cases[3] = {STR(""), STR("\xff\xff\xff"), STR("\x5a\x02\x0a\x00")};

	fixture_open(&f, NULL);
	for (int i = 0; i < 3; i++) {
		buf_clear(&out);
		OK(store_begin(f.store, &e));
		OK(store_apply(f.store, ++f.index, 1, cases[i], &out, &e));
		OK(store_commit(f.store, &e));
		OK(store_result_parse(buf_str(&out), &r, &e));
		assert_int_equal(r.grpc_code, 3);
		assert_int_not_equal(store_result_err(&r, &bad), 0);
		assert_int_not_equal(store_command_check(cases[i], &bad), 0);
	}
	/* Transactions in transactions, 100,000 deep: refused before anything recurses. */
	for (int i = 0; i < 100000; i++) {
		struct buf outer = BUF_INIT;
		uint8_t head[24];
		size_t n = 0, lens[2] = {deep.n, 0};

		if (deep.n > 60000)
			break;
		/* txn{success: op{request_txn: inner}} */
		head[n++] = 0x22; /* 4, length-delimited */
		for (size_t v = lens[0]; ; v >>= 7) {
			head[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
			if (v <= 0x7f)
				break;
		}
		lens[1] = n + deep.n;
		buf_add1(&outer, 0x12);
		for (size_t v = lens[1]; ; v >>= 7) {
			buf_add1(&outer, (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)));
			if (v <= 0x7f)
				break;
		}
		buf_add(&outer, head, n);
		buf_adds(&outer, buf_str(&deep));
		buf_fini(&deep);
		deep = outer;
	}
	assert_false(store_txn_is_readonly(buf_str(&deep)));
	buf_fini(&deep);
	buf_fini(&out);
	fixture_close(&f);
}

static void test_lease(void **state)
{
	struct fixture f;
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseRevokeRequest rv = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	Etcdserverpb__LeaseGrantResponse *gr;
	const char *text = NULL;
	int64_t ids[4], left, granted;

	fixture_open(&f, NULL);
	c.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	c.lease_grant = &g;
	g.id = 7;
	g.ttl = 10;
	gr = (Etcdserverpb__LeaseGrantResponse *)apply(&f, &c, &etcdserverpb__lease_grant_response__descriptor, NULL);
	assert_int_equal(gr->id, 7);
	assert_int_equal(gr->ttl, 10);
	assert_int_equal(gr->header->revision, 1);
	assert_null(apply(&f, &c, &etcdserverpb__lease_grant_response__descriptor, &text));
	assert_string_equal(text, "etcdserver: lease already exists");
	g.id = 0;
	g.ttl = 9000000001;
	assert_null(apply(&f, &c, &etcdserverpb__lease_grant_response__descriptor, &text));
	assert_string_equal(text, "etcdserver: too large lease TTL");
	g.ttl = 5;
	gr = (Etcdserverpb__LeaseGrantResponse *)apply(&f, &c, &etcdserverpb__lease_grant_response__descriptor, NULL);
	assert_true(gr->id > 0);
	assert_int_equal(put_lease(&f, "x", "1", 99, &text), 0);
	assert_string_equal(text, "etcdserver: requested lease not found");
	put_lease(&f, "b", "1", 7, NULL);
	put_lease(&f, "a", "1", 7, NULL);
	put_lease(&f, "c", "1", 7, NULL);
	put(&f, "c", "2"); /* detached */
	/* Deadlines: only a leader has them; a lease that was granted late gets its time from the next tick on. */
	assert_int_equal(store_leases_expired(f.store, 1000000, ids, 4), 0);
	store_leases_promote(f.store, 1000, 500);
	assert_int_equal(store_leases_next(f.store), 1000 + 500 + 5000);
	assert_int_equal(store_leases_expired(f.store, 6499, ids, 4), 0);
	assert_int_equal(store_leases_expired(f.store, 6500, ids, 4), 1);
	assert_int_equal(ids[0], gr->id);
	assert_int_equal(store_lease_renew(f.store, gr->id, 6500), 0);
	assert_int_equal(store_lease_renew(f.store, 7, 6500), 10);
	store_lease_ttl(f.store, 7, 7500, &left, &granted);
	assert_int_equal(left, 9);
	assert_int_equal(granted, 10);
	/* Revoke: the keys go in one revision. */
	c.op_case = RAFTPB__COMMAND__OP_LEASE_REVOKE;
	c.lease_revoke = &rv;
	rv.id = 7;
	(void)apply(&f, &c, &etcdserverpb__lease_revoke_response__descriptor, NULL);
	assert_int_equal(store_revision(f.store), 6);
	assert_string_equal(dump(&f, "a", "z", 0), "c=2");
	assert_null(apply(&f, &c, &etcdserverpb__lease_revoke_response__descriptor, &text));
	assert_string_equal(text, "etcdserver: requested lease not found");
	fixture_reopen(&f, true);
	store_leases_promote(f.store, 0, 0);
	assert_int_equal(store_leases_expired(f.store, 5000, ids, 4), 1);
	fixture_close(&f);
}

static void test_alarm(void **state)
{
	struct fixture f;
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__AlarmRequest a = ETCDSERVERPB__ALARM_REQUEST__INIT;
	Etcdserverpb__AlarmResponse *r;
	const char *text = NULL;

	fixture_open(&f, NULL);
	put(&f, "a", "1");
	c.op_case = RAFTPB__COMMAND__OP_ALARM;
	c.alarm = &a;
	a.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	a.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
	a.memberid = 5;
	r = (Etcdserverpb__AlarmResponse *)apply(&f, &c, &etcdserverpb__alarm_response__descriptor, NULL);
	assert_int_equal(r->n_alarms, 1);
	put_lease(&f, "a", "2", 0, &text);
	assert_string_equal(text, "etcdserver: mvcc: database space exceeded");
	del(&f, "a", NULL, NULL);
	assert_null(compact(&f, 3));
	fixture_reopen(&f, true);
	put_lease(&f, "a", "2", 0, &text);
	assert_string_equal(text, "etcdserver: mvcc: database space exceeded");
	a.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
	(void)apply(&f, &c, &etcdserverpb__alarm_response__descriptor, NULL);
	put(&f, "a", "2");
	fixture_close(&f);
}

/* A full disk, played by a limit of the file's size: the batch is as if it had never been, and works once there is room. */
static void test_full_disk(void **state)
{
	struct fixture f;
	struct rlimit old, low;
	struct err bad = ERR_INIT;
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	struct str cmd;
	char *value = xmalloc(100000);
	int rc = 0;

	fixture_open(&f, NULL);
	put(&f, "a", "1");
	memset(value, 'x', 99999);
	value[99999] = '\0';
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = bin(&f.arena, "zbig");
	p.value = bin(&f.arena, value);
	cmd = encode(&f.arena, &c.base);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 400000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	for (int i = 0; i < 20 && rc == 0; i++) {
		OK(store_begin(f.store, &e));
		OK(store_apply(f.store, f.index + 1, 1, cmd, NULL, &e));
		rc = store_commit(f.store, &bad);
		f.index += rc == 0;
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(rc == -ERR_NO_SPACE || rc == -ERR_IO);
	assert_int_equal(store_applied(f.store).index, f.index);
	assert_int_equal(store_revision(f.store), (int64_t)f.index + 1);
	assert_string_equal(dump(&f, "a", NULL, 0), "a=1");
	put(&f, "b", "2");
	assert_int_equal(store_revision(f.store), (int64_t)f.index + 1);
	fixture_reopen(&f, true);
	assert_string_equal(dump(&f, "a", "c", 0), "a=1 b=2");
	free(value);
	fixture_close(&f);
}

/* Keys around and beyond LMDB's limit keep their order and stay apart. */
static void test_long_keys(void **state)
{
	static const size_t sizes[] = {1, 509, 510, 511, 512, 1011, 1012, 1013, 1014, 1015, 2000, 100000};
	struct fixture f;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct str last = STR_NULL;
	int n = 0, rc;

	fixture_open(&f, NULL);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (int tail = 0; tail < 4; tail++) {
			char *key = xmalloc(sizes[i] + 1);

			memset(key, 'k', sizes[i]);
			key[sizes[i]] = '\0';
			key[sizes[i] - 1] = "\x01kz\x7f"[tail];
			put(&f, key, "v");
			free(key);
		}
	}
	OK(store_view_open(f.store, &v, &e));
	view_iter_init(&it, v, STR("\0"), STORE_TO_END, 0, 0);
	while ((rc = view_iter_next(&it, &kv, NULL)) == 1) {
		struct store_kv again;

		assert_true(str_cmp(last, kv.key) < 0);
		last = kv.key;
		n++;
		OK(view_get(v, kv.key, 0, &again, &e));
		assert_true(str_eq(again.key, kv.key));
	}
	assert_int_equal(rc, 0);
	assert_int_equal(n, 4 * (int)ARRAY_LEN(sizes));
	store_view_close(v);
	{
		struct store_stats st;
		int64_t deleted;

		del(&f, "a", "", &deleted);
		assert_int_equal(deleted, n - 1); /* one begins with 0x01 */
		assert_null(compact(&f, store_revision(f.store)));
		put(&f, "zz", "1");
		assert_null(compact(&f, store_revision(f.store)));
		OK(store_stats(f.store, &st, &e));
		assert_int_equal(st.n_keys, 2); /* and no node is left */
	}
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_put_get_history),
			cmocka_unit_test(test_quota),
			cmocka_unit_test(test_compaction),
			cmocka_unit_test(test_restart),
			cmocka_unit_test(test_foreign_directory),
			cmocka_unit_test(test_newer_and_damaged_checkpoint),
			cmocka_unit_test(test_bit_rot),
			cmocka_unit_test(test_batch_and_rollback),
			cmocka_unit_test(test_garbage_commands),
			cmocka_unit_test(test_lease),
			cmocka_unit_test(test_alarm),
			cmocka_unit_test(test_full_disk),
			cmocka_unit_test(test_long_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
