/* DOM -> wire: encodes what is right, collects what is not. */
#include "proto/codec-priv.h"

#include <stdlib.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/go_time.h"
#include "proto/quantity.h"

/* Where we are, for messages; made into text only when something is wrong. */
struct path {
	const struct path *up;
	struct str key;  /* of a member; p NULL: an element */
	size_t index;
	const struct schema_type *owner; /* the type whose field this is; NULL for elements and map values */
};

struct encode {
	struct buf *out;
	struct codec_errs *errs;
	unsigned depth;
};

static void put_value(struct encode *, const struct schema_field *, const struct json *, const struct path *);
static void put_message(struct encode *, const struct schema_type *, const struct json *, const struct path *);
static void put_body(struct encode *, const struct schema_type *, const struct json *, const struct path *, bool outer);

/* --- Errors ---------------------------------------------------------------------------------------------------- */

void codec_errs_init(struct codec_errs *e, struct arena *a)
{
	e->arena = a;
	e->n = e->n_hard = 0;
	e->more = false;
}

const struct codec_err *codec_errs_hard(const struct codec_errs *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->items[i].kind != CODEC_UNKNOWN_FIELD)
			return &e->items[i];
	return NULL;
}

void codec_errs_strict_message(const struct codec_errs *e, const struct str *first, size_t n_first, struct buf *out)
{
	const char *separator = "strict decoding error: ";

	for (size_t i = 0; i < n_first; i++) {
		buf_printf(out, "%s%.*s", separator, STR_FMT(first[i]));
		separator = ", ";
	}
	for (size_t i = 0; i < e->n; i++)
		if (e->items[i].kind == CODEC_UNKNOWN_FIELD) {
			buf_printf(out, "%s%s", separator, e->items[i].message);
			separator = ", ";
		}
}

static void print_path(struct buf *b, const struct path *p, bool indexes)
{
	if (!p)
		return;
	print_path(b, p->up, indexes);
	if (p->key.p) {
		if (b->n > 0)
			buf_add1(b, '.');
		buf_adds(b, p->key);
	} else if (indexes) {
		buf_printf(b, "[%zu]", p->index);
	}
}

/* A free place for an error with its path filled in, or NULL when the list is full. */
static struct codec_err *new_error(struct encode *e, enum codec_err_kind kind, const struct path *p)
{
	struct codec_errs *errs = e->errs;
	struct codec_err *err;
	struct buf b = BUF_INIT;

	if (kind != CODEC_UNKNOWN_FIELD)
		errs->n_hard++;
	if (errs->n == CODEC_MAX_ERRS) {
		errs->more = true;
		/* A hard error must not be lost behind a hundred unknown fields. */
		if (kind == CODEC_UNKNOWN_FIELD || errs->items[CODEC_MAX_ERRS - 1].kind != CODEC_UNKNOWN_FIELD)
			return NULL;
		errs->n--;
	}
	err = &errs->items[errs->n++];
	print_path(&b, p, true);
	*err = (struct codec_err){.kind = kind, .path = arena_cstr(errs->arena, buf_str(&b))};
	buf_fini(&b);
	return err;
}

static void unknown_field(struct encode *e, const struct path *p)
{
	struct codec_err *err = new_error(e, CODEC_UNKNOWN_FIELD, p);

	if (err)
		err->message = arena_printf(e->errs->arena, "unknown field \"%s\"", err->path);
}

static void wrong_value(struct encode *e, const struct path *p, const char *message)
{
	struct codec_err *err = new_error(e, CODEC_WRONG_VALUE, p);

	if (err)
		err->message = arena_strdup(e->errs->arena, message);
}

/* "core.v1.PodSpec" -> "v1.PodSpec", as Go names types. */
static const char *go_name(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot && strchr(dot + 1, '.') ? dot + 1 : name;
}

static const char *go_type(struct arena *a, const struct schema_field *f, bool element)
{
	static const char *const plain[] = {"string", "[]uint8", "bool", "int32", "int64", "float64"};
	const char *base = f->kind == SCHEMA_MESSAGE ? go_name(f->type->name)
			   : f->more->enum_type	     ? go_name(f->more->enum_type->name)
						     : plain[f->kind];

	if (element || !schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP))
		return base;
	return arena_printf(a, schema_is(f, SCHEMA_MAP) ? "map[string]%s" : "[]%s", base);
}

