/*
 * struct store_view: the state at one moment, for reading, from any thread.
 *
 * A view is an LMDB read transaction: it sees one committed revision for as long as it is open, without locks and
 * without copies. Keys and values it hands out point into the mapped file and are good until the view is closed. An open
 * view keeps pages from being reused: close it in the same loop turn; a view stays on the thread that opened it.
 *
 *	store_view_open(store, &v, &e);
 *	view_iter_init(&it, v, key, end, rev, 0);
 *	while ((r = view_iter_next(&it, &kv, &e)) > 0)
 *		use(kv.key, kv.value);
 *	store_view_close(v);
 *
 * Ranges are etcd's: `end` empty means the single key; end "\0" means every key from `key` on; else [key, end). rev <= 0
 * is the view's own revision. A rev above that is ERR_OUT_OF_RANGE, one below the compacted revision is ERR_EXPIRED, with
 * etcd's texts. Every record's checksum is checked as it is read: ERR_CORRUPT, and nothing of that record is handed out.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct store;
struct store_view;
struct view_iter;

struct store_kv {
	struct str key;
	struct str value;         /* empty in keys-only scans */
	int64_t create_revision;
	int64_t mod_revision;
	int64_t version;          /* 1 when created */
	int64_t lease;            /* 0: none */
};

#define STORE_TO_END STR("\0")

/* ERR_UNAVAILABLE: too many views are open (store_cfg.max_readers). */
int store_view_open(struct store *, struct store_view **ret, struct err *);
/* A view that has applied entry `index`, which a barrier promised (kv.h). ERR_UNAVAILABLE when the store has gone back to its last
 * checkpoint since, its disk having failed. */
int store_view_open_at(struct store *, uint64_t index, struct store_view **ret, struct err *);
void store_view_close(struct store_view *);

int64_t view_revision(const struct store_view *);
/* -1: never compacted. */
int64_t view_compact_revision(const struct store_view *);
uint64_t view_applied_index(const struct store_view *);

/* ERR_NOT_FOUND when the key has no value at rev. */
int view_get(struct store_view *, struct str key, int64_t rev, struct store_kv *ret, struct err *);
/* Number of keys with a value at rev. */
int view_count(struct store_view *, struct str key, struct str end, int64_t rev, int64_t *ret, struct err *);
/*
 * In key order, at most `limit` (0: all); fn returns false to stop early. *ret_more (NULL allowed): there are more.
 */
int view_range(struct store_view *, struct str key, struct str end, int64_t rev, size_t limit,
		bool (*fn)(void *arg, const struct store_kv *), void *arg, bool *ret_more, struct err *);

enum view_iter_flags {
	VIEW_KEYS_ONLY = 1, /* values are not touched, nor their checksums */
};
/* Pull form; init only notes the range (key and end are borrowed until the iterator is done), the first next may fail. */
int view_iter_init(struct view_iter *, struct store_view *, struct str key, struct str end, int64_t rev, unsigned flags);
/* 1 and *ret, or 0 at the end, or an error. */
int view_iter_next(struct view_iter *, struct store_kv *ret, struct err *);
void view_iter_fini(struct view_iter *);

/*
 * An encoded etcdserverpb.RangeRequest to an encoded RangeResponse (appended), whole: limit, sort, revision and create/mod
 * filters, keys_only, count_only. Errors carry etcd's texts (ERR_BAD_REQUEST, ERR_OUT_OF_RANGE, ERR_EXPIRED).
 */
int view_range_request(struct store_view *, struct str request, struct buf *response, struct err *);
/* The same for a TxnRequest without writes (ERR_BAD_REQUEST if it has any). */
int view_txn_request(struct store_view *, struct str request, struct buf *response, struct err *);
/* Does a TxnRequest write anything in either branch? Malformed ones do not. */
bool store_txn_is_readonly(struct str request);
/* Does it put anything (and so need space)? */
bool store_txn_has_puts(struct str request);

/* The database file's size, and that of the pages in it that hold data. */
int view_size(struct store_view *, uint64_t *ret_file, uint64_t *ret_used, struct err *);
/*
 * Hash over all that can be read or watched between the compacted revision and rev (<= 0: the view's). Members with equal
 * *ret_rev and *ret_compact_rev must have equal hashes. Reads everything: not for every minute.
 */
int view_hash(struct store_view *, int64_t rev, uint64_t *ret_hash, int64_t *ret_rev, int64_t *ret_compact_rev,
		struct err *);

/* Leases as data (what is left of their time is the leader's: store_lease_ttl). */
struct store_lease {
	int64_t id, ttl;
};
/* ERR_NOT_FOUND when there is no such lease. */
int view_lease_get(struct store_view *, int64_t id, struct store_lease *ret, struct err *);
int view_leases(struct store_view *, bool (*fn)(void *arg, const struct store_lease *), void *arg, struct err *);
/* Keys attached to the lease, in the order in which they were written. */
int view_lease_keys(struct store_view *, int64_t id, bool (*fn)(void *arg, struct str key), void *arg, struct err *);
/* Alarms that are on: fn(member id, type) with etcd's numbers (1 NOSPACE, 2 CORRUPT). */
int view_alarms(struct store_view *, bool (*fn)(void *arg, uint64_t member, int type), void *arg, struct err *);

/* For embedding; no member is for callers. */
struct view_iter {
	struct store_view *view;
	struct str key, end;
	int64_t rev;
	unsigned flags;
	int state;
	void *cursor;
};

#endif
