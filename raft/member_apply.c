/* From committed entries to the store, and what follows from having applied: answers, leadership, checkpoints, upkeep. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "proto/raft.pb-c.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"

/* One store transaction; the next one is for the next turn, so that timers and messages are not kept waiting. */
#define APPLY_MAX_ENTRIES 512
#define APPLY_MAX_BYTES (4u << 20)
/* Pages that may gather in the store's memory before they are committed: a commit should stay a matter of a few milliseconds. */
#define LINGER_MAX_PAGES 3072u
/* Who reads now is expected to read again: for so long nothing lingers, since a reader would wait for each commit. */
#define LINGER_PAUSE_MS 1000
/* How often history is cut to a number of revisions, as in etcd. */
#define COMPACT_REVISIONS_MS 300000

/* --- Apply ------------------------------------------------------------------------------------------------- */

struct answers {
	struct buf bytes;
	struct {
		uint64_t index;
		size_t start, end;
	} *at;
	size_t n;
};

static bool wanted(const struct proposal *p, uint64_t index)
{
	return p && p->index == index;
}

static int save_conf(struct store *s, uint64_t index, struct str data, struct err *e)
{
	struct buf blob = BUF_INIT;
	int rc;

	add_u64(&blob, index);
	buf_adds(&blob, data);
	rc = store_blob_put(s, true, MEMBER_CONF_BLOB, buf_str(&blob), e);
	buf_fini(&blob);
	return rc;
}

int member__load_conf(struct member *m, struct err *e)
{
	struct buf blob = BUF_INIT;
	struct raft_configuration conf;
	struct raft_buffer raw;
	int rc;

	if (m->applied == 0)
		return 0;
	rc = store_blob_get(m->store, true, MEMBER_CONF_BLOB, &blob, e);
	if (rc != 0)
		return err_prefix(e, "the store has no member configuration");
	if (blob.n < 8) {
		buf_fini(&blob);
		return err_set(e, ERR_CORRUPT, "the store's member configuration is cut short");
	}
	m->conf_index = get_u64(blob.p);
	buf_clear(&m->conf);
	buf_add(&m->conf, blob.p + 8, blob.n - 8);
	buf_fini(&blob);
	raw = (struct raft_buffer){m->conf.p, m->conf.n};
	if (!msg_conf_ok(buf_str(&m->conf)) || raft_configuration_decode(&raw, &conf) != 0)
		return err_set(e, ERR_CORRUPT, "the store's member configuration cannot be read");
	for (unsigned i = 0; i < conf.n; i++)
		m->was_member = m->was_member || conf.servers[i].id == m->id;
	raft_configuration_close(&conf);
	return 0;
}

static int note_conf(struct list *confs, uint64_t index, struct str data, struct err *e)
{
	struct committed_conf *c = xcalloc(1, sizeof(*c));
	struct raft_buffer raw = {(void *)(uintptr_t)data.p, data.n};

	c->index = index;
	if (raft_configuration_decode(&raw, &c->conf) != 0) {
		free(c);
		return err_set(e, ERR_CORRUPT, "the configuration in log entry %" PRIu64 " cannot be read", index);
	}
	list_add_tail(confs, &c->link);
	return 0;
}

int member__apply_to(struct member *m, struct store *s, uint64_t index, struct buf *result, struct err *e)
{
	struct log_entry *le = log_get(&m->log, index);
	struct str data;
	int rc;

	if (!le)
		return err_set(e, ERR_INTERNAL, "log entry %" PRIu64 " is not kept", index);
	rc = log_data(&m->log, index, &data, e);
	if (rc != 0)
		return rc;
	if (le->type == RAFT_COMMAND)
		return store_apply(s, index, le->term, data, result, e);
	if (le->type == RAFT_CHANGE)
		rc = save_conf(s, index, data, e);
	return rc ? rc : store_skip(s, index, le->term, e);
}

static int apply_entry(struct member *m, uint64_t index, struct proposal **next, struct answers *a, struct list *confs,
		       struct err *e)
{
	struct log_entry *le = log_get(&m->log, index);
	size_t start = a->bytes.n;
	int rc = member__apply_to(m, m->store, index, wanted(*next, index) ? &a->bytes : NULL, e);

