/* The gRPC client against the gRPC server, over unix sockets and TLS. */
#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/grpc.h"

struct service {
	struct http_handler handler;
	struct http_server *server;
	struct grpc_channel *channel;
	struct tls_ctx *stls, *ctls;
	unsigned n_canceled, n_calls;
	uint64_t timeout_ms;
	struct served *last;
	char dir[32], address[64];
};

struct served {
	struct grpc_server_call c;
	struct service *service;
	struct str path;
	struct buf all;
	unsigned n;
};

static void drop(void *p)
{
	buf_fini(p);
}

static void on_message(struct grpc_server_call *c, struct str message)
{
	struct served *v = container_of(c, struct served, c);

	v->n++;
	if (str_eqc(v->path, "/t.S/Echo")) {
		grpc_finish_unary(c, message);
	} else if (str_eqc(v->path, "/t.S/Fail")) {
		grpc_finish(c, GRPC_NOT_FOUND, "no \"ä\" here: 100%\n");
	} else if (str_eqc(v->path, "/t.S/Many")) {
		for (int i = 0; i < 5; i++)
			grpc_server_send(c, message, NULL);
		grpc_finish(c, GRPC_OK, NULL);
	} else if (str_eqc(v->path, "/t.S/Chat")) {
		grpc_server_send(c, message, NULL);
	} else if (str_eqc(v->path, "/t.S/Collect")) {
		buf_adds(&v->all, message);
	}
	/* Hold: nothing. */
}

static void on_half_close(struct grpc_server_call *c)
{
	struct served *v = container_of(c, struct served, c);

	if (str_eqc(v->path, "/t.S/Collect"))
		grpc_finish_unary(c, buf_str(&v->all));
	else if (str_eqc(v->path, "/t.S/Chat"))
		grpc_finish(c, GRPC_OK, NULL);
}

static void on_cancel(struct grpc_server_call *c)
{
	struct served *v = container_of(c, struct served, c);

	v->service->n_canceled++;
	grpc_finish(c, GRPC_OK, NULL);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct service *s = container_of(h, struct service, handler);
	struct served *v;

	s->n_calls++;
	if (!grpc_is_call(r)) {
		http_respond(r, 404, NULL, 0, STR(""));
		return;
	}
	if (!str_has_prefix(r->path, STR("/t.S/"))) {
		grpc_reject(r, GRPC_UNIMPLEMENTED, "unknown service");
		return;
	}
	v = arena_new_of(&r->arena, struct served);
	buf_init(&v->all, BUF_NO_LIMIT);
	arena_on_free(&r->arena, drop, &v->all);
	v->service = s;
	v->path = r->path;
	v->c.on_message = on_message;
	v->c.on_half_close = on_half_close;
	v->c.on_cancel = on_cancel;
	s->last = v;
	grpc_accept(&v->c, r, 1 << 20);
	s->timeout_ms = v->c.timeout_ms;
}

static unsigned n_closed;

static void on_close(void *arg)
{
	n_closed++;
}

static void start_server(struct service *s)
{
	struct http_server_config c = {.address = s->address, .tls = s->stls};
	struct err e = ERR_INIT;

	s->handler.on_request = on_request;
	if (http_server_new(loop, &c, &s->handler, &s->server, &e) != 0)
		fail_msg("%s", e.text);
	if (s->stls)
		snprintf(s->address, sizeof(s->address), "localhost:%u",
			http_server_port(s->server));
}

static void stop_server(struct service *s)
{
	unsigned before = n_closed;

	http_server_close(s->server, 0, on_close, NULL);
	WAIT_FOR(loop, n_closed == before + 1);
}

static void open_channel(struct service *s)
{
	struct grpc_channel_config c = {
		.address = s->address, .tls = s->ctls, .max_message = 2 << 20};

	assert_int_equal(grpc_channel_new(loop, &c, &s->channel, NULL), 0);
}

