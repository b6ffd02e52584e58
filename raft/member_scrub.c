/*
 * Damage to the store: looked for, and mended while everything goes on.
 *
 * A worker looks at the file a stretch at a time (store/scrub.c), at such a pace that a pass takes about a day; where it is stands in the
 * file `scrub`, so that a pass goes on after a restart, and is shown with the time of the last whole one.
 *
 * Once something is found, by a pass or by who read it, the member says so (KV_ALARM_DAMAGED), and whoever leads sends it the
 * state, as to one that lags. It becomes a copy beside the store that catches up from the log, as one that gives space back does
 * (member_defrag.c), and takes the store's place at an equal index, if the rolling hash is equal. The log and the vote are whole, so
 * nothing that was promised is forgotten, and two voters can help each other as well as three. A leader hands over first. Meanwhile what
 * is damaged is not served, the rest is. When the next entry itself needs what is damaged, nothing more is applied, and the state that comes
 * takes the store's place as soon as the log shows that it is committed.
 *
 * Should nobody help for a long time where others have the state, the member stops, and begins anew with nothing: member_disk.c.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"
#include "raft/repair.h"

/* A stretch reads a MiB. */
#define STRETCH_PAGES 256
#define PAGE_BYTES 4096
/* After a start others have more urgent things to read. */
#define FIRST_MS 60000
#define MIN_PAUSE_MS 100
#define SAVE_EVERY_MS 600000
/* Patience with the others' help. */
#define HELP_MS 600000

/* The file: crc u32 of what follows | time of the last pass, of the beginning of this one u64 | pages u64 | stage u8, key size u16, key */
#define FILE_NAME "scrub"
#define FILE_HEAD (4 + 3 * 8 + 1 + 2)

struct scrub_work {
	struct member_work work;
	struct store_scrub at;
	bool done, head, save;
	struct buf file;
};

/* --- Where the pass is ------------------------------------------------------------------------------------------------- */

static void encode(const struct member *m, struct buf *out)
{
	const struct store_scrub *at = &m->scrub.at;
	uint32_t crc;

	add_u32(out, 0);
	add_u64(out, m->scrub.last_wall);
	add_u64(out, m->scrub.begun_wall);
	add_u64(out, at->pages);
	add_u8(out, at->stage);
	add_u8(out, (uint8_t)at->key_size);
	add_u8(out, (uint8_t)(at->key_size >> 8));
	buf_add(out, at->key, at->key_size);
	crc = crc32c(0, out->p + 4, out->n - 4);
	put_u32(out->p, crc);
}

/* Not worth a sync, nor an error: what is lost is looked at again. */
static void save(struct disk *d, struct str bytes)
{
	int fd = d->ops->open(d, FILE_NAME, true);

	if (fd < 0)
		return;
	(void)d->ops->pwrite(d, fd, bytes.p, bytes.n, 0);
	d->ops->close(d, fd);
}

void member__scrub_load(struct member *m)
{
	struct disk *d = m->cfg.disk;
	int fd = d->ops->open(d, FILE_NAME, false);
	struct store_scrub *at = &m->scrub.at;
	char p[FILE_HEAD + sizeof(at->key)];
	int64_t n = fd < 0 ? 0 : d->ops->pread(d, fd, p, sizeof(p), 0);
	uint16_t key_size;

	if (fd >= 0)
		d->ops->close(d, fd);
	m->scrub.next_at = m->cfg.scrub_ms == UINT_MAX ? UINT64_MAX : member__now(m) + MIN(FIRST_MS, m->cfg.scrub_ms);
	if (n < FILE_HEAD)
		return;
	key_size = get_u16(p + FILE_HEAD - 2);
	/* A shorter one is written over a longer one. */
	if (key_size > sizeof(at->key) || n < FILE_HEAD + key_size || get_u32(p) != crc32c(0, p + 4, FILE_HEAD - 4 + key_size))
		return;
	m->scrub.last_wall = get_u64(p + 4);
	m->scrub.begun_wall = get_u64(p + 12);
	at->pages = get_u64(p + 20);
	at->stage = (uint8_t)p[28];
	at->key_size = key_size;
	memcpy(at->key, p + FILE_HEAD, key_size);
}

/* --- A stretch --------------------------------------------------------------------------------------------------------- */

static uint64_t pause_ms(const struct member *m)
{
	uint64_t stretches = m->stats.in_use_bytes / PAGE_BYTES / STRETCH_PAGES + 1;

	return MAX(m->cfg.scrub_ms / stretches, MIN_PAUSE_MS);
}

static void scrub_fn(struct member_work *w)
{
	struct scrub_work *s = container_of(w, struct scrub_work, work);

	/* The simulator reads by store_scrub() as well, to learn what is damaged: it must not be blind with the member. */
	w->rc = MUTANT(scrub_blind) ? 0 : store_scrub(w->member->store, &s->at, STRETCH_PAGES, &s->done, &s->head, &w->err);
	if (s->save)
		save(w->member->cfg.disk, buf_str(&s->file));
}

static void pass_over(struct member *m, uint64_t pages)
{
	bool first = m->scrub.last_wall == 0;

	m->scrub.last_wall = m->ops->wall(m);
	m->scrub.begun_wall = 0;
	m->scrub.at.pages = 0;
	m->scrub.save_at = 0;
	if (first)
		log_info("raft", "the whole store was looked through, nothing is damaged pages=%" PRIu64, pages);
}

