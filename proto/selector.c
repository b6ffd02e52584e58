#include "proto/selector.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/meta.pb-c.h"

/* ---- the syntax of labels ---- */

#define NAME_MSG                                                                                   \
	"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "  \
	"end with an "                                                                             \
	"alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "     \
	"validation is "                                                                           \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define PREFIX_MSG                                                                                 \
	"prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "      \
	"characters, '-' or '.', "                                                                 \
	"and must start and end with an alphanumeric character (e.g. 'example.com', regex used "   \
	"for validation is "                                                                       \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define SLASH_MSG                                                                                  \
	"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must "     \
	"start and end with an "                                                                   \
	"alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "     \
	"validation is "                                                                           \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and "   \
	"'/' (e.g. "                                                                               \
	"'example.com/MyName')"
#define VALUE_MSG                                                                                  \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "   \
	"or '.', and must "                                                                        \
	"start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "       \
	"'12345', regex used for "                                                                 \
	"validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static bool is_name(struct str s)
{
	if (s.n == 0 || !isalnum((unsigned char)s.p[0]) || !isalnum((unsigned char)s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && (s.p[i] == '\0' || !strchr("-_.", s.p[i])))
			return false;
	return true;
}

static bool is_subdomain(struct str s)
{
	char before = '.';

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!alnum && c != '-' && c != '.')
			return false;
		if ((c == '.' && (before == '.' || before == '-')) || (c == '-' && before == '.'))
			return false;
		before = c;
	}
	return s.n > 0 && before != '.' && before != '-';
}

const char *label_key_error(struct arena *a, struct str key)
{
	struct str prefix, name = key;

	if (str_cut(key, '/', &prefix, &name)) {
		if (str_find(name, '/') >= 0)
			return SLASH_MSG;
		if (prefix.n == 0)
			return "prefix part must be non-empty";
		if (prefix.n > 253)
			return "prefix part must be no more than 253 bytes";
		if (!is_subdomain(prefix))
			return PREFIX_MSG;
	} else {
		name = key;
	}
	if (name.n == 0)
		return "name part must be non-empty";
	if (name.n > 63)
		return "name part must be no more than 63 bytes";
	return is_name(name) ? NULL : NAME_MSG;
}

const char *label_value_error(struct arena *a, struct str value)
{
	if (value.n > 63)
		return "must be no more than 63 bytes";
	return value.n == 0 || is_name(value) ? NULL : VALUE_MSG;
}

/* ---- building ---- */

struct builder {
	struct arena *a;
	struct selector_req *reqs;
	size_t n, cap;
};

