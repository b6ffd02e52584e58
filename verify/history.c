#include "verify/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "verify/verify-priv.h"

void ptrs_add(struct ptrs *a, void *p)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->p = xrealloc(a->p, a->cap * sizeof(*a->p));
	}
	a->p[a->n++] = p;
}

struct history *history_new(void)
{
	struct history *h = xcalloc(1, sizeof(*h));

	arena_init(&h->arena);
	h->first = 1;
	return h;
}

void history_free(struct history *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < h->watches.n; i++)
		free(((struct hist_watch *)h->watches.p[i])->messages);
	free(h->calls.p);
	free(h->watches.p);
	free(h->evidence.p);
	free(h->seen);
	arena_fini(&h->arena);
	free(h);
}

struct arena *history_arena(struct history *h)
{
	return &h->arena;
}

struct str history_copy(struct history *h, struct str s)
{
	return arena_str(&h->arena, s);
}

struct hist_call *history_call(struct history *h, enum hist_kind kind, unsigned client, uint64_t now)
{
	struct hist_call *c = arena_new_of(&h->arena, struct hist_call);

	c->kind = kind;
	c->client = client;
	c->invoked = now;
	c->succeeded = true;
	ptrs_add(&h->calls, c);
	return c;
}

struct hist_watch *history_watch(struct history *h, unsigned client, struct str key, struct str end, int64_t start)
{
	struct hist_watch *w = arena_new_of(&h->arena, struct hist_watch);

	w->client = client;
	w->key = history_copy(h, key);
	w->end = history_copy(h, end);
	w->start = start;
	ptrs_add(&h->watches, w);
	return w;
}

void history_message(struct history *h _unused_, struct hist_watch *w, struct hist_message m)
{
	if (w->n_messages == w->cap_messages) {
		w->cap_messages = w->cap_messages ? w->cap_messages * 2 : 8;
		w->messages = xrealloc(w->messages, w->cap_messages * sizeof(*w->messages));
	}
	w->messages[w->n_messages++] = m;
}

void history_evidence(struct history *h, const struct hist_event *e)
{
	struct hist_event *copy = arena_memdup(&h->arena, e, sizeof(*e));

	copy->kv.key = history_copy(h, e->kv.key);
	copy->kv.value = history_copy(h, e->kv.value);
	ptrs_add(&h->evidence, copy);
}

void history_known(struct history *h, int64_t from, int64_t to)
{
	h->known_from = from;
	h->known_to = to;
}

void history_start(struct history *h, int64_t revision)
{
	h->first = revision;
}

void history_shared(struct history *h, bool shared)
{
	h->shared = shared;
}

void history_auto_compaction(struct history *h, bool on)
{
	h->auto_compaction = on;
}

void history_seen(struct history *h, int64_t revision, uint64_t now)
{
	if (h->n_seen == h->cap_seen) {
		h->cap_seen = h->cap_seen ? h->cap_seen * 2 : 256;
		h->seen = xrealloc(h->seen, h->cap_seen * sizeof(*h->seen));
	}
	h->seen[h->n_seen++] = (struct seen){revision, now};
}
