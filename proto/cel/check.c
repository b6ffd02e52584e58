/*
 * Types for all of the tree, by the rules of cel-go's checker: the same functions are found, and the same things are wrong.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"

/* A variable of a fold that is visible. */
struct scope {
	struct scope *up;
	struct str name;
	const struct cel_type *type;
	uint32_t slot;
};

struct check {
	struct arena *a;
	const struct cel_env *env;
	struct cel_program *program;
	struct cel__report *report;
	struct cel__mapping m;
	struct scope *scope;
	size_t cap_vars;
	unsigned formats; /* calls of format() that we are in: lists in them may be mixed */
};

static const struct cel_type error_type = {.kind = CEL_ERROR, .name = "!error!"};

static void check(struct check *, struct cel__expr *);

static const char *text(struct check *c, const struct cel_type *t)
{
	return cel_type_text(c->a, cel__substitute(&c->m, t, true));
}

static void undeclared(struct check *c, uint32_t pos, struct str name)
{
	cel__complain(c->report, pos, "undeclared reference to '%.*s' (in container '')", STR_FMT(name));
}

/* ---- names ---- */

static const struct cel_type *use_var(struct check *c, const struct cel__var *v, uint32_t *ret_index)
{
	struct cel_program *p = c->program;

	for (size_t i = 0; i < p->n_vars; i++)
		if (strcmp(p->vars[i].name, v->name) == 0) {
			*ret_index = (uint32_t)i;
			return v->type;
		}
	if (p->n_vars == c->cap_vars) {
		size_t cap = MAX(c->cap_vars * 2, (size_t)4);

		p->vars = arena_grow(c->a, p->vars, p->n_vars * sizeof(*p->vars), cap * sizeof(*p->vars));
		c->cap_vars = cap;
	}
	*ret_index = (uint32_t)p->n_vars;
	p->vars[p->n_vars++] = *v;
	return v->type;
}

/* Make e what a name stands for: a variable of a fold, one of the environment, or a type. */
static bool resolve(struct check *c, struct cel__expr *e, struct str name)
{
	const struct cel_type *type;
	uint32_t n_args = e->n_args;

	/* Whatever it is, it is no selection. */
	e->n_args = 0;
	for (struct scope *s = c->scope; s != NULL; s = s->up)
		if (str_eq(s->name, name)) {
			e->node = NODE_IDENT;
			e->local = true;
			e->slot = s->slot;
			e->type = s->type;
			return true;
		}
	for (size_t i = c->env->n; i-- > 0;)
		if (str_eqc(name, c->env->vars[i].name)) {
			e->node = NODE_IDENT;
			e->name = name;
			e->type = use_var(c, &c->env->vars[i], &e->slot);
			return true;
		}
	type = cel__type_named(c->env->libs, name);
	if (type == NULL)
		type = cel__struct_named(c->a, c->env->libs, name);
	if (type == NULL) {
		e->n_args = n_args;
		return false;
	}
	e->node = NODE_LITERAL;
	e->free = true;
	e->value = cel__type_value(type);
	e->type = cel__type_of(c->a, type);
	return true;
}

static void check_ident(struct check *c, struct cel__expr *e)
{
	if (resolve(c, e, e->name))
		return;
	e->type = &error_type;
	undeclared(c, e->pos, e->name);
}

/* ---- selections ---- */

static const struct cel_type *field_type(struct check *c, uint32_t pos, const struct cel_type *object, struct str name)
{
	const struct cel_field *f = cel__field(object, name);

	if (f != NULL)
		return f->type;
	if (object->open)
		return object->elem != NULL ? object->elem : &cel_dyn;
	cel__complain(c->report, pos, "undefined field '%.*s'", STR_FMT(name));
	return &error_type;
}

static const struct cel_type *select_type(struct check *c, uint32_t pos, const struct cel_type *target, struct str name)
{
	const struct cel_type *t = cel__substitute(&c->m, target, false);

	switch (t->kind) {
	case CEL_DYN:
	case CEL_ERROR:
		return &cel_dyn;
	case CEL_MAP:
		return t->elem;
	case CEL_OBJECT:
		return field_type(c, pos, t, name);
	case CEL_PARAM:
		/* Whatever it is, it must be something that has fields: it is taken for dyn. */
		cel__assignable(&c->m, (const struct cel_type *[]){&cel_dyn}, (const struct cel_type *[]){t}, 1);
		return &cel_dyn;
	case CEL_OPTIONAL:
		return cel_type_optional(c->a, select_type(c, pos, t->elem, name));
	default:
		cel__complain(c->report, pos, "type '%s' does not support field selection", text(c, t));
		return &error_type;
	}
}

