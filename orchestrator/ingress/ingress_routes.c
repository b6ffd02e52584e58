#include "orchestrator/ingress/ingress_routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"

#define SERVICE_NAME_LABEL "kubernetes.io/service-name"

struct compiler {
	const struct ingress_input *in;
	struct ingress_routes *r;
	struct map services;                  /* "ns/name" -> Core__Service */
	struct map exact, whole, prefix, hosts; /* key -> backend name, while they are made */
	struct map backends;                  /* name -> struct ingress_backend */
	const char *fallback;                 /* of the first Ingress without rules */
};

/* --- Ours ------------------------------------------------------------------------------------------------------------ */

static bool class_is_ours(const char *name, const Networking__IngressClass *const *classes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pb_streq(classes[i]->metadata->name, name))
			return classes[i]->spec && pb_streq(classes[i]->spec->controller, INGRESS_CONTROLLER);
	return false;
}

bool ingress_is_ours(const Networking__Ingress *i, const Networking__IngressClass *const *classes, size_t n)
{
	const char *name = ingress_class(i);

	return name && i->spec && !i->metadata->deletion_timestamp && class_is_ours(name, classes, n);
}

static int64_t made_s(const Networking__Ingress *i)
{
	return i->metadata->creation_timestamp ? pb_or(i->metadata->creation_timestamp, seconds, 0) : 0;
}

static int by_age(const void *va, const void *vb)
{
	const Networking__Ingress *a = *(const Networking__Ingress *const *)va, *b = *(const Networking__Ingress *const *)vb;
	int r;

	if (made_s(a) != made_s(b))
		return made_s(a) < made_s(b) ? -1 : 1;
	r = strcmp(pb_s(a->metadata->namespace_), pb_s(b->metadata->namespace_));
	return r ? r : strcmp(pb_s(a->metadata->name), pb_s(b->metadata->name));
}

static void refuse(struct compiler *c, const Networking__Ingress *i, const char *what, const char *why)
{
	struct ingress_routes *r = c->r;

	r->refused = arena_grow(&r->arena, r->refused, r->n_refused * sizeof(char *), (r->n_refused + 1) * sizeof(char *));
	r->refused[r->n_refused++] = arena_printf(&r->arena, "Ingress %s/%s: %s: %s", pb_s(i->metadata->namespace_), pb_s(i->metadata->name), what, why);
}

/* --- Backends ---------------------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t sort_texts(const char **v, size_t n)
{
	size_t kept = 0;

	if (n > 1)
		qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || strcmp(v[kept - 1], v[i]) != 0)
			v[kept++] = v[i];
	return kept;
}

static const Core__ServicePort *port_of(const Core__Service *s, const Networking__ServiceBackendPort *want)
{
	for (size_t i = 0; s->spec && want && i < s->spec->n_ports; i++) {
		const Core__ServicePort *p = s->spec->ports[i];

		if (pb_s(want->name)[0] ? pb_streq(p->name, want->name) : pb_or(p, port, 0) == pb_or(want, number, 0))
			return p;
	}
	return NULL;
}

static bool is_address(const char *ip)
{
	unsigned a, b, c, d;
	char more;

	return sscanf(ip, "%u.%u.%u.%u%c", &a, &b, &c, &d, &more) == 4 && a < 256 && b < 256 && c < 256 && d < 256;
}

static void add_slice(struct ingress_routes *r, struct ingress_backend *b, const Discovery__EndpointSlice *s, const char *port_name)
{
	int32_t port = 0;

	for (size_t i = 0; i < s->n_ports && port == 0; i++)
		if (pb_streq(s->ports[i]->name, port_name) && (!s->ports[i]->protocol || pb_streq(s->ports[i]->protocol, "TCP")))
			port = pb_or(s->ports[i], port, 0);
	if (port <= 0 || port > 65535)
		return;
	b->endpoints = arena_grow(&r->arena, b->endpoints, b->n_endpoints * sizeof(char *), (b->n_endpoints + s->n_endpoints) * sizeof(char *));
	for (size_t i = 0; i < s->n_endpoints; i++) {
		const Discovery__Endpoint *e = s->endpoints[i];

		/* Not said is ready. */
		if ((e->conditions && !pb_or(e->conditions, ready, true)) || e->n_addresses == 0 || !is_address(e->addresses[0]))
			continue;
		b->endpoints[b->n_endpoints++] = arena_printf(&r->arena, "%s:%d", e->addresses[0], port);
	}
}

static void fill(struct compiler *c, struct ingress_backend *b, const Core__Service *s, const Core__ServicePort *p)
{
	b->by_client = pb_streq(s->spec->session_affinity, "ClientIP");
	for (size_t i = 0; i < c->in->n_slices; i++) {
		const Discovery__EndpointSlice *slice = c->in->slices[i];

		if (pb_streq(slice->address_type, "IPv4") && pb_streq(slice->metadata->namespace_, s->metadata->namespace_) &&
				pb_streq(pb_map_get(slice->metadata->labels, slice->metadata->n_labels, SERVICE_NAME_LABEL), s->metadata->name))
			add_slice(c->r, b, slice, p->name);
	}
	b->n_endpoints = sort_texts(b->endpoints, b->n_endpoints);
}

