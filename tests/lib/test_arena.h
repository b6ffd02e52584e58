/*
 * An arena of each test's own, which goes with it:
 *
 *	const struct CMUnitTest tests[] = {with_arena(test_this), with_arena(test_that)};
 */
#ifndef TESTS_LIB_TEST_ARENA_H
#define TESTS_LIB_TEST_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"

static struct arena a;

static inline int test_arena_init(void **state)
{
	(void)state;
	arena_init(&a);
	return 0;
}

static inline int test_arena_fini(void **state)
{
	(void)state;
	arena_fini(&a);
	return 0;
}

#define with_arena(test) cmocka_unit_test_setup_teardown(test, test_arena_init, test_arena_fini)

#endif
