/*
 * A hub from the inside; shared by hub.c (watchers, live batches) and replay.c (catching up from the log).
 *
 * Watchers of one key range hang on one `struct watch_range`, so that an event is matched once for all of them. A watcher
 * is *live* (fed from batches; it has been told everything up to the hub's revision, or waits for a later one) or
 * *lagging* (next <= the hub's revision when it was noted; fed from the log unless it is paused). Callbacks may stop,
 * start and pause anything: lists are walked by moving their entries to a list of the walk's own first.
 */
#ifndef STORE_HUB_PRIV_H
#define STORE_HUB_PRIV_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/map.h"
#include "io/loop.h"
#include "store/store-priv.h"

enum watcher_state { WATCH_STOPPED, WATCH_LIVE, WATCH_LAGGING };

struct watch_range {
	struct list link;     /* hub->ranges, when it has an end */
	struct list watchers; /* watcher.range_link */
	char *id;             /* its place in hub->by_id, owned */
	size_t id_size;
	struct str key, end;  /* in id */
	bool single;
	size_t n_lagging;     /* of its watchers */
	unsigned busy;        /* a walk is here: freed later */
	/* Events of the batch at hand that match: indexes into it. */
	uint32_t *hits;
	size_t n_hits, cap_hits;
	struct list hit_link; /* hub->hit_ranges while n_hits > 0 */
};

struct watch_hub {
	struct ref ref;       /* the owner's, and one for each message on its way */
	struct store *store;
	struct loop *loop;
	struct list link;     /* store->hubs, under its lock */
	size_t max_backlog;
	atomic_size_t backlog;
	atomic_bool gap;      /* a gap message is on its way; no batches until it has arrived */
	struct loop_msg gap_msg;

	/* The loop's. */
	bool closed;
	int64_t revision;
	struct map by_id;     /* watch_range by key + end */
	struct map singles;   /* the ones of single keys, by key */
	struct list ranges;   /* the others */
	struct list hit_ranges;
	struct list live, lagging; /* watcher.link */
	size_t n_watchers;
	struct list waits;
	struct loop_timer tick; /* catching up, waits */
	const struct watch_event **picked; /* what one watcher gets of a batch */
	size_t cap_picked;
};

/* Note that event `i`, of `key`, is in the batch at hand; false: nobody asks for it (`i` is not used then). `lagging`: only
 * ranges with lagging watchers count. */
bool hub__match(struct watch_hub *, struct str key, uint32_t i, bool lagging);
/* Forget the matches. */
void hub__matches_clear(struct watch_hub *);
/* Tell w the matched events from its `next` on, and that `upto` is done. The watcher may be gone afterwards. */
void hub__tell(struct watch_hub *, struct watcher *, const struct watch_batch *, int64_t upto);
/* Stop it and say so. */
void hub__gone(struct watcher *, int64_t compact_revision);
void hub__set_state(struct watcher *, int state);
/* See that `tick` runs soon. */
void hub__kick(struct watch_hub *, uint64_t ms);
/* One slice from the log. */
void hub__replay(struct watch_hub *);

#endif
