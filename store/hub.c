#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/util.h"
#include "store/hub-priv.h"
#include "store/watch.h"

#define DEFAULT_BACKLOG ((size_t)16 << 20)

static void on_tick(struct loop_timer *t);
static void on_gap(struct loop_msg *m);

static void hub_unref(struct watch_hub *h)
{
	if (ref_put(&h->ref))
		free(h);
}

struct watch_hub *watch_hub_new(struct store *s, struct loop *loop, size_t max_backlog_bytes)
{
	struct watch_hub *h = xcalloc(1, sizeof(*h));

	ref_init(&h->ref);
	h->store = s;
	h->loop = loop;
	h->max_backlog = max_backlog_bytes ? max_backlog_bytes : DEFAULT_BACKLOG;
	map_init(&h->by_id);
	map_init(&h->singles);
	list_init(&h->ranges);
	list_init(&h->hit_ranges);
	list_init(&h->live);
	list_init(&h->lagging);
	list_init(&h->waits);
	/* Under the lock: a revision that was published before is in h->revision, one after comes as a batch. */
	pthread_mutex_lock(&s->lock);
	h->revision = store_revision(s);
	list_add_tail(&s->hubs, &h->link);
	pthread_mutex_unlock(&s->lock);
	return h;
}

void watch_hub_free(struct watch_hub *h)
{
	if (h == NULL)
		return;
	ASSERT(h->n_watchers == 0);
	pthread_mutex_lock(&h->store->lock);
	list_del(&h->link);
	pthread_mutex_unlock(&h->store->lock);
	h->closed = true;
	loop_timer_stop(&h->tick);
	ASSERT(list_empty(&h->waits));
	map_fini(&h->by_id);
	map_fini(&h->singles);
	free(h->picked);
	h->picked = NULL;
	hub_unref(h);
}

void hub__kick(struct watch_hub *h, uint64_t ms)
{
	if (!h->closed && (ms == 0 || !loop_timer_active(&h->tick)))
		loop_timer_start(&h->tick, h->loop, ms, on_tick);
}

/* --- Ranges ---------------------------------------------------------------------------------------------- */

/* Key and end in one string that no other pair has: the length of the key comes first. */
static struct watch_range *range_get(struct watch_hub *h, struct str key, struct str end)
{
	struct buf id = BUF_INIT;
	struct watch_range *r;
	uint32_t n = (uint32_t)key.n;

	buf_add(&id, &n, sizeof(n));
	buf_adds(&id, key);
	buf_adds(&id, end);
	r = map_get(&h->by_id, buf_str(&id));
	if (r != NULL) {
		buf_fini(&id);
		return r;
	}
	r = xcalloc(1, sizeof(*r));
	list_init(&r->link);
	list_init(&r->watchers);
	list_init(&r->hit_link);
	r->id = buf_take(&id, &r->id_size);
	r->key = str_of(r->id + sizeof(n), key.n);
	r->end = str_of(r->id + sizeof(n) + key.n, end.n);
	r->single = end.n == 0;
	map_put(&h->by_id, str_of(r->id, r->id_size), r);
	if (r->single)
		map_put(&h->singles, r->key, r);
	else
		list_add_tail(&h->ranges, &r->link);
	return r;
}

static void range_put(struct watch_hub *h, struct watch_range *r)
{
	if (!list_empty(&r->watchers) || r->busy > 0)
		return;
	list_del(&r->link);
	list_del(&r->hit_link);
	if (map_get(&h->by_id, str_of(r->id, r->id_size)) == r) {
		map_del(&h->by_id, str_of(r->id, r->id_size));
		if (r->single)
			map_del(&h->singles, r->key);
	}
	free(r->hits);
	free(r->id);
	free(r);
}

static bool range_has(const struct watch_range *r, struct str key)
{
	return str_cmp(r->key, key) <= 0 && ((r->end.n == 1 && r->end.p[0] == '\0') || str_cmp(key, r->end) < 0);
}

static void range_hit(struct watch_hub *h, struct watch_range *r, uint32_t i)
{
	if (r->n_hits == r->cap_hits) {
		r->cap_hits = r->cap_hits ? r->cap_hits * 2 : 8;
		r->hits = xrealloc(r->hits, r->cap_hits * sizeof(*r->hits));
	}
	if (r->n_hits == 0) {
		list_add_tail(&h->hit_ranges, &r->hit_link);
		r->busy++;
	}
	r->hits[r->n_hits++] = i;
}

bool hub__match(struct watch_hub *h, struct str key, uint32_t i, bool lagging)
{
	struct watch_range *r = map_get(&h->singles, key);
	bool any = false;

	if (r != NULL && (!lagging || r->n_lagging > 0)) {
		range_hit(h, r, i);
		any = true;
	}
	LIST_FOR_EACH (it, &h->ranges, struct watch_range, link) {
		if ((!lagging || it->n_lagging > 0) && range_has(it, key)) {
			range_hit(h, it, i);
			any = true;
		}
	}
	return any;
}

