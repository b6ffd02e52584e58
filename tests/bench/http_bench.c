/*
 * What a request and an idle connection cost the HTTP server, for HTTP/1.1 and HTTP/2, plain and
 * over TLS:
 *
 *	http_bench [REQUESTS [CONNECTIONS]]		default 30000 and 1000
 *
 * The server runs in this process, the clients in a child. Processor time is the server's own;
 * requests are GETs answered with 1000 bytes, 32 under way at a time. Memory is the growth of the
 * resident set after each of the connections has made one request.
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/tls.h"
#include "io/x509.h"

#define PARALLEL 32

static struct loop *loop;
static char body[1000];

/* The child. */

static unsigned n_done, n_wanted;
static struct http_client *client;

static void on_done(struct http_call *c, const struct err *e)
{
	if (e != NULL) {
		fprintf(stderr, "http_bench: %s\n", e->text);
		exit(1);
	}
	http_call_fini(c);
	n_done++;
	if (client != NULL && n_done + PARALLEL <= n_wanted)
		http_call_start(client, c);
}

static void call(struct http_client *k)
{
	struct http_call *c = xcalloc(1, sizeof(*c));

	c->method = "GET";
	c->path = "/api/v1/namespaces/default/pods/one";
	c->done = on_done;
	http_call_start(k, c);
}

static void wait_for(unsigned n)
{
	while (n_done < n)
		loop_turn(loop, 100);
}

static struct http_client *new_client(const char *address, bool tls, enum http_proto proto)
{
	static struct tls_ctx *ctx;
	struct tls_config tc = {.verify = TLS_VERIFY_NONE, .alpn = "h2,http/1.1"};
	struct http_client_config cc = {.address = address,
		.proto = proto,
		.max_connections = PARALLEL,
		.idle_timeout_ms = 600000};
	struct http_client *k;

	if (tls && ctx == NULL)
		ASSERT(tls_ctx_new(&tc, &ctx, NULL) == 0);
	cc.tls = tls ? ctx : NULL;
	ASSERT(http_client_new(loop, &cc, &k, NULL) == 0);
	return k;
}

/* Says on `out` when the requests are answered, then opens the connections and says so again. */
static void client_main(
	const char *address, bool tls, enum http_proto proto, unsigned n_conns, int out)
{
	loop = loop_new("client");
	client = new_client(address, tls, proto);
	for (unsigned i = 0; i < PARALLEL; i++)
		call(client);
	wait_for(n_wanted);
	http_client_close(client, NULL, NULL);
	client = NULL;
	while (loop_turn(loop, 50), write(out, "r", 1) != 1)
		;
	for (unsigned i = 0; i < n_conns; i++) {
		call(new_client(address, tls, proto));
		wait_for(n_wanted + i + 1);
	}
	ASSERT(write(out, "c", 1) == 1);
	for (;;)
		loop_turn(loop, 1000);
}

/* The server. */

static void on_request(struct http_handler *h, struct http_request *r)
{
	static const struct http_header headers[] = {
		{STR_INIT("content-type"), STR_INIT("application/json")},
		{STR_INIT("cache-control"), STR_INIT("no-cache, private")}};

	http_respond(r, 200, headers, 2, str_of(body, sizeof(body)));
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return 1e6 * (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double rss_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	malloc_trim(0);
	ASSERT(f != NULL && fscanf(f, "%ld %ld", &size, &resident) == 2);
	fclose(f);
	return (double)(resident * sysconf(_SC_PAGESIZE)) / 1024;
}

static void serve_until(int in)
{
	char c;

	while (read(in, &c, 1) != 1)
		loop_turn(loop, 10);
}

static struct tls_ctx *server_tls(void)
{
	struct buf cert = BUF_INIT, key = BUF_INIT;
	struct tls_config c = {.server = true, .alpn = "h2,http/1.1"};
	struct x509_key *k;
	struct x509_cert *x;
	struct tls_ctx *t;

	ASSERT(x509_key_new(&k, NULL) == 0 && x509_ca_new("bench", 1, k, &x, NULL) == 0);
	ASSERT(x509_cert_to_pem(x, &cert, NULL) == 0 && x509_key_to_pem(k, &key, NULL) == 0);
	c.cert_pem = buf_str(&cert);
	c.key_pem = buf_str(&key);
	ASSERT(tls_ctx_new(&c, &t, NULL) == 0);
	buf_fini(&cert);
	buf_fini(&key);
	x509_key_free(k);
	x509_cert_free(x);
	return t;
}

static void one(struct tls_ctx *tls, enum http_proto proto, unsigned n_conns)
{
	struct http_server_config sc = {
		.address = "127.0.0.1:0", .tls = tls, .idle_timeout_ms = 600000};
	struct http_handler h = {on_request};
	struct http_server *s;
	struct err e = ERR_INIT;
	double cpu, per_request, rss;
	char address[32];
	uint64_t began;
	int fds[2];
	pid_t pid;

	loop = loop_new("server");
	if (http_server_new(loop, &sc, &h, &s, &e) != 0) {
		fprintf(stderr, "http_bench: %s\n", e.text);
		exit(1);
	}
	snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(s));
	ASSERT(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
	pid = fork();
	if (pid == 0)
		client_main(address, tls != NULL, proto, n_conns, fds[1]);
	cpu = cpu_us();
	began = clock_mono_ns();
	serve_until(fds[0]);
	per_request = (cpu_us() - cpu) / n_wanted;
	printf("%-9s%-5s %8.0f requests/s   %5.1f us of the server's processor a request",
		proto == HTTP_PROTO_1 ? "HTTP/1.1" : "HTTP/2", tls ? "TLS" : "plain",
		n_wanted * 1e9 / (double)(clock_mono_ns() - began), per_request);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 10);
	rss = rss_kib();
	serve_until(fds[0]);
	printf("   %5.1f KiB an idle connection\n", (rss_kib() - rss) / n_conns);
	fflush(stdout);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
	http_server_close(s, 0, NULL, NULL);
	loop_free(loop);
}

int main(int argc, char **argv)
{
	struct rlimit files = {65536, 65536};
	unsigned n_conns = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	struct tls_ctx *tls = server_tls();

	n_wanted = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 30000;
	if (n_wanted < PARALLEL || n_conns == 0) {
		fprintf(stderr, "http_bench: at least %d requests and a connection\n", PARALLEL);
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	memset(body, 'x', sizeof(body));
	one(NULL, HTTP_PROTO_1, n_conns);
	one(NULL, HTTP_PROTO_2, n_conns);
	one(tls, HTTP_PROTO_1, n_conns);
	one(tls, HTTP_PROTO_2, n_conns);
	tls_ctx_unref(tls);
	return 0;
}
