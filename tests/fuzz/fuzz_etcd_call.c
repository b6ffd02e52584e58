/*
 * Whatever bytes a client sends as the message of a method, over a whole server of one member: the call is answered or waits,
 * and the server lives. The first byte chooses the method; a stream gets the rest as several messages (a length byte before
 * each), every other call gets it whole.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "raft/kv_local.h"

/* What waits (a lock, a watch) is let go of after that. */
#define WAIT_MS 20

static struct loop *loop;
static struct grpc_channel *channel;
static struct kv *kv;
static struct etcd_server *srv;
static char dir[] = "/tmp/fuzz_etcd_call.XXXXXX";
static const struct etcd_method *methods[64];
static size_t n_methods;

/* In two lots, so that an input's first byte goes on meaning the same method. */
static const char *const services[][6] = {
	{"etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease", "v3lockpb.Lock", "v3electionpb.Election", "grpc.health.v1.Health"},
	{"etcdserverpb.Auth", "etcdserverpb.Maintenance", "etcdserverpb.Cluster"},
};

/* After these no other would be answered: nobody is somebody, or the majority is not there. */
static const char *const last_words[] = {"/etcdserverpb.Auth/AuthEnable", "/etcdserverpb.Cluster/MemberAdd", "/etcdserverpb.Cluster/MemberRemove"};

static bool is_in(const char *what, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n && list[i]; i++)
		if (strcmp(what, list[i]) == 0)
			return true;
	return false;
}

static void closed(void *arg)
{
	*(bool *)arg = true;
}

static void stop(void)
{
	char command[64];
	bool over = false;

	grpc_channel_close(channel, closed, &over);
	while (!over)
		loop_turn(loop, 10);
	loop_free(loop);
	etcd_server_stop(srv);
	kv_stop(kv);
	strcpy(command, "rm -rf ");
	strcat(command, dir);
	if (system(command) != 0)
		abort();
}

static void start(void)
{
	struct etcd_listen at = {.address = "127.0.0.1:0"};
	struct etcd_server_cfg cfg = {.listen = &at, .n_listen = 1, .n_loops = 1};
	struct grpc_channel_config cc = {.max_message = 64 << 20};
	char *address;
	struct err e = ERR_INIT;

	/* A thread that makes OpenSSL read its configuration keeps what it keeps of errors after its end: read here, as TLS would. */
	ASSERT(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1);
	log_set_level("error");
	ASSERT(mkdtemp(dir) != NULL);
	ASSERT(kv_local_start(dir, &kv, &e) == 0);
	ASSERT(etcd_server_start(&cfg, kv, &srv, &e) == 0);
	loop = loop_new("fuzz");
	address = xasprintf("127.0.0.1:%u", etcd_server_port(srv, 0));
	cc.address = address;
	ASSERT(grpc_channel_new(loop, &cc, &channel, &e) == 0);
	free(address);
	for (size_t lot = 0; lot < ARRAY_LEN(services); lot++)
		for (size_t i = 0; i < etcd__n_methods; i++)
			if (is_in(etcd__methods[i].service, services[lot], ARRAY_LEN(services[lot])) &&
			    !is_in(etcd__methods[i].path, last_words, ARRAY_LEN(last_words))) {
				ASSERT(n_methods < ARRAY_LEN(methods));
				methods[n_methods++] = &etcd__methods[i];
			}
	atexit(stop);
}

struct fuzz_call {
	struct grpc_call call;
	bool done;
};

static void on_message(struct grpc_call *c, struct str message)
{
	(void)c;
	(void)message;
}

static void on_done(struct grpc_call *c)
{
	container_of(c, struct fuzz_call, call)->done = true;
}

static void send_parts(struct grpc_call *c, struct str rest)
{
	while (rest.n > 0) {
		size_t n = MIN((size_t)(uint8_t)rest.p[0], rest.n - 1);

		grpc_send(c, str_sub(rest, 1, 1 + n), NULL);
		rest = str_skip(rest, 1 + n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct etcd_method *m;
	struct fuzz_call f = {.call = {.on_message = on_message, .done = on_done, .wait_ready = true}};
	uint64_t end;

	if (loop == NULL)
		start();
	if (size == 0)
		return 0;
	m = methods[data[0] % n_methods];
	f.call.method = m->path;
	grpc_start(channel, &f.call);
	if (m->kind == ETCD_BIDI)
		send_parts(&f.call, str_of(data + 1, size - 1));
	else
		grpc_send(&f.call, str_of(data + 1, size - 1), NULL);
	grpc_close_send(&f.call);
	end = clock_mono_ms() + WAIT_MS;
	while (!f.done && clock_mono_ms() < end)
		loop_turn(loop, 1);
	if (!f.done)
		grpc_cancel(&f.call);
	while (!f.done)
		loop_turn(loop, 10);
	/* No answer says that the server broke the connection. */
	ASSERT(f.call.code != GRPC_UNAVAILABLE);
	grpc_call_fini(&f.call);
	return 0;
}
