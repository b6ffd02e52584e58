#include "raft/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/util.h"

static struct disk_posix *of(struct disk *d)
{
	return container_of(d, struct disk_posix, disk);
}

static int posix_open(struct disk *d, const char *path, bool create)
{
	int fd = openat(of(d)->root_fd, path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);

	return fd < 0 ? -errno : fd;
}

static void posix_close(struct disk *d _unused_, int fd)
{
	close(fd);
}

static int64_t posix_pread(struct disk *d _unused_, int fd, void *p, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)p + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static int posix_pwrite(struct disk *d _unused_, int fd, const void *p, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const char *)p + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int posix_sync(struct disk *d, int fd)
{
	if (of(d)->nosync)
		return 0;
	if (fault_value(FAULT_disk_sync_ms) > 0)
		usleep((useconds_t)fault_value(FAULT_disk_sync_ms) * 1000);
	/* No retry on EINTR either: what a failed fdatasync left behind is unknown. */
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_truncate(struct disk *d _unused_, int fd, uint64_t size)
{
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int posix_allocate(struct disk *d _unused_, int fd, uint64_t size)
{
	if (fault_value(FAULT_disk_full))
		return -ENOSPC;
	if (fallocate(fd, 0, 0, (off_t)size) == 0)
		return 0;
	/* A file system without fallocate still works; it may then run out of space in the middle of a segment. */
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return -errno;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int64_t posix_size(struct disk *d _unused_, int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int posix_rename(struct disk *d, const char *from, const char *to)
{
	return renameat(of(d)->root_fd, from, of(d)->root_fd, to) < 0 ? -errno : 0;
}

static int posix_unlink(struct disk *d, const char *path)
{
	return unlinkat(of(d)->root_fd, path, 0) < 0 ? -errno : 0;
}

static void posix_uncache(struct disk *d _unused_, int fd)
{
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int posix_sync_dir(struct disk *d)
{
	if (of(d)->nosync)
		return 0;
	return fsync(of(d)->root_fd) < 0 ? -errno : 0;
}

static int posix_list(struct disk *d, void (*fn)(void *arg, const char *name), void *arg)
{
	int fd = openat(of(d)->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		int e = errno;

		if (fd >= 0)
			close(fd);
		return -e;
	}
	errno = 0;
	for (struct dirent *ent; (ent = readdir(dir)) != NULL; errno = 0) {
		struct stat st;

		if (fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			fn(arg, ent->d_name);
	}
	int e = errno;

	closedir(dir);
	return -e;
}

static const struct disk_ops posix_ops = {
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwrite = posix_pwrite,
	.sync = posix_sync,
	.truncate = posix_truncate,
	.allocate = posix_allocate,
	.size = posix_size,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.uncache = posix_uncache,
	.sync_dir = posix_sync_dir,
	.list = posix_list,
};

int disk_posix_init(struct disk_posix *d, const char *root, bool nosync)
{
	d->disk.ops = &posix_ops;
	d->nosync = nosync;
	d->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->root_fd < 0 ? -errno : 0;
}

void disk_posix_fini(struct disk_posix *d)
{
	if (d->root_fd >= 0)
		close(d->root_fd);
	d->root_fd = -1;
}
