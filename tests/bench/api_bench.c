/*
 * Measure the API server as a client over TLS sees it, against a server of one member that this program starts:
 *
 *	api_bench [--server tests/lib/apiserver_run] [--connections 32] [--pods 5000] [--watchers 1000] [--requests 5000] [--sync]
 *	          [--as NAME] [--seats N] [--only create,get,...]
 *
 *	create     ConfigMaps of 1 KiB as JSON, one request at a time a connection
 *	get        one of them, as JSON
 *	update     each of them, as JSON
 *	apply      each of them, by server-side apply
 *	lease      renewals of leases, one a connection, as nodes send them
 *	pods       pods are created
 *	list       all of them, as JSON, as protobuf and as a table
 *	watch      so many watchers of ConfigMaps; how long one change takes to all of them
 *	clients    gets and updates by 256 clients, each with a connection of its own
 *	memory     of the server: idle, and after all that
 *
 * --only leaves out what it does not name; get, update, apply, watch and clients want the ConfigMaps of create, and list wants those pods. update,
 * apply and lease run only when they are named. tests/bench/api_profile tells where the instructions of one request go.
 *
 * With --as the requests are another user's (an administrator acts as him), who, unlike the administrator, needs seats; --seats is how many
 * the server has (flow.h).
 *
 * Client and server share the machine. The server does not sync its log, so that the disk is not what is measured;
 * with --sync it does, and `kv_bench --members 1 --depth 32 --size 1024` beside it tells what the bare store does.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/default/leases"
#define PODS "/api/v1/namespaces/default/pods"
#define PROTOBUF "application/vnd.kubernetes.protobuf"
#define MAX_CONNECTIONS 256

static const char *server = "tests/lib/apiserver_run", *as_user, *seats = "0", *only;
static unsigned n_connections = 32, n_pods = 5000, n_watchers = 1000, n_requests = 5000;
static bool sync_log;
static char dir[] = "/tmp/api-bench-XXXXXX";
static pid_t pid;
static unsigned port;
static struct loop *loop;
static struct tls_ctx *tls;
static struct http_client *clients[MAX_CONNECTIONS];
static unsigned n_open;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "api_bench: %s: %s\n", what, why);
	if (pid > 0)
		kill(pid, SIGTERM);
	exit(1);
}

/* --- The server -------------------------------------------------------------------------------------------------------- */

static void server_start(void)
{
	char line[256];
	int fds[2];
	FILE *f;

	if (!mkdtemp(dir) || pipe(fds) < 0)
		die("start", "no directory or pipe");
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		if (!freopen("/dev/null", "w", stderr))
			_exit(126);
		execl(server, server, dir, "0", sync_log ? "sync" : "nosync", seats, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	f = fdopen(fds[0], "r");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "ready %u", &port) == 1)
			return;
	die(server, "it did not start");
}

static void server_stop(void)
{
	char command[64];

	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		fprintf(stderr, "api_bench: %s is left\n", dir);
}

/* A row of /proc/PID/status, "RssAnon" or "VmRSS". */
static double memory_mb(const char *row)
{
	char path[64], line[256];
	unsigned long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, row, strlen(row)) == 0)
			sscanf(line + strlen(row), ": %lu", &kb);
	if (f)
		fclose(f);
	return (double)kb / 1024;
}

static void print_memory(const char *when)
{
	printf("memory, %-18s %8.1f MB   resident %8.1f MB\n", when, memory_mb("RssAnon"), memory_mb("VmRSS"));
	fflush(stdout);
}

/* Seconds of processor time that the server has used. */
static double server_cpu_s(void)
{
	char path[64], line[1024];
	unsigned long user = 0, sys = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f)) {
		char *p = strrchr(line, ')');

		if (p)
			sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
	}
	if (f)
		fclose(f);
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* --- Requests in a closed loop -------------------------------------------------------------------------------------------- */

struct lane {
	struct http_call call;
	struct http_client *client;
	uint64_t since;
	char path[160];
	char *body;
};

/* Fills in path and body of the i-th request. */
typedef void fill_fn(struct lane *, unsigned i);

