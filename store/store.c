#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/util.h"
#include "store/auth.h"
#include "store/store-priv.h"

#define DEFAULT_MAP ((uint64_t)16 << 30)
#define DEFAULT_QUOTA ((uint64_t)2 << 30)
#define DEFAULT_READERS 512
/* Changes looked at by compaction with each commit, and in one idle slice. */
#define COMPACT_PER_COMMIT 256
#define COMPACT_PER_SLICE 2048
#define QUOTA_CHECK_EVERY 64
#define QUOTA_CHECK_BYTES (1u << 20)
/* Pages written (4 KiB) after which the mapping is let go of, and after which a checkpoint is due. */
#define TRIM_PAGES 2048
/* In idle moments: when that much was written since, or now and then for what readers have mapped in. */
#define TRIM_PAGES_IDLE 256
#define TRIM_EVERY_IDLE 32
#define CHECKPOINT_PAGES 8192

/* --- Opening ------------------------------------------------------------------------------------------ */

static int lock_dir(struct store *s, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/lock", s->dir);

	if (mkdir(s->dir, 0700) != 0 && errno != EEXIST)
		return err_set_errno(e, errno, "store: make %s", s->dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set_errno(e, errno, "store: open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: %s is in use by another process", s->dir);
	return 0;
}

/* Database files that the checkpoint does not name: an install that was cut off, or a first start that was. */
static int remove_others(const char *dir, uint64_t generation, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *ent;

	if (d == NULL)
		return err_set_errno(e, errno, "store: read %s", dir);
	while ((ent = readdir(d)) != NULL) {
		char *rest;
		uint64_t n;

		if (strncmp(ent->d_name, "db.", 3) != 0)
			continue;
		n = strtoull(ent->d_name + 3, &rest, 10);
		if (n == generation && generation != 0 && *rest == '\0')
			continue;
		(void)unlinkat(dirfd(d), ent->d_name, 0);
	}
	closedir(d);
	return 0;
}

static int check_ids(const struct store *s, const struct store_cfg *cfg, const struct checkpoint_file *c, struct err *e)
{
	if (cfg->cluster_id != 0 && c->cluster_id != 0 && cfg->cluster_id != c->cluster_id)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"store: %s belongs to cluster %016" PRIx64 ", not to %016" PRIx64
				": use the right directory or an empty one",
				s->dir, c->cluster_id, cfg->cluster_id);
	if (cfg->member_id != 0 && c->member_id != 0 && cfg->member_id != c->member_id)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"store: %s belongs to member %016" PRIx64 ", not to %016" PRIx64
				": use the right directory or an empty one",
				s->dir, c->member_id, cfg->member_id);
	return 0;
}

/* The first state of a new directory. */
static int write_first(struct store *s, const struct store_cfg *cfg, struct err *e)
{
	struct store_state st = {.cluster_id = cfg->cluster_id, .revision = 1, .compact = -1, .next_node = 1};
	struct store_local local = {.member_id = cfg->member_id, .compacted = -1};
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env->env, NULL, 0, &txn);

	if (rc != 0)
		return store__mdb_err(e, rc, "make the database");
	rc = store__state_save(s->env, txn, &st, e);
	if (rc == 0)
		rc = store__local_save(s->env, txn, &local, e);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	return rc ? store__mdb_err(e, rc, "make the database") : 0;
}

static int open_env(struct store *s, const struct store_cfg *cfg, bool *ret_fresh, struct err *e)
{
	struct checkpoint_file c = {0};
	_cleanup_(freep) char *path = NULL;
	int rc = store__checkpoint_read(s->dir, &c, e);

	*ret_fresh = rc == -ERR_NOT_FOUND;
	if (rc != 0 && !*ret_fresh)
		return rc;
	if (*ret_fresh)
		c.generation = 1;
	else
		rc = check_ids(s, cfg, &c, e);
	if (rc == 0 || *ret_fresh)
		rc = remove_others(s->dir, *ret_fresh ? 0 : c.generation, e);
	path = store__db_path(s->dir, c.generation);
	if (rc == 0 && !*ret_fresh)
		rc = store__checkpoint_restore(path, &c, e);
	if (rc == 0)
		rc = store__env_open(path, c.generation, s->map_size, s->max_readers, *ret_fresh, &s->env, e);
	if (rc == 0 && *ret_fresh)
		rc = write_first(s, cfg, e);
	s->durable = c.applied;
	free(c.meta);
	return rc;
}

