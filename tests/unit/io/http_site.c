
#include "tests/unit/io/http_site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"
#include "tests/unit/io/iotest.h"

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

void sink(struct http_request *r, struct str bytes, bool end)
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

unsigned n_closed;

void on_close(void *arg)
{
	n_closed++;
}

void site_open_with(struct site *s, enum mode m, struct http_server_config c)
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

void site_open(struct site *s, enum mode m)
{
	site_open_with(s, m, (struct http_server_config){0});
}

void site_close(struct site *s)
{
	unsigned before = n_closed;

	http_client_close(s->client, on_close, NULL);
	http_server_close(s->server, 0, on_close, NULL);
	WAIT_FOR(loop, n_closed == before + 2);
	tls_ctx_unref(s->stls);
	tls_ctx_unref(s->ctls);
}

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

void on_stream(struct http_call *c, struct str bytes)
{
	buf_adds(&container_of(c, struct get, c)->streamed, bytes);
}

void get_init(struct get *g, const char *method, const char *path)
{
	memset(g, 0, sizeof(*g));
	g->c.method = method;
	g->c.path = path;
	g->c.on_headers = on_headers;
	g->c.done = on_done;
	buf_init(&g->streamed, BUF_NO_LIMIT);
}

void get_fini(struct get *g)
{
	http_call_fini(&g->c);
	buf_fini(&g->streamed);
}

void run(struct site *s, struct get *g)
{
	http_call_start(s->client, &g->c);
	assert_int_equal(g->n_done, 0);
	WAIT_FOR(loop, g->n_done == 1);
}

void ok(struct get *g, int status)
{
	if (g->why.code != 0)
		fail_msg("%s", g->why.text);
	assert_int_equal(g->c.status, status);
}

void raw_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	buf_adds(&container_of(u, struct raw, user)->got, bytes);
}

void raw_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	container_of(u, struct raw, user)->ended = true;
}

static void raw_connected(struct stream_connect *c, struct stream *s, const struct err *e)
{
	assert_null(e);
	container_of(c, struct raw, connect)->s = s;
}

void raw_open(struct raw *r, struct site *s)
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

void raw_close(struct raw *r)
{
	stream_close(r->s, NULL, NULL);
	buf_fini(&r->got);
}
