/*
 * struct heap: an intrusive binary min-heap, for deadlines and queues by priority.
 *
 * The owner embeds struct heap_node and sets node.key before inserting; equal keys leave in no special
 * order. A node knows its place, so removal is O(log n).
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	uint64_t key;
	size_t place; /* index + 1; 0 while in no heap */
};

struct heap {
	struct heap_node **nodes;
	size_t n, cap;
};

#define HEAP_INIT {NULL, 0, 0}
void heap_fini(struct heap *);
void heap_insert(struct heap *, struct heap_node *, uint64_t key);
/* NULL when empty. */
struct heap_node *heap_min(const struct heap *);
/* Remove; a node in no heap is ignored. */
void heap_remove(struct heap *, struct heap_node *);
static inline bool heap_has(const struct heap_node *n)
{
	return n->place != 0;
}

#endif
