/* One member and three members in one process: writes, barriers, restart, failover, joining and leaving. */
#include "tests/unit/raft/raftest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "io/tls.h"
#include "proto/raft.pb-c.h"
#include "store/store.h"
#include "store/view.h"

static bool has_no_value(void *arg)
{
	struct expect *x = arg;
	char *v = rt_get(x->kv, x->key);
	bool ok = v == NULL;

	free(v);
	return ok;
}

static void propose(struct kv *kv, Raftpb__Command *cmd)
{
	struct buf b = BUF_INIT;
	size_t size = protobuf_c_message_get_packed_size(&cmd->base);

	protobuf_c_message_pack(&cmd->base, (uint8_t *)buf_reserve(&b, size));
	buf_advance(&b, size);
	OK(kv_propose_wait(kv, buf_str(&b), NULL, NULL, &e));
	buf_fini(&b);
}

static void test_single(void **state _unused_)
{
	char *dir = rt_dir();
	struct kv_status s;
	struct kv *kv;

	OK(kv_local_start(dir, &kv, &e));
	OK(rt_put(kv, "a", "1", &e));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "1");
	for (int i = 0; i < 100; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		OK(rt_put(kv, key, "x", &e));
	}
	kv_status(kv, &s);
	assert_true(s.role.leader);
	assert_int_equal(s.n_members, 1);
	assert_string_equal(s.role.leader_name, "local");
	kv_stop(kv);

	OK(kv_local_start(dir, &kv, &e));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "1");
	check_value(kv, "k99", "x");
	OK(rt_put(kv, "a", "2", &e));
	check_value(kv, "a", "2");
	kv_stop(kv);
	rt_dir_free(dir);
}

static bool has_checkpoint(const char *data_dir, int64_t lease)
{
	char *dir = xasprintf("%s/store", data_dir);
	struct store *store;
	bool has;

	OK(store_open(&(struct store_cfg){.dir = dir}, &store, &e));
	has = store_lease_has_checkpoint(store, lease);
	store_close(store);
	free(dir);
	return has;
}

static struct kv *start_with_checkpoints(const char *dir, unsigned ms)
{
	struct kv_cfg cfg = {.data_dir = dir, .name = "local", .nosync = true, .compact_keep_ms = UINT_MAX, .lease_checkpoint_ms = ms};
	struct kv *kv;

	OK(kv_start(&cfg, &kv, &e));
	assert_true(kv_leader_wait(kv, 60000));
	return kv;
}

static bool has_applied(void *arg)
{
	struct expect *x = arg;
	struct kv_status s;

	kv_status(x->kv, &s);
	return s.applied_index > x->voters;
}

/* What a lease has left is noted in the log; who renews it has the note taken back before the renewal is answered. */
static void test_lease_checkpoint(void **state _unused_)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	char *dir = rt_dir();
	struct kv_status s;
	int64_t left;
	struct kv *kv = start_with_checkpoints(dir, 1000);

	grant.id = 77;
	grant.ttl = 1000;
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	cmd.lease_grant = &grant;
	propose(kv, &cmd);
	/* Nothing else is written. */
	OK(kv_barrier_wait(kv, &e));
	kv_status(kv, &s);
	assert_true(rt_wait(has_applied, &(struct expect){.kv = kv, .voters = s.applied_index + 1}));
	kv_stop(kv);
	assert_true(has_checkpoint(dir, 77));
	kv = start_with_checkpoints(dir, 1000000);
	OK(kv_lease_wait(kv, 77, false, &left, &e));
	assert_in_range(left, 1, 1000);
	OK(kv_lease_wait(kv, 77, true, &left, &e));
	assert_int_equal(left, 1000);
	kv_stop(kv);
	assert_false(has_checkpoint(dir, 77));
	rt_dir_free(dir);
}

