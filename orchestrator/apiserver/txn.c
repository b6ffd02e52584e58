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

static void compare(struct api_txn *t, int result, int target, struct str key, unsigned value_field, uint64_t value)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	if (result)
		wire_add_uint(&b, 1, (uint64_t)result);
	if (target)
		wire_add_uint(&b, 2, (uint64_t)target);
	wire_add_bytes(&b, 3, key);
	wire_add_uint(&b, value_field, value);
	wire_add_bytes(&t->compares, 1, buf_str(&b));
	t->n_compares++;
}

void txn_if_mod(struct api_txn *t, struct str key, uint64_t rev)
{
	compare(t, COMPARE_EQUAL, TARGET_MOD, key, 6, rev);
}

static void add_op(struct api_txn *t, unsigned kind, const struct buf *inner)
{
	size_t mark = wire_open(&t->ops, 2);

	wire_add_bytes(&t->ops, kind, buf_str(inner));
	wire_close(&t->ops, mark);
	t->n_ops++;
}

void txn_put(struct api_txn *t, struct str key, struct str value, int64_t lease)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	wire_add_bytes(&b, 1, key);
	wire_add_bytes(&b, 2, value);
	if (lease)
		wire_add_uint(&b, 3, (uint64_t)lease);
	add_op(t, 2, &b);
}

void txn_delete(struct api_txn *t, struct str key)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	wire_add_bytes(&b, 1, key);
	add_op(t, 3, &b);
}

void txn_command(const struct api_txn *t, struct buf *out)
{
	size_t mark;

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