static void check_select(struct check *c, struct cel__expr *e)
{
	struct str name = e->test_only ? STR_NULL : cel__qualified(c->a, e);

	if (name.n > 0 && resolve(c, e, name))
		return;
	check(c, e->args[0]);
	e->type = select_type(c, e->pos, e->args[0]->type, e->name);
	if (e->test_only)
		e->type = &cel_bool;
}

/* x.?f: upstream types it like x.f, made optional. */
static void check_optional_select(struct check *c, struct cel__expr *e)
{
	const struct cel_type *t;

	check(c, e->args[0]);
	check(c, e->args[1]);
	t = select_type(c, e->pos, e->args[0]->type, e->args[1]->value.s);
	e->type = t->kind == CEL_OPTIONAL ? t : cel_type_optional(c->a, t);
}

/* ---- calls ---- */

static void no_overload(struct check *c, struct cel__expr *e, const struct cel_type **have, size_t n, bool member)
{
	struct buf b = BUF_INIT;
	size_t i = 0;

	if (member && n > 0) {
		buf_addc(&b, text(c, have[0]));
		buf_add1(&b, '.');
		i = 1;
	}
	buf_add1(&b, '(');
	for (size_t first = i; i < n; i++) {
		if (i > first)
			buf_addc(&b, ", ");
		buf_addc(&b, text(c, have[i]));
	}
	buf_add1(&b, ')');
	cel__complain(c->report, e->pos, "found no matching overload for '%.*s' applied to '%s'", STR_FMT(e->name),
		arena_cstr(c->a, buf_str(&b)));
	buf_fini(&b);
}

/* Which of the overloads may be meant; the type of the result, or an error type after a complaint. */
static void choose(struct check *c, struct cel__expr *e, const struct cel__overload **all, size_t n_all)
{
	const struct cel_type **have = arena_new_array(c->a, const struct cel_type *, e->n_args);
	const struct cel_type *want[CEL__MAX_ARGS + 1], *result = NULL;
	const struct cel__overload **chosen = arena_new_array(c->a, const struct cel__overload *, n_all);
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->n_args; i++)
		have[i] = e->args[i]->type;
	for (size_t i = 0; i < n_all; i++) {
		const struct cel_type *t;

		if (all[i]->member != e->member || cel__signature(&c->m, all[i], want) != e->n_args ||
			!cel__assignable(&c->m, have, want, e->n_args))
			continue;
		chosen[n++] = all[i];
		t = cel__substitute(&c->m, want[e->n_args], false);
		if (result == NULL)
			result = t;
		else if (result->kind != CEL_DYN && !cel__same_type(result, t))
			result = &cel_dyn;
	}
	if (n == 0)
		no_overload(c, e, have, e->n_args, e->member);
	e->overloads = chosen;
	e->n_overloads = n;
	e->type = n == 0 ? &error_type : result;
}

/* target.f(...) may be a function with dots in its name: "ip.isCanonical". */
static bool namespaced(struct check *c, struct cel__expr *e)
{
	struct str target = cel__qualified(c->a, e->args[0]), name;
	const struct cel__overload **all;
	size_t n;

	if (target.n == 0)
		return false;
	name = arena_sprintf(c->a, "%.*s.%.*s", STR_FMT(target), STR_FMT(e->name));
	all = cel__overloads(c->a, c->env->libs, name, &n);
	if (n == 0)
		return false;
	e->member = false;
	e->name = name;
	e->args++;
	e->n_args--;
	for (uint32_t i = 0; i < e->n_args; i++)
		check(c, e->args[i]);
	choose(c, e, all, n);
	return true;
}

static enum cel__op op_of(const struct cel__expr *e)
{
	static const struct {
		const char *name;
		enum cel__op op;
	} ops[] = {
		{"_&&_", OP_AND},
		{"_||_", OP_OR},
		{"_?_:_", OP_COND},
		{"_[_]", OP_INDEX},
		{"_[?_]", OP_OPT_INDEX},
		{"_?._", OP_OPT_SELECT},
		{"@not_strictly_false", OP_NOT_FALSE},
	};

	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		if (str_eqc(e->name, ops[i].name))
			return ops[i].op;
	return OP_CALL;
}

