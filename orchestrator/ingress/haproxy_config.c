#include "orchestrator/ingress/haproxy_config.h"

#include <string.h>

#include "base/buf.h"
#include "base/util.h"

/*
 * A tunnel (WebSocket) and an answer that comes bit by bit may be silent for long; who sends no request soon has nothing to say. What was
 * open when the configuration changed may stay open for an hour.
 */
static const char GLOBAL[] =
	"    log stderr format raw local0 warning\n"
	"    fd-hard-limit 40000\n"
	"    hard-stop-after 1h\n"
	"    default-path config\n"
	"    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
	"    tune.ssl.default-dh-param 2048\n";

static const char DEFAULTS[] =
	"\ndefaults\n"
	"    mode http\n"
	"    log global\n"
	"    option dontlognull\n"
	"    option http-no-delay\n"
	"    option redispatch\n"
	"    retries 3\n"
	"    retry-on conn-failure empty-response\n"
	"    timeout connect 2s\n"
	"    timeout http-request 30s\n"
	"    timeout http-keep-alive 75s\n"
	"    timeout client 10m\n"
	"    timeout server 10m\n"
	"    timeout tunnel 24h\n"
	"    timeout queue 10s\n";

/* Which bucket, then which table: see ingress_routes.h. What a client says about itself in our headers is not passed on. */
static const char ROUTING[] =
	"    option forwardfor\n"
	"    http-request del-header X-Forwarded-For\n"
	"    http-request set-header X-Real-IP %[src]\n"
	"    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n"
	"    http-request set-header X-Forwarded-Host %[req.hdr(host)]\n"
	"    http-request set-header X-Forwarded-Port %[dst_port]\n"
	"    http-request set-var(txn.host) req.hdr(host),field(1,:),lower\n"
	"    http-request set-var(txn.bucket) var(txn.host),map_str(hosts.map)\n"
	"    http-request set-var(txn.bucket) var(txn.host),regsub(^[^.]+,*),map_str(hosts.map) if !{ var(txn.bucket) -m found }\n"
	"    http-request set-var(txn.bucket) str(*) if !{ var(txn.bucket) -m found }\n"
	"    http-request set-var(txn.path) path\n"
	"    http-request set-var(txn.key) var(txn.bucket),concat(,txn.path)\n"
	"    http-request set-var(txn.backend) var(txn.key),map_str(exact.map)\n"
	"    http-request set-var(txn.backend) var(txn.key),map_str(whole.map) if !{ var(txn.backend) -m found }\n"
	"    http-request set-var(txn.backend) var(txn.key),map_beg(prefix.map) if !{ var(txn.backend) -m found }\n"
	"    use_backend %[var(txn.backend)] if { var(txn.backend) -m found }\n"
	"    default_backend nowhere\n"
	"\nbackend nowhere\n"
	"    http-request return status 404 content-type text/plain string \"no Ingress leads there\"\n";

static void add_file(struct arena *a, struct haproxy_files *f, const char *name, struct buf *text)
{
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 16;

		f->v = arena_grow(a, f->v, f->cap * sizeof(*f->v), cap * sizeof(*f->v));
		f->cap = cap;
	}
	f->v[f->n++] = (struct haproxy_file){name, arena_str(a, buf_str(text))};
	buf_fini(text);
	*text = (struct buf)BUF_INIT;
}

static void add_table(struct arena *a, struct haproxy_files *f, const char *name, const struct ingress_table *t)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < t->n; i++)
		buf_printf(&b, "%s %s\n", t->v[i].key, t->v[i].backend);
	add_file(a, f, name, &b);
}

static void add_certs(struct arena *a, struct haproxy_files *f, const struct ingress_routes *r, struct str default_pem)
{
	struct buf list = BUF_INIT, pem = BUF_INIT;

	buf_adds(&pem, default_pem);
	add_file(a, f, "default.pem", &pem);
	/* The first one is for all names that no other is for. */
	buf_adds(&list, STR("default.pem\n"));
	for (size_t i = 0; i < r->n_certs; i++) {
		const struct ingress_cert *c = &r->certs[i];
		const char *name = arena_printf(a, "%s_%s.pem", c->ns, c->name);
		bool known = false;

		buf_printf(&list, "%s", name);
		for (size_t k = 0; k < c->n_hosts; k++)
			buf_printf(&list, " %s", c->hosts[k]);
		buf_addc(&list, "\n");
		for (size_t k = 0; k < f->n; k++)
			known = known || strcmp(f->v[k].name, name) == 0;
		if (known)
			continue;
		buf_adds(&pem, c->cert_pem);
		buf_addc(&pem, "\n");
		buf_adds(&pem, c->key_pem);
		buf_addc(&pem, "\n");
		add_file(a, f, name, &pem);
	}
	add_file(a, f, "certs.list", &list);
}

static void print_backend(struct buf *b, const struct ingress_backend *k)
{
	buf_printf(b, "\nbackend %s\n", k->name);
	if (k->n_endpoints == 0) {
		buf_addc(b, "    http-request return status 503 content-type text/plain string \"no pod is ready for this\"\n");
		return;
	}
	buf_addc(b, k->by_client ? "    balance source\n    hash-type consistent\n" : "    balance leastconn\n");
	for (size_t i = 0; i < k->n_endpoints; i++)
		buf_printf(b, "    server %s %s\n", k->endpoints[i], k->endpoints[i]);
}

void haproxy_files(struct arena *a, const struct ingress_routes *r, const struct haproxy_options *o, struct haproxy_files *ret)
{
	struct buf b = BUF_INIT;

	*ret = (struct haproxy_files){.n = 0};
	add_table(a, ret, "hosts.map", &r->hosts);
	add_table(a, ret, "exact.map", &r->exact);
	add_table(a, ret, "whole.map", &r->whole);
	add_table(a, ret, "prefix.map", &r->prefix);
	if (o->https_port)
		add_certs(a, ret, r, o->default_pem);
	buf_printf(&b, "global\n%s    stats socket %s mode 600 level admin expose-fd listeners\n", GLOBAL, o->socket);
	if (o->user)
		buf_printf(&b, "    user %s\n    group %s\n", o->user, o->user);
	buf_printf(&b, "%s\nfrontend ingress\n", DEFAULTS);
	if (o->http_port)
		buf_printf(&b, "    bind %s:%d\n", o->address, o->http_port);
	if (o->https_port)
		buf_printf(&b, "    bind %s:%d ssl crt-list certs.list alpn h2,http/1.1\n", o->address, o->https_port);
	buf_addc(&b, ROUTING);
	for (size_t i = 0; i < r->n_backends; i++)
		print_backend(&b, &r->backends[i]);
	add_file(a, ret, HAPROXY_CONFIG, &b);
}

bool haproxy_files_equal(const struct haproxy_files *a, const struct haproxy_files *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].name, b->v[i].name) != 0 || !str_eq(a->v[i].text, b->v[i].text))
			return false;
	return true;
}
