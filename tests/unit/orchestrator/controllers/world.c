#include "tests/unit/orchestrator/controllers/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/scheduler/scheduler.h"

#define MERGE "application/merge-patch+json"
#define WAIT_MS 60000

static struct client *client;
static struct controllers *controllers;
static struct scheduler *scheduler;
static unsigned n_ips;

/* --- The nodes --------------------------------------------------------------------------------------------- */

struct json *get(const char *path)
{
	return rig_call("GET", path, NULL, 200);
}

struct json *post(const char *path, const char *body)
{
	return rig_call("POST", path, body, 201);
}

struct json *merge(const char *path, const char *body)
{
	rig_type(MERGE);
	return rig_call("PATCH", path, body, 200);
}

const char *fmt(const char *f, ...)
{
	va_list ap;
	char *s;

	va_start(ap, f);
	s = arena_vprintf(&rig_arena, f, ap);
	va_end(ap);
	return s;
}

const char *str(const struct json *j, const char *path)
{
	return arena_cstr(&rig_arena, json_strp(j, path));
}

int64_t num(const struct json *j, const char *path)
{
	return json_i64_or(json_getp(j, path), 0);
}

void renew(const char *node)
{
	const char *path = fmt("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/%s", node);

	merge(path, fmt("{\"spec\":{\"renewTime\":\"2024-01-01T00:00:00.%06uZ\"}}", (unsigned)(clock_mono_ns() / 1000 % 1000000)));
}

void add_node(const char *name, const char *cpu)
{
	post("/api/v1/nodes", fmt("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\"}},\"status\":{"
				  "\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"1Gi\",\"pods\":\"20\"},"
				  "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", name, name, cpu));
	post("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
			fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"holderIdentity\":\"%s\"}}", name, name));
}

/* A pod may be gone by now. */
static void report(const struct json *pod, const char *body)
{
	rig_type(MERGE);
	rig_call("PATCH", fmt("/api/v1/namespaces/%s/pods/%s/status", str(pod, "metadata.namespace"), str(pod, "metadata.name")), body, 0);
}

static void run_pod(const struct json *pod)
{
	report(pod,
			fmt("{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.244.9.%u\",\"podIPs\":[{\"ip\":\"10.244.9.%u\"}],"
			    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", n_ips, n_ips));
	n_ips++;
}

bool is_ready(const struct json *pod)
{
	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "Ready"))
			return json_eqc(json_getc(c, "status"), "True");
	return false;
}

/* Ended long ago, so that no back-off of today waits for it. */
static void end_pod(const struct json *pod)
{
	struct str code = json_str(json_getc(json_getp(pod, "metadata.annotations"), "test/exit"));

	if (code.n > 0)
		report(pod,
				fmt("{\"status\":{\"phase\":\"%s\",\"conditions\":[],\"containerStatuses\":[{\"name\":\"c\",\"image\":\"x\",\"imageID\":\"x\","
				    "\"ready\":false,\"restartCount\":0,\"state\":{\"terminated\":{\"exitCode\":%.*s,\"finishedAt\":\"2020-01-01T00:00:00Z\"}}}]}}",
						str_eqc(code, "0") ? "Succeeded" : "Failed", STR_FMT(code)));
}

bool world_renews = true;
unsigned world_grace_s = 120;

/* A node that reports no more is given up after world_grace_s. */
static void renew_all(void)
{
	static uint64_t last_ms;

	if (!world_renews || clock_mono_ms() - last_ms < 500)
		return;
	last_ms = clock_mono_ms();
	const struct json *all = json_getc(get("/api/v1/nodes"), "items");

	JSON_ITEMS (n, all)
		renew(str(n, "metadata.name"));
}

void kubelet_turn(void)
{
	struct json *pods = get("/api/v1/pods");

	renew_all();
	JSON_ITEMS (pod, json_getc(pods, "items")) {
		const char *path = fmt("/api/v1/namespaces/%s/pods/%s", str(pod, "metadata.namespace"), str(pod, "metadata.name"));

		if (str(pod, "spec.nodeName")[0] == '\0')
			continue;
		if (json_getp(pod, "metadata.deletionTimestamp"))
			rig_call("DELETE", path, "{\"gracePeriodSeconds\":0}", 0);
		else if (str(pod, "status.phase")[0] == 'P')
			run_pod(pod);
		else if (str(pod, "status.phase")[0] == 'R')
			end_pod(pod);
	}
}

/* Turn the world until what() holds. */
void world_wait(bool (*what)(void), const char *name)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (!what()) {
		if (clock_mono_ms() > end)
			fail_msg("waited for: %s\n%s", name, arena_cstr(&rig_arena, json_text(&rig_arena, get("/api/v1/pods"))));
		kubelet_turn();
		loop_turn(rig_loop, 20);
	}
}

/* --- Start and stop ---------------------------------------------------------------------------------------------- */

static struct x509_key *sa_key;

/* The server's own; what signs tokens in Secrets. */
static void load_key(const char *dir, struct apiserver_cfg *cfg)
{
	struct err e = ERR_INIT;

	if (x509_key_load(cfg->sa_key, &sa_key, &e) < 0)
		fail_msg("%s", e.text);
}

int world_start(void **state)
{
	static struct controllers_cfg cfg;

	rig_configure = load_key;
	rig_start();
	client = apiserver_client(rig_server, rig_loop, "system:kube-controller-manager");
	cfg = (struct controllers_cfg){.client = client, .loop = rig_loop, .cluster_cidr = "10.244.0.0/16", .root_ca_pem = STR_INIT("a certificate"),
			.node_grace_s = world_grace_s, .hpa_sync_ms = 200, .sa_key = sa_key};
	controllers = controllers_start(&cfg);
	scheduler = scheduler_start(rig_loop, client, controllers_view(controllers));
	return 0;
}

static void set_flag(void *arg)
{
	*(int *)arg = 1;
}

int world_stop(void **state)
{
	int flag = 0;

	scheduler_stop(scheduler, set_flag, &flag);
	rig_until(&flag);
	flag = 0;
	controllers_stop(controllers, set_flag, &flag);
	rig_until(&flag);
	flag = 0;
	client_close(client, set_flag, &flag);
	rig_until(&flag);
	rig_stop();
	x509_key_free(TAKE(sa_key));
	return 0;
}

/* --- Questions ------------------------------------------------------------------------------------------------------ */

size_t count_pods(const char *selector, bool (*which)(const struct json *))
{
	size_t n = 0;
	struct json *list = get(fmt(NS "/pods?labelSelector=%s", selector));

	JSON_ITEMS (pod, json_getc(list, "items"))
		n += !json_getp(pod, "metadata.deletionTimestamp") && (which == NULL || which(pod));
	return n;
}