	if (rc == 0 && le->type == RAFT_CHANGE) {
		struct str data;

		rc = log_data(&m->log, index, &data, e);
		if (rc == 0)
			rc = note_conf(confs, index, data, e);
		if (rc == 0) {
			buf_clear(&m->conf);
			buf_adds(&m->conf, data);
			m->conf_index = index;
		}
	}
	if (rc != 0)
		return rc;
	if (wanted(*next, index)) {
		a->at[a->n].index = index;
		a->at[a->n].start = start;
		a->at[a->n++].end = a->bytes.n;
		*next = (*next)->link.next == &m->pending ? NULL : container_of((*next)->link.next, struct proposal, link);
	}
	m->applied = index;
	m->applied_term = le->term;
	member__note_hash(m, index, store_batch_hash(m->store));
	return 0;
}

/*
 * May the store's transaction stay open for the next batch, though this one is answered? While nobody looks: no watcher, and no read
 * for a while. Then ten or a hundred batches share the pages that they change, on the leader and on followers, which have nothing
 * else to do with them. Whoever opens a view all the same has the store settled first.
 */
static bool may_linger(struct member *m, const struct list *confs)
{
	if (m->cfg.linger_ms == UINT_MAX || !list_empty(confs) || store_batch_pages(m->store) > LINGER_MAX_PAGES)
		return false;
	return m->cfg.linger_always || (member__now(m) >= m->linger_after && !store_is_watched(m->store));
}

static int end_batch(struct member *m, const struct list *confs, struct err *e)
{
	int rc;

	if (may_linger(m, confs)) {
		store_seal(m->store);
		m->settle_at = MIN(m->settle_at, member__now(m) + m->cfg.linger_ms);
		return 0;
	}
	rc = store_commit(m->store, e);
	m->settle_at = UINT64_MAX;
	return rc;
}

/* The store fell back to its last commit: what was applied since is in the log. */
static void follow_store(struct member *m)
{
	m->applied = store_applied(m->store).index;
	m->applied_term = store_applied(m->store).term;
	m->settle_at = UINT64_MAX;
}

bool member__settle(struct member *m)
{
	struct err e = ERR_INIT;

	m->settle_at = UINT64_MAX;
	/* Also when somebody else on this thread had it committed, and that failed: nothing may be read as if it were there. */
	if (store_settle(m->store, &e) == 0 && store_applied(m->store).index != m->applied && !MUTANT(undone_unseen))
		err_set(&e, ERR_IO, "the store fell back to entry %" PRIu64, store_applied(m->store).index);
	if (e.code == ERR_OK)
		return true;
	follow_store(m);
	err_prefix(&e, "cannot commit what was applied after log entry %" PRIu64, m->applied);
	member__failed(m, &e);
	return false;
}

bool member__settle_for_read(struct member *m)
{
	m->linger_after = member__now(m) + LINGER_PAUSE_MS;
	return member__settle(m);
}

void member__settle_last(struct member *m)
{
	struct err e = ERR_INIT;

	if (store_settle(m->store, &e) != 0) {
		log_warn("raft", "cannot commit what was applied last: %s", e.text);
		follow_store(m);
	}
	m->settle_at = UINT64_MAX;
}

void member_view_wanted(struct member *m)
{
	(void)member__settle_for_read(m);
}

/* last: 0, or the entry up to which all is applied, and committed at once. *ret_at: the entry that could not be applied. */
static int apply_batch(struct member *m, uint64_t last, struct answers *a, struct list *confs, uint64_t *ret_at, struct err *e)
{
	struct proposal *next = list_empty(&m->pending) ? NULL : LIST_FIRST(&m->pending, struct proposal, link);
	int rc = store_begin(m->store, e);
	size_t before;

	if (rc != 0)
		return rc;
	before = store_batch_bytes(m->store);
	/* What lingered was undone, by a commit for somebody else's sake that failed. */
	if (store_applied(m->store).index != m->applied)
		rc = err_set(e, ERR_IO, "the store fell back to entry %" PRIu64, store_applied(m->store).index);
	for (unsigned n = 0; rc == 0 && m->applied < (last ? last : m->commit) && (last || n < APPLY_MAX_ENTRIES); n++) {
		*ret_at = m->applied + 1;
		rc = apply_entry(m, m->applied + 1, &next, a, confs, e);
		if (!last && store_batch_bytes(m->store) - before > APPLY_MAX_BYTES)
			break;
	}
	if (rc == 0 && last)
		rc = store_commit(m->store, e);
	else if (rc == 0)
		rc = end_batch(m, confs, e);
	else
		store_rollback(m->store);
	return rc;
}

