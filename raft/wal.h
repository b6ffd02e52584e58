/*
 * struct wal: the write-ahead log of one member: raft entries in append-only segment files.
 *
 * Every record carries its sequence number (lsn), the checksum of the record before it, the highest lsn that was known
 * to be durable when it was written, and a CRC-32C over all of that and its payload. Nothing is ever overwritten: an entry
 * whose index is not past the end of the log replaces the old entry and everything behind it; a reset record says
 * that the log starts anew behind a snapshot. The beginning is dropped by whole segments.
 *
 * Writing has three steps, so that one slow fdatasync serves all that has gathered meanwhile: wal_append encodes into
 * memory (raft loop), wal_take hands the gathered bytes out as a batch, wal_batch_write writes and syncs it (any
 * thread, one batch at a time), wal_batch_done (raft loop) marks them durable. Any error of a write is final for this
 * struct wal: whoever wants to go on opens the files anew and trusts only what had been durable (`trust_lsn`).
 *
 * The file `reserve.wal` is the next segment, already allocated: a disk that is full shows there first, while the segment
 * in use still has room. A batch that made a segment makes the next reserve; failing to is no error of the batch.
 *
 * Dropped segments are kept as NNNNNNNN.spare, a few of them, and written over as later ones: a sync of blocks that have been
 * written before has no file metadata to write, which halves its time. A segment that is new is written with zeros a stretch ahead,
 * for the same reason. What a spare holds from its first life is older than anything in the log, so by its lsn no reader takes it for
 * a part of it.
 *
 * After each sync the highest durable lsn also goes into the file `durable`, which is never synced: it survives the process
 * and, a little older, a power loss.
 *
 * Reading at start: a damaged record is a torn tail only if neither `durable` nor any intact record behind it says that it
 * had been durable; then the tail, which nobody was ever told about, is cut off. Anything else is corruption, an error that
 * names file and offset. wal_repair then puts the damaged part aside, and what is left opens; but entries that were
 * acknowledged are gone, so the member must not vote before a leader has given them back. What was read is synced
 * before it counts, since the process before may have died between its write and its sync.
 */
#ifndef RAFT_WAL_H
#define RAFT_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "raft/disk.h"

#define WAL_SEGMENT_SIZE (8u << 20)
/* Dropped segments that are kept: as many as a checkpoint of the default size lets go of. */
#define WAL_SPARES 4
/* The payload limit of one record, against absurd lengths in damaged files. */
#define WAL_RECORD_MAX (64u << 20)

/* Where an entry's record lies. */
struct wal_pos {
	uint32_t segment, offset;
};

struct wal_segment {
	struct list link;
	uint32_t seq;
	int fd;             /* -1 until the writer has made the file */
	uint32_t used;      /* bytes encoded for it, written or not */
	uint32_t capacity;  /* bytes to allocate */
	uint64_t max_index; /* of its entries, replaced ones too */
	uint32_t written;   /* the writer's: so far the file has blocks with contents; zeros, where nothing was encoded yet */
	uint32_t spare;     /* the file to make it of: NNNNNNNN.spare; 0: a new one */
};

struct wal {
	struct disk *disk;
	uint64_t cluster_id, member_id;
	uint32_t segment_size;
	struct list segments; /* oldest first; the last one is written to */
	uint64_t next_lsn, durable_lsn;
	uint32_t crc; /* of the newest record */
	int mark_fd;  /* the file `durable` */
	struct list pieces; /* encoded, not taken */
	uint64_t bytes;     /* used in all segments */
	int reserve;        /* 1: reserve.wal is there; 0: not tried yet; -errno: it cannot be made */
	unsigned takes;
	uint32_t spares[WAL_SPARES]; /* their numbers */
	unsigned n_spares;
	/* After wal_open answered ERR_CORRUPT: where. */
	uint32_t damaged_segment;
	uint64_t damaged_offset;
};

/* Records with later numbers were never reported durable, whatever the files say. */
#define WAL_TRUST_ALL UINT64_MAX

/* What a start finds, in order. Bytes are borrowed for the call. */
struct wal_reader {
	void (*entry)(struct wal_reader *, uint64_t index, uint64_t term, uint8_t type, struct str data, struct wal_pos);
	/* All before is void; the log continues behind (index, term). */
	void (*reset)(struct wal_reader *, uint64_t index, uint64_t term);
};

/* Open or begin the log. The ids are checked against the files. segment_size 0: WAL_SEGMENT_SIZE. */
int wal_open(struct wal *, struct disk *, uint64_t cluster_id, uint64_t member_id, uint32_t segment_size,
	     uint64_t trust_lsn, struct wal_reader *, struct err *);
/* Put everything from the damaged record on aside, as NNNNNNNN.bad (those of an earlier repair go). wal_open may be
 * tried again then. */
int wal_repair(struct disk *, uint32_t segment, uint64_t offset, struct err *);
/* Put all segments aside in the same way: the log begins anew. */
int wal_set_aside(struct disk *, struct err *);
/* Closes the files; what was not taken is dropped. No batch may be out. */
void wal_close(struct wal *);

void wal_append(struct wal *, uint64_t index, uint64_t term, uint8_t type, struct str data, struct wal_pos *ret);
void wal_append_reset(struct wal *, uint64_t index, uint64_t term);

struct wal_batch {
	struct list pieces;
	uint64_t last_lsn;
	int mark_fd;
	int reserve; /* as in struct wal */
	bool want_reserve;
	uint32_t segment_size;
};
/* False: nothing to write. */
bool wal_take(struct wal *, struct wal_batch *);
int wal_batch_write(struct disk *, struct wal_batch *, struct err *);
/* After success; frees the batch. */
void wal_batch_done(struct wal *, struct wal_batch *);
/* The batch will not be written. */
void wal_batch_drop(struct wal_batch *);

/* Append the data of the durable entry at pos to *out; checks everything. */
int wal_read(struct wal *, struct wal_pos, uint64_t index, uint64_t term, struct buf *out, struct err *);
/* Entries below `index` are not needed any more: remove segments that hold nothing else. Never the last one. */
int wal_drop_before(struct wal *, uint64_t index, struct err *);

/*
 * Looking at what is written, in wal_check.c. A closed segment is complete and durable, and nothing is written to it any more.
 */
struct wal_check {
	uint32_t seq, size;
	uint64_t cluster_id, member_id;
};
/* The oldest closed segment with a later number than `after`; false: there is none. */
bool wal_closed_after(const struct wal *, uint32_t after, struct wal_check *ret);
/* Any thread. ERR_CORRUPT: a record of it is not what was written. One that is gone meanwhile is whole. */
int wal_check(struct disk *, const struct wal_check *, struct err *);
/* The segment is still part of the log; the largest index in it and all before it. */
bool wal_has_segment(const struct wal *, uint32_t seq, uint64_t *ret_max_index);
/*
 * After wal_open answered ERR_CORRUPT: when a later segment is intact at its beginning and goes on at `index` + 1 or before, where `index` is
 * durable elsewhere, the log may begin there. 0: the segments before it are put aside, and wal_open may be tried again. ERR_NOT_FOUND: there is no
 * such segment.
 */
int wal_begin_later(struct disk *, uint32_t damaged_segment, uint64_t index, struct err *);

#endif
