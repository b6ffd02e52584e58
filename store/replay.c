/*
 * Lagging watchers catch up from the log, together: one scan from the lowest revision any of them needs, a slice at a
 * time, each ending with a whole revision.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "store/batch.h"
#include "store/hub-priv.h"

/* A slice ends behind the revision in which one of these is reached. */
#define SLICE_CHANGES 2048
#define SLICE_BYTES ((size_t)1 << 20)
/* Again after a view could not be opened. */
#define RETRY_MS 20

static bool eager(const struct watcher *w)
{
	return !w->paused;
}

/* The lowest revision that an unpaused lagging watcher needs; INT64_MAX: there is none. */
static int64_t lowest(const struct watch_hub *h)
{
	int64_t low = INT64_MAX;

	LIST_FOR_EACH (w, &h->lagging, struct watcher, link)
		if (eager(w))
			low = MIN(low, w->next);
	return low;
}

/* Calls fn for each unpaused lagging watcher; callbacks in it may change the lists as they like. */
static void for_lagging(struct watch_hub *h, void (*fn)(struct watch_hub *, struct watcher *, void *), void *arg)
{
	struct list todo, *l;

	list_init(&todo);
	list_splice(&todo, &h->lagging);
	while ((l = list_pop(&todo)) != NULL) {
		struct watcher *w = container_of(l, struct watcher, link);

		list_add_tail(&h->lagging, l);
		if (eager(w))
			fn(h, w, arg);
	}
}

struct slice {
	struct watch_batch *batch;
	int64_t upto;    /* everything up to here has been looked at */
	int64_t compact;
};

static void tell_compacted(struct watch_hub *h, struct watcher *w, void *arg)
{
	const struct slice *s = arg;

	if (w->next < s->compact)
		hub__gone(w, s->compact);
}

static void tell_broken(struct watch_hub *h, struct watcher *w, void *arg)
{
	hub__gone(w, 0);
}

static void tell_slice(struct watch_hub *h, struct watcher *w, void *arg)
{
	const struct slice *s = arg;

	if (w->next > s->upto)
		return;
	/* Live from here on when it has reached the hub; batches on their way that it knows already are below its next. */
	if (s->upto >= h->revision)
		hub__set_state(w, WATCH_LIVE);
	hub__tell(h, w, s->batch, s->upto);
}

static int add_change(struct watch_hub *h, struct store_view *v, struct watch_batch *b, const struct change *c, struct err *e)
{
	struct store_kv kv, prev;
	bool has_prev;
	int rc;

	if (!hub__match(h, c->key, (uint32_t)b->n, true))
		return 0;
	rc = store__event_of(v, c, &kv, &has_prev, &prev, e);
	if (rc == 0)
		watch_batch__add(b, c->deleted, &kv, has_prev ? &prev : NULL, c->at);
	return rc;
}

static int scan(struct watch_hub *h, struct store_view *v, int64_t from, struct slice *s, struct err *e)
{
	uint8_t key[REV_KEY_SIZE];
	MDB_val k = {sizeof(key), key}, d;
	struct change c;
	MDB_cursor *cur;
	int64_t last = from;
	size_t n = 0;
	int rc = 0, mrc = mdb_cursor_open(v->txn, v->env->dbi[DB_LOG], &cur);

	if (mrc != 0)
		return store__mdb_err(e, mrc, "read the log");
	rev_key((struct rev){MAX(from, 0), 0}, key);
	for (mrc = mdb_cursor_get(cur, &k, &d, MDB_SET_RANGE); mrc == 0; mrc = mdb_cursor_get(cur, &k, &d, MDB_NEXT)) {
		struct rev at = rev_from_key(k.mv_data);

		if (at.main != last && (n >= SLICE_CHANGES || s->batch->bytes >= SLICE_BYTES))
			break;
		n++;
		last = at.main;
		rc = change_decode(at, str_of(d.mv_data, d.mv_size), &c, e);
		if (rc == 0)
			rc = add_change(h, v, s->batch, &c, e);
		if (rc != 0)
			break;
	}
	mdb_cursor_close(cur);
	if (rc != 0)
		return rc;
	if (mrc != 0 && mrc != MDB_NOTFOUND)
		return store__mdb_err(e, mrc, "read the log");
	s->upto = mrc == MDB_NOTFOUND ? v->state.revision : last;
	return 0;
}

void hub__replay(struct watch_hub *h)
{
	struct slice s = {0};
	struct err e = ERR_INIT;
	struct store_view *v;
	int64_t from = 0;
	int rc;

	if (lowest(h) == INT64_MAX)
		return;
	rc = store_view_open(h->store, &v, &e);
	if (rc == -ERR_UNAVAILABLE) {
		hub__kick(h, RETRY_MS);
		return;
	}
	if (rc == 0) {
		s.compact = v->state.compact;
		for_lagging(h, tell_compacted, &s);
		from = lowest(h);
		s.batch = watch_batch__new();
		if (from != INT64_MAX)
			rc = store__noted(v, scan(h, v, from, &s, &e), &e);
		store_view_close(v);
	}
	if (rc != 0) {
		log_error("store", "a watch cannot read the log: %s", e.text);
		for_lagging(h, tell_broken, NULL);
	} else {
		for_lagging(h, tell_slice, &s);
	}
	hub__matches_clear(h);
	watch_batch_unref(s.batch);
	/* The hub may have heard of what was sealed, could not be committed, and comes again: there is nothing to read yet. */
	if (lowest(h) != INT64_MAX)
		hub__kick(h, from > s.upto ? RETRY_MS : 0);
}
