#include "proto/codec-priv.h"

#include <stdlib.h>

#include "base/util.h"

static bool wire_type_fits(const struct schema_field *f, unsigned type)
{
	switch ((enum schema_kind)f->kind) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
	case SCHEMA_MESSAGE:
		return type == WIRE_BYTES;
	case SCHEMA_BOOL:
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		return type == WIRE_VARINT || (type == WIRE_BYTES && schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP));
	case SCHEMA_DOUBLE:
		return type == WIRE_64 || (type == WIRE_BYTES && schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP));
	}
	return false;
}

bool codec__scan(struct codec__msg *m, const struct schema_type *t, struct str bytes)
{
	struct wire_reader r = wire_reader(bytes);
	struct wire_item it = {0};

	m->type = t;
	m->bytes = bytes;
	m->seen = 0;
	for (;;) {
		const uint8_t *start = r.p;
		const struct schema_field *f;
		struct codec__slot *slot;
		size_t i;

		if (!wire_next(&r, &it))
			return !r.failed;
		f = schema_field_number(t, it.number);
		if (!f)
			continue;
		if (!wire_type_fits(f, it.type) && !(schema_is(f, SCHEMA_MAP) && it.type == WIRE_BYTES))
			return false;
		i = (size_t)(f - t->fields);
		slot = &m->slots[i];
		if (!(m->seen & 1ULL << i)) {
			m->seen |= 1ULL << i;
			slot->count = 0;
			slot->p = start;
		}
		slot->count++;
		slot->end = r.p;
		if (schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP))
			continue;
		if (it.type == WIRE_BYTES)
			slot->p = (const uint8_t *)it.bytes.p;
		else
			slot->v = it.v;
	}
}

struct str codec__payload(const struct codec__msg *m, size_t i, struct arena *a)
{
	const struct codec__slot *s = &m->slots[i];
	struct wire_reader r;
	struct wire_item it = {0};
	size_t n = 0;
	char *joined;

	if (!(m->seen & 1ULL << i))
		return STR_NULL;
	if (s->count == 1 || m->type->fields[i].kind != SCHEMA_MESSAGE)
		return str_of(s->p, (size_t)(s->end - s->p));
	joined = arena_alloc(a, m->bytes.n);
	for (r = wire_reader(m->bytes); wire_next(&r, &it);)
		if (it.number == m->type->fields[i].number && it.bytes.n > 0) {
			memcpy(joined + n, it.bytes.p, it.bytes.n);
			n += it.bytes.n;
		}
	return str_of(joined, n);
}

static bool slot_is_zero(const struct codec__msg *m, size_t i)
{
	const struct codec__slot *s = &m->slots[i];
	double d;

	if (!(m->seen & 1ULL << i))
		return true;
	switch ((enum schema_kind)m->type->fields[i].kind) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
		return s->p == s->end;
	case SCHEMA_INT32:
		return (int32_t)s->v == 0;
	case SCHEMA_DOUBLE:
		memcpy(&d, &s->v, sizeof(d));
		return d == 0;
	default:
		return s->v == 0;
	}
}

enum codec__show codec__show(const struct codec__msg *m, size_t i)
{
	const struct schema_field *f = &m->type->fields[i];
	bool seen = m->seen >> i & 1, always = schema_is(f, SCHEMA_ALWAYS), pointer = schema_is(f, SCHEMA_POINTER);

	if (schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP)) {
		if (seen)
			return CODEC_VALUE;
		if (!always)
			return CODEC_SKIP;
		/* The items of a list are never null. */
		return m->type->is_list ? CODEC_ZERO : CODEC_NULL;
	}
	if (f->kind == SCHEMA_MESSAGE) {
		if (seen)
			return schema_is(f, SCHEMA_OMITZERO) && m->slots[i].p == m->slots[i].end ? CODEC_SKIP : CODEC_VALUE;
		if (pointer || f->type->json == SCHEMA_ITEMS)
			return always ? CODEC_NULL : CODEC_SKIP;
		return schema_is(f, SCHEMA_OMITZERO) ? CODEC_SKIP : CODEC_ZERO;
	}
	if (pointer)
		return seen ? CODEC_VALUE : always ? CODEC_NULL : CODEC_SKIP;
	if (!slot_is_zero(m, i))
		return CODEC_VALUE;
	if (!always)
		return CODEC_SKIP;
	return f->kind == SCHEMA_BYTES ? CODEC_NULL : CODEC_ZERO;
}

