/*
 * Events as bytes. What one watcher is told is often what its neighbours are told too (a thousand watchers of a prefix), so
 * the encoding of the last set of events is kept for the rest of the turn.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/watch.h"
#include "store/wire.h"

void kv_encode(struct buf *out, unsigned field, const struct store_kv *kv)
{
	wire_kv(out, field, kv);
}

void event_encode(struct buf *out, const struct watch_event *ev, bool prev_kv)
{
	size_t mark = wire_begin(out, 11);

	wire_varint(out, 1, ev->is_delete);
	wire_kv(out, 2, &ev->kv);
	if (prev_kv && ev->has_prev)
		wire_kv(out, 3, &ev->prev);
	wire_end(out, mark);
}

static void forget(struct event_cache *c)
{
	if (c->batch != NULL)
		watch_batch_unref(c->batch);
	c->batch = NULL;
}

static void on_turn_over(struct loop_timer *t)
{
	forget(container_of(t, struct event_cache, over));
}

static bool same(const struct event_cache *c, const struct watch_event *const *events, size_t n, bool prev_kv)
{
	return c->batch == events[0]->batch && c->prev_kv == prev_kv && c->n == n &&
	       memcmp(c->events, events, n * sizeof(*events)) == 0;
}

struct str event_cache_get(struct event_cache *c, struct loop *loop, const struct watch_event *const *events, size_t n,
		bool prev_kv)
{
	if (c->batch != NULL && same(c, events, n, prev_kv))
		return buf_str(&c->bytes);
	forget(c);
	buf_clear(&c->bytes);
	for (size_t i = 0; i < n; i++)
		event_encode(&c->bytes, events[i], prev_kv);
	if (n > c->cap) {
		c->cap = n;
		c->events = xrealloc(c->events, n * sizeof(*c->events));
	}
	memcpy(c->events, events, n * sizeof(*events));
	c->n = n;
	c->prev_kv = prev_kv;
	c->batch = events[0]->batch;
	ref_get(&c->batch->ref);
	loop_timer_start(&c->over, loop, 0, on_turn_over);
	return buf_str(&c->bytes);
}

void event_cache_init(struct event_cache *c)
{
	memset(c, 0, sizeof(*c));
	buf_init(&c->bytes, BUF_NO_LIMIT);
}

void event_cache_fini(struct event_cache *c)
{
	loop_timer_stop(&c->over);
	forget(c);
	buf_fini(&c->bytes);
	free(c->events);
}
