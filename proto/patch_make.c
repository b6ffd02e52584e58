#include <stdlib.h>

#include "base/util.h"
#include "proto/patch-priv.h"
#include "proto/patch.h"

/* What a difference leaves out. */
enum {
	NO_DELETIONS = 1,
	NO_CHANGES = 2, /* neither changes nor additions */
};

struct diff {
	struct arena *a;
	unsigned skip;
};

static struct json *diff_object(struct diff *d, struct patch__shape shape, bool retain,
	const struct json *was, const struct json *now);

static struct json *only_key(struct arena *a, const struct json *element, const char *key)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, key, json_getc(element, key));
	return j;
}

/* Whether the elements that both lists have stand in the same order. */
static bool same_order(struct arena *a, const struct json *was, const struct json *now,
	const struct json *before, const struct json *after, const char *key)
{
	size_t i = 0, k = 0;

	for (;;) {
		while (i < was->n && json_get(after, patch__id(a, was->items[i], key)) == NULL)
			i++;
		while (k < now->n && json_get(before, patch__id(a, now->items[k], key)) == NULL)
			k++;
		if (i == was->n || k == now->n)
			return true;
		if (!str_eq(patch__id(a, was->items[i++], key), patch__id(a, now->items[k++], key)))
			return false;
	}
}

/* Changed and new elements in the new order, then deletions. False when an element has no merge
 * key: replace whole. */
static bool diff_keyed(struct diff *d, const struct patch__field *f, const struct json *was,
	const struct json *now, struct str name, struct json *patch)
{
	struct json *list = json_new_array(d->a), *order = json_new_array(d->a);
	struct json *before = patch__index(d->a, was, f->key),
		    *after = patch__index(d->a, now, f->key);

	if (before->n != json_len(was) || after->n != json_len(now))
		return false;
	JSON_ITEMS (it, now) {
		struct json *old = json_get(before, patch__id(d->a, it, f->key)), *change;

		json_push(d->a, order, only_key(d->a, it, f->key));
		if (old == NULL) {
			if (!(d->skip & NO_CHANGES))
				json_push(d->a, list, it);
			continue;
		}
		change = diff_object(
			d, f->shape, f->retain_keys, json_at(was, (size_t)json_i64_or(old, 0)), it);
		if (change->n > 0) {
			json_setc(d->a, change, f->key, json_getc(it, f->key));
			json_push(d->a, list, change);
		}
	}
	JSON_ITEMS (it, was) {
		struct json *gone;

		if ((d->skip & NO_DELETIONS) || json_get(after, patch__id(d->a, it, f->key)))
			continue;
		gone = only_key(d->a, it, f->key);
		json_setc(d->a, gone, PATCH__DIRECTIVE, json_newc(d->a, "delete"));
		json_push(d->a, list, gone);
	}
	if (list->n > 0 ||
		(!(d->skip & NO_CHANGES) && !same_order(d->a, was, now, before, after, f->key)))
		json_set(d->a, patch, arena_sprintf(d->a, "%s%.*s", PATCH__ORDER, STR_FMT(name)),
			order);
	if (list->n > 0)
		json_set(d->a, patch, name, list);
	return true;
}

static void diff_scalars(struct diff *d, const struct json *was, const struct json *now,
	struct str name, struct json *patch)
{
	struct json *before = patch__index(d->a, was, NULL), *after = patch__index(d->a, now, NULL);
	struct json *added = json_new_array(d->a), *gone = json_new_array(d->a);

	JSON_ITEMS (it, now)
		if (!(d->skip & NO_CHANGES) && json_get(before, json_text(d->a, it)) == NULL)
			json_push(d->a, added, it);
	JSON_ITEMS (it, was)
		if (!(d->skip & NO_DELETIONS) && json_get(after, json_text(d->a, it)) == NULL)
			json_push(d->a, gone, it);
	if (added->n > 0)
		json_set(d->a, patch, name, added);
	if (gone->n > 0)
		json_set(d->a, patch,
			arena_sprintf(d->a, "%s%.*s", PATCH__DELETE_PRIMITIVE, STR_FMT(name)),
			gone);
	if (added->n + gone->n > 0 ||
		(!(d->skip & NO_CHANGES) && !same_order(d->a, was, now, before, after, NULL)))
		json_set(d->a, patch, arena_sprintf(d->a, "%s%.*s", PATCH__ORDER, STR_FMT(name)),
			json_copy(d->a, now));
}

