#include "proto/table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "proto/table-priv.h"

/* kubectl's tab writer: at least this wide with the gap. */
#define GAP 3u
#define MIN_WIDTH 6u

bool table_include_parse(struct str s, enum table_include *ret)
{
	if (s.n == 0 || str_eqc(s, "Metadata"))
		*ret = TABLE_METADATA;
	else if (str_eqc(s, "None"))
		*ret = TABLE_NONE;
	else if (str_eqc(s, "Object"))
		*ret = TABLE_OBJECT;
	else
		return false;
	return true;
}

/* ---- making ---- */

static table__fn *row_fn(const struct resource *res)
{
	return res ? table__row_fn(res->api_version, res->kind) : NULL;
}

static void add_column(struct arena *a, struct json *columns, const struct resource_column *c)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, "name", json_newc(a, c->name));
	json_setc(a, j, "type", json_newc(a, c->type));
	json_setc(a, j, "format", json_newc(a, c->format));
	json_setc(a, j, "description",
		json_newc(a, strcmp(c->format, "name") == 0
				     ? "Name of the object, unique within its namespace"
				     : ""));
	json_setc(a, j, "priority", json_new_int(a, c->priority));
	json_push(a, columns, j);
}

struct json *table_new(struct arena *a, const struct resource *res, const struct json *list_meta)
{
	static const struct resource_column plain[] = {
		{"Name", "string", "name", 0}, {"Created At", "date", "", 0}};
	struct json *t = json_new_object(a), *columns = json_new_array(a);
	const struct resource_column *c = plain;
	size_t n = ARRAY_LEN(plain);

	if (row_fn(res) || (res && res->custom))
		c = resource_columns(res, &n);
	for (size_t i = 0; i < n; i++) {
		add_column(a, columns, &c[i]);
		if (res && res->custom)
			json_setc(a, json_at(columns, i), "description",
				json_newc(a, res->custom->column_paths[i].description));
	}
	json_setc(a, t, "kind", json_newc(a, "Table"));
	json_setc(a, t, "apiVersion", json_newc(a, "meta.k8s.io/v1"));
	json_setc(a, t, "metadata", list_meta ? json_copy(a, list_meta) : json_new_object(a));
	json_setc(a, t, "columnDefinitions", columns);
	json_setc(a, t, "rows", json_new_array(a));
	return t;
}

struct json *table_cells(
	struct arena *a, const struct resource *res, const struct json *obj, int64_t now)
{
	struct table__row r = {a, json_new_array(a), now};
	table__fn *fn = row_fn(res);

	if (res && res->custom) {
		custom_cells(a, res->custom, obj, now, r.cells);
	} else if (fn) {
		fn(&r, obj);
	} else {
		json_push(a, r.cells, json_new_str(a, json_strp(obj, "metadata.name")));
		json_push(
			a, r.cells, json_new_str(a, json_strp(obj, "metadata.creationTimestamp")));
	}
	return r.cells;
}

static struct json *partial(struct arena *a, const struct json *obj)
{
	struct json *j = json_new_object(a), *meta = json_getc(obj, "metadata");

	json_setc(a, j, "kind", json_newc(a, "PartialObjectMetadata"));
	json_setc(a, j, "apiVersion", json_newc(a, "meta.k8s.io/v1"));
	json_setc(a, j, "metadata", meta ? json_copy(a, meta) : json_new_object(a));
	return j;
}

void table_add(struct arena *a, struct json *table, const struct resource *res,
	const struct json *obj, enum table_include include, int64_t now)
{
	struct json *row = json_new_object(a);

	json_setc(a, row, "cells", table_cells(a, res, obj, now));
	if (include == TABLE_OBJECT)
		json_setc(a, row, "object", json_copy(a, obj));
	else if (include == TABLE_METADATA)
		json_setc(a, row, "object", partial(a, obj));
	json_push(a, json_getc(table, "rows"), row);
}

/* ---- printing ---- */

/* The text of the whole table, cell by cell. */
struct grid {
	struct arena a;
	struct str *cells; /* n_cols a line */
	size_t n_cols, n_lines, at, room;
};

static void put(struct grid *g, struct str s)
{
	if (g->at == g->room) {
		size_t room = MAX(g->room * 2, (size_t)64);

		g->cells = arena_grow(
			&g->a, g->cells, g->room * sizeof(*g->cells), room * sizeof(*g->cells));
		g->room = room;
	}
	g->cells[g->at++] = s;
}

static struct str upper(struct arena *a, struct str s)
{
	char *p = arena_cstr(a, s);

	for (size_t i = 0; i < s.n; i++)
		p[i] = (char)toupper((unsigned char)s.p[i]);
	return str_of(p, s.n);
}

/* A terminal must not be driven by an object: control characters end the cell or are shown. */
static struct str cell_text(struct arena *a, const struct json *cell)
{
	struct str s;
	size_t n = 0;
	char *to;

