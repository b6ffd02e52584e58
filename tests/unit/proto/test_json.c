/* proto/json.h: parsing, printing, changing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/scan.h"
#include "tests/lib/json_words.h"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static void check_print(const struct json *j, unsigned flags, const char *want)
{
	struct buf b = BUF_INIT;

	json_print(&b, j, flags);
	assert_string_equal(b.p, want);
	buf_fini(&b);
}

static void test_round_trip(void **state)
{
	static const char *const same[] = {
		"null",
		"true",
		"false",
		"0",
		"-1.50e+10",
		"\"\"",
		"[]",
		"{}",
		"[1,[2,{}],null]",
		"{\"b\":1,\"a\":{\"c\":[\"x\"]}}",
		"\"\\u003ca\\u003e \\u0026 \\u2028 \\\\ \\\" \\n\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		check_print(parse(same[i]), JSON_COMPACT, same[i]);
	check_print(parse("\"\\u00e9\\ud83d\\ude00\\ud800x\\/\""), 0,
		"\"\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbdx/\"");
	check_print(parse("{\"b\":[1,{}],\"a\":{\"c\":[]}}"), JSON_PRETTY | JSON_SORTED,
		"{\n    \"a\": {\n        \"c\": []\n    },\n    \"b\": [\n        1,\n        "
		"{}\n    ]\n}");
	check_print(parse("\"<>\""), JSON_RAW_HTML, "\"<>\"");
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *message;
		size_t offset;
	} rows[] = {
		{"", "unexpected end of JSON input", 0},
		{"{", "unexpected end of JSON input", 1},
		{"[1,", "unexpected end of JSON input", 3},
		{"\"abc", "unexpected end of JSON input", 4},
		{"\"abc\\", "unexpected end of JSON input", 5},
		{"x", "invalid character 'x' looking for beginning of value", 0},
		{"{a:1}", "invalid character 'a' looking for beginning of object key string", 1},
		{"{\"a\":1,}", "invalid character '}' looking for beginning of object key string",
			7},
		{"{\"a\" 1}", "invalid character '1' after object key", 5},
		{"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair", 7},
		{"[1 2]", "invalid character '2' after array element", 3},
		{"[1,]", "invalid character ']' looking for beginning of value", 3},
		{"nul1", "invalid character '1' in literal null (expecting 'l')", 3},
		{"1 2", "invalid character '2' after top-level value", 2},
		{"01", "invalid character '1' after top-level value", 1},
		{"-", "unexpected end of JSON input", 1},
		{"-x", "invalid character 'x' in numeric literal", 1},
		{"1.x", "invalid character 'x' after decimal point in numeric literal", 2},
		{"1ex", "invalid character 'x' in exponent of numeric literal", 2},
		{"\"\\q\"", "invalid character 'q' in string escape code", 2},
		{"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape", 5},
		{"\"a\nb\"", "invalid character '\\n' in string literal", 2},
		{"\"\xff\"", "invalid UTF-8 in string literal", 1},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json_opts opts = {0};
		struct err e = ERR_INIT;
		struct json *j;

		assert_true(json_parse(&arena, str_from(rows[i].text), &opts, &j, &e) < 0);
		assert_string_equal(e.text, rows[i].message);
		assert_int_equal(opts.error_offset, rows[i].offset);
	}
}

static void test_limits(void **state)
{
	struct json_opts opts = {.max_size = 10};
	struct err e = ERR_INIT;
	struct json *j;
	char deep[2 * JSON_MAX_DEPTH + 3];

	assert_int_equal(json_parse(&arena, STR("\"0123456789\""), &opts, &j, &e), -ERR_TOO_LARGE);
	memset(deep, '[', JSON_MAX_DEPTH + 1);
	memset(deep + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	assert_true(json_parse(&arena, str_of(deep, 2 * JSON_MAX_DEPTH + 2), NULL, &j, &e) < 0);
	assert_string_equal(e.text, "exceeded max depth");
	assert_int_equal(json_parse(&arena, str_of(deep + 1, 2 * JSON_MAX_DEPTH), NULL, &j, &e), 0);
	assert_int_equal(json_depth(j), JSON_MAX_DEPTH);
	opts = (struct json_opts){.max_nodes = 3};
	assert_int_equal(json_parse(&arena, STR("[1,2]"), &opts, &j, &e), 0);
	assert_int_equal(json_parse(&arena, STR("[1,2,3]"), &opts, &j, &e), -ERR_TOO_LARGE);
}

static void test_dups(void **state)
{
	struct json_opts opts = {0};
	struct json *j;

	assert_int_equal(
		json_parse(&arena, STR("{\"a\":1,\"s\":{\"c\":[{},{\"n\":1,\"n\":2}]},\"a\":3}"),
			&opts, &j, NULL),
		0);
	assert_int_equal(opts.n_dups, 2);
	assert_true(str_eqc(opts.dups[0], "s.c[1].n"));
	assert_true(str_eqc(opts.dups[1], "a"));
	check_print(j, 0, "{\"a\":3,\"s\":{\"c\":[{},{\"n\":2}]}}");
	assert_int_equal(json_parse_prefix(&arena, STR(" 1 \n2"), &opts, &j, NULL), 0);
	assert_int_equal(opts.used, 4);
}

static struct json *counted(struct json *j, int *n)
{
	(*n)++;
	return j;
}

/* What a loop goes over is named once, even by a call that costs; and a loop can be left. */
static void test_loops(void **state)
{
	struct json *j = parse("{\"a\":[1,2,3],\"b\":{}}"), *list = json_getc(j, "a");
	int calls = 0, sum = 0, seen = 0;

	(void)state;
	JSON_ITEMS (it, counted(list, &calls))
		sum += (int)json_i64_or(it, 0);
	assert_int_equal(sum, 6);
	JSON_MEMBERS (m, counted(j, &calls))
		seen += (int)m->key.n;
	assert_int_equal(seen, 2);
	JSON_ITEMS (it, counted(list, &calls)) {
		if (json_i64_or(it, 0) == 1)
			continue;
		sum += 10;
		break;
	}
	assert_int_equal(sum, 16);
	assert_int_equal(calls, 3);
	JSON_ITEMS (it, counted(NULL, &calls))
		sum += json_is(it, JSON_NULL);
	JSON_ITEMS (it, json_getc(j, "b"))
		sum += json_is(it, JSON_NULL);
	JSON_MEMBERS (m, list)
		sum += (int)m->key.n;
	assert_int_equal(sum, 16);
	assert_int_equal(calls, 4);
}

