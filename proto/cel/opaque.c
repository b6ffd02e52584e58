#include <string.h>

#include "proto/cel/opaque-priv.h"

#define AS(type, o) ((const struct type *)(o))

int cel__opaque_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
	if (x->kind != y->kind)
		return false;
	switch (x->kind) {
	case OPAQUE_QUANTITY:
		return quantity_cmp(AS(cel__quantity, x)->q, AS(cel__quantity, y)->q) == 0;
	default:
		return x == y;
	}
}

uint64_t cel__opaque_size(const struct cel_opaque *o)
{
	(void)o;
	return 0;
}

struct str cel__opaque_text(struct arena *a, const struct cel_opaque *o)
{
	char text[QUANTITY_SIZE];

	switch (o->kind) {
	case OPAQUE_QUANTITY:
		quantity_print(AS(cel__quantity, o)->q, text);
		return str_from(arena_strdup(a, text));
	default:
		return str_from(cel__opaque_types[o->kind].name);
	}
}

uint64_t cel__format_regex_size(const struct cel_opaque *o)
{
	(void)o;
	return 1;
}
