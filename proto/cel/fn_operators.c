#include <math.h>

#include "proto/cel/cel-priv.h"

static struct cel_value overflow(struct cel__eval *v, const char *what)
{
	return cel_error(v->a, "%s overflow", what);
}

/* ---- arithmetic ---- */

static struct cel_value add_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t r;

	(void)n;
	return __builtin_add_overflow(a[0].i, a[1].i, &r) ? overflow(v, "integer") : cel__int(r);
}

static struct cel_value sub_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t r;

	(void)n;
	return __builtin_sub_overflow(a[0].i, a[1].i, &r) ? overflow(v, "integer") : cel__int(r);
}

static struct cel_value mul_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t r;

	(void)n;
	return __builtin_mul_overflow(a[0].i, a[1].i, &r) ? overflow(v, "integer") : cel__int(r);
}

static struct cel_value div_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	if (a[1].i == 0)
		return cel_error(v->a, "division by zero");
	if (a[0].i == INT64_MIN && a[1].i == -1)
		return overflow(v, "integer");
	return cel__int(a[0].i / a[1].i);
}

static struct cel_value mod_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	if (a[1].i == 0)
		return cel_error(v->a, "modulus by zero");
	if (a[0].i == INT64_MIN && a[1].i == -1)
		return overflow(v, "integer");
	return cel__int(a[0].i % a[1].i);
}

static struct cel_value add_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	uint64_t r;

	(void)n;
	return __builtin_add_overflow(a[0].u, a[1].u, &r) ? overflow(v, "unsigned integer") : cel__uint(r);
}

static struct cel_value sub_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	uint64_t r;

	(void)n;
	return __builtin_sub_overflow(a[0].u, a[1].u, &r) ? overflow(v, "unsigned integer") : cel__uint(r);
}

static struct cel_value mul_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	uint64_t r;

	(void)n;
	return __builtin_mul_overflow(a[0].u, a[1].u, &r) ? overflow(v, "unsigned integer") : cel__uint(r);
}

static struct cel_value div_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return a[1].u == 0 ? cel_error(v->a, "division by zero") : cel__uint(a[0].u / a[1].u);
}

static struct cel_value mod_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return a[1].u == 0 ? cel_error(v->a, "modulus by zero") : cel__uint(a[0].u % a[1].u);
}

static struct cel_value add_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(a[0].d + a[1].d);
}

static struct cel_value sub_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(a[0].d - a[1].d);
}

static struct cel_value mul_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(a[0].d * a[1].d);
}

/* By zero, too: that gives an infinity or NaN. */
__attribute__((no_sanitize("float-divide-by-zero"))) static struct cel_value div_double(struct cel__eval *v,
	const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(a[0].d / a[1].d);
}

static struct cel_value neg_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return a[0].i == INT64_MIN ? overflow(v, "integer") : cel__int(-a[0].i);
}

static struct cel_value neg_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(-a[0].d);
}

static struct cel_value not(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(!a[0].b);
}

/* ---- texts and lists ---- */

static struct cel_value add_text(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);
	struct cel_value r;

	(void)n;
	buf_adds(&b, a[0].s);
	buf_adds(&b, a[1].s);
	r = cel__buf_string(v, &b);
	if (!cel__is_error(r))
		r.kind = a[0].kind;
	return r;
}

static struct cel_value add_list(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel__list_sum(v, a[0].list, a[1].list);
}

static struct cel_value in_list(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	for (size_t i = 0; i < a[1].list->n && !v->stopped; i++)
		if (cel__equal(v, a[0], cel__list_at(v->a, a[1].list, i)))
			return cel_value_bool(true);
	return cel_value_bool(false);
}

static struct cel_value in_map(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(cel__map_find(v->a, a[1].map, a[0], NULL));
}

/* ---- times ---- */

static struct cel_value shift(struct cel__eval *v, struct cel_value t, int64_t ns, bool back)
{
	__int128 total = (__int128)t.seconds * 1000000000 + t.nanos + (back ? -(__int128)ns : (__int128)ns);
	__int128 seconds = total / 1000000000;
	int32_t nanos = (int32_t)(total % 1000000000);

	if (nanos < 0) {
		nanos += 1000000000;
		seconds--;
	}
	if (!cel__timestamp_ok((int64_t)seconds))
		return overflow(v, "timestamp");
	t.seconds = (int64_t)seconds;
	t.nanos = nanos;
	return t;
}

static struct cel_value add_time(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return a[0].kind == CEL_TIMESTAMP ? shift(v, a[0], a[1].i, false) : shift(v, a[1], a[0].i, false);
}

static struct cel_value sub_time(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return shift(v, a[0], a[1].i, true);
}

static struct cel_value time_between(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	__int128 ns = ((__int128)a[0].seconds - a[1].seconds) * 1000000000 + a[0].nanos - a[1].nanos;

	(void)n;
	if (ns > INT64_MAX || ns < INT64_MIN)
		return overflow(v, "duration");
	return cel__duration((int64_t)ns);
}

