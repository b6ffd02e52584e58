/*
 * exec, attach and port-forward: ask the runtime where it serves the stream, repeat the client's upgrade request
 * there, and when it answers 101, join the two connections. SPDY and WebSocket pass through unseen.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/splice.h"
#include "io/stream.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

struct stream_op {
	struct kubelet *k;
	struct http_request *r; /* NULL: the client is gone, or it was answered */
	struct cri_call cri;
	struct http_client *client;
	struct http_call call;
	struct arena arena;
	bool calling;
};

static void op_free(struct stream_op *op)
{
	arena_fini(&op->arena);
	kubelet_idle(op->k);
	free(op);
}

static void client_closed(void *arg)
{
	op_free(arg);
}

static void on_cancel(struct http_request *r)
{
	struct stream_op *op = r->user;

	op->r = NULL;
	http_respond_abort(r);
	if (op->calling)
		http_call_cancel(&op->call);
	else
		cri_cancel(&op->cri);
}

static struct stream_op *op_new(struct kubelet *k, struct http_request *r, void (*done)(struct cri_call *))
{
	struct stream_op *op = xcalloc(1, sizeof(*op));

	op->k = k;
	op->r = r;
	r->user = op;
	r->on_cancel = on_cancel;
	op->cri.done = done;
	arena_init(&op->arena);
	kubelet_busy(k);
	return op;
}

static void answer_error(struct stream_op *op, int status, const char *text)
{
	struct http_request *r = TAKE(op->r);

	if (r)
		respond_text(r, status, "%s\n", text);
}

/* The runtime's answer: 101 joins both sides, anything else is passed on. */
static void called(struct http_call *c, const struct err *e)
{
	struct stream_op *op = container_of(c, struct stream_op, call);
	struct http_request *r = op->r;
	struct stream *inner, *outer;
	struct err up = ERR_INIT;

	if (e) {
		answer_error(op, 502, e->text);
	} else if (c->status != 101) {
		answer_error(op, c->status, c->body_in.n ? c->body_in.p : "the runtime refused the stream");
	} else if ((inner = http_call_take_stream(c)) != NULL) {
		outer = r ? http_upgrade(r, c->response.h, c->response.n, &up) : NULL;
		if (outer) {
			op->r = NULL;
			stream_splice(outer, inner, NULL, NULL);
		} else {
			stream_close(inner, NULL, NULL);
			answer_error(op, 400, up.text);
		}
	}
	http_call_fini(c);
	http_client_close(op->client, client_closed, op);
}

static bool is_hop(struct str name)
{
	static const char *const hop[] = {"host", "content-length", "transfer-encoding", "keep-alive", "te", "authorization"};

	for (size_t i = 0; i < ARRAY_LEN(hop); i++)
		if (str_ieq(name, str_from(hop[i])))
			return true;
	return false;
}

/* "http://127.0.0.1:41234/exec/TOKEN" */
static void go_to(struct stream_op *op, const char *url)
{
	struct str rest = str_from(url), host, path;
	struct http_client_config cfg = {.proto = HTTP_PROTO_1, .max_connections = 1};
	struct http_header *hs;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (!op->r) {
		op_free(op);
		return;
	}
	rest = str_skip(rest, str_has_prefix(rest, STR("http://")) ? strlen("http://") : 0);
	str_cut(rest, '/', &host, &path);
	cfg.address = arena_cstr(&op->arena, host);
	if (http_client_new(op->k->loop, &cfg, &op->client, &e) < 0) {
		answer_error(op, 502, e.text);
		op_free(op);
		return;
	}
	hs = arena_new_array(&op->arena, struct http_header, op->r->headers.n + 1);
	for (size_t i = 0; i < op->r->headers.n; i++)
		if (!is_hop(op->r->headers.h[i].name))
			hs[n++] = (struct http_header){arena_str(&op->arena, op->r->headers.h[i].name),
					arena_str(&op->arena, op->r->headers.h[i].value)};
	op->call.method = arena_cstr(&op->arena, op->r->method);
	op->call.path = arena_printf(&op->arena, "/%.*s", STR_FMT(path));
	op->call.headers = hs;
	op->call.n_headers = n;
	op->call.upgrade = true;
	op->call.header_timeout_ms = 30000;
	op->call.done = called;
	op->calling = true;
	http_call_start(op->client, &op->call);
}

static void url_there(struct cri_call *c)
{
	struct stream_op *op = container_of(c, struct stream_op, cri);
	char *url = NULL;

	if (c->err.code)
		answer_error(op, c->err.code == ERR_NOT_FOUND ? 404 : 500, c->err.text);
	else if (c->method == CRI_EXEC)
		url = arena_strdup(&op->arena, CRI_REPLY(c, Runtime__ExecResponse)->url);
	else if (c->method == CRI_ATTACH)
		url = arena_strdup(&op->arena, CRI_REPLY(c, Runtime__AttachResponse)->url);
	else
		url = arena_strdup(&op->arena, CRI_REPLY(c, Runtime__PortForwardResponse)->url);
	cri_call_fini(c);
	if (url)
		go_to(op, url);
	else
		op_free(op);
}

/* The running container of that name, or NULL after an answer. */
static const struct rt_container *running_container(struct route_args *args, struct http_request *r)
{
	struct pod_worker *w = find_pod(args, r);
	const struct rt_container *c;

	if (!w)
		return NULL;
	c = rt_find(worker_rt(w), args->part[2], NULL);
	if (c && c->state == RT_RUNNING)
		return c;
	respond_text(r, c ? 400 : 404, "container %s in pod %s is %s\n", args->part[2], args->part[1],
			c ? "not running" : "not found");
	return NULL;
}

