#include <string.h>

#include "base/util.h"
#include "proto/patch-priv.h"
#include "proto/patch.h"

/* ---- what the schema says ---- */

static bool strategy_has(const char *strategies, const char *word)
{
	struct str rest = str_from(strategies), one;
	bool more = strategies != NULL;

	while (more) {
		more = str_cut(rest, ',', &one, &rest);
		if (str_eqc(one, word))
			return true;
	}
	return false;
}

struct patch__field patch__field(struct patch__shape s, struct str key)
{
	struct patch__field f = {0};
	const struct schema_field *sf;

	if (s.map)
		return (struct patch__field){.shape = {s.type, false}};
	sf = s.type ? schema_field_find(s.type, key) : NULL;
	if (sf == NULL)
		return f;
	/* Types with a JSON form of their own are values as a whole. */
	if (sf->kind == SCHEMA_MESSAGE && sf->type && sf->type->json == SCHEMA_PLAIN)
		f.shape = (struct patch__shape){sf->type, schema_is(sf, SCHEMA_MAP)};
	f.merge = schema_is(sf, SCHEMA_REPEATED) && strategy_has(sf->more->patch_strategy, "merge");
	f.replace = strategy_has(sf->more->patch_strategy, "replace");
	f.retain_keys = strategy_has(sf->more->patch_strategy, "retainKeys");
	f.key = sf->more->patch_merge_key && sf->more->patch_merge_key[0]
			? sf->more->patch_merge_key
			: NULL;
	return f;
}

struct str patch__id(struct arena *a, const struct json *element, const char *merge_key)
{
	const struct json *v = merge_key ? json_getc(element, merge_key) : element;

	return v ? json_text(a, v) : STR_NULL;
}

struct json *patch__index(struct arena *a, const struct json *list, const char *merge_key)
{
	struct json *index = json_new_object(a);

	for (size_t i = 0; i < json_len(list); i++) {
		struct str id = patch__id(a, json_at(list, i), merge_key);

		if (id.n > 0 && json_get(index, id) == NULL)
			json_set(a, index, id, json_new_int(a, (int64_t)i));
	}
	return index;
}

static int64_t index_of(const struct json *index, struct str id)
{
	return json_i64_or(json_get(index, id), -1);
}

/* ---- merging ---- */

struct merge {
	struct arena *a;
	struct err *e;
};

static int merge_object(struct merge *m, struct patch__shape shape, const struct json *orig,
	const struct json *patch, struct json **ret);

static bool is_directive(struct str key)
{
	return str_eqc(key, PATCH__DIRECTIVE) || str_eqc(key, PATCH__RETAIN) ||
	       str_has_prefix(key, STR(PATCH__DELETE_PRIMITIVE)) ||
	       str_has_prefix(key, STR(PATCH__ORDER));
}

/* A value that is new in the document: without directives, and without nulls, which would only have
 * deleted. */
static struct json *clean(struct arena *a, const struct json *v)
{
	struct json *j;

	if (json_is(v, JSON_ARRAY)) {
		j = json_new_array(a);
		JSON_ITEMS (it, v)
			if (!json_is(json_getc(it, PATCH__DIRECTIVE), JSON_STRING))
				json_push(a, j, clean(a, it));
		return j;
	}
	if (!json_is(v, JSON_OBJECT))
		return json_copy(a, v);
	j = json_new_object(a);
	JSON_MEMBERS (m, v)
		if (!json_is_null(m->value) && !is_directive(m->key))
			json_set(a, j, m->key, clean(a, m->value));
	return j;
}

/*
 * The order of a merged list: `first` (the patch's elements, in the patch's order) and `rest`
 * (those that only the document has, in its order) are zipped; an element of `rest` goes first only
 * where the document had both that way round.
 */
