#include "proto/structural.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/structural-priv.h"
#include "proto/structural_rules.h"

static const char *const type_names[] = {"", "object", "array", "string", "integer", "number", "boolean"};

/* Where a schema stands decides what may be in it. */
enum level {
	AT_ROOT,
	AT_FIELD,
	AT_ITEM,
	AT_VALUE, /* inside allOf, anyOf, oneOf, not: may restrict values, and says nothing of the structure */
};

struct compiler {
	struct arena *arena;
	struct field_errs *errs;
	size_t n_nodes;
	unsigned depth;
};

const char *structural_type_name(enum structural_type t)
{
	return type_names[t];
}

static struct structural *compile(struct compiler *, const struct json *, const struct field_path *, enum level);

/* --- What may stand where ----------------------------------------------------------------------------------- */

/* Parts of JSON Schema that make an object's structure depend on its values, or that are too dear to check. */
static const struct refused {
	const char *key, *detail;
} refused[] = {
	{"$ref", "$ref is not supported"},
	{"additionalItems", "additionalItems is not supported"},
	{"definitions", "definitions is not supported"},
	{"dependencies", "dependencies is not supported"},
	{"id", "id is not supported"},
	{"patternProperties", "patternProperties is not supported"},
};
/* Keys that say what a place is: not allowed inside allOf, anyOf, oneOf, not. */
static const char *const structure_keys[] = {"type", "title", "description", "default", "additionalProperties", "nullable",
	"x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
	"x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"};

static void check_refused(struct compiler *c, const struct json *j, const struct field_path *path, enum level level)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (!json_is_null(json_getc(j, refused[i].key))) {
			struct field_path p = field_child(path, refused[i].key);

			field_forbidden(c->errs, &p, "%s", refused[i].detail);
		}
	if (json_true(json_getc(j, "uniqueItems"))) {
		struct field_path p = field_child(path, "uniqueItems");

		field_forbidden(c->errs, &p, "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
	}
	for (size_t i = 0; level == AT_VALUE && i < ARRAY_LEN(structure_keys); i++)
		if (!json_is_null(json_getc(j, structure_keys[i]))) {
			struct field_path p = field_child(path, structure_keys[i]);

			field_forbidden(c->errs, &p, "must be empty to be structural");
		}
}

/* anyOf: [{type: integer}, {type: string}], which is how int-or-string was written before it had a name. */
static bool is_int_or_string_any_of(const struct json *j)
{
	const struct json *any = json_getc(j, "anyOf");

	return json_len(any) == 2 && json_eqc(json_getc(json_at(any, 0), "type"), "integer") &&
	       json_eqc(json_getc(json_at(any, 1), "type"), "string");
}

static void read_type(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path,
		      enum level level)
{
	static const char *const required[] = {[AT_ROOT] = "must not be empty at the root",
					       [AT_FIELD] = "must not be empty for specified object fields",
					       [AT_ITEM] = "must not be empty for specified array items"};
	struct field_path p = field_child(path, "type");
	const struct json *type = json_getc(j, "type");
	bool known = false;

	for (size_t t = STRUCTURAL_OBJECT; t < ARRAY_LEN(type_names); t++)
		if (json_eqc(type, type_names[t])) {
			s->type = (enum structural_type)t;
			known = true;
		}
	if (level == AT_VALUE) {
		/* check_refused has told of it. */
		s->type = STRUCTURAL_NONE;
	} else if (json_str(type).n == 0) {
		if (!s->int_or_string && !(s->preserve_unknown && level != AT_ROOT))
			field_required(c->errs, &p, required[level]);
	} else if (!known) {
		static const char *const names[] = {"array", "boolean", "integer", "number", "object", "string", NULL};

		field_not_supported(c->errs, &p, json_str(type), names);
	} else if (level == AT_ROOT && s->type != STRUCTURAL_OBJECT) {
		field_invalid(c->errs, &p, type, "must be object at the root");
	} else if (s->int_or_string) {
		field_invalid(c->errs, &p, type, "must be empty if x-kubernetes-int-or-string is true");
	}
}

