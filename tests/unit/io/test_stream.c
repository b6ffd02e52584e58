#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/stream.h"

/* One end of a connection that keeps what comes. */
struct end {
	struct stream_user user;
	struct stream *s;
	struct buf got;
	bool ended, echo;
	struct err why;
	unsigned drains;
};

static void on_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	struct end *x = container_of(u, struct end, user);

	buf_adds(&x->got, bytes);
	if (x->echo)
		stream_write(s, bytes, NULL);
}

static void on_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	struct end *x = container_of(u, struct end, user);

	assert_false(x->ended);
	x->ended = true;
	if (why)
		x->why = *why;
}

static void on_drain(struct stream_user *u, struct stream *s)
{
	container_of(u, struct end, user)->drains++;
}

static void end_init(struct end *x)
{
	memset(x, 0, sizeof(*x));
	x->user = (struct stream_user){on_data, on_end, on_drain};
	buf_init(&x->got, BUF_NO_LIMIT);
}

static unsigned n_closed;

static void on_close(void *arg)
{
	n_closed++;
}

static void end_fini(struct end *x)
{
	unsigned before = n_closed;

	buf_fini(&x->got);
	if (x->s == NULL)
		return;
	stream_close(TAKE(x->s), on_close, NULL);
	WAIT_FOR(loop, n_closed > before);
}

struct acceptor {
	struct listener_user user;
	struct end *into;
};

static void on_stream(struct listener_user *u, struct stream *s)
{
	struct acceptor *a = container_of(u, struct acceptor, user);

	assert_null(a->into->s);
	a->into->s = s;
}

struct dial {
	struct stream_connect c;
	struct end *into;
	bool done;
	struct err why;
};

static void on_dialed(struct stream_connect *c, struct stream *s, const struct err *e)
{
	struct dial *d = container_of(c, struct dial, c);

	assert_false(d->done);
	d->done = true;
	if (d->into)
		d->into->s = s;
	if (e)
		d->why = *e;
}

struct pair {
	struct end a, b; /* client, server */
	struct listener *l;
	struct acceptor acceptor;
	struct dial dial;
};

static void listen_on(struct pair *p, const char *address, struct tls_ctx *tls)
{
	struct listener_config lc = {.address = address, .tls = tls, .handshake_timeout_ms = 3000};
	struct err e = ERR_INIT;

	end_init(&p->a);
	end_init(&p->b);
	p->acceptor.user.on_stream = on_stream;
	p->acceptor.into = &p->b;
	if (listener_open(loop, &lc, &p->acceptor.user, &p->l, &e) != 0)
		fail_msg("%s", e.text);
}

static void dial(struct pair *p, const char *address, struct tls_ctx *tls)
{
	memset(&p->dial, 0, sizeof(p->dial));
	p->dial.into = &p->a;
	p->dial.c = (struct stream_connect){.loop = loop,
		.address = address,
		.tls = tls,
		.timeout_ms = 5000,
		.done = on_dialed};
	stream_connect(&p->dial.c);
	assert_false(p->dial.done);
}

static void open_pair(struct pair *p, struct tls_ctx *server, struct tls_ctx *client)
{
	char address[64];

	listen_on(p, "127.0.0.1:0", server);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p->l));
	dial(p, address, client);
	WAIT_FOR(loop, p->dial.done);
	if (p->dial.why.code)
		fail_msg("%s", p->dial.why.text);
	WAIT_FOR(loop, p->b.s != NULL);
	stream_start(p->a.s, &p->a.user);
	stream_start(p->b.s, &p->b.user);
}

static void close_pair(struct pair *p)
{
	unsigned before;

	end_fini(&p->a);
	end_fini(&p->b);
	before = n_closed;
	listener_close(p->l, on_close, NULL);
	WAIT_FOR(loop, n_closed > before);
}

struct wrote {
	struct stream_write w;
	int n, status;
};

static void on_wrote(struct stream_write *w, int status)
{
	struct wrote *x = container_of(w, struct wrote, w);

	x->n++;
	x->status = status;
}

