/*
 * The Cluster service: members as raft/kv.h has them, shown as etcd shows them. A member that was added and not started has
 * an empty name. One that will vote by itself once it has caught up is shown as a voter from the beginning, as etcd would
 * have it; only who was added as a learner is shown as one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "raft/addrs.h"
#include "store/view.h"

/* --- Showing members ---------------------------------------------------------------------------------------------- */

static bool shown_as_learner(const struct kv_member *m)
{
	return m->role != KV_VOTER && m->learner;
}

/* `scheme` is put before each. */
static void add_urls(struct buf *b, uint32_t field, const char *scheme, struct str list)
{
	char url[KV_ADDR_MAX + 16];

	for (size_t i = 0; i < addrs_n(list); i++) {
		snprintf(url, sizeof(url), "%s%.*s", scheme, STR_FMT(addrs_at(list, i)));
		wire_add_bytes(b, field, str_from(url));
	}
}

static void add_member(struct buf *b, uint32_t field, const struct kv_member *m, bool tls)
{
	size_t mark = wire_open(b, field);

	wire_add_uint(b, 1, m->id);
	if (m->name[0])
		wire_add_bytes(b, 2, str_from(m->name));
	add_urls(b, 3, tls ? "https://" : "http://", str_from(m->addr));
	if (m->started)
		add_urls(b, 4, "", str_from(m->url));
	if (shown_as_learner(m))
		wire_add_uint(b, 5, 1);
	wire_close(b, mark);
}

/* The members as this one knows them, with what a change that has just been made must show, though it may not have heard of
 * it yet. */
static void add_members(struct etcd_call *c, struct buf *b, uint32_t field, const struct kv_member *changed, uint64_t gone)
{
	struct kv_status st;
	bool seen = changed == NULL;

	kv_status(c->el->srv->kv, &st);
	for (size_t i = 0; i < st.n_members; i++) {
		bool same = changed != NULL && st.members[i].id == changed->id;

		seen = seen || same;
		if (st.members[i].id != gone)
			add_member(b, field, same ? changed : &st.members[i], c->el->srv->cfg.peer_tls);
	}
	if (!seen)
		add_member(b, field, changed, c->el->srv->cfg.peer_tls);
}

static struct kv_member *find_member(struct kv_status *st, uint64_t id)
{
	for (size_t i = 0; i < st->n_members; i++)
		if (st->members[i].id == id)
			return &st->members[i];
	return NULL;
}

/* --- Changes ------------------------------------------------------------------------------------------------------- */

enum change { ADD, REMOVE, UPDATE, PROMOTE };

/* It outlives its call: what the kv was asked is answered in any case. */
struct admin {
	struct kv_admin kv;
	struct etcd_loop *el;
	struct etcd_call *call; /* NULL: nobody waits */
	enum change change;
	struct kv_member member; /* as it is to be */
};

static const struct {
	enum kv_why why;
	enum etcd_error error;
} reasons[] = {
		{KV_WHY_NOT_FOUND, ETCD_ERR_MEMBER_NOT_FOUND},
		{KV_WHY_ADDR_EXISTS, ETCD_ERR_PEER_URL_EXISTS},
		{KV_WHY_NAME_EXISTS, ETCD_ERR_MEMBER_EXISTS},
		{KV_WHY_BAD_ADDR, ETCD_ERR_MEMBER_BAD_URLS},
		{KV_WHY_NOT_LEARNER, ETCD_ERR_MEMBER_NOT_LEARNER},
		{KV_WHY_LEARNER_LAGS, ETCD_ERR_LEARNER_NOT_READY},
		{KV_WHY_LAST_VOTER, ETCD_ERR_MEMBER_NOT_ENOUGH_STARTED},
		{KV_WHY_UNHEALTHY, ETCD_ERR_UNHEALTHY},
		{KV_WHY_BAD_TRANSFEREE, ETCD_ERR_BAD_LEADER_TRANSFEREE},
};

static void fail_admin(struct etcd_call *c, const struct kv_admin *a)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].why == a->why) {
			etcd__fail(c, reasons[i].error);
			return;
		}
	etcd__fail_err(c, &a->err);
}