static struct json *zip(struct arena *a, const struct json *first, const struct json *rest,
	const struct json *server, const char *key)
{
	struct json *out = json_new_array(a);
	size_t i = 0, k = 0;

	while (i < rest->n || k < first->n) {
		if (k == first->n) {
			json_push(a, out, rest->items[i++]);
		} else if (i == rest->n) {
			json_push(a, out, first->items[k++]);
		} else {
			int64_t l = index_of(server, patch__id(a, rest->items[i], key));
			int64_t r = index_of(server, patch__id(a, first->items[k], key));

			json_push(a, out,
				l >= 0 && r >= 0 && l < r ? rest->items[i++] : first->items[k++]);
		}
	}
	return out;
}

static int no_key(struct merge *m, const struct json *element, const char *key)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct json *sorted = json_copy(m->a, element);

	json_sort(m->a, sorted);
	json_print_go(&text, sorted);
	return err_set(m->e, ERR_BAD_REQUEST, "map: %.*s does not contain declared merge key: %s",
		(int)MIN(text.n, (size_t)200), text.p, key);
}

/* Directives among the elements: "replace" drops the document's list, "delete" drops one element of
 * it. */
static int list_directives(struct merge *m, const char *key, const struct json *patch,
	bool *ret_replace, struct json *deleted)
{
	*ret_replace = false;
	JSON_ITEMS (it, patch) {
		struct json *d = json_getc(it, PATCH__DIRECTIVE);

		if (d == NULL)
			continue;
		if (json_eqc(d, "replace")) {
			*ret_replace = true;
		} else if (json_eqc(d, "delete")) {
			struct str id = patch__id(m->a, it, key);

			if (id.n == 0)
				return no_key(m, it, key);
			json_set(m->a, deleted, id, it);
		} else if (!json_eqc(d, "merge")) {
			return err_set(m->e, ERR_BAD_REQUEST, "unknown patch type found: %.*s",
				STR_FMT(json_str(d)));
		}
	}
	return 0;
}

/* Lists of objects by merge key. */
static int merge_keyed(struct merge *m, const struct patch__field *f, const struct json *orig,
	const struct json *patch, struct json **ret)
{
	struct json *first = json_new_array(m->a), *rest = json_new_array(m->a),
		    *deleted = json_new_object(m->a);
	struct json *server = patch__index(m->a, orig, f->key), *touched = json_new_object(m->a);
	bool replace;
	int rc = list_directives(m, f->key, patch, &replace, deleted);

	if (rc < 0)
		return rc;
	if (replace) {
		*ret = clean(m->a, patch);
		return 0;
	}
	JSON_ITEMS (it, patch) {
		struct str id = patch__id(m->a, it, f->key);
		struct json *was, *now;
		int64_t seen;

		if (json_getc(it, PATCH__DIRECTIVE))
			continue;
		if (id.n == 0)
			return no_key(m, it, f->key);
		/* The same key twice in one patch: the second adds to the first. */
		seen = index_of(touched, id);
		was = seen >= 0               ? first->items[seen]
		      : json_get(deleted, id) ? NULL
					      : json_at(orig, (size_t)index_of(server, id));
		rc = merge_object(m, f->shape, was, it, &now);
		if (rc < 0)
			return rc;
		if (seen >= 0) {
			first->items[seen] = now;
			continue;
		}
		json_set(m->a, touched, id, json_new_int(m->a, first->n));
		json_push(m->a, first, now);
	}
	JSON_ITEMS (it, orig) {
		struct str id = patch__id(m->a, it, f->key);

		if (id.n == 0 || (json_get(touched, id) == NULL && json_get(deleted, id) == NULL))
			json_push(m->a, rest, it);
	}
	*ret = zip(m->a, first, rest, server, f->key);
	return 0;
}

/* Lists of scalars: a union. */
static struct json *merge_scalars(
	struct arena *a, const struct json *orig, const struct json *patch)
{
	struct json *first = json_new_array(a), *rest = json_new_array(a);
	struct json *server = patch__index(a, orig, NULL), *named = json_new_object(a);

