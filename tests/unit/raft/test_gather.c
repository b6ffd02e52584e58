/* When a batch waits for those who were just answered, and when that is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "raft/gather.h"

static void answered(struct gather *g, unsigned n, uint64_t now)
{
	while (n-- > 0)
		gather_answered(g, now);
}

static void arrived(struct gather *g, unsigned n)
{
	while (n-- > 0)
		gather_arrived(g);
}

static void test_waits(void **state _unused_)
{
	struct gather g;

	gather_init(&g);
	/* Nobody was answered: nobody is waited for. */
	arrived(&g, 1);
	assert_false(gather_holds(&g, 100));
	gather_left(&g, 100);
	/* What came while the batch was under way does not count as coming back. */
	arrived(&g, 30);
	answered(&g, 32, 103);
	assert_true(gather_holds(&g, 103));
	assert_int_equal(g.until, 103 + 2 * 3 + 2);
	arrived(&g, 27);
	assert_true(gather_holds(&g, 104));
	arrived(&g, 1);
	assert_false(gather_holds(&g, 104));
	gather_left(&g, 104);
	assert_int_equal(g.until, UINT64_MAX);
	assert_false(gather_holds(&g, 104));
}

static void test_few(void **state _unused_)
{
	struct gather g;

	gather_init(&g);
	gather_left(&g, 100);
	answered(&g, GATHER_MIN - 1, 101);
	assert_false(gather_holds(&g, 101));
}

static void test_bounded(void **state _unused_)
{
	struct gather g;

	gather_init(&g);
	gather_left(&g, 100);
	answered(&g, 50, 100);
	assert_int_equal(g.until, 102);
	gather_left(&g, 200);
	answered(&g, 50, 10000);
	assert_int_equal(g.until, 10000 + GATHER_MAX_MS);
	assert_true(gather_holds(&g, g.until - 1));
	assert_false(gather_holds(&g, g.until));
}

/* How many of so many batches waited for clients that never come back at once. */
static unsigned futile(struct gather *g, unsigned batches, uint64_t *now)
{
	unsigned waited = 0;

	for (unsigned i = 0; i < batches; i++) {
		answered(g, 50, *now += 5);
		arrived(g, 1);
		if (gather_holds(g, *now)) {
			waited++;
			*now = g->until;
			assert_false(gather_holds(g, *now));
		}
		gather_left(g, *now);
	}
	return waited;
}

static void test_gives_up(void **state _unused_)
{
	struct gather g;
	uint64_t now = 1000;

	gather_init(&g);
	gather_left(&g, now);
	assert_in_range(futile(&g, 100, &now), 2, 5);
	assert_in_range(futile(&g, 10000, &now), 100, 200);
	/* Once they come back it waits again, and one miss does not end that for long. */
	do {
		answered(&g, 50, now += 5);
		arrived(&g, 50);
		assert_false(gather_holds(&g, now));
		gather_left(&g, now);
	} while (g.skip > 0);
	answered(&g, 50, now += 5);
	assert_true(gather_holds(&g, now));
	arrived(&g, 50);
	assert_false(gather_holds(&g, now));
	gather_left(&g, now);
	assert_in_range(futile(&g, 9, &now), 1, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
