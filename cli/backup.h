/* Snapshots of the local store, taken now and then on a thread of its own, the oldest removed. */
#ifndef CLI_BACKUP_H
#define CLI_BACKUP_H

#include "base/err.h"

struct backup;
struct store;

struct backup_cfg {
	struct store *store; /* outlives the backup */
	const char *dir;     /* made when missing */
	unsigned interval_s, keep;
};

/* The first one is taken an interval after the newest that is there, or at once. Failures are logged and tried again. */
int backup_start(const struct backup_cfg *, struct backup **ret, struct err *e);
/* NULL is allowed. Waits for one that is under way. */
void backup_stop(struct backup *);

#endif
