/* WebSocket: client and server over an upgraded connection, and frames that must be refused. */
#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/websocket.h"

struct peer {
	struct websocket_user user;
	struct websocket *ws;
	struct buf got;
	unsigned n, n_close;
	bool echo, last_binary, close_at_once;
	int code;
	char reason[64];
};

static void on_message(
	struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	struct peer *p = container_of(u, struct peer, user);

	p->n++;
	p->last_binary = binary;
	buf_clear(&p->got);
	buf_adds(&p->got, message);
	if (p->echo)
		websocket_send(ws, message, binary, NULL);
	if (p->close_at_once)
		websocket_close(TAKE(p->ws), 1000, "enough");
}

static void on_close(struct websocket_user *u, struct websocket *ws, int code, struct str reason)
{
	struct peer *p = container_of(u, struct peer, user);

	p->n_close++;
	p->code = code;
	snprintf(p->reason, sizeof(p->reason), "%.*s", STR_FMT(reason));
}

static void peer_init(struct peer *p)
{
	memset(p, 0, sizeof(*p));
	p->user = (struct websocket_user){on_message, on_close};
	buf_init(&p->got, BUF_NO_LIMIT);
}

struct fixture {
	struct http_handler handler;
	struct http_server *server;
	struct http_client *client;
	struct http_call call;
	struct arena arena;
	struct http_header headers[WEBSOCKET_N_HEADERS];
	struct peer a, b; /* client, server */
	bool done;
	struct err e;
};

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct fixture *f = container_of(h, struct fixture, handler);
	struct err e;

	f->b.ws =
		websocket_accept(r, "v5.channel.k8s.io,v4.channel.k8s.io", &f->b.user, 1 << 20, &e);
	if (f->b.ws == NULL)
		http_respond(r, 400, NULL, 0, str_from(e.text));
}

static void on_done(struct http_call *c, const struct err *e)
{
	struct fixture *f = container_of(c, struct fixture, call);

	assert_null(e);
	if (websocket_from_call(c, &f->a.user, 1 << 20, &f->a.ws, &f->e) != 0)
		f->a.ws = NULL;
	f->done = true;
}

static void open_pair(struct fixture *f, const char *protocols)
{
	struct http_server_config sc = {.address = "127.0.0.1:0"};
	struct http_client_config cc = {0};
	char address[32];

	memset(f, 0, sizeof(*f));
	peer_init(&f->a);
	peer_init(&f->b);
	f->handler.on_request = on_request;
	assert_int_equal(http_server_new(loop, &sc, &f->handler, &f->server, NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f->server));
	cc.address = address;
	assert_int_equal(http_client_new(loop, &cc, &f->client, NULL), 0);
	arena_init(&f->arena);
	f->call = (struct http_call){.method = "GET",
		.path = "/exec",
		.upgrade = true,
		.headers = f->headers,
		.done = on_done};
	f->call.n_headers = websocket_call_headers(&f->arena, protocols, f->headers);
	http_call_start(f->client, &f->call);
	WAIT_FOR(loop, f->done);
}

static unsigned n_closed;

static void on_gone(void *arg)
{
	n_closed++;
}

static void close_pair(struct fixture *f)
{
	if (f->a.ws)
		websocket_close(f->a.ws, 1000, NULL);
	if (f->b.ws)
		websocket_close(f->b.ws, 1000, NULL);
	http_call_fini(&f->call);
	n_closed = 0;
	http_client_close(f->client, on_gone, NULL);
	http_server_close(f->server, 0, on_gone, NULL);
	WAIT_FOR(loop, n_closed == 2);
	arena_fini(&f->arena);
	buf_fini(&f->a.got);
	buf_fini(&f->b.got);
}

static void echo(void **state)
{
	struct buf big = BUF_INIT;
	struct fixture f;

	open_pair(&f, "v3.channel.k8s.io, v4.channel.k8s.io, v5.channel.k8s.io");
	assert_non_null(f.a.ws);
	assert_string_equal(websocket_protocol(f.a.ws), "v5.channel.k8s.io");
	assert_string_equal(websocket_protocol(f.b.ws), "v5.channel.k8s.io");
	f.b.echo = true;
	websocket_send(f.a.ws, STR("hello"), false, NULL);
	WAIT_FOR(loop, f.a.n == 1);
	assert_true(str_eqc(buf_str(&f.a.got), "hello") && !f.a.last_binary);
	websocket_send2(f.a.ws, STR("\1"), STR("data"), true, NULL);
	WAIT_FOR(loop, f.a.n == 2);
	assert_true(str_eqc(buf_str(&f.a.got), "\1data") && f.a.last_binary);
	for (unsigned i = 0; i < 100000; i++)
		buf_printf(&big, "%08x", i);
	websocket_send(f.a.ws, buf_str(&big), true, NULL);
	WAIT_FOR(loop, f.a.n == 3);
	assert_true(str_eq(buf_str(&f.a.got), buf_str(&big)));
	websocket_ping(f.a.ws);
	websocket_send(f.a.ws, STR("after"), true, NULL);
	WAIT_FOR(loop, f.a.n == 4);
	/* Stopped reading keeps messages back. */
	websocket_read_stop(f.a.ws);
	for (int i = 0; i < 3; i++)
		websocket_send(f.a.ws, STR("x"), true, NULL);
	WAIT_FOR(loop, f.b.n == 7);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 2);
	assert_int_equal(f.a.n, 4);
	websocket_read_start(f.a.ws);
	assert_int_equal(f.a.n, 4);
	WAIT_FOR(loop, f.a.n == 7);
	/* Closing. */
	websocket_close(TAKE(f.a.ws), 1001, "bye");
	WAIT_FOR(loop, f.b.n_close == 1);
	assert_int_equal(f.b.code, 1001);
	assert_string_equal(f.b.reason, "bye");
	buf_fini(&big);
	close_pair(&f);
}

