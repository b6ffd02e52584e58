/*
 * The schema: what every API message looks like on the wire and as JSON, as const tables.
 *
 * schemagen makes the tables from the .proto files when the program is built. One interpreter each reads them: the
 * codecs, strategic merge, defaults, validation, OpenAPI. Nothing here allocates; everything is read-only and may be
 * used from any thread. Types are named "core.v1.Pod", "meta.v1.ObjectMeta", "apps.v1.Deployment".
 *
 *	const struct schema_type *pod = schema_type_find("core.v1.Pod");
 *	const struct schema_field *f = schema_field_find(pod, STR("spec"));     f->type is core.v1.PodSpec
 *
 * An INLINE field is a message on the wire, but its members stand in the parent's JSON object: schema_field_find looks
 * through it; who walks type->fields descends into it with the same JSON object.
 */
#ifndef PROTO_SCHEMA_H
#define PROTO_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum schema_kind {
	SCHEMA_STRING,
	SCHEMA_BYTES, /* base64 in JSON */
	SCHEMA_BOOL,
	SCHEMA_INT32,
	SCHEMA_INT64,
	SCHEMA_DOUBLE,
	SCHEMA_MESSAGE,
};

/* How a message looks in JSON; see options.proto. */
enum schema_json {
	SCHEMA_PLAIN,
	SCHEMA_TIME,
	SCHEMA_MICRO_TIME,
	SCHEMA_DURATION,
	SCHEMA_QUANTITY,
	SCHEMA_INT_OR_STRING,
	SCHEMA_RAW_JSON,
	SCHEMA_ITEMS,
	SCHEMA_SCHEMA_OR_ARRAY,
	SCHEMA_SCHEMA_OR_BOOL,
	SCHEMA_SCHEMA_OR_STRINGS,
	SCHEMA_CUSTOM, /* an object of a custom resource: see proto/custom.h */
	SCHEMA_ANY,    /* undescribed parts of custom resources: anything at all; objects are maps */
};

enum schema_flag {
	SCHEMA_REPEATED = 1 << 0,  /* a list */
	SCHEMA_MAP = 1 << 1,       /* from strings to `kind`; never REPEATED at the same time */
	SCHEMA_ALWAYS = 1 << 2,    /* JSON shows it also when it is empty */
	SCHEMA_INLINE = 1 << 3,
	SCHEMA_POINTER = 1 << 4,   /* absent and zero differ */
	SCHEMA_REQUIRED = 1 << 5,
	SCHEMA_OPTIONAL = 1 << 6,
	SCHEMA_OMITZERO = 1 << 7,  /* an empty struct is not shown */
	SCHEMA_LIST_ATOMIC = 1 << 8,
	SCHEMA_LIST_SET = 1 << 9,
	SCHEMA_LIST_MAP = 1 << 10, /* keyed by more->map_keys */
	SCHEMA_STRUCT_ATOMIC = 1 << 11,
	SCHEMA_STRUCT_GRANULAR = 1 << 12,
	SCHEMA_TYPED = 1 << 13, /* messages show kind and apiVersion */
};

struct structural;

/* Values of a string type. A value of "" says that empty is allowed. */
struct schema_enum {
	const char *name; /* "core.v1.Protocol" */
	const char *const *values;
	size_t n_values;
};

/* What few fields have. */
struct schema_more {
	const struct schema_enum *enum_type;
	const char *default_json; /* "\"TCP\"", "1" */
	const char *const *map_keys;
	size_t n_map_keys;
	const char *patch_strategy; /* "merge", "merge,retainKeys", ... */
	const char *patch_merge_key;
	const char *feature_gate;
	const char *doc; /* the comment above the field */
};

struct schema_type;

struct schema_field {
	const char *json;               /* JSON key; "" when inline */
	const char *name;               /* name in the .proto file */
	const struct schema_type *type; /* of a message, or of a map's values; else NULL */
	const struct schema_more *more; /* never NULL: an empty one if there is nothing */
	uint16_t number;
	uint16_t flags; /* enum schema_flag */
	uint8_t kind;   /* enum schema_kind; of a list or map: of its elements */
	uint32_t json_len;
};

struct schema_key {
	const char *json;
	const struct schema_field *field;
};

struct schema_type {
	const char *name;        /* "core.v1.Pod" */
	const char *full_name;   /* "k8s.io.api.core.v1.Pod" */
	const char *kind;        /* "Pod", the last part of the name */
	const char *api_version; /* "v1": of the kinds in this type's package */
	const char *doc;         /* the comment above the message, or NULL */
	const struct schema_field *fields; /* in the order of JSON */
	const struct schema_key *keys;     /* by JSON key; fields of inlined messages among them */
	const uint8_t *by_number;          /* field number -> index into fields plus 1; 0: no such field */
	const uint8_t *wire_order;         /* indexes into fields by ascending number */
	uint32_t n_fields, n_keys;
	uint8_t n_numbers;
	uint8_t json; /* enum schema_json */
	bool root;    /* JSON has kind and apiVersion */
	bool is_list; /* a root with ListMeta and items */
	bool atomic;  /* apply takes the struct as one value */
	const struct schema_field *other; /* members that have no field of their own; NULL: there are none */
	const struct structural *custom;  /* with SCHEMA_CUSTOM */
};

/* No message has more fields than this, so that per-message tables fit on the stack. */
#define SCHEMA_MAX_FIELDS 64

extern const struct schema_type schema_types[]; /* by name */
extern const size_t n_schema_types;

/* By short or full name; NULL when there is none. */
const struct schema_type *schema_type_find(const char *name);
/* By JSON key, through inlined messages; NULL when there is none. */
const struct schema_field *schema_field_find(const struct schema_type *, struct str key);
static inline const struct schema_field *schema_field_number(const struct schema_type *t, uint64_t number)
{
	return number < t->n_numbers && t->by_number[number] ? &t->fields[t->by_number[number] - 1] : NULL;
}
/* The field at a dotted path of JSON keys ("spec.template.spec"); lists and maps are stepped through. NULL if none. */
const struct schema_field *schema_path(const struct schema_type *, const char *path);
static inline bool schema_is(const struct schema_field *f, unsigned flag)
{
	return (f->flags & flag) != 0;
}

#endif
