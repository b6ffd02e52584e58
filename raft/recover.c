#include "raft/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "raft/addrs.h"
#include "raft/bytes.h"
#include "raft/disk.h"
#include "raft/member-priv.h"
#include "raft/stable.h"
#include "raft/wal.h"
#include "store/store.h"

/* There while a recovery is under way, so that one that was cut off is known as such. */
#define MARK_NAME "recovering"

/* The configuration that the member begins with, as member_apply.c keeps it. */
static int put_conf(struct store *s, const struct raft_configuration *conf, struct err *e)
{
	struct buf blob = BUF_INIT;
	struct raft_buffer raw;
	int rc;

	ASSERT(raft_configuration_encode(conf, &raw) == 0);
	add_u64(&blob, store_applied(s).index);
	buf_add(&blob, raw.base, raw.len);
	raft_free(raw.base);
	rc = store_begin(s, e);
	if (rc == 0) {
		rc = store_blob_put(s, true, MEMBER_CONF_BLOB, buf_str(&blob), e);
		if (rc == 0)
			rc = store_commit(s, e);
		else
			store_rollback(s);
	}
	buf_fini(&blob);
	return rc;
}

static int bump(struct store *s, int64_t by, struct err *e)
{
	int rc = store_begin(s, e);

	if (rc != 0)
		return rc;
	rc = store_bump_revision(s, by, e);
	if (rc == 0)
		return store_commit(s, e);
	store_rollback(s);
	return rc;
}

static void add_voter(struct raft_configuration *conf, uint64_t id, const struct kv_member *who)
{
	char address[MEMBER_ADDRESS_MAX];

	member__format_address(address, who);
	ASSERT(raft_configuration_add(conf, id, address, RAFT_VOTER) == 0);
}

/* raft/ of a member that begins with what its store has. */
static int write_identity(struct disk *d, struct stable *s, uint64_t cluster_id, uint64_t member_id, const char *name, uint64_t term,
			  struct err *e)
{
	int rc = stable_open(s, d, e);

	if (rc != 0)
		return rc;
	rc = stable_save_vote(s, MAX(s->term, term), 0, e);
	/* "Joined": it never begins a cluster from a list of initial members. */
	if (rc == 0)
		rc = stable_save_member(s, cluster_id, member_id, name, true, e);
	stable_close(s);
	return rc;
}

/* --- From a snapshot ------------------------------------------------------------------------------------------------- */

static int check_list(const struct kv_restore_cfg *cfg, struct err *e)
{
	bool self = false;

	for (size_t i = 0; i < cfg->n_initial; i++) {
		self = self || strcmp(cfg->initial[i].name, cfg->name) == 0;
		for (size_t j = 0; j < i; j++)
			if (strcmp(cfg->initial[i].name, cfg->initial[j].name) == 0 || addrs_meet(str_from(cfg->initial[i].addr), str_from(cfg->initial[j].addr)))
				return err_set(e, ERR_INVALID, "members \"%s\" and \"%s\" of the list are the same", cfg->initial[j].name,
					       cfg->initial[i].name);
	}
	if (!self)
		return err_set(e, ERR_INVALID, "this member, \"%s\", is not in the list of initial members", cfg->name);
	return 0;
}

static int restore_store(const char *dir, const struct kv_restore_cfg *cfg, const char *path, uint64_t cluster, struct snapfile_info *info,
			 struct err *e)
{
	struct store_cfg sc = {.dir = dir, .cluster_id = cluster, .member_id = member_initial_id(cluster, cfg->name)};
	struct raft_configuration conf;
	struct store *s;
	int rc = snapfile_restore(path, &sc, info, e);

	if (rc == 0)
		rc = store_open(&sc, &s, e);
	if (rc != 0)
		return rc;
	raft_configuration_init(&conf);
	for (size_t i = 0; i < cfg->n_initial; i++) {
		struct kv_member who = {.witness = cfg->initial[i].witness};

		member__copy(who.name, sizeof(who.name), str_from(cfg->initial[i].name));
		member__copy(who.addr, sizeof(who.addr), str_from(cfg->initial[i].addr));
		member__copy(who.url, sizeof(who.url), str_from(cfg->initial[i].url));
		member__copy(who.zone, sizeof(who.zone), str_from(cfg->initial[i].zone));
		add_voter(&conf, member_initial_id(cluster, cfg->initial[i].name), &who);
	}
	rc = bump(s, cfg->bump, e);
	if (rc == 0)
		rc = put_conf(s, &conf, e);
	raft_configuration_close(&conf);
	if (rc == 0)
		rc = store_checkpoint(s, e);
	store_abandon(s);
	return rc;
}

static int restore(const struct kv_restore_cfg *cfg, const char *path, const char *store_dir, const char *raft_dir, struct snapfile_info *info,
		   struct err *e)
{
	struct disk_posix disk;
	struct stable stable;
	uint64_t cluster;
	char token[128];
	int rc = snapfile_check(path, info, e);