static void check_call(struct check *c, struct cel__expr *e)
{
	const struct cel__overload **all;
	bool format;
	size_t n;

	e->op = op_of(e);
	if (e->op == OP_OPT_SELECT) {
		check_optional_select(c, e);
		return;
	}
	if (e->member && namespaced(c, e))
		return;
	format = e->member && str_eqc(e->name, "format");
	c->formats += format;
	for (uint32_t i = e->member ? 1 : 0; i < e->n_args; i++)
		check(c, e->args[i]);
	c->formats -= format;
	if (e->member)
		check(c, e->args[0]);
	all = cel__overloads(c->a, c->env->libs, e->name, &n);
	if (n == 0) {
		undeclared(c, e->pos, e->name);
		e->type = &error_type;
		return;
	}
	choose(c, e, all, n);
}

/* ---- what makes lists, maps and objects ---- */

/* The common type of elements; mixed ones are refused, as Kubernetes has it. */
static const struct cel_type *join(struct check *c, const struct cel__expr *e, const struct cel_type *before, const struct cel_type *t)
{
	const struct cel_type *joined;

	if (before == NULL)
		return t;
	joined = cel__join(&c->m, before, t);
	if (joined == NULL && c->formats > 0)
		return &cel_dyn;
	if (joined == NULL)
		cel__complain(c->report, e->pos, "expected type '%s' but found '%s'", text(c, before), text(c, t));
	return joined != NULL ? joined : &error_type;
}

/* An element that is written ?x must be optional, and stands for what is in it. */
static const struct cel_type *element_type(struct check *c, const struct cel__expr *e, bool optional)
{
	const struct cel_type *t = e->type, *want;

	if (!optional)
		return t;
	t = cel__substitute(&c->m, t, false);
	if (t->kind == CEL_OPTIONAL)
		return t->elem;
	want = cel_type_optional(c->a, cel__type_param(&c->m));
	if (!cel__assignable(&c->m, &t, &want, 1))
		cel__complain(c->report, e->pos, "expected type 'optional_type(%s)' but found '%s'", text(c, t), text(c, t));
	return &cel_dyn;
}

static void check_list(struct check *c, struct cel__expr *e)
{
	const struct cel_type *elem = NULL;

	for (uint32_t i = 0; i < e->n_args; i++) {
		check(c, e->args[i]);
		elem = join(c, e->args[i], elem, element_type(c, e->args[i], e->optional != NULL && e->optional[i]));
	}
	e->type = cel_type_list(c->a, elem != NULL ? elem : cel__type_param(&c->m));
}

static void check_map(struct check *c, struct cel__expr *e)
{
	const struct cel_type *key = NULL, *value = NULL;

	for (uint32_t i = 0; i < e->n_args; i += 2) {
		check(c, e->args[i]);
		key = join(c, e->args[i], key, e->args[i]->type);
		check(c, e->args[i + 1]);
		value = join(c, e->args[i + 1], value, element_type(c, e->args[i + 1], e->optional != NULL && e->optional[i]));
	}
	if (key == NULL) {
		key = cel__type_param(&c->m);
		value = cel__type_param(&c->m);
	}
	e->type = cel_type_map(c->a, key, value);
}

static void check_struct(struct check *c, struct cel__expr *e)
{
	const struct cel_type *t = cel__struct_named(c->a, c->env->libs, e->name);

	e->type = t != NULL ? t : &error_type;
	if (t == NULL) {
		if (cel__type_named(c->env->libs, e->name) != NULL)
			cel__complain(c->report, e->pos, "'%.*s' is not a message type", STR_FMT(e->name));
		else
			undeclared(c, e->pos, e->name);
	}
	for (uint32_t i = 0; i < e->n_args; i++) {
		const struct cel_type *want, *have;

		check(c, e->args[i]);
		if (t == NULL)
			continue;
		want = field_type(c, e->args[i]->pos, t, e->fields[i]);
		have = element_type(c, e->args[i], e->optional != NULL && e->optional[i]);
		if (!cel__assignable(&c->m, &have, &want, 1))
			cel__complain(c->report, e->args[i]->pos, "expected type of field '%.*s' is '%s' but provided type is '%s'",
				STR_FMT(e->fields[i]), text(c, want), text(c, have));
	}
}

/* ---- folds ---- */

