#include "proto/patch.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/patch-priv.h"

/* ---- JSON merge patch ---- */

struct json *patch__clone(struct arena *a, const struct json *obj)
{
	struct json *j = json_new_object(a);

	JSON_MEMBERS (m, obj)
		json_set(a, j, m->key, m->value);
	return j;
}

struct json *patch_merge(struct arena *a, const struct json *doc, const struct json *patch)
{
	struct json *j;

	if (!json_is(patch, JSON_OBJECT))
		return json_copy(a, patch);
	j = patch__clone(a, doc);
	JSON_MEMBERS (m, patch) {
		if (json_is_null(m->value))
			json_del(j, m->key);
		else
			json_set(a, j, m->key, patch_merge(a, json_get(j, m->key), m->value));
	}
	return j;
}

struct json *patch_make_merge(
	struct arena *a, const struct json *original, const struct json *modified)
{
	struct json *patch = json_new_object(a);

	JSON_MEMBERS (m, modified) {
		struct json *was = json_get(original, m->key);

		if (was == NULL ? json_is_null(m->value) : json_equal(was, m->value))
			continue;
		if (json_is(was, JSON_OBJECT) && json_is(m->value, JSON_OBJECT))
			json_set(a, patch, m->key, patch_make_merge(a, was, m->value));
		else
			json_set(a, patch, m->key, json_copy(a, m->value));
	}
	JSON_MEMBERS (m, original)
		if (json_get(modified, m->key) == NULL && !json_is_null(m->value))
			json_set(a, patch, m->key, json_new_null(a));
	return patch;
}

/* ---- JSON patch ---- */

/* What all operations of one patch may add. */
#define GROWTH_MAX ((size_t)64 << 20)

struct run {
	struct arena *a;
	struct json *root;
	struct err *e;
};

/* Where a pointer leads: the container and the last part. */
struct target {
	struct json *parent; /* NULL: the whole document */
	struct str last;
	unsigned depth;
};

static struct str unescape(struct arena *a, struct str s)
{
	char *to = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '~' && i + 1 < s.n && (s.p[i + 1] == '0' || s.p[i + 1] == '1'))
			to[n++] = s.p[++i] == '0' ? '~' : '/';
		else
			to[n++] = s.p[i];
	}
	to[n] = '\0';
	return str_of(to, n);
}

/* An index into an array of n elements, negative ones from the end. */
static bool to_index(struct str s, size_t n, size_t *ret)
{
	int64_t i;

	if (!str_to_i64(s, &i) || (s.n > 1 && s.p[0] == '0'))
		return false;
	if (i < 0)
		i += (int64_t)n;
	if (i < 0 || (uint64_t)i > n)
		return false;
	*ret = (size_t)i;
	return true;
}

static struct json *child(const struct json *parent, struct str key)
{
	size_t i;

	if (json_is(parent, JSON_ARRAY))
		return to_index(key, parent->n, &i) ? json_at(parent, i) : NULL;
	return json_get(parent, key);
}

/* False when a container on the way is missing. */
static bool resolve(struct run *r, struct str path, struct target *ret)
{
	struct json *at = r->root;
	struct str part;
	unsigned depth = 0;

	*ret = (struct target){0};
	if (path.n == 0)
		return true;
	if (path.p[0] != '/')
		return false;
	path = str_skip(path, 1);
	for (;;) {
		bool more = str_cut(path, '/', &part, &path);

		part = unescape(r->a, part);
		depth++;
		if (!more)
			break;
		at = child(at, part);
		if (at == NULL)
			return false;
	}
	if (json_type(at) < JSON_ARRAY)
		return false;
	*ret = (struct target){at, part, depth};
	return true;
}

static struct json *lookup(struct run *r, struct str path)
{
	struct target t;

	if (!resolve(r, path, &t))
		return NULL;
	return t.parent ? child(t.parent, t.last) : r->root;
}

static int missing(struct run *r, const char *op, struct str path)
{
	return err_set(r->e, ERR_INVALID,
		"%s operation does not apply: doc is missing path: \"%.*s\": missing value", op,
		STR_FMT(path));
}

/* An element that is not there, or a key that no element has. */
static int no_index(struct run *r, const char *op, struct str path, struct str key)
{
	bool takes = strcmp(op, "remove") == 0 || (strcmp(op, "move") == 0 && str_eq(path, key));
	const char *adds = takes ? "" : arena_printf(r->a, ": value was not a proper array index: '%.*s'", STR_FMT(key));
	int64_t i;
	const char *during = strcmp(op, "copy") == 0 ? "error while adding value during copy" :
			     arena_printf(r->a, "error in %s for path: '%.*s'", op, STR_FMT(path));

	if (!str_to_i64(key, &i))
		return err_set(r->e, ERR_INVALID, "%s%s: strconv.Atoi: parsing \"%.*s\": invalid syntax", during, adds, STR_FMT(key));
	return err_set(r->e, ERR_INVALID, "%s: Unable to access invalid index: %.*s: invalid index referenced", during, STR_FMT(key));
}

static int add(struct run *r, const char *op, struct str path, struct json *value)
{
	bool moves = strcmp(op, "add") != 0 && strcmp(op, "replace") != 0;
	struct target t;
	size_t i;

	if (!resolve(r, path, &t) && moves)
		return err_set(r->e, ERR_INVALID, "%s operation does not apply: doc is missing destination path: %.*s: missing value", op,
			STR_FMT(path));
	if (!resolve(r, path, &t))
		return missing(r, op, path);
	if (t.depth + json_depth(value) > JSON_MAX_DEPTH)
		return err_set(r->e, ERR_INVALID, "%s operation makes the document too deep", op);
	if (t.parent == NULL) {
		r->root = value;
	} else if (t.parent->type == JSON_OBJECT) {
		json_set(r->a, t.parent, t.last, value);
	} else if (str_eqc(t.last, "-")) {
		json_push(r->a, t.parent, value);
	} else {
		if (!to_index(t.last, t.parent->n, &i))
			return no_index(r, op, path, t.last);
		json_insert(r->a, t.parent, i, value);
	}
	return 0;
}

