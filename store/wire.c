#include "store/wire.h"

#include <string.h>

#include "store/store-priv.h"

enum { WIRE_VARINT = 0, WIRE_LEN = 2 };

static size_t varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	while (v >= 0x80) {
		v >>= 7;
		n++;
	}
	return n;
}

static void tag(struct buf *b, unsigned field, unsigned type)
{
	uint8_t p[10];

	buf_add(b, p, varint(p, (uint64_t)field << 3 | type));
}

static void length(struct buf *b, unsigned field, size_t n)
{
	uint8_t p[20];
	size_t at = varint(p, (uint64_t)field << 3 | WIRE_LEN);

	at += varint(p + at, n);
	buf_add(b, p, at);
}

void wire_varint(struct buf *b, unsigned field, uint64_t v)
{
	uint8_t p[20];
	size_t n;

	if (v == 0)
		return;
	n = varint(p, (uint64_t)field << 3 | WIRE_VARINT);
	n += varint(p + n, v);
	buf_add(b, p, n);
}

void wire_bytes(struct buf *b, unsigned field, struct str s)
{
	if (s.n == 0)
		return;
	length(b, field, s.n);
	buf_adds(b, s);
}

/* The length is not known yet: leave room for the longest, and close the gap at the end. */
#define LENGTH_ROOM 5

size_t wire_begin(struct buf *b, unsigned field)
{
	tag(b, field, WIRE_LEN);
	buf_add(b, "\0\0\0\0", LENGTH_ROOM);
	return b->n;
}

void wire_end(struct buf *b, size_t mark)
{
	uint8_t p[10];
	size_t size, n;

	if (!buf_ok(b))
		return;
	size = b->n - mark;
	n = varint(p, size);
	memmove(b->p + mark - LENGTH_ROOM + n, b->p + mark, size);
	memcpy(b->p + mark - LENGTH_ROOM, p, n);
	b->n -= LENGTH_ROOM - n;
	b->p[b->n] = '\0';
}

static size_t int_size(int64_t v)
{
	return v ? 1 + varint_size((uint64_t)v) : 0;
}

static size_t bytes_size(struct str s)
{
	return s.n ? 1 + varint_size(s.n) + s.n : 0;
}

void wire_kv(struct buf *b, unsigned field, const struct store_kv *kv)
{
	size_t size = bytes_size(kv->key) + int_size(kv->create_revision) + int_size(kv->mod_revision) +
		      int_size(kv->version) + bytes_size(kv->value) + int_size(kv->lease);

	length(b, field, size);
	wire_bytes(b, 1, kv->key);
	wire_varint(b, 2, (uint64_t)kv->create_revision);
	wire_varint(b, 3, (uint64_t)kv->mod_revision);
	wire_varint(b, 4, (uint64_t)kv->version);
	wire_bytes(b, 5, kv->value);
	wire_varint(b, 6, (uint64_t)kv->lease);
}

void wire_header(struct buf *b, const struct store_view *v, bool whole)
{
	size_t mark = wire_begin(b, 1);

	if (whole) {
		wire_varint(b, 1, v->state.cluster_id);
		wire_varint(b, 2, v->member_id);
	}
	wire_varint(b, 3, (uint64_t)v->state.revision);
	if (whole)
		wire_varint(b, 4, v->state.term);
	wire_end(b, mark);
}
