/* The etcd API over a real member: KV, watches, leases, locks, elections, health, and what happens to bad requests. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_health.pb-c.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/etcd/etcd_rig.h"

#define CALL(r, method, q, type) rig_call(r, method, &(q).base, &type##__descriptor)

static struct rig *rig;

static int setup(void **state _unused_)
{
	rig = rig_start(NULL, NULL);
	return 0;
}

static int teardown(void **state _unused_)
{
	rig_stop(rig);
	return 0;
}

static void check_error(struct answer a, int code, const char *text)
{
	assert_int_equal(a.code, code);
	assert_string_equal(a.text, text);
}

/* --- KV ------------------------------------------------------------------------------------------------------------- */

static void test_kv(void **state _unused_)
{
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__PutResponse *p;
	Etcdserverpb__RangeResponse *g = rig_get(rig, "a", NULL);
	int64_t first = g->header->revision;

	assert_int_equal(g->n_kvs, 0);
	p = rig_put(rig, "a", "1");
	assert_int_equal(p->header->revision, first + 1);
	assert_int_not_equal(p->header->cluster_id, 0);
	assert_int_not_equal(p->header->member_id, 0);
	assert_int_not_equal(p->header->raft_term, 0);
	rig_put(rig, "b", "2");
	put.key = bin("a");
	put.value = bin("3");
	put.prev_kv = true;
	p = CALL(rig, "/etcdserverpb.KV/Put", put, etcdserverpb__put_response).message;
	assert_bin(p->prev_kv->value, "1");
	g = rig_get(rig, "a", "c");
	assert_int_equal(g->n_kvs, 2);
	assert_int_equal(g->count, 2);
	assert_bin(g->kvs[0]->value, "3");
	assert_int_equal(g->kvs[0]->version, 2);
	assert_int_equal(g->header->member_id, p->header->member_id);
	assert_int_equal(rig_del(rig, "a", "c")->deleted, 2);
	assert_int_equal(rig_get(rig, "a", "c")->count, 0);
}

static void test_txn(void **state _unused_)
{
	Etcdserverpb__TxnRequest q = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op};
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__TxnResponse *t;
	int64_t before = rig_put(rig, "t", "1")->header->revision;

	range.key = bin("t");
	op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	op.request_range = &range;
	cmp.key = bin("t");
	cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
	cmp.value = bin("1");
	q.n_compare = q.n_success = 1;
	q.compare = cmps;
	q.success = ops;
	/* One that only reads changes no revision; linearizable or not. */
	for (int serializable = 0; serializable < 2; serializable++) {
		range.serializable = serializable;
		t = CALL(rig, "/etcdserverpb.KV/Txn", q, etcdserverpb__txn_response).message;
		assert_true(t->succeeded);
		assert_int_equal(t->n_responses, 1);
		assert_bin(t->responses[0]->response_range->kvs[0]->value, "1");
		assert_int_equal(t->header->revision, before);
	}
}

static void test_compact(void **state _unused_)
{
	Etcdserverpb__CompactionRequest q = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

	for (int i = 0; i < 20; i++)
		q.revision = rig_put(rig, "c", "x")->header->revision;
	q.physical = true;
	assert_int_equal(CALL(rig, "/etcdserverpb.KV/Compact", q, etcdserverpb__compaction_response).code, GRPC_OK);
	check_error(CALL(rig, "/etcdserverpb.KV/Compact", q, etcdserverpb__compaction_response), GRPC_OUT_OF_RANGE,
			"etcdserver: mvcc: required revision has been compacted");
	q.revision += 1000;
	check_error(CALL(rig, "/etcdserverpb.KV/Compact", q, etcdserverpb__compaction_response), GRPC_OUT_OF_RANGE,
			"etcdserver: mvcc: required revision is a future revision");
	range.key = bin("c");
	range.revision = 2;
	range.serializable = true;
	check_error(CALL(rig, "/etcdserverpb.KV/Range", range, etcdserverpb__range_response), GRPC_OUT_OF_RANGE,
			"etcdserver: mvcc: required revision has been compacted");
}

