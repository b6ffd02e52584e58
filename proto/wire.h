/*
 * The protobuf wire format by hand: reading items one after the other, writing fields, length-delimited parts whose
 * length is patched in when they close. No allocation but the caller's buffer; broken input makes a reader fail and
 * never reads past its end.
 *
 *	struct wire_reader r = wire_reader(bytes);
 *	struct wire_item it;
 *	while (wire_next(&r, &it)) use(it.number, it.v, it.bytes);
 *	if (r.failed) ...
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

enum wire_type {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5,
};

struct wire_reader {
	const uint8_t *p, *end;
	bool failed; /* the bytes are no message */
};

struct wire_item {
	uint32_t number;
	uint8_t type; /* enum wire_type */
	uint64_t v;   /* varint, or the bits of a fixed number */
	struct str bytes;
};

static inline struct wire_reader wire_reader(struct str s)
{
	const uint8_t *p = (const uint8_t *)s.p;

	return (struct wire_reader){p, p ? p + s.n : p, false};
}

static inline bool wire_varint(struct wire_reader *r, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
		uint8_t b = *r->p++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return true;
		}
	}
	r->failed = true;
	return false;
}

/* False at the end and on broken bytes (then r->failed). */
static inline bool wire_next(struct wire_reader *r, struct wire_item *it)
{
	uint64_t tag, n;

	if (r->p == r->end || r->failed || !wire_varint(r, &tag))
		return false;
	it->number = (uint32_t)(tag >> 3);
	it->type = tag & 7;
	if (tag >> 32 != 0 || it->number == 0)
		goto broken;
	switch (it->type) {
	case WIRE_VARINT:
		return wire_varint(r, &it->v);
	case WIRE_BYTES:
		if (!wire_varint(r, &n) || n > (uint64_t)(r->end - r->p))
			goto broken;
		it->bytes = str_of(r->p, n);
		r->p += n;
		return true;
	case WIRE_64:
	case WIRE_32:
		n = it->type == WIRE_64 ? 8 : 4;
		if ((uint64_t)(r->end - r->p) < n)
			goto broken;
		it->v = 0;
		for (unsigned i = 0; i < n; i++)
			it->v |= (uint64_t)r->p[i] << (8 * i);
		r->p += n;
		return true;
	}
broken:
	r->failed = true;
	return false;
}

static inline size_t wire_varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}
/* At `to`, which has room for ten bytes; what follows it. */
static inline char *wire_put_varint(char *to, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*to++ = (char)(v | 0x80);
	*to++ = (char)v;
	return to;
}
static inline void wire_add_varint(struct buf *b, uint64_t v)
{
	size_t n = wire_varint_size(v);
	char *to = buf_reserve(b, n);

	if (!to)
		return;
	wire_put_varint(to, v);
	buf_advance(b, n);
}
static inline void wire_add_tag(struct buf *b, uint32_t number, enum wire_type type)
{
	wire_add_varint(b, (uint64_t)number << 3 | type);
}
static inline void wire_add_uint(struct buf *b, uint32_t number, uint64_t v)
{
	uint64_t tag = (uint64_t)number << 3 | WIRE_VARINT;
	size_t n = wire_varint_size(tag) + wire_varint_size(v);
	char *to = buf_reserve(b, n);

	if (!to)
		return;
	wire_put_varint(wire_put_varint(to, tag), v);
	buf_advance(b, n);
}
static inline void wire_add_double(struct buf *b, uint32_t number, double d)
{
	uint64_t bits;
	char le[8];

	memcpy(&bits, &d, 8);
	for (unsigned i = 0; i < 8; i++)
		le[i] = (char)(bits >> (8 * i));
	wire_add_tag(b, number, WIRE_64);
	buf_add(b, le, 8);
}
static inline void wire_add_bytes(struct buf *b, uint32_t number, struct str s)
{
	uint64_t tag = (uint64_t)number << 3 | WIRE_BYTES;
	size_t n = wire_varint_size(tag) + wire_varint_size(s.n) + s.n;
	char *to = buf_reserve(b, n);

	if (!to)
		return;
	to = wire_put_varint(wire_put_varint(to, tag), s.n);
	if (s.n > 0)
		memcpy(to, s.p, s.n);
	buf_advance(b, n);
}

/*
 * A part whose length is not known yet: open gives a mark, close(mark) puts the length in front. One byte is kept for
 * it; longer parts are moved up, which costs less than computing all lengths first.
 */
static inline size_t wire_open(struct buf *b, uint32_t number)
{
	wire_add_tag(b, number, WIRE_BYTES);
	buf_add1(b, 0);
	return b->n;
}
/* Forget all behind `n` bytes. */
static inline void wire_undo(struct buf *b, size_t n)
{
	if (b->n > n) {
		b->n = n;
		b->p[n] = '\0';
	}
}
static inline void wire_close(struct buf *b, size_t mark)
{
	size_t n, extra;

	if (!buf_ok(b))
		return;
	n = b->n - mark;
	extra = wire_varint_size(n) - 1;
	if (extra > 0) {
		if (!buf_reserve(b, extra))
			return;
		buf_advance(b, extra);
		memmove(b->p + mark + extra, b->p + mark, n);
	}
	for (size_t i = 0; i <= extra; i++, n >>= 7)
		b->p[mark - 1 + i] = (char)(i < extra ? n | 0x80 : n);
}

#endif
