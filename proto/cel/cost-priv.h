/*
 * Estimates: what an expression may cost at least and at most, before there is a value. cost.c walks the tree as cel-go's checker does,
 * cost_functions.c knows functions (costs.def). Both count sizes: characters, bytes, elements, entries.
 */
#ifndef PROTO_CEL_COST_PRIV_H
#define PROTO_CEL_COST_PRIV_H

#include "proto/cel/cel-priv.h"

/* Sizes and costs alike are ranges. */
struct cel__entries {
	bool known, list; /* list: keys are positions */
	struct cel_cost key, value;
};

/* What the estimate keeps for a node. */
struct cel__sizes {
	bool counted;
	struct cel_cost cost;
	const struct cel_type *decl; /* the place in a schema that this is; NULL: none, or one that nobody declared */
	bool known;
	struct cel_cost size;
	struct cel__entries entries;
};

struct cel__local {
	const struct cel_type *decl;
	bool known;
	struct cel_cost size;
	struct cel__entries entries;
};

struct cel__coster {
	const struct cel_program *program;
	struct cel__sizes *sizes;   /* by the numbers of nodes */
	struct cel__local *locals; /* by slot */
};

/* A call's cost without its arguments', and the size of what it gives. */
struct cel__call_estimate {
	bool found, sized;
	struct cel_cost cost, size;
};

#define CEL__UNKNOWN ((struct cel_cost){0, UINT64_MAX})
#define CEL__FIXED(n) ((struct cel_cost){(n), (n)})

struct cel_cost cel__plus(struct cel_cost, struct cel_cost);
struct cel_cost cel__times(struct cel_cost, struct cel_cost);
struct cel_cost cel__scaled(struct cel_cost, double);
struct cel_cost cel__union(struct cel_cost, struct cel_cost);
/* False: nothing is known of it. */
bool cel__size_of(struct cel__coster *, struct cel__expr *, struct cel_cost *ret);
struct cel_cost cel__size_or_unknown(struct cel__coster *, struct cel__expr *);
/* The place one step below: "@items", "@values", "@keys" or a field. */
const struct cel_type *cel__decl_items(const struct cel_type *);
/* Kubernetes' own rules, by function; found false: there is none. */
struct cel__call_estimate cel__estimate_function(struct cel__coster *, struct cel__expr *call, const struct cel__overload *);

#endif