static const char *json_word(const struct json *v)
{
	static const char *const words[] = {"null", "bool", "number", "string", "array", "object"};

	return words[json_type(v)];
}

/* json: cannot unmarshal string into Go struct field Container.spec.containers.image of type int32 */
static void wrong_type(struct encode *e, const struct path *p, const char *type, const struct json *v, bool show_number)
{
	struct codec_err *err = new_error(e, CODEC_WRONG_TYPE, p);
	struct arena *a = e->errs->arena;
	const struct path *field = p;
	struct buf b = BUF_INIT;
	const char *what = json_word(v);

	if (!err)
		return;
	if (show_number)
		what = arena_printf(a, "number %.*s", STR_FMT(v->s));
	while (field && !field->owner)
		field = field->up;
	if (field) {
		/* Go counts fields only, not what is inside of a map. */
		print_path(&b, field, false);
		err->message = arena_printf(a, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", what,
					    field->owner->kind, b.p, type);
	} else {
		err->message = arena_printf(a, "json: cannot unmarshal %s into Go value of type %s", what, type);
	}
	buf_fini(&b);
}

/* --- Scalars ----------------------------------------------------------------------------------------------------- */

/* The number of a field that holds integers, or an error. Go takes no fraction and no exponent here. */
static bool integer(struct encode *e, const struct schema_field *f, const struct json *v, const struct path *p, int64_t *ret)
{
	bool small = f->kind == SCHEMA_INT32;

	if (!json_is(v, JSON_NUMBER)) {
		wrong_type(e, p, go_type(e->errs->arena, f, true), v, false);
		return false;
	}
	if (!str_to_i64(v->s, ret) || (small && (*ret < INT32_MIN || *ret > INT32_MAX))) {
		wrong_type(e, p, small ? "int32" : "int64", v, true);
		return false;
	}
	return true;
}

static void put_string(struct encode *e, const struct schema_field *f, const struct json *v, const struct path *p, bool keep)
{
	if (!json_is(v, JSON_STRING))
		wrong_type(e, p, go_type(e->errs->arena, f, true), v, false);
	else if (keep || v->s.n > 0)
		wire_add_bytes(e->out, f->number, v->s);
}

static void put_base64(struct encode *e, const struct schema_field *f, const struct json *v, const struct path *p, bool keep)
{
	struct buf b = BUF_INIT;
	ptrdiff_t at;

	if (!json_is(v, JSON_STRING)) {
		wrong_type(e, p, "[]uint8", v, false);
		return;
	}
	at = codec_base64_parse(v->s, &b);
	if (at >= 0)
		wrong_value(e, p, arena_printf(e->errs->arena, "illegal base64 data at input byte %td", at));
	else if (keep || b.n > 0)
		wire_add_bytes(e->out, f->number, buf_str(&b));
	buf_fini(&b);
}

/* One value that is not null, as field f. keep: write it also when it is zero. */
static void put_scalar(struct encode *e, const struct schema_field *f, const struct json *v, const struct path *p, bool keep)
{
	int64_t i;
	double d;

	switch ((enum schema_kind)f->kind) {
	case SCHEMA_STRING:
		put_string(e, f, v, p, keep);
		return;
	case SCHEMA_BYTES:
		put_base64(e, f, v, p, keep);
		return;
	case SCHEMA_BOOL:
		if (!json_is(v, JSON_BOOL))
			wrong_type(e, p, go_type(e->errs->arena, f, true), v, false);
		else if (keep || v->b)
			wire_add_uint(e->out, f->number, v->b);
		return;
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		if (integer(e, f, v, p, &i) && (keep || i != 0))
			wire_add_uint(e->out, f->number, (uint64_t)i);
		return;
	case SCHEMA_DOUBLE:
		if (!json_is(v, JSON_NUMBER) || !json_f64(v, &d))
			wrong_type(e, p, "float64", v, json_is(v, JSON_NUMBER));
		else if (keep || d != 0)
			wire_add_double(e->out, f->number, d);
		return;
	case SCHEMA_MESSAGE: {
		size_t mark = wire_open(e->out, f->number);

		put_message(e, f->type, v, p);
		wire_close(e->out, mark);
		return;
	}
	}
}