static void test_refused(void **state _unused_)
{
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
	size_t big = (3u << 19) + 1;
	struct answer a;

	check_error(CALL(rig, "/etcdserverpb.KV/Put", put, etcdserverpb__put_response), GRPC_INVALID_ARGUMENT,
			"etcdserver: key is not provided");
	check_error(CALL(rig, "/etcdserverpb.KV/Range", range, etcdserverpb__range_response), GRPC_INVALID_ARGUMENT,
			"etcdserver: key is not provided");
	put.key = bin("k");
	put.value = (ProtobufCBinaryData){big, arena_zalloc(&rig->arena, big)};
	check_error(CALL(rig, "/etcdserverpb.KV/Put", put, etcdserverpb__put_response), GRPC_INVALID_ARGUMENT,
			"etcdserver: request is too large");
	/* One that fits is taken. */
	put.value.len -= 100;
	assert_int_equal(CALL(rig, "/etcdserverpb.KV/Put", put, etcdserverpb__put_response).code, GRPC_OK);
	put.value = bin("v");
	put.lease = 4711;
	check_error(CALL(rig, "/etcdserverpb.KV/Put", put, etcdserverpb__put_response), GRPC_NOT_FOUND,
			"etcdserver: requested lease not found");
	a = rig_call_bytes(rig, "/etcdserverpb.KV/Compact", STR("\xff\xff\xff"), &etcdserverpb__compaction_response__descriptor,
			NULL);
	assert_int_equal(a.code, GRPC_INTERNAL);
	a = rig_call_bytes(rig, "/etcdserverpb.KV/Range", STR("\x0a\x05"), &etcdserverpb__range_response__descriptor, NULL);
	assert_int_not_equal(a.code, GRPC_OK);
	a = rig_call_bytes(rig, "/etcdserverpb.KV/RangeStream", STR(""), &etcdserverpb__range_response__descriptor, NULL);
	assert_int_equal(a.code, GRPC_UNIMPLEMENTED);
	a = rig_call_bytes(rig, "/nobody.Knows/This", STR(""), &etcdserverpb__range_response__descriptor, NULL);
	assert_int_equal(a.code, GRPC_UNIMPLEMENTED);
}

/* --- Watch ------------------------------------------------------------------------------------------------------------ */

static struct chat *watch(struct rig *r)
{
	return chat_start(r, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, NULL);
}

struct watch_args {
	const char *key, *end;
	int64_t start, id;
	bool prev_kv, notify, fragment, no_put, no_delete;
};