static int by_key(const void *a, const void *b)
{
	return str_cmp(
		((const struct selector_req *)a)->key, ((const struct selector_req *)b)->key);
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void add_req(struct builder *b, struct selector_req req)
{
	if (b->n == b->cap) {
		size_t cap = MAX(b->cap * 2, (size_t)4);

		b->reqs =
			arena_grow(b->a, b->reqs, b->n * sizeof(*b->reqs), cap * sizeof(*b->reqs));
		b->cap = cap;
	}
	req.key = arena_str(b->a, req.key);
	for (size_t i = 0; i < req.n_values; i++)
		req.values[i] = arena_str(b->a, req.values[i]);
	if (req.n_values > 1)
		qsort(req.values, req.n_values, sizeof(*req.values), by_text);
	b->reqs[b->n++] = req;
}

static void add_equal(struct builder *b, struct str key, struct str value)
{
	struct str *values = arena_new_array(b->a, struct str, 1);

	values[0] = value;
	add_req(b, (struct selector_req){.key = key,
			   .op = SELECTOR_IN,
			   .equality = true,
			   .values = values,
			   .n_values = 1});
}

static struct selector finish(struct builder *b)
{
	if (b->n > 1)
		qsort(b->reqs, b->n, sizeof(*b->reqs), by_key);
	return (struct selector){b->reqs, b->n, false};
}

static int check_req(struct arena *a, const struct selector_req *r, struct err *e)
{
	const char *bad = label_key_error(a, r->key);
	int64_t num;

	if (bad)
		return err_set(e, ERR_BAD_REQUEST, "key: Invalid value: \"%.*s\": %s",
			STR_FMT(r->key), bad);
	for (size_t i = 0; i < r->n_values; i++) {
		bad = label_value_error(a, r->values[i]);
		if (bad)
			return err_set(e, ERR_BAD_REQUEST,
				"values[%zu][%.*s]: Invalid value: \"%.*s\": %s", i,
				STR_FMT(r->key), STR_FMT(r->values[i]), bad);
		if ((r->op == SELECTOR_GT || r->op == SELECTOR_LT) &&
			!str_to_i64(r->values[i], &num))
			return err_set(e, ERR_BAD_REQUEST,
				"values[%zu]: Invalid value: \"%.*s\": for 'Gt', 'Lt' operators, "
				"the value must be an integer",
				i, STR_FMT(r->values[i]));
	}
	return 0;
}

/* ---- the text form ---- */

enum token {
	T_END,
	T_WORD,
	T_COMMA,
	T_OPEN,
	T_CLOSE,
	T_NOT,
	T_EQ,
	T_NE,
	T_GT,
	T_LT,
	T_IN,
	T_NOTIN,
};

struct lexer {
	struct str rest;
	enum token token;
	struct str text;
	bool want_value; /* in and notin are plain words here */
};

static bool is_special(char c)
{
	return c != '\0' && strchr("=!(),<>", c) != NULL;
}

static void take(struct lexer *l, enum token t, size_t n)
{
	l->token = t;
	l->text = str_sub(l->rest, 0, n);
	l->rest = str_skip(l->rest, n);
}

static void next(struct lexer *l)
{
	size_t n = 0;
	char c;

	while (l->rest.n > 0 && strchr(" \t\r\n", l->rest.p[0]) && l->rest.p[0] != '\0')
		l->rest = str_skip(l->rest, 1);
	if (l->rest.n == 0) {
		take(l, T_END, 0);
		return;
	}
	c = l->rest.p[0];
	if (str_has_prefix(l->rest, STR("!=")))
		take(l, T_NE, 2);
	else if (str_has_prefix(l->rest, STR("==")))
		take(l, T_EQ, 2);
	else if (is_special(c))
		take(l,
			c == '='   ? T_EQ
			: c == '!' ? T_NOT
			: c == '(' ? T_OPEN
			: c == ')' ? T_CLOSE
			: c == ',' ? T_COMMA
			: c == '<' ? T_LT
				   : T_GT,
			1);
	else {
		while (n < l->rest.n && !is_special(l->rest.p[n]) &&
			(l->rest.p[n] == '\0' || !strchr(" \t\r\n", l->rest.p[n])))
			n++;
		take(l, T_WORD, n);
		if (!l->want_value && str_eqc(l->text, "in"))
			l->token = T_IN;
		else if (!l->want_value && str_eqc(l->text, "notin"))
			l->token = T_NOTIN;
	}
}

static int unexpected(const struct lexer *l, const char *want, struct err *e)
{
	return err_set(e, ERR_BAD_REQUEST, "found '%.*s', expected: %s", STR_FMT(l->text), want);
}

static bool is_word(const struct lexer *l)
{
	return l->token == T_WORD || l->token == T_IN || l->token == T_NOTIN;
}

/* "(a, b)": empty values between commas count. The lexer stands behind "in". */
static int parse_values(struct lexer *l, struct arena *a, struct selector_req *r, struct err *e)
{
	size_t cap = 4;
	bool value_open = true; /* a value may come, or is empty */

	l->want_value = true;
	next(l);
	if (l->token != T_OPEN)
		return unexpected(l, "'('", e);
	r->values = arena_new_array(a, struct str, cap);
	for (;;) {
		next(l);
		if (!is_word(l) && l->token != T_COMMA && l->token != T_CLOSE)
			return unexpected(l, "',', ')' or identifier", e);
		if (is_word(l) && !value_open)
			return unexpected(l, "',' or ')'", e);
		if (is_word(l) || value_open) {
			if (r->n_values == cap) {
				r->values = arena_grow(a, r->values, cap * sizeof(*r->values),
					2 * cap * sizeof(*r->values));
				cap *= 2;
			}
			r->values[r->n_values++] = is_word(l) ? l->text : STR("");
		}
		value_open = l->token == T_COMMA;
		if (l->token == T_CLOSE)
			break;
	}
	l->want_value = false;
	next(l);
	return 0;
}

/* What follows = and so on: a word, or nothing. */
static int parse_value(struct lexer *l, struct arena *a, struct selector_req *r, struct err *e)
{
	r->values = arena_new_array(a, struct str, 1);
	r->n_values = 1;
	r->values[0] = STR("");
	l->want_value = true;
	next(l);
	if (is_word(l)) {
		r->values[0] = l->text;
		l->want_value = false;
		next(l);
	} else if (l->token != T_COMMA && l->token != T_END) {
		return unexpected(l, "identifier", e);
	}
	l->want_value = false;
	return 0;
}

static int parse_req(struct lexer *l, struct arena *a, struct selector_req *r, struct err *e)
{
	bool not = l->token == T_NOT;

	if (not )
		next(l);
	if (!is_word(l))
		return unexpected(l, "identifier", e);
	r->key = l->text;
	next(l);
	if (not || l->token == T_END || l->token == T_COMMA) {
		r->op = not ? SELECTOR_NOT_EXISTS : SELECTOR_EXISTS;
		return 0;
	}
	switch (l->token) {
	case T_IN:
	case T_NOTIN:
		r->op = l->token == T_IN ? SELECTOR_IN : SELECTOR_NOT_IN;
		return parse_values(l, a, r, e);
	case T_EQ:
	case T_NE:
		r->op = l->token == T_EQ ? SELECTOR_IN : SELECTOR_NOT_IN;
		r->equality = true;
		return parse_value(l, a, r, e);
	case T_GT:
	case T_LT:
		r->op = l->token == T_GT ? SELECTOR_GT : SELECTOR_LT;
		return parse_value(l, a, r, e);
	default:
		return unexpected(l, "in, notin, =, ==, !=, gt, lt", e);
	}
}

static int parse_all(struct lexer *l, struct builder *b, struct err *e)
{
	next(l);
	while (l->token != T_END) {
		struct selector_req r = {0};
		int rc = parse_req(l, b->a, &r, e);

		if (rc == 0)
			rc = check_req(b->a, &r, e);
		if (rc < 0)
			return rc;
		add_req(b, r);
		if (l->token == T_END)
			break;
		if (l->token != T_COMMA)
			return unexpected(l, "',' or 'end of string'", e);
		next(l);
		if (l->token == T_END)
			return unexpected(l, "identifier after ','", e);
	}
	return 0;
}

int selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *e)
{
	struct builder b = {.a = a};
	struct lexer l = {.rest = text};
	struct err own = ERR_INIT;
	int rc;

	if (text.n > SELECTOR_MAX_SIZE)
		return err_set(e, ERR_BAD_REQUEST,
			"label selector of %zu bytes is over the limit of %u", text.n,
			SELECTOR_MAX_SIZE);
	rc = parse_all(&l, &b, &own);
	if (rc < 0)
		return err_set(e, ERR_BAD_REQUEST,
			str_has_prefix(str_from(own.text), STR("found"))
				? "unable to parse requirement: %s"
				: "%s",
			own.text);
	*ret = finish(&b);
	return 0;
}

