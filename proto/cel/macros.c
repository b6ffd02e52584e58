/*
 * Macros: calls that the parser replaces. What they become is what upstream's become, folds above all, since costs are counted on the
 * result. A fold's accumulator has a name that no text can have.
 */
#include "proto/cel/cel-priv.h"

struct macro {
	const char *name;
	const char *target; /* for member calls: NULL any; else a namespace ("cel") */
	bool member;
	unsigned n_args;
	unsigned libs; /* 0: always there */
	struct cel__expr *(*expand)(struct cel__parser *, struct cel__expr *call);
};

static struct cel__expr *accu(struct cel__parser *p, uint32_t pos)
{
	return cel__node_ident(p, pos, STR(CEL__ACCU));
}

static struct cel__expr *list_of(struct cel__parser *p, uint32_t pos, struct cel__expr *item)
{
	struct cel__expr *e = cel__node_new(p, NODE_LIST, pos);
	struct cel__expr **args = arena_new_array(p->a, struct cel__expr *, 1);

	args[0] = item;
	return cel__node_args(p, e, args, item != NULL ? 1 : 0);
}

static struct cel__expr *fold(struct cel__parser *p, uint32_t pos, struct cel__fold f)
{
	struct cel__expr *e = cel__node_new(p, NODE_FOLD, pos);
	struct cel__expr *parts[] = {f.range, f.init, f.cond, f.step, f.result};

	e->fold = arena_memdup(p->a, &f, sizeof(f));
	cel__node_args(p, e, parts, ARRAY_LEN(parts));
	e->args = NULL;
	e->n_args = 0;
	return e;
}

/* The name of an argument that must be a plain identifier; false with a complaint. */
static bool variable(struct cel__parser *p, const struct cel__expr *e, const char *what, struct str *ret)
{
	if (e->node != NODE_IDENT) {
		cel__complain(p->report, e->pos, "%s", what);
		return false;
	}
	*ret = e->name;
	return true;
}

static struct cel__expr *has(struct cel__parser *p, struct cel__expr *call)
{
	struct cel__expr *e = call->args[0];

	if (e->node != NODE_SELECT || e->test_only)
		return cel__complain(p->report, e->pos, "invalid argument to has() macro");
	e->test_only = true;
	return e;
}

/* ---- quantifiers: v.all(x, cond), v.all(i, x, cond) ---- */

static bool loop_variables(struct cel__parser *p, struct cel__expr *call, unsigned n, struct cel__fold *f)
{
	static const char what[] = "argument must be a simple name";

	f->range = call->args[0];
	f->accu = STR(CEL__ACCU);
	if (!variable(p, call->args[1], what, &f->var) || (n == 2 && !variable(p, call->args[2], what, &f->var2)))
		return false;
	if (n == 2 && str_eq(f->var, f->var2)) {
		cel__complain(p->report, call->args[2]->pos, "duplicate variable name: %.*s", STR_FMT(f->var));
		return false;
	}
	return true;
}

static struct cel__expr *all_or_exists(struct cel__parser *p, struct cel__expr *call, unsigned n, bool all)
{
	struct cel__fold f = {0};
	struct cel__expr *go_on;
	uint32_t pos = call->pos;

	if (!loop_variables(p, call, n, &f))
		return NULL;
	f.init = cel__node_value(p, pos, cel_value_bool(all));
	go_on = all ? accu(p, pos) : cel__node_call(p, pos, "!_", false, 1, accu(p, pos));
	f.cond = cel__node_call(p, pos, "@not_strictly_false", false, 1, go_on);
	f.step = cel__node_call(p, pos, all ? "_&&_" : "_||_", false, 2, accu(p, pos), call->args[n + 1]);
	f.result = accu(p, pos);
	return fold(p, pos, f);
}

static struct cel__expr *all1(struct cel__parser *p, struct cel__expr *call)
{
	return all_or_exists(p, call, 1, true);
}

static struct cel__expr *all2(struct cel__parser *p, struct cel__expr *call)
{
	return all_or_exists(p, call, 2, true);
}

static struct cel__expr *exists1(struct cel__parser *p, struct cel__expr *call)
{
	return all_or_exists(p, call, 1, false);
}

static struct cel__expr *exists2(struct cel__parser *p, struct cel__expr *call)
{
	return all_or_exists(p, call, 2, false);
}

static struct cel__expr *exists_one(struct cel__parser *p, struct cel__expr *call, unsigned n)
{
	struct cel__fold f = {0};
	struct cel__expr *more;
	uint32_t pos = call->pos;

