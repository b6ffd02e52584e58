/*
 * Running a program. Costs are counted as cel-go's tracker does it: variables, selections and indexes are one each, constants and
 * conditions nothing, calls what cost_run.c says. A variable that is only passed through by a condition, or that is an index, is
 * looked up without being counted (attributes, in cel-go's words): resolve() does that, eval() counts it.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"

#define COST_LIST 10
#define COST_MAP 30
#define COST_STRUCT 40

static struct cel_value eval(struct cel__eval *, const struct cel__expr *);
static struct cel_value resolve(struct cel__eval *, const struct cel__expr *);

/* ---- limits ---- */

size_t cel__memory(const struct cel__eval *v)
{
	size_t sum = 0;

	for (; v != NULL; v = v->around)
		sum += v->a->used - v->memory;
	return sum;
}

bool cel__memory_ok(struct cel__eval *v)
{
	if (cel__memory(v) <= CEL_MAX_MEMORY)
		return true;
	v->stopped = true;
	v->run->over_limit = true;
	return false;
}

bool cel__pay(struct cel__eval *v, uint64_t cost)
{
	v->cost = cost > UINT64_MAX - v->cost ? UINT64_MAX : v->cost + cost;
	if (v->cost > v->limit) {
		v->stopped = true;
		v->run->over_limit = true;
		return false;
	}
	return cel__memory_ok(v);
}

static struct cel_value stopped(const struct cel__eval *v)
{
	return (struct cel_value){.kind = CEL_ERROR,
		.s = v->cost > v->limit
			? STR("operation cancelled: actual cost limit exceeded")
		: v->steps > CEL_MAX_STEPS
			? STR("operation cancelled: the expression looks at more than it may")
			: STR("operation cancelled: the values made take more memory than an expression may use")};
}

/* ---- selections ---- */

static struct cel_value no_such_key(struct arena *a, struct cel_value key)
{
	return cel_error(a, "no such key: %.*s", STR_FMT(cel_value_text(a, key)));
}

static struct cel_value list_index(struct arena *a, const struct cel_list *l, struct cel_value key, bool *ret_found)
{
	int64_t i;

	*ret_found = false;
	if (key.kind == CEL_INT)
		i = key.i;
	else if (key.kind == CEL_UINT)
		i = key.u > INT64_MAX ? INT64_MAX : (int64_t)key.u;
	else if (key.kind == CEL_DOUBLE && key.d >= -0x1p63 && key.d < 0x1p63 && (double)(int64_t)key.d == key.d)
		i = (int64_t)key.d;
	else
		return cel_error(a, "unsupported index type '%s' in list", cel_type_text(a, cel__value_type(a, key)));
	if (i < 0 || (uint64_t)i >= l->n)
		return cel_error(a, "index out of bounds: %lld", (long long)i);
	*ret_found = true;
	return cel__list_at(a, l, (size_t)i);
}

/* *ret_found false: the value is the error of one who asks for what must be there. */
static struct cel_value look_up(struct arena *a, struct cel_value v, struct cel_value key, bool *ret_found)
{
	struct cel_value found;

	*ret_found = false;
	switch (v.kind) {
	case CEL_MAP:
		*ret_found = cel__map_find(a, v.map, key, &found);
		return *ret_found ? found : no_such_key(a, key);
	case CEL_LIST:
		return list_index(a, v.list, key, ret_found);
	case CEL_ERROR:
		return v;
	case CEL_NULL:
		return key.kind == CEL_STRING ? no_such_key(a, key) : CEL__NO_OVERLOAD(a);
	default:
		return CEL__NO_OVERLOAD(a);
	}
}

struct cel_value cel__qualify(struct arena *a, struct cel_value v, struct cel_value key, bool optional)
{
	bool found;

	if (v.kind == CEL_OPTIONAL) {
		if (v.optional == NULL)
			return v;
		v = *v.optional;
		optional = true;
	}
	v = look_up(a, v, key, &found);
	if (!optional)
		return v;
	if (found)
		return cel__is_error(v) ? v : cel_some(a, v);
	return cel_none();
}

static struct cel_value test(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value operand = resolve(v, e->args[0]);
	bool found;

	if (cel__is_error(operand))
		return operand;
	if (!cel__pay(v, 1))
		return stopped(v);
	if (operand.kind == CEL_OPTIONAL) {
		if (operand.optional == NULL)
			return cel_value_bool(false);
		operand = *operand.optional;
	}
	if (operand.kind == CEL_MAP)
		return cel_value_bool(cel__map_find(v->a, operand.map, cel_value_str(e->name), NULL));
	if (operand.kind == CEL_NULL)
		return cel_value_bool(false);
	look_up(v->a, operand, cel_value_str(e->name), &found);
	return CEL__NO_OVERLOAD(v->a);
}

