/* Lists of peer addresses. */
#include "tests/unit/raft/raftest.h"

#include "raft/addrs.h"

static void test_lists(void **state _unused_)
{
	struct str two = STR("10.0.0.1:1,[fe80::1]:2");

	assert_int_equal(addrs_n(STR_NULL), 0);
	assert_int_equal(addrs_n(STR("a:1")), 1);
	assert_int_equal(addrs_n(two), 2);
	assert_true(str_eq(addrs_at(two, 0), STR("10.0.0.1:1")));
	assert_true(str_eq(addrs_at(two, 1), STR("[fe80::1]:2")));
	/* Going round. */
	assert_true(str_eq(addrs_at(two, 2), STR("10.0.0.1:1")));
	assert_true(str_eq(addrs_at(two, 7), STR("[fe80::1]:2")));
	assert_true(str_eq(addrs_at(STR("local"), 5), STR("local")));
	assert_int_equal(addrs_at(STR_NULL, 3).n, 0);
}

static void test_meet(void **state _unused_)
{
	assert_true(addrs_meet(STR("a:1"), STR("a:1")));
	assert_true(addrs_meet(STR("a:1,b:2"), STR("c:3,b:2")));
	assert_false(addrs_meet(STR("a:1,b:2"), STR("a:2,b:1")));
	/* One that begins as another one does is another one. */
	assert_false(addrs_meet(STR("a:1"), STR("a:11,xa:1")));
	assert_false(addrs_meet(STR_NULL, STR_NULL));
	assert_false(addrs_meet(STR_NULL, STR("a:1")));
}

static void test_ok(void **state _unused_)
{
	assert_true(addrs_ok(STR("a:1")));
	assert_true(addrs_ok(STR("a:1,b:1")));
	assert_false(addrs_ok(STR_NULL));
	assert_false(addrs_ok(STR(",")));
	assert_false(addrs_ok(STR("a:1,")));
	assert_false(addrs_ok(STR(",a:1")));
	assert_false(addrs_ok(STR("a:1,,b:1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_meet),
		cmocka_unit_test(test_ok),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