/* Both the kubelet's own names of the parameters and those of the API. */
static bool wants(struct http_request *r, const char *name, const char *api_name)
{
	return query_bool(r, name) || query_bool(r, api_name);
}

void serve_exec(struct route_args *args, struct http_request *r)
{
	Runtime__ExecRequest req = RUNTIME__EXEC_REQUEST__INIT;
	const struct rt_container *c = running_container(args, r);

	if (!c)
		return;
	req.container_id = c->id;
	req.cmd = query_all(r, "command", &req.n_cmd);
	req.tty = query_bool(r, "tty");
	req.stdin = wants(r, "input", "stdin");
	req.stdout = wants(r, "output", "stdout");
	req.stderr = wants(r, "error", "stderr") && !req.tty;
	if (req.n_cmd == 0 || (!req.stdin && !req.stdout && !req.stderr)) {
		respond_text(r, 400, "you must specify a command and at least 1 of stdin, stdout, stderr\n");
		return;
	}
	cri_start(args->k->cri, &op_new(args->k, r, url_there)->cri, CRI_EXEC, &req.base);
}

void serve_attach(struct route_args *args, struct http_request *r)
{
	Runtime__AttachRequest req = RUNTIME__ATTACH_REQUEST__INIT;
	const struct rt_container *c = running_container(args, r);
	const Core__Container *spec;

	if (!c)
		return;
	spec = worker_spec(find_pod(args, r), args->part[2]);
	req.container_id = c->id;
	req.tty = spec && PB_OR(spec, tty, 0);
	req.stdin = wants(r, "input", "stdin");
	req.stdout = wants(r, "output", "stdout");
	req.stderr = wants(r, "error", "stderr") && !req.tty;
	if (!req.stdin && !req.stdout && !req.stderr) {
		respond_text(r, 400, "you must specify at least 1 of stdin, stdout, stderr\n");
		return;
	}
	cri_start(args->k->cri, &op_new(args->k, r, url_there)->cri, CRI_ATTACH, &req.base);
}

void serve_port_forward(struct route_args *args, struct http_request *r)
{
	Runtime__PortForwardRequest req = RUNTIME__PORT_FORWARD_REQUEST__INIT;
	struct pod_worker *w = find_pod(args, r);
	const struct rt_pod *rt = w ? worker_rt(w) : NULL;
	size_t n;
	const char **ports;
	int32_t *numbers;

	if (!w)
		return;
	if (!rt || !rt->n_sandboxes || !rt->sandboxes[0]->ready) {
		respond_text(r, 400, "pod %s is not running\n", args->part[1]);
		return;
	}
	/* WebSocket clients name the ports here; SPDY clients with each stream. */
	ports = query_all(r, "port", &n);
	if (n == 0)
		ports = query_all(r, "ports", &n);
	numbers = arena_new_array(&r->arena, int32_t, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct str rest = str_from(ports[i]), one;

		while (rest.n > 0) {
			int64_t v;

			str_cut(rest, ',', &one, &rest);
			if (!str_to_i64(one, &v) || v < 1 || v > 65535) {
				respond_text(r, 400, "\"%s\" is not a port\n", ports[i]);
				return;
			}
			numbers = arena_grow(&r->arena, numbers, req.n_port * sizeof(*numbers), (req.n_port + 1) * sizeof(*numbers));
			numbers[req.n_port++] = (int32_t)v;
		}
	}
	req.port = numbers;
	req.pod_sandbox_id = rt->sandboxes[0]->id;
	cri_start(args->k->cri, &op_new(args->k, r, url_there)->cri, CRI_PORT_FORWARD, &req.base);
}

static void ran(struct cri_call *c)
{
	struct stream_op *op = container_of(c, struct stream_op, cri);
	struct http_request *r = TAKE(op->r);
	Runtime__ExecSyncResponse *a = CRI_REPLY(c, Runtime__ExecSyncResponse);
	struct buf b = BUF_INIT;

	if (r && a) {
		buf_add(&b, a->stdout.data, a->stdout.len);
		buf_add(&b, a->stderr.data, a->stderr.len);
		http_respond(r, a->exit_code ? 500 : 200, NULL, 0, buf_str(&b));
	} else if (r) {
		respond_text(r, 500, "%s\n", c->err.text);
	}
	buf_fini(&b);
	cri_call_fini(c);
	op_free(op);
}

void serve_run(struct route_args *args, struct http_request *r)
{
	Runtime__ExecSyncRequest req = RUNTIME__EXEC_SYNC_REQUEST__INIT;
	const struct rt_container *c = running_container(args, r);
	const char *cmd;
	struct str rest, word;

	if (!c)
		return;
	cmd = query_get(r, "cmd");
	for (rest = str_from(cmd); rest.n > 0;) {
		str_cut(rest, ' ', &word, &rest);
		if (word.n)
			PB_ADD(&r->arena, &req, cmd, arena_cstr(&r->arena, word));
	}
	if (req.n_cmd == 0) {
		respond_text(r, 400, "cmd is missing\n");
		return;
	}
	req.container_id = c->id;
	req.timeout = 60;
	cri_start(args->k->cri, &op_new(args->k, r, ran)->cri, CRI_EXEC_SYNC, &req.base);
}