/* A lease ends by a proposal of the leader, and takes its keys along. */
static void test_lease(void **state _unused_)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	char *dir = rt_dir();
	struct kv *kv;

	OK(kv_local_start(dir, &kv, &e));
	grant.id = 77;
	grant.ttl = 1;
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	cmd.lease_grant = &grant;
	propose(kv, &cmd);
	put.key = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t)"soon"};
	put.value = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t)"gone"};
	put.lease = 77;
	cmd.op_case = RAFTPB__COMMAND__OP_PUT;
	cmd.put = &put;
	propose(kv, &cmd);
	check_value(kv, "soon", "gone");
	assert_true(rt_wait(has_no_value, &(struct expect){.kv = kv, .key = "soon"}));
	kv_stop(kv);
	rt_dir_free(dir);
}

static void test_errors(void **state _unused_)
{
	char *dir = rt_dir(), *big = xmalloc(KV_MAX_COMMAND + 1);
	struct kv_cfg cfg = {.data_dir = dir, .name = "other", .nosync = true};
	struct err why = ERR_INIT;
	struct kv *kv, *second;

	OK(kv_local_start(dir, &kv, &e));
	memset(big, 'x', KV_MAX_COMMAND + 1);
	assert_int_equal(kv_propose_wait(kv, str_of(big, KV_MAX_COMMAND + 1), NULL, NULL, &why), -(int)ERR_TOO_LARGE);
	assert_int_not_equal(kv_propose_wait(kv, STR("\377\377\377"), NULL, NULL, &why), 0);
	/* Its directory is in use, and belongs to a member of another name. */
	assert_int_equal(kv_local_start(dir, &second, &why), -(int)ERR_FAILED_PRECONDITION);
	kv_stop(kv);
	assert_int_equal(kv_start(&cfg, &kv, &why), -(int)ERR_FAILED_PRECONDITION);
	assert_non_null(strstr(why.text, "\"local\""));
	free(big);
	rt_dir_free(dir);
}

/* --- Three members ----------------------------------------------------------------------------------------- */

static bool has_value(void *arg)
{
	struct expect *x = arg;
	char *v = rt_get(x->kv, x->key);
	bool ok = v && strcmp(v, x->value) == 0;

	free(v);
	return ok;
}

static void test_three(void **state _unused_)
{
	struct cluster c;
	int leader, other;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	for (int i = 0; i < 3; i++) {
		/* Followers forward, and read what they wrote. */
		OK(rt_put(c.kv[i], "key", c.names[i], &e));
		OK(kv_barrier_wait(c.kv[i], &e));
		check_value(c.kv[i], "key", c.names[i]);
	}
	leader = leader_of(&c);
	kv_stop(c.kv[leader]);
	c.kv[leader] = NULL;
	assert_true(rt_wait(has_leader, &c));
	other = leader_of(&c);
	assert_int_not_equal(leader, other);
	OK(rt_put(c.kv[other], "key", "after", &e));
	member_start(&c, leader, false);
	assert_true(rt_wait(has_value, &(struct expect){.kv = c.kv[leader], .key = "key", .value = "after"}));
	OK(kv_barrier_wait(c.kv[leader], &e));
	cluster_stop(&c);
}

static void check_lease(struct kv *kv, int64_t lease, bool renew, int64_t least, int64_t most)
{
	int64_t left = -2;

	OK(kv_lease_wait(kv, lease, renew, &left, &e));
	assert_in_range(left + 1, least + 1, most + 1);
}

/* A lease's time is the leader's: every member learns it from there, and a new leader begins it anew. */
static void test_lease_time(void **state _unused_)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	struct err why = ERR_INIT;
	struct cluster c;
	int64_t left;
	int leader;

	grant.id = 7;
	grant.ttl = 60;
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	cmd.lease_grant = &grant;
	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	propose(c.kv[0], &cmd);
	for (int i = 0; i < 3; i++) {
		check_lease(c.kv[i], 7, false, 50, 60);
		check_lease(c.kv[i], 7, true, 60, 60);
		check_lease(c.kv[i], 8, true, -1, -1);
	}
	leader = leader_of(&c);
	kv_stop(c.kv[leader]);
	c.kv[leader] = NULL;
	for (int i = 0; i < 3; i++)
		if (c.kv[i])
			check_lease(c.kv[i], 7, true, 60, 60);
	/* Alone, nobody can prove that it leads. */
	leader = leader_of(&c);
	for (int i = 0; i < 3; i++)
		if (c.kv[i] && i != leader) {
			kv_stop(c.kv[i]);
			c.kv[i] = NULL;
		}
	assert_int_equal(kv_lease_wait(c.kv[leader], 7, true, &left, &why), -(int)ERR_TIMEOUT);
	cluster_stop(&c);
}

