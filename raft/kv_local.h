/*
 * A one-member kv without network, and blocking calls: for unit tests and tools. Not from a loop's own thread (the answer
 * would wait for the caller).
 */
#ifndef RAFT_KV_LOCAL_H
#define RAFT_KV_LOCAL_H

#include "base/buf.h"
#include "raft/kv.h"

/* A cluster of this member alone below `dir` (made when missing); no fdatasync, no automatic compaction. Waits until it
 * leads. Stop with kv_stop. */
int kv_local_start(const char *dir, struct kv **ret, struct err *);
/* Propose an encoded raftpb.Command and wait. The encoded etcd response is appended to *response (may be NULL). */
int kv_propose_wait(struct kv *, struct str command, struct buf *response, uint64_t *ret_revision, struct err *);
int kv_barrier_wait(struct kv *, struct err *);
/* The seconds left; -1: no such lease. Waits 3 s at the most. */
int kv_lease_wait(struct kv *, int64_t lease, bool renew, int64_t *ret_left, struct err *);
/* Wait until this member leads (true) or the time is up. */
bool kv_leader_wait(struct kv *, uint32_t timeout_ms);
int kv_member_add_wait(struct kv *, const struct kv_peer *, uint64_t *ret_id, struct err *);
int kv_member_remove_wait(struct kv *, uint64_t id, struct err *);
int kv_member_promote_wait(struct kv *, uint64_t id, enum kv_why *ret_why, struct err *);
int kv_member_update_wait(struct kv *, uint64_t id, const struct kv_peer *, struct err *);
int kv_defragment_wait(struct kv *, struct err *);
int kv_transfer_wait(struct kv *, uint64_t id, struct err *);

#endif
