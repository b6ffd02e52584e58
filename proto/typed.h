/*
 * Objects seen through the schema as server-side apply sees them: structs and maps by field, lists by key, sets by value,
 * everything else as one value. See fieldset.h for the sets of paths.
 *
 * Where the schema says atomic (and for lists where it says nothing) the value is one leaf. An element of a list is named by
 * its keys with their defaults. Upstream's rules where it matters: an empty map or list is a leaf; on a comparison a node that
 * one side lacks is a member together with all below it; in an object's own set it is not, unless it is the element of a list
 * or of a map.
 *
 * All are pure; results share nodes with the inputs.
 */
#ifndef PROTO_TYPED_H
#define PROTO_TYPED_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/json.h"

struct schema_type;

/* What leads from one object to another, as sets of paths. */
struct typed_diff {
	struct json *added, *modified, *removed;
};
void typed_compare(struct arena *, const struct schema_type *, const struct json *from, const struct json *to,
		struct typed_diff *ret);
static inline bool typed_same(const struct typed_diff *d)
{
	return !d->added && !d->modified && !d->removed;
}

/* The paths of an object; what does not fit the schema is passed over. */
struct json *typed_fieldset(struct arena *, const struct schema_type *, const struct json *obj);
/*
 * What makes an object no applied configuration: unknown fields, wrong types, two elements with one key, elements without
 * their key. {NULL, 0} when it is one; else the text, as upstream words it.
 */
struct str typed_check(struct arena *, const struct schema_type *, const struct json *config);

/* live with all that config says put over it; elements of lists keep the order of both. */
struct json *typed_merge(struct arena *, const struct schema_type *, struct json *live, struct json *config);
/* obj without these paths and what is below them. A map or list that loses its last element is null. */
struct json *typed_remove(struct arena *, const struct schema_type *, struct json *obj, const struct json *set);
/* The set with every named field on the way to a path as a member. */
struct json *typed_with_parents(struct arena *, const struct schema_type *, struct json *set);

#endif
