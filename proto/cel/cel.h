/*
 * CEL, the Common Expression Language, as Kubernetes 1.36 uses it: rules of custom resources, admission policies, match
 * conditions. A pure library: text, types and values in, values out.
 *
 * Three steps, each with a struct of its own. An environment (struct cel_env) says which variables and functions an expression
 * may use, and of what types. cel_compile reads the text, expands macros, checks types and estimates the greatest cost; a
 * program (struct cel_program) is never changed afterwards and may be run from any thread. cel_run takes values for the variables
 * and gives a value or an error, and never more work than its limit allows.
 *
 *	struct cel_env *env = cel_env_new(&arena, CEL_LIBS_KUBERNETES);
 *	cel_env_var(env, "self", cel_type_structural(&arena, schema, true));
 *	struct cel_program *p = cel_compile(&arena, env, STR("self.spec.replicas <= 5"), &error);
 *	if (p == NULL) ... error is "ERROR: <input>:1:1: ..." with the line and a caret, as upstream prints it
 *	if (!cel_type_accepts(&cel_bool, cel_program_type(p))) ... "must evaluate to bool"
 *
 *	struct cel_var vars[] = {{.name = "self", .value = cel_from_json(&arena, obj, cel_env_var_type(env, "self"))}};
 *	struct cel_run run = {.arena = &arena, .vars = vars, .n_vars = 1};
 *	struct cel_value v = cel_run(p, &run);
 *	if (v.kind == CEL_ERROR) ... v.s is what went wrong; run.cost is what it took, run.over_limit whether it was cut off
 *
 * Types and programs live in the arena they are made in and borrow from what they are made of (schemas, names, texts). Values live
 * in the arena of the run and borrow from the JSON and the types they show. Costs are upstream's: cel-go's and those of Kubernetes' libraries.
 * What differs from upstream is in doc/cel.md.
 */
#ifndef PROTO_CEL_CEL_H
#define PROTO_CEL_CEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "proto/json.h"

struct schema_type;
struct structural;

/* ---- limits: the constants of Kubernetes ---- */

/* What one evaluation may cost; run.limit of 0 stands for it. */
#define CEL_PER_CALL_LIMIT 1000000u
/* What all rules of one object, or all expressions of one policy, may cost together. */
#define CEL_RUNTIME_COST_BUDGET 10000000
/* The same for match conditions, a quarter. */
#define CEL_RUNTIME_COST_BUDGET_MATCH_CONDITIONS 2500000
/* Estimates: of one rule of a custom resource (times how often it may run), and of all rules of a definition. */
#define CEL_ESTIMATED_COST_LIMIT 10000000u
#define CEL_ESTIMATED_CRD_COST_LIMIT 100000000u
/* The largest request, on which sizes without a bound in the schema are estimated. */
#define CEL_MAX_REQUEST_SIZE 3145728

/* Ours, so that no text takes the stack or the memory: see doc/cel.md. */
#define CEL_MAX_TEXT 100000u /* code points; cel-go's */
#define CEL_MAX_DEPTH 250u   /* nested expressions; cel-go's */
#define CEL_MAX_LEVELS 1000u /* of the tree: a + b + c + ... has one for each operator; && and || are balanced */
#define CEL_MAX_MEMORY ((size_t)64 << 20) /* bytes that a run may take while it runs, with those that its lazy fields run */
#define CEL_MAX_RESULT ((size_t)16 << 20) /* bytes that its result may take */
/* Work that costs do not show, which bounds a run's time: looking at parts of values, at 32 bytes of text, tries of patterns. */
#define CEL_MAX_STEPS 4000000u
/* A run that did more such work than its cost shows is charged for it: one for so many steps, so that budgets bound time, too. */
#define CEL_STEPS_PER_COST 8u

/* ---- types ---- */

enum cel_kind {
	CEL_DYN, /* a type only: not known before it runs */
	CEL_ERROR,
	CEL_NULL,
	CEL_BOOL,
	CEL_INT,
	CEL_UINT,
	CEL_DOUBLE,
	CEL_STRING,
	CEL_BYTES,
	CEL_TIMESTAMP,
	CEL_DURATION,
	CEL_LIST,
	CEL_MAP,
	CEL_OBJECT, /* named fields: undeclared ones are refused when it is compiled */
	CEL_TYPE,
	CEL_OPTIONAL,
	CEL_OPAQUE, /* kubernetes.Quantity, net.IP, kubernetes.authorization.Authorizer, ... */
	CEL_PARAM,  /* internal: a variable in a signature */
};

struct cel_type;

struct cel_field {
	const char *name; /* as it is written in an expression (escaped: see cel_escape) */
	const struct cel_type *type;
	const char *json; /* the member's key; NULL: the name */
};

