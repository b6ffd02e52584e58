/*
 * struct store: the replicated state of one member, as etcd's MVCC model defines it, on LMDB.
 *
 * The state is a function of the applied log: store_apply takes one committed entry and gives its answer. It is
 * deterministic (no clock, no randomness), so members that applied the same entries hold the same state and have given
 * the same answers. Entries are applied in batches; a batch is one LMDB transaction that carries the applied index and
 * term with the data, so state and index never part.
 *
 *	store_open(&cfg, &store, &e);
 *	index = store_applied(store).index;            the log is replayed from index + 1
 *	store_begin(store, &e);
 *	store_apply(store, index, term, command, &response, &e);       as many as there are
 *	store_skip(store, index, term, &e);                            entries without a command
 *	store_commit(store, &e);                       only now: answer clients, views and watches see it (or store_seal)
 *	store_close(store);
 *
 * Durability. A commit is not synced: the raft log makes writes durable. A *checkpoint* makes the state durable now
 * and then, in constant time; opening the store always goes back to the last checkpoint, whatever happened to the
 * process or the machine, and the log is replayed from there. So the log may be cut up to the checkpoint's index and not
 * further. store_close takes a last checkpoint.
 *
 * Files in the directory: `checkpoint` (the durable truth: which database file, LMDB's meta page, index, checksum),
 * `db.N` (the LMDB file) and `db.N-lock`. Anything else named db.* there is left over and removed by store_open.
 *
 * Threads: the thread that calls store_begin and the like is the *writer* (the raft loop). What is marked [any] may be
 * called from any thread. All else belongs to the writer. Reads from other threads: store/view.h, store/watch.h.
 *
 * Errors: a negative return from a function here is a fault of this member (disk, corruption, misuse): the caller stops
 * serving. What a client did wrong is part of the answer: see struct store_result.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct store;

struct store_cfg {
	const char *dir;        /* made when missing (one level) */
	uint64_t cluster_id;    /* stamped into a new directory; an old one must match (0: do not check) */
	uint64_t member_id;     /* likewise; it shows in response headers */
	uint64_t map_size;      /* most bytes the database may ever have; 0: 16 GiB. Address space, not memory or disk */
	uint64_t quota_bytes;   /* see store_over_quota; 0: 2 GiB */
	unsigned max_readers;   /* views open at the same time; 0: 512 */
	bool no_sync;           /* tests and the simulator: a checkpoint is written but not synced */
};

/*
 * Open or make. Afterwards the state is that of the last checkpoint. ERR_FAILED_PRECONDITION: the directory belongs to
 * another cluster or member, or has a newer format; ERR_CORRUPT: a checksum does not match; ERR_IO.
 */
int store_open(const struct store_cfg *, struct store **ret, struct err *);
/* Checkpoint, then close. All views, hubs and snapshots are closed before. NULL is allowed. The error is logged only. */
void store_close(struct store *);
/* Close without a checkpoint, as a crash would: what was applied since the last one is gone. */
void store_abandon(struct store *);

/*
 * [any] Has something that was read from the present database file not matched its checksum? Then *e says what; it was not
 * served. What to do about it is the caller's: where others have the state, store_condemn (writer), which makes every later
 * store_open answer ERR_CORRUPT with this reason, and store_set_aside, when nobody has it open: the directory becomes DIR.bad
 * (an earlier one goes), and store_open begins a new one.
 */
bool store_damage(struct store *, struct err *);
int store_condemn(struct store *, const char *why, struct err *);
int store_set_aside(const char *dir, struct err *);

struct store_applied {
	uint64_t index, term; /* 0, 0: nothing yet */
};
struct store_applied store_applied(const struct store *);
uint64_t store_cluster_id(const struct store *);
uint64_t store_member_id(const struct store *);
/* Set both, once, in a directory that was opened with 0 for them (a member that joins learns them late). Not in a batch;
 * durable when it returns. */
int store_set_ids(struct store *, uint64_t cluster_id, uint64_t member_id, struct err *);

/*
 * A store made from a backup is behind what clients of the one before have seen: they wait for revisions that will not come, and take
 * what comes for old. So its revision is moved beyond theirs, and all that is older counts as compacted, which tells every watcher to
 * read anew. In a batch. 0: nothing. ERR_INVALID with nothing changed when the revision would leave no room to go on: what
 * store_bump_check says beforehand.
 */
int store_bump_revision(struct store *, int64_t by, struct err *);
int store_bump_check(int64_t revision, int64_t by, struct err *);

