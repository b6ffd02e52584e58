/*
 * The load of kontiki chaos: clients and watches over gRPC, on a loop of their own. Each client works on one member from
 * within that member's network namespace, so that it reaches it whatever the member's peers can. Only this thread touches the
 * history until chaos_load_finish has returned.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/chaos.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "net/netns.h"
#include "proto/etcd_rpc.pb-c.h"
#include "verify/etcd.h"

#define N_KEYS 12
#define N_WATCHES 3
#define CALL_MS 1000
#define REST_MS 50       /* after a call that failed */
#define STATUS_MS 200
#define SETTLE_MS 2000   /* after the last call: what is still on its way arrives, or never does */

struct client {
	struct chaos_load *load;
	unsigned index;
	int node;
	struct grpc_channel *channel;
	struct grpc_call call;
	struct loop_timer timer;
	struct buf request;
	struct hist_call *asked;
	void (*answer)(struct client *, struct str);
	uint64_t began;
	bool busy, writes;
	int64_t mod[N_KEYS], lease;
};

struct watching {
	struct chaos_load *load;
	unsigned index;
	int node;
	struct grpc_channel *channel;
	struct grpc_call call;
	struct loop_timer timer;
	struct hist_watch *stream;
	int64_t next;
	bool active, final, done;
};

struct prober {
	struct chaos_load *load;
	int node;
	struct grpc_call call;
	struct loop_timer timer;
	bool busy;
};

struct chaos_load {
	struct chaos *c;
	struct loop *loop;
	struct history *h;
	struct grpc_channel *channels[CHAOS_NODES_MAX][2]; /* for calls; for watches and probes */
	struct client *clients;
	size_t n_clients;
	struct watching watchings[N_WATCHES + CHAOS_NODES_MAX];
	struct prober probers[CHAOS_NODES_MAX];
	struct chaos_sample *samples;
	size_t n_samples, cap_samples;
	struct chaos_lead *leads;
	size_t n_leads, cap_leads;
	uint64_t next_value, next_lease;
	int64_t last_revision; /* of the last put; 0: not yet */
	atomic_ullong n_ok;
	atomic_bool caught_up;
	bool stopping, closing;
	struct loop_msg stop_msg, close_msg, side_msg;
	struct {
		struct grpc_call call;
		int node;
		struct buf request, answer;
		struct err err;
		atomic_bool done;
	} side; /* a call of the faults' thread */
	struct loop_timer settle;
};

static uint64_t now(const struct chaos_load *l)
{
	return chaos_now(l->c);
}

/* --- Requests ------------------------------------------------------------------------------------------------------ */

static ProtobufCBinaryData key_of(struct client *c, int key)
{
	char *s = arena_printf(history_arena(c->load->h), "k%02d", key);

	return (ProtobufCBinaryData){strlen(s), (uint8_t *)s};
}
#define KEYS_END ((ProtobufCBinaryData){1, (uint8_t *)"l"})

static ProtobufCBinaryData new_value(struct client *c)
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

static void send_call(struct client *c, const char *method, const ProtobufCMessage *m, void (*answer)(struct client *, struct str), bool writes)
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
	c->call = (struct grpc_call){.method = method, .timeout_ms = CALL_MS, .done = call_done};
	grpc_unary(c->channel, &c->call, buf_str(&c->request));
}

static void *unpack(const ProtobufCMessageDescriptor *d, struct str s)
{
	return protobuf_c_message_unpack(d, NULL, s.n, (const uint8_t *)s.p);
}

static void learn(struct client *c)
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
	static void name##_answer(struct client *c, struct str s)                                               \
	{                                                                                                       \
		type *r = unpack(&descriptor, s);                                                               \
                                                                                                                \
		if (!r)                                                                                         \
			return;                                                                                 \
		history_##name##_ok(c->load->h, c->asked, now(c->load), r);                                     \
		protobuf_c_message_free_unpacked(&r->base, NULL);                                               \
		learn(c);                                                                                       \
	}
ANSWER(range, Etcdserverpb__RangeResponse, etcdserverpb__range_response__descriptor)
ANSWER(put, Etcdserverpb__PutResponse, etcdserverpb__put_response__descriptor)
ANSWER(delete, Etcdserverpb__DeleteRangeResponse, etcdserverpb__delete_range_response__descriptor)
ANSWER(txn, Etcdserverpb__TxnResponse, etcdserverpb__txn_response__descriptor)