static void test_change(void **state)
{
	struct json *o = json_new_object(&arena), *list;
	char key[16];
	int64_t v;

	json_setp(&arena, o, "a.b.c", json_new_int(&arena, 7));
	assert_true(json_i64(json_getp(o, "a.b.c"), &v) && v == 7);
	assert_null(json_getp(o, "a.x.c"));
	json_delp(o, "a.b.c");
	check_print(o, 0, "{\"a\":{\"b\":{}}}");
	json_delc(o, "a");
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		json_setc(&arena, o, key, json_new_int(&arena, i));
	}
	for (int i = 0; i < 1000; i += 3) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_non_null(json_delc(o, key));
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		if (i % 3 == 0)
			assert_null(json_getc(o, key));
		else
			assert_int_equal(json_i64_or(json_getc(o, key), -1), i);
	}
	json_sort(&arena, o);
	assert_int_equal(json_i64_or(json_getc(o, "k998"), -1), 998);
	assert_true(json_equal(o, json_copy(&arena, o)));
	list = parse("[1,3]");
	json_insert(&arena, list, 1, json_new_int(&arena, 2));
	json_push(&arena, list, json_newf(&arena, "x%d", 4));
	json_del_at(list, 0);
	check_print(list, 0, "[2,3,\"x4\"]");
	assert_true(json_equal(parse("{\"a\":1.0,\"b\":[1e2]}"), parse("{\"b\":[100],\"a\":1}")));
	assert_false(json_equal(parse("{\"a\":1}"), parse("{\"a\":1,\"b\":2}")));
	assert_false(json_i64(parse("1.5"), &v));
	assert_false(json_i64(parse("99999999999999999999"), &v));
	check_print(json_new_double(&arena, 0.1), 0, "0.1");
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

static bool stops_at(unsigned c, enum scan_stop stop)
{
	return c > 127 || (stop != SCAN_HIGH && (c < 32 || c == 34 || c == 92)) || (stop == SCAN_HTML && (c == '<' || c == '>' || c == '&'));
}

/* Every byte, at every place of a block, in front of it and behind; and how it is printed. */
static void test_scan(void **state)
{
	static const enum scan_stop stops[] = {SCAN_HIGH, SCAN_LITERAL, SCAN_HTML};
	char text[40];

	(void)state;
	for (unsigned c = 0; c < 256; c++)
		for (size_t at = 0; at < sizeof(text); at++) {
			memset(text, 'a' + (int)(c % 26), sizeof(text));
			text[at] = (char)c;
			for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
				assert_int_equal(scan(text, sizeof(text), stops[i]), stops_at(c, stops[i]) ? at : sizeof(text));
				assert_int_equal(scan(text, at, stops[i]), at);
			}
			if (c < 128) {
				_cleanup_(buf_fini) struct buf b = BUF_INIT;
				struct json *back;

				json_print_string(&b, str_of(text, sizeof(text)), c % 2 ? JSON_RAW_HTML : 0);
				back = parse(b.p);
				assert_true(str_eq(json_str(back), str_of(text, sizeof(text))));
				assert_int_equal(b.n, sizeof(text) + 2 + (c < 32 && !strchr("\b\f\n\r\t", (int)c) ? 5
										: c && strchr("\b\f\n\r\t\"\\", (int)c) ? 1
										: c % 2 == 0 && c && strchr("<>&", (int)c)    ? 5
														  : c == 0 ? 5 : 0));
			}
			arena_fini(&arena);
		}
	{
		_cleanup_(buf_fini) struct buf b = BUF_INIT;

		json_print_string(&b, STR("\n\"<\xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\xc3\xa9\x01"), 0);
		assert_string_equal(b.p, "\"\\n\\\"\\u003c\\u2028\\u2029\xe2\x82\xac\xc3\xa9\\u0001\"");
	}
}

static void test_lossy(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"a\xff" "b", "a\xef\xbf\xbd" "b"},
		{"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xe2\x82x\xc3\xa9", "\xef\xbf\xbd\xef\xbf\xbdx\xc3\xa9"},
		{"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
	};
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(arena_cstr(&a, json_str(json_new_lossy(&a, str_from(rows[i].in)))), rows[i].out);
		assert_true(json_utf8_valid(str_from(rows[i].out)));
	}
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lossy),
		cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_change, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