	if (!loop_variables(p, call, n, &f))
		return NULL;
	f.init = cel__node_value(p, pos, cel__int(0));
	f.cond = cel__node_value(p, pos, cel_value_bool(true));
	more = cel__node_call(p, pos, "_+_", false, 2, accu(p, pos), cel__node_value(p, pos, cel__int(1)));
	f.step = cel__node_call(p, pos, "_?_:_", false, 3, call->args[n + 1], more, accu(p, pos));
	f.result = cel__node_call(p, pos, "_==_", false, 2, accu(p, pos), cel__node_value(p, pos, cel__int(1)));
	return fold(p, pos, f);
}

static struct cel__expr *exists_one1(struct cel__parser *p, struct cel__expr *call)
{
	return exists_one(p, call, 1);
}

static struct cel__expr *exists_one2(struct cel__parser *p, struct cel__expr *call)
{
	return exists_one(p, call, 2);
}

/* ---- those that make lists and maps ---- */

/* A step under a condition, if there is one. */
static struct cel__expr *guarded(struct cel__parser *p, uint32_t pos, struct cel__expr *cond, struct cel__expr *step)
{
	return cond == NULL ? step : cel__node_call(p, pos, "_?_:_", false, 3, cond, step, accu(p, pos));
}

static struct cel__expr *make_list(struct cel__parser *p, struct cel__expr *call, unsigned n, struct cel__expr *cond,
				   struct cel__expr *item)
{
	struct cel__fold f = {0};
	struct cel__expr *step;
	uint32_t pos = call->pos;

	if (!loop_variables(p, call, n, &f))
		return NULL;
	f.init = list_of(p, pos, NULL);
	f.cond = cel__node_value(p, pos, cel_value_bool(true));
	step = cel__node_call(p, pos, "_+_", false, 2, accu(p, pos), list_of(p, pos, item));
	f.step = guarded(p, pos, cond, step);
	f.result = accu(p, pos);
	return fold(p, pos, f);
}

static struct cel__expr *map2(struct cel__parser *p, struct cel__expr *call)
{
	return make_list(p, call, 1, NULL, call->args[2]);
}

static struct cel__expr *map3(struct cel__parser *p, struct cel__expr *call)
{
	return make_list(p, call, 1, call->args[2], call->args[3]);
}

static struct cel__expr *filter(struct cel__parser *p, struct cel__expr *call)
{
	struct str name;

	if (!variable(p, call->args[1], "argument must be a simple name", &name))
		return NULL;
	return make_list(p, call, 1, call->args[2], cel__node_ident(p, call->args[1]->pos, name));
}

static struct cel__expr *transform_list3(struct cel__parser *p, struct cel__expr *call)
{
	return make_list(p, call, 2, NULL, call->args[3]);
}

static struct cel__expr *transform_list4(struct cel__parser *p, struct cel__expr *call)
{
	return make_list(p, call, 2, call->args[3], call->args[4]);
}

static struct cel__expr *make_map(struct cel__parser *p, struct cel__expr *call, struct cel__expr *cond, struct cel__expr *value,
				  bool entry)
{
	struct cel__fold f = {0};
	struct cel__expr *step;
	uint32_t pos = call->pos;

	if (!loop_variables(p, call, 2, &f))
		return NULL;
	f.init = cel__node_new(p, NODE_MAP, pos);
	f.cond = cel__node_value(p, pos, cel_value_bool(true));
	if (entry)
		step = cel__node_call(p, pos, "cel.@mapInsert", false, 2, accu(p, pos), value);
	else
		step = cel__node_call(p, pos, "cel.@mapInsert", false, 3, accu(p, pos), cel__node_ident(p, pos, f.var), value);
	f.step = guarded(p, pos, cond, step);
	f.result = accu(p, pos);
	return fold(p, pos, f);
}

static struct cel__expr *transform_map3(struct cel__parser *p, struct cel__expr *call)
{
	return make_map(p, call, NULL, call->args[3], false);
}

static struct cel__expr *transform_map4(struct cel__parser *p, struct cel__expr *call)
{
	return make_map(p, call, call->args[3], call->args[4], false);
}

static struct cel__expr *transform_entry3(struct cel__parser *p, struct cel__expr *call)
{
	return make_map(p, call, NULL, call->args[3], true);
}

static struct cel__expr *transform_entry4(struct cel__parser *p, struct cel__expr *call)
{
	return make_map(p, call, call->args[3], call->args[4], true);
}

/* ---- binds ---- */

static struct cel__expr *bind(struct cel__parser *p, uint32_t pos, struct str name, struct cel__expr *init, struct cel__expr *result)
{
	struct cel__fold f = {.var = STR("#unused"), .accu = name, .init = init, .result = result, .bind = true};

	f.range = list_of(p, pos, NULL);
	f.cond = cel__node_value(p, pos, cel_value_bool(false));
	f.step = cel__node_ident(p, pos, name);
	return fold(p, pos, f);
}

static struct cel__expr *cel_bind(struct cel__parser *p, struct cel__expr *call)
{
	struct str name;

