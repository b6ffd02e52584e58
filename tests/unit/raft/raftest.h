/* What the tests of raft/ share: directories that go away, encoded puts and gets through a kv, TLS material. */
#ifndef TESTS_UNIT_RAFT_RAFTEST_H
#define TESTS_UNIT_RAFT_RAFTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "raft/kv.h"
#include "raft/kv_local.h"

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct err e = ERR_INIT;                                                           \
		int rc_ = (call);                                                                  \
		if (rc_ != 0)                                                                      \
			fail_msg("%s: %d %s", #call, rc_, e.text);                                 \
	} while (0)

char *rt_dir(void);
/* Removes the tree and frees the name. */
void rt_dir_free(char *dir);
/* An encoded raftpb.Command that puts key = value. */
void rt_put_command(struct buf *, const char *key, const char *value);
int rt_put(struct kv *, const char *key, const char *value, struct err *);
/* The value by a local view, or NULL; the caller frees. */
char *rt_get(struct kv *, const char *key);
/* Wait (up to ms) until fn(arg). */
bool rt_wait(bool (*fn)(void *arg), void *arg, unsigned ms);
void rt_tls(struct tls_ctx **server, struct tls_ctx **client, const char *org);

#endif