static void diff_value(struct diff *d, struct patch__shape shape, struct str name, struct json *was,
	struct json *now, struct json *patch)
{
	struct patch__field f = patch__field(shape, name);
	struct json *change;

	if (json_equal(was, now))
		return;
	if (json_is(was, JSON_OBJECT) && json_is(now, JSON_OBJECT) && !f.replace) {
		change = diff_object(d, f.shape, f.retain_keys, was, now);
		if (change->n > 0)
			json_set(d->a, patch, name, change);
		return;
	}
	if (json_is(was, JSON_ARRAY) && json_is(now, JSON_ARRAY) && f.merge) {
		struct json *some = was->n > 0 ? was->items[0] : json_at(now, 0);

		if (json_type(some) < JSON_ARRAY) {
			diff_scalars(d, was, now, name, patch);
			return;
		}
		if (f.key && diff_keyed(d, &f, was, now, name, patch))
			return;
		/* Elements that cannot be told apart: the whole list. */
		now = json_copy(d->a, now);
		json_push(d->a, now, json_new_object(d->a));
		json_setc(
			d->a, now->items[now->n - 1], PATCH__DIRECTIVE, json_newc(d->a, "replace"));
	}
	if (!(d->skip & NO_CHANGES))
		json_set(d->a, patch, name, now);
}

static int key_cmp(const void *a, const void *b)
{
	return str_cmp((*(struct json *const *)a)->s, (*(struct json *const *)b)->s);
}

static struct json *diff_object(struct diff *d, struct patch__shape shape, bool retain,
	const struct json *was, const struct json *now)
{
	struct json *patch = json_new_object(d->a), *keys = json_new_array(d->a);
	bool dropped = false;

	JSON_MEMBERS (m, now) {
		struct json *old = json_get(was, m->key);

		if (!json_is_null(m->value))
			json_push(d->a, keys, json_new_str(d->a, m->key));
		if (old == NULL) {
			/* A null where nothing is changes nothing. */
			if (!(d->skip & NO_CHANGES) && !json_is_null(m->value))
				json_set(d->a, patch, m->key, m->value);
			continue;
		}
		diff_value(d, shape, m->key, old, m->value, patch);
	}
	JSON_MEMBERS (m, was) {
		if (json_get(now, m->key))
			continue;
		dropped = true;
		if (!(d->skip & NO_DELETIONS) && !json_is_null(m->value))
			json_set(d->a, patch, m->key, json_new_null(d->a));
	}
	/* Members of a union (volume sources, strategies): what is not named goes. */
	if (retain && keys->n > 0 && (patch->n > 0 || dropped)) {
		qsort(keys->items, keys->n, sizeof(*keys->items), key_cmp);
		json_setc(d->a, patch, PATCH__RETAIN, keys);
	}
	return patch;
}

int patch_make_strategic(struct arena *a, const struct schema_type *type,
	const struct json *original, const struct json *modified, struct json **ret, struct err *e)
{
	struct diff d = {a, 0};

	if (!json_is(original, JSON_OBJECT) || !json_is(modified, JSON_OBJECT))
		return err_set(e, ERR_BAD_REQUEST, "only objects have a patch between them");
	if (type == NULL)
		*ret = patch_make_merge(a, original, modified);
	else
		*ret = json_copy(a, diff_object(&d, (struct patch__shape){type, false}, false,
					    original, modified));
	return 0;
}

/* ---- three ways ---- */

static struct json *combine(struct arena *a, struct patch__shape shape, const struct json *gone,
	const struct json *changed);

