/* How calls and connections of the HTTP server and client end: given up, too late, stale, closed in good order, silent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"
#include "tests/unit/io/http_site.h"
#include "tests/unit/io/iotest.h"

/* The client goes away: on_cancel, once. And the other way round. */
static void cancel(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open(&s, m);
		for (int i = 0; i < 2; i++) {
			get_init(&g, "GET", i ? "/watch" : "/hold");
			g.c.on_data = on_stream;
			http_call_start(s.client, &g.c);
			WAIT_FOR(loop, s.held != NULL);
			http_call_cancel(&g.c);
			assert_int_equal(g.n_done, 0);
			WAIT_FOR(loop, g.n_done == 1 && s.canceled == (unsigned)i + 1);
			assert_int_equal(g.why.code, ERR_CANCELED);
			get_fini(&g);
		}
		get_init(&g, "GET", "/abort");
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_UNAVAILABLE);
		get_fini(&g);
		/* Canceled before there is a connection. */
		get_init(&g, "GET", "/hold");
		http_call_start(s.client, &g.c);
		http_call_cancel(&g.c);
		WAIT_FOR(loop, g.n_done == 1);
		get_fini(&g);
		assert_int_equal(s.canceled, 2);
		site_close(&s);
	}
}

static void deadlines(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		unsigned n_headers = 0;

		site_open(&s, m);
		/* On a busy machine the time may be over before the server has heard of the request, or the client of its answer. */
		while (s.n_requests == 0) {
			get_init(&g, "GET", "/hold");
			g.c.timeout_ms = 100;
			run(&s, &g);
			assert_int_equal(g.why.code, ERR_TIMEOUT);
			get_fini(&g);
		}
		WAIT_FOR(loop, s.canceled == s.n_requests);
		while (n_headers == 0) {
			get_init(&g, "GET", "/watch");
			g.c.header_timeout_ms = 200;
			g.c.timeout_ms = 400;
			run(&s, &g);
			assert_int_equal(g.why.code, ERR_TIMEOUT);
			n_headers = g.n_headers;
			get_fini(&g);
		}
		assert_int_equal(n_headers, 1);
		WAIT_FOR(loop, s.canceled == s.n_requests);
		site_close(&s);
	}
}

/* A connection that the server closed while it was idle is not the caller's trouble. */
static void stale_connections(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open_with(&s, m, (struct http_server_config){.idle_timeout_ms = 40});
		for (int i = 0; i < 3; i++) {
			struct http_server_stats st;

			get_init(&g, "GET", "/who");
			run(&s, &g);
			ok(&g, 200);
			get_fini(&g);
			do {
				loop_turn(loop, 10);
				http_server_stats(s.server, &st);
			} while (st.connections > 0);
		}
		site_close(&s);
	}
}

static void graceful_close(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g, late;
		unsigned before;

		site_open(&s, m);
		get_init(&g, "GET", "/watch");
		g.c.on_data = on_stream;
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, g.n_headers == 1);
		before = n_closed;
		http_server_close(s.server, 5000, on_close, NULL);
		loop_turn(loop, 20);
		assert_int_equal(n_closed, before);
		/* The request under way goes on; new ones are refused. */
		get_init(&late, "GET", "/who");
		run(&s, &late);
		assert_int_equal(late.why.code, ERR_UNAVAILABLE);
		get_fini(&late);
		http_respond_write(s.held, STR("last"), NULL);
		http_respond_end(TAKE(s.held));
		WAIT_FOR(loop, g.n_done == 1);
		ok(&g, 200);
		assert_true(str_eqc(buf_str(&g.streamed), "last"));
		get_fini(&g);
		WAIT_FOR(loop, n_closed == before + 1);
		http_client_close(s.client, on_close, NULL);
		WAIT_FOR(loop, n_closed == before + 2);
		tls_ctx_unref(s.stls);
		tls_ctx_unref(s.ctls);
	}
}

/* A server that stops answering without closing is noticed by the client's pings. */
struct mute {
	struct listener_user user;
	struct raw end;
};

