/* store/auth: etcd's rules about users, roles and who may do what, as commands and on views. */
#include <string.h>

#include "store/auth.h"
#include "tests/unit/store/common.h"

#define CMD(c, which, Op, msg)                                                                     \
	Raftpb__Command c = RAFTPB__COMMAND__INIT;                                                 \
	c.op_case = RAFTPB__COMMAND__OP_##Op;                                                      \
	c.which = (msg)

static uint64_t revision(struct fixture *f)
{
	struct store_view *v;
	uint64_t rev = 0;

	OK(store_view_open(f->store, &v, &e));
	OK(view_auth_revision(v, &rev, &e));
	store_view_close(v);
	return rev;
}

/* NULL: done; else the text of the refusal. user NULL: the cluster itself asks. */
static const char *run(struct fixture *f, Raftpb__Command *c, const char *user)
{
	Raftpb__Requester who = RAFTPB__REQUESTER__INIT;
	const char *text = NULL;

	who.user = (char *)(uintptr_t)(user ? user : "");
	who.auth_revision = revision(f);
	if (user)
		c->requester = &who;
	apply(f, c, &etcdserverpb__auth_enable_response__descriptor, &text);
	return text;
}

static char *c_(const char *s)
{
	return (char *)(uintptr_t)s;
}

static const char *user_add(struct fixture *f, const char *name, const char *as)
{
	Etcdserverpb__AuthUserAddRequest m = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;
	CMD(c, user_add, USER_ADD, &m);

	m.name = c_(name);
	m.hashedpassword = c_("aGFzaA=="); /* "hash" */
	return run(f, &c, as);
}

static const char *role_add(struct fixture *f, const char *name, const char *as)
{
	Etcdserverpb__AuthRoleAddRequest m = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
	CMD(c, role_add, ROLE_ADD, &m);

	m.name = c_(name);
	return run(f, &c, as);
}

static const char *grant_role(struct fixture *f, const char *user, const char *role, const char *as)
{
	Etcdserverpb__AuthUserGrantRoleRequest m = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;
	CMD(c, user_grant_role, USER_GRANT_ROLE, &m);

	m.user = c_(user);
	m.role = c_(role);
	return run(f, &c, as);
}

static const char *revoke_role(struct fixture *f, const char *user, const char *role, const char *as)
{
	Etcdserverpb__AuthUserRevokeRoleRequest m = ETCDSERVERPB__AUTH_USER_REVOKE_ROLE_REQUEST__INIT;
	CMD(c, user_revoke_role, USER_REVOKE_ROLE, &m);

	m.name = c_(user);
	m.role = c_(role);
	return run(f, &c, as);
}

static const char *role_delete(struct fixture *f, const char *role, const char *as)
{
	Etcdserverpb__AuthRoleDeleteRequest m = ETCDSERVERPB__AUTH_ROLE_DELETE_REQUEST__INIT;
	CMD(c, role_delete, ROLE_DELETE, &m);

	m.role = c_(role);
	return run(f, &c, as);
}

static const char *user_delete(struct fixture *f, const char *name, const char *as)
{
	Etcdserverpb__AuthUserDeleteRequest m = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;
	CMD(c, user_delete, USER_DELETE, &m);

	m.name = c_(name);
	return run(f, &c, as);
}

static const char *password(struct fixture *f, const char *name, const char *base64, const char *as)
{
	Etcdserverpb__AuthUserChangePasswordRequest m = ETCDSERVERPB__AUTH_USER_CHANGE_PASSWORD_REQUEST__INIT;
	CMD(c, user_change_password, USER_CHANGE_PASSWORD, &m);

	m.name = c_(name);
	m.hashedpassword = c_(base64);
	return run(f, &c, as);
}

/* end "": all keys behind; NULL: one key. */
static ProtobufCBinaryData end_of(struct fixture *f, const char *end)
{
	return end && *end == '\0' ? (ProtobufCBinaryData){1, (uint8_t *)c_("")} : bin(&f->arena, end ? end : "");
}

