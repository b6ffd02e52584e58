/* Messages between members: each kind survives its bytes, and no other bytes are taken for one. */
#include "tests/unit/raft/raftest.h"

#include <string.h>

#include "raft/bytes.h"
#include "raft/hello-priv.h"
#include "raft/msg.h"

static const enum msg_kind kinds[] = {
#define MSG(name, number, channel) MSG_##name,
#include "raft/msg.def"
#undef MSG
};

#define CONF "\1\1\0\0\0\0\0\0\0" "\7\0\0\0\0\0\0\0" "n1|a|\0" "\1"

/* Every field has a value of its own, and wide ones more than one byte, so that none can change its place or its size unseen. */
static struct msg sample(enum msg_kind kind)
{
	struct msg m = {.kind = kind};

	switch (kind) {
	case MSG_VOTE:
		m.vote = (struct raft_request_vote){1, 0x205, 0x306, 0x407, 0x508, true, false};
		break;
	case MSG_VOTE_RESULT:
		m.vote_result = (struct raft_request_vote_result){1, 0x205, true, false, 3, 0x104};
		break;
	case MSG_APPEND:
		m.append.term = 0x109;
		m.append.prev_index = 0x208;
		m.append.prev_term = 2;
		m.append.commit = 0x307;
		break;
	case MSG_APPEND_RESULT:
		m.append_result = (struct raft_append_entries_result){.version = 1, .term = 0x205, .rejected = 0x306, .last_log_index = 0x407,
								      .features = 0x508, .capacity = 0x609};
		break;
	case MSG_TIMEOUT_NOW:
		m.timeout_now = (struct raft_timeout_now){1, 0x205, 0x306, 0x407};
		break;
	case MSG_PROBE:
	case MSG_PROBE_RESULT:
		m.probe.term = 0x102;
		m.probe.seq = 0x203;
		break;
	case MSG_BARRIER:
		m.barrier.seq = 0x102030405060708;
		break;
	case MSG_BARRIER_RESULT:
		m.barrier_result.seq = 0x102;
		m.barrier_result.index = 0x203;
		m.barrier_result.ok = true;
		break;
	case MSG_PROPOSE:
		m.propose.id = 0x177;
		m.propose.timeout_ms = 0x1388;
		m.propose.command = STR("command");
		break;
	case MSG_PROPOSE_RESULT:
		m.propose_result.id = 0x177;
		m.propose_result.status = MSG_NOT_TAKEN;
		m.propose_result.code = 0x1f5;
		m.propose_result.revision = 0x203;
		m.propose_result.index = 0x304;
		m.propose_result.text = STR("why");
		m.propose_result.result = STR("bytes");
		break;
	case MSG_ADMIN:
		m.admin.id = 0x177;
		m.admin.target = 0x288;
		m.admin.timeout_ms = 0x1388;
		m.admin.op = 2;
		m.admin.flags = 5;
		m.admin.name = STR("n1");
		m.admin.addr = STR("a:1");
		m.admin.url = STR("http");
		m.admin.zone = STR("z");
		break;
	case MSG_ADMIN_RESULT:
		m.admin_result.id = 7;
		m.admin_result.member = 8;
		m.admin_result.status = MSG_UNKNOWN;
		m.admin_result.why = 4;
		m.admin_result.code = -2;
		m.admin_result.text = STR("why");
		break;
	case MSG_REMOVED:
		m.removed.conf_index = 0x102;
		m.removed.member = 0x203;
		break;
	case MSG_LEASE:
		m.lease.seq = 0x102;
		m.lease.id = 0x203;
		m.lease.renew = true;
		break;
	case MSG_LEASE_RESULT:
		m.lease_result.seq = 0x102;
		m.lease_result.ok = true;
		m.lease_result.left = -1;
		m.lease_result.granted = 0x304;
		break;
	case MSG_HEALTH:
		m.health = (struct msg_health){9, 0x102, 0x203, 0x304, 0x405, 0x506, 0x607, 0x708, 0x809, 0x90a};
		break;
	case MSG_SNAP_BEGIN:
		m.snap_begin.id = 0x102;
		m.snap_begin.term = 0x203;
		m.snap_begin.index = 0x304;
		m.snap_begin.index_term = 0x405;
		m.snap_begin.conf_index = 0x506;
		m.snap_begin.conf = STR(CONF);
		break;
	case MSG_SNAP_CHUNK:
		m.snap_chunk.id = 0x102;
		m.snap_chunk.n = 3;
		m.snap_chunk.bytes = STR("chunk");
		break;
	case MSG_SNAP_ACK:
		m.snap_ack.id = 0x102;
		m.snap_ack.next = 0x203;
		m.snap_ack.finished = true;
		break;
	}
	return m;
}

