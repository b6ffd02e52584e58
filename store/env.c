#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "store/store-priv.h"

static const char *const db_names[DB_N] = {
		[DB_KEYS] = "keys",
		[DB_LONG] = "long",
		[DB_LOG] = "log",
		[DB_LEASE] = "lease",
		[DB_LEASEKEY] = "leasekey",
		[DB_META] = "meta",
};

const char *store__db_name(enum store_db db)
{
	return db_names[db];
}

int store__mdb_err(struct err *e, int rc, const char *what)
{
	switch (rc) {
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
	case MDB_CURSOR_FULL:
	case MDB_PAGE_FULL:
		return err_set(e, ERR_CORRUPT, "store: %s: %s", what, mdb_strerror(rc));
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_set(e, ERR_NO_SPACE, "store: %s: %s", what, mdb_strerror(rc));
	case MDB_READERS_FULL:
		return err_set(e, ERR_UNAVAILABLE, "store: %s: too many readers are open", what);
	default:
		return err_set(e, ERR_IO, "store: %s: %s", what, mdb_strerror(rc));
	}
}

char *store__db_path(const char *dir, uint64_t generation)
{
	return xasprintf("%s/db.%" PRIu64, dir, generation);
}

static int open_databases(struct store_env *env, bool create, struct err *e)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->env, NULL, create ? 0 : MDB_RDONLY, &txn);

	if (rc != 0)
		return store__mdb_err(e, rc, "open the databases");
	for (int i = 0; rc == 0 && i < DB_N; i++)
		rc = mdb_dbi_open(txn, db_names[i], create ? MDB_CREATE : 0, &env->dbi[i]);
	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, 0, &env->dbi[DB_MAIN]);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return store__mdb_err(e, rc, "open the databases");
	}
	/* A read transaction, too, must be committed for its handles to stay. */
	rc = mdb_txn_commit(txn);
	return rc ? store__mdb_err(e, rc, "open the databases") : 0;
}

/* LMDB does not tell where it has mapped the file; the kernel does. NULL: not found, then nothing is trimmed. */
static void *find_map(const char *path)
{
	_cleanup_(freep) char *real = realpath(path, NULL);
	_cleanup_(freep) char *line = NULL;
	FILE *f = real ? fopen("/proc/self/maps", "re") : NULL;
	unsigned long from = 0;
	size_t cap = 0;
	ssize_t n;
	bool found = false;

	if (f == NULL)
		return NULL;
	while (!found && (n = getline(&line, &cap, f)) > 0) {
		char *name = strchr(line, '/');

		line[n - 1] = '\0';
		found = name != NULL && strcmp(name, real) == 0 && sscanf(line, "%lx-", &from) == 1;
	}
	fclose(f);
	return found ? (void *)from : NULL;
}

/*
 * The file must reach to the last page that was ever used: a page behind its end is a SIGBUS, the file being mapped. LMDB may
 * leave it shorter, when pages at the end were freed before they were written; so a checkpoint grows it, and one that is shorter
 * when it is opened has been cut.
 */
int store__env_span(struct store_env *env, bool grow, struct err *e)
{
	MDB_envinfo info;
	struct stat st;
	MDB_stat stat;
	off_t need;
	int fd;

	if (mdb_env_get_fd(env->env, &fd) != 0 || mdb_env_info(env->env, &info) != 0 || mdb_env_stat(env->env, &stat) != 0 ||
	    fstat(fd, &st) != 0)
		return err_set_errno(e, errno ? errno : EIO, "store: look at %s", env->path);
	need = (off_t)(info.me_last_pgno + 1) * stat.ms_psize;
	if (st.st_size >= need)
		return 0;
	if (!grow)
		return err_set(e, ERR_CORRUPT, "store: %s has only %lld bytes of %lld", env->path, (long long)st.st_size, (long long)need);
	return ftruncate(fd, need) == 0 ? 0 : err_set_errno(e, errno, "store: grow %s", env->path);
}

int store__env_open(const char *path, uint64_t generation, uint64_t map_size, unsigned max_readers, bool create,
		struct store_env **ret, struct err *e)
{
	struct store_env *env = xcalloc(1, sizeof(*env));
	/* No sync: see checkpoint.c. No thread-local readers: a view may be renewed by any thread. */
	/* Read-ahead would fill the page cache with large folios, in which each later write of a page costs a walk over all of them. */
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD;
	int rc;

	ref_init(&env->ref);
	env->generation = generation;
	env->path = xstrdup(path);
	rc = mdb_env_create(&env->env);
	if (rc != 0)
		goto fail;
	rc = mdb_env_set_mapsize(env->env, map_size);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(env->env, DB_N);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(env->env, max_readers);
	if (rc == 0)
		rc = mdb_env_open(env->env, path, flags, 0600);
	if (rc != 0)
		goto fail;
	ASSERT(mdb_env_get_maxkeysize(env->env) >= 511);
	env->map = find_map(path);
	rc = create ? 0 : store__env_span(env, false, e);
	if (rc == 0)
		rc = open_databases(env, create, e);
	if (rc != 0) {
		store__env_unref(env);
		return rc;
	}
	*ret = env;
	return 0;
fail:
	rc = store__mdb_err(e, rc, path);
	store__env_unref(env);
	return rc;
}

void store__env_unref(struct store_env *env)
{
	char *lock_path;

	if (env == NULL || !ref_put(&env->ref))
		return;
	for (int i = 0; i < VIEW_POOL; i++) {
		struct store_view *v = atomic_load(&env->pool[i]);

		if (v != NULL) {
			mdb_txn_abort(v->txn);
			free(v);
		}
	}
	if (env->env != NULL)
		mdb_env_close(env->env);
	lock_path = xasprintf("%s-lock", env->path);
	(void)unlink(lock_path);
	if (env->remove)
		(void)unlink(env->path);
	free(lock_path);
	free(atomic_load(&env->damage));
	free(env->path);
	free(env);
}

