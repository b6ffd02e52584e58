#include <string.h>

#include "base/util.h"
#include "proto/openapi-priv.h"
#include "proto/wire.h"

/*
 * The messages of gnostic's openapi.v2 package that our documents use, by field number. Free values
 * (defaults, enums, extensions) are Any {2: yaml}; JSON is YAML.
 */
enum {
	ANY_YAML = 2,
	NAMED_NAME = 1,
	NAMED_VALUE = 2,

	SCHEMA_REF = 1,
	SCHEMA_FORMAT = 2,
	SCHEMA_DESCRIPTION = 4,
	SCHEMA_DEFAULT = 5,
	SCHEMA_REQUIRED_LIST = 19,
	SCHEMA_ENUM_LIST = 20,
	SCHEMA_ADDITIONAL = 21,
	SCHEMA_TYPE = 22,
	SCHEMA_ITEMS_ITEM = 23,
	SCHEMA_PROPERTIES = 25,
	SCHEMA_EXTENSION = 31,

	PATH_PARAMETERS = 9,

	OP_ID = 5,
	OP_PARAMETERS = 8,
	OP_RESPONSES = 9,
	OP_EXTENSION = 13,
};

static void any(struct buf *b, unsigned number, const struct json *v)
{
	size_t outer = wire_open(b, number), inner = wire_open(b, ANY_YAML);

	json_print(b, v, JSON_COMPACT | JSON_RAW_HTML);
	wire_close(b, inner);
	wire_close(b, outer);
}

static void extension(struct buf *b, unsigned number, const struct json_member *m)
{
	size_t at = wire_open(b, number);

	wire_add_bytes(b, NAMED_NAME, m->key);
	any(b, NAMED_VALUE, m->value);
	wire_close(b, at);
}

static void schema(struct buf *b, const struct json *j);

static void schema_at(struct buf *b, unsigned number, const struct json *j)
{
	size_t at = wire_open(b, number);

	schema(b, j);
	wire_close(b, at);
}

/* A schema one message further in: items, additional properties. */
static void wrapped_schema(struct buf *b, unsigned number, const struct json *j)
{
	size_t at = wire_open(b, number);

	schema_at(b, 1, j);
	wire_close(b, at);
}

static void schema_member(struct buf *b, const struct json_member *m)
{
	static const struct {
		const char *key;
		unsigned number;
	} strings[] = {{"$ref", SCHEMA_REF}, {"format", SCHEMA_FORMAT},
		{"description", SCHEMA_DESCRIPTION}};
	size_t at;

	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		if (str_eqc(m->key, strings[i].key))
			wire_add_bytes(b, strings[i].number, json_str(m->value));
	if (str_eqc(m->key, "type")) {
		at = wire_open(b, SCHEMA_TYPE);
		wire_add_bytes(b, 1, json_str(m->value));
		wire_close(b, at);
	} else if (str_eqc(m->key, "default")) {
		any(b, SCHEMA_DEFAULT, m->value);
	} else if (str_eqc(m->key, "required")) {
		JSON_ITEMS (it, m->value)
			wire_add_bytes(b, SCHEMA_REQUIRED_LIST, json_str(it));
	} else if (str_eqc(m->key, "enum")) {
		JSON_ITEMS (it, m->value)
			any(b, SCHEMA_ENUM_LIST, it);
	} else if (str_eqc(m->key, "items")) {
		wrapped_schema(b, SCHEMA_ITEMS_ITEM, m->value);
	} else if (str_eqc(m->key, "additionalProperties")) {
		wrapped_schema(b, SCHEMA_ADDITIONAL, m->value);
	} else if (str_eqc(m->key, "properties")) {
		at = wire_open(b, SCHEMA_PROPERTIES);
		JSON_MEMBERS (p, m->value)
			openapi__proto_schema(b, 1, p->key, p->value);
		wire_close(b, at);
	} else if (str_has_prefix(m->key, STR("x-"))) {
		extension(b, SCHEMA_EXTENSION, m);
	}
}

static void schema(struct buf *b, const struct json *j)
{
	JSON_MEMBERS (m, j)
		schema_member(b, m);
}

