/* Small synchronous file-system helpers of the kubelet: trees, mounts, whole files. */
#ifndef KUBELET_FSUTIL_H
#define KUBELET_FSUTIL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* mkdir -p; existing directories are fine. */
int fs_mkdir_all(const char *path, mode_t mode, struct err *e);
/* rm -r that never crosses into another file system or follows a link. Absent: success. */
int fs_remove_tree(const char *path, struct err *e);
/* Unmount (lazily) everything mounted at or below the path, innermost first. Returns how many. */
int fs_unmount_below(const char *path);
bool fs_is_mount_point(const char *path);

#endif
