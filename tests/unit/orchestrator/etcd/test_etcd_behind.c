/*
 * A member that has not applied yet what clients were told by another one. Its raft thread is held in a callback, so it applies
 * nothing while its etcd server goes on: what is asked of it then is judged by old state, unless it waits. Each test holds a
 * follower, changes users through another member, asks the follower, lets it go, and looks at the answers.
 */
#include <semaphore.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/util.h"
#include "io/jws.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/etcd/etcd_rig.h"
#include "tests/unit/raft/raftest.h"

#define N 3
#define OLD "etcdserver: revision of auth store is old"
#define DENIED "etcdserver: permission denied"
#define NO_NAME "etcdserver: user name is empty"
#define BAD_TOKEN "etcdserver: invalid auth token"

static struct rig *rigs[N];
static struct rig *ahead, *behind; /* while one is held */

/* --- Three members ---------------------------------------------------------------------------------------------------- */

static bool all_vote(void *arg _unused_)
{
	for (int i = 0; i < N; i++) {
		struct kv_status st;
		size_t voters = 0;

		kv_status(rigs[i]->kv, &st);
		for (size_t k = 0; k < st.n_members; k++)
			voters += st.members[k].role == KV_VOTER;
		if (voters != N || st.role.leader_id == 0)
			return false;
	}
	return true;
}

static void start(const struct jws_key *key)
{
	static const char *const names[N] = {"a", "b", "c"};
	struct etcd_server_cfg cfg = {.n_loops = 1, .bcrypt_cost = 4, .token_key = key, .max_learners = 2};
	struct kv_cfg kv = {.election_ms = 1000, .heartbeat_ms = 100, .nosync = true};
	char addr[N][32];
	const char *join[] = {addr[0]};

	for (int i = 0; i < N; i++) {
		free_port(addr[i]);
		kv.name = names[i];
		kv.listen = addr[i];
		rigs[i] = rig_start(&cfg, &kv);
		kv.join = join;
		kv.n_join = 1;
	}
	rig_until(rigs[0], all_vote, NULL);
}

static void stop(void)
{
	for (int i = 0; i < N; i++)
		if (rigs[i] != NULL)
			rig_stop(rigs[i]);
	memset(rigs, 0, sizeof(rigs));
}

/* --- Holding one ------------------------------------------------------------------------------------------------------ */

static struct kv_barrier barrier;
static sem_t is_held, may_go;

static void stand_still(struct kv_barrier *b)
{
	ASSERT(b->err.code == ERR_OK);
	sem_post(&is_held);
	while (sem_wait(&may_go) != 0)
		;
}

/* Without a loop of its own: the barrier is done on the raft thread then. */
static void *ask_to_stand_still(void *arg)
{
	barrier = (struct kv_barrier){.done = stand_still, .timeout_ms = 60000};
	kv_barrier(arg, &barrier);
	return NULL;
}

static void hold(void)
{
	struct kv_status st;
	pthread_t thread;
	int leader = 0;

	for (int i = 0; i < N; i++) {
		kv_status(rigs[i]->kv, &st);
		if (st.role.leader)
			leader = i;
	}
	ahead = rigs[leader];
	behind = rigs[(leader + 1) % N];
	sem_init(&is_held, 0, 0);
	sem_init(&may_go, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, ask_to_stand_still, behind->kv), 0);
	while (sem_wait(&is_held) != 0)
		;
	pthread_join(thread, NULL);
}

/* --- Asking who is behind ------------------------------------------------------------------------------------------------ */

struct asked {
	struct grpc_call call;
	struct http_header token;
	const ProtobufCMessageDescriptor *descriptor;
	bool done;
};

static struct asked asked[16];
static size_t n_asked;

static void asked_done(struct grpc_call *c)
{
	container_of(c, struct asked, call)->done = true;
}

/* Messages that the held member's server has taken; a unary call is judged in the same turn. */
static uint64_t taken(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < etcd__n_methods; i++)
		n += atomic_load(&behind->srv->loops[0]->counters[i].messages_in);
	return n;
}

struct more {
	uint64_t than;
};

static bool is_more(void *arg)
{
	return taken() > ((struct more *)arg)->than;
}

/* The first has the number 0. */
static void ask(const char *token, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *d)
{
	struct asked *a = &asked[n_asked++];
	struct more m = {taken()};

	*a = (struct asked){.descriptor = d, .token = {STR("token"), str_from(token)}};
	a->call = (struct grpc_call){.method = method, .done = asked_done, .wait_ready = true, .timeout_ms = 60000,
			.metadata = token ? &a->token : NULL, .n_metadata = token ? 1 : 0};
	grpc_unary(behind->channel, &a->call, pb_pack_arena(q, &behind->arena));
	rig_until(behind, is_more, &m);
}

