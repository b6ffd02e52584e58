#include "proto/typed.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/fieldset.h"
#include "proto/typed-priv.h"

/* --- Shapes ---------------------------------------------------------------------------------------------------------- */

static bool is_struct(const struct schema_type *t)
{
	return t && (t->json == SCHEMA_PLAIN || t->json == SCHEMA_CUSTOM) && !t->atomic;
}

enum typed__kind typed__kind(struct typed__shape s)
{
	const struct schema_field *f = s.field;

	if (f && !s.element) {
		if (schema_is(f, SCHEMA_REPEATED)) {
			/* Keys of atomic structs (ownerReferences by uid) count all the same. */
			if (schema_is(f, SCHEMA_LIST_MAP) && f->more->n_map_keys > 0)
				return TYPED__KEYED;
			return schema_is(f, SCHEMA_LIST_SET) ? TYPED__SET : TYPED__LEAF;
		}
		if (schema_is(f, SCHEMA_STRUCT_ATOMIC))
			return TYPED__LEAF;
		if (schema_is(f, SCHEMA_MAP))
			return TYPED__MAP;
	}
	if (s.type && s.type->json == SCHEMA_ANY)
		return TYPED__MAP;
	return is_struct(s.type) ? TYPED__STRUCT : TYPED__LEAF;
}

bool typed__member(struct typed__shape s, struct str key, struct typed__shape *ret)
{
	if (s.type && s.type->json == SCHEMA_ANY && (!s.field || s.element || !schema_is(s.field, SCHEMA_MAP))) {
		*ret = (struct typed__shape){s.type, NULL, false};
		return true;
	}
	if (typed__kind(s) == TYPED__MAP) {
		*ret = (struct typed__shape){s.type, s.field, true};
		return true;
	}
	ret->field = schema_field_find(s.type, key);
	if (!ret->field)
		ret->field = s.type->other;
	ret->type = ret->field ? ret->field->type : NULL;
	ret->element = false;
	return ret->field != NULL;
}

struct typed__shape typed__element(struct typed__shape list)
{
	return (struct typed__shape){list.type, list.field, true};
}

/* --- Steps ----------------------------------------------------------------------------------------------------------- */

struct str typed__step(struct arena *a, struct str key)
{
	char *p = arena_alloc(a, key.n + 3);

	memcpy(p, "f:", 2);
	memcpy(p + 2, key.p, key.n);
	p[key.n + 2] = '\0';
	return str_of(p, key.n + 2);
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool add_key(struct buf *out, struct typed__shape list, const struct json *element, const char *name)
{
	const struct json *v = json_getc(element, name);
	const struct schema_field *f = list.type ? schema_field_find(list.type, str_from(name)) : NULL;

	buf_addc(out, out->n > 3 ? ",\"" : "\"");
	buf_addc(out, name);
	buf_addc(out, "\":");
	if (!json_is_null(v)) {
		json_print(out, v, JSON_COMPACT | JSON_SORTED | JSON_RAW_HTML);
		return true;
	}
	if (!f || !f->more->default_json)
		return false;
	buf_addc(out, f->more->default_json);
	return true;
}

struct str typed__element_step(struct arena *a, struct typed__shape list, const struct json *element)
{
	const struct schema_more *more = list.field->more;
	const char *names[8];
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	size_t n = MIN(more->n_map_keys, ARRAY_LEN(names)), found = 0;

