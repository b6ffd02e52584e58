/*
 * Between JSON and values. JSON does not say what a number or a string is: the type does, as upstream reads objects by their schema.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"
#include "proto/codec.h"
#include "proto/duration.h"

#define MAX_JSON_DEPTH 500u
#define MAX_JSON_NODES 1000000u

static struct cel_value invalid(struct arena *a, const char *expected, const char *type)
{
	return cel_error(a, "invalid data, expected %s for the provided schema with type=%s", expected, type);
}

static struct cel_value number(const struct json *j)
{
	int64_t i;
	double d;

	/* As when Go reads JSON: what is written with a point or an exponent is a float. */
	if (str_find(j->s, '.') < 0 && str_find(j->s, 'e') < 0 && str_find(j->s, 'E') < 0 && str_to_i64(j->s, &i))
		return cel__int(i);
	return json_f64(j, &d) ? cel__double(d) : cel__null();
}

static struct cel_value from_list(struct arena *a, const struct json *j, const struct cel_type *t)
{
	struct cel_list *l = arena_new_of(a, struct cel_list);

	l->n = j->n;
	l->json = j;
	l->type = t != NULL && t->kind == CEL_LIST ? t : NULL;
	return (struct cel_value){.kind = CEL_LIST, .list = l};
}

static struct cel_value from_object(struct arena *a, const struct json *j, const struct cel_type *t)
{
	struct cel_map *m = arena_new_of(a, struct cel_map);

	m->n = j->n;
	m->json = j;
	m->type = t != NULL && (t->kind == CEL_MAP || t->kind == CEL_OBJECT) ? t : NULL;
	return (struct cel_value){.kind = CEL_MAP, .map = m};
}

static struct cel_value untyped(struct arena *a, const struct json *j)
{
	switch (j->type) {
	case JSON_BOOL:
		return cel_value_bool(j->b);
	case JSON_NUMBER:
		return number(j);
	case JSON_STRING:
		return cel_value_str(j->s);
	case JSON_ARRAY:
		return from_list(a, j, NULL);
	case JSON_OBJECT:
		return from_object(a, j, NULL);
	default:
		return cel__null();
	}
}

static struct cel_value from_base64(struct arena *a, struct str text)
{
	struct buf b = BUF_INIT;
	struct cel_value v;

	if (codec_base64_parse(text, &b) >= 0)
		v = cel_error(a, "Failed to decode base64");
	else
		v = cel__bytes(arena_str(a, buf_str(&b)));
	buf_fini(&b);
	return v;
}

static struct cel_value from_time(struct arena *a, struct str s)
{
	struct cel_value v;

	if (cel__timestamp_parse(s, &v))
		return v;
	/* A date: midnight, UTC. */
	if (s.n == 10 && cel__timestamp_parse(arena_sprintf(a, "%.*sT00:00:00Z", STR_FMT(s)), &v))
		return v;
	return cel_error(a, "Invalid timestamp format: %.*s", STR_FMT(s));
}

static struct cel_value from_string(struct arena *a, struct str s, const struct cel_type *t)
{
	int64_t ns;

	switch (t->kind) {
	case CEL_BYTES:
		return from_base64(a, s);
	case CEL_TIMESTAMP:
		return from_time(a, s);
	case CEL_DURATION:
		if (duration_parse(s, &ns))
			return cel__duration(ns);
		return cel_error(a, "Invalid duration format: %.*s", STR_FMT(s));
	default:
		return cel_value_str(s);
	}
}

struct cel_value cel_from_json(struct arena *a, const struct json *j, const struct cel_type *t)
{
	double d;

