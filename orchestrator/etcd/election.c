/* The Election service: the leader is who holds the oldest key below the election's name; see recipe.h. */
#include "base/util.h"
#include "orchestrator/etcd/recipe.h"
#include "orchestrator/etcd/watch.h"
#include "proto/etcd_election.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"

/* Texts of etcd's client library, which its server passes on. */
#define NOT_LEADER "election: not leader"
#define NO_LEADER "election: no leader"
#define NO_LEADER_KEY "\"leader\" field must be provided"

static struct str bytes_of(ProtobufCBinaryData b)
{
	return str_of(b.data, b.len);
}

static void reply_header(struct recipe *r)
{
	struct buf frame;

	recipe_frame(r, &frame);
	etcd__send(r->call, &frame);
	recipe_finish(r, GRPC_OK, "");
}

/* --- Campaign ------------------------------------------------------------------------------------------------------ */

static void elected(struct recipe *r)
{
	struct buf frame;
	size_t mark;

	recipe_frame(r, &frame);
	mark = wire_open(&frame, 2);
	wire_add_bytes(&frame, 1, str_sub(r->prefix, 0, r->prefix.n - 1));
	wire_add_bytes(&frame, 2, r->key);
	wire_add_uint(&frame, 3, (uint64_t)r->created);
	wire_add_uint(&frame, 4, (uint64_t)r->lease);
	wire_close(&frame, mark);
	etcd__send(r->call, &frame);
	recipe_finish(r, GRPC_OK, "");
}

static void value_set(struct recipe *r)
{
	if (!r->succeeded)
		recipe_finish(r, GRPC_UNKNOWN, NOT_LEADER);
	else
		recipe_wait(r, elected);
}

static bool has_value(struct str kv, struct str value)
{
	struct wire_reader w = wire_reader(kv);
	struct wire_item it = {0};
	struct str found = STR("");

	while (wire_next(&w, &it))
		if (it.number == 5 && it.type == WIRE_BYTES)
			found = it.bytes;
	return str_eq(found, value);
}

/* One that campaigns again under its lease keeps its place, and says what it says now. */
static void entered(struct recipe *r)
{
	if (!r->succeeded && !has_value(r->found, r->value))
		recipe_if_mine(r, true, value_set);
	else
		recipe_wait(r, elected);
}

static void with_lease(struct recipe *r)
{
	recipe_enter(r, entered);
}

void etcd__campaign(struct etcd_call *c, struct str request)
{
	const V3electionpb__CampaignRequest *q = pb_unpack(c->arena, &v3electionpb__campaign_request__descriptor, request);
	struct recipe *r;

	if (q == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	r = recipe_new(c, bytes_of(q->name), q->lease);
	r->value = bytes_of(q->value);
	recipe_lease(r, with_lease);
}

/* --- Proclaim and resign ------------------------------------------------------------------------------------------------ */

static struct recipe *of_leader(struct etcd_call *c, const V3electionpb__LeaderKey *leader)
{
	struct recipe *r = recipe_new(c, bytes_of(leader->name), leader->lease);

	r->key = bytes_of(leader->key);
	r->created = leader->rev;
	return r;
}

static void proclaimed(struct recipe *r)
{
	if (r->succeeded)
		reply_header(r);
	else
		recipe_finish(r, GRPC_UNKNOWN, NOT_LEADER);
}

void etcd__proclaim(struct etcd_call *c, struct str request)
{
	const V3electionpb__ProclaimRequest *q = pb_unpack(c->arena, &v3electionpb__proclaim_request__descriptor, request);
	struct recipe *r;

	if (q == NULL) {
		etcd__fail_malformed(c);
	} else if (q->leader == NULL) {
		etcd__finish(c, GRPC_UNKNOWN, NO_LEADER_KEY);
	} else {
		r = of_leader(c, q->leader);
		r->value = bytes_of(q->value);
		recipe_if_mine(r, true, proclaimed);
	}
}

void etcd__resign(struct etcd_call *c, struct str request)
{
	const V3electionpb__ResignRequest *q = pb_unpack(c->arena, &v3electionpb__resign_request__descriptor, request);

	if (q == NULL)
		etcd__fail_malformed(c);
	else if (q->leader == NULL)
		etcd__finish(c, GRPC_UNKNOWN, NO_LEADER_KEY);
	else
		recipe_if_mine(of_leader(c, q->leader), false, reply_header);
}

/* --- Leader and observe ---------------------------------------------------------------------------------------------------- */

static void send_leader(struct recipe *r, const struct store_kv *kv, int64_t revision)
{
	struct buf frame;

	r->revision = revision;
	recipe_frame(r, &frame);
	kv_encode(&frame, 2, kv);
	etcd__send(r->call, &frame);
}

static void answer_leader(struct recipe *r, struct store_view *v)
{
	struct err e = ERR_INIT;
	struct store_kv kv;
	int rc = recipe_first(r, v, &kv, &e);

	if (rc == -ERR_NOT_FOUND) {
		recipe_finish(r, GRPC_UNKNOWN, NO_LEADER);
	} else if (rc < 0) {
		recipe_fail(r, &e);
	} else {
		send_leader(r, &kv, view_revision(v));
		recipe_finish(r, GRPC_OK, "");
	}
}

static struct recipe *named(struct etcd_call *c, struct str request)
{
	const V3electionpb__LeaderRequest *q = pb_unpack(c->arena, &v3electionpb__leader_request__descriptor, request);

	if (q == NULL)
		etcd__fail_malformed(c);
	return q ? recipe_new(c, bytes_of(q->name), 0) : NULL;
}

void etcd__leader(struct etcd_call *c, struct str request)
{
	struct recipe *r = named(c, request);

	if (r != NULL)
		recipe_read(r, answer_leader);
}

static void observe(struct recipe *r, struct store_view *v);

static void observe_again(struct watcher *w, int64_t compact_revision)
{
	struct recipe *r = container_of(w, struct recipe, watcher);

	(void)compact_revision;
	watch_stop(w);
	recipe_read(r, observe);
}

/* The leader said something new, or is gone: then who is next? */
static void on_leader(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct recipe *r = container_of(w, struct recipe, watcher);

	for (size_t i = 0; i < n; i++) {
		if (events[i]->is_delete) {
			observe_again(w, 0);
			return;
		}
		send_leader(r, &events[i]->kv, revision);
	}
	if (r->call->via->queued(r->call) > ETCD_SEND_HIGH)
		watch_pause(w);
}

static void on_candidate(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	(void)revision;
	(void)events;
	(void)n;
	observe_again(w, 0);
}

static void observe(struct recipe *r, struct store_view *v)
{
	struct err e = ERR_INIT;
	struct store_kv kv;
	int rc = recipe_first(r, v, &kv, &e);

	if (rc == -ERR_NOT_FOUND) {
		recipe_watch(r, r->prefix, r->end, view_revision(v), true, false, on_candidate, observe_again);
	} else if (rc < 0) {
		recipe_fail(r, &e);
	} else {
		send_leader(r, &kv, view_revision(v));
		recipe_watch(r, kv.key, STR(""), view_revision(v), true, true, on_leader, observe_again);
	}
}

static void observe_drained(struct etcd_call *c)
{
	struct recipe *r = c->state;

	watch_resume(&r->watcher);
}

void etcd__observe(struct etcd_call *c, struct str request)
{
	struct recipe *r = named(c, request);

	if (r == NULL)
		return;
	c->on_drain = observe_drained;
	recipe_read(r, observe);
}
