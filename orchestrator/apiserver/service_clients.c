#include "orchestrator/apiserver/service_clients.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/proxy_target.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"

/* Addresses come and go with pods: over so many, those that nobody uses now are closed. */
#define MAX_CLIENTS 64

struct service_clients {
	struct loop *loop;
	int netns_fd;
	struct map clients; /* all of struct service_server -> struct service_client */
};

struct service_clients *service_clients_new(struct loop *loop, int netns_fd)
{
	struct service_clients *all = xcalloc(1, sizeof(*all));

	all->loop = loop;
	all->netns_fd = netns_fd;
	map_init(&all->clients);
	return all;
}

/* Calls that still run end in a later turn of the loop: the last of them frees it. */
static void client_close(struct service_client *c, void (*cb)(void *arg), void *arg)
{
	c->closed = true;
	http_client_close(c->http, cb, arg);
	if (c->users == 0)
		free(c);
}

unsigned service_clients_close(struct service_clients *all, void (*cb)(void *arg), void *arg)
{
	unsigned n = 0;

	if (!all)
		return 0;
	MAP_FOR_EACH (entry, &all->clients) {
		client_close(entry->value, cb, arg);
		n++;
	}
	map_clear(&all->clients);
	return n;
}

void service_clients_free(struct service_clients *all)
{
	if (!all)
		return;
	service_clients_close(all, NULL, NULL);
	map_fini(&all->clients);
	free(all);
}

static void make_room(struct service_clients *all)
{
	if (map_len(&all->clients) < MAX_CLIENTS)
		return;
	MAP_FOR_EACH (entry, &all->clients) {
		struct service_client *c = entry->value;

		if (c->users > 0)
			continue;
		map_del(&all->clients, entry->key);
		client_close(c, NULL, NULL);
	}
}

int service_client_get(struct service_clients *all, const struct service_server *s, struct service_client **ret, struct err *e)
{
	struct http_client_config hc = {.address = s->address, .netns_fd = all->netns_fd, .server_name = s->name, .host = s->name,
			.proto = s->http1 ? HTTP_PROTO_1 : HTTP_PROTO_AUTO, .max_connections = s->max_connections};
	struct tls_config tc = {.verify = s->insecure ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED, .ca_pem = s->ca_pem,
			.alpn = s->http1 ? "http/1.1" : "h2,http/1.1", .cert_pem = s->cert_pem, .key_pem = s->key_pem};
	_cleanup_(buf_fini) struct buf key = BUF_INIT;
	struct tls_ctx *tls = NULL;
	struct http_client *http;
	int r;

	/* Whom to trust and who we are is part of it. */
	buf_printf(&key, "%s %s %d%d ", s->address, s->name, s->insecure, s->http1);
	buf_adds(&key, s->ca_pem);
	buf_adds(&key, s->cert_pem);
	*ret = map_get(&all->clients, buf_str(&key));
	if (*ret) {
		(*ret)->users++;
		return 0;
	}
	make_room(all);
	if (tls_ctx_new(&tc, &tls, e) < 0)
		return -(int)e->code;
	hc.tls = tls;
	r = http_client_new(all->loop, &hc, &http, e);
	tls_ctx_unref(tls);
	if (r < 0)
		return r;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->http = http;
	(*ret)->users = 1;
	map_put(&all->clients, buf_str(&key), *ret);
	return 0;
}

void service_client_put(struct service_client *c)
{
	if (--c->users == 0 && c->closed)
		free(c);
}

/* --- Where a Service leads -------------------------------------------------------------------------------------------------- */

static int stored(struct store *store, struct arena *a, const char *plural, struct str ns, struct str name, struct json **ret, struct err *e)
{
	const struct resource *res = resource_find("", "v1", plural);
	struct str raw;
	uint64_t rv;

	if (storage_load(store, a, storage_key(a, res, ns, name), &raw, &rv, e) < 0 || api_dom_of(a, res, raw, ret, e) < 0)
		return -(int)e->code;
	return 0;
}

struct json *service_slices(struct store *store, struct arena *a, struct str ns, struct str name)
{
	const struct resource *res = resource_find("discovery.k8s.io", "v1", "endpointslices");
	struct str prefix = storage_prefix(a, res, ns), raw;
	struct json *list = json_new_array(a), *doc;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;

	if (store_view_open(store, &v, &e) < 0)
		return list;
	view_iter_init(&it, v, prefix, storage_end(a, prefix), 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0)
		if (storage_unwrap_key(a, kv.key, kv.value, &raw) && api_dom_of(a, res, arena_str(a, raw), &doc, &e) == 0 &&
				str_eq(json_str(json_getc(json_getp(doc, "metadata.labels"), "kubernetes.io/service-name")), name))
			json_push(a, list, doc);
	view_iter_fini(&it);
	store_view_close(v);
	return list;
}

struct json *service_endpoints_of(struct arena *a, const struct json *slices)
{
	struct json *doc = json_new_object(a), *subsets = json_new_array(a);

	JSON_ITEMS (s, slices) {
		struct json *subset = json_new_object(a), *addresses = json_new_array(a), *ports = json_getc(s, "ports");

		JSON_ITEMS (e, json_getc(s, "endpoints")) {
			const struct json *ready = json_getp(e, "conditions.ready");

			if (!json_is_null(ready) && !json_true(ready))
				continue;
			JSON_ITEMS (ip, json_getc(e, "addresses")) {
				struct json *one = json_new_object(a);

				json_setc(a, one, "ip", ip);
				json_push(a, addresses, one);
			}
		}
		if (ports)
			json_setc(a, subset, "ports", ports);
		json_setc(a, subset, "addresses", addresses);
		json_push(a, subsets, subset);
	}
	json_setc(a, doc, "subsets", subsets);
	return doc;
}

int service_resolve(struct store *store, struct arena *a, struct str ns, struct str name, int64_t port, const char **ret, struct err *e)
{
	struct proxy_name n = {STR(""), name, arena_sprintf(a, "%lld", (long long)port)};
	struct json *service, *endpoints = NULL;
	struct proxy_target t;

	if (stored(store, a, "services", ns, name, &service, e) < 0)
		return e->code == ERR_NOT_FOUND ? err_set(e, ERR_NOT_FOUND, "service \"%.*s\" not found", STR_FMT(name)) : -(int)e->code;
	if (json_eqc(json_getp(service, "spec.type"), "ExternalName")) {
		*ret = arena_printf(a, "%.*s:%lld", STR_FMT(json_strp(service, "spec.externalName")), (long long)port);
		return 0;
	}
	if (stored(store, a, "endpoints", ns, name, &endpoints, e) < 0) {
		err_clear(e);
		endpoints = service_endpoints_of(a, service_slices(store, a, ns, name));
	}
	if (proxy_service_target(a, &n, service, endpoints, random_u64(), &t, e) < 0)
		return -(int)e->code;
	*ret = t.address;
	return 0;
}
