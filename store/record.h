/*
 * The records of the database, as bytes. Little-endian, unaligned (LMDB aligns to two bytes only), each with two
 * CRC-32C: one over its key and fixed part, one over the value, so that scans that do not want values do not touch them.
 *
 *	keys   key -> head: the newest version of the key, or its tombstone, with its value
 *	log    revision.sub -> change: what happened then, with the value, and which version was before. Append-only.
 *
 * So a value stands in both until compaction: it then removes the changes of live heads, and all but the newest version of
 * a key has only its change. Writing the log at its end alone is worth that: moving a value into the log when it is
 * superseded would touch one more random page for each write, and pages are what a copy-on-write file costs.
 *
 * Decoding checks everything: lengths, checksums. What it returns points into the record.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* A revision and the order within it. */
struct rev {
	int64_t main;
	uint32_t sub;
};
#define REV_NONE ((struct rev){0, 0})

static inline int rev_cmp(struct rev a, struct rev b)
{
	if (a.main != b.main)
		return a.main < b.main ? -1 : 1;
	return a.sub < b.sub ? -1 : a.sub > b.sub;
}

#define REV_KEY_SIZE 12
/* Big-endian, so that bytes sort as revisions do. */
void rev_key(struct rev, uint8_t out[REV_KEY_SIZE]);
struct rev rev_from_key(const uint8_t *p);

void put_be64(uint8_t *p, uint64_t v);
uint64_t get_be64(const uint8_t *p);
void put_le64(uint8_t *p, uint64_t v);
uint64_t get_le64(const uint8_t *p);
void put_le32(uint8_t *p, uint32_t v);
uint32_t get_le32(const uint8_t *p);

struct head {
	struct str key;
	bool deleted;         /* then only key and mod count */
	bool key_inside;      /* the record carries the key, because the database key does not (store/keys.h) */
	int64_t create, version, lease;
	struct rev mod;
	struct str value;
	uint32_t value_crc;
};

/* Encoding takes value_crc as it is (value_crc_of). */
uint32_t value_crc_of(struct str value);
size_t head_size(const struct head *);
void head_encode(const struct head *, uint8_t *out);
/* `key` is the database key's own idea of the key: it is checked when the record does not carry one. */
int head_decode(struct str key, struct str bytes, struct head *ret, struct err *);

struct change {
	struct str key;
	bool deleted;         /* then create, version, lease and value are empty */
	struct rev at, prev;  /* prev: the version or tombstone before, which compaction may have removed; 0: none */
	int64_t create, version, lease;
	struct str value;
	uint32_t value_crc;
};

size_t change_size(const struct change *);
void change_encode(const struct change *, uint8_t *out);
int change_decode(struct rev at, struct str bytes, struct change *ret, struct err *);

/* Does the value match its checksum? ERR_CORRUPT names the key. */
int value_check(struct str key, struct str value, uint32_t crc, struct err *);

#endif
