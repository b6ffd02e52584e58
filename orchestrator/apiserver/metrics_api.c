/*
 * metrics.k8s.io/v1beta1: what nodes and pods use now, for `kubectl top`. Nothing is stored: every request asks the kubelets
 * of the nodes that it is about for their statistics, all at once.
 *
 *	collect (nodes, and the pods that are meant)  >  fetch (/stats/summary of each node)  >  answer
 *
 * A node that does not answer in time is left out, as is a pod of which its kubelet knows nothing yet.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/http_client.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/tables.h"
#include "proto/duration.h"
#include "proto/resource.h"
#include "store/view.h"

#define FETCH_TIMEOUT_MS 10000
#define SUMMARY_MAX (16u << 20)

/* One kubelet's answer. */
struct fetched {
	struct metrics_fetch *f;
	struct http_call call;
	struct json *node;    /* the Node */
	struct json *summary; /* NULL: none came */
};

/* req->stream while the calls are under way. */
struct metrics_fetch {
	struct api_request *req;
	struct json *nodes, *pods; /* arrays of objects; pods NULL when nodes are asked for */
	struct fetched *calls;
	size_t n_calls, n_running;
	bool started;
};

/* --- What is meant ------------------------------------------------------------------------------------------------- */

/* Objects of `plural` that the selection takes, in one namespace or all, into a new array. */
static int collect(struct api_request *req, struct store_view *v, const char *plural, struct str ns, const struct api_selection *sel,
		struct json **ret, struct err *e)
{
	const struct resource *res = resource_find("", "v1", plural);
	struct str key = storage_prefix(&req->arena, res, ns), raw;
	struct view_iter it;
	struct store_kv kv;
	struct json *doc;
	int r;

	*ret = json_new_array(&req->arena);
	view_iter_init(&it, v, key, storage_end(&req->arena, key), 0, 0);
	while ((r = view_iter_next(&it, &kv, e)) > 0) {
		if (storage_unwrap_as(&req->arena, res, kv.key, kv.value, NULL, &raw, e) < 0 || (sel && !api_selection_matches(sel, raw)))
			continue;
		r = api_dom_of(&req->arena, res, raw, &doc, e);
		if (r < 0)
			break;
		if (req->at.name.n == 0 || sel == NULL || str_eq(api_name(doc), req->at.name))
			json_push(&req->arena, *ret, doc);
	}
	view_iter_fini(&it);
	return r;
}

static enum step_result metrics_collect(struct api_request *req)
{
	struct metrics_fetch *f = arena_new_of(&req->arena, struct metrics_fetch);
	bool pods = strcmp(req->res->plural, "pods") == 0;
	struct api_selection sel;
	struct store_view *v;
	struct err e = ERR_INIT;
	int r;

	if (api_selection_parse(req, &sel) != STEP_NEXT)
		return STEP_FAIL;
	if (api_refresh(req))
		return STEP_WAIT;
	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	f->req = req;
	sel.res = resource_find("", "v1", req->res->plural);
	r = collect(req, v, "nodes", STR_NULL, pods ? NULL : &sel, &f->nodes, &e);
	if (r >= 0 && pods)
		r = collect(req, v, "pods", req->at.ns, &sel, &f->pods, &e);
	store_view_close(v);
	if (r < 0)
		return api_fail_err(req, &e);
	if (req->at.name.n > 0 && json_len(pods ? f->pods : f->nodes) == 0)
		return api_fail_not_found(req, req->res, req->at.name);
	req->stream = f;
	return STEP_NEXT;
}

/* --- Asking the kubelets --------------------------------------------------------------------------------------------- */

static bool runs_on(const struct json *pods, struct str node)
{
	JSON_ITEMS (p, pods)
		if (str_eq(json_strp(p, "spec.nodeName"), node))
			return true;
	return false;
}

static void fetch_canceled(struct api_request *req)
{
	struct metrics_fetch *f = req->stream;

	for (size_t i = 0; i < f->n_calls; i++)
		http_call_cancel(&f->calls[i].call);
	/* The last `done` ends the request. */
}

static void fetch_over(struct metrics_fetch *f)
{
	struct api_request *req = f->req;

	req->on_cancel = NULL;
	api_request_resume(req);
}

static void fetched_done(struct http_call *call, const struct err *e)
{
	struct fetched *c = container_of(call, struct fetched, call);
	struct metrics_fetch *f = c->f;
	struct api_request *req = f->req;

	if (e)
		log_debug("apiserver", "statistics of node %.*s: %s", STR_FMT(api_name(c->node)), e->text);
	else if (call->status == 200 && json_parse(&req->arena, buf_str(&call->body_in), NULL, &c->summary, NULL) < 0)
		c->summary = NULL;
	http_call_fini(call);
	if (--f->n_running == 0)
		fetch_over(f);
}

/* False when there is no way to the node: the others can still tell. */
static bool kubelet_of(struct api_request *req, const struct json *node, struct http_client **ret)
{
	const char *address;

	if (backend_kubelet_address(req, node, &address) == STEP_NEXT && backend_kubelet_client(req, address, ret) == STEP_NEXT)
		return true;
	req->fail = (struct api_failure){.http_status = 0};
	return false;
}