void member__check_ready(struct member *m)
{
	if (m->ready || m->stopped || m->state != RAFT_LEADER || m->applied_term != raft_current_term(&m->raft))
		return;
	m->ready = true;
	m->dirty = true;
	m->n_history = 0;
	m->history_at = 0;
	m->lease_retry_at = 0;
	m->lease_checkpoint_at = member__now(m) + m->cfg.lease_checkpoint_ms;
	store_leases_promote(m->store, member__now(m), m->cfg.election_ms);
	member__arm_by(m, member__now(m));
}

static void forget_confs(struct list *confs)
{
	LIST_FOR_EACH_SAFE (c, next, confs, struct committed_conf, link) {
		list_del(&c->link);
		raft_configuration_close(&c->conf);
		free(c);
	}
}

/*
 * A batch, or as much of it as can be applied. One entry that meets damage undoes the others of its transaction, those that lingered and
 * were answered, too: they are applied once more, without it. Then nothing that was answered is missing while the member waits to be mended.
 */
static int apply_some(struct member *m, struct answers *a, struct list *confs, struct err *e)
{
	uint64_t at = 0;
	int rc = apply_batch(m, 0, a, confs, &at, e);

	if (rc == -(int)ERR_CORRUPT && at > store_applied(m->store).index + 1) {
		struct err why = *e;

		follow_store(m);
		a->n = 0;
		buf_clear(&a->bytes);
		err_clear(e);
		rc = list_empty(confs) ? 0 : member__load_conf(m, e);
		forget_confs(confs);
		if (rc == 0)
			rc = apply_batch(m, at - 1, a, confs, &at, e);
		/* The next turn meets the damage again, and only that. */
		if (rc == 0)
			log_debug("raft", "%s", why.text);
	}
	return rc;
}

void member__apply(struct member *m)
{
	struct answers a = {.bytes = BUF_INIT};
	struct list confs;
	struct err e = ERR_INIT;

	if (m->applied >= m->commit || m->apply_stuck) {
		member__check_ready(m);
		return;
	}
	list_init(&confs);
	a.at = xcalloc(MIN(m->commit - m->applied, APPLY_MAX_ENTRIES), sizeof(*a.at));
	if (apply_some(m, &a, &confs, &e) != 0) {
		/* Undone in the store, so undone here as well. */
		follow_store(m);
		a.n = 0;
		err_prefix(&e, "cannot apply log entry %" PRIu64, m->applied + 1);
		if (!member__stuck(m, &e))
			member__failed(m, &e);
	}
	for (size_t i = 0; i < a.n && member__runs(m); i++)
		member__answer(m, a.at[i].index, str_of(a.bytes.p + a.at[i].start, a.at[i].end - a.at[i].start));
	LIST_FOR_EACH_SAFE (c, cnext, &confs, struct committed_conf, link) {
		list_del(&c->link);
		if (!member__runs(m) || m->apply_stuck)
			raft_configuration_close(&c->conf);
		else
			member__conf_committed(m, c->index, &c->conf);
		free(c);
	}
	free(a.at);
	buf_fini(&a.bytes);
	if (!member__runs(m))
		return;
	m->dirty = true;
	member__note_peers(m);
	member__check_ready(m);
	member__reads_applied(m);
	if (m->ready && store_leases_next(m->store) != UINT64_MAX)
		member__arm_by(m, MAX(store_leases_next(m->store), m->lease_retry_at));
	if (m->applied < m->commit && !m->apply_stuck)
		member__kick(m);
}

/* --- Checkpoints ----------------------------------------------------------------------------------------------- */

struct checkpoint_work {
	struct member_work work;
	struct store_checkpoint *checkpoint;
	struct raft_snapshot_metadata meta;
	uint64_t mark;
};

static void checkpoint_fn(struct member_work *w)
{
	struct checkpoint_work *c = container_of(w, struct checkpoint_work, work);

	w->rc = store_checkpoint_sync(c->checkpoint, &w->err);
}

/*
 * The oldest entry to keep: some bytes for members that lag a little, and what a transfer or a copy under way needs, up to a
 * limit: one that takes so long that the log behind it grows past that begins again.
 */
static uint64_t keep_from(const struct member *m, uint64_t index)
{
	uint64_t keep = index + 1, bytes = 0, needed = MIN(member__snap_keep(m), member__defrag_keep(m));

	while (keep > m->log.first && (bytes < m->cfg.trailing_bytes || (keep > needed && bytes < m->cfg.max_log_bytes)))
		bytes += log_get(&m->log, --keep)->size + 64;
	/* What is damaged can be sent to nobody. */
	return MAX(keep, MIN(member__files_cut(m), index) + 1);
}