/* ---- variables ---- */

static struct cel_value variable(struct cel__eval *v, const struct cel__expr *e)
{
	if (!e->local)
		return v->vars[e->slot];
	if (v->pending[e->slot] != NULL) {
		const struct cel__expr *init = v->pending[e->slot];

		v->pending[e->slot] = NULL;
		v->slots[e->slot] = eval(v, init);
	}
	return v->slots[e->slot];
}

/* ---- attributes ---- */

static bool is_condition(const struct cel__expr *e)
{
	return e->node == NODE_CALL && e->op == OP_COND;
}

static struct cel_value condition(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value c = eval(v, e->args[0]);

	if (cel__is_error(c))
		return c;
	if (c.kind != CEL_BOOL)
		return CEL__NO_OVERLOAD(v->a);
	return resolve(v, e->args[c.b ? 1 : 2]);
}

/* A selection or an index; what may be absent and is costs nothing. */
static struct cel_value qualify(struct cel__eval *v, struct cel_value object, struct cel_value key, bool optional)
{
	struct cel_value found = cel__qualify(v->a, object, key, optional);

	if (found.kind == CEL_OPTIONAL && found.optional == NULL && (optional || object.kind == CEL_OPTIONAL))
		return found;
	return cel__pay(v, 1) ? found : stopped(v);
}

static struct cel_value index_of(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value object = resolve(v, e->args[0]), key;

	if (cel__is_error(object))
		return object;
	key = e->op == OP_OPT_SELECT ? e->args[1]->value : resolve(v, e->args[1]);
	if (cel__is_error(key))
		return key;
	return qualify(v, object, key, e->op != OP_INDEX);
}

static bool is_index(const struct cel__expr *e)
{
	return e->node == NODE_CALL && (e->op == OP_INDEX || e->op == OP_OPT_INDEX || e->op == OP_OPT_SELECT);
}

static struct cel_value resolve(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value operand;

	if (v->stopped)
		return stopped(v);
	if (e->free)
		return e->value;
	if (e->node == NODE_IDENT)
		return variable(v, e);
	if (e->node == NODE_SELECT && !e->test_only) {
		operand = resolve(v, e->args[0]);
		if (cel__is_error(operand))
			return operand;
		return qualify(v, operand, cel_value_str(e->name), false);
	}
	if (is_index(e))
		return index_of(v, e);
	if (is_condition(e))
		return condition(v, e);
	return eval(v, e);
}

/* The expression that a chain of selections starts with. */
static const struct cel__expr *root_of(const struct cel__expr *e)
{
	while ((e->node == NODE_SELECT && !e->test_only) || is_index(e))
		e = e->args[0];
	return e;
}

/* ---- calls ---- */

static struct cel_value logical(struct cel__eval *v, const struct cel__expr *e, bool decides)
{
	struct cel_value left = eval(v, e->args[0]), right;

	if (left.kind == CEL_BOOL && left.b == decides)
		return left;
	right = eval(v, e->args[1]);
	if (right.kind == CEL_BOOL && right.b == decides)
		return right;
	if (cel__is_error(left))
		return left;
	if (cel__is_error(right))
		return right;
	if (left.kind != CEL_BOOL || right.kind != CEL_BOOL)
		return CEL__NO_OVERLOAD(v->a);
	return right;
}

static struct cel_value no_overload(struct cel__eval *v, const struct cel__expr *e, const struct cel_value *args)
{
	struct buf b = BUF_INIT;
	struct cel_value error;

	for (uint32_t i = 0; i < e->n_args; i++) {
		if (i > 0)
			buf_addc(&b, ", ");
		buf_addc(&b, cel__type_name(cel__value_type(v->a, args[i])));
	}
	error = cel_error(v->a, "no such overload: %.*s(%.*s)", STR_FMT(e->name), STR_FMT(buf_str(&b)));
	buf_fini(&b);
	return error;
}

/* A call of what failed is not made, but paid for, as upstream: unless a third argument was not even looked at. */
static struct cel_value failed_call(struct cel__eval *v, const struct cel__expr *e, const struct cel_value *args, struct cel_value error)
{
	return cel__pay(v, cel__failed_call_cost(v, e, args)) ? error : stopped(v);
}

