/* What one loop knows of levels and schemas, kept up to date by watches on its hub; a change of any object makes a new configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow-priv.h"
#include "orchestrator/apiserver/flow_default.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/store.h"
#include "store/view.h"

/* Seats of the server when it was not told otherwise; doc/apiserver.md says how the number was found. */
#define DEFAULT_SEATS 600

static const char *const plurals[] = {FLOW_LEVELS, FLOW_SCHEMAS};

/* --- Levels and statistics --------------------------------------------------------------------------------------- */

struct flow_level *flow__level_find(struct flow_state *fs, struct str name)
{
	LIST_FOR_EACH (l, &fs->levels, struct flow_level, link)
		if (str_eqc(name, l->name))
			return l;
	return NULL;
}

void flow__level_unref(struct flow_level *l)
{
	if (!l || --l->refs > 0)
		return;
	list_del(&l->link);
	fair_fini(&l->fair);
	free(l->name);
	free(l);
}

void flow__stat_unref(struct flow_stat *s)
{
	if (!s || --s->refs > 0)
		return;
	list_del(&s->link);
	free(s->schema);
	free(s->level);
	free(s);
}

static void uid_set(char uid[64], struct str s)
{
	size_t n = MIN(s.n, (size_t)63);

	memcpy(uid, s.p ? s.p : "", n);
	uid[n] = '\0';
}

static struct flow_stat *stat_of(struct flow_state *fs, const struct flow_schema *s)
{
	struct flow_stat *st;

	LIST_FOR_EACH (it, &fs->stats, struct flow_stat, link)
		if (str_eqc(s->name, it->schema) && str_eqc(s->level->name, it->level)) {
			it->refs++;
			return it;
		}
	st = xcalloc(1, sizeof(*st));
	st->schema = xasprintf("%.*s", STR_FMT(s->name));
	st->level = xasprintf("%.*s", STR_FMT(s->level->name));
	st->refs = 1;
	list_add_tail(&fs->stats, &st->link);
	return st;
}

unsigned flow__part(const struct flow_state *fs, unsigned nominal)
{
	unsigned parts[FLOW_MAX_PARTS];

	flow_split(nominal, NULL, fs->al->srv->cfg.n_loops, parts);
	return parts[fs->index];
}

static struct flow_level *level_of(struct flow_state *fs, const struct flow_level_config *c)
{
	struct flow_level *l = flow__level_find(fs, c->name);
	bool same = l && memcmp(&l->bounds, &c->bounds, sizeof(l->bounds)) == 0;

	if (!l) {
		l = xcalloc(1, sizeof(*l));
		l->state = fs;
		l->name = xasprintf("%.*s", STR_FMT(c->name));
		fair_init(&l->fair, c->n_queues, c->hand_size, c->queue_limit);
		list_add_tail(&fs->levels, &l->link);
	} else if (l->fair.n_queues != c->n_queues || l->fair.hand_size != MIN(c->hand_size, (unsigned)FAIR_MAX_HAND)) {
		fair_resize(&l->fair, c->n_queues, c->hand_size, c->queue_limit);
	}
	l->refs++;
	l->gone = false;
	l->fair.queue_limit = c->queue_limit;
	l->exempt = c->exempt;
	l->queues = c->queues;
	l->bounds = c->bounds;
	if (!same)
		l->limit = flow__part(fs, c->bounds.nominal);
	return l;
}

/* --- The configuration -------------------------------------------------------------------------------------------- */

static void load_source(struct flow_config *c, struct flow_source *s, struct store_view *v, bool levels)
{
	struct view_iter it;
	struct store_kv kv;
	struct arena a; /* of one object */
	struct json *doc;
	struct err e = ERR_INIT;
	struct str raw;

	arena_init(&a);
	view_iter_init(&it, v, s->watcher.key, s->watcher.end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0) {
		arena_fini(&a);
		if (!storage_unwrap_key(&a, kv.key, kv.value, &raw) || api_dom_of(&a, s->res, raw, &doc, &e) < 0)
			log_warn("apiserver", "priority and fairness cannot read %.*s", STR_FMT(kv.key));
		else if (levels)
			flow_config_add_level(c, doc);
		else
			flow_config_add_schema(c, doc);
	}
	view_iter_fini(&it);
	arena_fini(&a);
	if (e.code)
		log_warn("apiserver", "priority and fairness cannot read %s: %s", s->res->plural, e.text);
}

static struct flow_config *load(struct flow_state *fs)
{
	const struct apiserver_cfg *cfg = &fs->al->srv->cfg;
	struct flow_config *c = flow_config_new();
	struct store_view *v;
	struct err e = ERR_INIT;

