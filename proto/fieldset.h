/*
 * Sets of field paths: what a manager owns, as server-side apply counts it.
 *
 * A set is a tree in the form of FieldsV1, so that what is stored is worked on as it is. A key is one step of a path:
 * "f:NAME" a field or a map's key, "k:{...}" the element of a list with these keys, "v:VALUE" the element of a set of
 * scalars, "i:N" an index. A node without children ({}) is a path of the set; a node with children is one only if it has
 * the key ".". NULL is the empty set, and nothing else is: operations give NULL for it.
 *
 * Sets are canonical: keys in upstream's order ("." first, then f, k, v, i, each by value), and texts of k and v compact.
 * fieldset_parse makes them so; the operations count on it, keep it, never change their inputs, and share nodes.
 *
 *	fieldset_parse(&arena, json_getc(entry, "fieldsV1"), &owned, &e);
 *	owned = fieldset_difference(&arena, owned, removed);
 */
#ifndef PROTO_FIELDSET_H
#define PROTO_FIELDSET_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/json.h"

/* A canonical copy. Keys of unknown kinds are left out, as upstream does. ERR_BAD_REQUEST when it is no such tree. */
int fieldset_parse(struct arena *, const struct json *fields_v1, struct json **ret, struct err *);

struct json *fieldset_union(struct arena *, struct json *a, struct json *b);
/* The paths of a that are not in b; a longer path is another path. */
struct json *fieldset_difference(struct arena *, struct json *a, struct json *b);
struct json *fieldset_intersection(struct arena *, struct json *a, struct json *b);
bool fieldset_equal(const struct json *a, const struct json *b);

/* The node itself is in the set, not only paths below it. */
bool fieldset_is_member(const struct json *node);
/* The node one step further, or NULL. */
struct json *fieldset_at(const struct json *node, struct str step);

/* All paths, as ".spec.containers[name=\"web\"].image": those that end in a node first, then those below it. */
size_t fieldset_paths(struct arena *, const struct json *set, struct str **ret);
/* Order of two steps. */
int fieldset_step_cmp(struct str a, struct str b);

/* ---- making ---- */

/* The set of nothing but the node itself. */
struct json *fieldset_leaf(struct arena *);
/* A node of children that are in order, and of itself when `member`; NULL when it is neither. */
struct fieldset_child {
	struct str step; /* in the arena */
	struct json *node; /* not NULL */
};
struct json *fieldset_node(struct arena *, bool member, const struct fieldset_child *, size_t n);
/* Brings them in order; steps must differ. */
void fieldset_sort(struct fieldset_child *, size_t n);

#endif
