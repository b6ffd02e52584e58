/* The KV service: reads from local views behind a barrier, writes as commands to raft. */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/store.h"
#include "store/view.h"

/* How often an operation that waits for the removal of compacted history looks. */
#define PHYSICAL_POLL_MS 20

/* --- Reads ------------------------------------------------------------------------------------------------------ */

/* Who is refused by a local view is heard once more behind a barrier; if there is none to be had, the local view's word is the last. */
enum kv_look { LOOK_LOCAL, LOOK_AGAIN, LOOK_BARRIER, LOOK_LAST };

struct kv_read {
	struct etcd_read read;
	struct etcd_call *call;
	struct str request;
	enum kv_look look;
	int (*permit)(struct store_view *, const struct store_requester *, struct str request, struct arena *, struct err *);
	int (*run)(struct store_view *, struct str request, struct buf *response, struct err *);
};

/* The key and the end of a RangeRequest; the last ones count, as for every field that stands twice. */
static int permit_range(struct store_view *v, const struct store_requester *who, struct str request, struct arena *a _unused_,
		struct err *e)
{
	struct wire_reader r = wire_reader(request);
	struct wire_item it = {0};
	struct str key = STR_NULL, end = STR_NULL;

	while (wire_next(&r, &it)) {
		if (it.number == 1 && it.type == WIRE_BYTES)
			key = it.bytes;
		else if (it.number == 2 && it.type == WIRE_BYTES)
			end = it.bytes;
	}
	return view_auth_range(v, who, key, end, STORE_READ, e);
}

static int permit_txn(struct store_view *v, const struct store_requester *who, struct str request, struct arena *a, struct err *e)
{
	const Etcdserverpb__TxnRequest *t = pb_unpack(a, &etcdserverpb__txn_request__descriptor, request);

	return t ? view_auth_txn(v, who, t, e) : 0; /* what cannot be read cannot be run */
}

static void read_canceled(struct etcd_call *c)
{
	struct kv_read *k = c->state;

	etcd__read_cancel(&k->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void look(struct kv_read *k, enum kv_look look)
{
	k->look = look;
	etcd__read(k->call->el, &k->read, look == LOOK_LOCAL || look == LOOK_LAST);
}

static void read_done(struct etcd_read *r, struct store_view *v, const struct err *failed)
{
	struct kv_read *k = container_of(r, struct kv_read, read);
	struct etcd_call *c = k->call;
	struct err e = ERR_INIT;
	struct buf frame;
	bool unsure;
	int rc;

	if (v == NULL && k->look == LOOK_AGAIN) {
		look(k, LOOK_LAST);
		return;
	}
	if (v == NULL) {
		etcd__fail_err(c, failed);
		return;
	}
	rc = etcd__who(c, v, &unsure, &e);
	if (rc == 0 && view_auth_enabled(v))
		rc = k->permit(v, &c->who, k->request, c->arena, &e);
	if ((rc != 0 || unsure) && k->look == LOOK_LOCAL && etcd__has_leader(c->el)) {
		look(k, LOOK_AGAIN);
		return;
	}
	etcd__frame_init(&frame);
	if (rc == 0 && k->run(v, k->request, &frame, &e) == 0) {
		etcd__reply(c, &frame);
		return;
	}
	buf_fini(&frame);
	etcd__fail_err(c, &e);
}

static void read_start(struct etcd_call *c, struct str request, bool local,
		int (*permit)(struct store_view *, const struct store_requester *, struct str, struct arena *, struct err *),
		int (*run)(struct store_view *, struct str, struct buf *, struct err *))
{
	struct kv_read *k = arena_new_of(c->arena, struct kv_read);

	k->read.done = read_done;
	k->call = c;
	k->request = arena_str(c->arena, request);
	k->permit = permit;
	k->run = run;
	c->state = k;
	c->on_cancel = read_canceled;
	look(k, local ? LOOK_LOCAL : LOOK_BARRIER);
}

/* RangeRequest.serializable; the last one counts, as for every field that stands twice. */
static bool serializable(struct str range)
{
	struct wire_reader r = wire_reader(range);
	struct wire_item it = {0};
	bool found = false;

	while (wire_next(&r, &it))
		if (it.number == 7 && it.type == WIRE_VARINT)
			found = it.v != 0;
	return found;
}

void etcd__range(struct etcd_call *c, struct str request)
{
	read_start(c, request, serializable(request), permit_range, view_range_request);
}

/* --- Writes ----------------------------------------------------------------------------------------------------- */

static void write_canceled(struct etcd_call *c)
{
	struct etcd_op *op = c->state;

	op->owner = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void write_done(struct etcd_op *op)
{
	struct etcd_call *c = op->owner;
	struct buf frame;

	if (op->req.err.code != ERR_OK) {
		etcd__fail_err(c, &op->req.err);
		return;
	}
	etcd__frame_of(c->el, &frame, str_of(op->req.response, op->req.response_size));
	etcd__reply(c, &frame);
}

/* What needs space is refused here already when there is none; the leader raises the alarm that stops it everywhere. */
static bool lacks_space(const struct etcd_call *c, unsigned field, struct str request)
{
	if (!store_over_quota(c->el->srv->store))
		return false;
	return field == ETCD_CMD_PUT || field == ETCD_CMD_LEASE_GRANT || (field == ETCD_CMD_TXN && store_txn_has_puts(request));
}

void etcd__write(struct etcd_call *c, unsigned field, struct str request)
{
	if (request.n > c->el->srv->cfg.max_request_bytes) {
		etcd__fail(c, ETCD_ERR_REQUEST_TOO_LARGE);
		return;
	}
	if (lacks_space(c, field, request)) {
		etcd__fail(c, ETCD_ERR_NO_SPACE);
		return;
	}
	c->on_cancel = write_canceled;
	c->state = etcd__propose(c, field, request, c, write_done);
}

void etcd__put(struct etcd_call *c, struct str request)
{
	etcd__write(c, ETCD_CMD_PUT, request);
}

void etcd__delete_range(struct etcd_call *c, struct str request)
{
	etcd__write(c, ETCD_CMD_DELETE_RANGE, request);
}

/* --- Transactions ----------------------------------------------------------------------------------------------------- */

static bool ops_serializable(Etcdserverpb__RequestOp *const *ops, size_t n);

/* As etcd: every range in either branch says so. */
static bool txn_serializable(const Etcdserverpb__TxnRequest *t)
{
	return ops_serializable(t->success, t->n_success) && ops_serializable(t->failure, t->n_failure);
}

static bool ops_serializable(Etcdserverpb__RequestOp *const *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Etcdserverpb__RequestOp *op = ops[i];

		if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE && !op->request_range->serializable)
			return false;
		if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN && !txn_serializable(op->request_txn))
			return false;
	}
	return true;
}

