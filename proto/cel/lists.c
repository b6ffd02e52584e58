/*
 * Lists that a custom resource's schema calls a set or a map (x-kubernetes-list-type): the order of the elements means nothing, and a sum
 * keeps each once.
 */
#include "proto/cel/cel-priv.h"
#include "proto/structural.h"

static const struct structural *schema_of(const struct cel_list *l)
{
	const struct structural *s = l->type != NULL ? l->type->schema : NULL;

	return s != NULL && s->list != STRUCTURAL_LIST_ATOMIC ? s : NULL;
}

bool cel__special_list(const struct cel_list *l)
{
	return schema_of(l) != NULL;
}

/* Whether two elements have the same keys. */
static bool same_keys(struct cel__eval *v, const struct structural *s, struct cel_value x, struct cel_value y)
{
	if (x.kind != CEL_MAP || y.kind != CEL_MAP)
		return false;
	JSON_ITEMS (it, s->map_keys) {
		struct cel_value key, mine, theirs;
		struct str name;
		bool has, has_too;

		if (!cel_escape(v->a, json_str(it), &name))
			name = json_str(it);
		key = cel_value_str(name);
		has = cel__map_find(v->a, x.map, key, &mine);
		has_too = cel__map_find(v->a, y.map, key, &theirs);
		if (has != has_too || (has && !cel__equal(v, mine, theirs)))
			return false;
	}
	return true;
}

/* The element of the list that is "the same" as this one; -1: there is none. */
static ptrdiff_t position(struct cel__eval *v, const struct structural *s, const struct cel_list *l, struct cel_value item)
{
	for (size_t i = 0; i < l->n && cel__step(v); i++) {
		struct cel_value other = cel__list_at(v->a, l, i);

		if (s->list == STRUCTURAL_LIST_MAP ? same_keys(v, s, other, item) : cel__equal(v, other, item))
			return (ptrdiff_t)i;
	}
	return -1;
}

bool cel__equal_special_lists(struct cel__eval *v, const struct cel_list *x, const struct cel_list *y)
{
	const struct structural *s = schema_of(x) != NULL ? schema_of(x) : schema_of(y);

	if (x->n != y->n)
		return false;
	for (size_t i = 0; i < x->n && !v->stopped; i++) {
		struct cel_value item = cel__list_at(v->a, x, i);
		ptrdiff_t at = position(v, s, y, item);

		if (at < 0 || (s->list == STRUCTURAL_LIST_MAP && !cel__equal(v, item, cel__list_at(v->a, y, (size_t)at))))
			return false;
	}
	return true;
}

/* x + y: those of y that x has, replace them where they stand (of a map) or are left out (of a set); others follow. */
struct cel_value cel__list_sum(struct cel__eval *v, const struct cel_list *x, const struct cel_list *y)
{
	const struct structural *s = schema_of(x);
	struct cel_value sum, *items;
	struct cel_list *typed;
	size_t n = x->n;

	if (s == NULL)
		return cel__list_concat(v->a, x, y);
	items = arena_alloc(v->a, (x->n + y->n + 1) * sizeof(*items));
	for (size_t i = 0; i < x->n; i++)
		items[i] = cel__list_at(v->a, x, i);
	for (size_t i = 0; i < y->n && !v->stopped; i++) {
		struct cel_value item = cel__list_at(v->a, y, i);
		ptrdiff_t at = position(v, s, x, item);

		if (at >= 0)
			items[at] = item;
		else
			items[n++] = item;
	}
	sum = cel__list_new(v->a, items, n);
	typed = arena_memdup(v->a, sum.list, sizeof(*sum.list));
	typed->type = x->type;
	return (struct cel_value){.kind = CEL_LIST, .list = typed};
}
