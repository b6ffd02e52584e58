/*
 * Turns and times: what a member does at the end of a turn, when the disk has written, and when its time has come.
 *
 * The events of a turn only note and step. member_flush then goes through everything once, in an order that lets others work
 * while this thread does: proposals are appended, the batch is handed to the disk and the messages leave, and only then are
 * committed entries applied and readers answered. member_written tells the core what is durable; member_timer runs elections,
 * heartbeats and the upkeep of every second.
 *
 * Elections have two more beginnings than the core's timeout: a host that says that its leader's process is gone (the crash
 * hint, which saves the timeout), and a lone voter, who opens a term of its own first.
 */
#include <inttypes.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

/*
 * A follower that is new to this leader, or was silent for an election timeout, gets entries with the heartbeats only, until it has
 * acknowledged a new one. So its next heartbeat comes now. When heartbeats go out matters for no promise; once for each sign of life is enough.
 */
void member__nudge(struct member *m)
{
	struct raft_event ev = {.type = RAFT_TIMEOUT};
	unsigned have = 0;
	bool hurry = false;

	if (m->state != RAFT_LEADER || MUTANT(no_nudge))
		return;
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		const struct raft_server *s = &m->raft.configuration.servers[i];
		struct peer_state *p = s->id == m->id ? NULL : member__peer(m, s->id);

		if (s->role == RAFT_VOTER)
			have += !p || p->appended >= m->log.last;
		if (s->role != RAFT_VOTER || !p || p->appended >= m->log.last || p->lost || p->snap || p->nudged)
			continue;
		hurry = true;
	}
	if (!hurry || have > member__voters(m) / 2)
		return;
	for (size_t i = 0; i < m->n_peers; i++)
		m->peers[i].nudged = true;
	raft_set_heartbeat_timeout(&m->raft, 0);
	member__step(m, &ev);
	raft_set_heartbeat_timeout(&m->raft, m->cfg.heartbeat_ms);
}

/* A leader needs an entry of its own term before it can commit older ones; the core adds one only when it sees need. */
static void maybe_barrier(struct member *m)
{
	static char nothing[8];
	struct raft_entry entry = {.type = RAFT_BARRIER, .buf = {nothing, sizeof(nothing)}, .batch = nothing};
	struct raft_event ev = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
	struct proposal *none[1] = {NULL};

	if (!m->need_barrier || m->state != RAFT_LEADER)
		return;
	m->need_barrier = false;
	if (m->log.last >= m->log.first && log_term(&m->log, m->log.last) == raft_current_term(&m->raft))
		return;
	entry.term = raft_current_term(&m->raft);
	m->submitting = none;
	member__step(m, &ev);
	m->submitting = NULL;
	member__nudge(m);
}

void member__arm_by(struct member *m, uint64_t at)
{
	if (m->next_upkeep > at)
		m->next_upkeep = at;
}

static void arm(struct member *m)
{
	uint64_t at = raft_timeout(&m->raft);

	/* One that may not stand for election does not look at these times, so they must not wake it either. */
	if (m->halted || m->forgetful)
		at = UINT64_MAX;
	else if (m->hint_at)
		at = MIN(at, m->hint_at);
	if (!m->halted)
		at = MIN(at, m->settle_at);
	at = MIN(at, m->held_until);
	m->ops->arm(m, MIN(at, m->next_upkeep));
}

/* Entries that wait for nothing else must not be kept from the disk: write as soon as the disk is free. */
static void maybe_write(struct member *m)
{
	if (m->writing || !wal_take(&m->wal, &m->batch))
		return;
	m->writing = true;
	m->write_since = member__now(m);
	m->ops->write(m, &m->batch);
}

void member_flush(struct member *m)
{
	if (member__runs(m)) {
		member__snap_advance(m);
		maybe_barrier(m);
	}
	/* A member with a failed disk still passes on what the leader can do. */
	if (!m->stopped) {
		member__changes(m);
		member__submit(m);
	}
	/* The disk and the others work on what is new while this thread applies what is committed. */
	if (member__runs(m)) {
		maybe_write(m);
		if (m->ops->push)
			m->ops->push(m);
		member__apply(m);
		member__leases(m);
		member__reads(m);
	}
	if (member__runs(m)) {
		maybe_write(m);
		member__defrag_advance(m);
		member__maybe_checkpoint(m);
		member__maybe_remember(m);
		member__maybe_settle(m);
		log_trim(&m->log, m->applied + 1);
	}
	if (!m->stopped)
		arm(m);
	if (m->stopped) {
		struct err e;

		err_set(&e, ERR_UNAVAILABLE, "this member has stopped");
		member__fail_all(m, &e);
	}
	if (m->dirty) {
		m->dirty = false;
		m->ops->changed(m);
	}
}

