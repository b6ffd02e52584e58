/* What probes and lifecycle hooks do: a command, an HTTP request, a TCP connection, a gRPC health call, or waiting. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/stream.h"
#include "io/tls.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

#define MAX_OUTPUT 10240 /* of a probe's answer that is kept */

struct check_run {
	struct check *check; /* NULL: canceled */
	struct kubelet *k;
	struct arena arena;
	enum check_kind kind;
	struct cri_call cri;
	struct http_client *http;
	struct http_call http_call;
	struct stream_connect connect;
	struct grpc_channel *channel;
	struct grpc_call grpc;
	struct loop_timer timer;
};

static void run_free(struct check_run *r)
{
	kubelet_idle(r->k);
	arena_fini(&r->arena);
	free(r);
}

static void tell(struct check_run *r, bool ok, bool unsure, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void tell(struct check_run *r, bool ok, bool unsure, const char *fmt, ...)
{
	struct check *c = TAKE(r->check);
	va_list ap;

	if (!c)
		return;
	c->priv = NULL;
	c->ok = ok;
	c->unsure = unsure;
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
	c->done(c);
}

/* --- exec ---------------------------------------------------------------------------------------------------------- */

static void exec_done(struct cri_call *call)
{
	struct check_run *r = container_of(call, struct check_run, cri);
	Runtime__ExecSyncResponse *a = CRI_REPLY(call, Runtime__ExecSyncResponse);

	if (!a && call->err.code == ERR_TIMEOUT)
		tell(r, false, false, "command timed out");
	else if (!a)
		tell(r, false, true, "%s", call->err.text);
	else if (a->exit_code == 0)
		tell(r, true, false, "ok");
	else
		tell(r, false, false, "%.*s%.*s", (int)MIN(a->stdout.len, 400u), (const char *)a->stdout.data,
				(int)MIN(a->stderr.len, 400u), (const char *)a->stderr.data);
	cri_call_fini(call);
	run_free(r);
}

static void start_exec(struct check_run *r, const struct check_target *t, uint64_t timeout_ms)
{
	Runtime__ExecSyncRequest req = RUNTIME__EXEC_SYNC_REQUEST__INIT;

	req.container_id = t->container_id;
	req.n_cmd = t->exec->n_command;
	req.cmd = t->exec->command;
	req.timeout = (int64_t)(timeout_ms + 999) / 1000;
	r->cri.done = exec_done;
	r->cri.timeout_ms = timeout_ms + 5000;
	cri_start(r->k->cri, &r->cri, CRI_EXEC_SYNC, &req.base);
}

/* --- http ---------------------------------------------------------------------------------------------------------- */

static void http_closed(void *arg)
{
	run_free(arg);
}

static void http_done(struct http_call *c, const struct err *e)
{
	struct check_run *r = container_of(c, struct check_run, http_call);

	if (e)
		tell(r, false, false, "%s", e->text);
	else if (c->status >= 200 && c->status < 400)
		tell(r, true, false, "ok");
	else
		tell(r, false, false, "HTTP probe failed with statuscode: %d", c->status);
	http_call_fini(c);
	http_client_close(r->http, http_closed, r);
}

static bool port_of(const Intstr__IntOrString *p, const Core__Container *c, int *ret)
{
	int64_t n;

	if (!p)
		return false;
	if (!PB_OR(p, type, 0)) {
		*ret = PB_OR(p, int_val, 0);
		return *ret > 0 && *ret < 65536;
	}
	for (size_t i = 0; c && i < c->n_ports; i++) {
		if (strcmp(nz(c->ports[i]->name), nz(p->str_val)) == 0) {
			*ret = PB_OR(c->ports[i], container_port, 0);
			return *ret > 0;
		}
	}
	if (!str_to_i64(str_from(nz(p->str_val)), &n) || n < 1 || n > 65535)
		return false;
	*ret = (int)n;
	return true;
}

static void on_failed_early(struct loop_timer *t)
{
	struct check_run *r = container_of(t, struct check_run, timer);

	tell(r, false, true, "%s", r->check ? r->check->text : "");
	run_free(r);
}

/* The check cannot even begin; the answer comes later all the same. */
static void fail_early(struct check_run *r, const char *text)
{
	snprintf(r->check->text, sizeof(r->check->text), "%s", text);
	loop_timer_start(&r->timer, r->k->loop, 0, on_failed_early);
}

static void add_headers(struct check_run *r, const Core__HTTPGetAction *h, const char **ret_host)
{
	struct http_header *hs = arena_new_array(&r->arena, struct http_header, h->n_http_headers + 2);
	size_t n = 0;

	hs[n++] = (struct http_header){STR("User-Agent"), STR("kube-probe/1.32")};
	hs[n++] = (struct http_header){STR("Accept"), STR("*/*")};
	for (size_t i = 0; i < h->n_http_headers; i++) {
		const char *name = nz(h->http_headers[i]->name), *value = nz(h->http_headers[i]->value);

		if (str_ieq(str_from(name), STR("Host")))
			*ret_host = value;
		else
			hs[n++] = (struct http_header){arena_str(&r->arena, str_from(name)),
					arena_str(&r->arena, str_from(value))};
	}
	r->http_call.headers = hs;
	r->http_call.n_headers = n;
}

static void start_http(struct check_run *r, const struct check_target *t, uint64_t timeout_ms)
{
	const Core__HTTPGetAction *h = t->http;
	bool https = strcmp(nz(h->scheme), "HTTPS") == 0;
	struct tls_config tc = {.verify = TLS_VERIFY_NONE, .alpn = "http/1.1"};
	struct http_client_config cfg = {.proto = HTTP_PROTO_1, .connect_timeout_ms = timeout_ms, .max_connections = 1};
	const char *path = is_set(h->path) ? h->path : "/", *host = NULL;
	struct err e = ERR_INIT;
	int port, rc = 0;

	if (!port_of(h->port, t->container, &port)) {
		fail_early(r, "the port of the HTTP check is not known");
		return;
	}
	cfg.address = arena_printf(&r->arena, "%s:%d", is_set(h->host) ? h->host : t->pod_ip, port);
	add_headers(r, h, &host);
	cfg.host = host;
	if (https)
		rc = tls_ctx_new(&tc, &cfg.tls, &e);
	if (rc == 0)
		rc = http_client_new(r->k->loop, &cfg, &r->http, &e);
	tls_ctx_unref(cfg.tls);
	if (rc < 0) {
		fail_early(r, e.text);
		return;
	}
	r->http_call.method = "GET";
	r->http_call.path = path[0] == '/' ? arena_strdup(&r->arena, path) : arena_printf(&r->arena, "/%s", path);
	r->http_call.timeout_ms = timeout_ms;
	r->http_call.max_body = 1 << 20;
	r->http_call.done = http_done;
	http_call_start(r->http, &r->http_call);
}

/* --- tcp ----------------------------------------------------------------------------------------------------------- */

static void connected(struct stream_connect *c, struct stream *s, const struct err *e)
{
	struct check_run *r = container_of(c, struct check_run, connect);

	if (s)
		stream_close(s, NULL, NULL);
	tell(r, s != NULL, false, "%s", e ? e->text : "ok");
	run_free(r);
}

static void start_tcp(struct check_run *r, const struct check_target *t, uint64_t timeout_ms)
{
	int port;

	if (!port_of(t->tcp->port, t->container, &port)) {
		fail_early(r, "the port of the TCP check is not known");
		return;
	}
	r->connect.loop = r->k->loop;
	r->connect.address = arena_printf(&r->arena, "%s:%d", is_set(t->tcp->host) ? t->tcp->host : t->pod_ip, port);
	r->connect.timeout_ms = timeout_ms;
	r->connect.done = connected;
	stream_connect(&r->connect);
}

/* --- grpc ---------------------------------------------------------------------------------------------------------- */

static void grpc_done(struct grpc_call *g)
{
	struct check_run *r = container_of(g, struct check_run, grpc);
	struct str m = buf_str(&g->message);
	/* HealthCheckResponse: status 1, SERVING = 1. */
	bool serving = g->code == GRPC_OK && m.n >= 2 && m.p[0] == 0x08 && m.p[1] == 1;

	if (g->code != GRPC_OK)
		tell(r, false, false, "error: health rpc probe failed: %.*s", STR_FMT(g->status));
	else
		tell(r, serving, false, "service %s", serving ? "ok" : "unhealthy");
	grpc_call_fini(g);
	grpc_channel_close(r->channel, http_closed, r);
}

static void start_grpc(struct check_run *r, const struct check_target *t, uint64_t timeout_ms)
{
	struct grpc_channel_config cfg = {.connect_timeout_ms = timeout_ms};
	const char *service = nz(t->grpc->service);
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	cfg.address = arena_printf(&r->arena, "%s:%d", t->pod_ip, PB_OR(t->grpc, port, 0));
	if (grpc_channel_new(r->k->loop, &cfg, &r->channel, &e) < 0) {
		fail_early(r, e.text);
		return;
	}
	if (*service && strlen(service) < 128) {
		buf_add1(&b, 0x0a);
		buf_add1(&b, (char)strlen(service));
		buf_addc(&b, service);
	}
	r->grpc.method = "/grpc.health.v1.Health/Check";
	r->grpc.timeout_ms = timeout_ms;
	r->grpc.done = grpc_done;
	grpc_unary(r->channel, &r->grpc, buf_str(&b));
	buf_fini(&b);
}

/* --- sleep --------------------------------------------------------------------------------------------------------- */

static void on_slept(struct loop_timer *t)
{
	struct check_run *r = container_of(t, struct check_run, timer);

	tell(r, true, false, "ok");
	run_free(r);
}

bool check_start(struct check *c, const struct check_target *t)
{
	struct check_run *r;

	if (!t->exec && !t->http && !t->tcp && !t->grpc && !t->sleep)
		return false;
	r = xcalloc(1, sizeof(*r));
	r->check = c;
	r->k = c->k;
	c->priv = r;
	arena_init(&r->arena);
	kubelet_busy(c->k);
	if (t->exec) {
		r->kind = CHECK_EXEC;
		start_exec(r, t, c->timeout_ms);
	} else if (t->http) {
		r->kind = CHECK_HTTP;
		start_http(r, t, c->timeout_ms);
	} else if (t->tcp) {
		r->kind = CHECK_TCP;
		start_tcp(r, t, c->timeout_ms);
	} else if (t->grpc) {
		r->kind = CHECK_GRPC;
		start_grpc(r, t, c->timeout_ms);
	} else {
		uint64_t ms = (uint64_t)MAX(PB_OR(t->sleep, seconds, 0), 0) * 1000;

		r->kind = CHECK_SLEEP;
		loop_timer_start(&r->timer, r->k->loop, MIN(ms, c->timeout_ms), on_slept);
	}
	return true;
}

void check_cancel(struct check *c)
{
	struct check_run *r = TAKE(c->priv);

	if (!r)
		return;
	r->check = NULL;
	if (loop_timer_active(&r->timer)) {
		loop_timer_stop(&r->timer);
		run_free(r);
	} else if (r->kind == CHECK_EXEC) {
		cri_cancel(&r->cri);
	} else if (r->kind == CHECK_HTTP) {
		http_call_cancel(&r->http_call);
	} else if (r->kind == CHECK_TCP) {
		stream_connect_cancel(&r->connect);
	} else if (r->kind == CHECK_GRPC) {
		grpc_cancel(&r->grpc);
	}
}
