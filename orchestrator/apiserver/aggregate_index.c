#include "orchestrator/apiserver/aggregate_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

struct entry {
	struct arena arena;
	struct api_service service;
};

struct aggregate_index {
	struct store *store;
	struct watch_hub *hub;
	const struct resource *res;
	struct watcher watcher;
	struct arena arena; /* the watcher's key */
	struct map entries; /* name -> struct entry */
	size_t n_remote;
	uint64_t epoch;
};

static void entry_free(void *value)
{
	struct entry *en = value;

	arena_fini(&en->arena);
	free(en);
}

static void forget(struct aggregate_index *ix, struct str name)
{
	struct entry *en = map_del(&ix->entries, name);

	if (!en)
		return;
	ix->n_remote -= en->service.remote;
	entry_free(en);
}

static void learn(struct aggregate_index *ix, struct str key, struct str name, struct str value)
{
	struct entry *en = xcalloc(1, sizeof(*en));
	struct err e = ERR_INIT;
	struct json *doc;
	struct str raw;

	arena_init(&en->arena);
	if (!storage_unwrap_key(&en->arena, key, value, &raw) || api_dom_of(&en->arena, ix->res, raw, &doc, &e) < 0) {
		log_warn("apiserver", "the APIService %.*s cannot be read", STR_FMT(name));
		entry_free(en);
		return;
	}
	api_service_parse(&en->arena, doc, &en->service);
	ix->n_remote += en->service.remote;
	map_put(&ix->entries, name, en);
}

/* value {NULL, 0}: deleted. */
static void changed(struct aggregate_index *ix, struct str key, struct str value)
{
	struct str ns, name;

	if (!resource_parse_key(ix->res, key, &ns, &name))
		return;
	ix->epoch++;
	forget(ix, name);
	if (value.p)
		learn(ix, key, name, value);
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct aggregate_index *ix = container_of(w, struct aggregate_index, watcher);

	(void)revision;
	for (size_t i = 0; i < n; i++)
		changed(ix, events[i]->kv.key, events[i]->is_delete ? STR_NULL : events[i]->kv.value);
}

static void clear(struct aggregate_index *ix)
{
	map_fini_with(&ix->entries, entry_free);
	map_init(&ix->entries);
	ix->n_remote = 0;
	ix->epoch++;
}

/* All as of one revision, then the watch from the next one on. */
static void load(struct aggregate_index *ix)
{
	struct view_iter it;
	struct store_kv kv;
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	if (store_view_open(ix->store, &v, &e) == 0) {
		rev = view_revision(v);
		view_iter_init(&it, v, ix->watcher.key, ix->watcher.end, 0, 0);
		while (view_iter_next(&it, &kv, &e) > 0)
			changed(ix, kv.key, kv.value);
		view_iter_fini(&it);
		store_view_close(v);
	}
	if (e.code)
		log_warn("apiserver", "the APIServices cannot be read: %s", e.text);
	watch_start(ix->hub, &ix->watcher, rev + 1);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct aggregate_index *ix = container_of(w, struct aggregate_index, watcher);

	(void)compact_revision;
	clear(ix);
	load(ix);
}

struct aggregate_index *aggregate_index_new(struct store *store, struct watch_hub *hub)
{
	struct aggregate_index *ix = xcalloc(1, sizeof(*ix));

	ix->store = store;
	ix->hub = hub;
	ix->res = resource_find("apiregistration.k8s.io", "v1", "apiservices");
	arena_init(&ix->arena);
	map_init(&ix->entries);
	ix->watcher.key = storage_prefix(&ix->arena, ix->res, STR_NULL);
	ix->watcher.end = storage_end(&ix->arena, ix->watcher.key);
	ix->watcher.events = on_events;
	ix->watcher.gone = on_gone;
	load(ix);
	return ix;
}

void aggregate_index_free(struct aggregate_index *ix)
{
	if (!ix)
		return;
	watch_stop(&ix->watcher);
	clear(ix);
	map_fini(&ix->entries);
	arena_fini(&ix->arena);
	free(ix);
}

/* --- Looking ----------------------------------------------------------------------------------------------------------------- */

const struct api_service *aggregate_index_find(const struct aggregate_index *ix, struct str group, struct str version)
{
	const struct entry *en;
	char name[600];

	if (group.n + version.n + 1 > sizeof(name))
		return NULL;
	memcpy(name, version.p, version.n);
	name[version.n] = '.';
	if (group.n > 0)
		memcpy(name + version.n + 1, group.p, group.n);
	en = map_get(&ix->entries, str_of(name, version.n + 1 + group.n));
	return en ? &en->service : NULL;
}

const struct api_service *aggregate_index_remote(const struct aggregate_index *ix, struct str group, struct str version)
{
	const struct api_service *s;

	if (ix->n_remote == 0 || aggregate_is_ours(group))
		return NULL;
	s = aggregate_index_find(ix, group, version);
	return s && s->remote ? s : NULL;
}

void aggregate_index_each(const struct aggregate_index *ix, void (*fn)(void *arg, const struct api_service *), void *arg)
{
	MAP_FOR_EACH (e, &ix->entries)
		fn(arg, &((struct entry *)e->value)->service);
}

size_t aggregate_index_n_remote(const struct aggregate_index *ix)
{
	return ix->n_remote;
}

uint64_t aggregate_index_epoch(const struct aggregate_index *ix)
{
	return ix->epoch;
}
