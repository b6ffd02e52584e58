/*
 * struct disk: the few file operations that raft/ needs, behind a table, so that the simulator can put a disk below
 * the same code that loses what was not synced.
 *
 * Paths are relative to the root that the implementation was given. Every call answers 0 (or a count, or a
 * descriptor) or -errno; a write or read that is short without an error is an error here. After a failed sync the file's
 * contents are unknown: the caller stops (it never syncs again and hopes). Calls on different descriptors may come from
 * different threads; one descriptor is used by one thread at a time, save for pread.
 */
#ifndef RAFT_DISK_H
#define RAFT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;

struct disk_ops {
	/* Open for reading and writing; make the file if `create`. Returns a descriptor. */
	int (*open)(struct disk *, const char *path, bool create);
	void (*close)(struct disk *, int fd);
	/* Bytes read, fewer than asked only at the end of the file. */
	int64_t (*pread)(struct disk *, int fd, void *p, size_t size, uint64_t offset);
	int (*pwrite)(struct disk *, int fd, const void *p, size_t size, uint64_t offset);
	/* The file's data is durable (fdatasync). */
	int (*sync)(struct disk *, int fd);
	int (*truncate)(struct disk *, int fd, uint64_t size);
	/* Reserve blocks and grow the file to `size`; what is new reads as zeros. */
	int (*allocate)(struct disk *, int fd, uint64_t size);
	int64_t (*size)(struct disk *, int fd);
	int (*rename)(struct disk *, const char *from, const char *to);
	int (*unlink)(struct disk *, const char *path);
	/* What is read next comes from the disk and not from a cache, as far as that can be had: for who asks what the disk has. */
	void (*uncache)(struct disk *, int fd);
	/* Names made, renamed or removed before are durable. */
	int (*sync_dir)(struct disk *);
	/* Calls fn for each regular file. */
	int (*list)(struct disk *, void (*fn)(void *arg, const char *name), void *arg);
};

struct disk {
	const struct disk_ops *ops;
};

/* The machine's disk below directory `root` (which must exist). */
struct disk_posix {
	struct disk disk;
	int root_fd;
	bool nosync;
};
int disk_posix_init(struct disk_posix *, const char *root, bool nosync);
void disk_posix_fini(struct disk_posix *);

#endif
