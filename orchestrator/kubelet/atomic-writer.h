/*
 * Atomic updates of a directory that containers read (configMap, secret, downwardAPI and projected volumes).
 *
 * The files live in a hidden directory with a time in its name; `..data` is a symbolic link to it, and every
 * visible name is a link through `..data`. An update writes a new hidden directory and renames a new `..data` over
 * the old: a reader sees all of the old files or all of the new. The names are the ones that programs in
 * containers already know how to watch.
 */
#ifndef KUBELET_ATOMIC_WRITER_H
#define KUBELET_ATOMIC_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct aw_file {
	const char *path; /* relative, may have directories; checked by atomic_path_ok */
	struct str data;
	mode_t mode;
	uid_t uid; /* (uid_t)-1: leave */
};

/* A relative path without `..` components, not starting with `..`, not empty. */
bool atomic_path_ok(const char *path);
/*
 * Make `dir` hold exactly these files. gid: group of everything ((gid_t)-1: leave), which then may read. Sets
 * *ret_changed to false when the directory held the same already (nothing is written then).
 */
int atomic_write(const char *dir, const struct aw_file *files, size_t n_files, gid_t gid, bool *ret_changed,
		struct err *e);

#endif
