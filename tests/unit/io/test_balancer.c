/* The balancer and the splice: connections go to healthy backends, and leave those that fall silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/balancer.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/loop.h"

#define WAIT_MS 20000

struct backend {
	struct http_handler handler;
	struct http_server *server;
	char address[32];
	unsigned n_asked; /* apart from health checks */
	bool silent;      /* answers nothing, as a stopped process */
	bool sick;        /* answers its health check with 500 */
	struct http_request *later; /* is answered when the second check comes: the first one was lost then */
	unsigned n_checks;          /* since it came */
};

static struct loop *loop;
static struct backend backends[2];

static void on_cancel(struct http_request *r)
{
	http_respond_abort(r);
}

static void on_cancel_later(struct http_request *r)
{
	for (size_t i = 0; i < ARRAY_LEN(backends); i++)
		if (backends[i].later == r)
			backends[i].later = NULL;
	http_respond_abort(r);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct backend *b = container_of(h, struct backend, handler);
	static char big[300000];

	if (b->later && ++b->n_checks == 2) {
		http_respond(b->later, 200, NULL, 0, STR("late"));
		b->later = NULL;
		b->silent = false;
	}
	if (str_eqc(r->path, "/later")) {
		b->later = r;
		b->silent = true;
		r->on_cancel = on_cancel_later;
		return;
	}
	if (b->silent) {
		r->on_cancel = on_cancel;
		return;
	}
	if (str_eqc(r->path, "/readyz")) {
		http_respond(r, b->sick ? 500 : 200, NULL, 0, STR("ok"));
		return;
	}
	b->n_asked++;
	memset(big, 'x', sizeof(big));
	if (str_eqc(r->path, "/big"))
		http_respond(r, 200, NULL, 0, str_of(big, sizeof(big)));
	else
		http_respond(r, 200, NULL, 0, str_from(b == &backends[0] ? "first" : "second"));
}

static void set_flag(void *arg)
{
	*(int *)arg = 1;
}

static void until(const int *flag)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (!*flag && clock_mono_ms() < end)
		loop_turn(loop, 20);
	assert_true(*flag);
}

static void start_backend(struct backend *b)
{
	struct http_server_config c = {.address = "127.0.0.1:0"};
	struct err e = ERR_INIT;

	*b = (struct backend){.handler = {on_request}};
	if (http_server_new(loop, &c, &b->handler, &b->server, &e) < 0)
		fail_msg("%s", e.text);
	snprintf(b->address, sizeof(b->address), "127.0.0.1:%u", http_server_port(b->server));
}

static void stop_backend(struct backend *b)
{
	int done = 0;

	if (b->server == NULL)
		return;
	http_server_close(b->server, 0, set_flag, &done);
	b->server = NULL;
	until(&done);
}

struct ask {
	struct http_call call;
	int done;
	int status;
	size_t size;
	char text[16];
};

static void on_answer(struct http_call *c, const struct err *e)
{
	struct ask *a = container_of(c, struct ask, call);

	a->status = e ? -(int)e->code : c->status;
	a->size = c->body_in.n;
	snprintf(a->text, sizeof(a->text), "%.*s", (int)MIN(c->body_in.n, sizeof(a->text) - 1), c->body_in.p ? c->body_in.p : "");
	a->done = 1;
}

/* One request over a connection of its own. */
static struct ask ask(struct balancer *b, const char *path)
{
	char address[32];
	struct http_client_config cc = {.address = address};
	struct http_client *client;
	struct ask a = {.call = {.method = "GET", .path = path, .done = on_answer, .timeout_ms = 15000}};
	struct err e = ERR_INIT;
	int closed = 0;

	snprintf(address, sizeof(address), "127.0.0.1:%u", balancer_port(b));
	assert_int_equal(http_client_new(loop, &cc, &client, &e), 0);
	http_call_start(client, &a.call);
	until(&a.done);
	http_call_fini(&a.call);
	http_client_close(client, set_flag, &closed);
	until(&closed);
	return a;
}