/* or and orValue: free, and the other value is looked at only where there is none, as upstream. */
static struct cel_value either(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value args[2] = {eval(v, e->args[0])};

	if (cel__is_error(args[0]))
		return args[0];
	args[1] = args[0].kind == CEL_OPTIONAL && args[0].optional == NULL ? eval(v, e->args[1]) : args[0];
	if (cel__is_error(args[1]))
		return args[1];
	if (!cel__signature_matches(e->overloads[0], args, 2))
		return no_overload(v, e, args);
	return e->overloads[0]->fn(v, args, 2);
}

static struct cel_value call(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value args[CEL__MAX_ARGS], result;
	const struct cel_value *error = NULL;
	const struct cel__overload *o = NULL;
	const char *function;
	uint64_t cost;

	ASSERT(e->n_args <= CEL__MAX_ARGS);
	for (uint32_t i = 0; i < e->n_args; i++) {
		args[i] = eval(v, e->args[i]);
		if (cel__is_error(args[i])) {
			if (e->n_args > 2 && i + 1 < e->n_args)
				return args[i];
			error = error != NULL ? error : &args[i];
		}
		if ((args[i].kind == CEL_STRING || args[i].kind == CEL_BYTES) && !cel__steps(v, args[i].s.n / 32))
			return stopped(v);
	}
	if (error != NULL)
		return failed_call(v, e, args, *error);
	for (uint32_t i = 0; i < e->n_overloads && o == NULL; i++)
		if (cel__signature_matches(e->overloads[i], args, e->n_args))
			o = e->overloads[i];
	if (o == NULL)
		return failed_call(v, e, args, no_overload(v, e, args));
	function = o->function;
	/* What is done is paid for first, so that nobody gets work that is over the limit; a join's price is its result's. */
	cost = cel__call_cost(v, e, o, args);
	if (!cel__pay(v, cost))
		return stopped(v);
	result = o->fn(v, args, e->n_args);
	if (strcmp(function, "join") == 0 && !cel__pay(v, cel__join_cost(result)))
		return stopped(v);
	return cel__memory_ok(v) ? result : stopped(v);
}

static struct cel_value not_false(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value arg = eval(v, e->args[0]);

	if (!cel__pay(v, 1))
		return stopped(v);
	return cel_value_bool(arg.kind != CEL_BOOL || arg.b);
}

static struct cel_value eval_call(struct cel__eval *v, const struct cel__expr *e)
{
	switch (e->op) {
	case OP_AND:
		return logical(v, e, false);
	case OP_OR:
		return logical(v, e, true);
	case OP_NOT_FALSE:
		return not_false(v, e);
	default:
		return e->n_overloads == 1 && cel__is_optional_or(e->overloads[0]) ? either(v, e) : call(v, e);
	}
}

/* ---- what makes lists, maps, objects ---- */

/* False: nothing is to be added (or *value is an error). */
static bool take_optional(struct cel__eval *v, struct cel_value *value)
{
	if (value->kind != CEL_OPTIONAL) {
		*value = cel_error(v->a, "cannot initialize optional entry from non-optional value %.*s",
			STR_FMT(cel_value_text(v->a, *value)));
		return false;
	}
	if (value->optional == NULL)
		return false;
	*value = *value->optional;
	return true;
}

/* What makes a list, a map or an object costs what it costs though it fails. */
static struct cel_value failed_literal(struct cel__eval *v, uint64_t cost, struct cel_value error)
{
	return cel__pay(v, cost) ? error : stopped(v);
}

static struct cel_value make_list(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value *items = arena_alloc(v->a, MAX(e->n_args, 1u) * sizeof(*items));
	size_t n = 0;

	for (uint32_t i = 0; i < e->n_args; i++) {
		struct cel_value item = eval(v, e->args[i]);

		if (cel__is_error(item))
			return failed_literal(v, COST_LIST, item);
		if (e->optional != NULL && e->optional[i] && !take_optional(v, &item)) {
			if (cel__is_error(item))
				return failed_literal(v, COST_LIST, item);
			continue;
		}
		items[n++] = item;
	}
	if (!cel__pay(v, COST_LIST))
		return stopped(v);
	return cel__list_new(v->a, items, n);
}

