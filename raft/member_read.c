/*
 * Read barriers (dissertation, 6.4, without clocks): the leader notes its commit index, asks all voters "is this still
 * your term?", and when a majority said yes, nobody else can have committed anything before the question that is not
 * within that index. One round serves all barriers that waited; who asked after it began waits for the next. A follower
 * asks the leader for such an index and waits until it has applied it. Asking again is always harmless.
 */
#include <stdlib.h>

#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

static void read_free(struct member *m, struct read *r)
{
	list_del(&r->link);
	m->n_reads--;
	free(r);
}

static struct read *read_new(struct member *m, uint64_t deadline)
{
	struct read *r = xcalloc(1, sizeof(*r));

	list_init(&r->link);
	r->deadline = deadline;
	list_add_tail(&m->reads, &r->link);
	m->n_reads++;
	return r;
}

static void fail(struct member *m, struct read *r, const struct err *e)
{
	if (r->barrier) {
		r->barrier->err = *e;
		m->ops->barrier_done(m, r->barrier);
	} else if (r->lease) {
		member__lease_failed(m, r->lease, e);
	}
	read_free(m, r);
}

static void refuse_remote(struct member *m, uint64_t peer, uint64_t seq)
{
	struct msg out = {.kind = MSG_BARRIER_RESULT};

	out.barrier_result.seq = seq;
	out.barrier_result.ok = false;
	member__send(m, peer, &out);
}

void member_barrier(struct member *m, struct kv_barrier *b)
{
	err_clear(&b->err);
	if (m->stopped)
		err_set(&b->err, ERR_UNAVAILABLE, "this member has stopped");
	else if (m->halted)
		err_set(&b->err, ERR_UNAVAILABLE, "this member cannot answer reads: %s", m->halt_err.text);
	else if (m->n_reads >= MEMBER_MAX_BARRIERS)
		err_set(&b->err, ERR_TOO_MANY, "too many reads wait for the leader already, try again later");
	if (b->err.code) {
		m->ops->barrier_done(m, b);
		return;
	}
	read_new(m, b->deadline)->barrier = b;
	member__arm_by(m, b->deadline);
	member__kick(m);
}

void member__read_lease(struct member *m, struct lease_ask *a)
{
	list_del(&a->link);
	read_new(m, a->deadline)->lease = a;
	member__arm_by(m, a->deadline);
}

/* --- The index is known: answer, or wait for apply --------------------------------------------------------------- */

static void confirm(struct member *m, struct read *r, uint64_t index)
{
	struct msg out = {.kind = MSG_BARRIER_RESULT};

	if (r->barrier || r->lease) {
		r->index = index;
		list_del(&r->link);
		list_add_tail(&m->confirmed, &r->link);
		return;
	}
	out.barrier_result.seq = r->seq;
	out.barrier_result.index = index;
	out.barrier_result.ok = true;
	member__send(m, r->peer, &out);
	read_free(m, r);
}

static bool may_answer(const struct member *m, const struct read *r)
{
	return r->index <= m->applied || MUTANT(read_unapplied);
}

void member__reads_applied(struct member *m)
{
	bool any = false;

	LIST_FOR_EACH (r, &m->confirmed, struct read, link)
		any = any || may_answer(m, r);
	if (!any || !member__settle_for_read(m))
		return;
	LIST_FOR_EACH_SAFE (r, next, &m->confirmed, struct read, link) {
		if (!may_answer(m, r))
			continue;
		if (r->lease) {
			member__lease_proven(m, r->lease);
		} else {
			r->barrier->index = r->index;
			m->ops->barrier_done(m, r->barrier);
		}
		read_free(m, r);
	}
}

static void round_done(struct member *m, uint64_t index)
{
	LIST_FOR_EACH_SAFE (r, next, &m->round, struct read, link)
		confirm(m, r, index);
	m->round_to = 0;
	member__reads_applied(m);
}

/* --- Rounds ------------------------------------------------------------------------------------------------------- */

static unsigned votes(const struct member *m)
{
	unsigned n = member__is_voter(m, m->id);

	for (size_t i = 0; i < m->n_round_acks; i++)
		n += member__is_voter(m, m->round_acks[i]);
	return n;
}

static bool round_won(const struct member *m)
{
	return votes(m) > member__voters(m) / 2;
}

static void send_probes(struct member *m)
{
	struct msg out = {.kind = MSG_PROBE};

	out.probe.term = m->round_term;
	out.probe.seq = m->round_seq;
	m->round_sent = member__now(m);
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		const struct raft_server *s = &m->raft.configuration.servers[i];

		if (s->role == RAFT_VOTER && s->id != m->id)
			member__send(m, s->id, &out);
	}
	member__arm_by(m, m->round_sent + m->cfg.heartbeat_ms);
}

static void ask_leader(struct member *m)
{
	struct msg out = {.kind = MSG_BARRIER};

	out.barrier.seq = m->round_seq;
	m->round_sent = member__now(m);
	member__send(m, m->leader, &out);
	member__arm_by(m, m->round_sent + 2 * m->cfg.heartbeat_ms);
}

