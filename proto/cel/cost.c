#include <math.h>
#include <string.h>

#include "proto/cel/cost-priv.h"

static struct cel_cost cost_of(struct cel__coster *, struct cel__expr *);

/* ---- numbers that stay at the top when they get there ---- */

static uint64_t plus(uint64_t x, uint64_t y)
{
	return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

static uint64_t times(uint64_t x, uint64_t y)
{
	return y != 0 && x > UINT64_MAX / y ? UINT64_MAX : x * y;
}

static uint64_t scaled(uint64_t x, double y)
{
	double r = ceil((double)x * y);

	return r >= 0x1p64 ? UINT64_MAX : (uint64_t)r;
}

struct cel_cost cel__plus(struct cel_cost x, struct cel_cost y)
{
	return (struct cel_cost){plus(x.min, y.min), plus(x.max, y.max)};
}

struct cel_cost cel__times(struct cel_cost x, struct cel_cost y)
{
	return (struct cel_cost){times(x.min, y.min), times(x.max, y.max)};
}

struct cel_cost cel__scaled(struct cel_cost x, double y)
{
	return (struct cel_cost){scaled(x.min, y), scaled(x.max, y)};
}

struct cel_cost cel__union(struct cel_cost x, struct cel_cost y)
{
	return (struct cel_cost){MIN(x.min, y.min), MAX(x.max, y.max)};
}

static struct cel__entries union_entries(struct cel__entries x, struct cel__entries y)
{
	if (!x.known || !y.known)
		return (struct cel__entries){0};
	return (struct cel__entries){true, x.list, cel__union(x.key, y.key), cel__union(x.value, y.value)};
}

/* ---- sizes ---- */

static struct cel__sizes *sizes(struct cel__coster *c, struct cel__expr *e)
{
	return &c->sizes[e->number];
}

const struct cel_type *cel__decl_items(const struct cel_type *t)
{
	return t != NULL && (t->kind == CEL_LIST || t->kind == CEL_MAP) ? t->elem : NULL;
}

static const struct cel_type *decl_field(const struct cel_type *t, struct str name)
{
	const struct cel_field *f = t != NULL && t->kind == CEL_OBJECT ? cel__field(t, name) : NULL;

	return f != NULL ? f->type : NULL;
}

static struct cel__local *local_of(struct cel__coster *c, const struct cel__expr *e)
{
	return e->node == NODE_IDENT && e->local ? &c->locals[e->slot] : NULL;
}

static const struct cel_type *decl_of(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__local *l = local_of(c, e);

	return l != NULL ? l->decl : sizes(c, e)->decl;
}

static bool size_in_text(const struct cel__expr *e, uint64_t *ret)
{
	switch (e->node) {
	case NODE_LITERAL:
		if (e->value.kind == CEL_TYPE)
			return false;
		if (!cel__size(e->value, ret))
			*ret = 1;
		return true;
	case NODE_LIST:
		*ret = e->n_args;
		return true;
	case NODE_MAP:
		*ret = e->n_args / 2;
		return true;
	default:
		return false;
	}
}

bool cel__size_of(struct cel__coster *c, struct cel__expr *e, struct cel_cost *ret)
{
	struct cel__sizes *s = sizes(c, e);
	const struct cel_type *decl = decl_of(c, e);
	struct cel__local *l = local_of(c, e);
	uint64_t n;

	if (s->known)
		*ret = s->size;
	else if (size_in_text(e, &n))
		*ret = CEL__FIXED(n);
	else if (decl != NULL)
		*ret = (struct cel_cost){0, decl->max_elements};
	else if (cel__scalar(e->type))
		*ret = CEL__FIXED(1);
	else if (l != NULL && l->known)
		*ret = l->size;
	else
		return false;
	return true;
}

struct cel_cost cel__size_or_unknown(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost size;

	return cel__size_of(c, e, &size) ? size : CEL__UNKNOWN;
}

static void set_size(struct cel__coster *c, struct cel__expr *e, struct cel_cost size)
{
	sizes(c, e)->known = true;
	sizes(c, e)->size = size;
}

static struct cel__entries entries_of(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__local *l = local_of(c, e);

	if (sizes(c, e)->entries.known)
		return sizes(c, e)->entries;
	return l != NULL ? l->entries : (struct cel__entries){0};
}

static void set_entries(struct cel__coster *c, struct cel__expr *e, struct cel__entries entries)
{
	if (entries.known)
		sizes(c, e)->entries = entries;
}

static void copy_sizes(struct cel__coster *c, struct cel__expr *to, struct cel__expr *from)
{
	struct cel_cost size;

	if (cel__size_of(c, from, &size))
		set_size(c, to, size);
	set_entries(c, to, entries_of(c, from));
}

/* ---- nodes ---- */

static struct cel_cost cost_ident(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__local *l = local_of(c, e);
	const struct cel_type *t;

	if (l != NULL) {
		sizes(c, e)->decl = l->decl;
	} else {
		t = c->program->vars[e->slot].type;
		while (t->kind == CEL_OPTIONAL)
			t = t->elem;
		sizes(c, e)->decl = t->schema != NULL ? t : NULL;
	}
	return CEL__FIXED(1);
}

static struct cel_cost cost_select(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost sum = cost_of(c, e->args[0]);
	enum cel_kind k = e->args[0]->type->kind;

	/* A test for presence costs nothing but what is tested. */
	if (e->test_only)
		return sum;
	if (k == CEL_MAP || k == CEL_OBJECT)
		sum = cel__plus(sum, CEL__FIXED(1));
	sizes(c, e)->decl = decl_field(decl_of(c, e->args[0]), e->name);
	return sum;
}

static struct cel_cost cost_list(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost sum = CEL__FIXED(0), item = {e->n_args == 0 ? 0 : UINT64_MAX, 0};

	for (uint32_t i = 0; i < e->n_args; i++) {
		sum = cel__plus(sum, cost_of(c, e->args[i]));
		item = cel__union(item, cel__size_or_unknown(c, e->args[i]));
	}
	set_entries(c, e, (struct cel__entries){true, true, CEL__FIXED(1), item});
	return cel__plus(sum, CEL__FIXED(10));
}

static struct cel_cost cost_map(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost sum = CEL__FIXED(0), none = {e->n_args == 0 ? 0 : UINT64_MAX, 0}, key = none, value = none;

	for (uint32_t i = 0; i < e->n_args; i += 2) {
		sum = cel__plus(sum, cost_of(c, e->args[i]));
		sum = cel__plus(sum, cost_of(c, e->args[i + 1]));
		key = cel__union(key, cel__size_or_unknown(c, e->args[i]));
		value = cel__union(value, cel__size_or_unknown(c, e->args[i + 1]));
	}
	set_entries(c, e, (struct cel__entries){true, false, key, value});
	return cel__plus(sum, CEL__FIXED(30));
}

static struct cel_cost cost_struct(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost sum = CEL__FIXED(40);

	for (uint32_t i = 0; i < e->n_args; i++)
		sum = cel__plus(sum, cost_of(c, e->args[i]));
	return sum;
}

/* ---- folds ---- */

static void open_local(struct cel__coster *c, uint32_t slot, struct cel__expr *init)
{
	struct cel__local *l = &c->locals[slot];

	l->decl = decl_of(c, init);
	l->known = cel__size_of(c, init, &l->size);
	l->entries = entries_of(c, init);
}

/* What a loop's variable goes over: keys, or positions; or values. */
static void open_variable(struct cel__coster *c, uint32_t slot, struct cel__expr *range, bool values)
{
	struct cel__local *l = &c->locals[slot];
	struct cel__entries entries = entries_of(c, range);
	const struct cel_type *decl = decl_of(c, range);
	bool list = entries.known ? entries.list : range->type->kind == CEL_LIST;

	*l = (struct cel__local){.known = entries.known, .size = values ? entries.value : entries.key};
	if (values)
		l->decl = cel__decl_items(decl);
	else if (!list && decl != NULL && decl->kind == CEL_MAP)
		l->decl = decl->key;
}

static struct cel_cost cost_bind(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__fold *f = e->fold;
	struct cel_cost sum = cel__plus(cost_of(c, f->range), cost_of(c, f->init));

	open_local(c, f->accu_slot, f->init);
	sum = cel__plus(sum, cost_of(c, f->result));
	copy_sizes(c, e, f->result);
	return sum;
}

static struct cel_cost cost_loop(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__fold *f = e->fold;
	struct cel_cost sum = cel__plus(cost_of(c, f->range), cost_of(c, f->init)), once, count, size;
	struct cel__entries entries = entries_of(c, f->range);
	bool list = entries.known ? entries.list : f->range->type->kind == CEL_LIST;

	open_local(c, f->accu_slot, f->init);
	open_variable(c, f->slot, f->range, f->var2.n == 0 && list);
	if (f->var2.n > 0)
		open_variable(c, f->slot2, f->range, true);
	once = cost_of(c, f->cond);
	once = cel__plus(cost_of(c, f->step), once);
	sum = cel__plus(sum, cost_of(c, f->result));
	count = cel__size_or_unknown(c, f->range);
	sum = cel__plus(sum, cel__times(count, once));
	if (f->init->node == NODE_LITERAL) {
		if (cel__size_of(c, f->init, &size))
			set_size(c, e, size);
	} else if (f->init->node == NODE_LIST || f->init->node == NODE_MAP) {
		set_size(c, e, count);
		set_entries(c, e, entries_of(c, f->step));
	}
	return sum;
}

/* ---- calls ---- */

static bool is(const struct cel__overload *o, const char *const *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(o->id, ids[i]) == 0)
			return true;
	return false;
}

