#include "proto/jsonpath.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/jsonpath-priv.h"

struct results {
	struct json **items;
	size_t n, cap;
};

struct run {
	struct arena *a;
	struct json *root;
	bool missing_ok;
	size_t left; /* results that may still be made, of all steps together */
	struct err *e;
};

static int add(struct run *r, struct results *out, struct json *v)
{
	if (r->left-- == 0)
		return err_set(r->e, ERR_TOO_LARGE, "jsonpath has more than %u results",
			JSONPATH_MAX_RESULTS);
	if (out->n == out->cap) {
		size_t cap = MAX(out->cap * 2, (size_t)8);

		out->items = arena_grow(
			r->a, out->items, out->n * sizeof(*out->items), cap * sizeof(*out->items));
		out->cap = cap;
	}
	out->items[out->n++] = v;
	return 0;
}

static int eval(
	struct run *r, const struct jsonpath__step *steps, struct json *at, struct results *out);

/* ---- steps ---- */

static int children(struct run *r, struct json *v, struct results *out)
{
	JSON_ITEMS (it, v)
		if (add(r, out, it) < 0)
			return -1;
	JSON_MEMBERS (m, v)
		if (add(r, out, m->value) < 0)
			return -1;
	return 0;
}

/* The value, if it holds others, and those below it that do. */
static int recursive(struct run *r, struct json *v, struct results *out)
{
	if (json_type(v) < JSON_ARRAY || json_len(v) == 0)
		return 0;
	if (add(r, out, v) < 0)
		return -1;
	JSON_ITEMS (it, v)
		if (recursive(r, it, out) < 0)
			return -1;
	JSON_MEMBERS (m, v)
		if (recursive(r, m->value, out) < 0)
			return -1;
	return 0;
}

static int fields(
	struct run *r, const struct jsonpath__step *s, struct json *v, struct results *out)
{
	for (size_t i = 0; i < s->n; i++) {
		struct json *m = json_get(v, s->names[i]);

		if (m && add(r, out, m) < 0)
			return -1;
	}
	return 0;
}

static int not_array(struct run *r, const struct json *v)
{
	if (json_is_null(v) || r->missing_ok)
		return 0;
	return err_set(r->e, ERR_BAD_REQUEST, "%.*s is not array or slice",
		(int)MIN(json_text(r->a, v).n, (size_t)100), json_text(r->a, v).p);
}

static int indexes(
	struct run *r, const struct jsonpath__step *s, struct json *v, struct results *out)
{
	if (!json_is(v, JSON_ARRAY))
		return not_array(r, v);
	for (size_t i = 0; i < s->n; i++) {
		int64_t at = s->indexes[i] < 0 ? s->indexes[i] + v->n : s->indexes[i];

		if (at < 0 || at >= v->n) {
			if (r->missing_ok)
				continue;
			return err_set(r->e, ERR_BAD_REQUEST,
				"array index out of bounds: index %lld, length %u",
				(long long)s->indexes[i], v->n);
		}
		if (add(r, out, v->items[at]) < 0)
			return -1;
	}
	return 0;
}

static int slice(struct run *r, const struct jsonpath__step *s, struct json *v, struct results *out)
{
	int64_t n, from, to;

	if (!json_is(v, JSON_ARRAY))
		return not_array(r, v);
	n = v->n;
	from = s->has_from ? s->from : 0;
	to = s->has_to ? s->to : n;
	from = MAX(MIN(from < 0 ? from + n : from, n), 0);
	to = MAX(MIN(to < 0 ? to + n : to, n), 0);
	for (int64_t i = from; i < to; i += MIN(s->by, n))
		if (add(r, out, v->items[i]) < 0)
			return -1;
	return 0;
}

/* ---- filters ---- */

/* The first value of an operand, or NULL. */
static int operand(
	struct run *r, const struct jsonpath__operand *o, struct json *at, struct json **ret)
{
	struct results found = {0};
	bool missing_ok = r->missing_ok;
	int rc;

	*ret = (struct json *)o->value;
	if (o->value)
		return 0;
	r->missing_ok = true;
	rc = eval(r, o->steps, o->from_root ? r->root : at, &found);
	r->missing_ok = missing_ok;
	*ret = found.n ? found.items[0] : NULL;
	return rc;
}

/* <0, 0, >0; false when the two have no order. */
static bool compare(const struct json *a, const struct json *b, int *ret)
{
	double x, y;

	if (a == NULL || b == NULL || a->type != b->type)
		return false;
	switch (a->type) {
	case JSON_NUMBER:
		json_f64(a, &x);
		json_f64(b, &y);
		*ret = x < y ? -1 : x > y;
		return true;
	case JSON_STRING:
		*ret = str_cmp(a->s, b->s);
		return true;
	default:
		*ret = !json_equal(a, b);
		return true;
	}
}

