#include "proto/structural_rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/cel/cel.h"
#include "proto/field_errs.h"

/* A message that is computed may be this long. */
#define MESSAGE_MAX 5120
/* So many of the dearest rules are named when all of them are too dear together. */
#define N_DEAREST 4

struct structural_rule {
	const struct cel_program *program, *message_program; /* the latter NULL: none */
	struct str text, message, message_text, field_path; /* trimmed */
	enum field_err_type type;
	bool uses_old, optional_old;
};

struct structural_rules {
	const struct cel_type *self;
	struct structural_rule *v;
	size_t n;
};

/* --- Going through a schema ------------------------------------------------------------------------------------------------------ */

/* Where a schema stands. */
struct place {
	const struct field_path *path;
	bool root;
	uint64_t times;                        /* how often it may stand in one object; UINT64_MAX: no bound */
	const struct field_path *uncorrelated; /* the list or map in which nothing is found again; NULL: all is */
};

typedef void visit_fn(void *arg, struct structural *, const struct place *);

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t r;

	return a == UINT64_MAX || b == UINT64_MAX || __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static void visit(struct structural *s, const struct place *at, visit_fn *fn, void *arg)
{
	struct field_path props = field_child(at->path, "properties"), items = field_child(at->path, "items"),
			  more = field_child(at->path, "additionalProperties");
	struct place below = *at;

	fn(arg, s, at);
	below.root = false;
	if (s->map_atomic && !below.uncorrelated)
		below.uncorrelated = at->path;
	for (size_t i = 0; i < s->n_properties; i++) {
		struct field_path one = field_key(&props, s->properties[i].name);

		below.path = &one;
		visit(s->properties[i].schema, &below, fn, arg);
	}
	if (s->additional) {
		below.path = &more;
		below.times = times(at->times, s->max_properties < 0 ? UINT64_MAX : (uint64_t)s->max_properties);
		visit(s->additional, &below, fn, arg);
	}
	if (s->items) {
		below = *at;
		below.root = false;
		below.path = &items;
		below.times = times(at->times, s->max_items < 0 ? UINT64_MAX : (uint64_t)s->max_items);
		if (s->list != STRUCTURAL_LIST_MAP && !below.uncorrelated)
			below.uncorrelated = at->path;
		visit(s->items, &below, fn, arg);
	}
}

static bool mark(struct structural *s)
{
	s->rules_below = json_len(s->rules) > 0;
	for (size_t i = 0; i < s->n_properties; i++)
		s->rules_below |= mark(s->properties[i].schema);
	if (s->additional)
		s->rules_below |= mark(s->additional);
	if (s->items)
		s->rules_below |= mark(s->items);
	return s->rules_below;
}

/* --- What a rule says ------------------------------------------------------------------------------------------------------------ */

static bool has_newline(struct str s)
{
	return str_find(s, '\n') >= 0 || str_find(s, '\r') >= 0;
}

static void invalid(struct field_errs *errs, const struct field_path *at, const struct json *rule, const char *key, const char *why)
{
	struct field_path path = field_child(at, key);

	field_invalid(errs, &path, json_getc(rule, key), "%s", why);
}

static void missing(struct field_errs *errs, const struct field_path *at, const char *key, const char *why)
{
	struct field_path path = field_child(at, key);

	field_required(errs, &path, why);
}

/* One step of a field path: .name, ['key'] or ["key"]. */
static const char *path_step(struct str *rest, struct str *ret)
{
	char c = rest->p[0], quote;
	size_t i = 1;

	if (c == '.') {
		while (i < rest->n && rest->p[i] != '.' && rest->p[i] != '[')
			i++;
		*ret = str_sub(*rest, 1, i);
		*rest = str_skip(*rest, i);
		return ret->n > 0 ? NULL : "unexpected end of the path";
	}
	if (c != '[')
		return "expected [ or . but got something else";
	if (rest->n < 4 || (rest->p[1] != '\'' && rest->p[1] != '"'))
		return "expected single quoted string; lists have no names";
	quote = rest->p[1];
	for (i = 2; i < rest->n && rest->p[i] != quote;)
		i++;
	if (i + 1 >= rest->n || rest->p[i + 1] != ']')
		return "expected ] after the name";
	*ret = str_sub(*rest, 2, i);
	*rest = str_skip(*rest, i + 2);
	return NULL;
}

