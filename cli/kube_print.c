/* Printers of the kubectl-like commands; declared in cli/kube.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/kube.h"
#include "proto/json.h"
#include "proto/jsonpath.h"
#include "proto/resource.h"
#include "proto/yaml.h"

void kube_write(const struct buf *b)
{
	fwrite(b->p, 1, b->n, stdout);
	/* Nobody reads any more (a closed pipe): a watch must not go on for ever. */
	if (fflush(stdout) != 0)
		exit(CMD_FAILED);
}

static bool template_of(const char *o, const char *name, const char **ret)
{
	size_t n = strlen(name);

	if (strncmp(o, name, n) != 0 || o[n] != '=')
		return false;
	*ret = o + n + 1;
	return true;
}

int kube_printer_parse(struct kube *k, const char *o, struct kube_printer *p, struct err *e)
{
	static const struct {
		const char *name;
		enum kube_output kind;
	} plain[] = {{"", OUT_TABLE}, {"wide", OUT_WIDE}, {"json", OUT_JSON}, {"yaml", OUT_YAML}, {"name", OUT_NAME}};
	const char *file;
	FILE *f;

	*p = (struct kube_printer){OUT_TABLE, NULL};
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (o == NULL || strcmp(o, plain[i].name) == 0) {
			p->kind = o ? plain[i].kind : OUT_TABLE;
			return 0;
		}
	if (template_of(o, "jsonpath", &p->text)) {
		p->kind = OUT_JSONPATH;
		return 0;
	}
	if (template_of(o, "custom-columns", &p->text)) {
		p->kind = OUT_COLUMNS;
		return 0;
	}
	if (template_of(o, "jsonpath-file", &file)) {
		struct buf b = BUF_INIT;
		char block[4096];
		size_t n;

		f = fopen(file, "re");
		while (f && (n = fread(block, 1, sizeof(block), f)) > 0)
			buf_add(&b, block, n);
		if (f)
			fclose(f);
		p->kind = OUT_JSONPATH;
		p->text = arena_cstr(&k->arena, buf_str(&b));
		buf_fini(&b);
		return f ? 0 : err_set(e, ERR_NOT_FOUND, "cannot read %s", file);
	}
	return err_set(e, ERR_BAD_REQUEST,
			"unable to match a printer suitable for the output format \"%s\", allowed formats are: custom-columns,json,jsonpath,jsonpath-file,name,wide,yaml",
			o);
}

static void for_each(struct json *j, void (*fn)(struct json *, void *), void *arg)
{
	if (json_is(json_getc(j, "items"), JSON_ARRAY)) {
		JSON_ITEMS (item, json_getc(j, "items"))
			fn(item, arg);
	} else {
		fn(j, arg);
	}
}

struct sink {
	struct kube *k;
	struct buf *out;
	struct str *paths; /* custom columns */
	const char **cells;
	size_t n_columns, n_rows;
};

static void name_line(struct json *obj, void *arg)
{
	struct sink *s = arg;
	const struct resource *r =
			resource_find_kind(json_cstr(json_getc(obj, "apiVersion")), json_cstr(json_getc(obj, "kind")));

	buf_printf(s->out, "%s/%s\n", r ? kube_kind_word(s->k, r) : json_cstr(json_getc(obj, "kind")),
			json_cstr(json_getp(obj, "metadata.name")));
}

static void column_cells(struct json *obj, void *arg)
{
	struct sink *s = arg;
	size_t at = s->n_rows++ * s->n_columns;

	s->cells = arena_grow(&s->k->arena, s->cells, at * sizeof(*s->cells), (at + s->n_columns) * sizeof(*s->cells));
	for (size_t c = 0; c < s->n_columns; c++) {
		struct buf b = BUF_INIT;
		struct json **found;
		size_t n = 0;

		if (jsonpath_find(&s->k->arena, s->paths[c], obj, &found, &n, NULL) < 0 || n == 0)
			buf_addc(&b, "<none>");
		for (size_t i = 0; i < n; i++) {
			if (i > 0)
				buf_add1(&b, ',');
			if (json_is(found[i], JSON_STRING))
				buf_adds(&b, found[i]->s);
			else if (json_is_null(found[i]))
				buf_addc(&b, "<none>");
			else
				json_print(&b, found[i], JSON_COMPACT);
		}
		s->cells[at + c] = arena_cstr(&s->k->arena, buf_str(&b));
		buf_fini(&b);
	}
}

static int print_columns(struct kube *k, const char *spec, struct json *j, bool no_headers, struct buf *out, struct err *e)
{
	struct sink s = {.k = k, .out = out};
	struct str rest = str_from(spec), part, head;
	size_t *width, n = 1, row = no_headers ? 1 : 0;

	for (const char *p = spec; *p; p++)
		n += *p == ',';
	s.paths = arena_new_array(&k->arena, struct str, n);
	s.cells = arena_new_array(&k->arena, const char *, n);
	width = arena_new_array(&k->arena, size_t, n);
	while (rest.n > 0) {
		str_cut(rest, ',', &part, &rest);
		if (!str_cut(part, ':', &head, &s.paths[s.n_columns]) || head.n == 0)
			return err_set(e, ERR_BAD_REQUEST, "unexpected custom-columns spec: %.*s, expected <header>:<json-path-expr>",
					STR_FMT(part));
		s.cells[s.n_columns++] = arena_cstr(&k->arena, head);
	}
	if (s.n_columns == 0)
		return err_set(e, ERR_BAD_REQUEST, "custom-columns format specified but no custom columns given");
	s.n_rows = 1;
	for_each(j, column_cells, &s);
	for (size_t i = row * s.n_columns; i < s.n_rows * s.n_columns; i++)
		width[i % s.n_columns] = MAX(width[i % s.n_columns], strlen(s.cells[i]));
	for (; row < s.n_rows; row++)
		for (size_t c = 0; c < s.n_columns; c++)
			buf_printf(out, "%-*s%s", c + 1 < s.n_columns ? (int)width[c] : 0, s.cells[row * s.n_columns + c],
					c + 1 < s.n_columns ? "   " : "\n");
	return 0;
}

int kube_print(struct kube *k, const struct kube_printer *p, struct json *j, bool no_headers, struct err *e)
{
	struct buf out = BUF_INIT;
	struct sink s = {.k = k, .out = &out};
	struct jsonpath *jp;
	int rv = 0;

	switch (p->kind) {
	case OUT_JSON:
		json_print(&out, j, JSON_PRETTY | JSON_SORTED);
		buf_add1(&out, '\n');
		break;
	case OUT_YAML:
		yaml_print(&out, j);
		break;
	case OUT_NAME:
		for_each(j, name_line, &s);
		break;
	case OUT_JSONPATH:
		rv = jsonpath_parse(&k->arena, str_from(p->text), &jp, e);
		if (rv == 0)
			rv = jsonpath_print(jp, j, true, &out, e);
		break;
	case OUT_COLUMNS:
		rv = print_columns(k, p->text, j, no_headers, &out, e);
		break;
	case OUT_TABLE:
	case OUT_WIDE:
		UNREACHABLE();
	}
	if (rv == 0)
		kube_write(&out);
	buf_fini(&out);
	return rv;
}
