/*
 * The Lease service. Granting and revoking are commands; a lease's time is asked of the leader (kv_lease), who proves that
 * it leads before it renews anything.
 *
 * A lease whose time is over lives until its revocation is applied. A keep-alive answers TTL 0, "it is gone", only when that
 * is so; in the moments between it asks again.
 */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/store.h"
#include "store/view.h"

/* Renewals of one stream that wait for the leader; the client's further ones wait in its stream. */
#define MAX_RENEWALS 256
#define GONE_POLL_MS 50

/* --- Grant and revoke --------------------------------------------------------------------------------------------- */

/* As etcd: no shorter than it takes to notice that the leader is gone, one and a half election timeouts. */
static int64_t shortest_ttl(const struct etcd_server *srv)
{
	return MAX(STORE_LEASE_MIN_TTL, ((int64_t)srv->cfg.election_ms * 3 / 2 + 999) / 1000);
}

void etcd__lease_grant(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__LeaseGrantRequest *r =
			pb_unpack(c->arena, &etcdserverpb__lease_grant_request__descriptor, request);
	struct buf longer = BUF_INIT;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	if (r->ttl >= shortest_ttl(c->el->srv)) {
		etcd__write(c, ETCD_CMD_LEASE_GRANT, request);
		return;
	}
	wire_add_uint(&longer, 1, (uint64_t)shortest_ttl(c->el->srv));
	wire_add_uint(&longer, 2, (uint64_t)r->id);
	etcd__write(c, ETCD_CMD_LEASE_GRANT, buf_str(&longer));
	buf_fini(&longer);
}

void etcd__lease_revoke(struct etcd_call *c, struct str request)
{
	etcd__write(c, ETCD_CMD_LEASE_REVOKE, request);
}

/* --- A question about one lease, and then whether it exists at all ------------------------------------------------- */

/* Outlives its call: what the kv was asked is answered in any case. */
struct lease_query {
	struct kv_lease lease;
	struct etcd_read read;
	struct loop_timer again;
	struct etcd_loop *el;
	void *owner;            /* NULL: nobody wants the answer any more */
	struct list link;       /* the owner's */
	int64_t revision;       /* when it was asked */
	bool asking;            /* with the kv */
	bool exists_too;        /* for renewals: ask again while an ended lease is not gone */
	/* With owner set; the query is freed behind it. */
	void (*done)(struct lease_query *, const struct err *);
};

static void query_free(struct lease_query *q)
{
	list_del(&q->link);
	free(q);
}

static void query_done(struct lease_query *q, const struct err *e)
{
	if (q->owner != NULL)
		q->done(q, e && e->code ? e : NULL);
	query_free(q);
}

static void query_ask(struct lease_query *q);

static void on_again(struct loop_timer *t)
{
	query_ask(container_of(t, struct lease_query, again));
}

static void on_exists(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct lease_query *q = container_of(read, struct lease_query, read);
	struct store_lease found;
	struct err e = ERR_INIT;

	if (v == NULL)
		query_done(q, failed);
	else if (view_lease_get(v, q->lease.lease, &found, &e) == 0)
		loop_timer_start(&q->again, q->el->loop, GONE_POLL_MS, on_again);
	else
		query_done(q, e.code == ERR_NOT_FOUND ? NULL : &e);
}

static void on_lease(struct kv_lease *l)
{
	struct lease_query *q = container_of(l, struct lease_query, lease);

	q->asking = false;
	q->el->n_ops--;
	if (l->renew && l->err.code == ERR_OK && l->left > 0)
		atomic_fetch_add_explicit(&q->el->renewals, 1, memory_order_relaxed);
	if (q->owner != NULL && l->err.code == ERR_OK && q->exists_too && l->left < 0)
		etcd__read(q->el, &q->read, false);
	else
		query_done(q, &l->err);
}

static void query_ask(struct lease_query *q)
{
	q->asking = true;
	q->el->n_ops++;
	kv_lease(q->el->srv->kv, &q->lease);
}

