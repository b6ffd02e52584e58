/*
 * Fixed-size little-endian numbers in bytes, and a reader over untrusted bytes that remembers the first overrun:
 * read all fields, then ask reader_ok once.
 */
#ifndef RAFT_BYTES_H
#define RAFT_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

static inline void put_u16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}
static inline void put_u32(void *p, uint32_t v)
{
	put_u16(p, (uint16_t)v);
	put_u16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}
static inline void put_u64(void *p, uint64_t v)
{
	put_u32(p, (uint32_t)v);
	put_u32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t get_u16(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t get_u32(const void *p)
{
	return (uint32_t)get_u16(p) | (uint32_t)get_u16((const uint8_t *)p + 2) << 16;
}
static inline uint64_t get_u64(const void *p)
{
	return (uint64_t)get_u32(p) | (uint64_t)get_u32((const uint8_t *)p + 4) << 32;
}

static inline void add_u8(struct buf *b, uint8_t v)
{
	buf_add1(b, (char)v);
}
static inline void add_u32(struct buf *b, uint32_t v)
{
	uint8_t t[4];

	put_u32(t, v);
	buf_add(b, t, sizeof(t));
}
static inline void add_u64(struct buf *b, uint64_t v)
{
	uint8_t t[8];

	put_u64(t, v);
	buf_add(b, t, sizeof(t));
}
/* A length and the bytes. */
static inline void add_bytes(struct buf *b, struct str s)
{
	add_u32(b, (uint32_t)s.n);
	buf_adds(b, s);
}

struct reader {
	const char *p;
	size_t n;
	bool bad;
};

static inline struct reader reader_of(struct str s)
{
	return (struct reader){s.p, s.n, false};
}
static inline const void *read_raw(struct reader *r, size_t n)
{
	const char *p = r->p;

	if (r->bad || n > r->n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}
static inline uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = read_raw(r, 1);

	return p ? *p : 0;
}
static inline uint32_t read_u32(struct reader *r)
{
	const void *p = read_raw(r, 4);

	return p ? get_u32(p) : 0;
}
static inline uint64_t read_u64(struct reader *r)
{
	const void *p = read_raw(r, 8);

	return p ? get_u64(p) : 0;
}
static inline struct str read_bytes(struct reader *r)
{
	size_t n = read_u32(r);
	const char *p = read_raw(r, n);

	return p ? (struct str){p, n} : STR_NULL;
}
/* Everything was there; with `all`, nothing is left over either. */
static inline bool reader_ok(const struct reader *r, bool all)
{
	return !r->bad && (!all || r->n == 0);
}

#endif
