/*
 * Protobuf from outside: a message of any type, an envelope, watch frames. The first two bytes choose. What decodes must
 * print as JSON, come back from it, and encode to bytes that no longer change.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/core.pb-c.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/raft.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static bool encode(struct arena *a, const struct schema_type *t, const struct json *dom, struct buf *out)
{
	struct codec_errs *errs = arena_new_of(a, struct codec_errs);

	codec_errs_init(errs, a);
	codec_to_wire(out, t, dom, errs);
	return errs->n == 0;
}

static void check_type(struct arena *a, const struct schema_type *t, struct str wire)
{
	struct buf text = BUF_INIT, once = BUF_INIT, twice = BUF_INIT;
	struct json *dom = NULL, *again = NULL;
	struct err e = ERR_INIT;

	if (codec_wire_to_dom(a, t, wire, NULL, &dom, &e) == 0) {
		ASSERT(codec_wire_to_json(&text, t, wire, NULL, &e) == 0);
		ASSERT(json_parse(a, buf_str(&text), NULL, &again, &e) == 0);
		/* A quantity that is none makes an error here. */
		if (encode(a, t, dom, &once)) {
			ASSERT(codec_wire_to_dom(a, t, buf_str(&once), NULL, &again, &e) == 0);
			ASSERT(encode(a, t, again, &twice));
			ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
		}
	}
	buf_fini(&text);
	buf_fini(&once);
	buf_fini(&twice);
}

static void check_frames(struct str in)
{
	struct str type, object;
	struct codec_envelope env;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	while (codec_wire_watch_next(&in, 1 << 20, &type, &object, &e) == 1) {
		codec_unwrap(object, &env, &e);
		buf_clear(&out);
		codec_stored_to_json(&out, object, NULL, &e);
	}
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static const ProtobufCMessageDescriptor *const messages[] = {
		&core__pod__descriptor, &etcdserverpb__txn_request__descriptor, &raftpb__command__descriptor};
	struct arena a;
	struct str rest;
	struct buf out = BUF_INIT;
	struct json *dom;
	struct err e = ERR_INIT;
	size_t which;

	if (size < 2)
		return 0;
	which = (size_t)p[0] << 8 | p[1];
	rest = str_of(p + 2, size - 2);
	arena_init(&a);
	if (which < n_schema_types) {
		check_type(&a, &schema_types[which], rest);
	} else if (which % 3 == 0) {
		check_frames(rest);
	} else if (which % 3 == 1) {
		codec_stored_to_json(&out, rest, NULL, &e);
		codec_stored_to_dom(&a, rest, NULL, &dom, &e);
	} else {
		pb_unpack(&a, messages[which / 3 % ARRAY_LEN(messages)], rest);
	}
	buf_fini(&out);
	arena_fini(&a);
	return 0;
}
