/*
 * What the files of store/ share. Nobody else includes it.
 *
 * struct store_env is one LMDB file: installing a snapshot replaces it, and the old one lives on until the last view of
 * it is closed. struct store_state is the part of the state that is not keys. struct store_view reads; the writer's own
 * transaction is a store_view too (store.writer), so that reads inside a command are the same code as reads outside.
 */
#ifndef STORE_PRIV_H
#define STORE_PRIV_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/histogram.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/obj.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/raft.pb-c.h"
#include "store/record.h"
#include "store/store.h"
#include "store/view.h"
#include "store/watch.h"

/* Version of the files; a newer one is refused. */
#define STORE_FORMAT 1

/* DB_MAIN is LMDB's unnamed one: the record "state" stands there, on a page that every commit writes anyway. */
enum store_db { DB_KEYS, DB_LONG, DB_LOG, DB_LEASE, DB_LEASEKEY, DB_META, DB_N, DB_MAIN = DB_N };

#define VIEW_POOL 64

struct store_env {
	struct ref ref;
	MDB_env *env;
	MDB_dbi dbi[DB_N + 1];
	uint64_t generation; /* N of the file name db.N */
	char *path;
	void *map;           /* where the file is mapped; NULL: unknown */
	bool remove;         /* the file goes with the last reference: another one has replaced it */
	_Atomic(struct store_view *) pool[VIEW_POOL]; /* closed views whose reader slot is kept */
	_Atomic(char *) damage; /* the first record that did not match its checksum, in words; or NULL */
};

/* The record "state": the same on every member at the same applied index (save next_node). */
struct store_state {
	uint64_t cluster_id;
	uint64_t index, term;
	int64_t revision;   /* 1 when nothing was ever written */
	int64_t compact;    /* -1 when never compacted */
	uint64_t hash;      /* rolling */
	uint64_t next_node; /* store/keys.h */
	bool nospace, corrupt; /* alarms that are on; derived from the alarm records, kept here for speed */
	bool auth;             /* requests are checked; kept in the auth record too, here for speed */
	uint64_t auth_revision; /* of the auth record; in the writer's states only */
};

/* The record "local": this member's own. */
struct store_local {
	uint64_t member_id;
	int64_t compacted;  /* physical removal is finished up to here */
	struct rev cursor;  /* where the running removal goes on */
};

struct store_view {
	struct store_env *env;
	MDB_txn *txn;
	struct store_state state;
	uint64_t member_id;
};

struct lessor;

struct store {
	char *dir;
	int lock_fd;
	bool no_sync;
	uint64_t map_size;
	unsigned max_readers;
	uint64_t quota;

	/* Guards env (the pointer) and hubs; held for a few instructions. */
	pthread_mutex_t lock;
	struct store_env *env;
	struct list hubs;

	/* The writer's. */
	bool in_batch;
	struct store_view writer;     /* in a batch, or sealed: the write transaction and the state as it goes */
	struct store_state state;     /* as committed or sealed */
	struct store_state committed;
	struct store_local local, local_saved;
	MDB_cursor *log_cursor;
	MDB_cursor *key_cursor; /* of DB_KEYS: what was found by it is written without another search */
	size_t batch_bytes;
	size_t batch_writes, batch_appended; /* heads, and bytes behind the log's end or on pages of their own: store_batch_pages */
	unsigned writes_since_quota_check;
	size_t bytes_since_quota_check;
	size_t pages_since_trim, pages_since_checkpoint;
	unsigned idle_calls;
	struct watch_batch *events;   /* of the batch; NULL while there are none */
	bool collect;                 /* somebody may want the events of this batch */
	struct buf scratch, response;
	struct arena arena;           /* of the command that is applied */
	uint32_t sub;                 /* next sub-revision of the command that is applied */
	bool changed;                 /* the command has written and so advanced the revision */
	struct lessor *lessor;
	struct auth_tokens *tokens;   /* [any] */

	/* Sealed batches: seal.c. */
	atomic_ullong n_sealed, n_settled; /* how many ever; n_settled under lock, and only the writer adds */
	pthread_cond_t settled_cond;
	_Atomic pthread_t writer_thread;   /* of the newest sealed one */
	void (*wanted)(void *arg);         /* [any] the writer is asked to settle */
	void *wanted_arg;
	atomic_uint n_watchers;            /* of all hubs */