static bool all_answered(void *arg _unused_)
{
	for (size_t i = 0; i < n_asked; i++)
		if (!asked[i].done)
			return false;
	return true;
}

static void let_go(void)
{
	/* What is read locally is read in the loop's next turn. */
	for (int i = 0; i < 5; i++)
		loop_turn(behind->loop, 2);
	sem_post(&may_go);
	rig_until(behind, all_answered, NULL);
}

static void check(size_t i, int code, const char *text)
{
	struct grpc_call *c = &asked[i].call;

	if (c->code != code || !str_eqc(c->status, text))
		fail_msg("question %zu: %d %.*s, not %d %s", i, c->code, STR_FMT(c->status), code, text);
}

static void forget(void)
{
	for (size_t i = 0; i < n_asked; i++)
		grpc_call_fini(&asked[i].call);
	n_asked = 0;
	sem_destroy(&is_held);
	sem_destroy(&may_go);
}

static void ask_get(const char *token, const char *key, bool serializable)
{
	Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;

	q.key = bin(key);
	q.serializable = serializable;
	ask(token, "/etcdserverpb.KV/Range", &q.base, &etcdserverpb__range_response__descriptor);
}

static void ask_put(const char *token, const char *key)
{
	Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;

	q.key = bin(key);
	ask(token, "/etcdserverpb.KV/Put", &q.base, &etcdserverpb__put_response__descriptor);
}

static void ask_grant_lease(const char *token)
{
	Etcdserverpb__LeaseGrantRequest q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

	q.ttl = 100;
	ask(token, "/etcdserverpb.Lease/LeaseGrant", &q.base, &etcdserverpb__lease_grant_response__descriptor);
}

static void ask_leases(const char *token)
{
	Etcdserverpb__LeaseLeasesRequest q = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;

	ask(token, "/etcdserverpb.Lease/LeaseLeases", &q.base, &etcdserverpb__lease_leases_response__descriptor);
}

static void ask_hash(const char *token)
{
	Etcdserverpb__HashKVRequest q = ETCDSERVERPB__HASH_KVREQUEST__INIT;

	ask(token, "/etcdserverpb.Maintenance/HashKV", &q.base, &etcdserverpb__hash_kvresponse__descriptor);
}

static void ask_lock(const char *token, const char *name)
{
	V3lockpb__LockRequest q = V3LOCKPB__LOCK_REQUEST__INIT;

	q.name = bin(name);
	ask(token, "/v3lockpb.Lock/Lock", &q.base, &v3lockpb__lock_response__descriptor);
}

/* A stream, and a watch on it that the held member has been asked for. */
static struct chat *ask_watch(const char *token, const char *key)
{
	struct http_header h = {STR("token"), str_from(token)};
	Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	struct more m = {taken()};
	struct chat *c = chat_start(behind, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, token ? &h : NULL);

	create.key = bin(key);
	q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	q.create_request = &create;
	chat_send(c, &q.base);
	rig_until(behind, is_more, &m);
	return c;
}

static void check_watch(struct chat *c, const char *refusal)
{
	Etcdserverpb__WatchResponse *w = chat_next(c);

	assert_true(w->created);
	if (refusal == NULL && w->canceled)
		fail_msg("a watch is refused: %s", w->cancel_reason);
	assert_int_equal(w->canceled, refusal != NULL);
	/* To the letter: Go's clients watch on with another token when they read this. */
	if (refusal != NULL && strcmp(w->cancel_reason, refusal) != 0)
		fail_msg("%s, not %s", w->cancel_reason, refusal);
	chat_free(c);
}

/* --- Users ------------------------------------------------------------------------------------------------------------------ */

static const char *login(struct rig *r, const char *name)
{
	struct answer a;
	const char *token = rig_login(r, name, "pw", &a);

	if (token == NULL)
		fail_msg("%s: %d %s", name, a.code, a.text);
	return token;
}

/* root, alice who may do everything with the key "a", bob who may nothing. */
static void make_users(void)
{
	Etcdserverpb__AuthUserAddRequest bob = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;

	rig_role(rigs[0], "mine", "a");
	rig_user(rigs[0], "root", "pw", "root");
	rig_user(rigs[0], "alice", "pw", "mine");
	bob.name = c_("bob");
	bob.password = c_("pw");
	assert_non_null(rig_call(rigs[0], AUTH("UserAdd"), &bob.base, &etcdserverpb__auth_user_add_response__descriptor).message);
}