static const char *permit(struct fixture *f, const char *role, int type, const char *key, const char *end, const char *as)
{
	Etcdserverpb__AuthRoleGrantPermissionRequest m = ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
	Authpb__Permission p = AUTHPB__PERMISSION__INIT;
	CMD(c, role_grant_permission, ROLE_GRANT_PERMISSION, &m);

	m.name = c_(role);
	m.perm = &p;
	p.permtype = (Authpb__Permission__Type)type;
	p.key = bin(&f->arena, key);
	p.range_end = end_of(f, end);
	return run(f, &c, as);
}

static const char *forbid(struct fixture *f, const char *role, const char *key, const char *end, const char *as)
{
	Etcdserverpb__AuthRoleRevokePermissionRequest m = ETCDSERVERPB__AUTH_ROLE_REVOKE_PERMISSION_REQUEST__INIT;
	CMD(c, role_revoke_permission, ROLE_REVOKE_PERMISSION, &m);

	m.role = c_(role);
	m.key = bin(&f->arena, key);
	m.range_end = end_of(f, end);
	return run(f, &c, as);
}

static const char *enable(struct fixture *f, const char *as)
{
	Etcdserverpb__AuthEnableRequest m = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
	CMD(c, auth_enable, AUTH_ENABLE, &m);

	return run(f, &c, as);
}

static const char *disable(struct fixture *f, const char *as)
{
	Etcdserverpb__AuthDisableRequest m = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;
	CMD(c, auth_disable, AUTH_DISABLE, &m);

	return run(f, &c, as);
}

static const char *token(struct fixture *f, const char *user, const char *text, uint64_t rev)
{
	Raftpb__TokenGrant m = RAFTPB__TOKEN_GRANT__INIT;
	CMD(c, token_grant, TOKEN_GRANT, &m);

	m.user = c_(user);
	m.token = c_(text);
	m.auth_revision = rev;
	return run(f, &c, NULL);
}

static const char *put_as(struct fixture *f, const char *key, bool prev, int64_t lease, const char *as)
{
	Etcdserverpb__PutRequest m = ETCDSERVERPB__PUT_REQUEST__INIT;
	CMD(c, put, PUT, &m);

	m.key = bin(&f->arena, key);
	m.value = bin(&f->arena, "v");
	m.prev_kv = prev;
	m.lease = lease;
	return run(f, &c, as);
}

static const char *del_as(struct fixture *f, const char *key, const char *end, bool prev, const char *as)
{
	Etcdserverpb__DeleteRangeRequest m = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	CMD(c, delete_range, DELETE_RANGE, &m);

	m.key = bin(&f->arena, key);
	m.range_end = end_of(f, end);
	m.prev_kv = prev;
	return run(f, &c, as);
}

static const char *range_as(struct fixture *f, const char *key, const char *end, enum store_access access, const char *as)
{
	struct store_requester who = {str_from(as), revision(f)};
	ProtobufCBinaryData to = end_of(f, end);
	static struct err why;
	struct store_view *v;
	int rc;

	OK(store_view_open(f->store, &v, &e));
	rc = view_auth_range(v, &who, str_from(key), str_of(to.data, to.len), access, &why);
	store_view_close(v);
	return rc == 0 ? NULL : why.text;
}

#define DENIED "etcdserver: permission denied"
#define MANAGEMENT "etcdserver: invalid auth management"
enum { READ = 0, WRITE = 1, READWRITE = 2 };

/* root and alice exist and authentication is on; alice may read [a, c), write [b, d), both "x". */
static void fixture_auth(struct fixture *f)
{
	fixture_open(f, NULL);
	assert_null(user_add(f, "root", NULL));
	assert_null(grant_role(f, "root", "root", NULL));
	assert_null(user_add(f, "alice", NULL));
	assert_null(role_add(f, "some", NULL));
	assert_null(permit(f, "some", READ, "a", "c", NULL));
	assert_null(permit(f, "some", WRITE, "b", "d", NULL));
	assert_null(permit(f, "some", READWRITE, "x", NULL, NULL));
	assert_null(grant_role(f, "alice", "some", NULL));
	assert_null(enable(f, NULL));
}