	if (typed__kind(list) == TYPED__SET) {
		buf_addc(&text, "v:");
		json_print(&text, element, JSON_COMPACT | JSON_SORTED | JSON_RAW_HTML);
		return arena_str(a, buf_str(&text));
	}
	for (size_t i = 0; i < n; i++)
		names[i] = more->map_keys[i];
	if (n > 1)
		qsort(names, n, sizeof(*names), name_cmp);
	buf_addc(&text, "k:{");
	/* A key that has no default and is missing does not name an element, as long as another does. */
	for (size_t i = 0; i < n; i++) {
		size_t at = text.n;

		if (add_key(&text, list, element, names[i]))
			found++;
		else
			text.n = at;
	}
	buf_addc(&text, "}");
	return found > 0 ? arena_str(a, buf_str(&text)) : STR_NULL;
}

static int item_cmp(const void *a, const void *b)
{
	const struct typed__item *x = a, *y = b;
	int c = fieldset_step_cmp(x->step, y->step);

	return c ? c : (x->at > y->at) - (x->at < y->at);
}

size_t typed__items(struct arena *a, struct typed__shape list, const struct json *array, struct typed__item **ret)
{
	struct typed__item *items = arena_alloc(a, sizeof(*items) * (json_len(array) + 1));
	size_t n = 0, at = 0;
	bool sorted = true;

	JSON_ITEMS (it, array) {
		struct str step = typed__element_step(a, list, it);

		if (step.p) {
			items[n] = (struct typed__item){step, it, at};
			sorted = sorted && (n == 0 || item_cmp(&items[n - 1], &items[n]) < 0);
			n++;
		}
		at++;
	}
	if (!sorted)
		qsort(items, n, sizeof(*items), item_cmp);
	*ret = items;
	return n;
}

size_t typed__run(const struct typed__item *items, size_t i, size_t n)
{
	size_t end = i;

	while (end < n && str_eq(items[end].step, items[i].step))
		end++;
	return end - i;
}

/* --- Comparing ------------------------------------------------------------------------------------------------------- */

struct compare {
	struct arena *a;
	struct json *leaf; /* shared by all sets */
};

/* The three sets of one node; children are collected until all are known. */
enum { ADDED, MODIFIED, REMOVED, N_SETS };
struct node {
	struct json *set[N_SETS];
};
struct children {
	struct fieldset_child *v[N_SETS];
	size_t n[N_SETS], cap;
};

static struct node compare(struct compare *c, struct typed__shape, const struct json *l, const struct json *r);

static void add_child(struct compare *c, struct children *ch, struct str step, struct node n)
{
	for (int i = 0; i < N_SETS; i++) {
		if (!n.set[i])
			continue;
		if (!ch->v[i])
			ch->v[i] = arena_alloc(c->a, sizeof(struct fieldset_child) * ch->cap);
		ch->v[i][ch->n[i]++] = (struct fieldset_child){step, n.set[i]};
	}
}

static struct node compare_leaf(struct compare *c, const struct json *l, const struct json *r)
{
	struct node n = {{NULL}};

	if (!l)
		n.set[ADDED] = c->leaf;
	else if (!r)
		n.set[REMOVED] = c->leaf;
	else if (!json_equal(l, r))
		n.set[MODIFIED] = c->leaf;
	return n;
}

static struct node gather(struct compare *c, struct children *ch, const struct json *l, const struct json *r)
{
	struct node n;

	for (int i = 0; i < N_SETS; i++) {
		fieldset_sort(ch->v[i], ch->n[i]);
		n.set[i] = fieldset_node(c->a, (i == ADDED && !l) || (i == REMOVED && !r), ch->v[i], ch->n[i]);
	}
	return n;
}

static bool has_any(struct node n)
{
	return n.set[ADDED] || n.set[MODIFIED] || n.set[REMOVED];
}

static void compare_member(struct compare *c, struct typed__shape s, struct children *ch, struct str key, const struct json *l,
		const struct json *r)
{
	struct typed__shape inner;
	struct node n;

	if (!typed__member(s, key, &inner))
		return;
	n = compare(c, inner, l, r);
	if (has_any(n))
		add_child(c, ch, typed__step(c->a, key), n);
}

static struct node compare_object(struct compare *c, struct typed__shape s, const struct json *l, const struct json *r)
{
	struct children ch = {.cap = json_len(l) + json_len(r)};

	JSON_MEMBERS (m, r)
		compare_member(c, s, &ch, m->key, json_get(l, m->key), m->value);
	JSON_MEMBERS (m, l)
		if (!json_get(r, m->key))
			compare_member(c, s, &ch, m->key, m->value, NULL);
	return gather(c, &ch, l, r);
}

/* Elements of one step, more than one on a side: as one value. */
static struct node compare_runs(struct compare *c, const struct typed__item *l, size_t nl, const struct typed__item *r, size_t nr)
{
	struct node n = {{NULL}};
	bool same = nl == nr;

	for (size_t i = 0; same && i < nl; i++)
		same = json_equal(l[i].value, r[i].value);
	if (!same)
		n.set[nl == 0 ? ADDED : nr == 0 ? REMOVED : MODIFIED] = c->leaf;
	return n;
}

static struct node compare_list(struct compare *c, struct typed__shape s, const struct json *l, const struct json *r)
{
	struct typed__item *li, *ri;
	size_t nl = typed__items(c->a, s, l, &li), nr = typed__items(c->a, s, r, &ri);
	struct children ch = {.cap = nl + nr};

