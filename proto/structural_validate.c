/* Values against a structural schema, in the words of upstream's validator. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/structural-priv.h"
#include "proto/structural.h"
#include "proto/structural_rules.h"

struct walk {
	struct field_errs *errs;
};

static void validate(struct walk *, const struct structural *, const struct json *, const struct json *old, const struct field_path *);

/* "spec.replicas in body": how upstream names the place inside its messages. */
static const char *place(struct walk *w, const struct field_path *path)
{
	struct buf b = BUF_INIT;
	const char *r;

	if (path != NULL) {
		field_path_print(&b, path);
		buf_add1(&b, ' ');
	}
	buf_addc(&b, "in body");
	r = arena_cstr(w->errs->arena, buf_str(&b));
	buf_fini(&b);
	return r;
}

static bool is_whole(const struct json *j)
{
	double d;

	return json_is(j, JSON_NUMBER) && json_f64(j, &d) && isfinite(d) && floor(d) == d;
}

static bool has_type(const struct structural *s, const struct json *j)
{
	if (s->int_or_string)
		return json_is(j, JSON_STRING) || is_whole(j);
	switch (s->type) {
	case STRUCTURAL_OBJECT: return json_is(j, JSON_OBJECT);
	case STRUCTURAL_ARRAY: return json_is(j, JSON_ARRAY);
	case STRUCTURAL_STRING: return json_is(j, JSON_STRING);
	case STRUCTURAL_BOOLEAN: return json_is(j, JSON_BOOL);
	case STRUCTURAL_NUMBER: return json_is(j, JSON_NUMBER);
	case STRUCTURAL_INTEGER: return is_whole(j);
	case STRUCTURAL_NONE: return true;
	}
	return true;
}

static const char *type_of(const struct json *j)
{
	static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};

	return is_whole(j) ? "integer" : names[json_type(j)];
}

static void wrong_type(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	const char *want = s->int_or_string ? "integer,string" : structural_type_name(s->type), *got = type_of(j);

	field_err_add(w->errs, path, FIELD_TYPE_INVALID, "Invalid value: \"%s\": %s must be of type %s: \"%s\"", got,
		      place(w, path), want, got);
}

/* --- Numbers and strings ------------------------------------------------------------------------------------------- */

static void validate_number(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	double v, q;

	if (!json_f64(j, &v))
		return;
	if (s->maximum.set && (v > s->maximum.value || (s->maximum.exclusive && v == s->maximum.value)))
		field_invalid(w->errs, path, j, "%s should be less than %s%.*s", place(w, path), s->maximum.exclusive ? "" : "or equal to ",
			      STR_FMT(s->maximum.text->s));
	if (s->minimum.set && (v < s->minimum.value || (s->minimum.exclusive && v == s->minimum.value)))
		field_invalid(w->errs, path, j, "%s should be greater than %s%.*s", place(w, path),
			      s->minimum.exclusive ? "" : "or equal to ", STR_FMT(s->minimum.text->s));
	q = s->multiple_of.set && s->multiple_of.value != 0 ? v / s->multiple_of.value : 0;
	if (q != floor(q))
		field_invalid(w->errs, path, j, "%s should be a multiple of %.*s", place(w, path), STR_FMT(s->multiple_of.text->s));
	if (str_eqc(s->format, "int32") && (v < -2147483648.0 || v > 2147483647.0))
		field_invalid(w->errs, path, j, "%s must be of type int32: \"%.*s\"", place(w, path), STR_FMT(j->s));
}

