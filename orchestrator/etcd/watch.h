/*
 * Watch events as bytes of WatchResponse. Events are told by a hub (store/watch.h) in arrays; their encoding is the same
 * for all watchers that are told the same array.
 */
#ifndef ORCHESTRATOR_ETCD_WATCH_H
#define ORCHESTRATOR_ETCD_WATCH_H

#include "base/buf.h"
#include "io/loop.h"
#include "store/watch.h"

/* mvccpb.KeyValue */
void kv_encode(struct buf *out, unsigned field, const struct store_kv *);
/* WatchResponse.events, one of them. */
void event_encode(struct buf *out, const struct watch_event *, bool prev_kv);

/* The last encoded array. Lives for the turn of the loop in which it was filled. */
struct event_cache {
	struct watch_batch *batch; /* what holds the events; NULL: empty */
	const struct watch_event **events;
	size_t n, cap;
	bool prev_kv;
	struct buf bytes;
	struct loop_timer over;
};

/* All of them as WatchResponse.events; borrowed until the next call. They are of one batch, and at least one. */
struct str event_cache_get(struct event_cache *, struct loop *, const struct watch_event *const *, size_t n, bool prev_kv);
void event_cache_init(struct event_cache *);
void event_cache_fini(struct event_cache *);

#endif
