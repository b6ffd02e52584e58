/* ws_bridge.h: channels and tunnels between a WebSocket client and a SPDY kubelet, over socket pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/spdy.h"
#include "tests/lib/bridge_rig.h"

#define V5 "v5.channel.k8s.io"
#define TUNNEL "SPDY/3.1+portforward.k8s.io"
#define TURNS 2000

static struct bridge_rig r;
static struct buf from_kubelet, from_client; /* what the bridge sent to them, not yet decoded */

static void open_bridge(const char *target, const char *sub, const char *protocols)
{
	buf_init(&from_kubelet, BUF_NO_LIMIT);
	buf_init(&from_client, BUF_NO_LIMIT);
	assert_int_equal(bridge_rig_open(&r, target, sub, protocols, false), 0);
	assert_true(str_search(str_from(protocols), buf_str(&r.protocol)) >= 0);
}

static void close_bridge(void)
{
	bridge_rig_close(&r);
	buf_fini(&from_kubelet);
	buf_fini(&from_client);
}

/* One turn, and what came. False: the other side has hung up and all is read. */
static bool turn(int fd, struct buf *to)
{
	char block[65536];
	ssize_t n;

	loop_turn(r.loop, 1);
	n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
	if (n > 0)
		buf_add(to, block, (size_t)n);
	return n != 0;
}