/* --- Applying ----------------------------------------------------------------------------------------- */

int store_begin(struct store *, struct err *);
/*
 * One committed entry: `command` is an encoded raftpb.Command. index must be the last applied index + 1 or more (gaps are
 * entries that concern the log only). The answer, an encoded raftpb.Result, is appended to `result` (NULL: not wanted):
 * it is what store_result_parse reads. Bytes that are no command get an answer too (they are in the log for ever).
 */
int store_apply(struct store *, uint64_t index, uint64_t term, struct str command, struct buf *result, struct err *);
/* An entry that changes no data (a no-op, a configuration): only index and term move. */
int store_skip(struct store *, uint64_t index, uint64_t term, struct err *);
/*
 * Makes the batch visible to views and publishes its events to the watch hubs. Does some compaction work if there is. After
 * an error it is as if the batch had never begun: with ERR_NO_SPACE (a full disk) it may be tried again later.
 */
int store_commit(struct store *, struct err *);
/*
 * Ends the batch as well, but its transaction stays open for the next one: fewer commits are fewer pages. It may be answered:
 * views see it, because opening one commits it first (seal.c), and figures speak of it; watch hubs hear of it with the commit.
 * Should that commit fail, all batches of the transaction are undone, and store_applied falls back: they are in the log.
 */
void store_seal(struct store *);
bool store_is_sealed(const struct store *);
/* Commit what is sealed, if anything. Not in a batch. */
int store_settle(struct store *, struct err *);
/* fn ([any] thread) is to have the writer call store_settle: somebody waits for it. Without it nothing may be sealed while other
 * threads open views. */
void store_on_wanted(struct store *, void (*fn)(void *arg), void *arg);
/* Is there a watcher, who should hear of a batch at once? */
bool store_is_watched(const struct store *);
/* Undo all since store_begin, and what was sealed before. */
void store_rollback(struct store *);
/* Bytes of keys and values written in this batch so far: a caller commits when it grows past a few MiB. */
size_t store_batch_bytes(const struct store *);
/* About how many pages the open transaction has changed, in memory until it is committed; rather too many than too few. */
size_t store_batch_pages(const struct store *);

/*
 * Work that waits for an idle moment (a caller asks every second or so): letting go of mapped memory, and physical removal
 * of compacted history, in slices of some milliseconds; its progress is this member's own affair and no reader can see it.
 * Not in a batch. *ret_more: call again.
 */
int store_work(struct store *, bool *ret_more, struct err *);

/* An answer taken apart; borrowed from its bytes. */
struct store_result {
	uint32_t grpc_code;  /* 0: fine */
	struct str message;  /* etcd's text of the error */
	struct str response; /* encoded etcd response of the command's kind */
};
int store_result_parse(struct str bytes, struct store_result *ret, struct err *);
/*
 * 0 when the command succeeded; else the error as a code that callers can tell apart: ERR_EXPIRED "compacted",
 * ERR_OUT_OF_RANGE "future revision", ERR_NOT_FOUND lease, ERR_BAD_REQUEST malformed, ERR_NO_SPACE, ERR_CORRUPT alarm...
 */
int store_result_err(const struct store_result *, struct err *);
/* [any] Would this command be refused for its form alone? The same check as in store_apply, for who proposes. */
int store_command_check(struct str command, struct err *);

/* Small named values (membership, configuration) kept with the state: at most 1 MiB each, names up to 64 bytes.
 * `replicated` ones travel in snapshots and are replaced by an install; the others belong to this member. In a batch. */
int store_blob_put(struct store *, bool replicated, const char *name, struct str value, struct err *);
/* Appended to *value; ERR_NOT_FOUND when absent. In a batch it sees the batch. */
int store_blob_get(struct store *, bool replicated, const char *name, struct buf *value, struct err *);

/* --- Figures ------------------------------------------------------------------------------------------ */

/* [any] The revision of the last commit; the lowest that can be read (-1: never compacted). */
int64_t store_revision(const struct store *);
int64_t store_compact_revision(const struct store *);
/* [any] How often commands did so on this member since it was opened, transactions' operations included. */
enum store_count { STORE_PUTS, STORE_DELETES, STORE_TXNS, STORE_GRANTS, STORE_REVOKES, STORE_N_COUNTS };
uint64_t store_count(const struct store *, enum store_count);
/* [any] How long commits took. */
struct histogram;
const struct histogram *store_commits(const struct store *);
/* [any] Mixed from every change in applied order: equal indexes must show equal values on all members. */
struct store_hash {
	uint64_t index, hash;
};
struct store_hash store_rolling_hash(struct store *);
/* The hash after the last entry applied in this batch (writer, in a batch). */
uint64_t store_batch_hash(const struct store *);