/* ".spec.x" as errors name it; NULL: *ret_why. */
static const char *path_normalize(struct arena *a, const struct structural *s, struct str path, const char **ret_why)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct str rest = path, name;

	if (path.p[0] != '.' && path.p[0] != '[') {
		*ret_why = "expected [ or . at the beginning";
		return NULL;
	}
	while (rest.n > 0) {
		*ret_why = path_step(&rest, &name);
		if (*ret_why)
			return NULL;
		if (!structural_property(s, name)) {
			*ret_why = "does not refer to a valid field";
			return NULL;
		}
		if (s->n_properties > 0)
			buf_printf(&out, "%s%.*s", out.n ? "." : "", STR_FMT(name));
		else
			buf_printf(&out, "[%.*s]", STR_FMT(name));
		s = structural_property(s, name);
	}
	return arena_cstr(a, buf_str(&out));
}

static void check_field_path(struct field_errs *errs, const struct structural *s, const struct json *rule, const struct field_path *at,
		struct structural_rule *r)
{
	struct str path = json_str(json_getc(rule, "fieldPath"));
	const char *why = NULL, *text;

	if (path.n == 0)
		return;
	if (str_trim(path).n == 0) {
		invalid(errs, at, rule, "fieldPath", "fieldPath must be non-empty if specified");
		return;
	}
	if (has_newline(path)) {
		invalid(errs, at, rule, "fieldPath", "fieldPath must not contain line breaks");
		return;
	}
	text = path_normalize(errs->arena, s, str_trim(path), &why);
	if (!text)
		invalid(errs, at, rule, "fieldPath", arena_printf(errs->arena, "fieldPath must be a valid path: %s", why));
	else
		r->field_path = str_from(text);
}

static void check_reason(struct field_errs *errs, const struct json *rule, const struct field_path *at, struct structural_rule *r)
{
	static const struct {
		const char *name;
		enum field_err_type type;
	} reasons[] = {{"FieldValueForbidden", FIELD_FORBIDDEN}, {"FieldValueInvalid", FIELD_INVALID},
			{"FieldValueRequired", FIELD_REQUIRED}, {"FieldValueDuplicate", FIELD_DUPLICATE}};
	static const char *const names[] = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", NULL};
	struct str reason = json_str(json_getc(rule, "reason"));
	struct field_path path = field_child(at, "reason");

	r->type = FIELD_INVALID;
	if (json_is_null(json_getc(rule, "reason")))
		return;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (str_eqc(reason, reasons[i].name)) {
			r->type = reasons[i].type;
			return;
		}
	field_not_supported(errs, &path, reason, names);
}

static void read_rule(struct field_errs *errs, const struct structural *s, const struct json *rule, const struct field_path *at,
		struct structural_rule *r)
{
	struct str message = json_str(json_getc(rule, "message")), expr = json_str(json_getc(rule, "messageExpression"));

	r->text = str_trim(json_str(json_getc(rule, "rule")));
	r->message = str_trim(message);
	r->message_text = str_trim(expr);
	r->optional_old = json_true(json_getc(rule, "optionalOldSelf"));
	if (r->text.n == 0)
		missing(errs, at, "rule", "rule is not specified");
	if (message.n > 0 && r->message.n == 0)
		invalid(errs, at, rule, "message", "message must be non-empty if specified");
	else if (has_newline(r->message))
		invalid(errs, at, rule, "message", "message must not contain line breaks");
	else if (has_newline(r->text) && r->message.n == 0)
		missing(errs, at, "message", "message must be specified if rule contains line breaks");
	if (expr.n > 0 && r->message_text.n == 0)
		missing(errs, at, "messageExpression", "messageExpression must be non-empty if specified");
	check_reason(errs, rule, at, r);
	check_field_path(errs, s, rule, at, r);
}

