/*
 * struct json: a JSON value (a DOM node) that lives in an arena.
 *
 * Everything that is not the wire format works on this tree: YAML, patches, defaults, validation,
 * tables. A value is null, bool, number, string, array or object. Numbers keep their text, so that
 * nothing is rounded on the way through. Objects keep the order of their members; a big one (over 16
 * members) grows a hash index, so that look-up stays constant, and then a deletion moves the last
 * member into the hole. All memory comes from the arena that is handed in; nothing is freed alone.
 * Nodes may be shared between trees of one arena as long as nobody changes them; json_copy makes a
 * tree of its own. Strings are copied into the arena and end in a NUL behind their length.
 *
 * Readers accept NULL (a missing value) and wrong types, and answer "nothing": a chain of json_get
 * needs no checks.
 *
 *	struct json *pod;
 *	if (json_parse(&arena, body, NULL, &pod, &e) < 0) ...
 *	struct str name = json_str(json_getp(pod, "metadata.name"));
 *	json_setc(&arena, pod, "kind", json_newc(&arena, "Pod"));
 *	json_print(&out, pod, JSON_PRETTY);
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

struct json;

struct json_member {
	struct str key;
	struct json *value; /* never NULL */
};

struct json {
	enum json_type type;
	uint32_t n; /* elements or members */
	union {
		bool b;
		struct str s; /* string bytes; a number's text */
		struct {
			struct json **items; /* array: n pointers, none NULL */
			uint32_t items_cap;
		};
		struct {
			struct json_member *members; /* object: n members, keys unique */
			uint32_t *index;             /* internal: hash slots, or NULL */
		};
	};
	uint32_t members_cap; /* internal */
	uint32_t index_cap;   /* internal: power of two */
};

/* ---- parsing ---- */

/*
 * Go stops at a depth of 10000. No Kubernetes object comes near it, and our walkers recurse: 512
 * keeps every loop's stack safe. 3 MiB is the API server's limit for a body.
 */
#define JSON_MAX_DEPTH 512u
#define JSON_MAX_SIZE ((size_t)64 << 20)
#define JSON_MAX_NODES ((size_t)4 << 20)
/* How many duplicate keys are reported by path; later ones only count. */
#define JSON_MAX_DUPS 100u

struct json_opts {
	/* in; 0 stands for the constant above */
	size_t max_size;
	size_t max_nodes;
	unsigned max_depth;
	/* out */
	size_t error_offset; /* bytes before the offending one */
	size_t error_line;   /* from 1 */
	size_t error_column; /* from 1, in bytes */
	struct str *dups; /* paths of duplicate keys, as "spec.containers[0].name"; the last value
			     won */
	size_t n_dups;
	size_t used; /* json_parse_prefix: bytes consumed, with the white space behind the value */
};

/*
 * Parse exactly one value (white space around it is fine). The messages are Go's ("invalid
 * character 'x' looking for beginning of value"). Bytes that are not UTF-8 are an error (Go would
 * replace them silently, and mangle a Secret); lone surrogate escapes become U+FFFD as in Go.
 * Errors: ERR_BAD_REQUEST, ERR_TOO_LARGE.
 */
int json_parse(
	struct arena *, struct str text, struct json_opts *opts, struct json **ret, struct err *);
/* The same for a stream of values: stops behind the first one and sets opts->used (opts is needed).
 */
int json_parse_prefix(
	struct arena *, struct str text, struct json_opts *opts, struct json **ret, struct err *);

/* ---- printing ---- */

enum json_print_flags {
	JSON_COMPACT = 0,
	JSON_PRETTY = 1, /* four spaces, as kubectl -o json; no newline at the end */
	JSON_PRETTY2 = 8, /* two, as an API server answers ?pretty=true */
	JSON_SORTED =
		2, /* members by key, bytewise: the canonical form together with JSON_COMPACT */
	JSON_RAW_HTML = 4, /* leave < > & as they are; without it they are \u003c and so on, as Go
			      and the API server do */
};
void json_print(struct buf *, const struct json *, unsigned flags);
/* As Go's %v prints it, which is how upstream's messages show values: map[a:1 b:[x y]]. */
void json_print_go(struct buf *, const struct json *j);
/* The compact text in the arena. */
struct str json_text(struct arena *, const struct json *);
/* Only a quoted string with Go's escapes. */
void json_print_string(struct buf *, struct str, unsigned flags);

/* ---- making ---- */

struct json *json_new_null(struct arena *);
struct json *json_new_bool(struct arena *, bool);
struct json *json_new_int(struct arena *, int64_t);
/* Shortest text that reads back the same; not finite gives null. */
struct json *json_new_double(struct arena *, double);
/* The text must be a JSON number. */
struct json *json_new_number(struct arena *, struct str text);
struct json *json_new_str(struct arena *, struct str);
struct json *json_newc(struct arena *, const char *);
struct json *json_newf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct json *json_new_array(struct arena *);
struct json *json_new_object(struct arena *);
struct json *json_copy(struct arena *, const struct json *);

