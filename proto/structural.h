/*
 * struct structural: the schema that a CustomResourceDefinition brings for its objects, compiled from openAPIV3Schema.
 *
 * A structural schema says the type of every place in an object (that is what makes it structural), so that one walk
 * can drop what is not in it, fill in defaults, and check values. It is made once for each version of a definition and
 * then only read, from any thread. See "Extend the Kubernetes API with CustomResourceDefinitions" in the public
 * documentation; messages are those of the API server.
 *
 *	structural_compile(arena, schema_json, path, &s, &errs);      errs.n: the definition is refused
 *	structural_prune(arena, s, obj, on_dropped, arg);             what the schema does not know
 *	structural_default(arena, s, obj);
 *	structural_validate(s, obj, NULL, NULL, &errs);
 *
 * Patterns run on PCRE2 with a limit on matching steps; syntax that RE2 (upstream's engine) does not have is refused, so
 * that a definition means the same here and there. apiVersion, kind and metadata of the root and of embedded resources are not
 * the schema's: they are left alone here, whoever serves the object checks them.
 */
#ifndef PROTO_STRUCTURAL_H
#define PROTO_STRUCTURAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "proto/json.h"

struct field_errs;
struct field_path;
struct structural;
struct structural_pattern;
struct structural_rules;

enum structural_type {
	STRUCTURAL_NONE, /* value validation only, or x-kubernetes-preserve-unknown-fields without a type */
	STRUCTURAL_OBJECT,
	STRUCTURAL_ARRAY,
	STRUCTURAL_STRING,
	STRUCTURAL_INTEGER,
	STRUCTURAL_NUMBER,
	STRUCTURAL_BOOLEAN,
};

enum structural_list { STRUCTURAL_LIST_ATOMIC, STRUCTURAL_LIST_SET, STRUCTURAL_LIST_MAP };

struct structural_property {
	struct str name;
	struct structural *schema;
};

struct structural_list_of {
	struct structural **items;
	size_t n;
};

/* A bound that may be absent. */
struct structural_bound {
	bool set, exclusive;
	double value;
	const struct json *text; /* as it was written, for messages */
};

struct structural {
	enum structural_type type;
	bool nullable, int_or_string, preserve_unknown, embedded;
	const struct json *dflt; /* NULL: none */

	/* Objects. `additional` NULL and additional_any false: only the properties. */
	struct structural_property *properties; /* by name */
	size_t n_properties;
	struct structural *additional;
	bool additional_any;
	bool map_atomic; /* x-kubernetes-map-type: atomic */
	/* Arrays. */
	struct structural *items;
	enum structural_list list;
	const struct json *map_keys; /* array of strings, with STRUCTURAL_LIST_MAP */

	/* Value validation. Counts are -1 when absent. */
	const struct json *required, *values; /* arrays; values: enum */
	struct structural_bound minimum, maximum, multiple_of;
	int64_t min_length, max_length, min_items, max_items, min_properties, max_properties;
	struct str pattern_text, format;
	const struct structural_pattern *pattern; /* NULL: none */
	struct structural_list_of all_of, any_of, one_of;
	struct structural *not;
	const struct json *rules; /* x-kubernetes-validations */
	const struct structural_rules *rules_here; /* the same, compiled; NULL: none */
	bool rules_below;         /* here or further down */
	struct str description;
};

/*
 * NULL when something is wrong: all that is, is in errs, below `path`. The result lives in the arena and borrows from
 * `schema`, which must live as long and not change. Nesting deeper than STRUCTURAL_MAX_DEPTH and more than STRUCTURAL_MAX_NODES
 * schemas are refused.
 */
#define STRUCTURAL_MAX_DEPTH 100
#define STRUCTURAL_MAX_NODES 50000
struct structural *structural_compile(struct arena *, const struct json *schema, const struct field_path *path,
				      struct field_errs *errs);

/* The schema of a property, looked for in properties, then additional; NULL: it is not described. */
const struct structural *structural_property(const struct structural *, struct str name);

/*
 * Drop members that the schema does not know, in place. `dropped` (may be NULL) is told the path of each as strict
 * field validation words it ("spec.foo"), before it goes.
 */
void structural_prune(struct arena *, const struct structural *, struct json *obj,
		      void (*dropped)(void *arg, struct str path), void *arg);
/* Fill in defaults where nothing is, and where null is but may not be. In place. */
void structural_default(struct arena *, const struct structural *, struct json *obj);
/*
 * Everything that is wrong with a value at this path (NULL: the whole object), but for rules (structural_rules.h). `old` (may be NULL) is
 * what stood there before: what has not changed is not looked at, so that a schema may become stricter without breaking its objects.
 */
void structural_validate(const struct structural *, const struct json *value, const struct json *old, const struct field_path *path,
			 struct field_errs *errs);

/* Whether a string is of a named format; true for names that are not known, as upstream. */
bool structural_format_ok(struct str format, struct str value);
const char *structural_type_name(enum structural_type);

#endif
