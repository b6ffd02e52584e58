/*
 * struct map: a hash table from byte strings to pointers.
 *
 * Keys are copied into the map; values are the caller's. Open addressing, grows at 3/4, insertion order is
 * not kept. Hashes are seeded per process, so hostile keys cannot be aimed. Not thread-safe. Removing the
 * current entry while iterating is allowed; inserting is not.
 *
 *	struct map m = MAP_INIT;
 *	map_put(&m, STR("a"), x);
 *	MAP_FOR_EACH (e, &m) use(e->key, e->value);
 *	map_fini(&m);
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_entry {
	struct str key; /* NUL-terminated copy owned by the map; p == NULL: empty slot */
	void *value;
	uint64_t hash;
};

struct map {
	struct map_entry *slots;
	size_t n_slots; /* power of two or 0 */
	size_t n;       /* live entries */
	size_t n_used;  /* live entries and graves */
};

#define MAP_INIT {NULL, 0, 0, 0}
void map_init(struct map *);
/* Frees the table and the keys, not the values. */
void map_fini(struct map *);
/* The same after fn(value) for every entry. */
void map_fini_with(struct map *, void (*fn)(void *value));
void map_clear(struct map *);
/* NULL when absent. */
void *map_get(const struct map *, struct str key);
struct map_entry *map_find(const struct map *, struct str key);
/* Insert or replace; returns the value that was there before, or NULL. */
void *map_put(struct map *, struct str key, void *value);
/* Remove; returns the value, or NULL. */
void *map_del(struct map *, struct str key);
static inline size_t map_len(const struct map *m)
{
	return m->n;
}
/* The entry at or behind slot *i (advanced past it), or NULL at the end. */
struct map_entry *map_next(const struct map *, size_t *i);

#define MAP_FOR_EACH(e, m)                                                                         \
	for (size_t e##_i = 0, e##_once = 1; e##_once; e##_once = 0)                                \
		for (struct map_entry *e; (e = map_next((m), &e##_i)) != NULL;)

#endif
