/*
 * Watches: each is at one member for a while, then it goes on at another one where it stopped, as clients do; now and then
 * one begins anew, in the past, the future or from now. At the end each member is asked for all the history that it has.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "tests/sim/world.h"

static void leave(struct watching *x)
{
	if (!x->node)
		return;
	watch_stop(&x->watcher);
	x->node = NULL;
	x->stream = NULL;
}

static void kv_of(struct world *w, struct hist_kv *out, const struct store_kv *kv)
{
	*out = (struct hist_kv){.key = history_copy(w->history, kv->key),
				.value = history_copy(w->history, kv->value),
				.create = kv->create_revision,
				.mod = kv->mod_revision,
				.version = kv->version,
				.lease = kv->lease};
}

static void on_events(struct watcher *watcher, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct watching *x = container_of(watcher, struct watching, watcher);
	struct world *w = x->w;
	struct hist_message m = {.kind = HIST_EVENTS, .revision = revision, .n_events = n};

	m.events = arena_new_array(history_arena(w->history), struct hist_event, n);
	for (size_t i = 0; i < n; i++) {
		const struct watch_event *e = events[i];

		kv_of(w, &m.events[i].kv, &e->kv);
		m.events[i].is_delete = e->is_delete;
		m.events[i].has_prev = e->has_prev;
		if (e->has_prev)
			kv_of(w, &m.events[i].prev, &e->prev);
	}
	history_message(w->history, x->stream, m);
	sim_trace(w, "watch %u at %s: %zu events, %" PRId64 " to %" PRId64 ", all up to %" PRId64, x->index, x->node->name, n,
		  m.events[0].kv.mod, m.events[n - 1].kv.mod, revision);
	x->next = revision + 1;
}

static void on_gone(struct watcher *watcher, int64_t compact_revision)
{
	struct watching *x = container_of(watcher, struct watching, watcher);
	struct world *w = x->w;

	sim_trace(w, "watch %u at %s: gone, compacted %" PRId64, x->index, x->node->name, compact_revision);
	/* A damaged change ends the watch, and soon the member; it goes on elsewhere. */
	if (compact_revision == 0 && !store_damage(x->node->store, NULL))
		sim_fail(w, "%s cannot read its log for a watch", x->node->name);
	if (compact_revision != 0) {
		history_message(w->history, x->stream, (struct hist_message){.kind = HIST_GONE, .revision = compact_revision});
		x->next = compact_revision;
	}
	x->node = NULL;
	x->stream = NULL;
}

static void attach(struct watching *x, struct node *n, int64_t start)
{
	struct world *w = x->w;
	/* One of three, a few keys only. */
	struct str key = STR("r"), end = STR("s");
	int64_t now;

	if (!x->whole) {
		key = STR("rc");
		end = x->index % 2 ? STR_NULL : STR("rf");
	}
	x->node = n;
	x->watcher = (struct watcher){.key = key, .end = end, .events = on_events, .gone = on_gone};
	x->watcher.no_put = !x->is_final && x->index == 2;
	x->watcher.no_delete = !x->is_final && x->index == 3;
	now = watch_start(n->hub, &x->watcher, start);
	start = start > 0 ? start : now + 1;
	x->stream = history_watch(w->history, 100 + x->index, key, end, start);
	x->stream->where = n->name;
	x->stream->prev_kv = true;
	x->stream->no_put = x->watcher.no_put;
	x->stream->no_delete = x->watcher.no_delete;
	x->next = start;
	sim_trace(w, "watch %u at %s from %" PRId64 " (it is at %" PRId64 ")", x->index, n->name, start, now);
	node_hub_soon(n);
}

static void begin(struct watching *x)
{
	struct world *w = x->w;
	struct node *n = &w->nodes[rng_below(&w->rng, SIM_NODES)];
	int64_t start = x->next;

	if (!node_serves(n) || n->paused_until > w->now || !n->hub)
		return;
	if (rng_chance(&w->rng, 20))
		start = w->max_revision - 60 + (int64_t)rng_below(&w->rng, 90);
	if (rng_chance(&w->rng, 5))
		start = 0;
	attach(x, n, MAX(start, 0));
}

