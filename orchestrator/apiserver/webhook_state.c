#include "orchestrator/apiserver/webhook_state.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

/* Addresses come and go with pods: over so many, those that nobody uses now are closed. */
#define MAX_CLIENTS 64

struct source {
	struct watcher watcher;
	struct webhook_state *state;
	const struct resource *res;
};

struct webhook_state {
	struct store *store;
	struct watch_hub *hub;
	struct loop *loop;
	int netns_fd;
	struct webhook_index *index; /* NULL: to be made */
	struct map clients;          /* address, name and CA -> struct webhook_client */
	struct arena arena;          /* the watchers' keys */
	struct source source[WEBHOOK_N_KINDS];
};

static const char *const plurals[WEBHOOK_N_KINDS] = {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"};

void webhook_index_unref(struct webhook_index *ix)
{
	if (!ix || --ix->refs > 0)
		return;
	arena_fini(&ix->arena);
	free(ix);
}

static void forget(struct webhook_state *st)
{
	webhook_index_unref(TAKE(st->index));
}

static void add(struct webhook_index *ix, enum webhook_kind k, const struct json *config)
{
	struct webhook *some;
	size_t n, have = ix->n[k];

	webhook_compile(&ix->arena, config, &some, &n);
	ix->v[k] = arena_grow(&ix->arena, ix->v[k], have * sizeof(*some), (have + n) * sizeof(*some));
	for (size_t i = 0; i < n; i++)
		ix->v[k][ix->n[k]++] = some[i];
}

/* Keys come in the order of names. */
static void load_source(struct webhook_index *ix, struct source *s, enum webhook_kind k, struct store_view *v)
{
	struct view_iter it;
	struct store_kv kv;
	struct json *config;
	struct err e = ERR_INIT;
	struct str raw;

	view_iter_init(&it, v, s->watcher.key, s->watcher.end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0) {
		if (storage_unwrap_key(&ix->arena, kv.key, kv.value, &raw) &&
				api_dom_of(&ix->arena, s->res, arena_str(&ix->arena, raw), &config, &e) == 0)
			add(ix, k, config);
		else
			log_warn("apiserver", "webhook configuration %.*s cannot be read", STR_FMT(kv.key));
	}
	view_iter_fini(&it);
	if (e.code)
		log_warn("apiserver", "webhook configurations cannot be read: %s", e.text);
}

struct webhook_index *webhook_state_index(struct webhook_state *st)
{
	struct store_view *v;
	struct err e = ERR_INIT;

	if (st->index)
		return st->index;
	st->index = xcalloc(1, sizeof(*st->index));
	st->index->refs = 1;
	arena_init(&st->index->arena);
	if (store_view_open(st->store, &v, &e) < 0) {
		log_warn("apiserver", "webhook configurations cannot be read: %s", e.text);
		return st->index;
	}
	for (enum webhook_kind k = 0; k < WEBHOOK_N_KINDS; k++)
		load_source(st->index, &st->source[k], k, v);
	store_view_close(v);
	return st->index;
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	(void)revision, (void)events, (void)n;
	forget(container_of(w, struct source, watcher)->state);
}

static void watch_from_now(struct source *s)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	if (store_view_open(s->state->store, &v, &e) == 0) {
		rev = view_revision(v);
		store_view_close(v);
	}
	watch_start(s->state->hub, &s->watcher, rev + 1);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct source *s = container_of(w, struct source, watcher);

	(void)compact_revision;
	forget(s->state);
	watch_from_now(s);
}

struct webhook_state *webhook_state_new(struct store *store, struct watch_hub *hub, struct loop *loop, int netns_fd)
{
	struct webhook_state *st = xcalloc(1, sizeof(*st));

	st->store = store;
	st->hub = hub;
	st->loop = loop;
	st->netns_fd = netns_fd;
	map_init(&st->clients);
	arena_init(&st->arena);
	for (enum webhook_kind k = 0; k < WEBHOOK_N_KINDS; k++) {
		struct source *s = &st->source[k];

		s->state = st;
		s->res = resource_find("admissionregistration.k8s.io", "v1", plurals[k]);
		s->watcher.key = storage_prefix(&st->arena, s->res, STR_NULL);
		s->watcher.end = storage_end(&st->arena, s->watcher.key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
		/* The index is made later, of what is there then: an event of before does no harm. */
		watch_from_now(s);
	}
	return st;
}

/* --- Connections ------------------------------------------------------------------------------------------------------------ */

static void client_free(struct webhook_client *c, void (*cb)(void *arg), void *arg)
{
	http_client_close(c->http, cb, arg);
	free(c);
}

unsigned webhook_state_close(struct webhook_state *st, void (*cb)(void *arg), void *arg)
{
	unsigned n = 0;

	if (!st)
		return 0;
	MAP_FOR_EACH (entry, &st->clients) {
		client_free(entry->value, cb, arg);
		n++;
	}
	map_clear(&st->clients);
	return n;
}

void webhook_state_free(struct webhook_state *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < WEBHOOK_N_KINDS; i++)
		watch_stop(&st->source[i].watcher);
	forget(st);
	webhook_state_close(st, NULL, NULL);
	map_fini(&st->clients);
	arena_fini(&st->arena);
	free(st);
}

static void make_room(struct webhook_state *st)
{
	if (map_len(&st->clients) < MAX_CLIENTS)
		return;
	MAP_FOR_EACH (entry, &st->clients) {
		struct webhook_client *c = entry->value;

		if (c->users > 0)
			continue;
		map_del(&st->clients, entry->key);
		client_free(c, NULL, NULL);
	}
}

int webhook_client_get(struct webhook_state *st, const char *address, const char *server_name, struct str ca_pem,
		struct webhook_client **ret, struct err *e)
{
	struct http_client_config hc = {.address = address, .netns_fd = st->netns_fd, .server_name = server_name, .host = server_name};
	struct tls_config tc = {.verify = TLS_VERIFY_REQUIRED, .alpn = "h2,http/1.1", .ca_pem = ca_pem};
	_cleanup_(buf_fini) struct buf key = BUF_INIT;
	struct tls_ctx *tls = NULL;
	struct http_client *http;
	int r;

	/* Whom to trust is part of it. */
	buf_printf(&key, "%s %s ", address, server_name);
	buf_adds(&key, ca_pem);
	*ret = map_get(&st->clients, buf_str(&key));
	if (*ret) {
		(*ret)->users++;
		return 0;
	}
	make_room(st);
	if (tls_ctx_new(&tc, &tls, e) < 0)
		return -(int)e->code;
	hc.tls = tls;
	r = http_client_new(st->loop, &hc, &http, e);
	tls_ctx_unref(tls);
	if (r < 0)
		return r;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->http = http;
	(*ret)->users = 1;
	map_put(&st->clients, buf_str(&key), *ret);
	return 0;
}

void webhook_client_put(struct webhook_state *st, struct webhook_client *c)
{
	(void)st;
	c->users--;
}