struct store_stats {
	uint64_t applied_index, applied_term;
	int64_t revision, compact_revision;
	uint64_t file_bytes;   /* the database file's size on disk */
	uint64_t in_use_bytes; /* pages that hold data */
	uint64_t quota_bytes;
	uint64_t n_keys;       /* heads: live keys and tombstones */
	uint64_t n_log, n_leases;
	uint64_t checkpoint_index;
	bool compacting;       /* physical removal is not finished */
	bool alarm_nospace, alarm_corrupt;
};
int store_stats(struct store *, struct store_stats *ret, struct err *);
/*
 * [any] The database is over its quota: whoever proposes then refuses puts with ERR_NO_SPACE and proposes
 * Alarm{ACTIVATE, NOSPACE}, which makes every member refuse them until it is disarmed.
 */
bool store_over_quota(const struct store *);
/* [any] Is physical removal up to `rev` finished (CompactionRequest.physical waits for it)? */
bool store_compacted_physically(const struct store *, int64_t rev);

/* --- Leases: deadlines live in memory, on the leader ------------------------------------------------------ */

/* This member leads from now on: every lease gets its full (or checkpointed) time again, plus `extend_ms`. */
void store_leases_promote(struct store *, uint64_t now_ms, uint64_t extend_ms);
/* No longer: no lease ends here. */
void store_leases_demote(struct store *);
/* Ids of leases that are past their deadline, at most `max`; the caller proposes LeaseRevoke for each. */
size_t store_leases_expired(struct store *, uint64_t now_ms, int64_t *ids, size_t max);
/* When the next lease ends (clock of now_ms), UINT64_MAX: none. */
uint64_t store_leases_next(const struct store *);
/*
 * Keep alive: a new full term. Returns the TTL in seconds; 0: no such lease, or it is past its deadline already. A lease with a
 * checkpoint must have it taken back first (LeaseCheckpoint{id, 0}), or the next leader would give it less than was promised here.
 */
int64_t store_lease_renew(struct store *, int64_t id, uint64_t now_ms);
bool store_lease_has_checkpoint(const struct store *, int64_t id);
/* fn(id, seconds that are left, rounded up) for each lease that has more than least_s left. It must not write. */
void store_leases_left(struct store *, uint64_t now_ms, int64_t least_s, void (*fn)(void *arg, int64_t id, int64_t left), void *arg);
/* Seconds left and granted; *ret_left is -1 when there is no such lease (or it is past its deadline). */
void store_lease_ttl(struct store *, int64_t id, uint64_t now_ms, int64_t *ret_left, int64_t *ret_granted);
/* Shortest TTL that LeaseGrant gives (all members must agree: set it in the proposal, not here): 1 s. */
#define STORE_LEASE_MIN_TTL 1
#define STORE_LEASE_MAX_TTL 9000000000LL

/* --- Checkpoints -------------------------------------------------------------------------------------- */

struct store_checkpoint;

/*
 * begin (writer, right after a commit; cheap) fixes the state. sync ([any], a worker thread: it blocks on the disk) makes
 * it durable: after it returned 0 the log may be cut up to ->index. end (writer) lets go of the checkpoint before. Only
 * one at a time: ERR_UNAVAILABLE otherwise. A failed sync is final for this store (the caller stops the member).
 */
int store_checkpoint_begin(struct store *, struct store_checkpoint **ret, struct err *);
int store_checkpoint_sync(struct store_checkpoint *, struct err *);
void store_checkpoint_end(struct store_checkpoint *, bool synced);
/*
 * Is one due for the sake of the file's size? Pages that a commit replaces cannot be used again before the next checkpoint,
 * so the file grows with every commit (a single put writes about ten pages). True after some 32 MiB of them; a caller asks
 * after commits, besides its own reasons.
 */
bool store_checkpoint_due(const struct store *);
/* All three in one, for tools and tests. */
int store_checkpoint(struct store *, struct err *);
/* The state that is durable. */
struct store_applied store_checkpointed(const struct store *);

/* --- Looking for damage ------------------------------------------------------------------------------------ */

