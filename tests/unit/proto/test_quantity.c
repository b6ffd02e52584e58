/* proto/quantity.h: reading, canonical form, arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/quantity.h"

static void test_canonical(void **state)
{
	static const char *const rows[][2] = {
		{"1000m", "1"},
		{"0.5", "500m"},
		{"1.5Gi", "1536Mi"},
		{"100m", "100m"},
		{"1", "1"},
		{"0", "0"},
		{"-0", "0"},
		{"1500", "1500"},
		{"12000", "12k"},
		{"1e3", "1e3"},
		{"1E3", "1e3"},
		{"12e4", "120e3"},
		{"5e-3", "5e-3"},
		{"1024", "1024"},
		{"1024Ki", "1Mi"},
		{"0.5Ki", "512"},
		{"0.5Mi", "512Ki"},
		{"1.1Ki", "1126400m"},
		{"1000Ki", "1000Ki"},
		{"+3", "3"},
		{"-1.5", "-1500m"},
		{"100u", "100u"},
		{"1n", "1n"},
		{"0.1n", "1n"},
		{"-0.1n", "-1n"},
		{"1.0000000001", "1000000001n"},
		{"9Ei", "9223372036854775807"},
		{"7Ei", "7Ei"},
		{"1E", "1E"},
		{"100E", "9223372036854775807"},
		{"9223372036854775807", "9223372036854775807"},
		{"99999999999999999999999999", "9223372036854775807"},
		{".5", "500m"},
		{"5.", "5"},
		{"0001", "1"},
		{"1e-20", "1e-9"},
		{"128Mi", "128Mi"},
		{"64k", "64k"},
		{"1000k", "1M"},
		{"3.14159", "3141590u"},
		{"1023Ki", "1023Ki"},
		{"2Ti", "2Ti"},
		{"0.0000000000000000000000000000000000000000001Ki", "1n"},
	};
	char out[QUANTITY_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct quantity q, again;
		struct err e = ERR_INIT;

		if (quantity_parse(str_from(rows[i][0]), &q, &e) < 0)
			fail_msg("%s: %s", rows[i][0], e.text);
		quantity_print(q, out);
		assert_string_equal(out, rows[i][1]);
		assert_int_equal(quantity_parse(str_from(out), &again, &e), 0);
		assert_int_equal(quantity_cmp(q, again), 0);
	}
}

static void test_errors(void **state)
{
	static const char *const bad[] = {
		"", "-", "abc", "1.2.3", "1 ", " 1", "1Mi1x", "1--2", ".", "i", "1,5"};
	static const char *const bad_suffix[] = {
		"1Kii", "1K", "1mi", "1e", "1ee3", "1E+", "1ki", "1Mi1"};
	struct quantity q;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(quantity_parse(str_from(bad[i]), &q, &e) < 0);
		assert_string_equal(e.text, "quantities must match the regular expression "
					    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	}
	for (size_t i = 0; i < ARRAY_LEN(bad_suffix); i++) {
		assert_true(quantity_parse(str_from(bad_suffix[i]), &q, &e) < 0);
		assert_string_equal(e.text, "unable to parse quantity's suffix");
	}
}

static void test_arithmetic(void **state)
{
	struct quantity sum = QUANTITY_ZERO;
	char out[QUANTITY_SIZE];

	for (int i = 0; i < 1000; i++)
		sum = quantity_add(sum, quantity_of("1m"));
	assert_int_equal(quantity_cmp(sum, quantity_of("1")), 0);
	quantity_print(quantity_add(quantity_of("1Gi"), quantity_of("512Mi")), out);
	assert_string_equal(out, "1536Mi");
	quantity_print(quantity_sub(quantity_of("1"), quantity_of("1500m")), out);
	assert_string_equal(out, "-500m");
	assert_int_equal(quantity_value(quantity_of("1500m")), 2);
	assert_int_equal(quantity_value(quantity_of("-1500m")), -2);
	assert_int_equal(quantity_milli(quantity_of("0.1")), 100);
	assert_int_equal(quantity_milli(quantity_of("7Ei")), INT64_MAX);
	assert_int_equal(quantity_sign(quantity_of("-1n")), -1);
	assert_int_equal(quantity_value(quantity_of(NULL)), 0);
	sum = quantity_of("9Ei");
	for (int i = 0; i < 200; i++)
		sum = quantity_add(sum, sum);
	assert_int_equal(quantity_value(sum), INT64_MAX);
	quantity_print(sum, out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_arithmetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