/* --- Compiling --------------------------------------------------------------------------------------------------------------------- */

struct compiler {
	struct arena *arena;
	struct field_errs *errs;
};

/* The rule as a whole is the value that is invalid: upstream shows it so. */
static void failed(struct compiler *c, const struct field_path *at, const char *key, const struct json *rule, const char *why, struct str text)
{
	struct field_path path = field_child(at, key);

	field_invalid(c->errs, &path, rule, "%s%.*s", why, STR_FMT(text));
}

static struct cel_env *env_of(struct compiler *c, const struct cel_type *self, bool optional)
{
	struct cel_env *env = cel_env_new(c->arena, CEL_LIBS_KUBERNETES);

	cel_env_var(env, "self", self);
	cel_env_var(env, "oldSelf", optional ? cel_type_optional(c->arena, self) : self);
	return env;
}

static void compile_rule(struct compiler *c, const struct json *rule, const struct field_path *at, const struct place *place,
		const struct cel_type *self, struct structural_rule *r)
{
	struct cel_env *env = env_of(c, self, r->optional_old);
	struct field_path path = field_child(at, "rule"), optional = field_child(at, "optionalOldSelf");
	_cleanup_(buf_fini) struct buf where = BUF_INIT;
	struct str error;

	r->program = cel_compile(c->arena, env, r->text, &error);
	if (!r->program) {
		failed(c, at, "rule", rule, "compilation failed: ", error);
		return;
	}
	if (!cel_type_accepts(&cel_bool, cel_program_type(r->program)))
		failed(c, at, "rule", rule, "cel expression must evaluate to a bool", STR(""));
	r->uses_old = cel_program_uses(r->program, "oldSelf");
	if (r->message_text.n > 0) {
		r->message_program = cel_compile(c->arena, env, r->message_text, &error);
		if (!r->message_program)
			failed(c, at, "messageExpression", rule, "messageExpression compilation failed: ", error);
		else if (!cel_type_accepts(&cel_string, cel_program_type(r->message_program)))
			failed(c, at, "messageExpression", rule, "messageExpression must evaluate to a string", STR(""));
	}
	if (r->uses_old && place->uncorrelated) {
		field_path_print(&where, place->uncorrelated);
		field_invalid(c->errs, &path, json_getc(rule, "rule"),
				"oldSelf cannot be used on the uncorrelatable portion of the schema within %.*s", STR_FMT(buf_str(&where)));
	}
	if (!r->uses_old && !json_is_null(json_getc(rule, "optionalOldSelf")))
		field_invalid(c->errs, &optional, json_getc(rule, "optionalOldSelf"), "may not be set if oldSelf is not used in rule");
}

static void compile_place(void *arg, struct structural *s, const struct place *place)
{
	struct compiler *c = arg;
	struct field_path all = field_child(place->path, "x-kubernetes-validations");
	struct structural_rules *rules;
	size_t i = 0, before = c->errs->n;

	if (json_len(s->rules) == 0)
		return;
	rules = arena_new_of(c->arena, struct structural_rules);
	rules->n = json_len(s->rules);
	rules->v = arena_new_array(c->arena, struct structural_rule, rules->n);
	JSON_ITEMS (rule, s->rules) {
		struct field_path at = field_index(&all, i);

		read_rule(c->errs, s, rule, &at, &rules->v[i++]);
	}
	if (c->errs->n > before)
		return;
	rules->self = cel_type_structural(c->arena, s, place->root || s->embedded);
	if (!rules->self) {
		field_err_add(c->errs, &all, FIELD_INTERNAL,
				"Internal error: internal error: failed to retrieve type information for x-kubernetes-validations");
		return;
	}
	i = 0;
	JSON_ITEMS (rule, s->rules) {
		struct field_path at = field_index(&all, i);

		compile_rule(c, rule, &at, place, rules->self, &rules->v[i++]);
	}
	s->rules_here = rules;
}