/*
 * The newest entries that are durable now, told to the core. A write that was overtaken by a truncation counts for
 * nothing: its entries are not in the log any more, and those in their place have higher numbers.
 */
static void report_persisted(struct member *m)
{
	uint64_t index = m->raft.last_stored;
	struct raft_event ev = {.type = RAFT_PERSISTED_ENTRIES};

	for (struct log_entry *e; (e = log_get(&m->log, index + 1)) != NULL && (e->lsn <= m->wal.durable_lsn || MUTANT(ack_before_sync));)
		index++;
	if (index <= m->raft.last_stored)
		return;
	ev.persisted_entries.index = index;
	member__step(m, &ev);
}

void member_written(struct member *m, const struct err *e)
{
	ASSERT(m->writing);
	m->writing = false;
	if (e) {
		wal_batch_drop(&m->batch);
		member__disk_failed(m, e);
		member__kick(m);
		return;
	}
	wal_batch_done(&m->wal, &m->batch);
	if (member__runs(m))
		report_persisted(m);
	member__kick(m);
}

/*
 * A follower that has become the only voter by the removal of the others is made leader by the core without a new term, which
 * may have had its leader: the one that was removed last. So it opens one of its own first, with its own vote in it.
 */
static void open_lone_term(struct member *m)
{
	if (m->state != RAFT_FOLLOWER || member__voters(m) != 1 || !member__is_voter(m, m->id))
		return;
	m->raft.current_term++;
	m->raft.voted_for = m->id;
	member__save_vote(m);
}

static bool follows_silent_leader(const struct member *m)
{
	return m->state == RAFT_FOLLOWER && m->leader == m->hint_leader && m->leader != 0 &&
	       raft_current_term(&m->raft) == m->hint_term && member__is_voter(m, m->id);
}

/*
 * Crash hint: the leader's process is gone, its host said so. Behave as if the leader had told us to start an election.
 * When elections start never matters for safety; the vote still needs a log as good as a majority's.
 */
static void crash_hint(struct member *m, uint64_t now)
{
	struct raft_message msg = {.type = RAFT_TIMEOUT_NOW, .server_id = m->hint_leader, .server_address = ""};
	struct raft_event ev = {.type = RAFT_RECEIVE, .receive = {&msg}};

	if (!m->hint_at || now < m->hint_at)
		return;
	m->hint_at = 0;
	if (!follows_silent_leader(m) || now >= m->hint_until)
		return;
	if (m->raft.last_stored < m->log.last || m->writing) {
		m->hint_at = now + 2; /* the core would ignore it while entries are being written */
		return;
	}
	open_lone_term(m);
	msg.timeout_now.version = 1;
	msg.timeout_now.term = raft_current_term(&m->raft);
	msg.timeout_now.last_log_index = raft_last_index(&m->raft);
	msg.timeout_now.last_log_term =
		m->log.last >= m->log.first ? log_term(&m->log, m->log.last) : m->applied_term;
	log_debug("raft", "leader %016" PRIx64 " is gone: electing", m->hint_leader);
	member__step(m, &ev);
}

void member_timer(struct member *m)
{
	uint64_t now = member__now(m);
	struct raft_event ev = {.type = RAFT_TIMEOUT};

	if (m->stopped)
		return;
	if (now >= m->settle_at && member__runs(m))
		(void)member__settle(m);
	if (member__runs(m) && !m->forgetful) {
		crash_hint(m, now);
		if (now >= raft_timeout(&m->raft)) {
			open_lone_term(m);
			if (member__runs(m))
				member__step(m, &ev);
		}
	}
	if (now >= m->next_upkeep && !m->stopped) {
		m->next_upkeep = now + 1000;
		member__expire(m, now);
		member__upkeep(m, now);
		member__snap_tick(m, now);
	}
	member__kick(m);
}

/* Survivors hear of a crash at the same time: they go one after the other, so that votes do not split. */
static uint64_t hint_delay(struct member *m)
{
	uint64_t rank = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		const struct raft_server *s = &m->raft.configuration.servers[i];

		rank += s->role == RAFT_VOTER && s->id != m->leader && s->id < m->id;
	}
	return 1 + rank * 12 + m->ops->random(m) % 3;
}

void member_peer_lost(struct member *m, uint64_t peer, bool refused)
{
	uint64_t now = member__now(m);

	if (m->stopped)
		return;
	if (member__peer(m, peer))
		member__peer(m, peer)->lost = true;
	member__forward_lost(m, peer);
	member__reads_peer_lost(m, peer);
	member__changes_peer_lost(m, peer);
	if (refused && !m->cfg.no_crash_hint && peer == m->leader && !m->hint_at) {
		m->hint_leader = peer;
		m->hint_term = raft_current_term(&m->raft);
		m->hint_at = now + hint_delay(m);
		m->hint_until = now + m->cfg.election_ms;
	}
	member__kick(m);
}
