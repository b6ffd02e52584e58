#include "orchestrator/apiserver/quota_state.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

enum { QUOTAS, GATES, N_SOURCES };

struct source {
	struct watcher watcher;
	struct str key, end; /* the watcher loses its own when it is stopped */
	struct quota_state *state;
};

struct quota_state {
	struct store *store;
	struct watch_hub *hub;
	struct map quotas; /* namespace -> how many */
	struct map gates;  /* namespace -> version of its gate */
	struct arena arena;
	struct source source[N_SOURCES];
};

static void load(struct quota_state *q);

static void count(struct quota_state *q, struct str key, int change)
{
	struct str ns, name;
	uintptr_t n;

	if (!resource_parse_key(resource_find("", "v1", "resourcequotas"), key, &ns, &name))
		return;
	n = (uintptr_t)map_get(&q->quotas, ns);
	if (change > 0)
		map_put(&q->quotas, ns, (void *)(n + 1));
	else if (n > 1)
		map_put(&q->quotas, ns, (void *)(n - 1));
	else
		map_del(&q->quotas, ns);
}

static void seen(struct source *s, const struct store_kv *kv, bool new, bool gone)
{
	struct quota_state *q = s->state;

	if (s == &q->source[GATES])
		map_put(&q->gates, str_skip(kv->key, strlen(QUOTA_GATE_PREFIX)), (void *)(uintptr_t)kv->mod_revision);
	else if (new || gone)
		count(q, kv->key, new ? 1 : -1);
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct source *s = container_of(w, struct source, watcher);

	(void)revision;
	for (size_t i = 0; i < n; i++)
		seen(s, &events[i]->kv, !events[i]->is_delete && events[i]->kv.version == 1, events[i]->is_delete);
}

static void stop(struct quota_state *q)
{
	for (size_t i = 0; i < N_SOURCES; i++)
		watch_stop(&q->source[i].watcher);
	map_fini(&q->quotas);
	map_fini(&q->gates);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct quota_state *q = container_of(w, struct source, watcher)->state;

	(void)compact_revision;
	stop(q);
	load(q);
}

static void load(struct quota_state *q)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	map_init(&q->quotas);
	map_init(&q->gates);
	if (store_view_open(q->store, &v, &e) == 0) {
		rev = view_revision(v);
		for (size_t i = 0; i < N_SOURCES; i++) {
			struct view_iter it;
			struct store_kv kv;

			view_iter_init(&it, v, q->source[i].key, q->source[i].end, 0, 0);
			while (view_iter_next(&it, &kv, &e) > 0)
				seen(&q->source[i], &kv, true, false);
			view_iter_fini(&it);
		}
		store_view_close(v);
	}
	for (size_t i = 0; i < N_SOURCES; i++) {
		struct source *s = &q->source[i];

		s->watcher.key = s->key;
		s->watcher.end = s->end;
		watch_start(q->hub, &s->watcher, rev + 1);
	}
}

struct quota_state *quota_state_new(struct store *store, struct watch_hub *hub)
{
	struct quota_state *q = xcalloc(1, sizeof(*q));

	q->store = store;
	q->hub = hub;
	arena_init(&q->arena);
	q->source[QUOTAS].key = storage_prefix(&q->arena, resource_find("", "v1", "resourcequotas"), STR_NULL);
	q->source[GATES].key = STR(QUOTA_GATE_PREFIX);
	for (size_t i = 0; i < N_SOURCES; i++) {
		struct source *s = &q->source[i];

		s->state = q;
		s->end = storage_end(&q->arena, s->key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
	}
	load(q);
	return q;
}

void quota_state_free(struct quota_state *q)
{
	if (!q)
		return;
	stop(q);
	arena_fini(&q->arena);
	free(q);
}

bool quota_state_has(const struct quota_state *q, struct str ns, uint64_t *ret_gate)
{
	*ret_gate = (uintptr_t)map_get(&q->gates, ns);
	return map_get(&q->quotas, ns) != NULL;
}