/* ---- objects ---- */

static bool op_of(struct str name, enum selector_op *ret)
{
	static const struct {
		const char *name;
		enum selector_op op;
	} rows[] = {
		{"In", SELECTOR_IN},
		{"NotIn", SELECTOR_NOT_IN},
		{"Exists", SELECTOR_EXISTS},
		{"DoesNotExist", SELECTOR_NOT_EXISTS},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (str_eqc(name, rows[i].name)) {
			*ret = rows[i].op;
			return true;
		}
	}
	return false;
}

/* One of matchExpressions. */
static int add_expression(struct builder *b, struct selector_req r, struct str op, struct err *e)
{
	int rc;

	if (!op_of(op, &r.op))
		return err_set(e, ERR_BAD_REQUEST,
			"\"%.*s\" is not a valid label selector operator", STR_FMT(op));
	if ((r.op == SELECTOR_IN || r.op == SELECTOR_NOT_IN) && r.n_values == 0)
		return err_set(e, ERR_BAD_REQUEST,
			"values: Invalid value: []: for 'in', 'notin' operators, values set can't "
			"be empty");
	if ((r.op == SELECTOR_EXISTS || r.op == SELECTOR_NOT_EXISTS) && r.n_values > 0)
		return err_set(e, ERR_BAD_REQUEST,
			"values: Invalid value: values set must be empty for exists and does not "
			"exist");
	rc = check_req(b->a, &r, e);
	if (rc == 0)
		add_req(b, r);
	return rc;
}