static void test_join_and_leave(void **state _unused_)
{
	struct cluster c;
	struct kv_status s;
	struct err why = ERR_INIT;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	OK(rt_put(c.kv[0], "a", "1", &e));
	member_start(&c, 3, true);
	for (int i = 0; i < 4; i++)
		assert_true(rt_wait(has_voters, &(struct expect){.kv = c.kv[i], .voters = 4}));
	OK(kv_barrier_wait(c.kv[3], &e));
	check_value(c.kv[3], "a", "1");
	kv_status(c.kv[3], &s);
	OK(kv_transfer_wait(c.kv[leader_of(&c)], s.member_id, &e));
	assert_true(kv_leader_wait(c.kv[3], 60000));
	OK(kv_transfer_wait(c.kv[3], 0, &e));
	OK(kv_member_remove_wait(c.kv[0], s.member_id, &e));
	assert_true(rt_wait(has_voters, &(struct expect){.kv = c.kv[0], .voters = 3}));
	assert_int_equal(kv_member_remove_wait(c.kv[0], s.member_id, &why), -(int)ERR_NOT_FOUND);
	OK(rt_put(c.kv[1], "a", "2", &e));
	cluster_stop(&c);
}

static bool is_learner(void *arg)
{
	struct expect *x = arg;
	struct kv_status s;

	kv_status(x->kv, &s);
	for (size_t i = 0; i < s.n_members; i++)
		if (strcmp(s.members[i].name, x->key) == 0)
			return s.members[i].learner && s.members[i].role == KV_LEARNER && s.members[i].started;
	return false;
}

/* etcd's way: a place is made first, as a learner; the member that starts with its address takes it and keeps the id. */
static bool has_four(void *arg)
{
	struct kv_status s;

	kv_status(arg, &s);
	return s.n_members == 4;
}

static void test_reserved_place(void **state _unused_)
{
	struct cluster c;
	struct kv_status s;
	struct err why = ERR_INIT;
	enum kv_why reason;
	uint64_t id = 0;
	int leader, rv;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	OK(kv_member_add_wait(c.kv[1], &(struct kv_peer){.addr = c.addrs[3], .learner = true}, &id, &e));
	kv_status(c.kv[leader_of(&c)], &s);
	assert_int_equal(s.n_members, 4);
	assert_false(s.members[3].started);
	assert_true(s.members[3].learner);
	assert_int_equal(kv_member_add_wait(c.kv[1], &(struct kv_peer){.addr = c.addrs[3]}, &id, &why),
			 -(int)ERR_ALREADY_EXISTS);
	assert_int_equal(kv_member_promote_wait(c.kv[0], s.members[3].id, &reason, &why), -(int)ERR_FAILED_PRECONDITION);
	assert_int_equal(reason, KV_WHY_LEARNER_LAGS);
	assert_int_equal(kv_member_promote_wait(c.kv[0], 4711, &reason, &why), -(int)ERR_NOT_FOUND);
	assert_int_equal(reason, KV_WHY_NOT_FOUND);

	member_start(&c, 3, true);
	assert_true(rt_wait(is_learner, &(struct expect){.kv = c.kv[leader_of(&c)], .key = "n4"}));
	OK(rt_put(c.kv[3], "a", "1", &e));
	/* The leader's answer may be here before the new member has applied what it is about. */
	assert_true(rt_wait(has_four, c.kv[3]));
	kv_status(c.kv[3], &s);
	assert_int_equal(s.member_id, s.members[3].id);
	/* It stays a learner until somebody says otherwise; anybody may be asked. */
	leader = leader_of(&c);
	for (int i = 0; i < 3000 && (rv = kv_member_promote_wait(c.kv[(leader + 1) % 3], s.member_id, &reason, &why)) != 0; i++) {
		/* Or nobody leads for a moment. */
		if (rv == -(int)ERR_FAILED_PRECONDITION)
			assert_int_equal(reason, KV_WHY_LEARNER_LAGS);
		usleep(20000);
	}
	assert_true(rt_wait(has_voters, &(struct expect){.kv = c.kv[leader], .voters = 4}));
	assert_int_equal(kv_member_promote_wait(c.kv[0], s.member_id, &reason, &why), -(int)ERR_FAILED_PRECONDITION);
	assert_int_equal(reason, KV_WHY_NOT_LEARNER);
	OK(kv_member_update_wait(c.kv[0], s.member_id, &(struct kv_peer){.url = "https://other:1"}, &e));
	kv_status(c.kv[leader_of(&c)], &s);
	assert_string_equal(s.members[3].url, "https://other:1");
	assert_string_equal(s.members[3].addr, c.addrs[3]);
	cluster_stop(&c);
}

