/* The watches of kontiki chaos, which move from member to member, and the probes that ask each member whether it leads. */
#include "cli/chaos_load-priv.h"

#include "base/util.h"
#include "cli/chaos.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "proto/etcd_rpc.pb-c.h"
#include "verify/etcd.h"

#define STATUS_MS 200

static void on_again(struct loop_timer *t)
{
	chaos__watch_open(container_of(t, struct chaos_watching, timer));
}

static void watch_done(struct grpc_call *call)
{
	struct chaos_watching *w = container_of(call, struct chaos_watching, call);

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

static void note_events(struct chaos_watching *w, const Etcdserverpb__WatchResponse *r)
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
	struct chaos_watching *w = container_of(call, struct chaos_watching, call);
	struct chaos_load *l = w->load;
	Etcdserverpb__WatchResponse *r = chaos__unpack(&etcdserverpb__watch_response__descriptor, s);

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
	chaos__check_caught_up(l);
}

void chaos__watch_open(struct chaos_watching *w)
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

void chaos__watch_start(struct chaos_watching *w, struct chaos_load *l, unsigned i)
{
	w->load = l;
	w->index = i;
	w->next = 2; /* the first change of an empty store */
	w->final = i >= N_WATCHES;
	w->node = (int)((w->final ? i - N_WATCHES : i) % l->c->l.n_nodes);
	if (!w->final)
		loop_timer_start(&w->timer, l->loop, 200, on_again);
}

/* --- Who leads? ---------------------------------------------------------------------------------------------------------- */

static void probe(struct chaos_prober *);

static void on_probe(struct loop_timer *t)
{
	probe(container_of(t, struct chaos_prober, timer));
}

static void probe_done(struct grpc_call *call)
{
	struct chaos_prober *p = container_of(call, struct chaos_prober, call);
	struct chaos_load *l = p->load;
	Etcdserverpb__StatusResponse *r = NULL;

	if (call->code == GRPC_OK)
		r = chaos__unpack(&etcdserverpb__status_response__descriptor, buf_str(&call->message));
	if (r && r->header && r->leader != 0 && r->leader == r->header->member_id) {
		if (l->n_leads == l->cap_leads) {
			l->cap_leads = l->cap_leads ? l->cap_leads * 2 : 256;
			l->leads = xrealloc(l->leads, l->cap_leads * sizeof(*l->leads));
		}
		l->leads[l->n_leads++] = (struct chaos_lead){chaos__now(l), p->node};
	}
	if (r)
		protobuf_c_message_free_unpacked(&r->base, NULL);
	grpc_call_fini(call);
	p->busy = false;
	if (!l->closing)
		loop_timer_start(&p->timer, l->loop, STATUS_MS, on_probe);
}

static void probe(struct chaos_prober *p)
{
	p->busy = true;
	p->call = (struct grpc_call){.method = "/etcdserverpb.Maintenance/Status", .timeout_ms = 500, .done = probe_done};
	grpc_unary(p->load->channels[p->node][1], &p->call, STR_NULL);
}

void chaos__probe_start(struct chaos_prober *p, struct chaos_load *l, int node)
{
	p->load = l;
	p->node = node;
	loop_timer_start(&p->timer, l->loop, 100, on_probe);
}