static void check_extensions(struct compiler *c, const struct structural *s, const struct json *j,
			     const struct field_path *path, enum level level)
{
	struct field_path embedded = field_child(path, "x-kubernetes-embedded-resource"),
			  nullable = field_child(path, "nullable"),
			  preserve = field_child(path, "x-kubernetes-preserve-unknown-fields");

	if (json_is(json_getc(j, "x-kubernetes-preserve-unknown-fields"), JSON_BOOL) && !s->preserve_unknown)
		field_invalid(c->errs, &preserve, json_getc(j, "x-kubernetes-preserve-unknown-fields"), "must be true or undefined");
	if (level == AT_ROOT && s->nullable)
		field_forbidden(c->errs, &nullable, "nullable cannot be true at the root");
	if (!s->embedded)
		return;
	if (level == AT_ROOT)
		field_forbidden(c->errs, &embedded, "must not be used at the root");
	if (s->type != STRUCTURAL_OBJECT) {
		struct field_path p = field_child(path, "type");

		field_invalid(c->errs, &p, json_newc(c->arena, type_names[s->type]),
			      "must be object if x-kubernetes-embedded-resource is true");
	}
	if (!s->preserve_unknown && s->n_properties == 0) {
		struct field_path p = field_child(path, "properties");

		field_required(c->errs, &p, "must not be empty if x-kubernetes-embedded-resource is true without "
					    "x-kubernetes-preserve-unknown-fields");
	}
}

/* --- Lists and maps -------------------------------------------------------------------------------------------- */

static void check_map_keys(struct compiler *c, const struct structural *s, const struct field_path *path)
{
	struct field_path keys = field_child(path, "x-kubernetes-list-map-keys"), items = field_child(path, "items");

	if (json_len(s->map_keys) == 0) {
		field_required(c->errs, &keys, "must not be empty if x-kubernetes-list-type is map");
		return;
	}
	if (s->items != NULL && s->items->type != STRUCTURAL_OBJECT) {
		struct field_path p = field_child(&items, "type");

		field_invalid(c->errs, &p, json_newc(c->arena, type_names[s->items->type]),
			      "must be object if parent array's x-kubernetes-list-type is map");
		return;
	}
	for (size_t i = 0; s->items != NULL && i < json_len(s->map_keys); i++) {
		struct str name = json_str(json_at(s->map_keys, i));
		const struct structural *of = structural_property(s->items, name);
		struct field_path at = field_index(&keys, i), props = field_child(&items, "properties"),
				  prop = field_key(&props, name);
		bool required = false;

		for (size_t k = 0; k < json_len(s->items->required); k++)
			required |= str_eq(json_str(json_at(s->items->required, k)), name);
		if (of == NULL || s->items->n_properties == 0)
			field_invalid_str(c->errs, &at, name, "entries must all be names of item properties");
		else if (of->type < STRUCTURAL_STRING && !of->int_or_string)
			field_invalid_str(c->errs, &prop, str_from(type_names[of->type]), "must be a scalar type if parent array's "
											  "x-kubernetes-list-type is map");
		else if (!required && of->dflt == NULL)
			field_required(c->errs, &prop, "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
						       "a required property");
	}
}

static void read_list_type(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path)
{
	static const char *const list_types[] = {"atomic", "set", "map", NULL}, *const map_types[] = {"atomic", "granular", NULL};
	struct field_path lp = field_child(path, "x-kubernetes-list-type"), mp = field_child(path, "x-kubernetes-map-type"),
			  kp = field_child(path, "x-kubernetes-list-map-keys");
	struct str list = json_str(json_getc(j, "x-kubernetes-list-type")), map = json_str(json_getc(j, "x-kubernetes-map-type"));

	s->map_keys = json_getc(j, "x-kubernetes-list-map-keys");
	s->map_atomic = str_eqc(map, "atomic");
	if (map.n != 0 && !s->map_atomic && !str_eqc(map, "granular"))
		field_not_supported(c->errs, &mp, map, map_types);
	else if (map.n != 0 && s->type != STRUCTURAL_OBJECT)
		field_invalid_str(c->errs, &mp, map, "must be object if x-kubernetes-map-type is specified");
	if (list.n != 0 && s->type != STRUCTURAL_ARRAY)
		field_invalid_str(c->errs, &lp, list, "must be array if x-kubernetes-list-type is specified");
	if (str_eqc(list, "set")) {
		s->list = STRUCTURAL_LIST_SET;
		if (s->items != NULL && s->items->type == STRUCTURAL_OBJECT && !s->items->map_atomic)
			field_invalid_str(c->errs, &lp, list, "items of a set must be scalars or atomic");
	} else if (str_eqc(list, "map")) {
		s->list = STRUCTURAL_LIST_MAP;
		check_map_keys(c, s, path);
	} else if (list.n != 0 && !str_eqc(list, "atomic")) {
		field_not_supported(c->errs, &lp, list, list_types);
	}
	if (s->list != STRUCTURAL_LIST_MAP && json_len(s->map_keys) != 0)
		field_forbidden(c->errs, &kp, "must be empty if x-kubernetes-list-type is not map");
}

static void read_properties(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path,
			    enum level level)
{
	const struct json *props = json_getc(j, "properties"), *more = json_getc(j, "additionalProperties");
	struct field_path pp = field_child(path, "properties"), ap = field_child(path, "additionalProperties");