/* The log before the checkpoint is not needed any more. */
static void cut_log(struct member *m, struct checkpoint_work *c)
{
	struct raft_event ev = {.type = RAFT_SNAPSHOT, .snapshot = {.metadata = c->meta}};
	uint64_t index = c->meta.index;
	struct err e = ERR_INIT;

	/* A snapshot was installed meanwhile: the core's log begins behind this checkpoint already. At the same index more of it may go. */
	if (!member__runs(m) || index < m->raft.trail.snapshot.index || (index == m->raft.trail.snapshot.index && !member__files_cut(m)) || log_term(&m->log, index) != c->meta.term) {
		raft_configuration_close(&c->meta.configuration);
		return;
	}
	ev.snapshot.trailing = (unsigned)(index + 1 - keep_from(m, index));
	member__step(m, &ev);
	log_drop_before(&m->log, m->raft.trail.offset + 1);
	if (wal_drop_before(&m->wal, m->log.first, &e) != 0)
		member__disk_failed(m, &e);
}

static void checkpoint_done(struct member_work *w)
{
	struct checkpoint_work *c = container_of(w, struct checkpoint_work, work);
	struct member *m = w->member;

	m->checkpoint = NULL;
	m->n_work--;
	store_checkpoint_end(c->checkpoint, w->rc == 0);
	if (w->rc != 0) {
		err_prefix(&w->err, "cannot checkpoint the store");
		member__disk_failed(m, &w->err);
	} else {
		m->checkpoint_mark = c->mark;
		member__defrag_checkpointed(m);
	}
	cut_log(m, c);
	free(c);
	member__kick(m);
}

static void start_checkpoint(struct member *m)
{
	struct checkpoint_work *c = xcalloc(1, sizeof(*c));
	struct raft_buffer raw = {m->conf.p, m->conf.n};
	struct err e = ERR_INIT;

	if (!member__settle(m)) {
		free(c);
		return;
	}
	if (store_checkpoint_begin(m->store, &c->checkpoint, &e) != 0) {
		free(c);
		if (e.code != ERR_UNAVAILABLE)
			member__failed(m, &e);
		return;
	}
	c->work = (struct member_work){.fn = checkpoint_fn, .done = checkpoint_done, .member = m};
	c->mark = m->wal_written;
	c->meta.index = m->applied;
	c->meta.term = m->applied_term;
	c->meta.configuration_index = m->conf_index;
	ASSERT(raft_configuration_decode(&raw, &c->meta.configuration) == 0);
	m->checkpoint = c;
	m->scrub.wants_checkpoint = false;
	member__work(m, &c->work);
}

void member__maybe_checkpoint(struct member *m)
{
	/* Not ahead of our own durable log: then a restart finds both in line. */
	/* The configuration at hand may be one of an entry that was undone. */
	if (m->apply_stuck)
		return;
	if (m->checkpoint || (m->install && !member__snap_mends(m)) || m->stopped || m->applied == 0 || m->raft.last_stored < m->applied ||
	    (m->wal_written - m->checkpoint_mark < m->cfg.checkpoint_bytes && !store_checkpoint_due(m->store) && !m->scrub.wants_checkpoint) ||
	    (store_checkpointed(m->store).index == m->applied && !member__defrag_wants_checkpoint(m) && !m->scrub.wants_checkpoint))
		return;
	start_checkpoint(m);
}

/* --- Upkeep ---------------------------------------------------------------------------------------------------- */

void member__propose_command(struct member *m, Raftpb__Command *cmd)
{
	struct buf bytes = BUF_INIT;
	size_t size;

	cmd->origin = m->id;
	cmd->time_ms = m->ops->wall(m);
	size = protobuf_c_message_get_packed_size(&cmd->base);
	protobuf_c_message_pack(&cmd->base, (uint8_t *)buf_reserve(&bytes, size));
	buf_advance(&bytes, size);
	member__propose_internal(m, buf_str(&bytes));
	buf_fini(&bytes);
}

