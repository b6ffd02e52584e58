/* The pure parts of the etcd API: errors, JSON and back, the table of methods, encoded events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/etcd/errors.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/json.h"
#include "orchestrator/etcd/watch.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"

/* --- Errors ---------------------------------------------------------------------------------------------------------- */

/* What the store says is found by its text, with its code; what raft says by its kind. */
static void test_errors(void **state _unused_)
{
	static const struct {
		const char *text;
		uint32_t grpc;
	} answers[] = {
#define ANSWER(name, code, grpc, text) {text, grpc},
#include "store/answers.def"
#undef ANSWER
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		enum etcd_error found;

		err_set(&e, ERR_BAD_REQUEST, "%s", answers[i].text);
		found = etcd_error_of(&e);
		if (strncmp(answers[i].text, "kontiki: ", 9) == 0) {
			assert_int_equal(found, ETCD_ERR_OK);
			continue;
		}
		assert_int_not_equal(found, ETCD_ERR_OK);
		assert_string_equal(etcd_error_text(found), answers[i].text);
		assert_int_equal(etcd_error_code(found), answers[i].grpc);
	}
	err_set(&e, ERR_UNAVAILABLE, "leadership was lost");
	assert_int_equal(etcd_error_code(etcd_error_of(&e)), GRPC_UNAVAILABLE);
	err_set(&e, ERR_TIMEOUT, "no answer");
	assert_string_equal(etcd_error_text(etcd_error_of(&e)), "etcdserver: request timed out");
	/* No text twice: clients find the error by it. */
	for (int i = 1; i < ETCD_N_ERRORS; i++)
		for (int k = 1; k < i; k++)
			assert_string_not_equal(etcd_error_text((enum etcd_error)i), etcd_error_text((enum etcd_error)k));
}

/* --- Methods ---------------------------------------------------------------------------------------------------------- */

static void test_methods(void **state _unused_)
{
	assert_ptr_equal(etcd__method_find(STR("/etcdserverpb.KV/Range")), &etcd__methods[0]);
	assert_null(etcd__method_find(STR("/etcdserverpb.KV/range")));
	assert_null(etcd__method_find(STR("")));
	for (size_t i = 0; i < etcd__n_methods; i++) {
		const struct etcd_method *m = &etcd__methods[i];

		assert_ptr_equal(etcd__method_find(str_from(m->path)), m);
		assert_non_null(m->in->name);
		assert_non_null(m->out->name);
	}
}

/* An answer that the leader made gets this member's id in its header, wherever that stands; all else stays. */
static void test_header(void **state _unused_)
{
	struct etcd_server srv = {.cluster_id = 7, .member_id = 3};
	struct etcd_loop el = {.srv = &srv};
	Etcdserverpb__ResponseHeader h = ETCDSERVERPB__RESPONSE_HEADER__INIT;
	Etcdserverpb__PutResponse p = ETCDSERVERPB__PUT_RESPONSE__INIT, *got;
	Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
	struct arena a;
	struct str bytes, turned;
	struct buf frame;

	arena_init(&a);
	h.cluster_id = 7;
	h.revision = 100;
	h.raft_term = 5;
	p.header = &h;
	p.prev_kv = &kv;
	kv.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t)"k"};
	for (h.member_id = 2; h.member_id <= 3; h.member_id++) {
		size_t head;

		bytes = pb_pack_arena(&p, &a);
		/* The store writes the header last. */
		head = 2 + (size_t)bytes.p[1];
		turned = str_of(arena_alloc(&a, bytes.n), bytes.n);
		memcpy((char *)(uintptr_t)turned.p, bytes.p + head, bytes.n - head);
		memcpy((char *)(uintptr_t)turned.p + bytes.n - head, bytes.p, head);
		for (int i = 0; i < 2; i++) {
			etcd__frame_of(&el, &frame, i ? turned : bytes);
			got = pb_unpack(&a, &etcdserverpb__put_response__descriptor, str_skip(buf_str(&frame), GRPC_HEAD));
			assert_non_null(got);
			assert_int_equal(got->header->member_id, 3);
			assert_int_equal(got->header->cluster_id, 7);
			assert_int_equal(got->header->revision, 100);
			assert_int_equal(got->header->raft_term, 5);
			assert_memory_equal(got->prev_kv->key.data, "k", 1);
			/* One header only: clients that do not merge would lose the first. */
			assert_int_equal(frame.n - GRPC_HEAD, bytes.n);
			buf_fini(&frame);
		}
	}
	arena_fini(&a);
}

