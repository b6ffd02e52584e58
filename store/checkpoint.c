/*
 * Checkpoints: how an LMDB file that is never synced by its commits is made durable now and then, in constant time.
 *
 * LMDB writes copy-on-write: a commit writes new pages, then one of two meta pages that names the new root. Without syncs
 * a power loss may keep any mix of old and new pages. But while a reader of transaction T is open, no later transaction
 * writes to a page that T can reach. So: open a reader on T (the pin), copy the meta page of T, sync the file: now every
 * page of T is on the disk, and none of them will be written again. Then write the meta page to a file of its own
 * (`checkpoint`: new file, sync, rename, sync the directory), and only then close the pin of the checkpoint before.
 *
 * Whatever happens later, putting that meta page back into both slots makes the file be T again: pages that were written
 * since belong to no one. Opening a store always does that, after a clean stop, too (a stop makes a checkpoint first), so
 * the way back is not an exotic one. Proven by tests/unit/store/test_power.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/store-priv.h"

#define MAGIC "KTKSTORE"

enum {
	K_MAGIC = 0,
	K_FORMAT = 8,
	K_PAGE = 12,
	K_GENERATION = 16,
	K_CLUSTER = 24,
	K_MEMBER = 32,
	K_INDEX = 40,
	K_TERM = 48,
	K_REVISION = 56,
	K_META = 64, /* then the checksum of all before */
};
#define PAGE_MAX 65536
/* The stretch of the file that is written to the disk at once. */
#define WRITE_OUT (1 << 20)

/* --- The file --------------------------------------------------------------------------------------------- */

static int read_whole(const char *path, uint8_t *out, size_t max, size_t *ret_size, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	if (fd < 0 && errno == ENOENT)
		return -ERR_NOT_FOUND;
	if (fd < 0)
		return err_set_errno(e, errno, "store: open %s", path);
	for (;;) {
		ssize_t r = read(fd, out + n, max - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_set_errno(e, errno, "store: read %s", path);
		if (r == 0)
			break;
		n += (size_t)r;
	}
	*ret_size = n;
	return 0;
}

int store__checkpoint_read(const char *dir, struct checkpoint_file *ret, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/checkpoint", dir);
	_cleanup_(freep) uint8_t *p = xmalloc(K_META + PAGE_MAX + 5);
	uint32_t page;
	size_t n = 0;
	int rc = read_whole(path, p, K_META + PAGE_MAX + 5, &n, e);

	if (rc != 0)
		return rc;
	if (n < K_META || memcmp(p, MAGIC, 8) != 0)
		return err_set(e, ERR_CORRUPT, "store: %s is not a checkpoint", path);
	/* Whatever the format: the last four bytes are the checksum of all before. */
	if (n <= K_META + PAGE_MAX + 4 && crc32c(0, p, n - 4) != get_le32(p + n - 4))
		return err_set(e, ERR_CORRUPT, "store: %s does not match its checksum", path);
	if (get_le32(p + K_FORMAT) > STORE_FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"store: %s has format %u, this program knows up to %u: it was written by a newer version", path,
				get_le32(p + K_FORMAT), STORE_FORMAT);
	page = get_le32(p + K_PAGE);
	if (page > PAGE_MAX || n != K_META + page + 4 || crc32c(0, p, K_META + page) != get_le32(p + K_META + page))
		return err_set(e, ERR_CORRUPT, "store: %s does not match its checksum", path);
	*ret = (struct checkpoint_file){
			.generation = get_le64(p + K_GENERATION),
			.cluster_id = get_le64(p + K_CLUSTER),
			.member_id = get_le64(p + K_MEMBER),
			.applied = {get_le64(p + K_INDEX), get_le64(p + K_TERM)},
			.revision = (int64_t)get_le64(p + K_REVISION),
			.page_size = page,
			.meta = xmalloc(page),
	};
	memcpy(ret->meta, p + K_META, page);
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t r = pwrite(fd, p, n, at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -1;
		p += r;
		n -= (size_t)r;
		at += r;
	}
	return 0;
}

static int sync_dir(const char *dir)
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -1 : fsync(fd);
}

