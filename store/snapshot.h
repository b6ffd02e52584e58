/*
 * The form of a snapshot stream; see store_snapshot_chunk and store_install_chunk (store/store.h).
 *
 * A stream is a run of bytes cut into chunks. A chunk: magic, format, number, flags, payload size, CRC-32C of all of that
 * and of the payload. The payloads, joined, are records {kind 1, key size 2, value size 4, key, value}, little-endian:
 * first one of kind RECORD_HEAD with the state, then the records of each database in key order (kind = enum store_db), at last one of
 * kind RECORD_TAIL with the number of records and the CRC-32C of everything before it.
 */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#define CHUNK_MAGIC 0x4b54534eu
enum {
	CHUNK_MAGIC_AT = 0,
	CHUNK_FORMAT = 4,
	CHUNK_NUMBER = 8,
	CHUNK_FLAGS = 16,
	CHUNK_SIZE = 20,
	CHUNK_CRC = 24,
	CHUNK_HEADER = 28,
};
#define CHUNK_LAST 1u
#define CHUNK_PAYLOAD (STORE_CHUNK_MAX - CHUNK_HEADER)

enum { RECORD_HEAD = 100, RECORD_TAIL = 101 };
#define RECORD_FIXED 7
#define RECORD_KEY_MAX 511
#define RECORD_VALUE_MAX (64u << 20)

enum { TAIL_COUNT = 0, TAIL_CRC = 8, TAIL_SIZE = 12 };

#endif