/* Asks, and returns the answer. */
static Etcdserverpb__WatchResponse *create(struct chat *c, struct watch_args w)
{
	Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest k = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest__FilterType filters[2];

	k.key = bin(w.key);
	k.range_end = bin(w.end ? w.end : "");
	k.start_revision = w.start;
	k.watch_id = w.id;
	k.prev_kv = w.prev_kv;
	k.progress_notify = w.notify;
	k.fragment = w.fragment;
	k.filters = filters;
	if (w.no_put)
		filters[k.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
	if (w.no_delete)
		filters[k.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
	q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	q.create_request = &k;
	chat_send(c, &q.base);
	return chat_next(c);
}

static void ask_progress(struct chat *c)
{
	Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchProgressRequest p = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;

	q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
	q.progress_request = &p;
	chat_send(c, &q.base);
}

static void cancel(struct chat *c, int64_t id)
{
	Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCancelRequest k = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;

	k.watch_id = id;
	q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
	q.cancel_request = &k;
	chat_send(c, &q.base);
}

static void test_watch(void **state _unused_)
{
	struct chat *c = watch(rig);
	int64_t rev = rig_put(rig, "w/1", "old")->header->revision;
	Etcdserverpb__WatchResponse *r = create(c, (struct watch_args){.key = "w/", .end = "w0", .prev_kv = true});

	assert_true(r->created);
	assert_int_equal(r->watch_id, 0);
	assert_int_equal(r->header->revision, rev);
	rig_put(rig, "w/1", "new");
	r = chat_next(c);
	assert_int_equal(r->n_events, 1);
	assert_bin(r->events[0]->kv->value, "new");
	assert_bin(r->events[0]->prev_kv->value, "old");
	assert_int_equal(r->header->revision, rev + 1);
	rig_del(rig, "w/", "w0");
	r = chat_next(c);
	assert_int_equal(r->events[0]->type, MVCCPB__EVENT__EVENT_TYPE__DELETE);
	assert_bin(r->events[0]->kv->key, "w/1");
	assert_int_equal(r->events[0]->kv->mod_revision, rev + 2);
	assert_int_equal(r->events[0]->kv->create_revision, 0);
	assert_bin(r->events[0]->prev_kv->value, "new");
	/* A second one on the stream, from the past, without deletes. */
	r = create(c, (struct watch_args){.key = "w/1", .start = rev, .no_delete = true});
	assert_int_equal(r->watch_id, 1);
	r = chat_next(c);
	assert_int_equal(r->watch_id, 1);
	assert_int_equal(r->n_events, 2);
	assert_int_equal(r->events[1]->kv->mod_revision, rev + 1);
	assert_null(r->events[1]->prev_kv);
	/* Canceled, it tells nothing more. */
	cancel(c, 0);
	r = chat_next(c);
	assert_true(r->canceled);
	assert_int_equal(r->watch_id, 0);
	cancel(c, 99);
	rig_put(rig, "w/1", "last");
	r = chat_next(c);
	assert_int_equal(r->watch_id, 1);
	chat_quiet(c, 50);
	chat_free(c);
}

static void test_watch_refused(void **state _unused_)
{
	struct chat *c = watch(rig);
	Etcdserverpb__CompactionRequest q = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	Etcdserverpb__WatchResponse *r = create(c, (struct watch_args){.key = "r", .id = 7});

	assert_int_equal(r->watch_id, 7);
	r = create(c, (struct watch_args){.key = "r", .id = 7});
	assert_true(r->created && r->canceled);
	assert_int_equal(r->watch_id, -1);
	assert_string_equal(r->cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
	r = create(c, (struct watch_args){.key = "r", .end = "q"});
	assert_string_equal(r->cancel_reason, "mvcc: watcher range is empty");
	r = create(c, (struct watch_args){.key = "r", .start = -1});
	assert_true(r->canceled);
	assert_string_equal(r->cancel_reason, "etcdserver: mvcc: required revision has been compacted");
	/* A start that is compacted: created, then canceled with the revision to begin at. */
	rig_put(rig, "r", "1");
	(void)chat_next(c);
	q.revision = rig_put(rig, "r", "2")->header->revision;
	(void)chat_next(c);
	assert_int_equal(CALL(rig, "/etcdserverpb.KV/Compact", q, etcdserverpb__compaction_response).code, GRPC_OK);
	r = create(c, (struct watch_args){.key = "r", .start = 2});
	assert_true(r->created && !r->canceled);
	r = chat_next(c);
	assert_true(r->canceled);
	assert_int_equal(r->compact_revision, q.revision);
	assert_int_equal(r->header->revision, 0);
	/* At the compacted revision itself all is still there. */
	r = create(c, (struct watch_args){.key = "r", .start = q.revision});
	assert_true(r->created);
	r = chat_next(c);
	assert_int_equal(r->events[0]->kv->mod_revision, q.revision);
	/* Garbage ends the stream. */
	grpc_send(&c->call, STR("\xff\xff"), NULL);
	assert_int_equal(chat_end(c), GRPC_INTERNAL);
	chat_free(c);
}

static void test_watch_progress(void **state _unused_)
{
	struct chat *c = watch(rig);
	Etcdserverpb__WatchResponse *r;
	int64_t rev;

	create(c, (struct watch_args){.key = "p"});
	rev = rig_put(rig, "other", "1")->header->revision;
	/* Asked until it is as new as what was read: as the API server does. */
	do {
		ask_progress(c);
		r = chat_next(c);
		assert_int_equal(r->watch_id, -1);
		assert_int_equal(r->n_events, 0);
	} while (r->header->revision < rev);
	/* A watch that begins in the future keeps the stream from saying anything before. */
	create(c, (struct watch_args){.key = "p", .start = rev + 3});
	ask_progress(c);
	chat_quiet(c, 50);
	for (int i = 1; i < 3; i++)
		rev = rig_put(rig, "other", "2")->header->revision;
	r = chat_next(c);
	assert_int_equal(r->watch_id, -1);
	assert_int_equal(r->header->revision, rev);
	chat_free(c);
}

static void test_watch_notify(void **state _unused_)
{
	struct rig *own = rig_start(&(struct etcd_server_cfg){.progress_ms = 20}, NULL);
	struct chat *c = watch(own);
	Etcdserverpb__WatchResponse *r = create(c, (struct watch_args){.key = "n", .notify = true, .id = 3});

	r = chat_next(c);
	assert_int_equal(r->watch_id, 3);
	assert_int_equal(r->n_events, 0);
	assert_int_equal(r->header->revision, rig_get(own, "n", NULL)->header->revision);
	chat_free(c);
	rig_stop(own);
}

/* Responses that are larger than a request may be come in marked parts, whole events each. */
static void test_watch_fragment(void **state _unused_)
{
	struct rig *own = rig_start(&(struct etcd_server_cfg){.max_request_bytes = 2000}, NULL);
	struct chat *c = watch(own);
	Etcdserverpb__WatchResponse *r;
	char value[1001];
	size_t n_events = 0, n_parts = 0;

	memset(value, 'x', 1000);
	value[1000] = '\0';
	for (int i = 0; i < 10; i++)
		rig_put(own, "f", value);
	create(c, (struct watch_args){.key = "f", .start = 2, .fragment = true});
	do {
		r = chat_next(c);
		n_events += r->n_events;
		n_parts++;
	} while (r->fragment);
	assert_int_equal(n_events, 10);
	assert_int_equal(n_parts, 10);
	create(c, (struct watch_args){.key = "f", .start = 2});
	r = chat_next(c);
	assert_int_equal(r->n_events, 10);
	assert_false(r->fragment);
	chat_free(c);
	rig_stop(own);
}

struct count {
	struct chat *c;
	size_t want;
};

static bool has_messages(void *arg)
{
	struct count *k = arg;

	return k->c->n >= k->want;
}

static uint64_t slow_streams(struct rig *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < r->srv->n_loops; i++)
		n += atomic_load(&r->srv->loops[i]->slow_watchers);
	return n;
}

static bool is_slow(void *arg)
{
	return slow_streams(arg) == 1;
}

static bool is_quick(void *arg)
{
	return slow_streams(arg) == 0;
}

/* Who does not read is not fed; who reads again gets everything, once and in order. */
static void test_watch_slow(void **state _unused_)
{
	struct chat *c = watch(rig);
	size_t size = 256 << 10, n = 60, seen = 0;
	char *value = xmalloc(size + 1);
	int64_t last = 0;

	memset(value, 'v', size);
	value[size] = '\0';
	create(c, (struct watch_args){.key = "slow"});
	grpc_pause(&c->call);
	for (size_t i = 0; i < n; i++)
		rig_put(rig, "slow", value);
	/* What waits for it is bounded: its watches stand still. */
	rig_until(rig, is_slow, rig);
	grpc_resume(&c->call);
	while (seen < n) {
		Etcdserverpb__WatchResponse *r = chat_next(c);

		for (size_t i = 0; i < r->n_events; i++, seen++) {
			assert_true(r->events[i]->kv->mod_revision > last);
			last = r->events[i]->kv->mod_revision;
			assert_int_equal(r->events[i]->kv->version, seen + 1);
		}
	}
	rig_until(rig, is_quick, rig);
	chat_quiet(c, 20);
	chat_free(c);
	free(value);
}

static void test_watch_many(void **state _unused_)
{
	struct chat *c = watch(rig);
	size_t n = 1000;

	for (size_t i = 0; i < n; i++)
		create(c, (struct watch_args){.key = "m/", .end = "m0"});
	rig_put(rig, "m/1", "x");
	rig_until(rig, has_messages, &(struct count){c, 2 * n});
	for (size_t i = 0; i < n; i++) {
		Etcdserverpb__WatchResponse *r = chat_next(c);

		assert_int_equal(r->n_events, 1);
		assert_bin(r->events[0]->kv->value, "x");
	}
	chat_free(c);
}

/* --- Leases ------------------------------------------------------------------------------------------------------------ */

static int64_t grant(struct rig *r, int64_t ttl)
{
	Etcdserverpb__LeaseGrantRequest q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	struct answer a;

	q.ttl = ttl;
	a = CALL(r, "/etcdserverpb.Lease/LeaseGrant", q, etcdserverpb__lease_grant_response);
	assert_int_equal(a.code, GRPC_OK);
	return ((Etcdserverpb__LeaseGrantResponse *)a.message)->id;
}

static void put_with(struct rig *r, const char *key, int64_t lease)
{
	Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;

	q.key = bin(key);
	q.lease = lease;
	assert_int_equal(CALL(r, "/etcdserverpb.KV/Put", q, etcdserverpb__put_response).code, GRPC_OK);
}

static Etcdserverpb__LeaseTimeToLiveResponse *time_to_live(struct rig *r, int64_t id, bool keys)
{
	Etcdserverpb__LeaseTimeToLiveRequest q = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;

	q.id = id;
	q.keys = keys;
	return CALL(r, "/etcdserverpb.Lease/LeaseTimeToLive", q, etcdserverpb__lease_time_to_live_response).message;
}

static int64_t keep_alive(struct chat *c, int64_t id)
{
	Etcdserverpb__LeaseKeepAliveRequest q = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
	Etcdserverpb__LeaseKeepAliveResponse *k;

	q.id = id;
	chat_send(c, &q.base);
	k = chat_next(c);
	assert_int_equal(k->id, id);
	assert_int_not_equal(k->header->revision, 0);
	return k->ttl;
}

static void test_lease(void **state _unused_)
{
	Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	Etcdserverpb__LeaseLeasesRequest list = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
	Etcdserverpb__LeaseTimeToLiveResponse *t;
	Etcdserverpb__LeaseLeasesResponse *l;
	struct chat *c = chat_start(rig, "/etcdserverpb.Lease/LeaseKeepAlive",
			&etcdserverpb__lease_keep_alive_response__descriptor, NULL);
	int64_t id = grant(rig, 100), rev;

	assert_int_equal(keep_alive(c, id), 100);
	put_with(rig, "l/1", id);
	put_with(rig, "l/2", id);
	t = time_to_live(rig, id, true);
	assert_int_equal(t->grantedttl, 100);
	assert_in_range(t->ttl, 95, 100);
	assert_int_equal(t->n_keys, 2);
	assert_bin(t->keys[1], "l/2");
	assert_int_equal(time_to_live(rig, id, false)->n_keys, 0);
	l = CALL(rig, "/etcdserverpb.Lease/LeaseLeases", list, etcdserverpb__lease_leases_response).message;
	assert_int_equal(l->n_leases, 1);
	assert_int_equal(l->leases[0]->id, id);
	rev = rig_get(rig, "l/1", NULL)->header->revision;
	revoke.id = id;
	assert_int_equal(CALL(rig, "/etcdserverpb.Lease/LeaseRevoke", revoke, etcdserverpb__lease_revoke_response).code, 0);
	assert_int_equal(rig_get(rig, "l/", "l0")->count, 0);
	assert_int_equal(rig_get(rig, "l/", "l0")->header->revision, rev + 1);
	check_error(CALL(rig, "/etcdserverpb.Lease/LeaseRevoke", revoke, etcdserverpb__lease_revoke_response), GRPC_NOT_FOUND,
			"etcdserver: requested lease not found");
	assert_int_equal(keep_alive(c, id), 0);
	assert_int_equal(time_to_live(rig, id, true)->ttl, -1);
	grpc_close_send(&c->call);
	assert_int_equal(chat_end(c), GRPC_OK);
	chat_free(c);
}

static bool key_is_gone(void *arg)
{
	return rig_get(rig, arg, NULL)->count == 0;
}

/* The shortest lease ends by itself; a keep-alive says so only when it is gone, and its keys are too. */
static void test_lease_ends(void **state _unused_)
{
	struct chat *c = chat_start(rig, "/etcdserverpb.Lease/LeaseKeepAlive",
			&etcdserverpb__lease_keep_alive_response__descriptor, NULL);
	int64_t id = grant(rig, 0);

	assert_in_range(keep_alive(c, id), 1, 2);
	put_with(rig, "short", id);
	rig_until(rig, key_is_gone, (void *)(uintptr_t)"short");
	assert_int_equal(keep_alive(c, id), 0);
	chat_free(c);
}

/* --- Locks and elections -------------------------------------------------------------------------------------------------- */

static struct answer unlock(struct rig *r, ProtobufCBinaryData key)
{
	V3lockpb__UnlockRequest q = V3LOCKPB__UNLOCK_REQUEST__INIT;

	q.key = key;
	return CALL(r, "/v3lockpb.Lock/Unlock", q, v3lockpb__unlock_response);
}

/* A unary call that waits, as a stream of one answer. */
static struct chat *lock(struct rig *r, const char *name, int64_t lease)
{
	V3lockpb__LockRequest q = V3LOCKPB__LOCK_REQUEST__INIT;
	struct chat *c = chat_start(r, "/v3lockpb.Lock/Lock", &v3lockpb__lock_response__descriptor, NULL);

	q.name = bin(name);
	q.lease = lease;
	chat_send(c, &q.base);
	grpc_close_send(&c->call);
	return c;
}

static bool three_wait(void *arg)
{
	return rig_get(arg, "lock/", "lock0")->count == 3;
}

static bool two_wait(void *arg)
{
	return rig_get(arg, "lock/", "lock0")->count == 2;
}

static void test_lock(void **state _unused_)
{
	struct chat *a = lock(rig, "lock", 0), *b, *c;
	V3lockpb__LockResponse *la = chat_next(a), *lc;

	assert_int_equal(chat_end(a), GRPC_OK);
	b = lock(rig, "lock", grant(rig, 60));
	chat_quiet(b, 30);
	c = lock(rig, "lock", grant(rig, 60));
	rig_until(rig, three_wait, rig);
	/* The second gives up: its place goes, and does not go to the third while the first holds. */
	chat_free(b);
	rig_until(rig, two_wait, rig);
	chat_quiet(c, 30);
	assert_int_equal(unlock(rig, la->key).code, GRPC_OK);
	lc = chat_next(c);
	assert_int_equal(rig_get(rig, "lock/", "lock0")->count, 1);
	assert_memory_equal(rig_get(rig, "lock/", "lock0")->kvs[0]->key.data, lc->key.data, lc->key.len);
	assert_int_equal(unlock(rig, lc->key).code, GRPC_OK);
	chat_free(a);
	chat_free(c);
	check_error(CALL(rig, "/v3lockpb.Lock/Unlock", (V3lockpb__UnlockRequest)V3LOCKPB__UNLOCK_REQUEST__INIT,
				    v3lockpb__unlock_response),
			GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided");
}

static struct chat *campaign(struct rig *r, const char *name, const char *value, int64_t lease)
{
	V3electionpb__CampaignRequest q = V3ELECTIONPB__CAMPAIGN_REQUEST__INIT;
	struct chat *c = chat_start(r, "/v3electionpb.Election/Campaign", &v3electionpb__campaign_response__descriptor, NULL);

	q.name = bin(name);
	q.value = bin(value);
	q.lease = lease;
	chat_send(c, &q.base);
	grpc_close_send(&c->call);
	return c;
}

static void test_election(void **state _unused_)
{
	V3electionpb__LeaderRequest who = V3ELECTIONPB__LEADER_REQUEST__INIT;
	V3electionpb__ProclaimRequest say = V3ELECTIONPB__PROCLAIM_REQUEST__INIT;
	V3electionpb__ResignRequest resign = V3ELECTIONPB__RESIGN_REQUEST__INIT;
	struct chat *watch_leader, *a, *b;
	V3electionpb__CampaignResponse *ca;
	V3electionpb__LeaderResponse *l;

	who.name = bin("el");
	check_error(CALL(rig, "/v3electionpb.Election/Leader", who, v3electionpb__leader_response), GRPC_UNKNOWN,
			"election: no leader");
	watch_leader = chat_start(rig, "/v3electionpb.Election/Observe", &v3electionpb__leader_response__descriptor, NULL);
	chat_send(watch_leader, &who.base);
	grpc_close_send(&watch_leader->call);
	a = campaign(rig, "el", "a", grant(rig, 60));
	ca = chat_next(a);
	assert_bin(ca->leader->name, "el");
	l = chat_next(watch_leader);
	assert_bin(l->kv->value, "a");
	b = campaign(rig, "el", "b", grant(rig, 60));
	chat_quiet(b, 30);
	say.leader = ca->leader;
	say.value = bin("a2");
	assert_int_equal(CALL(rig, "/v3electionpb.Election/Proclaim", say, v3electionpb__proclaim_response).code, GRPC_OK);
	l = chat_next(watch_leader);
	assert_bin(l->kv->value, "a2");
	l = CALL(rig, "/v3electionpb.Election/Leader", who, v3electionpb__leader_response).message;
	assert_bin(l->kv->value, "a2");
	resign.leader = ca->leader;
	assert_int_equal(CALL(rig, "/v3electionpb.Election/Resign", resign, v3electionpb__resign_response).code, GRPC_OK);
	(void)chat_next(b);
	l = chat_next(watch_leader);
	assert_bin(l->kv->value, "b");
	check_error(CALL(rig, "/v3electionpb.Election/Proclaim", say, v3electionpb__proclaim_response), GRPC_UNKNOWN,
			"election: not leader");
	say.leader = NULL;
	check_error(CALL(rig, "/v3electionpb.Election/Proclaim", say, v3electionpb__proclaim_response), GRPC_UNKNOWN,
			"\"leader\" field must be provided");
	chat_free(watch_leader);
	chat_free(a);
	chat_free(b);
}

/* --- Health, leaderless members, the end --------------------------------------------------------------------------------- */

static void test_health(void **state _unused_)
{
	Grpchealth__HealthCheckRequest q = GRPCHEALTH__HEALTH_CHECK_REQUEST__INIT;
	Grpchealth__HealthCheckResponse *h =
			CALL(rig, "/grpc.health.v1.Health/Check", q, grpchealth__health_check_response).message;

	assert_int_equal(h->status, GRPCHEALTH__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
	q.service = (char *)(uintptr_t)"nobody";
	assert_int_equal(CALL(rig, "/grpc.health.v1.Health/Check", q, grpchealth__health_check_response).code, GRPC_NOT_FOUND);
}

/* One of three members, the others are not there: who insists on a leader is told at once. */
static void test_no_leader(void **state _unused_)
{
	static const struct http_header insists = {STR_INIT("hasleader"), STR_INIT("true")};
	const struct kv_peer peers[] = {{.name = "a", .addr = "127.0.0.1:1"}, {.name = "b", .addr = "127.0.0.1:2"},
			{.name = "c", .addr = "127.0.0.1:3"}};
	struct kv_cfg cfg = {.name = "a", .listen = "127.0.0.1:0", .advertise = "127.0.0.1:1", .initial = peers, .n_initial = 3,
			.nosync = true};
	struct rig *own = rig_start(NULL, &cfg);
	Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
	struct chat *c;
	struct answer a;

	q.key = bin("a");
	a = rig_call_bytes(own, "/etcdserverpb.KV/Range", pb_pack_arena(&q, &own->arena),
			&etcdserverpb__range_response__descriptor, &insists);
	check_error(a, GRPC_UNAVAILABLE, "etcdserver: no leader");
	c = chat_start(own, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, &insists);
	assert_int_equal(chat_end(c), GRPC_UNAVAILABLE);
	chat_free(c);
	/* What needs none is served. */
	q.serializable = true;
	assert_int_equal(CALL(own, "/etcdserverpb.KV/Range", q, etcdserverpb__range_response).code, GRPC_OK);
	rig_stop(own);
}

/* The server stops with everything open: each stream is told, and nothing is left behind. */
static void test_stop(void **state _unused_)
{
	struct rig *own = rig_start(NULL, NULL);
	struct chat *w = watch(own), *k = chat_start(own, "/etcdserverpb.Lease/LeaseKeepAlive",
							 &etcdserverpb__lease_keep_alive_response__descriptor, NULL);
	struct chat *a = lock(own, "stop", 0), *b;

	create(w, (struct watch_args){.key = "x"});
	keep_alive(k, 1);
	(void)chat_next(a);
	b = lock(own, "stop", grant(own, 60));
	chat_quiet(b, 20);
	etcd_server_stop(TAKE(own->srv));
	assert_int_equal(chat_end(w), GRPC_UNAVAILABLE);
	assert_int_equal(chat_end(k), GRPC_UNAVAILABLE);
	assert_int_equal(chat_end(b), GRPC_UNAVAILABLE);
	chat_free(w);
	chat_free(k);
	chat_free(a);
	chat_free(b);
	rig_stop(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_kv, setup, teardown),
			cmocka_unit_test_setup_teardown(test_txn, setup, teardown),
			cmocka_unit_test_setup_teardown(test_compact, setup, teardown),
			cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
			cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
			cmocka_unit_test_setup_teardown(test_watch_refused, setup, teardown),
			cmocka_unit_test_setup_teardown(test_watch_progress, setup, teardown),
			cmocka_unit_test(test_watch_notify),
			cmocka_unit_test(test_watch_fragment),
			cmocka_unit_test_setup_teardown(test_watch_slow, setup, teardown),
			cmocka_unit_test_setup_teardown(test_watch_many, setup, teardown),
			cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
			cmocka_unit_test_setup_teardown(test_lease_ends, setup, teardown),
			cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
			cmocka_unit_test_setup_teardown(test_election, setup, teardown),
			cmocka_unit_test_setup_teardown(test_health, setup, teardown),
			cmocka_unit_test(test_no_leader),
			cmocka_unit_test(test_stop),
	};

	log_set_level(getenv("ETCD_LOG") ? getenv("ETCD_LOG") : "error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
