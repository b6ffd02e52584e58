/*
 * A disk that fails, and what a member is worth meanwhile; a log that rotted, and when its member may vote again.
 *
 * After any failed write or sync the member halts: the core sees no further event, so nothing that the disk may have lost
 * is ever acknowledged, voted on or led with. It still forwards writes to whom it hears leading, refuses linearizable
 * reads, and tells the others. The shell opens the files anew when the disk takes writes again, and starts a new struct
 * member on them, exactly as after a crash; but what was not known to be durable then is cut off even if it can be read
 * (a page cache may show what the disk has lost).
 *
 * A member whose log rotted puts the damaged end aside and starts with the rest: it has forgotten what it acknowledged.
 * So it neither votes nor stands for election before it has applied an entry of a later term than any that it can have
 * acknowledged something in. The leader of that term was elected without it, by voters of which at least one has each
 * committed entry, and an entry of its term comes with all before. (The leader of the same term would not do: it may still
 * commit something because of an acknowledgement that was forgotten since.) The file `forgetful` keeps that promise over
 * restarts. Members tell it to the leader, which hands leadership on for it: the core would not go back behind an
 * acknowledgement anyway.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"
#include "raft/repair.h"

bool member__runs(const struct member *m)
{
	return !m->stopped && !m->halted;
}

/* --- A failing disk ---------------------------------------------------------------------------------------------- */

/* The best of the others is told to stand for election now; whatever it has of our log is a majority's anyway. */
void member__hand_over_now(struct member *m)
{
	struct msg out = {.kind = MSG_TIMEOUT_NOW};
	struct kv_member best = {0};

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (!o.self && o.role == KV_VOTER && o.reachable && !(o.alarms & (KV_ALARM_DISK | KV_ALARM_DAMAGED)) &&
		    (!best.id || o.match_index > best.match_index))
			best = o;
	}
	if (!best.id)
		return;
	out.timeout_now.version = 1;
	out.timeout_now.term = raft_current_term(&m->raft);
	/* Not a position: whatever the receiver has. */
	out.timeout_now.last_log_index = out.timeout_now.last_log_term = 0;
	log_info("raft", "handing leadership to name=%s", best.name);
	member__send(m, best.id, &out);
}

void member__disk_failed(struct member *m, const struct err *e)
{
	bool led = m->state == RAFT_LEADER;

	if (!member__runs(m))
		return;
	m->halt_err = *e;
	if (led)
		member__hand_over_now(m);
	m->halted = true;
	m->state = RAFT_FOLLOWER;
	m->halt_term = raft_current_term(&m->raft);
	if (m->leader == m->id)
		m->leader = 0;
	m->hint_at = 0;
	m->dirty = true;
	if (led)
		member__lost_leadership(m);
	member__reads_halted(m);
	member__defrag_give_up(m);
	member__settle_last(m);
	m->ops->disk_failed(m, e);
	m->next_upkeep = member__now(m);
	member__kick(m);
}

/* What an error means decides its code: a disk that fails may come back; what is damaged does not heal by waiting. */
void member__failed(struct member *m, const struct err *e)
{
	switch (e->code) {
	case ERR_CORRUPT:
	case ERR_FAILED_PRECONDITION:
	case ERR_INTERNAL:
	case ERR_INVALID:
		member__fatal(m, e);
		break;
	default:
		member__disk_failed(m, e);
		break;
	}
}

/* Halted: the only things that still matter in what others say. */
void member__halted_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct msg out = {.kind = MSG_PROPOSE_RESULT};

	switch (msg->kind) {
	case MSG_APPEND:
		if (msg->append.term < m->halt_term || (msg->append.term == m->halt_term && m->leader != 0))
			return;
		m->halt_term = msg->append.term;
		m->leader = from;
		m->dirty = true;
		member__leader_changed(m);
		break;
	case MSG_PROPOSE:
		out.propose_result.id = msg->propose.id;
		out.propose_result.status = MSG_NOT_TAKEN;
		member__send(m, from, &out);
		break;
	case MSG_PROPOSE_RESULT:
		member__propose_result(m, from, msg);
		break;
	case MSG_ADMIN:
		member__admin_frame(m, from, msg);
		break;
	case MSG_ADMIN_RESULT:
		member__admin_result(m, from, msg);
		break;
	case MSG_LEASE:
	case MSG_LEASE_RESULT:
		member__lease_frame(m, from, msg);
		break;
	case MSG_HEALTH:
		member__health_frame(m, from, msg);
		break;
	default:
		break;
	}
}

uint64_t member_durable_lsn(const struct member *m)
{
	return m->wal.durable_lsn;
}

/* What is wrong with this member's disk; NULL: nothing. */
const char *member__disk_trouble(struct member *m, uint64_t now)
{
	if (m->halted)
		return m->halt_err.text;
	if (m->writing && now - m->write_since > MAX(8u * m->cfg.election_ms, 2000u))
		return "a write has not finished for seconds: the disk hangs or is overloaded; look at the kernel's log and at what "
		       "else uses this disk";
	if (m->wal.reserve == -ENOSPC || m->wal.reserve == -EDQUOT)
		return "the disk is full: the next segment of the log cannot be reserved, and this member stops taking part when the "
		       "present one is full; free some space";
	if (m->wal.reserve < 0)
		return "the next segment of the log cannot be made; look at the kernel's log and at the file system of the data directory";
	if (m->forgetful)
		return "its log or store was damaged; this member does not vote until a leader has given back what it lost";
	return NULL;
}

/* --- A log that rotted -------------------------------------------------------------------------------------------- */

