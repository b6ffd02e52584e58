/* proto/jsonpath.h: kubectl's dialect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/jsonpath.h"

static const char doc[] =
	"{\"kind\":\"List\",\"n\":3,\"t\":true,\"items\":["
	"{\"metadata\":{\"name\":\"a\",\"labels\":{\"x.y/"
	"z\":\"1\"}},\"v\":1,\"ports\":[{\"p\":80},{\"p\":443}]},"
	"{\"metadata\":{\"name\":\"b\"},\"v\":2,\"ports\":[{\"p\":53}],\"ready\":true},"
	"{\"metadata\":{\"name\":\"c\"},\"v\":3}]}";

static void check(const char *path, const char *want, const char *error)
{
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct jsonpath *jp;
	struct arena a;
	struct json *j;
	int rc;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_from(doc), NULL, &j, NULL), 0);
	rc = jsonpath_parse(&a, str_from(path), &jp, &e);
	if (rc == 0)
		rc = jsonpath_print(jp, j, error == NULL, &b, &e);
	if (error) {
		assert_true(rc < 0);
		assert_string_equal(e.text, error);
	} else {
		if (rc < 0)
			fail_msg("%s: %s", path, e.text);
		assert_string_equal(b.p ? b.p : "", want);
	}
	buf_fini(&b);
	arena_fini(&a);
}

static void test_paths(void **state)
{
	static const char *const rows[][2] = {
		{"{.kind}", "List"},
		{"{$.kind}", "List"},
		{"kind: {.kind} {.n} {.t}", "kind: List 3 true"},
		{"{.items[0].metadata.name}", "a"},
		{"{.items[-1].metadata.name}", "c"},
		{"{.items[*].metadata.name}", "a b c"},
		{"{.items[0:2].metadata.name}", "a b"},
		{"{.items[::2].v}", "1 3"},
		{"{.items[-2:].v}", "2 3"},
		{"{.items[0,2].v}", "1 3"},
		{"{['kind','n']}", "List 3"},
		{"{.items[0].metadata.labels.x\\.y/z}", "1"},
		{"{.items[0].metadata.labels['x.y/z']}", "1"},
		{"{..name}", "a b c"},
		{"{..p}", "80 443 53"},
		{"{.items[?(@.v==2)].metadata.name}", "b"},
		{"{.items[?(@.v>=2)].metadata.name}", "b c"},
		{"{.items[?(@.metadata.name!=\"a\")].v}", "2 3"},
		{"{.items[?(@.ready)].v}", "2"},
		{"{.items[?(@.ready==true)].v}", "2"},
		{"{.items[?( @.metadata.name == 'c' )].v}", "3"},
		{"{.items[0].ports}", "[{\"p\":80},{\"p\":443}]"},
		{"{.items[0].metadata}", "{\"labels\":{\"x.y/z\":\"1\"},\"name\":\"a\"}"},
		{"{range .items[*]}{.metadata.name}={.v}{\"\\n\"}{end}", "a=1\nb=2\nc=3\n"},
		{"{range .items[*]}{.metadata.name}:{range .ports[*]}[{.p}]{end};{end}",
			"a:[80][443];b:[53];c:;"},
		{"{range .items[*]}{$.kind}{.v} {end}", "List1 List2 List3 "},
		{"{.none.x}", ""},
		{"{.items[9]}", ""},
		{"{.items[*].ports[*].p}", "80 443 53"},
		{"{.items[0].metadata.*}", "a {\"x.y/z\":\"1\"}"},
		{"{@}", NULL},
		{"{.}", NULL},
		{"", ""},
		{"{}", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i][1])
			check(rows[i][0], rows[i][1], NULL);
}

static void test_errors(void **state)
{
	check("{.x}", NULL, "x is not found");
	check("{.items[9]}", NULL, "array index out of bounds: index 9, length 3");
	check("{.kind[0]}", NULL, "\"List\" is not array or slice");
	check("{.a", NULL, "error parsing jsonpath {.a, unclosed action at offset 3");
	check("{range .a}", NULL, "error parsing jsonpath {range .a}, unclosed range at offset 10");
	check("{end}", NULL,
		"error parsing jsonpath {end}, not in range, nothing to end at offset 4");
	check("{.a[?(@.x}", NULL,
		"error parsing jsonpath {.a[?(@.x}, unterminated filter at offset 9");
	check("{foo}", NULL,
		"error parsing jsonpath {foo}, unrecognized character in action at offset 1");
	check("{.a[x]}", NULL, "error parsing jsonpath {.a[x]}, invalid array index at offset 4");
	check("{'a}", NULL, "error parsing jsonpath {'a}, unterminated string at offset 4");
	check("{.a[1:2:0]}", NULL,
		"error parsing jsonpath {.a[1:2:0]}, step must be > 0 at offset 9");
}

static void test_find(void **state)
{
	struct arena a;
	struct json *j, **found;
	size_t n;

	arena_init(&a);
	assert_int_equal(json_parse(&a, str_from(doc), NULL, &j, NULL), 0);
	assert_int_equal(jsonpath_find(&a, STR("items[*].v"), j, &found, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(json_i64_or(found[2], 0), 3);
	assert_int_equal(jsonpath_find(&a, STR("{.kind}"), j, &found, &n, NULL), 0);
	assert_true(n == 1 && json_eqc(found[0], "List"));
	assert_int_equal(jsonpath_find(&a, STR(".none"), j, &found, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_true(jsonpath_find(&a, STR(""), j, &found, &n, NULL) == 0);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
