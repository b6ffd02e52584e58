#include "raft/member.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"

uint64_t member__now(struct member *m)
{
	return m->ops->now(m);
}

void member__kick(struct member *m)
{
	m->ops->kick(m);
}

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

/* --- What a step of the core asks for ------------------------------------------------------------------ */

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

/*
 * One event through the core, and all that it asks for, in the order the core wants it: term and vote are durable before
 * anything else happens. Returns the core's code; 0 and "cannot now" codes are for the caller, others are final.
 */
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

/* --- Turns ----------------------------------------------------------------------------------------------- */

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

/* --- Start ----------------------------------------------------------------------------------------------- */

struct loader {
	struct wal_reader reader;
	struct member *m;
	bool begun;
	uint64_t base_index, base_term; /* of the last reset record */
};

static void load_entry(struct wal_reader *r, uint64_t index, uint64_t term, uint8_t type, struct str data,
		       struct wal_pos pos)
{
	struct loader *l = container_of(r, struct loader, reader);
	struct log *log = &l->m->log;
	struct log_entry *e;
	char *copy = NULL;

	if (!l->begun)
		log_reset(log, index - 1);
	else if (index <= log->last)
		log_truncate(log, MAX(index, log->first));
	/* A replaced prefix may begin before what is kept: then the log simply begins earlier. */
	if (index < log->first)
		log_reset(log, index - 1);
	l->begun = true;
	if (type == RAFT_CHANGE || log->cached < log->limit) {
		copy = xmalloc(data.n + 1);
		memcpy(copy, data.p, data.n);
	}
	e = log_add(log, term, type, copy, (uint32_t)data.n);
	e->pos = pos;
}

static void load_reset(struct wal_reader *r, uint64_t index, uint64_t term)
{
	struct loader *l = container_of(r, struct loader, reader);

	log_reset(&l->m->log, index);
	l->begun = true;
	l->base_index = index;
	l->base_term = term;
}

/* Bring the log in line with the store, which may be older (the log is replayed) or newer than it. */
static int join_log_and_store(struct member *m, const struct loader *l, struct err *e)
{
	struct store_applied a = store_applied(m->store);

	m->applied = a.index;
	m->applied_term = a.term;
	if (a.index == 0) {
		if (l->begun && m->log.first != 1)
			return err_set(e, ERR_CORRUPT,
				       "the store is empty but the log begins at entry %" PRIu64
				       ": files of raft/ and store/ do not belong together",
				       m->log.first);
		return 0;
	}
	if (l->begun && m->log.first > a.index + 1)
		return err_set(e, ERR_CORRUPT,
			       "the store is at entry %" PRIu64 " but the log begins at %" PRIu64
			       ": the store's directory was replaced by an older one; remove this member from the cluster, move its "
			       "data directory away and join it anew",
			       a.index, m->log.first);
	if (log_term(&m->log, a.index) == a.term && a.term != 0)
		return 0;
	if (l->begun && m->log.first == a.index + 1 && (l->base_index != a.index || l->base_term == a.term))
		return 0;
	/*
	 * The store is ahead: what it has is committed, but this member lost its unsynced log (or still has a divergent
	 * one). The log begins anew behind the store, which must be durable before the log's end is gone.
	 */
	if (store_checkpointed(m->store).index < a.index && store_checkpoint(m->store, e) != 0)
		return -(int)e->code;
	log_reset(&m->log, a.index);
	wal_append_reset(&m->wal, a.index, a.term);
	return 0;
}

/* The first entry of every member's log is the same: the initial configuration. */
static int bootstrap(struct member *m, struct err *e)
{
	const struct member_cfg *cfg = &m->cfg;
	struct raft_configuration conf;
	struct raft_buffer buf;
	struct wal_batch batch;
	struct log_entry *le;
	char *data;
	int rc;

	raft_configuration_init(&conf);
	for (size_t i = 0; i < cfg->n_initial; i++) {
		char address[MEMBER_ADDRESS_MAX];
		struct kv_member who = {.witness = cfg->initial[i].witness};

		member__copy(who.name, sizeof(who.name), str_from(cfg->initial[i].name));
		member__copy(who.addr, sizeof(who.addr), str_from(cfg->initial[i].addr));
		member__copy(who.url, sizeof(who.url), str_from(cfg->initial[i].url));
		member__copy(who.zone, sizeof(who.zone), str_from(cfg->initial[i].zone));
		member__format_address(address, &who);
		rc = raft_configuration_add(&conf, cfg->initial_ids[i], address, RAFT_VOTER);
		if (rc != 0) {
			raft_configuration_close(&conf);
			return err_set(e, ERR_INVALID, "initial member \"%s\" appears twice", cfg->initial[i].name);
		}
	}
	rc = raft_configuration_encode(&conf, &buf);
	raft_configuration_close(&conf);
	ASSERT(rc == 0);
	data = xmalloc(buf.len);
	memcpy(data, buf.base, buf.len);
	le = log_add(&m->log, 1, RAFT_CHANGE, data, (uint32_t)buf.len);
	raft_free(buf.base);
	wal_append(&m->wal, 1, 1, RAFT_CHANGE, str_of(le->data, le->size), &le->pos);
	le->lsn = m->wal.next_lsn - 1;
	if (m->stable->term == 0 && stable_save_vote(m->stable, 1, 0, e) != 0)
		return -(int)ERR_IO;
	ASSERT(wal_take(&m->wal, &batch));
	rc = wal_batch_write(m->cfg.disk, &batch, e);
	if (rc != 0) {
		wal_batch_drop(&batch);
		return rc;
	}
	wal_batch_done(&m->wal, &batch);
	return 0;
}