int store__checkpoint_write(const char *dir, const struct checkpoint_file *c, bool no_sync, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/checkpoint", dir);
	_cleanup_(freep) char *tmp = xasprintf("%s/checkpoint.new", dir);
	_cleanup_(freep) uint8_t *p = xcalloc(1, K_META + c->page_size + 4);
	_cleanup_(closep) int fd = -1;

	memcpy(p, MAGIC, 8);
	put_le32(p + K_FORMAT, STORE_FORMAT);
	put_le32(p + K_PAGE, c->page_size);
	put_le64(p + K_GENERATION, c->generation);
	put_le64(p + K_CLUSTER, c->cluster_id);
	put_le64(p + K_MEMBER, c->member_id);
	put_le64(p + K_INDEX, c->applied.index);
	put_le64(p + K_TERM, c->applied.term);
	put_le64(p + K_REVISION, (uint64_t)c->revision);
	memcpy(p + K_META, c->meta, c->page_size);
	put_le32(p + K_META + c->page_size, crc32c(0, p, K_META + c->page_size));

	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "store: open %s", tmp);
	if (write_all(fd, p, K_META + c->page_size + 4, 0) != 0 || (!no_sync && fsync(fd) != 0))
		return err_set_errno(e, errno, "store: write %s", tmp);
	if (rename(tmp, path) != 0 || (!no_sync && sync_dir(dir) != 0))
		return err_set_errno(e, errno, "store: rename %s", tmp);
	return 0;
}

/* LMDB's page header begins with the page number; the meta page of a transaction stands in slot 0 or 1 by its number. */
int store__checkpoint_restore(const char *path, const struct checkpoint_file *c, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_set_errno(e, errno, "store: open %s", path);
	if (fstat(fd, &st) != 0)
		return err_set_errno(e, errno, "store: stat %s", path);
	if (st.st_size < (off_t)c->page_size * 2)
		return err_set(e, ERR_CORRUPT, "store: %s has only %lld bytes", path, (long long)st.st_size);
	for (size_t slot = 0; slot < 2; slot++) {
		memcpy(c->meta, &slot, sizeof(slot));
		if (write_all(fd, c->meta, c->page_size, (off_t)(slot * c->page_size)) != 0)
			return err_set_errno(e, errno, "store: write %s", path);
	}
	return 0;
}

int store__checkpoint_pin(struct store_env *env, MDB_txn **ret_pin, uint8_t **ret_meta, uint32_t *ret_page_size,
		struct err *e)
{
	uint8_t *page = NULL;
	MDB_stat stat;
	MDB_txn *pin;
	off_t at;
	int fd, rc = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &pin);

	if (rc != 0)
		return store__mdb_err(e, rc, "pin a checkpoint");
	rc = store__env_span(env, true, e);
	if (rc != 0) {
		mdb_txn_abort(pin);
		return rc;
	}
	rc = mdb_stat(pin, env->dbi[DB_META], &stat);
	if (rc == 0)
		rc = mdb_env_get_fd(env->env, &fd);
	if (rc != 0)
		goto fail;
	page = xmalloc(stat.ms_psize);
	at = (off_t)(mdb_txn_id(pin) & 1) * stat.ms_psize;
	if (pread(fd, page, stat.ms_psize, at) != (ssize_t)stat.ms_psize) {
		rc = errno ? errno : EIO;
		goto fail;
	}
	*ret_pin = pin;
	*ret_meta = page;
	*ret_page_size = stat.ms_psize;
	return 0;
fail:
	free(page);
	mdb_txn_abort(pin);
	return store__mdb_err(e, rc, "copy the meta page");
}

