/*
 * The HTTP server and client under random behaviour: handlers that answer, wait, stream, abort,
 * read half of a body; clients that cancel, pause, upload in pieces, drop connections. Whatever
 * happens, every call and every write is done exactly once, every request is ended, and nothing
 * leaks (ASan). CHAOS_SEED=N begins elsewhere, CHAOS_MS=N goes on for longer.
 */
#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"

static uint64_t rng;
static char filler[200000];

static unsigned pick(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)(rng >> 20) % n;
}

static unsigned n_writes, n_written, n_requests, n_ended;

struct noted {
	struct http_write w;
	unsigned n;
};

static void on_noted(struct http_write *w, int status)
{
	struct noted *x = container_of(w, struct noted, w);

	assert_int_equal(x->n++, 0);
	n_written++;
	free(x);
}

static struct http_write *maybe_noted(void)
{
	struct noted *x;

	if (pick(2))
		return NULL;
	x = xcalloc(1, sizeof(*x));
	x->w.done = on_noted;
	n_writes++;
	return &x->w;
}

static struct str piece(void)
{
	return str_of(filler, pick(4) ? pick(2000) : pick(sizeof(filler)));
}

/* The server: each request acts at random moments until it has ended. */

struct served {
	struct http_request *r;
	struct loop_timer timer;
	bool started, reading;
};

static void act(struct loop_timer *);

static void end_request(struct served *v)
{
	loop_timer_stop(&v->timer);
	n_ended++;
}

static void on_cancel(struct http_request *r)
{
	struct served *v = r->user;

	end_request(v);
	if (pick(2) || v->started)
		http_respond_abort(r);
	else
		http_respond(r, 200, NULL, 0, STR("too late"));
}

static void on_body(struct http_request *r, int status, struct str body)
{
	struct served *v = r->user;

	if (status == -ERR_CANCELED)
		return;
	if (v->started)
		return;
	end_request(v);
	http_respond(r, status == 0 ? 200 : 413, NULL, 0, pick(2) ? body : piece());
}

static void on_piece(struct http_request *r, struct str bytes, bool end)
{
	struct served *v = r->user;

	if (pick(10) == 0) {
		http_request_read_stop(r);
		v->reading = false;
	} else if (pick(30) == 0) {
		end_request(v);
		http_respond_abort(r);
	}
}

static void act(struct loop_timer *t)
{
	struct served *v = container_of(t, struct served, timer);
	struct http_request *r = v->r;
	struct buf b = BUF_INIT;

	switch (pick(8)) {
	case 0:
		if (v->started)
			break;
		end_request(v);
		http_respond(r, 200, NULL, 0, piece());
		return;
	case 1:
		if (v->started)
			break;
		end_request(v);
		buf_adds(&b, piece());
		http_respond_take(r, 200, NULL, 0, &b);
		return;
	case 2:
		if (v->started) {
			end_request(v);
			http_respond_end(r);
			return;
		}
		v->started = true;
		http_respond_start(r, 200, NULL, 0);
		break;
	case 3:
		if (pick(4) == 0) {
			end_request(v);
			http_respond_abort(r);
			return;
		}
		break;
	case 4:
		if (!v->reading) {
			v->reading = true;
			http_request_read_start(r, on_piece);
		}
		break;
	default:
		if (v->started && http_request_queued_bytes(r) < 1000000)
			http_respond_write(r, piece(), maybe_noted());
	}
	loop_timer_start(&v->timer, loop, pick(3), act);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct served *v = arena_new_of(&r->arena, struct served);

	n_requests++;
	v->r = r;
	r->user = v;
	r->on_cancel = on_cancel;
	if (pick(6) == 0) {
		n_ended++;
		http_respond(r, 404, NULL, 0, piece());
	} else if (pick(4) == 0) {
		http_request_body(r, pick(2) ? 1000 : 0, on_body);
	} else {
		loop_timer_start(&v->timer, loop, pick(3), act);
	}
}

/* The clients. */

struct caller {
	struct http_call c;
	struct http_client *client;
	struct loop_timer timer;
	unsigned n_done, n_started;
	bool ended;
};

#define N_CALLERS 40
static struct caller callers[N_CALLERS];
static bool stopping;

static void on_data(struct http_call *c, struct str bytes)
{
	if (pick(20) == 0)
		http_call_pause(c);
	if (pick(60) == 0)
		http_call_cancel(c);
}

static void begin(struct caller *k);

static void on_done(struct http_call *c, const struct err *e)
{
	struct caller *k = container_of(c, struct caller, c);

	k->n_done++;
	assert_int_equal(k->n_done, k->n_started);
	loop_timer_stop(&k->timer);
	http_call_fini(c);
	if (!stopping)
		begin(k);
}