	if (rc != 0)
		return rc;
	if (info->applied.index == 0)
		return err_set(e, ERR_INVALID, "%s is the snapshot of an empty store", path);
	rc = store_bump_check(info->revision, cfg->bump, e);
	if (rc != 0)
		return rc;
	/* The same for all that are made from this file in this way; another one for each file. */
	snprintf(token, sizeof(token), "restored %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64, info->cluster_id, info->applied.index,
		 info->created_ms, (uint64_t)cfg->bump);
	cluster = member_cluster_id(cfg->initial, cfg->n_initial, token);
	rc = restore_store(store_dir, cfg, path, cluster, info, e);
	if (rc != 0)
		return rc;
	if (mkdir(raft_dir, 0700) != 0 && errno != EEXIST)
		return err_set_errno(e, errno, "cannot make %s", raft_dir);
	rc = disk_posix_init(&disk, raft_dir, false);
	if (rc < 0)
		return err_set_errno(e, -rc, "cannot open %s", raft_dir);
	rc = write_identity(&disk.disk, &stable, cluster, member_initial_id(cluster, cfg->name), cfg->name, info->applied.term, e);
	disk_posix_fini(&disk);
	return rc;
}

int kv_restore(const struct kv_restore_cfg *given, const char *path, struct snapfile_info *ret, struct err *e)
{
	_cleanup_(freep) char *store_dir = xasprintf("%s/store", given->data_dir);
	_cleanup_(freep) char *raft_dir = xasprintf("%s/raft", given->data_dir);
	_cleanup_(freep) char *member = xasprintf("%s/member", raft_dir);
	struct kv_peer alone = {.name = given->name, .addr = given->addr, .url = given->url};
	struct kv_restore_cfg cfg = *given;
	int rc;

	if (!cfg.n_initial) {
		cfg.initial = &alone;
		cfg.n_initial = 1;
	}
	rc = check_list(&cfg, e);
	if (rc != 0)
		return rc;
	if (access(member, F_OK) == 0 || access(store_dir, F_OK) == 0)
		return err_set(e, ERR_ALREADY_EXISTS, "%s has a member already: move raft/ and store/ away, or give another directory",
			       cfg.data_dir);
	if (mkdir(cfg.data_dir, 0700) != 0 && errno != EEXIST)
		return err_set_errno(e, errno, "cannot make %s", cfg.data_dir);
	return restore(&cfg, path, store_dir, raft_dir, ret, e);
}

/* --- From a survivor --------------------------------------------------------------------------------------------------- */

struct entry {
	uint64_t term;
	uint8_t type;
	char *data;
	size_t size;
};

struct survivor {
	const struct kv_recover_cfg *cfg;
	struct kv_recover_report *report;
	struct disk_posix disk;
	struct stable stable;
	struct store *store;
	int lock_fd;
	bool disk_open, stable_open;
	/* The log: entries[i] is first + i. */
	struct wal_reader reader;
	struct entry *entries;
	uint64_t first;
	size_t n, cap;
	struct buf conf; /* the newest configuration */
};

static void cut(struct survivor *s, size_t n)
{
	while (s->n > n)
		free(s->entries[--s->n].data);
}

static void on_reset(struct wal_reader *r, uint64_t index, uint64_t term _unused_)
{
	struct survivor *s = container_of(r, struct survivor, reader);

	cut(s, 0);
	s->first = index + 1;
}

static void on_entry(struct wal_reader *r, uint64_t index, uint64_t term, uint8_t type, struct str data, struct wal_pos pos _unused_)
{
	struct survivor *s = container_of(r, struct survivor, reader);

	if (s->n == 0 || index < s->first) {
		cut(s, 0);
		s->first = index;
	}
	cut(s, (size_t)(index - s->first));
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->entries = xrealloc(s->entries, s->cap * sizeof(*s->entries));
	}
	s->entries[s->n] = (struct entry){.term = term, .type = type, .data = xmalloc(data.n + 1), .size = data.n};
	memcpy(s->entries[s->n++].data, data.p ? data.p : "", data.n);
}

