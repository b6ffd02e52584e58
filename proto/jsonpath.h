/*
 * JSONPath in kubectl's dialect: text with {expressions}.
 *
 * .a.b, ['a.b'], [0], [-1], [1:3], [0,2], [*], .*, ..name, [?(@.x=="y")] with == != < <= > >= and
 * existence, {range x}{end},
 * {"text"}, $ and @. Results of one expression are printed with spaces between them; objects and
 * arrays as JSON.
 *
 *	struct jsonpath *jp;
 *	if (jsonpath_parse(&arena, STR("{.items[*].metadata.name}"), &jp, &e) < 0) ...
 *	if (jsonpath_print(jp, list, true, &buf, &e) < 0) ...
 */
#ifndef PROTO_JSONPATH_H
#define PROTO_JSONPATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct json;
struct jsonpath;

/* Results of one expression; more is an error, so that ".." cannot run away. */
#define JSONPATH_MAX_RESULTS 1000000u

int jsonpath_parse(struct arena *, struct str text, struct jsonpath **ret, struct err *);
/* missing_ok: keys that are not there give nothing (kubectl get), else "x is not found". */
int jsonpath_print(const struct jsonpath *, const struct json *root, bool missing_ok, struct buf *,
	struct err *);
/* The values of the first expression, for --sort-by, custom columns and wait; a path without braces
 * (".a.b" or "a.b") is fine. */
int jsonpath_find(struct arena *, struct str path, const struct json *root, struct json ***ret,
	size_t *ret_n, struct err *);

#endif
