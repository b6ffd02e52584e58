/*
 * Precedence climbing by one function a level of the grammar. Nesting is bounded by CEL_MAX_DEPTH, the height of the tree (long sums
 * are deep without nesting) by CEL_MAX_LEVELS, so that whoever walks it may recurse.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

/* No type or function has a longer name. */
#define MAX_QUALIFIED 1000

static struct cel__expr *expression(struct cel__parser *);

/* ---- nodes ---- */

struct cel__expr *cel__node_new(struct cel__parser *p, enum cel__node node, uint32_t pos)
{
	struct cel__expr *e = arena_new_of(p->a, struct cel__expr);

	e->node = node;
	e->pos = pos;
	e->depth = 1;
	e->number = p->n_nodes++;
	return e;
}

struct cel__expr *cel__node_ident(struct cel__parser *p, uint32_t pos, struct str name)
{
	struct cel__expr *e = cel__node_new(p, NODE_IDENT, pos);

	e->name = name;
	return e;
}

struct cel__expr *cel__node_value(struct cel__parser *p, uint32_t pos, struct cel_value v)
{
	struct cel__expr *e = cel__node_new(p, NODE_LITERAL, pos);

	e->value = v;
	e->free = true;
	return e;
}

struct cel__expr *cel__node_args(struct cel__parser *p, struct cel__expr *e, struct cel__expr **args, size_t n)
{
	e->args = args;
	e->n_args = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		e->depth = MAX(e->depth, args[i]->depth + 1);
	if (e->depth > CEL_MAX_LEVELS) {
		if (!p->failed)
			cel__complain(p->report, e->pos, "expression is deeper than %u operators", CEL_MAX_LEVELS);
		p->failed = true;
	}
	return e;
}

struct cel__expr *cel__node_call(struct cel__parser *p, uint32_t pos, const char *function, bool member, unsigned n, ...)
{
	struct cel__expr *e = cel__node_new(p, NODE_CALL, pos);
	struct cel__expr **args = arena_new_array(p->a, struct cel__expr *, n);
	va_list ap;

	e->name = str_from(function);
	e->member = member;
	va_start(ap, n);
	for (unsigned i = 0; i < n; i++)
		args[i] = va_arg(ap, struct cel__expr *);
	va_end(ap);
	return cel__node_args(p, e, args, n);
}

/* ---- tokens ---- */

static void *fail(struct cel__parser *p)
{
	p->failed = true;
	return NULL;
}

static void advance(struct cel__parser *p)
{
	p->token = p->next;
	cel__lex(&p->lexer, &p->next);
	if (p->token.type == TOK_BAD)
		p->failed = true;
}

static bool is_op(const struct cel__parser *p, unsigned op)
{
	return p->token.type == TOK_OP && p->token.op == op;
}

static bool take_op(struct cel__parser *p, unsigned op)
{
	if (!is_op(p, op))
		return false;
	advance(p);
	return true;
}

static const char *token_text(struct cel__parser *p)
{
	return p->token.type == TOK_EOF ? "<EOF>" : arena_cstr(p->a, str_sub(p->token.text, 0, MIN(p->token.text.n, (size_t)100)));
}

static void *unexpected(struct cel__parser *p, const char *expecting)
{
	if (!p->failed)
		cel__complain(p->report, p->token.pos, "Syntax error: mismatched input '%s' expecting %s", token_text(p), expecting);
	return fail(p);
}

static bool expect_op(struct cel__parser *p, unsigned op, const char *text)
{
	if (take_op(p, op))
		return true;
	unexpected(p, text);
	return false;
}

/* ---- literals ---- */

static struct cel__expr *literal_int(struct cel__parser *p, const struct cel__token *t, bool minus, uint32_t pos)
{
	struct str s = t->text;
	bool hex = s.n > 2 && s.p[1] == 'x';
	uint64_t n = 0, most = minus ? (uint64_t)1 << 63 : INT64_MAX;
	bool is_uint = t->type == TOK_UINT;

