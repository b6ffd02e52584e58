#include "base/heap.h"

#include <stdlib.h>

#include "base/util.h"

void heap_fini(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap)HEAP_INIT;
}

static void put_at(struct heap *h, size_t i, struct heap_node *n)
{
	h->nodes[i] = n;
	n->place = i + 1;
}

static void sift_up(struct heap *h, size_t i, struct heap_node *n)
{
	while (i > 0) {
		size_t up = (i - 1) / 2;

		if (h->nodes[up]->key <= n->key)
			break;
		put_at(h, i, h->nodes[up]);
		i = up;
	}
	put_at(h, i, n);
}

static void sift_down(struct heap *h, size_t i, struct heap_node *n)
{
	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= h->n)
			break;
		if (c + 1 < h->n && h->nodes[c + 1]->key < h->nodes[c]->key)
			c++;
		if (h->nodes[c]->key >= n->key)
			break;
		put_at(h, i, h->nodes[c]);
		i = c;
	}
	put_at(h, i, n);
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
	ASSERT(n->place == 0);
	if (h->n == h->cap) {
		h->cap = MAX(h->cap * 2, (size_t)16);
		h->nodes = xrealloc(h->nodes, h->cap * sizeof(*h->nodes));
	}
	n->key = key;
	sift_up(h, h->n++, n);
}

struct heap_node *heap_min(const struct heap *h)
{
	return h->n ? h->nodes[0] : NULL;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	size_t i = n->place - 1;
	struct heap_node *last;

	if (n->place == 0)
		return;
	ASSERT(i < h->n && h->nodes[i] == n);
	n->place = 0;
	last = h->nodes[--h->n];
	if (last == n)
		return;
	if (i > 0 && h->nodes[(i - 1) / 2]->key > last->key)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}
