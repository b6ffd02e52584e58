/*
 * Clients. Each works on one member at a time, with one operation after the other: puts, gets, ranges, deletes, transactions,
 * reads of old revisions, serializable reads, leases, compaction. What it asked and was told goes into the history.
 */
#include <inttypes.h>
#include <raft.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/raft.pb-c.h"
#include "store/view.h"
#include "tests/sim/world.h"
#include "verify/etcd.h"

void client_req_done(struct member *, struct kv_req *);
void client_barrier_done(struct member *, struct kv_barrier *);
void client_lease_done(struct member *, struct kv_lease *);

struct client_op {
	const char *name;
	unsigned weight;
	/* False: not now (no lease, nothing known...). */
	bool (*begin)(struct client *);
	/* The answer's bytes, or NULL for operations without one. */
	void (*answer)(struct client *, struct str);
};

/* --- Requests ------------------------------------------------------------------------------------------------------- */

static int pick_key(struct client *c)
{
	return (int)rng_below(&c->w->rng, SIM_KEYS);
}

/* Good until the next call but three: requests have no more keys. */
static ProtobufCBinaryData key_of(int key)
{
	static char names[4][8];
	static unsigned next;
	char *s = names[next++ % 4];
	int n = snprintf(s, sizeof(names[0]), "r%c", 'a' + key);

	return (ProtobufCBinaryData){(size_t)n, (uint8_t *)s};
}
#define ALL_END ((ProtobufCBinaryData){1, (uint8_t *)"s"})

/* Unique; the bytes belong to the history. */
static ProtobufCBinaryData new_value(struct client *c)
{
	struct world *w = c->w;
	char *s = arena_printf(history_arena(w->history), "%-*" PRIu64, (int)w->value_size, ++w->next_value);

	return (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
}

static void pack(struct client *c, const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);

	buf_clear(&c->request);
	protobuf_c_message_pack(m, (uint8_t *)buf_reserve(&c->request, size));
	buf_advance(&c->request, size);
}

static void pack_command(struct client *c, Raftpb__Command *cmd)
{
	c->via = VIA_LOG;
	cmd->time_ms = 1700000000000u + c->w->now / 1000;
	pack(c, &cmd->base);
}

static void note_where(struct client *c)
{
	c->call->where = c->node->name;
}

/* --- Answers ---------------------------------------------------------------------------------------------------------- */

static void *unpack(const ProtobufCMessageDescriptor *d, struct str bytes)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, bytes.n, (const uint8_t *)bytes.p);

	ASSERT(m);
	return m;
}

/* What the answer tells of single keys, for later compares. */
static void learn(struct client *c)
{
	const struct hist_op *ops = c->call->succeeded ? c->call->then : c->call->otherwise;
	size_t n = c->call->succeeded ? c->call->n_then : c->call->n_otherwise;

	c->revision = MAX(c->revision, c->call->header);
	for (size_t i = 0; i < n; i++)
		if (ops[i].kind == HIST_PUT) {
			c->w->n_acked++;
			break;
		}
	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind == HIST_PUT)
			c->mod[ops[i].key.p[1] - 'a'] = c->call->header;
		if (ops[i].revision > 0 || ops[i].prev_kv)
			continue;
		if (ops[i].kind != HIST_PUT && ops[i].end.n == 0)
			c->mod[ops[i].key.p[1] - 'a'] = 0;
		for (size_t j = 0; j < ops[i].n_kvs; j++)
			c->mod[ops[i].kvs[j].key.p[1] - 'a'] = ops[i].kvs[j].mod;
	}
}

static void range_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__RangeResponse *r = unpack(&etcdserverpb__range_response__descriptor, bytes);

	history_range_ok(c->w->history, c->call, c->w->now, r);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	learn(c);
}

static void put_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__PutResponse *r = unpack(&etcdserverpb__put_response__descriptor, bytes);

	history_put_ok(c->w->history, c->call, c->w->now, r);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	learn(c);
}

static void delete_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__DeleteRangeResponse *r = unpack(&etcdserverpb__delete_range_response__descriptor, bytes);

	history_delete_ok(c->w->history, c->call, c->w->now, r);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	learn(c);
}

