/*
 * Tables: the human form of objects, as the API server gives it to kubectl (metav1.Table) and as
 * kontiki prints it.
 *
 * Columns come from the resource table; a row function a kind makes the cells from the tree. Kinds
 * without one show name and age.
 *
 *	struct json *t = table_new(&arena, resource, list_meta);
 *	table_add(&arena, t, resource, obj, TABLE_METADATA, now);
 *	table_print(&buf, t, &(struct table_print){.wide = false});
 */
#ifndef PROTO_TABLE_H
#define PROTO_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct json;
struct resource;

/* ?includeObject= */
enum table_include {
	TABLE_METADATA, /* the default: PartialObjectMetadata */
	TABLE_NONE,
	TABLE_OBJECT,
};

/* False for another word than "", "Metadata", "None" and "Object". */
bool table_include_parse(struct str, enum table_include *ret);
/*
 * {kind: Table, apiVersion: meta.k8s.io/v1, metadata, columnDefinitions, rows: []}. list_meta: the
 * list's metadata, or NULL. `resource` NULL (an unknown kind) gives name and creation time.
 */
struct json *table_new(struct arena *, const struct resource *, const struct json *list_meta);
/* Append obj's row. now: Unix seconds, for ages. */
void table_add(struct arena *, struct json *table, const struct resource *, const struct json *obj,
	enum table_include, int64_t now);
/* Only the cells: an array. */
struct json *table_cells(
	struct arena *, const struct resource *, const struct json *obj, int64_t now);

struct table_print {
	bool wide; /* priority 1 columns too */
	bool no_headers;
	bool with_namespace;     /* a NAMESPACE column first; rows need objects with metadata */
	bool show_labels;        /* a LABELS column last */
	bool show_kind;          /* NAME as kind.group/name */
	const char *kind_prefix; /* for show_kind: "deployment.apps" */
	const char *const *label_columns; /* -L: n_label_columns label keys */
	size_t n_label_columns;
	/* in and out: widths that a watch keeps from one row to the next; NULL: none */
	size_t *widths;
	size_t n_widths;
};
/* kubectl's form: columns three spaces apart, upper-case headers. */
void table_print(struct buf *, const struct json *table, const struct table_print *);

#endif