struct cel_type {
	enum cel_kind kind;
	const char *name;            /* of an object or opaque type; of a parameter */
	const struct cel_type *elem; /* of a list, optional or type; a map's values */
	const struct cel_type *key;  /* a map's keys */
	const struct cel_field *fields; /* an object's, by name */
	size_t n_fields;
	bool open; /* an object any of whose fields may be named; they are dyn, or `elem` */
	/* For estimates, as upstream keeps them; max_elements 0: no bound is known (or a scalar). */
	uint64_t max_elements, min_size;
	/* Where it came from, if anywhere: lists that are sets or maps are compared and added as such; sizes are known below. */
	const struct structural *schema;
};

extern const struct cel_type cel_dyn, cel_null, cel_bool, cel_int, cel_uint, cel_double, cel_string, cel_bytes, cel_timestamp,
	cel_duration, cel_any_type;
extern const struct cel_type cel_authorizer_type, cel_authorizer_resource_type; /* opaque */

const struct cel_type *cel_type_list(struct arena *, const struct cel_type *elem);
const struct cel_type *cel_type_map(struct arena *, const struct cel_type *key, const struct cel_type *value);
const struct cel_type *cel_type_optional(struct arena *, const struct cel_type *);
/* The fields are copied and sorted, the names are not. */
const struct cel_type *cel_type_object(struct arena *, const char *name, const struct cel_field *fields, size_t n);
/*
 * The type of a place in a custom resource. root: apiVersion, kind, metadata.name and metadata.generateName are there too (also
 * so for embedded resources below). Sizes for estimates come from maxLength, maxItems, maxProperties. NULL: upstream does not show
 * it to expressions (no type; an array or map of such; x-kubernetes-preserve-unknown-fields without properties).
 */
const struct cel_type *cel_type_structural(struct arena *, const struct structural *, bool root);
/* The type of a built-in kind, for checking the expressions of policies; recursive types are dyn at the second level. */
const struct cel_type *cel_type_schema(struct arena *, const struct schema_type *);
/* `request` and `namespaceObject` of admission expressions. */
const struct cel_type *cel_type_admission_request(struct arena *);
const struct cel_type *cel_type_namespace(struct arena *);

/* Whether a value of type `have` may stand where `want` is asked for (dyn goes with all). */
bool cel_type_accepts(const struct cel_type *want, const struct cel_type *have);
/* As upstream prints it: "list(string)", "map(string, dyn)". In the arena. */
const char *cel_type_text(struct arena *, const struct cel_type *);
/* How a property is written in an expression ("__namespace__", "foo__dot__bar"); false: it cannot be named. */
bool cel_escape(struct arena *, struct str property, struct str *ret);

/* ---- environments ---- */

enum cel_lib {
	CEL_LIB_LISTS = 1 << 0, /* isSorted, sum, min, max, indexOf, lastIndexOf */
	CEL_LIB_REGEX = 1 << 1, /* find, findAll */
	CEL_LIB_URL = 1 << 2,
	CEL_LIB_AUTHZ = 1 << 3,
	CEL_LIB_OPTIONAL = 1 << 4,
	CEL_LIB_QUANTITY = 1 << 5,
	CEL_LIB_STRINGS = 1 << 6,
	CEL_LIB_SETS = 1 << 7,
	CEL_LIB_IP = 1 << 8,
	CEL_LIB_CIDR = 1 << 9,
	CEL_LIB_FORMAT = 1 << 10,
	CEL_LIB_TWO_VARS = 1 << 11, /* two-variable comprehensions */
	CEL_LIB_SEMVER = 1 << 12,
	CEL_LIB_BINDINGS = 1 << 13,  /* cel.bind: not in the common set of Kubernetes */
	CEL_LIB_MATH = 1 << 14,      /* the same */
	CEL_LIB_ENCODERS = 1 << 15,  /* the same */
	CEL_LIB_JSONPATCH = 1 << 16, /* jsonpatch.escapeKey and JSONPatch{}: mutating policies */
	CEL_LIB_OBJECTS = 1 << 17,   /* Object{spec: Object.spec{...}}: mutating policies */
	CEL_LIB_LISTS_EXT = 1 << 18, /* slice, flatten, sort, sortBy, distinct, reverse, lists.range */
};
/* What every expression of Kubernetes 1.36 may use. */
#define CEL_LIBS_KUBERNETES (((1u << 13) - 1) | CEL_LIB_LISTS_EXT)
/* What a MutatingAdmissionPolicy's mutations may use. */
#define CEL_LIBS_MUTATION (CEL_LIBS_KUBERNETES | CEL_LIB_JSONPATCH | CEL_LIB_OBJECTS)

struct cel_env;

struct cel_env *cel_env_new(struct arena *, unsigned libs);
/* Declare a variable, or change its type. A name may hold dots ("authorizer.requestResource"). */
void cel_env_var(struct cel_env *, const char *name, const struct cel_type *);
/* NULL: there is none. */
const struct cel_type *cel_env_var_type(const struct cel_env *, const char *name);

/* ---- compiling ---- */

struct cel_program;

