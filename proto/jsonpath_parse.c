#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "proto/jsonpath-priv.h"

struct parser {
	struct arena *a;
	struct str text;
	size_t at;
	unsigned depth;
	struct err *e;
};

static int fail(struct parser *p, const char *what)
{
	return err_set(p->e, ERR_BAD_REQUEST, "error parsing jsonpath %.*s, %s at offset %zu",
		(int)MIN(p->text.n, (size_t)200), p->text.p, what, p->at);
}

static int peek(const struct parser *p)
{
	return p->at < p->text.n ? (unsigned char)p->text.p[p->at] : -1;
}

static bool eat(struct parser *p, const char *word)
{
	if (!str_has_prefix(str_skip(p->text, p->at), str_from(word)))
		return false;
	p->at += strlen(word);
	return true;
}

static void spaces(struct parser *p)
{
	while (peek(p) == ' ' || peek(p) == '\t' || peek(p) == '\n')
		p->at++;
}

static struct jsonpath__step *step_new(struct parser *p, enum jsonpath__step_type type)
{
	struct jsonpath__step *s = arena_new_of(p->a, struct jsonpath__step);

	s->type = type;
	return s;
}

static void add_name(struct parser *p, struct jsonpath__step *s, struct str name)
{
	s->names = arena_grow(
		p->a, s->names, s->n * sizeof(*s->names), (s->n + 1) * sizeof(*s->names));
	s->names[s->n++] = name;
}

static void add_index(struct parser *p, struct jsonpath__step *s, int64_t i)
{
	s->indexes = arena_grow(
		p->a, s->indexes, s->n * sizeof(*s->indexes), (s->n + 1) * sizeof(*s->indexes));
	s->indexes[s->n++] = i;
}

/* 'text' or "text"; a backslash makes the next character plain, n and t what they are in C. */
static int quoted(struct parser *p, struct str *ret)
{
	char quote = p->text.p[p->at++], *to = arena_alloc(p->a, p->text.n - p->at + 1);
	size_t n = 0;

	for (;; p->at++) {
		int c = peek(p);

		if (c < 0)
			return fail(p, "unterminated string");
		if (c == quote)
			break;
		if (c == '\\' && p->at + 1 < p->text.n) {
			c = p->text.p[++p->at];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
		}
		to[n++] = (char)c;
	}
	p->at++;
	to[n] = '\0';
	*ret = str_of(to, n);
	return 0;
}

static bool ends_name(int c)
{
	return c < 0 || strchr(" \t\n.[]{},()=!<>|&", c) != NULL;
}

/* A name behind a point; dots in it are written "\.". */
static int bare_name(struct parser *p, struct str *ret)
{
	char *to = arena_alloc(p->a, p->text.n - p->at + 1);
	size_t n = 0;

	while (!ends_name(peek(p))) {
		if (peek(p) == '\\' && p->at + 1 < p->text.n)
			p->at++;
		to[n++] = p->text.p[p->at++];
	}
	if (n == 0)
		return fail(p, "a field name is missing");
	to[n] = '\0';
	*ret = str_of(to, n);
	return 0;
}

static bool integer(struct parser *p, int64_t *ret)
{
	size_t from = p->at;

	if (peek(p) == '-')
		p->at++;
	while (isdigit(peek(p)))
		p->at++;
	return str_to_i64(str_sub(p->text, from, p->at), ret);
}

/* ---- brackets ---- */

static int path_steps(struct parser *p, bool *ret_root, struct jsonpath__step **ret);

static int operand(struct parser *p, struct jsonpath__operand *ret)
{
	size_t from = p->at;
	struct str s;
	double d;

	memset(ret, 0, sizeof(*ret));
	if (peek(p) == '@' || peek(p) == '$' || peek(p) == '.')
		return path_steps(p, &ret->from_root, &ret->steps);
	if (peek(p) == '"' || peek(p) == '\'') {
		if (quoted(p, &s) < 0)
			return -1;
		ret->value = json_new_str(p->a, s);
		return 0;
	}
	while (peek(p) >= 0 && !strchr(" )=!<>&|", peek(p)))
		p->at++;
	s = str_sub(p->text, from, p->at);
	if (str_eqc(s, "true") || str_eqc(s, "false"))
		ret->value = json_new_bool(p->a, s.p[0] == 't');
	else if (json_parse(p->a, s, NULL, (struct json **)&ret->value, NULL) < 0 ||
		 !json_f64(ret->value, &d))
		return fail(p, "a path, string, number or boolean is expected");
	return 0;
}

