#include "orchestrator/apiserver/txn.h"

#include "base/clock.h"
#include "base/util.h"
#include "proto/wire.h"

/* etcdserverpb.Compare: {1 result, 2 target, 3 key, 6 mod_revision, 4 version}. */
enum { COMPARE_EQUAL = 0 };
enum { TARGET_MOD = 2 };
/* raftpb.Command: {3 time_ms, 10 txn}; TxnRequest: {1 compare, 2 success}; RequestOp: {2 put, 3 delete_range}. */

void txn_init(struct api_txn *t)
{
	buf_init(&t->compares, BUF_NO_LIMIT);
	buf_init(&t->ops, BUF_NO_LIMIT);
	t->n_compares = t->n_ops = 0;
}

void txn_fini(struct api_txn *t)
{
	if (!t)
		return;
	buf_fini(&t->compares);
	buf_fini(&t->ops);
}

void txn_reset(struct api_txn *t)
{
	buf_clear(&t->compares);
	buf_clear(&t->ops);
	t->n_compares = t->n_ops = 0;
}

/* Room for a comparison without its key, and for another one: most writes have two. */
#define COMPARE_FRAME 160

static void compare(struct api_txn *t, int result, int target, struct str key, unsigned value_field, uint64_t value)
{
	size_t mark;

	buf_reserve(&t->compares, key.n + COMPARE_FRAME);
	mark = wire_open(&t->compares, 1);
	if (result)
		wire_add_uint(&t->compares, 1, (uint64_t)result);
	if (target)
		wire_add_uint(&t->compares, 2, (uint64_t)target);
	wire_add_bytes(&t->compares, 3, key);
	wire_add_uint(&t->compares, value_field, value);
	wire_close(&t->compares, mark);
	t->n_compares++;
}

void txn_if_mod(struct api_txn *t, struct str key, uint64_t rev)
{
	compare(t, COMPARE_EQUAL, TARGET_MOD, key, 6, rev);
}

/* Longer than what a put adds to its key and value. */
#define PUT_FRAME 48

void txn_put(struct api_txn *t, struct str key, struct str value, int64_t lease)
{
	size_t op, put;

	buf_reserve(&t->ops, key.n + value.n + PUT_FRAME);
	op = wire_open(&t->ops, 2);
	put = wire_open(&t->ops, 2);
	wire_add_bytes(&t->ops, 1, key);
	wire_add_bytes(&t->ops, 2, value);
	if (lease)
		wire_add_uint(&t->ops, 3, (uint64_t)lease);
	wire_close(&t->ops, put);
	wire_close(&t->ops, op);
	t->n_ops++;
}

void txn_delete(struct api_txn *t, struct str key)
{
	size_t op = wire_open(&t->ops, 2), delete = wire_open(&t->ops, 3);

	wire_add_bytes(&t->ops, 1, key);
	wire_close(&t->ops, delete);
	wire_close(&t->ops, op);
	t->n_ops++;
}

/* Longer than what a command has around its transaction. */
#define COMMAND_FRAME 32

void txn_command(const struct api_txn *t, struct buf *out)
{
	size_t mark;

	buf_reserve(out, t->compares.n + t->ops.n + COMMAND_FRAME);
	wire_add_uint(out, 3, (uint64_t)(clock_wall_ns() / 1000000));
	mark = wire_open(out, 10);
	buf_adds(out, buf_str(&t->compares));
	buf_adds(out, buf_str(&t->ops));
	wire_close(out, mark);
}

bool txn_succeeded(struct str response)
{
	struct wire_reader r = wire_reader(response);
	struct wire_item it = {0};
	bool ok = false;

	while (wire_next(&r, &it))
		if (it.number == 2 && it.type == WIRE_VARINT)
			ok = it.v != 0;
	return ok && !r.failed;
}

uint64_t txn_revision(struct str response)
{
	struct wire_reader r = wire_reader(response), header;
	struct wire_item it = {0}, field = {0};
	uint64_t revision = 0;

	while (wire_next(&r, &it)) {
		if (it.number != 1 || it.type != WIRE_BYTES)
			continue;
		header = wire_reader(it.bytes);
		while (wire_next(&header, &field))
			if (field.number == 3 && field.type == WIRE_VARINT)
				revision = field.v;
	}
	return r.failed ? 0 : revision;
}