static struct cel_value make_map(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value m = cel__map_new(v->a);

	for (uint32_t i = 0; i < e->n_args; i += 2) {
		struct cel_value key = eval(v, e->args[i]), value;

		if (cel__is_error(key))
			return failed_literal(v, COST_MAP, key);
		value = eval(v, e->args[i + 1]);
		if (cel__is_error(value))
			return failed_literal(v, COST_MAP, value);
		if (e->optional != NULL && e->optional[i] && !take_optional(v, &value)) {
			if (cel__is_error(value))
				return failed_literal(v, COST_MAP, value);
			continue;
		}
		if (!cel__map_key(key.kind))
			return failed_literal(v, COST_MAP, cel_error(v->a, "unsupported key type: %s", cel__value_type(v->a, key)->name));
		if (cel__map_find(v->a, m.map, key, NULL))
			return failed_literal(v, COST_MAP, cel_error(v->a, "Failed with repeated key: %.*s", STR_FMT(cel_value_text(v->a, key))));
		m = cel__map_add(v->a, m.map, key, value);
	}
	return cel__pay(v, COST_MAP) ? m : stopped(v);
}

static struct cel_value make_struct(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value m = cel__map_new(v->a);
	struct cel_map *typed;

	for (uint32_t i = 0; i < e->n_args; i++) {
		struct cel_value key = cel_value_str(e->fields[i]), value = eval(v, e->args[i]);

		if (cel__is_error(value))
			return failed_literal(v, COST_STRUCT, value);
		if (e->optional != NULL && e->optional[i] && !take_optional(v, &value)) {
			if (cel__is_error(value))
				return failed_literal(v, COST_STRUCT, value);
			continue;
		}
		if (cel__map_find(v->a, m.map, key, NULL))
			return failed_literal(v, COST_STRUCT, cel_error(v->a, "Failed with repeated key: %.*s", STR_FMT(key.s)));
		value = cel__struct_field(v, e->type, key.s, value);
		if (cel__is_error(value))
			return failed_literal(v, COST_STRUCT, value);
		m = cel__map_add(v->a, m.map, key, value);
	}
	if (!cel__pay(v, COST_STRUCT))
		return stopped(v);
	typed = arena_memdup(v->a, m.map, sizeof(*m.map));
	typed->type = e->type;
	m.map = typed;
	return m;
}

/* ---- folds ---- */

static const char *go_type(enum cel_kind k)
{
	static const char *const names[] = {
		[CEL_NULL] = "types.Null",
		[CEL_BOOL] = "types.Bool",
		[CEL_INT] = "types.Int",
		[CEL_UINT] = "types.Uint",
		[CEL_DOUBLE] = "types.Double",
		[CEL_STRING] = "types.String",
		[CEL_BYTES] = "types.Bytes",
		[CEL_TIMESTAMP] = "types.Timestamp",
		[CEL_DURATION] = "types.Duration",
		[CEL_TYPE] = "*types.Type",
		[CEL_OPTIONAL] = "*types.Optional",
	};

	return k < ARRAY_LEN(names) && names[k] != NULL ? names[k] : "ref.Val";
}

static void set_variables(struct cel__eval *v, const struct cel__fold *f, struct cel_value range, size_t i)
{
	struct cel_value one, two;

	if (range.kind == CEL_LIST) {
		one = cel__int((int64_t)i);
		two = cel__list_at(v->a, range.list, i);
		if (f->var2.n == 0)
			one = two;
	} else {
		cel__map_entry(v->a, range.map, i, &one, f->var2.n > 0 ? &two : NULL);
	}
	v->slots[f->slot] = one;
	if (f->var2.n > 0)
		v->slots[f->slot2] = two;
}

static struct cel_value loop(struct cel__eval *v, const struct cel__fold *f)
{
	struct cel_value range = eval(v, f->range);
	size_t n;

	if (cel__is_error(range))
		return range;
	if (range.kind != CEL_LIST && range.kind != CEL_MAP)
		return cel_error(v->a, "got '%s', expected iterable type", go_type(range.kind));
	n = range.kind == CEL_LIST ? range.list->n : range.map->n;
	v->pending[f->accu_slot] = NULL;
	v->slots[f->accu_slot] = eval(v, f->init);
	for (size_t i = 0; i < n && !v->stopped; i++) {
		struct cel_value go_on;

		set_variables(v, f, range, i);
		go_on = eval(v, f->cond);
		if (go_on.kind == CEL_BOOL && !go_on.b)
			break;
		v->slots[f->accu_slot] = eval(v, f->step);
	}
	return eval(v, f->result);
}