static void service_open(struct service *s, bool tls)
{
	memset(s, 0, sizeof(*s));
	if (tls) {
		s->stls = iotest_server_tls(&pki, TLS_VERIFY_NONE, "h2");
		s->ctls = iotest_client_tls(&pki, NOBODY, "h2");
		snprintf(s->address, sizeof(s->address), "127.0.0.1:0");
	} else {
		snprintf(s->dir, sizeof(s->dir), "/tmp/io-grpc-XXXXXX");
		assert_non_null(mkdtemp(s->dir));
		snprintf(s->address, sizeof(s->address), "unix:%s/s", s->dir);
	}
	start_server(s);
	open_channel(s);
}

static void service_close(struct service *s)
{
	unsigned before = n_closed;

	grpc_channel_close(s->channel, on_close, NULL);
	WAIT_FOR(loop, n_closed == before + 1);
	stop_server(s);
	tls_ctx_unref(s->stls);
	tls_ctx_unref(s->ctls);
	if (s->dir[0])
		assert_int_equal(rmdir(s->dir), 0);
}

struct caller {
	struct grpc_call c;
	unsigned n_done, n_messages;
	struct buf got;
	bool pause_each;
};

static void on_done(struct grpc_call *c)
{
	container_of(c, struct caller, c)->n_done++;
}

static void on_answer(struct grpc_call *c, struct str message)
{
	struct caller *k = container_of(c, struct caller, c);

	k->n_messages++;
	buf_adds(&k->got, message);
	buf_add1(&k->got, ',');
	if (k->pause_each)
		grpc_pause(c);
}

static void caller_init(struct caller *k, const char *method)
{
	memset(k, 0, sizeof(*k));
	buf_init(&k->got, BUF_NO_LIMIT);
	k->c.method = method;
	k->c.done = on_done;
	k->c.on_message = on_answer;
}

static void caller_fini(struct caller *k)
{
	grpc_call_fini(&k->c);
	buf_fini(&k->got);
}

static void unary(struct service *s, struct caller *k, struct str request)
{
	grpc_unary(s->channel, &k->c, request);
	assert_int_equal(k->n_done, 0);
	WAIT_FOR(loop, k->n_done == 1);
}

static void unary_calls(void **state)
{
	struct buf big = BUF_INIT;

	for (unsigned i = 0; i < 100000; i++)
		buf_printf(&big, "%08x", i);
	for (int tls = 0; tls < 2; tls++) {
		struct service s;
		struct caller k;
		struct err e;

		service_open(&s, tls);
		for (int i = 0; i < 3; i++) {
			caller_init(&k, "/t.S/Echo");
			k.c.timeout_ms = 60000;
			unary(&s, &k, STR("hi"));
			assert_int_equal(k.c.code, GRPC_OK);
			assert_true(str_eqc(buf_str(&k.c.message), "hi"));
			assert_int_equal(grpc_call_err(&k.c, &e), 0);
			caller_fini(&k);
		}
		caller_init(&k, "/t.S/Echo");
		unary(&s, &k, STR(""));
		assert_int_equal(k.c.code, GRPC_OK);
		assert_int_equal(k.c.message.n, 0);
		caller_fini(&k);
		caller_init(&k, "/t.S/Echo");
		unary(&s, &k, buf_str(&big));
		assert_int_equal(k.c.code, GRPC_OK);
		assert_true(str_eq(buf_str(&k.c.message), buf_str(&big)));
		caller_fini(&k);
		caller_init(&k, "/t.S/Fail");
		unary(&s, &k, STR("x"));
		assert_int_equal(k.c.code, GRPC_NOT_FOUND);
		assert_true(str_eqc(k.c.status, "no \"ä\" here: 100%\n"));
		assert_int_equal(grpc_call_err(&k.c, &e), -ERR_NOT_FOUND);
		caller_fini(&k);
		caller_init(&k, "/other/Method");
		unary(&s, &k, STR("x"));
		assert_int_equal(k.c.code, GRPC_UNIMPLEMENTED);
		caller_fini(&k);
		/* Several answers to a unary call. */
		caller_init(&k, "/t.S/Many");
		unary(&s, &k, STR("x"));
		assert_int_equal(k.c.code, GRPC_INTERNAL);
		caller_fini(&k);
		service_close(&s);
	}
	buf_fini(&big);
}