struct codec__elements codec__elements(const struct codec__msg *m, size_t i)
{
	const struct codec__slot *s = &m->slots[i];
	struct codec__elements e = {.number = m->type->fields[i].number};

	if (m->seen & 1ULL << i)
		e.r = wire_reader(str_of(s->p, (size_t)(s->end - s->p)));
	return e;
}

static bool next_packed(struct codec__elements *e, const struct schema_field *f, struct wire_item *ret)
{
	struct wire_reader r = wire_reader(e->packed);
	bool ok;

	if (f->kind == SCHEMA_DOUBLE) {
		ok = e->packed.n >= 8;
		ret->v = 0;
		for (unsigned i = 0; ok && i < 8; i++)
			ret->v |= (uint64_t)*r.p++ << (8 * i);
	} else {
		ok = wire_varint(&r, &ret->v);
	}
	if (!ok) {
		e->r.failed = true;
		return false;
	}
	e->packed = str_of(r.p, (size_t)(r.end - r.p));
	return true;
}

bool codec__next(struct codec__elements *e, const struct schema_field *f, struct wire_item *ret)
{
	bool number = f->kind == SCHEMA_BOOL || f->kind == SCHEMA_INT32 || f->kind == SCHEMA_INT64 || f->kind == SCHEMA_DOUBLE;

	for (;;) {
		if (e->packed.n > 0)
			return next_packed(e, f, ret);
		if (!wire_next(&e->r, ret))
			return false;
		if (ret->number != e->number)
			continue;
		if (!number || ret->type != WIRE_BYTES || schema_is(f, SCHEMA_MAP))
			return true;
		e->packed = ret->bytes;
	}
}

/* By key; among equal keys by their order on the wire. */
static int cmp_entries(const void *a, const void *b)
{
	const struct codec__entry *x = a, *y = b;
	int c = str_cmp(x->key, y->key);

	return c ? c : (x->order > y->order) - (x->order < y->order);
}

/* An entry is a message {key = 1, value = 2}; either may be missing and is empty then. */
static bool read_entry(struct str bytes, const struct schema_field *f, struct codec__entry *ret)
{
	struct wire_reader r = wire_reader(bytes);
	struct wire_item it = {0};

	memset(ret, 0, sizeof(*ret));
	while (wire_next(&r, &it)) {
		if (it.number == 1) {
			if (it.type != WIRE_BYTES)
				return false;
			ret->key = it.bytes;
		} else if (it.number == 2) {
			if (!wire_type_fits(f, it.type))
				return false;
			ret->value = it;
		}
	}
	return !r.failed;
}

bool codec__entries(const struct codec__msg *m, size_t i, struct arena *a, struct codec__entry **ret, size_t *ret_n)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__elements e = codec__elements(m, i);
	size_t n = 0, kept = 0, max = m->seen & 1ULL << i ? m->slots[i].count : 0;
	struct codec__entry *list = arena_alloc(a, max * sizeof(*list));
	struct wire_item it = {0};
	bool sorted = true;

	while (n < max && codec__next(&e, f, &it)) {
		if (it.type != WIRE_BYTES || !read_entry(it.bytes, f, &list[n]))
			return false;
		list[n].order = n;
		if (n > 0 && str_cmp(list[n - 1].key, list[n].key) >= 0)
			sorted = false;
		n++;
	}
	if (!sorted) {
		/* Of equal keys the last one on the wire counts. */
		qsort(list, n, sizeof(*list), cmp_entries);
		for (size_t x = 0; x < n; x++)
			if (x + 1 == n || !str_eq(list[x].key, list[x + 1].key))
				list[kept++] = list[x];
		n = kept;
	}
	*ret = list;
	*ret_n = n;
	return true;
}

bool codec__triple(struct str bytes, struct codec__triple *t)
{
	struct wire_reader r = wire_reader(bytes);
	struct wire_item it = {0};

	memset(t, 0, sizeof(*t));
	while (wire_next(&r, &it))
		if (it.number < ARRAY_LEN(t->v)) {
			if (it.type == WIRE_BYTES)
				t->bytes[it.number] = it.bytes;
			else
				t->v[it.number] = it.v;
			t->seen[it.number] = true;
		}
	return !r.failed;
}

int codec__corrupt(struct err *e, const struct schema_type *t, const char *what)
{
	return err_set(e, ERR_CORRUPT, "cannot decode a protobuf %s: %s", t->name, what);
}
