/* The peer port against strangers: wrong certificates, other clusters, garbage, a join that is refused. */
#include "tests/unit/raft/raftest.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "io/tls.h"
#include "raft/bytes.h"
#include "raft/hello-priv.h"

struct fixture {
	char *dir, *dir2;
	char addr[32];
	struct tls_ctx *server, *client;
	struct kv *kv;
};

static int port_of(const char *addr)
{
	return atoi(strchr(addr, ':') + 1);
}

static void start(struct fixture *f, bool tls)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct kv_cfg cfg = {.name = "n1", .listen = f->addr, .nosync = true};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(f, 0, sizeof(*f));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(f->addr, sizeof(f->addr), "127.0.0.1:%d", ntohs(a.sin_port));
	close(fd);
	f->dir = rt_dir();
	f->dir2 = rt_dir();
	if (tls)
		rt_tls(&f->server, &f->client, "kontiki:peers");
	cfg.data_dir = f->dir;
	cfg.tls_server = f->server;
	cfg.tls_client = f->client;
	OK(kv_start(&cfg, &f->kv, &e));
	assert_true(kv_leader_wait(f->kv, 60000));
}

static void stop(struct fixture *f)
{
	kv_stop(f->kv);
	rt_dir_free(f->dir);
	rt_dir_free(f->dir2);
	tls_ctx_unref(f->server);
	tls_ctx_unref(f->client);
}

static void still_works(struct fixture *f)
{
	OK(rt_put(f->kv, "k", "v", &e));
	OK(kv_barrier_wait(f->kv, &e));
}

static int dial(const struct fixture *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons((uint16_t)port_of(f->addr))};
	struct timeval patience = {5, 0};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Send bytes, and read until the other end closes. */
static size_t say(const struct fixture *f, struct str bytes, char *answer, size_t size)
{
	int fd = dial(f);
	size_t n = 0;
	ssize_t r;

	assert_int_equal(send(fd, bytes.p, bytes.n, MSG_NOSIGNAL), bytes.n);
	while (n < size && (r = recv(fd, answer + n, size - n, 0)) > 0)
		n += (size_t)r;
	close(fd);
	return n;
}

static void test_garbage(void **state _unused_)
{
	struct fixture f;
	char answer[4096], junk[4096];

	start(&f, false);
	memset(junk, 0xff, sizeof(junk));
	assert_int_equal(say(&f, str_of(junk, sizeof(junk)), answer, sizeof(answer)), 0);
	assert_int_equal(say(&f, STR("GET / HTTP/1.1\r\n\r\n"), answer, sizeof(answer)), 0);
	still_works(&f);
	stop(&f);
}

static void test_foreign_cluster(void **state _unused_)
{
	struct hello h = {.version = HELLO_VERSION, .cluster_id = 4711, .from = 1, .to = 2, .name = STR("x"), .addr = STR("y:1")};
	struct buf b = BUF_INIT;
	struct hello_answer a;
	struct fixture f;
	char answer[4096];
	size_t n;

	start(&f, false);
	transport__encode_hello(&b, &h);
	n = say(&f, buf_str(&b), answer, sizeof(answer));
	assert_true(n > 8 && transport__decode_answer(str_of(answer, n), &a));
	assert_false(a.ok);
	assert_true(str_search(a.text, STR("another cluster")) >= 0);
	/* A frame of absurd size after a good hello ends the connection, and costs nothing. */
	buf_clear(&b);
	h.channel = CHANNEL_JOIN;
	transport__encode_hello(&b, &h);
	add_u32(&b, 0x7fffffff);
	add_u32(&b, 3);
	n = say(&f, buf_str(&b), answer, sizeof(answer));
	assert_true(n > 8 && transport__decode_answer(str_of(answer, n), &a) && a.ok);
	still_works(&f);
	buf_fini(&b);
	stop(&f);
}

