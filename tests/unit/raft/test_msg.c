/* Messages between members: each kind survives its bytes, and no other bytes are taken for one. */
#include "tests/unit/raft/raftest.h"

#include <string.h>

#include "raft/bytes.h"
#include "raft/msg.h"

static const enum msg_kind kinds[] = {
#define MSG(name, number, channel) MSG_##name,
#include "raft/msg.def"
#undef MSG
};

static struct msg sample(enum msg_kind kind)
{
	struct msg m = {.kind = kind};

	switch (kind) {
	case MSG_VOTE:
		m.vote = (struct raft_request_vote){1, 5, 6, 7, 8, true, false};
		break;
	case MSG_VOTE_RESULT:
		m.vote_result = (struct raft_request_vote_result){1, 5, true, true, 3, 4};
		break;
	case MSG_APPEND:
		m.append.term = 9;
		m.append.prev_index = 8;
		m.append.prev_term = 2;
		m.append.commit = 7;
		break;
	case MSG_PROPOSE:
		m.propose.id = 77;
		m.propose.command = STR("command");
		break;
	case MSG_PROPOSE_RESULT:
		m.propose_result.code = ERR_TIMEOUT;
		m.propose_result.text = STR("why");
		m.propose_result.result = STR("bytes");
		break;
	case MSG_ADMIN:
		m.admin.op = 2;
		m.admin.name = STR("n1");
		break;
	case MSG_SNAP_BEGIN:
		m.snap_begin.conf = STR("\1\1\0\0\0\0\0\0\0" "\7\0\0\0\0\0\0\0" "n1|a|\0" "\1");
		break;
	case MSG_SNAP_CHUNK:
		m.snap_chunk.n = 3;
		m.snap_chunk.bytes = STR("chunk");
		break;
	default:
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

/* Members of different versions talk to each other: these bytes stay. */
static void test_bytes(void **state _unused_)
{
	struct msg vote = {.kind = MSG_VOTE_RESULT, .vote_result = {1, 0x205, true, false, 3, 0x104}};
	struct msg result = {.kind = MSG_ADMIN_RESULT};
	struct buf b = BUF_INIT;

	msg_encode(&vote, &b);
	assert_true(str_eq(buf_str(&b), STR("\23\0\0\0\2\0\0\0" "\1" "\5\2\0\0\0\0\0\0" "\1\0" "\3\0\0\0" "\4\1\0\0")));
	buf_clear(&b);
	result.admin_result.id = 7;
	result.admin_result.member = 8;
	result.admin_result.status = MSG_UNKNOWN;
	result.admin_result.why = 4;
	result.admin_result.code = -2;
	result.admin_result.text = STR("why");
	msg_encode(&result, &b);
	assert_true(str_eq(buf_str(&b), STR("\35\0\0\0\15\0\0\0" "\7\0\0\0\0\0\0\0" "\10\0\0\0\0\0\0\0" "\2\4"
					    "\376\377\377\377" "\3\0\0\0why")));
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
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
