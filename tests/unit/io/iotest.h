/*
 * Shared by the tests of io/: a loop that runs until something holds, and certificates made once.
 *
 *	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
 */
#ifndef TESTS_UNIT_IO_IOTEST_H
#define TESTS_UNIT_IO_IOTEST_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/tls.h"
#include "io/x509.h"

/* Turn the loop until cond holds; fails the test after a minute. */
#define WAIT_FOR(loop, cond)                                                                       \
	do {                                                                                       \
		uint64_t _deadline = clock_mono_ms() + 60000;                                      \
		while (!(cond)) {                                                                  \
			if (clock_mono_ms() > _deadline)                                           \
				fail_msg("timed out waiting for %s", #cond);                       \
			loop_turn(loop, 50);                                                       \
		}                                                                                  \
	} while (0)

/* A CA, a server for 127.0.0.1 and localhost, a client, and a client of another CA. */
struct iotest_pki {
	struct buf ca, server_cert, server_key, client_cert, client_key, other_cert, other_key;
};

/* Of the group of tests that runs. */
extern struct iotest_pki pki;
extern struct loop *loop;
int iotest_setup(void **state);
int iotest_teardown(void **state);

enum iotest_who { NOBODY, CLIENT, OTHER };

struct tls_ctx *iotest_server_tls(struct iotest_pki *, enum tls_verify, const char *alpn);
struct tls_ctx *iotest_client_tls(struct iotest_pki *, enum iotest_who, const char *alpn);

#endif