static const char *method, *accept_type, *content_type = "application/json";
static bool acting, quiet;
static fill_fn *fill;
static unsigned first_client;
static unsigned n_started, n_done, n_wanted, n_failed;
static uint64_t *times, n_bytes;
static struct lane lanes[MAX_CONNECTIONS];

static void lane_next(struct lane *l);

static void lane_done(struct http_call *c, const struct err *e)
{
	struct lane *l = container_of(c, struct lane, call);

	if (e || c->status >= 300) {
		if (n_failed++ == 0 && !quiet)
			fprintf(stderr, "api_bench: %s %s: %d %s %.*s\n", method, l->path, c->status, e ? e->text : "",
					(int)MIN(c->body_in.n, (size_t)300), c->body_in.p ? c->body_in.p : "");
	}
	n_bytes += c->body_in.n;
	times[n_done++] = clock_mono_ns() - l->since;
	http_call_fini(c);
	lane_next(l);
}

static void lane_next(struct lane *l)
{
	static struct http_header headers[3];

	if (n_started == n_wanted)
		return;
	headers[0] = (struct http_header){STR("accept"), str_from(accept_type)};
	headers[1] = (struct http_header){STR("content-type"), str_from(content_type)};
	memset(&l->call, 0, sizeof(l->call));
	fill(l, n_started++);
	l->call.method = method;
	l->call.path = l->path;
	l->call.body = str_from(l->body);
	l->call.headers = headers;
	l->call.n_headers = 2;
	if (acting)
		headers[l->call.n_headers++] = (struct http_header){STR("impersonate-user"), str_from(as_user)};
	l->call.done = lane_done;
	l->since = clock_mono_ns();
	http_call_start(l->client, &l->call);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, const char *how, const char *accept, fill_fn *f, unsigned n, unsigned parallel)
{
	double cpu = server_cpu_s(), s;
	uint64_t since = clock_mono_ns();

	method = how;
	accept_type = accept;
	fill = f;
	n_started = n_done = n_failed = 0;
	n_bytes = 0;
	n_wanted = n;
	times = xcalloc(n, sizeof(*times));
	for (unsigned i = 0; i < parallel; i++) {
		lanes[i].client = clients[(first_client + i) % n_open];
		lane_next(&lanes[i]);
	}
	while (n_done < n)
		loop_turn(loop, 1000);
	s = (double)(clock_mono_ns() - since) / 1e9;
	cpu = server_cpu_s() - cpu;
	qsort(times, n, sizeof(*times), by_time);
	if (quiet) {
		free(times);
		return;
	}
	printf("%-26s %8.0f /s   median %8.2f ms   p99 %8.2f ms   %7.1f MB/s   server cpu %7.1f us a request", name, n / s,
			(double)times[n / 2] / 1e6, (double)times[n * 99 / 100] / 1e6, (double)n_bytes / 1e6 / s, cpu * 1e6 / n);
	printf(n_failed ? "   %u FAILED\n" : "\n", n_failed);
	fflush(stdout);
	free(times);
}

/* --- What is asked ---------------------------------------------------------------------------------------------------------- */

static void free_body(struct lane *l)
{
	free(l->body);
	l->body = NULL;
}

static void fill_config_map(struct lane *l, unsigned i)
{
	char data[900];

	free_body(l);
	memset(data, 'a', sizeof(data) - 1);
	data[sizeof(data) - 1] = '\0';
	snprintf(l->path, sizeof(l->path), CM);
	l->body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c%u\",\"namespace\":\"default\"},"
			    "\"data\":{\"key\":\"%s\"}}", i, data);
}

static void fill_get(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), CM "/c%u", i % n_requests);
}

