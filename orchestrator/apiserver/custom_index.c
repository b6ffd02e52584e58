#include "orchestrator/apiserver/custom_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "store/view.h"
#include "store/watch.h"

struct entry {
	struct custom_def *def; /* NULL: not fit to be served */
	struct arena arena;
	struct str group;
	struct json *names; /* accepted */
};

struct custom_index {
	struct store *store;
	void (*gone)(void *arg, const struct custom_def *);
	void *arg;
	struct watch_hub *hub;
	const struct resource *crds;
	struct watcher definitions, names;
	struct arena arena;
	struct str key, end; /* of definitions: the watcher loses its own when it is stopped */
	struct map entries; /* name of the definition -> struct entry */
	const struct resource **all;
	size_t n_all;
	bool listed; /* `all` is up to date */
	uint64_t epoch, names_rev;
};

static void load(struct custom_index *);
static void stop(struct custom_index *);

static void entry_free(void *value)
{
	struct entry *en = value;

	custom_def_unref(en->def);
	arena_fini(&en->arena);
	free(en);
}

static void forget(struct custom_index *ix, struct str name)
{
	struct entry *en = map_del(&ix->entries, name);

	if (!en)
		return;
	if (en->def && ix->gone)
		ix->gone(ix->arg, en->def);
	entry_free(en);
}

static void learn(struct custom_index *ix, struct str name, struct str raw)
{
	struct entry *en = xcalloc(1, sizeof(*en)), *old = map_get(&ix->entries, name);
	struct err e = ERR_INIT;
	struct json *doc;

	arena_init(&en->arena);
	if (api_dom_of(&en->arena, ix->crds, raw, &doc, &e) < 0 || custom_def_new(doc, &en->def, &e) < 0) {
		log_warn("apiserver", "the definition %.*s cannot be served: %s", STR_FMT(name), e.text);
	} else {
		en->group = json_strp(doc, "spec.group");
		en->names = json_getp(doc, "status.acceptedNames");
	}
	/* Who watches goes on when it means what it meant. */
	if (old && old->def && en->def && custom_def_same(old->def, en->def)) {
		old->def->terminating = en->def->terminating;
		custom_def_unref(en->def);
		en->def = TAKE(old->def);
	}
	forget(ix, name);
	map_put(&ix->entries, name, en);
}

/* value {NULL, 0}: deleted. */
static void changed(struct custom_index *ix, struct str key, struct str value)
{
	struct str ns, name, raw;
	struct arena a;

	if (!resource_parse_key(ix->crds, key, &ns, &name))
		return;
	arena_init(&a);
	ix->listed = false;
	ix->epoch++;
	if (!value.p)
		forget(ix, name);
	else if (storage_unwrap_key(&a, key, value, &raw))
		learn(ix, name, raw);
	else
		log_warn("apiserver", "the definition %.*s cannot be read", STR_FMT(name));
	arena_fini(&a);
}

static void on_definitions(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct custom_index *ix = container_of(w, struct custom_index, definitions);

	(void)revision;
	for (size_t i = 0; i < n; i++)
		changed(ix, events[i]->kv.key, events[i]->is_delete ? STR_NULL : events[i]->kv.value);
}

static void on_names(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct custom_index *ix = container_of(w, struct custom_index, names);

	(void)revision;
	for (size_t i = 0; i < n; i++)
		ix->names_rev = events[i]->is_delete ? 0 : (uint64_t)events[i]->kv.mod_revision;
}

static void reload(struct custom_index *ix)
{
	stop(ix);
	load(ix);
}

static void definitions_gone(struct watcher *w, int64_t compact_revision)
{
	(void)compact_revision;
	reload(container_of(w, struct custom_index, definitions));
}

static void names_gone(struct watcher *w, int64_t compact_revision)
{
	(void)compact_revision;
	reload(container_of(w, struct custom_index, names));
}

static void stop(struct custom_index *ix)
{
	watch_stop(&ix->definitions);
	watch_stop(&ix->names);
	MAP_FOR_EACH (e, &ix->entries) {
		struct entry *en = e->value;

		if (en->def && ix->gone)
			ix->gone(ix->arg, en->def);
		entry_free(en);
	}
	map_clear(&ix->entries);
	ix->listed = false;
	ix->epoch++;
}

static void read_all(struct custom_index *ix, struct store_view *v)
{
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;

	view_iter_init(&it, v, ix->key, ix->end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0)
		changed(ix, kv.key, kv.value);
	view_iter_fini(&it);
	if (e.code)
		log_warn("apiserver", "the definitions of custom resources cannot be read: %s", e.text);
	ix->names_rev = view_get(v, STR(CUSTOM_NAMES_KEY), 0, &kv, &e) == 0 ? (uint64_t)kv.mod_revision : 0;
}