/* A Service that is not there (yet), or has not that port, is a backend without pods. NULL: it is none at all. */
static const char *backend(struct compiler *c, const Networking__Ingress *i, const Networking__IngressBackend *want)
{
	const char *ns = pb_s(i->metadata->namespace_), *name;
	const Networking__IngressServiceBackend *to = want ? want->service : NULL;
	const Core__Service *s;
	const Core__ServicePort *p;
	struct ingress_backend *b;

	if (!to || !to->port) {
		refuse(c, i, "backend", "only Services are served");
		return NULL;
	}
	name = pb_s(to->port->name)[0] ? arena_printf(&c->r->arena, "%s:%s:%s", ns, pb_s(to->name), to->port->name) :
					 arena_printf(&c->r->arena, "%s:%s:%d", ns, pb_s(to->name), pb_or(to->port, number, 0));
	b = map_get(&c->backends, str_from(name));
	if (b)
		return b->name;
	b = arena_new_of(&c->r->arena, struct ingress_backend);
	b->name = name;
	map_put(&c->backends, str_from(name), b);
	s = map_get(&c->services, str_from(arena_printf(&c->r->arena, "%s/%s", ns, pb_s(to->name))));
	p = s ? port_of(s, to->port) : NULL;
	if (!p)
		refuse(c, i, name, s ? "the Service has no such port" : "there is no such Service");
	else if (pb_streq(s->spec->type, "ExternalName"))
		refuse(c, i, name, "a Service of type ExternalName is not served");
	else
		fill(c, b, s, p);
	return name;
}

/* --- Rules -------------------------------------------------------------------------------------------------------------- */

static void route(struct map *table, const char *key, const char *to)
{
	if (to && !map_get(table, str_from(key)))
		map_put(table, str_from(key), (void *)(uintptr_t)to);
}

/* What a line of a table can hold, and a request's path can be. */
static bool is_plain(const char *path)
{
	if (path[0] != '/' || strlen(path) > 4096)
		return false;
	for (const char *p = path; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '?' || *p == '#')
			return false;
	return true;
}

static void add_path(struct compiler *c, const Networking__Ingress *i, const char *bucket, const Networking__HTTPIngressPath *p)
{
	const char *path = pb_s(p->path)[0] ? p->path : "/", *to;
	char *stem;
	size_t n;

	if (!is_plain(path)) {
		refuse(c, i, path, "no request can have this path");
		return;
	}
	to = backend(c, i, p->backend);
	if (pb_streq(p->path_type, "Exact")) {
		route(&c->exact, arena_printf(&c->r->arena, "%s%s", bucket, path), to);
		return;
	}
	stem = arena_printf(&c->r->arena, "%s%s", bucket, path);
	n = strlen(stem);
	while (n > 0 && stem[n - 1] == '/')
		stem[--n] = '\0';
	if (strchr(stem, '/'))
		route(&c->whole, stem, to);
	route(&c->prefix, arena_printf(&c->r->arena, "%s/", stem), to);
}

/* Validation lets no other through; a stray word would change the meaning of a line. */
static bool is_host(const char *host)
{
	return strlen(host) < 256 && host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*")] == '\0';
}

