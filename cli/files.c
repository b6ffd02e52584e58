/* Folders and whole files for the command line; declared in cli/local.h. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/util.h"
#include "cli/local.h"

int dir_make(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *c = part + 1;; c++) {
		char was = *c;

		if (was != '/' && was != '\0')
			continue;
		*c = '\0';
		if (mkdir(part, was ? 0755 : mode) < 0 && errno != EEXIST)
			return err_set_errno(e, errno, "create folder %s", part);
		*c = was;
		if (was == '\0')
			return 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (remove(path) == 0 || errno == ENOENT)
		return 0;
	/* A file system mounted inside is left alone: it is not ours to empty. */
	return -1;
}

int dir_remove(const char *path, struct err *e)
{
	if (access(path, F_OK) < 0)
		return 0;
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		return err_set_errno(e, errno, "remove folder %s", path);
	return 0;
}

char *file_read(const char *path, size_t limit, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;

	if (fd < 0) {
		err_set_errno(e, errno, "open %s", path);
		return NULL;
	}
	buf_init(&b, limit);
	for (;;) {
		char *to = buf_reserve(&b, MIN(limit - b.n, (size_t)65536));
		ssize_t n = to ? read(fd, to, MIN(limit - b.n, (size_t)65536)) : 0;

		if (n < 0) {
			err_set_errno(e, errno, "read %s", path);
			buf_fini(&b);
			return NULL;
		}
		if (n == 0)
			return buf_take(&b, NULL);
		buf_advance(&b, (size_t)n);
	}
}

int file_write(const char *path, const void *p, size_t size, mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];
	_cleanup_(closep) int fd = -1;

	snprintf(tmp, sizeof(tmp), "%s.tmp%d", path, (int)getpid());
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return err_set_errno(e, errno, "create %s", tmp);
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, (const char *)p + done, size - done);

		if (n < 0) {
			int saved = errno;

			unlink(tmp);
			return err_set_errno(e, saved, "write %s", tmp);
		}
		done += (size_t)n;
	}
	if (fsync(fd) < 0 || rename(tmp, path) < 0)
		return err_set_errno(e, errno, "write %s", path);
	return 0;
}
