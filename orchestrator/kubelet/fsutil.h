/* Small synchronous file-system helpers of the kubelet: trees, mounts, whole files. */
#ifndef KUBELET_FSUTIL_H
#define KUBELET_FSUTIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* mkdir -p; existing directories are fine. */
int fs_mkdir_all(const char *path, mode_t mode, struct err *e);
/* rm -r that never crosses into another file system or follows a link. Absent: success. */
int fs_remove_tree(const char *path, struct err *e);
/*
 * What a tree takes of its disk: no file counts twice, nothing is counted in other file systems or behind links, nor deeper than 200
 * directories. *stop (may be NULL) ends it early. Absent: nothing. May take long: not for a loop.
 */
struct fs_use {
	int64_t bytes, inodes;
};
struct fs_use fs_tree_use(const char *path, const atomic_bool *stop);
/* Unmount (lazily) everything mounted at or below the path, innermost first. Returns how many. */
int fs_unmount_below(const char *path);
bool fs_is_mount_point(const char *path);

#endif