static void bookmark(struct watching *x)
{
	int64_t revision = watch_progress(&x->watcher);

	if (revision <= 0)
		return;
	history_message(x->w->history, x->stream, (struct hist_message){.kind = HIST_PROGRESS, .revision = revision});
	x->next = MAX(x->next, revision + 1);
}

static void ev_step(struct event *e)
{
	struct watching *x = e->watching;
	struct world *w = x->w;

	if (w->stopped)
		return;
	event_add(w, NULL, rng_between(&w->rng, 5, 400) * MS, ev_step)->watching = x;
	if (!x->node) {
		begin(x);
		return;
	}
	if (x->node->paused_until > w->now)
		return;
	switch (rng_below(&w->rng, 10)) {
	case 0:
	case 1:
		leave(x);
		break;
	case 2:
		watch_pause(&x->watcher);
		break;
	case 3:
	case 4:
	case 5:
		bookmark(x);
		break;
	default:
		watch_resume(&x->watcher);
		node_hub_soon(x->node);
		break;
	}
}

void watchers_start(struct world *w)
{
	for (unsigned i = 0; i < ARRAY_LEN(w->watchings); i++) {
		w->watchings[i].w = w;
		w->watchings[i].index = i;
		w->watchings[i].whole = i % 3 == 0;
		if (i < SIM_WATCHERS)
			event_add(w, NULL, rng_below(&w->rng, 100 * MS), ev_step)->watching = &w->watchings[i];
	}
}

void watchers_crashed(struct node *n)
{
	for (size_t i = 0; i < ARRAY_LEN(n->w->watchings); i++)
		if (n->w->watchings[i].node == n)
			leave(&n->w->watchings[i]);
}

static bool lags(const struct watching *x)
{
	int64_t revision = store_revision(x->node->store);

	/* One that starts in the future has nothing to tell. */
	return x->stream->start <= revision && watch_progress(&x->watcher) < revision;
}

bool watchers_lag(const struct node *n)
{
	/* A hub hears of what lingers with its commit only. */
	if (watch_hub_revision(n->hub) < store_revision(n->store) && !store_is_sealed(n->store))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(n->w->watchings); i++) {
		const struct watching *x = &n->w->watchings[i];

		if (x->node == n && !x->watcher.paused && lags(x))
			return true;
	}
	return false;
}

void watchers_finish(struct world *w)
{
	for (int i = 0; i < SIM_WATCHERS; i++)
		if (w->watchings[i].node) {
			watch_resume(&w->watchings[i].watcher);
			node_hub_soon(w->watchings[i].node);
		}
	for (int i = 0; i < SIM_NODES; i++) {
		struct watching *x = &w->watchings[SIM_WATCHERS + i];
		struct kv_status s;
		int64_t start;

		if (!node_serves(&w->nodes[i]) || !w->nodes[i].admitted)
			continue;
		member_status(w->nodes[i].member, &s);
		if (s.n_members == 0)
			continue;
		start = MAX(store_compact_revision(w->nodes[i].store), 2);
		x->whole = x->is_final = true;
		attach(x, &w->nodes[i], start);
	}
}

/* Has each that is somewhere been told everything? */
bool watchers_done(struct world *w)
{
	bool all = true;

	for (size_t i = 0; i < ARRAY_LEN(w->watchings); i++) {
		struct watching *x = &w->watchings[i];

		if (!x->node || x->done)
			continue;
		if (lags(x)) {
			all = false;
			continue;
		}
		history_message(w->history, x->stream,
				(struct hist_message){.kind = HIST_CAUGHT_UP, .revision = store_revision(x->node->store)});
		/* All changes from there on are known with this. */
		if (x->is_final)
			history_known(w->history, x->stream->start, store_revision(x->node->store));
		x->done = true;
	}
	return all;
}
