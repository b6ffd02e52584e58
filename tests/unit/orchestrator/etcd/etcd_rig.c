#include "tests/unit/orchestrator/etcd/etcd_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/pb.h"
#include "raft/kv_local.h"

#define PATIENCE_MS 20000

static void start_kv(struct rig *r, const struct kv_cfg *cfg)
{
	struct err e = ERR_INIT;
	struct kv_cfg own;

	if (cfg == NULL) {
		assert_int_equal(kv_local_start(r->dir, &r->kv, &e), 0);
		return;
	}
	own = *cfg;
	own.data_dir = r->dir;
	if (kv_start(&own, &r->kv, &e) != 0)
		fail_msg("kv_start: %s", e.text);
}

struct rig *rig_start(const struct etcd_server_cfg *given, const struct kv_cfg *kv_cfg)
{
	struct rig *r = xcalloc(1, sizeof(*r));
	struct etcd_listen at = {.address = "127.0.0.1:0"};
	struct etcd_server_cfg cfg = given ? *given : (struct etcd_server_cfg){.n_loops = 2};
	struct grpc_channel_config channel = {.max_message = 64 << 20};
	char address[32];
	struct err e = ERR_INIT;

	strcpy(r->dir, "/tmp/etcd_rig.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	arena_init(&r->arena);
	start_kv(r, kv_cfg);
	cfg.listen = &at;
	cfg.n_listen = 1;
	if (etcd_server_start(&cfg, r->kv, &r->srv, &e) != 0)
		fail_msg("etcd_server_start: %s", e.text);
	r->loop = loop_new("rig");
	snprintf(address, sizeof(address), "127.0.0.1:%u", etcd_server_port(r->srv, 0));
	channel.address = address;
	assert_int_equal(grpc_channel_new(r->loop, &channel, &r->channel, &e), 0);
	return r;
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

void rig_stop(struct rig *r)
{
	char *command = xasprintf("rm -rf '%s'", r->dir);
	bool closed = false;

	grpc_channel_close(r->channel, on_closed, &closed);
	rig_until(r, is_true, &closed);
	loop_free(r->loop);
	etcd_server_stop(r->srv); /* NULL: the test has stopped it */
	kv_stop(r->kv);
	arena_fini(&r->arena);
	assert_int_equal(system(command), 0);
	free(command);
	free(r);
}

void rig_until(struct rig *r, bool (*fn)(void *arg), void *arg)
{
	uint64_t end = clock_mono_ms() + PATIENCE_MS;

	while (!fn(arg)) {
		if (clock_mono_ms() > end)
			fail_msg("what the test waits for does not happen");
		loop_turn(r->loop, 20);
	}
}

/* --- Unary ------------------------------------------------------------------------------------------------------------ */

struct unary {
	struct grpc_call call;
	bool done;
};

static void unary_done(struct grpc_call *c)
{
	container_of(c, struct unary, call)->done = true;
}

static bool unary_is_done(void *arg)
{
	return ((struct unary *)arg)->done;
}

struct answer rig_call_bytes(struct rig *r, const char *method, struct str request,
		const ProtobufCMessageDescriptor *descriptor, const struct http_header *metadata)
{
	struct unary u = {.call = {.method = method, .done = unary_done, .wait_ready = true, .timeout_ms = PATIENCE_MS,
			.metadata = metadata, .n_metadata = metadata ? 1 : 0}};
	struct answer a = {0};

	grpc_unary(r->channel, &u.call, request);
	rig_until(r, unary_is_done, &u);
	a.code = u.call.code;
	a.text = arena_cstr(&r->arena, u.call.status);
	if (a.code == GRPC_OK) {
		a.message = pb_unpack(&r->arena, descriptor, buf_str(&u.call.message));
		assert_non_null(a.message);
	}
	grpc_call_fini(&u.call);
	return a;
}

struct answer rig_call(struct rig *r, const char *method, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *descriptor)
{
	return rig_call_bytes(r, method, pb_pack_arena(request, &r->arena), descriptor, NULL);
}

/* --- Streams ------------------------------------------------------------------------------------------------------------ */

static void chat_message(struct grpc_call *c, struct str message)
{
	struct chat *chat = container_of(c, struct chat, call);

	assert_true(chat->n < ARRAY_LEN(chat->messages));
	chat->messages[chat->n] = pb_unpack(&chat->rig->arena, chat->descriptor, message);
	assert_non_null(chat->messages[chat->n]);
	chat->n++;
}

static void chat_done(struct grpc_call *c)
{
	container_of(c, struct chat, call)->done = true;
}

struct chat *chat_start(struct rig *r, const char *method, const ProtobufCMessageDescriptor *descriptor,
		const struct http_header *metadata)
{
	struct chat *chat = xcalloc(1, sizeof(*chat));

	chat->rig = r;
	chat->descriptor = descriptor;
	chat->call = (struct grpc_call){.method = method, .wait_ready = true, .on_message = chat_message, .done = chat_done,
			.metadata = metadata, .n_metadata = metadata ? 1 : 0};
	grpc_start(r->channel, &chat->call);
	return chat;
}

void chat_send(struct chat *chat, const ProtobufCMessage *m)
{
	grpc_send(&chat->call, pb_pack_arena(m, &chat->rig->arena), NULL);
}

static bool chat_has_next(void *arg)
{
	struct chat *chat = arg;

	return chat->read < chat->n || chat->done;
}

void *chat_next(struct chat *chat)
{
	rig_until(chat->rig, chat_has_next, chat);
	if (chat->read == chat->n)
		fail_msg("the stream is over: %d %.*s", chat->call.code, STR_FMT(chat->call.status));
	return chat->messages[chat->read++];
}

void chat_quiet(struct chat *chat, unsigned ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		loop_turn(chat->rig->loop, 5);
	assert_int_equal(chat->read, chat->n);
}

static bool chat_is_over(void *arg)
{
	return ((struct chat *)arg)->done;
}

int chat_end(struct chat *chat)
{
	rig_until(chat->rig, chat_is_over, chat);
	return chat->call.code;
}

void chat_free(struct chat *chat)
{
	if (!chat->done) {
		grpc_cancel(&chat->call);
		(void)chat_end(chat);
	}
	grpc_call_fini(&chat->call);
	free(chat);
}

/* --- KV ---------------------------------------------------------------------------------------------------------------- */

ProtobufCBinaryData bin(const char *s)
{
	return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static void *good(struct answer a)
{
	if (a.code != GRPC_OK)
		fail_msg("code %d: %s", a.code, a.text);
	return a.message;
}

Etcdserverpb__PutResponse *rig_put(struct rig *r, const char *key, const char *value)
{
	Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;

	q.key = bin(key);
	q.value = bin(value);
	return good(rig_call(r, "/etcdserverpb.KV/Put", &q.base, &etcdserverpb__put_response__descriptor));
}

Etcdserverpb__RangeResponse *rig_get(struct rig *r, const char *key, const char *end)
{
	Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;

	q.key = bin(key);
	q.range_end = bin(end ? end : "");
	return good(rig_call(r, "/etcdserverpb.KV/Range", &q.base, &etcdserverpb__range_response__descriptor));
}

Etcdserverpb__DeleteRangeResponse *rig_del(struct rig *r, const char *key, const char *end)
{
	Etcdserverpb__DeleteRangeRequest q = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

	q.key = bin(key);
	q.range_end = bin(end ? end : "");
	return good(rig_call(r, "/etcdserverpb.KV/DeleteRange", &q.base, &etcdserverpb__delete_range_response__descriptor));
}

/* --- Users ------------------------------------------------------------------------------------------------------------- */

char *c_(const char *s)
{
	return (char *)(uintptr_t)s;
}

struct answer rig_as(struct rig *r, const char *token, const char *method, const ProtobufCMessage *q, const ProtobufCMessageDescriptor *d)
{
	struct http_header h[] = {{STR("token"), str_from(token)}, {STR_NULL, STR_NULL}};

	return rig_call_bytes(r, method, pb_pack_arena(q, &r->arena), d, token ? h : NULL);
}

const char *rig_login(struct rig *r, const char *name, const char *password, struct answer *ret)
{
	Etcdserverpb__AuthenticateRequest q = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;

	q.name = c_(name);
	q.password = c_(password);
	*ret = rig_call(r, AUTH("Authenticate"), &q.base, &etcdserverpb__authenticate_response__descriptor);
	return ret->message ? ((Etcdserverpb__AuthenticateResponse *)ret->message)->token : NULL;
}

void rig_grant(struct rig *r, const char *token, const char *user, const char *role)
{
	Etcdserverpb__AuthUserGrantRoleRequest grant = ETCDSERVERPB__AUTH_USER_GRANT_ROLE_REQUEST__INIT;

	grant.user = c_(user);
	grant.role = c_(role);
	good(rig_as(r, token, AUTH("UserGrantRole"), &grant.base, &etcdserverpb__auth_user_grant_role_response__descriptor));
}

void rig_user(struct rig *r, const char *name, const char *password, const char *role)
{
	Etcdserverpb__AuthUserAddRequest add = ETCDSERVERPB__AUTH_USER_ADD_REQUEST__INIT;

	add.name = c_(name);
	add.password = c_(password);
	good(rig_call(r, AUTH("UserAdd"), &add.base, &etcdserverpb__auth_user_add_response__descriptor));
	rig_grant(r, NULL, name, role);
}

void rig_role(struct rig *r, const char *name, const char *key)
{
	Etcdserverpb__AuthRoleAddRequest add = ETCDSERVERPB__AUTH_ROLE_ADD_REQUEST__INIT;
	Etcdserverpb__AuthRoleGrantPermissionRequest grant = ETCDSERVERPB__AUTH_ROLE_GRANT_PERMISSION_REQUEST__INIT;
	Authpb__Permission p = AUTHPB__PERMISSION__INIT;

	add.name = c_(name);
	good(rig_call(r, AUTH("RoleAdd"), &add.base, &etcdserverpb__auth_role_add_response__descriptor));
	grant.name = c_(name);
	grant.perm = &p;
	p.permtype = AUTHPB__PERMISSION__TYPE__READWRITE;
	p.key = bin(key);
	good(rig_call(r, AUTH("RoleGrantPermission"), &grant.base, &etcdserverpb__auth_role_grant_permission_response__descriptor));
}

void rig_enable(struct rig *r)
{
	Etcdserverpb__AuthEnableRequest on = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;

	good(rig_call(r, AUTH("AuthEnable"), &on.base, &etcdserverpb__auth_enable_response__descriptor));
}

struct answer rig_get_as(struct rig *r, const char *token, const char *key)
{
	Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;

	q.key = bin(key);
	return rig_as(r, token, "/etcdserverpb.KV/Range", &q.base, &etcdserverpb__range_response__descriptor);
}

struct answer rig_put_as(struct rig *r, const char *token, const char *key)
{
	Etcdserverpb__PutRequest q = ETCDSERVERPB__PUT_REQUEST__INIT;

	q.key = bin(key);
	return rig_as(r, token, "/etcdserverpb.KV/Put", &q.base, &etcdserverpb__put_response__descriptor);
}
