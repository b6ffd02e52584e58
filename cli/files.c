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
#include "base/file.h"
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
	struct buf b;

	if (file_get(path, limit, &b, e) < 0) {
		buf_fini(&b);
		return NULL;
	}
	return buf_take(&b, NULL);
}
