/*
 * Clients and the checker. Each client works on one member at a time: it writes unique values to a few keys, or reads one
 * with a barrier. As the store gives every write a revision, a history is linearizable exactly when revisions agree with
 * real time: no operation shows a revision below one that was visible before it began, a read shows what was written with
 * its revision, and a write that failed for certain is never seen.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/raft.pb-c.h"
#include "store/view.h"
#include "tests/sim/world.h"

void client_req_done(struct member *, struct kv_req *);
void client_barrier_done(struct member *, struct kv_barrier *);

static struct op *op_begin(struct client *c, enum op_kind kind)
{
	struct world *w = c->w;

	if (w->n_history == w->cap_history) {
		w->cap_history = w->cap_history ? w->cap_history * 2 : 1024;
		w->history = xrealloc(w->history, w->cap_history * sizeof(*w->history));
	}
	c->op = w->n_history++;
	w->history[c->op] = (struct op){.kind = kind,
					.client = c->index,
					.key = (int)rng_below(&w->rng, SIM_KEYS),
					.invoked = w->now,
					.returned = UINT64_MAX,
					.outcome = OP_UNKNOWN};
	c->busy = true;
	return &w->history[c->op];
}

static void encode_put(struct client *c, const struct op *op)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	char key[16], *value = xasprintf("%-*" PRIu64, (int)c->w->value_size, op->value);
	size_t size;

	snprintf(key, sizeof(key), "r%d", op->key);
	put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
	put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
	cmd.op_case = RAFTPB__COMMAND__OP_PUT;
	cmd.put = &put;
	size = protobuf_c_message_get_packed_size(&cmd.base);
	buf_clear(&c->command);
	protobuf_c_message_pack(&cmd.base, (uint8_t *)buf_reserve(&c->command, size));
	buf_advance(&c->command, size);
	free(value);
}

static void client_next(struct client *c);

static void ev_next(struct event *e)
{
	client_next(e->client);
}

static void op_end(struct client *c)
{
	struct world *w = c->w;
	/* Mostly eager; now and then a rest. */
	uint64_t rest = rng_chance(&w->rng, 90) ? rng_between(&w->rng, 1, 40) : rng_between(&w->rng, 1, 400);

	c->busy = false;
	event_add(w, NULL, rest * MS, ev_next)->client = c;
}

static void settle(struct client *c, const struct err *e, struct op *op)
{
	struct world *w = c->w;

	/* A member that stops must have said so before it dies; what comes later is nobody's answer. */
	op->outcome = e->code == ERR_OK ? OP_OK : e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT ? OP_UNKNOWN : OP_FAILED;
	if (op->outcome != OP_UNKNOWN)
		op->returned = w->now;
	w->n_ok += op->outcome == OP_OK;
	sim_trace(w, "client %d %s r%d value=%" PRIu64 " rev=%" PRIu64 " at %s: %s", c->index,
		  op->kind == OP_WRITE ? "wrote" : "read", op->key, op->value, op->revision, c->node->name,
		  op->outcome == OP_OK ? "ok" : e->text);
	op_end(c);
}

void client_req_done(struct member *m _unused_, struct kv_req *req)
{
	struct client *c = container_of(req, struct client, req);
	struct op *op = &c->w->history[c->op];
	Etcdserverpb__PutResponse *r;

	if (req->err.code == ERR_OK) {
		r = (Etcdserverpb__PutResponse *)protobuf_c_message_unpack(&etcdserverpb__put_response__descriptor, NULL,
									   req->response_size, (uint8_t *)req->response);
		ASSERT(r && r->header);
		op->revision = (uint64_t)r->header->revision;
		protobuf_c_message_free_unpacked(&r->base, NULL);
	}
	free(req->response);
	req->response = NULL;
	settle(c, &req->err, op);
}

void client_barrier_done(struct member *m _unused_, struct kv_barrier *b)
{
	struct client *c = container_of(b, struct client, barrier);
	struct op *op = &c->w->history[c->op];
	struct store_view *view;
	struct store_kv kv;
	char key[16];

	if (b->err.code == ERR_OK) {
		snprintf(key, sizeof(key), "r%d", op->key);
		ASSERT(store_view_open(c->node->store, &view, NULL) == 0);
		if (view_get(view, str_from(key), 0, &kv, NULL) == 0) {
			op->value = strtoull(kv.value.p, NULL, 10);
			op->revision = (uint64_t)kv.mod_revision;
		}
		store_view_close(view);
	}
	settle(c, &b->err, op);
}

static void ev_request(struct event *e)
{
	struct client *c = e->client;
	struct node *n = e->node;
	uint64_t deadline = n->w->now / 1000 + 1000000u * (unsigned)(n->index + 1) + 2500;
	struct op *op = &c->w->history[c->op];

	if (op->kind == OP_WRITE) {
		c->req = (struct kv_req){.command = buf_str(&c->command), .deadline = deadline};
		member_propose(n->member, &c->req);
	} else {
		c->barrier = (struct kv_barrier){.deadline = deadline};
		member_barrier(n->member, &c->barrier);
	}
}

static void client_next(struct client *c)
{
	struct world *w = c->w;
	struct node *n = &w->nodes[rng_below(&w->rng, SIM_NODES)];
	struct op *op;

	if (w->stopped)
		return;
	if (!node_serves(n) || n->paused_until > w->now) {
		event_add(w, NULL, 5 * MS, ev_next)->client = c;
		return;
	}
	c->node = n;
	op = op_begin(c, rng_chance(&w->rng, 50) ? OP_WRITE : OP_READ);
	if (op->kind == OP_WRITE) {
		op->value = ++w->next_value;
		encode_put(c, op);
	}
	event_add(w, n, 0, ev_request)->client = c;
}

