/*
 * Histories made by hand: calls with their answers, and what the checker must say. Times are milliseconds; an end of 0 means that
 * no answer came.
 *
 *	put(1, 2, "a", "1", 2);
 *	get(3, 4, "a", NULL, 0, 0, 0, 2);
 *	bad("stale read");
 */
#ifndef TESTS_UNIT_VERIFY_BY_HAND_H
#define TESTS_UNIT_VERIFY_BY_HAND_H

#include "verify/history.h"

/* Of the test that runs. */
extern struct history *h;
int setup(void **state);
int teardown(void **state);
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

/* The history passes; or it is refused, and the reason has this in it. */
void good(void);
void bad(const char *why);

struct hist_call *call(enum hist_kind, unsigned from, unsigned to, int64_t header);
/* The only operation of a call. */
struct hist_op *one(struct hist_call *, enum hist_op_kind, const char *key);
struct hist_call *put(unsigned from, unsigned to, const char *key, const char *value, int64_t header);
struct hist_call *del(unsigned from, unsigned to, const char *key, int64_t n, int64_t header);
/* value NULL: it was not there. */
struct hist_call *get(unsigned from, unsigned to, const char *key, const char *value, int64_t create, int64_t mod, int64_t version, int64_t header);
struct hist_call *grant(unsigned from, unsigned to, int64_t ttl);
struct hist_call *both(unsigned from, unsigned to, const char *value, int64_t header);
struct hist_kv kv(const char *key, const char *value, int64_t create, int64_t mod, int64_t version);
/* A range's answer has this, too. */
void shows(struct hist_op *, struct hist_kv);

#endif