static void streams(void **state)
{
	for (int tls = 0; tls < 2; tls++) {
		struct service s;
		struct caller k;

		service_open(&s, tls);
		caller_init(&k, "/t.S/Many");
		grpc_start(s.channel, &k.c);
		grpc_send(&k.c, STR("ab"), NULL);
		grpc_close_send(&k.c);
		WAIT_FOR(loop, k.n_done == 1);
		assert_int_equal(k.c.code, GRPC_OK);
		assert_true(str_eqc(buf_str(&k.got), "ab,ab,ab,ab,ab,"));
		caller_fini(&k);
		caller_init(&k, "/t.S/Collect");
		grpc_start(s.channel, &k.c);
		for (int i = 0; i < 4; i++)
			grpc_send(&k.c, STR("123"), NULL);
		grpc_close_send(&k.c);
		WAIT_FOR(loop, k.n_done == 1);
		assert_true(str_eqc(buf_str(&k.got), "123123123123,"));
		caller_fini(&k);
		/* Each answer is waited for: nothing may be kept back. */
		caller_init(&k, "/t.S/Chat");
		grpc_start(s.channel, &k.c);
		for (unsigned i = 1; i < 6; i++) {
			grpc_send(&k.c, STR("x"), NULL);
			WAIT_FOR(loop, k.n_messages == i);
		}
		grpc_close_send(&k.c);
		WAIT_FOR(loop, k.n_done == 1);
		assert_int_equal(k.c.code, GRPC_OK);
		caller_fini(&k);
		service_close(&s);
	}
}

static void paused_stream(void **state)
{
	struct service s;
	struct caller k;

	service_open(&s, false);
	caller_init(&k, "/t.S/Many");
	k.pause_each = true;
	grpc_start(s.channel, &k.c);
	grpc_send(&k.c, STR("ab"), NULL);
	grpc_close_send(&k.c);
	for (unsigned i = 1; i <= 5; i++) {
		WAIT_FOR(loop, k.n_messages == i);
		loop_turn(loop, 5);
		assert_int_equal(k.n_messages, i);
		assert_int_equal(k.n_done, 0);
		grpc_resume(&k.c);
		assert_int_equal(k.n_messages, i);
	}
	WAIT_FOR(loop, k.n_done == 1);
	assert_int_equal(k.c.code, GRPC_OK);
	caller_fini(&k);
	/* The server's side. */
	caller_init(&k, "/t.S/Hold");
	grpc_start(s.channel, &k.c);
	WAIT_FOR(loop, s.n_calls == 2);
	grpc_server_pause(&s.last->c);
	for (int i = 0; i < 3; i++)
		grpc_send(&k.c, STR("x"), NULL);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 2);
	assert_int_equal(s.last->n, 0);
	grpc_server_resume(&s.last->c);
	WAIT_FOR(loop, s.last->n == 3);
	grpc_cancel(&k.c);
	WAIT_FOR(loop, k.n_done == 1 && s.n_canceled == 1);
	caller_fini(&k);
	service_close(&s);
}

static void deadlines_and_cancel(void **state)
{
	struct service s;
	struct caller k;
	unsigned before;

	service_open(&s, false);
	/* On a busy machine the time may be over before the server has heard of the call. */
	while (s.n_calls == 0) {
		caller_init(&k, "/t.S/Hold");
		k.c.timeout_ms = 100;
		unary(&s, &k, STR("x"));
		assert_int_equal(k.c.code, GRPC_DEADLINE_EXCEEDED);
		caller_fini(&k);
	}
	WAIT_FOR(loop, s.n_canceled == s.n_calls);
	assert_in_range(s.timeout_ms, 1, 101);
	before = s.n_calls;
	caller_init(&k, "/t.S/Hold");
	grpc_unary(s.channel, &k.c, STR("x"));
	WAIT_FOR(loop, s.n_calls > before);
	grpc_cancel(&k.c);
	assert_int_equal(k.n_done, 0);
	WAIT_FOR(loop, k.n_done == 1 && s.n_canceled == s.n_calls);
	assert_int_equal(k.c.code, GRPC_CANCELLED);
	caller_fini(&k);
	service_close(&s);
}

