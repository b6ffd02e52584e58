/*
 * The tree of json.h: looking things up in it, comparing, changing.
 *
 * An object is an array of members in their order. Once it has more than SMALL_OBJECT of them it gets an index, a hash table with open
 * addressing whose slots hold a member's place plus one. A deletion leaves a grave there, so that walks which led over it still
 * find what lies behind. The array growing makes the index void: the next addition builds it anew.
 *
 * Numbers are compared by what they mean (1e3 is 1000), objects whatever the order of their members.
 */
#include "proto/json.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/json-priv.h"

#define SMALL_OBJECT 16u
#define GRAVE UINT32_MAX

/* Seeded per process, so that hostile keys cannot be aimed at one slot. */
static uint64_t key_hash(struct str s)
{
	static _Atomic uint64_t seed;
	uint64_t h = atomic_load_explicit(&seed, memory_order_relaxed);

	if (h == 0) {
		uint64_t none = 0;

		h = random_u64() | 1;
		if (!atomic_compare_exchange_strong(&seed, &none, h))
			h = none;
	}
	while (s.n > 0) {
		uint64_t w = 0;
		size_t n = MIN(s.n, sizeof(w));
		__uint128_t m;

		memcpy(&w, s.p, n);
		m = (__uint128_t)(h ^ w) * 0x9e3779b97f4a7c15u;
		h = (uint64_t)m ^ (uint64_t)(m >> 64) ^ (n << 56);
		s = str_skip(s, n);
	}
	return h ^ (h >> 29);
}

static void index_add(struct json *o, uint32_t i)
{
	uint32_t mask = o->index_cap - 1;
	uint32_t at = (uint32_t)key_hash(o->members[i].key) & mask;

	while (o->index[at] != 0 && o->index[at] != GRAVE)
		at = (at + 1) & mask;
	o->index[at] = i + 1;
}

static void index_build(struct arena *a, struct json *o)
{
	uint32_t cap = 64;

	while (cap < o->members_cap * 2)
		cap *= 2;
	o->index = arena_new_array(a, uint32_t, cap);
	o->index_cap = cap;
	for (uint32_t i = 0; i < o->n; i++)
		index_add(o, i);
}

/* The slot that names the key, or NULL. */
static uint32_t *index_find(const struct json *o, struct str key)
{
	uint32_t mask = o->index_cap - 1;

	/* Graves could fill the table, so the walk is bounded. */
	for (uint32_t at = (uint32_t)key_hash(key) & mask, left = o->index_cap; left > 0;
		at = (at + 1) & mask, left--) {
		uint32_t i = o->index[at];

		if (i == 0)
			return NULL;
		if (i != GRAVE && str_eq(o->members[i - 1].key, key))
			return &o->index[at];
	}
	return NULL;
}

static struct json_member *member_find(const struct json *o, struct str key)
{
	if (o == NULL || o->type != JSON_OBJECT)
		return NULL;
	if (o->index) {
		uint32_t *slot = index_find(o, key);

		return slot ? &o->members[*slot - 1] : NULL;
	}
	for (uint32_t i = 0; i < o->n; i++)
		if (str_eq(o->members[i].key, key))
			return &o->members[i];
	return NULL;
}

struct json *json_get(const struct json *j, struct str key)
{
	struct json_member *m = member_find(j, key);

	return m ? m->value : NULL;
}

struct json *json_getc(const struct json *j, const char *key)
{
	return json_get(j, str_from(key));
}

struct json *json_getp(const struct json *j, const char *path)
{
	struct str rest = str_from(path), key;
	struct json *at = (struct json *)j;

	do {
		bool more = str_cut(rest, '.', &key, &rest);

		at = json_get(at, key);
		if (!more)
			return at;
	} while (at != NULL);
	return NULL;
}

struct json *json_at(const struct json *j, size_t i)
{
	return json_is(j, JSON_ARRAY) && i < j->n ? j->items[i] : NULL;
}

struct str json_str(const struct json *j)
{
	return json_is(j, JSON_STRING) ? j->s : STR("");
}

struct str json_strp(const struct json *j, const char *path)
{
	return json_str(json_getp(j, path));
}

const char *json_cstr(const struct json *j)
{
	return json_is(j, JSON_STRING) ? j->s.p : "";
}

bool json_eqc(const struct json *j, const char *s)
{
	return json_is(j, JSON_STRING) && str_eqc(j->s, s);
}

bool json_true(const struct json *j)
{
	return json_is(j, JSON_BOOL) && j->b;
}

bool json_f64(const struct json *j, double *ret)
{
	if (!json_is(j, JSON_NUMBER))
		return false;
	*ret = strtod(j->s.p, NULL);
	return true;
}

bool json_i64(const struct json *j, int64_t *ret)
{
	double d;

	if (!json_is(j, JSON_NUMBER))
		return false;
	if (str_to_i64(j->s, ret))
		return true;
	/* "1e3" and "2.0" are whole as well; doubles are exact up to 2^53. */
	d = strtod(j->s.p, NULL);
	if (str_find(j->s, '.') < 0 && str_find(j->s, 'e') < 0 && str_find(j->s, 'E') < 0)
		return false;
	if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0) || d != trunc(d))
		return false;
	*ret = (int64_t)d;
	return true;
}

int64_t json_i64_or(const struct json *j, int64_t dflt)
{
	int64_t v;

	return json_i64(j, &v) ? v : dflt;
}

static bool number_equal(const struct json *a, const struct json *b)
{
	int64_t x, y;

	if (str_eq(a->s, b->s))
		return true;
	if (json_i64(a, &x) && json_i64(b, &y))
		return x == y;
	return strtod(a->s.p, NULL) == strtod(b->s.p, NULL);
}