static void fill_pod(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), PODS);
	l->body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-7d4b9c6f5-%05u\",\"namespace\":\"default\","
			    "\"labels\":{\"app\":\"web\",\"pod-template-hash\":\"7d4b9c6f5\",\"tier\":\"front\"},\"ownerReferences\":[{"
			    "\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"web-7d4b9c6f5\",\"uid\":\"b3f2\","
			    "\"controller\":true,\"blockOwnerDeletion\":true}]},\"spec\":{\"nodeName\":\"node-%u\",\"containers\":[{"
			    "\"name\":\"web\",\"image\":\"registry.example.com/web:1.2.3\",\"ports\":[{\"containerPort\":8080}],\"env\":[{"
			    "\"name\":\"MODE\",\"value\":\"production\"},{\"name\":\"POD_IP\",\"valueFrom\":{\"fieldRef\":{"
			    "\"fieldPath\":\"status.podIP\"}}}],\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"},"
			    "\"limits\":{\"memory\":\"256Mi\"}},\"readinessProbe\":{\"httpGet\":{\"path\":\"/healthz\",\"port\":8080}}}]}}",
			i, i % 100);
}

static void fill_account(struct lane *l, unsigned i)
{
	(void)i;
	free_body(l);
	snprintf(l->path, sizeof(l->path), "/api/v1/namespaces/default/serviceaccounts");
	l->body = xstrdup("{\"metadata\":{\"name\":\"default\"}}");
}

static void fill_binding(struct lane *l, unsigned i)
{
	(void)i;
	free_body(l);
	snprintf(l->path, sizeof(l->path), "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings");
	l->body = xasprintf("{\"metadata\":{\"name\":\"bench\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"%s\"}],\"roleRef\":{\"kind\":"
			    "\"ClusterRole\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"cluster-admin\"}}", as_user);
}

static void fill_list(struct lane *l, unsigned i)
{
	(void)i;
	free_body(l);
	snprintf(l->path, sizeof(l->path), PODS "?resourceVersion=0");
}

static void fill_each(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), CM "/c%u", i);
	l->body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c%u\"},\"data\":{\"n\":\"x\"}}", i);
}

static void fill_apply(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), CM "/c%u?fieldManager=bench&force=true", i);
	l->body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c%u\",\"labels\":{\"a\":\"b\"}},"
			    "\"data\":{\"n\":\"x\"}}", i);
}

static char *lease_body(const struct lane *l, unsigned i)
{
	unsigned k = (unsigned)(l - lanes);

	return xasprintf("{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"node-%u\",\"ownerReferences\":[{"
			 "\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"node-%u\",\"uid\":\"b3f2\"}]},\"spec\":{\"holderIdentity\":\"node-%u\","
			 "\"leaseDurationSeconds\":40,\"renewTime\":\"2026-01-01T00:00:%02u.%06uZ\"}}", k, k, k, i / 1000000 % 60, i % 1000000);
}

static void fill_new_lease(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), LEASES);
	l->body = lease_body(l, i);
}

static void fill_lease(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), LEASES "/node-%u", (unsigned)(l - lanes));
	l->body = lease_body(l, i);
}

static void fill_ready(struct lane *l, unsigned i)
{
	(void)i;
	free_body(l);
	snprintf(l->path, sizeof(l->path), "/readyz");
}

static void fill_change(struct lane *l, unsigned i)
{
	free_body(l);
	snprintf(l->path, sizeof(l->path), CM "/c0");
	l->body = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c0\"},\"data\":{\"n\":\"%u\"}}", i);
}

/* --- Watching ---------------------------------------------------------------------------------------------------------------- */

struct watch {
	struct http_call call;
	bool begun;
	unsigned n_events;
};
static unsigned n_begun, n_ended;
static uint64_t n_events;

static void watch_headers(struct http_call *c)
{
	struct watch *w = container_of(c, struct watch, call);

	w->begun = true;
	n_begun++;
}

static void watch_data(struct http_call *c, struct str bytes)
{
	struct watch *w = container_of(c, struct watch, call);

	/* One line an event. */
	for (size_t i = 0; i < bytes.n; i++)
		if (bytes.p[i] == '\n')
			w->n_events++, n_events++;
}

static void watch_over(struct http_call *c, const struct err *e)
{
	if (e && e->code != ERR_CANCELED)
		fprintf(stderr, "api_bench: watch: %s\n", e->text);
	n_ended++;
	http_call_fini(c);
}

