/*
 * A client that issues the calls an upstream kube-apiserver makes of etcd, and checks what it relies on: transactions on
 * mod revisions, lists in pages of one revision, watches with previous values and progress, leases that many keys share, the
 * race for compaction, version detection.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/etcd/etcd_rig.h"

static const struct http_header has_leader = {STR_INIT("hasleader"), STR_INIT("true")};

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

enum what { CREATE, UPDATE, DELETE };

/* If the key's mod revision is `rev`, write or delete it; else get it. */
static Etcdserverpb__TxnResponse *txn(enum what what, const char *key, int64_t rev, const char *value, int64_t lease)
{
	Etcdserverpb__TxnRequest q = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, *thens[] = {&then};
	Etcdserverpb__RequestOp other = ETCDSERVERPB__REQUEST_OP__INIT, *others[] = {&other};
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
	struct answer a;

	cmp.key = put.key = del.key = get.key = bin(key);
	cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
	cmp.mod_revision = rev;
	put.value = bin(value ? value : "");
	put.lease = lease;
	then.request_case = what == DELETE ? ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE
					   : ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	if (what == DELETE)
		then.request_delete_range = &del;
	else
		then.request_put = &put;
	other.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	other.request_range = &get;
	q.compare = cmps;
	q.success = thens;
	q.failure = others;
	q.n_compare = q.n_success = 1;
	q.n_failure = what != CREATE; /* a create that fails asks for nothing */
	a = rig_call(rig, "/etcdserverpb.KV/Txn", &q.base, &etcdserverpb__txn_response__descriptor);
	assert_int_equal(a.code, GRPC_OK);
	return a.message;
}

static void test_writes(void **state _unused_)
{
	Etcdserverpb__TxnResponse *t = txn(CREATE, "/registry/pods/a", 0, "1", 0);
	int64_t rev = t->header->revision;

	assert_true(t->succeeded);
	assert_int_equal(t->responses[0]->response_put->header->revision, rev);
	assert_false(txn(CREATE, "/registry/pods/a", 0, "2", 0)->succeeded);
	/* A conflict brings the object that is there, for the next try. */
	t = txn(UPDATE, "/registry/pods/a", rev - 1, "2", 0);
	assert_false(t->succeeded);
	assert_int_equal(t->responses[0]->response_range->kvs[0]->mod_revision, rev);
	assert_bin(t->responses[0]->response_range->kvs[0]->value, "1");
	assert_int_equal(t->header->revision, rev);
	t = txn(UPDATE, "/registry/pods/a", rev, "2", 0);
	assert_true(t->succeeded);
	assert_int_equal(t->header->revision, rev + 1);
	assert_false(txn(DELETE, "/registry/pods/a", rev, NULL, 0)->succeeded);
	t = txn(DELETE, "/registry/pods/a", rev + 1, NULL, 0);
	assert_true(t->succeeded);
	assert_int_equal(t->responses[0]->response_delete_range->deleted, 1);
	assert_int_equal(t->responses[0]->response_delete_range->header->revision, rev + 2);
	/* One that is gone answers an empty range. */
	t = txn(DELETE, "/registry/pods/a", rev + 1, NULL, 0);
	assert_int_equal(t->responses[0]->response_range->n_kvs, 0);
}

static Etcdserverpb__RangeResponse *page(const char *from, int64_t limit, int64_t rev, bool count_only)
{
	Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
	struct answer a;

	q.key = bin(from);
	q.range_end = bin("/registry/pods0");
	q.limit = limit;
	q.revision = rev;
	q.count_only = count_only;
	a = rig_call(rig, "/etcdserverpb.KV/Range", &q.base, &etcdserverpb__range_response__descriptor);
	assert_int_equal(a.code, GRPC_OK);
	return a.message;
}

/* All pages are of the first one's revision, whatever is written meanwhile; count says how many are left. */
static void test_pages(void **state _unused_)
{
	Etcdserverpb__RangeResponse *r;
	int64_t rev = 0;
	size_t total = 0;
	char key[64] = "/registry/pods/";

	for (int i = 0; i < 25; i++) {
		char name[64];

		snprintf(name, sizeof(name), "/registry/pods/p%02d", i);
		txn(CREATE, name, 0, "x", 0);
	}
	assert_int_equal(page("/registry/pods/", 0, 0, true)->count, 25);
	do {
		r = page(key, 10, rev, false);
		if (rev == 0)
			rev = r->header->revision;
		else
			assert_true(r->header->revision > rev);
		assert_int_equal((size_t)r->count, 25 - total);
		for (size_t i = 0; i < r->n_kvs; i++, total++)
			assert_int_equal(atoi((char *)r->kvs[i]->key.data + strlen("/registry/pods/p")), total);
		/* The next page begins behind the last key: the key and one zero byte, which ends a C string: a '\1' does here. */
		snprintf(key, sizeof(key), "%.*s\1", (int)r->kvs[r->n_kvs - 1]->key.len, (char *)r->kvs[r->n_kvs - 1]->key.data);
		txn(CREATE, key, 0, "later", 0);
	} while (r->more);
	assert_int_equal(total, 25);
}