static void grant_answer(struct client *c, struct str s)
{
	Etcdserverpb__LeaseGrantResponse *r = unpack(&etcdserverpb__lease_grant_response__descriptor, s);

	if (!r)
		return;
	history_ok(c->asked, now(c->load), r->header);
	c->asked->ttl = r->ttl;
	c->lease = r->id;
	protobuf_c_message_free_unpacked(&r->base, NULL);
}

static void ask_put(struct client *c, int key, int64_t lease)
{
	Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;

	r.key = key_of(c, key);
	r.value = new_value(c);
	r.lease = lease;
	r.prev_kv = draw(4) == 0;
	c->asked = history_put(c->load->h, c->index, now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Put", &r.base, put_answer, true);
}

static void ask_range(struct client *c, bool all, bool serializable)
{
	Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;

	r.key = key_of(c, all ? 0 : (int)draw(N_KEYS));
	if (all)
		r.range_end = KEYS_END;
	r.serializable = serializable;
	c->asked = history_range(c->load->h, c->index, now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Range", &r.base, range_answer, false);
}

static void ask_delete(struct client *c)
{
	Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

	r.key = key_of(c, (int)draw(N_KEYS));
	c->asked = history_delete(c->load->h, c->index, now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/DeleteRange", &r.base, delete_answer, true);
}

/* If the key is as this client knows it, write it and another one; else show it. */
static void ask_txn(struct client *c)
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
	c->asked = history_txn(c->load->h, c->index, now(c->load), &r);
	send_call(c, "/etcdserverpb.KV/Txn", &r.base, txn_answer, true);
}

static void ask_grant(struct client *c)
{
	Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

	r.ttl = 2 + (int64_t)draw(5);
	r.id = (int64_t)(++c->load->next_lease);
	c->asked = history_call(c->load->h, HIST_GRANT, c->index, now(c->load));
	c->asked->lease = r.id;
	c->asked->ttl = r.ttl;
	send_call(c, "/etcdserverpb.Lease/LeaseGrant", &r.base, grant_answer, false);
}

static void ask(struct client *c)
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

/* --- One call after the other ---------------------------------------------------------------------------------------- */

static void finish_if_idle(struct chaos_load *);

static void sample(struct client *c, bool ok)
{
	struct chaos_load *l = c->load;

	if (l->n_samples == l->cap_samples) {
		l->cap_samples = l->cap_samples ? l->cap_samples * 2 : 4096;
		l->samples = xrealloc(l->samples, l->cap_samples * sizeof(*l->samples));
	}
	l->samples[l->n_samples++] = (struct chaos_sample){now(l), now(l) - c->began, c->writes, ok};
}

static void on_rest(struct loop_timer *t)
{
	struct client *c = container_of(t, struct client, timer);

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
	struct client *c = container_of(call, struct client, call);
	struct chaos_load *l = c->load;
	bool ok = call->code == GRPC_OK;

	c->busy = false;
	if (ok) {
		c->answer(c, buf_str(&call->message));
		atomic_fetch_add(&l->n_ok, 1);
	} else {
		c->asked->outcome = outcome_of(call->code, call->status);
		c->asked->returned = now(l);
		if (call->code == GRPC_NOT_FOUND)
			c->lease = 0;
	}
	sample(c, ok);
	if (ok && l->stopping && c->writes && l->last_revision == -1)
		l->last_revision = c->asked->header;
	grpc_call_fini(call);
	if (l->stopping)
		finish_if_idle(l);
	else
		loop_timer_start(&c->timer, l->loop, ok ? draw(4) : REST_MS, on_rest);
}

/* --- Watches ----------------------------------------------------------------------------------------------------------- */

static void watch_open(struct watching *);
static void check_caught_up(struct chaos_load *);

static void on_again(struct loop_timer *t)
{
	watch_open(container_of(t, struct watching, timer));
}

static void watch_done(struct grpc_call *call)
{
	struct watching *w = container_of(call, struct watching, call);

	grpc_call_fini(call);
	w->active = false;
	w->stream = NULL;
	if (w->load->closing)
		return;
	/* On to the next member, from where it stopped. */
	if (!w->final)
		w->node = (w->node + 1) % (int)w->load->c->l.n_nodes;
	loop_timer_start(&w->timer, w->load->loop, 200, on_again);
}

static void note_events(struct watching *w, const Etcdserverpb__WatchResponse *r)
{
	struct chaos_load *l = w->load;
	struct hist_message m = {.kind = HIST_EVENTS, .n_events = r->n_events};

	m.events = arena_new_array(history_arena(l->h), struct hist_event, r->n_events);
	for (size_t i = 0; i < r->n_events; i++) {
		const Mvccpb__Event *e = r->events[i];

		m.events[i].is_delete = e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
		if (e->kv)
			history_kv(l->h, &m.events[i].kv, e->kv);
		m.events[i].has_prev = e->prev_kv != NULL;
		if (e->prev_kv)
			history_kv(l->h, &m.events[i].prev, e->prev_kv);
		w->next = MAX(w->next, m.events[i].kv.mod + 1);
	}
	history_message(l->h, w->stream, m);
}

static void watch_message(struct grpc_call *call, struct str s)
{
	struct watching *w = container_of(call, struct watching, call);
	struct chaos_load *l = w->load;
	Etcdserverpb__WatchResponse *r = unpack(&etcdserverpb__watch_response__descriptor, s);

	if (!r)
		return;
	if (r->canceled) {
		if (r->compact_revision > 0)
			history_message(l->h, w->stream,
					(struct hist_message){.kind = HIST_GONE, .revision = r->compact_revision});
		grpc_cancel(call);
	} else if (r->n_events > 0) {
		note_events(w, r);
	} else if (!r->created && r->header) {
		history_message(l->h, w->stream, (struct hist_message){.kind = HIST_PROGRESS, .revision = r->header->revision});
		w->next = MAX(w->next, r->header->revision + 1);
	}
	protobuf_c_message_free_unpacked(&r->base, NULL);
	check_caught_up(l);
}

static void watch_open(struct watching *w)
{
	struct chaos_load *l = w->load;
	Etcdserverpb__WatchRequest r = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	struct buf b = BUF_INIT;
	size_t size;

	create.key = (ProtobufCBinaryData){1, (uint8_t *)"k"};
	create.range_end = KEYS_END;
	create.start_revision = w->next;
	create.prev_kv = true;
	create.progress_notify = true;
	r.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	r.create_request = &create;
	size = protobuf_c_message_get_packed_size(&r.base);
	protobuf_c_message_pack(&r.base, (uint8_t *)buf_reserve(&b, size));
	buf_advance(&b, size);
	w->stream = history_watch(l->h, 1000 + w->index, STR("k"), STR("l"), w->next);
	w->stream->where = l->c->l.nodes[w->node].name;
	w->stream->prev_kv = true;
	w->active = true;
	w->call = (struct grpc_call){.method = "/etcdserverpb.Watch/Watch", .on_message = watch_message, .done = watch_done};
	grpc_start(l->channels[w->node][1], &w->call);
	grpc_send(&w->call, buf_str(&b), NULL);
	buf_fini(&b);
}

/* --- Who leads? ---------------------------------------------------------------------------------------------------------- */

static void probe(struct prober *);

static void on_probe(struct loop_timer *t)
{
	probe(container_of(t, struct prober, timer));
}

static void probe_done(struct grpc_call *call)
{
	struct prober *p = container_of(call, struct prober, call);
	struct chaos_load *l = p->load;
	Etcdserverpb__StatusResponse *r = NULL;

	if (call->code == GRPC_OK)
		r = unpack(&etcdserverpb__status_response__descriptor, buf_str(&call->message));
	if (r && r->header && r->leader != 0 && r->leader == r->header->member_id) {
		if (l->n_leads == l->cap_leads) {
			l->cap_leads = l->cap_leads ? l->cap_leads * 2 : 256;
			l->leads = xrealloc(l->leads, l->cap_leads * sizeof(*l->leads));
		}
		l->leads[l->n_leads++] = (struct chaos_lead){now(l), p->node};
	}
	if (r)
		protobuf_c_message_free_unpacked(&r->base, NULL);
	grpc_call_fini(call);
	p->busy = false;
	if (!l->closing)
		loop_timer_start(&p->timer, l->loop, STATUS_MS, on_probe);
}

static void probe(struct prober *p)
{
	p->busy = true;
	p->call = (struct grpc_call){.method = "/etcdserverpb.Maintenance/Status", .timeout_ms = 500, .done = probe_done};
	grpc_unary(p->load->channels[p->node][1], &p->call, STR_NULL);
}

/* --- Beginning and end ---------------------------------------------------------------------------------------------------- */

static int open_channels(struct chaos_load *l, struct err *e)
{
	struct chaos *c = l->c;
	int rv = 0;

	for (unsigned i = 0; rv == 0 && i < c->l.n_nodes; i++) {
		char ns[128], ip[IP4_STR_SIZE], addr[32];
		int fd;

		local_netns(&c->l, c->l.nodes[i].name, ns);
		fd = netns_open(ns, e);
		if (fd < 0)
			return fd;
		snprintf(addr, sizeof(addr), "%s:2379", ip4_print(c->l.nodes[i].addr, ip));
		for (int k = 0; rv == 0 && k < 2; k++)
			rv = grpc_channel_new(l->loop,
					      &(struct grpc_channel_config){
						      .address = addr, .netns_fd = fd, .connect_timeout_ms = CALL_MS},
					      &l->channels[i][k], e);
		/* The channels have their own copies. */
		close(fd);
	}
	return rv;
}

int chaos_load_start(struct chaos *c, struct err *e)
{
	struct chaos_load *l = xcalloc(1, sizeof(*l));
	int rv;

	c->load = l;
	l->c = c;
	l->h = history_new();
	l->loop = loop_new("chaos");
	buf_init(&l->side.request, BUF_NO_LIMIT);
	buf_init(&l->side.answer, BUF_NO_LIMIT);
	rv = open_channels(l, e);
	if (rv != 0)
		return rv;
	l->n_clients = (size_t)c->o.clients;
	l->clients = xcalloc(l->n_clients, sizeof(*l->clients));
	for (size_t i = 0; i < l->n_clients; i++) {
		struct client *cl = &l->clients[i];

		cl->load = l;
		cl->index = (unsigned)i;
		cl->node = (int)(i % c->l.n_nodes);
		cl->channel = l->channels[cl->node][0];
		buf_init(&cl->request, BUF_NO_LIMIT);
		loop_timer_start(&cl->timer, l->loop, 1 + i, on_rest);
	}
	for (unsigned i = 0; i < N_WATCHES + c->l.n_nodes; i++) {
		struct watching *w = &l->watchings[i];

		w->load = l;
		w->index = i;
		w->next = 2; /* the first change of an empty store */
		w->final = i >= N_WATCHES;
		w->node = (int)((w->final ? i - N_WATCHES : i) % c->l.n_nodes);
		if (!w->final)
			loop_timer_start(&w->timer, l->loop, 200, on_again);
	}
	for (unsigned i = 0; i < c->l.n_nodes; i++) {
		l->probers[i].load = l;
		l->probers[i].node = (int)i;
		loop_timer_start(&l->probers[i].timer, l->loop, 100, on_probe);
	}
	loop_thread_start(l->loop);
	return 0;
}

static void side_done(struct grpc_call *call)
{
	struct chaos_load *l = container_of(call, struct chaos_load, side.call);

	grpc_call_err(call, &l->side.err);
	buf_clear(&l->side.answer);
	buf_adds(&l->side.answer, buf_str(&call->message));
	grpc_call_fini(call);
	atomic_store(&l->side.done, true);
}

static void on_side(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, side_msg);

	l->side.call.timeout_ms = 5000;
	l->side.call.done = side_done;
	grpc_unary(l->channels[l->side.node][1], &l->side.call, buf_str(&l->side.request));
}

int chaos_load_call(struct chaos *c, int node, const char *method, const ProtobufCMessage *m, struct buf *answer, struct err *e)
{
	struct chaos_load *l = c->load;
	size_t size = protobuf_c_message_get_packed_size(m);

	buf_clear(&l->side.request);
	protobuf_c_message_pack(m, (uint8_t *)buf_reserve(&l->side.request, size));
	buf_advance(&l->side.request, size);
	l->side.node = node;
	l->side.call = (struct grpc_call){.method = method};
	err_clear(&l->side.err);
	atomic_store(&l->side.done, false);
	l->side_msg.run = on_side;
	loop_post(l->loop, &l->side_msg);
	while (!atomic_load(&l->side.done))
		usleep(2000);
	buf_clear(answer);
	buf_adds(answer, buf_str(&l->side.answer));
	if (l->side.err.code != ERR_OK && e)
		*e = l->side.err;
	return -(int)l->side.err.code;
}

uint64_t chaos_load_ok(struct chaos *c)
{
	return atomic_load(&c->load->n_ok);
}

static void check_caught_up(struct chaos_load *l)
{
	if (l->last_revision <= 0 || atomic_load(&l->caught_up))
		return;
	for (unsigned i = 0; i < N_WATCHES + l->c->l.n_nodes; i++)
		if (l->watchings[i].next <= l->last_revision)
			return;
	for (unsigned i = 0; i < N_WATCHES + l->c->l.n_nodes; i++)
		if (l->watchings[i].stream)
			history_message(l->h, l->watchings[i].stream,
					(struct hist_message){.kind = HIST_CAUGHT_UP, .revision = l->last_revision});
	/* Each of the last ones was told all changes from the first on. */
	history_known(l->h, 2, l->last_revision);
	atomic_store(&l->caught_up, true);
}

/* All is quiet: one more write, and every member must tell a new watch of all until then. */
static void on_settled(struct loop_timer *t)
{
	struct chaos_load *l = container_of(t, struct chaos_load, settle);

	l->last_revision = -1;
	for (unsigned i = N_WATCHES; i < N_WATCHES + l->c->l.n_nodes; i++)
		watch_open(&l->watchings[i]);
	ask_put(&l->clients[0], 0, 0);
}

static void finish_if_idle(struct chaos_load *l)
{
	for (size_t i = 0; i < l->n_clients; i++)
		if (l->clients[i].busy)
			return;
	if (l->last_revision == 0)
		loop_timer_start(&l->settle, l->loop, SETTLE_MS, on_settled);
	else if (l->last_revision == -1)
		ask_put(&l->clients[0], 0, 0); /* it did not succeed: once more */
	check_caught_up(l);
}

static void on_stop(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, stop_msg);

	l->stopping = true;
	for (size_t i = 0; i < l->n_clients; i++)
		loop_timer_stop(&l->clients[i].timer);
	finish_if_idle(l);
}

