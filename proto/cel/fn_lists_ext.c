/* The lists extension, version 3: slice, flatten, sort, sortBy, distinct, reverse, lists.range. */
#include <stdlib.h>

#include "proto/cel/cel-priv.h"

static struct cel_value slice(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t from = a[1].i, to = a[2].i;
	struct cel_value *items;

	(void)n;
	if (from < 0 || to < 0)
		return cel_error(v->a, "cannot slice(%lld, %lld), negative indexes not supported", (long long)from, (long long)to);
	if (from > to)
		return cel_error(v->a, "cannot slice(%lld, %lld), start index must be less than or equal to end index", (long long)from,
			(long long)to);
	if ((uint64_t)to > a[0].list->n)
		return cel_error(v->a, "cannot slice(%lld, %lld), list is length %zu", (long long)from, (long long)to, a[0].list->n);
	items = arena_alloc(v->a, (size_t)(to - from + 1) * sizeof(*items));
	for (int64_t i = from; i < to; i++)
		items[i - from] = cel__list_at(v->a, a[0].list, (size_t)i);
	return cel__list_new(v->a, items, (size_t)(to - from));
}

static struct cel_value flatten_into(struct cel__eval *v, struct cel_value out, const struct cel_list *l, int64_t depth)
{
	for (size_t i = 0; i < l->n && cel__step(v); i++) {
		struct cel_value item = cel__list_at(v->a, l, i);

		if (item.kind == CEL_LIST && depth > 0)
			out = flatten_into(v, out, item.list, depth - 1);
		else
			out = cel__list_append(v->a, out.list, item);
	}
	return out;
}

static struct cel_value flatten(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t depth = n > 1 ? a[1].i : 1;

	if (depth < 0)
		return cel_error(v->a, "level must be non-negative");
	return flatten_into(v, cel__list_new(v->a, NULL, 0), a[0].list, depth);
}

static struct cel_value range(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value *items;

	(void)n;
	if (a[0].i < 0)
		return cel_error(v->a, "lists.range: size must be non-negative, got %lld", (long long)a[0].i);
	/* That it fits was paid for: one for each. */
	if ((uint64_t)a[0].i > CEL_MAX_MEMORY / sizeof(*items))
		return cel_error(v->a, "lists.range: size %lld exceeds maximum allowed (%zu)", (long long)a[0].i,
			CEL_MAX_MEMORY / sizeof(*items));
	items = arena_alloc(v->a, (size_t)(a[0].i + 1) * sizeof(*items));
	for (int64_t i = 0; i < a[0].i; i++)
		items[i] = cel__int(i);
	return cel__list_new(v->a, items, (size_t)a[0].i);
}

static struct cel_value reverse(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	size_t len = a[0].list->n;
	struct cel_value *items = arena_alloc(v->a, (len + 1) * sizeof(*items));

	(void)n;
	for (size_t i = 0; i < len; i++)
		items[i] = cel__list_at(v->a, a[0].list, len - 1 - i);
	return cel__list_new(v->a, items, len);
}

static struct cel_value distinct(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value *items = arena_alloc(v->a, (a[0].list->n + 1) * sizeof(*items));
	size_t kept = 0;

	(void)n;
	for (size_t i = 0; i < a[0].list->n && !v->stopped; i++) {
		struct cel_value item = cel__list_at(v->a, a[0].list, i);
		size_t j = 0;

		while (j < kept && !cel__equal(v, items[j], item))
			j++;
		if (j == kept)
			items[kept++] = item;
	}
	return cel__list_new(v->a, items, kept);
}

/* ---- sorting ---- */

struct keyed {
	struct cel_value key, item;
	size_t at; /* equals keep their order */
};

static int by_key(const void *va, const void *vb)
{
	const struct keyed *a = va, *b = vb;
	int c = cel__compare(a->key, b->key);

	if (c == -1 || c == 1)
		return c;
	return a->at < b->at ? -1 : a->at > b->at;
}

static struct cel_value sort_by_keys(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	const struct cel_list *list = a[0].list, *keys = n > 1 ? a[1].list : a[0].list;
	struct keyed *pairs = arena_alloc(v->a, (list->n + 1) * sizeof(*pairs));
	struct cel_value *items = arena_alloc(v->a, (list->n + 1) * sizeof(*items));

	if (list->n != keys->n)
		return cel_error(v->a, "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got %zu "
				       "and %zu elements respectively", list->n, keys->n);
	for (size_t i = 0; i < list->n; i++) {
		pairs[i] = (struct keyed){cel__list_at(v->a, keys, i), cel__list_at(v->a, list, i), i};
		if (cel__is_error(pairs[i].key))
			return pairs[i].key;
		if (cel__compare(pairs[i].key, pairs[i].key) == 2)
			return cel_error(v->a, "list elements must be comparable");
		if (pairs[i].key.kind != pairs[0].key.kind)
			return cel_error(v->a, "list elements must have the same type");
	}
	qsort(pairs, list->n, sizeof(*pairs), by_key);
	for (size_t i = 0; i < list->n; i++)
		items[i] = pairs[i].item;
	return cel__list_new(v->a, items, list->n);
}

#define COMPARABLE(function, head, tail, args, result)                                                                         \
	{function, head "int" tail, args("i") ":" result("i"), true, sort_by_keys},                                               \
		{function, head "uint" tail, args("u") ":" result("u"), true, sort_by_keys},                                     \
		{function, head "double" tail, args("d") ":" result("d"), true, sort_by_keys},                                   \
		{function, head "bool" tail, args("b") ":" result("b"), true, sort_by_keys},                                     \
		{function, head "google.protobuf.Duration" tail, args("p") ":" result("p"), true, sort_by_keys},                 \
		{function, head "google.protobuf.Timestamp" tail, args("t") ":" result("t"), true, sort_by_keys},                \
		{function, head "string" tail, args("s") ":" result("s"), true, sort_by_keys},                                   \
		{function, head "bytes" tail, args("y") ":" result("y"), true, sort_by_keys}
#define LIST(x) "L" x
#define WITH_KEYS(x) "LAL" x
#define ANY_LIST(x) "LA"

static const struct cel__overload overloads[] = {
	{"slice", "list_slice", "LAii:LA", true, slice},
	{"flatten", "list_flatten", "LLA:LA", true, flatten},
	{"flatten", "list_flatten_int", "L*i:L*", true, flatten},
	COMPARABLE("sort", "list_", "_sort", LIST, LIST),
	COMPARABLE("@sortByAssociatedKeys", "list_", "_sortByAssociatedKeys", WITH_KEYS, ANY_LIST),
	{"lists.range", "lists_range", "i:Li", false, range},
	{"reverse", "list_reverse", "LA:LA", true, reverse},
	{"distinct", "list_distinct", "LA:LA", true, distinct},
};

extern const struct cel__library cel__lib_lists_ext;
const struct cel__library cel__lib_lists_ext = {CEL_LIB_LISTS_EXT, overloads, ARRAY_LEN(overloads)};