static void test_enable(void **state)
{
	struct fixture f;

	fixture_open(&f, NULL);
	assert_int_equal(revision(&f), 1);
	assert_string_equal(enable(&f, ""), "etcdserver: root user does not exist");
	assert_null(user_add(&f, "root", ""));
	assert_int_equal(revision(&f), 2);
	assert_string_equal(enable(&f, ""), "etcdserver: root user does not have root role");
	assert_null(grant_role(&f, "root", "root", ""));
	assert_null(enable(&f, ""));
	assert_null(enable(&f, "root"));
	/* From now on only root administers; the cluster itself is not asked who it is. */
	assert_string_equal(user_add(&f, "bob", ""), "etcdserver: user name is empty");
	assert_string_equal(user_add(&f, "bob", "nobody"), "etcdserver: user name not found");
	assert_null(user_add(&f, "bob", "root"));
	assert_string_equal(user_add(&f, "eve", "bob"), DENIED);
	assert_null(put_as(&f, "k", false, 0, NULL));
	assert_string_equal(put_as(&f, "k", false, 0, ""), "etcdserver: user name is empty");
	assert_string_equal(put_as(&f, "k", false, 0, "bob"), DENIED);
	assert_null(put_as(&f, "k", false, 0, "root"));
	/* What a restart finds. */
	fixture_reopen(&f, true);
	assert_string_equal(put_as(&f, "k", false, 0, "bob"), DENIED);
	assert_string_equal(disable(&f, "bob"), DENIED);
	assert_null(disable(&f, "root"));
	assert_null(put_as(&f, "k", false, 0, ""));
	fixture_close(&f);
}

static void test_management(void **state)
{
	struct fixture f;
	uint64_t rev;

	fixture_auth(&f);
	assert_string_equal(user_add(&f, "alice", "root"), "etcdserver: user name already exists");
	assert_string_equal(user_add(&f, "", "root"), "etcdserver: user name is empty");
	assert_string_equal(role_add(&f, "some", "root"), "etcdserver: role name already exists");
	assert_string_equal(role_add(&f, "", "root"), "etcdserver: role name is empty");
	assert_string_equal(grant_role(&f, "alice", "none", "root"), "etcdserver: role name not found");
	assert_string_equal(grant_role(&f, "none", "some", "root"), "etcdserver: user name not found");
	rev = revision(&f);
	assert_null(grant_role(&f, "alice", "some", "root")); /* has it already: nothing changes */
	assert_int_equal(revision(&f), rev);
	assert_string_equal(revoke_role(&f, "alice", "root", "root"), "etcdserver: role is not granted to the user");
	assert_string_equal(revoke_role(&f, "root", "root", "root"), MANAGEMENT);
	assert_string_equal(user_delete(&f, "root", "root"), MANAGEMENT);
	assert_string_equal(role_delete(&f, "root", "root"), MANAGEMENT);
	assert_string_equal(user_delete(&f, "none", "root"), "etcdserver: user name not found");
	assert_string_equal(role_delete(&f, "none", "root"), "etcdserver: role name not found");
	assert_string_equal(forbid(&f, "some", "a", "zzz", "root"), "etcdserver: permission is not granted to the role");
	assert_string_equal(permit(&f, "none", READ, "a", NULL, "root"), "etcdserver: role name not found");
	assert_string_equal(permit(&f, "some", READ, "b", "a", "root"), MANAGEMENT);
	assert_string_equal(permit(&f, "some", READ, "", NULL, "root"), MANAGEMENT);
	assert_string_equal(permit(&f, "some", READ, "", "", "root"), MANAGEMENT);
	assert_string_equal(permit(&f, "some", READ, "", "b", "root"), MANAGEMENT);
	assert_string_equal(permit(&f, "some", 7, "a", NULL, "root"), MANAGEMENT);
	assert_string_equal(password(&f, "none", "aA==", "root"), "etcdserver: user name not found");
	assert_string_equal(password(&f, "alice", "*", "root"), "kontiki: malformed request");
	assert_int_equal(revision(&f), rev);
	/* A role that goes is taken from all who had it. */
	assert_null(range_as(&f, "x", NULL, STORE_READ, "alice"));
	assert_null(role_delete(&f, "some", "root"));
	assert_string_equal(range_as(&f, "x", NULL, STORE_READ, "alice"), DENIED);
	assert_null(role_add(&f, "some", "root"));
	assert_string_equal(revoke_role(&f, "alice", "some", "root"), "etcdserver: role is not granted to the user");
	fixture_close(&f);
}

