#include "verify/etcd.h"

#include "base/util.h"

static struct str bytes(struct history *h, ProtobufCBinaryData b)
{
	return history_copy(h, str_of(b.data, b.len));
}

static void note_range(struct history *h, struct hist_op *op, const Etcdserverpb__RangeRequest *r)
{
	*op = (struct hist_op){.kind = HIST_RANGE,
			       .key = bytes(h, r->key),
			       .end = bytes(h, r->range_end),
			       .limit = r->limit,
			       .revision = r->revision,
			       .count_only = r->count_only,
			       .keys_only = r->keys_only};
}

static void note_put(struct history *h, struct hist_op *op, const Etcdserverpb__PutRequest *r)
{
	*op = (struct hist_op){.kind = HIST_PUT,
			       .key = bytes(h, r->key),
			       .value = bytes(h, r->value),
			       .lease = r->lease,
			       .prev_kv = r->prev_kv};
}

static void note_delete(struct history *h, struct hist_op *op, const Etcdserverpb__DeleteRangeRequest *r)
{
	*op = (struct hist_op){
		.kind = HIST_DELETE, .key = bytes(h, r->key), .end = bytes(h, r->range_end), .prev_kv = r->prev_kv};
}

static struct hist_op *ops_new(struct history *h, size_t n)
{
	return arena_new_array(history_arena(h), struct hist_op, n);
}

static struct hist_call *single(struct history *h, unsigned client, uint64_t now)
{
	struct hist_call *c = history_call(h, HIST_TXN, client, now);

	c->then = ops_new(h, 1);
	c->n_then = 1;
	return c;
}

struct hist_call *history_range(struct history *h, unsigned client, uint64_t now, const Etcdserverpb__RangeRequest *r)
{
	struct hist_call *c = single(h, client, now);

	note_range(h, c->then, r);
	c->serializable = r->serializable;
	return c;
}

struct hist_call *history_put(struct history *h, unsigned client, uint64_t now, const Etcdserverpb__PutRequest *r)
{
	struct hist_call *c = single(h, client, now);

	note_put(h, c->then, r);
	return c;
}

struct hist_call *history_delete(struct history *h, unsigned client, uint64_t now, const Etcdserverpb__DeleteRangeRequest *r)
{
	struct hist_call *c = single(h, client, now);

	note_delete(h, c->then, r);
	return c;
}

static struct hist_op *note_ops(struct history *h, Etcdserverpb__RequestOp *const *ops, size_t n)
{
	struct hist_op *out = ops_new(h, n);

	for (size_t i = 0; i < n; i++) {
		switch (ops[i]->request_case) {
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
			note_put(h, &out[i], ops[i]->request_put);
			break;
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
			note_delete(h, &out[i], ops[i]->request_delete_range);
			break;
		default:
			ASSERT(ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
			note_range(h, &out[i], ops[i]->request_range);
			break;
		}
	}
	return out;
}

static void note_compare(struct history *h, struct hist_compare *out, const Etcdserverpb__Compare *c)
{
	*out = (struct hist_compare){.key = bytes(h, c->key),
				     .target = (enum hist_target)c->target,
				     .relation = (enum hist_relation)c->result};
	switch (c->target) {
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
		out->number = c->version;
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
		out->number = c->create_revision;
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
		out->number = c->mod_revision;
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
		out->number = c->lease;
		break;
	default:
		out->value = bytes(h, c->value);
		break;
	}
}

struct hist_call *history_txn(struct history *h, unsigned client, uint64_t now, const Etcdserverpb__TxnRequest *r)
{
	struct hist_call *c = history_call(h, HIST_TXN, client, now);

	c->n_compares = r->n_compare;
	c->compares = arena_new_array(history_arena(h), struct hist_compare, r->n_compare);
	for (size_t i = 0; i < r->n_compare; i++)
		note_compare(h, &c->compares[i], r->compare[i]);
	c->then = note_ops(h, r->success, c->n_then = r->n_success);
	c->otherwise = note_ops(h, r->failure, c->n_otherwise = r->n_failure);
	return c;
}

/* --- Answers --------------------------------------------------------------------------------------------------------- */

void history_kv(struct history *h, struct hist_kv *out, const Mvccpb__KeyValue *kv)
{
	*out = (struct hist_kv){.key = bytes(h, kv->key),
				.value = bytes(h, kv->value),
				.create = kv->create_revision,
				.mod = kv->mod_revision,
				.version = kv->version,
				.lease = kv->lease};
}

static void note_kvs(struct history *h, struct hist_op *op, Mvccpb__KeyValue *const *kvs, size_t n)
{
	op->kvs = arena_new_array(history_arena(h), struct hist_kv, n);
	op->n_kvs = n;
	for (size_t i = 0; i < n; i++)
		history_kv(h, &op->kvs[i], kvs[i]);
}

static void range_answer(struct history *h, struct hist_op *op, const Etcdserverpb__RangeResponse *r)
{
	note_kvs(h, op, r->kvs, r->n_kvs);
	op->count = r->count;
	op->more = r->more;
}

static void put_answer(struct history *h, struct hist_op *op, const Etcdserverpb__PutResponse *r)
{
	if (r->prev_kv)
		note_kvs(h, op, &r->prev_kv, 1);
}

static void delete_answer(struct history *h, struct hist_op *op, const Etcdserverpb__DeleteRangeResponse *r)
{
	note_kvs(h, op, r->prev_kvs, r->n_prev_kvs);
	op->count = r->deleted;
}

void history_ok(struct hist_call *c, uint64_t now, const Etcdserverpb__ResponseHeader *header)
{
	c->outcome = HIST_OK;
	c->returned = now;
	c->header = header ? header->revision : 0;
}

void history_range_ok(struct history *h, struct hist_call *c, uint64_t now, const Etcdserverpb__RangeResponse *r)
{
	range_answer(h, c->then, r);
	history_ok(c, now, r->header);
}

void history_put_ok(struct history *h, struct hist_call *c, uint64_t now, const Etcdserverpb__PutResponse *r)
{
	put_answer(h, c->then, r);
	history_ok(c, now, r->header);
}

void history_delete_ok(struct history *h, struct hist_call *c, uint64_t now, const Etcdserverpb__DeleteRangeResponse *r)
{
	delete_answer(h, c->then, r);
	history_ok(c, now, r->header);
}

void history_txn_ok(struct history *h, struct hist_call *c, uint64_t now, const Etcdserverpb__TxnResponse *r)
{
	struct hist_op *ops = r->succeeded ? c->then : c->otherwise;
	size_t n = r->succeeded ? c->n_then : c->n_otherwise;

	c->succeeded = r->succeeded;
	for (size_t i = 0; i < MIN(n, r->n_responses); i++) {
		const Etcdserverpb__ResponseOp *a = r->responses[i];

		if (ops[i].kind == HIST_RANGE && a->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
			range_answer(h, &ops[i], a->response_range);
		else if (ops[i].kind == HIST_PUT && a->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT)
			put_answer(h, &ops[i], a->response_put);
		else if (ops[i].kind == HIST_DELETE &&
			 a->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
			delete_answer(h, &ops[i], a->response_delete_range);
	}
	history_ok(c, now, r->header);
}