	for (size_t i = 0, k = 0; i < nl || k < nr;) {
		int cmp = i == nl ? 1 : k == nr ? -1 : fieldset_step_cmp(li[i].step, ri[k].step);
		size_t run_l = cmp <= 0 ? typed__run(li, i, nl) : 0, run_r = cmp >= 0 ? typed__run(ri, k, nr) : 0;
		struct node n = run_l <= 1 && run_r <= 1 ? compare(c, typed__element(s), run_l ? li[i].value : NULL,
									   run_r ? ri[k].value : NULL)
							 : compare_runs(c, li + i, run_l, ri + k, run_r);

		if (has_any(n))
			add_child(c, &ch, cmp <= 0 ? li[i].step : ri[k].step, n);
		i += run_l;
		k += run_r;
	}
	return gather(c, &ch, l, r);
}

/* One of l and r may be NULL: that side has no such value. null is a value. */
static struct node compare(struct compare *c, struct typed__shape s, const struct json *l, const struct json *r)
{
	enum typed__kind kind = typed__kind(s);
	enum json_type want = kind == TYPED__KEYED || kind == TYPED__SET ? JSON_ARRAY : JSON_OBJECT;

	if (l == r)
		return (struct node){{NULL}};
	if (kind == TYPED__LEAF || (json_len(l) == 0 && json_len(r) == 0) || (json_len(l) > 0 && l->type != want) ||
			(json_len(r) > 0 && r->type != want))
		return compare_leaf(c, l, r);
	return want == JSON_ARRAY ? compare_list(c, s, l, r) : compare_object(c, s, l, r);
}

void typed_compare(struct arena *a, const struct schema_type *t, const struct json *from, const struct json *to,
		struct typed_diff *ret)
{
	struct compare c = {a, fieldset_leaf(a)};
	struct node n = compare_object(&c, (struct typed__shape){t, NULL, false}, from, to);

	ret->added = n.set[ADDED];
	ret->modified = n.set[MODIFIED];
	ret->removed = n.set[REMOVED];
}

/* --- The set of an object -------------------------------------------------------------------------------------------- */

static struct json *paths_of(struct compare *c, struct typed__shape s, bool member, const struct json *v);

static struct json *paths_of_object(struct compare *c, struct typed__shape s, bool member, const struct json *v)
{
	struct fieldset_child *ch = arena_alloc(c->a, sizeof(*ch) * (json_len(v) + 1));
	bool map = typed__kind(s) == TYPED__MAP;
	size_t n = 0;

	JSON_MEMBERS (m, v) {
		struct typed__shape inner;
		bool own = map || m->value->type == JSON_NULL || (m->value->type == JSON_OBJECT && m->value->n == 0);

		if (!typed__member(s, m->key, &inner))
			continue;
		ch[n].node = paths_of(c, inner, own, m->value);
		if (ch[n].node)
			ch[n++].step = typed__step(c->a, m->key);
	}
	fieldset_sort(ch, n);
	return fieldset_node(c->a, member, ch, n);
}

static struct json *paths_of_list(struct compare *c, struct typed__shape s, bool member, const struct json *v)
{
	struct typed__item *items;
	size_t n = typed__items(c->a, s, v, &items), kept = 0;
	struct fieldset_child *ch = arena_alloc(c->a, sizeof(*ch) * (n + 1));

	for (size_t i = 0; i < n;) {
		size_t run = typed__run(items, i, n);

		ch[kept].step = items[i].step;
		ch[kept].node = run > 1 ? c->leaf : paths_of(c, typed__element(s), true, items[i].value);
		kept += ch[kept].node != NULL;
		i += run;
	}
	return fieldset_node(c->a, member, ch, kept);
}

static struct json *paths_of(struct compare *c, struct typed__shape s, bool member, const struct json *v)
{
	enum typed__kind kind = typed__kind(s);
	bool list = kind == TYPED__KEYED || kind == TYPED__SET;

	if (kind == TYPED__LEAF || (json_len(v) > 0 && v->type != (list ? JSON_ARRAY : JSON_OBJECT)) ||
			(s.type && s.type->json == SCHEMA_ANY && v->type != JSON_OBJECT && v->type != JSON_NULL && kind == TYPED__MAP))
		return c->leaf;
	return list ? paths_of_list(c, s, member, v) : paths_of_object(c, s, member, v);
}

struct json *typed_fieldset(struct arena *a, const struct schema_type *t, const struct json *obj)
{
	struct compare c = {a, fieldset_leaf(a)};

	return paths_of_object(&c, (struct typed__shape){t, NULL, false}, false, obj);
}