/* A member that is lost with its data comes back under its name, by starting it: the dead one is replaced. */
static void test_replace(void **state _unused_)
{
	struct cluster c;
	int leader, gone;
	struct kv_status s;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	OK(rt_put(c.kv[0], "a", "1", &e));
	leader = leader_of(&c);
	gone = (leader + 1) % 3;
	kv_stop(c.kv[gone]);
	rt_dir_free(c.dirs[gone]);
	c.dirs[gone] = rt_dir();
	member_start(&c, gone, true);
	assert_true(rt_wait(has_voters, &(struct expect){.kv = c.kv[gone], .voters = 3}));
	check_value(c.kv[gone], "a", "1");
	kv_status(c.kv[gone], &s);
	assert_int_equal(s.n_members, 3);
	cluster_stop(&c);
}

struct moved {
	struct cluster *c;
	const char *name, *addr;
};

static bool is_known_at(void *arg)
{
	struct moved *x = arg;
	struct kv_status s;

	for (int k = 0; k < 3; k++) {
		kv_status(x->c->kv[k], &s);
		for (size_t i = 0; i < s.n_members; i++)
			if (strcmp(s.members[i].name, x->name) == 0 &&
			    (strcmp(s.members[i].addr, x->addr) != 0 || strcmp(s.members[i].zone, "east") != 0))
				return false;
	}
	return true;
}

/* A member starts again at another address and in another zone: it is found, and the cluster learns it. */
static void test_new_address(void **state _unused_)
{
	struct cluster c;
	int who;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	OK(rt_put(c.kv[0], "a", "1", &e));
	who = (leader_of(&c) + 1) % 3;
	kv_stop(c.kv[who]);
	free_port(c.addrs[who]);
	c.zone = "east";
	member_start(&c, who, false);
	assert_true(rt_wait(is_known_at, &(struct moved){&c, c.names[who], c.addrs[who]}));
	OK(rt_put(c.kv[who], "a", "2", &e));
	OK(kv_barrier_wait(c.kv[who], &e));
	check_value(c.kv[who], "a", "2");
	cluster_stop(&c);
}

static bool file_is_large(void *arg)
{
	struct kv_status s;

	kv_status(arg, &s);
	return s.store_bytes > (20u << 20) && store_compacted_physically(kv_store(arg), store_compact_revision(kv_store(arg)));
}

static int rt_compact(struct kv *kv, struct err *e)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	struct buf b = BUF_INIT;
	size_t size;
	int rc;

	c.revision = store_revision(kv_store(kv));
	cmd.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	cmd.compaction = &c;
	size = protobuf_c_message_get_packed_size(&cmd.base);
	protobuf_c_message_pack(&cmd.base, (uint8_t *)buf_reserve(&b, size));
	buf_advance(&b, size);
	rc = kv_propose_wait(kv, buf_str(&b), NULL, NULL, e);
	buf_fini(&b);
	return rc;
}

