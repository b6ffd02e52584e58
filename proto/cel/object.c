/*
 * Types by name: what identifiers like `int` stand for, and what mutating policies construct. `Object` stands for the object that is
 * changed, `Object.spec` for its field, and so on: any field may be set to anything, but an object only where its name says.
 */
#include <string.h>

#include "proto/cel/cel-priv.h"

static const struct cel_type list_type = {.kind = CEL_LIST, .name = "list", .elem = &cel_dyn};
static const struct cel_type map_type = {.kind = CEL_MAP, .name = "map", .key = &cel_dyn, .elem = &cel_dyn};
static const struct cel_type optional_type = {.kind = CEL_OPTIONAL, .name = "optional_type", .elem = &cel_dyn};

static const struct {
	const char *name;
	unsigned libs;
	const struct cel_type *type;
} names[] = {
	{"bool", 0, &cel_bool},
	{"bytes", 0, &cel_bytes},
	{"double", 0, &cel_double},
	{"int", 0, &cel_int},
	{"list", 0, &list_type},
	{"map", 0, &map_type},
	{"null_type", 0, &cel_null},
	{"string", 0, &cel_string},
	{"type", 0, &cel_any_type},
	{"uint", 0, &cel_uint},
	{"google.protobuf.Duration", 0, &cel_duration},
	{"google.protobuf.Timestamp", 0, &cel_timestamp},
	{"optional_type", CEL_LIB_OPTIONAL, &optional_type},
	{"kubernetes.Quantity", CEL_LIB_QUANTITY, &cel__opaque_types[OPAQUE_QUANTITY]},
	{"net.IP", CEL_LIB_IP, &cel__opaque_types[OPAQUE_IP]},
	{"net.CIDR", CEL_LIB_CIDR, &cel__opaque_types[OPAQUE_CIDR]},
	{"kubernetes.URL", CEL_LIB_URL, &cel__opaque_types[OPAQUE_URL]},
	{"kubernetes.NamedFormat", CEL_LIB_FORMAT, &cel__opaque_types[OPAQUE_FORMAT]},
	{"kubernetes.Semver", CEL_LIB_SEMVER, &cel__opaque_types[OPAQUE_SEMVER]},
};

const struct cel_type *cel__type_named(unsigned libs, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(name, names[i].name) && (names[i].libs == 0 || (names[i].libs & libs)))
			return names[i].type;
	return NULL;
}

const char *cel__type_name(const struct cel_type *t)
{
	switch (t->kind) {
	case CEL_TIMESTAMP:
		return "google.protobuf.Timestamp";
	case CEL_DURATION:
		return "google.protobuf.Duration";
	case CEL_NULL:
		return "null_type";
	default:
		return t->name;
	}
}

const struct cel_type *cel__struct_named(struct arena *a, unsigned libs, struct str name)
{
	static const struct cel_field patch_fields[] = {
		{"from", &cel_string, "from"},
		{"op", &cel_string, "op"},
		{"path", &cel_string, "path"},
		{"value", &cel_dyn, "value"},
	};
	static const struct cel_type patch = {
		.kind = CEL_OBJECT, .name = "JSONPatch", .fields = patch_fields, .n_fields = ARRAY_LEN(patch_fields)};
	struct cel_type *t;

	if ((libs & CEL_LIB_JSONPATCH) && str_eqc(name, "JSONPatch"))
		return &patch;
	if (!(libs & CEL_LIB_OBJECTS) || !(str_eqc(name, "Object") || str_has_prefix(name, STR("Object."))))
		return NULL;
	t = arena_new_of(a, struct cel_type);
	t->kind = CEL_OBJECT;
	t->name = arena_cstr(a, name);
	t->open = true;
	return t;
}

/* Objects in a value must have the name `want`. */
static const char *misplaced(struct cel__eval *v, struct cel_value value, const char *want)
{
	const struct cel_type *t;

	if (value.kind == CEL_LIST && value.list->json == NULL) {
		for (size_t i = 0; i < value.list->n && cel__step(v); i++) {
			const char *name = misplaced(v, value.list->store->items[i], want);

			if (name != NULL)
				return name;
		}
		return NULL;
	}
	if (value.kind != CEL_MAP || value.map->type == NULL || value.map->type->kind != CEL_OBJECT || !value.map->type->open)
		return NULL;
	t = value.map->type;
	return strcmp(t->name, want) == 0 ? NULL : t->name;
}

struct cel_value cel__struct_field(struct cel__eval *v, const struct cel_type *t, struct str field, struct cel_value value)
{
	const char *want, *name;

	if (!t->open)
		return value;
	want = arena_printf(v->a, "%s.%.*s", t->name, STR_FMT(field));
	name = misplaced(v, value, want);
	if (name == NULL)
		return value;
	return cel_error(v->a, "unexpected type name \"%s\", expected \"%s\", which matches field name path from root Object type", name,
		want);
}

/* ---- property names ---- */

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool cel_escape(struct arena *a, struct str property, struct str *ret)
{
	struct buf b = BUF_INIT;
	bool ok = true;

	if (property.n == 0 || (property.p[0] >= '0' && property.p[0] <= '9'))
		return false;
	if (cel__reserved(property)) {
		*ret = arena_sprintf(a, "__%.*s__", STR_FMT(property));
		return true;
	}
	for (size_t i = 0; i < property.n && ok; i++) {
		char c = property.p[i];

		if (c == '.') {
			buf_addc(&b, "__dot__");
		} else if (c == '-') {
			buf_addc(&b, "__dash__");
		} else if (c == '/') {
			buf_addc(&b, "__slash__");
		} else if (c == '_' && i + 1 < property.n && property.p[i + 1] == '_') {
			buf_addc(&b, "__underscores__");
			i++;
		} else {
			ok = plain(c);
			buf_add1(&b, c);
		}
	}
	if (ok)
		*ret = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return ok;
}