void store__publish_figures(struct store *s)
{
	atomic_store(&s->pub_revision, s->state.revision);
	atomic_store(&s->pub_compact, s->state.compact);
	atomic_store(&s->pub_compacted, s->local.compacted);
	atomic_store(&s->pub_auth_revision, s->state.auth_revision);
	atomic_store(&s->pub_auth, s->state.auth);
	pthread_mutex_lock(&s->lock);
	s->pub_hash = (struct store_hash){s->state.index, s->state.hash};
	pthread_mutex_unlock(&s->lock);
}

int store__load(struct store *s, struct err *e)
{
	struct store_view *v;
	int rc = store_view_open(s, &v, e);

	if (rc != 0)
		return rc;
	rc = store__state_load(s->env, v->txn, &s->state, &s->local, e);
	s->committed = s->state;
	if (rc == 0)
		rc = store__lessor_load(s->lessor, v, e);
	if (rc == 0)
		rc = view_auth_revision(v, &s->state.auth_revision, e);
	s->committed.auth_revision = s->state.auth_revision;
	store_view_close(v);
	/* Users may have come and gone in a state that was installed: who holds a token shows the password again. */
	store__tokens_drop(s->tokens, NULL);
	if (rc == 0)
		store__publish_figures(s);
	return rc;
}

/* The state that was restored is what the next power loss goes back to: it must stay whole. */
static int pin_restored(struct store *s, struct err *e)
{
	uint32_t page_size;
	uint8_t *meta;
	int rc = store__checkpoint_pin(s->env, &s->pin, &meta, &page_size, e);

	if (rc != 0)
		return rc;
	free(meta);
	s->pin_env = store__env_get(s);
	return 0;
}

static void destroy(struct store *s)
{
	ASSERT(!s->in_batch && !store_is_sealed(s) && s->checkpoint == NULL && s->install == NULL);
	ASSERT(list_empty(&s->hubs));
	store__events_drop(s);
	store__pins_close(s);
	store__env_unref(s->env);
	store__lessor_free(s->lessor);
	store__tokens_free(s->tokens);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	buf_fini(&s->scratch);
	buf_fini(&s->response);
	arena_fini(&s->arena);
	pthread_cond_destroy(&s->settled_cond);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s);
}

static struct store *store_new(const struct store_cfg *cfg)
{
	struct store *s = xcalloc(1, sizeof(*s));

	s->dir = xstrdup(cfg->dir);
	s->lock_fd = -1;
	s->no_sync = cfg->no_sync;
	s->map_size = cfg->map_size ? cfg->map_size : DEFAULT_MAP;
	s->quota = cfg->quota_bytes ? cfg->quota_bytes : DEFAULT_QUOTA;
	s->max_readers = cfg->max_readers ? cfg->max_readers : DEFAULT_READERS;
	s->lessor = store__lessor_new();
	s->tokens = store__tokens_new();
	histogram_init(&s->commits, 0.001, 14);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->settled_cond, NULL);
	list_init(&s->hubs);
	buf_init(&s->scratch, BUF_NO_LIMIT);
	buf_init(&s->response, BUF_NO_LIMIT);
	arena_init(&s->arena);
	return s;
}

