#include "proto/cel/opaque-priv.h"

static struct cel_value make(struct cel__eval *v, struct quantity q)
{
	struct cel__quantity *o = arena_new_of(v->a, struct cel__quantity);

	o->o.kind = OPAQUE_QUANTITY;
	o->q = q;
	return cel__opaque(&o->o);
}

static struct quantity of(struct cel_value x)
{
	return ((const struct cel__quantity *)x.opaque)->q;
}

static struct cel_value parse(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct quantity q;
	struct err e = ERR_INIT;

	(void)n;
	return quantity_parse(a[0].s, &q, &e) < 0 ? cel__text_error(v->a, e.text) : make(v, q);
}

static struct cel_value is_quantity(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct quantity q;

	(void)v;
	(void)n;
	return cel_value_bool(quantity_parse(a[0].s, &q, NULL) == 0);
}

static struct cel_value sign(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(quantity_sign(of(a[0])));
}

static bool whole(struct quantity q)
{
	__int128 units = q.nano / 1000000000;

	return units * 1000000000 == q.nano && units <= INT64_MAX && units >= INT64_MIN;
}

static struct cel_value is_integer(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(whole(of(a[0])));
}

static struct cel_value as_integer(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	if (!whole(of(a[0])))
		return cel_error(v->a, "cannot convert value to integer");
	return cel__int((int64_t)(of(a[0]).nano / 1000000000));
}

static struct cel_value as_float(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double((double)of(a[0]).nano / 1e9);
}

static struct cel_value add(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return make(v, quantity_add(of(a[0]), of(a[1])));
}

static struct cel_value add_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return make(v, quantity_add(of(a[0]), quantity_from_i64(a[1].i, QUANTITY_DECIMAL_EXP)));
}

static struct cel_value sub(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return make(v, quantity_sub(of(a[0]), of(a[1])));
}

static struct cel_value sub_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return make(v, quantity_sub(of(a[0]), quantity_from_i64(a[1].i, QUANTITY_DECIMAL_EXP)));
}

static int compare(const struct cel_value *a)
{
	int c = quantity_cmp(of(a[0]), of(a[1]));

	return c < 0 ? -1 : c > 0;
}

static struct cel_value compare_to(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(compare(a));
}

static struct cel_value is_less(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(compare(a) < 0);
}

static struct cel_value is_greater(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(compare(a) > 0);
}

static const struct cel__overload overloads[] = {
	{"quantity", "string_to_quantity", "s:Q", false, parse},
	{"isQuantity", "is_quantity_string", "s:b", false, is_quantity},
	/* Upstream declares it as a function and documents it as a method. */
	{"sign", "quantity_sign", "Q:i", false, sign},
	{"sign", "quantity_sign_member", "Q:i", true, sign},
	{"isGreaterThan", "quantity_is_greater_than", "QQ:b", true, is_greater},
	{"isLessThan", "quantity_is_less_than", "QQ:b", true, is_less},
	{"compareTo", "quantity_compare_to", "QQ:i", true, compare_to},
	{"asApproximateFloat", "quantity_get_float", "Q:d", true, as_float},
	{"asInteger", "quantity_get_int", "Q:i", true, as_integer},
	{"isInteger", "quantity_is_integer", "Q:b", true, is_integer},
	{"add", "quantity_add", "QQ:Q", true, add},
	{"add", "quantity_add_int", "Qi:Q", true, add_int},
	{"sub", "quantity_sub", "QQ:Q", true, sub},
	{"sub", "quantity_sub_int", "Qi:Q", true, sub_int},
};

extern const struct cel__library cel__lib_quantity;
const struct cel__library cel__lib_quantity = {CEL_LIB_QUANTITY, overloads, ARRAY_LEN(overloads)};
