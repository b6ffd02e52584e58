/*
 * A member's start: the WAL is read into the log, log and store are brought in line, and the core begins with both.
 *
 * Either may be ahead of the other. A store that is older than the log has the rest applied again; one that is newer (the log
 * lost what was not synced, or still has a divergent tail) makes the log begin anew behind it, for what a store has is
 * committed. Files that cannot belong together are refused with what to do about it. A damaged log that others can replace is
 * mended first (member_disk.c). A member without any history writes the initial configuration, which is the same everywhere, as its
 * first entry.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/member-priv.h"

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

int member__start_core(struct member *m, struct err *e)
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

int member__load(struct member *m, struct err *e)
{
	struct loader l = {.reader = {.entry = load_entry, .reset = load_reset}, .m = m};
	int rc;

	m->applied = store_applied(m->store).index;
	rc = member__load_conf(m, e);
	if (rc != 0)
		return rc;
	member__load_forgetful(m);
	rc = open_wal(m, &l.reader, e);
	while (rc == -(int)ERR_CORRUPT && m->wal.damaged_segment) {
		struct err why = *e;

		err_clear(e);
		rc = wal_begin_later(m->cfg.disk, m->wal.damaged_segment, store_checkpointed(m->store).index, e);
		if (rc != 0) {
			*e = why;
			rc = -(int)ERR_CORRUPT;
			break;
		}
		log_error("wal", "%s", why.text);
		log_reset(&m->log, 0);
		l = (struct loader){.reader = l.reader, .m = m};
		rc = open_wal(m, &l.reader, e);
	}
	if (rc == -(int)ERR_CORRUPT && m->wal.damaged_segment) {
		rc = member__repair_log(m, e);
		log_reset(&m->log, 0);
		l = (struct loader){.reader = l.reader, .m = m};
		if (rc == 0)
			rc = open_wal(m, &l.reader, e);
	}
	if (rc != 0)
		return rc;
	rc = member__pair_term(m, e);
	if (rc != 0)
		return rc;
	rc = join_log_and_store(m, &l, e);
	if (rc == 0 && m->applied == 0 && m->log.last < m->log.first && m->cfg.n_initial > 0 && !m->forgetful)
		rc = bootstrap(m, e);
	if (rc == 0)
		rc = lone_voter_term(m, e);
	return rc;
}
