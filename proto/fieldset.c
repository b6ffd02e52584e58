#include "proto/fieldset.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/json-priv.h"

/* --- The order of steps ------------------------------------------------------------------------------------------ */

static int rank(struct str step)
{
	static const char order[] = ".fkvi";
	const char *p = step.n > 0 ? strchr(order, step.p[0]) : NULL;

	return p ? (int)(p - order) : 5;
}

/* Kinds of values in upstream's order: numbers, strings, booleans, lists, objects, null. */
static int value_rank(struct str v)
{
	switch (v.n > 0 ? v.p[0] : 'n') {
	case '"':
		return 1;
	case 't':
	case 'f':
		return 2;
	case '[':
		return 3;
	case '{':
		return 4;
	case 'n':
		return 5;
	default:
		return 0;
	}
}

static double number_of(struct str v)
{
	char text[40];
	size_t n = MIN(v.n, sizeof(text) - 1);

	memcpy(text, v.p, n);
	text[n] = '\0';
	return strtod(text, NULL);
}

static int value_cmp(struct str a, struct str b)
{
	int ra = value_rank(a), rb = value_rank(b);

	if (ra != rb)
		return ra < rb ? -1 : 1;
	if (ra == 0) {
		double x = number_of(a), y = number_of(b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	/* Without the closing quote, so that a prefix sorts first. */
	if (ra == 1)
		return str_cmp(str_sub(a, 0, a.n - 1), str_sub(b, 0, b.n - 1));
	return str_cmp(a, b);
}

/* The next token of compact JSON: a string, or what stands up to the next mark at this level. */
static struct str token(struct str *rest)
{
	size_t i = 0, depth = 0;
	bool quoted = false;

	for (; i < rest->n; i++) {
		char c = rest->p[i];

		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (depth-- == 0)
				break;
		} else if ((c == ',' || c == ':') && depth == 0) {
			break;
		}
	}
	i = MIN(i, rest->n);
	struct str t = str_sub(*rest, 0, i);
	*rest = str_skip(*rest, i + 1);
	return t;
}

/* "{"name":"a","port":1}" by name, value, name, value ... */
static int keys_cmp(struct str a, struct str b)
{
	a = str_skip(a, 1);
	b = str_skip(b, 1);
	while (a.n > 0 && b.n > 0) {
		struct str x = token(&a), y = token(&b);
		int c = str_cmp(x, y);

		if (c != 0)
			return c;
		c = value_cmp(token(&a), token(&b));
		if (c != 0)
			return c;
	}
	return (a.n > 0) - (b.n > 0);
}

int fieldset_step_cmp(struct str a, struct str b)
{
	int ra = rank(a), rb = rank(b);

	if (ra != rb)
		return ra < rb ? -1 : 1;
	if (str_eq(a, b))
		return 0;
	a = str_skip(a, 2);
	b = str_skip(b, 2);
	if (ra == 2)
		return keys_cmp(a, b);
	return ra >= 3 ? value_cmp(a, b) : str_cmp(a, b);
}

static int child_cmp(const void *a, const void *b)
{
	return fieldset_step_cmp(((const struct fieldset_child *)a)->step, ((const struct fieldset_child *)b)->step);
}

void fieldset_sort(struct fieldset_child *c, size_t n)
{
	/* Most nodes are small, and nearly in order. */
	if (n > 24) {
		qsort(c, n, sizeof(*c), child_cmp);
		return;
	}
	for (size_t i = 1; i < n; i++) {
		struct fieldset_child x = c[i];
		size_t k = i;

		for (; k > 0 && fieldset_step_cmp(c[k - 1].step, x.step) > 0; k--)
			c[k] = c[k - 1];
		c[k] = x;
	}
}

/* --- Nodes ------------------------------------------------------------------------------------------------------- */

static bool has_dot(const struct json *node)
{
	return node->n > 0 && node->members[0].key.n == 1 && node->members[0].key.p[0] == '.';
}

bool fieldset_is_member(const struct json *node)
{
	return node && (node->n == 0 || has_dot(node));
}

struct json *fieldset_at(const struct json *node, struct str step)
{
	return json_get(node, step);
}

struct json *fieldset_leaf(struct arena *a)
{
	return json_new_object(a);
}

/* Begin a node; the dot is taken out again when no child follows. */
static struct json *begin(struct arena *a, bool member)
{
	struct json *node = json_new_object(a);

	if (member)
		json_add(a, node, STR("."), fieldset_leaf(a));
	return node;
}

static struct json *finish(struct json *node)
{
	if (node->n == 0)
		return NULL;
	if (node->n == 1 && has_dot(node))
		node->n = 0;
	return node;
}

struct json *fieldset_node(struct arena *a, bool member, const struct fieldset_child *c, size_t n)
{
	struct json *node;

	if (n == 0)
		return member ? fieldset_leaf(a) : NULL;
	node = begin(a, member);
	for (size_t i = 0; i < n; i++)
		json_add(a, node, c[i].step, c[i].node);
	return finish(node);
}

/* --- Algebra ------------------------------------------------------------------------------------------------------- */

enum op { UNION, DIFFERENCE, INTERSECTION };

static struct json *combine(struct arena *a, enum op op, struct json *x, struct json *y)
{
	bool mx = fieldset_is_member(x), my = fieldset_is_member(y);
	struct json *out;
	uint32_t i, k;

	if (!x)
		return op == UNION ? y : NULL;
	if (!y)
		return op == INTERSECTION ? NULL : x;
	if (x == y)
		return op == DIFFERENCE ? NULL : x;
	out = begin(a, op == UNION ? mx || my : op == DIFFERENCE ? mx && !my : mx && my);
	for (i = has_dot(x), k = has_dot(y); i < x->n || k < y->n;) {
		int c = i == x->n   ? 1
			: k == y->n ? -1
				    : fieldset_step_cmp(x->members[i].key, y->members[k].key);
		const struct json_member *m = c <= 0 ? &x->members[i] : &y->members[k];
		struct json *child = combine(a, op, c <= 0 ? x->members[i].value : NULL,
				c >= 0 ? y->members[k].value : NULL);

		if (child)
			json_add(a, out, m->key, child);
		i += c <= 0;
		k += c >= 0;
	}
	return finish(out);
}

struct json *fieldset_union(struct arena *a, struct json *x, struct json *y)
{
	return combine(a, UNION, x, y);
}

struct json *fieldset_difference(struct arena *a, struct json *x, struct json *y)
{
	return combine(a, DIFFERENCE, x, y);
}

struct json *fieldset_intersection(struct arena *a, struct json *x, struct json *y)
{
	return combine(a, INTERSECTION, x, y);
}

bool fieldset_equal(const struct json *a, const struct json *b)
{
	return a == b || (a && b && json_equal(a, b));
}

/* --- Reading ------------------------------------------------------------------------------------------------------- */

static int bad(struct err *e, struct str step)
{
	return err_set(e, ERR_BAD_REQUEST, "fieldsV1: \"%.*s\" is not a step of a field path",
			(int)MIN(step.n, (size_t)100), step.p);
}

/* The text of a step as we write it; {NULL, 0} when it is of no kind that we know. */
static int parse_step(struct arena *a, struct str step, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct json *value;
	int64_t index;

	*ret = STR_NULL;
	if (step.n < 2 || step.p[1] != ':')
		return bad(e, step);
	switch (step.p[0]) {
	case 'f':
		*ret = step;
		return 0;
	case 'i':
		if (!str_to_i64(str_skip(step, 2), &index))
			return bad(e, step);
		*ret = arena_sprintf(a, "i:%lld", (long long)index);
		return 0;
	case 'k':
	case 'v':
		if (json_parse(a, str_skip(step, 2), NULL, &value, e) < 0 ||
				(step.p[0] == 'k' && !json_is(value, JSON_OBJECT)))
			return bad(e, step);
		buf_add(&text, step.p, 2);
		json_print(&text, value, JSON_COMPACT | JSON_SORTED | JSON_RAW_HTML);
		*ret = arena_str(a, buf_str(&text));
		return 0;
	default:
		return 0;
	}
}

static int parse_node(struct arena *a, const struct json *in, bool root, struct json **ret, struct err *e)
{
	struct fieldset_child *c = arena_new_array(a, struct fieldset_child, json_len(in) + 1);
	bool member = !root && json_len(in) == 0;
	size_t n = 0, kept = 0;

	if (!json_is(in, JSON_OBJECT))
		return err_set(e, ERR_BAD_REQUEST, "fieldsV1 must be made of objects");
	JSON_MEMBERS (m, in) {
		if (str_eqc(m->key, ".")) {
			member = !root;
			continue;
		}
		if (parse_step(a, m->key, &c[n].step, e) < 0 || parse_node(a, m->value, false, &c[n].node, e) < 0)
			return -ERR_BAD_REQUEST;
		n += c[n].step.p != NULL && c[n].node != NULL;
	}
	fieldset_sort(c, n);
	/* Two texts of one value are one step. */
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && fieldset_step_cmp(c[kept - 1].step, c[i].step) == 0)
			c[kept - 1].node = fieldset_union(a, c[kept - 1].node, c[i].node);
		else
			c[kept++] = c[i];
	}
	*ret = fieldset_node(a, member, c, kept);
	return 0;
}

