/*
 * struct stable: the two small files that a member must never forget: who it is, and for whom it voted.
 *
 * `member` is written once, when the member is made or admitted: cluster id, member id, name, file format. `vote` holds
 * the current term and vote in two slots on different blocks, each with a checksum. A save writes and syncs the one
 * slot, then the other, and only then returns: whatever single block a crash tears or the disk rots, the other slot
 * has at least all that anybody was ever told. Both files are synced again when they are read, since the process before
 * may have died between its write and its sync.
 *
 * A third file, `peers`, is the newest committed configuration as the core encodes it. Nothing that is decided by votes
 * depends on it: it tells a member whose other files are damaged who could give it back what is lost.
 */
#ifndef RAFT_STABLE_H
#define RAFT_STABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "raft/disk.h"
#include "raft/kv.h"

struct stable {
	struct disk *disk;
	bool has_member; /* false: a fresh directory */
	bool joined;     /* it was admitted to a cluster: an empty log waits for the leader, it begins nothing */
	uint64_t cluster_id, member_id;
	char name[KV_NAME_MAX];
	int vote_fd;
	uint64_t vote_seq;
	uint64_t term, voted_for;
	uint32_t seal; /* over all of these: what stable_scrub writes must not have rotted in memory */
};

int stable_open(struct stable *, struct disk *, struct err *);
void stable_close(struct stable *);
int stable_save_member(struct stable *, uint64_t cluster_id, uint64_t member_id, const char *name, bool joined,
		       struct err *);
/*
 * Are `member` and `vote` on the disk what this process wrote or read? *ret_found: what is not, in words; "" when all is. It is written anew if what
 * this process knows is known to be true: its own checksum fits, and nothing on the disk is newer. Else ERR_CORRUPT.
 */
int stable_scrub(struct stable *, char ret_found[128], struct err *);
int stable_save_vote(struct stable *, uint64_t term, uint64_t voted_for, struct err *);
/* The bytes are the caller's affair. load: false when there is none, or it is damaged. */
int stable_save_peers(struct disk *, struct str bytes, struct err *);
/* The file holds these bytes, as the disk has it. */
bool stable_peers_are(struct disk *, struct str bytes);
bool stable_load_peers(struct disk *, struct buf *ret);

#endif