	JSON_ITEMS (it, patch) {
		struct str id = json_text(a, it);

		if (json_get(named, id) == NULL) {
			json_set(a, named, id, it);
			json_push(a, first, it);
		}
	}
	JSON_ITEMS (it, orig) {
		struct str id = json_text(a, it);

		if (json_get(named, id) == NULL) {
			json_set(a, named, id, it);
			json_push(a, rest, it);
		}
	}
	return zip(a, first, rest, server, NULL);
}

static int merge_list(struct merge *m, const struct patch__field *f, const struct json *orig,
	const struct json *patch, struct json **ret)
{
	bool objects =
		json_is(json_at(patch, 0), JSON_OBJECT) || json_is(json_at(orig, 0), JSON_OBJECT);

	if (!f->merge) {
		*ret = clean(m->a, patch);
		return 0;
	}
	if (objects && f->key)
		return merge_keyed(m, f, orig, patch, ret);
	*ret = merge_scalars(m->a, orig, patch);
	return 0;
}

/* $setElementOrder: the elements that it names in that order, the document's others where they
 * were. */
static struct json *set_order(struct arena *a, const struct json *list, const struct json *order,
	const struct json *orig, const char *key)
{
	struct json *place = patch__index(a, order, key), *server = patch__index(a, orig, key);
	struct json *first = json_new_array(a), *rest = json_new_array(a);
	struct json **slots = arena_new_array(a, struct json *, json_len(order));

	JSON_ITEMS (it, list) {
		int64_t i = index_of(place, patch__id(a, it, key));

		if (i >= 0 && slots[i] == NULL)
			slots[i] = it;
		else
			json_push(a, rest, it);
	}
	for (size_t i = 0; i < json_len(order); i++)
		if (slots[i])
			json_push(a, first, slots[i]);
	return zip(a, first, rest, server, key);
}

static void delete_primitives(
	struct arena *a, struct json *out, struct str key, const struct json *gone)
{
	struct json *list = json_get(out, key), *kept = json_new_array(a),
		    *index = patch__index(a, gone, NULL);

	if (!json_is(list, JSON_ARRAY))
		return;
	JSON_ITEMS (it, list)
		if (index_of(index, json_text(a, it)) < 0)
			json_push(a, kept, it);
	json_set(a, out, key, kept);
}

static int retain_keys(
	struct merge *m, struct json *out, const struct json *orig, const struct json *patch)
{
	struct json *keep = json_getc(patch, PATCH__RETAIN), *index;

	if (keep == NULL)
		return 0;
	if (!json_is(keep, JSON_ARRAY))
		return err_set(
			m->e, ERR_BAD_REQUEST, "invalid patch format of the $retainKeys directive");
	index = patch__index(m->a, keep, NULL);
	JSON_MEMBERS (x, patch) {
		if (is_directive(x->key) || json_is_null(x->value))
			continue;
		if (json_get(index, json_text(m->a, json_new_str(m->a, x->key))) == NULL)
			return err_set(m->e, ERR_BAD_REQUEST,
				"$retainKeys directive is invalid: the patch sets \"%.*s\", which "
				"it does not keep",
				STR_FMT(x->key));
	}
	JSON_MEMBERS (x, orig)
		if (json_get(index, json_text(m->a, json_new_str(m->a, x->key))) == NULL)
			json_del(out, x->key);
	return 0;
}

static int merge_value(struct merge *m, const struct patch__field *f, const struct json *was,
	const struct json *patch, struct json **ret)
{
	if (json_is(patch, JSON_OBJECT) && !f->replace)
		return merge_object(
			m, f->shape, json_is(was, JSON_OBJECT) ? was : NULL, patch, ret);
	if (json_is(patch, JSON_ARRAY) && json_is(was, JSON_ARRAY))
		return merge_list(m, f, was, patch, ret);
	*ret = clean(m->a, patch);
	return 0;
}

/*
 * The patch's elements must stand in the order that $setElementOrder names, and each must be named by it; elements that
 * are deleted are not looked at.
 */
