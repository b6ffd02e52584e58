/* proto/selector.h: text and object forms, matching, field selectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/meta.pb-c.h"
#include "proto/pb.h"
#include "proto/selector.h"
#include "tests/lib/json_words.h"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static void test_text(void **state)
{
	static const struct {
		const char *text, *canonical;
		bool match; /* {"app": "web", "tier": "3", "empty": ""} */
	} rows[] = {
		{"", "", true},
		{"app=web", "app=web", true},
		{"app==web", "app=web", true},
		{"app!=web", "app!=web", false},
		{" app in (api, web) ", "app in (api,web)", true},
		{"app notin (x)", "app notin (x)", true},
		{"none notin (x)", "none notin (x)", true},
		{"app", "app", true},
		{"!app", "!app", false},
		{"! none", "!none", true},
		{"tier>2,app", "app,tier>2", true},
		{"tier<3", "tier<3", false},
		{"empty=", "empty=", true},
		{"empty=,app", "app,empty=", true},
		{"empty in (,x)", "empty in (,x)", true},
		{"x in ()", "x in ()", false},
		{"none!=x", "none!=x", true},
		{"in in (in,notin)", NULL, false},
		{"a.b/c=d", "a.b/c=d", false},
		{"app=in", "app=in", false},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *labels = parse("{\"app\":\"web\",\"tier\":\"3\",\"empty\":\"\"}");
		struct err e = ERR_INIT;
		struct selector sel;
		struct buf b = BUF_INIT;

		if (selector_parse(&arena, str_from(rows[i].text), &sel, &e) < 0) {
			assert_null(rows[i].canonical);
			continue;
		}
		assert_int_equal(selector_matches_json(&sel, labels), rows[i].match);
		selector_print(&b, &sel);
		if (rows[i].canonical)
			assert_string_equal(b.p ? b.p : "", rows[i].canonical);
		buf_fini(&b);
	}
}

static void test_text_errors(void **state)
{
	static const char *const rows[][2] = {
		{"a=b,", "unable to parse requirement: found '', expected: identifier after ','"},
		{"=b", "unable to parse requirement: found '=', expected: identifier"},
		{"a in b", "unable to parse requirement: found 'b', expected: '('"},
		{"a in (b",
			"unable to parse requirement: found '', expected: ',', ')' or identifier"},
		{"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, "
			"gt, lt"},
		{"a=b c",
			"unable to parse requirement: found 'c', expected: ',' or 'end of string'"},
		{"a>x", "values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must "
			"be an integer"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;
		struct selector sel;

		assert_true(selector_parse(&arena, str_from(rows[i][0]), &sel, &e) < 0);
		assert_string_equal(e.text, rows[i][1]);
	}
}

static void test_objects(void **state)
{
	struct err e = ERR_INIT;
	Meta__LabelSelector *msg = pb_new_of(&arena, meta__label_selector, Meta__LabelSelector);
	struct selector sel;
	struct str v;

	assert_int_equal(selector_from_json(&arena, NULL, &sel, &e), 0);
	assert_false(selector_matches_json(&sel, parse("{}")));
	assert_int_equal(selector_from_json(&arena, parse("{}"), &sel, &e), 0);
	assert_true(selector_matches_json(&sel, NULL));
	assert_int_equal(
		selector_from_json(&arena,
			parse("{\"matchLabels\":{\"a\":\"1\"},\"matchExpressions\":["
			      "{\"key\":\"b\",\"operator\":\"In\",\"values\":[\"x\",\"y\"]},"
			      "{\"key\":\"c\",\"operator\":\"DoesNotExist\"}]}"),
			&sel, &e),
		0);
	assert_true(selector_matches_json(&sel, parse("{\"a\":\"1\",\"b\":\"y\"}")));
	assert_false(selector_matches_json(&sel, parse("{\"a\":\"1\",\"b\":\"y\",\"c\":\"\"}")));
	assert_true(selector_requires(&sel, STR("a"), &v) && str_eqc(v, "1"));
	assert_false(selector_requires(&sel, STR("b"), &v));
	assert_true(selector_from_json(&arena,
			    parse("{\"matchExpressions\":[{\"key\":\"b\",\"operator\":\"Is\"}]}"),
			    &sel, &e) < 0);
	assert_string_equal(e.text, "\"Is\" is not a valid label selector operator");
	pb_map_set(&arena, msg, "match_labels", "a", "1");
	assert_int_equal(selector_from_pb(&arena, msg, &sel, &e), 0);
	assert_true(selector_matches_pb(&sel, msg->match_labels, msg->n_match_labels));
	assert_false(selector_matches_pb(&sel, NULL, 0));
	selector_from_pb_map(&arena, NULL, 0, &sel);
	assert_false(selector_matches_pb(&sel, msg->match_labels, msg->n_match_labels));
}

static void test_fields(void **state)
{
	struct json *pod = parse("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},\"spec\":{"
				 "\"nodeName\":\"n,1\"},\"status\":{\"phase\":\"Running\"}}");
	struct field_selector fs;
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct str v;

	assert_int_equal(
		field_selector_parse(&arena,
			STR("metadata.name=p,spec.nodeName==n\\,1,status.phase!=Failed,"), &fs, &e),
		0);
	assert_int_equal(fs.n_terms, 3);
	assert_true(field_selector_matches_json(&fs, pod));
	assert_true(field_selector_requires(&fs, STR("metadata.name"), &v) && str_eqc(v, "p"));
	assert_int_equal(field_selector_check(&fs, "v1", "Pod", true, &e), 0);
	field_selector_print(&b, &fs);
	assert_string_equal(b.p, "metadata.name=p,spec.nodeName=n\\,1,status.phase!=Failed");
	buf_fini(&b);
	assert_true(field_selector_check(&fs, "v1", "ConfigMap", true, &e) < 0);
	assert_int_equal(field_selector_parse(&arena, STR("status.phase=Failed"), &fs, &e), 0);
	assert_false(field_selector_matches_json(&fs, pod));
	assert_int_equal(field_selector_parse(&arena, STR("spec.foo=1"), &fs, &e), 0);
	assert_true(field_selector_check(&fs, "v1", "Pod", true, &e) < 0);
	assert_string_equal(e.text, "field label not supported: spec.foo");
	assert_true(field_selector_parse(&arena, STR("abc"), &fs, &e) < 0);
	assert_true(field_selector_parse(&arena, STR("a=b\\"), &fs, &e) < 0);
	assert_true(field_selector_parse(&arena, STR("\\"), &fs, &e) < 0);
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
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
