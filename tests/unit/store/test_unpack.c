/* The plain put unpacked in place is what protobuf-c makes of the same bytes, or is left to it. */
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
static struct str random_put(struct arena *a)
{
	static char *const users[] = {"", "root", "somebody"};
	static const int64_t leases[] = {0, 0, 1, INT64_MAX, -1};
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Raftpb__Requester r = RAFTPB__REQUESTER__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	uint8_t *out;
	size_t n;

	r.user = users[rnd(3)];
	r.auth_revision = rnd(3) * 0x123456789abULL;
	if (rnd(4))
		c.requester = &r;
	if (rnd(10) == 0)
		c.time_ms = rnd(1000);
	p.key = random_bytes(a, 40);
	p.value = random_bytes(a, 300);
	p.lease = leases[rnd(5)];
	p.prev_kv = rnd(4) == 0;
	p.ignore_value = rnd(8) == 0;
	p.ignore_lease = rnd(8) == 0;
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	n = protobuf_c_message_get_packed_size(&c.base);
	out = arena_alloc(a, n);
	protobuf_c_message_pack(&c.base, out);
	return str_of(out, n);
}

static bool same_bytes(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void assert_same(const Raftpb__Command *a, const Raftpb__Command *b)
{
	assert_int_equal(a->op_case, b->op_case);
	assert_true(a->id == b->id && a->origin == b->origin && a->time_ms == b->time_ms);
	assert_int_equal(a->requester != NULL, b->requester != NULL);
	if (a->requester != NULL) {
		assert_string_equal(a->requester->user, b->requester->user);
		assert_true(a->requester->auth_revision == b->requester->auth_revision);
	}
	assert_true(same_bytes(a->put->key, b->put->key) && same_bytes(a->put->value, b->put->value));
	assert_true(a->put->lease == b->put->lease);
	assert_int_equal(a->put->prev_kv, b->put->prev_kv);
	assert_int_equal(a->put->ignore_value, b->put->ignore_value);
	assert_int_equal(a->put->ignore_lease, b->put->ignore_lease);
}

/* True: it was unpacked in place. */
static bool check(struct str bytes)
{
	Raftpb__Command *mine, *theirs;
	struct arena a;
	bool taken;

	arena_init(&a);
	taken = store__put_unpack(&a, bytes, &mine);
	if (taken) {
		theirs = (Raftpb__Command *)protobuf_c_message_unpack(
				&raftpb__command__descriptor, NULL, bytes.n, (const uint8_t *)bytes.p);
		assert_non_null(theirs);
		assert_same(mine, theirs);
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
	/* What is no put, or says more than that, is not for it. */
	c.time_ms = 1;
	assert_false(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	c.time_ms = 0;
	c.op_case = RAFTPB__COMMAND__OP__NOT_SET;
	assert_false(check(str_of(out, protobuf_c_message_pack(&c.base, out))));
	assert_false(check(STR("")));
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
		bytes = random_put(&a);
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
			cmocka_unit_test(test_twice),
			cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