int fieldset_parse(struct arena *a, const struct json *in, struct json **ret, struct err *e)
{
	return parse_node(a, in, true, ret, e);
}

/* --- Paths --------------------------------------------------------------------------------------------------------- */

struct paths {
	struct arena *a;
	struct str *v;
	size_t n, cap;
};

static void step_text(struct buf *out, struct str step)
{
	struct str rest = str_skip(step, 2);
	bool first = true;

	switch (step.p[0]) {
	case 'f':
		buf_printf(out, ".%.*s", STR_FMT(rest));
		return;
	case 'v':
		buf_printf(out, "[=%.*s]", STR_FMT(rest));
		return;
	case 'i':
		buf_printf(out, "[%.*s]", STR_FMT(rest));
		return;
	}
	rest = str_skip(rest, 1);
	buf_addc(out, "[");
	while (rest.n > 0) {
		struct str name = token(&rest), value = token(&rest);

		buf_printf(out, "%s%.*s=%.*s", first ? "" : ",", STR_FMT(str_sub(name, 1, name.n ? name.n - 1 : 0)),
				STR_FMT(value));
		first = false;
	}
	buf_addc(out, "]");
}

static void add_path(struct paths *p, struct str text)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;

		p->v = arena_grow(p->a, p->v, p->cap * sizeof(*p->v), cap * sizeof(*p->v));
		p->cap = cap;
	}
	p->v[p->n++] = arena_str(p->a, text);
}

static void walk(struct paths *p, const struct json *node, struct buf *path)
{
	size_t at = path->n;

	for (int pass = 0; pass < 2; pass++) {
		JSON_MEMBERS (m, node) {
			if (m->key.p[0] == '.' || (pass == 0 ? !fieldset_is_member(m->value) : m->value->n == 0))
				continue;
			step_text(path, m->key);
			if (pass == 0)
				add_path(p, buf_str(path));
			else
				walk(p, m->value, path);
			path->n = at;
		}
	}
}

size_t fieldset_paths(struct arena *a, const struct json *set, struct str **ret)
{
	_cleanup_(buf_fini) struct buf path = BUF_INIT;
	struct paths p = {.a = a};

	walk(&p, set, &path);
	*ret = p.v;
	return p.n;
}