static int filter(struct parser *p, struct jsonpath__step **ret)
{
	static const struct {
		const char *text;
		enum jsonpath__op op;
	} ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE}, {"<", OP_LT},
		{">", OP_GT}};
	struct jsonpath__step *s = step_new(p, STEP_FILTER);

	if (++p->depth > JSONPATH__MAX_DEPTH)
		return fail(p, "filters are nested too deep");
	spaces(p);
	if (operand(p, &s->left) < 0)
		return -1;
	spaces(p);
	for (size_t i = 0; i < ARRAY_LEN(ops) && s->op == OP_EXISTS; i++)
		if (eat(p, ops[i].text))
			s->op = ops[i].op;
	if (s->op != OP_EXISTS) {
		spaces(p);
		if (operand(p, &s->right) < 0)
			return -1;
	}
	spaces(p);
	if (!eat(p, ")]"))
		return fail(p, "unterminated filter");
	p->depth--;
	*ret = s;
	return 0;
}

/* [1:3:2], each part may be missing. Stands behind the first number, if any. */
static int slice(struct parser *p, bool has_from, int64_t from, struct jsonpath__step **ret)
{
	struct jsonpath__step *s = step_new(p, STEP_SLICE);

	s->has_from = has_from;
	s->from = from;
	s->by = 1;
	p->at++;
	if (peek(p) != ':' && peek(p) != ']') {
		if (!integer(p, &s->to))
			return fail(p, "invalid array index");
		s->has_to = true;
	}
	if (eat(p, ":") && peek(p) != ']' && (!integer(p, &s->by) || s->by <= 0))
		return fail(p, "step must be > 0");
	if (!eat(p, "]"))
		return fail(p, "unterminated array");
	*ret = s;
	return 0;
}

/* Stands behind '['. */
static int bracket(struct parser *p, struct jsonpath__step **ret)
{
	struct jsonpath__step *s = NULL;
	struct str name = STR_NULL;
	int64_t i;

	if (eat(p, "?("))
		return filter(p, ret);
	spaces(p);
	if (eat(p, "*]")) {
		*ret = step_new(p, STEP_WILDCARD);
		return 0;
	}
	if (peek(p) == ':')
		return slice(p, false, 0, ret);
	do {
		spaces(p);
		if (peek(p) == '\'' || peek(p) == '"') {
			if (quoted(p, &name) < 0)
				return -1;
			s = s ? s : step_new(p, STEP_FIELDS);
			if (s->type != STEP_FIELDS)
				return fail(p, "names and numbers do not mix");
			add_name(p, s, name);
		} else {
			if (!integer(p, &i))
				return fail(p, "invalid array index");
			if (s == NULL && peek(p) == ':')
				return slice(p, true, i, ret);
			s = s ? s : step_new(p, STEP_INDEXES);
			if (s->type != STEP_INDEXES)
				return fail(p, "names and numbers do not mix");
			add_index(p, s, i);
		}
		spaces(p);
	} while (eat(p, ","));
	if (!eat(p, "]"))
		return fail(p, "unterminated array");
	*ret = s;
	return 0;
}

/* ---- paths ---- */

static int one_step(struct parser *p, struct jsonpath__step **ret)
{
	struct str name = STR_NULL;

	if (eat(p, "["))
		return bracket(p, ret);
	if (eat(p, "..")) {
		*ret = step_new(p, STEP_RECURSIVE);
		/* "..name": the name follows without a point of its own. */
		if (!ends_name(peek(p)))
			p->at--;
		return 0;
	}
	eat(p, ".");
	if (eat(p, "*")) {
		*ret = step_new(p, STEP_WILDCARD);
		return 0;
	}
	if (bare_name(p, &name) < 0)
		return -1;
	*ret = step_new(p, STEP_FIELDS);
	add_name(p, *ret, name);
	return 0;
}

