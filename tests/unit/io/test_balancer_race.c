/*
 * New connections are raced: a server that accepts and stays silent costs a client that begins with a TLS handshake nothing
 * but a moment; bytes that are none go to one server only; and a request that hangs makes the balancer look at once,
 * however long its interval is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/balancer.h"
#include "io/loop.h"
#include "io/stream.h"

#define WAIT_MS 60000
#define N 2

/* Answers health checks as HTTP, and anything else with its own name. */
struct server {
	struct listener_user user;
	struct listener *listener;
	char address[32], name;
	bool silent, unready;
	unsigned n_open, n_hellos, n_checks;
};

struct peer {
	struct stream_user user;
	struct stream *s;
	struct server *server;
};

static struct loop *loop;
static struct server servers[N];
static struct balancer *balancer;

static void peer_closed(void *arg)
{
	struct peer *p = arg;

	p->server->n_open--;
	free(p);
}

static void on_peer_data(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct peer *p = container_of(user, struct peer, user);

	if (str_has_prefix(bytes, STR("GET "))) {
		p->server->n_checks++;
		if (!p->server->silent)
			stream_write(s, p->server->unready ? STR("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
							   : STR("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), NULL);
		return;
	}
	p->server->n_hellos++;
	if (!p->server->silent)
		stream_write(s, str_of(&p->server->name, 1), NULL);
}

static void on_peer_end(struct stream_user *user, struct stream *s, const struct err *why)
{
	stream_close(s, peer_closed, container_of(user, struct peer, user));
}

static void on_peer(struct listener_user *user, struct stream *s)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->server = container_of(user, struct server, user);
	p->server->n_open++;
	p->s = s;
	p->user = (struct stream_user){.on_data = on_peer_data, .on_end = on_peer_end};
	stream_start(s, &p->user);
}

/* --- A client ------------------------------------------------------------------------------------------------ */

struct client {
	struct stream_connect connect;
	struct stream_user user;
	struct stream *s;
	char answer;
	int answered, ended, closed;
};

static void on_client_data(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct client *c = container_of(user, struct client, user);

	c->answer = bytes.p[0];
	c->answered = 1;
}

static void on_client_end(struct stream_user *user, struct stream *s, const struct err *why)
{
	container_of(user, struct client, user)->ended = 1;
}

static void on_connected(struct stream_connect *sc, struct stream *s, const struct err *e)
{
	struct client *c = container_of(sc, struct client, connect);

	assert_non_null(s);
	c->s = s;
	c->user = (struct stream_user){.on_data = on_client_data, .on_end = on_client_end};
	stream_start(s, &c->user);
}

static void set_flag(void *arg)
{
	*(int *)arg = 1;
}

static void until(const int *flag)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (!*flag && clock_mono_ms() < end)
		loop_turn(loop, 5);
	assert_true(*flag);
}

static void client_open(struct client *c)
{
	static char address[32];

	memset(c, 0, sizeof(*c));
	snprintf(address, sizeof(address), "127.0.0.1:%u", balancer_port(balancer));
	c->connect = (struct stream_connect){.loop = loop, .address = address, .done = on_connected};
	stream_connect(&c->connect);
	for (uint64_t end = clock_mono_ms() + WAIT_MS; c->s == NULL && clock_mono_ms() < end;)
		loop_turn(loop, 5);
	assert_non_null(c->s);
}

static void client_close(struct client *c)
{
	stream_close(c->s, set_flag, &c->closed);
	until(&c->closed);
}

static void wait_healthy(size_t n)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (balancer_n_healthy(balancer) != n && clock_mono_ms() < end)
		loop_turn(loop, 5);
	assert_int_equal(balancer_n_healthy(balancer), n);
}

/* --- Tests ---------------------------------------------------------------------------------------------------- */

static void start(uint64_t interval_ms)
{
	const char *addresses[N];
	struct balancer_config c = {.listen = "127.0.0.1:0", .backends = addresses, .n_backends = N, .interval_ms = interval_ms,
			.timeout_ms = 1000};
	struct err e = ERR_INIT;

	for (int i = 0; i < N; i++)
		addresses[i] = servers[i].address;
	if (balancer_start(loop, &c, &balancer, &e) < 0)
		fail_msg("%s", e.text);
	wait_healthy(N);
}