	if (is_uint) {
		s = str_sub(s, 0, s.n - 1);
		most = UINT64_MAX;
	}
	for (size_t i = hex ? 2 : 0; i < s.n; i++) {
		unsigned d = (unsigned)(s.p[i] <= '9' ? s.p[i] - '0' : (s.p[i] | 0x20) - 'a' + 10);

		if (n > (most - d) / (hex ? 16 : 10)) {
			cel__complain(p->report, pos, "invalid %s literal", is_uint ? "uint" : "int");
			return fail(p);
		}
		n = n * (hex ? 16 : 10) + d;
	}
	return cel__node_value(p, pos, is_uint ? cel__uint(n) : cel__int(minus ? (int64_t)-n : (int64_t)n));
}

static struct cel__expr *literal_double(struct cel__parser *p, const struct cel__token *t, bool minus, uint32_t pos)
{
	double d = strtod(arena_cstr(p->a, t->text), NULL);

	if (isinf(d)) {
		cel__complain(p->report, pos, "invalid double literal");
		return fail(p);
	}
	return cel__node_value(p, pos, cel__double(minus ? -d : d));
}

/* The literal at the token, if it is one; else NULL without a complaint. */
static struct cel__expr *literal(struct cel__parser *p, bool minus, uint32_t pos)
{
	struct cel__token t = p->token;
	struct str s;

	switch (t.type) {
	case TOK_UINT:
		if (minus)
			return NULL;
		/* fallthrough */
	case TOK_INT:
		advance(p);
		return literal_int(p, &t, minus, pos);
	case TOK_FLOAT:
		advance(p);
		return literal_double(p, &t, minus, pos);
	case TOK_STRING:
	case TOK_BYTES:
		if (minus)
			return NULL;
		advance(p);
		if (!cel__unquote(p->report, &t, &s))
			return fail(p);
		return cel__node_value(p, pos, t.type == TOK_BYTES ? cel__bytes(s) : cel_value_str(s));
	case TOK_TRUE:
	case TOK_FALSE:
		if (minus)
			return NULL;
		advance(p);
		return cel__node_value(p, pos, cel_value_bool(t.type == TOK_TRUE));
	case TOK_NULL:
		if (minus)
			return NULL;
		advance(p);
		return cel__node_value(p, pos, cel__null());
	default:
		return NULL;
	}
}

/* ---- primaries ---- */

bool cel__reserved(struct str s)
{
	static const char *const words[] = {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import",
		"in", "let", "loop", "package", "namespace", "null", "return", "true", "var", "void", "while"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eqc(s, words[i]))
			return true;
	return false;
}

struct nodes {
	struct cel__expr **p;
	bool *optional;
	size_t n, cap;
	bool any_optional;
};

static void push(struct cel__parser *p, struct nodes *v, struct cel__expr *e, bool optional)
{
	if (v->n == v->cap) {
		size_t cap = MAX(v->cap * 2, (size_t)4);

		v->p = arena_grow(p->a, v->p, v->n * sizeof(*v->p), cap * sizeof(*v->p));
		v->optional = arena_grow(p->a, v->optional, v->n, cap);
		v->cap = cap;
	}
	v->p[v->n] = e;
	v->optional[v->n++] = optional;
	v->any_optional = v->any_optional || optional;
}

/* A '?' before an element; false: it is not allowed. */
static bool optional_mark(struct cel__parser *p, bool *ret)
{
	uint32_t pos = p->token.pos;

	*ret = take_op(p, '?');
	if (*ret && !(p->libs & CEL_LIB_OPTIONAL)) {
		cel__complain(p->report, pos, "unsupported syntax '?'");
		fail(p);
		return false;
	}
	return true;
}

/* Elements up to the closing bracket; a comma may stand before it when `trailing`. */
static bool elements(struct cel__parser *p, unsigned close, const char *close_text, bool optionals, bool trailing, struct nodes *v)
{
	while (!is_op(p, close)) {
		bool optional = false;
		struct cel__expr *e;

		if (optionals && !optional_mark(p, &optional))
			return false;
		if ((e = expression(p)) == NULL)
			return false;
		push(p, v, e, optional);
		if (!take_op(p, ','))
			break;
		if (!trailing && is_op(p, close)) {
			unexpected(p, "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, "
				      "BYTES, IDENTIFIER}");
			return false;
		}
	}
	return expect_op(p, close, close_text);
}