static void drive(struct loop_timer *t)
{
	struct caller *k = container_of(t, struct caller, timer);

	switch (pick(10)) {
	case 0:
		http_call_cancel(&k->c);
		break;
	case 1:
		http_call_pause(&k->c);
		break;
	case 2:
	case 3:
	case 4:
		http_call_resume(&k->c);
		break;
	default:
		if (!k->c.stream_body || k->ended)
			break;
		if (pick(5) == 0) {
			k->ended = true;
			http_call_end(&k->c);
		} else if (http_call_queued_bytes(&k->c) < 1000000) {
			http_call_write(&k->c, piece(), maybe_noted());
		}
	}
	loop_timer_start(&k->timer, loop, pick(4), drive);
}

static void begin(struct caller *k)
{
	static const char *const methods[] = {"GET", "POST", "HEAD", "PUT"};

	memset(&k->c, 0, sizeof(k->c));
	k->ended = false;
	k->c.method = methods[pick(4)];
	k->c.path = "/x";
	k->c.done = on_done;
	k->c.on_data = pick(2) ? on_data : NULL;
	k->c.timeout_ms = pick(2) ? 1 + pick(300) : 1000;
	if (strcmp(k->c.method, "POST") == 0)
		k->c.body = piece();
	else if (strcmp(k->c.method, "PUT") == 0)
		k->c.stream_body = true;
	k->n_started++;
	http_call_start(k->client, &k->c);
	loop_timer_start(&k->timer, loop, pick(4), drive);
}

static unsigned n_closed;

static void on_close(void *arg)
{
	n_closed++;
}

static void round_of(bool tls, enum http_proto proto, uint64_t ms)
{
	struct tls_ctx *stls = tls ? iotest_server_tls(&pki, TLS_VERIFY_NONE, "h2,http/1.1") : NULL;
	struct tls_ctx *ctls = tls ? iotest_client_tls(&pki, NOBODY, "h2,http/1.1") : NULL;
	struct http_server_config sc = {.address = "127.0.0.1:0",
		.tls = stls,
		.idle_timeout_ms = 50,
		.body_timeout_ms = 60,
		.write_timeout_ms = 60};
	struct http_handler h = {on_request};
	struct http_client_config cc = {.tls = ctls, .proto = proto, .max_connections = 10};
	struct http_client *clients[2];
	struct http_server *s;
	char address[64];
	uint64_t until = clock_mono_ms() + ms;
	unsigned before = n_requests;

	assert_int_equal(http_server_new(loop, &sc, &h, &s, NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(s));
	cc.address = address;
	for (int i = 0; i < 2; i++)
		assert_int_equal(http_client_new(loop, &cc, &clients[i], NULL), 0);
	stopping = false;
	memset(callers, 0, sizeof(callers));
	for (int i = 0; i < N_CALLERS; i++) {
		callers[i].client = clients[i % 2];
		begin(&callers[i]);
	}
	/* On a busy machine it takes longer until there were enough. */
	while (clock_mono_ms() < until || n_requests < before + 50) {
		loop_turn(loop, 5);
		if (pick(200) == 0)
			http_client_drop_connections(clients[pick(2)]);
	}
	stopping = true;
	n_closed = 0;
	/* Both orders of going away. */
	if (pick(2)) {
		http_client_close(clients[0], on_close, NULL);
		http_server_close(s, pick(2) ? 0 : 100, on_close, NULL);
		http_client_close(clients[1], on_close, NULL);
	} else {
		http_server_close(s, pick(2) ? 0 : 100, on_close, NULL);
		for (int i = 0; i < 20; i++)
			loop_turn(loop, 5);
		http_client_close(clients[0], on_close, NULL);
		http_client_close(clients[1], on_close, NULL);
	}
	WAIT_FOR(loop, n_closed == 3 && n_written == n_writes);
	for (int i = 0; i < N_CALLERS; i++) {
		assert_int_equal(callers[i].n_done, callers[i].n_started);
		assert_false(http_call_running(&callers[i].c));
	}
	assert_int_equal(n_requests, n_ended);
	tls_ctx_unref(stls);
	tls_ctx_unref(ctls);
}

static void chaos(void **state)
{
	uint64_t ms = getenv("CHAOS_MS") ? strtoull(getenv("CHAOS_MS"), NULL, 10) : 400;

	for (int tls = 0; tls < 2; tls++) {
		round_of(tls, HTTP_PROTO_1, ms);
		round_of(tls, HTTP_PROTO_2, ms);
	}
}

static int setup(void **state)
{
	rng = getenv("CHAOS_SEED") ? strtoull(getenv("CHAOS_SEED"), NULL, 10) : 1;
	memset(filler, 'x', sizeof(filler));
	return iotest_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chaos),
	};

	return cmocka_run_group_tests(tests, setup, iotest_teardown);
}
