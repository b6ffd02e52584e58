#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"

/* A removed entry's key points here, so that probing goes on past it. */
static const char grave[1];

static uint64_t hash_of(struct str key)
{
	static _Atomic uint64_t seed;
	uint64_t s = seed;

	if (s == 0) {
		if (getrandom(&s, sizeof(s), 0) != (ssize_t)sizeof(s))
			s = 0x9e3779b97f4a7c15u;
		s |= 1;
		uint64_t zero = 0;
		if (!__atomic_compare_exchange_n((uint64_t *)&seed, &zero, s, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			s = zero;
	}
	uint64_t h = str_hash(key) ^ s;
	h *= 0xff51afd7ed558ccdu;
	return h ^ (h >> 33);
}

void map_init(struct map *m)
{
	memset(m, 0, sizeof(*m));
}

static bool is_live(const struct map_entry *e)
{
	return e->key.p != NULL && e->key.p != grave;
}

void map_fini_with(struct map *m, void (*fn)(void *value))
{
	for (size_t i = 0; i < m->n_slots; i++) {
		if (!is_live(&m->slots[i]))
			continue;
		if (fn)
			fn(m->slots[i].value);
		free((char *)m->slots[i].key.p);
	}
	free(m->slots);
	map_init(m);
}

void map_fini(struct map *m)
{
	map_fini_with(m, NULL);
}

void map_clear(struct map *m)
{
	map_fini(m);
}

static struct map_entry *probe(const struct map *m, struct str key, uint64_t hash,
		struct map_entry **ret_free)
{
	size_t mask = m->n_slots - 1;

	if (ret_free)
		*ret_free = NULL;
	if (m->n_slots == 0)
		return NULL;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_entry *e = &m->slots[i];

		if (e->key.p == NULL || e->key.p == grave) {
			if (ret_free && *ret_free == NULL)
				*ret_free = e;
			if (e->key.p == NULL)
				return NULL;
			continue;
		}
		if (e->hash == hash && str_eq(e->key, key))
			return e;
	}
}

struct map_entry *map_find(const struct map *m, struct str key)
{
	return m->n_slots ? probe(m, key, hash_of(key), NULL) : NULL;
}

void *map_get(const struct map *m, struct str key)
{
	struct map_entry *e = map_find(m, key);

	return e ? e->value : NULL;
}

static void rehash(struct map *m)
{
	struct map old = *m;
	size_t n = 8;

	while (n * 3 / 4 <= old.n + 1)
		n *= 2;
	m->slots = xcalloc(n, sizeof(*m->slots));
	m->n_slots = n;
	m->n_used = m->n;
	for (size_t i = 0; i < old.n_slots; i++) {
		struct map_entry *to;

		if (!is_live(&old.slots[i]))
			continue;
		probe(m, old.slots[i].key, old.slots[i].hash, &to);
		*to = old.slots[i];
	}
	free(old.slots);
}

void *map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = hash_of(key);
	struct map_entry *to, *e;
	void *before;

	if ((m->n_used + 1) * 4 > m->n_slots * 3)
		rehash(m);
	e = probe(m, key, hash, &to);
	if (e != NULL) {
		before = e->value;
		e->value = value;
		return before;
	}
	if (to->key.p == NULL)
		m->n_used++;
	to->key = (struct str){str_dup(key), key.n};
	to->hash = hash;
	to->value = value;
	m->n++;
	return NULL;
}

void *map_del(struct map *m, struct str key)
{
	struct map_entry *e = map_find(m, key);
	void *value;

	if (e == NULL)
		return NULL;
	value = e->value;
	free((char *)e->key.p);
	e->key = (struct str){grave, 0};
	e->value = NULL;
	m->n--;
	return value;
}

struct map_entry *map_next(const struct map *m, size_t *i)
{
	while (*i < m->n_slots) {
		struct map_entry *e = &m->slots[(*i)++];

		if (is_live(e))
			return e;
	}
	return NULL;
}