static void measure_watch(void)
{
	struct watch *w = xcalloc(n_watchers, sizeof(*w));
	static const unsigned changes = 100;
	static struct http_header header = {STR_INIT("accept"), STR_INIT("application/json")};
	double before = memory_mb("RssAnon"), cpu;
	uint64_t since;

	for (unsigned i = 0; i < n_watchers; i++) {
		w[i].call = (struct http_call){.method = "GET", .path = CM "?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
				.headers = &header, .n_headers = 1, .on_headers = watch_headers, .on_data = watch_data, .done = watch_over};
		http_call_start(clients[i % n_connections], &w[i].call);
	}
	while (n_begun + n_ended < n_watchers)
		loop_turn(loop, 1000);
	printf("%-26s %8.1f KiB each\n", "memory of a watch", (memory_mb("RssAnon") - before) * 1024 / n_watchers);
	since = clock_mono_ns();
	cpu = server_cpu_s();
	measure("update, watched", "PUT", "application/json", fill_change, changes, 1);
	while (n_events < (uint64_t)changes * n_watchers && n_ended == 0 && clock_mono_ns() - since < 60000000000ull)
		loop_turn(loop, 1000);
	printf("%-26s %8.0f events/s to %u watchers, server cpu %.2f us an event%s\n", "watch",
			(double)n_events / ((double)(clock_mono_ns() - since) / 1e9), n_watchers, (server_cpu_s() - cpu) * 1e6 / (double)MAX(n_events, 1u),
			n_events < (uint64_t)changes * n_watchers ? "   SOME WERE LOST" : "");
	for (unsigned i = 0; i < n_watchers; i++)
		http_call_cancel(&w[i].call);
	while (n_ended < n_watchers)
		loop_turn(loop, 1000);
	free(w);
}

/* --- All ---------------------------------------------------------------------------------------------------------------------- */

static void closed(void *arg)
{
	++*(unsigned *)arg;
}

/* Until there are `n` connections. */
static void connect_up_to(unsigned n)
{
	struct tls_config tc = {.alpn = "h2"};
	struct http_client_config hc = {.proto = HTTP_PROTO_2};
	char address[64], cert[64], key[64], ca[64];
	struct err e = ERR_INIT;

	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	snprintf(cert, sizeof(cert), "%s/admin.crt", dir);
	snprintf(key, sizeof(key), "%s/admin.key", dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	if (!tls && tls_ctx_new_files(&tc, cert, key, ca, &tls, &e) < 0)
		die("tls", e.text);
	hc.address = address;
	hc.tls = tls;
	for (; n_open < n; n_open++)
		if (http_client_new(loop, &hc, &clients[n_open], &e) < 0)
			die("connect", e.text);
}

/* The server has written what a new one writes, and all connections are there: one after the other, so that on a slow machine none times out. */
static void wait_ready(void)
{
	quiet = true;
	do {
		usleep(500000);
		measure("", "GET", "text/plain", fill_ready, 1, 1);
	} while (n_failed > 0);
	for (first_client = 1; first_client < n_open; first_client++)
		measure("", "GET", "text/plain", fill_ready, 1, 1);
	first_client = 0;
	usleep(500000);
	quiet = false;
}

static void part_create(void)
{
	measure("create ConfigMap 1 KiB", "POST", "application/json", fill_config_map, n_requests, n_connections);
}

static void part_get(void)
{
	measure("get ConfigMap", "GET", "application/json", fill_get, n_requests * 4, n_connections);
}

static void part_update(void)
{
	measure("update ConfigMap", "PUT", "application/json", fill_each, n_requests, n_connections);
}

static void part_apply(void)
{
	content_type = "application/apply-patch+yaml";
	measure("apply ConfigMap", "PATCH", "application/json", fill_apply, n_requests, n_connections);
	content_type = "application/json";
}

static void part_lease(void)
{
	measure("create Lease", "POST", "application/json", fill_new_lease, n_connections, n_connections);
	measure("renew Lease", "PUT", "application/json", fill_lease, n_requests, n_connections);
}

static void part_pods(void)
{
	measure("create ServiceAccount", "POST", "application/json", fill_account, 1, 1);
	measure("create Pod", "POST", "application/json", fill_pod, n_pods, n_connections);
	print_memory("with the pods");
}

static void part_list(void)
{
	measure("list pods, JSON", "GET", "application/json", fill_list, 10, 1);
	measure("list pods, protobuf", "GET", PROTOBUF, fill_list, 10, 1);
	measure("list pods, table", "GET", "application/json;as=Table;v=v1;g=meta.k8s.io", fill_list, 5, 1);
	print_memory("after lists");
}

static void part_clients(void)
{
	connect_up_to(MAX_CONNECTIONS);
	measure("256 clients connect", "GET", "application/json", fill_get, MAX_CONNECTIONS, MAX_CONNECTIONS);
	measure("get, 256 clients", "GET", "application/json", fill_get, n_requests * 4, MAX_CONNECTIONS);
	measure("update, 256 clients", "PUT", "application/json", fill_each, n_requests, MAX_CONNECTIONS);
}

/* In this order: a part needs what those before it made. */
static const struct {
	const char *name;
	void (*run)(void);
	bool named_only;
} parts[] = {{"create", part_create, false}, {"get", part_get, false}, {"update", part_update, true}, {"apply", part_apply, true},
		{"lease", part_lease, true}, {"pods", part_pods, false}, {"list", part_list, false}, {"watch", measure_watch, false},
		{"clients", part_clients, false}};

static bool wanted(const char *part, bool named_only)
{
	struct str rest = str_from(only), one;

	if (!only)
		return !named_only;
	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		if (str_eqc(one, part))
			return true;
	}
	return false;
}