int selector_from_json(struct arena *a, const struct json *sel, struct selector *ret, struct err *e)
{
	struct builder b = {.a = a};

	if (json_is_null(sel)) {
		*ret = SELECTOR_NOTHING;
		return 0;
	}
	JSON_MEMBERS (m, json_getc(sel, "matchLabels"))
		add_equal(&b, m->key, json_str(m->value));
	JSON_ITEMS (it, json_getc(sel, "matchExpressions")) {
		struct json *values = json_getc(it, "values");
		struct selector_req r = {.key = json_str(json_getc(it, "key"))};
		int rc;

		r.values = arena_new_array(a, struct str, json_len(values));
		JSON_ITEMS (v, values)
			r.values[r.n_values++] = json_str(v);
		rc = add_expression(&b, r, json_str(json_getc(it, "operator")), e);
		if (rc < 0)
			return rc;
	}
	*ret = finish(&b);
	return 0;
}

/* Every protobuf-c map from strings to strings has entries like this one. */
typedef Meta__LabelSelector__MatchLabelsEntry map_entry;

int selector_from_pb(struct arena *a, const void *msg, struct selector *ret, struct err *e)
{
	const Meta__LabelSelector *sel = msg;
	struct builder b = {.a = a};

	if (sel == NULL) {
		*ret = SELECTOR_NOTHING;
		return 0;
	}
	for (size_t i = 0; i < sel->n_match_labels; i++)
		add_equal(&b, str_from(sel->match_labels[i]->key),
			str_from(sel->match_labels[i]->value));
	for (size_t i = 0; i < sel->n_match_expressions; i++) {
		const Meta__LabelSelectorRequirement *x = sel->match_expressions[i];
		struct selector_req r = {.key = str_from(x->key)};
		int rc;

		r.values = arena_new_array(a, struct str, x->n_values);
		for (size_t k = 0; k < x->n_values; k++)
			r.values[r.n_values++] = str_from(x->values[k]);
		rc = add_expression(&b, r, str_from(x->operator_), e);
		if (rc < 0)
			return rc;
	}
	*ret = finish(&b);
	return 0;
}

void selector_from_pb_map(struct arena *a, const void *entries, size_t n, struct selector *ret)
{
	map_entry *const *e = entries;
	struct builder b = {.a = a};

	for (size_t i = 0; i < n; i++)
		add_equal(&b, str_from(e[i]->key), str_from(e[i]->value));
	*ret = finish(&b);
	ret->nothing = ret->n_reqs == 0;
}

/* ---- matching ---- */