static void talk(struct pair *p)
{
	struct wrote w = {.w.done = on_wrote};
	struct buf big = BUF_INIT;

	p->b.echo = true;
	stream_write(p->a.s, STR("hello"), &w.w);
	assert_int_equal(w.n, 0);
	WAIT_FOR(loop, p->a.got.n == 5);
	assert_true(str_eqc(buf_str(&p->a.got), "hello"));
	WAIT_FOR(loop, w.n == 1);
	assert_int_equal(w.status, 0);
	buf_clear(&p->a.got);
	for (unsigned i = 0; i < 1000000; i++)
		buf_printf(&big, "%08x", i);
	stream_write(p->a.s, buf_str(&big), NULL);
	WAIT_FOR(loop, p->a.got.n == big.n);
	assert_true(str_eq(buf_str(&big), buf_str(&p->a.got)));
	assert_int_equal(stream_queued(p->a.s), 0);
	assert_true(p->a.drains > 0);
	buf_clear(&p->a.got);
	stream_write_take(p->a.s, &big, NULL);
	assert_int_equal(big.n, 0);
	WAIT_FOR(loop, p->a.got.n == 8000000);
	/* Half-close travels, and the other direction still works. */
	stream_shutdown(p->a.s);
	WAIT_FOR(loop, p->b.ended);
	assert_int_equal(p->b.why.code, 0);
	buf_clear(&p->a.got);
	stream_write(p->b.s, STR("bye"), NULL);
	WAIT_FOR(loop, p->a.got.n == 3);
	stream_shutdown(p->b.s);
	WAIT_FOR(loop, p->a.ended);
	assert_int_equal(p->a.why.code, 0);
	buf_fini(&big);
}

static void owner_is(const struct stream *s, uid_t wanted)
{
	uid_t uid;

	assert_int_equal(stream_peer_uid(s, &uid), 0);
	assert_int_equal(uid, wanted);
}

static void plain_tcp(void **state)
{
	struct pair p;

	open_pair(&p, NULL, NULL);
	owner_is(p.b.s, geteuid());
	owner_is(p.a.s, geteuid());
	/* As if another user's process had it. Only root may give a socket away. */
	if (geteuid() == 0) {
		assert_int_equal(fchown(stream_fd(p.a.s), 65534, (gid_t)-1), 0);
		owner_is(p.b.s, 65534);
	}
	assert_null(stream_peer_cert(p.b.s));
	assert_memory_equal(stream_peer_address(p.b.s), "127.0.0.1:", 10);
	talk(&p);
	close_pair(&p);
}

static void tls_tcp(void **state)
{
	struct tls_ctx *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, "h2,http/1.1");
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, "http/1.1,h2");
	struct pair p;

	open_pair(&p, s, c);
	assert_string_equal(stream_alpn(p.a.s), "h2");
	assert_string_equal(stream_alpn(p.b.s), "h2");
	assert_true(stream_peer_verified(p.a.s));
	assert_true(str_eqc(stream_peer_cert(p.a.s)->cn, "server"));
	talk(&p);
	close_pair(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void unix_socket(void **state)
{
	char dir[] = "/tmp/io-stream-XXXXXX", path[64];
	struct pair p;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "unix:%s/s", dir);
	for (int i = 0; i < 2; i++) {
		listen_on(&p, path, NULL);
		dial(&p, path + (i ? 5 : 0), NULL);
		WAIT_FOR(loop, p.dial.done && p.b.s != NULL);
		assert_int_equal(p.dial.why.code, 0);
		owner_is(p.b.s, geteuid());
		stream_start(p.a.s, &p.a.user);
		stream_start(p.b.s, &p.b.user);
		talk(&p);
		close_pair(&p);
	}
	assert_int_not_equal(access(path + 5, F_OK), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void client_certificates(void **state)
{
	static const struct {
		enum tls_verify verify;
		enum iotest_who who;
		bool connects, has_cert, verified;
	} rows[] = {
		{TLS_VERIFY_OPTIONAL, NOBODY, true, false, false},
		{TLS_VERIFY_OPTIONAL, CLIENT, true, true, true},
		{TLS_VERIFY_OPTIONAL, OTHER, true, true, false},
		{TLS_VERIFY_REQUIRED, CLIENT, true, true, true},
		{TLS_VERIFY_REQUIRED, NOBODY, false, false, false},
		{TLS_VERIFY_REQUIRED, OTHER, false, false, false},
	};

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_ctx *s = iotest_server_tls(&pki, rows[i].verify, NULL);
		struct tls_ctx *c = iotest_client_tls(&pki, rows[i].who, NULL);
		struct pair p;
		char address[64];

		listen_on(&p, "127.0.0.1:0", s);
		snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
		dial(&p, address, c);
		WAIT_FOR(loop, p.dial.done);
		/* With TLS 1.3 the client learns of the refusal behind its own handshake. */
		assert_non_null(p.a.s);
		stream_start(p.a.s, &p.a.user);
		if (rows[i].connects) {
			WAIT_FOR(loop, p.b.s != NULL);
			assert_int_equal(stream_peer_cert(p.b.s) != NULL, rows[i].has_cert);
			assert_int_equal(stream_peer_verified(p.b.s), rows[i].verified);
			if (rows[i].has_cert)
				assert_true(
					str_eqc(stream_peer_cert(p.b.s)->orgs[0], "system:nodes"));
		} else {
			WAIT_FOR(loop, p.a.ended);
			assert_int_not_equal(p.a.why.code, 0);
			assert_null(p.b.s);
		}
		close_pair(&p);
		tls_ctx_unref(s);
		tls_ctx_unref(c);
	}
}

static void server_name_is_checked(void **state)
{
	struct tls_ctx *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, NULL);
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, NULL);
	struct pair p;
	char address[64];

	listen_on(&p, "127.0.0.1:0", s);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
	memset(&p.dial, 0, sizeof(p.dial));
	p.dial.c = (struct stream_connect){.loop = loop,
		.address = address,
		.tls = c,
		.server_name = "elsewhere",
		.done = on_dialed};
	stream_connect(&p.dial.c);
	WAIT_FOR(loop, p.dial.done);
	assert_non_null(strstr(p.dial.why.text, "hostname mismatch"));
	snprintf(address, sizeof(address), "localhost:%u", listener_port(p.l));
	dial(&p, address, c);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, 0);
	WAIT_FOR(loop, p.b.s != NULL);
	close_pair(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void connect_errors(void **state)
{
	struct pair p;
	char address[64];
	unsigned before;
	struct listener *l2;
	struct err e;

	listen_on(&p, "127.0.0.1:0", NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
	/* The port is taken. */
	{
		struct listener_config lc = {.address = address};

		assert_int_equal(
			listener_open(loop, &lc, &p.acceptor.user, &l2, &e), -ERR_ALREADY_EXISTS);
		assert_non_null(strstr(e.text, "address already in use"));
		assert_non_null(strstr(e.text, address));
	}
	before = n_closed;
	listener_close(p.l, on_close, NULL);
	WAIT_FOR(loop, n_closed > before);
	dial(&p, address, NULL);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(p.dial.why.text, "refused"));
	dial(&p, "unix:/nonexistent/socket", NULL);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, ERR_UNAVAILABLE);
	dial(&p, "no-port", NULL);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, ERR_INVALID);
	dial(&p, address, NULL);
	stream_connect_cancel(&p.dial.c);
	assert_false(p.dial.done);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, ERR_CANCELED);
}