/* --- JSON --------------------------------------------------------------------------------------------------------------- */

static char *to_json(struct arena *a, const ProtobufCMessageDescriptor *d, struct str wire)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	char *text;

	if (etcd_json_print(&out, d, wire, &e) != 0)
		fail_msg("%s", e.text);
	text = arena_cstr(a, buf_str(&out));
	buf_fini(&out);
	return text;
}

/* Text to wire to text. */
static void check_round(const ProtobufCMessageDescriptor *d, const char *text, const char *want)
{
	struct arena a;
	struct buf wire = BUF_INIT;
	struct err e = ERR_INIT;

	arena_init(&a);
	if (etcd_json_parse(&wire, d, str_from(text), &e) != 0)
		fail_msg("%s: %s", text, e.text);
	assert_string_equal(to_json(&a, d, buf_str(&wire)), want);
	buf_fini(&wire);
	arena_fini(&a);
}

static void test_json(void **state _unused_)
{
	check_round(&etcdserverpb__put_request__descriptor,
			"{\"key\":\"Zm9v\", \"value\":\"YmFy\", \"lease\":\"9223372036854775807\", \"prevKv\":true}",
			"{\"key\":\"Zm9v\",\"value\":\"YmFy\",\"lease\":\"9223372036854775807\",\"prev_kv\":true}");
	check_round(&etcdserverpb__put_request__descriptor, "", "{}");
	check_round(&etcdserverpb__put_request__descriptor, "{\"lease\":-1,\"key\":null,\"ignore_value\":false}",
			"{\"lease\":\"-1\"}");
	check_round(&etcdserverpb__response_header__descriptor, "{\"cluster_id\":\"18446744073709551615\"}",
			"{\"cluster_id\":\"18446744073709551615\"}");
	check_round(&etcdserverpb__range_request__descriptor,
			"{\"rangeEnd\":\"AA==\",\"sort_order\":\"DESCEND\",\"sortTarget\":4}",
			"{\"range_end\":\"AA==\",\"sort_order\":\"DESCEND\",\"sort_target\":\"VALUE\"}");
	/* What is unknown or null is not there. */
	check_round(&etcdserverpb__put_request__descriptor, "{\"kay\":{\"a\":[1]},\"value\":null,\"key\":\"YQ==\"}", "{\"key\":\"YQ==\"}");
	check_round(&etcdserverpb__put_request__descriptor, "null", "{}");
	/* A oneof that is set shows, also when it is zero. */
	check_round(&etcdserverpb__txn_request__descriptor,
			"{\"compare\":[{\"key\":\"YQ==\",\"mod_revision\":0}],\"success\":[{\"request_range\":{}}],"
			"\"failure\":[{\"requestTxn\":{\"success\":[{\"request_put\":{\"key\":\"Yg==\"}}]}}]}",
			"{\"compare\":[{\"key\":\"YQ==\",\"mod_revision\":\"0\"}],\"success\":[{\"request_range\":{}}],"
			"\"failure\":[{\"request_txn\":{\"success\":[{\"request_put\":{\"key\":\"Yg==\"}}]}}]}");
	check_round(&etcdserverpb__watch_request__descriptor,
			"{\"create_request\":{\"key\":\"YQ==\",\"filters\":[\"NODELETE\",0]}}",
			"{\"create_request\":{\"key\":\"YQ==\",\"filters\":[\"NODELETE\",\"NOPUT\"]}}");
	check_round(&etcdserverpb__member_add_request__descriptor, "{\"peerURLs\":[\"http://a\",\"\"],\"isLearner\":true}",
			"{\"peerURLs\":[\"http://a\",\"\"],\"isLearner\":true}");
}

