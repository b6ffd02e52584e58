/*
 * Leases: how long one still lives, and keeping it alive. Deadlines exist on the leader only and are no part of the log,
 * so a leader must prove that it still is one before it renews (a deposed leader would promise a life that its successor
 * knows nothing of): an ask takes part in a read round, and is answered once all that the round covers is applied. A
 * follower sends it to the leader. Asking twice does no harm, so an ask whose answer may be lost is sent again.
 *
 *	waiting > (leader) a read round > member__lease_proven > answer
 *	        \ (follower) sent > answer, or waiting again when the leader refused, changed or was lost
 */
#include <stdlib.h>

#include "base/util.h"
#include "raft/member-priv.h"

#define MAX_ASKS 65536

static void ask_free(struct member *m, struct lease_ask *a)
{
	list_del(&a->link);
	m->n_lease_asks--;
	free(a);
}

static struct lease_ask *ask_new(struct member *m, int64_t lease, bool renew, uint64_t deadline)
{
	struct lease_ask *a = xcalloc(1, sizeof(*a));

	a->lease = lease;
	a->renew = renew;
	a->deadline = deadline;
	a->seq = m->next_id++;
	list_init(&a->link);
	list_add_tail(&m->lease_waiting, &a->link);
	m->n_lease_asks++;
	return a;
}

static void answer_peer(struct member *m, uint64_t peer, uint64_t seq, bool ok, int64_t left, int64_t granted)
{
	struct msg out = {.kind = MSG_LEASE_RESULT};

	out.lease_result.seq = seq;
	out.lease_result.ok = ok;
	out.lease_result.left = left;
	out.lease_result.granted = granted;
	member__send(m, peer, &out);
}

static void answer(struct member *m, struct lease_ask *a, int64_t left, int64_t granted)
{
	if (a->req) {
		a->req->left = left;
		a->req->granted = granted;
		m->ops->lease_done(m, a->req);
	} else {
		answer_peer(m, a->peer, a->peer_seq, true, left, granted);
	}
	ask_free(m, a);
}

void member_lease(struct member *m, struct kv_lease *req)
{
	err_clear(&req->err);
	req->left = -1;
	req->granted = 0;
	if (m->stopped)
		err_set(&req->err, ERR_UNAVAILABLE, "this member has stopped");
	else if (m->n_lease_asks >= MAX_ASKS)
		err_set(&req->err, ERR_TOO_MANY, "too many lease requests wait for the leader already, try again later");
	if (req->err.code) {
		m->ops->lease_done(m, req);
		return;
	}
	ask_new(m, req->lease, req->renew, req->deadline)->req = req;
	member__arm_by(m, req->deadline);
	member__kick(m);
}

/* --- On the leader ------------------------------------------------------------------------------------------------ */

/* As etcd does. */
#define CHECKPOINTS_MAX 1000

struct checkpoints {
	struct member *m;
	size_t n;
	Etcdserverpb__LeaseCheckpoint all[CHECKPOINTS_MAX], *p[CHECKPOINTS_MAX];
};

static void propose_checkpoints(struct checkpoints *c)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseCheckpointRequest request = ETCDSERVERPB__LEASE_CHECKPOINT_REQUEST__INIT;

	if (c->n == 0)
		return;
	request.checkpoints = c->p;
	request.n_checkpoints = c->n;
	cmd.op_case = RAFTPB__COMMAND__OP_LEASE_CHECKPOINT;
	cmd.lease_checkpoint = &request;
	member__propose_command(c->m, &cmd);
	c->n = 0;
}

static void add_checkpoint(void *arg, int64_t id, int64_t left)
{
	struct checkpoints *c = arg;
	Etcdserverpb__LeaseCheckpoint *one = &c->all[c->n];

	*one = (Etcdserverpb__LeaseCheckpoint)ETCDSERVERPB__LEASE_CHECKPOINT__INIT;
	one->id = id;
	one->remaining_ttl = left;
	c->p[c->n++] = one;
	if (c->n == CHECKPOINTS_MAX)
		propose_checkpoints(c);
}

void member__lease_checkpoints(struct member *m, uint64_t now)
{
	struct checkpoints *c;

	if (m->cfg.lease_checkpoint_ms == 0 || now < m->lease_checkpoint_at)
		return;
	m->lease_checkpoint_at = now + m->cfg.lease_checkpoint_ms;
	c = xcalloc(1, sizeof(*c));
	c->m = m;
	store_leases_left(m->store, now, m->cfg.lease_checkpoint_ms / 1000, add_checkpoint, c);
	propose_checkpoints(c);
	free(c);
}

/* In the log it has less than is promised now. Once that has been taken back, the ask is proven once more. */
static void take_back_checkpoint(struct member *m, struct lease_ask *a)
{
	struct checkpoints *c = xcalloc(1, sizeof(*c));

	c->m = m;
	if (!a->taken_back)
		add_checkpoint(c, a->lease, 0);
	propose_checkpoints(c);
	free(c);
	a->taken_back = true;
	a->not_before = member__now(m) + 2;
	list_del(&a->link);
	list_add_tail(&m->lease_waiting, &a->link);
	member__arm_by(m, a->not_before);
}

