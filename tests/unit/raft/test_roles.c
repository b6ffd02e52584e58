/* Who should vote: role_plan, one view after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "raft/roles.h"

#define VOTER(i, z) {.id = i, .zone = z, .voter = true, .able = true, .ready = true}
#define STANDBY(i, z) {.id = i, .zone = z, .able = true, .ready = true}
#define DEAD_VOTER(i, z) {.id = i, .zone = z, .voter = true, .silent_ms = 40000}

static void check(const struct role_member *m, size_t n, unsigned voters, int kind, uint64_t id)
{
	struct role_change c = role_plan(&(struct role_view){.members = m, .n = n, .leader = 1, .voters = voters, .dead_ms = 30000});

	assert_int_equal(c.kind, kind);
	if (kind != ROLE_NOTHING)
		assert_int_equal(c.id, id);
}

static void test_fill(void **state _unused_)
{
	struct role_member m[] = {VOTER(1, ""), STANDBY(2, ""), STANDBY(3, "")};

	check(m, 3, 3, ROLE_PROMOTE, 2);
	m[1].ready = false; /* it lags */
	check(m, 3, 3, ROLE_PROMOTE, 3);
	m[2].learner = true; /* an operator's */
	check(m, 3, 3, ROLE_NOTHING, 0);
	check(m, 1, 3, ROLE_NOTHING, 0);
}

static void test_enough(void **state _unused_)
{
	struct role_member m[] = {VOTER(1, ""), VOTER(2, ""), VOTER(3, ""), STANDBY(4, "")};

	check(m, 4, 3, ROLE_NOTHING, 0);
	check(m, 3, 5, ROLE_NOTHING, 0);
	m[3].voter = true;
	check(m, 4, 3, ROLE_DEMOTE, 4);
	m[2].silent_ms = 30000;
	check(m, 4, 3, ROLE_DEMOTE, 3);
}

static void test_dead(void **state _unused_)
{
	struct role_member m[] = {VOTER(1, ""), DEAD_VOTER(2, ""), VOTER(3, ""), STANDBY(4, "")};

	/* First the vote is taken, then given; a dead one with nobody to take its place keeps it. */
	check(m, 4, 3, ROLE_DEMOTE, 2);
	check(m, 3, 3, ROLE_NOTHING, 0);
	m[1].voter = false;
	m[1].ready = false;
	check(m, 4, 3, ROLE_PROMOTE, 4);
	/* Not if a majority of what is left could not be had: another one has forgotten what it acknowledged. */
	m[1].voter = true;
	m[2].able = false;
	check(m, 4, 3, ROLE_NOTHING, 0);
	m[1].voter = false;
	m[2].able = true;
	/* The leader's own silence means nothing. */
	m[0].silent_ms = 99999;
	m[3].voter = true;
	check(m, 4, 3, ROLE_NOTHING, 0);
}

static void test_zones(void **state _unused_)
{
	struct role_member m[] = {VOTER(1, "a"), VOTER(2, "a"), VOTER(3, "b"), STANDBY(4, "b"), STANDBY(5, "c")};

	check(m, 5, 3, ROLE_PROMOTE, 5);
	m[4].voter = true;
	check(m, 5, 3, ROLE_DEMOTE, 2);
	m[1].voter = false;
	check(m, 5, 3, ROLE_NOTHING, 0);
	/* Two of the leader's zone would rather be one, but there is nowhere better to go. */
	m[1].voter = true;
	m[4].voter = false;
	m[4].zone = "a";
	check(m, 5, 3, ROLE_NOTHING, 0);
	/* Among stand-bys the one in the emptier zone. */
	m[1].voter = false;
	check(m, 5, 3, ROLE_PROMOTE, 2);
	m[1].ready = false;
	check(m, 5, 3, ROLE_PROMOTE, 4);
}

static void test_witness(void **state _unused_)
{
	struct role_member m[] = {VOTER(1, ""), VOTER(2, ""), STANDBY(3, ""), STANDBY(4, "")};

	m[3].witness = true;
	check(m, 4, 3, ROLE_PROMOTE, 4);
	m[2].voter = m[3].voter = true;
	check(m, 4, 3, ROLE_DEMOTE, 3);
}

/* From any view, applying what is planned comes to rest, and never takes the leader's vote. */
static void test_rest(void **state _unused_)
{
	static const char *const zones[] = {"", "a", "b", "c"};
	uint32_t r = 12345;

	for (int round = 0; round < 20000; round++) {
		struct role_member m[7];
		size_t n = 1 + round % 7;
		struct role_view v = {.members = m, .n = n, .leader = 1, .voters = round % 2 ? 3 : 5, .dead_ms = 30000};
		int steps = 0;

		for (size_t i = 0; i < n; i++) {
			r = r * 1664525 + 1013904223;
			m[i] = (struct role_member){.id = i + 1, .zone = zones[r >> 30], .voter = i == 0 || r >> 29 & 1,
						    .ready = r >> 28 & 1, .learner = (r >> 20 & 7) == 0, .witness = (r >> 16 & 7) == 0,
						    .silent_ms = (r >> 12 & 3) == 0 ? 60000 : 0};
			m[i].ready = m[i].ready && m[i].silent_ms == 0;
			m[i].able = m[i].silent_ms == 0;
			m[i].learner = m[i].learner && !m[i].voter;
		}
		for (struct role_change c; (c = role_plan(&v)).kind != ROLE_NOTHING; steps++) {
			assert_true(steps < 20);
			assert_true(c.id != 1);
			m[c.id - 1].voter = c.kind == ROLE_PROMOTE;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),  cmocka_unit_test(test_enough),  cmocka_unit_test(test_dead),
		cmocka_unit_test(test_zones), cmocka_unit_test(test_witness), cmocka_unit_test(test_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