bool member__load_forgetful(struct member *m)
{
	/* A later term than needed is as good. */
	m->forgetful = repair_forgetful(m->cfg.disk, &m->pair) && !MUTANT(votes_forgetful);
	m->settled = repair_is_settled(m->cfg.disk);
	m->forget_term = m->stable->term;
	return m->forgetful;
}

bool member__others_have_it(struct member *m)
{
	/* With two voters nobody could be elected without the one that forgot. */
	if (m->conf.n == 0)
		return m->stable->joined || m->cfg.n_initial > 2;
	return repair_other_voters(m->conf.p, m->conf.n, m->id) > 1;
}

int member__repair_log(struct member *m, struct err *e)
{
	uint64_t pair = repair_pair(m->cfg.disk, m->id);
	struct err why = *e;
	int rc;

	if (!member__others_have_it(m) && !pair)
		return repair_refuse(e, m->conf.n > 0, repair_other_voters(m->conf.p, m->conf.n, m->id));
	err_clear(e);
	/* First the promise not to vote, then the loss. */
	rc = repair_promise(m->cfg.disk, pair, e);
	if (rc == 0)
		rc = wal_repair(m->cfg.disk, m->wal.damaged_segment, m->wal.damaged_offset, e);
	if (rc != 0)
		return rc;
	log_error("wal", "%s", why.text);
	log_warn("wal", "the damaged part is kept as raft/*.bad; what it held comes from the other members, and this one %s until then",
		 pair ? "votes only for the other voter" : "does not vote");
	m->forgetful = repair_forgetful(m->cfg.disk, &m->pair) && !MUTANT(votes_forgetful);
	return 0;
}

/*
 * Of two voters the other one has to lead in a later term, or it would go on from what this one acknowledged in the present one. It hears of a
 * later term from this one, as if this one had stood for election. What was acknowledged was so before.
 */
int member__pair_term(struct member *m, struct err *e)
{
	return m->forgetful && m->pair ? stable_save_vote(m->stable, m->stable->term + 1, 0, e) : 0;
}

bool member__votes_for_pair(const struct member *m, uint64_t candidate)
{
	struct raft_configuration c = m->raft.configuration;
	unsigned voters = 0, two = 0;

	for (unsigned i = 0; i < c.n; i++) {
		voters += c.servers[i].role == RAFT_VOTER;
		two += c.servers[i].role == RAFT_VOTER && (c.servers[i].id == m->id || c.servers[i].id == candidate);
	}
	return m->forgetful && m->pair == candidate && m->pair != 0 && (c.n == 0 || (voters == 2 && two == 2));
}

/* A configuration comes into the log: from now on it is not certain who votes. */
static bool unsettle(struct member *m)
{
	struct err e = ERR_INIT;
	int rc = 0;

	if (m->settled)
		rc = repair_unsettle(m->cfg.disk, &e);
	m->settled = m->settled && rc != 0;
	if (rc != 0)
		member__disk_failed(m, &e);
	return rc == 0;
}

/* Of a forgetful member the promise becomes the strict one, should others than the two vote. */
bool member__conf_comes(struct member *m, const void *conf, size_t size)
{
	struct err e = ERR_INIT;

	if (!unsettle(m))
		return false;
	if (!m->forgetful || !m->pair || repair_other_of_two(conf, size, m->id) == m->pair)
		return true;
	m->pair = 0;
	if (repair_promise(m->cfg.disk, 0, &e) != 0)
		member__disk_failed(m, &e);
	return member__runs(m);
}

void member__maybe_settle(struct member *m)
{
	struct err e = ERR_INIT;

	if (m->settled || m->forgetful || m->conf.n == 0 || m->raft.configuration_uncommitted_index != 0 ||
	    m->conf_index != m->raft.configuration_committed_index || !str_eq(buf_str(&m->conf), buf_str(&m->noted)))
		return;
	if (repair_settle(m->cfg.disk, &e) != 0)
		member__disk_failed(m, &e);
	else
		m->settled = true;
}

void member__note_peers(struct member *m)
{
	struct err e = ERR_INIT;

	if (m->conf.n == m->noted.n && (m->conf.n == 0 || memcmp(m->conf.p, m->noted.p, m->conf.n) == 0))
		return;
	if (m->conf.n == 0)
		return;
	/* An old list might tell a member that others have what it alone has. */
	if (stable_save_peers(m->cfg.disk, buf_str(&m->conf), &e) != 0) {
		member__disk_failed(m, &e);
		return;
	}
	buf_clear(&m->noted);
	buf_adds(&m->noted, buf_str(&m->conf));
}

/* --- A store that rotted -------------------------------------------------------------------------------------------- */

void member__give_up_store(struct member *m)
{
	struct err why = ERR_INIT, e = ERR_INIT;

	if (store_damage(m->store, &why) && member__others_have_it(m) && store_condemn(m->store, why.text, &e) != 0)
		log_error("raft", "%s", e.text);
}

void member__maybe_remember(struct member *m)
{
	struct disk *d = m->cfg.disk;
	int rc;

	if (!m->forgetful || m->state != RAFT_FOLLOWER || m->leader == 0 || m->commit == 0 ||
	    m->raft.last_stored < m->applied || m->applied_term != raft_current_term(&m->raft) ||
	    m->applied_term <= m->forget_term)
		return;
	rc = d->ops->unlink(d, REPAIR_FORGETFUL);
	if (rc == 0 || rc == -ENOENT)
		rc = d->ops->sync_dir(d);
	if (rc < 0) {
		struct err e;

		err_set_errno(&e, -rc, "cannot remove raft/%s", REPAIR_FORGETFUL);
		member__disk_failed(m, &e);
		return;
	}
	m->forgetful = false;
	m->dirty = true;
	log_info("raft", "the log is whole again up to entry %" PRIu64 ": this member votes", m->commit);
}