/* --- Messages that are one value in JSON --------------------------------------------------------------------------- */

/* 0001-01-01T00:00:00Z is the same as no time at all. */
#define GO_ZERO_TIME (-62135596800)

static void put_time(struct encode *e, const struct schema_type *t, const struct json *v, const struct path *p)
{
	int64_t s;
	int32_t ns;

	if (!json_is(v, JSON_STRING)) {
		wrong_type(e, p, "string", v, false);
		return;
	}
	if (!time_parse(v->s, &s, &ns) || !codec__time_in_range(s)) {
		wrong_value(e, p, go_time_problem(e->errs->arena, v->s, t->json != SCHEMA_TIME));
		return;
	}
	if (s == GO_ZERO_TIME)
		return;
	wire_add_uint(e->out, 1, (uint64_t)s);
	/* Seconds are all that a Time keeps; a MicroTime keeps microseconds. */
	wire_add_uint(e->out, 2, t->json == SCHEMA_TIME ? 0 : (uint64_t)(ns / 1000 * 1000));
}

static void put_duration(struct encode *e, const struct json *v, const struct path *p)
{
	int64_t ns;

	if (!json_is(v, JSON_STRING))
		wrong_type(e, p, "string", v, false);
	else if (!duration_parse(v->s, &ns))
		wrong_value(e, p, arena_printf(e->errs->arena, "time: invalid duration \"%.*s\"", STR_FMT(v->s)));
	else
		wire_add_uint(e->out, 1, (uint64_t)ns);
}

static void put_quantity(struct encode *e, const struct json *v, const struct path *p)
{
	struct quantity q;
	struct err err;
	char text[QUANTITY_SIZE];

	if (!json_is(v, JSON_STRING) && !json_is(v, JSON_NUMBER)) {
		wrong_type(e, p, "resource.Quantity", v, false);
		return;
	}
	if (quantity_parse(v->s, &q, &err) < 0) {
		wrong_value(e, p, err.text);
		return;
	}
	wire_add_bytes(e->out, 1, str_of(text, quantity_print(q, text)));
}

static void add_int_or_string(struct encode *e, uint64_t type, int64_t i, struct str s)
{
	wire_add_uint(e->out, 1, type);
	wire_add_uint(e->out, 2, (uint64_t)i);
	wire_add_bytes(e->out, 3, s);
}

static void put_int_or_string(struct encode *e, const struct json *v, const struct path *p)
{
	int64_t i;

	if (json_is(v, JSON_STRING)) {
		add_int_or_string(e, 1, 0, v->s);
	} else if (!json_is(v, JSON_NUMBER)) {
		wrong_type(e, p, "intstr.IntOrString", v, false);
	} else if (!str_to_i64(v->s, &i) || i < INT32_MIN || i > INT32_MAX) {
		wrong_type(e, p, "int32", v, true);
	} else {
		add_int_or_string(e, 0, i, STR(""));
	}
}

static void put_raw(struct encode *e, const struct json *v)
{
	struct buf b = BUF_INIT;

	json_print(&b, v, JSON_COMPACT);
	wire_add_bytes(e->out, 1, buf_str(&b));
	buf_fini(&b);
}

static void put_elements(struct encode *e, const struct schema_field *f, const struct json *array, const struct path *p)
{
	for (size_t i = 0; i < json_len(array); i++) {
		struct path at = {.up = p, .index = i};
		const struct json *v = json_at(array, i);

		/* A null element is a zero element, as in Go. */
		if (!json_is_null(v))
			put_scalar(e, f, v, &at, true);
		else if (f->kind == SCHEMA_MESSAGE || f->kind == SCHEMA_STRING || f->kind == SCHEMA_BYTES)
			wire_add_bytes(e->out, f->number, STR(""));
		else
			wire_add_uint(e->out, f->number, 0);
	}
}