static struct cel_value add_duration(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t r;

	(void)n;
	return __builtin_add_overflow(a[0].i, a[1].i, &r) ? overflow(v, "duration") : cel__duration(r);
}

static struct cel_value sub_duration(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t r;

	(void)n;
	return __builtin_sub_overflow(a[0].i, a[1].i, &r) ? overflow(v, "duration") : cel__duration(r);
}

/* ---- comparing ---- */

static struct cel_value equals(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(cel__equal(v, a[0], a[1]));
}

static struct cel_value not_equals(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(!cel__equal(v, a[0], a[1]));
}

static struct cel_value order(struct cel__eval *v, const struct cel_value *a, bool less, bool equal)
{
	int c = cel__compare(a[0], a[1]);

	if (c == 3)
		return cel_error(v->a, "NaN values cannot be ordered");
	if (c == 2)
		return CEL__NO_OVERLOAD(v->a);
	return cel_value_bool(c == 0 ? equal : (c < 0) == less);
}

static struct cel_value less(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return order(v, a, true, false);
}

static struct cel_value less_equals(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return order(v, a, true, true);
}

static struct cel_value greater(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return order(v, a, false, false);
}

static struct cel_value greater_equals(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return order(v, a, false, true);
}

#define ORDER(function, word, fn)                                                                                              \
	{function, word "_bool", "bb:b", false, fn}, {function, word "_int64", "ii:b", false, fn},                              \
		{function, word "_int64_double", "id:b", false, fn}, {function, word "_int64_uint64", "iu:b", false, fn},        \
		{function, word "_uint64", "uu:b", false, fn}, {function, word "_uint64_double", "ud:b", false, fn},             \
		{function, word "_uint64_int64", "ui:b", false, fn}, {function, word "_double", "dd:b", false, fn},              \
		{function, word "_double_int64", "di:b", false, fn}, {function, word "_double_uint64", "du:b", false, fn},       \
		{function, word "_string", "ss:b", false, fn}, {function, word "_bytes", "yy:b", false, fn},                     \
		{function, word "_timestamp", "tt:b", false, fn}, {function, word "_duration", "pp:b", false, fn}

static const struct cel__overload overloads[] = {
	/* Those without a function are carried out by eval.c itself. */
	{"_?_:_", "conditional", "bAA:A", false, NULL},
	{"_&&_", "logical_and", "bb:b", false, NULL},
	{"_||_", "logical_or", "bb:b", false, NULL},
	{"@not_strictly_false", "not_strictly_false", "b:b", false, NULL},
	{"_[_]", "index_list", "LAi:A", false, NULL},
	{"_[_]", "index_map", "MABA:B", false, NULL},
	{"!_", "logical_not", "b:b", false, not},
	{"_==_", "equals", "AA:b", false, equals},
	{"_!=_", "not_equals", "AA:b", false, not_equals},
	{"_+_", "add_bytes", "yy:y", false, add_text},
	{"_+_", "add_double", "dd:d", false, add_double},
	{"_+_", "add_duration_duration", "pp:p", false, add_duration},
	{"_+_", "add_duration_timestamp", "pt:t", false, add_time},
	{"_+_", "add_timestamp_duration", "tp:t", false, add_time},
	{"_+_", "add_int64", "ii:i", false, add_int},
	{"_+_", "add_list", "LALA:LA", false, add_list},
	{"_+_", "add_string", "ss:s", false, add_text},
	{"_+_", "add_uint64", "uu:u", false, add_uint},
	{"_-_", "subtract_double", "dd:d", false, sub_double},
	{"_-_", "subtract_duration_duration", "pp:p", false, sub_duration},
	{"_-_", "subtract_int64", "ii:i", false, sub_int},
	{"_-_", "subtract_timestamp_duration", "tp:t", false, sub_time},
	{"_-_", "subtract_timestamp_timestamp", "tt:p", false, time_between},
	{"_-_", "subtract_uint64", "uu:u", false, sub_uint},
	{"_*_", "multiply_double", "dd:d", false, mul_double},
	{"_*_", "multiply_int64", "ii:i", false, mul_int},
	{"_*_", "multiply_uint64", "uu:u", false, mul_uint},
	{"_/_", "divide_double", "dd:d", false, div_double},
	{"_/_", "divide_int64", "ii:i", false, div_int},
	{"_/_", "divide_uint64", "uu:u", false, div_uint},
	{"_%_", "modulo_int64", "ii:i", false, mod_int},
	{"_%_", "modulo_uint64", "uu:u", false, mod_uint},
	{"-_", "negate_double", "d:d", false, neg_double},
	{"-_", "negate_int64", "i:i", false, neg_int},
	{"@in", "in_list", "ALA:b", false, in_list},
	{"@in", "in_map", "AMAB:b", false, in_map},
	ORDER("_<_", "less", less),
	ORDER("_<=_", "less_equals", less_equals),
	ORDER("_>_", "greater", greater),
	ORDER("_>=_", "greater_equals", greater_equals),
};

extern const struct cel__library cel__lib_operators;
const struct cel__library cel__lib_operators = {0, overloads, ARRAY_LEN(overloads)};
