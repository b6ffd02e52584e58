/* The HTTP server and the HTTP client against each other: HTTP/1.1 and HTTP/2, plain and over TLS.
 */
#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"

static struct iotest_pki pki;
static struct loop *loop;

/* The server's side. */

struct site {
	struct http_handler handler;
	struct http_server *server;
	struct http_client *client;
	struct tls_ctx *stls, *ctls;
	struct http_request *held; /* /hold, /watch and /sink leave it here */
	unsigned canceled, ended_writes, n_requests, n_connections;
	size_t sunk;
	bool sink_end, uploads_read;
	int body_status;
	char address[64];
};

static struct site *site_of(struct http_request *r)
{
	return r->user;
}

static void on_held_cancel(struct http_request *r)
{
	struct site *s = site_of(r);

	assert_true(r->canceled);
	s->canceled++;
	s->held = NULL;
	http_respond_abort(r);
}

static void echo_body(struct http_request *r, int status, struct str body)
{
	struct http_header h[] = {
		{STR("Content-Type"), STR("text/plain")}, {STR("X-Bad"), STR("a\r\nInjected: 1")}};
	struct site *s = site_of(r);

	s->body_status = status;
	if (status == -ERR_TOO_LARGE)
		http_respond(r, 413, NULL, 0, STR("too large"));
	else if (status == 0)
		http_respond(r, 200, h, 2, body);
	/* Canceled: on_cancel ends it. */
}

static void sink(struct http_request *r, struct str bytes, bool end)
{
	struct site *s = site_of(r);

	s->sunk += bytes.n;
	s->sink_end |= end;
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct site *s = container_of(h, struct site, handler);

	r->user = s;
	r->on_cancel = on_held_cancel;
	s->n_requests++;
	if (str_eqc(r->path, "/echo")) {
		http_request_body(r, 100 << 20, echo_body);
	} else if (str_eqc(r->path, "/small")) {
		http_request_body(r, 100, echo_body);
	} else if (str_eqc(r->path, "/hold")) {
		s->held = r;
	} else if (str_eqc(r->path, "/watch")) {
		s->held = r;
		http_respond_start(r, 200, NULL, 0);
	} else if (str_eqc(r->path, "/sink")) {
		s->held = r;
		if (s->uploads_read)
			http_request_read_start(r, sink);
	} else if (str_eqc(r->path, "/big")) {
		struct buf b = BUF_INIT;

		for (unsigned i = 0; i < 1000000; i++)
			buf_printf(&b, "%08x", i);
		http_respond_take(r, 200, NULL, 0, &b);
	} else if (str_eqc(r->path, "/who")) {
		http_respond(r, 200, NULL, 0, r->peer ? r->peer->cn : STR("-"));
	} else if (str_eqc(r->path, "/query")) {
		http_respond(r, 200, NULL, 0, r->query);
	} else if (str_eqc(r->path, "/abort")) {
		http_respond_start(r, 200, NULL, 0);
		http_respond_write(r, STR("half"), NULL);
		http_respond_abort(r);
	} else if (str_eqc(r->path, "/trailers")) {
		struct http_header t = {STR("X-Status"), STR("fine")};

		http_respond_start(r, 200, NULL, 0);
		http_respond_write(r, STR("body"), NULL);
		http_respond_end_trailers(r, &t, 1);
	} else if (str_eqc(r->path, "/upgrade")) {
		struct http_header t = {STR("Upgrade"), STR("echo")};
		struct err e;
		struct stream *st = http_upgrade(r, &t, 1, &e);

		if (st == NULL)
			http_respond(r, 400, NULL, 0, str_from(e.text));
		else
			stream_close_flushed(st, 2000);
	} else {
		http_respond(r, 404, NULL, 0, STR("not found"));
	}
}

static unsigned n_closed;

static void on_close(void *arg)
{
	n_closed++;
}

enum mode { H1, H2, H1S, H2S, N_MODES };

static void site_open_with(struct site *s, enum mode m, struct http_server_config c)
{
	struct http_client_config cc = {.proto = m == H1 || m == H1S ? HTTP_PROTO_1
						 : m == H2           ? HTTP_PROTO_2
								     : HTTP_PROTO_AUTO};
	struct err e = ERR_INIT;

	memset(s, 0, sizeof(*s));
	s->handler.on_request = on_request;
	s->uploads_read = true;
	if (m >= H1S) {
		s->stls = iotest_server_tls(&pki, TLS_VERIFY_OPTIONAL, "h2,http/1.1");
		s->ctls = iotest_client_tls(&pki, CLIENT, "h2,http/1.1");
	}
	c.address = "127.0.0.1:0";
	c.tls = s->stls;
	if (http_server_new(loop, &c, &s->handler, &s->server, &e) != 0)
		fail_msg("%s", e.text);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", http_server_port(s->server));
	cc.address = s->address;
	cc.tls = s->ctls;
	assert_int_equal(http_client_new(loop, &cc, &s->client, &e), 0);
}

