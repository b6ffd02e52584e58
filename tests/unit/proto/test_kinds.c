/*
 * Objects of every kind, from tests/data/api/kinds.txt: all that is wrong with them once they are defaulted, and their
 * cells in a Table.
 *
 *	K policy/v1 PodDisruptionBudget [subresource]     what the next rows are about
 *	N {...}                                           the object; metadata is filled in when it is left out
 *	O {...}                                           what it changes; without it the object is new
 *	W path: message                                   one error, in order; without one the object is fine
 *	T [...]                                           the cells, ten minutes into the year 2026
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/table.h"
#include "proto/validate.h"

#define MAX_LINE 65536
#define NOW 1767226200

static struct arena arena;
static const struct resource *res;
static char sub[32];
static struct json *object, *old;
static struct buf want;
static unsigned line_no, object_line;
static size_t n_checks, n_tables, n_wrong;

static struct json *document(const char *text)
{
	struct json *doc = NULL;
	struct err e = ERR_INIT;

	if (json_parse(&arena, str_from(text), NULL, &doc, &e) < 0)
		fail_msg("line %u: %s", line_no, e.text);
	assert_non_null(res);
	if (!json_getc(doc, "metadata"))
		json_setp(&arena, doc, "metadata.name", json_newc(&arena, "x"));
	if (res->namespaced)
		json_setp(&arena, doc, "metadata.namespace", json_newc(&arena, "d"));
	defaults_apply(&arena, resource_type(res), doc);
	return doc;
}

static void check(void)
{
	struct field_errs errs;
	struct buf have = BUF_INIT;

	if (!object)
		return;
	field_errs_init(&errs, &arena);
	validate_object(res, sub, object, old, &errs);
	for (size_t i = 0; i < errs.n; i++)
		buf_printf(&have, "%.*s: %.*s\n", STR_FMT(errs.items[i].field), STR_FMT(errs.items[i].message));
	if (!str_eq(buf_str(&have), buf_str(&want))) {
		print_message("line %u, %s:\nwant %.*s\nhave %.*s\n", object_line, res->kind, STR_FMT(buf_str(&want)),
			STR_FMT(buf_str(&have)));
		n_wrong++;
	}
	n_checks++;
	buf_fini(&have);
	buf_clear(&want);
	object = old = NULL;
}

static void cells(const char *text)
{
	struct json *have = table_cells(&arena, res, object, NOW), *wanted;

	assert_int_equal(json_parse(&arena, str_from(text), NULL, &wanted, NULL), 0);
	if (!json_equal(have, wanted)) {
		print_message("line %u, %s:\nwant %s\nhave %s\n", line_no, res->kind, text, json_text(&arena, have).p);
		n_wrong++;
	}
	n_tables++;
}

static void kind(const char *text)
{
	char api_version[128], name[128];

	sub[0] = '\0';
	assert_true(sscanf(text, "%127s %127s %31s", api_version, name, sub) >= 2);
	res = resource_find_kind(api_version, name);
	if (!res)
		fail_msg("line %u: no such kind: %s", line_no, text);
}

static void test_invalid(void **state)
{
	const char *dir = getenv("srcdir");
	FILE *f;
	char *line = xmalloc(MAX_LINE);

	(void)state;
	arena_init(&arena);
	buf_init(&want, BUF_NO_LIMIT);
	f = fopen(arena_printf(&arena, "%s/tests/data/api/kinds.txt", dir ? dir : "."), "r");
	assert_non_null(f);
	while (fgets(line, MAX_LINE, f)) {
		line_no++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		assert_true(line[1] == ' ');
		if (line[0] == 'K' || line[0] == 'N')
			check();
		switch (line[0]) {
		case 'K':
			kind(line + 2);
			break;
		case 'N':
			object = document(line + 2);
			object_line = line_no;
			break;
		case 'O':
			old = document(line + 2);
			break;
		case 'T':
			assert_non_null(object);
			cells(line + 2);
			break;
		case 'W':
			buf_printf(&want, "%s\n", line + 2);
			break;
		default:
			fail_msg("line %u: %s", line_no, line);
		}
	}
	check();
	fclose(f);
	free(line);
	buf_fini(&want);
	arena_fini(&arena);
	assert_int_equal(n_wrong, 0);
	assert_true(n_checks > 140);
	assert_true(n_tables > 35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
