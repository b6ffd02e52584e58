/* Putting one object over another, and taking paths out of one. */
#include "proto/typed.h"

#include <stdlib.h>

#include "base/util.h"
#include "proto/fieldset.h"
#include "proto/typed-priv.h"

/* --- Merging ----------------------------------------------------------------------------------------------------------- */

static struct json *merge(struct arena *, struct typed__shape, struct json *l, struct json *r);

static struct json *merge_object(struct arena *a, struct typed__shape s, struct json *l, struct json *r)
{
	struct json *out = json_new_object(a);

	JSON_MEMBERS (m, l) {
		struct typed__shape inner;
		struct json *mine = json_get(r, m->key);

		json_set(a, out, m->key, mine && typed__member(s, m->key, &inner) ? merge(a, inner, m->value, mine)
					  : mine					   ? mine
										   : m->value);
	}
	JSON_MEMBERS (m, r)
		if (!json_get(l, m->key))
			json_set(a, out, m->key, m->value);
	return out;
}

/* Elements of one side, in their order, with the partner of the same step on the other. */
struct entry {
	struct str step;
	struct json *value;
	struct entry *other;
	bool done;
};

static struct entry *entries_of(struct arena *a, struct typed__shape s, const struct json *v)
{
	struct entry *e = arena_new_array(a, struct entry, json_len(v) + 1);
	size_t n = 0;

	JSON_ITEMS (it, v) {
		e[n].step = typed__element_step(a, s, it);
		e[n++].value = it;
	}
	return e;
}

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	int c = str_cmp(x->step, y->step);

	return c ? c : (x > y) - (x < y);
}

static struct entry **sorted(struct arena *a, struct entry *e, size_t n)
{
	struct entry **p = arena_new_array(a, struct entry *, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = &e[i];
	qsort(p, n, sizeof(*p), entry_cmp);
	return p;
}

/* The first element of each step on one side gets the first of the other; duplicates that only live has all see it. */
static void pair(struct arena *a, struct entry *l, size_t nl, struct entry *r, size_t nr)
{
	struct entry **ls = sorted(a, l, nl), **rs = sorted(a, r, nr);

	for (size_t i = 0, k = 0; i < nl && k < nr;) {
		int c = str_cmp(ls[i]->step, rs[k]->step);

		if (c == 0 && ls[i]->step.p) {
			if (!rs[k]->other)
				rs[k]->other = ls[i];
			ls[i]->other = rs[k];
		}
		if (c <= 0)
			i++;
		else
			k++;
	}
}

static struct json *merged(struct arena *a, struct typed__shape s, struct entry *r)
{
	r->done = true;
	return r->other ? merge(a, typed__element(s), r->other->value, r->value) : r->value;
}

/*
 * The order of the result is that of both where they agree: the configuration's elements in its order, and an element that only
 * live has before the next shared one that live has behind it. Where the two orders of shared elements differ, the configuration's counts.
 */
static struct json *merge_list(struct arena *a, struct typed__shape s, const struct json *live, const struct json *config)
{
	size_t nl = json_len(live), nr = json_len(config), i = 0, k = 0, shared = 0;
	struct entry *l = entries_of(a, s, live), *r = entries_of(a, s, config);
	struct json *out = json_new_array(a);

	pair(a, l, nl, r, nr);
	while (i < nl || k < nr) {
		for (shared = MAX(shared, k); shared < nr && !r[shared].other;)
			shared++;
		if (i < nl && !l[i].other) {
			json_push(a, out, l[i++].value);
		} else if (i < nl && l[i].other->done) {
			i++;
		} else if (i < nl && k < nr && l[i].other == &r[k]) {
			json_push(a, out, merged(a, s, &r[k++]));
			i++;
		} else if (i < nl && shared < nr && l[i].other != &r[shared]) {
			i++;
		} else if (k < nr) {
			json_push(a, out, merged(a, s, &r[k++]));
		} else {
			i++;
		}
	}
	return out;
}

static struct json *merge(struct arena *a, struct typed__shape s, struct json *l, struct json *r)
{
	enum typed__kind kind = typed__kind(s);
	enum json_type want = kind == TYPED__KEYED || kind == TYPED__SET ? JSON_ARRAY : JSON_OBJECT;

