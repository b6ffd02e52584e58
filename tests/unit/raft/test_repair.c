/* Files that are damaged: what a member of three does about it by itself, and what one of fewer refuses to do. */
#include "tests/unit/raft/raftest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/repair.h"
#include "raft/stable.h"
#include "store/store.h"
#include "store/view.h"

/* Change a byte at `at` in a member's file. */
static void flip(const char *dir, const char *name, off_t at)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t b;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

static bool exists(const char *dir, const char *name)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static uint64_t id_of(struct kv *kv)
{
	struct kv_status s;

	kv_status(kv, &s);
	return s.member_id;
}

static bool votes_again(void *arg)
{
	struct cluster *c = ((void **)arg)[0];
	const char *dir = ((void **)arg)[1];

	for (int i = 0; i < 3; i++)
		if (!has_voters(&(struct expect){.kv = c->kv[i], .voters = 3}))
			return false;
	return !exists(dir, "raft/forgetful") && !exists(dir, "raft/rejoin");
}

/* Three members with a value; one that does not lead is stopped. */
static int begin(struct cluster *c, bool places_only)
{
	int who;

	memset(c, 0, sizeof(*c));
	cluster_start(c);
	c->places_only = places_only;
	assert_true(rt_wait(has_leader, c));
	OK(rt_put(c->kv[0], "a", "1", &e));
	who = (leader_of(c) + 1) % 3;
	OK(kv_barrier_wait(c->kv[who], &e));
	kv_stop(TAKE(c->kv[who]));
	return who;
}

/* It is whole again: has what was written before and after, and votes. */
static void end(struct cluster *c, int who)
{
	void *arg[] = {c, c->dirs[who]};

	assert_true(rt_wait(votes_again, arg));
	OK(rt_put(c->kv[who], "b", "2", &e));
	OK(kv_barrier_wait(c->kv[who], &e));
	check_value(c->kv[who], "a", "1");
	check_value(c->kv[who], "b", "2");
	cluster_stop(c);
}

static void test_store(void **state _unused_)
{
	struct cluster c;
	int who = begin(&c, false);
	uint64_t id;

	flip(c.dirs[who], "store/checkpoint", 50);
	OK(rt_put(c.kv[leader_of(&c)], "c", "3", &e));
	member_start(&c, who, false);
	id = id_of(c.kv[who]);
	assert_true(exists(c.dirs[who], "store.bad/checkpoint"));
	/* The same member: nothing but its state was lost. */
	assert_int_equal(id, id_of(c.kv[who]));
	end(&c, who);
}

static void ruin_vote(struct cluster *c, int who)
{
	flip(c->dirs[who], "raft/vote", 20);
	flip(c->dirs[who], "raft/vote", 4096 + 20);
}

static uint64_t stored_id(struct cluster *c, int who)
{
	_cleanup_(freep) char *dir = xasprintf("%s/raft", c->dirs[who]);
	struct disk_posix disk;
	struct stable s;
	uint64_t id;

	assert_int_equal(disk_posix_init(&disk, dir, true), 0);
	OK(stable_open(&s, &disk.disk, &e));
	id = s.member_id;
	stable_close(&s);
	disk_posix_fini(&disk);
	return id;
}

static void join_again(bool places_only)
{
	struct cluster c;
	int who = begin(&c, places_only);
	uint64_t before = stored_id(&c, who);

	ruin_vote(&c, who);
	member_start(&c, who, false);
	assert_int_not_equal(before, id_of(c.kv[who]));
	assert_true(exists(c.dirs[who], "raft/vote.bad"));
	end(&c, who);
}

static void test_vote(void **state _unused_)
{
	join_again(false);
}

/* As `kontiki etcd` does it: whoever joins needs a place. This one had it. */
static void test_vote_with_places(void **state _unused_)
{
	join_again(true);
}

/* One slot of two is enough. */
static void test_half_a_vote(void **state _unused_)
{
	struct cluster c;
	int who = begin(&c, false);
	uint64_t before = stored_id(&c, who);

	flip(c.dirs[who], "raft/vote", 4096 + 20);
	member_start(&c, who, false);
	assert_int_equal(before, id_of(c.kv[who]));
	end(&c, who);
}

static void test_identity(void **state _unused_)
{
	struct cluster c;
	int who = begin(&c, false);

	flip(c.dirs[who], "raft/member", 30);
	member_start(&c, who, false);
	end(&c, who);
}

