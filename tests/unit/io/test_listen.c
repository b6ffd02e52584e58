/* Where servers listen and clients connect: shared ports on several threads, given sockets, network
 * namespaces. */
#include "tests/unit/io/iotest.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/http_client.h"
#include "io/http_server.h"
#include "io/stream.h"

static unsigned n_closed;

static void on_close(void *arg)
{
	n_closed++;
}

/* A server on a thread of its own. */
struct worker {
	struct http_handler handler;
	struct http_server_config config;
	struct http_server *server;
	struct loop *loop;
	struct loop_msg msg;
	struct err e;
	unsigned served;
};

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct worker *w = container_of(h, struct worker, handler);

	w->served++;
	http_respond(r, 200, NULL, 0, str_from(loop_name(loop_current())));
}

static void worker_open(struct worker *w, const char *name)
{
	w->handler.on_request = on_request;
	w->loop = loop_new(name);
	if (http_server_new(w->loop, &w->config, &w->handler, &w->server, &w->e) != 0)
		fail_msg("%s", w->e.text);
	loop_thread_start(w->loop);
}

static void worker_closed(void *arg)
{
	struct worker *w = arg;

	loop_stop(w->loop);
}

static void worker_stop(struct loop_msg *m)
{
	struct worker *w = container_of(m, struct worker, msg);

	http_server_close(w->server, 1000, worker_closed, w);
}

static void worker_close(struct worker *w)
{
	w->msg.run = worker_stop;
	loop_post(w->loop, &w->msg);
	loop_thread_join(w->loop);
	loop_free(w->loop);
}

struct get {
	struct http_call c;
	bool done;
	struct err e;
};

static void on_done(struct http_call *c, const struct err *e)
{
	struct get *g = container_of(c, struct get, c);

	g->done = true;
	g->e = e ? *e : (struct err)ERR_INIT;
}

static void get(struct http_client_config *cc, struct err *e)
{
	struct get g = {.c = {.method = "GET", .path = "/", .done = on_done, .timeout_ms = 5000}};
	struct http_client *k;

	n_closed = 0;
	assert_int_equal(http_client_new(loop, cc, &k, NULL), 0);
	http_call_start(k, &g.c);
	WAIT_FOR(loop, g.done);
	*e = g.e;
	http_call_fini(&g.c);
	http_client_close(k, on_close, NULL);
	WAIT_FOR(loop, n_closed == 1);
}

/* Several loops share a port and a TLS context. */
static void shared_port(void **state)
{
	struct tls_ctx *stls = iotest_server_tls(&pki, TLS_VERIFY_OPTIONAL, "h2,http/1.1");
	struct tls_ctx *ctls = iotest_client_tls(&pki, CLIENT, "h2,http/1.1");
	struct worker w[3] = {0};
	char address[64] = "127.0.0.1:0";
	struct http_client_config cc = {.address = address, .tls = ctls};
	unsigned busy = 0, served = 0;
	struct err e;

	for (unsigned i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "serve/%u", i);
		w[i].config = (struct http_server_config){
			.address = address, .reuseport = true, .tls = stls};
		worker_open(&w[i], name);
		snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(w[0].server));
	}
	for (int i = 0; i < 40; i++) {
		get(&cc, &e);
		if (e.code != 0)
			fail_msg("%s", e.text);
	}
	for (unsigned i = 0; i < 3; i++) {
		worker_close(&w[i]);
		busy += w[i].served > 0;
		served += w[i].served;
	}
	assert_int_equal(served, 40);
	assert_true(busy > 1);
	tls_ctx_unref(stls);
	tls_ctx_unref(ctls);
}

static void given_socket(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char address[64];
	struct http_client_config cc = {.address = address};
	struct worker w = {0};
	struct err e;

	w.config.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(w.config.fd, (struct sockaddr *)&in, sizeof(in)), 0);
	worker_open(&w, "given");
	snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(w.server));
	get(&cc, &e);
	assert_int_equal(e.code, 0);
	worker_close(&w);
}

/* A network namespace with its loopback up, made on a thread so that ours stays where it is. */
static void *make_netns(void *arg)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int *ret = arg, s;

	*ret = -1;
	if (unshare(CLONE_NEWNET) != 0)
		return NULL;
	s = socket(AF_INET, SOCK_DGRAM, 0);
	if (s >= 0 && ioctl(s, SIOCSIFFLAGS, &ifr) == 0)
		*ret = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (s >= 0)
		close(s);
	return NULL;
}

static void network_namespaces(void **state)
{
	struct worker w = {0};
	char address[64];
	struct http_client_config cc = {.address = address};
	struct err e;
	pthread_t t;
	int fd;

	assert_int_equal(pthread_create(&t, NULL, make_netns, &fd), 0);
	pthread_join(t, NULL);
	if (fd < 0)
		skip();
	w.config = (struct http_server_config){.address = "127.0.0.1:0", .netns_fd = fd};
	worker_open(&w, "netns");
	snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(w.server));
	/* Not here ... */
	get(&cc, &e);
	assert_int_equal(e.code, ERR_UNAVAILABLE);
	/* ... but there. */
	cc.netns_fd = fd;
	get(&cc, &e);
	assert_int_equal(e.code, 0);
	worker_close(&w);
	assert_int_equal(w.served, 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_port),
		cmocka_unit_test(given_socket),
		cmocka_unit_test(network_namespaces),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