static void test_ranges(void **state)
{
	struct fixture f;

	fixture_auth(&f);
	assert_null(range_as(&f, "a", NULL, STORE_READ, "alice"));
	assert_null(range_as(&f, "bzz", NULL, STORE_READ, "alice"));
	assert_string_equal(range_as(&f, "c", NULL, STORE_READ, "alice"), DENIED);
	assert_null(range_as(&f, "a", "c", STORE_READ, "alice"));
	assert_string_equal(range_as(&f, "a", "ca", STORE_READ, "alice"), DENIED);
	assert_string_equal(range_as(&f, "a", "", STORE_READ, "alice"), DENIED);
	assert_null(range_as(&f, "x", NULL, STORE_WRITE, "alice"));
	assert_null(range_as(&f, "a", "", STORE_READ, "root"));
	/* Two roles together reach further than each alone, also by a single key between them. */
	assert_null(role_add(&f, "more", "root"));
	assert_null(permit(&f, "more", READ, "c", NULL, "root"));
	assert_null(grant_role(&f, "alice", "more", "root"));
	assert_string_equal(range_as(&f, "a", "d", STORE_READ, "alice"), DENIED);
	assert_null(permit(&f, "more", READ, "c", "", "root"));
	assert_null(range_as(&f, "a", "d", STORE_READ, "alice"));
	assert_null(range_as(&f, "a", "", STORE_READ, "alice"));
	assert_string_equal(range_as(&f, "Z", "", STORE_READ, "alice"), DENIED);
	assert_null(forbid(&f, "more", "c", "", "root"));
	assert_string_equal(range_as(&f, "a", "", STORE_READ, "alice"), DENIED);
	fixture_close(&f);
}

static void test_requests(void **state)
{
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	Raftpb__Requester old = RAFTPB__REQUESTER__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	struct fixture f;
	const char *text = NULL;

	fixture_auth(&f);
	CMD(lg, lease_grant, LEASE_GRANT, &grant);
	CMD(lr, lease_revoke, LEASE_REVOKE, &revoke);
	CMD(stale, put, PUT, &p);
	assert_null(put_as(&f, "c", false, 0, "alice"));
	assert_null(put_as(&f, "b", true, 0, "alice"));
	assert_string_equal(put_as(&f, "c", true, 0, "alice"), DENIED); /* prev_kv reads */
	assert_string_equal(put_as(&f, "a", false, 0, "alice"), DENIED);
	assert_null(del_as(&f, "b", "d", false, "alice"));
	assert_string_equal(del_as(&f, "b", "d", true, "alice"), DENIED);
	assert_string_equal(del_as(&f, "b", "", false, "alice"), DENIED);
	/* A lease: whoever revokes it deletes what hangs on it. */
	grant.id = revoke.id = 7;
	grant.ttl = 100;
	assert_string_equal(run(&f, &lg, ""), "etcdserver: user name is empty");
	assert_null(run(&f, &lg, "alice"));
	assert_null(put_as(&f, "c", false, 7, "alice"));
	assert_null(put_as(&f, "secret", false, 7, "root"));
	assert_string_equal(put_as(&f, "c", false, 7, "alice"), DENIED);
	assert_string_equal(run(&f, &lr, "alice"), DENIED);
	lr.requester = NULL;
	assert_null(run(&f, &lr, NULL));
	assert_string_equal(dump(&f, "a", "", 0), "");
	/* Let in before rights changed. */
	p.key = bin(&f.arena, "c");
	old.user = c_("alice");
	old.auth_revision = revision(&f) - 1;
	stale.requester = &old;
	apply(&f, &stale, &etcdserverpb__auth_enable_response__descriptor, &text);
	assert_string_equal(text, "etcdserver: revision of auth store is old");
	fixture_close(&f);
}

