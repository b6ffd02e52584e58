/*
 * What calls cost when they run: cel-go's rules by overload, Kubernetes' by function. Where upstream picks the overload only when it
 * runs, cel-go's own rules do not apply and the call costs one; so it does here.
 */
#include <math.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

enum rule {
	ONE,
	CHECK,
	TRAVERSAL,    /* of the first argument as a tree */
	FIRST,        /* a tenth of the first argument */
	FIRST_TWICE,
	SECOND_LIST,  /* one for each element of the second */
	SMALLER,      /* a tenth of the smaller one */
	BOTH,         /* a tenth of both */
	PRODUCT,
	REGEX,
	SELECTOR,     /* of the second argument */
	CONTAINS_IP,
	CONTAINS_CIDR,
	VALIDATE,
	IP,
	EQUALS,
	SETS,         /* one, and one for each pair of elements */
	SETS_TWICE,
	SLICE,        /* eleven, and one for each element of the result */
	RANGE,
	REVERSE,
	FLATTEN,      /* ... of the list, for each level */
	SELF_COMPARE, /* eleven, and two for each pair of elements, a tenth more for texts */
	SORT_BY,      /* ... of the keys */
	NOTHING,
};

static const struct {
	const char *name;
	enum rule rule;
} by_function[] = {
#define COST(name, run, before) {name, run},
#include "proto/cel/costs.def"
#undef COST
};

static const struct {
	const char *id;
	enum rule rule;
} by_overload[] = {
	{"starts_with_string", FIRST},
	{"ends_with_string", FIRST},
	{"string_to_bytes", FIRST},
	{"bytes_to_string", FIRST},
	{"strings_quote", FIRST},
	{"string_format", FIRST},
	{"in_list", SECOND_LIST},
	{"less_string", SMALLER},
	{"greater_string", SMALLER},
	{"less_equals_string", SMALLER},
	{"greater_equals_string", SMALLER},
	{"less_bytes", SMALLER},
	{"greater_bytes", SMALLER},
	{"less_equals_bytes", SMALLER},
	{"greater_equals_bytes", SMALLER},
	{"add_string", BOTH},
	{"add_bytes", BOTH},
	{"matches_string", REGEX},
	{"contains_string", PRODUCT},
};

static uint64_t size_of(struct cel_value v)
{
	uint64_t n;

	return cel__size(v, &n) ? n : 1;
}

static uint64_t times(double size, double factor)
{
	return (uint64_t)ceil(size * factor);
}

/* Nested too deeply to be from JSON: values made by folds cannot be, the tree that makes them is bounded. */
static uint64_t traversal(struct cel__eval *e, struct cel_value v)
{
	uint64_t cost = 0;

	if (!cel__step(e))
		return 0;
	switch (v.kind) {
	case CEL_STRING:
	case CEL_BYTES:
		return (uint64_t)((double)v.s.n * CEL__STRING_FACTOR);
	case CEL_LIST:
		for (size_t i = 0; i < v.list->n; i++)
			cost += traversal(e, cel__list_at(e->a, v.list, i));
		return cost;
	case CEL_MAP:
		for (size_t i = 0; i < v.map->n && v.map->lazy == NULL; i++) {
			struct cel_value key, value;

			cel__map_entry(e->a, v.map, i, &key, &value);
			cost += traversal(e, key) + traversal(e, value);
		}
		return cost;
	default:
		return 1;
	}
}

/* A requirement is at least two characters, and costs a list and a struct. */
static uint64_t selector(uint64_t size)
{
	return 10 + times((double)size, CEL__STRING_FACTOR) + times((double)times((double)size, 0.5), 50);
}

uint8_t cel__cost_rule(const struct cel__expr *call)
{
	for (size_t i = 0; i < ARRAY_LEN(by_function); i++)
		if (str_eqc(call->name, by_function[i].name))
			return (uint8_t)by_function[i].rule;
	if (call->n_overloads != 1)
		return ONE;
	for (size_t i = 0; i < ARRAY_LEN(by_overload); i++)
		if (strcmp(by_overload[i].id, call->overloads[0]->id) == 0)
			return (uint8_t)by_overload[i].rule;
	return ONE;
}

static uint64_t regex(uint64_t text, uint64_t pattern)
{
	return times(1.0 + (double)text, CEL__STRING_FACTOR) * times((double)pattern, CEL__REGEX_FACTOR);
}

/* The overloads that upstream names when it alone may be meant. */
static bool known(const struct cel__expr *call, const struct cel__overload *o, const char *id)
{
	return call->n_overloads == 1 && strcmp(o->id, id) == 0;
}