static void put_either(struct encode *e, const struct schema_type *t, const struct json *v, const struct path *p)
{
	const struct schema_field *schema = &t->fields[t->json == SCHEMA_SCHEMA_OR_BOOL ? 1 : 0];
	const struct schema_field *other = &t->fields[t->json == SCHEMA_SCHEMA_OR_BOOL ? 0 : 1];

	if (t->json == SCHEMA_SCHEMA_OR_BOOL && json_is(v, JSON_BOOL)) {
		wire_add_uint(e->out, other->number, v->b);
	} else if (t->json != SCHEMA_SCHEMA_OR_BOOL && json_is(v, JSON_ARRAY)) {
		put_elements(e, other, v, p);
	} else if (json_is(v, JSON_OBJECT)) {
		if (t->json == SCHEMA_SCHEMA_OR_BOOL)
			wire_add_uint(e->out, other->number, 1);
		put_scalar(e, schema, v, p, true);
	} else {
		wrong_type(e, p, go_name(t->name), v, false);
	}
}

static void put_special(struct encode *e, const struct schema_type *t, const struct json *v, const struct path *p)
{
	switch ((enum schema_json)t->json) {
	case SCHEMA_PLAIN:
	case SCHEMA_CUSTOM:
	case SCHEMA_ANY:
		break;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		put_time(e, t, v, p);
		return;
	case SCHEMA_DURATION:
		put_duration(e, v, p);
		return;
	case SCHEMA_QUANTITY:
		put_quantity(e, v, p);
		return;
	case SCHEMA_INT_OR_STRING:
		put_int_or_string(e, v, p);
		return;
	case SCHEMA_RAW_JSON:
		put_raw(e, v);
		return;
	case SCHEMA_ITEMS:
		if (json_is(v, JSON_ARRAY))
			put_elements(e, &t->fields[0], v, p);
		else
			wrong_type(e, p, "[]string", v, false);
		return;
	case SCHEMA_SCHEMA_OR_ARRAY:
	case SCHEMA_SCHEMA_OR_BOOL:
	case SCHEMA_SCHEMA_OR_STRINGS:
		put_either(e, t, v, p);
		return;
	}
	UNREACHABLE();
}

/* --- Messages ------------------------------------------------------------------------------------------------------ */

static void put_message(struct encode *e, const struct schema_type *t, const struct json *v, const struct path *p)
{
	if (t->json != SCHEMA_PLAIN) {
		put_special(e, t, v, p);
		return;
	}
	if (!json_is(v, JSON_OBJECT)) {
		wrong_type(e, p, go_name(t->name), v, false);
		return;
	}
	if (e->depth == CODEC_MAX_DEPTH) {
		wrong_value(e, p, "exceeded max depth");
		return;
	}
	e->depth++;
	put_body(e, t, v, p, true);
	e->depth--;
}

static int cmp_members(const void *a, const void *b)
{
	return str_cmp((*(const struct json_member *const *)a)->key, (*(const struct json_member *const *)b)->key);
}

/* Entries in the order of their keys, so that equal maps have equal bytes. */
static void put_map(struct encode *e, const struct schema_field *f, const struct json *obj, const struct path *p)
{
	struct schema_field value = *f;
	const struct json_member **sorted;
	size_t n = json_len(obj);

	if (n == 0)
		return;
	value.number = 2;
	value.flags = 0;
	sorted = xmalloc(n * sizeof(*sorted));
	for (size_t i = 0; i < n; i++)
		sorted[i] = &obj->members[i];
	qsort(sorted, n, sizeof(*sorted), cmp_members);
	for (size_t i = 0; i < n; i++) {
		struct path at = {.up = p, .key = sorted[i]->key};
		size_t mark = wire_open(e->out, f->number);

		wire_add_bytes(e->out, 1, sorted[i]->key);
		if (!json_is_null(sorted[i]->value))
			put_scalar(e, &value, sorted[i]->value, &at, true);
		else if (f->kind == SCHEMA_BOOL || f->kind == SCHEMA_INT32 || f->kind == SCHEMA_INT64)
			wire_add_uint(e->out, 2, 0);
		else
			wire_add_bytes(e->out, 2, STR(""));
		wire_close(e->out, mark);
	}
	free(sorted);
}