	/* Checkpoints. */
	MDB_txn *pin;                 /* the reader that holds the last durable checkpoint */
	struct store_env *pin_env;
	MDB_txn *failed_pin;          /* of a checkpoint that could not be synced */
	struct store_env *failed_env;
	struct store_applied durable;
	struct store_checkpoint *checkpoint;
	uint64_t last_generation; /* of the newest file that was begun */
	bool checkpoint_failed;
	struct store_install *install;

	/* For any thread. */
	struct histogram commits;
	_Atomic uint64_t counts[STORE_N_COUNTS];
	atomic_llong pub_revision, pub_compact, pub_compacted;
	atomic_bool pub_over_quota, pub_auth;
	atomic_ullong pub_auth_revision;
	struct store_hash pub_hash;   /* under lock */
};

/*
 * How a client's request can fail, as positive numbers, so that they never mix with faults of the member (negative error
 * codes): functions here that look at requests return 0, an answer, or a fault.
 */
enum answer {
	ANSWER_OK = 0,
#define ANSWER(name, code, grpc, text) ANSWER_##name,
#include "store/answers.def"
#undef ANSWER
	ANSWER_N,
};

/* --- env.c ------------------------------------------------------------------------------------------- */

/* An LMDB return code as an error: corruption, space and I/O are told apart. */
int store__mdb_err(struct err *, int rc, const char *what);
char *store__db_path(const char *dir, uint64_t generation);
/* What LMDB knows it by. */
const char *store__db_name(enum store_db);
/* The file must exist or `create`. Opens the databases, too. */
/* ERR_CORRUPT when the file has been cut; or make it as long as it says. */
int store__env_span(struct store_env *, bool grow, struct err *);
int store__env_open(const char *path, uint64_t generation, uint64_t map_size, unsigned max_readers, bool create,
		struct store_env **ret, struct err *);
void store__env_unref(struct store_env *);
/* The current one, referenced. Any thread. */
struct store_env *store__env_get(struct store *);
/* Bytes of the file and of the pages in it that hold data. */
int store__env_size(struct store_env *, MDB_txn *, uint64_t *ret_file, uint64_t *ret_used, struct err *);
/* Read the state of the current file into the writer's copies. */
int store__load(struct store *, struct err *);
/* About how many pages the last commit wrote. */
size_t store__pages_written(struct store_env *);
/* Let go of the memory that reading the file has mapped in; the kernel keeps what it wants in its cache. */
void store__env_trim(struct store_env *);
int store__view_open_env(struct store_env *env_ref, struct store_view **ret, struct err *);

/* --- meta.c ------------------------------------------------------------------------------------------ */

int store__state_load(struct store_env *, MDB_txn *, struct store_state *ret, struct store_local *ret_local, struct err *);
int store__state_save(struct store_env *, MDB_txn *, const struct store_state *, struct err *);
#define STATE_SIZE 64
void store__state_encode(const struct store_state *, uint8_t out[STATE_SIZE]);
int store__state_decode(struct str bytes, struct store_state *ret, struct err *);
int store__local_save(struct store_env *, MDB_txn *, const struct store_local *, struct err *);
int store__alarm_set(struct store_view *, uint64_t member, int type, bool on, bool *ret_changed, struct err *);
int store__blob_put(struct store_view *, bool replicated, const char *name, struct str value, struct err *);
int store__blob_get(struct store_view *, bool replicated, const char *name, struct buf *value, struct err *);
/* Does a DB_META key travel in snapshots? */
bool store__meta_is_replicated(struct str key);
int store__lease_record_get(struct store_view *, int64_t id, int64_t *ret_ttl, int64_t *ret_remaining, struct err *);
int store__lease_record_put(struct store_view *, int64_t id, int64_t ttl, int64_t remaining, struct err *);
int store__lease_record_del(struct store_view *, int64_t id, struct err *);
/* Other records of DB_META. get: borrowed from the database, ERR_NOT_FOUND silently. */
int store__meta_get(struct store_view *, struct str key, struct str *ret, struct err *);
int store__meta_put(struct store_view *, struct str key, struct str body, struct err *);
int store__meta_del(struct store_view *, struct str key, struct err *);
/* fn(key behind the prefix, body) in order, until it returns false. It must not write. */
int store__meta_scan(struct store_view *, struct str prefix, bool (*fn)(void *, struct str, struct str), void *arg,
		struct err *);
/* fn(id, ttl, remaining) for every lease. */
int store__lease_records(struct store_view *, bool (*fn)(void *, int64_t, int64_t, int64_t), void *arg, struct err *);

/* --- mvcc.c: versions of keys, read and written ------------------------------------------------------- */