static int order_check(struct merge *m, const struct json *list, const struct json *order, const char *key)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct json *patched, *named;
	size_t at = 0;

	if (json_len(order) == 0 || !json_is(list, JSON_ARRAY))
		return 0;
	JSON_ITEMS (it, list) {
		struct str id = patch__id(m->a, it, key);

		if (json_eqc(json_getc(it, PATCH__DIRECTIVE), "delete"))
			continue;
		while (at < json_len(order) && !str_eq(patch__id(m->a, json_at(order, at), key), id))
			at++;
		if (at++ >= json_len(order))
			goto contradicts;
	}
	return 0;

contradicts:
	patched = json_copy(m->a, list);
	named = json_copy(m->a, order);
	json_sort(m->a, patched);
	json_sort(m->a, named);
	buf_addc(&text, "The order in patch list:\n");
	json_print_go(&text, patched);
	buf_addc(&text, "\n doesn't match $setElementOrder list:\n");
	json_print_go(&text, named);
	buf_addc(&text, "\n");
	return err_set(m->e, ERR_BAD_REQUEST, "%.*s", STR_FMT(buf_str(&text)));
}

/* The directives of lists, after the fields themselves: ordering sees the merged list. */
static int list_orders(struct merge *m, struct patch__shape shape, const struct json *orig,
	const struct json *patch, struct json *out)
{
	JSON_MEMBERS (x, patch) {
		struct str key;
		struct patch__field f;
		struct json *list;

		if (!str_has_prefix(x->key, STR(PATCH__ORDER)))
			continue;
		key = str_skip(x->key, sizeof(PATCH__ORDER) - 1);
		f = patch__field(shape, key);
		list = json_get(out, key);
		if (f.merge && json_is(list, JSON_ARRAY) && json_is(x->value, JSON_ARRAY)) {
			const char *merge_key = json_is(json_at(list, 0), JSON_OBJECT) ? f.key : NULL;
			int rc = order_check(m, json_get(patch, key), x->value, merge_key);

			if (rc < 0)
				return rc;
			json_set(m->a, out, key, set_order(m->a, list, x->value, json_get(orig, key), merge_key));
		}
	}
	return 0;
}

static int merge_object(struct merge *m, struct patch__shape shape, const struct json *orig,
	const struct json *patch, struct json **ret)
{
	struct json *directive = json_getc(patch, PATCH__DIRECTIVE), *out, *v;
	int rc;

	if (json_eqc(directive, "replace")) {
		*ret = clean(m->a, patch);
		return 0;
	}
	if (json_eqc(directive, "delete")) {
		*ret = json_new_object(m->a);
		return 0;
	}
	if (directive && !json_eqc(directive, "merge"))
		return err_set(m->e, ERR_BAD_REQUEST, "unknown patch type found: %.*s",
			STR_FMT(json_str(directive)));
	out = patch__clone(m->a, orig);
	rc = retain_keys(m, out, orig, patch);
	if (rc < 0)
		return rc;
	JSON_MEMBERS (x, patch) {
		struct patch__field f;

		if (str_has_prefix(x->key, STR(PATCH__DELETE_PRIMITIVE)))
			delete_primitives(m->a, out,
				str_skip(x->key, sizeof(PATCH__DELETE_PRIMITIVE) - 1), x->value);
		if (is_directive(x->key))
			continue;
		if (json_is_null(x->value)) {
			json_del(out, x->key);
			continue;
		}
		f = patch__field(shape, x->key);
		rc = merge_value(m, &f, json_get(out, x->key), x->value, &v);
		if (rc < 0)
			return rc;
		json_set(m->a, out, x->key, v);
	}
	rc = list_orders(m, shape, orig, patch, out);
	if (rc < 0)
		return rc;
	*ret = out;
	return 0;
}

int patch_strategic(struct arena *a, const struct schema_type *type, const struct json *doc,
	const struct json *patch, struct json **ret, struct err *e)
{
	struct merge m = {a, e};

	if (!json_is(patch, JSON_OBJECT))
		return err_set(e, ERR_BAD_REQUEST, "a strategic merge patch must be an object");
	return merge_object(&m, (struct patch__shape){type, false}, doc, patch, ret);
}
