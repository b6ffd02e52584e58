#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

#define SIMPLE(variable, kind_, name_, size)                                                                                    \
	const struct cel_type variable = {.kind = kind_, .name = name_, .min_size = size}

SIMPLE(cel_dyn, CEL_DYN, "dyn", 1);
SIMPLE(cel_null, CEL_NULL, "null", 4);
SIMPLE(cel_bool, CEL_BOOL, "bool", 4);
SIMPLE(cel_int, CEL_INT, "int", 1);
SIMPLE(cel_uint, CEL_UINT, "uint", 1);
SIMPLE(cel_double, CEL_DOUBLE, "double", 1);
SIMPLE(cel_string, CEL_STRING, "string", 2);
SIMPLE(cel_bytes, CEL_BYTES, "bytes", 2);
SIMPLE(cel_timestamp, CEL_TIMESTAMP, "timestamp", 22);
SIMPLE(cel_duration, CEL_DURATION, "duration", 4);
const struct cel_type cel_any_type = {.kind = CEL_TYPE, .name = "type"};

#define OPAQUE(name_) {.kind = CEL_OPAQUE, .name = name_}
const struct cel_type cel__opaque_types[OPAQUE_N] = {
	[OPAQUE_QUANTITY] = OPAQUE("kubernetes.Quantity"),
	[OPAQUE_IP] = OPAQUE("net.IP"),
	[OPAQUE_CIDR] = OPAQUE("net.CIDR"),
	[OPAQUE_URL] = OPAQUE("kubernetes.URL"),
	[OPAQUE_FORMAT] = OPAQUE("kubernetes.NamedFormat"),
	[OPAQUE_SEMVER] = OPAQUE("kubernetes.Semver"),
	[OPAQUE_AUTHORIZER] = OPAQUE("kubernetes.authorization.Authorizer"),
	[OPAQUE_PATH_CHECK] = OPAQUE("kubernetes.authorization.PathCheck"),
	[OPAQUE_GROUP_CHECK] = OPAQUE("kubernetes.authorization.GroupCheck"),
	[OPAQUE_RESOURCE_CHECK] = OPAQUE("kubernetes.authorization.ResourceCheck"),
	[OPAQUE_DECISION] = OPAQUE("kubernetes.authorization.Decision"),
};
const struct cel_type cel_authorizer_type = OPAQUE("kubernetes.authorization.Authorizer");
const struct cel_type cel_authorizer_resource_type = OPAQUE("kubernetes.authorization.ResourceCheck");

/* ---- making ---- */

static struct cel_type *new_type(struct arena *a, enum cel_kind kind, const char *name)
{
	struct cel_type *t = arena_new_of(a, struct cel_type);

	t->kind = kind;
	t->name = name;
	t->min_size = 2;
	return t;
}

const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *elem)
{
	struct cel_type *t = new_type(a, CEL_LIST, "list");

	t->elem = elem;
	return t;
}

const struct cel_type *cel_type_map(struct arena *a, const struct cel_type *key, const struct cel_type *value)
{
	struct cel_type *t = new_type(a, CEL_MAP, "map");

	t->key = key;
	t->elem = value;
	return t;
}

const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *elem)
{
	struct cel_type *t = new_type(a, CEL_OPTIONAL, "optional_type");

	t->elem = elem;
	return t;
}

const struct cel_type *cel__type_of(struct arena *a, const struct cel_type *elem)
{
	struct cel_type *t = new_type(a, CEL_TYPE, "type");

	t->elem = elem;
	return t;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct cel_field *)a)->name, ((const struct cel_field *)b)->name);
}

const struct cel_type *cel_type_object(struct arena *a, const char *name, const struct cel_field *fields, size_t n)
{
	struct cel_type *t = new_type(a, CEL_OBJECT, name);
	struct cel_field *copy = arena_memdup(a, fields, n * sizeof(*fields));

	if (n > 0)
		qsort(copy, n, sizeof(*copy), by_name);
	for (size_t i = 0; i < n; i++)
		if (copy[i].json == NULL)
			copy[i].json = copy[i].name;
	t->fields = copy;
	t->n_fields = n;
	return t;
}

