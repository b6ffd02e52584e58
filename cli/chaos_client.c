/* The clients of kontiki chaos: what they ask, one call after the other, and what they learn from the answers. */
#include "cli/chaos_load-priv.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/chaos.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "proto/etcd_rpc.pb-c.h"
#include "verify/etcd.h"

#define REST_MS 50 /* after a call that failed */

static ProtobufCBinaryData key_of(struct chaos_client *c, int key)
{
	char *s = arena_printf(history_arena(c->load->h), "k%02d", key);

	return (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
}

static ProtobufCBinaryData new_value(struct chaos_client *c)
{
	char *s = arena_printf(history_arena(c->load->h), "%" PRIu64 "-%u", ++c->load->next_value, c->index);

	return (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
}

/* Drawn by the load's own thread, so not from the schedule's seed. */
static uint64_t draw(uint64_t n)
{
	static _Thread_local uint64_t state = 0x1234567;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

static void call_done(struct grpc_call *);

static void send_call(struct chaos_client *c, const char *method, const ProtobufCMessage *m, void (*answer)(struct chaos_client *, struct str), bool writes)
{
	size_t size = protobuf_c_message_get_packed_size(m);

	buf_clear(&c->request);
	protobuf_c_message_pack(m, (uint8_t *)buf_reserve(&c->request, size));
	buf_advance(&c->request, size);
	c->asked->where = c->load->c->l.nodes[c->node].name;
	c->answer = answer;
	c->writes = writes;
	c->busy = true;
	c->began = c->asked->invoked;
	c->call = (struct grpc_call){.method = method, .timeout_ms = CHAOS_CALL_MS, .done = call_done};
	grpc_unary(c->channel, &c->call, buf_str(&c->request));
}

static void learn(struct chaos_client *c)
{
	const struct hist_op *ops = c->asked->succeeded ? c->asked->then : c->asked->otherwise;
	size_t n = c->asked->succeeded ? c->asked->n_then : c->asked->n_otherwise;

	for (size_t i = 0; i < n; i++) {
		int key = ops[i].end.n == 0 && ops[i].key.n == 3 ? atoi(ops[i].key.p + 1) : -1;

		if (key >= 0 && key < N_KEYS)
			c->mod[key] = ops[i].kind == HIST_PUT ? c->asked->header : ops[i].n_kvs ? ops[i].kvs[0].mod : 0;
	}
}

/* Answers that cannot be read are a failure of the server, not a missing outcome: leave them unknown, and the history tells. */
#define ANSWER(name, type, descriptor)                                                                          \
	static void name##_answer(struct chaos_client *c, struct str s)                                               \
	{                                                                                                       \
		type *r = chaos__unpack(&descriptor, s);                                                               \
                                                                                                                \
		if (!r)                                                                                         \
			return;                                                                                 \
		history_##name##_ok(c->load->h, c->asked, chaos__now(c->load), r);                                     \
		protobuf_c_message_free_unpacked(&r->base, NULL);                                               \
		learn(c);                                                                                       \
	}
ANSWER(range, Etcdserverpb__RangeResponse, etcdserverpb__range_response__descriptor)
ANSWER(put, Etcdserverpb__PutResponse, etcdserverpb__put_response__descriptor)
ANSWER(delete, Etcdserverpb__DeleteRangeResponse, etcdserverpb__delete_range_response__descriptor)
ANSWER(txn, Etcdserverpb__TxnResponse, etcdserverpb__txn_response__descriptor)

static void grant_answer(struct chaos_client *c, struct str s)
{
	Etcdserverpb__LeaseGrantResponse *r = chaos__unpack(&etcdserverpb__lease_grant_response__descriptor, s);

	if (!r)
		return;
	history_ok(c->asked, chaos__now(c->load), r->header);
	c->asked->ttl = r->ttl;
	c->lease = r->id;
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void ask_put(struct chaos_client *c, int key, int64_t lease)
{
	Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;

	r.key = key_of(c, key);
	r.value = new_value(c);
	r.lease = lease;
	r.prev_kv = draw(4) == 0;
	c->asked = history_put(c->load->h, c->index, chaos__now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Put", &r.base, put_answer, true);
}

static void ask_range(struct chaos_client *c, bool all, bool serializable)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	r.key = key_of(c, all ? 0 : (int)draw(N_KEYS));
	if (all)
		r.range_end = KEYS_END;
	r.serializable = serializable;
	c->asked = history_range(c->load->h, c->index, chaos__now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Range", &r.base, range_answer, false);
}

static void ask_delete(struct chaos_client *c)
{
	Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

	r.key = key_of(c, (int)draw(N_KEYS));
	c->asked = history_delete(c->load->h, c->index, chaos__now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/DeleteRange", &r.base, delete_answer, true);
}

/* If the key is as this client knows it, write it and another one; else show it. */
static void ask_txn(struct chaos_client *c)
{
	int key = (int)draw(N_KEYS);
	Etcdserverpb__TxnRequest r = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare cmp = ETCDSERVERPB__COMPARE__INIT, *cmps[] = {&cmp};
	Etcdserverpb__RequestOp yes[2], *yess[] = {&yes[0], &yes[1]}, no = ETCDSERVERPB__REQUEST_OP__INIT, *nos[] = {&no};
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT, q = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;

	cmp.key = p.key = get.key = key_of(c, key);
	cmp.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
	cmp.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
	cmp.mod_revision = c->mod[key];
	p.value = new_value(c);
	q.key = key_of(c, (key + 1) % N_KEYS);
	q.value = new_value(c);
	for (int i = 0; i < 2; i++) {
		etcdserverpb__request_op__init(&yes[i]);
		yes[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		yes[i].request_put = i ? &q : &p;
	}
	no.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	no.request_range = &get;
	r.compare = cmps;
	r.success = yess;
	r.failure = nos;
	r.n_compare = r.n_failure = 1;
	r.n_success = 2;
	c->asked = history_txn(c->load->h, c->index, chaos__now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Txn", &r.base, txn_answer, true);
}

static void ask_grant(struct chaos_client *c)
{
	Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

	r.ttl = 2 + (int64_t)draw(5);
	r.id = (int64_t)(++c->load->next_lease);
	c->asked = history_call(c->load->h, HIST_GRANT, c->index, chaos__now(c->load));
	c->asked->lease = r.id;
	c->asked->ttl = r.ttl;
	send_call(c, "/etcdserverpb.Lease/LeaseGrant", &r.base, grant_answer, false);
}

static void ask(struct chaos_client *c)
{
	uint64_t pick = draw(100);

	if (pick < 30)
		ask_put(c, (int)draw(N_KEYS), 0);
	else if (pick < 52)
		ask_range(c, false, false);
	else if (pick < 60)
		ask_range(c, true, false);
	else if (pick < 68)
		ask_range(c, true, true);
	else if (pick < 75)
		ask_delete(c);
	else if (pick < 94)
		ask_txn(c);
	else if (pick < 97 || c->lease == 0)
		ask_grant(c);
	else
		ask_put(c, N_KEYS + (int)c->index, c->lease);
}

static void sample(struct chaos_client *c, bool ok)
{
	struct chaos_load *l = c->load;

	if (l->n_samples == l->cap_samples) {
		l->cap_samples = l->cap_samples ? l->cap_samples * 2 : 4096;
		l->samples = xrealloc(l->samples, l->cap_samples * sizeof(*l->samples));
	}
	l->samples[l->n_samples++] = (struct chaos_sample){chaos__now(l), chaos__now(l) - c->began, c->writes, ok};
}

static void on_rest(struct loop_timer *t)
{
	struct chaos_client *c = container_of(t, struct chaos_client, timer);

	if (!c->load->stopping && !c->busy)
		ask(c);
}

/* What a code means for the outcome. What no etcd may do and what is not known for certain are different things. */
static enum hist_outcome outcome_of(int code, struct str status)
{
	switch (code) {
	case GRPC_OUT_OF_RANGE:
		return str_search(status, STR("compacted")) >= 0 ? HIST_COMPACTED : HIST_FUTURE;
	case GRPC_INVALID_ARGUMENT:
	case GRPC_NOT_FOUND:
	case GRPC_FAILED_PRECONDITION:
	case GRPC_RESOURCE_EXHAUSTED:
	case GRPC_UNIMPLEMENTED:
	case GRPC_PERMISSION_DENIED:
		return HIST_FAILED;
	default:
		return HIST_UNKNOWN;
	}
}

static void call_done(struct grpc_call *call)
{
	struct chaos_client *c = container_of(call, struct chaos_client, call);
	struct chaos_load *l = c->load;
	bool ok = call->code == GRPC_OK;

	c->busy = false;
	if (ok) {
		c->answer(c, buf_str(&call->message));
		atomic_fetch_add(&l->n_ok, 1);
	} else {
		c->asked->outcome = outcome_of(call->code, call->status);
		c->asked->returned = chaos__now(l);
		if (call->code == GRPC_NOT_FOUND)
			c->lease = 0;
	}
	sample(c, ok);
	if (ok && l->stopping && c->writes && l->last_revision == -1)
		l->last_revision = c->asked->header;
	grpc_call_fini(call);
	if (l->stopping)
		chaos__finish_if_idle(l);
	else
		loop_timer_start(&c->timer, l->loop, ok ? draw(4) : REST_MS, on_rest);
}

void chaos__client_start(struct chaos_client *c, struct chaos_load *l, unsigned i)
{
	c->load = l;
	c->index = i;
	c->node = (int)(i % l->c->l.n_nodes);
	c->channel = l->channels[c->node][0];
	buf_init(&c->request, BUF_NO_LIMIT);
	loop_timer_start(&c->timer, l->loop, 1 + i, on_rest);
}

void chaos__client_put(struct chaos_client *c)
{
	ask_put(c, 0, 0);
}