static struct lease_query *query_start(struct etcd_loop *el, int64_t lease, bool renew, void *owner, struct list *queries,
		void (*done)(struct lease_query *, const struct err *))
{
	struct lease_query *q = xcalloc(1, sizeof(*q));

	q->el = el;
	q->owner = owner;
	q->done = done;
	q->revision = store_revision(el->srv->store);
	q->exists_too = renew;
	q->read.done = on_exists;
	list_init(&q->read.link);
	q->lease.lease = lease;
	q->lease.renew = renew;
	q->lease.timeout_ms = el->srv->request_ms;
	q->lease.done = on_lease;
	list_init(&q->link);
	list_add_tail(queries, &q->link);
	query_ask(q);
	return q;
}

static void query_drop(struct lease_query *q)
{
	list_del(&q->link);
	q->owner = NULL;
	if (q->asking)
		return;
	etcd__read_cancel(&q->read);
	loop_timer_stop(&q->again);
	query_free(q);
}

/* --- Keep-alive ------------------------------------------------------------------------------------------------------ */

struct keepalive {
	struct etcd_call *call;
	struct list queries;
	size_t n_queries;
	bool paused, half_closed;
};

static void keepalive_free(struct keepalive *k)
{
	LIST_FOR_EACH_SAFE (q, next, &k->queries, struct lease_query, link)
		query_drop(q);
	free(k);
}

static void keepalive_end(struct etcd_call *c, enum etcd_error error)
{
	keepalive_free(c->state);
	etcd__fail(c, error);
}

static void keepalive_canceled(struct etcd_call *c)
{
	keepalive_end(c, ETCD_ERR_CANCELED);
}

/* Few renewals at a time, and none while the client does not read the answers. */
static void keepalive_throttle(struct keepalive *k)
{
	struct etcd_call *c = k->call;
	bool full = k->n_queries >= MAX_RENEWALS || c->via->queued(c) > ETCD_SEND_HIGH;

	if (full == k->paused)
		return;
	k->paused = full;
	c->via->pause(c, full);
}

static void keepalive_drained(struct etcd_call *c)
{
	keepalive_throttle(c->state);
}

static void keepalive_done(struct lease_query *q, const struct err *e)
{
	struct keepalive *k = q->owner;
	struct etcd_call *c = k->call;
	struct buf frame;

	k->n_queries--;
	if (e != NULL) {
		struct err why = *e;

		list_del(&q->link);
		keepalive_free(k);
		etcd__fail_err(c, &why);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, q->revision);
	wire_add_uint(&frame, 2, (uint64_t)q->lease.lease);
	if (q->lease.left > 0)
		wire_add_uint(&frame, 3, (uint64_t)q->lease.left);
	etcd__send(c, &frame);
	if (k->half_closed && k->n_queries == 0) {
		list_del(&q->link);
		keepalive_free(k);
		etcd__finish(c, GRPC_OK, "");
		return;
	}
	keepalive_throttle(k);
}

static void keepalive_message(struct etcd_call *c, struct str message)
{
	struct keepalive *k = c->state;
	const Etcdserverpb__LeaseKeepAliveRequest *r;
	struct arena a;

	arena_init(&a);
	r = pb_unpack(&a, &etcdserverpb__lease_keep_alive_request__descriptor, message);
	if (r == NULL) {
		keepalive_free(k);
		etcd__fail_malformed(c);
	} else {
		k->n_queries++;
		query_start(c->el, r->id, true, k, &k->queries, keepalive_done);
		keepalive_throttle(k);
	}
	arena_fini(&a);
}

/* What was asked is answered before the stream ends. */
static void keepalive_half_close(struct etcd_call *c)
{
	struct keepalive *k = c->state;

	k->half_closed = true;
	if (k->n_queries > 0)
		return;
	keepalive_free(k);
	etcd__finish(c, GRPC_OK, "");
}

void etcd__lease_keepalive(struct etcd_call *c, struct str request)
{
	struct keepalive *k = xcalloc(1, sizeof(*k));

	(void)request;
	k->call = c;
	list_init(&k->queries);
	c->state = k;
	c->on_message = keepalive_message;
	c->on_half_close = keepalive_half_close;
	c->on_cancel = keepalive_canceled;
	c->on_drain = keepalive_drained;
	c->on_end = keepalive_end;
}