void structural_rules_compile(struct arena *a, struct structural *root, const struct field_path *path, struct field_errs *errs)
{
	struct compiler c = {a, errs};
	struct place top = {.path = path, .root = true, .times = 1};

	if (mark(root))
		visit(root, &top, compile_place, &c);
}

/* --- Estimates --------------------------------------------------------------------------------------------------------------------- */

struct dear {
	struct str field;
	uint64_t cost;
};

struct estimate {
	struct field_errs *errs;
	uint64_t total;
	struct dear dearest[N_DEAREST];
	size_t n;
};

static const char *too_dear(struct arena *a, const char *what, uint64_t cost, uint64_t limit)
{
	static const char hint[] = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
				   "are declared)";
	double factor = (double)cost / (double)limit;

	if (factor > 100)
		return arena_printf(a, "%s exceeds budget by factor of more than 100x %s", what, hint);
	return arena_printf(a, factor < 1.5 ? "%s exceeds budget by factor of %fx %s" : "%s exceeds budget by factor of %.1fx %s", what, factor, hint);
}

static void count(struct estimate *e, const struct field_path *path, const char *what, uint64_t cost)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	size_t at = e->n;

	if (cost > CEL_ESTIMATED_COST_LIMIT)
		field_forbidden(e->errs, path, "%s", too_dear(e->errs->arena, what, cost, CEL_ESTIMATED_COST_LIMIT));
	if (__builtin_add_overflow(e->total, cost, &e->total))
		e->total = UINT64_MAX;
	while (at > 0 && e->dearest[at - 1].cost < cost)
		at--;
	if (at == N_DEAREST)
		return;
	field_path_print(&text, path);
	e->n = MIN(e->n + 1, (size_t)N_DEAREST);
	memmove(&e->dearest[at + 1], &e->dearest[at], (e->n - at - 1) * sizeof(e->dearest[0]));
	e->dearest[at] = (struct dear){arena_str(e->errs->arena, buf_str(&text)), cost};
}

static void estimate_place(void *arg, struct structural *s, const struct place *place)
{
	struct estimate *e = arg;
	struct field_path all = field_child(place->path, "x-kubernetes-validations");
	uint64_t n = place->times;

	if (!s->rules_here)
		return;
	/* Without a bound as many as fit into a request. */
	if (n == UINT64_MAX)
		n = CEL_MAX_REQUEST_SIZE / (s->rules_here->self->min_size + 1);
	for (size_t i = 0; i < s->rules_here->n; i++) {
		const struct structural_rule *r = &s->rules_here->v[i];
		struct field_path at = field_index(&all, i), rule = field_child(&at, "rule"), message = field_child(&at, "messageExpression");

		if (r->program)
			count(e, &rule, "estimated rule cost", times(cel_program_cost(r->program).max, n));
		if (r->message_program)
			count(e, &message, "estimated messageExpression cost", times(cel_program_cost(r->message_program).max, n));
	}
}

void structural_rules_costs(const struct structural *root, const struct field_path *path, struct field_errs *errs)
{
	struct estimate e = {.errs = errs};
	struct place top = {.path = path, .root = true, .times = 1};

	if (!root->rules_below)
		return;
	/* Nothing is changed by this visitor. */
	visit((struct structural *)(uintptr_t)root, &top, estimate_place, &e);
	if (e.total <= CEL_ESTIMATED_CRD_COST_LIMIT)
		return;
	for (size_t i = 0; i < e.n; i++) {
		struct field_path at = {.name = e.dearest[i].field};

		field_forbidden(errs, &at, "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire "
					   "OpenAPIv3 schema");
	}
	field_forbidden(errs, path, "%s",
			too_dear(errs->arena, "estimated cost total for entire OpenAPIv3 schema", e.total, CEL_ESTIMATED_CRD_COST_LIMIT));
}