/* Everything up to what cannot belong to a path. A point alone is the value itself. */
static int path_steps(struct parser *p, bool *ret_root, struct jsonpath__step **ret)
{
	struct jsonpath__step *first = NULL, **tail = &first;

	*ret_root = peek(p) == '$';
	if (peek(p) == '$' || peek(p) == '@')
		p->at++;
	while (peek(p) == '.' || peek(p) == '[') {
		if (peek(p) == '.' &&
			(p->at + 1 == p->text.n ||
				(ends_name(p->text.p[p->at + 1]) && p->text.p[p->at + 1] != '.' &&
					p->text.p[p->at + 1] != '['))) {
			p->at++;
			break;
		}
		/* ".[0]" is "[0]". */
		if (str_has_prefix(str_skip(p->text, p->at), STR(".[")))
			p->at++;
		if (one_step(p, tail) < 0)
			return -1;
		tail = &(*tail)->next;
	}
	*ret = first;
	return 0;
}

/* ---- the template ---- */

struct level {
	struct jsonpath__node **tail;
};

static struct jsonpath__node *node_add(
	struct parser *p, struct level *l, enum jsonpath__node_type type)
{
	struct jsonpath__node *n = arena_new_of(p->a, struct jsonpath__node);

	n->type = type;
	*l->tail = n;
	l->tail = &n->next;
	return n;
}

/* One thing inside of braces; levels[*n] is the innermost list. */
static int action(struct parser *p, struct level *levels, unsigned *n)
{
	struct jsonpath__node *node;

	if (peek(p) == '"' || peek(p) == '\'')
		return quoted(p, &node_add(p, &levels[*n], NODE_TEXT)->text);
	if (eat(p, "end")) {
		if (*n == 0)
			return fail(p, "not in range, nothing to end");
		(*n)--;
		return 0;
	}
	if (eat(p, "range ")) {
		if (*n + 1 == JSONPATH__MAX_DEPTH)
			return fail(p, "ranges are nested too deep");
		spaces(p);
		node = node_add(p, &levels[*n], NODE_RANGE);
		levels[++*n].tail = &node->body;
		return path_steps(p, &node->from_root, &node->steps);
	}
	if (peek(p) != '.' && peek(p) != '[' && peek(p) != '$' && peek(p) != '@')
		return fail(p, "unrecognized character in action");
	node = node_add(p, &levels[*n], NODE_PATH);
	return path_steps(p, &node->from_root, &node->steps);
}

static int braces(struct parser *p, struct level *levels, unsigned *n)
{
	for (;;) {
		spaces(p);
		if (eat(p, "}"))
			return 0;
		if (peek(p) < 0)
			return fail(p, "unclosed action");
		if (action(p, levels, n) < 0)
			return -1;
	}
}

int jsonpath_parse(struct arena *a, struct str text, struct jsonpath **ret, struct err *e)
{
	struct err own = ERR_INIT;
	struct parser p = {.a = a, .text = text, .e = e ? e : &own};
	struct level levels[JSONPATH__MAX_DEPTH];
	struct jsonpath *jp = arena_new_of(a, struct jsonpath);
	unsigned n = 0;

	if (text.n > JSONPATH__MAX_TEXT)
		return err_set(e, ERR_TOO_LARGE, "jsonpath of %zu bytes is over the limit of %u",
			text.n, JSONPATH__MAX_TEXT);
	levels[0].tail = &jp->nodes;
	while (p.at < text.n) {
		size_t from = p.at;

		while (p.at < text.n && text.p[p.at] != '{')
			p.at++;
		if (p.at > from)
			node_add(&p, &levels[n], NODE_TEXT)->text =
				arena_str(a, str_sub(text, from, p.at));
		if (eat(&p, "{") && braces(&p, levels, &n) < 0)
			return -(int)p.e->code;
	}
	if (n > 0) {
		fail(&p, "unclosed range");
		return -(int)p.e->code;
	}
	*ret = jp;
	return 0;
}
