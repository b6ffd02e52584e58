/*
 * describe against golden texts: tests/data/cli/describe.jsonl holds objects and what belongs to them, describe.txt what kubectl 1.32
 * printed for them. Set UPDATE=1 to write the texts anew (then read the difference).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/describe.h"
#include "cli/local.h"
#include "cli/tabs.h"
#include "proto/json.h"
#include "proto/resource.h"

#define NOW 1795417200 /* 2026-11-23T07:00:00Z, minutes after the objects were made */

static void test_tabs(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", ""},
		{"a\tb\n", "a  b\n"},
		{"a\tb\nlong\tc\n", "a     b\nlong  c\n"},
		/* A line without the cell ends the block. */
		{"a\tb\nx\nlonger\tc\n", "a  b\nx\nlonger  c\n"},
		/* The last cell is not padded; empty cells are. */
		{"a\t\tb\naaa\tc\td\n", "a       b\naaa  c  d\n"},
		{"\tx\nabc\ty\n", "     x\nabc  y\n"},
		/* Characters, not bytes. */
		{"\xc3\xa4\tb\nxy\tc\n", "\xc3\xa4   b\nxy  c\n"},
		{"a\tb", "a  b"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf b = BUF_INIT;

		tabs_align(&b, str_from(rows[i].in), 2);
		assert_string_equal(b.p ? b.p : "", rows[i].out);
		buf_fini(&b);
	}
}

static void test_golden(void **state)
{
	char *in = file_read(DATA "/describe.jsonl", 1 << 20, NULL), *want = file_read(DATA "/describe.txt", 1 << 20, NULL);
	struct buf got = BUF_INIT;
	struct arena a;
	struct str line, rest = str_from(in);

	assert_non_null(in);
	arena_init(&a);
	while (rest.n > 0) {
		struct describe_more more = {.no_events = false};
		struct json *doc, *obj;
		const struct resource *r;

		str_cut(rest, '\n', &line, &rest);
		assert_int_equal(json_parse(&a, line, NULL, &doc, NULL), 0);
		obj = json_getc(doc, "object");
		r = resource_find_kind(json_cstr(json_getc(obj, "apiVersion")), json_cstr(json_getc(obj, "kind")));
		more.events = json_getc(doc, "events");
		more.replica_sets = json_getc(doc, "replicaSets");
		more.pods = json_getc(doc, "pods");
		more.slices = json_getc(doc, "slices");
		more.lease = json_getc(doc, "lease");
		more.quotas = json_getc(doc, "quotas");
		more.limits = json_getc(doc, "limits");
		buf_printf(&got, "##### %s\n", json_cstr(json_getc(obj, "kind")));
		describe_object(&a, r, obj, &more, NOW, &got);
	}
	if (getenv("UPDATE"))
		assert_int_equal(file_put(DATA "/describe.txt", buf_str(&got), 0644, true, NULL), 0);
	else
		assert_string_equal(got.p, want);
	arena_fini(&a);
	buf_fini(&got);
	free(in);
	free(want);
}

/* Whatever an object looks like, it is described. */
static void test_odd_objects(void **state)
{
	static const char *const objects[] = {"null", "{}", "[]", "3", "{\"metadata\":3,\"spec\":[1],\"status\":\"x\"}",
		"{\"metadata\":{\"labels\":[],\"annotations\":{\"a\":1}},\"spec\":{\"containers\":[1,{}],\"volumes\":[{}],\"ports\":[{}],"
		"\"template\":{\"spec\":{\"containers\":{}}}},\"status\":{\"conditions\":[{}],\"containerStatuses\":[{}]},\"data\":[1]}"};

	for (size_t i = 0; i < ARRAY_LEN(objects); i++)
		RESOURCE_FOR_EACH (r) {
			struct describe_more more = {.no_events = false};
			struct buf b = BUF_INIT;
			struct json *obj;
			struct arena a;

			arena_init(&a);
			assert_int_equal(json_parse(&a, str_from(objects[i]), NULL, &obj, NULL), 0);
			describe_object(&a, r, obj, &more, NOW, &b);
			assert_true(b.n > 0);
			buf_fini(&b);
			arena_fini(&a);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_tabs), cmocka_unit_test(test_golden), cmocka_unit_test(test_odd_objects)};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