/* Begin the next round, or ask again in the present one when answers are overdue. */
void member__reads(struct member *m)
{
	uint64_t now = member__now(m);
	bool lead = m->state == RAFT_LEADER;

	if (list_empty(&m->round)) {
		if (list_empty(&m->reads) || (lead && !m->ready) || (!lead && (m->leader == 0 || m->leader == m->id)))
			return;
		/* The whole list goes: what comes later is for the next round. */
		list_splice(&m->round, &m->reads);
		m->round_seq++;
		m->round_term = raft_current_term(&m->raft);
		m->round_index = m->commit;
		m->round_to = lead ? m->id : m->leader;
		m->n_round_acks = 0;
		if (!lead) {
			ask_leader(m);
			return;
		}
		if (MUTANT(stale_read) || round_won(m))
			round_done(m, m->round_index);
		else
			send_probes(m);
		return;
	}
	if (lead && now >= m->round_sent + m->cfg.heartbeat_ms)
		send_probes(m);
	else if (!lead && m->leader != 0 && now >= m->round_sent + 2 * m->cfg.heartbeat_ms)
		ask_leader(m);
}

/* The leader is another one now: the question starts over. Remote askers start over themselves. */
void member__reads_restart(struct member *m)
{
	struct list again;

	list_init(&again);
	list_splice(&again, &m->round);
	list_splice(&again, &m->reads);
	LIST_FOR_EACH_SAFE (r, next, &again, struct read, link) {
		list_del(&r->link);
		list_add_tail(&m->reads, &r->link);
		if (r->peer) {
			refuse_remote(m, r->peer, r->seq);
			read_free(m, r);
		} else if (r->lease) {
			member__lease_again(m, r->lease);
			read_free(m, r);
		}
	}
	m->round_to = 0;
	member__kick(m);
}

/* Nothing is applied any more, so nothing that waits will ever be good. */
void member__reads_halted(struct member *m)
{
	struct list *lists[] = {&m->reads, &m->round, &m->confirmed};
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "this member cannot answer reads: %s", m->halt_err.text);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR_EACH_SAFE (r, next, lists[i], struct read, link) {
			if (r->peer) {
				refuse_remote(m, r->peer, r->seq);
				read_free(m, r);
			} else if (r->lease) {
				member__lease_again(m, r->lease);
				read_free(m, r);
			} else {
				fail(m, r, &e);
			}
		}
	m->round_to = 0;
}

void member__reads_peer_lost(struct member *m, uint64_t peer)
{
	if (m->state != RAFT_LEADER && m->round_to == peer)
		member__reads_restart(m);
}

static void receive_ack(struct member *m, uint64_t from, const struct msg *msg)
{
	if (m->state != RAFT_LEADER || list_empty(&m->round) || m->round_to != m->id ||
	    msg->probe.seq != m->round_seq || msg->probe.term != m->round_term ||
	    m->round_term != raft_current_term(&m->raft))
		return;
	for (size_t i = 0; i < m->n_round_acks; i++)
		if (m->round_acks[i] == from)
			return;
	if (m->n_round_acks < ARRAY_LEN(m->round_acks))
		m->round_acks[m->n_round_acks++] = from;
	if (round_won(m))
		round_done(m, m->round_index);
}

static void receive_result(struct member *m, uint64_t from, const struct msg *msg)
{
	if (m->state == RAFT_LEADER || m->round_to != from || msg->barrier_result.seq != m->round_seq)
		return;
	if (msg->barrier_result.ok) {
		round_done(m, msg->barrier_result.index);
		return;
	}
	/* Refused: it is no leader (any more). Ask whom we take for it then, a little later. */
	m->round_sent = member__now(m) - m->cfg.heartbeat_ms;
	member__arm_by(m, m->round_sent + 2 * m->cfg.heartbeat_ms);
}

static void receive_barrier(struct member *m, uint64_t from, const struct msg *msg)
{
	struct read *r;

	if (m->state != RAFT_LEADER || m->n_reads >= MEMBER_MAX_BARRIERS) {
		refuse_remote(m, from, msg->barrier.seq);
		return;
	}
	/* The same question again (or a newer one of the same follower): the newest is enough, and it must wait for a
	 * round that begins after it. */
	LIST_FOR_EACH_SAFE (old, next, &m->reads, struct read, link)
		if (old->peer == from)
			read_free(m, old);
	r = read_new(m, member__now(m) + 2 * m->cfg.election_ms);
	r->peer = from;
	r->seq = msg->barrier.seq;
}

void member__read_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct msg out = {.kind = MSG_PROBE_RESULT};

	switch (msg->kind) {
	case MSG_PROBE:
		out.probe.term = raft_current_term(&m->raft);
		out.probe.seq = msg->probe.seq;
		member__send(m, from, &out);
		break;
	case MSG_PROBE_RESULT:
		receive_ack(m, from, msg);
		break;
	case MSG_BARRIER:
		receive_barrier(m, from, msg);
		break;
	default:
		receive_result(m, from, msg);
		break;
	}
}

void member__reads_expire(struct member *m, uint64_t now, const struct err *all)
{
	struct list *lists[] = {&m->reads, &m->round, &m->confirmed};
	struct err e;

	err_set(&e, ERR_TIMEOUT, "no leader confirmed the read in time: the cluster has lost its quorum or is electing");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR_EACH_SAFE (r, next, lists[i], struct read, link) {
			if (all || r->deadline <= now)
				fail(m, r, all ? all : &e);
			else
				member__arm_by(m, r->deadline);
		}
}
