#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

int file_get(const char *path, size_t limit, struct buf *out, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	buf_init(out, limit + 4096);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot open %s", path);
	for (;;) {
		char *p = buf_reserve(out, 4096);
		ssize_t n = p ? read(fd, p, 4096) : 0;

		if (p == NULL || out->n > limit) {
			out->n = MIN(out->n, limit);
			return err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, limit);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "cannot read %s", path);
		if (n == 0)
			return 0;
		buf_advance(out, (size_t)n);
	}
}

/* All of it, with its mode, on the disk if that is asked for. */
static bool fill(int fd, struct str bytes, mode_t mode, bool durable)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			bytes = str_skip(bytes, (size_t)n);
	}
	return fchmod(fd, mode) == 0 && (!durable || fsync(fd) == 0);
}

int file_put(const char *path, struct str bytes, mode_t mode, bool durable, struct err *e)
{
	_cleanup_(freep) char *tmp = xasprintf("%s.%d.tmp", path, (int)getpid());
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int rv = 0;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot make %s", tmp);
	if (!fill(fd, bytes, mode, durable))
		rv = err_set_errno(e, errno, "cannot write %s", tmp);
	if (close(fd) != 0 && rv == 0)
		rv = err_set_errno(e, errno, "cannot write %s", tmp);
	if (rv == 0 && rename(tmp, path) != 0)
		rv = err_set_errno(e, errno, "cannot make %s", path);
	if (rv != 0)
		unlink(tmp);
	return rv;
}