void openapi__proto_schema(struct buf *b, unsigned number, struct str name, const struct json *j)
{
	size_t at = wire_open(b, number);

	wire_add_bytes(b, NAMED_NAME, name);
	schema_at(b, NAMED_VALUE, j);
	wire_close(b, at);
}

/* ---- paths ---- */

/* Where the parts of each kind of parameter stand: body, query, path. */
static void body_parameter(struct buf *b, const struct json *p)
{
	size_t at = wire_open(b, 1);

	wire_add_bytes(b, 2, json_str(json_getc(p, "name")));
	wire_add_bytes(b, 3, STR("body"));
	wire_add_uint(b, 4, 1);
	schema_at(b, 5, json_getc(p, "schema"));
	wire_close(b, at);
}

static void other_parameter(struct buf *b, const struct json *p)
{
	bool query = json_eqc(json_getc(p, "in"), "query"), header = json_eqc(json_getc(p, "in"), "header");
	size_t non_body = wire_open(b, 2), at = wire_open(b, query ? 3 : header ? 1 : 4);

	if (!query && (!header || json_true(json_getc(p, "required"))))
		wire_add_uint(b, 1, 1);
	wire_add_bytes(b, 2, json_str(json_getc(p, "in")));
	wire_add_bytes(b, 4, json_str(json_getc(p, "name")));
	wire_add_bytes(b, query ? 6 : 5, json_str(json_getc(p, "type")));
	wire_add_uint(b, query ? 20 : 19, 1);
	wire_close(b, at);
	wire_close(b, non_body);
}

static void parameters(struct buf *b, unsigned number, const struct json *list)
{
	JSON_ITEMS (p, list) {
		const struct json *ref = json_getc(p, "$ref");
		size_t item = wire_open(b, number), at = wire_open(b, ref ? 2 : 1);

		if (ref)
			wire_add_bytes(b, 1, json_str(ref));
		else if (json_eqc(json_getc(p, "in"), "body"))
			body_parameter(b, p);
		else
			other_parameter(b, p);
		wire_close(b, at);
		wire_close(b, item);
	}
}

/* Responses {1: NamedResponseValue {name, value: {1: Response {1: description, 2: {1: schema}}}}}
 */
static void responses(struct buf *b, const struct json *j)
{
	size_t all = wire_open(b, OP_RESPONSES);

	JSON_MEMBERS (m, j) {
		size_t named = wire_open(b, 1), value, response;

		wire_add_bytes(b, NAMED_NAME, m->key);
		value = wire_open(b, NAMED_VALUE);
		response = wire_open(b, 1);
		wire_add_bytes(b, 1, json_str(json_getc(m->value, "description")));
		if (json_getc(m->value, "schema"))
			wrapped_schema(b, 2, json_getc(m->value, "schema"));
		wire_close(b, response);
		wire_close(b, value);
		wire_close(b, named);
	}
	wire_close(b, all);
}

static void operation(struct buf *b, unsigned number, const struct json *j)
{
	size_t at = wire_open(b, number);

	wire_add_bytes(b, OP_ID, json_str(json_getc(j, "operationId")));
	parameters(b, OP_PARAMETERS, json_getc(j, "parameters"));
	responses(b, json_getc(j, "responses"));
	JSON_MEMBERS (m, j)
		if (str_has_prefix(m->key, STR("x-")))
			extension(b, OP_EXTENSION, m);
	wire_close(b, at);
}

void openapi__proto_path(struct buf *b, unsigned number, struct str path, const struct json *item)
{
	static const struct {
		const char *method;
		unsigned number;
	} methods[] = {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"options", 6}, {"head", 7}, {"patch", 8}};
	size_t at = wire_open(b, number), value;

	wire_add_bytes(b, NAMED_NAME, path);
	value = wire_open(b, NAMED_VALUE);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (json_getc(item, methods[i].method))
			operation(b, methods[i].number, json_getc(item, methods[i].method));
	parameters(b, PATH_PARAMETERS, json_getc(item, "parameters"));
	wire_close(b, value);
	wire_close(b, at);
}