void member__lease_proven(struct member *m, struct lease_ask *a)
{
	int64_t left, granted;

	if (m->state != RAFT_LEADER || !m->ready) {
		member__lease_again(m, a);
		return;
	}
	if (a->renew && store_lease_has_checkpoint(m->store, a->lease)) {
		take_back_checkpoint(m, a);
		return;
	}
	if (a->renew) {
		left = granted = store_lease_renew(m->store, a->lease, member__now(m));
		if (left == 0)
			left = -1;
	} else {
		store_lease_ttl(m->store, a->lease, member__now(m), &left, &granted);
	}
	answer(m, a, left, granted);
	if (store_leases_next(m->store) != UINT64_MAX)
		member__arm_by(m, MAX(store_leases_next(m->store), m->lease_retry_at));
}

/* The round came to nothing: leadership was lost, or never was. A peer asks again by itself. */
void member__lease_again(struct member *m, struct lease_ask *a)
{
	list_del(&a->link);
	if (a->req) {
		list_add_tail(&m->lease_waiting, &a->link);
		member__kick(m);
		return;
	}
	answer_peer(m, a->peer, a->peer_seq, false, 0, 0);
	ask_free(m, a);
}

void member__lease_failed(struct member *m, struct lease_ask *a, const struct err *e)
{
	if (a->req) {
		a->req->err = *e;
		m->ops->lease_done(m, a->req);
	}
	ask_free(m, a);
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

static void send_ask(struct member *m, struct lease_ask *a)
{
	struct msg out = {.kind = MSG_LEASE};

	out.lease.seq = a->seq;
	out.lease.id = a->lease;
	out.lease.renew = a->renew;
	a->sent_to = m->leader;
	a->sent_at = member__now(m);
	list_del(&a->link);
	list_add_tail(&m->lease_sent, &a->link);
	member__send(m, m->leader, &out);
	member__arm_by(m, a->sent_at + m->cfg.election_ms);
}

/* What was sent to somebody who leads no longer, or has not been answered for long, goes again. */
static void take_back(struct member *m)
{
	uint64_t now = member__now(m);

	LIST_FOR_EACH_SAFE (a, next, &m->lease_sent, struct lease_ask, link) {
		if (a->sent_to == m->leader && now < a->sent_at + m->cfg.election_ms) {
			member__arm_by(m, a->sent_at + m->cfg.election_ms);
			continue;
		}
		list_del(&a->link);
		list_add_tail(&m->lease_waiting, &a->link);
	}
}

void member__leases(struct member *m)
{
	uint64_t now = member__now(m);

	if (m->n_lease_asks == 0)
		return;
	take_back(m);
	LIST_FOR_EACH_SAFE (a, next, &m->lease_waiting, struct lease_ask, link) {
		if (m->state == RAFT_LEADER && now >= a->not_before)
			member__read_lease(m, a);
		else if (m->state == RAFT_LEADER)
			member__arm_by(m, a->not_before);
		else if (!a->req)
			member__lease_again(m, a);
		else if (m->leader != 0 && m->leader != m->id && now >= a->not_before)
			send_ask(m, a);
		else if (now < a->not_before)
			member__arm_by(m, a->not_before);
	}
}

/* --- Frames ---------------------------------------------------------------------------------------------------------- */

static void receive_result(struct member *m, uint64_t from, const struct msg *msg)
{
	LIST_FOR_EACH_SAFE (a, next, &m->lease_sent, struct lease_ask, link) {
		if (a->seq != msg->lease_result.seq || a->sent_to != from)
			continue;
		if (msg->lease_result.ok) {
			answer(m, a, msg->lease_result.left, msg->lease_result.granted);
			return;
		}
		/* Whom we take for the leader may change any moment: do not spin. */
		a->not_before = member__now(m) + 5;
		list_del(&a->link);
		list_add_tail(&m->lease_waiting, &a->link);
		return;
	}
}

void member__lease_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct lease_ask *a;

	if (msg->kind == MSG_LEASE_RESULT) {
		receive_result(m, from, msg);
	} else if (m->state != RAFT_LEADER || m->n_lease_asks >= MAX_ASKS) {
		answer_peer(m, from, msg->lease.seq, false, 0, 0);
	} else {
		a = ask_new(m, msg->lease.id, msg->lease.renew, member__now(m) + 2 * m->cfg.election_ms);
		a->peer = from;
		a->peer_seq = msg->lease.seq;
		member__kick(m);
	}
}

void member__leases_expire(struct member *m, uint64_t now, const struct err *all)
{
	struct list *lists[] = {&m->lease_waiting, &m->lease_sent};
	struct err e;

	err_set(&e, ERR_TIMEOUT, "no leader answered for the lease in time: the cluster has lost its quorum or is electing");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR_EACH_SAFE (a, next, lists[i], struct lease_ask, link) {
			if (all || a->deadline <= now)
				member__lease_failed(m, a, all ? all : &e);
			else
				member__arm_by(m, a->deadline);
		}
}