	s->properties = arena_new_array(c->arena, struct structural_property, json_len(props));
	JSON_MEMBERS (m, props) {
		struct field_path p = field_key(&pp, m->key);

		s->properties[s->n_properties].name = m->key;
		s->properties[s->n_properties++].schema = compile(c, m->value, &p, level == AT_VALUE ? AT_VALUE : AT_FIELD);
	}
	if (s->n_properties)
		qsort(s->properties, s->n_properties, sizeof(s->properties[0]), structural__by_name);
	if (level == AT_VALUE || json_is_null(more))
		return;
	if (level == AT_ROOT)
		field_forbidden(c->errs, &ap, "must not be used at the root");
	if (s->n_properties)
		field_forbidden(c->errs, &ap, "additionalProperties and properties are mutual exclusive");
	if (json_is(more, JSON_OBJECT))
		s->additional = compile(c, more, &ap, AT_FIELD);
	else
		s->additional_any = json_true(more);
}

static void read_items(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path,
		       enum level level)
{
	const struct json *items = json_getc(j, "items");
	struct field_path p = field_child(path, "items");

	if (json_is(items, JSON_ARRAY))
		field_forbidden(c->errs, &p, "items must be a schema object and not an array");
	else if (json_is(items, JSON_OBJECT))
		s->items = compile(c, items, &p, level == AT_VALUE ? AT_VALUE : AT_ITEM);
	else if (s->type == STRUCTURAL_ARRAY)
		field_required(c->errs, &p, "must be specified");
}

/* --- Value validation ---------------------------------------------------------------------------------------------- */

static void read_bound(struct structural_bound *b, const struct json *j, const char *key, const char *exclusive)
{
	b->text = json_getc(j, key);
	b->set = json_f64(b->text, &b->value);
	b->exclusive = exclusive != NULL && json_true(json_getc(j, exclusive));
}

static void read_count(struct compiler *c, int64_t *ret, const struct json *j, const char *key, const struct field_path *path)
{
	const struct json *v = json_getc(j, key);

	*ret = json_i64_or(v, -1);
	if (!json_is_null(v) && *ret < 0) {
		struct field_path p = field_child(path, key);

		field_invalid(c->errs, &p, v, "must be greater than or equal to 0");
	}
}

static void read_values(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path)
{
	s->required = json_getc(j, "required");
	s->values = json_len(json_getc(j, "enum")) ? json_getc(j, "enum") : NULL;
	s->format = json_str(json_getc(j, "format"));
	read_bound(&s->minimum, j, "minimum", "exclusiveMinimum");
	read_bound(&s->maximum, j, "maximum", "exclusiveMaximum");
	read_bound(&s->multiple_of, j, "multipleOf", NULL);
	read_count(c, &s->min_length, j, "minLength", path);
	read_count(c, &s->max_length, j, "maxLength", path);
	read_count(c, &s->min_items, j, "minItems", path);
	read_count(c, &s->max_items, j, "maxItems", path);
	read_count(c, &s->min_properties, j, "minProperties", path);
	read_count(c, &s->max_properties, j, "maxProperties", path);
	s->pattern_text = json_str(json_getc(j, "pattern"));
	if (s->pattern_text.n != 0) {
		struct field_path p = field_child(path, "pattern");
		const char *why;

		s->pattern = structural__pattern(c->arena, s->pattern_text, &why);
		if (s->pattern == NULL)
			field_invalid_str(c->errs, &p, s->pattern_text, "must be a valid regular expression, but isn't: %s", why);
	}
}

static void read_branches(struct compiler *c, struct structural_list_of *list, const struct json *j, const char *key,
			  const struct field_path *path)
{
	const struct json *of = json_getc(j, key);
	struct field_path p = field_child(path, key);

	list->items = arena_new_array(c->arena, struct structural *, json_len(of));
	for (size_t i = 0; i < json_len(of); i++) {
		struct field_path at = field_index(&p, i);

		list->items[list->n++] = compile(c, json_at(of, i), &at, AT_VALUE);
	}
}

static void read_logic(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path)
{
	const struct json *not = json_getc(j, "not");

	/* The one place where types in anyOf are usual; it says no more than int-or-string itself. */
	if (!(s->int_or_string && is_int_or_string_any_of(j)))
		read_branches(c, &s->any_of, j, "anyOf", path);
	read_branches(c, &s->one_of, j, "oneOf", path);
	if (!(s->int_or_string && json_len(json_getc(j, "allOf")) && is_int_or_string_any_of(json_at(json_getc(j, "allOf"), 0))))
		read_branches(c, &s->all_of, j, "allOf", path);
	if (json_is(not, JSON_OBJECT)) {
		struct field_path p = field_child(path, "not");

		s->not = compile(c, not, &p, AT_VALUE);
	}
}

