/*
 * What Kubernetes' estimator says about functions, before there is a value (cost_run.c: when there is one). Arguments are counted
 * apart.
 */
#include <math.h>
#include <string.h>

#include "proto/cel/cost-priv.h"

/* The longest expression behind a named format, and the longest name of one. */
#define MAX_FORMAT_REGEX 128
#define MAX_FORMAT_NAME 64

enum rule {
	ONE,
	CHECK,
	SELECTOR,
	ELEMENTS,  /* all of a list */
	FIRST,       /* a tenth of the first argument */
	FIRST_TWICE,
	SAME_SIZE, /* a tenth of the first argument, and the result is as long */
	REPLACE,
	SPLIT,
	JOIN,
	FIND,
	IP,
	CONTAINS_IP,
	CONTAINS_CIDR,
	VALIDATE,
	EQUALS,
	SETS,
	SETS_TWICE,
	SLICE,
	RANGE,
	REVERSE,
	FLATTEN,
	SELF_COMPARE,
	SORT_BY,
	NOT_SAID, /* by its overload, as any other function */
};

static const struct {
	const char *name;
	enum rule rule;
} rules[] = {
#define COST(name, run, before) {name, before},
#include "proto/cel/costs.def"
#undef COST
};

static struct cel__call_estimate cost(struct cel_cost c)
{
	return (struct cel__call_estimate){.found = true, .cost = c};
}

static struct cel__call_estimate cost_and_size(struct cel_cost c, struct cel_cost size)
{
	return (struct cel__call_estimate){.found = true, .cost = c, .sized = true, .size = size};
}

static struct cel_cost selector(struct cel_cost size)
{
	struct cel_cost requirements = cel__scaled(cel__scaled(size, 0.5), 50);

	return cel__plus(cel__plus(CEL__FIXED(10), cel__scaled(size, CEL__STRING_FACTOR)), requirements);
}

/* The size of a list's elements: of the place, if there is one. */
static struct cel_cost element_size(struct cel__coster *c, struct cel__expr *list)
{
	const struct cel_type *decl = cel__decl_items(c->sizes[list->number].decl);

	return decl != NULL ? (struct cel_cost){0, decl->max_elements} : CEL__UNKNOWN;
}

static bool has_elements(const struct cel_type *t)
{
	return t->kind == CEL_LIST || t->kind == CEL_MAP || t->kind == CEL_OPTIONAL;
}

static struct cel__call_estimate elements(struct cel__coster *c, struct cel__expr *e, struct cel_cost size)
{
	const struct cel_type *t = e->args[0]->type;
	struct cel_cost each = CEL__FIXED(1);

	if (!has_elements(t))
		return cost(cel__scaled(size, CEL__STRING_FACTOR));
	if (t->kind == CEL_LIST && (t->elem->kind == CEL_STRING || t->elem->kind == CEL_BYTES))
		each = cel__plus(each, cel__scaled(element_size(c, e->args[0]), CEL__STRING_FACTOR));
	return cost(cel__times(size, each));
}

static uint64_t quotient(uint64_t x, uint64_t y)
{
	double r = ceil((double)x / (double)y);

	return r >= 0x1p64 ? UINT64_MAX : (uint64_t)r;
}

/* How long the result of replacing `from` by `to` may be. */
static struct cel_cost replaced(struct cel_cost text, struct cel_cost from, struct cel_cost to)
{
	struct cel_cost count = CEL__FIXED(0), kept = CEL__FIXED(0);

	if (from.min == 0) {
		/* Nothing is everywhere: before each character and behind the last. */
		count.max = text.max < UINT64_MAX ? text.max + 1 : text.max;
		kept.max = text.max;
	} else if (to.max <= from.min) {
		kept.max = text.max;
	} else {
		count.max = quotient(text.max, from.min);
	}
	if (from.max == 0) {
		count.min = text.min < UINT64_MAX ? text.min + 1 : text.min;
		kept.min = text.min;
	} else if (from.max <= to.min) {
		kept.min = text.min;
	} else {
		count.min = quotient(text.min, from.max);
	}
	return cel__plus(cel__times(count, to), kept);
}

static struct cel__call_estimate split(struct cel__expr *e, struct cel_cost size)
{
	uint64_t most = size.max;

	if (e->n_args > 2 && e->args[2]->node == NODE_LITERAL && e->args[2]->value.kind == CEL_INT)
		most = (uint64_t)e->args[2]->value.i;
	return cost_and_size(cel__scaled(size, 2 * CEL__STRING_FACTOR), (struct cel_cost){0, most});
}

static struct cel__call_estimate join(struct cel__coster *c, struct cel__expr *e, struct cel_cost count)
{
	struct cel_cost size = CEL__FIXED(0), gaps = {count.min > 0 ? count.min - 1 : 0, count.max > 0 ? count.max - 1 : 0};

	if (has_elements(e->args[0]->type))
		size = cel__times(count, element_size(c, e->args[0]));
	if (e->n_args > 1)
		size = cel__plus(size, cel__times(cel__size_or_unknown(c, e->args[1]), gaps));
	return cost_and_size(cel__scaled(size, CEL__STRING_FACTOR), size);
}

static struct cel__call_estimate find(struct cel_cost text, struct cel_cost pattern)
{
	struct cel_cost steps = cel__times(
		cel__scaled(cel__plus(text, CEL__FIXED(1)), CEL__STRING_FACTOR), cel__scaled(pattern, CEL__REGEX_FACTOR));

