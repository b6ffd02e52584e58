/*
 * Lists and maps: they show JSON as it is, or hold values. Values are never changed once they are seen; a list or map to which folds add
 * one after the other shares its store with those that it was made from.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"

/* ---- lists ---- */

struct cel_value cel__list_at(struct arena *a, const struct cel_list *l, size_t i)
{
	if (l->json != NULL)
		return cel_from_json(a, l->json->items[i], l->type != NULL ? l->type->elem : NULL);
	return l->store->items[i];
}

static struct cel_value list_of(struct arena *a, struct cel__store *store, size_t n)
{
	struct cel_list *l = arena_new_of(a, struct cel_list);

	l->store = store;
	l->n = n;
	return (struct cel_value){.kind = CEL_LIST, .list = l};
}

static struct cel__store *store_new(struct arena *a, size_t cap)
{
	struct cel__store *s = arena_new_of(a, struct cel__store);

	s->owner = a;
	s->items = cap > 0 ? arena_alloc(a, cap * sizeof(*s->items)) : NULL;
	s->cap = cap;
	return s;
}

struct cel_value cel__list_new(struct arena *a, const struct cel_value *items, size_t n)
{
	struct cel__store *s = store_new(a, n);

	if (n > 0)
		memcpy(s->items, items, n * sizeof(*items));
	s->n = n;
	return list_of(a, s, n);
}

/* The list's values in a store with room for `more`; the same store when nobody has added to it yet. */
static struct cel__store *store_for(struct arena *a, const struct cel_list *l, size_t more)
{
	struct cel__store *s = l->store, *copy;

	if (s != NULL && s->n == l->n && s->owner == a) {
		if (s->cap - s->n < more) {
			size_t cap = MAX(s->cap * 2, s->n + MAX(more, (size_t)4));

			s->items = arena_grow(a, s->items, s->n * sizeof(*s->items), cap * sizeof(*s->items));
			s->cap = cap;
		}
		return s;
	}
	copy = store_new(a, l->n + MAX(more, (size_t)4));
	for (size_t i = 0; i < l->n; i++)
		copy->items[i] = cel__list_at(a, l, i);
	copy->n = l->n;
	return copy;
}

struct cel_value cel__list_append(struct arena *a, const struct cel_list *l, struct cel_value v)
{
	struct cel__store *s = store_for(a, l, 1);

	s->items[s->n++] = v;
	return list_of(a, s, s->n);
}

struct cel_value cel__list_concat(struct arena *a, const struct cel_list *x, const struct cel_list *y)
{
	struct cel__store *s;
	size_t n = y->n;

	if (n == 0)
		return (struct cel_value){.kind = CEL_LIST, .list = x};
	if (x->n == 0)
		return (struct cel_value){.kind = CEL_LIST, .list = y};
	s = store_for(a, x, n);
	for (size_t i = 0; i < n; i++)
		s->items[s->n + i] = cel__list_at(a, y, i);
	s->n += n;
	return list_of(a, s, s->n);
}

/* ---- maps ---- */

static uint64_t hash_key(struct cel_value k)
{
	/* Numbers that are equal are the same key, whatever their types. */
	switch (k.kind) {
	case CEL_STRING:
		return str_hash(k.s);
	case CEL_BOOL:
		return k.b ? 0x9e3779b97f4a7c15u : 0x7f4a7c159e3779b9u;
	case CEL_DOUBLE:
		k.u = k.d >= 0 ? (uint64_t)k.d : (uint64_t)(int64_t)k.d;
		/* fallthrough */
	default:
		k.u *= 0xff51afd7ed558ccdu;
		return k.u ^ k.u >> 32;
	}
}

/* A double that is a whole number is the integer key; others are no key. */
static bool usable_key(struct cel_value *k)
{
	if (k->kind != CEL_DOUBLE)
		return cel__map_key(k->kind);
	if (k->d >= -0x1p63 && k->d < 0x1p63 && (double)(int64_t)k->d == k->d) {
		*k = cel__int((int64_t)k->d);
		return true;
	}
	if (k->d >= 0 && k->d < 0x1p64 && (double)(uint64_t)k->d == k->d) {
		*k = cel__uint((uint64_t)k->d);
		return true;
	}
	return false;
}

/* Entry among the first n, or -1. */
static ptrdiff_t table_find(const struct cel__table *t, size_t n, struct cel_value key)
{
	if (t->index_cap == 0) {
		for (size_t i = 0; i < n; i++)
			if (cel__compare(t->entries[i].key, key) == 0)
				return (ptrdiff_t)i;
		return -1;
	}
	for (size_t at = hash_key(key) & (t->index_cap - 1); t->index[at] != 0; at = (at + 1) & (t->index_cap - 1)) {
		size_t i = t->index[at] - 1;

		if (i < n && cel__compare(t->entries[i].key, key) == 0)
			return (ptrdiff_t)i;
	}
	return -1;
}

static void index_add(struct cel__table *t, size_t i)
{
	size_t at = hash_key(t->entries[i].key) & (t->index_cap - 1);

	while (t->index[at] != 0)
		at = (at + 1) & (t->index_cap - 1);
	t->index[at] = (uint32_t)i + 1;
}

/* A hash index from 16 entries on, at most half full. */
static void table_index(struct arena *a, struct cel__table *t)
{
	if (t->n < 16 || t->n * 2 <= t->index_cap) {
		if (t->index_cap > 0)
			index_add(t, t->n - 1);
		return;
	}
	t->index_cap = MAX(t->index_cap * 2, (size_t)64);
	t->index = arena_zalloc(a, t->index_cap * sizeof(*t->index));
	for (size_t i = 0; i < t->n; i++)
		index_add(t, i);
}

