/* Shared between table.c and table_rows.c. */
#ifndef PROTO_TABLE_PRIV_H
#define PROTO_TABLE_PRIV_H

#include <stdint.h>

#include "proto/json.h"

struct table__row {
	struct arena *a;
	struct json *cells;
	int64_t now;
};

/* Adds exactly the cells of the resource's columns. */
typedef void table__fn(struct table__row *, const struct json *obj);
/* NULL: no columns of its own. `api_version` and `kind` of the resource. */
table__fn *table__row_fn(const char *api_version, const char *kind);

#endif
