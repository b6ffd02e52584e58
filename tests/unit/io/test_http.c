/* The HTTP server and the HTTP client against each other: what they say, over HTTP/1.1 and HTTP/2, plain and over TLS. */
#include <stdlib.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"
#include "tests/unit/io/http_site.h"
#include "tests/unit/io/iotest.h"

static void simple(void **state)
{
	EACH_MODE(m)
	{
		struct http_server_stats st;
		struct site s;
		struct get g;

		site_open(&s, m);
		for (int i = 0; i < 3; i++) {
			get_init(&g, "POST", "/echo?a=b");
			g.c.body = STR("hello");
			run(&s, &g);
			ok(&g, 200);
			assert_int_equal(g.c.version, m == H1 || m == H1S ? 1 : 2);
			assert_true(str_eqc(buf_str(&g.c.body_in), "hello"));
			assert_true(str_eqc(http_call_header(&g.c, "CONTENT-TYPE"), "text/plain"));
			assert_true(str_eqc(http_call_header(&g.c, "content-length"), "5"));
			assert_true(str_eqc(http_call_header(&g.c, "x-bad"), "a  Injected: 1"));
			assert_null(http_call_header(&g.c, "injected").p);
			assert_int_equal(g.n_headers, 1);
			get_fini(&g);
		}
		get_init(&g, "GET", "/query?x=%20y&z");
		run(&s, &g);
		ok(&g, 200);
		assert_true(str_eqc(buf_str(&g.c.body_in), "x=%20y&z"));
		get_fini(&g);
		get_init(&g, "HEAD", "/query?four");
		run(&s, &g);
		ok(&g, 200);
		assert_int_equal(g.c.body_in.n, 0);
		assert_true(str_eqc(http_call_header(&g.c, "content-length"), "4"));
		get_fini(&g);
		get_init(&g, "GET", "/nothing");
		run(&s, &g);
		ok(&g, 404);
		get_fini(&g);
		get_init(&g, "GET", "/who");
		run(&s, &g);
		assert_true(str_eqc(buf_str(&g.c.body_in), m >= H1S ? "system:node:n1" : "-"));
		get_fini(&g);
		get_init(&g, "GET", "/bad path");
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_INVALID);
		get_fini(&g);
		http_server_stats(s.server, &st);
		assert_int_equal(st.requests_total, 7);
		assert_int_equal(st.connections_total, 1);
		site_close(&s);
	}
}

static void large_bodies(void **state)
{
	struct buf big = BUF_INIT;

	for (unsigned i = 0; i < 1000000; i++)
		buf_printf(&big, "%08x", i);
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "GET", "/big");
		run(&s, &g);
		ok(&g, 200);
		assert_true(str_eq(buf_str(&g.c.body_in), buf_str(&big)));
		get_fini(&g);
		get_init(&g, "PUT", "/echo");
		g.c.body = buf_str(&big);
		run(&s, &g);
		ok(&g, 200);
		assert_true(str_eq(buf_str(&g.c.body_in), buf_str(&big)));
		get_fini(&g);
		get_init(&g, "GET", "/big");
		g.c.max_body = 100000;
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_TOO_LARGE);
		get_fini(&g);
		/* Too large for the server. */
		get_init(&g, "POST", "/small");
		g.c.body = buf_str(&big);
		run(&s, &g);
		if (g.why.code == 0)
			assert_int_equal(g.c.status, 413);
		assert_int_equal(s.body_status, -ERR_TOO_LARGE);
		get_fini(&g);
		site_close(&s);
	}
	buf_fini(&big);
}

static void many_at_once(void **state)
{
	EACH_MODE(m)
	{
		struct http_server_stats st;
		struct get g[60];
		struct site s;

		site_open(&s, m);
		for (unsigned i = 0; i < 60; i++) {
			get_init(&g[i], "POST", "/echo");
			g[i].c.body = STR("x");
			http_call_start(s.client, &g[i].c);
		}
		for (unsigned i = 0; i < 60; i++) {
			WAIT_FOR(loop, g[i].n_done == 1);
			ok(&g[i], 200);
			get_fini(&g[i]);
		}
		http_server_stats(s.server, &st);
		assert_int_equal(st.requests_total, 60);
		if (m == H2 || m == H2S)
			assert_int_equal(st.connections_total, 1);
		else
			assert_true(st.connections_total <= 32);
		site_close(&s);
	}
}

struct wrote {
	struct http_write w;
	int n, status;
};

static void on_wrote(struct http_write *w, int status)
{
	struct wrote *x = container_of(w, struct wrote, w);

	x->n++;
	x->status = status;
}

/* A watch: chunks arrive as they are written; the end comes when the server says so. */
static void watch(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "GET", "/watch");
		g.c.on_data = on_stream;
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, g.n_headers == 1 && s.held != NULL);
		for (int i = 1; i <= 5; i++) {
			struct wrote w = {.w.done = on_wrote};

			http_respond_write(s.held, STR("event\n"), &w.w);
			assert_int_equal(w.n, 0);
			WAIT_FOR(loop, g.streamed.n == (size_t)i * 6 && w.n == 1);
			assert_int_equal(w.status, 0);
			assert_int_equal(http_request_queued_bytes(s.held), 0);
		}
		http_respond_end(TAKE(s.held));
		WAIT_FOR(loop, g.n_done == 1);
		ok(&g, 200);
		get_fini(&g);
		site_close(&s);
	}
}