static void revoke_expired(struct member *m, uint64_t now)
{
	int64_t ids[256];
	size_t n;

	if (now < m->lease_retry_at)
		return;
	n = store_leases_expired(m->store, now, ids, ARRAY_LEN(ids));
	for (size_t i = 0; i < n; i++) {
		Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
		Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;

		revoke.id = ids[i];
		cmd.op_case = RAFTPB__COMMAND__OP_LEASE_REVOKE;
		cmd.lease_revoke = &revoke;
		member__propose_command(m, &cmd);
	}
	/* A revocation takes one write; ask again for what is still there only after a while. */
	if (n > 0)
		m->lease_retry_at = now + (n == ARRAY_LEN(ids) ? 50 : 500);
}

static void propose_compaction(struct member *m, int64_t revision)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

	if (revision <= 0 || revision <= store_compact_revision(m->store) || revision > store_revision(m->store))
		return;
	compaction.revision = revision;
	cmd.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	cmd.compaction = &compaction;
	member__propose_command(m, &cmd);
}

static void compact_revisions(struct member *m, uint64_t now)
{
	if (m->cfg.compact_keep_revisions <= 0 || now < m->revisions_at)
		return;
	m->revisions_at = now + COMPACT_REVISIONS_MS;
	propose_compaction(m, store_revision(m->store) - m->cfg.compact_keep_revisions);
}

/* Keep `compact_keep_ms` of history: remember the revision now and then, compact to the newest that is old enough. */
static void compact_history(struct member *m, uint64_t now)
{
	int64_t target = 0;
	size_t n = m->n_history, old = 0;

	if (m->cfg.compact_keep_ms == UINT_MAX || now < m->history_at)
		return;
	m->history_at = now + MAX(m->cfg.compact_keep_ms / 8, 1);
	while (old < n && m->history[old].at + m->cfg.compact_keep_ms <= now)
		target = m->history[old++].revision;
	if (old > 0)
		memmove(m->history, m->history + old, (n - old) * sizeof(m->history[0]));
	m->n_history = n - old;
	if (m->n_history < ARRAY_LEN(m->history)) {
		m->history[m->n_history].at = now;
		m->history[m->n_history++].revision = store_revision(m->store);
	}
	propose_compaction(m, target);
}

static void raise_alarm(struct member *m)
{
	struct store_stats stats;
	struct err e = ERR_INIT;
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

	if (!store_over_quota(m->store) || !member__settle(m) || store_stats(m->store, &stats, &e) != 0 || stats.alarm_nospace)
		return;
	alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
	alarm.memberid = m->id;
	cmd.op_case = RAFTPB__COMMAND__OP_ALARM;
	cmd.alarm = &alarm;
	log_warn("raft", "the store is over its quota: puts are refused from now on bytes=%" PRIu64 " quota=%" PRIu64,
		 stats.in_use_bytes, stats.quota_bytes);
	member__propose_command(m, &cmd);
}

/*
 * A member whose own removal is in its log, but who hears nothing any more, cannot know whether it was committed, and is
 * not asked for votes either; and one without a vote never asks for any, so nobody would know of it. A member that hears
 * from a stranger tells it.
 */
static void ask_whether_removed(struct member *m, uint64_t now)
{
	struct msg out = {.kind = MSG_PROBE};

	if (m->state == RAFT_LEADER || (!m->was_member && !member__server(m, m->id)) || member__is_voter(m, m->id) ||
	    now - m->last_contact < 2 * m->cfg.election_ms)
		return;
	out.probe.term = raft_current_term(&m->raft);
	for (unsigned i = 0; i < m->raft.configuration.n; i++)
		member__send(m, m->raft.configuration.servers[i].id, &out);
}

void member__upkeep(struct member *m, uint64_t now)
{
	struct err e = ERR_INIT;
	bool more = false;

	member__health_tick(m, now);
	if (m->halted)
		return;
	member__look_for_damage(m);
	if (!member__runs(m))
		return;
	member__scrub_tick(m, now);
	member__files_tick(m, now);
	if (!member__runs(m))
		return;
	ask_whether_removed(m, now);
	member__resign_if_stuck(m, now);
	member__resign_if_witness(m, now);
	member__announce_self(m, now);
	if (m->ready) {
		revoke_expired(m, now);
		member__lease_checkpoints(m, now);
		compact_history(m, now);
		compact_revisions(m, now);
		raise_alarm(m);
		if (!member__runs(m))
			return;
		if (store_leases_next(m->store) != UINT64_MAX)
			member__arm_by(m, MAX(store_leases_next(m->store), m->lease_retry_at));
	}
	if (!m->halted && store_work(m->store, &more, &e) != 0) {
		member__failed(m, &e);
		return;
	}
	if (more)
		member__arm_by(m, now + 5);
}
