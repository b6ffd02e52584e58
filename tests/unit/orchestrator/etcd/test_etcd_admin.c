/* The etcd API's Cluster, Maintenance and Auth services over a real member. */
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "io/x509.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/etcd/etcd_rig.h"

#define CALL(r, method, q, type) rig_call(r, method, &(q).base, &type##__descriptor)

static struct rig *rig;

static int setup(void **state _unused_)
{
	struct etcd_listen at = {.address = "127.0.0.1:0"};
	struct etcd_server_cfg cfg = {.listen = &at, .n_listen = 1, .bcrypt_cost = 4};

	rig = rig_start(&cfg, NULL);
	return 0;
}

static int teardown(void **state _unused_)
{
	rig_stop(rig);
	return 0;
}

static void check_error(struct answer a, int code, const char *text)
{
	if (a.code != code || strcmp(a.text, text) != 0)
		fail_msg("%d %s, not %d %s", a.code, a.text, code, text);
}

/* --- Cluster -------------------------------------------------------------------------------------------------------- */

static void test_members(void **state _unused_)
{
	Etcdserverpb__MemberListRequest list = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
	Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
	Etcdserverpb__MemberPromoteRequest promote = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
	Etcdserverpb__MemberUpdateRequest update = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
	Etcdserverpb__MemberRemoveRequest drop = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
	Etcdserverpb__MoveLeaderRequest move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
	static const char *const bad[] = {"10.0.0.1:2380", "ftp://10.0.0.1:2380", "http://10.0.0.1", "http://:1", "http://a:0", "http://a:1/x",
			"http://a|b:1", "http://a:1,b:1"};
	Etcdserverpb__MemberListResponse *l;
	Etcdserverpb__MemberAddResponse *added;
	const char *urls[4] = {"http://127.0.0.1:1"};
	uint64_t self, id;

	list.linearizable = true;
	l = CALL(rig, "/etcdserverpb.Cluster/MemberList", list, etcdserverpb__member_list_response).message;
	assert_int_equal(l->n_members, 1);
	assert_true(l->members[0]->name[0] != '\0');
	self = l->members[0]->id;
	assert_int_equal(self, l->header->member_id);

	add.peerurls = urls;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		add.n_peerurls = 1;
		urls[0] = bad[i];
		check_error(CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response), 3,
				"etcdserver: given member URLs are invalid");
	}
	add.n_peerurls = 0;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response), 3,
			"etcdserver: given member URLs are invalid");
	add.n_peerurls = 1;
	urls[0] = "http://127.0.0.1:1";
	add.islearner = true;
	added = CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response).message;
	id = added->member->id;
	assert_true(added->member->islearner);
	assert_string_equal(added->member->peerurls[0], "http://127.0.0.1:1");
	assert_int_equal(added->n_members, 2);
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response), 9,
			"etcdserver: too many learner members in cluster");
	add.islearner = false;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response), 9,
			"etcdserver: Peer URLs already exists");
	l = CALL(rig, "/etcdserverpb.Cluster/MemberList", list, etcdserverpb__member_list_response).message;
	assert_int_equal(l->n_members, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(l->members[i]->name[0] == '\0', l->members[i]->id == id);

	promote.id = id;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberPromote", promote, etcdserverpb__member_promote_response), 9,
			"etcdserver: can only promote a learner member which is in sync with leader");
	promote.id = self;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberPromote", promote, etcdserverpb__member_promote_response), 9,
			"etcdserver: can only promote a learner member");
	promote.id = 12345;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberPromote", promote, etcdserverpb__member_promote_response), 5,
			"etcdserver: member not found");
	update.id = id;
	update.peerurls = urls;
	update.n_peerurls = 1;
	urls[0] = "https://example.com:2380";
	l = (void *)CALL(rig, "/etcdserverpb.Cluster/MemberUpdate", update, etcdserverpb__member_update_response).message;
	assert_non_null(l);
	/* Several: all are shown, in order, each once. */
	update.n_peerurls = 4;
	urls[0] = "http://10.0.0.2:2380";
	urls[1] = "http://10.0.0.1:2380";
	urls[2] = "http://10.0.0.2:2380";
	urls[3] = "http://10.0.0.3:2380";
	l = (void *)CALL(rig, "/etcdserverpb.Cluster/MemberUpdate", update, etcdserverpb__member_update_response).message;
	assert_non_null(l);
	l = CALL(rig, "/etcdserverpb.Cluster/MemberList", list, etcdserverpb__member_list_response).message;
	for (size_t i = 0; i < l->n_members; i++)
		if (l->members[i]->id == id) {
			assert_int_equal(l->members[i]->n_peerurls, 3);
			assert_string_equal(l->members[i]->peerurls[0], "http://10.0.0.1:2380");
			assert_string_equal(l->members[i]->peerurls[2], "http://10.0.0.3:2380");
		}
	add.n_peerurls = 2;
	urls[0] = "http://10.0.0.9:2380";
	urls[1] = "http://10.0.0.3:2380";
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberAdd", add, etcdserverpb__member_add_response), 9,
			"etcdserver: Peer URLs already exists");
	move.targetid = id;
	check_error(CALL(rig, "/etcdserverpb.Maintenance/MoveLeader", move, etcdserverpb__move_leader_response), 9,
			"etcdserver: bad leader transferee");
	drop.id = id;
	assert_non_null(CALL(rig, "/etcdserverpb.Cluster/MemberRemove", drop, etcdserverpb__member_remove_response).message);
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberRemove", drop, etcdserverpb__member_remove_response), 5,
			"etcdserver: member not found");
	drop.id = self;
	check_error(CALL(rig, "/etcdserverpb.Cluster/MemberRemove", drop, etcdserverpb__member_remove_response), 9,
			"etcdserver: re-configuration failed due to not enough started members");
}