/* The process dies between putting its files aside and being let in again: it never begins a cluster of its own. */
static void test_cut_off(void **state _unused_)
{
	_cleanup_(freep) char *raft = NULL, *store = NULL;
	struct disk_posix disk;
	struct cluster c;
	int who = begin(&c, false);
	struct err why = ERR_INIT;

	raft = xasprintf("%s/raft", c.dirs[who]);
	store = xasprintf("%s/store", c.dirs[who]);
	assert_int_equal(disk_posix_init(&disk, raft, true), 0);
	err_set(&why, ERR_CORRUPT, "raft/vote is damaged");
	assert_int_equal(repair_identity(&disk.disk, store, c.names[who], &why), 0);
	disk_posix_fini(&disk);
	assert_false(exists(c.dirs[who], "raft/member"));
	assert_true(exists(c.dirs[who], "raft/rejoin"));
	member_start(&c, who, false);
	end(&c, who);
}

/* A value that rots while the member runs: named, not served; the member stops, and started again it is mended. */
static bool is_mended(void *arg)
{
	struct expect *x = arg;
	struct store_view *v;
	struct store_kv kv;
	bool same;

	if (store_view_open(kv_store(x->kv), &v, NULL) != 0)
		return false;
	same = view_get(v, str_from(x->key), 0, &kv, NULL) == 0 && str_eq(kv.value, str_from(x->value));
	store_view_close(v);
	return same;
}

/* What rots while the member runs is not served, and mended while it runs. */
static void test_value(void **state _unused_)
{
	static const char needle[] = "a value that rots on the disk";
	struct cluster c;
	int who = begin(&c, false);
	_cleanup_(freep) char *path = xasprintf("%s/store/db.1", c.dirs[who]);
	struct store_view *v;
	struct store_kv kv;
	struct err why = ERR_INIT;
	struct stat st;
	char *bytes, *p;
	int fd;

	OK(rt_put(c.kv[leader_of(&c)], "rot", needle, &e));
	member_start(&c, who, false);
	OK(kv_barrier_wait(c.kv[who], &e));
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	bytes = xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	for (p = bytes; (p = memmem(p, (size_t)(bytes + st.st_size - p), needle, strlen(needle))) != NULL; p++)
		assert_int_equal(pwrite(fd, "A", 1, p - bytes), 1);
	close(fd);
	free(bytes);
	OK(store_view_open(kv_store(c.kv[who]), &v, &e));
	assert_int_equal(view_get(v, STR("rot"), 0, &kv, &why), -(int)ERR_CORRUPT);
	store_view_close(v);
	assert_non_null(strstr(why.text, "\"rot\""));
	assert_true(rt_wait(is_mended, &(struct expect){.kv = c.kv[who], .key = "rot", .value = needle}));
	pthread_mutex_lock(&c.lock);
	assert_int_equal(c.fatal.code, ERR_OK);
	pthread_mutex_unlock(&c.lock);
	kv_stop(TAKE(c.kv[who]));
	member_start(&c, who, false);
	assert_true(rt_wait(has_leader, &c));
	OK(kv_barrier_wait(c.kv[who], &e));
	check_value(c.kv[who], "rot", needle);
	end(&c, who);
}

/* Nobody else has it: the reason is told, and every file stays where it is. */
static void test_alone(void **state _unused_)
{
	static const char *const files[] = {"store/checkpoint", "raft/member"};
	char *dir = rt_dir();
	struct err why = ERR_INIT;
	struct kv *kv;

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		OK(kv_local_start(dir, &kv, &e));
		OK(rt_put(kv, "a", "1", &e));
		kv_stop(kv);
		flip(dir, files[i], 30);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(kv_local_start(dir, &kv, &why), -(int)ERR_CORRUPT);
			assert_non_null(strstr(why.text, "nobody else has what it has"));
			assert_non_null(strstr(why.text, "kontiki recover"));
		}
		assert_true(exists(dir, files[i]));
		assert_false(exists(dir, "raft/forgetful"));
		flip(dir, files[i], 30);
	}
	OK(kv_local_start(dir, &kv, &e));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "1");
	kv_stop(kv);
	rt_dir_free(dir);
}

/* The list of the others is damaged, too: no guess. */
static void test_unknown_others(void **state _unused_)
{
	struct cluster c;
	int who = begin(&c, false);
	struct err why = ERR_INIT;

	flip(c.dirs[who], "raft/peers", 20);
	flip(c.dirs[who], "store/checkpoint", 50);
	assert_int_equal(member_try(&c, who, false, &why), -(int)ERR_CORRUPT);
	assert_non_null(strstr(why.text, "raft/peers"));
	flip(c.dirs[who], "store/checkpoint", 50);
	/* By itself it is written anew. */
	member_start(&c, who, false);
	end(&c, who);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_vote),
		cmocka_unit_test(test_vote_with_places),
		cmocka_unit_test(test_half_a_vote),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_value),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_unknown_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
