/* Shared between typed.c, typed_check.c and typed_merge.c. */
#ifndef PROTO_TYPED_PRIV_H
#define PROTO_TYPED_PRIV_H

#include "proto/json.h"
#include "proto/schema.h"

enum typed__kind {
	TYPED__LEAF,
	TYPED__STRUCT, /* fields of `type` */
	TYPED__MAP,    /* any key; values as typed__element says */
	TYPED__KEYED,  /* list of structs by key */
	TYPED__SET,    /* list of scalars */
};

/* What the schema says about a value: a field of a struct, or an element of that field (a list's or map's). */
struct typed__shape {
	const struct schema_type *type;   /* of a struct: itself, its elements, its map's values; else NULL */
	const struct schema_field *field; /* NULL for an object as a whole */
	bool element;                     /* of the field, not the field itself */
};

enum typed__kind typed__kind(struct typed__shape);
/* The shape under a key of a struct or map. False: no such field. */
bool typed__member(struct typed__shape, struct str key, struct typed__shape *ret);
struct typed__shape typed__element(struct typed__shape list);

/* "f:" + key, in the arena. */
struct str typed__step(struct arena *, struct str key);
/* The step to an element of a KEYED or SET list; {NULL, 0} when it has no key (and the key no default). */
struct str typed__element_step(struct arena *, struct typed__shape list, const struct json *element);

/* The elements of a list with their steps, sorted; elements without a key are left out. */
struct typed__item {
	struct str step;
	struct json *value;
	size_t at; /* place in the list */
};
size_t typed__items(struct arena *, struct typed__shape list, const struct json *array, struct typed__item **ret);
/* Items from i on that have one step. */
size_t typed__run(const struct typed__item *, size_t i, size_t n);

#endif