static struct cel__expr *list(struct cel__parser *p)
{
	struct cel__expr *e = cel__node_new(p, NODE_LIST, p->token.pos);
	struct nodes v = {0};

	advance(p);
	if (!elements(p, ']', "{']', ','}", true, true, &v))
		return NULL;
	if (v.any_optional)
		e->optional = v.optional;
	return cel__node_args(p, e, v.p, v.n);
}

static struct cel__expr *map(struct cel__parser *p)
{
	struct cel__expr *e = cel__node_new(p, NODE_MAP, p->token.pos);
	struct nodes v = {0};

	advance(p);
	while (!is_op(p, '}')) {
		struct cel__expr *key, *value;
		bool optional;

		if (!optional_mark(p, &optional) || (key = expression(p)) == NULL || !expect_op(p, ':', "':'") ||
			(value = expression(p)) == NULL)
			return NULL;
		push(p, &v, key, optional);
		push(p, &v, value, optional);
		if (!take_op(p, ','))
			break;
	}
	if (!expect_op(p, '}', "{'}', ','}"))
		return NULL;
	if (v.any_optional)
		e->optional = v.optional;
	return cel__node_args(p, e, v.p, v.n);
}

static struct cel__expr *structure(struct cel__parser *p, struct str name)
{
	struct cel__expr *e = cel__node_new(p, NODE_STRUCT, p->token.pos);
	struct nodes v = {0};
	size_t cap = 0;

	advance(p);
	e->name = name;
	while (!is_op(p, '}')) {
		struct cel__expr *value;
		bool optional;

		if (!optional_mark(p, &optional))
			return NULL;
		if (p->token.type != TOK_IDENT)
			return unexpected(p, "{'}', '?', IDENTIFIER}");
		if (v.n == cap) {
			size_t grown = MAX(cap * 2, (size_t)4);

			e->fields = arena_grow(p->a, e->fields, cap * sizeof(*e->fields), grown * sizeof(*e->fields));
			cap = grown;
		}
		e->fields[v.n] = p->token.text;
		advance(p);
		if (!expect_op(p, ':', "':'") || (value = expression(p)) == NULL)
			return NULL;
		push(p, &v, value, optional);
		if (!take_op(p, ','))
			break;
	}
	if (!expect_op(p, '}', "{'}', ','}"))
		return NULL;
	if (v.any_optional)
		e->optional = v.optional;
	return cel__node_args(p, e, v.p, v.n);
}

static struct cel__expr *call(struct cel__parser *p, struct cel__expr *target, struct str name)
{
	struct cel__expr *e = cel__node_new(p, NODE_CALL, p->token.pos);
	struct nodes v = {0};

	advance(p);
	e->name = name;
	e->member = target != NULL;
	if (target != NULL)
		push(p, &v, target, false);
	if (!elements(p, ')', "{')', ','}", false, false, &v))
		return NULL;
	if (cel__node_args(p, e, v.p, v.n) == NULL || p->failed)
		return NULL;
	e = cel__expand(p, e);
	return e != NULL ? e : fail(p);
}

static struct cel__expr *name_or_call(struct cel__parser *p, bool dot, uint32_t pos)
{
	struct str name = p->token.text;

	if (cel__reserved(name)) {
		cel__complain(p->report, pos, "reserved identifier: %.*s", STR_FMT(name));
		return fail(p);
	}
	advance(p);
	/* A leading dot says "from the root"; there is but one container, the root. */
	(void)dot;
	if (is_op(p, '('))
		return call(p, NULL, name);
	return cel__node_ident(p, pos, name);
}

static struct cel__expr *primary(struct cel__parser *p)
{
	uint32_t pos = p->token.pos;
	struct cel__expr *e;

	if (is_op(p, '(')) {
		advance(p);
		e = expression(p);
		return e != NULL && expect_op(p, ')', "')'") ? e : NULL;
	}
	if (is_op(p, '['))
		return list(p);
	if (is_op(p, '{'))
		return map(p);
	if (is_op(p, '.') && p->next.type == TOK_IDENT) {
		advance(p);
		return name_or_call(p, true, pos);
	}
	if (p->token.type == TOK_IDENT)
		return name_or_call(p, false, pos);
	e = literal(p, false, pos);
	if (e != NULL || p->failed)
		return e;
	return unexpected(p, "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, "
			     "IDENTIFIER}");
}