struct cel_cost {
	uint64_t min, max;
};

/* NULL: *ret_error (in the arena) is the report of all that is wrong, in upstream's form. */
struct cel_program *cel_compile(struct arena *, const struct cel_env *, struct str text, struct str *ret_error);
const struct cel_type *cel_program_type(const struct cel_program *);
/* What it may cost at least and at most, from what the types say about sizes. UINT64_MAX: no bound. */
struct cel_cost cel_program_cost(const struct cel_program *);
/* Whether it mentions a variable: "oldSelf" makes a rule a transition rule. */
bool cel_program_uses(const struct cel_program *, const char *var);
struct str cel_program_source(const struct cel_program *);

/* ---- values ---- */

struct cel_list;
struct cel_map;
struct cel_opaque;

struct cel_value {
	enum cel_kind kind; /* OBJECT is a MAP here, with map->type */
	union {
		bool b;
		int64_t i; /* also a duration, in nanoseconds */
		uint64_t u;
		double d;
		struct str s; /* string, bytes; the text of an error */
		struct {
			int64_t seconds; /* of a timestamp, since 1970 */
			int32_t nanos;   /* 0 to 999999999 */
			int32_t offset;  /* of the zone it was written in, seconds: for its text */
		};
		const struct cel_list *list;
		const struct cel_map *map;
		const struct cel_type *type;
		const struct cel_value *optional; /* NULL: none */
		const struct cel_opaque *opaque;
	};
};

/* A value shown by type: NULL stands for dyn. A JSON null, and nothing (NULL), are null. Nothing is copied or walked. */
struct cel_value cel_from_json(struct arena *, const struct json *, const struct cel_type *);
/* Back: timestamps, durations, quantities as strings, bytes as base64. NULL: *ret_why says what has no JSON form. */
struct json *cel_to_json(struct arena *, struct cel_value, const char **ret_why);
struct cel_value cel_error(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct cel_value cel_some(struct arena *, struct cel_value);
struct cel_value cel_none(void);
static inline struct cel_value cel_value_bool(bool b)
{
	return (struct cel_value){.kind = CEL_BOOL, .b = b};
}
static inline struct cel_value cel_value_str(struct str s)
{
	return (struct cel_value){.kind = CEL_STRING, .s = s};
}
/* As a string() conversion or, for what has none, a Go-like text: for messages. */
struct str cel_value_text(struct arena *, struct cel_value);

/*
 * Fields that are made when they are asked for, each once at most for this value: `variables`. get returns the field's value, or an
 * error, which is then that of the expression. It is asked for declared fields only. It may run other programs; what these cost is
 * its own to count. The arena is that of the value, which must live as long as the value is used.
 */
struct cel_lazy {
	struct cel_value (*get)(struct cel_lazy *, struct arena *, struct str field);
};
struct cel_value cel_value_lazy(struct arena *, struct cel_lazy *, const struct cel_type *);

/* ---- the authorizer ---- */

struct cel_query {
	struct str service_account_namespace, service_account; /* asked for that account; both empty: for the requester */
	bool resource_request;
	struct str path;                        /* of a request that is not for a resource */
	struct str group, resource, subresource, namespace, name;
	struct str field_selector, label_selector; /* as written; empty: none */
	struct str verb;
};

struct cel_decision {
	bool allowed;
	struct str reason, error; /* error not empty: errored() */
};

struct cel_authorizer {
	struct cel_decision (*check)(struct cel_authorizer *, struct arena *, const struct cel_query *);
};
/* `authorizer`, and `authorizer.requestResource` (the query says for what). */
struct cel_value cel_value_authorizer(struct arena *, struct cel_authorizer *);
struct cel_value cel_value_authorizer_resource(struct arena *, struct cel_authorizer *, const struct cel_query *);

/* ---- running ---- */

struct cel_var {
	const char *name;
	struct cel_value value;
};

struct cel_run {
	struct arena *arena;
	const struct cel_var *vars;
	size_t n_vars;
	uint64_t limit; /* 0: CEL_PER_CALL_LIMIT */
	/*
	 * The bytes of a TZif file for a name of the time zone database, or nothing when there is none; they must live as long as the
	 * run. NULL: by cel_zones_by_default, and without that only UTC and offsets ("+01:00") are known.
	 */
	struct str (*zone)(void *arg, struct str name);
	void *zone_arg;
	/* out */
	uint64_t cost;
	bool over_limit; /* the error is that the limit was reached */
};

/*
 * Where runs look for time zones that were given none of their own; for the whole process, on any thread. Rules of schemas run deep
 * inside of validation, whose callers have nothing to do with zones.
 */
void cel_zones_by_default(struct str (*zone)(struct str name));

/*
 * The result, or a value of kind CEL_ERROR. It is all that is left in the arena: what was made on the way is freed. Take run->cost off a
 * budget that several runs share.
 */
struct cel_value cel_run(const struct cel_program *, struct cel_run *);

#endif