static void test_kinds(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct msg in = sample(kinds[i]), out;
		struct buf a = BUF_INIT, b = BUF_INIT;

		msg_encode(&in, &a);
		assert_int_equal(msg_frame_size(buf_str(&a)), a.n);
		OK(msg_decode(buf_str(&a), &out, &e));
		msg_encode(&out, &b);
		assert_true(str_eq(buf_str(&a), buf_str(&b)));
		/* Any part of it, or more than it, is no message. */
		for (size_t n = MSG_HEAD; n < a.n; n++) {
			char *cut = xmalloc(n);

			memcpy(cut, a.p, n);
			put_u32(cut, (uint32_t)(n - MSG_HEAD));
			assert_int_not_equal(msg_decode(str_of(cut, n), &out, NULL), 0);
			free(cut);
		}
		buf_fini(&a);
		buf_fini(&b);
	}
}

/*
 * The bytes of version 2 of the protocol (HELLO_VERSION): what follows the size. Who has to change a line here has changed what members say to
 * each other: the version goes up with it.
 */
static const struct {
	enum msg_kind kind;
	const char *hex;
} pins[] = {
	{MSG_VOTE, "010000000105020000000000000603000000000000070400000000000008050000000000000100"},
	{MSG_VOTE_RESULT, "0200000001050200000000000001000300000004010000"},
	{MSG_APPEND, "03000000090100000000000008020000000000000200000000000000070300000000000000000000"},
	{MSG_APPEND_RESULT, "04000000010502000000000000060300000000000007040000000000000805000009060000"},
	{MSG_TIMEOUT_NOW, "0500000001050200000000000006030000000000000704000000000000"},
	{MSG_PROBE, "0600000002010000000000000302000000000000"},
	{MSG_PROBE_RESULT, "0700000002010000000000000302000000000000"},
	{MSG_BARRIER, "080000000807060504030201"},
	{MSG_BARRIER_RESULT, "090000000201000000000000030200000000000001"},
	{MSG_PROPOSE, "0a00000077010000000000008813000007000000636f6d6d616e64"},
	{MSG_PROPOSE_RESULT, "0b000000770100000000000001f50100000302000000000000040300000000000003000000776879050000006279746573"},
	{MSG_ADMIN, "0c00000077010000000000008802000000000000881300000205020000006e3103000000613a310400000068747470010000007a"},
	{MSG_ADMIN_RESULT, "0d000000070000000000000008000000000000000204feffffff03000000776879"},
	{MSG_REMOVED, "0e00000002010000000000000302000000000000"},
	{MSG_LEASE, "0f0000000201000000000000030200000000000001"},
	{MSG_LEASE_RESULT, "100000000201000000000000ffffffffffffffff040300000000000001"},
	{MSG_HEALTH, "1100000009020100000000000003020000000000000403000000000000050400000000000006050000000000000706000000000000080700"
	 "000000000009080000000000000a09000000000000"},
	{MSG_SNAP_BEGIN, "1400000002010000000000000302000000000000040300000000000005040000000000000605000000000000180000000101000000000000"
	 "0007000000000000006e317c617c0001"},
	{MSG_SNAP_CHUNK, "1500000002010000000000000300000000000000050000006368756e6b"},
	{MSG_SNAP_ACK, "1600000002010000000000000302000000000000000100"},
};

static void put_hex(struct str bytes, char *out, size_t size)
{
	ASSERT(size > bytes.n * 2);
	for (size_t i = 0; i < bytes.n; i++)
		snprintf(out + 2 * i, 3, "%02x", (unsigned char)bytes.p[i]);
}