/* Characters, not bytes. */
static int64_t length_of(struct str s)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void validate_string(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	struct str v = json_str(j);

	if (s->max_length >= 0 && length_of(v) > s->max_length)
		field_too_long(w->errs, path, (size_t)s->max_length);
	if (s->min_length >= 0 && length_of(v) < s->min_length)
		field_invalid(w->errs, path, j, "%s should be at least %lld chars long", place(w, path), (long long)s->min_length);
	if (s->pattern != NULL)
		switch (structural__match(s->pattern, v)) {
		case STRUCTURAL_MATCH: break;
		case STRUCTURAL_NO_MATCH:
			field_invalid(w->errs, path, j, "%s should match '%.*s'", place(w, path), STR_FMT(s->pattern_text));
			break;
		case STRUCTURAL_TOO_COSTLY:
			field_invalid(w->errs, path, j, "%s takes too long to compare with '%.*s'", place(w, path),
				      STR_FMT(s->pattern_text));
			break;
		}
	if (s->format.n != 0 && !structural_format_ok(s->format, v))
		field_invalid(w->errs, path, j, "%s must be of type %.*s: \"%.*s\"", place(w, path), STR_FMT(s->format), STR_FMT(v));
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

/* What must be unique in the list: an element, or its keys. As canonical text. */
static struct str identity(struct walk *w, const struct structural *s, const struct json *item)
{
	struct arena *a = w->errs->arena;
	struct buf b = BUF_INIT;
	struct str r;

	if (s->list == STRUCTURAL_LIST_MAP) {
		struct json *keys = json_new_object(a);

		for (size_t i = 0; i < json_len(s->map_keys); i++) {
			struct json *v = json_get(item, json_str(json_at(s->map_keys, i)));

			if (v != NULL)
				json_set(a, keys, json_str(json_at(s->map_keys, i)), v);
		}
		item = keys;
	}
	json_print(&b, item, JSON_SORTED | JSON_RAW_HTML);
	r = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return r;
}

struct element {
	struct str text;
	size_t index;
};

static int by_text(const void *a, const void *b)
{
	const struct element *x = a, *y = b;
	int d = str_cmp(x->text, y->text);

	return d ? d : (x->index > y->index) - (x->index < y->index);
}

static void check_unique(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	struct element *e;

	if (s->list == STRUCTURAL_LIST_ATOMIC || j->n < 2)
		return;
	e = arena_new_array(w->errs->arena, struct element, j->n);
	for (size_t i = 0; i < j->n; i++)
		e[i] = (struct element){identity(w, s, j->items[i]), i};
	qsort(e, j->n, sizeof(*e), by_text);
	for (size_t i = 1; i < j->n; i++)
		if (str_eq(e[i].text, e[i - 1].text)) {
			struct field_path at = field_index(path, e[i].index);

			field_err_add(w->errs, &at, FIELD_DUPLICATE, "Duplicate value: %.*s", STR_FMT(e[i].text));
		}
}

static void validate_array(struct walk *w, const struct structural *s, const struct json *j, const struct json *old,
		const struct field_path *path)
{
	if (s->max_items >= 0 && j->n > s->max_items)
		field_too_many(w->errs, path, j->n, (size_t)s->max_items);
	if (s->min_items >= 0 && j->n < s->min_items)
		field_invalid(w->errs, path, j, "%s should have at least %lld items", place(w, path), (long long)s->min_items);
	check_unique(w, s, j, path);
	for (size_t i = 0; s->items != NULL && i < j->n; i++) {
		struct field_path at = field_index(path, i);

		validate(w, s->items, j->items[i], structural_old_item(s, old, j->items[i]), &at);
	}
}

/* --- Objects -------------------------------------------------------------------------------------------------------- */

static void validate_members(struct walk *w, const struct structural *s, const struct json *j, const struct json *old,
		const struct field_path *path)
{
	if (s->max_properties >= 0 && j->n > s->max_properties)
		field_too_many(w->errs, path, j->n, (size_t)s->max_properties);
	if (s->min_properties >= 0 && j->n < s->min_properties)
		field_invalid(w->errs, path, j, "%s should have at least %lld properties", place(w, path), (long long)s->min_properties);
	for (size_t i = 0; i < json_len(s->required); i++) {
		struct str name = json_str(json_at(s->required, i));
		struct field_path at = {.up = path, .name = name};

		if (json_get(j, name) == NULL)
			field_required(w->errs, &at, "");
	}
	JSON_MEMBERS (m, j) {
		struct field_path at = {.up = path, .name = m->key};
		const struct structural *of = structural_property(s, m->key);

		if (of != NULL)
			validate(w, of, m->value, s->map_atomic ? NULL : json_get(old, m->key), &at);
	}
}

/* apiVersion, kind and metadata of an object inside the object. */
static void check_embedded(struct walk *w, const struct json *j, const struct field_path *path)
{
	static const char *const needed[] = {"apiVersion", "kind"};

	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		struct field_path at = field_child(path, needed[i]);

		if (json_str(json_getc(j, needed[i])).n == 0)
			field_required(w->errs, &at, "must not be empty");
	}
}

