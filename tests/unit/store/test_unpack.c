/* Plain puts and transactions unpacked in place are what protobuf-c makes of the same bytes, or are left to it. */
#include "tests/unit/store/common.h"

#include <string.h>

#include "store/store-priv.h"

static uint64_t seed = 0x9e3779b97f4a7c15ULL;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static ProtobufCBinaryData random_bytes(struct arena *a, size_t max)
{
	size_t n = rnd(max + 1);
	uint8_t *p = arena_alloc(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd(256);
	return (ProtobufCBinaryData){n, p};
}

/* A put as clients send them, at times with rare options. */
static void random_put(struct arena *a, Etcdserverpb__PutRequest *p)
{
	static const int64_t leases[] = {0, 0, 1, INT64_MAX, -1};

	etcdserverpb__put_request__init(p);
	p->key = random_bytes(a, 40);
	p->value = random_bytes(a, 300);
	p->lease = leases[rnd(5)];
	p->prev_kv = rnd(4) == 0;
	p->ignore_value = rnd(8) == 0;
	p->ignore_lease = rnd(8) == 0;
}

static Etcdserverpb__Compare *random_compare(struct arena *a)
{
	static const unsigned cases[] = {ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION, ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
			ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION, ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
			ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE};
	Etcdserverpb__Compare *c = arena_alloc(a, sizeof(*c));

	etcdserverpb__compare__init(c);
	c->result = (Etcdserverpb__Compare__CompareResult)rnd(4);
	c->target = (Etcdserverpb__Compare__CompareTarget)rnd(5);
	c->key = random_bytes(a, 40);
	c->target_union_case = (Etcdserverpb__Compare__TargetUnionCase)cases[rnd(rnd(4) ? 4 : 6)];
	c->mod_revision = (int64_t)rnd(3) - 1;
	return c;
}

static Etcdserverpb__RequestOp *random_op(struct arena *a)
{
	Etcdserverpb__RequestOp *o = arena_alloc(a, sizeof(*o));

	etcdserverpb__request_op__init(o);
	if (rnd(3)) {
		o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		o->request_put = arena_alloc(a, sizeof(*o->request_put));
		random_put(a, o->request_put);
	} else if (rnd(4)) {
		o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		o->request_delete_range = arena_alloc(a, sizeof(*o->request_delete_range));
		etcdserverpb__delete_range_request__init(o->request_delete_range);
		o->request_delete_range->key = random_bytes(a, 40);
		o->request_delete_range->range_end = random_bytes(a, rnd(2) * 40);
		o->request_delete_range->prev_kv = rnd(4) == 0;
	} else if (rnd(2)) {
		o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
		o->request_range = arena_alloc(a, sizeof(*o->request_range));
		etcdserverpb__range_request__init(o->request_range);
		o->request_range->key = random_bytes(a, 40);
	}
	return o;
}

/* Now and then more than are unpacked in place. */
static size_t random_count(void)
{
	return rnd(20) ? rnd(4) : rnd(20);
}

static void random_txn(struct arena *a, Etcdserverpb__TxnRequest *t)
{
	etcdserverpb__txn_request__init(t);
	t->compare = arena_new_array(a, Etcdserverpb__Compare *, 20);
	t->success = arena_new_array(a, Etcdserverpb__RequestOp *, 20);
	t->failure = arena_new_array(a, Etcdserverpb__RequestOp *, 1);
	t->n_compare = random_count();
	for (size_t i = 0; i < t->n_compare; i++)
		t->compare[i] = random_compare(a);
	t->n_success = random_count();
	for (size_t i = 0; i < t->n_success; i++)
		t->success[i] = random_op(a);
	t->failure[0] = random_op(a);
	t->n_failure = rnd(10) == 0;
}

static struct str packed(struct arena *a, const Raftpb__Command *c)
{
	uint8_t *out = arena_alloc(a, protobuf_c_message_get_packed_size(&c->base) + 1);

	return str_of(out, protobuf_c_message_pack(&c->base, out));
}

static struct str random_command(struct arena *a)
{
	static char *const users[] = {"", "root", "somebody"};
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Raftpb__Requester r = RAFTPB__REQUESTER__INIT;
	Etcdserverpb__PutRequest p;
	Etcdserverpb__TxnRequest t;

	r.user = users[rnd(3)];
	r.auth_revision = rnd(3) * 0x123456789abULL;
	if (rnd(4))
		c.requester = &r;
	if (rnd(2))
		c.time_ms = rnd(1000);
	if (rnd(50) == 0)
		c.id = rnd(1000);
	if (rnd(2)) {
		random_put(a, &p);
		c.op_case = RAFTPB__COMMAND__OP_PUT;
		c.put = &p;
	} else {
		random_txn(a, &t);
		c.op_case = RAFTPB__COMMAND__OP_TXN;
		c.txn = &t;
	}
	return packed(a, &c);
}

/* True: it was unpacked in place. */
static bool check(struct str bytes)
{
	Raftpb__Command *mine, *theirs;
	struct arena a;
	bool taken;

	arena_init(&a);
	taken = store__plain_unpack(&a, bytes, &mine);
	if (taken) {
		theirs = (Raftpb__Command *)protobuf_c_message_unpack(
				&raftpb__command__descriptor, NULL, bytes.n, (const uint8_t *)bytes.p);
		assert_non_null(theirs);
		assert_true(str_eq(packed(&a, mine), packed(&a, theirs)));
		protobuf_c_message_free_unpacked(&theirs->base, NULL);
	}
	arena_fini(&a);
	return taken;
}

static void test_plain(void **state _unused_)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Raftpb__Requester r = RAFTPB__REQUESTER__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	uint8_t out[600];
	char value[300];

	memset(value, 'v', sizeof(value));
	c.requester = &r;
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = (ProtobufCBinaryData){3, (uint8_t *)"key"};
	p.value = (ProtobufCBinaryData){sizeof(value), (uint8_t *)value};
	p.lease = 77;
	p.prev_kv = true;
	assert_true(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	r.user = "root";
	r.auth_revision = 5;
	assert_true(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	c.time_ms = 1;
	assert_true(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	/* What is neither put nor transaction, or says more than that, is not for it. */
	c.id = 1;
	assert_false(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	c.id = 0;
	c.op_case = RAFTPB__COMMAND__OP__NOT_SET;
	assert_false(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	assert_false(check(STR("")));
}

/* What the API server writes: a version that must be, an object, another one that goes. */
static void test_transaction(void **state _unused_)
{
	static const struct str at_7 = STR_INIT("\x0a\x07\x10\x02\x1a\x01" "k" "\x30\x07"), twice = STR_INIT("\x0a\x06\x1a\x01" "k" "\x30\x07"),
			      put = STR_INIT("\x12\x08\x12\x06\x0a\x01" "k" "\x12\x01" "v"), delete = STR_INIT("\x12\x05\x1a\x03\x0a\x01" "d");
	struct arena a;

	arena_init(&a);
	assert_true(check(ARENA_JOIN(&a, STR("\x18\x09\x52\x1a"), at_7, put, delete)));
	assert_true(check(ARENA_JOIN(&a, STR("\x52\x1a"), put, at_7, delete)));
	assert_true(check(STR("\x52\x00")));
	/* Two things compared with, an operation that is two, none, or what stands in the other branch. */
	assert_false(check(ARENA_JOIN(&a, STR("\x52\x0a"), STR("\x0a\x08\x1a\x01" "k" "\x30\x07\x20\x07"))));
	assert_false(check(ARENA_JOIN(&a, STR("\x52\x0c"), STR("\x12\x0a\x12\x03\x0a\x01" "k" "\x1a\x03\x0a\x01" "d"))));
	assert_false(check(STR("\x52\x02\x12\x00")));
	assert_false(check(ARENA_JOIN(&a, STR("\x52\x08"), STR("\x1a\x06\x12\x04\x0a\x02" "ab"))));
	/* A second transaction is joined to the first. */
	assert_false(check(ARENA_JOIN(&a, STR("\x52\x08"), twice, STR("\x52\x08"), twice)));
	arena_fini(&a);
}

/* A second put, or a second value, replaces or joins the first: protobuf-c knows how. */
static void test_twice(void **state _unused_)
{
	assert_true(check(STR("\x5a\x03\x0a\x01k")));
	assert_false(check(STR("\x5a\x03\x0a\x01k\x5a\x03\x0a\x01l")));
	assert_false(check(STR("\x5a\x06\x0a\x01k\x0a\x01l")));
	assert_false(check(STR("\x22\x00\x22\x00\x5a\x03\x0a\x01k")));
}

static void test_random(void **state _unused_)
{
	unsigned taken = 0, rounds = 20000;
	struct arena a;

	for (unsigned i = 0; i < rounds; i++) {
		struct str bytes;

		arena_init(&a);
		bytes = random_command(&a);
		for (unsigned k = (unsigned)rnd(4); k > 0 && bytes.n > 0; k--) {
			/* Mostly where the tags and lengths are. */
			size_t at = rnd(rnd(2) ? bytes.n : MIN(bytes.n, 16u));

			if (rnd(8) == 0)
				bytes.n = at;
			else
				((char *)(uintptr_t)bytes.p)[at] = rnd(2) ? (char)rnd(256) : (char)(bytes.p[at] ^ 1 << rnd(8));
		}
		taken += check(bytes);
		arena_fini(&a);
	}
	assert_true(taken > rounds / 10 && taken < rounds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_plain),
			cmocka_unit_test(test_transaction),
			cmocka_unit_test(test_twice),
			cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