struct str cel__qualified(struct arena *a, const struct cel__expr *e)
{
	struct str head;

	if (e->node == NODE_IDENT)
		return e->name;
	if (e->node != NODE_SELECT || e->test_only)
		return STR_NULL;
	head = cel__qualified(a, e->args[0]);
	return head.n == 0 || head.n > MAX_QUALIFIED ? STR_NULL : arena_sprintf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(e->name));
}

static struct cel__expr *selection(struct cel__parser *p, struct cel__expr *e, uint32_t pos, bool optional)
{
	struct cel__expr *sel, **args;
	struct str name = p->token.text;

	if (p->token.type != TOK_IDENT)
		return unexpected(p, "IDENTIFIER");
	advance(p);
	if (optional)
		return cel__node_call(p, pos, "_?._", false, 2, e, cel__node_value(p, pos, cel_value_str(name)));
	if (is_op(p, '('))
		return call(p, e, name);
	sel = cel__node_new(p, NODE_SELECT, pos);
	sel->name = name;
	args = arena_new_array(p->a, struct cel__expr *, 1);
	args[0] = e;
	return cel__node_args(p, sel, args, 1);
}

static struct cel__expr *member(struct cel__parser *p, struct cel__expr *e)
{
	while (e != NULL && !p->failed) {
		uint32_t pos = p->token.pos;
		bool optional = false;

		if (take_op(p, '.')) {
			if (!optional_mark(p, &optional))
				return NULL;
			e = selection(p, e, pos, optional);
		} else if (take_op(p, '[')) {
			struct cel__expr *index;

			if (!optional_mark(p, &optional) || (index = expression(p)) == NULL || !expect_op(p, ']', "']'"))
				return NULL;
			e = cel__node_call(p, pos, optional ? "_[?_]" : "_[_]", false, 2, e, index);
		} else if (is_op(p, '{') && (e->node == NODE_IDENT || e->node == NODE_SELECT) && cel__qualified(p->a, e).n > 0) {
			e = structure(p, cel__qualified(p->a, e));
		} else {
			return e;
		}
	}
	return p->failed ? NULL : e;
}

/* ---- operators ---- */

static struct cel__expr *unary(struct cel__parser *p)
{
	uint32_t pos = p->token.pos;
	unsigned op = p->token.type == TOK_OP ? p->token.op : 0;
	unsigned n = 0;
	struct cel__expr *e;

	if (op != '!' && op != '-')
		return member(p, primary(p));
	while (take_op(p, op))
		n++;
	if (op == '-' && n == 1) {
		e = literal(p, true, pos);
		if (e != NULL || p->failed)
			return member(p, e);
	}
	e = member(p, primary(p));
	if (e == NULL || n % 2 == 0)
		return e;
	return cel__node_call(p, pos, op == '!' ? "!_" : "-_", false, 1, e);
}

struct binary_op {
	unsigned op;
	const char *function;
	int level;
};

static const struct binary_op *operator_at(const struct cel__parser *p)
{
	static const struct binary_op operators[] = {
		{'<', "_<_", 0},
		{CEL__OP('<', '='), "_<=_", 0},
		{'>', "_>_", 0},
		{CEL__OP('>', '='), "_>=_", 0},
		{CEL__OP('=', '='), "_==_", 0},
		{CEL__OP('!', '='), "_!=_", 0},
		{CEL__OP('i', 'n'), "@in", 0},
		{'+', "_+_", 1},
		{'-', "_-_", 1},
		{'*', "_*_", 2},
		{'/', "_/_", 2},
		{'%', "_%_", 2},
	};

	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (is_op(p, operators[i].op))
			return &operators[i];
	return NULL;
}

/* Relations (0), sums (1), products (2); all are left-associative. */
static struct cel__expr *binary(struct cel__parser *p, int level)
{
	struct cel__expr *left = level == 2 ? unary(p) : binary(p, level + 1);
	const struct binary_op *op;