/* The head (live or tombstone); ERR_NOT_FOUND silently (e is not set). */
int store__head_get(struct store_view *, struct str key, struct head *ret, struct err *);
/* The change at `at`; ERR_NOT_FOUND silently. */
int store__change_get(struct store_view *, struct rev at, struct change *ret, struct err *);
/* The version of a head's key that was in force at rev.main (with all its subs); ERR_NOT_FOUND silently if none. */
int store__version_at(struct store_view *, const struct head *, int64_t rev, struct store_kv *ret, uint32_t *ret_crc,
		struct err *);
/* What a watch tells of a change. */
int store__event_of(struct store_view *, const struct change *, struct store_kv *ret, bool *ret_has_prev,
		struct store_kv *ret_prev, struct err *);
/* Writes, in the writer's transaction. The first one of a command advances the revision. The lease exists; key and value
 * are not in the database's memory. */
int store__put(struct store *, struct str key, struct str value, int64_t lease, struct err *);
/* 0 when it was deleted, ERR_NOT_FOUND silently when there was nothing. */
int store__delete(struct store *, struct str key, struct err *);
/*
 * A version as it once was elsewhere, behind all that is there: its revision becomes the store's. kv: key, value,
 * create_revision, version, lease (one that is not there is left out). In a batch, outside of a command.
 */
int store__import_version(struct store *, struct rev at, bool tombstone, const struct store_kv *kv, struct err *);
/* rev <= 0 becomes the view's; 0 or an answer: future, compacted. */
int store__rev_check(const struct store_view *, int64_t *rev);

/* --- command.c: the form of requests; range.c: executing reads; apply.c: executing commands -------------------- */

/* An answer as an error: its code and text. Faults (negative) pass through, e is filled already. */
int store__answer_err(int answer, struct err *);

/* meta.c: a record of the small databases against the checksum before it. */
int store__body_check(struct str key, MDB_val, struct str *ret_body, struct err *);

/* damage.c */
/* One record as it stands in a database, or in a snapshot of it. ERR_CORRUPT, with the key. */
int store__record_check(enum store_db, struct str key, struct str value, struct err *);
/* Passes rc on; the first ERR_CORRUPT of a database file is noted and logged. */
int store__noted(const struct store_view *, int rc, const struct err *);
void store__note_damage(struct store_env *, const struct err *);
/* ERR_CORRUPT when the directory's store is not to be opened any more. */
int store__condemned(const char *dir, struct err *);
/* A raftpb.Result that says so. */
void store__result_error(struct buf *out, int answer);
/* `bytes` as a message of the arena that may borrow from them, and its form checked. */
int store__command_unpack(struct arena *, struct str bytes, Raftpb__Command **ret);
/* unpack.c: the same of a plain put or transaction, without the checks of its form; false: it is none. */
bool store__plain_unpack(struct arena *, struct str bytes, Raftpb__Command **ret);
int store__range_unpack(struct arena *, struct str bytes, Etcdserverpb__RangeRequest **ret);
int store__txn_unpack(struct arena *, struct str bytes, Etcdserverpb__TxnRequest **ret);
bool store__txn_writes(const Etcdserverpb__TxnRequest *);
bool store__txn_puts(const Etcdserverpb__TxnRequest *);
/* Append the fields of a RangeResponse. */
int store__range(struct store_view *, const Etcdserverpb__RangeRequest *, bool whole_header, struct buf *out, struct err *);

/*
 * A transaction as it goes. All compares, of nested ones too, are decided before anything is done: `path` has one byte
 * for each transaction that is entered, in the order in which they are met.
 */
struct txn_run {
	struct store *store;     /* NULL: read-only, on a view */
	struct store_view *view;
	struct buf path;
	size_t step;
	bool want;               /* somebody waits for the responses */
	struct buf *out;
};
int store__txn_decide(struct txn_run *, const Etcdserverpb__TxnRequest *, struct err *);
/* Revisions, leases and keys that the branches taken need. */
int store__txn_check(struct txn_run *, const Etcdserverpb__TxnRequest *, struct err *);
/* Append the fields of a TxnResponse. Nothing of a client's can fail here. */
int store__txn_execute(struct txn_run *, const Etcdserverpb__TxnRequest *, bool whole_header, struct err *);
/* Does the lease exist, and the key if the put refers to what it holds? */
int store__put_check(struct store_view *, const Etcdserverpb__PutRequest *, struct err *);
int store__put_request(struct store *, const Etcdserverpb__PutRequest *, bool whole_header, struct buf *out, struct err *);
int store__delete_request(struct store *, const Etcdserverpb__DeleteRangeRequest *, bool whole_header, struct buf *out,
		struct err *);