	if (json_is_null(j))
		return cel__null();
	while (t != NULL && t->kind == CEL_OPTIONAL)
		t = t->elem;
	if (t == NULL)
		return untyped(a, j);
	switch (t->kind) {
	case CEL_LIST:
		return j->type == JSON_ARRAY ? from_list(a, j, t) : invalid(a, "an array", "array");
	case CEL_MAP:
	case CEL_OBJECT:
		return j->type == JSON_OBJECT ? from_object(a, j, t) : invalid(a, "a map", "object");
	case CEL_STRING:
	case CEL_BYTES:
	case CEL_TIMESTAMP:
	case CEL_DURATION:
		return j->type == JSON_STRING ? from_string(a, j->s, t) : invalid(a, "a string", "string");
	case CEL_INT: {
		int64_t i;

		return json_i64(j, &i) ? cel__int(i) : invalid(a, "an integer", "integer");
	}
	case CEL_DOUBLE:
		return json_f64(j, &d) ? cel__double(d) : invalid(a, "a number", "number");
	case CEL_BOOL:
		return j->type == JSON_BOOL ? cel_value_bool(j->b) : invalid(a, "a boolean", "boolean");
	default:
		return untyped(a, j);
	}
}

/* ---- and back ---- */

/* Small values may stand for huge trees: the same list twice in a list that is twice in a list... */
struct limits {
	unsigned depth;
	size_t *nodes;
};

static struct limits deeper(struct limits l)
{
	l.depth++;
	return l;
}

static struct json *to_json(struct arena *a, struct cel_value v, struct limits limits, const char **ret_why);

static struct json *list_to_json(struct arena *a, const struct cel_list *l, struct limits limits, const char **ret_why)
{
	struct json *j = json_new_array(a);

	for (size_t i = 0; i < l->n; i++) {
		struct json *item = to_json(a, cel__list_at(a, l, i), limits, ret_why);

		if (item == NULL)
			return NULL;
		json_push(a, j, item);
	}
	return j;
}

static struct json *map_to_json(struct arena *a, const struct cel_map *m, struct limits limits, const char **ret_why)
{
	struct json *j = json_new_object(a);

	for (size_t i = 0; i < m->n; i++) {
		struct cel_value key, value;
		struct json *item;
		struct str name;

		cel__map_entry(a, m, i, &key, &value);
		if (key.kind != CEL_STRING) {
			*ret_why = "a map's keys must be strings";
			return NULL;
		}
		item = to_json(a, value, limits, ret_why);
		if (item == NULL)
			return NULL;
		name = m->json != NULL ? m->json->members[i].key : key.s;
		json_set(a, j, name, item);
	}
	return j;
}

static struct json *to_json(struct arena *a, struct cel_value v, struct limits limits, const char **ret_why)
{
	struct buf b = BUF_INIT;
	struct json *j;

	if (limits.depth > MAX_JSON_DEPTH || ++*limits.nodes > MAX_JSON_NODES) {
		*ret_why = "the value is nested too deeply or too large";
		return NULL;
	}
	switch (v.kind) {
	case CEL_NULL:
		return json_new_null(a);
	case CEL_BOOL:
		return json_new_bool(a, v.b);
	case CEL_INT:
		return json_new_int(a, v.i);
	case CEL_UINT:
		return json_new_number(a, arena_sprintf(a, "%llu", (unsigned long long)v.u));
	case CEL_DOUBLE:
		return json_new_double(a, v.d);
	case CEL_STRING:
		return json_new_str(a, v.s);
	case CEL_BYTES:
		codec_base64(&b, v.s);
		j = json_new_str(a, buf_str(&b));
		buf_fini(&b);
		return j;
	case CEL_TIMESTAMP:
		return json_new_str(a, cel__timestamp_text(a, v));
	case CEL_DURATION:
		return json_new_str(a, cel__duration_text(a, v.i));
	case CEL_LIST:
		return list_to_json(a, v.list, deeper(limits), ret_why);
	case CEL_MAP:
		return map_to_json(a, v.map, deeper(limits), ret_why);
	case CEL_OPAQUE:
		if (v.opaque->kind == OPAQUE_QUANTITY)
			return json_new_str(a, cel__opaque_text(a, v.opaque));
		/* fallthrough */
	default:
		*ret_why = arena_printf(a, "a value of type %s cannot be written as JSON", cel_type_text(a, cel__value_type(a, v)));
		return NULL;
	}
}

struct json *cel_to_json(struct arena *a, struct cel_value v, const char **ret_why)
{
	size_t nodes = 0;

	return to_json(a, v, (struct limits){0, &nodes}, ret_why);
}
