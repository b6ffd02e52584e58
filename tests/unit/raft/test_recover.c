/* Snapshot files, members made from them, and a cluster brought back from one survivor. */
#include "tests/unit/raft/raftest.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "raft/recover.h"
#include "store/snapfile.h"
#include "store/store.h"

static void start(const char *dir, const char *name, struct kv **ret)
{
	struct kv_cfg cfg = {.data_dir = dir, .name = name, .nosync = true};

	OK(kv_start(&cfg, ret, &e));
	assert_true(kv_leader_wait(*ret, 60000));
	OK(kv_barrier_wait(*ret, &e));
}

/* A snapshot of some puts; the kv goes on. */
static char *save(struct kv *kv, const char *dir, struct snapfile_info *info)
{
	char *path = xasprintf("%s/a.snapshot", dir);

	for (int i = 0; i < 500; i++) {
		char key[16], value[4000];

		snprintf(key, sizeof(key), "k%d", i);
		memset(value, 'a' + i % 26, sizeof(value) - 1);
		value[sizeof(value) - 1] = '\0';
		OK(rt_put(kv, key, value, &e));
	}
	OK(rt_put(kv, "a", "1", &e));
	OK(snapfile_write(kv_store(kv), path, 1234, info, &e));
	return path;
}

static void test_file(void **state _unused_)
{
	char *dir = rt_dir(), *path;
	struct snapfile_info made, read;
	struct err why = ERR_INIT;
	struct kv *kv;
	uint8_t byte;
	int fd;

	OK(kv_local_start(dir, &kv, &e));
	path = save(kv, dir, &made);
	assert_true(made.chunks > 1);
	OK(snapfile_check(path, &read, &e));
	assert_true(read.revision == made.revision && read.applied.index == made.applied.index && read.bytes == made.bytes);
	assert_true(read.chunks == made.chunks && read.created_ms == 1234 && read.records > 500);
	/* Any flipped byte is found, and named; so is a missing end. */
	fd = open(path, O_RDWR);
	for (uint64_t at = 3; at < made.bytes; at += made.bytes / 50) {
		assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		assert_int_not_equal(snapfile_check(path, &read, &why), 0);
		assert_non_null(strstr(why.text, path));
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	}
	OK(snapfile_check(path, &read, &e));
	assert_int_equal(pwrite(fd, "x", 1, (off_t)made.bytes), 1);
	assert_int_equal(snapfile_check(path, &read, &why), -(int)ERR_CORRUPT);
	assert_int_equal(ftruncate(fd, (off_t)made.bytes - 1), 0);
	assert_int_equal(snapfile_check(path, &read, &why), -(int)ERR_CORRUPT);
	close(fd);
	kv_stop(kv);
	free(path);
	rt_dir_free(dir);
}

static void test_restore(void **state _unused_)
{
	char *dir = rt_dir(), *other = rt_dir(), *path, *fresh = xasprintf("%s/data", other);
	struct kv_restore_cfg cfg = {.data_dir = fresh, .name = "new", .addr = "127.0.0.1:1"};
	struct kv_status before, after;
	struct snapfile_info info;
	struct err why = ERR_INIT;
	struct kv *kv;

	OK(kv_local_start(dir, &kv, &e));
	path = save(kv, dir, &info);
	OK(rt_put(kv, "a", "later", &e));
	kv_status(kv, &before);
	kv_stop(kv);
	OK(kv_restore(&cfg, path, &info, &e));
	assert_int_equal(kv_restore(&cfg, path, &info, &why), -(int)ERR_ALREADY_EXISTS);
	start(fresh, "new", &kv);
	check_value(kv, "a", "1");
	kv_status(kv, &after);
	assert_true(after.cluster_id != before.cluster_id && after.member_id != before.member_id);
	assert_int_equal(after.n_members, 1);
	assert_string_equal(after.members[0].name, "new");
	OK(rt_put(kv, "a", "2", &e));
	kv_stop(kv);
	start(fresh, "new", &kv);
	check_value(kv, "a", "2");
	kv_stop(kv);
	free(path);
	free(fresh);
	rt_dir_free(dir);
	rt_dir_free(other);
}

/* What a member's store is after a restore with this number. */
static void restored(const char *path, const char *name, int64_t by, int64_t *ret_revision, uint64_t *ret_cluster, uint64_t *ret_hash)
{
	struct kv_peer peers[2] = {{.name = "n1", .addr = "127.0.0.1:1"}, {.name = "n2", .addr = "127.0.0.1:2"}};
	char *dir = rt_dir(), *data = xasprintf("%s/data", dir), *store_dir = xasprintf("%s/store", data);
	struct kv_restore_cfg cfg = {.data_dir = data, .name = name, .initial = peers, .n_initial = 2, .bump = by};
	struct store_cfg sc = {.dir = store_dir};
	struct snapfile_info info;
	struct store *s;

	OK(kv_restore(&cfg, path, &info, &e));
	OK(store_open(&sc, &s, &e));
	*ret_revision = store_revision(s);
	assert_int_equal(store_compact_revision(s), by ? *ret_revision : -1);
	*ret_cluster = store_cluster_id(s);
	*ret_hash = store_rolling_hash(s).hash;
	store_close(s);
	rt_dir_free(dir);
	free(data);
	free(store_dir);
}