static void test_bytes(void **state _unused_)
{
	char hex[512];

	assert_int_equal(HELLO_VERSION, 2);
	assert_int_equal(ARRAY_LEN(pins), ARRAY_LEN(kinds));
	for (size_t i = 0; i < ARRAY_LEN(pins); i++) {
		struct msg m = sample(pins[i].kind);
		struct buf b = BUF_INIT;

		assert_int_equal(pins[i].kind, kinds[i]);
		msg_encode(&m, &b);
		assert_int_equal(get_u32(b.p), b.n - MSG_HEAD);
		put_hex(str_skip(buf_str(&b), 4), hex, sizeof(hex));
		assert_string_equal(hex, pins[i].hex);
		buf_fini(&b);
	}
}

static void test_entry_bytes(void **state _unused_)
{
	struct msg head = sample(MSG_APPEND);
	struct msg_entry entry = {0x105, RAFT_COMMAND, STR("data")};
	struct buf b = BUF_INIT;
	char hex[512];
	size_t start;

	msg_append_begin(&b, &head, &start);
	msg_append_entry(&b, &entry);
	msg_append_end(&b, start, 1);
	put_hex(buf_str(&b), hex, sizeof(hex));
	assert_string_equal(hex, "3500000003000000090100000000000008020000000000000200000000000000070300000000000001000000050100000000000001040000"
				 "0064617461");
	buf_fini(&b);
}

/* Of these the beginnings stay in every version (raft/hello-priv.h). */
static void test_hello_bytes(void **state _unused_)
{
	struct hello h = {HELLO_VERSION, 0x102, 0x203, 0x304, 1, STR("n1"), STR("a:1")};
	struct hello_answer a = {0, true, 0x102, 0x203, STR("why")};
	struct buf b = BUF_INIT;
	char hex[512];

	transport__encode_hello(&b, &h);
	put_hex(buf_str(&b), hex, sizeof(hex));
	assert_string_equal(hex, "2e0000004b5450310200000002010000000000000302000000000000040300000000000001020000006e3103000000613a31");
	buf_clear(&b);
	transport__encode_answer(&b, &a);
	put_hex(buf_str(&b), hex, sizeof(hex));
	assert_string_equal(hex, "200000004b54503102000000010201000000000000030200000000000003000000776879");
	buf_fini(&b);
}

static void test_entries(void **state _unused_)
{
	struct msg head = sample(MSG_APPEND), out;
	struct buf b = BUF_INIT;
	struct msg_entry e1 = {2, 1, STR("first")}, e2 = {9, 2, STR_NULL}, got;
	struct str rest;
	size_t start;

	msg_append_begin(&b, &head, &start);
	msg_append_entry(&b, &e1);
	msg_append_entry(&b, &e2);
	msg_append_end(&b, start, 2);
	OK(msg_decode(buf_str(&b), &out, &e));
	rest = out.append.entries;
	assert_true(msg_entry_next(&rest, &got));
	assert_true(str_eq(got.data, e1.data));
	assert_true(msg_entry_next(&rest, &got));
	assert_int_equal(got.term, 9);
	assert_false(msg_entry_next(&rest, &got));
	/* Terms that fall, types that do not exist. */
	buf_clear(&b);
	msg_append_begin(&b, &head, &start);
	msg_append_entry(&b, &e2);
	msg_append_entry(&b, &e1);
	msg_append_end(&b, start, 2);
	assert_int_not_equal(msg_decode(buf_str(&b), &out, NULL), 0);
	e1.type = RAFT_CHANGE; /* with bytes that are no configuration */
	buf_clear(&b);
	msg_append_begin(&b, &head, &start);
	msg_append_entry(&b, &e1);
	msg_append_end(&b, start, 1);
	assert_int_not_equal(msg_decode(buf_str(&b), &out, NULL), 0);
	e1.type = 7;
	buf_clear(&b);
	msg_append_begin(&b, &head, &start);
	msg_append_entry(&b, &e1);
	msg_append_end(&b, start, 1);
	assert_int_not_equal(msg_decode(buf_str(&b), &out, NULL), 0);
	buf_fini(&b);
}

static void test_garbage(void **state _unused_)
{
	assert_int_equal(msg_frame_size(STR("\0\0\0")), 0);
	assert_int_equal(msg_frame_size(STR("\377\377\377\177\1\0\0\0")), -1); /* absurd length */
	assert_int_equal(msg_frame_size(STR("\0\0\0\0\143\0\0\0")), -1);       /* unknown kind */
	assert_int_equal(msg_frame_size(STR("GET / HTTP/1.1\r\n")), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_entry_bytes),
		cmocka_unit_test(test_hello_bytes),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