/* --- Running ----------------------------------------------------------------------------------------------------------------------- */

struct runner {
	struct field_errs *errs;
	int64_t budget; /* < 0: nothing is run any more */
};

const struct json *structural_old_item(const struct structural *s, const struct json *old, const struct json *item)
{
	if (s->list != STRUCTURAL_LIST_MAP)
		return NULL;
	JSON_ITEMS (was, old) {
		bool same = true;

		for (size_t i = 0; same && i < json_len(s->map_keys); i++) {
			struct str key = json_str(json_at(s->map_keys, i));

			same = json_equal(json_get(was, key), json_get(item, key));
		}
		if (same)
			return was;
	}
	return NULL;
}

/* One evaluation, taken off the budget; false with what is said of it, after which nothing is run any more. */
static bool evaluate(struct runner *w, const struct cel_program *p, const struct cel_var *vars, struct cel_value *ret, bool *ret_over)
{
	struct cel_run run = {.arena = w->errs->arena, .vars = vars, .n_vars = 2};

	*ret = cel_run(p, &run);
	*ret_over = run.over_limit;
	if (run.cost > INT64_MAX || (int64_t)run.cost > w->budget) {
		w->budget = -1;
		return false;
	}
	w->budget -= (int64_t)run.cost;
	return true;
}

static struct str rule_text(const struct structural_rule *r)
{
	return r->message.n > 0 ? r->message : r->text;
}

static struct str plain_message(struct runner *w, const struct structural_rule *r)
{
	return r->message.n > 0 ? r->message : arena_sprintf(w->errs->arena, "failed rule: %.*s", STR_FMT(r->text));
}

/* What is told of a broken rule; what cannot be told in its own words is told in the fixed ones. False: *ret is an error that ends it. */
static bool message_of(struct runner *w, const struct structural_rule *r, const struct cel_var *vars, struct str *ret)
{
	struct cel_value v;
	struct str text;
	bool over;

	*ret = plain_message(w, r);
	if (!r->message_program)
		return true;
	if (!evaluate(w, r->message_program, vars, &v, &over)) {
		*ret = STR("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run");
		return false;
	}
	if (over) {
		w->budget = -1;
		*ret = arena_sprintf(w->errs->arena, "no further validation rules will be run due to call cost exceeds limit for messageExpression: "
						     "\"%.*s\"", STR_FMT(r->message_text));
		return false;
	}
	text = v.kind == CEL_STRING ? str_trim(v.s) : STR_NULL;
	if (text.n > 0 && text.n <= MESSAGE_MAX && !has_newline(text))
		*ret = text;
	return true;
}

static void told(struct field_errs *errs, const struct field_path *at, enum field_err_type type, const char *value, struct str message)
{
	switch (type) {
	case FIELD_FORBIDDEN: field_forbidden(errs, at, "%.*s", STR_FMT(message)); break;
	case FIELD_REQUIRED: field_required(errs, at, arena_cstr(errs->arena, message)); break;
	case FIELD_DUPLICATE: field_duplicate(errs, at, str_from(value)); break;
	default: field_invalid_str(errs, at, str_from(value), "%.*s", STR_FMT(message)); break;
	}
}

/* A place's path may be empty: the whole object is meant then. */
static void broken(struct runner *w, const struct structural *s, const struct structural_rule *r, const struct field_path *path,
		const struct cel_var *vars, bool unchanged)
{
	struct field_path below = {.up = path, .name = r->field_path};
	const struct field_path *at = r->field_path.n > 0 ? &below : path;
	const char *type = structural_type_name(s->type);
	struct field_errs *errs = !r->uses_old && unchanged ? w->errs->warnings : w->errs;
	struct str message;
	bool fine = message_of(w, r, vars, &message);

	if (errs)
		told(errs, at, fine ? r->type : FIELD_INVALID, type, message);
}

