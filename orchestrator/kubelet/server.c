/*
 * The kubelet's HTTPS server: logs, exec, attach, port-forward for the API server, and health on loopback.
 *
 * Every request on the TLS port, but the one for its health, needs somebody who may: server-auth.c.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

struct kubelet_server {
	struct kubelet *k;
	struct http_server *tls, *health;
	struct http_handler tls_handler, health_handler;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct {
	const char *name;
	size_t n_args;
	void (*serve)(struct route_args *, struct http_request *);
} routes[] = {
	{"containerLogs", 3, serve_logs},
	{"exec", 3, serve_exec},
	{"attach", 3, serve_attach},
	{"portForward", 2, serve_port_forward},
	{"run", 3, serve_run},
	{"metrics", 0, serve_metrics},
	{"stats", 1, serve_stats},
	{"volumes", 1, serve_volumes},
};

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *unescape(struct arena *a, struct str s, bool plus)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
			out[n++] = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
			i += 2;
		} else {
			out[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	out[n] = '\0';
	return out;
}

const char **query_all(struct http_request *r, const char *name, size_t *ret_n)
{
	struct str rest = r->query, pair, key, value;
	const char **all = NULL;
	size_t n = 0;

	while (rest.n > 0) {
		str_cut(rest, '&', &pair, &rest);
		if (!str_cut(pair, '=', &key, &value))
			value = STR_NULL;
		if (strcmp(unescape(&r->arena, key, true), name) != 0)
			continue;
		all = arena_grow(&r->arena, all, n * sizeof(*all), (n + 1) * sizeof(*all));
		all[n++] = unescape(&r->arena, value, true);
	}
	*ret_n = n;
	return all;
}

const char *query_get(struct http_request *r, const char *name)
{
	size_t n;
	const char **all = query_all(r, name, &n);

	return n ? all[0] : NULL;
}

bool query_bool(struct http_request *r, const char *name)
{
	const char *v = query_get(r, name);

	return v && (strcmp(v, "1") == 0 || strcmp(v, "true") == 0 || strcmp(v, "True") == 0 || strcmp(v, "t") == 0);
}

void respond_text(struct http_request *r, int status, const char *fmt, ...)
{
	struct http_header h[] = {{STR("Content-Type"), STR("text/plain; charset=utf-8")}};
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(&r->arena, fmt, ap);
	va_end(ap);
	http_respond(r, status, h, ARRAY_LEN(h), str_from(text));
}

struct pod_worker *find_pod(struct route_args *args, struct http_request *r)
{
	struct pod_worker *found = NULL;

	MAP_FOR_EACH (e, &args->k->workers) {
		struct pod_worker *w = e->value;

		/* The one before it, of the same name, may not have cleaned up yet. */
		if (strcmp(w->ns, args->part[0]) == 0 && strcmp(w->name, args->part[1]) == 0 && (!found || (w->pod && !w->unwanted)))
			found = w;
	}
	if (!found)
		respond_text(r, 404, "pod \"%s\" in namespace \"%s\" is not on this node\n", args->part[1], args->part[0]);
	return found;
}

static void split_path(struct http_request *r, struct str path, struct route_args *args)
{
	struct str part;

	while (path.n > 0 && args->n < ARRAY_LEN(args->part)) {
		str_cut(path, '/', &part, &path);
		if (part.n)
			args->part[args->n++] = unescape(&r->arena, part, false);
	}
}

static void serve(void *arg, struct http_request *r)
{
	struct kubelet_server *s = arg;
	struct route_args args = {.k = s->k};
	struct str name, rest;

	str_cut(str_skip(r->path, 1), '/', &name, &rest);
	split_path(r, rest, &args);
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (str_eqc(name, routes[i].name) && args.n >= routes[i].n_args) {
			routes[i].serve(&args, r);
			return;
		}
	}
	respond_text(r, 404, "404 page not found\n");
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct kubelet_server *s = container_of(h, struct kubelet_server, tls_handler);

	if (str_eqc(r->path, "/healthz"))
		respond_text(r, 200, "ok");
	else
		server_auth(s->k, r, serve, s);
}

static void on_health(struct http_handler *h, struct http_request *r)
{
	struct kubelet_server *s = container_of(h, struct kubelet_server, health_handler);

	if (!str_eqc(r->path, "/healthz"))
		respond_text(r, 404, "404 page not found\n");
	else if (!s->k->runtime_ready)
		respond_text(r, 503, "container runtime is down");
	else
		respond_text(r, 200, "ok");
}

int server_new(struct kubelet *k, struct kubelet_server **ret, struct err *e)
{
	struct kubelet_server *s = xcalloc(1, sizeof(*s));
	struct http_server_config cfg = {.tls = k->cfg->tls};
	int rc = 0;

	s->k = k;
	s->tls_handler.on_request = on_request;
	s->health_handler.on_request = on_health;
	if (k->cfg->port >= 0 && k->cfg->tls) {
		_cleanup_(freep) char *address = xasprintf(":%d", k->cfg->port);

		cfg.address = address;
		rc = http_server_new(k->loop, &cfg, &s->tls_handler, &s->tls, e);
	}
	if (rc == 0 && k->cfg->healthz_port >= 0) {
		_cleanup_(freep) char *address = xasprintf("127.0.0.1:%d", k->cfg->healthz_port);

		cfg = (struct http_server_config){.address = address};
		rc = http_server_new(k->loop, &cfg, &s->health_handler, &s->health, e);
	}
	*ret = s; /* also on failure: what was opened is closed with it */
	return rc;
}

uint16_t server_port(const struct kubelet_server *s)
{
	return s->tls ? http_server_port(s->tls) : 0;
}

static void health_closed(void *arg)
{
	struct kubelet_server *s = arg;
	void (*closed)(void *arg) = s->closed;
	void *closed_arg = s->closed_arg;

	free(s);
	closed(closed_arg);
}

static void tls_closed(void *arg)
{
	struct kubelet_server *s = arg;

	if (s->health)
		http_server_close(s->health, 0, health_closed, s);
	else
		health_closed(s);
}

void server_close(struct kubelet_server *s, void (*closed)(void *arg), void *arg)
{
	s->closed = closed;
	s->closed_arg = arg;
	if (s->tls)
		http_server_close(s->tls, 0, tls_closed, s);
	else
		tls_closed(s);
}