	while (left != NULL && !p->failed && (op = operator_at(p)) != NULL && op->level == level) {
		uint32_t pos = p->token.pos;
		struct cel__expr *right;

		advance(p);
		right = level == 2 ? unary(p) : binary(p, level + 1);
		if (right == NULL)
			return NULL;
		left = cel__node_call(p, pos, op->function, false, 2, left, right);
	}
	return p->failed ? NULL : left;
}

/* Terms first to last of a chain, as a balanced tree, so that long conditions are not deep. */
static struct cel__expr *balanced(struct cel__parser *p, const char *function, struct cel__expr **terms,
				  const uint32_t *ops, size_t lo, size_t hi)
{
	size_t mid = (lo + hi + 1) / 2;
	struct cel__expr *left = mid == lo ? terms[mid] : balanced(p, function, terms, ops, lo, mid - 1);
	struct cel__expr *right = mid == hi ? terms[mid + 1] : balanced(p, function, terms, ops, mid + 1, hi);

	return cel__node_call(p, ops[mid], function, false, 2, left, right);
}

static struct cel__expr *logical(struct cel__parser *p, bool or)
{
	struct nodes terms = {0};
	uint32_t *ops = NULL;
	size_t cap = 0;

	for (;;) {
		struct cel__expr *e = or ? logical(p, false) : binary(p, 0);
		size_t n = terms.n;

		if (e == NULL)
			return NULL;
		push(p, &terms, e, false);
		if (!is_op(p, or ? CEL__OP('|', '|') : CEL__OP('&', '&')))
			break;
		if (n == cap) {
			size_t grown = MAX(cap * 2, (size_t)4);

			ops = arena_grow(p->a, ops, cap * sizeof(*ops), grown * sizeof(*ops));
			cap = grown;
		}
		ops[n] = p->token.pos;
		advance(p);
	}
	if (terms.n == 1)
		return terms.p[0];
	return balanced(p, or ? "_||_" : "_&&_", terms.p, ops, 0, terms.n - 2);
}

static struct cel__expr *expression(struct cel__parser *p)
{
	struct cel__expr *e, *yes, *no;
	uint32_t pos;

	if (++p->depth > CEL_MAX_DEPTH) {
		if (!p->failed)
			cel__complain(p->report, p->token.pos, "expression recursion limit exceeded: %u", CEL_MAX_DEPTH);
		return fail(p);
	}
	e = logical(p, true);
	pos = p->token.pos;
	if (e != NULL && !p->failed && take_op(p, '?')) {
		if ((yes = logical(p, true)) == NULL || !expect_op(p, ':', "':'") || (no = expression(p)) == NULL)
			return NULL;
		e = cel__node_call(p, pos, "_?_:_", false, 3, e, yes, no);
	}
	p->depth--;
	return p->failed ? NULL : e;
}

struct cel__expr *cel__parse(struct arena *a, struct str text, unsigned libs, struct cel__report *report, uint32_t *ret_n_nodes)
{
	struct cel__parser p = {.a = a, .report = report, .libs = libs, .lexer = {.report = report, .text = text}};
	struct cel__expr *e;
	uint64_t characters;

	if (!json_utf8_valid(text))
		return cel__complain(report, 0, "expression is not UTF-8");
	characters = cel__characters(text);
	if (characters > CEL_MAX_TEXT)
		return cel__complain(report, 0, "expression code point size exceeds limit: size: %llu, limit %u",
			(unsigned long long)characters, CEL_MAX_TEXT);
	cel__lex(&p.lexer, &p.next);
	advance(&p);
	e = expression(&p);
	*ret_n_nodes = p.n_nodes;
	if (e != NULL && p.token.type != TOK_EOF && !p.failed) {
		cel__complain(report, p.token.pos, "Syntax error: %s input '%s' expecting <EOF>",
			p.next.type == TOK_EOF ? "extraneous" : "mismatched", token_text(&p));
		return NULL;
	}
	if ((e == NULL || p.failed) && report->n == 0)
		cel__complain(report, p.token.pos, "Syntax error: unexpected input '%s'", token_text(&p));
	return report->n > 0 ? NULL : e;
}