static enum step_result metrics_fetch(struct api_request *req)
{
	struct metrics_fetch *f = req->stream;
	struct http_client **clients;

	if (f->started)
		return STEP_NEXT;
	f->started = true;
	f->calls = arena_new_array(&req->arena, struct fetched, json_len(f->nodes));
	clients = arena_new_array(&req->arena, struct http_client *, json_len(f->nodes));
	JSON_ITEMS (node, f->nodes) {
		struct fetched *c = &f->calls[f->n_calls];

		if ((f->pods && !runs_on(f->pods, api_name(node))) || !kubelet_of(req, node, &clients[f->n_calls]))
			continue;
		c->f = f;
		c->node = node;
		c->call = (struct http_call){.method = "GET", .path = "/stats/summary", .timeout_ms = FETCH_TIMEOUT_MS,
				.max_body = SUMMARY_MAX, .done = fetched_done};
		f->n_calls++;
	}
	if (f->n_calls == 0)
		return STEP_NEXT;
	f->n_running = f->n_calls;
	req->on_cancel = fetch_canceled;
	for (size_t i = 0; i < f->n_calls; i++)
		http_call_start(clients[i], &f->calls[i].call);
	return STEP_WAIT;
}

/* --- The answer ------------------------------------------------------------------------------------------------------ */

static struct json *usage(struct arena *a, const struct json *stats)
{
	struct json *u = json_new_object(a);
	int64_t cores = json_i64_or(json_getp(stats, "cpu.usageNanoCores"), 0),
		bytes = json_i64_or(json_getp(stats, "memory.workingSetBytes"), 0);

	json_setc(a, u, "cpu", cores ? json_newf(a, "%" PRId64 "n", cores) : json_newc(a, "0"));
	json_setc(a, u, "memory", bytes ? json_newf(a, "%" PRId64 "Ki", bytes / 1024) : json_newc(a, "0"));
	return u;
}

/* What nodes and pods have in common; of_what: the object that it is about. */
static struct json *measured(struct api_request *req, const struct json *of_what, const struct fetched *c)
{
	static const char *const copied[] = {"name", "namespace", "labels"};
	struct arena *a = &req->arena;
	struct json *m = json_new_object(a), *meta = json_new_object(a), *time = json_getp(c->summary, "node.cpu.time");
	char window[DURATION_SIZE];

	json_setc(a, m, "kind", json_newc(a, req->res->kind));
	json_setc(a, m, "apiVersion", json_newc(a, req->res->api_version));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		struct json *v = json_getc(json_getc(of_what, "metadata"), copied[i]);

		if (v)
			json_setc(a, meta, copied[i], v);
	}
	json_setc(a, meta, "creationTimestamp", api_now(a));
	json_setc(a, m, "metadata", meta);
	json_setc(a, m, "timestamp", json_is(time, JSON_STRING) ? time : api_now(a));
	/* To the millisecond. */
	duration_print(json_i64_or(json_getc(c->summary, "windowNanoSeconds"), 0) / 1000000 * 1000000, window);
	json_setc(a, m, "window", json_newc(a, window));
	return m;
}

static struct json *pod_metrics(struct api_request *req, const struct json *pod, const struct fetched *c)
{
	struct arena *a = &req->arena;
	struct json *m, *list;

	JSON_ITEMS (p, json_getc(c->summary, "pods")) {
		if (!str_eq(json_strp(p, "podRef.uid"), json_strp(pod, "metadata.uid")))
			continue;
		m = measured(req, pod, c);
		list = json_new_array(a);
		JSON_ITEMS (container, json_getc(p, "containers")) {
			struct json *one = json_new_object(a);

			json_setc(a, one, "name", json_getc(container, "name"));
			json_setc(a, one, "usage", usage(a, container));
			json_push(a, list, one);
		}
		json_setc(a, m, "containers", list);
		return m;
	}
	return NULL;
}

static struct json *items(struct api_request *req, const struct metrics_fetch *f)
{
	struct arena *a = &req->arena;
	struct json *list = json_new_array(a);

	JSON_ITEMS (obj, f->pods ? f->pods : f->nodes) {
		struct str node = f->pods ? json_strp(obj, "spec.nodeName") : api_name(obj);

		for (size_t i = 0; i < f->n_calls; i++) {
			const struct fetched *c = &f->calls[i];
			struct json *m;

			if (!c->summary || !str_eq(api_name(c->node), node))
				continue;
			m = f->pods ? pod_metrics(req, obj, c) : measured(req, obj, c);
			if (m && !f->pods)
				json_setc(a, m, "usage", usage(a, json_getc(c->summary, "node")));
			if (m)
				json_push(a, list, m);
		}
	}
	return list;
}

static enum step_result metrics_answer(struct api_request *req)
{
	struct metrics_fetch *f = req->stream;
	struct json *list = items(req, f);

	req->stream = NULL;
	return api_answer_made(req, list);
}

const struct api_step strategy_metrics[] = {{"collect", metrics_collect}, {"fetch", metrics_fetch}, {"answer", metrics_answer},
		{NULL, NULL}};