#define IS(o, ...) is((o), (const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static struct cel__call_estimate only(struct cel_cost cost)
{
	return (struct cel__call_estimate){.cost = cost};
}

static struct cel__call_estimate with_size(struct cel_cost cost, struct cel_cost size)
{
	return (struct cel__call_estimate){.cost = cost, .sized = true, .size = size};
}

static struct cel__call_estimate compare(struct cel_cost x, struct cel_cost y)
{
	uint64_t most = MIN(x.max, y.max);

	return only(cel__scaled((struct cel_cost){most > 0 ? 1 : 0, most}, CEL__STRING_FACTOR));
}

/* How long the texts of values are that have no size of their own. */
static bool text_size(const struct cel__overload *o, struct cel_cost *ret)
{
	static const struct {
		const char *id;
		struct cel_cost size;
	} rows[] = {
		{"bool_to_string", {4, 5}},
		{"double_to_string", {1, 24}},    /* -1.2345678901234567e-308 */
		{"duration_to_string", {2, 22}},  /* -9223372036.854775808s */
		{"int64_to_string", {1, 20}},     /* -9223372036854775808 */
		{"timestamp_to_string", {20, 35}}, /* 0001-01-01T00:00:00.000000001+01:00 */
		{"uint64_to_string", {1, 20}},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(o->id, rows[i].id) != 0)
			continue;
		*ret = rows[i].size;
		return true;
	}
	return false;
}