	return cost_and_size(steps, (struct cel_cost){0, text.max});
}

static struct cel__call_estimate contains_net(const struct cel__overload *o, struct cel_cost text, bool cidr)
{
	struct cel_cost address = {4, 16}, sum = cel__scaled(cel__plus(address, address), CEL__STRING_FACTOR);

	if (cidr)
		sum = cel__plus(cel__plus(sum, cel__scaled(address, CEL__STRING_FACTOR)), CEL__FIXED(1));
	if (strcmp(o->id, cidr ? "cidr_contains_cidr_string" : "cidr_contains_ip_string") == 0)
		sum = cel__plus(sum, cel__scaled(text, CEL__STRING_FACTOR));
	return cost(sum);
}

static struct cel__call_estimate equals(struct cel__expr *e)
{
	const struct cel_type *t = e->args[0]->type;

	if (t->kind != CEL_OPAQUE || !cel__same_type(t, e->args[1]->type))
		return (struct cel__call_estimate){0};
	if (cel__same_type(t, &cel__opaque_types[OPAQUE_FORMAT]))
		return cost(cel__scaled((struct cel_cost){1, MAX_FORMAT_NAME}, CEL__STRING_FACTOR));
	return cost(CEL__FIXED(1));
}

/* A number in the text, else `otherwise`. */
static uint64_t number(const struct cel__expr *e, uint64_t otherwise)
{
	return e->node == NODE_LITERAL && e->value.kind == CEL_INT ? (uint64_t)e->value.i : otherwise;
}

/* A call that makes a list of this size. */
static struct cel__call_estimate makes_list(double factor, struct cel_cost size)
{
	return cost_and_size(cel__plus(cel__scaled(size, factor), CEL__FIXED(11)), size);
}

/* All with all; texts take a tenth more. */
static struct cel__call_estimate self_compare(bool text, struct cel_cost size)
{
	return makes_list(text ? 2 + CEL__STRING_FACTOR : 2, cel__times(size, size));
}

static struct cel__call_estimate lists(enum rule rule, struct cel__expr *e, const struct cel__overload *o, struct cel_cost x, struct cel_cost y)
{
	bool text = strstr(o->id, "_string_") != NULL || strstr(o->id, "_bytes_") != NULL;

	switch (rule) {
	case SLICE:
		return makes_list(1, CEL__FIXED(number(e->args[2], x.max) - number(e->args[1], 0)));
	case RANGE:
		return makes_list(1, CEL__FIXED(number(e->args[0], UINT64_MAX)));
	case FLATTEN:
		return makes_list(e->n_args > 1 ? (double)number(e->args[1], UINT64_MAX) : 1, x);
	case SELF_COMPARE:
		return self_compare(text, x);
	case SORT_BY:
		return self_compare(text, y);
	default:
		return makes_list(1, x);
	}
}

struct cel__call_estimate cel__estimate_function(struct cel__coster *c, struct cel__expr *e, const struct cel__overload *o)
{
	struct cel_cost x = e->n_args > 0 ? cel__size_or_unknown(c, e->args[0]) : CEL__UNKNOWN;
	struct cel_cost y = e->n_args > 1 ? cel__size_or_unknown(c, e->args[1]) : CEL__UNKNOWN;
	size_t i = 0;

	while (i < ARRAY_LEN(rules) && strcmp(rules[i].name, o->function) != 0)
		i++;
	if (i == ARRAY_LEN(rules))
		return (struct cel__call_estimate){0};
	switch (rules[i].rule) {
	case ONE:
		return cost(CEL__FIXED(1));
	case CHECK:
		return cost(CEL__FIXED(350000));
	case SELECTOR:
		return cost(selector(y));
	case ELEMENTS:
		return elements(c, e, x);
	case FIRST:
		return cost(cel__scaled(x, CEL__STRING_FACTOR));
	case FIRST_TWICE:
		return cost(cel__scaled(x, 2 * CEL__STRING_FACTOR));
	case SAME_SIZE:
		return cost_and_size(cel__scaled(x, CEL__STRING_FACTOR), x);
	case REPLACE:
		return cost_and_size(cel__scaled(x, 2 * CEL__STRING_FACTOR), replaced(x, y, cel__size_or_unknown(c, e->args[2])));
	case SPLIT:
		return split(e, x);
	case JOIN:
		return join(c, e, x);
	case FIND:
		return find(x, y);
	case IP:
		/* A method: the address of a network. */
		return cost(e->member ? CEL__FIXED(1) : cel__scaled(x, CEL__STRING_FACTOR));
	case CONTAINS_IP:
		return contains_net(o, y, false);
	case CONTAINS_CIDR:
		return contains_net(o, y, true);
	case VALIDATE:
		return cost(cel__scaled(cel__scaled(y, CEL__STRING_FACTOR), MAX_FORMAT_REGEX * CEL__REGEX_FACTOR));
	case EQUALS:
		return equals(e);
	case SETS:
		return cost(cel__plus(cel__times(x, y), CEL__FIXED(1)));
	case SETS_TWICE:
		return cost(cel__plus(cel__scaled(cel__times(x, y), 2), CEL__FIXED(1)));
	case SLICE:
	case RANGE:
	case REVERSE:
	case FLATTEN:
	case SELF_COMPARE:
	case SORT_BY:
		return lists(rules[i].rule, e, o, x, y);
	case NOT_SAID:
		break;
	}
	return (struct cel__call_estimate){0};
}