/* Inside logic only what is described outside as well may be described: else a value could be kept that pruning drops. */
static void check_described(struct compiler *c, const struct structural *outer, const struct structural *inner,
			    const struct field_path *path)
{
	struct field_path pp = field_child(path, "properties"), ip = field_child(path, "items");

	if (inner == NULL || outer == NULL)
		return;
	for (size_t i = 0; i < inner->n_properties; i++) {
		struct field_path p = field_key(&pp, inner->properties[i].name);
		const struct structural *of = structural_property(outer, inner->properties[i].name);

		if (of == NULL && !outer->preserve_unknown && !outer->additional_any && !outer->embedded)
			field_required(c->errs, &p, "because it is defined in a nested value validation");
		check_described(c, of, inner->properties[i].schema, &p);
	}
	if (inner->items != NULL && outer->items == NULL && !outer->preserve_unknown)
		field_required(c->errs, &ip, "because it is defined in a nested value validation");
	check_described(c, outer->items, inner->items, &ip);
}

static void check_logic(struct compiler *c, const struct structural *s, const struct field_path *path)
{
	const struct {
		const char *key;
		const struct structural_list_of *list;
	} lists[] = {{"allOf", &s->all_of}, {"anyOf", &s->any_of}, {"oneOf", &s->one_of}};
	struct field_path np = field_child(path, "not");

	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		for (size_t i = 0; i < lists[k].list->n; i++) {
			struct field_path p = field_child(path, lists[k].key), at = field_index(&p, i);

			check_described(c, s, lists[k].list->items[i], &at);
		}
	check_described(c, s, s->not, &np);
}

/* A default must be what the schema would take. */
static void read_default(struct compiler *c, struct structural *s, const struct json *j, const struct field_path *path)
{
	struct field_path p = field_child(path, "default");
	struct json *copy;

	s->dflt = json_getc(j, "default");
	if (s->dflt == NULL || c->errs->n != 0)
		return;
	copy = json_copy(c->arena, s->dflt);
	structural_prune(c->arena, s, copy, NULL, NULL);
	structural_default(c->arena, s, copy);
	if (!json_equal(copy, s->dflt) && json_is(s->dflt, JSON_OBJECT)) {
		struct json *pruned = json_copy(c->arena, s->dflt);

		structural_prune(c->arena, s, pruned, NULL, NULL);
		if (!json_equal(pruned, s->dflt)) {
			field_invalid(c->errs, &p, s->dflt, "must not have unknown fields");
			return;
		}
	}
	structural_validate(s, copy, NULL, &p, c->errs);
}

static struct structural *compile(struct compiler *c, const struct json *j, const struct field_path *path, enum level level)
{
	struct structural *s = arena_new_of(c->arena, struct structural);

	if (c->depth >= STRUCTURAL_MAX_DEPTH || ++c->n_nodes > STRUCTURAL_MAX_NODES) {
		field_forbidden(c->errs, path, "the schema is too large or nested too deeply");
		return s;
	}
	c->depth++;
	check_refused(c, j, path, level);
	s->nullable = json_true(json_getc(j, "nullable"));
	s->int_or_string = json_true(json_getc(j, "x-kubernetes-int-or-string"));
	s->preserve_unknown = json_true(json_getc(j, "x-kubernetes-preserve-unknown-fields"));
	s->embedded = json_true(json_getc(j, "x-kubernetes-embedded-resource"));
	s->rules = json_getc(j, "x-kubernetes-validations");
	s->description = json_str(json_getc(j, "description"));
	read_type(c, s, j, path, level);
	read_properties(c, s, j, path, level);
	read_items(c, s, j, path, level);
	if (level != AT_VALUE) {
		check_extensions(c, s, j, path, level);
		read_list_type(c, s, j, path);
	}
	read_values(c, s, j, path);
	read_logic(c, s, j, path);
	if (level != AT_VALUE) {
		check_logic(c, s, path);
		read_default(c, s, j, path);
	}
	c->depth--;
	return s;
}

struct structural *structural_compile(struct arena *a, const struct json *schema, const struct field_path *path,
				      struct field_errs *errs)
{
	struct compiler c = {.arena = a, .errs = errs};
	size_t before = errs->n;
	struct structural *s = compile(&c, schema, path, AT_ROOT);

	/* Types are those of a schema that is in order. */
	if (errs->n == before)
		structural_rules_compile(a, s, path, errs);
	return errs->n == before ? s : NULL;
}