static struct cel_value fold(struct cel__eval *v, const struct cel__expr *e)
{
	if (!e->fold->bind)
		return loop(v, e->fold);
	v->pending[e->fold->accu_slot] = e->fold->init;
	return eval(v, e->fold->result);
}

/* ---- all of it ---- */

static struct cel_value eval(struct cel__eval *v, const struct cel__expr *e)
{
	struct cel_value value;

	if (v->stopped)
		return stopped(v);
	if (e->free)
		return e->value;
	switch (e->node) {
	case NODE_SELECT:
		if (e->test_only)
			return test(v, e);
		/* fallthrough */
	case NODE_IDENT:
		break;
	case NODE_CALL:
		if (!is_index(e) && !is_condition(e))
			return eval_call(v, e);
		break;
	case NODE_LIST:
		return make_list(v, e);
	case NODE_MAP:
		return make_map(v, e);
	case NODE_STRUCT:
		return make_struct(v, e);
	case NODE_FOLD:
		return fold(v, e);
	default:
		return e->value;
	}
	value = resolve(v, e);
	if (!is_condition(root_of(e)) && !cel__pay(v, 1))
		return stopped(v);
	return value;
}

struct buf cel__buf(const struct cel__eval *v)
{
	struct buf b;
	size_t used = cel__memory(v);

	buf_init(&b, used < CEL_MAX_MEMORY ? CEL_MAX_MEMORY - used : 0);
	return b;
}

struct cel_value cel__buf_string(struct cel__eval *v, struct buf *b)
{
	struct cel_value s;

	if (!buf_ok(b)) {
		v->stopped = true;
		v->run->over_limit = true;
		s = stopped(v);
	} else {
		s = cel_value_str(arena_str(v->a, buf_str(b)));
	}
	buf_fini(b);
	return s;
}

struct cel_value cel__eval_constant(struct arena *a, const struct cel__expr *e)
{
	struct cel_run run = {.arena = a};
	struct cel__eval v = {.a = a, .run = &run, .limit = CEL_PER_CALL_LIMIT, .memory = a->used};

	return eval(&v, e);
}

/*
 * A lazy field may run another program, whose lazy fields may run others. Each takes some of the stack; a chain of deep ones is stopped
 * before it takes it all.
 */
#define MAX_STACK ((size_t)1 << 20)
static _Thread_local struct cel__eval *innermost;
static _Thread_local const char *outermost_frame;

static bool stack_left(const char *here)
{
	const char *top = outermost_frame;

	return innermost == NULL || (size_t)(top > here ? top - here : here - top) < MAX_STACK;
}

static const struct cel_value *bind(struct cel__eval *v, const struct cel_program *p, const struct cel_run *run)
{
	struct cel_value *vars = arena_alloc(v->a, MAX(p->n_vars, (size_t)1) * sizeof(*vars));

	for (size_t i = 0; i < p->n_vars; i++) {
		vars[i] = cel_error(v->a, "no such attribute(s): %s", p->vars[i].name);
		for (size_t j = 0; j < run->n_vars; j++)
			if (strcmp(run->vars[j].name, p->vars[i].name) == 0)
				vars[i] = run->vars[j].value;
	}
	return vars;
}

struct cel_value cel_run(const struct cel_program *p, struct cel_run *run)
{
	const char *here = __builtin_frame_address(0);
	struct arena scratch;
	struct cel__eval v = {.a = &scratch, .program = p, .run = run, .around = innermost};
	struct cel_value result;

	run->cost = 0;
	run->over_limit = false;
	if (!stack_left(here))
		return cel__text_error(run->arena, "expressions that use each other are nested too deeply");
	if (innermost == NULL)
		outermost_frame = here;
	arena_init(&scratch);
	innermost = &v;
	v.limit = run->limit > 0 ? run->limit : CEL_PER_CALL_LIMIT;
	v.slots = arena_zalloc(v.a, MAX(p->n_slots, 1u) * sizeof(*v.slots));
	v.pending = arena_zalloc(v.a, MAX(p->n_slots, 1u) * sizeof(*v.pending));
	v.vars = bind(&v, p, run);
	result = eval(&v, p->root);
	run->cost = MAX(v.cost, v.steps / CEL_STEPS_PER_COST);
	result = cel__copy(run->arena, v.stopped ? stopped(&v) : result);
	innermost = v.around;
	arena_fini(&scratch);
	return result;
}