void hub__matches_clear(struct watch_hub *h)
{
	struct list *l;

	while ((l = list_pop(&h->hit_ranges)) != NULL) {
		struct watch_range *r = container_of(l, struct watch_range, hit_link);

		r->n_hits = 0;
		r->busy--;
		range_put(h, r);
	}
}

/* --- Watchers ---------------------------------------------------------------------------------------------- */

void hub__set_state(struct watcher *w, int state)
{
	list_del(&w->link);
	if (w->state == WATCH_LAGGING)
		w->range->n_lagging--;
	if (state == WATCH_LAGGING)
		w->range->n_lagging++;
	w->state = state;
	if (state == WATCH_LIVE)
		list_add_tail(&w->hub->live, &w->link);
	else if (state == WATCH_LAGGING)
		list_add_tail(&w->hub->lagging, &w->link);
}

int64_t watch_start(struct watch_hub *h, struct watcher *w, int64_t start_revision)
{
	int64_t now = store_revision(h->store);
	struct str key = w->key.n ? w->key : STR("\0");

	ASSERT(!h->closed && w->hub == NULL);
	w->hub = h;
	w->paused = false;
	w->state = WATCH_STOPPED;
	w->next = start_revision == 0 ? now + 1 : start_revision;
	w->range = range_get(h, key, w->end);
	w->key = w->range->key;
	w->end = w->range->end;
	list_init(&w->link);
	list_init(&w->range_link);
	list_add_tail(&w->range->watchers, &w->range_link);
	h->n_watchers++;
	atomic_fetch_add(&h->store->n_watchers, 1);
	store__want_settled(h->store);
	/* A start below the compacted revision is refused even if its batches happen to be on their way still. */
	hub__set_state(w, MUTANT(watch_gap) || (w->next > h->revision && w->next >= store_compact_revision(h->store)) ? WATCH_LIVE
													: WATCH_LAGGING);
	if (w->state == WATCH_LAGGING)
		hub__kick(h, 0);
	return now;
}

void watch_stop(struct watcher *w)
{
	struct watch_hub *h = w->hub;

	if (h == NULL)
		return;
	hub__set_state(w, WATCH_STOPPED);
	list_del(&w->range_link);
	range_put(h, w->range);
	w->range = NULL;
	w->hub = NULL;
	w->key = w->end = STR_NULL;
	h->n_watchers--;
	atomic_fetch_sub(&h->store->n_watchers, 1);
}

/* A live watcher that was not told anything lately has been told all the same that there was nothing. */
static void fix_next(struct watcher *w)
{
	if (w->state == WATCH_LIVE)
		w->next = MAX(w->next, w->hub->revision + 1);
}

void watch_pause(struct watcher *w)
{
	if (w->hub == NULL || w->paused)
		return;
	fix_next(w);
	w->paused = true;
	hub__set_state(w, WATCH_LAGGING);
}

void watch_resume(struct watcher *w)
{
	if (w->hub == NULL || !w->paused)
		return;
	w->paused = false;
	if (w->next > w->hub->revision)
		hub__set_state(w, WATCH_LIVE);
	else
		hub__kick(w->hub, 0);
}

int64_t watch_progress(const struct watcher *w)
{
	if (w->hub == NULL || w->next > w->hub->revision + 1)
		return 0;
	if (MUTANT(bookmark_early))
		return store_revision(w->hub->store);
	if (w->state == WATCH_LIVE || w->next == w->hub->revision + 1)
		return w->hub->revision;
	return 0;
}

int64_t watch_hub_revision(const struct watch_hub *h)
{
	return h->revision;
}

size_t watch_hub_watchers(const struct watch_hub *h)
{
	return h->n_watchers;
}

void hub__gone(struct watcher *w, int64_t compact_revision)
{
	watch_stop(w);
	w->gone(w, compact_revision);
}

void hub__tell(struct watch_hub *h, struct watcher *w, const struct watch_batch *b, int64_t upto)
{
	struct watch_range *r = w->range;
	size_t n = 0;

	if (r->n_hits > h->cap_picked) {
		h->cap_picked = r->n_hits;
		h->picked = xrealloc(h->picked, h->cap_picked * sizeof(*h->picked));
	}
	for (size_t i = 0; i < r->n_hits; i++) {
		const struct watch_event *ev = &b->events[r->hits[i]];

		if ((ev->kv.mod_revision < w->next && !MUTANT(watch_twice)) || ev->kv.mod_revision > upto)
			continue;
		if (ev->is_delete ? w->no_delete : w->no_put)
			continue;
		h->picked[n++] = ev;
	}
	w->next = MAX(w->next, upto + 1);
	if (n > 0)
		w->events(w, upto, h->picked, n);
}

/* --- Batches ------------------------------------------------------------------------------------------------ */

struct delivery {
	struct loop_msg msg;
	struct watch_hub *hub;
	struct watch_batch *batch;
};

