/* How custom objects are shown: rows of tables, selectable fields, definitions in OpenAPI. */
#include <string.h>

#include "base/util.h"
#include "proto/custom.h"
#include "proto/duration.h"
#include "proto/jsonpath.h"
#include "proto/openapi-priv.h"

/* --- Tables --------------------------------------------------------------------------------------------------------------- */

static struct json *since(struct arena *a, struct str time, int64_t now)
{
	char out[DURATION_SIZE];
	int64_t t;

	if (!time_parse(time, &t, NULL))
		return json_newc(a, "<invalid>");
	duration_human(now - t, out);
	return json_newc(a, out);
}

/* Null for what is not there or not of the column's type. */
static struct json *cell(struct arena *a, const char *type, struct json *v, int64_t now)
{
	if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
		return json_is(v, JSON_NUMBER) ? v : json_new_null(a);
	if (strcmp(type, "boolean") == 0)
		return json_is(v, JSON_BOOL) ? v : json_new_null(a);
	if (strcmp(type, "date") == 0)
		return json_is(v, JSON_STRING) ? since(a, v->s, now) : json_new_null(a);
	return json_is(v, JSON_STRING) ? v : json_new_str(a, json_text(a, v));
}

void custom_cells(struct arena *a, const struct custom *c, const struct json *obj, int64_t now, struct json *cells)
{
	for (size_t i = 0; i < c->n_columns; i++) {
		struct json **found = NULL, *v = json_new_null(a);
		struct err e = ERR_INIT;
		size_t n = 0;

		if (!c->column_paths[i].path)
			v = json_new_str(a, json_strp(obj, "metadata.name"));
		else if (jsonpath_find(a, str_from(c->column_paths[i].path), obj, &found, &n, &e) == 0 && n > 0 && !json_is_null(found[0]))
			v = cell(a, c->columns[i].type, found[0], now);
		json_push(a, cells, v);
	}
}

/* --- Fields ----------------------------------------------------------------------------------------------------------------- */

bool custom_selectable(const struct custom *c, struct str field)
{
	JSON_ITEMS (f, c->selectable) {
		struct str path = json_str(json_getc(f, "jsonPath"));

		if (path.n > 1 && str_eq(str_skip(path, 1), field))
			return true;
	}
	return false;
}

struct str custom_field(struct arena *a, const struct json *obj, struct str field)
{
	const struct json *v = json_getp(obj, arena_cstr(a, field));

	switch (json_type(v)) {
	case JSON_STRING:
	case JSON_NUMBER:
		return v->s;
	case JSON_BOOL:
		return v->b ? STR("true") : STR("false");
	default:
		return STR("");
	}
}

/* --- OpenAPI ---------------------------------------------------------------------------------------------------------------- */

/* What version 2 has no words for. */
static void strip(struct json *s)
{
	static const char *const unknown[] = {"nullable", "anyOf", "oneOf", "allOf", "not", "default"};

	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		json_delc(s, unknown[i]);
	JSON_MEMBERS (m, json_getc(s, "properties"))
		strip(m->value);
	if (json_is(json_getc(s, "items"), JSON_OBJECT))
		strip(json_getc(s, "items"));
	if (json_is(json_getc(s, "additionalProperties"), JSON_OBJECT))
		strip(json_getc(s, "additionalProperties"));
}

static void text_property(struct arena *a, struct json *props, const char *name, const char *description)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, "description", json_newc(a, description));
	json_setc(a, j, "type", json_newc(a, "string"));
	json_setc(a, props, name, j);
}

struct json *custom_openapi(struct arena *a, const struct custom *c, bool v3)
{
	const struct schema_type *meta = schema_type_find("meta.v1.ObjectMeta");
	struct json *s = json_copy(a, c->openapi), *props, *ref;

	if (!v3)
		strip(s);
	props = json_getc(s, "properties");
	if (!json_is(props, JSON_OBJECT)) {
		props = json_new_object(a);
		json_setc(a, s, "properties", props);
	}
	text_property(a, props, "apiVersion", "The version of the schema that this object follows.");
	text_property(a, props, "kind", "What this object is; the server may infer it from the path.");
	ref = openapi__ref(a, meta, v3);
	if (v3) {
		struct json *all = json_new_array(a), *outer = json_new_object(a);

		/* In v3 nothing may stand beside a $ref. */
		json_push(a, all, ref);
		json_setc(a, outer, "allOf", all);
		ref = outer;
	}
	json_setc(a, ref, "description", json_newc(a, "Standard metadata of an object."));
	json_setc(a, props, "metadata", ref);
	json_setc(a, s, "x-kubernetes-group-version-kind", openapi__gvk(a, c->res.api_version, c->res.kind));
	return s;
}
