/*
 * One event through libraft's core, and all that the core asks for in return. Every part of a member that wants something
 * of the core comes through member__step, so the order of what follows is decided here alone: term and vote are durable first,
 * then entries go into the log and the WAL (the disk gets them at the end of the turn), and only then do messages leave. The view
 * of the last step (state, leader, commit) is renewed at its end.
 *
 * A step never runs within another one. An entry's bytes belong to our log, whoever brought them; the core sees them by
 * reference for as long as the step lasts.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

uint64_t member__now(struct member *m)
{
	return m->ops->now(m);
}

void member__kick(struct member *m)
{
	m->ops->kick(m);
}

void member__work(struct member *m, struct member_work *w)
{
	w->member = m;
	m->n_work++;
	m->ops->work(m, w);
}

void member__fatal(struct member *m, const struct err *e)
{
	if (m->stopped)
		return;
	m->stopped = true;
	m->state = RAFT_UNAVAILABLE;
	m->leader = 0;
	m->ready = false;
	m->dirty = true;
	member__give_up_store(m);
	m->ops->fatal(m, e);
	member__kick(m);
}

void member__save_vote(struct member *m)
{
	struct err e = ERR_INIT;

	if (!MUTANT(vote_forgotten) &&
	    stable_save_vote(m->stable, raft_current_term(&m->raft), raft_voted_for(&m->raft), &e) != 0)
		member__disk_failed(m, &e);
	m->dirty = true;
}

static char *entry_bytes(struct member *m, unsigned i, const struct raft_entry *e)
{
	char *p;

	/* A submitted command is ours already; anything else is borrowed from a frame or the core. */
	if (m->submitting && m->submitting[i])
		return TAKE(m->submitting[i]->command);
	if (e->buf.len == 0)
		return NULL;
	p = xmalloc(e->buf.len);
	memcpy(p, e->buf.base, e->buf.len);
	return p;
}

static void handle_entries(struct member *m, const struct raft_update *u)
{
	bool conf = false;

	ASSERT(u->entries.index >= m->log.first && u->entries.index <= m->log.last + 1);
	ASSERT(u->entries.index > m->applied);
	if (u->entries.index <= m->log.last) {
		log_truncate(&m->log, u->entries.index);
		conf = true;
	}
	for (unsigned i = 0; i < u->entries.n; i++) {
		const struct raft_entry *e = &u->entries.batch[i];
		struct log_entry *le = log_add(&m->log, e->term, (uint8_t)e->type, entry_bytes(m, i, e), (uint32_t)e->buf.len);

		le->lsn = m->wal.next_lsn;
		wal_append(&m->wal, m->log.last, le->term, le->type, str_of(le->data, le->size), &le->pos);
		/* wal_append may have begun a new segment first: its head record took a number too. */
		le->lsn = m->wal.next_lsn - 1;
		m->wal_written += le->size + 64;
		conf = conf || e->type == RAFT_CHANGE;
	}
	/* The core's own no-op and what came in a message hang on one block; commands are ours. */
	if (u->entries.n > 0 && !m->submitting)
		raft_free(u->entries.batch[0].batch);
	if (conf)
		member__refresh_peers(m);
}

/* Before anybody hears of it, the disk included. False: the disk failed. */
static bool conf_comes(struct member *m, const struct raft_update *u)
{
	for (unsigned i = 0; i < u->entries.n; i++)
		if (u->entries.batch[i].type == RAFT_CHANGE && !member__conf_comes(m, u->entries.batch[i].buf.base, u->entries.batch[i].buf.len))
			return false;
	return true;
}

static void handle_state(struct member *m)
{
	int before = m->state;

	m->state = (int)raft_state(&m->raft);
	if (before == m->state)
		return;
	m->dirty = true;
	log_debug("raft", "member=%016" PRIx64 " state=%s term=%llu", m->id, raft_state_name(m->state),
		  raft_current_term(&m->raft));
	if (m->state == RAFT_LEADER) {
		m->need_barrier = true;
		m->lead_since = member__now(m);
	}
	if (before == RAFT_LEADER)
		member__lost_leadership(m);
}

static void note_leader(struct member *m)
{
	raft_id id = 0;
	const char *address;

	raft_leader(&m->raft, &id, &address);
	if (m->leader == id)
		return;
	m->leader = id;
	m->dirty = true;
	member__leader_changed(m);
}

int member__step(struct member *m, struct raft_event *ev)
{
	struct raft_update u = {0};
	int rv;

	if (!member__runs(m))
		return RAFT_SHUTDOWN;
	ASSERT(!m->stepping);
	m->stepping = true;
	ev->time = member__now(m);
	ev->capacity = UINT16_MAX;
	rv = raft_step(&m->raft, ev, &u);
	if (rv == RAFT_SHUTDOWN || rv == RAFT_CORRUPT || rv == RAFT_MALFORMED) {
		struct err e;

		err_set(&e, ERR_CORRUPT,
			"the log of this member contradicts what the cluster has committed (raft error %d); remove it from the "
			"cluster, move its data directory away and join it anew",
			rv);
		member__fatal(m, &e);
	}
	if (rv != 0) {
		m->stepping = false;
		return rv;
	}
	if (u.flags & (RAFT_UPDATE_CURRENT_TERM) || u.flags & (RAFT_UPDATE_VOTED_FOR))
		member__save_vote(m);
	if (!member__runs(m)) {
		m->stepping = false;
		return RAFT_SHUTDOWN;
	}
	if ((u.flags & (RAFT_UPDATE_ENTRIES)) && !conf_comes(m, &u)) {
		m->stepping = false;
		return RAFT_SHUTDOWN;
	}
	if (u.flags & (RAFT_UPDATE_ENTRIES))
		handle_entries(m, &u);
	if (u.flags & (RAFT_UPDATE_SNAPSHOT)) {
		m->snap_update = true;
		m->snap_meta = u.snapshot.metadata;
	}
	if (raft_state(&m->raft) == RAFT_LEADER && m->state != RAFT_LEADER)
		for (size_t i = 0; i < m->n_peers; i++) {
			m->peers[i].appended = 0;
			m->peers[i].nudged = false;
		}
	if (u.flags & (RAFT_UPDATE_MESSAGES))
		for (unsigned i = 0; i < u.messages.n; i++)
			member__send_raft(m, &u.messages.batch[i]);
	if (u.flags & (RAFT_UPDATE_COMMIT_INDEX))
		m->commit = raft_commit_index(&m->raft);
	m->stepping = false;
	if (!member__runs(m))
		return RAFT_SHUTDOWN;
	handle_state(m);
	note_leader(m);
	member__kick(m);
	return 0;
}

bool member__send(struct member *m, uint64_t to, const struct msg *msg)
{
	buf_clear(&m->frame);
	msg_encode(msg, &m->frame);
	return m->ops->send(m, to, msg_channel_of(msg->kind), buf_str(&m->frame));
}