static void wait_healthy(struct balancer *b, size_t n)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (balancer_n_healthy(b) != n && clock_mono_ms() < end)
		loop_turn(loop, 20);
	assert_int_equal(balancer_n_healthy(b), n);
}

/* A short time-out only where silence is the point: a busy machine is not a sick backend. */
static struct balancer *start_balancer(uint64_t timeout_ms)
{
	const char *addresses[] = {backends[0].address, backends[1].address};
	struct balancer_config c = {.listen = "127.0.0.1:0", .backends = addresses, .n_backends = 2, .interval_ms = 20, .timeout_ms = timeout_ms};
	struct balancer *b = NULL;
	struct err e = ERR_INIT;

	if (balancer_start(loop, &c, &b, &e) < 0)
		fail_msg("%s", e.text);
	return b;
}

static void stop_balancer(struct balancer *b)
{
	int closed = 0;

	balancer_close(b, set_flag, &closed);
	until(&closed);
}

static int setup(void **state)
{
	loop = loop_new("test");
	start_backend(&backends[0]);
	start_backend(&backends[1]);
	return 0;
}

static int teardown(void **state)
{
	stop_backend(&backends[0]);
	stop_backend(&backends[1]);
	loop_free(loop);
	return 0;
}

static void test_answers(void **state)
{
	struct balancer *b = start_balancer(5000);
	struct ask a;

	wait_healthy(b, 2);
	a = ask(b, "/");
	assert_int_equal(a.status, 200);
	a = ask(b, "/big");
	assert_int_equal(a.status, 200);
	assert_int_equal(a.size, 300000);
	stop_balancer(b);
}

static void test_sick_backend_is_avoided(void **state)
{
	struct balancer *b = start_balancer(5000);

	wait_healthy(b, 2);
	backends[0].sick = true;
	wait_healthy(b, 1);
	for (int i = 0; i < 4; i++)
		assert_string_equal(ask(b, "/").text, "second");
	backends[0].sick = false;
	backends[1].sick = true;
	/* One comes, the other goes: both changes must have been seen before counting means anything. */
	wait_healthy(b, 1);
	for (uint64_t end = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end;)
		if (strcmp(ask(b, "/").text, "first") == 0 && balancer_n_healthy(b) == 1)
			break;
	assert_string_equal(ask(b, "/").text, "first");
	stop_balancer(b);
}

/* A request hangs on a backend that fell silent: the balancer cuts it, so that its client can go elsewhere. */
static void test_silent_backend_loses_connections(void **state)
{
	struct balancer *b = start_balancer(500);
	struct ask a;

	wait_healthy(b, 2);
	backends[0].silent = backends[1].silent = true;
	a = ask(b, "/");
	assert_true(a.status < 0 && a.status != -(int)ERR_TIMEOUT);
	stop_balancer(b);
}

/* One that is only slow for a while, and alone: who waits for it goes on waiting, for there is nowhere else to go. */
static void test_a_lone_backend_may_be_slow(void **state)
{
	struct balancer *b = start_balancer(500);

	wait_healthy(b, 2);
	backends[1].sick = true;
	wait_healthy(b, 1);
	assert_string_equal(ask(b, "/later").text, "late");
	stop_balancer(b);
}

static void test_refusing_backend_is_passed_over(void **state)
{
	struct balancer *b = start_balancer(5000);

	wait_healthy(b, 2);
	stop_backend(&backends[0]);
	for (int i = 0; i < 4; i++)
		assert_string_equal(ask(b, "/").text, "second");
	stop_balancer(b);
}

static void test_backends_change(void **state)
{
	struct balancer *b = start_balancer(5000);
	const char *second[] = {backends[1].address};

	wait_healthy(b, 2);
	balancer_set_backends(b, second, 1);
	assert_string_equal(ask(b, "/").text, "second");
	wait_healthy(b, 1);
	stop_balancer(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sick_backend_is_avoided, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_backend_loses_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_lone_backend_may_be_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusing_backend_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backends_change, setup, teardown),
	};
	return cmocka_run_group_tests_name("balancer", tests, NULL, NULL);
}
