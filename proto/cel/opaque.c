#include <string.h>

#include "proto/cel/opaque-priv.h"

#define AS(type, o) ((const struct type *)(o))

static bool same_ip(const struct cel__ip *x, const struct cel__ip *y)
{
	return x->v6 == y->v6 && x->bits == y->bits && memcmp(x->bytes, y->bytes, x->v6 ? 16 : 4) == 0;
}

bool cel__opaque_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
	if (x->kind != y->kind)
		return false;
	switch (x->kind) {
	case OPAQUE_QUANTITY:
		return quantity_cmp(AS(cel__quantity, x)->q, AS(cel__quantity, y)->q) == 0;
	case OPAQUE_IP:
	case OPAQUE_CIDR:
		return same_ip(AS(cel__ip, x), AS(cel__ip, y));
	case OPAQUE_URL:
		return str_eq(AS(cel__url, x)->text, AS(cel__url, y)->text);
	case OPAQUE_SEMVER:
		return cel__semver_cmp(AS(cel__semver, x), AS(cel__semver, y)) == 0;
	default:
		return x == y;
	}
}

bool cel__opaque_size(const struct cel_opaque *o, uint64_t *ret)
{
	if (o->kind == OPAQUE_IP)
		*ret = AS(cel__ip, o)->v6 ? 16 : 4;
	else if (o->kind == OPAQUE_CIDR)
		*ret = (AS(cel__ip, o)->bits + 7) / 8;
	else
		return false;
	return true;
}

struct str cel__opaque_text(struct arena *a, const struct cel_opaque *o)
{
	char text[QUANTITY_SIZE];

	switch (o->kind) {
	case OPAQUE_QUANTITY:
		quantity_print(AS(cel__quantity, o)->q, text);
		return str_from(arena_strdup(a, text));
	case OPAQUE_IP:
	case OPAQUE_CIDR:
		return cel__ip_text(a, AS(cel__ip, o), o->kind == OPAQUE_CIDR);
	case OPAQUE_URL:
		return AS(cel__url, o)->text;
	case OPAQUE_FORMAT:
		return str_from(AS(cel__format, o)->shown);
	case OPAQUE_SEMVER:
		return cel__semver_text(a, AS(cel__semver, o));
	default:
		return str_from(cel__opaque_types[o->kind].name);
	}
}

uint64_t cel__format_regex_size(const struct cel_opaque *o)
{
	return AS(cel__format, o)->regex_size;
}