/* cel-go's rules, and the lengths of texts: functions that look at more than a fixed part of their arguments. Operands count from 0, targets among them. */
static struct cel__call_estimate by_overload(struct cel__coster *c, struct cel__expr *e, const struct cel__overload *o)
{
	struct cel_cost x = e->n_args > 0 ? cel__size_or_unknown(c, e->args[0]) : CEL__UNKNOWN;
	struct cel_cost y = e->n_args > 1 ? cel__size_or_unknown(c, e->args[1]) : CEL__UNKNOWN, sum = cel__plus(x, y);

	struct cel_cost text;

	if (text_size(o, &text))
		return with_size(CEL__FIXED(1), text);
	if (strcmp(o->id, "string_to_string") == 0)
		return with_size(CEL__FIXED(1), x);
	if (IS(o, "string_format", "string_to_bytes", "bytes_to_string", "strings_quote")) {
		struct cel_cost cost = cel__scaled(x, CEL__STRING_FACTOR);

		if (strcmp(o->id, "string_format") == 0)
			return only(cost);
		if (strcmp(o->id, "string_to_bytes") == 0)
			return with_size(cost, (struct cel_cost){x.min, times(x.max, 4)});
		if (strcmp(o->id, "bytes_to_string") == 0)
			return with_size(cost, (struct cel_cost){x.min / 4, x.max});
		return with_size(cost, (struct cel_cost){plus(x.min, 2), plus(times(x.max, 2), 2)});
	}
	if (IS(o, "starts_with_string", "ends_with_string"))
		return only(cel__scaled(y, CEL__STRING_FACTOR));
	if (IS(o, "in_list"))
		return only(y);
	if (IS(o, "matches_string"))
		return only(cel__times(cel__scaled(cel__plus(x, CEL__FIXED(1)), CEL__STRING_FACTOR), cel__scaled(y, CEL__REGEX_FACTOR)));
	if (IS(o, "contains_string"))
		return only(cel__times(cel__scaled(x, CEL__STRING_FACTOR), cel__scaled(y, CEL__STRING_FACTOR)));
	if (IS(o, "add_string", "add_bytes", "add_list")) {
		set_entries(c, e, union_entries(entries_of(c, e->args[0]), entries_of(c, e->args[1])));
		return with_size(strcmp(o->id, "add_list") == 0 ? CEL__FIXED(1) : cel__scaled(sum, CEL__STRING_FACTOR), sum);
	}
	if (IS(o, "less_string", "greater_string", "less_equals_string", "greater_equals_string", "less_bytes", "greater_bytes",
		    "less_equals_bytes", "greater_equals_bytes", "equals", "not_equals"))
		return compare(x, y);
	return only(CEL__FIXED(1));
}