static void txn_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__TxnResponse *r = unpack(&etcdserverpb__txn_response__descriptor, bytes);

	history_txn_ok(c->w->history, c->call, c->w->now, r);
	protobuf_c_message_free_unpacked(&r->base, NULL);
	learn(c);
}

static void grant_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__LeaseGrantResponse *r = unpack(&etcdserverpb__lease_grant_response__descriptor, bytes);

	history_ok(c->call, c->w->now, r->header);
	c->call->ttl = r->ttl;
	c->lease = r->id;
	c->ttl = r->ttl;
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void revoke_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__LeaseRevokeResponse *r = unpack(&etcdserverpb__lease_revoke_response__descriptor, bytes);

	history_ok(c->call, c->w->now, r->header);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void compact_answer(struct client *c, struct str bytes)
{
	Etcdserverpb__CompactionResponse *r = unpack(&etcdserverpb__compaction_response__descriptor, bytes);

	history_ok(c->call, c->w->now, r->header);
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

/* --- The operations --------------------------------------------------------------------------------------------------- */

static bool put(struct client *c, int64_t lease)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;

	/* Nobody else writes a client's key for leases, or it would seldom live until its lease ends. */
	r.key = key_of(lease ? SIM_KEYS + (int)c->index : pick_key(c));
	r.value = new_value(c);
	r.prev_kv = rng_chance(&c->w->rng, 20);
	r.lease = lease;
	cmd.op_case = RAFTPB__COMMAND__OP_PUT;
	cmd.put = &r;
	c->call = history_put(c->w->history, c->index, c->w->now, &r);
	pack_command(c, &cmd);
	return true;
}

static bool begin_put(struct client *c)
{
	return put(c, 0);
}

static bool begin_put_lease(struct client *c)
{
	return c->lease && !c->w->calm && put(c, c->lease);
}

static bool delete(struct client *c, ProtobufCBinaryData end)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

	r.key = key_of(pick_key(c));
	r.range_end = end;
	r.prev_kv = rng_chance(&c->w->rng, 30);
	cmd.op_case = RAFTPB__COMMAND__OP_DELETE_RANGE;
	cmd.delete_range = &r;
	c->call = history_delete(c->w->history, c->index, c->w->now, &r);
	pack_command(c, &cmd);
	return true;
}

static bool begin_delete(struct client *c)
{
	return delete (c, (ProtobufCBinaryData){0, NULL});
}

static bool begin_delete_range(struct client *c)
{
	return delete (c, ALL_END);
}

static bool range(struct client *c, Etcdserverpb__RangeRequest *r, int via)
{
	c->via = via;
	c->call = history_range(c->w->history, c->index, c->w->now, r);
	pack(c, &r->base);
	return true;
}

static bool begin_get(struct client *c)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	r.key = key_of(pick_key(c));
	return range(c, &r, VIA_BARRIER);
}

static void whole_range(struct client *c, Etcdserverpb__RangeRequest *r)
{
	r->key = key_of(rng_chance(&c->w->rng, 50) ? 0 : pick_key(c));
	r->range_end = ALL_END;
	if (rng_chance(&c->w->rng, 30))
		r->limit = (int64_t)rng_between(&c->w->rng, 1, 4);
	r->count_only = rng_chance(&c->w->rng, 10);
	r->keys_only = rng_chance(&c->w->rng, 10);
}

static bool begin_range(struct client *c)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	whole_range(c, &r);
	return range(c, &r, VIA_BARRIER);
}

static bool begin_serializable(struct client *c)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	whole_range(c, &r);
	r.serializable = true;
	return range(c, &r, VIA_VIEW);
}

static bool begin_old(struct client *c)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	if (c->revision < 3)
		return false;
	whole_range(c, &r);
	/* Mostly near the present; now and then ancient, or in the future. */
	r.revision = c->revision - (int64_t)rng_below(&c->w->rng, rng_chance(&c->w->rng, 70) ? 40 : (uint64_t)c->revision);
	if (rng_chance(&c->w->rng, 5))
		r.revision = c->revision + (int64_t)rng_below(&c->w->rng, 30);
	r.revision = MAX(r.revision, 2);
	r.serializable = rng_chance(&c->w->rng, 40);
	return range(c, &r, r.serializable ? VIA_VIEW : VIA_BARRIER);
}

