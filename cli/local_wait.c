#include "cli/local_wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/util.h"
#include "cli/local.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"
#include "proto/json.h"

#define POLL_MS 50

struct wait {
	const struct local *l;
	struct loop *loop;
	struct http_client *client;
	struct http_call call;
	struct loop_timer timer;
	uint64_t deadline, began;
	char missing[256]; /* what is still waited for, as last printed */
	int rv;
	struct err *e;
};

static void ask(struct loop_timer *t);

static void finish(struct wait *w, int rv)
{
	w->rv = rv;
	loop_stop(w->loop);
}

static void say(struct wait *w, const char *missing)
{
	if (strcmp(w->missing, missing) == 0)
		return;
	snprintf(w->missing, sizeof(w->missing), "%s", missing);
	printf("  %4.1f s  waiting for %s\n", (double)(clock_mono_ms() - w->began) / 1000, missing);
	fflush(stdout);
}

/* The last line of a log that looks like the reason, for the error message. */
static void last_line(const char *path, char out[256])
{
	char *text = file_read(path, 16 << 20, NULL), *end, *line;

	snprintf(out, 256, "(empty log)");
	if (text == NULL)
		return;
	end = text + strlen(text);
	while (end > text && end[-1] == '\n')
		*--end = '\0';
	line = strrchr(text, '\n');
	if (end > text)
		snprintf(out, 256, "%.250s", line ? line + 1 : text);
	free(text);
}

/* A process that has ended will not become ready: say so now. */
static int check_processes(struct wait *w)
{
	char path[LOCAL_PATH_MAX], why[256];

	for (unsigned i = 0; i <= w->l->n_nodes; i++) {
		const char *node = i < w->l->n_nodes ? w->l->nodes[i].name : NULL;

		if (local_pid(w->l, node, node ? "kontiki.pid" : "lb.pid") != 0)
			continue;
		local_path(w->l, node, node ? "kontiki.log" : "lb.log", path);
		last_line(path, why);
		return err_set(w->e, ERR_UNAVAILABLE, "%s has ended: %s (see %s)", node ? node : "the balancer", why, path);
	}
	return 0;
}

static bool node_is_ready(const struct json *items, const char *name)
{
	JSON_ITEMS (node, items) {
		if (!json_eqc(json_getp(node, "metadata.name"), name))
			continue;
		JSON_ITEMS (c, json_getp(node, "status.conditions"))
			if (json_eqc(json_getc(c, "type"), "Ready"))
				return json_eqc(json_getc(c, "status"), "True");
	}
	return false;
}

/* True when all nodes are Ready; else says which are not. */
static bool look_at_nodes(struct wait *w, struct str body)
{
	struct arena a;
	struct json *list = NULL;
	const struct json *items;
	char missing[256] = "";
	size_t n = 0;

	arena_init(&a);
	json_parse(&a, body, NULL, &list, NULL);
	items = json_getc(list, "items");
	for (unsigned i = 0; i < w->l->n_nodes; i++)
		if (!node_is_ready(items, w->l->nodes[i].name) && n < sizeof(missing) - 64)
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? ", " : "node ",
					w->l->nodes[i].name);
	arena_fini(&a);
	if (n > 0)
		say(w, missing);
	return n == 0;
}

static void on_answer(struct http_call *c, const struct err *e)
{
	struct wait *w = container_of(c, struct wait, call);
	bool ready = false;
	int rv;

	if (e != NULL || c->status != 200)
		say(w, "the API server");
	else
		ready = look_at_nodes(w, buf_str(&c->body_in));
	http_call_fini(c);
	rv = ready ? 0 : check_processes(w);
	if (!ready && rv == 0 && clock_mono_ms() > w->deadline)
		rv = err_set(w->e, ERR_TIMEOUT, "the cluster is not ready after %.0f s: still waiting for %s (logs: %s/*/kontiki.log)",
				(double)(w->deadline - w->began) / 1000, w->missing, w->l->dir);
	if (ready || rv < 0)
		finish(w, rv);
	else
		loop_timer_start(&w->timer, w->loop, POLL_MS, ask);
}

static void ask(struct loop_timer *t)
{
	struct wait *w = container_of(t, struct wait, timer);

	memset(&w->call, 0, sizeof(w->call));
	w->call.method = "GET";
	w->call.path = "/api/v1/nodes";
	w->call.timeout_ms = 3000;
	w->call.done = on_answer;
	http_call_start(w->client, &w->call);
}

int local_wait_ready(const struct local *l, unsigned timeout_ms, struct err *e)
{
	struct wait w = {.l = l, .began = clock_mono_ms(), .e = e};
	char crt[LOCAL_PATH_MAX], key[LOCAL_PATH_MAX], ca[LOCAL_PATH_MAX], address[32];
	struct http_client_config hc = {.address = address, .proto = HTTP_PROTO_1, .connect_timeout_ms = 2000};
	struct tls_config tc = {.server = false};
	struct tls_ctx *tls = NULL;
	int rv;

	w.deadline = w.began + timeout_ms;
	local_path(l, NULL, "pki/admin.crt", crt);
	local_path(l, NULL, "pki/admin.key", key);
	local_path(l, NULL, "pki/ca.crt", ca);
	snprintf(address, sizeof(address), "127.0.0.1:%u", l->port);
	rv = tls_ctx_new_files(&tc, crt, key, ca, &tls, e);
	if (rv < 0)
		return rv;
	w.loop = loop_new("up");
	hc.tls = tls;
	rv = http_client_new(w.loop, &hc, &w.client, e);
	if (rv == 0) {
		loop_timer_start(&w.timer, w.loop, 0, ask);
		loop_run(w.loop);
		rv = w.rv;
		http_client_close(w.client, NULL, NULL);
	}
	loop_free(w.loop);
	tls_ctx_unref(tls);
	return rv;
}