static bool too_many(const Etcdserverpb__TxnRequest *t, size_t max);

static bool nested_too_many(Etcdserverpb__RequestOp *const *ops, size_t n, size_t max)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN && too_many(ops[i]->request_txn, max))
			return true;
	return false;
}

/* Compares, or operations of a branch; nested transactions share what is left. */
static bool too_many(const Etcdserverpb__TxnRequest *t, size_t max)
{
	size_t n = MAX(t->n_compare, MAX(t->n_success, t->n_failure));

	return n > max || nested_too_many(t->success, t->n_success, max - n) || nested_too_many(t->failure, t->n_failure, max - n);
}

/* The store has a limit of its own; this server's may be lower. */
static bool over_limit(const struct etcd_call *c, struct str request)
{
	const Etcdserverpb__TxnRequest *t;

	if (c->el->srv->cfg.max_txn_ops >= ETCD_MAX_TXN_OPS)
		return false;
	t = pb_unpack(c->arena, &etcdserverpb__txn_request__descriptor, request);
	return t != NULL && too_many(t, c->el->srv->cfg.max_txn_ops);
}

void etcd__txn(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__TxnRequest *t;

	if (request.n > c->el->srv->cfg.max_request_bytes) {
		etcd__fail(c, ETCD_ERR_REQUEST_TOO_LARGE);
	} else if (over_limit(c, request)) {
		etcd__fail(c, ETCD_ERR_TOO_MANY_OPS);
	} else if (store_txn_is_readonly(request)) {
		/* It was found well-formed and not too deep just now. */
		t = pb_unpack(c->arena, &etcdserverpb__txn_request__descriptor, request);
		read_start(c, request, t != NULL && txn_serializable(t), permit_txn, view_txn_request);
	} else {
		etcd__write(c, ETCD_CMD_TXN, request);
	}
}

/* --- Compaction --------------------------------------------------------------------------------------------------------- */

struct compaction {
	struct etcd_call *call;
	struct etcd_op *op;
	struct loop_timer poll;
	int64_t revision;
	bool physical;
	struct buf frame; /* the answer, while the history is being removed */
};

static void compact_canceled(struct etcd_call *c)
{
	struct compaction *k = c->state;

	loop_timer_stop(&k->poll);
	if (k->op != NULL)
		k->op->owner = NULL;
	buf_fini(&k->frame);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void compact_poll(struct loop_timer *t)
{
	struct compaction *k = container_of(t, struct compaction, poll);
	struct buf frame;

	if (!store_compacted_physically(k->call->el->srv->store, k->revision)) {
		loop_timer_start(&k->poll, k->call->el->loop, PHYSICAL_POLL_MS, compact_poll);
		return;
	}
	frame = k->frame;
	buf_init(&k->frame, BUF_NO_LIMIT);
	etcd__reply(k->call, &frame);
}

static void compact_done(struct etcd_op *op)
{
	struct compaction *k = op->owner;
	struct etcd_call *c = k->call;

	k->op = NULL;
	if (op->req.err.code != ERR_OK) {
		etcd__fail_err(c, &op->req.err);
		return;
	}
	etcd__frame_of(c->el, &k->frame, str_of(op->req.response, op->req.response_size));
	if (k->physical)
		loop_timer_start(&k->poll, c->el->loop, 0, compact_poll);
	else
		etcd__reply(c, &k->frame);
}

void etcd__compact(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__CompactionRequest *r =
			pb_unpack(c->arena, &etcdserverpb__compaction_request__descriptor, request);
	struct compaction *k;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	k = arena_new_of(c->arena, struct compaction);
	k->call = c;
	k->revision = r->revision;
	k->physical = r->physical;
	buf_init(&k->frame, BUF_NO_LIMIT);
	c->state = k;
	c->on_cancel = compact_canceled;
	k->op = etcd__propose(c, ETCD_CMD_COMPACTION, request, k, compact_done);
}
