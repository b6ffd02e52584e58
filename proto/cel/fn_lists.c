/* Kubernetes' functions on lists, sets, and what two-variable macros build maps with. */
#include "proto/cel/cel-priv.h"

/* ---- isSorted, sum, min, max, indexOf, lastIndexOf ---- */

static struct cel_value is_sorted(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value before, at;

	(void)n;
	for (size_t i = 0; i < a[0].list->n; i++, before = at) {
		int c;

		at = cel__list_at(v->a, a[0].list, i);
		if (i == 0)
			continue;
		c = cel__compare(before, at);
		if (c >= 2)
			return CEL__NO_OVERLOAD(v->a);
		if (c > 0)
			return cel_value_bool(false);
	}
	return cel_value_bool(true);
}

static struct cel_value sum_of(struct cel__eval *v, const struct cel_value *a, struct cel_value sum)
{
	for (size_t i = 0; i < a[0].list->n; i++) {
		struct cel_value at = cel__list_at(v->a, a[0].list, i);

		if (at.kind != sum.kind)
			return CEL__NO_OVERLOAD(v->a);
		switch (sum.kind) {
		case CEL_DOUBLE:
			sum.d += at.d;
			break;
		case CEL_UINT:
			if (__builtin_add_overflow(sum.u, at.u, &sum.u))
				return cel_error(v->a, "unsigned integer overflow");
			break;
		default:
			if (__builtin_add_overflow(sum.i, at.i, &sum.i))
				return cel_error(v->a, "%s overflow", sum.kind == CEL_INT ? "integer" : "duration");
		}
	}
	return sum;
}

/* The first element says what the sum of a dyn list is; of an empty one it is the int 0. */
static struct cel_value sum(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value zero = cel__int(0);

	(void)n;
	if (a[0].list->n > 0) {
		zero.kind = cel__list_at(v->a, a[0].list, 0).kind;
		if (zero.kind == CEL_DOUBLE)
			zero.d = 0;
		else if (zero.kind != CEL_INT && zero.kind != CEL_UINT && zero.kind != CEL_DURATION)
			return CEL__NO_OVERLOAD(v->a);
	}
	return sum_of(v, a, zero);
}

static struct cel_value sum_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return sum_of(v, a, cel__uint(0));
}

static struct cel_value sum_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return sum_of(v, a, cel__double(0));
}

static struct cel_value sum_duration(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return sum_of(v, a, cel__duration(0));
}

static struct cel_value extreme(struct cel__eval *v, const struct cel_value *a, bool greatest)
{
	struct cel_value best;

	if (a[0].list->n == 0)
		return cel_error(v->a, "%s called on empty list", greatest ? "max" : "min");
	best = cel__list_at(v->a, a[0].list, 0);
	for (size_t i = 1; i < a[0].list->n; i++) {
		struct cel_value at = cel__list_at(v->a, a[0].list, i);
		int c = cel__compare(at, best);

		if (c >= 2)
			return CEL__NO_OVERLOAD(v->a);
		if (greatest ? c > 0 : c < 0)
			best = at;
	}
	return best;
}

static struct cel_value min(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return extreme(v, a, false);
}

static struct cel_value max(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return extreme(v, a, true);
}

static struct cel_value index_of(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	for (size_t i = 0; i < a[0].list->n && !v->stopped; i++)
		if (cel__equal(v, cel__list_at(v->a, a[0].list, i), a[1]))
			return cel__int((int64_t)i);
	return cel__int(-1);
}

static struct cel_value last_index_of(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	for (size_t i = a[0].list->n; i-- > 0 && !v->stopped;)
		if (cel__equal(v, cel__list_at(v->a, a[0].list, i), a[1]))
			return cel__int((int64_t)i);
	return cel__int(-1);
}

#define COMPARABLE(function, word, result, fn)                                                                                 \
	{function, "list_int64_" word, "Li:" result("i"), true, fn}, {function, "list_double_" word, "Ld:" result("d"), true, fn}, \
		{function, "list_bool_" word, "Lb:" result("b"), true, fn},                                                     \
		{function, "list_duration_" word, "Lp:" result("p"), true, fn},                                                 \
		{function, "list_string_" word, "Ls:" result("s"), true, fn},                                                   \
		{function, "list_timestamp_" word, "Lt:" result("t"), true, fn},                                                \
		{function, "list_uint64_" word, "Lu:" result("u"), true, fn},                                                   \
		{function, "list_bytes_" word, "Ly:" result("y"), true, fn}
