#include "store/snapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/snapshot.h"
#include "store/store-priv.h"

#define MAGIC "KTKSNAP1"
#define FORMAT 1u

enum { H_MAGIC = 0, H_FORMAT = 8, H_CRC = 12, H_CLUSTER = 16, H_INDEX = 24, H_TERM = 32, H_REVISION = 40, H_CREATED = 48 };

static uint32_t head_crc(const uint8_t *p)
{
	return crc32c(crc32c(0, p, H_CRC), p + H_CLUSTER, SNAPFILE_HEAD - H_CLUSTER);
}

void snapfile_head(const struct store_snapshot *sn, uint64_t cluster_id, uint64_t created_ms, struct buf *out)
{
	uint8_t p[SNAPFILE_HEAD] = MAGIC;

	put_le32(p + H_FORMAT, FORMAT);
	put_le64(p + H_CLUSTER, cluster_id);
	put_le64(p + H_INDEX, store_snapshot_applied(sn).index);
	put_le64(p + H_TERM, store_snapshot_applied(sn).term);
	put_le64(p + H_REVISION, (uint64_t)store_snapshot_revision(sn));
	put_le64(p + H_CREATED, created_ms);
	put_le32(p + H_CRC, head_crc(p));
	buf_add(out, p, sizeof(p));
}

/* --- Writing ---------------------------------------------------------------------------------------------- */

static int write_all(int fd, const struct buf *b, const char *path, struct err *e)
{
	for (size_t at = 0; at < b->n;) {
		ssize_t n = write(fd, b->p + at, b->n - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set_errno(e, n < 0 ? errno : EIO, "cannot write %s", path);
		at += (size_t)n;
	}
	return 0;
}

static int write_chunks(struct store_snapshot *sn, int fd, const char *path, struct snapfile_info *info, struct err *e)
{
	bool last = false;
	int rc = 0;

	for (uint64_t n = 0; rc == 0 && !last; n++) {
		struct buf chunk = BUF_INIT;

		rc = store_snapshot_chunk(sn, n, &chunk, &last, e);
		if (rc == 0)
			rc = write_all(fd, &chunk, path, e);
		info->bytes += chunk.n;
		info->chunks++;
		buf_fini(&chunk);
	}
	return rc;
}

static int sync_parent(const char *path)
{
	_cleanup_(freep) char *dir = xstrdup(path);
	_cleanup_(closep) int fd = -1;
	char *slash = strrchr(dir, '/');

	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -1 : fsync(fd);
}

int snapfile_write(struct store *s, const char *path, uint64_t created_ms, struct snapfile_info *ret, struct err *e)
{
	_cleanup_(freep) char *tmp = xasprintf("%s.part", path);
	_cleanup_(closep) int fd = -1;
	struct snapfile_info info = {.created_ms = created_ms, .cluster_id = store_cluster_id(s)};
	struct buf head = BUF_INIT;
	struct store_snapshot *sn;
	int rc = store_snapshot_open(s, &sn, e);

	if (rc != 0)
		return rc;
	info.applied = store_snapshot_applied(sn);
	info.revision = store_snapshot_revision(sn);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = err_set_errno(e, errno, "cannot create %s", tmp);
	snapfile_head(sn, info.cluster_id, created_ms, &head);
	info.bytes = head.n;
	if (rc == 0)
		rc = write_all(fd, &head, tmp, e);
	if (rc == 0)
		rc = write_chunks(sn, fd, tmp, &info, e);
	if (rc == 0 && fsync(fd) != 0)
		rc = err_set_errno(e, errno, "cannot sync %s", tmp);
	if (rc == 0 && (rename(tmp, path) != 0 || sync_parent(path) != 0))
		rc = err_set_errno(e, errno, "cannot rename %s to %s", tmp, path);
	if (rc != 0 && fd >= 0)
		(void)unlink(tmp);
	store_snapshot_close(sn);
	buf_fini(&head);
	if (rc == 0)
		*ret = info;
	return rc;
}

/* --- Reading ---------------------------------------------------------------------------------------------- */

static int damaged(const char *path, uint64_t at, const char *what, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "%s is damaged at offset %llu: %s", path, (unsigned long long)at, what);
}

/* `size` bytes or an error; *ret_end (may be NULL: an error as well): there is not one byte more. */
static int read_exactly(int fd, uint8_t *p, size_t size, const char *path, uint64_t at, bool *ret_end, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, p + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "cannot read %s", path);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	if (ret_end)
		*ret_end = done == 0;
	return done == size || (ret_end && done == 0) ? 0 : damaged(path, at + done, "it ends too early", e);
}

