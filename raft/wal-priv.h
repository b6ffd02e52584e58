/* The record layout, shared by writing (wal.c) and reading at start (wal_load.c). */
#ifndef RAFT_WAL_PRIV_H
#define RAFT_WAL_PRIV_H

#include "raft/wal.h"

/*
 *	0 magic u32 | 4 crc u32 | 8 prev crc u32 | 12 payload size u32 | 16 lsn u64 | 24 durable lsn u64     header
 *	32 kind u8 | 33 entry type u8 | 34 zero | 40 index u64 | 48 term u64 | data                          payload
 *
 * crc covers everything behind itself. Records start at multiples of 8; zeros fill the gap.
 */
#define RECORD_MAGIC 0x314c574bu /* "KWL1" */
#define OFF_MAGIC 0
#define OFF_CRC 4
#define OFF_PREV 8
#define OFF_SIZE 12
#define OFF_LSN 16
#define OFF_DURABLE 24
#define HEADER_SIZE 32
#define OFF_KIND 32
#define OFF_TYPE 33
#define OFF_INDEX 40
#define OFF_TERM 48
#define RECORD_SIZE 56
#define PAYLOAD_SIZE (RECORD_SIZE - HEADER_SIZE)
#define PAD8(n) (((n) + 7) & ~(size_t)7)

/* The file `durable`: magic u32, crc u32 of what follows, lsn u64. */
#define MARK_MAGIC 0x3144574bu /* "KWD1" */
#define MARK_SIZE 16

#define WAL_FORMAT 1u
#define SEGMENT_INFO_SIZE 24 /* format u32, seq u32, cluster id u64, member id u64 */
#define WAL_NAME_SIZE 24

enum record_kind { KIND_SEGMENT = 1, KIND_ENTRY = 2, KIND_RESET = 3 };

struct record {
	uint8_t kind, type;
	uint64_t index, term, lsn, durable_lsn;
	uint32_t crc, prev_crc;
	size_t size; /* in the file, padded */
	struct str data;
};

#define RESERVE_NAME "reserve.wal"

void wal__segment_name(uint32_t seq, char out[WAL_NAME_SIZE]);
void wal__spare_name(uint32_t seq, char out[WAL_NAME_SIZE]);
/* The number in a segment's name with this ending; 0: it is none. */
uint32_t wal__segment_seq(const char *name, const char *ending);
struct wal_segment *wal__segment_new(uint32_t seq, int fd);
/* The record at the start of the bytes; false if there is no intact one. */
bool wal__decode(struct str bytes, struct record *ret);

#endif