void clients_start(struct world *w)
{
	for (int i = 0; i < SIM_CLIENTS; i++) {
		w->clients[i].w = w;
		w->clients[i].index = i;
		buf_init(&w->clients[i].command, BUF_NO_LIMIT);
		event_add(w, NULL, rng_below(&w->rng, 20 * MS), ev_next)->client = &w->clients[i];
	}
}

void clients_fini(struct world *w)
{
	for (int i = 0; i < SIM_CLIENTS; i++)
		buf_fini(&w->clients[i].command);
}

size_t history_acked(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_history; i++)
		n += w->history[i].outcome == OP_OK && w->history[i].kind == OP_WRITE;
	return n;
}

/* --- The checker ------------------------------------------------------------------------------------------------------ */

static int by_invocation(const void *a, const void *b)
{
	const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;

	return x->invoked < y->invoked ? -1 : x->invoked > y->invoked;
}

static int by_return(const void *a, const void *b)
{
	const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;

	return x->returned < y->returned ? -1 : x->returned > y->returned;
}

static const struct op *writer_of(const struct world *w, uint64_t value)
{
	for (size_t i = 0; i < w->n_history; i++)
		if (w->history[i].kind == OP_WRITE && w->history[i].value == value)
			return &w->history[i];
	return NULL;
}

static void check_read(struct world *w, const struct op *r)
{
	const struct op *by;

	if (r->value == 0)
		return;
	by = writer_of(w, r->value);
	if (!by || by->key != r->key)
		sim_fail(w, "a read of r%d shows %" PRIu64 ", which was never written there", r->key, r->value);
	else if (by->outcome == OP_FAILED)
		sim_fail(w, "a read shows %" PRIu64 ", whose write failed for certain", r->value);
	else if (by->invoked > r->returned)
		sim_fail(w, "a read shows %" PRIu64 " before it was written", r->value);
	else if (by->outcome == OP_OK && by->revision != r->revision)
		sim_fail(w, "value %" PRIu64 " was written at revision %" PRIu64 " and read at %" PRIu64, r->value, by->revision,
			 r->revision);
}

/* Real time against revisions, one key. */
static void check_key(struct world *w, int key, struct op **by_inv, struct op **by_ret)
{
	uint64_t seen = 0; /* the newest revision that was visible before the operation at hand began */
	size_t n = 0, done = 0;

	for (size_t i = 0; i < w->n_history; i++)
		if (w->history[i].key == key && w->history[i].outcome == OP_OK)
			by_inv[n] = by_ret[n] = &w->history[i], n++;
	qsort(by_inv, n, sizeof(*by_inv), by_invocation);
	qsort(by_ret, n, sizeof(*by_ret), by_return);
	for (size_t i = 0; i < n; i++) {
		const struct op *op = by_inv[i];

		for (; done < n && by_ret[done]->returned < op->invoked; done++)
			seen = MAX(seen, by_ret[done]->revision);
		if (op->kind == OP_READ && op->revision < seen)
			sim_fail(w,
				 "stale read: r%d at revision %" PRIu64 " (%.3f-%.3f ms, client %d), but %" PRIu64
				 " was visible before",
				 key, op->revision, (double)op->invoked / 1000, (double)op->returned / 1000, op->client, seen);
		if (op->kind == OP_WRITE && op->revision <= seen)
			sim_fail(w, "a write of r%d got revision %" PRIu64 ", but %" PRIu64 " was visible before it began", key,
				 op->revision, seen);
		if (op->kind == OP_READ)
			check_read(w, op);
	}
}

/* Every acknowledged write is in every member's history, at its revision. */
static void check_kept(struct world *w, struct node *n)
{
	struct store_view *view;
	struct store_kv kv;
	char key[16];

	ASSERT(store_view_open(n->store, &view, NULL) == 0);
	for (size_t i = 0; i < w->n_history && !w->failure[0]; i++) {
		const struct op *op = &w->history[i];

		if (op->kind != OP_WRITE || op->outcome != OP_OK ||
		    (int64_t)op->revision < store_compact_revision(n->store))
			continue;
		snprintf(key, sizeof(key), "r%d", op->key);
		if (view_get(view, str_from(key), (int64_t)op->revision, &kv, NULL) != 0 ||
		    (uint64_t)kv.mod_revision != op->revision || strtoull(kv.value.p, NULL, 10) != op->value)
			sim_fail(w, "%s has lost the acknowledged write %" PRIu64 " of r%d at revision %" PRIu64, n->name,
				 op->value, op->key, op->revision);
	}
	store_view_close(view);
}

bool check_history(struct world *w)
{
	struct op **a = xcalloc(w->n_history + 1, sizeof(*a)), **b = xcalloc(w->n_history + 1, sizeof(*b));

	for (int k = 0; k < SIM_KEYS; k++)
		check_key(w, k, a, b);
	free(a);
	free(b);
	for (int i = 0; i < SIM_NODES; i++) {
		struct kv_status s;

		if (!w->nodes[i].member || w->nodes[i].gone)
			continue;
		member_status(w->nodes[i].member, &s);
		if (s.n_members > 0)
			check_kept(w, &w->nodes[i]);
	}
	return !w->failure[0];
}
