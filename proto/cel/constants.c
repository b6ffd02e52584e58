/*
 * What is known before a program runs: lists and maps of constants, conversions of constants. They cost nothing at run time, as in
 * cel-go, and those that are wrong are refused now.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"

/* Bytes of all patterns of one expression, compiled. */
#define MAX_PATTERN_SIZE ((size_t)4 << 20)

struct constants {
	struct arena *a;
	struct cel_program *program;
	size_t pattern_size;
	struct cel__report *report;
};

static void walk(struct constants *, struct cel__expr *);

static bool all_free(const struct cel__expr *e)
{
	for (uint32_t i = 0; i < e->n_args; i++)
		if (!e->args[i]->free)
			return false;
	return true;
}

static bool is_conversion(const struct cel__expr *e)
{
	static const char *const names[] = {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (e->n_args == 1 && !e->member && str_eqc(e->name, names[i]))
			return true;
	return false;
}

static void make(struct constants *c, struct cel__expr *e)
{
	struct cel_value v = cel__eval_constant(c->a, e);

	if (cel__is_error(v)) {
		if (str_eqc(e->name, "duration") || str_eqc(e->name, "timestamp"))
			cel__complain(c->report, e->args[0]->pos, "invalid %.*s argument", STR_FMT(e->name));
		else
			cel__complain(c->report, e->pos, "%.*s", STR_FMT(v.s));
		return;
	}
	e->value = v;
	e->free = true;
}

/* A list of plain values, in which upstream looks by hash. */
static bool is_set(const struct cel__expr *e)
{
	const struct cel_list *l;

	if (!e->free || e->value.kind != CEL_LIST)
		return false;
	l = e->value.list;
	for (size_t i = 0; i < l->n; i++) {
		enum cel_kind k = l->store->items[i].kind;

		if (k != CEL_BOOL && k != CEL_INT && k != CEL_UINT && k != CEL_DOUBLE && k != CEL_STRING)
			return false;
	}
	return true;
}

/* Patterns in the text are compiled once; those of find and findAll may be wrong until they run, as upstream. */
static void keep_pattern(struct constants *c, const struct cel__expr *e)
{
	const struct cel__expr *pattern = e->args[1];
	struct cel_program *p = c->program;
	const struct cel__regex *regex;
	const char *why;

	if (!pattern->free || pattern->value.kind != CEL_STRING)
		return;
	regex = cel__regex(c->a, pattern->value.s, &why);
	if (regex == NULL) {
		if (str_eqc(e->name, "matches"))
			cel__complain(c->report, pattern->pos, "invalid matches argument");
		return;
	}
	c->pattern_size += cel__regex_size(regex);
	if (c->pattern_size > MAX_PATTERN_SIZE) {
		cel__complain(c->report, pattern->pos, "the regular expressions of the expression take too much memory");
		return;
	}
	if (p->n_patterns == p->cap_patterns) {
		size_t cap = MAX(p->cap_patterns * 2, (size_t)4);

		p->patterns = arena_grow(c->a, p->patterns, p->n_patterns * sizeof(*p->patterns), cap * sizeof(*p->patterns));
		p->cap_patterns = cap;
	}
	p->patterns[p->n_patterns++] = (struct cel__known_pattern){pattern->value.s, regex};
}

static bool has_pattern(const struct cel__expr *e)
{
	return e->n_args >= 2 && (str_eqc(e->name, "matches") || str_eqc(e->name, "find") || str_eqc(e->name, "findAll"));
}

/* "%s is %d".format([a, b]): as many arguments as clauses, and clauses that there are. */
static void check_format(struct constants *c, const struct cel__expr *e)
{
	const struct cel__expr *text = e->args[0], *args = e->args[1];
	uint32_t used = 0;

	if (text->node != NODE_LITERAL || text->value.kind != CEL_STRING || args->node != NODE_LIST || args->optional != NULL)
		return;
	for (size_t i = 0; i < text->value.s.n; i++) {
		struct str s = text->value.s;

		if (s.p[i] != '%' || (i + 1 < s.n && s.p[i + 1] == '%' && ++i))
			continue;
		for (i++; i < s.n && (s.p[i] == '.' || (s.p[i] >= '0' && s.p[i] <= '9')); i++)
			;
		if (i >= s.n)
			cel__complain(c->report, e->pos, "unexpected end of string");
		else if (strchr("sdfebxXo", s.p[i]) == NULL)
			cel__complain(c->report, e->pos,
				"could not parse formatting clause: unrecognized formatting clause \"%c\"", s.p[i]);
		else if (used >= args->n_args)
			cel__complain(c->report, e->pos, "index %u out of range", used);
		used++;
	}
	if (used < args->n_args)
		cel__complain(c->report, e->pos, "too many arguments supplied to string.format (expected %u, got %u)", used,
			args->n_args);
}

static void walk_parts(struct constants *c, struct cel__expr *e)
{
	for (uint32_t i = 0; i < e->n_args; i++)
		walk(c, e->args[i]);
	if (e->fold != NULL) {
		walk(c, e->fold->range);
		walk(c, e->fold->init);
		walk(c, e->fold->cond);
		walk(c, e->fold->step);
		walk(c, e->fold->result);
	}
}

static void walk(struct constants *c, struct cel__expr *e)
{
	if (e->seen == 2 || e->free)
		return;
	e->seen = 2;
	walk_parts(c, e);
	if (e->node == NODE_LIST || e->node == NODE_MAP) {
		if (e->optional == NULL && all_free(e))
			make(c, e);
	} else if (e->node == NODE_CALL && e->op == OP_CALL) {
		e->rule = cel__cost_rule(e);
		if (is_conversion(e) && all_free(e))
			make(c, e);
		else if (str_eqc(e->name, "@in") && e->n_overloads == 1 && strcmp(e->overloads[0]->id, "in_list") == 0)
			e->set = is_set(e->args[1]);
		else if (has_pattern(e))
			keep_pattern(c, e);
		else if (str_eqc(e->name, "format") && e->member && e->n_args == 2)
			check_format(c, e);
	}
}

bool cel__constants(struct arena *a, struct cel_program *p, struct cel__report *report)
{
	struct constants c = {.a = a, .program = p, .report = report};

	walk(&c, p->root);
	return report->n == 0;
}