/* Who speaks another version is told which one, whatever the rest of its hello looks like; also who wants to join. */
static void test_other_version(void **state _unused_)
{
	static const uint32_t versions[] = {0, HELLO_VERSION - 1, HELLO_VERSION + 1, 0xffffffff};
	struct fixture f;
	char answer[4096], want[64];

	start(&f, false);
	for (size_t i = 0; i < 2 * ARRAY_LEN(versions); i++) {
		struct hello h = {.version = versions[i / 2], .channel = CHANNEL_JOIN, .name = STR("n2"), .addr = STR("y:1")};
		struct buf b = BUF_INIT;
		struct hello_answer a;
		size_t n;

		transport__encode_hello(&b, &h);
		if (i % 2) {
			/* Nothing behind the version is as it is now. */
			b.n = 12;
			buf_adds(&b, STR("\377\377\377\377 something else"));
			put_u32(b.p, (uint32_t)b.n - 4);
		}
		n = say(&f, buf_str(&b), answer, sizeof(answer));
		assert_true(n > 8 && transport__decode_answer(str_of(answer, n), &a));
		assert_false(a.ok);
		assert_int_equal(a.version, HELLO_VERSION);
		snprintf(want, sizeof(want), "it speaks version %u of the protocol", versions[i / 2]);
		assert_true(str_search(a.text, str_from(want)) >= 0);
		assert_true(str_search(a.text, STR("and this one version 2")) >= 0);
		buf_fini(&b);
	}
	still_works(&f);
	stop(&f);
}

/* A member of another version, as who asks it for admission sees it: it answers one connection and ends. */
static void *other_version(void *arg)
{
	int *listener = arg, fd = accept(*listener, NULL, NULL);
	struct hello_answer a = {.ok = listener[1] != 0, .text = STR("no")};
	struct buf b = BUF_INIT;
	char hello[4096];

	transport__encode_answer(&b, &a);
	put_u32(b.p + 8, HELLO_VERSION + 1);
	if (recv(fd, hello, sizeof(hello), 0) > 0)
		(void)!send(fd, b.p, b.n, MSG_NOSIGNAL);
	(void)!recv(fd, hello, sizeof(hello), 0);
	close(fd);
	buf_fini(&b);
	return NULL;
}

/* Though it would let us in: what it says later could not be understood. */
static void test_lets_in_another_version(void **state _unused_)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char addr[32], *dir = rt_dir();
	const char *seed[1] = {addr};
	struct kv_cfg cfg = {.name = "n2", .listen = "127.0.0.1:0", .data_dir = dir, .join = seed, .n_join = 1, .join_ms = 20000, .nosync = true};
	socklen_t n = sizeof(a);

	for (int lets_in = 0; lets_in < 2; lets_in++) {
		int listener[2] = {socket(AF_INET, SOCK_STREAM, 0), lets_in};
		struct err why = ERR_INIT;
		pthread_t thread;
		struct kv *kv;

		a.sin_port = 0;
		assert_int_equal(bind(listener[0], (struct sockaddr *)&a, n), 0);
		assert_int_equal(listen(listener[0], 1), 0);
		assert_int_equal(getsockname(listener[0], (struct sockaddr *)&a, &n), 0);
		snprintf(addr, sizeof(addr), "127.0.0.1:%d", ntohs(a.sin_port));
		assert_int_equal(pthread_create(&thread, NULL, other_version, listener), 0);
		assert_int_equal(kv_start(&cfg, &kv, &why), -(int)ERR_FORBIDDEN);
		assert_non_null(strstr(why.text, lets_in ? "it speaks version 3 of the protocol" : "it refuses us: no"));
		pthread_join(thread, NULL);
		close(listener[0]);
	}
	rt_dir_free(dir);
}

/* A member with a certificate of the right CA but of another organization cannot join, nor one of a taken name. */
static void test_join_refused(void **state _unused_)
{
	struct tls_ctx *server, *client;
	struct fixture f;
	const char *seed[1];
	struct kv_cfg cfg = {.name = "n2", .listen = "127.0.0.1:0", .n_join = 1, .join_ms = 1500, .nosync = true};
	struct err why = ERR_INIT;
	struct kv *kv;

	start(&f, true);
	seed[0] = f.addr;
	cfg.data_dir = f.dir2;
	cfg.join = seed;
	cfg.name = "n1";
	cfg.tls_server = f.server;
	cfg.tls_client = f.client;
	assert_int_equal(kv_start(&cfg, &kv, &why), -(int)ERR_ALREADY_EXISTS);
	assert_non_null(strstr(why.text, "remove it first"));
	rt_tls(&server, &client, "system:nodes");
	cfg.name = "n2";
	cfg.tls_server = server;
	cfg.tls_client = client;
	assert_int_not_equal(kv_start(&cfg, &kv, &why), 0);
	still_works(&f);
	tls_ctx_unref(server);
	tls_ctx_unref(client);
	stop(&f);
}

/* --- Two ends of a transport ----------------------------------------------------------------------------------- */

struct end {
	struct transport *t;
	struct transport_cfg cfg;
	char addr[32];
	unsigned ups, losts, refusals, closed;
	char got[64];
};