int store__shadow_new(const struct store *of, struct store_env *env, struct store **ret, struct err *e)
{
	struct store_cfg cfg = {.dir = of->dir, .map_size = of->map_size, .quota_bytes = of->quota, .max_readers = of->max_readers,
			.no_sync = of->no_sync};
	struct store *s = store_new(&cfg);
	int rc;

	ref_get(&env->ref);
	s->env = env;
	rc = store__load(s, e);
	if (rc != 0) {
		destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int store_open(const struct store_cfg *cfg, struct store **ret, struct err *e)
{
	struct store *s = store_new(cfg);
	bool fresh = false;
	int rc = lock_dir(s, e);

	if (rc == 0)
		rc = store__condemned(s->dir, e);
	if (rc == 0)
		rc = open_env(s, cfg, &fresh, e);
	if (rc == 0)
		rc = store__load(s, e);
	if (rc == 0 && fresh)
		rc = store_checkpoint(s, e);
	else if (rc == 0)
		rc = pin_restored(s, e);
	if (rc == 0 && ((cfg->cluster_id != 0 && s->state.cluster_id == 0) || (cfg->member_id != 0 && s->local.member_id == 0)))
		rc = store_set_ids(s, cfg->cluster_id, cfg->member_id, e);
	if (rc != 0) {
		destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void store_abandon(struct store *s)
{
	if (s == NULL)
		return;
	if (s->in_batch || store_is_sealed(s))
		store_rollback(s);
	destroy(s);
}

void store_close(struct store *s)
{
	struct err e = ERR_INIT;

	if (s == NULL)
		return;
	if (s->in_batch)
		store_rollback(s);
	if (store_settle(s, &e) != 0)
		log_error("store", "last commit failed: %s", e.text);
	if (!s->checkpoint_failed && s->durable.index != s->state.index && store_checkpoint(s, &e) != 0)
		log_error("store", "last checkpoint failed: %s", e.text);
	destroy(s);
}

int store_set_ids(struct store *s, uint64_t cluster_id, uint64_t member_id, struct err *e)
{
	int rc = store_begin(s, e);

	if (rc != 0)
		return rc;
	if (cluster_id != 0)
		s->writer.state.cluster_id = cluster_id;
	if (member_id != 0)
		s->local.member_id = member_id;
	rc = store_commit(s, e);
	return rc ? rc : store_checkpoint(s, e);
}

/* --- Batches --------------------------------------------------------------------------------------------- */

static int open_cursors(struct store *s, MDB_txn *txn)
{
	int rc = mdb_cursor_open(txn, s->env->dbi[DB_LOG], &s->log_cursor);

	if (rc != 0)
		return rc;
	rc = mdb_cursor_open(txn, s->env->dbi[DB_KEYS], &s->key_cursor);
	if (rc != 0)
		mdb_cursor_close(s->log_cursor);
	return rc;
}

static void close_cursors(struct store *s)
{
	mdb_cursor_close(s->log_cursor);
	mdb_cursor_close(s->key_cursor);
}

int store_begin(struct store *s, struct err *e)
{
	MDB_txn *txn;
	int rc;

	ASSERT(!s->in_batch);
	if (store_is_sealed(s)) {
		s->in_batch = true;
		return 0;
	}
	rc = mdb_txn_begin(s->env->env, NULL, 0, &txn);
	if (rc == 0) {
		rc = open_cursors(s, txn);
		if (rc != 0)
			mdb_txn_abort(txn);
	}
	if (rc != 0)
		return store__mdb_err(e, rc, "begin a batch");
	s->writer = (struct store_view){.env = s->env, .txn = txn, .state = s->state, .member_id = s->local.member_id};
	s->local_saved = s->local;
	s->batch_bytes = s->batch_writes = s->batch_appended = 0;
	pthread_mutex_lock(&s->lock);
	s->collect = !list_empty(&s->hubs);
	pthread_mutex_unlock(&s->lock);
	s->in_batch = true;
	return 0;
}

int store_skip(struct store *s, uint64_t index, uint64_t term, struct err *e)
{
	ASSERT(s->in_batch);
	if (index <= s->writer.state.index)
		return err_set(e, ERR_INTERNAL, "store: entry %" PRIu64 " after %" PRIu64 " was applied", index,
				s->writer.state.index);
	s->writer.state.index = index;
	s->writer.state.term = term;
	return 0;
}

/* The transaction is gone. What was sealed in it had counted already, so the writer's copies are read anew. */
static void undone(struct store *s)
{
	struct err e = ERR_INIT;

	s->in_batch = false;
	s->local = s->local_saved;
	store__lessor_rollback(s->lessor);
	store__events_drop(s);
	if (!store_is_sealed(s))
		return;
	store__settled(s);
	s->state = s->committed;
	if (store__load(s, &e) != 0)
		log_error("store", "cannot go back to the last commit: %s", e.text);
}

void store_rollback(struct store *s)
{
	ASSERT(s->in_batch || store_is_sealed(s));
	close_cursors(s);
	mdb_txn_abort(s->writer.txn);
	undone(s);
}

/* Counting free pages costs a walk, so it is done now and then, and only when the file itself is over the quota. */
static void check_quota(struct store *s)
{
	uint64_t file, used;
	struct store_view *v;
	MDB_envinfo info;

	/* Often enough that it is not overrun by much; always once it is, so that space that was made counts at once. */
	s->bytes_since_quota_check += s->batch_bytes;
	if (s->writes_since_quota_check++ % QUOTA_CHECK_EVERY != 0 && s->bytes_since_quota_check < QUOTA_CHECK_BYTES &&
			!atomic_load(&s->pub_over_quota))
		return;
	s->bytes_since_quota_check = 0;
	(void)mdb_env_info(s->env->env, &info);
	if ((uint64_t)info.me_last_pgno * 4096 < s->quota)
		atomic_store(&s->pub_over_quota, false);
	else if (store_view_open(s, &v, NULL) == 0) {
		/* LMDB tells a writing transaction nothing of the free pages, so it is a view that counts. */
		if (view_size(v, &file, &used, NULL) == 0)
			atomic_store(&s->pub_over_quota, used >= s->quota);
		store_view_close(v);
	}
}

/* See store_checkpoint_due for why pages are counted. */
static void trim(struct store *s, size_t limit)
{
	if (s->pages_since_trim < limit)
		return;
	s->pages_since_trim = 0;
	store__env_trim(s->env);
}

static void count_pages(struct store *s)
{
	size_t n = store__pages_written(s->env);

	s->pages_since_checkpoint += n;
	s->pages_since_trim += n;
	trim(s, TRIM_PAGES);
}

bool store_checkpoint_due(const struct store *s)
{
	return s->pages_since_checkpoint >= CHECKPOINT_PAGES && s->checkpoint == NULL && !s->checkpoint_failed;
}

/* LMDB calls a short write an I/O error, but it is what a full disk begins with. */
static int commit_err(struct store *s, int rc, struct err *e)
{
	struct statvfs fs;
	int fd;

	if (rc == EIO && mdb_env_get_fd(s->env->env, &fd) == 0 && fstatvfs(fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < (1u << 20))
		rc = ENOSPC;
	return store__mdb_err(e, rc, "commit");
}

static int commit_txn(MDB_txn *txn)
{
	if (!fault_value(FAULT_store_full))
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return ENOSPC;
}

int store_commit(struct store *s, struct err *e)
{
	struct store_view *w = &s->writer;
	uint64_t began;
	bool advanced;
	int rc = 0;

	ASSERT(s->in_batch);
	if (store__compact_pending(s))
		rc = store__compact_slice(s, COMPACT_PER_COMMIT, e);
	if (rc == 0)
		rc = store__state_save(w->env, w->txn, &w->state, e);
	if (rc == 0 && memcmp(&s->local, &s->local_saved, sizeof(s->local)) != 0)
		rc = store__local_save(w->env, w->txn, &s->local, e);
	if (rc != 0) {
		store__noted(w, rc, e);
		store_rollback(s);
		return rc;
	}
	close_cursors(s);
	began = clock_mono_ns();
	rc = commit_txn(w->txn);
	histogram_add(&s->commits, (double)(clock_mono_ns() - began) / 1e9);
	if (rc != 0) {
		rc = commit_err(s, rc, e);
		undone(s);
		return rc;
	}
	s->in_batch = false;
	advanced = w->state.revision != s->committed.revision;
	s->state = s->committed = w->state;
	store__lessor_commit(s->lessor);
	store__publish_figures(s);
	store__publish(s, advanced);
	if (store_is_sealed(s))
		store__settled(s);
	count_pages(s);
	check_quota(s);
	return 0;
}

size_t store_batch_bytes(const struct store *s)
{
	return s->batch_bytes;
}

/* However many heads were written, they stand on no more pages than there are; the log's end grows by what is appended. */
size_t store_batch_pages(const struct store *s)
{
	MDB_stat keys, long_keys;

	if (mdb_stat(s->writer.txn, s->env->dbi[DB_KEYS], &keys) != 0 ||
			mdb_stat(s->writer.txn, s->env->dbi[DB_LONG], &long_keys) != 0)
		return s->batch_writes;
	return MIN(s->batch_writes, keys.ms_leaf_pages + long_keys.ms_leaf_pages) + s->batch_appended / 4096;
}

int store_work(struct store *s, bool *ret_more, struct err *e)
{
	int rc;

	*ret_more = false;
	trim(s, s->idle_calls++ % TRIM_EVERY_IDLE == 0 ? 0 : TRIM_PAGES_IDLE);
	if (s->local.compacted >= s->state.compact)
		return 0;
	rc = store_settle(s, e);
	if (rc == 0)
		rc = store_begin(s, e);
	if (rc != 0)
		return rc;
	rc = store__compact_slice(s, COMPACT_PER_SLICE, e);
	if (rc != 0) {
		store__noted(&s->writer, rc, e);
		store_rollback(s);
		return rc;
	}
	rc = store_commit(s, e);
	*ret_more = s->local.compacted < s->state.compact;
	return rc;
}

int store_blob_put(struct store *s, bool replicated, const char *name, struct str value, struct err *e)
{
	ASSERT(s->in_batch);
	return store__blob_put(&s->writer, replicated, name, value, e);
}

int store_blob_get(struct store *s, bool replicated, const char *name, struct buf *value, struct err *e)
{
	struct store_view *v;
	int rc;

	if (s->in_batch)
		return store__blob_get(&s->writer, replicated, name, value, e);
	rc = store_view_open(s, &v, e);
	if (rc != 0)
		return rc;
	rc = store__blob_get(v, replicated, name, value, e);
	store_view_close(v);
	return rc;
}

/* --- Figures ----------------------------------------------------------------------------------------------- */

struct store_applied store_applied(const struct store *s)
{
	return (struct store_applied){s->state.index, s->state.term};
}

uint64_t store_cluster_id(const struct store *s)
{
	return s->state.cluster_id;
}

uint64_t store_member_id(const struct store *s)
{
	return s->local.member_id;
}

const struct histogram *store_commits(const struct store *s)
{
	return &s->commits;
}

int64_t store_revision(const struct store *s)
{
	return atomic_load(&s->pub_revision);
}

int64_t store_compact_revision(const struct store *s)
{
	return atomic_load(&s->pub_compact);
}

bool store_compacted_physically(const struct store *s, int64_t rev)
{
	return atomic_load(&s->pub_compacted) >= rev;
}

bool store_over_quota(const struct store *s)
{
	return atomic_load(&s->pub_over_quota);
}

struct store_hash store_rolling_hash(struct store *s)
{
	struct store_hash h;

	pthread_mutex_lock(&s->lock);
	h = s->pub_hash;
	pthread_mutex_unlock(&s->lock);
	return h;
}

uint64_t store_batch_hash(const struct store *s)
{
	ASSERT(s->in_batch);
	return s->writer.state.hash;
}

static int count_entries(struct store_view *v, enum store_db db, uint64_t *ret, struct err *e)
{
	MDB_stat stat;
	int rc = mdb_stat(v->txn, v->env->dbi[db], &stat);

	if (rc != 0)
		return store__mdb_err(e, rc, "count records");
	*ret = stat.ms_entries;
	return 0;
}

int store_stats(struct store *s, struct store_stats *ret, struct err *e)
{
	struct store_stats st = {.quota_bytes = s->quota, .checkpoint_index = s->durable.index};
	struct store_view *v;
	uint64_t n_long = 0;
	int rc = store_view_open(s, &v, e);

	if (rc != 0)
		return rc;
	st.applied_index = v->state.index;
	st.applied_term = v->state.term;
	st.revision = v->state.revision;
	st.compact_revision = v->state.compact;
	st.alarm_nospace = v->state.nospace;
	st.alarm_corrupt = v->state.corrupt;
	st.compacting = !store_compacted_physically(s, v->state.compact);
	rc = store__env_size(v->env, v->txn, &st.file_bytes, &st.in_use_bytes, e);
	if (rc == 0)
		rc = count_entries(v, DB_KEYS, &st.n_keys, e);
	if (rc == 0)
		rc = count_entries(v, DB_LONG, &n_long, e);
	if (rc == 0)
		rc = count_entries(v, DB_LOG, &st.n_log, e);
	if (rc == 0)
		rc = count_entries(v, DB_LEASE, &st.n_leases, e);
	store_view_close(v);
	if (rc != 0)
		return rc;
	st.n_keys += n_long;
	*ret = st;
	return 0;
}
