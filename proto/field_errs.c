#include "proto/field_errs.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "proto/json.h"

/* By enum field_err_type: the cause's reason, and how the message begins. */
static const struct {
	const char *reason, *text;
} kinds[] = {
	[FIELD_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
	[FIELD_REQUIRED] = {"FieldValueRequired", "Required value"},
	[FIELD_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
	[FIELD_INVALID] = {"FieldValueInvalid", "Invalid value"},
	[FIELD_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
	[FIELD_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
	[FIELD_TOO_LONG] = {"FieldValueTooLong", "Too long"},
	[FIELD_TOO_MANY] = {"FieldValueTooMany", "Too many"},
	[FIELD_INTERNAL] = {"InternalError", "Internal error"},
	[FIELD_TYPE_INVALID] = {"FieldValueTypeInvalid", "Invalid value"},
};

void field_errs_init(struct field_errs *e, struct arena *a)
{
	*e = (struct field_errs){.arena = a};
}

void field_path_print(struct buf *b, const struct field_path *p)
{
	if (p == NULL)
		return;
	field_path_print(b, p->up);
	if (p->name.p == NULL)
		buf_printf(b, "[%zu]", p->index);
	else if (p->in_brackets)
		buf_printf(b, "[%.*s]", STR_FMT(p->name));
	else
		buf_printf(b, "%s%.*s", p->up ? "." : "", STR_FMT(p->name));
}

static void add(struct field_errs *e, const struct field_path *path, enum field_err_type type,
	struct str message)
{
	struct buf b = BUF_INIT;

	if (e->n == e->cap) {
		size_t cap = MAX(e->cap * 2, (size_t)8);

		e->items = arena_grow(
			e->arena, e->items, e->n * sizeof(*e->items), cap * sizeof(*e->items));
		e->cap = cap;
	}
	field_path_print(&b, path);
	e->items[e->n++] = (struct field_err){
		type, path ? arena_str(e->arena, buf_str(&b)) : STR("<nil>"), message};
	buf_fini(&b);
}

void field_err_add(struct field_errs *e, const struct field_path *path, enum field_err_type type,
	const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(e, path, type, str_from(arena_vprintf(e->arena, fmt, ap)));
	va_end(ap);
}

/* As Go prints with %#v or, for structs, as JSON. */
static void print_value(struct buf *b, const struct json *v)
{
	switch (json_type(v)) {
	case JSON_STRING:
		json_print_string(b, v->s, JSON_RAW_HTML);
		break;
	case JSON_NULL:
		buf_addc(b, "null");
		break;
	default:
		json_print(b, v, JSON_RAW_HTML);
	}
}

static void value_err(struct field_errs *e, const struct field_path *path, enum field_err_type type,
	const struct json *v, const char *detail)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s: ", kinds[type].text);
	print_value(&b, v);
	if (detail && detail[0])
		buf_printf(&b, ": %s", detail);
	add(e, path, type, arena_str(e->arena, buf_str(&b)));
	buf_fini(&b);
}

void field_invalid(struct field_errs *e, const struct field_path *path, const struct json *v,
	const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	value_err(e, path, FIELD_INVALID, v, arena_vprintf(e->arena, fmt, ap));
	va_end(ap);
}

void field_invalid_str(
	struct field_errs *e, const struct field_path *path, struct str v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	value_err(e, path, FIELD_INVALID, json_new_str(e->arena, v),
		arena_vprintf(e->arena, fmt, ap));
	va_end(ap);
}

void field_required(struct field_errs *e, const struct field_path *path, const char *detail)
{
	bool more = detail && detail[0];

	field_err_add(e, path, FIELD_REQUIRED, "Required value%s%s", more ? ": " : "",
		more ? detail : "");
}

void field_duplicate(struct field_errs *e, const struct field_path *path, struct str v)
{
	value_err(e, path, FIELD_DUPLICATE, json_new_str(e->arena, v), NULL);
}

void field_not_found(struct field_errs *e, const struct field_path *path, struct str v)
{
	value_err(e, path, FIELD_NOT_FOUND, json_new_str(e->arena, v), NULL);
}

void field_forbidden(struct field_errs *e, const struct field_path *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	field_err_add(e, path, FIELD_FORBIDDEN, "Forbidden: %s", arena_vprintf(e->arena, fmt, ap));
	va_end(ap);
}

void field_not_supported(struct field_errs *e, const struct field_path *path, struct str v,
	const char *const *values)
{
	struct buf b = BUF_INIT;

	buf_addc(&b, "supported values: ");
	for (size_t i = 0; values[i]; i++)
		buf_printf(&b, "%s\"%s\"", i ? ", " : "", values[i]);
	value_err(e, path, FIELD_NOT_SUPPORTED, json_new_str(e->arena, v), b.p);
	buf_fini(&b);
}

void field_too_long(struct field_errs *e, const struct field_path *path, size_t max)
{
	field_err_add(e, path, FIELD_TOO_LONG, "Too long: may not be more than %zu bytes", max);
}

void field_too_many(struct field_errs *e, const struct field_path *path, size_t actual, size_t max)
{
	field_err_add(
		e, path, FIELD_TOO_MANY, "Too many: %zu: must have at most %zu items", actual, max);
}

void field_errs_print(struct buf *b, const struct field_errs *e)
{
	if (e->n > 1)
		buf_add1(b, '[');
	for (size_t i = 0; i < e->n; i++)
		buf_printf(b, "%s%.*s: %.*s", i ? ", " : "", STR_FMT(e->items[i].field),
			STR_FMT(e->items[i].message));
	if (e->n > 1)
		buf_add1(b, ']');
}

struct json *field_errs_status(
	struct field_errs *e, const char *group, const char *kind, struct str name)
{
	struct arena *a = e->arena;
	struct json *status = json_new_object(a), *details = json_new_object(a),
		    *causes = json_new_array(a);
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s%s%s \"%.*s\" is invalid: ", kind, group[0] ? "." : "", group,
		STR_FMT(name));
	field_errs_print(&b, e);
	for (size_t i = 0; i < e->n; i++) {
		struct json *cause = json_new_object(a);

		json_setc(a, cause, "reason", json_newc(a, kinds[e->items[i].type].reason));
		json_setc(a, cause, "message", json_new_str(a, e->items[i].message));
		json_setc(a, cause, "field", json_new_str(a, e->items[i].field));
		json_push(a, causes, cause);
	}
	if (name.n > 0)
		json_setc(a, details, "name", json_new_str(a, name));
	if (group[0])
		json_setc(a, details, "group", json_newc(a, group));
	json_setc(a, details, "kind", json_newc(a, kind));
	if (causes->n > 0)
		json_setc(a, details, "causes", causes);
	json_setc(a, status, "kind", json_newc(a, "Status"));
	json_setc(a, status, "apiVersion", json_newc(a, "v1"));
	json_setc(a, status, "metadata", json_new_object(a));
	json_setc(a, status, "status", json_newc(a, "Failure"));
	json_setc(a, status, "message", json_new_str(a, buf_str(&b)));
	json_setc(a, status, "reason", json_newc(a, "Invalid"));
	json_setc(a, status, "details", details);
	json_setc(a, status, "code", json_new_int(a, 422));
	buf_fini(&b);
	return status;
}
