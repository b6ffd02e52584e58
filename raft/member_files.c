/*
 * The files of raft/, looked at while the member runs: closed segments of the log, vote and identity, the list of members. About once a day
 * each is read back from the disk; what is damaged is named, shown (KV_ALARM_LOG), and mended where this member has the truth itself:
 *
 *	a closed segment     its entries are needed only until they are in the store's checkpoint: one is taken as soon as all of them are
 *	                     applied, and the log is cut behind the segment, whatever members that lag would like it to keep
 *	vote, member, peers  written anew from memory, which has its own checksum; what is newer on the disk than in memory stops the member
 *
 * Until then nothing that is damaged is needed: a follower that asks for an entry of the segment is refused by its checksum, and a start
 * finds the damage as it would have without this (member_start.c).
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

#define FIRST_MS 60000
#define MIN_PAUSE_MS 100

struct files_work {
	struct member_work work;
	struct wal_check check;
};

void member__files_load(struct member *m)
{
	m->files.next_at = m->cfg.scrub_ms == UINT_MAX ? UINT64_MAX : member__now(m) + MIN(FIRST_MS, m->cfg.scrub_ms);
}

/* A pass takes about as long as one through the store. */
static uint64_t pause_ms(const struct member *m)
{
	uint64_t n = m->wal.bytes / m->wal.segment_size + 2;

	return MAX(m->cfg.scrub_ms / n, MIN_PAUSE_MS);
}

static void check_fn(struct member_work *w)
{
	struct files_work *f = container_of(w, struct files_work, work);

	if (MUTANT(log_unseen))
		return;
	w->rc = wal_check(w->member->cfg.disk, &f->check, &w->err);
}

static void found(struct member *m, uint32_t seq, const struct err *e)
{
	m->files.damaged = seq;
	m->files.since = member__now(m);
	snprintf(m->files.text, sizeof(m->files.text), "%s", e->text);
	m->dirty = true;
	m->health_at = 0;
	log_error("wal", "%s; a checkpoint of the store takes its place", e->text);
}

static void check_done(struct member_work *w)
{
	struct files_work *f = container_of(w, struct files_work, work);
	struct member *m = w->member;
	uint64_t max;

	m->n_work--;
	m->files.out = false;
	/* One that was dropped meanwhile may have been written over as a later one. */
	if (w->rc == -(int)ERR_CORRUPT && wal_has_segment(&m->wal, f->check.seq, &max))
		found(m, f->check.seq, &w->err);
	else if (w->rc != 0 && w->rc != -(int)ERR_CORRUPT)
		log_warn("wal", "looking for damage: %s", w->err.text);
	free(f);
	member__kick(m);
}

static void check_small(struct member *m)
{
	struct err e = ERR_INIT;
	char text[128];

	if (stable_scrub(m->stable, text, &e) != 0) {
		member__failed(m, &e);
		return;
	}
	if (text[0])
		log_error("raft", "%s: written anew", text);
	if (m->noted.n > 0 && !stable_peers_are(m->cfg.disk, buf_str(&m->noted))) {
		log_error("raft", "raft/peers on the disk is not what was written: written anew");
		buf_clear(&m->noted);
		member__note_peers(m);
	}
}

/* Everything in the segment is in the store: the next checkpoint cuts it off. */
static void mend(struct member *m)
{
	if (!wal_has_segment(&m->wal, m->files.damaged, &m->files.cut)) {
		log_info("wal", "the damaged segment raft/%08" PRIx32 ".wal is out of the log after %" PRIu64 " ms", m->files.damaged,
			 member__now(m) - m->files.since);
		m->files.damaged = 0;
		m->files.cut = 0;
		m->files.text[0] = '\0';
		m->dirty = true;
		m->health_at = 0;
		return;
	}
	if (m->applied >= m->files.cut)
		m->scrub.wants_checkpoint = true;
}

void member__files_tick(struct member *m, uint64_t now)
{
	struct files_work *f;
	struct wal_check c;

	if (m->files.damaged)
		mend(m);
	if (m->cfg.scrub_ms == UINT_MAX || m->files.out || m->files.damaged)
		return;
	if (now < m->files.next_at) {
		member__arm_by(m, m->files.next_at);
		return;
	}
	m->files.next_at = now + pause_ms(m);
	member__arm_by(m, m->files.next_at);
	if (!wal_closed_after(&m->wal, m->files.at, &c)) {
		m->files.at = 0;
		check_small(m);
		return;
	}
	m->files.at = c.seq;
	m->files.out = true;
	f = xcalloc(1, sizeof(*f));
	f->check = c;
	f->work = (struct member_work){.fn = check_fn, .done = check_done};
	member__work(m, &f->work);
}

uint64_t member__files_cut(const struct member *m)
{
	return m->files.damaged ? m->files.cut : 0;
}