static bool txn(struct client *c, Etcdserverpb__TxnRequest *r)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;

	cmd.op_case = RAFTPB__COMMAND__OP_TXN;
	cmd.txn = r;
	c->call = history_txn(c->w->history, c->index, c->w->now, r);
	pack_command(c, &cmd);
	return true;
}

/* The transactions of the apiserver: if the key is as I know it, write or delete, else show it to me. */
static bool compare_and(struct client *c, bool del)
{
	int key = pick_key(c);
	Etcdserverpb__TxnRequest r = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp yes = ETCDSERVERPB__REQUEST_OP__INIT, no = ETCDSERVERPB__REQUEST_OP__INIT;
	Etcdserverpb__RequestOp *yess[] = {&yes}, *nos[] = {&no};
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;

	cmp.key = put.key = delete.key = get.key = key_of(key);
	cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
	cmp.mod_revision = c->mod[key];
	if (del) {
		yes.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		yes.request_delete_range = &delete;
	} else {
		put.value = new_value(c);
		yes.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		yes.request_put = &put;
	}
	no.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	no.request_range = &get;
	r.compare = cmps;
	r.success = yess;
	r.failure = nos;
	r.n_compare = r.n_success = r.n_failure = 1;
	return txn(c, &r);
}

static bool begin_cas(struct client *c)
{
	return compare_and(c, false);
}

static bool begin_cas_delete(struct client *c)
{
	return compare_and(c, true);
}

/* Several keys at once: what it writes is seen whole or not at all. */
static bool begin_multi(struct client *c)
{
	int a = pick_key(c), b = (a + 1 + (int)rng_below(&c->w->rng, SIM_KEYS - 1)) % SIM_KEYS;
	int d = (b + 1) % SIM_KEYS;
	Etcdserverpb__TxnRequest r = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp ops[4], *list[4], *second[1];
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT, q = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__RangeRequest all = ETCDSERVERPB__RANGE_REQUEST__INIT;
	size_t n = 0;

	for (int i = 0; i < 4; i++) {
		etcdserverpb__request_op__init(&ops[i]);
		list[i] = &ops[i];
	}
	p.key = key_of(a);
	q.key = key_of(b);
	p.value = new_value(c);
	q.value = new_value(c);
	all.key = key_of(0);
	all.range_end = ALL_END;
	ops[n].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	ops[n++].request_put = &p;
	if (d != a && rng_chance(&c->w->rng, 30)) {
		delete.key = key_of(d);
		ops[n].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		ops[n++].request_delete_range = &delete;
	}
	ops[n].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	ops[n++].request_put = &q;
	ops[n].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	ops[n++].request_range = &all;
	/* Half of them only if a key has not been written more often than so. */
	if (rng_chance(&c->w->rng, 50)) {
		cmp.key = p.key;
		cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
		cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
		cmp.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS;
		cmp.version = (int64_t)rng_between(&c->w->rng, 1, 6);
		r.compare = cmps;
		r.n_compare = 1;
		second[0] = &ops[n - 1];
		r.failure = second;
		r.n_failure = 1;
	}
	r.success = list;
	r.n_success = n;
	return txn(c, &r);
}

static bool begin_grant(struct client *c)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

	if (c->w->calm)
		return false;
	r.ttl = (int64_t)rng_between(&c->w->rng, 1, SIM_MAX_TTL);
	r.id = (int64_t)(1000 * (c->index + 1) + c->next_lease++);
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
	cmd.lease_grant = &r;
	c->call = history_call(c->w->history, HIST_GRANT, c->index, c->w->now);
	c->call->lease = r.id;
	c->call->ttl = r.ttl;
	pack_command(c, &cmd);
	return true;
}

static bool begin_revoke(struct client *c)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseRevokeRequest r = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

	if (!c->lease)
		return false;
	r.id = c->lease;
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_REVOKE;
	cmd.lease_revoke = &r;
	c->call = history_call(c->w->history, HIST_REVOKE, c->index, c->w->now);
	c->call->lease = r.id;
	c->lease = 0;
	pack_command(c, &cmd);
	return true;
}