/* ---- reading ---- */

static inline enum json_type json_type(const struct json *j)
{
	return j ? j->type : JSON_NULL;
}
static inline bool json_is(const struct json *j, enum json_type t)
{
	return j != NULL && j->type == t;
}
/* NULL or null. */
static inline bool json_is_null(const struct json *j)
{
	return j == NULL || j->type == JSON_NULL;
}
/* Number of elements or members; else 0. */
static inline size_t json_len(const struct json *j)
{
	return j != NULL && j->type >= JSON_ARRAY ? j->n : 0;
}
/* The member's value, or NULL (also when j is no object). */
struct json *json_get(const struct json *j, struct str key);
struct json *json_getc(const struct json *j, const char *key);
/* By a dotted path whose keys hold no dots: "spec.template.metadata". */
struct json *json_getp(const struct json *j, const char *path);
/* Array element or NULL. */
struct json *json_at(const struct json *j, size_t i);
/* Bytes of a string; else the empty string. */
struct str json_str(const struct json *j);
/* json_str(json_getp(j, path)), and as a C string ("" when missing). */
struct str json_strp(const struct json *j, const char *path);
const char *json_cstr(const struct json *j);
bool json_eqc(const struct json *j, const char *s);
/* True only for the value true. */
bool json_true(const struct json *j);
/* Numbers: false when j is no number or, for i64, not a whole number in range ("1e3" and "1.0" are
 * whole). */
bool json_i64(const struct json *j, int64_t *ret);
bool json_f64(const struct json *j, double *ret);
int64_t json_i64_or(const struct json *j, int64_t dflt);

/* Deep equality: objects without regard to order, numbers by value. */
bool json_equal(const struct json *a, const struct json *b);
/* Deep levels: a scalar is 1. */
unsigned json_depth(const struct json *j);

/* ---- changing ---- */

/* Insert or replace; the key is copied when it is new. obj must be an object, value not NULL. */
void json_set(struct arena *, struct json *obj, struct str key, struct json *value);
void json_setc(struct arena *, struct json *obj, const char *key, struct json *value);
/* Insert a member that is known not to be there yet. The key is borrowed: it must live as long as obj. */
void json_add(struct arena *, struct json *obj, struct str key, struct json *value);
void json_addc(struct arena *, struct json *obj, const char *key, struct json *value);
/* Set by dotted path; objects on the way are made (a non-object there is replaced). */
void json_setp(struct arena *, struct json *obj, const char *path, struct json *value);
/* The object at key: made, or put in place of a null, when missing; NULL when something else is
 * there. */
struct json *json_object_at(struct arena *, struct json *obj, const char *key);
/* Remove and return the value, or NULL. */
struct json *json_del(struct json *obj, struct str key);
struct json *json_delc(struct json *obj, const char *key);
struct json *json_delp(struct json *obj, const char *path);
/* Arrays. */
void json_push(struct arena *, struct json *array, struct json *value);
void json_insert(struct arena *, struct json *array, size_t i, struct json *value);
struct json *json_del_at(struct json *array, size_t i);
/* Sort members by key, here and below. */
void json_sort(struct arena *, struct json *j);

/* for (i...) over members or elements: JSON_MEMBERS (m, obj) use(m->key, m->value). What names the object or array is
 * evaluated once; do not change it inside. */
#define JSON_MEMBERS(m, obj)                                                                       \
	for (const struct json *m##_of = (obj); m##_of; m##_of = NULL)                             \
		for (const struct json_member *m = json_is(m##_of, JSON_OBJECT) ? m##_of->members : NULL, \
					      *m##_end = m ? m + m##_of->n : NULL;                 \
			m != m##_end; m++)
#define JSON_ITEMS(it, arr)                                                                        \
	for (const struct json *it##_of = (arr); it##_of; it##_of = NULL)                          \
		for (struct json * it, **it##_p = json_is(it##_of, JSON_ARRAY) ? it##_of->items : NULL, \
				       **it##_end = it##_p ? it##_p + it##_of->n : NULL;           \
			it##_p != it##_end && ((it = *it##_p), 1); it##_p++)

/* True when s is valid UTF-8 (no surrogates, no overlong forms). */
bool json_utf8_valid(struct str s);
/* A string of bytes from outside that nobody has looked at: borrowed if they are UTF-8, else a copy with U+FFFD for each byte that is not. */
struct json *json_new_lossy(struct arena *, struct str s);

#endif