	if (store_view_open(fs->al->srv->store, &v, &e) == 0) {
		for (size_t i = 0; i < ARRAY_LEN(plurals); i++)
			load_source(c, &fs->source[i], v, i == 0);
		store_view_close(v);
	} else {
		log_warn("apiserver", "priority and fairness cannot read the store: %s", e.text);
	}
	flow_config_done(c, cfg->max_requests ? cfg->max_requests : DEFAULT_SEATS);
	return c;
}

static void drop(struct flow_config *c, struct flow_level **levels, struct flow_stat **stats)
{
	for (size_t i = 0; c && i < c->n_levels; i++)
		flow__level_unref(levels[i]);
	for (size_t i = 0; c && i < c->n_schemas; i++)
		flow__stat_unref(stats[i]);
	free(levels);
	free(stats);
	flow_config_free(c);
}

static void use(struct flow_state *fs, struct flow_config *c)
{
	struct flow_config *old = fs->config;
	struct flow_level **levels = fs->by_level;
	struct flow_stat **stats = fs->by_schema;

	LIST_FOR_EACH (l, &fs->levels, struct flow_level, link)
		l->gone = true;
	fs->config = c;
	fs->by_level = xcalloc(c->n_levels, sizeof(struct flow_level *));
	fs->by_schema = xcalloc(c->n_schemas, sizeof(struct flow_stat *));
	for (size_t i = 0; i < c->n_levels; i++) {
		fs->by_level[i] = level_of(fs, &c->levels[i]);
		uid_set(fs->by_level[i]->uid, c->levels[i].uid);
	}
	for (size_t i = 0; i < c->n_schemas; i++)
		if (c->schemas[i].level) {
			fs->by_schema[i] = stat_of(fs, &c->schemas[i]);
			uid_set(fs->by_schema[i]->uid, c->schemas[i].uid);
		}
	/* Behind the new ones, so that what is in both stays. */
	drop(old, levels, stats);
	flow__kick(fs);
}

static void reload_due(struct loop_timer *t)
{
	struct flow_state *fs = container_of(t, struct flow_state, reload);

	fs->changes++;
	use(fs, load(fs));
}

uint64_t flow_state_changes(const struct flow_state *fs)
{
	return fs->changes;
}

/* --- Watching ------------------------------------------------------------------------------------------------------ */

static void changed(struct flow_state *fs)
{
	/* Many changes in one turn make one configuration. */
	if (!loop_timer_active(&fs->reload))
		loop_timer_start(&fs->reload, fs->al->loop, 0, reload_due);
}

static void on_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	(void)revision, (void)events, (void)n;
	changed(container_of(w, struct flow_source, watcher)->state);
}

static void watch_from_now(struct flow_source *s)
{
	watch_start(s->state->al->hub, &s->watcher, store_revision(s->state->al->srv->store) + 1);
}

static void on_gone(struct watcher *w, int64_t compact_revision)
{
	struct flow_source *s = container_of(w, struct flow_source, watcher);

	(void)compact_revision;
	watch_from_now(s);
	changed(s->state);
}

struct flow_state *flow_state_new(struct api_loop *al, unsigned index)
{
	struct flow_state *fs = xcalloc(1, sizeof(*fs));

	fs->al = al;
	fs->index = index;
	fs->wait_ms = FLOW_WAIT_MS;
	list_init(&fs->levels);
	list_init(&fs->stats);
	list_init(&fs->lingers);
	arena_init(&fs->arena);
	for (size_t i = 0; i < ARRAY_LEN(plurals); i++) {
		struct flow_source *s = &fs->source[i];

		s->state = fs;
		s->res = resource_find(FLOW_GROUP, "v1", plurals[i]);
		s->watcher.key = storage_prefix(&fs->arena, s->res, STR_NULL);
		s->watcher.end = storage_end(&fs->arena, s->watcher.key);
		s->watcher.events = on_events;
		s->watcher.gone = on_gone;
		/* First the watch, then what is there: an event of something that was read does no harm. */
		watch_from_now(s);
	}
	use(fs, load(fs));
	flow__balance_init(fs);
	return fs;
}

void flow_state_free(struct flow_state *fs)
{
	if (!fs)
		return;
	flow__balance_fini(fs);
	for (size_t i = 0; i < ARRAY_LEN(plurals); i++)
		watch_stop(&fs->source[i].watcher);
	loop_timer_stop(&fs->reload);
	loop_timer_stop(&fs->kick);
	flow__lingers_end(fs);
	drop(fs->config, fs->by_level, fs->by_schema);
	ASSERT(list_empty(&fs->levels) && list_empty(&fs->stats));
	arena_fini(&fs->arena);
	free(fs);
}