static void must_be(struct check *c, const struct cel__expr *e, const struct cel_type *want)
{
	const struct cel_type *have = e->type;

	if (!cel__assignable(&c->m, &have, &want, 1))
		cel__complain(c->report, e->pos, "expected type '%s' but found '%s'", text(c, want), text(c, have));
}

/* The types of the variables, from that of the range. */
static void variable_types(struct check *c, const struct cel__fold *f, const struct cel_type **ret_one, const struct cel_type **ret_two)
{
	const struct cel_type *range = cel__substitute(&c->m, f->range->type, false);

	*ret_one = *ret_two = &cel_dyn;
	switch (range->kind) {
	case CEL_LIST:
		*ret_one = f->var2.n > 0 ? &cel_int : range->elem;
		*ret_two = range->elem;
		break;
	case CEL_MAP:
		*ret_one = range->key;
		*ret_two = range->elem;
		break;
	case CEL_DYN:
	case CEL_ERROR:
	case CEL_PARAM:
		break;
	default:
		*ret_one = *ret_two = &error_type;
		cel__complain(c->report, f->range->pos,
			"expression of type '%s' cannot be range of a comprehension (must be list, map, or dynamic)", text(c, range));
	}
}

static void check_fold(struct check *c, struct cel__expr *e)
{
	struct cel__fold *f = e->fold;
	struct scope *outer = c->scope, accu, one, two;
	const struct cel_type *type1, *type2;

	check(c, f->range);
	check(c, f->init);
	f->accu_slot = c->program->n_slots++;
	f->slot = c->program->n_slots++;
	f->slot2 = c->program->n_slots++;
	variable_types(c, f, &type1, &type2);
	accu = (struct scope){outer, f->accu, f->init->type, f->accu_slot};
	one = (struct scope){&accu, f->var, type1, f->slot};
	two = (struct scope){&one, f->var2, type2, f->slot2};
	c->scope = f->var2.n > 0 ? &two : &one;
	check(c, f->cond);
	must_be(c, f->cond, &cel_bool);
	check(c, f->step);
	must_be(c, f->step, accu.type);
	c->scope = &accu;
	check(c, f->result);
	c->scope = outer;
	e->type = f->result->type;
}

/* ---- all of it ---- */

static void check_literal(struct check *c, struct cel__expr *e)
{
	static const struct cel_type *const types[] = {
		[CEL_NULL] = &cel_null,
		[CEL_BOOL] = &cel_bool,
		[CEL_INT] = &cel_int,
		[CEL_UINT] = &cel_uint,
		[CEL_DOUBLE] = &cel_double,
		[CEL_STRING] = &cel_string,
		[CEL_BYTES] = &cel_bytes,
	};

	(void)c;
	e->type = types[e->value.kind];
}

static void check(struct check *c, struct cel__expr *e)
{
	/* optMap puts its target into the tree twice. */
	if (e->type != NULL)
		return;
	switch (e->node) {
	case NODE_LITERAL:
		check_literal(c, e);
		break;
	case NODE_IDENT:
		check_ident(c, e);
		break;
	case NODE_SELECT:
		check_select(c, e);
		break;
	case NODE_CALL:
		check_call(c, e);
		break;
	case NODE_LIST:
		check_list(c, e);
		break;
	case NODE_MAP:
		check_map(c, e);
		break;
	case NODE_STRUCT:
		check_struct(c, e);
		break;
	case NODE_FOLD:
		check_fold(c, e);
		break;
	}
	if (cel__type_huge(&c->m, e->type)) {
		cel__complain(c->report, e->pos, "the type of the expression is too large");
		e->type = &error_type;
	}
}

/* What parameters turned out to stand for; those that are free are dyn. */
static void settle(struct check *c, struct cel__expr *e)
{
	if (e->seen == 1)
		return;
	e->seen = 1;
	e->type = cel__substitute(&c->m, e->type, true);
	for (uint32_t i = 0; i < e->n_args; i++)
		settle(c, e->args[i]);
	if (e->fold != NULL) {
		settle(c, e->fold->range);
		settle(c, e->fold->init);
		settle(c, e->fold->cond);
		settle(c, e->fold->step);
		settle(c, e->fold->result);
	}
}

bool cel__check(struct arena *a, const struct cel_env *env, struct cel_program *p, struct cel__report *report)
{
	struct check c = {.a = a, .env = env, .program = p, .report = report, .m = {.a = a}};

	check(&c, p->root);
	settle(&c, p->root);
	p->type = p->root->type;
	return report->n == 0;
}