static void *write_on(void *arg)
{
	struct expect *x = arg;
	struct err why = ERR_INIT;

	for (int i = 0; !__atomic_load_n(&x->voters, __ATOMIC_SEQ_CST); i++) {
		char key[16], value[16];

		snprintf(key, sizeof(key), "w%d", i % 100);
		snprintf(value, sizeof(value), "%d", i);
		if (rt_put(x->kv, key, value, &why) != 0)
			return why.text[0] ? (void *)1 : NULL;
	}
	return NULL;
}

/* The file shrinks while writes go on, and nothing is lost, also after a start. */
struct shrunk {
	struct kv *kv;
	uint64_t below;
};

/* A copy that is made while what was compacted is still being removed has it, too: so it is copied again. */
static bool copy_is_small(void *arg)
{
	struct shrunk *x = arg;
	struct kv_status s;

	OK(kv_defragment_wait(x->kv, &e));
	kv_status(x->kv, &s);
	return s.store_bytes < x->below;
}

static void test_defragment(void **state _unused_)
{
	char *dir = rt_dir(), *big = xmalloc(100001);
	struct expect x = {.key = "stop"};
	struct kv_status before;
	pthread_t writer;
	void *failed;
	struct kv *kv;

	memset(big, 'x', 100000);
	big[100000] = '\0';
	OK(kv_local_start(dir, &kv, &e));
	for (int i = 0; i < 300; i++)
		OK(rt_put(kv, "big", big, &e));
	OK(rt_compact(kv, &e));
	OK(rt_put(kv, "a", "1", &e));
	assert_true(rt_wait(file_is_large, kv));
	kv_status(kv, &before);
	x.kv = kv;
	assert_int_equal(pthread_create(&writer, NULL, write_on, &x), 0);
	assert_true(rt_wait(copy_is_small, &(struct shrunk){kv, before.store_bytes / 4}));
	__atomic_store_n(&x.voters, 1, __ATOMIC_SEQ_CST);
	pthread_join(writer, &failed);
	assert_null(failed);
	check_value(kv, "a", "1");
	check_value(kv, "big", big);
	OK(rt_put(kv, "a", "2", &e));
	kv_stop(kv);
	OK(kv_local_start(dir, &kv, &e));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "2");
	check_value(kv, "big", big);
	kv_stop(kv);
	free(big);
	rt_dir_free(dir);
}

static bool has_corrupt_alarm(void *arg)
{
	struct kv_status s;

	kv_status(arg, &s);
	return (s.alarms & KV_ALARM_CORRUPT) != 0;
}

/* Of all members, key is called corrupt, and nobody else. */
static bool differs_alone(void *arg)
{
	struct expect *x = arg;
	struct kv_status s;
	bool alone = true;

	kv_status(x->kv, &s);
	for (size_t i = 0; i < s.n_members; i++)
		alone = alone && ((s.members[i].alarms & KV_ALARM_CORRUPT) != 0) == (strcmp(s.members[i].name, x->key) == 0);
	return alone;
}

/* A member that applied something else than the others is found by its hash, and nothing is served until somebody looked. */
static void test_corrupt(void **state _unused_)
{
	struct cluster c;
	struct kv_status s;
	struct store_cfg sc = {0};
	struct buf command = BUF_INIT;
	struct store *store;
	struct err why = ERR_INIT;
	char *dir;
	int who, leader;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	OK(rt_put(c.kv[0], "a", "1", &e));
	leader = leader_of(&c);
	who = (leader + 1) % 3;
	OK(kv_barrier_wait(c.kv[who], &e));
	kv_status(c.kv[who], &s);
	kv_stop(c.kv[who]);
	/* As if it had applied another entry than the next one of the log. */
	sc.dir = dir = xasprintf("%s/store", c.dirs[who]);
	OK(store_open(&sc, &store, &e));
	rt_put_command(&command, "a", "wrong");
	OK(store_begin(store, &e));
	OK(store_apply(store, store_applied(store).index + 1, s.role.term, buf_str(&command), NULL, &e));
	OK(store_commit(store, &e));
	store_close(store);
	free(dir);
	buf_fini(&command);
	member_start(&c, who, false);
	OK(rt_put(c.kv[leader], "a", "2", &e));
	assert_true(rt_wait(has_corrupt_alarm, c.kv[leader]));
	assert_int_equal(rt_put(c.kv[leader], "a", "3", &why), -(int)ERR_CORRUPT);
	/* Another one may lead by now: this one sees the difference by itself, too. */
	assert_true(rt_wait(differs_alone, &(struct expect){.kv = c.kv[leader], .key = c.names[who]}));
	cluster_stop(&c);
}