static int read_head(int fd, const char *path, struct snapfile_info *info, struct err *e)
{
	uint8_t p[SNAPFILE_HEAD];
	int rc = read_exactly(fd, p, sizeof(p), path, 0, NULL, e);

	if (rc != 0)
		return rc;
	if (memcmp(p, MAGIC, 8) != 0)
		return err_set(e, ERR_INVALID, "%s is no snapshot of this program", path);
	if (get_le32(p + H_FORMAT) != FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION, "%s has format %u, this program knows %u", path, get_le32(p + H_FORMAT), FORMAT);
	if (head_crc(p) != get_le32(p + H_CRC))
		return damaged(path, 0, "the checksum of its head does not match", e);
	*info = (struct snapfile_info){.cluster_id = get_le64(p + H_CLUSTER),
				       .applied = {get_le64(p + H_INDEX), get_le64(p + H_TERM)},
				       .revision = (int64_t)get_le64(p + H_REVISION),
				       .created_ms = get_le64(p + H_CREATED),
				       .bytes = SNAPFILE_HEAD};
	return 0;
}

/* The next chunk into `p` (STORE_CHUNK_MAX bytes); checked. */
static int read_chunk(int fd, const char *path, struct snapfile_info *info, uint8_t *p, struct str *ret, bool *ret_last, struct err *e)
{
	uint64_t at = info->bytes;
	uint32_t size;
	int rc = read_exactly(fd, p, CHUNK_HEADER, path, at, NULL, e);

	if (rc != 0)
		return rc;
	size = get_le32(p + CHUNK_SIZE);
	if (get_le32(p + CHUNK_MAGIC_AT) != CHUNK_MAGIC || size > CHUNK_PAYLOAD || get_le64(p + CHUNK_NUMBER) != info->chunks)
		return damaged(path, at, "no chunk begins there", e);
	rc = read_exactly(fd, p + CHUNK_HEADER, size, path, at + CHUNK_HEADER, NULL, e);
	if (rc != 0)
		return rc;
	if (crc32c(crc32c(0, p, CHUNK_CRC), p + CHUNK_HEADER, size) != get_le32(p + CHUNK_CRC))
		return damaged(path, at, "the checksum of a chunk does not match", e);
	*ret = str_of(p, CHUNK_HEADER + size);
	*ret_last = (get_le32(p + CHUNK_FLAGS) & CHUNK_LAST) != 0;
	info->bytes += CHUNK_HEADER + size;
	info->chunks++;
	return 0;
}

/* All chunks, into `install` unless it is NULL. */
static int read_all(const char *path, struct store_install *install, struct snapfile_info *info, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *p = xmalloc(STORE_CHUNK_MAX), more;
	bool last = false, end = false;
	struct str chunk = STR_NULL;
	int rc = fd < 0 ? err_set_errno(e, errno, "cannot open %s", path) : read_head(fd, path, info, e);

	while (rc == 0 && !last) {
		rc = read_chunk(fd, path, info, p, &chunk, &last, e);
		if (rc == 0 && last && chunk.n >= CHUNK_HEADER + RECORD_FIXED + TAIL_SIZE)
			info->records = get_le64((const uint8_t *)chunk.p + chunk.n - TAIL_SIZE + TAIL_COUNT);
		if (rc == 0 && install)
			rc = store_install_chunk(install, chunk, &last, e);
	}
	if (rc == 0)
		rc = read_exactly(fd, &more, 1, path, info->bytes, &end, e);
	if (rc == 0 && !end)
		rc = damaged(path, info->bytes, "something follows its end", e);
	free(p);
	return rc;
}

int snapfile_check(const char *path, struct snapfile_info *ret, struct err *e)
{
	return read_all(path, NULL, ret, e);
}

int snapfile_restore(const char *path, const struct store_cfg *cfg, struct snapfile_info *ret, struct err *e)
{
	struct store_cfg fresh = *cfg;
	struct store_install *in;
	struct store *s;
	struct stat st;
	int rc;

	if (stat(cfg->dir, &st) == 0)
		return err_set(e, ERR_ALREADY_EXISTS, "%s is there already: restore into an empty data directory", cfg->dir);
	/* Its head names the cluster that it comes from; the new one gets its own name. */
	fresh.cluster_id = fresh.member_id = 0;
	rc = store_open(&fresh, &s, e);
	if (rc != 0)
		return rc;
	rc = store_install_begin(s, &in, e);
	if (rc == 0) {
		rc = read_all(path, in, ret, e);
		if (rc == 0)
			rc = store_install_sync(in, e);
		if (rc == 0)
			rc = store_install_finish(in, e);
		else
			store_install_abort(in);
	}
	if (rc == 0)
		rc = store_set_ids(s, cfg->cluster_id, cfg->member_id, e);
	store_abandon(s);
	return rc;
}