static void on_frame(void *arg, uint64_t from _unused_, struct str frame)
{
	struct end *e = arg;
	struct msg m;

	assert_int_equal(msg_decode(frame, &m, NULL), 0);
	snprintf(e->got, sizeof(e->got), "%.*s", STR_FMT(m.propose.command));
}

static void on_lost(void *arg, uint64_t peer _unused_, bool refused)
{
	struct end *e = arg;

	e->losts++;
	e->refusals += refused;
}

static void on_up(void *arg, uint64_t peer _unused_)
{
	((struct end *)arg)->ups++;
}

static void on_closed(void *arg)
{
	((struct end *)arg)->closed++;
}

static void open_end(struct end *e, struct loop *loop, uint64_t id)
{
	*e = (struct end){.cfg = {.loop = loop, .listen = "127.0.0.1:0", .cluster_id = 9, .member_id = id, .name = "m",
				  .addr = "127.0.0.1:1", .election_ms = 300, .arg = e, .frame = on_frame, .lost = on_lost,
				  .up = on_up}};
	assert_int_equal(transport_new(&e->cfg, &e->t, NULL), 0);
	snprintf(e->addr, sizeof(e->addr), "127.0.0.1:%d", transport_port(e->t));
}

static bool turn_until(struct loop *loop, const unsigned *counter, unsigned want)
{
	for (int i = 0; i < 1000 && *counter < want; i++)
		loop_turn(loop, 5);
	return *counter >= want;
}

/* When the other process is gone, its host says so at once: an election begins on that. */
static void test_refusal_is_told(void **state _unused_)
{
	struct loop *loop = loop_new("test");
	struct msg m = {.kind = MSG_PROPOSE};
	struct kv_member peer = {.id = 2, .name = "b"};
	struct buf frame = BUF_INIT;
	struct end a, b;

	open_end(&a, loop, 1);
	open_end(&b, loop, 2);
	memcpy(peer.addr, b.addr, sizeof(b.addr));
	transport_peers(a.t, &peer, 1);
	assert_true(turn_until(loop, &a.ups, 1));
	m.propose.command = STR("hello");
	msg_encode(&m, &frame);
	assert_true(transport_send(a.t, 2, MSG_CHANNEL_MAIN, buf_str(&frame)));
	transport_flush(a.t);
	for (int i = 0; i < 1000 && !b.got[0]; i++)
		loop_turn(loop, 5);
	assert_string_equal(b.got, "hello");
	transport_close(b.t, on_closed);
	assert_true(turn_until(loop, &b.closed, 1));
	assert_true(turn_until(loop, &a.refusals, 1));
	assert_true(a.losts >= 2);
	assert_false(transport_send(a.t, 2, MSG_CHANNEL_MAIN, buf_str(&frame)));
	transport_close(a.t, on_closed);
	assert_true(turn_until(loop, &a.closed, 1));
	buf_fini(&frame);
	loop_free(loop);
}

/* A peer has several addresses: whoever does not answer at the first is found at the next, and again when it comes back elsewhere. */
static void test_addresses_in_turn(void **state _unused_)
{
	struct loop *loop = loop_new("test");
	struct kv_member peer = {.id = 2, .name = "b"};
	struct end a, b, c;

	open_end(&a, loop, 1);
	open_end(&b, loop, 2);
	open_end(&c, loop, 2);
	snprintf(peer.addr, sizeof(peer.addr), "127.0.0.1:1,%s,%s", b.addr, c.addr);
	transport_peers(a.t, &peer, 1);
	assert_true(turn_until(loop, &a.ups, 1));
	assert_int_equal(c.ups, 0);
	transport_close(b.t, on_closed);
	assert_true(turn_until(loop, &b.closed, 1));
	/* Its process is gone: that is told once, and then the search goes on. */
	assert_true(turn_until(loop, &a.refusals, 1));
	assert_true(turn_until(loop, &a.ups, 2));
	transport_close(a.t, on_closed);
	transport_close(c.t, on_closed);
	assert_true(turn_until(loop, &a.closed, 1));
	assert_true(turn_until(loop, &c.closed, 1));
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_foreign_cluster),
		cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_lets_in_another_version),
		cmocka_unit_test(test_join_refused),
		cmocka_unit_test(test_refusal_is_told),
		cmocka_unit_test(test_addresses_in_turn),
	};

	log_set_level(getenv("RT_LOG") ? getenv("RT_LOG") : "error");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