	if (kind == TYPED__LEAF || l->type != want || (r->type != want && r->type != JSON_NULL))
		return r;
	if (r->type == JSON_NULL)
		return l;
	return want == JSON_ARRAY ? merge_list(a, s, l, r) : merge_object(a, s, l, r);
}

struct json *typed_merge(struct arena *a, const struct schema_type *t, struct json *live, struct json *config)
{
	return merge_object(a, (struct typed__shape){t, NULL, false}, live, config);
}

/* --- Removing ---------------------------------------------------------------------------------------------------------- */

static struct json *take_out(struct arena *, struct typed__shape, struct json *, const struct json *set);

static struct json *out_of_object(struct arena *a, struct typed__shape s, struct json *v, const struct json *set)
{
	struct json *out = json_new_object(a);

	JSON_MEMBERS (m, v) {
		const struct json *node = fieldset_at(set, typed__step(a, m->key));
		struct typed__shape inner;

		if (fieldset_is_member(node))
			continue;
		json_set(a, out, m->key, node && typed__member(s, m->key, &inner) ? take_out(a, inner, m->value, node)
										  : m->value);
	}
	return out;
}

static struct json *out_of_list(struct arena *a, struct typed__shape s, struct json *v, const struct json *set)
{
	struct json *out = json_new_array(a);

	JSON_ITEMS (it, v) {
		struct str step = typed__element_step(a, s, it);
		const struct json *node = step.p ? fieldset_at(set, step) : NULL;

		if (fieldset_is_member(node))
			continue;
		json_push(a, out, node ? take_out(a, typed__element(s), it, node) : it);
	}
	return out;
}

static struct json *take_out(struct arena *a, struct typed__shape s, struct json *v, const struct json *set)
{
	enum typed__kind kind = typed__kind(s);
	struct json *out = v;

	if (kind == TYPED__LEAF)
		return v;
	if (v->type == JSON_ARRAY && (kind == TYPED__KEYED || kind == TYPED__SET))
		out = out_of_list(a, s, v, set);
	else if (v->type == JSON_OBJECT && (kind == TYPED__STRUCT || kind == TYPED__MAP))
		out = out_of_object(a, s, v, set);
	return json_len(out) == 0 ? json_new_null(a) : out;
}

struct json *typed_remove(struct arena *a, const struct schema_type *t, struct json *obj, const struct json *set)
{
	return set ? out_of_object(a, (struct typed__shape){t, NULL, false}, obj, set) : obj;
}

/* --- Members on the way -------------------------------------------------------------------------------------------------- */

static struct json *with_parents(struct arena *a, struct typed__shape s, bool member, struct json *set)
{
	enum typed__kind kind = typed__kind(s);
	struct fieldset_child *c = arena_new_array(a, struct fieldset_child, json_len(set) + 1);
	size_t n = 0;

	if (kind == TYPED__LEAF || json_len(set) == 0)
		return set;
	JSON_MEMBERS (m, set) {
		struct typed__shape inner;
		bool known = m->key.n > 2 && m->key.p[0] == 'f';

		if (m->key.n < 2)
			continue;
		if (kind == TYPED__KEYED || kind == TYPED__SET)
			inner = typed__element(s), known = true;
		else
			known = known && typed__member(s, str_skip(m->key, 2), &inner);
		c[n].step = m->key;
		c[n++].node = known ? with_parents(a, inner, fieldset_is_member(m->value) ||
								     (kind == TYPED__STRUCT && m->key.p[0] == 'f'),
						      m->value)
				    : m->value;
	}
	return fieldset_node(a, member, c, n);
}

struct json *typed_with_parents(struct arena *a, const struct schema_type *t, struct json *set)
{
	return with_parents(a, (struct typed__shape){t, NULL, false}, false, set);
}