static bool has_no_alarm(void *arg)
{
	struct kv_status s;

	kv_status(arg, &s);
	return s.alarms == 0;
}

/* Flip a bit of the text wherever it stands in the member's database file, while it is in use. */
static void rot_text(const char *data_dir, const char *text)
{
	char *path = xasprintf("%s/store/db.1", data_dir), *bytes, *p;
	int fd = open(path, O_RDWR | O_CLOEXEC), n = 0;
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	bytes = xmalloc((size_t)st.st_size);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	for (p = bytes; (p = memmem(p, (size_t)(bytes + st.st_size - p), text, strlen(text))) != NULL; p++, n++) {
		*p ^= 4;
		assert_int_equal(pwrite(fd, p, 1, p - bytes), 1);
	}
	assert_true(n > 0);
	close(fd);
	free(bytes);
	free(path);
}

static bool reads(void *arg)
{
	struct expect *x = arg;
	struct store_view *v;
	struct store_kv kv;
	bool same = false;

	if (store_view_open(kv_store(x->kv), &v, NULL) != 0)
		return false;
	if (view_get(v, str_from(x->key), 0, &kv, NULL) == 0)
		same = str_eq(kv.value, str_from(x->value));
	store_view_close(v);
	return same;
}

/* A value rots on the disk, of a follower, then of the leader: it is not served, and mended from the others, while everybody runs. */
static void test_mend(void **state _unused_)
{
	static const char value[] = "a value that will rot away while it is in use";
	struct cluster c;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	for (int round = 0; round < 2; round++) {
		int leader = leader_of(&c), who = round == 0 ? (leader + 1) % 3 : leader;
		struct expect x = {c.kv[who], round == 0 ? "a" : "b", value, 0}, after = {c.kv[who], "c", "3", 0};

		OK(rt_put(c.kv[leader], x.key, value, &e));
		assert_true(rt_wait(reads, &x));
		rot_text(c.dirs[who], value);
		assert_false(reads(&x));
		assert_true(rt_wait(reads, &x));
		assert_true(rt_wait(has_no_alarm, x.kv));
		OK(rt_put(c.kv[who], "c", "3", &e));
		assert_true(rt_wait(reads, &after));
	}
	cluster_stop(&c);
}

struct blocker {
	uv_loop_t loop;
	uv_work_t work[16];
	pthread_mutex_t lock;
	atomic_uint running;
	pthread_t thread;
};

static void block(uv_work_t *w)
{
	struct blocker *b = w->data;

	atomic_fetch_add(&b->running, 1);
	pthread_mutex_lock(&b->lock);
	pthread_mutex_unlock(&b->lock);
}

static void unblocked(uv_work_t *w _unused_, int status _unused_)
{
}

static void *run_blockers(void *arg)
{
	struct blocker *b = arg;

	for (size_t i = 0; i < ARRAY_LEN(b->work); i++) {
		b->work[i].data = b;
		uv_queue_work(&b->loop, &b->work[i], block, unblocked);
	}
	uv_run(&b->loop, UV_RUN_DEFAULT);
	return NULL;
}

static bool is_blocked(void *arg)
{
	struct blocker *b = arg;

	return atomic_load(&b->running) >= 4;
}

static void put_some(struct cluster *c, const char *key, int n)
{
	char value[16];

	for (int i = 0; i < n; i++) {
		snprintf(value, sizeof(value), "%d", i);
		OK(rt_put(c->kv[i % 3], key, value, &e));
	}
	for (int i = 0; i < 3; i++)
		OK(kv_barrier_wait(c->kv[i], &e));
}