/* A peer that accepts and says nothing does not hold a handshake for ever, on either side. */
static void handshake_deadline(void **state)
{
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, NULL),
		       *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, NULL);
	struct listener_config lc = {
		.address = "127.0.0.1:0", .tls = s, .handshake_timeout_ms = 50};
	struct pair p;
	char address[64];

	listen_on(&p, "127.0.0.1:0", NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
	memset(&p.dial, 0, sizeof(p.dial));
	p.dial.c = (struct stream_connect){
		.loop = loop, .address = address, .tls = c, .timeout_ms = 50, .done = on_dialed};
	stream_connect(&p.dial.c);
	WAIT_FOR(loop, p.dial.done);
	assert_int_equal(p.dial.why.code, ERR_TIMEOUT);
	close_pair(&p);

	end_init(&p.a);
	end_init(&p.b);
	assert_int_equal(listener_open(loop, &lc, &p.acceptor.user, &p.l, NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
	dial(&p, address, NULL);
	WAIT_FOR(loop, p.dial.done);
	stream_start(p.a.s, &p.a.user);
	WAIT_FOR(loop, p.a.ended);
	assert_null(p.b.s);
	close_pair(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

/* While the reader is stopped the writer's bytes queue up; they all arrive once it goes on. */
static void check_back_pressure(struct tls_ctx *s, struct tls_ctx *c)
{
	struct pair p;
	struct buf big = BUF_INIT;
	struct wrote w = {.w.done = on_wrote};
	size_t got;

	open_pair(&p, s, c);
	stream_read_stop(p.b.s);
	for (unsigned i = 0; i < 4000000; i++)
		buf_printf(&big, "%08x", i);
	stream_write(p.a.s, buf_str(&big), &w.w);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 5);
	assert_int_equal(p.b.got.n, 0);
	assert_true(stream_queued(p.a.s) > 1000000);
	assert_int_equal(w.n, 0);
	stream_read_start(p.b.s);
	WAIT_FOR(loop, p.b.got.n > 100000);
	stream_read_stop(p.b.s);
	got = p.b.got.n;
	stream_unread(p.b.s, str_of("<again>", 7));
	loop_turn(loop, 10);
	assert_int_equal(p.b.got.n, got);
	stream_read_start(p.b.s);
	WAIT_FOR(loop, p.b.got.n == big.n + 7);
	assert_memory_equal(p.b.got.p + got, "<again>", 7);
	assert_memory_equal(p.b.got.p, big.p, got);
	assert_memory_equal(p.b.got.p + got + 7, big.p + got, big.n - got);
	WAIT_FOR(loop, w.n == 1);
	assert_int_equal(w.status, 0);
	buf_fini(&big);
	close_pair(&p);
}

static void back_pressure(void **state)
{
	struct tls_ctx *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, NULL);
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, NULL);

	check_back_pressure(NULL, NULL);
	check_back_pressure(s, c);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

/* Every write that asked is told, once, whether the stream breaks or is closed. */
static void writes_are_always_done(void **state)
{
	struct pair p;
	struct buf big = BUF_INIT;
	struct wrote w1 = {.w.done = on_wrote}, w2 = w1, w3 = w1;

	buf_reserve(&big, 16 << 20);
	memset(big.p, 'x', 16 << 20);
	buf_advance(&big, 16 << 20);
	open_pair(&p, NULL, NULL);
	stream_read_stop(p.b.s);
	stream_write(p.a.s, buf_str(&big), &w1.w);
	/* The peer goes away with bytes unread: a reset. */
	end_fini(&p.b);
	WAIT_FOR(loop, w1.n == 1);
	assert_int_not_equal(w1.status, 0);
	WAIT_FOR(loop, p.a.ended);
	stream_write(p.a.s, STR("more"), &w2.w);
	assert_int_equal(w2.n, 0);
	WAIT_FOR(loop, w2.n == 1);
	assert_int_not_equal(w2.status, 0);
	close_pair(&p);

	open_pair(&p, NULL, NULL);
	stream_read_stop(p.b.s);
	stream_write(p.a.s, buf_str(&big), &w3.w);
	end_fini(&p.a);
	assert_int_equal(w3.n, 1);
	assert_int_equal(w3.status, -ERR_CANCELED);
	close_pair(&p);
	buf_fini(&big);
}

static void close_flushed_sends_everything(void **state)
{
	struct tls_ctx *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, NULL);
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, NULL);
	struct buf big = BUF_INIT;

	buf_reserve(&big, 8 << 20);
	memset(big.p, 'x', 8 << 20);
	buf_advance(&big, 8 << 20);
	for (int tls = 0; tls < 2; tls++) {
		struct pair p;

		open_pair(&p, tls ? s : NULL, tls ? c : NULL);
		/* Bytes that nobody reads would turn a plain close into a reset. */
		stream_read_stop(p.b.s);
		stream_write(p.a.s, STR("unread"), NULL);
		loop_turn(loop, 5);
		stream_write(p.b.s, buf_str(&big), NULL);
		stream_close_flushed(TAKE(p.b.s), 5000);
		WAIT_FOR(loop, p.a.ended);
		assert_int_equal(p.a.got.n, big.n);
		assert_int_equal(p.a.why.code, 0);
		close_pair(&p);
	}
	buf_fini(&big);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void reload_takes_effect(void **state)
{
	struct tls_ctx *s = iotest_server_tls(&pki, TLS_VERIFY_NONE, NULL);
	struct tls_ctx *c = iotest_client_tls(&pki, NOBODY, NULL);
	struct tls_config now = {.server = true,
		.cert_pem = buf_str(&pki.client_cert),
		.key_pem = buf_str(&pki.client_key)};
	struct tls_config bad = {.server = true,
		.cert_pem = buf_str(&pki.client_cert),
		.key_pem = buf_str(&pki.server_key)};
	struct err e;
	struct pair p;
	char address[64];

	assert_int_not_equal(tls_ctx_reload(s, &bad, &e), 0);
	assert_non_null(strstr(e.text, "private key"));
	open_pair(&p, s, c);
	assert_int_equal(tls_ctx_reload(s, &now, NULL), 0);
	talk(&p); /* the old connection goes on */
	end_fini(&p.a);
	end_fini(&p.b);
	end_init(&p.a);
	snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(p.l));
	dial(&p, address, c);
	WAIT_FOR(loop, p.dial.done);
	assert_int_not_equal(p.dial.why.code, 0);
	close_pair(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_tcp),
		cmocka_unit_test(tls_tcp),
		cmocka_unit_test(unix_socket),
		cmocka_unit_test(client_certificates),
		cmocka_unit_test(server_name_is_checked),
		cmocka_unit_test(connect_errors),
		cmocka_unit_test(handshake_deadline),
		cmocka_unit_test(back_pressure),
		cmocka_unit_test(writes_are_always_done),
		cmocka_unit_test(close_flushed_sends_everything),
		cmocka_unit_test(reload_takes_effect),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
