/* What the tests of raft/ share: directories that go away, encoded puts and gets through a kv, TLS material. */
#ifndef TESTS_UNIT_RAFT_RAFTEST_H
#define TESTS_UNIT_RAFT_RAFTEST_H

#include <pthread.h>
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
/* Wait until fn(arg), for a minute at most: a busy machine is slow, and only what hangs is ended by this. */
bool rt_wait(bool (*fn)(void *arg), void *arg);
void rt_tls(struct tls_ctx **server, struct tls_ctx **client, const char *org);

/* What a local view of this member shows; NULL: nothing. */
void check_value(struct kv *, const char *key, const char *want);

/* --- Three members, and room for a fourth ------------------------------------------------------------------ */

struct cluster {
	char *dirs[4], addrs[4][32], names[4][8];
	struct kv_peer peers[3];
	struct kv *kv[4];
	struct tls_ctx *server, *client;
	const char *zone;
	bool places_only;
	pthread_mutex_t lock;
	struct err fatal; /* the last one that had to stop, by itself; under lock */
};

void cluster_start(struct cluster *);
void cluster_stop(struct cluster *);
/* From the directory it has; join: through the first three. */
void member_start(struct cluster *, int i, bool join);
int member_try(struct cluster *, int i, bool join, struct err *);
void free_port(char out[32]);
/* Waits for one. */
int leader_of(struct cluster *);

/* For rt_wait. */
bool has_leader(void *cluster);
struct expect {
	struct kv *kv;
	const char *key, *value;
	size_t voters;
};
/* This member knows so many members, and all vote. */
bool has_voters(void *expect);

#endif
