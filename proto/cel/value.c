#include <math.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

struct cel_value cel__text_error(struct arena *a, const char *text)
{
	return (struct cel_value){.kind = CEL_ERROR, .s = str_from(arena_strdup(a, text))};
}

struct cel_value cel_error(struct arena *a, const char *fmt, ...)
{
	struct cel_value v = {.kind = CEL_ERROR};
	va_list ap;

	va_start(ap, fmt);
	v.s = str_from(arena_vprintf(a, fmt, ap));
	va_end(ap);
	return v;
}

struct cel_value cel_some(struct arena *a, struct cel_value v)
{
	return (struct cel_value){.kind = CEL_OPTIONAL, .optional = arena_memdup(a, &v, sizeof(v))};
}

struct cel_value cel_none(void)
{
	return (struct cel_value){.kind = CEL_OPTIONAL};
}

uint64_t cel__characters(struct str s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

bool cel__size(struct cel_value v, uint64_t *ret)
{
	switch (v.kind) {
	case CEL_STRING:
		*ret = cel__characters(v.s);
		return true;
	case CEL_BYTES:
		*ret = v.s.n;
		return true;
	case CEL_LIST:
		*ret = v.list->n;
		return true;
	case CEL_MAP:
		*ret = v.map->n;
		return true;
	case CEL_OPAQUE:
		return cel__opaque_size(v.opaque, ret);
	default:
		return false;
	}
}

const struct cel_type *cel__value_type(struct arena *a, struct cel_value v)
{
	static const struct cel_type list = {.kind = CEL_LIST, .name = "list", .elem = &cel_dyn};
	static const struct cel_type map = {.kind = CEL_MAP, .name = "map", .key = &cel_dyn, .elem = &cel_dyn};
	static const struct cel_type optional = {.kind = CEL_OPTIONAL, .name = "optional_type", .elem = &cel_dyn};

	(void)a;
	switch (v.kind) {
	case CEL_NULL:
		return &cel_null;
	case CEL_BOOL:
		return &cel_bool;
	case CEL_INT:
		return &cel_int;
	case CEL_UINT:
		return &cel_uint;
	case CEL_DOUBLE:
		return &cel_double;
	case CEL_STRING:
		return &cel_string;
	case CEL_BYTES:
		return &cel_bytes;
	case CEL_TIMESTAMP:
		return &cel_timestamp;
	case CEL_DURATION:
		return &cel_duration;
	case CEL_LIST:
		return &list;
	case CEL_MAP:
		return v.map->type != NULL && v.map->type->kind == CEL_OBJECT ? v.map->type : &map;
	case CEL_TYPE:
		return &cel_any_type;
	case CEL_OPTIONAL:
		return &optional;
	case CEL_OPAQUE:
		return &cel__opaque_types[v.opaque->kind];
	default:
		return &cel_dyn;
	}
}

bool cel__map_key(enum cel_kind k)
{
	return k == CEL_BOOL || k == CEL_INT || k == CEL_UINT || k == CEL_STRING;
}

/* ---- numbers ---- */

static bool is_number(enum cel_kind k)
{
	return k == CEL_INT || k == CEL_UINT || k == CEL_DOUBLE;
}

static int sign(bool less, bool more)
{
	return less ? -1 : more;
}

static int compare_int_double(int64_t i, double d)
{
	if (d < -0x1p63)
		return 1;
	if (d >= 0x1p63)
		return -1;
	return i != (int64_t)d ? sign(i < (int64_t)d, true) : sign((double)(int64_t)d < d, (double)(int64_t)d > d);
}

static int compare_uint_double(uint64_t u, double d)
{
	if (d < 0)
		return 1;
	if (d >= 0x1p64)
		return -1;
	return u != (uint64_t)d ? sign(u < (uint64_t)d, true) : sign((double)(uint64_t)d < d, false);
}

/* 3: one is not a number. */
static int compare_numbers(struct cel_value x, struct cel_value y)
{
	if ((x.kind == CEL_DOUBLE && isnan(x.d)) || (y.kind == CEL_DOUBLE && isnan(y.d)))
		return 3;
	if (x.kind == y.kind)
		return x.kind == CEL_INT    ? sign(x.i < y.i, x.i > y.i)
		       : x.kind == CEL_UINT ? sign(x.u < y.u, x.u > y.u)
					    : sign(x.d < y.d, x.d > y.d);
	if (y.kind == CEL_DOUBLE)
		return x.kind == CEL_INT ? compare_int_double(x.i, y.d) : compare_uint_double(x.u, y.d);
	if (x.kind == CEL_DOUBLE)
		return -compare_numbers(y, x);
	if (x.kind == CEL_INT)
		return x.i < 0 ? -1 : sign((uint64_t)x.i < y.u, (uint64_t)x.i > y.u);
	return -compare_numbers(y, x);
}

int cel__compare(struct cel_value x, struct cel_value y)
{
	int c;

	if (is_number(x.kind) && is_number(y.kind))
		return compare_numbers(x, y);
	if (x.kind != y.kind)
		return 2;
	switch (x.kind) {
	case CEL_BOOL:
		return (int)x.b - (int)y.b;
	case CEL_STRING:
	case CEL_BYTES:
		c = str_cmp(x.s, y.s);
		return sign(c < 0, c > 0);
	case CEL_DURATION:
		return sign(x.i < y.i, x.i > y.i);
	case CEL_TIMESTAMP:
		if (x.seconds != y.seconds)
			return sign(x.seconds < y.seconds, true);
		return sign(x.nanos < y.nanos, x.nanos > y.nanos);
	default:
		return 2;
	}
}

/* ---- equality ---- */

static bool equal_lists(struct cel__eval *v, const struct cel_list *x, const struct cel_list *y)
{
	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n; i++)
		if (!cel__equal(v, cel__list_at(v->a, x, i), cel__list_at(v->a, y, i)))
			return false;
	return true;
}