/* --- Logic ---------------------------------------------------------------------------------------------------------- */

/* Errors of a branch that may fail go to a list of their own. */
static bool branch_ok(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	struct field_errs errs;
	struct walk inner = {&errs};

	field_errs_init(&errs, w->errs->arena);
	validate(&inner, s, j, NULL, path);
	return errs.n == 0;
}

static size_t count_ok(struct walk *w, const struct structural_list_of *list, const struct json *j, const struct field_path *path)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += branch_ok(w, list->items[i], j, path);
	return n;
}

static const char *name_of(struct walk *w, const struct field_path *path)
{
	struct buf b = BUF_INIT;
	const char *r;

	if (path != NULL)
		field_path_print(&b, path);
	r = arena_cstr(w->errs->arena, buf_str(&b));
	buf_fini(&b);
	return r;
}

static void validate_logic(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	size_t n;

	for (size_t i = 0; i < s->all_of.n; i++)
		validate(w, s->all_of.items[i], j, NULL, path);
	if (s->any_of.n != 0 && count_ok(w, &s->any_of, j, path) == 0)
		field_invalid(w->errs, path, j, "\"%s\" must validate at least one schema (anyOf)", name_of(w, path));
	n = s->one_of.n ? count_ok(w, &s->one_of, j, path) : 1;
	if (n == 0)
		field_invalid(w->errs, path, j, "\"%s\" must validate one and only one schema (oneOf). Found none valid", name_of(w, path));
	else if (n > 1)
		field_invalid(w->errs, path, j, "\"%s\" must validate one and only one schema (oneOf). Found %zu valid alternatives",
			      name_of(w, path), n);
	if (s->not != NULL && branch_ok(w, s->not, j, path))
		field_invalid(w->errs, path, j, "\"%s\" must not validate the schema (not)", name_of(w, path));
}

static void check_enum(struct walk *w, const struct structural *s, const struct json *j, const struct field_path *path)
{
	struct buf b = BUF_INIT;

	JSON_ITEMS (v, s->values)
		if (json_equal(v, j))
			return;
	json_print(&b, j, JSON_RAW_HTML);
	buf_addc(&b, ": supported values: ");
	for (size_t i = 0; i < json_len(s->values); i++) {
		const struct json *v = json_at(s->values, i);

		buf_addc(&b, i ? ", " : "");
		if (json_is(v, JSON_STRING))
			json_print(&b, v, JSON_RAW_HTML);
		else
			buf_printf(&b, "\"%.*s\"", STR_FMT(json_text(w->errs->arena, v)));
	}
	field_err_add(w->errs, path, FIELD_NOT_SUPPORTED, "Unsupported value: %.*s", STR_FMT(buf_str(&b)));
	buf_fini(&b);
}

static void validate(struct walk *w, const struct structural *s, const struct json *j, const struct json *old, const struct field_path *path)
{
	if (old && json_equal(old, j))
		return;
	if (json_is_null(j) && s->nullable)
		return;
	if (!has_type(s, j)) {
		wrong_type(w, s, j, path);
		return;
	}
	if (s->values != NULL)
		check_enum(w, s, j, path);
	switch (json_type(j)) {
	case JSON_NUMBER: validate_number(w, s, j, path); break;
	case JSON_STRING: validate_string(w, s, j, path); break;
	case JSON_ARRAY: validate_array(w, s, j, old, path); break;
	case JSON_OBJECT:
		validate_members(w, s, j, old, path);
		if (s->embedded)
			check_embedded(w, j, path);
		break;
	case JSON_NULL:
	case JSON_BOOL: break;
	}
	validate_logic(w, s, j, path);
}

void structural_validate(const struct structural *s, const struct json *value, const struct json *old, const struct field_path *path,
			 struct field_errs *errs)
{
	struct walk w = {errs};

	validate(&w, s, value, old, path);
}