/* --- Maintenance ------------------------------------------------------------------------------------------------------ */

static void test_maintenance(void **state _unused_)
{
	Etcdserverpb__StatusRequest status = ETCDSERVERPB__STATUS_REQUEST__INIT;
	Etcdserverpb__HashKVRequest hash = ETCDSERVERPB__HASH_KVREQUEST__INIT;
	Etcdserverpb__HashRequest whole = ETCDSERVERPB__HASH_REQUEST__INIT;
	Etcdserverpb__DefragmentRequest defrag = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
	Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
	Etcdserverpb__DowngradeRequest down = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
	Etcdserverpb__HashKVResponse *a, *b;
	Etcdserverpb__StatusResponse *st;
	Etcdserverpb__AlarmResponse *al;
	int64_t rev = rig_put(rig, "m", "1")->header->revision;

	st = CALL(rig, "/etcdserverpb.Maintenance/Status", status, etcdserverpb__status_response).message;
	assert_string_equal(st->version, ETCD_VERSION);
	assert_int_equal(st->leader, st->header->member_id);
	assert_true(st->dbsize > 0 && st->dbsizeinuse > 0 && st->dbsizeinuse <= st->dbsize);
	assert_true(st->raftappliedindex > 0 && st->raftindex >= st->raftappliedindex);
	assert_int_equal(st->n_errors, 0);

	hash.revision = rev;
	a = CALL(rig, "/etcdserverpb.Maintenance/HashKV", hash, etcdserverpb__hash_kvresponse).message;
	rig_put(rig, "m", "2");
	b = CALL(rig, "/etcdserverpb.Maintenance/HashKV", hash, etcdserverpb__hash_kvresponse).message;
	assert_int_equal(a->hash, b->hash);
	assert_int_equal(b->hash_revision, rev);
	hash.revision = 0;
	b = CALL(rig, "/etcdserverpb.Maintenance/HashKV", hash, etcdserverpb__hash_kvresponse).message;
	assert_int_not_equal(a->hash, b->hash);
	hash.revision = rev + 1000;
	check_error(CALL(rig, "/etcdserverpb.Maintenance/HashKV", hash, etcdserverpb__hash_kvresponse), 11,
			"etcdserver: mvcc: required revision is a future revision");
	assert_non_null(CALL(rig, "/etcdserverpb.Maintenance/Hash", whole, etcdserverpb__hash_response).message);
	assert_non_null(CALL(rig, "/etcdserverpb.Maintenance/Defragment", defrag, etcdserverpb__defragment_response).message);
	assert_bin(rig_get(rig, "m", NULL)->kvs[0]->value, "2");

	alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
	alarm.memberid = 7;
	/* The second time as the first. */
	for (int i = 0; i < 2; i++) {
		al = CALL(rig, "/etcdserverpb.Maintenance/Alarm", alarm, etcdserverpb__alarm_response).message;
		assert_int_equal(al->n_alarms, 1);
	}
	alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
	alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NONE;
	al = CALL(rig, "/etcdserverpb.Maintenance/Alarm", alarm, etcdserverpb__alarm_response).message;
	assert_int_equal(al->n_alarms, 1);
	assert_int_equal(al->alarms[0]->memberid, 7);
	st = CALL(rig, "/etcdserverpb.Maintenance/Status", status, etcdserverpb__status_response).message;
	assert_int_equal(st->n_errors, 1);
	assert_string_equal(st->errors[0], "memberID:7 alarm:CORRUPT ");
	alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE;
	alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
	assert_non_null(CALL(rig, "/etcdserverpb.Maintenance/Alarm", alarm, etcdserverpb__alarm_response).message);

	down.version = c_("x");
	check_error(CALL(rig, "/etcdserverpb.Maintenance/Downgrade", down, etcdserverpb__downgrade_response), 3,
			"etcdserver: wrong downgrade target version format");
	down.version = c_("3.4.0");
	check_error(CALL(rig, "/etcdserverpb.Maintenance/Downgrade", down, etcdserverpb__downgrade_response), 3,
			"etcdserver: invalid downgrade target version");
	down.action = ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL;
	check_error(CALL(rig, "/etcdserverpb.Maintenance/Downgrade", down, etcdserverpb__downgrade_response), 9,
			"etcdserver: no inflight downgrade job");
}

