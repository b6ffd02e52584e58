/* What the tests of store/ share: a directory that goes away, commands built and applied, answers taken apart. */
#ifndef TESTS_UNIT_STORE_COMMON_H
#define TESTS_UNIT_STORE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/raft.pb-c.h"
#include "store/store.h"
#include "store/view.h"

struct fixture {
	char *dir;
	struct store *store;
	uint64_t index;
	struct arena arena; /* requests and answers of the test */
	unsigned seal;      /* percent of batches that are sealed instead of committed */
};

void fixture_open(struct fixture *, const struct store_cfg *more);
void fixture_reopen(struct fixture *, bool clean);
void fixture_close(struct fixture *);
void remove_tree(const char *dir);
char *make_temp_dir(void);

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct err e = ERR_INIT;                                                           \
		int rc_ = (call);                                                                  \
		if (rc_ != 0)                                                                      \
			fail_msg("%s: %d %s", #call, rc_, e.text);                                 \
	} while (0)

ProtobufCBinaryData bin(struct arena *, const char *s);
ProtobufCBinaryData bin_str(struct str s);

/* Apply one command in a batch of its own. NULL: refused; *ret_text has the text then. */
ProtobufCMessage *apply(struct fixture *, Raftpb__Command *, const ProtobufCMessageDescriptor *, const char **ret_text);
/* Encode into the arena. */
struct str encode(struct arena *, const ProtobufCMessage *);
ProtobufCMessage *decode(struct arena *, const ProtobufCMessageDescriptor *, struct str);

/* Shorthands; an end "" means all keys behind. Each returns the revision afterwards. */
int64_t put(struct fixture *, const char *key, const char *value);
int64_t put_lease(struct fixture *, const char *key, const char *value, int64_t lease, const char **ret_text);
int64_t del(struct fixture *, const char *key, const char *end, int64_t *ret_n);
const char *compact(struct fixture *, int64_t rev);

/* "a=1 b=2" of a range at a revision, or the error's text. Static memory. */
const char *dump(struct fixture *, const char *key, const char *end, int64_t rev);

#endif