static void release(MDB_txn **pin, struct store_env **env)
{
	if (*pin != NULL)
		mdb_txn_abort(*pin);
	store__env_unref(*env);
	*pin = NULL;
	*env = NULL;
}

void store__pin_release(struct store *s)
{
	release(&s->pin, &s->pin_env);
}

void store__pins_close(struct store *s)
{
	release(&s->pin, &s->pin_env);
	release(&s->failed_pin, &s->failed_env);
}

/* --- The three steps --------------------------------------------------------------------------------------- */

struct store_checkpoint {
	struct store *store;
	struct store_env *env;
	MDB_txn *pin;
	struct checkpoint_file file;
};

int store_checkpoint_begin(struct store *s, struct store_checkpoint **ret, struct err *e)
{
	struct store_checkpoint *c;
	int rc;

	ASSERT(!s->in_batch);
	rc = store_settle(s, e);
	if (rc != 0)
		return rc;
	if (s->checkpoint_failed)
		return err_set(e, ERR_IO, "store: an earlier checkpoint failed");
	if (s->checkpoint != NULL)
		return err_set(e, ERR_UNAVAILABLE, "store: a checkpoint is under way");
	c = xcalloc(1, sizeof(*c));
	c->store = s;
	c->env = store__env_get(s);
	c->file.generation = c->env->generation;
	c->file.cluster_id = s->state.cluster_id;
	c->file.member_id = s->local.member_id;
	c->file.applied = (struct store_applied){s->state.index, s->state.term};
	c->file.revision = s->state.revision;
	rc = store__checkpoint_pin(c->env, &c->pin, &c->file.meta, &c->file.page_size, e);
	if (rc != 0) {
		store__env_unref(c->env);
		free(c);
		return rc;
	}
	s->checkpoint = c;
	s->pages_since_checkpoint = 0;
	*ret = c;
	return 0;
}

/*
 * Tens of MiB of single pages, given to the disk at once, would keep the log's next syncs waiting behind them; so they go a stretch of
 * the file after the other. Only then the sync, which finds little left. An error that is told here is told here only.
 */
static int write_out(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	for (off_t at = 0; at < st.st_size; at += WRITE_OUT)
		if (sync_file_range(fd, at, WRITE_OUT, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) != 0)
			return errno == ENOSYS || errno == EINVAL || errno == ESPIPE ? 0 : -1;
	return 0;
}

int store_checkpoint_sync(struct store_checkpoint *c, struct err *e)
{
	int fd;

	(void)mdb_env_get_fd(c->env->env, &fd);
	if (!c->store->no_sync && (write_out(fd) != 0 || fdatasync(fd) != 0))
		return err_set_errno(e, errno, "store: sync %s", c->env->path);
	return store__checkpoint_write(c->store->dir, &c->file, c->store->no_sync, e);
}

void store_checkpoint_end(struct store_checkpoint *c, bool synced)
{
	struct store *s = c->store;

	if (synced) {
		/* The checkpoint before was in a file that is given up. */
		if (s->pin_env != NULL && s->pin_env != c->env)
			s->pin_env->remove = true;
		store__pin_release(s);
		s->pin = c->pin;
		s->pin_env = c->env;
		s->durable = c->file.applied;
	} else {
		/* Which of the two is on the disk is unknown now: both pins stay until the store is closed. */
		s->checkpoint_failed = true;
		s->failed_pin = c->pin;
		s->failed_env = c->env;
	}
	s->checkpoint = NULL;
	free(c->file.meta);
	free(c);
}

int store_checkpoint(struct store *s, struct err *e)
{
	struct store_checkpoint *c;
	int rc = store_checkpoint_begin(s, &c, e);

	if (rc != 0)
		return rc;
	rc = store_checkpoint_sync(c, e);
	store_checkpoint_end(c, rc == 0);
	return rc;
}

struct store_applied store_checkpointed(const struct store *s)
{
	return s->durable;
}