static void delete_user(const char *root, const char *name)
{
	Etcdserverpb__AuthUserDeleteRequest q = ETCDSERVERPB__AUTH_USER_DELETE_REQUEST__INIT;
	struct answer a;

	q.name = c_(name);
	a = rig_as(ahead, root, AUTH("UserDelete"), &q.base, &etcdserverpb__auth_user_delete_response__descriptor);
	if (a.message == NULL)
		fail_msg("%d %s", a.code, a.text);
}

static void disable(struct rig *r, const char *root)
{
	Etcdserverpb__AuthDisableRequest q = ETCDSERVERPB__AUTH_DISABLE_REQUEST__INIT;

	assert_non_null(rig_as(r, root, AUTH("AuthDisable"), &q.base, &etcdserverpb__auth_disable_response__descriptor).message);
}

/* --- The tests --------------------------------------------------------------------------------------------------------------- */

/* Authentication was enabled, and somebody has logged in, elsewhere. */
static void enabled_elsewhere(void)
{
	const char *alice, *root;
	struct chat *w, *other;

	hold();
	rig_enable(ahead);
	alice = login(ahead, "alice");
	root = login(ahead, "root");
	ask_get(alice, "a", false);
	ask_put(alice, "a");
	ask_get(alice, "b", false);
	ask_put(alice, "b");
	ask_get(NULL, "a", false);
	ask_put(NULL, "a");
	ask_get("nonsense", "a", false);
	ask_put("nonsense", "a");
	ask_get(alice, "b", true);
	ask_hash(root);
	ask_hash(alice);
	ask_grant_lease(alice);
	ask_leases(alice);
	ask_lock(root, "lock");
	w = ask_watch(alice, "a");
	other = ask_watch(alice, "b");
	let_go();
	check(0, 0, "");
	check(1, 0, "");
	check(2, 7, DENIED);
	check(3, 7, DENIED);
	check(4, 3, NO_NAME);
	check(5, 3, NO_NAME);
	check(6, 16, BAD_TOKEN);
	check(7, 16, BAD_TOKEN);
	check(8, 7, DENIED);
	check(9, 0, "");
	check(10, 7, DENIED);
	check(11, 0, "");
	check(12, 0, "");
	check(13, 0, "");
	check_watch(w, NULL);
	check_watch(other, "rpc error: code = PermissionDenied desc = " DENIED);
	forget();
}

/* Authentication is on everywhere, and somebody has logged in elsewhere. */
static void token_elsewhere(void)
{
	const char *alice, *root;
	struct chat *w;

	hold();
	alice = login(ahead, "alice");
	root = login(ahead, "root");
	ask_get(alice, "a", false);
	ask_get(alice, "a", true);
	ask_put(alice, "a");
	ask_grant_lease(alice);
	ask_leases(alice);
	ask_hash(root);
	w = ask_watch(alice, "a");
	let_go();
	for (size_t i = 0; i < 6; i++)
		check(i, 0, "");
	check_watch(w, NULL);
	forget();
}

/* A role was given to somebody who has a token; with a signed one the client has to log in again, as with etcd. */
static void role_elsewhere(bool is_signed)
{
	const char *root = login(rigs[0], "root"), *bob = login(rigs[0], "bob");
	struct chat *w;

	hold();
	rig_grant(ahead, root, "bob", "mine");
	if (is_signed)
		bob = login(ahead, "bob");
	ask_get(bob, "a", false);
	ask_put(bob, "a");
	ask_get(bob, "a", true);
	ask_grant_lease(bob);
	w = ask_watch(bob, "a");
	let_go();
	for (size_t i = 0; i < 4; i++)
		check(i, 0, "");
	check_watch(w, NULL);
	forget();
	/* He administers from now on. */
	root = login(rigs[0], "root");
	hold();
	rig_grant(ahead, root, "bob", "root");
	if (is_signed)
		bob = login(ahead, "bob");
	ask_hash(bob);
	let_go();
	check(0, 0, "");
	forget();
}