/* Batches were left out: live watchers that need them catch up from the log. */
static void lag(struct watch_hub *h, int64_t now)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &h->live);
	while ((l = list_pop(&todo)) != NULL) {
		struct watcher *w = container_of(l, struct watcher, link);

		w->state = WATCH_LIVE;
		fix_next(w);
		hub__set_state(w, w->next > now ? WATCH_LIVE : WATCH_LAGGING);
	}
	h->revision = MAX(h->revision, now);
	hub__kick(h, 0);
}

static void tell_live(struct watch_hub *h, const struct watch_batch *b)
{
	struct list todo, *l;

	for (size_t i = 0; i < b->n; i++)
		(void)hub__match(h, b->events[i].kv.key, (uint32_t)i, false);
	h->revision = b->last;
	LIST_FOR_EACH (r, &h->hit_ranges, struct watch_range, hit_link) {
		/* The range is busy, so it stays in its list whatever the callbacks do. */
		list_init(&todo);
		list_splice(&todo, &r->watchers);
		while ((l = list_pop(&todo)) != NULL) {
			struct watcher *w = container_of(l, struct watcher, range_link);

			list_add_tail(&r->watchers, &w->range_link);
			if (w->state == WATCH_LIVE)
				hub__tell(h, w, b, b->last);
		}
	}
	hub__matches_clear(h);
}

static void on_delivery(struct loop_msg *m)
{
	struct delivery *d = container_of(m, struct delivery, msg);
	struct watch_hub *h = d->hub;

	atomic_fetch_sub(&h->backlog, d->batch->bytes);
	if (!h->closed && d->batch->last > h->revision) {
		if (d->batch->first > h->revision + 1)
			lag(h, d->batch->last);
		else
			tell_live(h, d->batch);
		if (!h->closed && !list_empty(&h->waits))
			hub__kick(h, 0);
	}
	watch_batch_unref(d->batch);
	hub_unref(h);
	free(d);
}

static void on_gap(struct loop_msg *m)
{
	struct watch_hub *h = container_of(m, struct watch_hub, gap_msg);

	/* First the flag: whatever is left out later makes a message of its own. */
	atomic_store(&h->gap, false);
	if (!h->closed)
		lag(h, store_revision(h->store));
	hub_unref(h);
}

static void post_gap(struct watch_hub *h)
{
	if (atomic_exchange(&h->gap, true))
		return;
	ref_get(&h->ref);
	h->gap_msg.run = on_gap;
	loop_post(h->loop, &h->gap_msg);
}

static void post_batch(struct watch_hub *h, struct watch_batch *b)
{
	struct delivery *d;

	if (atomic_load(&h->gap))
		return;
	if (atomic_load(&h->backlog) > h->max_backlog) {
		post_gap(h);
		return;
	}
	d = xcalloc(1, sizeof(*d));
	d->msg.run = on_delivery;
	d->hub = h;
	d->batch = b;
	ref_get(&h->ref);
	ref_get(&b->ref);
	atomic_fetch_add(&h->backlog, b->bytes);
	loop_post(h->loop, &d->msg);
}

void store__publish(struct store *s, bool advanced)
{
	if (!advanced)
		return;
	pthread_mutex_lock(&s->lock);
	LIST_FOR_EACH (h, &s->hubs, struct watch_hub, link) {
		if (s->events != NULL)
			post_batch(h, s->events);
		else
			post_gap(h); /* the hub came after the batch had begun */
	}
	pthread_mutex_unlock(&s->lock);
	store__events_drop(s);
}

void store__publish_reset(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	LIST_FOR_EACH (h, &s->hubs, struct watch_hub, link)
		post_gap(h);
	pthread_mutex_unlock(&s->lock);
}

/* --- Waits ----------------------------------------------------------------------------------------------------- */

static int64_t told_upto(const struct watch_hub *h)
{
	int64_t upto = h->revision;

	LIST_FOR_EACH (w, &h->lagging, struct watcher, link)
		if (!w->paused)
			upto = MIN(upto, w->next - 1);
	return upto;
}

static void run_waits(struct watch_hub *h)
{
	struct list todo, *l;
	int64_t upto;

	if (list_empty(&h->waits))
		return;
	upto = told_upto(h);
	list_init(&todo);
	list_splice(&todo, &h->waits);
	while ((l = list_pop(&todo)) != NULL) {
		struct watch_wait *w = container_of(l, struct watch_wait, link);

		if (w->revision > upto)
			list_add_tail(&h->waits, l);
		else
			w->reached(w);
	}
}

void watch_hub_wait(struct watch_hub *h, struct watch_wait *w)
{
	list_init(&w->link);
	list_add_tail(&h->waits, &w->link);
	if (w->revision <= h->revision)
		hub__kick(h, 0);
}

void watch_wait_cancel(struct watch_wait *w)
{
	list_del(&w->link);
}

static void on_tick(struct loop_timer *t)
{
	struct watch_hub *h = container_of(t, struct watch_hub, tick);

	ref_get(&h->ref);
	hub__replay(h);
	if (!h->closed)
		run_waits(h);
	hub_unref(h);
}