static void test_watch(void **state _unused_)
{
	Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT, ask = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
	Etcdserverpb__WatchResponse *r;
	struct chat *c = chat_start(rig, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, &has_leader);
	int64_t rev = txn(CREATE, "/registry/pods/w", 0, "1", 0)->header->revision, read;

	/* From behind the list, with previous values, as the watch cache does. */
	create.key = bin("/registry/pods/");
	create.range_end = bin("/registry/pods0");
	create.start_revision = rev + 1;
	create.prev_kv = true;
	create.progress_notify = true;
	q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	q.create_request = &create;
	chat_send(c, &q.base);
	r = chat_next(c);
	assert_true(r->created);
	txn(UPDATE, "/registry/pods/w", rev, "2", 0);
	txn(DELETE, "/registry/pods/w", rev + 1, NULL, 0);
	txn(CREATE, "/registry/pods/w", 0, "3", 0);
	for (int i = 1; i <= 3;) {
		r = chat_next(c);
		for (size_t k = 0; k < r->n_events; k++, i++) {
			Mvccpb__Event *ev = r->events[k];

			assert_int_equal(ev->kv->mod_revision, rev + i);
			/* No creation, so there must be a previous value. */
			if (ev->type == MVCCPB__EVENT__EVENT_TYPE__DELETE || ev->kv->create_revision != ev->kv->mod_revision)
				assert_non_null(ev->prev_kv);
			else
				assert_int_equal(i, 3);
		}
	}
	/* A consistent read from the cache: get the revision, then ask until the watch has reached it. */
	read = txn(CREATE, "/registry/other", 0, "x", 0)->header->revision;
	ask.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
	ask.progress_request = &progress;
	do {
		chat_send(c, &ask.base);
		r = chat_next(c);
		assert_int_equal(r->n_events, 0);
		assert_int_equal(r->watch_id, -1);
	} while (r->header->revision < read);
	chat_free(c);
}

/* Events share leases; the lease is granted once and never kept alive. */
static void test_leases(void **state _unused_)
{
	Etcdserverpb__LeaseGrantRequest q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseGrantResponse *g;
	struct answer a;

	q.ttl = 3600 + 60;
	a = rig_call(rig, "/etcdserverpb.Lease/LeaseGrant", &q.base, &etcdserverpb__lease_grant_response__descriptor);
	assert_int_equal(a.code, GRPC_OK);
	g = a.message;
	assert_int_equal(g->ttl, 3660);
	for (int i = 0; i < 100; i++) {
		char key[64];

		snprintf(key, sizeof(key), "/registry/events/default/e%d", i);
		assert_true(txn(CREATE, key, 0, "event", g->id)->succeeded);
	}
	assert_int_equal(rig_get(rig, "/registry/events/default/e99", NULL)->kvs[0]->lease, g->id);
}

/* Several servers race; the version of the key decides which one compacts, and to the revision that stood there before. */
static void test_compaction(void **state _unused_)
{
	Etcdserverpb__TxnRequest q = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, *thens[] = {&then};
	Etcdserverpb__RequestOp other = ETCDSERVERPB__REQUEST_OP__INIT, *others[] = {&other};
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	Etcdserverpb__TxnResponse *t;
	int wins = 0;

	cmp.key = put.key = get.key = bin("compact_rev_key");
	cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
	put.value = bin("0");
	then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	then.request_put = &put;
	other.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	other.request_range = &get;
	q.compare = cmps;
	q.success = thens;
	q.failure = others;
	q.n_compare = q.n_success = q.n_failure = 1;
	for (int server = 0; server < 3; server++) {
		t = rig_call(rig, "/etcdserverpb.KV/Txn", &q.base, &etcdserverpb__txn_response__descriptor).message;
		wins += t->succeeded;
		if (!t->succeeded)
			assert_int_equal(t->responses[0]->response_range->kvs[0]->version, 1);
		compact.revision = t->header->revision;
	}
	assert_int_equal(wins, 1);
	assert_int_equal(rig_call(rig, "/etcdserverpb.KV/Compact", &compact.base,
					 &etcdserverpb__compaction_response__descriptor).code,
			GRPC_OK);
	/* The text that makes it a "410 Gone". */
	get.key = bin("/registry/pods/");
	get.revision = compact.revision - 1;
	assert_string_equal(rig_call(rig, "/etcdserverpb.KV/Range", &get.base, &etcdserverpb__range_response__descriptor).text,
			"etcdserver: mvcc: required revision has been compacted");
}

/* Is the store there, and what can it do? Streamed ranges it cannot, and the answer says so in the way that is understood. */
static void test_probes(void **state _unused_)
{
	struct answer a = rig_call_bytes(rig, "/etcdserverpb.KV/RangeStream", STR("\x0a\x01/"),
			&etcdserverpb__range_response__descriptor, NULL);

	assert_int_equal(a.code, GRPC_UNIMPLEMENTED);
	assert_int_equal(rig_get(rig, "/registry/health", NULL)->count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_writes, setup, teardown),
			cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
			cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
			cmocka_unit_test_setup_teardown(test_leases, setup, teardown),
			cmocka_unit_test_setup_teardown(test_compaction, setup, teardown),
			cmocka_unit_test_setup_teardown(test_probes, setup, teardown),
	};

	log_set_level("error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
