/*
 * Patches on JSON trees: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch
 * (Kubernetes'), and making patches for `apply` and `edit`.
 *
 * All are pure: the document is never changed, the result is a new tree in the arena that may share
 * nodes with the inputs (json_copy it before changing it in place). Strategic merge reads
 * patchStrategy and mergeKey from the schema tables; where the schema knows nothing (a custom
 * resource) it is a JSON merge patch.
 *
 *	struct json *new_obj;
 *	if (patch_strategic(&arena, schema_type_find("apps.v1.Deployment"), live, patch, &new_obj,
 * &e) < 0) ...
 */
#ifndef PROTO_PATCH_H
#define PROTO_PATCH_H

#include "base/arena.h"
#include "base/err.h"
#include "proto/json.h"

struct schema_type;

/* Operations of one JSON patch; upstream's limit. */
#define PATCH_MAX_OPS 10000u

/* `ops` is the array of operations. ERR_BAD_REQUEST for a malformed patch, ERR_INVALID when it does
 * not apply. */
int patch_json(struct arena *, const struct json *doc, const struct json *ops, struct json **ret,
	struct err *);
struct json *patch_merge(struct arena *, const struct json *doc, const struct json *patch);
/*
 * With $patch: replace|delete|merge, $retainKeys, $deleteFromPrimitiveList/x, $setElementOrder/x.
 * ERR_BAD_REQUEST for a malformed patch (a list element without its merge key, ...).
 */
int patch_strategic(struct arena *, const struct schema_type *, const struct json *doc,
	const struct json *patch, struct json **ret, struct err *);

/* The JSON merge patch that makes `modified` of `original` ({} when they are equal). */
struct json *patch_make_merge(
	struct arena *, const struct json *original, const struct json *modified);
/* The strategic merge patch that does. */
int patch_make_strategic(struct arena *, const struct schema_type *, const struct json *original,
	const struct json *modified, struct json **ret, struct err *);
/*
 * What `apply` sends: changes and additions from `current` (live) to `modified`, deletions from
 * `original` (last applied; NULL or null: none) to `modified`. {} when nothing is to be done. type
 * NULL gives a JSON merge patch.
 */
int patch_make_three_way(struct arena *, const struct schema_type *, const struct json *original,
	const struct json *modified, const struct json *current, struct json **ret, struct err *);

#endif