static bool begin_renew(struct client *c)
{
	if (!c->lease || c->w->calm)
		return false;
	/* Asked of a sleeper: long after it fell asleep, when another one leads. */
	c->call = history_call(c->w->history, HIST_RENEW, c->index, c->w->now);
	c->call->lease = c->lease;
	c->via = VIA_RENEW;
	return true;
}

/* Leave it to its end, and take a new one some time. */
static bool begin_forget(struct client *c)
{
	c->lease = 0;
	return false;
}

static bool begin_compact(struct client *c)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest r = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

	if (c->revision < 10)
		return false;
	r.revision = c->revision - (int64_t)rng_below(&c->w->rng, 60);
	r.revision = MAX(r.revision, 1);
	cmd.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	cmd.compaction = &r;
	c->call = history_call(c->w->history, HIST_COMPACT, c->index, c->w->now);
	c->call->revision = r.revision;
	pack_command(c, &cmd);
	return true;
}

#define RENEW 0
static const struct client_op ops[] = {
	{"renew", 8, begin_renew, NULL},
	{"put", 22, begin_put, put_answer},
	{"get", 18, begin_get, range_answer},
	{"range", 8, begin_range, range_answer},
	{"delete", 5, begin_delete, delete_answer},
	{"delete range", 1, begin_delete_range, delete_answer},
	{"cas", 14, begin_cas, txn_answer},
	{"cas delete", 3, begin_cas_delete, txn_answer},
	{"multi", 8, begin_multi, txn_answer},
	{"serializable", 5, begin_serializable, range_answer},
	{"old", 5, begin_old, range_answer},
	{"grant", 3, begin_grant, grant_answer},
	{"put with lease", 5, begin_put_lease, put_answer},
	{"revoke", 1, begin_revoke, revoke_answer},
	{"forget lease", 3, begin_forget, NULL},
	{"compact", 1, begin_compact, compact_answer},
};

static const struct client_op *pick_op(struct client *c)
{
	unsigned total = 0, pick;

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		total += ops[i].weight;
	pick = (unsigned)rng_below(&c->w->rng, total);
	for (size_t i = 0;; i++) {
		if (pick < ops[i].weight)
			return &ops[i];
		pick -= ops[i].weight;
	}
}

/* --- From one operation to the next ----------------------------------------------------------------------------------- */

static void client_next(struct client *c);

static void ev_next(struct event *e)
{
	client_next(e->client);
}

static void op_end(struct client *c)
{
	struct world *w = c->w;
	/* Mostly eager; now and then a rest. */
	uint64_t rest = rng_chance(&w->rng, 90) ? rng_between(&w->rng, 1, w->think_ms) : rng_between(&w->rng, 1, 10 * w->think_ms);

	c->call = NULL;
	event_add(w, NULL, rest * MS, ev_next)->client = c;
}

/* What an error means: raft/kv.h has the list. */
static enum hist_outcome outcome_of(const struct err *e)
{
	switch (e->code) {
	case ERR_UNAVAILABLE:
	case ERR_TIMEOUT:
		return HIST_UNKNOWN;
	case ERR_EXPIRED:
		return HIST_COMPACTED;
	case ERR_OUT_OF_RANGE:
		return HIST_FUTURE;
	default:
		return HIST_FAILED;
	}
}

static void settle(struct client *c, const struct err *e, struct str answer)
{
	struct world *w = c->w;

	if (e->code == ERR_OK) {
		c->op->answer(c, answer);
		w->n_ok++;
	} else {
		c->call->outcome = outcome_of(e);
		c->call->returned = w->now;
		/* Its lease is gone, or may be: the next one. */
		if (e->code == ERR_NOT_FOUND)
			c->lease = 0;
	}
	sim_trace(w, "client %u %s %" PRId64 " at %s: %s%s rev=%" PRId64, c->index, c->op->name,
		  c->call->revision ? c->call->revision : c->call->lease, c->node->name, e->code ? e->text : "ok",
		  c->call->succeeded ? "" : " (else)", c->call->header);
	op_end(c);
}

void client_req_done(struct member *m _unused_, struct kv_req *req)
{
	struct client *c = container_of(req, struct client, req);
	char *response = TAKE(req->response);

	settle(c, &req->err, str_of(response, req->response_size));
	free(response);
}

