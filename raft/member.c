/*
 * A member's life: made from its configuration and what load and the core's start (member_start.c) find on the disk, stopped,
 * freed. What it does between those is in the other files of this name: member-priv.h says which does what.
 */
#include "raft/member.h"

#include <stdlib.h>

#include "base/util.h"
#include "raft/member-priv.h"

void *member_arg(const struct member *m)
{
	return m->arg;
}

struct raft *member_raft(struct member *m)
{
	return &m->raft;
}

bool member_is_leader(const struct member *m)
{
	return m->state == RAFT_LEADER;
}

bool member_idle(const struct member *m)
{
	return !m->writing && m->n_work == 0;
}

static void set_defaults(struct member_cfg *cfg)
{
	cfg->election_ms = cfg->election_ms ? cfg->election_ms : 300;
	cfg->heartbeat_ms = cfg->heartbeat_ms ? cfg->heartbeat_ms : 50;
	cfg->compact_keep_ms = cfg->compact_keep_ms ? cfg->compact_keep_ms : 300000;
	cfg->checkpoint_bytes = cfg->checkpoint_bytes ? cfg->checkpoint_bytes : 32u << 20;
	cfg->log_cache = cfg->log_cache ? cfg->log_cache : 16u << 20;
	cfg->voters = cfg->voters ? cfg->voters : 5;
	cfg->dead_ms = cfg->dead_ms ? cfg->dead_ms : 30000;
	cfg->replace_ms = cfg->replace_ms ? cfg->replace_ms : 5000;
	cfg->max_log_bytes = cfg->max_log_bytes ? cfg->max_log_bytes : 256u << 20;
	cfg->scrub_ms = cfg->scrub_ms ? cfg->scrub_ms : MEMBER_SCRUB_MS;
	cfg->linger_ms = cfg->linger_ms ? cfg->linger_ms : 1000;
	cfg->trailing_bytes = cfg->trailing_bytes ? cfg->trailing_bytes : 8u << 20;
}

static void init_lists(struct member *m)
{
	struct list *lists[] = {&m->queue, &m->pending, &m->forwarded, &m->reads, &m->round, &m->confirmed, &m->changes,
				&m->forwarded_changes, &m->lease_waiting, &m->lease_sent};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
}

int member_new(const struct member_cfg *cfg, void *arg, struct member **ret, struct err *e)
{
	struct member *m = xcalloc(1, sizeof(*m));
	int rc;

	m->arg = arg;
	m->cfg = *cfg;
	m->ops = cfg->ops;
	set_defaults(&m->cfg);
	m->stable = cfg->stable;
	m->store = cfg->store;
	m->id = cfg->stable->member_id;
	m->cluster_id = cfg->stable->cluster_id;
	init_lists(m);
	gather_init(&m->gather);
	m->held_until = UINT64_MAX;
	buf_init(&m->conf, BUF_NO_LIMIT);
	buf_init(&m->noted, BUF_NO_LIMIT);
	buf_init(&m->frame, BUF_NO_LIMIT);
	log_init(&m->log, &m->wal, m->cfg.log_cache);
	list_init(&m->wal.segments);
	list_init(&m->wal.pieces);
	m->wal.mark_fd = -1;
	/* Answers to questions of an earlier life must not fit those of this one. */
	m->next_id = (uint64_t)m->ops->random(m) << 32 | 1;
	m->round_seq = (uint64_t)m->ops->random(m) << 32;
	rc = member__load(m, e);
	if (rc != 0)
		goto fail;
	ASSERT(raft_init(&m->raft, NULL, NULL, m->id, "self") == 0);
	m->raft_open = true;
	m->raft.tracer = NULL;
	raft_seed(&m->raft, m->ops->random(m));
	raft_set_election_timeout(&m->raft, m->cfg.election_ms);
	raft_set_heartbeat_timeout(&m->raft, m->cfg.heartbeat_ms);
	raft_set_pre_vote(&m->raft, true);
	/*
	 * The core leaves "sending a snapshot" only when an acknowledgement raises what the follower has; one that has all of
	 * it already would wait out this time without entries. Asking us again for the same snapshot costs nothing.
	 */
	raft_set_install_snapshot_timeout(&m->raft, 3 * m->cfg.election_ms);
	raft_set_max_inflight_entries(&m->raft, MEMBER_MAX_TAIL);
	m->next_upkeep = member__now(m) + 1000;
	m->settle_at = UINT64_MAX;
	m->checkpoint_mark = 0;
	m->wal_written = m->wal.bytes;
	rc = member__start_core(m, e);
	if (rc != 0)
		goto fail;
	member__scrub_load(m);
	member__files_load(m);
	(void)stable_load_peers(m->cfg.disk, &m->noted);
	member__note_peers(m);
	member__refresh_peers(m);
	m->dirty = true;
	member__kick(m);
	*ret = m;
	return 0;
fail:
	m->stopped = true;
	member_free(m);
	return rc;
}

void member_stop(struct member *m)
{
	struct err e;

	m->stopped = true;
	m->state = RAFT_UNAVAILABLE;
	m->leader = 0;
	m->ready = false;
	m->dirty = true;
	err_set(&e, ERR_UNAVAILABLE, "this member is stopping");
	member__fail_all(m, &e);
	member__snap_stop_sending(m);
	member__defrag_give_up(m);
	/* Nothing is applied from here on, so nobody will wait for this. */
	member__settle_last(m);
}

void member_free(struct member *m)
{
	struct err e;

	if (!m)
		return;
	ASSERT(member_idle(m));
	m->stopped = true;
	err_set(&e, ERR_UNAVAILABLE, "this member is stopping");
	member__fail_all(m, &e);
	member__defrag_give_up(m);
	member__snap_close(m);
	if (m->raft_open)
		raft_close(&m->raft, NULL);
	wal_close(&m->wal);
	log_fini(&m->log);
	buf_fini(&m->conf);
	buf_fini(&m->noted);
	buf_fini(&m->frame);
	free(m->entries);
	free(m);
}