static const char *txn_as(struct fixture *f, Etcdserverpb__TxnRequest *t, const char *as)
{
	CMD(c, txn, TXN, t);

	return run(f, &c, as);
}

static void test_txn(void **state)
{
	Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT, in = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, nest = ETCDSERVERPB__REQUEST_OP__INIT;
	Etcdserverpb__RequestOp *ops[] = {&op}, *nested[] = {&nest};
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	struct fixture f;

	fixture_auth(&f);
	t.compare = cmps;
	t.n_compare = 1;
	cmp.key = bin(&f.arena, "a");
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
	p.key = bin(&f.arena, "c");
	op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	op.request_put = &p;
	t.success = ops;
	t.n_success = 1;
	assert_null(txn_as(&f, &t, "alice"));
	/* A compare tells what a key holds; and the branch that is not taken counts, and one inside another. */
	cmp.key = bin(&f.arena, "secret");
	assert_string_equal(txn_as(&f, &t, "alice"), DENIED);
	cmp.key = bin(&f.arena, "a");
	p.key = bin(&f.arena, "secret");
	t.n_success = 0;
	t.failure = ops;
	t.n_failure = 1;
	assert_string_equal(txn_as(&f, &t, "alice"), DENIED);
	nest.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
	nest.request_txn = &in;
	in.success = ops;
	in.n_success = 1;
	t.failure = nested;
	assert_string_equal(txn_as(&f, &t, "alice"), DENIED);
	assert_null(txn_as(&f, &t, "root"));
	fixture_close(&f);
}

static bool knows(struct fixture *f, const char *token_text, uint64_t now, const char *user)
{
	struct str who;

	return store_token_user(f->store, str_from(token_text), now, &f->arena, &who) && str_eqc(who, user);
}

static void test_tokens(void **state)
{
	struct fixture f;

	fixture_auth(&f);
	store_tokens_ttl(f.store, 1000);
	assert_string_equal(token(&f, "alice", "t1", revision(&f) - 1), "etcdserver: revision of auth store is old");
	assert_false(knows(&f, "t1", 1, "alice"));
	assert_null(token(&f, "alice", "t1", revision(&f)));
	assert_null(token(&f, "root", "t2", revision(&f)));
	assert_true(knows(&f, "t1", 10000, "alice"));
	assert_true(knows(&f, "t2", 10000, "root"));
	/* Used, it lives on; not used, it ends. */
	assert_true(knows(&f, "t1", 10900, "alice"));
	assert_true(knows(&f, "t1", 11800, "alice"));
	assert_false(knows(&f, "t2", 11800, "root"));
	/* With a new password the old tokens end, those of others stay. */
	assert_null(token(&f, "root", "t3", revision(&f)));
	assert_null(password(&f, "alice", "aGFzaDI=", "root"));
	assert_false(knows(&f, "t1", 11900, "alice"));
	assert_true(knows(&f, "t3", 11900, "root"));
	assert_null(disable(&f, "root"));
	assert_false(knows(&f, "t3", 11900, "root"));
	assert_string_equal(token(&f, "root", "t4", revision(&f)), "etcdserver: authentication is not enabled");
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_enable),
			cmocka_unit_test(test_management),
			cmocka_unit_test(test_ranges),
			cmocka_unit_test(test_requests),
			cmocka_unit_test(test_txn),
			cmocka_unit_test(test_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