static void site_open(struct site *s, enum mode m)
{
	site_open_with(s, m, (struct http_server_config){0});
}

static void site_close(struct site *s)
{
	unsigned before = n_closed;

	http_client_close(s->client, on_close, NULL);
	http_server_close(s->server, 0, on_close, NULL);
	WAIT_FOR(loop, n_closed == before + 2);
	tls_ctx_unref(s->stls);
	tls_ctx_unref(s->ctls);
}

/* The client's side. */

struct get {
	struct http_call c;
	unsigned n_done;
	struct err why;
	struct buf streamed;
	unsigned n_headers;
};

static void on_done(struct http_call *c, const struct err *e)
{
	struct get *g = container_of(c, struct get, c);

	g->n_done++;
	g->why = e ? *e : (struct err)ERR_INIT;
}

static void on_headers(struct http_call *c)
{
	container_of(c, struct get, c)->n_headers++;
}

static void on_stream(struct http_call *c, struct str bytes)
{
	buf_adds(&container_of(c, struct get, c)->streamed, bytes);
}

static void get_init(struct get *g, const char *method, const char *path)
{
	memset(g, 0, sizeof(*g));
	g->c.method = method;
	g->c.path = path;
	g->c.on_headers = on_headers;
	g->c.done = on_done;
	buf_init(&g->streamed, BUF_NO_LIMIT);
}

static void get_fini(struct get *g)
{
	http_call_fini(&g->c);
	buf_fini(&g->streamed);
}

static void run(struct site *s, struct get *g)
{
	http_call_start(s->client, &g->c);
	assert_int_equal(g->n_done, 0);
	WAIT_FOR(loop, g->n_done == 1);
}

static void ok(struct get *g, int status)
{
	if (g->why.code != 0)
		fail_msg("%s", g->why.text);
	assert_int_equal(g->c.status, status);
}

#define EACH_MODE(m) for (enum mode m = H1; m < N_MODES; m++)

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

		site_open(&s, m);
		get_init(&g, "GET", "/hold");
		g.c.timeout_ms = 100;
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_TIMEOUT);
		WAIT_FOR(loop, s.canceled == 1);
		get_fini(&g);
		get_init(&g, "GET", "/watch");
		g.c.header_timeout_ms = 200;
		g.c.timeout_ms = 400;
		run(&s, &g);
		assert_int_equal(g.why.code, ERR_TIMEOUT);
		assert_int_equal(g.n_headers, 1);
		WAIT_FOR(loop, s.canceled == 2);
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

/* Raw bytes to the server, and what it answers until it closes. */

struct raw {
	struct stream_user user;
	struct stream_connect connect;
	struct stream *s;
	struct buf got;
	bool ended;
};

static void raw_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	buf_adds(&container_of(u, struct raw, user)->got, bytes);
}

static void raw_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	container_of(u, struct raw, user)->ended = true;
}

static void raw_connected(struct stream_connect *c, struct stream *s, const struct err *e)
{
	assert_null(e);
	container_of(c, struct raw, connect)->s = s;
}

static void raw_open(struct raw *r, struct site *s)
{
	memset(r, 0, sizeof(*r));
	buf_init(&r->got, BUF_NO_LIMIT);
	r->user = (struct stream_user){raw_data, raw_end, NULL};
	r->connect =
		(struct stream_connect){.loop = loop, .address = s->address, .done = raw_connected};
	stream_connect(&r->connect);
	WAIT_FOR(loop, r->s != NULL);
	stream_start(r->s, &r->user);
}

static void raw_close(struct raw *r)
{
	stream_close(r->s, NULL, NULL);
	buf_fini(&r->got);
}

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

static int setup(void **state)
{
	iotest_pki_init(&pki);
	loop = loop_new("test");
	return 0;
}

static int teardown(void **state)
{
	iotest_pki_fini(&pki);
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple),
		cmocka_unit_test(large_bodies),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(watch),
		cmocka_unit_test(cancel),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(trailers),
		cmocka_unit_test(back_pressure),
		cmocka_unit_test(early_answer),
		cmocka_unit_test(stale_connections),
		cmocka_unit_test(graceful_close),
		cmocka_unit_test(upgrade),
		cmocka_unit_test(refused_messages),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(expect_continue),
		cmocka_unit_test(header_limits),
		cmocka_unit_test(slow_loris),
		cmocka_unit_test(rapid_reset),
		cmocka_unit_test(stuck_reader),
		cmocka_unit_test(ping_notices_silence),
		cmocka_unit_test(call_at_the_end),
		cmocka_unit_test(windows_do_not_leak),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
