/*
 * Backups as etcd has them: the database file of etcd 3 (bbolt's format), made from a view and streamed, page by page, in
 * order, without a file or a copy of the data here. What etcd's own tools expect is in it: `etcdctl snapshot status` and
 * `snapshot restore`, etcdutl, and so a plain etcd can be started from it.
 *
 *	page 0, 1   meta: where the root is, how many pages there are        2   the free list: empty
 *	3 ...       for each bucket its leaves in order, then the branches above them
 *	last        the root: the names of the buckets
 *
 * The layout is found in a first pass over the data (bolt_out_new), the pages are made in a second one; a view does not
 * change between the two. Between them only the first key of each leaf is remembered.
 *
 * The buckets: `key` (revision -> mvccpb.KeyValue, with all history that there is), `lease`, `alarm`, `auth`, `authUsers`,
 * `authRoles`, `meta` (the applied index as consistent_index, term, the compacted revision); `members`, `members_removed` and
 * `cluster` are empty: a restore makes a new cluster anyway. Source: bbolt's documented file format, etcd's documentation.
 */
#ifndef STORE_BOLT_H
#define STORE_BOLT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct store_view;
struct bolt_out;

/* Reads everything once. The view stays open, and on the thread that opened it, until bolt_out_free. */
int bolt_out_new(struct store_view *, struct bolt_out **ret, struct err *);
/* Bytes of the whole file. */
uint64_t bolt_out_size(const struct bolt_out *);
/* Append the next pages to *out, about 256 KiB or one large item. *ret_last: that was all. */
int bolt_out_next(struct bolt_out *, struct buf *out, bool *ret_last, struct err *);
void bolt_out_free(struct bolt_out *);

/*
 * Reading. Any file of etcd 3: a backup (its checksum behind it is looked at), or a copy of a stopped member's
 * member/snap/db, which has none. Nothing in it is trusted: page numbers, places, sizes and nesting are checked.
 */
struct bolt_in;

/* Is it one, by its first bytes? */
bool bolt_is(const char *path);
int bolt_in_open(const char *path, struct bolt_in **ret, struct err *);
void bolt_in_close(struct bolt_in *);
/* The file's checksum was there, and right. */
bool bolt_in_checked(const struct bolt_in *);
/* Every item of a bucket, in order; fn returns 0 to go on. A bucket that is not there has none. */
int bolt_in_each(struct bolt_in *, const char *bucket, int (*fn)(void *arg, struct str key, struct str value, struct err *),
		void *arg, struct err *);

struct store;
struct bolt_import {
	int64_t revision, compact_revision;
	uint64_t n_revisions, n_leases, n_users, n_roles;
};
/*
 * Fill a store that holds nothing yet: keys with their history and revisions, leases, users and roles. Alarms and members are
 * those of another cluster and stay behind. The store is to be thrown away after an error.
 */
int bolt_import(struct bolt_in *, struct store *, struct bolt_import *ret, struct err *);

#endif