static void admin_canceled(struct etcd_call *c)
{
	struct admin *a = c->state;

	a->call = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void admin_done(struct kv_admin *k)
{
	struct admin *a = container_of(k, struct admin, kv);
	struct etcd_call *c = a->call;
	struct buf frame;

	a->el->n_ops--;
	if (c != NULL && k->err.code != ERR_OK) {
		fail_admin(c, k);
	} else if (c != NULL) {
		etcd__frame_init(&frame);
		etcd__header(c->el, &frame, 0);
		a->member.id = k->id;
		if (a->change == ADD)
			add_member(&frame, 2, &a->member, c->el->srv->cfg.peer_tls);
		add_members(c, &frame, a->change == ADD ? 3 : 2, a->change == REMOVE ? NULL : &a->member,
				a->change == REMOVE ? k->id : 0);
		etcd__reply(c, &frame);
	}
	free(a);
}

static struct admin *admin_new(struct etcd_call *c, enum change change)
{
	struct admin *a = xcalloc(1, sizeof(*a));

	a->el = c->el;
	a->call = c;
	a->change = change;
	a->kv.timeout_ms = c->el->srv->request_ms;
	a->kv.done = admin_done;
	c->state = a;
	c->on_cancel = admin_canceled;
	c->el->n_ops++;
	return a;
}

/* The member to be changed; NULL: the call has been ended. */
static struct admin *admin_of(struct etcd_call *c, enum change change, uint64_t id)
{
	struct kv_status st;
	struct kv_member *m;
	struct admin *a;

	kv_status(c->el->srv->kv, &st);
	m = find_member(&st, id);
	if (m == NULL) {
		etcd__fail(c, ETCD_ERR_MEMBER_NOT_FOUND);
		return NULL;
	}
	a = admin_new(c, change);
	a->member = *m;
	return a;
}

/* "http://host:port" */
static bool peer_address(struct str url, struct str *ret)
{
	struct str s = str_skip(url, str_has_prefix(url, STR("https://")) ? 8 : 7), host, port;
	ptrdiff_t colon = str_rfind(s, ':');
	int64_t number;

	host = str_sub(s, 0, colon < 0 ? 0 : (size_t)colon);
	port = colon < 0 ? STR_NULL : str_skip(s, (size_t)colon + 1);
	if (!(str_has_prefix(url, STR("http://")) || str_has_prefix(url, STR("https://"))) || host.n == 0 || !str_to_i64(port, &number) ||
	    number < 1 || number > 65535)
		return false;
	for (size_t k = 0; k < s.n; k++)
		if ((uint8_t)s.p[k] <= ' ' || strchr("/|,", s.p[k]) || (uint8_t)s.p[k] > '~')
			return false;
	*ret = s;
	return true;
}

static int by_bytes(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* All of them, in order as etcd has them, each once; they are tried in turn. */
static bool peer_addresses(struct etcd_call *c, const char *const *urls, size_t n, char out[KV_ADDR_MAX])
{
	struct str *all = arena_new_array(c->arena, struct str, n + 1);
	size_t at = 0;

	for (size_t i = 0; i < n; i++)
		if (!peer_address(str_from(urls[i]), &all[i]))
			return false;
	qsort(all, n, sizeof(*all), by_bytes);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && str_eq(all[i], all[i - 1]))
			continue;
		if (at + all[i].n + 2 > KV_ADDR_MAX)
			return false;
		at += (size_t)snprintf(out + at, KV_ADDR_MAX - at, "%s%.*s", at > 0 ? "," : "", STR_FMT(all[i]));
	}
	return n > 0;
}

/* etcd's checks before it lets somebody in. */
static enum etcd_error may_add(const struct etcd_server *srv, const struct kv_status *st, bool learner)
{
	size_t learners = 0, voters = 0, started = 0;

	for (size_t i = 0; i < st->n_members; i++) {
		learners += shown_as_learner(&st->members[i]);
		voters += !shown_as_learner(&st->members[i]);
		started += !shown_as_learner(&st->members[i]) && st->members[i].started;
	}
	if (learner)
		return learners >= srv->cfg.max_learners ? ETCD_ERR_TOO_MANY_LEARNERS : ETCD_ERR_OK;
	/* One that runs alone may always get company. */
	if (started == 1 && voters == 1)
		return ETCD_ERR_OK;
	return started < (voters + 1) / 2 + 1 ? ETCD_ERR_MEMBER_NOT_ENOUGH_STARTED : ETCD_ERR_OK;
}

void etcd__member_add(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MemberAddRequest *r = pb_unpack(c->arena, &etcdserverpb__member_add_request__descriptor, request);
	struct kv_status st;
	struct kv_peer peer = {0};
	enum etcd_error error;
	struct admin *a;
	char addr[KV_ADDR_MAX];

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	kv_status(c->el->srv->kv, &st);
	error = peer_addresses(c, (const char *const *)r->peerurls, r->n_peerurls, addr) ? may_add(c->el->srv, &st, r->islearner) : ETCD_ERR_MEMBER_BAD_URLS;
	for (size_t i = 0; error == ETCD_ERR_OK && i < st.n_members; i++)
		if (addrs_meet(str_from(st.members[i].addr), str_from(addr)))
			error = ETCD_ERR_PEER_URL_EXISTS;
	if (error != ETCD_ERR_OK) {
		etcd__fail(c, error);
		return;
	}
	a = admin_new(c, ADD);
	snprintf(a->member.addr, sizeof(a->member.addr), "%s", addr);
	a->member.role = KV_LEARNER;
	a->member.learner = r->islearner;
	peer.addr = a->member.addr;
	peer.learner = r->islearner;
	kv_member_add(c->el->srv->kv, &a->kv, &peer);
}