/* The stream is whole pages, then the checksum of all of them. */
static void test_snapshot(void **state _unused_)
{
	Etcdserverpb__SnapshotRequest q = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
	Etcdserverpb__SnapshotResponse *m;
	struct buf all = BUF_INIT;
	struct chat *chat;
	uint8_t sum[32];
	char *big = xcalloc(1, 1000001);

	memset(big, 'x', 1000000);
	for (int i = 0; i < 3; i++) {
		char key[8];

		snprintf(key, sizeof(key), "s%d", i);
		rig_put(rig, key, big);
	}
	chat = chat_start(rig, "/etcdserverpb.Maintenance/Snapshot", &etcdserverpb__snapshot_response__descriptor, NULL);
	chat_send(chat, &q.base);
	for (;;) {
		m = chat_next(chat);
		if (m->remaining_bytes == 0 && m->blob.len == sizeof(sum))
			break;
		buf_add(&all, m->blob.data, m->blob.len);
	}
	assert_int_equal(chat_end(chat), 0);
	assert_true(all.n % 4096 == 0 && all.n > 3000000);
	x509_sha256(buf_str(&all), sum);
	assert_memory_equal(m->blob.data, sum, sizeof(sum));
	chat_free(chat);
	/* One that goes away in the middle. */
	chat = chat_start(rig, "/etcdserverpb.Maintenance/Snapshot", &etcdserverpb__snapshot_response__descriptor, NULL);
	chat_send(chat, &q.base);
	chat_next(chat);
	chat_free(chat);
	buf_fini(&all);
	free(big);
}

/* --- Auth -------------------------------------------------------------------------------------------------------------- */

#define DENIED "etcdserver: permission denied"

