/* Backups of an etcd (its snapshot files, or a stopped member's member/snap/db), for `kontiki snapshot`. */
#ifndef CLI_ETCD_BACKUP_H
#define CLI_ETCD_BACKUP_H

#include <stdbool.h>

#include "base/err.h"

struct arena;

/* Is the file one? */
bool etcd_backup_is(const char *path);
/* Read all of it and say on stdout what is in it. */
int etcd_backup_status(const char *path, struct err *);
/*
 * Make one of our snapshot files of it, below the folder `dir`, which is made and may be removed afterwards; *ret_file is in
 * the arena. *ret_kubernetes: it has the objects of a Kubernetes API server, whose clients keep revisions.
 */
int etcd_backup_convert(const char *path, const char *dir, struct arena *, const char **ret_file, bool *ret_kubernetes, struct err *);

#endif