static void put(int fd, struct buf *b)
{
	for (size_t at = 0; at < b->n;) {
		ssize_t n = send(fd, b->p + at, b->n - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			at += (size_t)n;
		else
			loop_turn(r.loop, 1);
	}
	buf_fini(b);
}

/* The next frame that the kubelet gets. */
static struct spdy_frame at_kubelet(struct buf *hold)
{
	struct spdy_frame f;
	struct str in;

	for (int i = 0; i < TURNS; i++) {
		in = buf_str(&from_kubelet);
		if (in.n > 0 && spdy_decode(&in, &f) == 1) {
			buf_clear(hold);
			buf_adds(hold, f.data);
			f.data = buf_str(hold);
			memmove(from_kubelet.p, from_kubelet.p + (from_kubelet.n - in.n), in.n);
			from_kubelet.n = in.n;
			return f;
		}
		turn(r.kubelet, &from_kubelet);
	}
	fail_msg("no frame for the kubelet");
	abort();
}

/* "opcode:payload" of the next message that the client gets; "gone" after the end. */
static const char *at_client(void)
{
	static char text[128];

	for (int i = 0; i < TURNS; i++) {
		struct ws_decoder d = {.client = true, .max_message = 1 << 20};
		struct str in = buf_str(&from_client);
		struct ws_event ev;
		int rv;

		buf_init(&d.message, d.max_message);
		rv = in.n > 0 ? ws_decode(&d, &in, &ev) : 0;
		if (rv > 0) {
			snprintf(text, sizeof(text), "%d:%.*s", ev.opcode, (int)MIN(ev.payload.n, (size_t)80), ev.payload.p);
			memmove(from_client.p, from_client.p + (from_client.n - in.n), in.n);
			from_client.n = in.n;
		}
		ws_decoder_fini(&d);
		if (rv > 0)
			return text;
		if (!turn(r.client, &from_client) && from_client.n == 0)
			return "gone";
	}
	fail_msg("no message for the client");
	abort();
}

static void client_says(int opcode, struct str payload)
{
	struct buf b = BUF_INIT;

	bridge_rig_frame(&b, opcode, payload);
	put(r.client, &b);
}

static void kubelet_says(uint32_t id, const char *text, bool end)
{
	struct buf b = BUF_INIT;

	bridge_rig_spdy_data(&b, id, str_from(text), end);
	put(r.kubelet, &b);
}

/* SYN_STREAMs: how many, with ids 1, 3, 5 ... */
static void opens(unsigned n)
{
	struct buf hold = BUF_INIT;

	for (unsigned i = 0; i < n; i++) {
		struct spdy_frame f = at_kubelet(&hold);

		assert_true(f.control && f.type == 1);
		assert_int_equal((unsigned char)f.data.p[3], 1 + 2 * i);
	}
	buf_fini(&hold);
}

static void kubelet_gets(uint32_t id, struct str want, bool end)
{
	struct buf hold = BUF_INIT;
	struct spdy_frame f = at_kubelet(&hold);

	assert_false(f.control);
	assert_int_equal(f.id, id);
	assert_int_equal(f.data.n, want.n);
	assert_memory_equal(f.data.p, want.p, want.n);
	assert_int_equal(f.flags & 1, end);
	buf_fini(&hold);
}

/* Streams in kubectl's order: error 1, stdin 3, stdout 5, stderr 7. */
static void test_exec(void **state)
{
	(void)state;
	open_bridge("/exec?stdin=true&stdout=true&stderr=1&command=sh", "exec", V5);
	opens(4);
	client_says(2, STR("\0hello"));
	kubelet_gets(3, STR("hello"), false);
	kubelet_says(5, "out", false);
	assert_string_equal(at_client(), "2:\1out");
	kubelet_says(7, "err", false);
	assert_string_equal(at_client(), "2:\2err");
	/* Channels that are not the client's to write, that were not opened, or that do not exist say nothing. */
	client_says(2, STR("\1no"));
	client_says(2, STR("\4no"));
	client_says(2, STR("\177no"));
	client_says(2, STR(""));
	client_says(2, STR("\377"));
	client_says(2, STR("\377\1"));
	/* The end of stdin, once; what comes behind it is dropped. */
	client_says(2, STR("\377\0"));
	kubelet_gets(3, STR(""), true);
	client_says(2, STR("\377\0"));
	client_says(2, STR("\0late"));
	/* It is over when the command has said how it went and all that it had to say, in whatever order. */
	kubelet_says(1, "{\"status\":\"Success\"}", true);
	assert_string_equal(at_client(), "2:\3{\"status\":\"Success\"}");
	kubelet_says(7, "", true);
	kubelet_says(5, "last", true);
	assert_string_equal(at_client(), "2:\1last");
	assert_memory_equal(at_client(), "8:\x03\xe8", 4);
	client_says(8, STR("\x03\xe8"));
	assert_string_equal(at_client(), "gone");
	while (turn(r.kubelet, &from_kubelet))
		continue;
	assert_int_equal(from_kubelet.n, 0);
	close_bridge();
}

/* With a terminal: no stderr, and sizes. */
static void test_tty(void **state)
{
	(void)state;
	open_bridge("/exec?stdin=true&stdout=true&stderr=true&tty=true", "exec", V5);
	opens(4);
	client_says(2, STR("\4{\"Width\":80}"));
	kubelet_gets(7, STR("{\"Width\":80}"), false);
	kubelet_says(1, "", true);
	kubelet_says(5, "", true);
	assert_memory_equal(at_client(), "8:\x03\xe8", 4);
	close_bridge();
}

static void test_output_only(void **state)
{
	(void)state;
	open_bridge("/attach?stdout=True&stdin=False&stderr=0", "attach", V5);
	opens(2);
	client_says(2, STR("\0dropped"));
	kubelet_says(3, "x", false);
	assert_string_equal(at_client(), "2:\1x");
	close_bridge();
}

static void test_kubelet_breaks(void **state)
{
	(void)state;
	open_bridge("/exec?stdout=true", "exec", V5);
	opens(2);
	kubelet_says(3, "x", false);
	assert_string_equal(at_client(), "2:\1x");
	/* No frame of SPDY's. */
	assert_int_equal(send(r.kubelet, "\xff\xff\x00\x01\x00\x00\x00\x00", 8, 0), 8);
	assert_memory_equal(at_client(), "8:\x03\xf3", 4);
	close_bridge();
}

static void test_client_leaves(void **state)
{
	(void)state;
	open_bridge("/exec?stdin=true&stdout=true", "exec", V5);
	opens(3);
	client_says(8, STR("\x03\xe8"));
	while (turn(r.kubelet, &from_kubelet))
		continue;
	close_bridge();
	open_bridge("/exec?stdin=true&stdout=true", "exec", V5);
	opens(3);
	bridge_rig_hang_up(&r.client);
	while (turn(r.kubelet, &from_kubelet))
		continue;
	close_bridge();
}

/* Bytes both ways, whatever they are, in messages of any size. */
static void test_tunnel(void **state)
{
	struct buf all = BUF_INIT, got = BUF_INIT;
	char byte = 0;

	(void)state;
	open_bridge("/portforward", "portforward", TUNNEL);
	client_says(2, STR("\x80\x03\0\1 no frame at all"));
	client_says(2, STR("more"));
	while (from_kubelet.n < 24)
		turn(r.kubelet, &from_kubelet);
	assert_memory_equal(from_kubelet.p, "\x80\x03\0\1 no frame at allmore", 24);
	/* More than may wait: the bridge stops reading, and nothing is lost. */
	for (size_t i = 0; i < 3 << 20; i++)
		buf_add1(&all, byte++);
	for (size_t at = 0; at < all.n || got.n < all.n;) {
		ssize_t n = at < all.n ? send(r.kubelet, all.p + at, MIN(all.n - at, (size_t)60000), MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
		struct ws_decoder d = {.client = true, .max_message = 1 << 20};
		struct ws_event ev;
		struct str in;

		at += n > 0 ? (size_t)n : 0;
		assert_true(turn(r.client, &from_client));
		buf_init(&d.message, d.max_message);
		for (;;) {
			in = buf_str(&from_client);
			if (in.n == 0 || ws_decode(&d, &in, &ev) <= 0)
				break;
			buf_adds(&got, ev.payload);
			memmove(from_client.p, from_client.p + (from_client.n - in.n), in.n);
			from_client.n = in.n;
			ws_decoder_fini(&d);
			d = (struct ws_decoder){.client = true, .max_message = 1 << 20};
			buf_init(&d.message, d.max_message);
		}
		ws_decoder_fini(&d);
	}
	assert_int_equal(got.n, all.n);
	assert_memory_equal(got.p, all.p, all.n);
	bridge_rig_hang_up(&r.kubelet);
	assert_memory_equal(at_client(), "8:\x03", 3);
	buf_fini(&all);
	buf_fini(&got);
	close_bridge();
}

/* What the request asks for decides; another protocol is not ours. */
static void test_wanted(void **state)
{
	static const struct {
		const char *sub, *protocols;
		enum ws_bridge want;
	} rows[] = {
			{"exec", V5, WS_BRIDGE_CHANNELS},
			{"attach", "v4.channel.k8s.io, " V5, WS_BRIDGE_CHANNELS},
			{"exec", "v4.channel.k8s.io", WS_BRIDGE_NONE},
			{"exec", TUNNEL, WS_BRIDGE_NONE},
			{"portforward", TUNNEL, WS_BRIDGE_TUNNEL},
			{"portforward", V5, WS_BRIDGE_NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_header h[8];
		struct api_request req = {.at.sub = str_from(rows[i].sub)};

		arena_init(&req.arena);
		req.headers = (struct http_headers){h, websocket_call_headers(&req.arena, rows[i].protocols, h)};
		assert_int_equal(ws_bridge_wanted(&req), rows[i].want);
		for (size_t k = 0; k < req.headers.n; k++)
			if (str_ieq(h[k].name, STR("upgrade")))
				h[k].value = STR("SPDY/3.1");
		assert_int_equal(ws_bridge_wanted(&req), WS_BRIDGE_NONE);
		arena_fini(&req.arena);
	}
}

/* A connection that cannot be upgraded: an error, and the kubelet's side is closed. */
static void test_refused(void **state)
{
	(void)state;
	buf_init(&from_kubelet, BUF_NO_LIMIT);
	assert_true(bridge_rig_open(&r, "/exec?stdout=true", "exec", V5, true) < 0);
	while (turn(r.kubelet, &from_kubelet))
		continue;
	assert_int_equal(from_kubelet.n, 0);
	buf_fini(&from_kubelet);
	bridge_rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_exec),
			cmocka_unit_test(test_tty),
			cmocka_unit_test(test_output_only),
			cmocka_unit_test(test_kubelet_breaks),
			cmocka_unit_test(test_client_leaves),
			cmocka_unit_test(test_tunnel),
			cmocka_unit_test(test_wanted),
			cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