static void test_restore_bumped(void **state _unused_)
{
	char *dir = rt_dir(), *path, *bad = xasprintf("%s/bad", dir);
	struct kv_restore_cfg cfg = {.data_dir = bad, .name = "n1", .addr = "127.0.0.1:1", .bump = INT64_MAX};
	int64_t rev[4];
	uint64_t cluster[4], hash[4];
	struct snapfile_info info;
	struct err why = ERR_INIT;
	struct kv *kv;

	OK(kv_local_start(dir, &kv, &e));
	path = save(kv, dir, &info);
	kv_stop(kv);
	restored(path, "n1", 1000, &rev[0], &cluster[0], &hash[0]);
	restored(path, "n2", 1000, &rev[1], &cluster[1], &hash[1]);
	restored(path, "n2", 1001, &rev[2], &cluster[2], &hash[2]);
	restored(path, "n2", 0, &rev[3], &cluster[3], &hash[3]);
	assert_true(rev[0] == info.revision + 1000 && rev[1] == rev[0] && rev[2] == rev[0] + 1 && rev[3] == info.revision);
	assert_true(cluster[0] == cluster[1] && hash[0] == hash[1]);
	/* Members that were raised by other numbers would hold other data: they are of another cluster. */
	assert_true(cluster[2] != cluster[0] && cluster[3] != cluster[0] && cluster[3] != cluster[2]);
	assert_int_equal(kv_restore(&cfg, path, &info, &why), -(int)ERR_INVALID);
	/* That left nothing in the way. */
	cfg.bump = 5;
	OK(kv_restore(&cfg, path, &info, &e));
	free(path);
	free(bad);
	rt_dir_free(dir);
}

/* One of three, with all that it had heard of; the others cannot speak to it again. */
static void test_recover(void **state _unused_)
{
	char *dir = rt_dir();
	struct kv_peer peers[3] = {{.name = "n1", .addr = "127.0.0.1:1"}, {.name = "n2", .addr = "127.0.0.1:2"}, {.name = "n3", .addr = "127.0.0.1:3"}};
	struct kv_recover_cfg cfg = {.data_dir = dir, .dry_run = true};
	struct kv_recover_report r;
	struct kv_status before, after;
	struct err why = ERR_INIT;
	char *old;
	struct kv *kv;

	/* A member of three that lost the others: made from a snapshot, so that it has something. */
	{
		char *first = rt_dir(), *path, *data = xasprintf("%s/data", first);
		struct kv_restore_cfg rc = {.data_dir = data, .name = "n1", .initial = peers, .n_initial = 3};
		struct snapfile_info info;

		OK(kv_local_start(first, &kv, &e));
		path = save(kv, first, &info);
		kv_stop(kv);
		OK(kv_restore(&rc, path, &info, &e));
		rt_dir_free(dir);
		dir = rt_dir();
		assert_int_equal(rmdir(dir), 0);
		assert_int_equal(rename(data, dir), 0);
		cfg.data_dir = dir;
		free(path);
		free(data);
		rt_dir_free(first);
	}
	{
		struct kv_cfg kc = {.data_dir = dir, .name = "n1", .nosync = true};

		OK(kv_start(&kc, &kv, &e));
		assert_int_equal(kv_recover(&cfg, &r, &why), -(int)ERR_FAILED_PRECONDITION); /* it runs */
		assert_false(kv_leader_wait(kv, 500));
		kv_status(kv, &before);
		kv_stop(kv);
	}
	OK(kv_recover(&cfg, &r, &e));
	assert_int_equal(r.n_members, 3);
	assert_string_equal(r.name, "n1");
	assert_true(r.old_cluster_id == before.cluster_id);
	assert_false(r.resumed);
	cfg.dry_run = false;
	OK(kv_recover(&cfg, &r, &e));
	assert_true(r.new_cluster_id != r.old_cluster_id);
	start(dir, "n1", &kv);
	check_value(kv, "a", "1");
	kv_status(kv, &after);
	assert_int_equal(after.n_members, 1);
	assert_true(after.cluster_id == r.new_cluster_id && after.member_id != before.member_id);
	assert_true(after.role.term > before.role.term);
	OK(rt_put(kv, "a", "2", &e));
	kv_stop(kv);
	old = xasprintf("%s/raft/recovering", dir);
	assert_int_not_equal(access(old, F_OK), 0);
	free(old);
	rt_dir_free(dir);
}

/* Entries that are only in the log, not in the store's checkpoint, come along. */
static void test_recover_log(void **state _unused_)
{
	char *dir = rt_dir(), *copy = rt_dir(), *cmd;
	struct kv_recover_cfg cfg = {.data_dir = copy, .bump = 1000};
	struct kv_recover_report r;
	int64_t revision;
	struct kv *kv;

	OK(kv_local_start(dir, &kv, &e));
	for (int i = 0; i < 300; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		OK(rt_put(kv, key, "v", &e));
	}
	/* As a crash would leave it: the last checkpoint is the one of the start. */
	cmd = xasprintf("rmdir %s && cp -r %s %s", copy, dir, copy);
	assert_int_equal(system(cmd), 0);
	free(cmd);
	revision = store_revision(kv_store(kv));
	kv_stop(kv);
	OK(kv_recover(&cfg, &r, &e));
	assert_int_equal(r.revision, revision + 1000);
	assert_true(r.last_index > r.checkpoint_index + 250);
	start(copy, "local", &kv);
	check_value(kv, "k299", "v");
	assert_int_equal(store_compact_revision(kv_store(kv)), revision + 1000);
	kv_stop(kv);
	rt_dir_free(dir);
	rt_dir_free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_restore),
		cmocka_unit_test(test_restore_bumped),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_recover_log),
	};

	log_set_level(getenv("RT_LOG") ? getenv("RT_LOG") : "error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
