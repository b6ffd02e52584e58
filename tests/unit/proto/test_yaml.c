/* proto/yaml.h: Go's reading of scalars, anchors, limits, kubectl's printing; proto/duration.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/yaml.h"

static struct arena arena;

static void check(const char *yaml, const char *want)
{
	struct err e = ERR_INIT;
	struct json *j = NULL;

	if (yaml_parse(&arena, str_from(yaml), &j, &e) < 0)
		fail_msg("%s: %s", yaml, e.text);
	assert_string_equal(json_text(&arena, j).p, want);
}

static void check_error(const char *yaml, const char *want)
{
	struct err e = ERR_INIT;
	struct json *j = NULL;

	assert_true(yaml_parse(&arena, str_from(yaml), &j, &e) < 0);
	assert_string_equal(e.text, want);
}

static void test_scalars(void **state)
{
	check("[yes, No, on, OFF, y, true, False]", "[true,false,true,false,true,true,false]");
	check("[~, null, '', \"no\", '1']", "[null,null,\"\",\"no\",\"1\"]");
	check("[1, -2, 0x1f, 0o17, 017, 0b11, 1_000, 08, +3]", "[1,-2,31,15,15,3,1000,8,3]");
	check("[1.5, 1e3, .5, 1., 0.1, 1e30, 18446744073709551615]",
		"[1.5,1000,0.5,1,0.1,1e+30,18446744073709551615]");
	check("[1.2.3, 500m, 1Gi, 2024-01-01, 10.0.0.1, 1:20, \"a\\tb\"]",
		"[\"1.2.3\",\"500m\",\"1Gi\",\"2024-01-01\",\"10.0.0.1\",\"1:20\",\"a\\tb\"]");
	check("[!!str 1, !!int \"7\", ! x, !!binary aGk=]", "[\"1\",7,\"x\",\"hi\"]");
	check("1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}");
	check("a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\\n\"}");
	check("", "null");
	check("{\"a\": 1.0, \"b\": \"\\/\"}", "{\"a\":1.0,\"b\":\"/\"}");
	check("{a: b}", "{\"a\":\"b\"}");
}

static void test_anchors(void **state)
{
	check("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\nd:\n  <<: [{p: 9}, *x]\n",
		"{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":2},\"c\":{\"q\":3,\"p\":1},\"d\":{"
		"\"p\":9,\"q\":2}}");
	check_error("a: &x [*x]",
		"yaml: line 1: unknown anchor 'x' referenced, or one that contains itself");
	check_error("a: &a [x,x,x,x,x,x,x,x,x]\n"
		    "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
		    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
		    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
		    "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
		    "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
		    "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
		"yaml: line 7: document contains excessive aliasing or too many values");
}

static void test_errors(void **state)
{
	check_error(
		"a: b\n c: d\n", "yaml: line 2: mapping values are not allowed in this context");
	check_error("a:\n\t- b\n", "yaml: line 2: found character that cannot start any token");
	check_error("a: [1, 2\n", "yaml: line 2: did not find expected ',' or ']'");
	check_error("a: 1\n---\nb: 2\n", "yaml: more than one document");
	check_error(
		"? [a]\n: b\n", "yaml: line 1: a mapping key must be a string, number or boolean");
	check_error("a: .nan\n", "yaml: line 1: JSON has no value for NaN and infinity");
}

static void test_stream(void **state)
{
	struct yaml_stream *ys = yaml_open(
		&arena, STR("# nothing\n---\na: 1\n---\n---\nb: {c: 1, c: 2}\n...\n---\n# end\n"));
	struct err e = ERR_INIT;
	struct json *j;
	struct str *dups;

	assert_int_equal(yaml_next(ys, &j, &e), 1);
	assert_string_equal(json_text(&arena, j).p, "{\"a\":1}");
	assert_int_equal(yaml_dups(ys, &dups), 0);
	assert_int_equal(yaml_next(ys, &j, &e), 1);
	assert_string_equal(json_text(&arena, j).p, "{\"b\":{\"c\":2}}");
	assert_int_equal(yaml_dups(ys, &dups), 1);
	assert_true(str_eqc(dups[0], "line 6: key \"c\" already set in map"));
	assert_int_equal(yaml_next(ys, &j, &e), 0);
	assert_int_equal(yaml_next(ys, &j, &e), 0);
	ys = yaml_open(&arena, STR(" {\"a\":1}\n{\"b\":2}\n"));
	assert_int_equal(yaml_next(ys, &j, &e), 1);
	assert_int_equal(yaml_next(ys, &j, &e), 1);
	assert_string_equal(json_text(&arena, j).p, "{\"b\":2}");
	assert_int_equal(yaml_next(ys, &j, &e), 0);
}

static void test_print(void **state)
{
	static const char in[] = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"m\":{\"t\":\"2024-01-"
				 "01T00:00:00Z\",\"e\":\"\",\"n\":null,"
				 "\"b\":\"true\",\"i\":\"123\",\"o\":{},\"l\":[],\"x\":\"a: "
				 "b\",\"y\":\"no\",\"z\":true},"
				 "\"list\":[{\"b\":1,\"a\":[\"x\",\"- "
				 "y\"]},\"*s\"],\"text\":\"one\\ntwo\\n\",\"open\":\"a\\nb\","
				 "\"k10\":1,\"k9\":2,\"k\":3,\"f.a\":1,\"fa\":2}";
	static const char want[] =
		"apiVersion: v1\nf.a: 1\nfa: 2\nk: 3\nk9: 2\nk10: 1\nkind: Pod\nlist:\n- a:\n  - "
		"x\n  - '- y'\n  b: 1\n"
		"- '*s'\nm:\n  b: \"true\"\n  e: \"\"\n  i: \"123\"\n  l: []\n  \"n\": null\n  o: "
		"{}\n"
		"  t: \"2024-01-01T00:00:00Z\"\n  x: 'a: b'\n  \"y\": \"no\"\n  z: true\n"
		"open: |-\n  a\n  b\ntext: |\n  one\n  two\n";
	struct buf b = BUF_INIT;
	struct json *j, *back;

	assert_int_equal(json_parse(&arena, str_from(in), NULL, &j, NULL), 0);
	yaml_print(&b, j);
	assert_string_equal(b.p, want);
	assert_int_equal(yaml_parse(&arena, buf_str(&b), &back, NULL), 0);
	assert_true(json_equal(j, back));
	buf_fini(&b);
}

static void test_duration(void **state)
{
	static const struct {
		int64_t s;
		const char *want;
	} ages[] = {
		{0, "0s"},
		{119, "119s"},
		{120, "2m"},
		{150, "2m30s"},
		{600, "10m"},
		{10799, "179m"},
		{10800, "3h"},
		{11700, "3h15m"},
		{28800, "8h"},
		{172799, "47h"},
		{172800, "2d"},
		{176400, "2d1h"},
		{691200, "8d"},
		{63071999, "729d"},
		{63072000, "2y"},
		{65664000, "2y30d"},
		{252288000, "8y"},
		{-1, "0s"},
		{-2, "<invalid>"},
	};
	static const struct {
		const char *text;
		int64_t ns;
		const char *back;
	} durations[] = {
		{"1h30m", 5400000000000, "1h30m0s"},
		{"1.5s", 1500000000, "1.5s"},
		{"300ms", 300000000, "300ms"},
		{"0", 0, "0s"},
		{"-1.5h", -5400000000000, "-1h30m0s"},
		{"10us", 10000, "10\xc2\xb5s"},
		{"7ns", 7, "7ns"},
		{"100s", 100000000000, "1m40s"},
	};
	char out[DURATION_SIZE];
	int64_t v;
	int32_t ns;

	for (size_t i = 0; i < ARRAY_LEN(ages); i++) {
		duration_human(ages[i].s, out);
		assert_string_equal(out, ages[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		assert_true(duration_parse(str_from(durations[i].text), &v));
		assert_int_equal(v, durations[i].ns);
		duration_print(v, out);
		assert_string_equal(out, durations[i].back);
	}
	assert_false(duration_parse(STR("1"), &v));
	assert_false(duration_parse(STR("s"), &v));
	assert_false(duration_parse(STR("1x"), &v));
	assert_false(duration_parse(STR("99999999999h"), &v));
	duration_print(INT64_MIN, out);
	assert_string_equal(out, "-2562047h47m16.854775808s");
	assert_true(time_parse(STR("2024-02-29T12:34:56.5+01:00"), &v, &ns));
	assert_int_equal(v, 1709206496);
	assert_int_equal(ns, 500000000);
	assert_false(time_parse(STR("2023-02-29T12:34:56Z"), &v, &ns));
	assert_false(time_parse(STR("2023-02-28T12:34:56"), &v, &ns));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_scalars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_anchors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_print, setup, teardown),
		cmocka_unit_test_setup_teardown(test_duration, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
