/*
 * Arguments of `label` and `annotate`: "key=value" sets, "key-" removes. Pure.
 */
#ifndef CLI_KUBE_META_H
#define CLI_KUBE_META_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct json;

struct meta_change {
	struct str key, value;
	bool remove;
};

/* How many of the last arguments are changes: the first one that is, and all behind it. */
size_t meta_count_changes(const char *const *args, size_t n);
/* `what` is "labels" or "annotations". Labels' syntax is checked. */
int meta_parse(struct arena *, const char *what, const char *const *args, size_t n, struct meta_change **ret, struct err *e);
/*
 * The JSON merge patch that makes the changes to obj, {} when there is nothing to do. Without `overwrite` a key that has
 * another value already is an error.
 */
int meta_patch(struct arena *, const char *what, const struct json *obj, const struct meta_change *, size_t n, bool overwrite,
		struct json **ret, struct err *e);

#endif
