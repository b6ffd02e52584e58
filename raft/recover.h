/*
 * A new cluster out of what is left of an old one: offline, on data directories that no process uses.
 *
 * kv_restore makes a member's data directory from a snapshot file. Every member of the new cluster is made from the same
 * file with the same list, and gets the same cluster id; none of an older cluster can speak to it.
 *
 * kv_recover makes a cluster of one member out of a survivor's own directory: its store, and all entries in its log, also
 * those of which it does not know that they were committed (each may have been acknowledged). What only the lost members
 * had is lost, and clients may have seen it. The cluster's and the member's id are new, so that members of the old cluster that come back later are
 * refused; they may still form a majority among themselves, which nobody here can prevent. The old log stays beside as
 * *.wal.old. It may be run again after it was cut off anywhere.
 */
#ifndef RAFT_RECOVER_H
#define RAFT_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/kv.h"
#include "store/snapfile.h"

/*
 * By how much the revision is raised unless the user says otherwise (store_bump_revision): at a thousand writes a second, what eleven
 * days bring.
 */
#define KV_BUMP_DEFAULT 1000000000

struct kv_restore_cfg {
	const char *data_dir, *name;
	const char *addr, *url;           /* of this member, when there is no list */
	const struct kv_peer *initial;    /* or all members, this one among them */
	size_t n_initial;
	int64_t bump; /* store_bump_revision; the same for all members: others are of another cluster */
};
int kv_restore(const struct kv_restore_cfg *, const char *path, struct snapfile_info *ret, struct err *);

struct kv_recover_cfg {
	const char *data_dir;
	const char *addr, *url; /* NULL: as it was */
	bool dry_run;           /* only look */
	int64_t bump;           /* store_bump_revision; not again by a run that ends an earlier one */
};

struct kv_recover_report {
	uint64_t old_cluster_id, old_member_id, new_cluster_id;
	char name[KV_NAME_MAX];
	uint64_t term, checkpoint_index, last_index; /* entries up to last_index are kept */
	int64_t revision;                            /* afterwards; with dry_run that of the checkpoint */
	char damage[256];                            /* where the log is damaged: what is behind is lost; "" */
	bool resumed;                                /* an earlier run was cut off; this one ends it */
	struct kv_member members[KV_MAX_MEMBERS];    /* of the old cluster */
	size_t n_members;
};
int kv_recover(const struct kv_recover_cfg *, struct kv_recover_report *ret, struct err *);

#endif