/* All as of one revision, then the watches from the next one on. */
static void load(struct custom_index *ix)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	int64_t rev = 0;

	if (store_view_open(ix->store, &v, &e) == 0) {
		rev = view_revision(v);
		read_all(ix, v);
		store_view_close(v);
	} else {
		log_warn("apiserver", "the definitions of custom resources cannot be read: %s", e.text);
	}
	ix->definitions.key = ix->key;
	ix->definitions.end = ix->end;
	ix->names.key = STR(CUSTOM_NAMES_KEY);
	watch_start(ix->hub, &ix->definitions, rev + 1);
	watch_start(ix->hub, &ix->names, rev + 1);
}

struct custom_index *custom_index_new(struct store *store, struct watch_hub *hub, void (*gone)(void *arg, const struct custom_def *),
		void *arg)
{
	struct custom_index *ix = xcalloc(1, sizeof(*ix));

	ix->store = store;
	ix->hub = hub;
	ix->gone = gone;
	ix->arg = arg;
	ix->crds = resource_find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
	arena_init(&ix->arena);
	map_init(&ix->entries);
	ix->key = storage_prefix(&ix->arena, ix->crds, STR_NULL);
	ix->end = storage_end(&ix->arena, ix->key);
	ix->definitions.events = on_definitions;
	ix->definitions.gone = definitions_gone;
	ix->names.events = on_names;
	ix->names.gone = names_gone;
	load(ix);
	return ix;
}

void custom_index_free(struct custom_index *ix)
{
	if (!ix)
		return;
	ix->gone = NULL;
	stop(ix);
	map_fini(&ix->entries);
	arena_fini(&ix->arena);
	free(ix->all);
	free(ix);
}

/* --- Looking ---------------------------------------------------------------------------------------------------------------- */

const struct custom *custom_index_find(const struct custom_index *ix, struct str group, struct str version, struct str plural, bool any)
{
	char name[600];
	const struct entry *en;

	if (group.n + plural.n + 2 > sizeof(name))
		return NULL;
	memcpy(name, plural.p, plural.n);
	name[plural.n] = '.';
	memcpy(name + plural.n + 1, group.p, group.n);
	en = map_get(&ix->entries, str_of(name, plural.n + 1 + group.n));
	if (!en || !en->def || !en->def->established)
		return NULL;
	for (size_t i = 0; i < (any ? en->def->n_known : en->def->n_versions); i++)
		if (str_eqc(version, en->def->versions[i].res.version))
			return &en->def->versions[i];
	return NULL;
}

static int resource_cmp(const void *a, const void *b)
{
	const struct resource *x = *(const struct resource *const *)a, *y = *(const struct resource *const *)b;
	int c = strcmp(x->group, y->group);

	if (c == 0)
		c = custom_version_cmp(x->version, y->version);
	return c ? c : strcmp(x->plural, y->plural);
}

const struct resource *const *custom_index_all(struct custom_index *ix, size_t *ret_n)
{
	size_t n = 0;

	if (!ix->listed) {
		MAP_FOR_EACH (e, &ix->entries)
			n += ((struct entry *)e->value)->def ? ((struct entry *)e->value)->def->n_versions : 0;
		free(ix->all);
		ix->all = xcalloc(n + 1, sizeof(ix->all[0]));
		ix->n_all = 0;
		MAP_FOR_EACH (e, &ix->entries) {
			const struct custom_def *d = ((struct entry *)e->value)->def;

			for (size_t i = 0; d && d->established && i < d->n_versions; i++)
				ix->all[ix->n_all++] = &d->versions[i].res;
		}
		if (ix->n_all > 1)
			qsort(ix->all, ix->n_all, sizeof(ix->all[0]), resource_cmp);
		ix->listed = true;
	}
	*ret_n = ix->n_all;
	return ix->all;
}

uint64_t custom_index_epoch(const struct custom_index *ix)
{
	return ix->epoch;
}

uint64_t custom_index_names_rev(const struct custom_index *ix)
{
	return ix->names_rev;
}

void custom_index_names(const struct custom_index *ix, struct str group, struct str but, void (*fn)(void *arg, const struct json *names),
		void *arg)
{
	MAP_FOR_EACH (e, &ix->entries) {
		const struct entry *en = e->value;

		if (en->names && str_eq(en->group, group) && !str_eq(e->key, but))
			fn(arg, en->names);
	}
}
