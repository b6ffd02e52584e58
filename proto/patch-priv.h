/* Shared between patch.c, patch_strategic.c and patch_make.c. */
#ifndef PROTO_PATCH_PRIV_H
#define PROTO_PATCH_PRIV_H

#include "proto/json.h"
#include "proto/schema.h"

#define PATCH__DIRECTIVE "$patch"
#define PATCH__RETAIN "$retainKeys"
#define PATCH__DELETE_PRIMITIVE "$deleteFromPrimitiveList/"
#define PATCH__ORDER "$setElementOrder/"

/* What the schema says about an object: its type (NULL: nothing known), or that it is a map to that
 * type. */
struct patch__shape {
	const struct schema_type *type;
	bool map;
};

/* A field's value under `key`, with how it is patched. */
struct patch__field {
	struct patch__shape shape; /* of an object, or of a list's elements */
	bool merge;                /* a list that is merged by element */
	bool replace;
	bool retain_keys;
	const char *key; /* merge key of a list of objects; NULL: a list of scalars, or unknown */
};

struct patch__field patch__field(struct patch__shape, struct str key);

/* A new object with the same members. */
struct json *patch__clone(struct arena *, const struct json *obj);
/* What identifies a list element: its merge key, or itself; empty when the key is missing. */
struct str patch__id(struct arena *, const struct json *element, const char *merge_key);
/* A dictionary: id -> index of the first element that has it. */
struct json *patch__index(struct arena *, const struct json *list, const char *merge_key);

#endif
