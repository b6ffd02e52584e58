/* proto/go_time.h: which part of a text is no time, as Go's time.Parse says it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/go_time.h"

#define AS "\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \""

static void test_problems(void **state)
{
	static const struct {
		const char *text, *why;
		bool micro;
	} rows[] = {
		{"x", "parsing time \"x" AS "x\" as \"2006\"", false},
		{"", "parsing time \"" AS "\" as \"2006\"", false},
		{"2024", "parsing time \"2024" AS "\" as \"-\"", false},
		{"2024-1-02T00:00:00Z", "parsing time \"2024-1-02T00:00:00Z" AS "1-02T00:00:00Z\" as \"01\"", false},
		{"2024-13-02T00:00:00Z", "parsing time \"2024-13-02T00:00:00Z\": month out of range", false},
		{"2024-02-30T00:00:00Z", "parsing time \"2024-02-30T00:00:00Z\": day out of range", false},
		{"2023-02-29T00:00:00Z", "parsing time \"2023-02-29T00:00:00Z\": day out of range", false},
		{"2024-02-10 00:00:00Z", "parsing time \"2024-02-10 00:00:00Z" AS " 00:00:00Z\" as \"T\"", false},
		{"2024-02-10T24:00:00Z", "parsing time \"2024-02-10T24:00:00Z\": hour out of range", false},
		{"2024-02-10T1:00:60Z", "parsing time \"2024-02-10T1:00:60Z\": second out of range", false},
		{"2024-02-10T10:00:00.5", "parsing time \"2024-02-10T10:00:00.5" AS "\" as \"Z07:00\"", false},
		{"2024-02-10T10:00:00+0100", "parsing time \"2024-02-10T10:00:00+0100" AS "+0100\" as \"Z07:00\"", false},
		{"2024-02-10T10:00:00+25:00", "parsing time \"2024-02-10T10:00:00+25:00\": time zone offset hour out of range", false},
		{"2024-02-10T10:00:00Zx\"", "parsing time \"2024-02-10T10:00:00Zx\\\"\": extra text: \"x\\\"\"", false},
		{"2024-02-10T10:00:00Z",
				"parsing time \"2024-02-10T10:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"",
				true},
		{"\x01", "parsing time \"\\x01" AS "\\x01\" as \"2006\"", false},
	};
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(go_time_problem(&a, str_from(rows[i].text), rows[i].micro), rows[i].why);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_problems)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