static int missing_from(struct run *r, const char *op, struct str from)
{
	return err_set(r->e, ERR_INVALID, "%s operation does not apply: doc is missing from path: %.*s: missing value", op, STR_FMT(from));
}

static int take_out(struct run *r, const char *op, struct str path, struct json **ret)
{
	struct json *v = NULL;
	struct target t;
	size_t i;

	bool moves = strcmp(op, "move") == 0;

	if (!resolve(r, path, &t) || t.parent == NULL)
		return moves ? missing_from(r, op, path) : missing(r, op, path);
	if (t.parent->type == JSON_OBJECT)
		v = json_del(t.parent, t.last);
	else if (to_index(t.last, t.parent->n, &i))
		v = json_del_at(t.parent, i);
	if (v == NULL && t.parent->type == JSON_ARRAY)
		return no_index(r, op, moves ? t.last : path, t.last);
	if (v == NULL)
		return err_set(r->e, ERR_INVALID, "error in %s for path: '%.*s': Unable to remove nonexistent key: %.*s: missing value", op,
			STR_FMT(moves ? t.last : path), STR_FMT(t.last));
	*ret = v;
	return 0;
}

static int replace(struct run *r, struct str path, struct json *value)
{
	struct target t;
	size_t i;

	if (!resolve(r, path, &t) || (t.parent && child(t.parent, t.last) == NULL))
		return err_set(r->e, ERR_INVALID,
			"replace operation does not apply: doc is missing key: %.*s: missing value",
			STR_FMT(path));
	if (t.parent && t.parent->type == JSON_ARRAY && to_index(t.last, t.parent->n, &i)) {
		if (t.depth + json_depth(value) > JSON_MAX_DEPTH)
			return err_set(
				r->e, ERR_INVALID, "replace operation makes the document too deep");
		t.parent->items[i] = value;
		return 0;
	}
	return add(r, "replace", path, value);
}

static int test(struct run *r, struct str path, const struct json *want)
{
	struct json *have = lookup(r, path);

	/* A missing value passes for null, as upstream has it. */
	if (have == NULL ? json_is_null(want) : json_equal(have, want))
		return 0;
	return err_set(r->e, ERR_INVALID, "testing value %.*s failed: test failed", STR_FMT(path));
}

/* Some operations say more of it than others. */
static int no_pointer(struct run *r, const struct json *op, struct str name, const char *which)
{
	bool terse = str_eqc(name, "add") || str_eqc(name, "remove") || (str_eqc(name, "copy") && strcmp(which, "path") == 0);
	const char *of = terse ? "" : arena_printf(r->a, "operation missing %s field: ", which);

	if (json_getc(op, which))
		return err_set(r->e, ERR_BAD_REQUEST, "the %s of a JSON patch operation must be a string", which);
	return err_set(r->e, ERR_INVALID, "%.*s operation failed to decode %s: %smissing value", STR_FMT(name), which, of);
}

static int apply_op(struct run *r, const struct json *op)
{
	struct str name = json_str(json_getc(op, "op")), path = json_str(json_getc(op, "path")),
		   from = json_str(json_getc(op, "from"));
	struct json *value = json_getc(op, "value"), *v;
	bool moves = str_eqc(name, "move") || str_eqc(name, "copy");
	int rc;

	if (!moves && !str_eqc(name, "remove") && !str_eqc(name, "test") && !str_eqc(name, "add") && !str_eqc(name, "replace"))
		return err_set(r->e, ERR_INVALID, "Unexpected kind: %.*s", STR_FMT(name));
	if (moves && !json_is(json_getc(op, "from"), JSON_STRING))
		return no_pointer(r, op, name, "from");
	if (!json_is(json_getc(op, "path"), JSON_STRING))
		return no_pointer(r, op, name, "path");
	if (str_eqc(name, "remove"))
		return take_out(r, "remove", path, &v);
	if (moves) {
		if (name.p[0] == 'm') {
			rc = take_out(r, "move", from, &v);
			return rc < 0 ? rc : add(r, "move", path, v);
		}
		v = lookup(r, from);
		return v ? add(r, "copy", path, json_copy(r->a, v)) : missing_from(r, "copy", from);
	}
	if (str_eqc(name, "test"))
		return test(r, path, value);
	if (value == NULL)
		return err_set(r->e, ERR_BAD_REQUEST, "JSON patch operation %.*s without a value",
			STR_FMT(name));
	value = json_copy(r->a, value);
	return name.p[0] == 'a' ? add(r, "add", path, value) : replace(r, path, value);
}

int patch_json(struct arena *a, const struct json *doc, const struct json *ops, struct json **ret,
	struct err *e)
{
	struct run r = {a, json_copy(a, doc), e};
	size_t start = a->used;

	if (!json_is(ops, JSON_ARRAY))
		return err_set(e, ERR_BAD_REQUEST, "a JSON patch must be an array of operations");
	if (ops->n > PATCH_MAX_OPS)
		return err_set(e, ERR_TOO_LARGE,
			"The allowed maximum operations in a JSON patch is %u, got %u",
			PATCH_MAX_OPS, ops->n);
	JSON_ITEMS (op, ops) {
		int rc = apply_op(&r, op);

		if (rc < 0)
			return rc;
		if (a->used - start > GROWTH_MAX)
			return err_set(
				e, ERR_TOO_LARGE, "the JSON patch makes the document too large");
	}
	*ret = r.root;
	return 0;
}