static bool holds(enum jsonpath__op op, const struct json *a, const struct json *b)
{
	bool ordered = a && (a->type == JSON_NUMBER || a->type == JSON_STRING);
	int c;

	if (op == OP_EXISTS)
		return a != NULL;
	if (!compare(a, b, &c))
		return op == OP_NE && a != NULL;
	switch (op) {
	case OP_EQ:
		return c == 0;
	case OP_NE:
		return c != 0;
	case OP_LT:
		return ordered && c < 0;
	case OP_LE:
		return ordered && c <= 0;
	case OP_GT:
		return ordered && c > 0;
	case OP_GE:
		return ordered && c >= 0;
	default:
		return false;
	}
}

static int filter(
	struct run *r, const struct jsonpath__step *s, struct json *v, struct results *out)
{
	struct results in = {0};

	if (children(r, v, &in) < 0)
		return -1;
	for (size_t i = 0; i < in.n; i++) {
		struct json *a, *b;

		if (operand(r, &s->left, in.items[i], &a) < 0 ||
			operand(r, &s->right, in.items[i], &b) < 0)
			return -1;
		if (holds(s->op, a, s->op == OP_EXISTS ? NULL : b) && add(r, out, in.items[i]) < 0)
			return -1;
	}
	return 0;
}

/* ---- paths ---- */

static int step(struct run *r, const struct jsonpath__step *s, struct json *v, struct results *out)
{
	switch (s->type) {
	case STEP_FIELDS:
		return fields(r, s, v, out);
	case STEP_INDEXES:
		return indexes(r, s, v, out);
	case STEP_SLICE:
		return slice(r, s, v, out);
	case STEP_WILDCARD:
		return children(r, v, out);
	case STEP_RECURSIVE:
		return recursive(r, v, out);
	case STEP_FILTER:
		return filter(r, s, v, out);
	}
	UNREACHABLE();
}

static int eval(
	struct run *r, const struct jsonpath__step *steps, struct json *at, struct results *out)
{
	struct results in = {0};

	if (at == NULL)
		return 0;
	if (add(r, &in, at) < 0)
		return -1;
	for (const struct jsonpath__step *s = steps; s; s = s->next) {
		struct results next = {0};

		for (size_t i = 0; i < in.n; i++)
			if (step(r, s, in.items[i], &next) < 0)
				return -1;
		if (next.n == 0 && in.n > 0 && s->type == STEP_FIELDS && !r->missing_ok)
			return err_set(
				r->e, ERR_BAD_REQUEST, "%.*s is not found", STR_FMT(s->names[0]));
		in = next;
	}
	*out = in;
	return 0;
}

/* ---- printing ---- */

static void print_value(struct buf *b, const struct json *v)
{
	if (json_is(v, JSON_STRING))
		buf_adds(b, v->s);
	else
		json_print(b, v, JSON_SORTED);
}

static int print_nodes(
	struct run *r, const struct jsonpath__node *nodes, struct json *at, struct buf *b)
{
	for (const struct jsonpath__node *n = nodes; n; n = n->next) {
		struct results found = {0};

		if (n->type == NODE_TEXT) {
			buf_adds(b, n->text);
			continue;
		}
		if (eval(r, n->steps, n->from_root ? r->root : at, &found) < 0)
			return -1;
		for (size_t i = 0; i < found.n; i++) {
			if (n->type == NODE_RANGE) {
				if (print_nodes(r, n->body, found.items[i], b) < 0)
					return -1;
				continue;
			}
			if (i > 0)
				buf_add1(b, ' ');
			print_value(b, found.items[i]);
		}
	}
	return 0;
}

int jsonpath_print(const struct jsonpath *jp, const struct json *root, bool missing_ok,
	struct buf *b, struct err *e)
{
	struct err own = ERR_INIT;
	struct arena a;
	struct run r = {&a, (struct json *)root, missing_ok, JSONPATH_MAX_RESULTS, e ? e : &own};
	int rc;

	arena_init(&a);
	rc = print_nodes(&r, jp->nodes, (struct json *)root, b);
	arena_fini(&a);
	return rc < 0 ? -(int)r.e->code : 0;
}

int jsonpath_find(struct arena *a, struct str path, const struct json *root, struct json ***ret,
	size_t *ret_n, struct err *e)
{
	struct err own = ERR_INIT;
	struct run r = {a, (struct json *)root, true, JSONPATH_MAX_RESULTS, e ? e : &own};
	struct results found = {0};
	struct jsonpath *jp;
	int rc;

	path = str_trim(path);
	if (path.n == 0 || path.p[0] != '{')
		path = arena_sprintf(a, "{%s%.*s}",
			path.n > 0 && strchr(".[$@", path.p[0]) ? "" : ".", STR_FMT(path));
	rc = jsonpath_parse(a, path, &jp, e);
	if (rc < 0)
		return rc;
	if (jp->nodes == NULL || jp->nodes->type != NODE_PATH)
		return err_set(e, ERR_BAD_REQUEST, "%.*s is no path", STR_FMT(path));
	if (eval(&r, jp->nodes->steps, (struct json *)root, &found) < 0)
		return -(int)r.e->code;
	*ret = found.items;
	*ret_n = found.n;
	return 0;
}