/* A field with a value that is not null. */
static void put_value(struct encode *e, const struct schema_field *f, const struct json *v, const struct path *p)
{
	if (schema_is(f, SCHEMA_REPEATED)) {
		if (json_is(v, JSON_ARRAY))
			put_elements(e, f, v, p);
		else
			wrong_type(e, p, go_type(e->errs->arena, f, false), v, false);
	} else if (schema_is(f, SCHEMA_MAP)) {
		if (json_is(v, JSON_OBJECT))
			put_map(e, f, v, p);
		else
			wrong_type(e, p, go_type(e->errs->arena, f, false), v, false);
	} else if (f->kind == SCHEMA_MESSAGE && f->type->json <= SCHEMA_MICRO_TIME && f->type->json >= SCHEMA_TIME) {
		size_t before = e->out->n, mark = wire_open(e->out, f->number);

		put_time(e, f->type, v, p);
		if (e->out->n > mark)
			wire_close(e->out, mark);
		else
			wire_undo(e->out, before);
	} else {
		put_scalar(e, f, v, p, schema_is(f, SCHEMA_POINTER));
	}
}

/* A field that is absent or null: structs that are no pointers are written, for they always exist. */
static void put_absent(struct encode *e, const struct schema_field *f, const struct path *p)
{
	size_t mark;

	if (f->kind != SCHEMA_MESSAGE || schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP | SCHEMA_POINTER | SCHEMA_OMITZERO))
		return;
	if (f->type->json == SCHEMA_TIME || f->type->json == SCHEMA_MICRO_TIME || f->type->json >= SCHEMA_RAW_JSON)
		return; /* zero times and no JSON are nothing at all */
	mark = wire_open(e->out, f->number);
	switch ((enum schema_json)f->type->json) {
	case SCHEMA_PLAIN:
		put_body(e, f->type, NULL, p, false);
		break;
	case SCHEMA_QUANTITY:
		wire_add_bytes(e->out, 1, STR("0"));
		break;
	case SCHEMA_DURATION:
		wire_add_uint(e->out, 1, 0);
		break;
	case SCHEMA_INT_OR_STRING:
		add_int_or_string(e, 0, 0, STR(""));
		break;
	default:
		UNREACHABLE();
	}
	wire_close(e->out, mark);
}

static bool is_type_meta(const struct schema_type *t, struct str key)
{
	return t->root && (str_eqc(key, "kind") || str_eqc(key, "apiVersion"));
}

/*
 * The fields of one message from the members of obj (NULL: from nothing). Members of an inlined message stand in the
 * same obj, so only the outer call says which of them are unknown.
 */
static void put_body(struct encode *e, const struct schema_type *t, const struct json *obj, const struct path *p, bool outer)
{
	const struct json_member *values[SCHEMA_MAX_FIELDS];

	for (size_t i = 0; i < t->n_fields; i++)
		values[i] = NULL;
	for (size_t i = 0; i < json_len(obj); i++) {
		const struct json_member *m = &obj->members[i];
		const struct schema_field *f = schema_field_find(t, m->key);
		struct path at = {.up = p, .key = m->key, .owner = t};

		if (f && f >= t->fields && f < t->fields + t->n_fields)
			values[f - t->fields] = m;
		else if (!f && outer && !is_type_meta(t, m->key))
			unknown_field(e, &at);
		else if (!f && outer && !json_is_null(m->value) && !json_is(m->value, JSON_STRING))
			wrong_type(e, &at, "string", m->value, false);
	}
	for (size_t k = 0; k < t->n_fields; k++) {
		size_t i = t->wire_order[k];
		const struct schema_field *f = &t->fields[i];
		struct path at = {.up = p, .owner = t};

		if (schema_is(f, SCHEMA_INLINE)) {
			size_t mark = wire_open(e->out, f->number);

			put_body(e, f->type, obj, p, false);
			wire_close(e->out, mark);
		} else if (values[i] && !json_is_null(values[i]->value)) {
			at.key = values[i]->key;
			put_value(e, f, values[i]->value, &at);
		} else {
			put_absent(e, f, p);
		}
	}
}

void codec_to_wire(struct buf *out, const struct schema_type *t, const struct json *dom, struct codec_errs *errs)
{
	struct encode e = {.out = out, .errs = errs};

	if (t->json == SCHEMA_CUSTOM)
		codec__custom_to_wire(out, t, dom, errs);
	else
		put_message(&e, t, dom, NULL);
}