const struct cel_field *cel__field(const struct cel_type *t, struct str name)
{
	size_t lo = 0, hi = t->n_fields;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int cmp = str_cmp(name, str_from(t->fields[mid].name));

		if (cmp == 0)
			return &t->fields[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* ---- texts ---- */

static void print(struct buf *out, const struct cel_type *t)
{
	switch (t->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
		buf_addc(out, t->name);
		buf_add1(out, '(');
		print(out, t->elem);
		buf_add1(out, ')');
		break;
	case CEL_MAP:
		buf_addc(out, "map(");
		print(out, t->key);
		buf_addc(out, ", ");
		print(out, t->elem);
		buf_add1(out, ')');
		break;
	case CEL_TYPE:
		buf_addc(out, "type");
		if (t->elem != NULL) {
			buf_add1(out, '(');
			print(out, t->elem);
			buf_add1(out, ')');
		}
		break;
	case CEL_ERROR:
		buf_addc(out, "!error!");
		break;
	default:
		buf_addc(out, t->name);
	}
}

const char *cel_type_text(struct arena *a, const struct cel_type *t)
{
	struct buf out = BUF_INIT;
	const char *s;

	print(&out, t);
	s = arena_cstr(a, buf_str(&out));
	buf_fini(&out);
	return s;
}

/* ---- comparing ---- */

static bool is_dyn(const struct cel_type *t)
{
	return t->kind == CEL_DYN || t->kind == CEL_ERROR;
}

bool cel__scalar(const struct cel_type *t)
{
	switch (t->kind) {
	case CEL_BOOL:
	case CEL_INT:
	case CEL_UINT:
	case CEL_DOUBLE:
	case CEL_DURATION:
	case CEL_TIMESTAMP:
		return true;
	case CEL_OPTIONAL:
		return cel__scalar(t->elem);
	default:
		return false;
	}
}

static bool named(enum cel_kind k)
{
	return k == CEL_OBJECT || k == CEL_OPAQUE;
}

bool cel__same_type(const struct cel_type *x, const struct cel_type *y)
{
	if (x == y)
		return true;
	if (x->kind != y->kind)
		return false;
	if (x->kind == CEL_PARAM)
		return x->max_elements == y->max_elements;
	if (named(x->kind))
		return strcmp(x->name, y->name) == 0;
	if (x->kind == CEL_MAP && !cel__same_type(x->key, y->key))
		return false;
	if (x->elem == NULL || y->elem == NULL)
		return x->elem == y->elem;
	return cel__same_type(x->elem, y->elem);
}

static const struct cel_type *find(const struct cel__mapping *m, const struct cel_type *param)
{
	return param->kind == CEL_PARAM && param->max_elements < m->cap ? m->to[param->max_elements] : NULL;
}

static void set(struct cel__mapping *m, uint32_t id, const struct cel_type *to)
{
	if (id >= m->cap) {
		size_t cap = MAX(m->cap * 2, (size_t)id + 16);

		m->to = arena_grow(m->a, m->to, m->cap * sizeof(*m->to), cap * sizeof(*m->to));
		memset(m->to + m->cap, 0, (cap - m->cap) * sizeof(*m->to));
		m->cap = cap;
	}
	m->to[id] = to;
}

static void add(struct cel__mapping *m, const struct cel_type *param, const struct cel_type *to)
{
	if (m->n_log == m->cap_log) {
		size_t cap = MAX(m->cap_log * 2, (size_t)16);

		m->log = arena_grow(m->a, m->log, m->n_log * sizeof(*m->log), cap * sizeof(*m->log));
		m->cap_log = cap;
	}
	m->log[m->n_log++] = (struct cel__binding){(uint32_t)param->max_elements, find(m, param)};
	set(m, (uint32_t)param->max_elements, to);
}

const struct cel_type *cel__type_param(struct cel__mapping *m)
{
	struct cel_type *t = new_type(m->a, CEL_PARAM, "_var");

	t->max_elements = m->fresh++;
	return t;
}

#define HUGE_TYPE 2000u

static void count_parts(const struct cel__mapping *m, const struct cel_type *t, unsigned *left)
{
	const struct cel_type *to = find(m, t);

	if (*left == 0)
		return;
	--*left;
	if (to != NULL)
		count_parts(m, to, left);
	if (t->kind == CEL_OBJECT)
		return;
	if (t->key != NULL)
		count_parts(m, t->key, left);
	if (t->elem != NULL)
		count_parts(m, t->elem, left);
}

bool cel__type_huge(const struct cel__mapping *m, const struct cel_type *t)
{
	unsigned left = HUGE_TYPE;

	count_parts(m, t, &left);
	return left == 0;
}

/* The occurs check: whether `t` is not part of `within`. */
static bool absent(const struct cel__mapping *m, const struct cel_type *t, const struct cel_type *within)
{
	if (cel__same_type(t, within))
		return false;
	if (within->kind == CEL_PARAM) {
		const struct cel_type *to = find(m, within);

		return to == NULL || absent(m, t, to);
	}
	if (within->kind == CEL_MAP && !absent(m, t, within->key))
		return false;
	return within->elem == NULL || within->kind == CEL_OBJECT || absent(m, t, within->elem);
}

static bool less_specific(const struct cel_type *x, const struct cel_type *y)
{
	if (x->kind == CEL_DYN || x->kind == CEL_PARAM)
		return true;
	if (y->kind == CEL_DYN || y->kind == CEL_PARAM || x->kind != y->kind)
		return false;
	switch (x->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
		return less_specific(x->elem, y->elem);
	case CEL_MAP:
		return less_specific(x->key, y->key) && less_specific(x->elem, y->elem);
	case CEL_TYPE:
		return true;
	default:
		return cel__same_type(x, y);
	}
}

static const struct cel_type *most_general(const struct cel_type *x, const struct cel_type *y)
{
	return less_specific(x, y) ? x : y;
}

static bool assignable(struct cel__mapping *, const struct cel_type *, const struct cel_type *);

/* Whether the parameter may stand for t; *ret_bound: it stood for something already. */
static bool substitutes(struct cel__mapping *m, const struct cel_type *t, const struct cel_type *param, bool *ret_bound)
{
	const struct cel_type *to = find(m, param);

	*ret_bound = true;
	if (t->kind == param->kind && cel__same_type(t, param))
		return true;
	if (to != NULL) {
		if (t->kind == to->kind && cel__same_type(t, to))
			return true;
		if (assignable(m, t, to)) {
			const struct cel_type *general = most_general(t, to);

			if (absent(m, param, general))
				add(m, param, general);
			return true;
		}
		return false;
	}
	*ret_bound = false;
	if (!absent(m, param, t))
		return false;
	add(m, param, t);
	return true;
}

/* Null stands for what has no zero of its own. */
static bool nullable(const struct cel_type *t)
{
	return t->kind == CEL_NULL || t->kind == CEL_OBJECT || t->kind == CEL_OPAQUE || t->kind == CEL_OPTIONAL ||
	       t->kind == CEL_DURATION || t->kind == CEL_TIMESTAMP;
}

static bool assignable(struct cel__mapping *m, const struct cel_type *have, const struct cel_type *want)
{
	bool bound;

	if (want->kind == CEL_PARAM) {
		if (substitutes(m, have, want, &bound))
			return true;
		if (bound)
			return false;
	}
	if (have->kind == CEL_PARAM)
		return substitutes(m, want, have, &bound);
	if (is_dyn(have) || is_dyn(want))
		return true;
	if (have->kind == CEL_NULL)
		return nullable(want);
	if (want->kind == CEL_NULL)
		return nullable(have);
	if (have->kind != want->kind)
		return false;
	switch (have->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
		return assignable(m, have->elem, want->elem);
	case CEL_MAP:
		return assignable(m, have->key, want->key) && assignable(m, have->elem, want->elem);
	case CEL_OBJECT:
	case CEL_OPAQUE:
		return strcmp(have->name, want->name) == 0;
	default:
		return true;
	}
}

bool cel__assignable(struct cel__mapping *m, const struct cel_type *const *have, const struct cel_type *const *want, size_t n)
{
	size_t before = m->n_log;

	for (size_t i = 0; i < n; i++)
		if (!assignable(m, have[i], want[i])) {
			for (; m->n_log > before; m->n_log--)
				set(m, m->log[m->n_log - 1].id, m->log[m->n_log - 1].before);
			return false;
		}
	return true;
}

bool cel_type_accepts(const struct cel_type *want, const struct cel_type *have)
{
	struct arena a;
	struct cel__mapping m = {.a = &a};
	bool ok;

	arena_init(&a);
	ok = assignable(&m, have, want);
	arena_fini(&a);
	return ok;
}

const struct cel_type *cel__join(struct cel__mapping *m, const struct cel_type *x, const struct cel_type *y)
{
	return cel__assignable(m, &x, &y, 1) ? most_general(x, y) : NULL;
}

const struct cel_type *cel__substitute(struct cel__mapping *m, const struct cel_type *t, bool to_dyn)
{
	const struct cel_type *to = find(m, t), *elem, *key;

	if (to != NULL)
		return cel__substitute(m, to, to_dyn);
	switch (t->kind) {
	case CEL_PARAM:
		return to_dyn ? &cel_dyn : t;
	case CEL_LIST:
	case CEL_OPTIONAL:
	case CEL_TYPE:
		if (t->elem == NULL || (elem = cel__substitute(m, t->elem, to_dyn)) == t->elem)
			return t;
		return t->kind == CEL_LIST ? cel_type_list(m->a, elem)
		       : t->kind == CEL_TYPE ? cel__type_of(m->a, elem)
					     : cel_type_optional(m->a, elem);
	case CEL_MAP:
		key = cel__substitute(m, t->key, to_dyn);
		elem = cel__substitute(m, t->elem, to_dyn);
		return key == t->key && elem == t->elem ? t : cel_type_map(m->a, key, elem);
	default:
		return t;
	}
}