static const char *bucket_of(struct compiler *c, const char *host)
{
	char *b;

	if (!pb_s(host)[0])
		return "*";
	b = arena_strdup(&c->r->arena, host);
	for (char *p = b; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	route(&c->hosts, b, b);
	return b;
}

static void add_rules(struct compiler *c, const Networking__Ingress *i)
{
	for (size_t k = 0; k < i->spec->n_rules; k++) {
		const Networking__IngressRule *rule = i->spec->rules[k];
		const Networking__HTTPIngressRuleValue *http = rule->ingress_rule_value ? rule->ingress_rule_value->http : NULL;
		const char *bucket;

		if (!is_host(pb_s(rule->host))) {
			refuse(c, i, pb_s(rule->host), "this is no host");
			continue;
		}
		bucket = bucket_of(c, rule->host);
		for (size_t m = 0; http && m < http->n_paths; m++)
			add_path(c, i, bucket, http->paths[m]);
	}
}

/* After all rules, since these are last. */
static void add_defaults(struct compiler *c, const Networking__Ingress *i)
{
	const char *to;

	if (!i->spec->default_backend)
		return;
	to = backend(c, i, i->spec->default_backend);
	if (i->spec->n_rules == 0 && !c->fallback)
		c->fallback = to;
	for (size_t k = 0; k < i->spec->n_rules; k++)
		if (is_host(pb_s(i->spec->rules[k]->host)))
			route(&c->prefix, arena_printf(&c->r->arena, "%s/", bucket_of(c, i->spec->rules[k]->host)), to);
}

/* --- Certificates --------------------------------------------------------------------------------------------------------- */

static const struct ingress_secret *secret_of(const struct ingress_input *in, const char *ns, const char *name)
{
	for (size_t i = 0; i < in->n_secrets; i++)
		if (pb_streq(in->secrets[i].ns, ns) && pb_streq(in->secrets[i].name, name))
			return &in->secrets[i];
	return NULL;
}

static void add_host(struct ingress_cert *t, const char *host)
{
	if (pb_s(host)[0] && is_host(host))
		t->hosts[t->n_hosts++] = host;
}

static void add_tls(struct compiler *c, const Networking__Ingress *i, const Networking__IngressTLS *tls)
{
	struct ingress_routes *r = c->r;
	const struct ingress_secret *s = secret_of(c->in, i->metadata->namespace_, tls->secret_name);
	struct ingress_cert *t;

	if (!pb_s(tls->secret_name)[0])
		return;
	if (!s) {
		refuse(c, i, arena_printf(&r->arena, "Secret %s", tls->secret_name), "there is no good certificate in it");
		return;
	}
	r->certs = arena_grow(&r->arena, r->certs, r->n_certs * sizeof(*t), (r->n_certs + 1) * sizeof(*t));
	t = &r->certs[r->n_certs++];
	*t = (struct ingress_cert){.ns = s->ns, .name = s->name, .cert_pem = s->cert_pem, .key_pem = s->key_pem};
	t->hosts = arena_new_array(&r->arena, const char *, tls->n_hosts + i->spec->n_rules + 1);
	for (size_t k = 0; k < tls->n_hosts; k++)
		add_host(t, tls->hosts[k]);
	for (size_t k = 0; tls->n_hosts == 0 && k < i->spec->n_rules; k++)
		add_host(t, i->spec->rules[k]->host);
	t->n_hosts = sort_texts(t->hosts, t->n_hosts);
}

/* --- All --------------------------------------------------------------------------------------------------------------------- */

static int by_key(const void *va, const void *vb)
{
	const struct ingress_route *a = va, *b = vb;

	return strcmp(a->key, b->key);
}

static void settle(struct ingress_routes *r, struct map *from, struct ingress_table *to)
{
	to->v = arena_new_array(&r->arena, struct ingress_route, map_len(from) + 1);
	MAP_FOR_EACH (e, from)
		to->v[to->n++] = (struct ingress_route){arena_cstr(&r->arena, e->key), e->value};
	qsort(to->v, to->n, sizeof(*to->v), by_key);
	map_fini(from);
}

static int by_name(const void *va, const void *vb)
{
	const struct ingress_backend *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

static void settle_backends(struct compiler *c)
{
	struct ingress_routes *r = c->r;

	r->backends = arena_new_array(&r->arena, struct ingress_backend, map_len(&c->backends) + 1);
	MAP_FOR_EACH (e, &c->backends)
		r->backends[r->n_backends++] = *(struct ingress_backend *)e->value;
	qsort(r->backends, r->n_backends, sizeof(*r->backends), by_name);
	map_fini(&c->backends);
}

struct ingress_routes *ingress_routes_new(const struct ingress_input *in)
{
	struct ingress_routes *r = xcalloc(1, sizeof(*r));
	struct compiler c = {.in = in, .r = r};
	const Networking__Ingress **ours;
	const char **hosts;
	size_t n_hosts = 0;

	arena_init(&r->arena);
	ours = arena_new_array(&r->arena, const Networking__Ingress *, in->n_ingresses + 1);
	for (size_t i = 0; i < in->n_ingresses; i++)
		if (ingress_is_ours(in->ingresses[i], in->classes, in->n_classes))
			ours[r->n_ingresses++] = in->ingresses[i];
	qsort(ours, r->n_ingresses, sizeof(*ours), by_age);
	for (size_t i = 0; i < in->n_services; i++)
		map_put(&c.services, str_from(arena_printf(&r->arena, "%s/%s", pb_s(in->services[i]->metadata->namespace_),
				in->services[i]->metadata->name)), (void *)(uintptr_t)in->services[i]);
	for (size_t i = 0; i < r->n_ingresses; i++)
		add_rules(&c, ours[i]);
	for (size_t i = 0; i < r->n_ingresses; i++) {
		add_defaults(&c, ours[i]);
		for (size_t k = 0; k < ours[i]->spec->n_tls; k++)
			add_tls(&c, ours[i], ours[i]->spec->tls[k]);
	}
	hosts = arena_new_array(&r->arena, const char *, map_len(&c.hosts) + 1);
	hosts[n_hosts++] = "*";
	MAP_FOR_EACH (e, &c.hosts)
		hosts[n_hosts++] = e->value;
	for (size_t i = 0; c.fallback && i < n_hosts; i++)
		route(&c.prefix, arena_printf(&r->arena, "%s/", hosts[i]), c.fallback);
	map_fini(&c.services);
	settle(r, &c.hosts, &r->hosts);
	settle(r, &c.exact, &r->exact);
	settle(r, &c.whole, &r->whole);
	settle(r, &c.prefix, &r->prefix);
	settle_backends(&c);
	return r;
}

void ingress_routes_free(struct ingress_routes *r)
{
	if (!r)
		return;
	arena_fini(&r->arena);
	free(r);
}