static int setup(void **state)
{
	struct listener_config lc = {.address = "127.0.0.1:0"};
	struct err e = ERR_INIT;

	loop = loop_new("test");
	for (int i = 0; i < N; i++) {
		servers[i] = (struct server){.user = {on_peer}, .name = (char)('a' + i)};
		if (listener_open(loop, &lc, &servers[i].user, &servers[i].listener, &e) < 0)
			return -1;
		snprintf(servers[i].address, sizeof(servers[i].address), "127.0.0.1:%u", listener_port(servers[i].listener));
	}
	return 0;
}

static int teardown(void **state)
{
	int closed = 0;

	balancer_close(balancer, set_flag, &closed);
	until(&closed);
	for (int i = 0; i < N; i++) {
		uint64_t end = clock_mono_ms() + WAIT_MS;

		closed = 0;
		listener_close(servers[i].listener, set_flag, &closed);
		until(&closed);
		/* The balancer has left nothing open. */
		while (servers[i].n_open > 0 && clock_mono_ms() < end)
			loop_turn(loop, 5);
		assert_int_equal(servers[i].n_open, 0);
	}
	loop_free(loop);
	return 0;
}

/* The interval is longer than the test: only the race can find out. */
static void test_a_handshake_with_a_silent_server_goes_to_the_next(void **state)
{
	struct client c;

	start(60000);
	servers[0].silent = true;
	client_open(&c);
	stream_write(c.s, STR("\x16 hello"), NULL);
	until(&c.answered);
	assert_int_equal(c.answer, 'b');
	assert_int_equal(servers[0].n_hellos, 1);
	/* Decided: what follows goes to the winner alone. */
	c.answered = 0;
	stream_write(c.s, STR("more"), NULL);
	until(&c.answered);
	assert_int_equal(servers[0].n_hellos, 1);
	assert_int_equal(servers[1].n_hellos, 2);
	assert_false(c.ended);
	client_close(&c);
}

static void test_other_bytes_go_to_one_server_only(void **state)
{
	struct client c;

	start(60000);
	servers[0].silent = true;
	client_open(&c);
	stream_write(c.s, STR("do something"), NULL);
	until(&c.ended);
	assert_int_equal(servers[0].n_hellos + servers[1].n_hellos, 1);
	client_close(&c);
}

/* The server falls silent long after the race, between two checks that are far apart. */
static void test_a_request_without_answer_makes_the_balancer_look(void **state)
{
	struct client c;

	start(60000);
	client_open(&c);
	stream_write(c.s, STR("\x16 hello"), NULL);
	until(&c.answered);
	assert_int_equal(c.answer, 'a');
	servers[0].silent = true;
	stream_write(c.s, STR("request"), NULL);
	until(&c.ended);
	assert_int_equal(balancer_n_healthy(balancer), 1);
	client_close(&c);
	/* The next one is not sent there. */
	client_open(&c);
	stream_write(c.s, STR("\x16 hello"), NULL);
	until(&c.answered);
	assert_int_equal(c.answer, 'b');
	client_close(&c);
}

static void test_a_silent_client_waits(void **state)
{
	struct client c;
	unsigned checks;

	start(20);
	client_open(&c);
	checks = servers[0].n_checks;
	for (uint64_t end = clock_mono_ms() + WAIT_MS; servers[0].n_checks < checks + 20 && clock_mono_ms() < end;)
		loop_turn(loop, 5);
	assert_false(c.ended);
	stream_write(c.s, STR("\x16 hello"), NULL);
	until(&c.answered);
	client_close(&c);
}

/* A server that says itself that it cannot serve loses its connections, but only to one that can. */
static void test_an_unready_server_loses_its_connections(void **state)
{
	struct client c;
	unsigned checks;

	start(20);
	client_open(&c);
	stream_write(c.s, STR("\x16 hello"), NULL);
	until(&c.answered);
	assert_int_equal(c.answer, 'a');
	servers[0].unready = servers[1].unready = true;
	wait_healthy(0);
	checks = servers[0].n_checks;
	for (uint64_t end = clock_mono_ms() + WAIT_MS; servers[0].n_checks < checks + 10 && clock_mono_ms() < end;)
		loop_turn(loop, 5);
	assert_false(c.ended);
	servers[1].unready = false;
	until(&c.ended);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_handshake_with_a_silent_server_goes_to_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_bytes_go_to_one_server_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_request_without_answer_makes_the_balancer_look, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_silent_client_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_unready_server_loses_its_connections, setup, teardown),
	};
	return cmocka_run_group_tests_name("balancer_race", tests, NULL, NULL);
}