static void trailers(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "GET", "/trailers");
		run(&s, &g);
		ok(&g, 200);
		assert_true(str_eqc(buf_str(&g.c.body_in), "body"));
		assert_true(str_eqc(http_header_get(&g.c.trailers, "x-status"), "fine"));
		get_fini(&g);
		site_close(&s);
	}
}

/* A reader that stops holds the writer back, both ways; nothing is lost. */
static void back_pressure(void **state)
{
	struct buf chunk = BUF_INIT;

	for (unsigned i = 0; i < 8192; i++)
		buf_printf(&chunk, "%08x", i);
	EACH_MODE(m)
	{
		struct site s;
		struct get g;
		size_t sent = 0, got;

		site_open(&s, m);
		/* Download. */
		get_init(&g, "GET", "/watch");
		g.c.on_data = on_stream;
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, g.n_headers == 1);
		http_call_pause(&g.c);
		while (http_request_queued_bytes(s.held) < 1000000 && sent < 200 << 20) {
			http_respond_write(s.held, buf_str(&chunk), NULL);
			sent += chunk.n;
			loop_turn(loop, 0);
		}
		assert_true(sent < 200 << 20);
		assert_int_equal(g.streamed.n, 0);
		http_call_resume(&g.c);
		assert_int_equal(g.streamed.n, 0);
		http_respond_end(TAKE(s.held));
		WAIT_FOR(loop, g.n_done == 1);
		ok(&g, 200);
		assert_int_equal(g.streamed.n, sent);
		for (size_t at = 0; at < sent; at += chunk.n)
			assert_memory_equal(g.streamed.p + at, chunk.p, chunk.n);
		get_fini(&g);
		/* Upload. */
		s.uploads_read = false;
		sent = 0;
		get_init(&g, "POST", "/sink");
		g.c.stream_body = true;
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, s.held != NULL);
		while (http_call_queued_bytes(&g.c) < 1000000 && sent < 200 << 20) {
			http_call_write(&g.c, buf_str(&chunk), NULL);
			sent += chunk.n;
			loop_turn(loop, 0);
		}
		assert_true(sent < 200 << 20);
		http_request_read_start(s.held, sink);
		WAIT_FOR(loop, s.sunk > 100000);
		http_request_read_stop(s.held);
		got = s.sunk;
		loop_turn(loop, 5);
		assert_int_equal(s.sunk, got);
		http_request_read_start(s.held, sink);
		http_call_end(&g.c);
		WAIT_FOR(loop, s.sink_end);
		assert_int_equal(s.sunk, sent);
		http_respond(TAKE(s.held), 200, NULL, 0, STR("done"));
		WAIT_FOR(loop, g.n_done == 1);
		ok(&g, 200);
		get_fini(&g);
		site_close(&s);
	}
	buf_fini(&chunk);
}

/* An answer in the middle of an upload. */
static void early_answer(void **state)
{
	EACH_MODE(m)
	{
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "POST", "/sink");
		g.c.stream_body = true;
		http_call_start(s.client, &g.c);
		http_call_write(&g.c, STR("some"), NULL);
		WAIT_FOR(loop, s.sunk == 4);
		http_respond(TAKE(s.held), 409, NULL, 0, STR("no"));
		WAIT_FOR(loop, g.n_done == 1);
		ok(&g, 409);
		assert_true(str_eqc(buf_str(&g.c.body_in), "no"));
		get_fini(&g);
		get_init(&g, "GET", "/who");
		run(&s, &g);
		ok(&g, 200);
		get_fini(&g);
		site_close(&s);
	}
}

static void upgrade(void **state)
{
	EACH_MODE(m)
	{
		struct http_header h = {STR("Upgrade"), STR("echo")};
		struct stream *st;
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "GET", "/who");
		run(&s, &g);
		get_fini(&g);
		get_init(&g, "GET", "/upgrade");
		g.c.upgrade = true;
		g.c.headers = &h;
		g.c.n_headers = 1;
		run(&s, &g);
		/* Prior-knowledge HTTP/2 clients use HTTP/1.1 for this, too. */
		ok(&g, 101);
		assert_true(str_eqc(http_call_header(&g.c, "upgrade"), "echo"));
		st = http_call_take_stream(&g.c);
		assert_non_null(st);
		n_closed = 0;
		stream_close(st, on_close, NULL);
		WAIT_FOR(loop, n_closed == 1);
		get_fini(&g);
		site_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple),
		cmocka_unit_test(large_bodies),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(watch),
		cmocka_unit_test(trailers),
		cmocka_unit_test(back_pressure),
		cmocka_unit_test(early_answer),
		cmocka_unit_test(upgrade),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
