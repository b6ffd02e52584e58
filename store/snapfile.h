/*
 * Snapshot files: a backup of the replicated state, of any member, at one moment.
 *
 *	head     magic "KTKSNAP1", format u32, cluster id u64, applied index u64, term u64, revision i64, when it was
 *	         made (ms since 1970) u64, CRC-32C of all of that
 *	chunks   as store_snapshot_chunk makes them, each with its own checksum; the last one says so
 *
 * Reading trusts nothing: every checksum, number and count is looked at, and nothing may follow the last chunk. Blocking,
 * on any thread.
 */
#ifndef STORE_SNAPFILE_H
#define STORE_SNAPFILE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store.h"

#define SNAPFILE_HEAD 56

struct snapfile_info {
	uint64_t cluster_id;
	struct store_applied applied;
	int64_t revision;
	uint64_t created_ms;
	uint64_t bytes, chunks; /* by snapfile_check */
	uint64_t records;
};

/* Append the head of a file with this snapshot; its chunks follow. */
void snapfile_head(const struct store_snapshot *, uint64_t cluster_id, uint64_t created_ms, struct buf *out);
/* A whole file: written beside, synced, renamed, so that a name never stands for half a snapshot. */
int snapfile_write(struct store *, const char *path, uint64_t created_ms, struct snapfile_info *ret, struct err *);
/* Read all of it. */
int snapfile_check(const char *path, struct snapfile_info *ret, struct err *);
/* Make a store of it in a directory that has none, under these ids; open it with store_open afterwards. */
int snapfile_restore(const char *path, const struct store_cfg *, struct snapfile_info *ret, struct err *);

#endif