struct store_env *store__env_get(struct store *s)
{
	struct store_env *env;

	pthread_mutex_lock(&s->lock);
	env = s->env;
	ref_get(&env->ref);
	pthread_mutex_unlock(&s->lock);
	return env;
}

/*
 * LMDB keeps its free pages in database 0, as records {count, page numbers...}.
 */
int store__env_size(struct store_env *env, MDB_txn *txn, uint64_t *ret_file, uint64_t *ret_used, struct err *e)
{
	MDB_envinfo info;
	MDB_stat stat;
	MDB_cursor *c;
	MDB_val k, v;
	size_t n_free = 0, pages;
	int rc;

	(void)mdb_env_info(env->env, &info);
	rc = mdb_stat(txn, env->dbi[DB_META], &stat);
	if (rc == 0)
		rc = mdb_cursor_open(txn, 0, &c);
	if (rc != 0)
		return store__mdb_err(e, rc, "read the free list");
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		size_t n;

		memcpy(&n, v.mv_data, sizeof(n));
		n_free += n;
	}
	mdb_cursor_close(c);
	if (rc != MDB_NOTFOUND)
		return store__mdb_err(e, rc, "read the free list");
	pages = info.me_last_pgno + 1;
	*ret_file = (uint64_t)pages * stat.ms_psize;
	*ret_used = (uint64_t)(pages > n_free ? pages - n_free : 0) * stat.ms_psize;
	return 0;
}

/* A commit frees about as many pages as it writes; its record in the free list is the last one. */
size_t store__pages_written(struct store_env *env)
{
	MDB_txn *txn;
	MDB_cursor *c;
	MDB_val k, v;
	size_t n = 0;

	if (mdb_txn_begin(env->env, NULL, MDB_RDONLY, &txn) != 0)
		return 0;
	if (mdb_cursor_open(txn, 0, &c) == 0) {
		if (mdb_cursor_get(c, &k, &v, MDB_LAST) == 0)
			memcpy(&n, v.mv_data, sizeof(n));
		mdb_cursor_close(c);
	}
	mdb_txn_abort(txn);
	return n;
}

void store__env_trim(struct store_env *env)
{
	MDB_envinfo info;

	(void)mdb_env_info(env->env, &info);
	/* The mapping is read-only and of a file: nothing can be lost, and readers fault their pages in again. */
	if (env->map != NULL)
		(void)madvise(env->map, MIN((size_t)(info.me_last_pgno + 1) * 4096, info.me_mapsize), MADV_DONTNEED);
}

/* --- Views -------------------------------------------------------------------------------------------- */

static struct store_view *pool_take(struct store_env *env)
{
	for (int i = 0; i < VIEW_POOL; i++) {
		struct store_view *v;

		if (atomic_load_explicit(&env->pool[i], memory_order_relaxed) == NULL)
			continue;
		v = atomic_exchange(&env->pool[i], NULL);
		if (v != NULL)
			return v;
	}
	return NULL;
}

static bool pool_give(struct store_env *env, struct store_view *v)
{
	for (int i = 0; i < VIEW_POOL; i++) {
		struct store_view *none = NULL;

		if (atomic_compare_exchange_strong(&env->pool[i], &none, v))
			return true;
	}
	return false;
}

int store__view_open_env(struct store_env *env, struct store_view **ret, struct err *e)
{
	struct store_view *v = pool_take(env);
	struct store_local local;
	int rc;

	if (v != NULL) {
		rc = mdb_txn_renew(v->txn);
		if (rc != 0) {
			mdb_txn_abort(v->txn);
			free(v);
		}
	} else {
		v = xcalloc(1, sizeof(*v));
		rc = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &v->txn);
		if (rc != 0)
			free(v);
	}
	if (rc != 0) {
		store__env_unref(env);
		return store__mdb_err(e, rc, "open a view");
	}
	v->env = env;
	rc = store__state_load(env, v->txn, &v->state, &local, e);
	if (rc != 0) {
		store_view_close(v);
		return rc;
	}
	v->member_id = local.member_id;
	*ret = v;
	return 0;
}

int store_view_open(struct store *s, struct store_view **ret, struct err *e)
{
	int rc = store__await_settled(s, e);

	return rc ? rc : store__view_open_env(store__env_get(s), ret, e);
}

int store_view_open_at(struct store *s, uint64_t index, struct store_view **ret, struct err *e)
{
	struct store_view *v;
	int rc = store_view_open(s, &v, e);

	if (rc != 0)
		return rc;
	if (view_applied_index(v) < index) {
		store_view_close(v);
		return err_set(e, ERR_UNAVAILABLE, "this member's disk has failed, and its state is applied again from the log");
	}
	*ret = v;
	return 0;
}

void store_view_close(struct store_view *v)
{
	struct store_env *env;

	if (v == NULL)
		return;
	env = v->env;
	mdb_txn_reset(v->txn);
	v->env = NULL;
	if (!pool_give(env, v)) {
		mdb_txn_abort(v->txn);
		free(v);
	}
	store__env_unref(env);
}

int64_t view_revision(const struct store_view *v)
{
	return v->state.revision;
}

int view_size(struct store_view *v, uint64_t *ret_file, uint64_t *ret_used, struct err *e)
{
	return store__env_size(v->env, v->txn, ret_file, ret_used, e);
}

int64_t view_compact_revision(const struct store_view *v)
{
	return v->state.compact;
}

uint64_t view_applied_index(const struct store_view *v)
{
	return v->state.index;
}
