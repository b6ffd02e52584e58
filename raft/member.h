/*
 * struct member: one member of the cluster without threads, sockets, clocks or files of its own: libraft's core
 * (raft_step), the log, the WAL's bookkeeping, the store, proposals, read barriers, membership and snapshots. The shell
 * around it (kv.c with real ones, tests/sim with virtual ones) feeds it events and carries out what it asks for.
 *
 * Every event function only notes and steps; the shell calls member_flush once at the end of a turn (the member
 * asks for it with ops->kick), so that all that arrived in one turn shares one append, one disk write, one store
 * transaction and one read round.
 *
 *	proposal > queue > raft_step(SUBMIT) > log + WAL > ops->write ... member_written > committed > store > answer
 *	                 \ ops->send to the leader when this member is none ... answer
 *
 * Guards around the core's known defects (doc/architecture.md has the table): a refused pre-vote carries our own term
 * when that is higher; a configuration entry always begins an append; a follower that has not heard from its leader for
 * an election timeout votes; the uncommitted tail is bounded; a lone voter starts a term of its own.
 *
 * Belongs to one loop. All times are milliseconds of a monotonic clock, which need not have any relation to others'.
 */
#ifndef RAFT_MEMBER_H
#define RAFT_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/kv.h"
#include "raft/msg.h"
#include "raft/stable.h"
#include "raft/wal.h"
#include "store/store.h"

struct member;

/* A blocking piece of work: fn on any thread, then done on the member's loop. */
struct member_work {
	void (*fn)(struct member_work *);
	void (*done)(struct member_work *);
	struct member *member;
	struct list link; /* the shell's */
	int rc;
	struct err err;
};

struct member_ops {
	uint64_t (*now)(struct member *);
	/* Wall clock, milliseconds since 1970, for commands. */
	uint64_t (*wall)(struct member *);
	uint32_t (*random)(struct member *);
	/* Call member_timer at (or soon after) this time; replaces the earlier request. */
	void (*arm)(struct member *, uint64_t at);
	/* Call member_flush at the end of this turn. */
	void (*kick)(struct member *);
	/* Best effort. False: it was certainly not sent (no connection, budget used up). The bytes are copied. */
	bool (*send)(struct member *, uint64_t to, enum msg_channel, struct str frame);
	/* What was sent goes out now, not at the end of the turn. NULL: sending does not wait. */
	void (*push)(struct member *);
	/* wal_batch_write, then member_written. One at a time; the batch is the member's. */
	void (*write)(struct member *, struct wal_batch *);
	void (*work)(struct member *, struct member_work *);
	/* The members to keep connections with (without this one). */
	void (*peers)(struct member *, const struct kv_member *, size_t n);
	/* The status or role has changed. */
	void (*changed)(struct member *);
	/*
	 * The disk failed: this member does not take part any more. When the disk takes writes again, and this member is idle,
	 * a new one may be made on the same files, with member_durable_lsn of this one as trust_lsn.
	 */
	void (*disk_failed)(struct member *, const struct err *);
	/* Last event: nothing works any more. */
	void (*fatal)(struct member *, const struct err *);
	/* Give requests back to their callers. */
	void (*req_done)(struct member *, struct kv_req *);
	void (*barrier_done)(struct member *, struct kv_barrier *);
	void (*admin_done)(struct member *, struct kv_admin *);
	void (*lease_done)(struct member *, struct kv_lease *);
};

struct member_cfg {
	const struct member_ops *ops;
	struct disk *disk;
	struct stable *stable; /* open, with ids; outlives the member */
	struct store *store;   /* open, with the same ids; outlives the member */
	/* For a fresh directory: the first configuration. n_initial 0: wait for a leader (a joiner). */
	const struct kv_peer *initial;
	const uint64_t *initial_ids;
	size_t n_initial;
	/* What the cluster should know of this member; addr NULL: as it is. The strings outlive the member. */
	struct kv_peer self;
	unsigned election_ms, heartbeat_ms, compact_keep_ms;
	unsigned voters, dead_ms, replace_ms; /* see kv.h */
	bool places_only;
	int64_t compact_keep_revisions;
	uint64_t checkpoint_bytes;
	bool distrust;             /* see disk_failed */
	uint64_t trust_lsn;
	uint32_t segment_size;     /* 0: the WAL's default */
	size_t log_cache;          /* bytes; 0: 16 MiB */
	uint64_t max_log_bytes;    /* most that is kept for a snapshot on its way; 0: 256 MiB */
	uint64_t trailing_bytes;   /* log kept behind a checkpoint for slow members; 0: 8 MiB */
	bool no_crash_hint;        /* tests */
	unsigned lease_checkpoint_ms; /* how often the log is told what leases have left; 0: never */
	unsigned scrub_ms;         /* a pass through the store takes about so long; 0: a day; UINT_MAX: there is none */
	unsigned linger_ms;        /* so long may batches wait to be committed in the store together; 0: 1000; UINT_MAX: never */
	bool linger_always;        /* tests: also while somebody reads or watches */
};

/* Numbers are on the wire. JOIN: a member that starts asks for admission. */
enum member_admin_op {
	MEMBER_ADD = 1,
	MEMBER_REMOVE = 2,
	MEMBER_TRANSFER = 3,
	MEMBER_PROMOTE = 4,
	MEMBER_UPDATE = 5,
	MEMBER_JOIN = 6,
	MEMBER_DEFRAG = 7, /* this member's own affair: never sent */
};

/* ops that send or ask may be called inside already. */
int member_new(const struct member_cfg *, void *arg, struct member **ret, struct err *);
/* From now on everything answers ERR_UNAVAILABLE, also what waits. */
void member_stop(struct member *);
/* No write or work may be out (member_idle). The store stays open. */
void member_free(struct member *);
void *member_arg(const struct member *);

void member_flush(struct member *);
void member_timer(struct member *);
/* A whole frame from another member. `bytes` are borrowed for the call. */
void member_receive(struct member *, uint64_t from, struct str frame);
/* The connection to this peer broke; refused: a new one was refused at once (its host is up, its process is not). */
void member_peer_lost(struct member *, uint64_t peer, bool refused);
/* A connection to this peer is there: what waits for one may go. */
void member_peer_up(struct member *, uint64_t peer);
/* A view of the store is waited for, see store_on_wanted. */
void member_view_wanted(struct member *);
/* The batch was written, or why not. */
void member_written(struct member *, const struct err *);

void member_propose(struct member *, struct kv_req *);
void member_barrier(struct member *, struct kv_barrier *);
void member_admin(struct member *, struct kv_admin *);
void member_lease(struct member *, struct kv_lease *);
/* A request to join from a connection that is no member yet; the answer is a frame through reply. */
void member_join(struct member *, struct str frame, uint64_t conn);
/* Set by the shell: where answers to member_join go. */
void member_on_join_reply(struct member *, void (*reply)(struct member *, uint64_t conn, struct str frame));

bool member_is_leader(const struct member *);
uint64_t member_durable_lsn(const struct member *);
bool member_idle(const struct member *); /* no write and no work out */
void member_status(struct member *, struct kv_status *);
void member_role(struct member *, struct kv_role *);
/* For checks in the simulator. */
struct raft *member_raft(struct member *);

/* The id of an initial member, and the cluster's: from the whole list, the same on every member. */
uint64_t member_cluster_id(const struct kv_peer *, size_t n, const char *token);
uint64_t member_initial_id(uint64_t cluster_id, const char *name);

#endif