static void scrub_done(struct member_work *w)
{
	struct scrub_work *s = container_of(w, struct scrub_work, work);
	struct member *m = w->member;

	m->n_work--;
	m->scrub.out = false;
	if (w->rc == 0) {
		m->scrub.at = s->at;
		if (s->done)
			pass_over(m, s->at.pages);
	} else if (s->head) {
		/* The next checkpoint writes it anew. */
		log_warn("raft", "%s: it is written anew", w->err.text);
		m->scrub.wants_checkpoint = true;
	} else if (w->rc != -(int)ERR_CORRUPT) {
		log_debug("raft", "looking for damage: %s", w->err.text);
	}
	if (member__runs(m)) {
		m->scrub.next_at = member__now(m) + pause_ms(m);
		member__look_for_damage(m);
	}
	buf_fini(&s->file);
	free(s);
	member__kick(m);
}

void member__scrub_tick(struct member *m, uint64_t now)
{
	struct scrub_work *s;

	if (m->cfg.scrub_ms == UINT_MAX || m->scrub.out || m->damage_since)
		return;
	if (now < m->scrub.next_at) {
		member__arm_by(m, m->scrub.next_at);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->work = (struct member_work){.fn = scrub_fn, .done = scrub_done};
	if (m->scrub.begun_wall == 0)
		m->scrub.begun_wall = m->ops->wall(m);
	s->at = m->scrub.at;
	buf_init(&s->file, BUF_NO_LIMIT);
	s->save = now >= m->scrub.save_at;
	if (s->save) {
		m->scrub.save_at = now + SAVE_EVERY_MS;
		encode(m, &s->file);
	}
	m->scrub.out = true;
	member__work(m, &s->work);
}

/* --- What was found ---------------------------------------------------------------------------------------------------- */

static bool has_helper(const struct member *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++)
		n += m->raft.configuration.servers[i].id != m->id && m->raft.configuration.servers[i].role == RAFT_VOTER;
	return n > 0;
}

static void whole_again(struct member *m, uint64_t now)
{
	if (m->damage_since)
		log_info("raft", "the store is whole again after %" PRIu64 " ms", now - m->damage_since);
	m->damage_since = 0;
	m->dirty = true;
	m->health_at = 0;
	member__arm_by(m, now);
}

void member__look_for_damage(struct member *m)
{
	struct err e = ERR_INIT;
	uint64_t now = member__now(m);

	if (!store_damage(m->store, &e)) {
		if (m->damage_since)
			whole_again(m, now);
		return;
	}
	if (!m->damage_since) {
		m->damage_since = MAX(now, 1u);
		/* The others hear of it now, not in a second. */
		m->health_at = 0;
		member__arm_by(m, now);
		log_error("raft", has_helper(m) ? "the store is damaged; it is mended from the others: %s"
						: "the store is damaged, and nobody else has what it has: what is damaged is not served; take a "
						  "snapshot of the rest if that can be done, and restore one: %s",
			  e.text);
		m->dirty = true;
	}
	if (m->state == RAFT_LEADER && has_helper(m) && !m->ready) {
		/* Stuck before the first entry of its term it can lead nothing, not even a change of leaders. */
		if (m->apply_stuck && now >= m->resign_after) {
			m->resign_after = now + 10u * m->cfg.election_ms;
			member__hand_over_now(m);
		}
	} else if (m->state == RAFT_LEADER && has_helper(m)) {
		member__resign_damaged(m, now);
	} else if (m->state != RAFT_LEADER && now - m->damage_since > HELP_MS && member__others_have_it(m)) {
		err_prefix(&e, "the store is damaged, and nobody has helped; started again, this member takes its state from the others");
		member__fatal(m, &e);
	}
}

bool member__stuck(struct member *m, const struct err *e)
{
	if (e->code != ERR_CORRUPT || !store_damage(m->store, NULL) || !has_helper(m) || MUTANT(damage_stays))
		return false;
	log_error("raft", "%s: nothing more is applied here until the store is mended", e->text);
	m->apply_stuck = true;
	member__look_for_damage(m);
	return true;
}

int member__unstick(struct member *m, struct err *e)
{
	int rc;

	m->applied = store_applied(m->store).index;
	m->applied_term = store_applied(m->store).term;
	m->apply_stuck = false;
	m->settle_at = UINT64_MAX;
	member__forget_hashes(m);
	rc = member__load_conf(m, e);
	if (rc != 0)
		return rc;
	log_info("raft", "the store was replaced by the leader's state index=%" PRIu64, m->applied);
	if (m->conf_index > m->raft.configuration_committed_index) {
		struct raft_buffer raw = {m->conf.p, m->conf.n};
		struct raft_configuration conf;

		ASSERT(raft_configuration_decode(&raw, &conf) == 0);
		member__conf_committed(m, m->conf_index, &conf);
		if (!member__runs(m))
			return 0;
	}
	member__note_peers(m);
	member__refresh_peers(m);
	member__reads_applied(m);
	member__look_for_damage(m);
	return 0;
}

bool member__wants_state(struct member *m)
{
	return store_damage(m->store, NULL) && !m->defrag && member__runs(m) && m->state != RAFT_LEADER && !MUTANT(damage_stays);
}