bool json_equal(const struct json *a, const struct json *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->type != b->type)
		return false;
	switch (a->type) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return a->b == b->b;
	case JSON_NUMBER:
		return number_equal(a, b);
	case JSON_STRING:
		return str_eq(a->s, b->s);
	case JSON_ARRAY:
		if (a->n != b->n)
			return false;
		for (uint32_t i = 0; i < a->n; i++)
			if (!json_equal(a->items[i], b->items[i]))
				return false;
		return true;
	case JSON_OBJECT:
		if (a->n != b->n)
			return false;
		for (uint32_t i = 0; i < a->n; i++) {
			/* The same place first: trees that are alike mostly have the same order. */
			struct json *y = str_eq(a->members[i].key, b->members[i].key)
						 ? b->members[i].value
						 : json_get(b, a->members[i].key);

			if (y == NULL || !json_equal(a->members[i].value, y))
				return false;
		}
		return true;
	}
	UNREACHABLE();
}

unsigned json_depth(const struct json *j)
{
	unsigned deepest = 0, depth;

	JSON_ITEMS (it, j) {
		depth = json_depth(it);
		deepest = MAX(deepest, depth);
	}
	JSON_MEMBERS (m, j) {
		depth = json_depth(m->value);
		deepest = MAX(deepest, depth);
	}
	return deepest + 1;
}

void json_add(struct arena *a, struct json *o, struct str key, struct json *value)
{
	if (o->n == o->members_cap) {
		uint32_t cap = MAX(o->members_cap * 2, 4u);

		ASSERT(cap > o->n);
		o->members = arena_grow(
			a, o->members, o->n * sizeof(*o->members), cap * sizeof(*o->members));
		o->members_cap = cap;
		o->index = NULL;
	}
	o->members[o->n] = (struct json_member){key, value};
	o->n++;
	if (o->n > SMALL_OBJECT) {
		if (o->index == NULL)
			index_build(a, o);
		else
			index_add(o, o->n - 1);
	}
}

void json_set(struct arena *a, struct json *o, struct str key, struct json *value)
{
	struct json_member *m;

	ASSERT(o->type == JSON_OBJECT && value != NULL);
	m = member_find(o, key);
	if (m)
		m->value = value;
	else
		json_add(a, o, arena_str(a, key), value);
}

void json_addc(struct arena *a, struct json *o, const char *key, struct json *value)
{
	json_add(a, o, str_from(key), value);
}

void json_setc(struct arena *a, struct json *o, const char *key, struct json *value)
{
	json_set(a, o, str_from(key), value);
}

static struct json *object_at(struct arena *a, struct json *o, struct str key, bool force)
{
	struct json *v = json_get(o, key);

	if (json_is(v, JSON_OBJECT))
		return v;
	if (!force && !json_is_null(v))
		return NULL;
	v = json_new_object(a);
	json_set(a, o, key, v);
	return v;
}

struct json *json_object_at(struct arena *a, struct json *o, const char *key)
{
	return object_at(a, o, str_from(key), false);
}

void json_setp(struct arena *a, struct json *o, const char *path, struct json *value)
{
	struct str rest = str_from(path), key;

	while (str_cut(rest, '.', &key, &rest))
		o = object_at(a, o, key, true);
	json_set(a, o, key, value);
}

struct json *json_del(struct json *o, struct str key)
{
	struct json_member *m = member_find(o, key);
	struct json *v;
	uint32_t i;

	if (m == NULL)
		return NULL;
	v = m->value;
	i = (uint32_t)(m - o->members);
	if (o->index) {
		*index_find(o, key) = GRAVE;
		if (i != o->n - 1) {
			*index_find(o, o->members[o->n - 1].key) = i + 1;
			o->members[i] = o->members[o->n - 1];
		}
	} else {
		memmove(m, m + 1, (o->n - i - 1) * sizeof(*m));
	}
	o->n--;
	return v;
}

struct json *json_delc(struct json *o, const char *key)
{
	return json_del(o, str_from(key));
}

struct json *json_delp(struct json *o, const char *path)
{
	struct str rest = str_from(path), key;

	while (str_cut(rest, '.', &key, &rest))
		o = json_get(o, key);
	return json_del(o, key);
}

void json_insert(struct arena *a, struct json *j, size_t i, struct json *value)
{
	ASSERT(j->type == JSON_ARRAY && value != NULL && i <= j->n);
	if (j->n == j->items_cap) {
		uint32_t cap = MAX(j->items_cap * 2, 4u);

		ASSERT(cap > j->n);
		j->items =
			arena_grow(a, j->items, j->n * sizeof(*j->items), cap * sizeof(*j->items));
		j->items_cap = cap;
	}
	memmove(&j->items[i + 1], &j->items[i], (j->n - i) * sizeof(*j->items));
	j->items[i] = value;
	j->n++;
}

void json_push(struct arena *a, struct json *j, struct json *value)
{
	json_insert(a, j, j->n, value);
}

struct json *json_del_at(struct json *j, size_t i)
{
	struct json *v = json_at(j, i);

	if (v == NULL)
		return NULL;
	memmove(&j->items[i], &j->items[i + 1], (j->n - i - 1) * sizeof(*j->items));
	j->n--;
	return v;
}

int json__member_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

void json_sort(struct arena *a, struct json *j)
{
	JSON_ITEMS (it, j)
		json_sort(a, it);
	if (!json_is(j, JSON_OBJECT))
		return;
	for (uint32_t i = 0; i < j->n; i++)
		json_sort(a, j->members[i].value);
	if (j->n > 1)
		qsort(j->members, j->n, sizeof(*j->members), json__member_cmp);
	if (j->index)
		index_build(a, j);
}
