#include "orchestrator/apiserver/webhook_state.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

struct source {
	struct watcher watcher;
	struct str key, end; /* the watcher loses its own when it is stopped */
	struct webhook_state *state;
	const struct resource *res;
};

struct webhook_state {
	struct store *store;
	struct watch_hub *hub;
	struct webhook_index *index; /* NULL: to be made */
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

	view_iter_init(&it, v, s->key, s->end, 0, 0);
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
	s->watcher.key = s->key;
	s->watcher.end = s->end;
	watch_start(s->state->hub, &s->watcher, rev + 1);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct source *s = container_of(w, struct source, watcher);

	(void)compact_revision;
	forget(s->state);
	watch_from_now(s);
}

struct webhook_state *webhook_state_new(struct store *store, struct watch_hub *hub)
{
	struct webhook_state *st = xcalloc(1, sizeof(*st));

	st->store = store;
	st->hub = hub;
	arena_init(&st->arena);
	for (enum webhook_kind k = 0; k < WEBHOOK_N_KINDS; k++) {
		struct source *s = &st->source[k];

		s->state = st;
		s->res = resource_find("admissionregistration.k8s.io", "v1", plurals[k]);
		s->key = storage_prefix(&st->arena, s->res, STR_NULL);
		s->end = storage_end(&st->arena, s->key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
		/* The index is made later, of what is there then: an event of before does no harm. */
		watch_from_now(s);
	}
	return st;
}

void webhook_state_free(struct webhook_state *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < WEBHOOK_N_KINDS; i++)
		watch_stop(&st->source[i].watcher);
	forget(st);
	arena_fini(&st->arena);
	free(st);
}