void etcd__member_remove(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MemberRemoveRequest *r =
			pb_unpack(c->arena, &etcdserverpb__member_remove_request__descriptor, request);
	struct admin *a;

	if (r == NULL)
		etcd__fail_malformed(c);
	else if ((a = admin_of(c, REMOVE, r->id)) != NULL)
		kv_member_remove(c->el->srv->kv, &a->kv, r->id);
}

void etcd__member_update(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MemberUpdateRequest *r =
			pb_unpack(c->arena, &etcdserverpb__member_update_request__descriptor, request);
	struct kv_peer peer = {0};
	char addr[KV_ADDR_MAX];
	struct kv_status st;
	struct admin *a;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	kv_status(c->el->srv->kv, &st);
	if (find_member(&st, r->id) != NULL && !peer_addresses(c, (const char *const *)r->peerurls, r->n_peerurls, addr)) {
		etcd__fail(c, ETCD_ERR_MEMBER_BAD_URLS);
	} else if ((a = admin_of(c, UPDATE, r->id)) != NULL) {
		snprintf(a->member.addr, sizeof(a->member.addr), "%s", addr);
		peer.addr = a->member.addr;
		kv_member_update(c->el->srv->kv, &a->kv, r->id, &peer);
	}
}

void etcd__member_promote(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MemberPromoteRequest *r =
			pb_unpack(c->arena, &etcdserverpb__member_promote_request__descriptor, request);
	struct admin *a;

	if (r == NULL) {
		etcd__fail_malformed(c);
	} else if ((a = admin_of(c, PROMOTE, r->id)) != NULL) {
		a->member.role = KV_VOTER;
		a->member.learner = false;
		kv_member_promote(c->el->srv->kv, &a->kv, r->id);
	}
}

/* --- The list ------------------------------------------------------------------------------------------------------ */

struct list_read {
	struct etcd_read read;
	struct etcd_call *call;
};

static void list_canceled(struct etcd_call *c)
{
	etcd__read_cancel(&((struct list_read *)c->state)->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void list_done(struct etcd_read *r, struct store_view *v, const struct err *failed)
{
	struct etcd_call *c = container_of(r, struct list_read, read)->call;
	struct buf frame;

	if (v == NULL) {
		etcd__fail_err(c, failed);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, 0);
	add_members(c, &frame, 2, NULL, 0);
	etcd__reply(c, &frame);
}

void etcd__member_list(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MemberListRequest *r = pb_unpack(c->arena, &etcdserverpb__member_list_request__descriptor, request);
	struct list_read *l = arena_new_of(c->arena, struct list_read);

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	l->call = c;
	l->read.done = list_done;
	c->state = l;
	c->on_cancel = list_canceled;
	etcd__read(c->el, &l->read, !r->linearizable);
}

/* --- Leadership ----------------------------------------------------------------------------------------------------- */

struct move {
	struct kv_admin kv;
	struct etcd_loop *el;
	struct etcd_call *call;
};

static void move_canceled(struct etcd_call *c)
{
	((struct move *)c->state)->call = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void move_done(struct kv_admin *k)
{
	struct move *m = container_of(k, struct move, kv);
	struct etcd_call *c = m->call;
	struct buf frame;

	m->el->n_ops--;
	if (c != NULL && k->err.code != ERR_OK) {
		fail_admin(c, k);
	} else if (c != NULL) {
		etcd__frame_init(&frame);
		etcd__header(c->el, &frame, 0);
		etcd__reply(c, &frame);
	}
	free(m);
}

void etcd__move_leader(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__MoveLeaderRequest *r = pb_unpack(c->arena, &etcdserverpb__move_leader_request__descriptor, request);
	struct kv_status st;
	struct kv_member *to;
	struct move *m;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	kv_status(c->el->srv->kv, &st);
	to = find_member(&st, r->targetid);
	if (st.role.leader_id != st.member_id) {
		etcd__fail(c, ETCD_ERR_NOT_LEADER);
		return;
	}
	if (to == NULL || to->role != KV_VOTER) {
		etcd__fail(c, ETCD_ERR_BAD_LEADER_TRANSFEREE);
		return;
	}
	m = xcalloc(1, sizeof(*m));
	m->el = c->el;
	m->call = c;
	m->kv.timeout_ms = c->el->srv->request_ms;
	m->kv.done = move_done;
	c->state = m;
	c->on_cancel = move_canceled;
	c->el->n_ops++;
	kv_transfer(c->el->srv->kv, &m->kv, r->targetid);
}
