/* Raw bytes to the HTTP server: what it refuses, what it takes although it is odd, and whom it does not wait for. */
#include <string.h>
#include <unistd.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"
#include "tests/unit/io/http_site.h"
#include "tests/unit/io/iotest.h"

static void refused_messages(void **state)
{
	static const struct {
		const char *bytes;
		const char *answer;
	} rows[] = {
		{"GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400"},
		{"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 400"},
		{"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "HTTP/1.1 400"},
		{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		{"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "HTTP/1.1 400"},
		{"GET / HTTP/2.5\r\nHost: x\r\n\r\n", "HTTP/1.1 505"},
		{"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
		{"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 400"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
			"HTTP/1.1 400"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", "HTTP/1.1 400"},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\na", "HTTP/1.1 400"},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
			"HTTP/1.1 501"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
			"HTTP/1.1 400"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5 "
		 "\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 400"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		 "chunked\r\n\r\nfffffffffffffffff\r\n",
			"HTTP/1.1 400"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 400"},
	};
	struct site s;

	site_open(&s, H1);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct raw r;

		raw_open(&r, &s);
		stream_write(r.s, str_from(rows[i].bytes), NULL);
		WAIT_FOR(loop, r.ended);
		if (r.got.n < 12 || memcmp(r.got.p, rows[i].answer, 12) != 0)
			fail_msg("row %u: %.*s", i, STR_FMT(buf_str(&r.got)));
		raw_close(&r);
	}
	site_close(&s);
}

static void pipelined(void **state)
{
	struct site s;
	struct raw r;

	site_open(&s, H1);
	raw_open(&r, &s);
	stream_write(r.s,
		STR("\r\nGET /query?1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: "
		    "x\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "3\r\ntwo\r\n0\r\n\r\nGET http://h/query?3 HTTP/1.0\r\n\r\nGET /never "
		    "HTTP/1.1\r\nHost: x\r\n\r\n"),
		NULL);
	WAIT_FOR(loop, r.ended);
	assert_int_equal(s.n_requests, 3);
	assert_non_null(strstr(r.got.p, "\r\n\r\n1HTTP/1.1 200"));
	assert_non_null(strstr(r.got.p, "\r\n\r\ntwoHTTP/1.1 200"));
	assert_non_null(strstr(r.got.p, "connection: close\r\n\r\n3"));
	raw_close(&r);
	site_close(&s);
}

static void expect_continue(void **state)
{
	struct site s;
	struct raw r;

	site_open(&s, H1);
	raw_open(&r, &s);
	stream_write(r.s,
		STR("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: "
		    "100-continue\r\n\r\n"),
		NULL);
	WAIT_FOR(loop, r.got.n >= 25);
	assert_memory_equal(r.got.p, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	stream_write(r.s, STR("ok"), NULL);
	WAIT_FOR(loop, strstr(r.got.p, "\r\n\r\nok") != NULL);
	raw_close(&r);
	/* Refused before the body was sent. */
	raw_open(&r, &s);
	stream_write(r.s,
		STR("POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\nExpect: "
		    "100-continue\r\n\r\n"),
		NULL);
	WAIT_FOR(loop, r.ended);
	assert_memory_equal(r.got.p, "HTTP/1.1 413", 12);
	raw_close(&r);
	site_close(&s);
}

static void header_limits(void **state)
{
	struct buf big = BUF_INIT;

	buf_reserve(&big, 70000);
	memset(big.p, 'x', 70000);
	buf_advance(&big, 70000);
	EACH_MODE(m)
	{
		struct http_header h = {STR("X-Big"), buf_str(&big)};
		struct site s;
		struct get g;

		site_open(&s, m);
		get_init(&g, "GET", "/who");
		g.c.headers = &h;
		g.c.n_headers = 1;
		run(&s, &g);
		if (g.why.code == 0)
			assert_int_equal(g.c.status, 431);
		assert_int_equal(s.n_requests, 0);
		get_fini(&g);
		site_close(&s);
	}
	buf_fini(&big);
}

/* Clients that are slow on purpose lose their connection. */
static void slow_loris(void **state)
{
	struct site s;
	struct raw r;

	site_open_with(&s, H1,
		(struct http_server_config){.header_timeout_ms = 80, .body_timeout_ms = 80});
	raw_open(&r, &s);
	while (!r.ended) {
		stream_write(r.s, STR("G"), NULL);
		loop_turn(loop, 10);
	}
	assert_int_equal(s.n_requests, 0);
	raw_close(&r);
	raw_open(&r, &s);
	WAIT_FOR(loop, r.ended);
	raw_close(&r);
	site_close(&s);
	site_open_with(&s, H1, (struct http_server_config){.body_timeout_ms = 80});
	raw_open(&r, &s);
	stream_write(
		r.s, STR("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"), NULL);
	WAIT_FOR(loop, r.ended && s.canceled == 1);
	assert_int_equal(s.body_status, -ERR_CANCELED);
	raw_close(&r);
	site_close(&s);
}

/* Streams opened only to be reset (CVE-2023-44487). */
static void rapid_reset(void **state)
{
	struct site s;
	struct raw r;
	struct http_server_stats st;

	site_open(&s, H2);
	raw_open(&r, &s);
	stream_write(r.s, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), NULL);
	stream_write(r.s, str_of("\0\0\0\4\0\0\0\0\0", 9), NULL);
	for (uint32_t id = 1; !r.ended && id < 20000; id += 2) {
		/* HEADERS, END_STREAM | END_HEADERS: GET http / and :authority x; then RST_STREAM.
		 */
		uint8_t head[] = {0, 0, 14, 1, 5, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
			(uint8_t)(id >> 8), (uint8_t)id, 0x82, 0x86, 0x04, 5, '/', 'h', 'o', 'l',
			'd', 0x41, 3, 'x', '.', 'y'};
		uint8_t reset[] = {0, 0, 4, 3, 0, head[5], head[6], head[7], head[8], 0, 0, 0, 8};

		stream_write(r.s, str_of(head, sizeof(head)), NULL);
		stream_write(r.s, str_of(reset, sizeof(reset)), NULL);
		loop_turn(loop, 0);
	}
	WAIT_FOR(loop, r.ended);
	http_server_stats(s.server, &st);
	assert_true(st.resets_total >= 500 && st.resets_total < 2000);
	raw_close(&r);
	site_close(&s);
}

/* HEADERS, END_STREAM and END_HEADERS or only the former: GET http /query?1 and :authority x.y, and with `bad` a header that no name is. */
static void send_head(struct raw *r, uint32_t id, bool whole, bool bad)
{
	uint8_t head[] = {0, 0, 23, 1, whole ? 5 : 1, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id, 0x82, 0x86, 0x04,
		8, '/', 'q', 'u', 'e', 'r', 'y', '?', '1', 0x41, 3, 'x', '.', 'y', 0x10, 1, bad ? 'X' : 'x', 1, 'y'};

	head[2] = sizeof(head) - 9;
	stream_write(r->s, str_of(head, sizeof(head)), NULL);
}

static void hello(struct raw *r, struct site *s)
{
	raw_open(r, s);
	stream_write(r->s, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), NULL);
	stream_write(r->s, str_of("\0\0\0\4\0\0\0\0\0", 9), NULL);
}

static bool nothing_left(struct site *s, unsigned connections)
{
	struct http_server_stats st;

	http_server_stats(s->server, &st);
	return st.requests == 0 && st.connections == connections;
}

/* Heads that are refused, or that never come to their end, leave nothing behind: no request, and no connection. */
static void refused_heads(void **state)
{
	struct site s;
	struct raw r;

	site_open(&s, H2);
	hello(&r, &s);
	for (uint32_t id = 1; id < 40; id += 2)
		send_head(&r, id, true, true);
	send_head(&r, 41, true, false);
	WAIT_FOR(loop, s.n_requests == 1 && nothing_left(&s, 1));
	assert_false(r.ended);
	send_head(&r, 43, false, false);
	loop_turn(loop, 10);
	raw_close(&r);
	WAIT_FOR(loop, nothing_left(&s, 0));
	/* Who sends nothing else is sent away. */
	hello(&r, &s);
	for (uint32_t id = 1; !r.ended && id < 20000; id += 2) {
		send_head(&r, id, true, true);
		loop_turn(loop, 0);
	}
	WAIT_FOR(loop, r.ended);
	raw_close(&r);
	WAIT_FOR(loop, nothing_left(&s, 0));
	assert_int_equal(s.n_requests, 1);
	site_close(&s);
}

/* A client that never reads its answer does not hold the server's memory for ever. */
static void stuck_reader(void **state)
{
	EACH_MODE(m)
	{
		struct buf chunk = BUF_INIT;
		struct site s;
		struct get g;

		buf_reserve(&chunk, 1 << 20);
		memset(chunk.p, 'x', 1 << 20);
		buf_advance(&chunk, 1 << 20);
		site_open_with(&s, m, (struct http_server_config){.write_timeout_ms = 100});
		get_init(&g, "GET", "/watch");
		g.c.on_data = on_stream;
		http_call_start(s.client, &g.c);
		WAIT_FOR(loop, g.n_headers == 1);
		http_call_pause(&g.c);
		for (int i = 0; i < 32; i++)
			http_respond_write(s.held, buf_str(&chunk), NULL);
		WAIT_FOR(loop, s.canceled == 1);
		http_call_cancel(&g.c);
		WAIT_FOR(loop, g.n_done == 1);
		get_fini(&g);
		site_close(&s);
		buf_fini(&chunk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_messages),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(expect_continue),
		cmocka_unit_test(header_limits),
		cmocka_unit_test(slow_loris),
		cmocka_unit_test(rapid_reset),
		cmocka_unit_test(refused_heads),
		cmocka_unit_test(stuck_reader),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