/* Elements that `order` names in that order, since a patch that contradicts its own order is refused; then the others. */
static struct json *in_order(struct arena *a, const struct json *list, const struct json *order, const char *key)
{
	struct json *out = json_new_array(a), *at = patch__index(a, list, key), *named = patch__index(a, order, key);

	JSON_ITEMS (it, order) {
		struct json *i = json_get(at, patch__id(a, it, key));

		if (i)
			json_push(a, out, json_at(list, (size_t)json_i64_or(i, 0)));
	}
	JSON_ITEMS (it, list)
		if (json_get(named, patch__id(a, it, key)) == NULL)
			json_push(a, out, it);
	return out;
}

/* Changed elements first, then the deletions. */
static struct json *combine_lists(struct arena *a, const struct patch__field *f,
	const struct json *gone, const struct json *changed)
{
	struct json *out = json_new_array(a), *index = patch__index(a, gone, f->key),
		    *used = json_new_object(a);

	JSON_ITEMS (it, changed) {
		struct str id = patch__id(a, it, f->key);
		struct json *i = json_get(index, id);

		if (i)
			json_set(a, used, id, it);
		json_push(a, out,
			i ? combine(a, f->shape, json_at(gone, (size_t)json_i64_or(i, 0)), it)
			  : it);
	}
	JSON_ITEMS (it, gone)
		if (json_get(used, patch__id(a, it, f->key)) == NULL)
			json_push(a, out, it);
	return out;
}

/* One patch of two: what both say about a field goes together, else the changes win. */
static struct json *combine(struct arena *a, struct patch__shape shape, const struct json *gone,
	const struct json *changed)
{
	struct json *out = patch__clone(a, gone);

	JSON_MEMBERS (m, changed) {
		struct json *other = json_get(out, m->key), *v = m->value;
		struct patch__field f = patch__field(shape, m->key);

		if (json_is(other, JSON_OBJECT) && json_is(v, JSON_OBJECT))
			v = combine(a, f.shape, other, v);
		else if (json_is(other, JSON_ARRAY) && json_is(v, JSON_ARRAY) && f.merge && f.key &&
			 m->key.p[0] != '$')
			v = in_order(a, combine_lists(a, &f, other, v),
				json_get(changed, arena_sprintf(a, "%s%.*s", PATCH__ORDER, STR_FMT(m->key))), f.key);
		json_set(a, out, m->key, v);
	}
	return out;
}

/* Only the deletions (or only the rest) of a merge patch. */
static struct json *merge_part(struct arena *a, const struct json *patch, bool nulls)
{
	struct json *out = json_new_object(a);

	JSON_MEMBERS (m, patch) {
		if (json_is(m->value, JSON_OBJECT)) {
			struct json *part = merge_part(a, m->value, nulls);

			if (part->n > 0 || (!nulls && json_len(m->value) == 0))
				json_set(a, out, m->key, part);
		} else if (json_is_null(m->value) == nulls) {
			json_set(a, out, m->key, m->value);
		}
	}
	return out;
}

int patch_make_three_way(struct arena *a, const struct schema_type *type,
	const struct json *original, const struct json *modified, const struct json *current,
	struct json **ret, struct err *e)
{
	struct patch__shape shape = {type, false};
	struct diff changes = {a, NO_DELETIONS}, deletions = {a, NO_CHANGES};
	struct json *none = json_new_object(a), *changed, *gone;

	if (json_is_null(original))
		original = none;
	if (!json_is(original, JSON_OBJECT) || !json_is(modified, JSON_OBJECT) ||
		!json_is(current, JSON_OBJECT))
		return err_set(e, ERR_BAD_REQUEST, "only objects have a patch between them");
	if (type == NULL) {
		changed = merge_part(a, patch_make_merge(a, current, modified), false);
		gone = merge_part(a, patch_make_merge(a, original, modified), true);
	} else {
		changed = diff_object(&changes, shape, false, current, modified);
		gone = diff_object(&deletions, shape, false, original, modified);
	}
	*ret = json_copy(a, combine(a, shape, gone, changed));
	return 0;
}