static void closed_in_a_callback(void **state)
{
	struct fixture f;

	open_pair(&f, NULL);
	assert_string_equal(websocket_protocol(f.a.ws), "");
	f.b.close_at_once = true;
	websocket_send(f.a.ws, STR("one"), true, NULL);
	websocket_send(f.a.ws, STR("two"), true, NULL);
	WAIT_FOR(loop, f.a.n_close == 1);
	assert_int_equal(f.b.n, 1);
	assert_int_equal(f.a.code, 1000);
	assert_string_equal(f.a.reason, "enough");
	close_pair(&f);
}

static void no_common_protocol(void **state)
{
	struct fixture f;

	open_pair(&f, "v1.other");
	assert_null(f.a.ws);
	assert_int_equal(f.e.code, ERR_BAD_REQUEST);
	assert_non_null(strstr(f.e.text, "v5.channel.k8s.io"));
	close_pair(&f);
}

static void too_big(void **state)
{
	struct buf big = BUF_INIT;
	struct fixture f;

	buf_reserve(&big, 2 << 20);
	memset(big.p, 'x', 2 << 20);
	buf_advance(&big, 2 << 20);
	open_pair(&f, NULL);
	websocket_send(f.a.ws, buf_str(&big), true, NULL);
	WAIT_FOR(loop, f.b.n_close == 1);
	assert_int_equal(f.b.code, 1009);
	websocket_close(TAKE(f.b.ws), 1009, NULL);
	WAIT_FOR(loop, f.a.n_close == 1);
	buf_fini(&big);
	close_pair(&f);
}

/* From RFC 6455, section 5.7, and frames that break its rules. */
static void frames(void **state)
{
	static const struct {
		bool client;
		const char *bytes;
		size_t n;
		int rv, opcode;
		const char *payload;
	} rows[] = {
		{true, "\x81\x05Hello", 7, 1, 1, "Hello"},
		{false, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, 1, 1, "Hello"},
		{true, "\x01\x03Hel\x80\x02lo", 9, 1, 1, "Hello"},
		{true, "\x89\x05Hello", 7, 1, 9, "Hello"},
		{false, "\x81\x05Hello", 7, -1002, 0, NULL},
		{true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, -1002, 0, NULL},
		{true, "\xc1\x05Hello", 7, -1002, 0, NULL},
		{true, "\x83\x00", 2, -1002, 0, NULL},
		{true, "\x80\x00", 2, -1002, 0, NULL},
		{true, "\x09\x00", 2, -1002, 0, NULL},
		{true, "\x01\x01x\x01\x01y", 6, -1002, 0, NULL},
		{true, "\x81\x7e\x00\x05Hello", 9, -1002, 0, NULL},
		{true, "\x89\x7e\x00\x7e", 4, -1002, 0, NULL},
		{true, "\x81\x02\xc0\x80", 4, -1007, 0, NULL},
		{true, "\x81\x03\xed\xa0\x80", 5, -1007, 0, NULL},
		{true, "\x88\x01x", 3, -1002, 0, NULL},
		{true, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, -1009, 0, NULL},
		{true, "\x81\x05Hel", 5, 0, 0, NULL},
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct ws_decoder d = {.client = rows[i].client, .max_message = 1000};
		struct str bytes = str_of(rows[i].bytes, rows[i].n);
		struct ws_event ev;
		int rv;

		buf_init(&d.message, d.max_message);
		rv = ws_decode(&d, &bytes, &ev);
		if (rv != rows[i].rv)
			fail_msg("row %u: %d", i, rv);
		if (rv == 1) {
			assert_int_equal(ev.opcode, rows[i].opcode);
			assert_true(str_eqc(ev.payload, rows[i].payload));
		}
		ws_decoder_fini(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo),
		cmocka_unit_test(closed_in_a_callback),
		cmocka_unit_test(no_common_protocol),
		cmocka_unit_test(too_big),
		cmocka_unit_test(frames),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