static int open_survivor(struct survivor *s, struct err *e)
{
	_cleanup_(freep) char *raft_dir = xasprintf("%s/raft", s->cfg->data_dir);
	_cleanup_(freep) char *store_dir = xasprintf("%s/store", s->cfg->data_dir);
	_cleanup_(freep) char *lock = xasprintf("%s/lock", raft_dir);
	struct store_cfg sc = {.dir = store_dir};
	int rc;

	if (access(store_dir, F_OK) != 0 || access(raft_dir, F_OK) != 0)
		return err_set(e, ERR_NOT_FOUND, "%s is no data directory of a member: it has no raft/ and store/", s->cfg->data_dir);
	s->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set_errno(e, errno, "cannot open %s", lock);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "a process uses %s: stop the server first", s->cfg->data_dir);
	rc = disk_posix_init(&s->disk, raft_dir, false);
	if (rc < 0)
		return err_set_errno(e, -rc, "cannot open %s", raft_dir);
	s->disk_open = true;
	rc = stable_open(&s->stable, &s->disk.disk, e);
	if (rc != 0)
		return rc;
	s->stable_open = true;
	if (!s->stable.has_member)
		return err_set(e, ERR_NOT_FOUND, "%s has no member", s->cfg->data_dir);
	return store_open(&sc, &s->store, e);
}

static void close_survivor(struct survivor *s)
{
	store_abandon(s->store);
	if (s->stable_open)
		stable_close(&s->stable);
	if (s->disk_open)
		disk_posix_fini(&s->disk);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	cut(s, 0);
	free(s->entries);
	buf_fini(&s->conf);
}

/* The log's entries. A damaged end is no reason to stop: what is before it is what is left. */
static int read_log(struct survivor *s, struct err *e)
{
	struct wal wal = {.mark_fd = -1};
	struct err why = ERR_INIT;
	int rc;

	s->reader = (struct wal_reader){.entry = on_entry, .reset = on_reset};
	rc = wal_open(&wal, &s->disk.disk, s->stable.cluster_id, s->stable.member_id, 0, WAL_TRUST_ALL, &s->reader, &why);
	if (rc == 0)
		wal_close(&wal);
	else if (rc == -(int)ERR_CORRUPT)
		snprintf(s->report->damage, sizeof(s->report->damage), "%s", why.text);
	else if (e)
		*e = why;
	return rc == -(int)ERR_CORRUPT ? 0 : rc;
}

static int load_conf(struct survivor *s, struct err *e)
{
	struct buf blob = BUF_INIT;
	struct raft_configuration conf;
	struct raft_buffer raw;
	int rc = store_blob_get(s->store, true, MEMBER_CONF_BLOB, &blob, NULL);

	if (rc == 0 && blob.n > 8)
		buf_add(&s->conf, blob.p + 8, blob.n - 8);
	buf_fini(&blob);
	for (size_t i = 0; i < s->n; i++)
		if (s->entries[i].type == RAFT_CHANGE) {
			buf_clear(&s->conf);
			buf_add(&s->conf, s->entries[i].data, s->entries[i].size);
		}
	raw = (struct raft_buffer){s->conf.p, s->conf.n};
	if (raw.len == 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "this member never learned who is in its cluster: it has nothing to recover");
	if (!msg_conf_ok(buf_str(&s->conf)) || raft_configuration_decode(&raw, &conf) != 0)
		return err_set(e, ERR_CORRUPT, "the member configuration cannot be read");
	for (unsigned i = 0; i < conf.n && i < KV_MAX_MEMBERS; i++) {
		struct kv_member *m = &s->report->members[s->report->n_members++];

		m->id = conf.servers[i].id;
		m->role = conf.servers[i].role == RAFT_VOTER ? KV_VOTER : KV_LEARNER;
		m->self = m->id == s->stable.member_id;
		member__parse_address(conf.servers[i].address, m);
	}
	raft_configuration_close(&conf);
	return 0;
}

static int apply_log(struct survivor *s, struct err *e)
{
	uint64_t index = store_applied(s->store).index + 1, end = s->first + s->n;
	int rc = 0;

	if (s->n > 0 && s->first > index)
		return err_set(e, ERR_CORRUPT, "the log begins at entry %" PRIu64 ", but the store is at %" PRIu64, s->first, index - 1);
	while (rc == 0 && index < end) {
		rc = store_begin(s->store, e);
		for (unsigned n = 0; rc == 0 && index < end && n < 256 && store_batch_bytes(s->store) < (4u << 20); n++, index++) {
			const struct entry *en = &s->entries[index - s->first];

			rc = en->type == RAFT_COMMAND
				     ? store_apply(s->store, index, en->term, str_of(en->data, en->size), NULL, e)
				     : store_skip(s->store, index, en->term, e);
			if (rc != 0)
				store_rollback(s->store);
		}
		if (rc == 0)
			rc = store_commit(s->store, e);
	}
	return rc;
}