/* --- Time to live, and the list ----------------------------------------------------------------------------------------- */

struct lease_info {
	struct etcd_call *call;
	struct etcd_read read;
	struct list queries; /* one, or none */
	int64_t id, left, granted;
	bool keys;
};

static void info_canceled(struct etcd_call *c)
{
	struct lease_info *info = c->state;

	LIST_FOR_EACH_SAFE (q, next, &info->queries, struct lease_query, link)
		query_drop(q);
	etcd__read_cancel(&info->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static bool add_key(void *arg, struct str key)
{
	wire_add_bytes(arg, 5, key);
	return true;
}

static void info_frame(struct lease_info *info, struct buf *frame, int64_t revision)
{
	etcd__frame_init(frame);
	etcd__header(info->call->el, frame, revision);
	wire_add_uint(frame, 2, (uint64_t)info->id);
	if (info->left != 0)
		wire_add_uint(frame, 3, (uint64_t)info->left);
	if (info->granted != 0)
		wire_add_uint(frame, 4, (uint64_t)info->granted);
}

static void info_keys(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct lease_info *info = container_of(read, struct lease_info, read);
	struct err e = ERR_INIT;
	struct buf frame;

	if (v == NULL) {
		etcd__fail_err(info->call, failed);
		return;
	}
	if (!etcd__identify(info->call, v))
		return;
	info_frame(info, &frame, view_revision(v));
	/* The keys are told to who may read them all. */
	if (view_auth_lease(v, &info->call->who, info->id, STORE_READ, &e) == 0 &&
			view_lease_keys(v, info->id, add_key, &frame, &e) == 0) {
		etcd__reply(info->call, &frame);
		return;
	}
	buf_fini(&frame);
	etcd__fail_err(info->call, &e);
}

static void info_done(struct lease_query *q, const struct err *e)
{
	struct lease_info *info = q->owner;
	struct buf frame;

	list_del(&q->link);
	if (e != NULL) {
		etcd__fail_err(info->call, e);
		return;
	}
	info->left = q->lease.left;
	info->granted = q->lease.granted;
	if (info->keys && info->left >= 0) {
		etcd__read(info->call->el, &info->read, false);
		return;
	}
	info_frame(info, &frame, 0);
	etcd__reply(info->call, &frame);
}

static struct lease_info *info_new(struct etcd_call *c,
		void (*done)(struct etcd_read *, struct store_view *, const struct err *))
{
	struct lease_info *info = arena_new_of(c->arena, struct lease_info);

	info->call = c;
	info->read.done = done;
	list_init(&info->read.link);
	list_init(&info->queries);
	c->state = info;
	c->on_cancel = info_canceled;
	return info;
}

void etcd__lease_time_to_live(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__LeaseTimeToLiveRequest *r =
			pb_unpack(c->arena, &etcdserverpb__lease_time_to_live_request__descriptor, request);
	struct lease_info *info;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	info = info_new(c, info_keys);
	info->id = r->id;
	info->keys = r->keys;
	query_start(c->el, r->id, false, info, &info->queries, info_done);
}

static bool add_lease(void *arg, const struct store_lease *l)
{
	size_t mark = wire_open(arg, 2);

	wire_add_uint(arg, 1, (uint64_t)l->id);
	wire_close(arg, mark);
	return true;
}

static void leases_done(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct lease_info *info = container_of(read, struct lease_info, read);
	struct err e = ERR_INIT;
	struct buf frame;

	if (v == NULL) {
		etcd__fail_err(info->call, failed);
		return;
	}
	if (!etcd__identify(info->call, v))
		return;
	etcd__frame_init(&frame);
	etcd__header(info->call->el, &frame, view_revision(v));
	if (view_auth_named(v, &info->call->who, &e) == 0 && view_leases(v, add_lease, &frame, &e) == 0) {
		etcd__reply(info->call, &frame);
		return;
	}
	buf_fini(&frame);
	etcd__fail_err(info->call, &e);
}

void etcd__lease_leases(struct etcd_call *c, struct str request)
{
	(void)request;
	etcd__read(c->el, &info_new(c, leases_done)->read, false);
}