static void test_auth(void **state _unused_)
{
	Etcdserverpb__AuthEnableRequest on = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
	Etcdserverpb__AuthDisableRequest off = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;
	Etcdserverpb__AuthStatusRequest status = ETCDSERVERPB__AUTH_STATUS_REQUEST__INIT;
	Etcdserverpb__AuthUserGetRequest who = ETCDSERVERPB__AUTH_USER_GET_REQUEST__INIT;
	Etcdserverpb__AuthUserListRequest list = ETCDSERVERPB__AUTH_USER_LIST_REQUEST__INIT;
	Etcdserverpb__AuthRoleGetRequest what = ETCDSERVERPB__AUTH_ROLE_GET_REQUEST__INIT;
	Etcdserverpb__AuthUserAddRequest add = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
	Etcdserverpb__SnapshotRequest snap = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
	Etcdserverpb__LeaseLeasesRequest leases = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
	Etcdserverpb__AuthStatusResponse *st;
	Etcdserverpb__AuthUserGetResponse *u;
	struct answer a;
	const char *root, *alice;
	char longest[74];

	assert_null(rig_login(rig, "root", "secret", &a));
	check_error(a, 9, "etcdserver: authentication is not enabled");
	memset(longest, 'p', 73);
	longest[73] = '\0';
	add.name = c_("long");
	add.password = longest;
	check_error(CALL(rig, AUTH("UserAdd"), add, etcdserverpb__auth_user_add_response), 3, "kontiki: passwords end at 72 bytes");
	rig_role(rig, "mine", "a");
	rig_user(rig, "root", "secret", "root");
	rig_user(rig, "alice", "pw", "mine");
	assert_non_null(CALL(rig, AUTH("AuthEnable"), on, etcdserverpb__auth_enable_response).message);

	check_error(rig_get_as(rig, NULL, "a"), 3, "etcdserver: user name is empty");
	check_error(rig_put_as(rig, NULL, "a"), 3, "etcdserver: user name is empty");
	check_error(rig_get_as(rig, "nonsense", "a"), 16, "etcdserver: invalid auth token");
	rig_login(rig, "alice", "wrong", &a);
	check_error(a, 3, "etcdserver: authentication failed, invalid user ID or password");
	rig_login(rig, "nobody", "pw", &a);
	check_error(a, 3, "etcdserver: authentication failed, invalid user ID or password");
	root = rig_login(rig, "root", "secret", &a);
	alice = rig_login(rig, "alice", "pw", &a);
	assert_non_null(root);
	assert_non_null(alice);
	assert_non_null(rig_put_as(rig, alice, "a").message);
	assert_non_null(rig_get_as(rig, alice, "a").message);
	check_error(rig_put_as(rig, alice, "b"), 7, DENIED);
	check_error(rig_get_as(rig, alice, "b"), 7, DENIED);
	assert_non_null(rig_put_as(rig, root, "b").message);

	st = rig_as(rig, root, AUTH("AuthStatus"), &status.base, &etcdserverpb__auth_status_response__descriptor).message;
	assert_true(st->enabled && st->authrevision > 1);
	check_error(rig_as(rig, alice, AUTH("AuthStatus"), &status.base, &etcdserverpb__auth_status_response__descriptor), 7, DENIED);
	who.name = c_("alice");
	u = rig_as(rig, alice, AUTH("UserGet"), &who.base, &etcdserverpb__auth_user_get_response__descriptor).message;
	assert_int_equal(u->n_roles, 1);
	assert_string_equal(u->roles[0], "mine");
	who.name = c_("root");
	check_error(rig_as(rig, alice, AUTH("UserGet"), &who.base, &etcdserverpb__auth_user_get_response__descriptor), 7, DENIED);
	check_error(rig_as(rig, alice, AUTH("UserList"), &list.base, &etcdserverpb__auth_user_list_response__descriptor), 7, DENIED);
	what.role = c_("mine");
	assert_non_null(rig_as(rig, alice, AUTH("RoleGet"), &what.base, &etcdserverpb__auth_role_get_response__descriptor).message);
	what.role = c_("root");
	check_error(rig_as(rig, alice, AUTH("RoleGet"), &what.base, &etcdserverpb__auth_role_get_response__descriptor), 7, DENIED);
	check_error(rig_as(rig, alice, AUTH("UserAdd"), &add.base, &etcdserverpb__auth_user_add_response__descriptor), 7, DENIED);
	check_error(rig_as(rig, alice, "/etcdserverpb.Maintenance/Snapshot", &snap.base, &etcdserverpb__snapshot_response__descriptor), 7, DENIED);
	check_error(rig_as(rig, NULL, "/etcdserverpb.Lease/LeaseLeases", &leases.base, &etcdserverpb__lease_leases_response__descriptor), 3,
			"etcdserver: user name is empty");
	assert_non_null(rig_as(rig, root, AUTH("AuthDisable"), &off.base, &etcdserverpb__auth_disable_response__descriptor).message);
	assert_non_null(rig_put_as(rig, NULL, "b").message);
	/* A token of before is no reason to refuse anybody now. */
	assert_non_null(rig_put_as(rig, alice, "b").message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_members),
			cmocka_unit_test(test_maintenance),
			cmocka_unit_test(test_snapshot),
			cmocka_unit_test(test_auth),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
