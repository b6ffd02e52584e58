/* Values that may not be there. Selections with ?. and [?] are eval.c's. */
#include "proto/cel/cel-priv.h"

static struct cel_value none(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)a;
	(void)n;
	return cel_none();
}

static struct cel_value of(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_some(v->a, a[0]);
}

/* Whether it is what an unset field would be. */
static bool is_zero(struct cel_value x)
{
	switch (x.kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
		return !x.b;
	case CEL_INT:
	case CEL_DURATION:
		return x.i == 0;
	case CEL_UINT:
		return x.u == 0;
	case CEL_DOUBLE:
		return x.d == 0;
	case CEL_STRING:
	case CEL_BYTES:
		return x.s.n == 0;
	case CEL_LIST:
		return x.list->n == 0;
	case CEL_MAP:
		return x.map->n == 0;
	case CEL_OPTIONAL:
		return x.optional == NULL;
	default:
		return false;
	}
}

static struct cel_value of_non_zero(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return is_zero(a[0]) ? cel_none() : cel_some(v->a, a[0]);
}

static struct cel_value value(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return a[0].optional != NULL ? *a[0].optional : cel_error(v->a, "optional.none() dereference");
}

static struct cel_value has_value(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(a[0].optional != NULL);
}

static struct cel_value or(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return a[0].optional != NULL ? a[0] : a[1];
}

static struct cel_value or_value(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return a[0].optional != NULL ? *a[0].optional : a[1];
}

static const struct cel__overload overloads[] = {
	{"optional.of", "optional_of", "A:OA", false, of},
	{"optional.ofNonZeroValue", "optional_ofNonZeroValue", "A:OA", false, of_non_zero},
	{"optional.none", "optional_none", ":OA", false, none},
	{"value", "optional_value", "OA:A", true, value},
	{"hasValue", "optional_hasValue", "OA:b", true, has_value},
	{"or", "optional_or_optional", "OAOA:OA", true, or},
	{"orValue", "optional_orValue_value", "OAA:A", true, or_value},
	{"_[_]", "optional_list_index_value", "OLAi:OA", false, NULL},
	{"_[_]", "optional_map_index_value", "OMABA:OB", false, NULL},
	{"_[?_]", "list_optindex_optional_int", "LAi:OA", false, NULL},
	{"_[?_]", "optional_list_optindex_optional_int", "OLAi:OA", false, NULL},
	{"_[?_]", "map_optindex_optional_value", "MABA:OB", false, NULL},
	{"_[?_]", "optional_map_optindex_optional_value", "OMABA:OB", false, NULL},
};

bool cel__is_optional_or(const struct cel__overload *o)
{
	return o->fn == or || o->fn == or_value;
}

extern const struct cel__library cel__lib_optional;
const struct cel__library cel__lib_optional = {CEL_LIB_OPTIONAL, overloads, ARRAY_LEN(overloads)};