static int rename_store(struct survivor *s, struct err *e)
{
	struct kv_recover_report *r = s->report;
	struct raft_configuration conf;
	struct kv_member self = {0};
	int rc;

	for (size_t i = 0; i < r->n_members; i++)
		if (r->members[i].self)
			self = r->members[i];
	member__copy(self.name, sizeof(self.name), str_from(r->name));
	if (s->cfg->addr || !self.addr[0])
		member__copy(self.addr, sizeof(self.addr), str_from(s->cfg->addr ? s->cfg->addr : "local"));
	if (s->cfg->url)
		member__copy(self.url, sizeof(self.url), str_from(s->cfg->url));
	self.learner = false;
	self.claim = 0;
	r->new_cluster_id = member__as_id(random_u64());
	raft_configuration_init(&conf);
	add_voter(&conf, member_initial_id(r->new_cluster_id, r->name), &self);
	rc = bump(s->store, s->cfg->bump, e);
	if (rc == 0)
		rc = put_conf(s->store, &conf, e);
	raft_configuration_close(&conf);
	/* The checkpoint in it makes all of this durable at once, or nothing. */
	return rc ? rc : store_set_ids(s->store, r->new_cluster_id, member_initial_id(r->new_cluster_id, r->name), e);
}

static void on_name(void *arg, const char *name)
{
	struct disk *d = arg;
	char old[64];
	size_t n = strlen(name);

	if (n == 12 && strcmp(name + 8, ".wal") == 0) {
		snprintf(old, sizeof(old), "%s.old", name);
		d->ops->rename(d, name, old);
	}
	if (strcmp(name, MARK_NAME) == 0 || strcmp(name, "durable") == 0 || strcmp(name, "reserve.wal") == 0 || strcmp(name, "forgetful") == 0 ||
	    strcmp(name, "settled") == 0 ||
	    strcmp(name, "peers") == 0 || strcmp(name, "rejoin") == 0)
		d->ops->unlink(d, name);
}

static int finish(struct survivor *s, struct err *e)
{
	struct kv_recover_report *r = s->report;
	struct disk *d = &s->disk.disk;
	uint64_t term = MAX(s->stable.term, store_applied(s->store).term) + 1;
	int rc;

	stable_close(&s->stable);
	s->stable_open = false;
	rc = write_identity(d, &s->stable, r->new_cluster_id, member_initial_id(r->new_cluster_id, r->name), r->name, term, e);
	if (rc != 0)
		return rc;
	rc = d->ops->list(d, on_name, d);
	if (rc >= 0)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? err_set_errno(e, -rc, "cannot put the old log aside") : 0;
}

static bool marked(struct survivor *s)
{
	int fd = s->disk.disk.ops->open(&s->disk.disk, MARK_NAME, false);

	if (fd >= 0)
		s->disk.disk.ops->close(&s->disk.disk, fd);
	return fd >= 0;
}

static int mark(struct survivor *s, struct err *e)
{
	struct disk *d = &s->disk.disk;
	int fd = d->ops->open(d, MARK_NAME, true), rc = fd < 0 ? fd : d->ops->sync_dir(d);

	if (fd >= 0)
		d->ops->close(d, fd);
	return rc < 0 ? err_set_errno(e, -rc, "cannot write raft/" MARK_NAME) : 0;
}

static int recover(struct survivor *s, struct err *e)
{
	struct kv_recover_report *r = s->report;
	uint64_t cluster = store_cluster_id(s->store);
	int rc;

	r->old_cluster_id = s->stable.cluster_id;
	r->old_member_id = s->stable.member_id;
	r->term = s->stable.term;
	memcpy(r->name, s->stable.name, sizeof(r->name));
	r->checkpoint_index = store_applied(s->store).index;
	/* An earlier run got as far as the store: it says which ids are the new ones. */
	r->resumed = cluster != s->stable.cluster_id;
	r->new_cluster_id = r->resumed ? cluster : 0;
	rc = r->resumed ? 0 : read_log(s, e);
	if (rc == -(int)ERR_FAILED_PRECONDITION && marked(s)) {
		/* Or as far as the identity: the log is the old cluster's. */
		r->resumed = true;
		r->new_cluster_id = cluster;
		rc = 0;
	}
	if (rc == 0)
		rc = load_conf(s, e);
	r->last_index = s->n ? MAX(s->first + s->n - 1, r->checkpoint_index) : r->checkpoint_index;
	r->revision = store_revision(s->store);
	if (rc == 0)
		rc = store_bump_check(r->revision, s->cfg->bump, e);
	if (rc != 0 || s->cfg->dry_run)
		return rc;
	rc = mark(s, e);
	if (rc == 0 && !r->resumed)
		rc = apply_log(s, e);
	if (rc == 0 && !r->resumed)
		rc = rename_store(s, e);
	r->revision = store_revision(s->store);
	return rc ? rc : finish(s, e);
}

int kv_recover(const struct kv_recover_cfg *cfg, struct kv_recover_report *ret, struct err *e)
{
	struct survivor s = {.cfg = cfg, .report = ret, .lock_fd = -1};
	int rc;

	memset(ret, 0, sizeof(*ret));
	buf_init(&s.conf, BUF_NO_LIMIT);
	rc = open_survivor(&s, e);
	if (rc == 0)
		rc = recover(&s, e);
	close_survivor(&s);
	return rc;
}
