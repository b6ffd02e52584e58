/*
 * Watches: every change from a revision on, in order, without gaps or repetitions, to many loops.
 *
 * The writer publishes the events of each commit once, as an immutable refcounted batch, to every *hub*. A consuming loop
 * has a hub and any number of *watchers* on it. A watcher asks for a key range from a revision: first it is fed from the
 * store's log in bounded slices, and when it has reached the present it is fed from the batches. One that is paused (its
 * client is slow), or a whole hub that falls behind its backlog limit, simply stops being fed and catches up from the log
 * later: nothing is ever buffered without bound.
 *
 *	hub = watch_hub_new(store, loop);                              once a loop
 *	w->key = ...; w->end = ...; w->events = on_events; w->gone = on_gone;
 *	watch_start(hub, w, rv + 1);
 *	... on_events(w, revision, events, n) ...
 *	watch_stop(w);
 *	watch_hub_free(hub);
 *
 * Guarantees for one watcher: events by ascending (revision, sub); all events of one revision that concern it in one call
 * (one call may hold several revisions); no event before its start revision; none is missed: if history it still needs was
 * compacted, `gone` is called once with the compacted revision and nothing after it.
 *
 * Threads: a hub and its watchers belong to the hub's loop; watch_hub_new and watch_hub_free are called there (or before
 * the loop runs). Callbacks run on it, never inside a call of this interface. In a callback anything may be called, also
 * watch_stop for any watcher, its own too.
 */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/obj.h"
#include "base/str.h"
#include "store/view.h"

struct loop;
struct store;
struct watch_hub;

struct watch_event {
	bool is_delete;
	bool has_prev;          /* false: created by this event, or the value before is compacted */
	uint32_t sub;           /* order within the revision */
	struct store_kv kv;     /* a delete has key and mod_revision only */
	struct store_kv prev;   /* valid when has_prev */
	/* The memory behind kv and prev: take a reference (ref_get(&batch->ref)) to keep them after the callback. */
	struct watch_batch *batch;
};

/* Events of one or more whole revisions, in order. Immutable once it is published. */
struct watch_batch {
	struct ref ref;
	struct arena arena; /* keys and values */
	struct watch_event *events;
	size_t n, cap;
	size_t bytes;       /* about what it occupies */
	int64_t first, last; /* revisions */
};
/* Any thread. */
void watch_batch_unref(struct watch_batch *);

struct watcher {
	/* in; set before watch_start, strings are copied by it */
	struct str key, end;    /* as in view.h; an empty key means "\0" (etcd's rule for watches) */
	bool no_put, no_delete; /* filters */
	/*
	 * Events, at least one. `revision`: everything up to and including it that concerns this watcher has now been told
	 * (it is what a client may resume after). The array is good during the call only.
	 */
	void (*events)(struct watcher *, int64_t revision, const struct watch_event *const *, size_t n);
	/* History is gone: the watcher is stopped by now and may be freed. compact_revision: the lowest readable one.
	 * 0: the member failed to read its log; the error was logged. */
	void (*gone)(struct watcher *, int64_t compact_revision);

	/* private */
	struct watch_hub *hub;  /* NULL while stopped */
	struct list link, range_link;
	struct watch_range *range;
	int64_t next;           /* first revision not told yet */
	int state;
	bool paused;
};

/* max_backlog_bytes: batches that wait for the loop; 0: 16 MiB. */
struct watch_hub *watch_hub_new(struct store *, struct loop *, size_t max_backlog_bytes);
/* Its watchers must be stopped. */
void watch_hub_free(struct watch_hub *);

/*
 * start_revision 0: from what is committed now, exclusively. Above the present: silent until then. Returns the revision
 * that the store has now (what etcd's "created" answer carries). A start below the compacted revision is told by `gone`.
 */
int64_t watch_start(struct watch_hub *, struct watcher *, int64_t start_revision);
/* Nothing fires after it. A stopped watcher is left alone. */
void watch_stop(struct watcher *);

/* A paused watcher gets nothing; resumed it catches up from the log. */
void watch_pause(struct watcher *);
void watch_resume(struct watcher *);

/*
 * Bookmarks: everything up to this revision that concerns the watcher has been told. 0 while that cannot be said: it is
 * catching up, is paused with events waiting, or its start lies in the future.
 */
int64_t watch_progress(const struct watcher *);
/* The hub has been told of every revision up to this one. */
int64_t watch_hub_revision(const struct watch_hub *);
size_t watch_hub_watchers(const struct watch_hub *);

/*
 * Run `reached` on this loop when the hub's revision is at least `revision` and no watcher of the hub that is not paused
 * lags behind it (so that a bookmark at `revision` may follow). Never inside the call.
 */
struct watch_wait {
	void (*reached)(struct watch_wait *);
	int64_t revision;
	struct list link; /* private; watch_wait_cancel before freeing */
};
void watch_hub_wait(struct watch_hub *, struct watch_wait *);
void watch_wait_cancel(struct watch_wait *);

#endif