static void on_close(struct loop_msg *m)
{
	struct chaos_load *l = container_of(m, struct chaos_load, close_msg);

	l->closing = l->stopping = true;
	loop_timer_stop(&l->settle);
	for (size_t i = 0; i < ARRAY_LEN(l->watchings); i++)
		loop_timer_stop(&l->watchings[i].timer);
	for (size_t i = 0; i < ARRAY_LEN(l->probers); i++)
		loop_timer_stop(&l->probers[i].timer);
	for (size_t i = 0; i < l->n_clients; i++)
		loop_timer_stop(&l->clients[i].timer);
	for (unsigned i = 0; i < l->c->l.n_nodes; i++)
		for (int k = 0; k < 2; k++)
			if (l->channels[i][k])
				grpc_channel_close(l->channels[i][k], NULL, NULL);
	loop_stop(l->loop);
}

bool chaos_load_finish(struct chaos *c, unsigned timeout_ms)
{
	struct chaos_load *l = c->load;
	bool ok;

	l->stop_msg.run = on_stop;
	loop_post(l->loop, &l->stop_msg);
	for (unsigned ms = 0; ms < timeout_ms && !atomic_load(&l->caught_up); ms += 20)
		usleep(20000);
	ok = atomic_load(&l->caught_up);
	l->close_msg.run = on_close;
	loop_post(l->loop, &l->close_msg);
	loop_thread_join(l->loop);
	return ok;
}

struct history *chaos_load_history(struct chaos *c)
{
	return c->load->h;
}

const struct chaos_sample *chaos_load_samples(struct chaos *c, size_t *n)
{
	*n = c->load->n_samples;
	return c->load->samples;
}

const struct chaos_lead *chaos_load_leads(struct chaos *c, size_t *n)
{
	*n = c->load->n_leads;
	return c->load->leads;
}

void chaos_load_free(struct chaos *c)
{
	struct chaos_load *l = c->load;

	if (l == NULL)
		return;
	if (!l->closing) {
		l->close_msg.run = on_close;
		if (l->clients) {
			loop_post(l->loop, &l->close_msg);
			loop_thread_join(l->loop);
		}
	}
	loop_free(l->loop);
	for (size_t i = 0; i < l->n_clients; i++)
		buf_fini(&l->clients[i].request);
	history_free(l->h);
	buf_fini(&l->side.request);
	buf_fini(&l->side.answer);
	free(l->clients);
	free(l->samples);
	free(l->leads);
	free(l);
	c->load = NULL;
}