static void too_large(void **state)
{
	struct buf big = BUF_INIT;
	struct service s;
	struct caller k;

	buf_reserve(&big, 3 << 20);
	memset(big.p, 'x', 3 << 20);
	buf_advance(&big, 3 << 20);
	service_open(&s, false);
	caller_init(&k, "/t.S/Echo");
	unary(&s, &k, buf_str(&big));
	assert_int_equal(k.c.code, GRPC_RESOURCE_EXHAUSTED);
	caller_fini(&k);
	/* The answer is too large for the client: 1 MiB each is the server's limit, so collect. */
	caller_init(&k, "/t.S/Collect");
	grpc_start(s.channel, &k.c);
	for (int i = 0; i < 3; i++)
		grpc_send(&k.c, str_of(big.p, 1 << 20), NULL);
	grpc_close_send(&k.c);
	WAIT_FOR(loop, k.n_done == 1);
	assert_int_equal(k.c.code, GRPC_RESOURCE_EXHAUSTED);
	caller_fini(&k);
	buf_fini(&big);
	service_close(&s);
}

static void server_comes_and_goes(void **state)
{
	struct service s;
	struct caller k, held;

	service_open(&s, false);
	caller_init(&held, "/t.S/Hold");
	grpc_unary(s.channel, &held.c, STR("x"));
	WAIT_FOR(loop, s.n_calls == 1);
	stop_server(&s);
	WAIT_FOR(loop, held.n_done == 1);
	assert_int_equal(held.c.code, GRPC_UNAVAILABLE);
	caller_fini(&held);
	for (int i = 0; i < 2; i++) {
		caller_init(&k, "/t.S/Echo");
		unary(&s, &k, STR("x"));
		assert_int_equal(k.c.code, GRPC_UNAVAILABLE);
		assert_non_null(strstr(k.c.status.p, "cannot connect"));
		caller_fini(&k);
	}
	/* Waiting has a deadline. */
	caller_init(&k, "/t.S/Echo");
	k.c.wait_ready = true;
	k.c.timeout_ms = 150;
	unary(&s, &k, STR("x"));
	assert_int_equal(k.c.code, GRPC_DEADLINE_EXCEEDED);
	caller_fini(&k);
	/* A call that waits goes through once the server is back; so does a stream. */
	caller_init(&k, "/t.S/Echo");
	k.c.wait_ready = true;
	grpc_unary(s.channel, &k.c, STR("again"));
	caller_init(&held, "/t.S/Collect");
	held.c.wait_ready = true;
	grpc_start(s.channel, &held.c);
	grpc_send(&held.c, STR("one"), NULL);
	loop_turn(loop, 10);
	start_server(&s);
	grpc_send(&held.c, STR("two"), NULL);
	grpc_close_send(&held.c);
	WAIT_FOR(loop, k.n_done == 1 && held.n_done == 1);
	assert_int_equal(k.c.code, GRPC_OK);
	assert_true(str_eqc(buf_str(&k.c.message), "again"));
	assert_int_equal(held.c.code, GRPC_OK);
	assert_true(str_eqc(buf_str(&held.got), "onetwo,"));
	caller_fini(&k);
	caller_fini(&held);
	/* Closing the channel ends what runs. */
	caller_init(&held, "/t.S/Hold");
	grpc_unary(s.channel, &held.c, STR("x"));
	WAIT_FOR(loop, s.n_calls == 4);
	{
		unsigned before = n_closed;

		grpc_channel_close(s.channel, on_close, NULL);
		WAIT_FOR(loop, n_closed == before + 1);
	}
	assert_int_equal(held.n_done, 1);
	assert_int_equal(held.c.code, GRPC_CANCELLED);
	caller_fini(&held);
	stop_server(&s);
	assert_int_equal(rmdir(s.dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unary_calls),
		cmocka_unit_test(streams),
		cmocka_unit_test(paused_stream),
		cmocka_unit_test(deadlines_and_cancel),
		cmocka_unit_test(too_large),
		cmocka_unit_test(server_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