static bool has_value(const struct selector_req *r, struct str v)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (str_eq(r->values[i], v))
			return true;
	return false;
}

static bool req_matches(const struct selector_req *r, bool found, struct str v)
{
	int64_t have, want;

	switch (r->op) {
	case SELECTOR_IN:
		return found && has_value(r, v);
	case SELECTOR_NOT_IN:
		return !found || !has_value(r, v);
	case SELECTOR_EXISTS:
		return found;
	case SELECTOR_NOT_EXISTS:
		return !found;
	case SELECTOR_GT:
	case SELECTOR_LT:
		if (!found || r->n_values != 1 || !str_to_i64(v, &have) ||
			!str_to_i64(r->values[0], &want))
			return false;
		return r->op == SELECTOR_GT ? have > want : have < want;
	}
	UNREACHABLE();
}

bool selector_matches(const struct selector *sel, selector_lookup *get, const void *ctx)
{
	if (sel->nothing)
		return false;
	for (size_t i = 0; i < sel->n_reqs; i++) {
		struct str v = STR_NULL;
		bool found = get(ctx, sel->reqs[i].key, &v);

		if (!req_matches(&sel->reqs[i], found, v))
			return false;
	}
	return true;
}

static bool json_lookup(const void *ctx, struct str key, struct str *ret)
{
	const struct json *v = json_get(ctx, key);

	*ret = json_str(v);
	return v != NULL;
}

bool selector_matches_json(const struct selector *sel, const struct json *labels)
{
	return selector_matches(sel, json_lookup, labels);
}

struct pb_map {
	map_entry *const *entries;
	size_t n;
};

static bool pb_lookup(const void *ctx, struct str key, struct str *ret)
{
	const struct pb_map *m = ctx;

	for (size_t i = 0; i < m->n; i++) {
		if (str_eqc(key, m->entries[i]->key ? m->entries[i]->key : "")) {
			*ret = str_from(m->entries[i]->value);
			return true;
		}
	}
	return false;
}

bool selector_matches_pb(const struct selector *sel, const void *entries, size_t n)
{
	struct pb_map m = {entries, n};

	return selector_matches(sel, pb_lookup, &m);
}

bool selector_requires(const struct selector *sel, struct str key, struct str *ret)
{
	for (size_t i = 0; i < sel->n_reqs; i++) {
		if (sel->reqs[i].op == SELECTOR_IN && sel->reqs[i].n_values == 1 &&
			str_eq(sel->reqs[i].key, key)) {
			*ret = sel->reqs[i].values[0];
			return true;
		}
	}
	return false;
}

/* ---- printing ---- */

static void print_values(struct buf *b, const struct selector_req *r)
{
	buf_add1(b, '(');
	for (size_t i = 0; i < r->n_values; i++) {
		if (i > 0)
			buf_add1(b, ',');
		buf_adds(b, r->values[i]);
	}
	buf_add1(b, ')');
}

void selector_print(struct buf *b, const struct selector *sel)
{
	for (size_t i = 0; i < sel->n_reqs; i++) {
		const struct selector_req *r = &sel->reqs[i];

		if (i > 0)
			buf_add1(b, ',');
		if (r->op == SELECTOR_NOT_EXISTS)
			buf_add1(b, '!');
		buf_adds(b, r->key);
		if (r->op == SELECTOR_EXISTS || r->op == SELECTOR_NOT_EXISTS)
			continue;
		if (r->op == SELECTOR_GT || r->op == SELECTOR_LT)
			buf_add1(b, r->op == SELECTOR_GT ? '>' : '<');
		else if (r->equality)
			buf_addc(b, r->op == SELECTOR_IN ? "=" : "!=");
		else
			buf_addc(b, r->op == SELECTOR_IN ? " in " : " notin ");
		if (r->equality || r->op == SELECTOR_GT || r->op == SELECTOR_LT)
			buf_adds(b, r->values[0]);
		else
			print_values(b, r);
	}
}
