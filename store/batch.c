/*
 * Event batches: what a batch of commands changed, copied out of the database once and shared by all hubs.
 */
#include <stdlib.h>

#include "base/util.h"
#include "store/batch.h"
#include "store/store-priv.h"

static struct str copy(struct watch_batch *b, struct str s)
{
	b->bytes += s.n;
	return arena_str(&b->arena, s);
}

static void copy_kv(struct watch_batch *b, const struct store_kv *from, struct store_kv *to)
{
	*to = *from;
	to->key = copy(b, from->key);
	to->value = copy(b, from->value);
}

struct watch_batch *watch_batch__new(void)
{
	struct watch_batch *b = xcalloc(1, sizeof(*b));

	ref_init(&b->ref);
	arena_init(&b->arena);
	return b;
}

void watch_batch_unref(struct watch_batch *b)
{
	if (b == NULL || !ref_put(&b->ref))
		return;
	arena_fini(&b->arena);
	free(b->events);
	free(b);
}

void watch_batch__add(struct watch_batch *b, bool is_delete, const struct store_kv *kv, const struct store_kv *prev,
		struct rev at)
{
	struct watch_event *ev;

	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->events = xrealloc(b->events, b->cap * sizeof(*b->events));
	}
	ev = &b->events[b->n++];
	*ev = (struct watch_event){.is_delete = is_delete, .has_prev = prev != NULL, .sub = at.sub, .batch = b};
	copy_kv(b, kv, &ev->kv);
	ev->kv.mod_revision = at.main;
	if (prev != NULL)
		copy_kv(b, prev, &ev->prev);
	b->bytes += sizeof(*ev);
	if (b->first == 0)
		b->first = at.main;
	b->last = at.main;
}

void store__event(struct store *s, bool is_delete, const struct store_kv *kv, const struct store_kv *prev, struct rev at)
{
	if (!s->collect)
		return;
	if (s->events == NULL)
		s->events = watch_batch__new();
	watch_batch__add(s->events, is_delete, kv, prev, at);
}

void store__events_drop(struct store *s)
{
	watch_batch_unref(s->events);
	s->events = NULL;
}