static unsigned number(const char *name, const char *text, unsigned max)
{
	char *end;
	unsigned long v = text ? strtoul(text, &end, 10) : 0;

	if (!text || *end || v == 0 || v > max) {
		fprintf(stderr, "api_bench: %s takes a number from 1 to %u\n", name, max);
		exit(2);
	}
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	struct rlimit files = {65536, 65536};
	unsigned n_closed = 0;

	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--sync") == 0) {
			sync_log = true;
			i--;
			continue;
		}
		if (strcmp(argv[i], "--server") == 0 && argv[i + 1])
			server = argv[i + 1];
		else if (strcmp(argv[i], "--connections") == 0)
			n_connections = number(argv[i], argv[i + 1], MAX_CONNECTIONS);
		else if (strcmp(argv[i], "--pods") == 0)
			n_pods = number(argv[i], argv[i + 1], 1000000);
		else if (strcmp(argv[i], "--watchers") == 0)
			n_watchers = number(argv[i], argv[i + 1], 20000);
		else if (strcmp(argv[i], "--as") == 0)
			as_user = argv[i + 1];
		else if (strcmp(argv[i], "--seats") == 0 && argv[i + 1])
			seats = argv[i + 1];
		else if (strcmp(argv[i], "--only") == 0 && argv[i + 1])
			only = argv[i + 1];
		else if (strcmp(argv[i], "--requests") == 0)
			n_requests = number(argv[i], argv[i + 1], 1000000);
		else
			return fprintf(stderr, "api_bench: unknown argument %s (see the head of its source)\n", argv[i]), 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	log_set_level("error");
	server_start();
	loop = loop_new("bench");
	connect_up_to(n_connections);
	wait_ready();
	print_memory("idle");
	if (as_user) {
		measure("bind the user", "POST", "application/json", fill_binding, 1, 1);
		acting = true;
	}
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (wanted(parts[i].name, parts[i].named_only))
			parts[i].run();
	print_memory("at the end");
	for (unsigned i = 0; i < n_open; i++)
		http_client_close(clients[i], closed, &n_closed);
	while (n_closed < n_open)
		loop_turn(loop, 100);
	for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
		free(lanes[i].body);
	tls_ctx_unref(tls);
	loop_free(loop);
	server_stop();
	return 0;
}