/* Read the member's own state, as it is now. */
static void read_view(struct client *c)
{
	struct buf answer = BUF_INIT;
	struct store_view *view;
	struct err e = ERR_INIT;

	node_view_wanted(c->node);
	if (store_view_open(c->node->store, &view, &e) == 0) {
		view_range_request(view, buf_str(&c->request), &answer, &e);
		store_view_close(view);
	}
	settle(c, &e, buf_str(&answer));
	buf_fini(&answer);
}

void client_lease_done(struct member *m _unused_, struct kv_lease *req)
{
	struct client *c = container_of(req, struct client, renewal);
	struct world *w = c->w;

	sim_trace(w, "client %u renews lease %" PRId64 " at %s: %" PRId64 " %s", c->index, c->call->lease, c->node->name,
		  req->left, req->err.text);
	/* Unknown or not: a renewal that nobody was told of promises nothing. */
	c->call->outcome = req->err.code == ERR_OK && req->left > 0 ? HIST_OK : HIST_FAILED;
	c->call->returned = w->now;
	c->call->ttl = req->granted;
	if ((req->err.code == ERR_OK && req->left <= 0) || c->last_renewal)
		c->lease = 0;
	op_end(c);
}

void client_barrier_done(struct member *m _unused_, struct kv_barrier *b)
{
	struct client *c = container_of(b, struct client, barrier);

	if (b->err.code != ERR_OK)
		settle(c, &b->err, STR_NULL);
	else
		read_view(c);
}

static void ev_request(struct event *e)
{
	struct client *c = e->client;
	struct node *n = e->node;
	uint64_t deadline = n->w->now / 1000 + 1000000u * (unsigned)(n->index + 1) + 2500;

	c->sending = NULL;
	switch (c->via) {
	case VIA_LOG:
		c->req = (struct kv_req){.command = buf_str(&c->request), .deadline = deadline};
		member_propose(n->member, &c->req);
		break;
	case VIA_VIEW:
		read_view(c);
		break;
	case VIA_RENEW:
		c->renewal = (struct kv_lease){.lease = c->call->lease, .renew = true, .deadline = deadline};
		member_lease(n->member, &c->renewal);
		break;
	case VIA_BARRIER:
		c->barrier = (struct kv_barrier){.deadline = deadline};
		member_barrier(n->member, &c->barrier);
		break;
	}
}

/* One that has just joined, or whose place was taken away before it heard of it, serves nobody. */
static bool knows_members(const struct node *n)
{
	return member_raft(n->member)->configuration.n > 0;
}

static void client_next(struct client *c)
{
	struct world *w = c->w;
	struct node *n = &w->nodes[rng_below(&w->rng, SIM_NODES)];

	if (w->stopped)
		return;
	/* Some ask a process that sleeps: it answers when it wakes up, and must not believe that nothing has happened meanwhile. */
	if (w->quiet || !node_serves(n) || !knows_members(n) || (n->paused_until > w->now && !rng_chance(&w->rng, 10))) {
		event_add(w, NULL, 2 * MS, ev_next)->client = c;
		return;
	}
	c->node = n;
	if (w->asleep && c->lease && node_serves(w->asleep) && rng_chance(&w->rng, 50)) {
		c->node = n = w->asleep;
		c->op = &ops[RENEW];
		c->last_renewal = c->op->begin(c);
	} else {
		c->last_renewal = false;
		do
			c->op = pick_op(c);
		while (!c->op->begin(c));
	}
	note_where(c);
	c->sending = event_add(w, n, 0, ev_request);
	c->sending->client = c;
}

void clients_crashed(struct node *n)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "the member died");
	for (int i = 0; i < SIM_CLIENTS; i++) {
		struct client *c = &n->w->clients[i];

		if (!c->sending || c->node != n)
			continue;
		event_free(n->w, TAKE(c->sending));
		settle(c, &e, STR_NULL);
	}
}

void clients_start(struct world *w)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		w->clients[i].w = w;
		w->clients[i].index = i;
		buf_init(&w->clients[i].request, BUF_NO_LIMIT);
		event_add(w, NULL, rng_below(&w->rng, 20 * MS), ev_next)->client = &w->clients[i];
	}
}

void clients_fini(struct world *w)
{
	for (int i = 0; i < SIM_CLIENTS; i++)
		buf_fini(&w->clients[i].request);
}