/* Who was deleted may nothing from that moment. */
static void user_deleted_elsewhere(bool is_signed)
{
	const char *root = login(rigs[0], "root"), *bob = login(rigs[0], "bob");
	const char *why = is_signed ? OLD : BAD_TOKEN;
	struct chat *w;

	hold();
	delete_user(root, "bob");
	ask_get(bob, "a", false);
	ask_put(bob, "a");
	ask_hash(bob);
	w = ask_watch(bob, "a");
	let_go();
	check(0, is_signed ? 3 : 16, why);
	/* The token was good here when the put was let in; where it is applied there is no such user any more. */
	assert_true(asked[1].call.code != GRPC_OK);
	assert_true(asked[2].call.code != GRPC_OK);
	check_watch(w, is_signed ? "rpc error: code = InvalidArgument desc = " OLD : "rpc error: code = Unauthenticated desc = " BAD_TOKEN);
	forget();
}

static void test_simple_tokens(void **state _unused_)
{
	start(NULL);
	make_users();
	enabled_elsewhere();
	token_elsewhere();
	role_elsewhere(false);
	user_deleted_elsewhere(false);
	disable(rigs[1], login(rigs[1], "root"));
}

/* Authentication was turned off elsewhere: nobody needs a name any more. */
static void test_disabled(void **state _unused_)
{
	struct chat *w;

	rig_enable(rigs[0]);
	hold();
	disable(ahead, login(ahead, "root"));
	ask_get(NULL, "x", false);
	ask_put(NULL, "x");
	ask_get(NULL, "x", true);
	ask_hash(NULL);
	w = ask_watch(NULL, "x");
	let_go();
	for (size_t i = 0; i < 4; i++)
		check(i, 0, "");
	check_watch(w, NULL);
	forget();
}

/* A member that was added elsewhere is found. */
static void test_members(void **state _unused_)
{
	Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
	Etcdserverpb__MemberRemoveRequest drop = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
	const char *urls[1] = {"http://127.0.0.1:1"};
	Etcdserverpb__MemberAddResponse *added;

	hold();
	add.n_peerurls = 1;
	add.peerurls = urls;
	add.islearner = true;
	added = rig_call(ahead, "/etcdserverpb.Cluster/MemberAdd", &add.base, &etcdserverpb__member_add_response__descriptor).message;
	assert_non_null(added);
	drop.id = added->member->id;
	ask(NULL, "/etcdserverpb.Cluster/MemberRemove", &drop.base, &etcdserverpb__member_remove_response__descriptor);
	let_go();
	check(0, 0, "");
	forget();
}

static bool leaderless(void *arg)
{
	struct rig *r = arg;

	return !etcd__has_leader(r->srv->loops[0]);
}

/* Nobody to catch up with: what is known here is what counts, at once. */
static void test_no_leader(void **state _unused_)
{
	const char *root;

	rig_enable(rigs[0]);
	root = login(rigs[2], "root");
	assert_non_null(rig_get_as(rigs[2], root, "a").message);
	for (int i = 0; i < 2; i++) {
		rig_stop(rigs[i]);
		rigs[i] = NULL;
	}
	behind = rigs[2];
	rig_until(behind, leaderless, behind);
	ask_get(root, "a", true);
	ask_get("nonsense", "a", true);
	ask_hash(root);
	ask_hash("nonsense");
	rig_until(behind, all_answered, NULL);
	check(0, 0, "");
	check(1, 16, BAD_TOKEN);
	check(2, 0, "");
	check(3, 16, BAD_TOKEN);
	check_watch(ask_watch(root, "a"), NULL);
	check_watch(ask_watch("nonsense", "a"), "rpc error: code = Unauthenticated desc = " BAD_TOKEN);
	for (size_t i = 0; i < n_asked; i++)
		grpc_call_fini(&asked[i].call);
	n_asked = 0;
	stop();
}

static struct jws_key *new_key(void)
{
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	struct jws_key *key = NULL;
	struct err e = ERR_INIT;
	char *pem;
	long n;

	assert_non_null(pair);
	assert_int_equal(PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &pem);
	if (jws_key_new("ES256", str_of(pem, (size_t)n), STR(""), &key, &e) != 0)
		fail_msg("%s", e.text);
	BIO_free(bio);
	EVP_PKEY_free(pair);
	return key;
}

static void test_signed_tokens(void **state _unused_)
{
	struct jws_key *key = new_key();

	start(key);
	make_users();
	enabled_elsewhere();
	token_elsewhere();
	role_elsewhere(true);
	user_deleted_elsewhere(true);
	stop();
	jws_key_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_simple_tokens),
			cmocka_unit_test(test_disabled),
			cmocka_unit_test(test_members),
			cmocka_unit_test(test_no_leader),
			cmocka_unit_test(test_signed_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
