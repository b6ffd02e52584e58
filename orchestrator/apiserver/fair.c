#include "orchestrator/apiserver/fair.h"

#include <stdlib.h>

#include "base/util.h"

static void queues_make(struct fair *f, unsigned n_queues, unsigned hand_size, unsigned queue_limit)
{
	ASSERT(n_queues > 0 && hand_size > 0);
	f->n_queues = n_queues;
	f->hand_size = MIN(MIN(hand_size, n_queues), (unsigned)FAIR_MAX_HAND);
	f->queue_limit = queue_limit;
	f->queues = xcalloc(n_queues, sizeof(*f->queues));
	for (unsigned i = 0; i < n_queues; i++) {
		list_init(&f->queues[i].items);
		f->queues[i].tag = f->now;
	}
	f->epoch++;
}

void fair_init(struct fair *f, unsigned n_queues, unsigned hand_size, unsigned queue_limit)
{
	*f = (struct fair){.busy = HEAP_INIT};
	queues_make(f, n_queues, hand_size, queue_limit);
}

void fair_fini(struct fair *f)
{
	ASSERT(f->n == 0);
	heap_fini(&f->busy);
	free(f->queues);
	f->queues = NULL;
}

/* --- Dealing -------------------------------------------------------------------------------------------------- */

uint64_t fair_hash(const void *a, size_t n_a, const void *b, size_t n_b)
{
	const unsigned char *p[2] = {a, b};
	size_t n[2] = {n_a, n_b};
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a; then the mixer of MurmurHash3, for its weak upper bits */

	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < n[k]; i++)
			h = (h ^ p[k][i]) * 0x100000001b3;
		h = (h ^ 0xff) * 0x100000001b3; /* no byte of UTF-8: "a"+"bc" is not "ab"+"c" */
	}
	h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
	return h ^ h >> 33;
}

/* Cards are drawn from what is left of the deck; the sorted ones drawn before say which card the number stands for. */
void fair_deal(uint64_t hash, unsigned n, unsigned hand, unsigned *ret)
{
	unsigned sorted[FAIR_MAX_HAND];

	ASSERT(hand <= n && hand <= FAIR_MAX_HAND);
	for (unsigned i = 0; i < hand; i++) {
		unsigned left = n - i, card = (unsigned)(hash % left), k = 0;

		hash /= left;
		for (; k < i && sorted[k] <= card; k++)
			card++;
		for (unsigned j = i; j > k; j--)
			sorted[j] = sorted[j - 1];
		sorted[k] = card;
		ret[i] = card;
	}
}

static struct fair_queue *choose(struct fair *f, uint64_t hash)
{
	unsigned hand[FAIR_MAX_HAND];
	struct fair_queue *best = NULL;

	fair_deal(hash, f->n_queues, f->hand_size, hand);
	for (unsigned i = 0; i < f->hand_size; i++) {
		struct fair_queue *q = &f->queues[hand[i]];

		if (!best || q->seats < best->seats || (q->seats == best->seats && q->tag < best->tag))
			best = q;
	}
	return best;
}

/* --- Waiting and serving ------------------------------------------------------------------------------------- */

static void enqueue(struct fair *f, struct fair_queue *q, struct fair_item *it)
{
	if (q->n == 0) {
		/* Who did not ask has no claim to the time that went by. */
		q->tag = MAX(q->tag, f->now);
		heap_insert(&f->busy, &q->node, q->tag);
	}
	list_add_tail(&q->items, &it->link);
	it->queue = (unsigned)(q - f->queues);
	it->epoch = f->epoch;
	it->waiting = true;
	q->n++;
	q->seats += it->seats;
	f->n++;
	f->seats += it->seats;
}

bool fair_put(struct fair *f, struct fair_item *it, uint64_t hash, unsigned seats)
{
	struct fair_queue *q = choose(f, hash);

	if (q->n >= f->queue_limit)
		return false;
	it->hash = hash;
	it->seats = seats;
	enqueue(f, q, it);
	return true;
}

static void unlink_item(struct fair *f, struct fair_item *it)
{
	struct fair_queue *q = &f->queues[it->queue];

	ASSERT(it->waiting && it->epoch == f->epoch);
	list_del(&it->link);
	it->waiting = false;
	q->n--;
	q->seats -= it->seats;
	f->n--;
	f->seats -= it->seats;
	if (q->n == 0)
		heap_remove(&f->busy, &q->node);
}

struct fair_item *fair_first(const struct fair *f)
{
	struct heap_node *n = heap_min(&f->busy);
	struct fair_queue *q = n ? container_of(n, struct fair_queue, node) : NULL;

	return q ? LIST_FIRST(&q->items, struct fair_item, link) : NULL;
}

static void tag_move(struct fair *f, struct fair_queue *q, uint64_t tag)
{
	q->tag = tag;
	if (!heap_has(&q->node))
		return;
	heap_remove(&f->busy, &q->node);
	heap_insert(&f->busy, &q->node, tag);
}

void fair_take(struct fair *f, struct fair_item *it)
{
	struct fair_queue *q = &f->queues[it->queue];

	unlink_item(f, it);
	f->now = MAX(f->now, q->tag);
	tag_move(f, q, q->tag + (uint64_t)it->seats * FAIR_GUESS_US);
}

void fair_done(struct fair *f, struct fair_item *it, uint64_t used_us)
{
	struct fair_queue *q;
	uint64_t guess = (uint64_t)it->seats * FAIR_GUESS_US, used = (uint64_t)it->seats * used_us;

	/* Never waited, or in queues that are no more. */
	if (it->epoch == 0 || it->epoch != f->epoch)
		return;
	q = &f->queues[it->queue];
	tag_move(f, q, used >= guess ? q->tag + (used - guess) : q->tag - MIN(guess - used, q->tag));
}

void fair_drop(struct fair *f, struct fair_item *it)
{
	unlink_item(f, it);
}

unsigned fair_busy(const struct fair *f)
{
	return (unsigned)f->busy.n;
}

void fair_resize(struct fair *f, unsigned n_queues, unsigned hand_size, unsigned queue_limit)
{
	struct fair_queue *old = f->queues;
	struct fair_item *it;
	struct list all;

	list_init(&all);
	while ((it = fair_first(f))) {
		fair_take(f, it);
		list_add_tail(&all, &it->link);
	}
	queues_make(f, n_queues, hand_size, queue_limit);
	free(old);
	while (!list_empty(&all)) {
		it = container_of(list_pop(&all), struct fair_item, link);
		/* It was let in once: the limit is for those who come. */
		enqueue(f, choose(f, it->hash), it);
	}
}