static void mute_accept(struct listener_user *u, struct stream *s)
{
	struct mute *m = container_of(u, struct mute, user);

	m->end.s = s;
	stream_start(s, &m->end.user);
}

static void ping_notices_silence(void **state)
{
	struct http_client_config cc = {.proto = HTTP_PROTO_2, .ping_ms = 50};
	struct listener_config lc = {.address = "127.0.0.1:0"};
	struct mute m = {.user.on_stream = mute_accept,
		.end.user = {raw_data, raw_end, NULL},
		.end.got = BUF_INIT};
	struct http_client *k;
	struct listener *l;
	struct get g;
	char address[64];

	assert_int_equal(listener_open(loop, &lc, &m.user, &l, NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(l));
	cc.address = address;
	assert_int_equal(http_client_new(loop, &cc, &k, NULL), 0);
	get_init(&g, "GET", "/");
	http_call_start(k, &g.c);
	WAIT_FOR(loop, g.n_done == 1);
	assert_int_equal(g.why.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(g.why.text, "does not answer"));
	get_fini(&g);
	n_closed = 0;
	http_client_close(k, on_close, NULL);
	listener_close(l, on_close, NULL);
	WAIT_FOR(loop, n_closed == 2 && m.end.ended);
	raw_close(&m.end);
}

/* A call whose end begins another one, on a client that is closing: the client stays until that one has ended as well. */
struct chain {
	struct http_call c;
	struct http_client *client;
	unsigned n_left, n_done;
};

static void chain_done(struct http_call *c, const struct err *why)
{
	struct chain *x = container_of(c, struct chain, c);

	x->n_done++;
	assert_non_null(why);
	if (x->n_left-- > 0)
		http_call_start(x->client, c);
}

static void call_at_the_end(void **state)
{
	struct http_client_config cc = {.address = "127.0.0.1:1"};
	struct chain x = {.c = {.method = "GET", .path = "/", .done = chain_done}, .n_left = 2};

	assert_int_equal(http_client_new(loop, &cc, &x.client, NULL), 0);
	n_closed = 0;
	http_call_start(x.client, &x.c);
	http_client_close(x.client, on_close, NULL);
	WAIT_FOR(loop, n_closed == 1);
	assert_int_equal(x.n_done, 3);
	http_call_fini(&x.c);
}

static void cancel_at_once(struct http_call *c, struct str bytes)
{
	http_call_cancel(c);
}

/* Bodies that are broken off give their share of the connection's window back, on both sides. */
static void windows_do_not_leak(void **state)
{
	struct buf big = BUF_INIT;
	struct http_server_stats st;
	struct site s;
	struct get g;

	for (unsigned i = 0; i < 1000000; i++)
		buf_printf(&big, "%08x", i);
	site_open(&s, H2);
	for (int i = 0; i < 60; i++) {
		get_init(&g, "GET", "/big");
		g.c.on_data = cancel_at_once;
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_CANCELED);
		get_fini(&g);
		/* An upload that the handler reads nothing of. */
		s.uploads_read = false;
		get_init(&g, "PUT", "/sink");
		g.c.body = buf_str(&big);
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, s.held != NULL);
		for (int j = 0; j < 4; j++)
			loop_turn(loop, 1);
		if (i % 2) {
			http_respond(TAKE(s.held), 200, NULL, 0, STR("enough"));
		} else {
			http_call_cancel(&g.c);
			WAIT_FOR(loop, s.held == NULL);
		}
		WAIT_FOR(loop, g.n_done == 1);
		get_fini(&g);
	}
	get_init(&g, "PUT", "/echo");
	g.c.body = buf_str(&big);
	run(&s, &g);
	ok(&g, 200);
	assert_true(str_eq(buf_str(&g.c.body_in), buf_str(&big)));
	get_fini(&g);
	http_server_stats(s.server, &st);
	assert_int_equal(st.connections_total, 1);
	site_close(&s);
	buf_fini(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancel),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(stale_connections),
		cmocka_unit_test(graceful_close),
		cmocka_unit_test(ping_notices_silence),
		cmocka_unit_test(call_at_the_end),
		cmocka_unit_test(windows_do_not_leak),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