static void table_add(struct arena *a, struct cel__table *t, struct cel_value key, struct cel_value value)
{
	if (t->n == t->cap) {
		size_t cap = MAX(t->cap * 2, (size_t)4);

		t->entries = arena_grow(a, t->entries, t->n * sizeof(*t->entries), cap * sizeof(*t->entries));
		t->cap = cap;
	}
	t->entries[t->n++] = (struct cel__entry){key, value};
	table_index(a, t);
}

struct cel_value cel__map_new(struct arena *a)
{
	struct cel_map *m = arena_new_of(a, struct cel_map);

	m->table = arena_new_of(a, struct cel__table);
	m->table->owner = a;
	return (struct cel_value){.kind = CEL_MAP, .map = m};
}

struct cel_value cel__map_add(struct arena *a, const struct cel_map *m, struct cel_value key, struct cel_value value)
{
	struct cel_map *grown = arena_new_of(a, struct cel_map);
	struct cel__table *t = m->table;

	if (t == NULL || t->n != m->n || t->owner != a) {
		t = arena_new_of(a, struct cel__table);
		t->owner = a;
		for (size_t i = 0; i < m->n; i++) {
			struct cel_value k, v;

			cel__map_entry(a, m, i, &k, &v);
			table_add(a, t, k, v);
		}
	}
	table_add(a, t, key, value);
	grown->table = t;
	grown->n = t->n;
	grown->type = m->type;
	return (struct cel_value){.kind = CEL_MAP, .map = grown};
}

static bool lazy_find(const struct cel_map *m, struct str name, struct cel_value *ret)
{
	const struct cel_field *f = m->type != NULL ? cel__field(m->type, name) : NULL;
	struct cel_value *made;

	if (f == NULL)
		return false;
	made = &m->made[f - m->type->fields];
	if (made->kind == CEL_DYN && ret != NULL)
		*made = m->lazy->get(m->lazy, m->lazy_arena, name);
	if (ret != NULL)
		*ret = *made;
	return true;
}

/* The JSON member of an object's field, by its escaped name; a map's keys are as they are. */
static bool json_find(struct arena *a, const struct cel_map *m, struct str key, struct cel_value *ret)
{
	const struct cel_type *t = m->type, *type = NULL;
	const struct cel_field *f;
	const struct json *j;

	if (t != NULL && t->kind == CEL_OBJECT) {
		f = cel__field(t, key);
		if (f == NULL && !t->open)
			return false;
		type = f != NULL ? f->type : t->elem;
		key = f != NULL ? str_from(f->json) : key;
	} else if (t != NULL) {
		type = t->elem;
	}
	j = json_get(m->json, key);
	if (j == NULL)
		return false;
	if (ret != NULL)
		*ret = cel_from_json(a, j, type);
	return true;
}

bool cel__map_find(struct arena *a, const struct cel_map *m, struct cel_value key, struct cel_value *ret)
{
	ptrdiff_t i;

	if (m->lazy != NULL)
		return key.kind == CEL_STRING && lazy_find(m, key.s, ret);
	if (m->json != NULL)
		return key.kind == CEL_STRING && json_find(a, m, key.s, ret);
	if (!usable_key(&key) || (i = table_find(m->table, m->n, key)) < 0)
		return false;
	if (ret != NULL)
		*ret = m->table->entries[i].value;
	return true;
}

/* An object's member under the name that expressions use. */
static struct str member_name(struct arena *a, const struct cel_map *m, struct str json_key, const struct cel_type **ret_type)
{
	const struct cel_type *t = m->type;

	*ret_type = t != NULL && t->kind == CEL_MAP ? t->elem : NULL;
	if (t != NULL && t->kind == CEL_OBJECT) {
		const struct cel_field *f = cel__field(t, json_key);
		struct str name = json_key;

		if ((f == NULL || !str_eqc(json_key, f->json)) && cel_escape(a, json_key, &name))
			f = cel__field(t, name);
		if (f != NULL) {
			*ret_type = f->type;
			return name;
		}
	}
	return json_key;
}

void cel__map_entry(struct arena *a, const struct cel_map *m, size_t i, struct cel_value *ret_key, struct cel_value *ret_value)
{
	if (m->lazy != NULL) {
		*ret_key = cel_value_str(str_from(m->type->fields[i].name));
		if (ret_value != NULL)
			lazy_find(m, ret_key->s, ret_value);
	} else if (m->json != NULL) {
		const struct json_member *jm = &m->json->members[i];
		const struct cel_type *type;

		*ret_key = cel_value_str(member_name(a, m, jm->key, &type));
		if (ret_value != NULL)
			*ret_value = cel_from_json(a, jm->value, type);
	} else {
		*ret_key = m->table->entries[i].key;
		if (ret_value != NULL)
			*ret_value = m->table->entries[i].value;
	}
}

struct cel_value cel_value_lazy(struct arena *a, struct cel_lazy *lazy, const struct cel_type *type)
{
	struct cel_map *m = arena_new_of(a, struct cel_map);

	ASSERT(type->kind == CEL_OBJECT);
	m->n = type->n_fields;
	m->type = type;
	m->lazy = lazy;
	m->lazy_arena = a;
	m->made = arena_zalloc(a, MAX(m->n, (size_t)1) * sizeof(*m->made));
	return (struct cel_value){.kind = CEL_MAP, .map = m};
}