/* --- auth.c, auth_perm.c, auth_token.c ------------------------------------------------------------------ */

/* May the command's requester do this? 0 or an answer. */
int store__auth_check(struct store_view *, const Raftpb__Command *, struct err *);
/* One of the commands that change users, roles, or whether they matter. */
int store__auth_apply(struct store *, const Raftpb__Command *, bool want, struct buf *out, struct err *);

struct auth_tokens *store__tokens_new(void);
void store__tokens_free(struct auth_tokens *);
void store__tokens_add(struct auth_tokens *, struct str token, struct str user);
/* All of a user, or (NULL) of everybody. */
void store__tokens_drop(struct auth_tokens *, const char *user);

/* --- lessor.c ----------------------------------------------------------------------------------------- */

struct lessor *store__lessor_new(void);
void store__lessor_free(struct lessor *);
/* Forget all and read the leases of the view. */
int store__lessor_load(struct lessor *, struct store_view *, struct err *);
/* Noted in a batch, done by commit or forgotten by rollback. */
void store__lessor_grant(struct lessor *, int64_t id, int64_t ttl, int64_t remaining);
void store__lessor_revoke(struct lessor *, int64_t id);
void store__lessor_commit(struct lessor *);
void store__lessor_rollback(struct lessor *);

/* --- store.c: for seal.c; seal.c --- */

void store__publish_figures(struct store *);
/* Nothing is sealed any more: it was committed, or undone. */
void store__settled(struct store *);
/* Ask for it, or wait until all is committed that is sealed now. [any] */
void store__want_settled(struct store *);
int store__await_settled(struct store *, struct err *);

/* --- compact.c ----------------------------------------------------------------------------------------- */

/* Remove up to `max` changes below the compacted revision, in the writer's transaction. */
int store__compact_slice(struct store *, size_t max, struct err *);
static inline bool store__compact_pending(const struct store *s)
{
	return s->local.compacted < s->writer.state.compact;
}

/* --- snapshot.c --- */

/* A snapshot of a read transaction that stays its owner's. */
int store__snapshot_open_txn(struct store_env *, MDB_txn *, struct store_snapshot **ret, struct err *);

/* --- install.c, store.c: for defrag.c --- */

/* A chunk of the store's own state, as far as the checks go that only a foreign snapshot needs. */
int store__install_copy(struct store_install *, struct str chunk, bool *ret_last, struct err *);
struct store_env *store__install_env(struct store_install *);
/* Its file is not removed by store_install_abort. */
void store__install_keep(struct store_install *);
/* A store on another file of the same directory: no readers, no hubs, no checkpoints. Takes a reference to env. */
int store__shadow_new(const struct store *, struct store_env *, struct store **ret, struct err *);

/* --- checkpoint.c -------------------------------------------------------------------------------------- */

/* What the file `checkpoint` says. */
struct checkpoint_file {
	uint64_t generation;
	uint64_t cluster_id, member_id;
	struct store_applied applied;
	int64_t revision;
	uint32_t page_size;
	uint8_t *meta; /* page_size bytes, heap */
};
/* ERR_NOT_FOUND when there is none. */
int store__checkpoint_read(const char *dir, struct checkpoint_file *ret, struct err *);
int store__checkpoint_write(const char *dir, const struct checkpoint_file *, bool no_sync, struct err *);
/* Make the database file be the checkpoint again. */
int store__checkpoint_restore(const char *path, const struct checkpoint_file *, struct err *);
/* Pin the last committed transaction of `env` and copy its meta page (malloc). */
int store__checkpoint_pin(struct store_env *, MDB_txn **ret_pin, uint8_t **ret_meta, uint32_t *ret_page_size, struct err *);
void store__pin_release(struct store *);
void store__pins_close(struct store *);

/* --- watch side: batch.c, hub.c ------------------------------------------------------------------------- */

/* Note an event of the command that is applied. prev NULL: none. */
void store__event(struct store *, bool is_delete, const struct store_kv *kv, const struct store_kv *prev, struct rev at);
/* Drop the events noted since `mark` / all. */
void store__events_drop(struct store *);
/* After a commit: hand them to the hubs. `advanced`: there is a new revision. */
void store__publish(struct store *, bool advanced);
/* After an install: hubs find out for themselves. */
void store__publish_reset(struct store *);

#endif
