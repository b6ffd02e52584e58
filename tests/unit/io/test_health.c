/* How long a server's answer is waited for, and what its answers make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/health.h"

static void test_the_first_answer_has_all_the_time(void **state)
{
	struct health h;

	health_init(&h, 1000);
	assert_int_equal(h.state, HEALTH_UNKNOWN);
	assert_int_equal(health_patience(&h), 1000);
}

static void test_patience_follows_the_answers(void **state)
{
	struct health h;

	health_init(&h, 1000);
	for (int i = 0; i < 50; i++)
		health_answered(&h, 1, true);
	assert_int_equal(health_patience(&h), HEALTH_FLOOR_MS);
	/* A machine that gets busy answers now at once, now late. */
	for (int i = 0; i < 50; i++)
		health_answered(&h, i % 2 ? 10 : 200, true);
	assert_in_range(health_patience(&h), 300, 700);
	for (int i = 0; i < 50; i++)
		health_answered(&h, i % 2 ? 10 : 900, true);
	assert_int_equal(health_patience(&h), 1000);
	for (int i = 0; i < 50; i++)
		health_answered(&h, 1, true);
	assert_int_equal(health_patience(&h), HEALTH_FLOOR_MS);
}

static void test_a_low_ceiling_wins(void **state)
{
	struct health h;

	health_init(&h, 100);
	health_answered(&h, 1, true);
	assert_int_equal(health_patience(&h), 100);
}

static void test_states(void **state)
{
	struct health h;

	health_init(&h, 1000);
	health_answered(&h, 1, false);
	health_answered(&h, 1, false);
	assert_int_equal(h.state, HEALTH_UNREADY);
	assert_int_equal(h.n_unready, 2);
	health_answered(&h, 1, true);
	assert_int_equal(h.state, HEALTH_READY);
	assert_int_equal(h.n_unready, 0);
	health_lost(&h);
	health_lost(&h);
	assert_int_equal(h.state, HEALTH_DEAD);
	assert_int_equal(h.n_lost, 2);
	assert_int_equal(health_patience(&h), 1000);
	health_answered(&h, 5, true);
	assert_int_equal(h.state, HEALTH_READY);
	assert_int_equal(h.n_lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_answer_has_all_the_time),
		cmocka_unit_test(test_patience_follows_the_answers),
		cmocka_unit_test(test_a_low_ceiling_wins),
		cmocka_unit_test(test_states),
	};
	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
