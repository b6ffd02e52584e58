/*
 * struct log: the raft log in memory: for every entry that is kept its term, type and place in the WAL; for the newer
 * ones also the bytes. Bytes beyond the limit are forgotten from the oldest durable entry on, and read back from the WAL
 * when a lagging member (or a replay after a start) needs them.
 *
 * Entries first..last are contiguous; first > last means empty. Belongs to the raft loop.
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "raft/wal.h"

struct log_entry {
	uint64_t term;
	uint64_t lsn; /* of its WAL record: durable when the WAL's durable_lsn has reached it */
	struct wal_pos pos;
	uint32_t size;
	uint8_t type;
	char *data; /* NULL: only in the WAL (or size 0) */
};

struct log {
	struct wal *wal;
	struct log_entry *entries; /* ring of cap slots, a power of two */
	size_t cap;
	uint64_t first, last;
	uint64_t cached_from; /* entries below have no bytes in memory */
	size_t cached, limit; /* bytes */
};

void log_init(struct log *, struct wal *, size_t limit);
void log_fini(struct log *);
/* NULL when it is not kept. */
struct log_entry *log_get(const struct log *, uint64_t index);
/* 0 when it is not kept. */
uint64_t log_term(const struct log *, uint64_t index);
/* Append; takes `data` (heap, may be NULL for an entry whose bytes stay in the WAL). */
struct log_entry *log_add(struct log *, uint64_t term, uint8_t type, char *data, uint32_t size);
/* Forget entries from `index` on. */
void log_truncate(struct log *, uint64_t index);
/* Forget entries below `index`. */
void log_drop_before(struct log *, uint64_t index);
/* Empty; the next entry is index + 1. */
void log_reset(struct log *, uint64_t index);
/* The entry's bytes, borrowed until the log is changed or log_trim called. */
int log_data(struct log *, uint64_t index, struct str *ret, struct err *);
/* Forget bytes over the limit, only of durable entries below `keep_from`. */
void log_trim(struct log *, uint64_t keep_from);

#endif