static void run_failed(struct runner *w, const struct structural_rule *r, const struct field_path *path, const char *type, struct str error,
		bool over)
{
	struct str text = rule_text(r);

	if (over) {
		w->budget = -1;
		field_invalid_str(w->errs, path, str_from(type),
				"'%.*s': no further validation rules will be run due to call cost exceeds limit for rule: %.*s", STR_FMT(error),
				STR_FMT(text));
	} else if (str_has_prefix(error, STR("no such overload"))) {
		field_invalid_str(w->errs, path, str_from(type),
				"'%.*s': call arguments did not match a supported operator, function or macro signature for rule: %.*s",
				STR_FMT(error), STR_FMT(text));
	} else {
		field_invalid_str(w->errs, path, str_from(type), "%.*s evaluating rule: %.*s", STR_FMT(error), STR_FMT(text));
	}
}

static void run_here(struct runner *w, const struct structural *s, const struct json *v, const struct json *old, const struct field_path *path)
{
	const struct structural_rules *rules = s->rules_here;
	struct arena *a = w->errs->arena;
	const char *type = structural_type_name(s->type);
	bool unchanged = old && json_equal(old, v);
	struct cel_var vars[2] = {{"self", cel_from_json(a, v, rules->self)}, {"oldSelf", {.kind = CEL_NULL}}};

	for (size_t i = 0; i < rules->n && w->budget >= 0; i++) {
		const struct structural_rule *r = &rules->v[i];
		struct cel_value result;
		bool over;

		if (!r->program || (r->uses_old && !r->optional_old && !old))
			continue;
		if (r->uses_old) {
			struct cel_value was = old ? cel_from_json(a, old, rules->self) : cel_none();

			vars[1].value = r->optional_old && old ? cel_some(a, was) : was;
		}
		if (!evaluate(w, r->program, vars, &result, &over))
			field_invalid_str(w->errs, path, str_from(type),
					"validation failed due to running out of cost budget, no further validation rules will be run");
		else if (result.kind == CEL_ERROR)
			run_failed(w, r, path, type, result.s, over);
		else if (result.kind != CEL_BOOL || !result.b)
			broken(w, s, r, path, vars, unchanged);
	}
}

static void run(struct runner *w, const struct structural *s, const struct json *v, const struct json *old, const struct field_path *path)
{
	if (!s || !s->rules_below || json_is_null(v) || w->budget < 0)
		return;
	if (json_is_null(old))
		old = NULL;
	if (s->rules_here)
		run_here(w, s, v, old, path);
	if (json_is(v, JSON_ARRAY) && s->items)
		for (size_t i = 0; i < v->n; i++) {
			struct field_path at = field_index(path, i);

			run(w, s->items, v->items[i], structural_old_item(s, old, v->items[i]), &at);
		}
	JSON_MEMBERS (m, json_is(v, JSON_OBJECT) ? v : NULL) {
		const struct structural *of = structural_property(s, m->key);
		struct field_path at = {.up = path, .name = m->key, .in_brackets = of && of == s->additional};

		run(w, of, m->value, old && !s->map_atomic ? json_get(old, m->key) : NULL, &at);
	}
}

/* Errors behind which values may not be what their types say. */
static bool blocking(const struct field_errs *errs)
{
	for (size_t i = 0; i < errs->n; i++)
		switch (errs->items[i].type) {
		case FIELD_NOT_SUPPORTED:
		case FIELD_REQUIRED:
		case FIELD_TOO_LONG:
		case FIELD_TOO_MANY:
		case FIELD_TYPE_INVALID: return true;
		default: break;
		}
	return false;
}

void structural_rules_run(const struct structural *root, const struct json *obj, const struct json *old, struct field_errs *errs)
{
	struct runner w = {errs, CEL_RUNTIME_COST_BUDGET};

	if (!root->rules_below)
		return;
	if (blocking(errs)) {
		field_invalid_str(errs, NULL, STR("null"), "some validation rules were not checked because the object was invalid; correct the "
							   "existing errors to complete validation");
		return;
	}
	run(&w, root, obj, old, NULL);
}