	if (json_is_null(cell))
		return STR("");
	if (!json_is(cell, JSON_STRING))
		return json_text(a, cell);
	s = cell->s;
	to = arena_alloc(a, s.n * 2 + 4);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\n' || c == '\r' || c == '\f') {
			memcpy(to + n, "...", 3);
			n += 3;
			break;
		}
		if (c < 0x20 || c == 0x7f) {
			to[n++] = '^';
			to[n++] = (char)(c ^ 0x40);
		} else {
			to[n++] = (char)c;
		}
	}
	return str_of(to, n);
}

static bool shown(const struct json *column, const struct table_print *p)
{
	return p->wide || json_i64_or(json_getc(column, "priority"), 0) == 0;
}

static void put_header(struct grid *g, const struct json *table, const struct table_print *p)
{
	if (p->with_namespace)
		put(g, STR("NAMESPACE"));
	JSON_ITEMS (c, json_getc(table, "columnDefinitions"))
		if (shown(c, p))
			put(g, upper(&g->a, json_str(json_getc(c, "name"))));
	for (size_t i = 0; i < p->n_label_columns; i++) {
		struct str key = str_from(p->label_columns[i]);

		put(g, upper(&g->a, str_skip(key, (size_t)(str_rfind(key, '/') + 1))));
	}
	if (p->show_labels)
		put(g, STR("LABELS"));
}

static int member_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

static struct str labels_text(struct arena *a, const struct json *labels)
{
	size_t n = json_len(labels);
	struct json_member *sorted;
	struct buf b = BUF_INIT;
	struct str s;

	if (n == 0 || !json_is(labels, JSON_OBJECT))
		return STR("<none>");
	sorted = arena_memdup(a, labels->members, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), member_cmp);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s=%.*s", i ? "," : "", STR_FMT(sorted[i].key),
			STR_FMT(json_str(sorted[i].value)));
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

static void put_row(struct grid *g, const struct json *table, const struct json *row,
	const struct table_print *p)
{
	struct json *columns = json_getc(table, "columnDefinitions"),
		    *cells = json_getc(row, "cells");
	struct json *meta = json_getp(row, "object.metadata"), *labels = json_getc(meta, "labels");
	bool first = true;

	if (p->with_namespace)
		put(g, json_str(json_getc(meta, "namespace")));
	for (size_t i = 0; i < json_len(columns); i++) {
		struct str s;

		if (!shown(json_at(columns, i), p))
			continue;
		s = cell_text(&g->a, json_at(cells, i));
		if (first && p->show_kind && p->kind_prefix)
			s = arena_sprintf(&g->a, "%s/%.*s", p->kind_prefix, STR_FMT(s));
		put(g, s);
		first = false;
	}
	for (size_t i = 0; i < p->n_label_columns; i++) {
		struct json *v = json_getc(labels, p->label_columns[i]);

		put(g, json_str(v));
	}
	if (p->show_labels)
		put(g, labels_text(&g->a, labels));
}

/* Characters, not bytes. */
static size_t width_of(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void print_grid(struct buf *b, const struct grid *g, const size_t *widths)
{
	for (size_t i = 0; i < g->n_lines; i++) {
		for (size_t k = 0; k < g->n_cols; k++) {
			struct str s = g->cells[i * g->n_cols + k];

			buf_adds(b, s);
			for (size_t w = width_of(s); k + 1 < g->n_cols && w < widths[k]; w++)
				buf_add1(b, ' ');
		}
		buf_add1(b, '\n');
	}
}

void table_print(struct buf *b, const struct json *table, const struct table_print *p)
{
	struct grid g = {.n_lines = json_len(json_getc(table, "rows"))};
	size_t *widths;

	g.n_cols = p->with_namespace + p->n_label_columns + p->show_labels;
	JSON_ITEMS (c, json_getc(table, "columnDefinitions"))
		g.n_cols += shown(c, p);
	if (!p->no_headers) {
		put_header(&g, table, p);
		g.n_lines++;
	}
	JSON_ITEMS (row, json_getc(table, "rows"))
		put_row(&g, table, row, p);
	widths = arena_new_array(&g.a, size_t, g.n_cols);
	for (size_t k = 0; k < g.n_cols; k++) {
		widths[k] = p->widths && k < p->n_widths ? MAX(p->widths[k], MIN_WIDTH) : MIN_WIDTH;
		for (size_t i = 0; i < g.n_lines; i++) {
			size_t w = width_of(g.cells[i * g.n_cols + k]) + GAP;

			widths[k] = MAX(widths[k], w);
		}
		if (p->widths && k < p->n_widths)
			p->widths[k] = widths[k];
	}
	print_grid(b, &g, widths);
	arena_fini(&g.a);
}