	if (!variable(p, call->args[1], "cel.bind() variable names must be simple identifiers", &name))
		return NULL;
	return bind(p, call->pos, name, call->args[2], call->args[3]);
}

/* list.sortBy(e, key): the list sorted by what map(e, key) gives. */
static struct cel__expr *sort_by(struct cel__parser *p, struct cel__expr *call)
{
	static const char input[] = "@__sortBy_input__";
	struct str name = str_from(input);
	uint32_t pos = call->pos;
	struct cel__expr *target = call->args[0], *keys;

	if (target->node == NODE_LITERAL || target->node == NODE_MAP || target->node == NODE_STRUCT)
		return cel__complain(p->report, target->pos,
			"sortBy can only be applied to a list, identifier, comprehension, call or select expression");
	keys = cel__node_call(p, pos, "map", true, 3, cel__node_ident(p, pos, name), call->args[1], call->args[2]);
	keys = make_list(p, keys, 1, NULL, call->args[2]);
	if (keys == NULL)
		return NULL;
	return bind(p, pos, name, target,
		cel__node_call(p, pos, "@sortByAssociatedKeys", true, 2, cel__node_ident(p, pos, name), keys));
}

static struct cel__expr *opt_map(struct cel__parser *p, struct cel__expr *call, bool flat)
{
	uint32_t pos = call->pos;
	struct cel__expr *target = call->args[0], *value, *result;
	struct str name;

	if (!variable(p, call->args[1],
		    flat ? "optFlatMap() variable name must be a simple identifier" : "optMap() variable name must be a simple identifier",
		    &name))
		return NULL;
	/* The target stands in the tree twice, as upstream has it; whoever walks the tree looks at a node once. */
	value = cel__node_call(p, pos, "value", true, 1, target);
	result = bind(p, pos, name, value, call->args[2]);
	if (!flat)
		result = cel__node_call(p, pos, "optional.of", false, 1, result);
	return cel__node_call(p, pos, "_?_:_", false, 3, cel__node_call(p, pos, "hasValue", true, 1, target), result,
		cel__node_call(p, pos, "optional.none", false, 0));
}

static struct cel__expr *opt_map1(struct cel__parser *p, struct cel__expr *call)
{
	return opt_map(p, call, false);
}

static struct cel__expr *opt_flat_map(struct cel__parser *p, struct cel__expr *call)
{
	return opt_map(p, call, true);
}

/* n_args counts the target. */
static const struct macro macros[] = {
	{"has", NULL, false, 1, 0, has},
	{"all", NULL, true, 3, 0, all1},
	{"exists", NULL, true, 3, 0, exists1},
	{"exists_one", NULL, true, 3, 0, exists_one1},
	{"existsOne", NULL, true, 3, 0, exists_one1},
	{"map", NULL, true, 3, 0, map2},
	{"map", NULL, true, 4, 0, map3},
	{"filter", NULL, true, 3, 0, filter},
	{"all", NULL, true, 4, CEL_LIB_TWO_VARS, all2},
	{"exists", NULL, true, 4, CEL_LIB_TWO_VARS, exists2},
	{"exists_one", NULL, true, 4, CEL_LIB_TWO_VARS, exists_one2},
	{"existsOne", NULL, true, 4, CEL_LIB_TWO_VARS, exists_one2},
	{"transformList", NULL, true, 4, CEL_LIB_TWO_VARS, transform_list3},
	{"transformList", NULL, true, 5, CEL_LIB_TWO_VARS, transform_list4},
	{"transformMap", NULL, true, 4, CEL_LIB_TWO_VARS, transform_map3},
	{"transformMap", NULL, true, 5, CEL_LIB_TWO_VARS, transform_map4},
	{"transformMapEntry", NULL, true, 4, CEL_LIB_TWO_VARS, transform_entry3},
	{"transformMapEntry", NULL, true, 5, CEL_LIB_TWO_VARS, transform_entry4},
	{"sortBy", NULL, true, 3, CEL_LIB_LISTS_EXT, sort_by},
	{"optMap", NULL, true, 3, CEL_LIB_OPTIONAL, opt_map1},
	{"optFlatMap", NULL, true, 3, CEL_LIB_OPTIONAL, opt_flat_map},
	{"bind", "cel", true, 4, CEL_LIB_BINDINGS, cel_bind},
};

struct cel__expr *cel__expand(struct cel__parser *p, struct cel__expr *call)
{
	for (size_t i = 0; i < ARRAY_LEN(macros); i++) {
		const struct macro *m = &macros[i];

		if (m->member != call->member || m->n_args != call->n_args || !str_eqc(call->name, m->name) ||
			(m->libs != 0 && !(p->libs & m->libs)))
			continue;
		if (m->target != NULL && !(call->args[0]->node == NODE_IDENT && str_eqc(call->args[0]->name, m->target)))
			continue;
		return m->expand(p, call);
	}
	return call;
}