#define BOOL(x) "b"
#define SAME(x) x

static const struct cel__overload lists[] = {
	COMPARABLE("isSorted", "is_sorted_bool", BOOL, is_sorted),
	{"sum", "list_int64_sum_int64", "Li:i", true, sum},
	{"sum", "list_double_sum_double", "Ld:d", true, sum_double},
	{"sum", "list_duration_sum_duration", "Lp:p", true, sum_duration},
	{"sum", "list_uint64_sum_uint64", "Lu:u", true, sum_uint},
	COMPARABLE("max", "max", SAME, max),
	COMPARABLE("min", "min", SAME, min),
	{"indexOf", "list_a_index_of_int", "LAA:i", true, index_of},
	{"lastIndexOf", "list_a_last_index_of_int", "LAA:i", true, last_index_of},
};

extern const struct cel__library cel__lib_lists;
const struct cel__library cel__lib_lists = {CEL_LIB_LISTS, lists, ARRAY_LEN(lists)};

/* ---- maps that grow ---- */

static struct cel_value insert(struct cel__eval *v, const struct cel_map *m, struct cel_value key, struct cel_value value)
{
	if (!cel__map_key(key.kind))
		return cel_error(v->a, "unsupported key type: %s", cel__type_name(cel__value_type(v->a, key)));
	if (cel__map_find(v->a, m, key, NULL))
		return cel_error(v->a, "insert failed: key %.*s already exists", STR_FMT(cel_value_text(v->a, key)));
	return cel__map_add(v->a, m, key, value);
}

static struct cel_value map_insert(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return insert(v, a[0].map, a[1], a[2]);
}

static struct cel_value map_insert_map(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value m = a[0];

	(void)n;
	for (size_t i = 0; i < a[1].map->n && m.kind == CEL_MAP && cel__step(v); i++) {
		struct cel_value key, value;

		cel__map_entry(v->a, a[1].map, i, &key, &value);
		m = insert(v, m.map, key, value);
	}
	return m;
}

static const struct cel__overload two_vars[] = {
	{"cel.@mapInsert", "@mapInsert_map_map", "MABMAB:MAB", false, map_insert_map},
	{"cel.@mapInsert", "@mapInsert_map_key_value", "MABAB:MAB", false, map_insert},
};

extern const struct cel__library cel__lib_two_vars;
const struct cel__library cel__lib_two_vars = {CEL_LIB_TWO_VARS, two_vars, ARRAY_LEN(two_vars)};

/* ---- sets ---- */

static bool holds(struct cel__eval *v, const struct cel_list *l, struct cel_value item)
{
	for (size_t i = 0; i < l->n && !v->stopped; i++)
		if (cel__equal(v, cel__list_at(v->a, l, i), item))
			return true;
	return false;
}

static bool holds_all(struct cel__eval *v, const struct cel_list *l, const struct cel_list *items)
{
	for (size_t i = 0; i < items->n; i++)
		if (v->stopped || !holds(v, l, cel__list_at(v->a, items, i)))
			return false;
	return true;
}

static struct cel_value sets_contains(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(holds_all(v, a[0].list, a[1].list));
}

static struct cel_value sets_equivalent(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(holds_all(v, a[0].list, a[1].list) && holds_all(v, a[1].list, a[0].list));
}

static struct cel_value sets_intersects(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	for (size_t i = 0; i < a[0].list->n && !v->stopped; i++)
		if (holds(v, a[1].list, cel__list_at(v->a, a[0].list, i)))
			return cel_value_bool(true);
	return cel_value_bool(false);
}

static const struct cel__overload sets[] = {
	{"sets.contains", "list_sets_contains_list", "LALA:b", false, sets_contains},
	{"sets.equivalent", "list_sets_equivalent_list", "LALA:b", false, sets_equivalent},
	{"sets.intersects", "list_sets_intersects_list", "LALA:b", false, sets_intersects},
};

extern const struct cel__library cel__lib_sets;
const struct cel__library cel__lib_sets = {CEL_LIB_SETS, sets, ARRAY_LEN(sets)};