static struct cel_cost cost_logical(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost left = cost_of(c, e->args[0]), right = cost_of(c, e->args[1]);

	return (struct cel_cost){left.min, plus(left.max, right.max)};
}

static struct cel_cost cost_condition(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost test = cost_of(c, e->args[0]), yes = cost_of(c, e->args[1]), no = cost_of(c, e->args[2]);

	set_size(c, e, cel__union(cel__size_or_unknown(c, e->args[1]), cel__size_or_unknown(c, e->args[2])));
	set_entries(c, e, union_entries(entries_of(c, e->args[1]), entries_of(c, e->args[2])));
	return cel__plus(test, cel__union(yes, no));
}

/* dyn(x): one, and what x is. */
static struct cel_cost cost_dyn(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost cost = cost_of(c, e->args[0]);

	copy_sizes(c, e, e->args[0]);
	return cel__plus(cost, CEL__FIXED(1));
}

/* What an index gives has the size of the entries, and the place below. */
static void index_sizes(struct cel__coster *c, struct cel__expr *e, bool *ret_sized, struct cel_cost *ret_size)
{
	struct cel__entries entries = entries_of(c, e->args[0]);

	sizes(c, e)->decl = cel__decl_items(decl_of(c, e->args[0]));
	*ret_sized = entries.known;
	*ret_size = entries.value;
}

static struct cel_cost cost_call(struct cel__coster *c, struct cel__expr *e)
{
	struct cel_cost sum = CEL__FIXED(0), cost = {UINT64_MAX, 0}, size = CEL__FIXED(0);
	bool sized = false;

	for (uint32_t i = 0; i < e->n_args; i++)
		sum = cel__plus(sum, cost_of(c, e->args[i]));
	if (e->op == OP_OPT_SELECT)
		return cel__plus(sum, CEL__FIXED(1));
	for (uint32_t i = 0; i < e->n_overloads; i++) {
		const struct cel__overload *o = e->overloads[i];
		struct cel__call_estimate est = cel__estimate_function(c, e, o);

		if (!est.found)
			est = by_overload(c, e, o);
		cost = cel__union(cost, est.cost);
		if (est.sized) {
			size = sized ? cel__union(size, est.size) : est.size;
			sized = true;
		}
		if (IS(o, "index_list", "index_map"))
			index_sizes(c, e, &sized, &size);
		if (!sized)
			sized = cel__size_of(c, e, &size);
	}
	if (sized)
		set_size(c, e, size);
	return cel__plus(sum, cost);
}

static struct cel_cost cost_any_call(struct cel__coster *c, struct cel__expr *e)
{
	switch (e->op) {
	case OP_AND:
	case OP_OR:
		return cost_logical(c, e);
	case OP_COND:
		return cost_condition(c, e);
	default:
		return str_eqc(e->name, "dyn") && e->n_args == 1 ? cost_dyn(c, e) : cost_call(c, e);
	}
}

static struct cel_cost cost_of(struct cel__coster *c, struct cel__expr *e)
{
	struct cel__sizes *s = sizes(c, e);

	if (s->counted)
		return s->cost;
	switch (e->node) {
	case NODE_LITERAL:
		s->cost = CEL__FIXED(e->value.kind == CEL_TYPE ? 1 : 0);
		break;
	case NODE_IDENT:
		s->cost = cost_ident(c, e);
		break;
	case NODE_SELECT:
		s->cost = cost_select(c, e);
		break;
	case NODE_CALL:
		s->cost = cost_any_call(c, e);
		break;
	case NODE_LIST:
		s->cost = cost_list(c, e);
		break;
	case NODE_MAP:
		s->cost = cost_map(c, e);
		break;
	case NODE_STRUCT:
		s->cost = cost_struct(c, e);
		break;
	case NODE_FOLD:
		s->cost = e->fold->bind ? cost_bind(c, e) : cost_loop(c, e);
		break;
	}
	s->counted = true;
	return s->cost;
}

/* The tables go when it is done: a program is kept for long. */
struct cel_cost cel__estimate(const struct cel_program *p)
{
	struct cel__coster c = {.program = p};
	struct cel_cost cost;
	struct arena scratch;

	arena_init(&scratch);
	c.sizes = arena_new_array(&scratch, struct cel__sizes, MAX(p->n_nodes, 1u));
	c.locals = arena_new_array(&scratch, struct cel__local, MAX(p->n_slots, 1u));
	cost = cost_of(&c, p->root);
	arena_fini(&scratch);
	return cost;
}