static uint64_t contains_net(const struct cel__expr *call, const struct cel__overload *o, const struct cel_value *args, bool cidr)
{
	uint64_t n = size_of(args[0]), cost = times((double)(n + n), CEL__STRING_FACTOR);

	if (cidr)
		cost += times((double)n, CEL__STRING_FACTOR) + 1;
	if (known(call, o, cidr ? "cidr_contains_cidr_string" : "cidr_contains_ip_string"))
		cost += times((double)size_of(args[1]), CEL__STRING_FACTOR);
	return cost;
}

/* A call that makes a list: the list, the call, and factor for each of n. */
static uint64_t list_call(double factor, double n)
{
	double cost = factor * n + 11;

	return cost >= 0x1p63 ? UINT64_MAX : (uint64_t)cost;
}

static uint64_t self_compare(struct cel__eval *v, const struct cel_list *l)
{
	struct cel_value first = l->n > 0 ? cel__list_at(v->a, l, 0) : cel__null();
	bool text = first.kind == CEL_STRING || first.kind == CEL_BYTES;

	return list_call(text ? 2 + CEL__STRING_FACTOR : 2, (double)l->n * (double)l->n);
}

static uint64_t range_size(int64_t from, int64_t to)
{
	return from >= 0 && to > from ? (uint64_t)to - (uint64_t)from : 0;
}

static uint64_t list_cost(struct cel__eval *v, enum rule rule, const struct cel_value *a, unsigned n)
{
	switch (rule) {
	case SLICE:
		return list_call(1, (double)range_size(a[1].i, MIN(a[2].i, (int64_t)a[0].list->n)));
	case RANGE:
		return list_call(1, (double)range_size(0, a[0].i));
	case FLATTEN:
		return list_call(n > 1 ? (double)MAX(a[1].i, 0) : 1, (double)a[0].list->n);
	case SELF_COMPARE:
		return self_compare(v, a[0].list);
	case SORT_BY:
		return self_compare(v, a[1].list);
	default:
		return list_call(1, (double)a[0].list->n);
	}
}

uint64_t cel__call_cost(struct cel__eval *v, const struct cel__expr *call, const struct cel__overload *o,
			const struct cel_value *args)
{
	uint64_t x = call->n_args > 0 ? size_of(args[0]) : 1, y = call->n_args > 1 ? size_of(args[1]) : 1;

	if (call->set)
		return 0;
	switch ((enum rule)call->rule) {
	case CHECK:
		return 350000;
	case TRAVERSAL:
		return traversal(v, args[0]);
	case IP:
		if (known(call, o, "cidr_ip"))
			return 1;
		/* fallthrough */
	case FIRST:
		return times((double)x, CEL__STRING_FACTOR);
	case FIRST_TWICE:
		return times((double)x * 2, CEL__STRING_FACTOR);
	case SECOND_LIST:
		return y;
	case EQUALS:
		if (args[0].kind == CEL_OPAQUE)
			return 1;
		/* fallthrough */
	case SMALLER:
		return times((double)MIN(x, y), CEL__STRING_FACTOR);
	case BOTH:
		return times((double)x + (double)y, CEL__STRING_FACTOR);
	case PRODUCT:
		return times((double)x, CEL__STRING_FACTOR) * times((double)y, CEL__STRING_FACTOR);
	case REGEX:
		return regex(x, y);
	case SELECTOR:
		return selector(y);
	case CONTAINS_IP:
		return contains_net(call, o, args, false);
	case CONTAINS_CIDR:
		return contains_net(call, o, args, true);
	case VALIDATE:
		return regex(y, cel__format_regex_size(args[0].opaque));
	case SETS:
		return 1 + x * y;
	case SETS_TWICE:
		return 1 + 2 * x * y;
	case SLICE:
	case RANGE:
	case REVERSE:
	case FLATTEN:
	case SELF_COMPARE:
	case SORT_BY:
		return list_cost(v, (enum rule)call->rule, args, call->n_args);
	case NOTHING:
		return 0;
	case ONE:
		break;
	}
	return 1;
}

uint64_t cel__failed_call_cost(struct cel__eval *v, const struct cel__expr *call, const struct cel_value *args)
{
	switch ((enum rule)call->rule) {
	case NOTHING:
	case VALIDATE:
	case SLICE:
	case RANGE:
	case REVERSE:
	case FLATTEN:
	case SELF_COMPARE:
	case SORT_BY:
		return 1;
	default:
		return call->n_overloads > 0 ? cel__call_cost(v, call, call->overloads[0], args) : 1;
	}
}

uint64_t cel__join_cost(struct cel_value result)
{
	return times((double)size_of(result) * 2, CEL__STRING_FACTOR);
}