/* The configuration that will be in force: the log's newest, else the store's. */
static int newest_conf(struct member *m, struct raft_configuration *ret, struct err *e)
{
	struct raft_buffer buf = {m->conf.p, m->conf.n};
	struct str data;

	for (uint64_t i = m->log.last; i >= m->log.first && i > m->applied; i--)
		if (log_get(&m->log, i)->type == RAFT_CHANGE) {
			if (log_data(&m->log, i, &data, e) != 0)
				return -(int)e->code;
			buf = (struct raft_buffer){(void *)(uintptr_t)data.p, data.n};
			break;
		}
	raft_configuration_init(ret);
	if (buf.len == 0)
		return 0;
	if (raft_configuration_decode(&buf, ret) != 0)
		return err_set(e, ERR_CORRUPT, "the log's newest configuration cannot be read");
	return 0;
}

/*
 * The core lets the only voter lead without a new term. If the member before it was removed in that very term, there
 * would have been two leaders in it; so a lone voter opens a term of its own first.
 */
static int lone_voter_term(struct member *m, struct err *e)
{
	struct raft_configuration conf;
	unsigned voters = 0;
	bool self = false;
	int rc = newest_conf(m, &conf, e);

	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < conf.n; i++) {
		voters += conf.servers[i].role == RAFT_VOTER;
		self = self || (conf.servers[i].id == m->id && conf.servers[i].role == RAFT_VOTER);
	}
	raft_configuration_close(&conf);
	if (voters != 1 || !self)
		return 0;
	if (m->forgetful)
		return err_set(e, ERR_CORRUPT,
			       "the log of the only voting member is damaged, so writes that were acknowledged are lost: restore a "
			       "snapshot, or bring the cluster back from what is left with 'kontiki recover'");
	return stable_save_vote(m->stable, m->stable->term + 1, m->id, e);
}

static int start_core(struct member *m, struct err *e)
{
	struct raft_snapshot_metadata meta = {.index = m->applied, .term = m->applied_term};
	struct raft_event ev = {.type = RAFT_START};
	size_t n = m->log.last + 1 - m->log.first;
	struct raft_entry *entries = NULL;
	int rc = 0;

	if (m->applied > 0) {
		struct raft_buffer buf = {m->conf.p, m->conf.n};

		meta.configuration_index = m->conf_index;
		if (raft_configuration_decode(&buf, &meta.configuration) != 0)
			return err_set(e, ERR_CORRUPT, "the store's member configuration cannot be read");
		ev.start.metadata = &meta;
	}
	/* The core may keep or free the block of an entry, never its bytes; it reads only configurations. */
	entries = xcalloc(n + 1, sizeof(*entries));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct log_entry *le = log_get(&m->log, m->log.first + i);
		struct str data = STR_NULL;

		entries[i] = (struct raft_entry){.term = le->term, .type = (enum raft_entry_type)le->type};
		if (le->type == RAFT_CHANGE)
			rc = log_data(&m->log, m->log.first + i, &data, e);
		entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)data.p, data.n};
	}
	ev.start.term = m->stable->term;
	ev.start.voted_for = m->stable->voted_for;
	ev.start.start_index = m->log.first;
	ev.start.entries = entries;
	ev.start.n_entries = (unsigned)n;
	m->state = RAFT_FOLLOWER;
	if (rc == 0 && (rc = member__step(m, &ev)) != 0)
		rc = err_set(e, ERR_INTERNAL, "raft cannot start: %s", raft_strerror(rc));
	free(entries);
	return rc;
}

static int open_wal(struct member *m, struct wal_reader *reader, struct err *e)
{
	return wal_open(&m->wal, m->cfg.disk, m->cluster_id, m->id, m->cfg.segment_size,
			m->cfg.distrust ? m->cfg.trust_lsn : WAL_TRUST_ALL, reader, e);
}

static int load(struct member *m, struct err *e)
{
	struct loader l = {.reader = {.entry = load_entry, .reset = load_reset}, .m = m};
	int rc;

	m->applied = store_applied(m->store).index;
	rc = member__load_conf(m, e);
	if (rc != 0)
		return rc;
	member__load_forgetful(m);
	rc = open_wal(m, &l.reader, e);
	if (rc == -(int)ERR_CORRUPT && m->wal.damaged_segment) {
		rc = member__repair_log(m, e);
		log_reset(&m->log, 0);
		l = (struct loader){.reader = l.reader, .m = m};
		if (rc == 0)
			rc = open_wal(m, &l.reader, e);
	}
	if (rc != 0)
		return rc;
	rc = join_log_and_store(m, &l, e);
	if (rc == 0 && m->applied == 0 && m->log.last < m->log.first && m->cfg.n_initial > 0 && !m->forgetful)
		rc = bootstrap(m, e);
	if (rc == 0)
		rc = lone_voter_term(m, e);
	return rc;
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
	rc = load(m, e);
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
	rc = start_core(m, e);
	if (rc != 0)
		goto fail;
	member__scrub_load(m);
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