static void test_json_refused(void **state _unused_)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
			{"[]", "etcdserverpb.PutRequest: must be an object"},
			{"{\"key\":1}", "field key: must be a string of base64"},
			{"{\"key\":\"a$b=\"}", "field key: illegal base64 data at input byte 1"},
			{"{\"lease\":\"1x\"}", "field lease: must be an integer"},
			{"{\"lease\":1.5}", "field lease: must be an integer"},
			{"{\"lease\":\"9223372036854775808\"}", "field lease: must be an integer"},
			{"{\"prev_kv\":\"true\"}", "field prev_kv: must be true or false"},
			{"{\"key\":\"YQ==\"", "unexpected end of JSON input"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf wire = BUF_INIT;
		struct err e = ERR_INIT;

		assert_int_equal(etcd_json_parse(&wire, &etcdserverpb__put_request__descriptor, str_from(cases[i].text), &e),
				-ERR_BAD_REQUEST);
		assert_string_equal(e.text, cases[i].want);
		buf_fini(&wire);
	}
}

static void test_json_stream(void **state _unused_)
{
	const char *text = " {\"a\":\"}\\\"{\"}\n{\"b\":[{},{}]}  {\"c\"";
	struct str all = str_from(text);
	struct etcd_json_scan scan = {0};
	ptrdiff_t n = 0;

	/* Byte by byte, as the network may bring it. */
	for (size_t i = 1; i <= all.n && n == 0; i++)
		n = etcd_json_next(&scan, str_sub(all, 0, i));
	assert_int_equal(n, strlen(" {\"a\":\"}\\\"{\"}"));
	all = str_skip(all, (size_t)n);
	n = etcd_json_next(&scan, all);
	assert_int_equal(n, strlen("\n{\"b\":[{},{}]}"));
	all = str_skip(all, (size_t)n);
	assert_int_equal(etcd_json_next(&scan, all), 0);
	scan = (struct etcd_json_scan){0};
	assert_int_equal(etcd_json_next(&scan, STR("  [")), -1);
}

/* --- Events ---------------------------------------------------------------------------------------------------------------- */

static void test_event_cache(void **state _unused_)
{
	struct watch_batch *batch = xcalloc(1, sizeof(*batch));
	struct watch_event a = {.kv = {.key = STR("a"), .value = STR("1"), .mod_revision = 5}, .batch = batch};
	struct watch_event b = {.kv = {.key = STR("b"), .mod_revision = 6}, .is_delete = true, .has_prev = true,
			.prev = {.key = STR("b"), .value = STR("old")}, .batch = batch};
	const struct watch_event *both[] = {&a, &b}, *one[] = {&b};
	struct loop *loop = loop_new("test");
	struct event_cache c;
	struct arena arena;
	struct str bytes;

	ref_init(&batch->ref);
	arena_init(&batch->arena);
	arena_init(&arena);
	event_cache_init(&c);
	bytes = event_cache_get(&c, loop, both, 2, true);
	assert_string_equal(to_json(&arena, &etcdserverpb__watch_response__descriptor, bytes),
			"{\"events\":[{\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"5\",\"value\":\"MQ==\"}},"
			"{\"type\":\"DELETE\",\"kv\":{\"key\":\"Yg==\",\"mod_revision\":\"6\"},"
			"\"prev_kv\":{\"key\":\"Yg==\",\"value\":\"b2xk\"}}]}");
	/* The same array is encoded once; another one, or other wishes, anew. */
	c.bytes.p[0] = 'x';
	assert_int_equal(event_cache_get(&c, loop, both, 2, true).p[0], 'x');
	assert_int_not_equal(event_cache_get(&c, loop, both, 2, false).p[0], 'x');
	bytes = event_cache_get(&c, loop, one, 1, false);
	assert_string_equal(to_json(&arena, &etcdserverpb__watch_response__descriptor, bytes),
			"{\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"Yg==\",\"mod_revision\":\"6\"}}]}");
	assert_ptr_equal(c.batch, batch);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_null(c.batch);
	event_cache_fini(&c);
	loop_free(loop);
	watch_batch_unref(batch);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_errors),
			cmocka_unit_test(test_methods),
			cmocka_unit_test(test_header),
			cmocka_unit_test(test_json),
			cmocka_unit_test(test_json_refused),
			cmocka_unit_test(test_json_stream),
			cmocka_unit_test(test_event_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