/* Where a pass through the file is; zeros: at its beginning. */
struct store_scrub {
	uint8_t stage;
	uint16_t key_size;
	uint8_t key[512];
	uint64_t pages; /* looked at in this pass */
};
/*
 * [any] Look at the next stretch of some `max_pages` pages, as the disk has them: every page that is in use, its place in the file's
 * structure, the checksum of every record; in the first stretch all that leads to other pages. A stretch is of one state, which later
 * commits leave alone; a pass goes on in the state of then. *ret_done: the pass is over. ERR_CORRUPT: something is damaged, and store_damage
 * says so, too; unless *ret_head: it is the file `checkpoint` alone, which the next checkpoint writes anew.
 */
int store_scrub(struct store *, struct store_scrub *, size_t max_pages, bool *ret_done, bool *ret_head, struct err *);

/* --- Snapshots: the whole state to another member --------------------------------------------------------- */

struct store_snapshot;
/* A chunk is at most this long (its header included). */
#define STORE_CHUNK_MAX (1u << 20)

/* [any] Pin the present state; it keeps pages from being reused, so do not hold it for hours. */
int store_snapshot_open(struct store *, struct store_snapshot **ret, struct err *);
void store_snapshot_close(struct store_snapshot *);
struct store_applied store_snapshot_applied(const struct store_snapshot *);
int64_t store_snapshot_revision(const struct store_snapshot *);
/* Rough size of the whole stream. */
uint64_t store_snapshot_size(const struct store_snapshot *);
/* Append chunk number `n` (0, 1, ...) to *out; *ret_last: it is the last one. Chunks are asked for in order; going back
 * to any chunk that was made before is allowed (a connection broke). */
int store_snapshot_chunk(struct store_snapshot *, uint64_t n, struct buf *out, bool *ret_last, struct err *);

struct store_install;
/* Take a stream of chunks into a new database file beside the one in use. One at a time. */
int store_install_begin(struct store *, struct store_install **ret, struct err *);
/* The chunk that is expected next, for resuming. */
uint64_t store_install_next(const struct store_install *);
/* ERR_CORRUPT: checksum or form; ERR_OUT_OF_RANGE: not the chunk expected next; ERR_FAILED_PRECONDITION: foreign cluster. */
int store_install_chunk(struct store_install *, struct str chunk, bool *ret_last, struct err *);
/* [any] After the last chunk: make it durable. Blocks on the disk. */
int store_install_sync(struct store_install *, struct err *);
/*
 * Swap (writer, not in a batch): afterwards the store is the snapshot, checkpointed at its index. Open views keep the
 * old state until they close; hubs continue, or cancel watchers whose history is compacted. Frees the install in any case; after a failure the store
 * is as it was (ERR_UNAVAILABLE: a checkpoint is under way) or to be closed (ERR_IO).
 */
int store_install_finish(struct store_install *, struct err *);
/* Give up and remove the file. NULL is allowed. */
void store_install_abort(struct store_install *);

/* --- Giving file space back ------------------------------------------------------------------------------- */

struct store_defrag;
/*
 * begin (writer, not in a batch) fixes the state; copy ([any], a worker: it reads and writes everything) makes a file of it
 * without free pages. Then the entries behind store_defrag_applied are applied to the target, with store_begin, store_apply
 * and so on, until it is at the store's index; finish (writer) puts it in the store's place, and a checkpoint is due. finish
 * frees the defrag when it succeeds; else, or to give up, abort. One at a time, and none while a snapshot is installed.
 */
int store_defrag_begin(struct store *, struct store_defrag **ret, struct err *);
struct store_applied store_defrag_applied(const struct store_defrag *);
int store_defrag_copy(struct store_defrag *, struct err *);
struct store *store_defrag_target(struct store_defrag *);
int store_defrag_finish(struct store_defrag *, struct err *);
void store_defrag_abort(struct store_defrag *);
/*
 * The same with a state that another member sent, in place of a copy of this store's own: install_mends right after
 * store_install_begin (an older state is welcome then, and nothing is read from the store); adopt after the last chunk, takes the install in any case.
 */
void store_install_mends(struct store_install *);
int store_defrag_adopt(struct store *, struct store_install *, struct store_defrag **ret, struct err *);

/*
 * After a checkpoint failed, what the disk holds of the pages written since the one before is unknown, also when they can
 * still be read and a later sync succeeds. Then the store can only go back: the last good checkpoint, all of which is on the
 * disk, is copied into a new file, as a snapshot of itself, and the log is replayed from there. Views and hubs live on.
 *
 * begin: [any] thread, blocks on the disk, while the writer does nothing; then store_install_finish (writer), or
 * store_install_abort. Both may be repeated after a failure.
 */
bool store_needs_rebase(const struct store *);
int store_rebase_begin(struct store *, struct store_install **ret, struct err *);

#endif