/* No thread of the pool is free: what is blocking there, consensus does not wait for. */
static void test_no_workers(void **state _unused_)
{
	struct blocker b = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct kv_status before, after;
	struct cluster c;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	assert_int_equal(uv_loop_init(&b.loop), 0);
	pthread_mutex_lock(&b.lock);
	assert_int_equal(pthread_create(&b.thread, NULL, run_blockers, &b), 0);
	assert_true(rt_wait(is_blocked, &b));
	kv_status(c.kv[0], &before);
	put_some(&c, "a", 300);
	kv_status(c.kv[0], &after);
	assert_true(after.applied_index >= before.applied_index + 300);
	pthread_mutex_unlock(&b.lock);
	pthread_join(b.thread, NULL);
	uv_loop_close(&b.loop);
	cluster_stop(&c);
}

/* No descriptor is free: who knocks is not let in, what is connected goes on, and all is well when there are some again. */
static void test_no_descriptors(void **state _unused_)
{
	struct rlimit all, none;
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct cluster c;
	int spare[8];
	char *colon;

	cluster_start(&c);
	assert_true(rt_wait(has_leader, &c));
	put_some(&c, "a", 30);
	colon = strrchr(c.addrs[0], ':');
	to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (size_t i = 0; i < ARRAY_LEN(spare); i++)
		assert_true((spare[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	/* Numbers below the highest may be free, so they are taken. */
	none = (struct rlimit){(rlim_t)spare[7] + 1, all.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (size_t i = 0; i < ARRAY_LEN(spare); i++)
		(void)!connect(spare[i], (struct sockaddr *)&to, sizeof(to));
	put_some(&c, "a", 30);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	for (size_t i = 0; i < ARRAY_LEN(spare); i++)
		close(spare[i]);
	put_some(&c, "a", 30);
	cluster_stop(&c);
}

static bool has_disk_alarm(void *arg)
{
	struct kv_status s;

	kv_status(arg, &s);
	return (s.alarms & KV_ALARM_DISK) && s.disk_error[0] && strcmp(s.state, "disk failed") == 0;
}

/* The disk takes no write for a while: nothing is acknowledged, nothing is served as if it were, and the member comes back. */
static void test_disk_failure(void **state _unused_)
{
	struct rlimit none = {1, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
	char *dir = rt_dir();
	struct err why = ERR_INIT;
	struct kv_status s;
	struct kv *kv;

	signal(SIGXFSZ, SIG_IGN);
	OK(kv_local_start(dir, &kv, &e));
	OK(rt_put(kv, "a", "1", &e));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(rt_put(kv, "a", "2", &why), -(int)ERR_UNAVAILABLE);
	assert_true(rt_wait(has_disk_alarm, kv));
	assert_int_equal(kv_barrier_wait(kv, &why), -(int)ERR_UNAVAILABLE);
	assert_non_null(strstr(why.text, "File too large"));
	kv_status(kv, &s);
	assert_int_equal(s.members[0].alarms, KV_ALARM_DISK);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_true(kv_leader_wait(kv, 60000));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "1");
	OK(rt_put(kv, "a", "3", &e));
	assert_true(rt_wait(has_no_alarm, kv));
	kv_stop(kv);
	OK(kv_local_start(dir, &kv, &e));
	OK(kv_barrier_wait(kv, &e));
	check_value(kv, "a", "3");
	kv_stop(kv);
	rt_dir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_mend),
		cmocka_unit_test(test_lease),
		cmocka_unit_test(test_lease_checkpoint),
		cmocka_unit_test(test_no_workers),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_three),
		cmocka_unit_test(test_lease_time),
		cmocka_unit_test(test_join_and_leave),
		cmocka_unit_test(test_reserved_place),
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_new_address),
		cmocka_unit_test(test_defragment),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_disk_failure),
	};

	log_set_level(getenv("RT_LOG") ? getenv("RT_LOG") : "error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
