/*
 * An etcd server over a real kv of one member, and a client for it: calls that wait for their end, streams whose messages
 * are collected. The client's loop is the test's own thread.
 */
#ifndef TESTS_ETCD_RIG_H
#define TESTS_ETCD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "orchestrator/etcd/etcd.h"
#include "proto/etcd_election.pb-c.h"
#include "proto/etcd_lock.pb-c.h"
#include "proto/etcd_rpc.pb-c.h"
#include "raft/kv.h"

struct rig {
	char dir[64];
	struct kv *kv;
	struct etcd_server *srv;
	struct loop *loop;
	struct grpc_channel *channel;
	struct arena arena; /* requests and answers; goes with the rig */
};

/* cfg NULL: the defaults. kv_cfg NULL: a member alone that leads when this returns. */
struct rig *rig_start(const struct etcd_server_cfg *, const struct kv_cfg *);
void rig_stop(struct rig *);
/* Let things happen until *flag, at most some seconds (then the test fails). */
void rig_until(struct rig *, bool (*fn)(void *arg), void *arg);

/* A unary call. The code; the answer unpacked (NULL when the code is not 0), and the status text. */
struct answer {
	int code;
	char *text;
	void *message;
};
struct answer rig_call(struct rig *, const char *method, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *answer);
/* The same with bytes and metadata (NULL: none). */
struct answer rig_call_bytes(struct rig *, const char *method, struct str request,
		const ProtobufCMessageDescriptor *answer, const struct http_header *metadata);

/* A stream of calls. */
struct chat {
	struct rig *rig;
	struct grpc_call call;
	const ProtobufCMessageDescriptor *descriptor;
	void *messages[4096];
	size_t n, read;
	bool done;
};
struct chat *chat_start(struct rig *, const char *method, const ProtobufCMessageDescriptor *answer,
		const struct http_header *metadata);
void chat_send(struct chat *, const ProtobufCMessage *);
/* The next message; fails the test when none comes. */
void *chat_next(struct chat *);
/* Nothing comes for that long. */
void chat_quiet(struct chat *, unsigned ms);
/* Wait until the server ends it: the code. */
int chat_end(struct chat *);
/* Cancel if it is not over, and free. */
void chat_free(struct chat *);

/* Shorthands for the KV service; each checks that the call succeeded. */
Etcdserverpb__PutResponse *rig_put(struct rig *, const char *key, const char *value);
Etcdserverpb__RangeResponse *rig_get(struct rig *, const char *key, const char *end);
Etcdserverpb__DeleteRangeResponse *rig_del(struct rig *, const char *key, const char *end);
ProtobufCBinaryData bin(const char *s);
char *c_(const char *s);

/* Users; token NULL: nobody in particular. What changes anything is checked to have succeeded. */
#define AUTH(name) "/etcdserverpb.Auth/" name
struct answer rig_as(struct rig *, const char *token, const char *method, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *answer);
/* The token; NULL: *ret_answer says why not. */
const char *rig_login(struct rig *, const char *name, const char *password, struct answer *ret_answer);
void rig_user(struct rig *, const char *name, const char *password, const char *role);
void rig_grant(struct rig *, const char *token, const char *user, const char *role);
/* A role for one key. */
void rig_role(struct rig *, const char *name, const char *key);
void rig_enable(struct rig *);
struct answer rig_get_as(struct rig *, const char *token, const char *key);
struct answer rig_put_as(struct rig *, const char *token, const char *key);

#define assert_bin(b, text)                                                                                            \
	do {                                                                                                           \
		assert_int_equal((b).len, strlen(text));                                                               \
		assert_memory_equal((b).data, text, (b).len);                                                          \
	} while (0)

#endif
