/* SPDY/3.1: frames out of pieces, and what is sent when a stream is opened, over a socket pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/spdy.h"
#include "io/loop.h"
#include "io/stream.h"

/* The checksum that names SPDY/3's dictionary. */
#define DICTIONARY_ID 0xe3c6a7c2u

static const char frames[] = "\x80\x03\x00\x02\x01\x00\x00\x04\x00\x00\x00\x05" /* SYN_REPLY of stream 5, the end */
			     "\x00\x00\x00\x05\x00\x00\x00\x03"
			     "abc"
			     "\x00\x00\x00\x07\x01\x00\x00\x00";
#define N_FRAMES (sizeof(frames) - 1)

static void test_decode(void **state)
{
	struct str in = str_of(frames, N_FRAMES);
	struct spdy_frame f;

	assert_int_equal(spdy_decode(&in, &f), 1);
	assert_true(f.control && f.type == 2 && f.flags == 1 && f.data.n == 4);
	assert_int_equal(spdy_decode(&in, &f), 1);
	assert_true(!f.control && f.id == 5 && f.flags == 0 && str_eqc(f.data, "abc"));
	assert_int_equal(spdy_decode(&in, &f), 1);
	assert_true(!f.control && f.id == 7 && f.flags == 1 && f.data.n == 0);
	assert_int_equal(spdy_decode(&in, &f), 0);
	/* Whatever is missing at the end: nothing is taken. */
	for (size_t n = 0; n < 12; n++) {
		in = str_of(frames, n);
		assert_int_equal(spdy_decode(&in, &f), 0);
		assert_int_equal(in.n, n);
	}
	in = STR("HTTP/1.1 200 OK");
	assert_int_equal(spdy_decode(&in, &f), 0); /* an unlikely stream, but a frame as far as one can see */
	in = STR("\xff\xff\x00\x01\x00\x00\x00\x00");
	assert_true(spdy_decode(&in, &f) < 0);
}

struct peer {
	struct spdy_user user;
	struct buf got;
	uint32_t id;
	unsigned n_ends;
	bool closed;
};

static void on_data(struct spdy_user *u, uint32_t id, struct str bytes, bool end)
{
	struct peer *p = container_of(u, struct peer, user);

	p->id = id;
	buf_adds(&p->got, bytes);
	p->n_ends += end;
}

static void on_close(struct spdy_user *u, const struct err *why)
{
	container_of(u, struct peer, user)->closed = true;
}

static void read_exactly(struct loop *loop, int fd, char *to, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t r = recv(fd, to + have, n - have, MSG_DONTWAIT);

		if (r > 0)
			have += (size_t)r;
		else
			loop_turn(loop, 10);
	}
}

static void check_header_block(const char *p, size_t n)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n};
	char out[256];

	z.next_out = (Bytef *)out;
	z.avail_out = sizeof(out);
	assert_int_equal(inflateInit(&z), Z_OK);
	assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_NEED_DICT);
	assert_int_equal(z.adler, DICTIONARY_ID);
	inflateEnd(&z);
}

static void test_over_socket(void **state)
{
	struct loop *loop = loop_new("test");
	struct peer p = {.user = {on_data, on_close}, .got = BUF_INIT};
	struct stream *stream;
	struct spdy *s;
	char head[18], block[256], data[11];
	size_t size;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(stream_from_fd(loop, fds[0], &stream, NULL), 0);
	s = spdy_new(stream, &p.user);
	assert_int_equal(spdy_open(s, "streamtype", "stdin"), 1);
	assert_int_equal(spdy_open(s, "streamtype", "stdout"), 3);
	for (unsigned id = 1; id <= 3; id += 2) {
		read_exactly(loop, fds[1], head, sizeof(head));
		assert_memory_equal(head, "\x80\x03\x00\x01\x00", 5);
		assert_int_equal(head[11], id);
		size = (size_t)(unsigned char)head[6] << 8 | (unsigned char)head[7];
		assert_in_range(size, 10, sizeof(block));
		read_exactly(loop, fds[1], block, size - 10);
		if (id == 1)
			check_header_block(block, size - 10);
	}
	spdy_send(s, 1, STR("abc"), true, NULL);
	read_exactly(loop, fds[1], data, sizeof(data));
	assert_memory_equal(data, "\x00\x00\x00\x01\x01\x00\x00\x03" "abc", sizeof(data));

	for (size_t i = 0; i < N_FRAMES; i++) {
		assert_int_equal(send(fds[1], frames + i, 1, 0), 1);
		loop_turn(loop, 10);
	}
	while (p.n_ends < 2)
		loop_turn(loop, 10);
	assert_string_equal(p.got.p, "abc");
	assert_int_equal(p.id, 7);
	/* A ping of the server's comes back; then it hangs up. */
	assert_int_equal(send(fds[1], "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02", 12, 0), 12);
	read_exactly(loop, fds[1], block, 12);
	assert_memory_equal(block, "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02", 12);
	close(fds[1]);
	while (!p.closed)
		loop_turn(loop, 10);
	spdy_close(s);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	loop_free(loop);
	buf_fini(&p.got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_decode), cmocka_unit_test(test_over_socket)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