static bool equal_maps(struct cel__eval *v, const struct cel_map *x, const struct cel_map *y)
{
	if (x->n != y->n || x->lazy != NULL || y->lazy != NULL)
		return x == y;
	for (size_t i = 0; i < x->n; i++) {
		struct cel_value key, mine, theirs;

		cel__map_entry(v->a, x, i, &key, &mine);
		if (!cel__map_find(v->a, y, key, &theirs) || !cel__equal(v, mine, theirs))
			return false;
	}
	return true;
}

bool cel__steps(struct cel__eval *v, uint64_t n)
{
	v->steps += n;
	if (v->steps <= CEL_MAX_STEPS && cel__memory_ok(v))
		return true;
	v->stopped = true;
	v->run->over_limit = true;
	return false;
}

bool cel__step(struct cel__eval *v)
{
	return cel__steps(v, 1);
}

static bool equal_types(const struct cel_type *x, const struct cel_type *y)
{
	if (x->kind != y->kind)
		return false;
	return (x->kind != CEL_OPAQUE && x->kind != CEL_OBJECT) || cel__same_type(x, y);
}

bool cel__equal(struct cel__eval *v, struct cel_value x, struct cel_value y)
{
	if (!cel__step(v))
		return false;
	if (is_number(x.kind) && is_number(y.kind))
		return compare_numbers(x, y) == 0;
	if (x.kind != y.kind)
		return false;
	switch (x.kind) {
	case CEL_NULL:
		return true;
	case CEL_LIST:
		if (cel__special_list(x.list) || cel__special_list(y.list))
			return cel__equal_special_lists(v, x.list, y.list);
		return equal_lists(v, x.list, y.list);
	case CEL_MAP:
		return equal_maps(v, x.map, y.map);
	case CEL_TYPE:
		return equal_types(x.type, y.type);
	case CEL_OPTIONAL:
		if (x.optional == NULL || y.optional == NULL)
			return x.optional == y.optional;
		return cel__equal(v, *x.optional, *y.optional);
	case CEL_OPAQUE:
		return cel__opaque_equal(x.opaque, y.opaque);
	default:
		return cel__compare(x, y) == 0;
	}
}
