/*
 * Validation errors: all of them, each with the path of its field, as metav1.Status wants them.
 *
 * A path is a chain of small structs on the stack of the checking functions; its text is made only
 * when an error is recorded.
 *
 *	struct field_errs errs; field_errs_init(&errs, &arena);
 *	struct field_path spec = field_child(NULL, "spec"), reps = field_child(&spec, "replicas");
 *	field_invalid(&errs, &reps, json_getp(obj, "spec.replicas"), "must be greater than or equal
 * to 0"); if (errs.n > 0) body = field_errs_status(&errs, "apps", "Deployment", "web");
 */
#ifndef PROTO_FIELD_ERRS_H
#define PROTO_FIELD_ERRS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

struct json;

struct field_path {
	const struct field_path *up; /* NULL at the top */
	struct str name; /* p == NULL: an index; else a field, or a map key when in_brackets */
	size_t index;
	bool in_brackets;
};

static inline struct field_path field_child(const struct field_path *up, const char *name)
{
	return (struct field_path){.up = up, .name = str_from(name)};
}
static inline struct field_path field_index(const struct field_path *up, size_t i)
{
	return (struct field_path){.up = up, .index = i};
}
static inline struct field_path field_key(const struct field_path *up, struct str key)
{
	return (struct field_path){.up = up, .name = key, .in_brackets = true};
}

enum field_err_type {
	FIELD_NOT_FOUND,
	FIELD_REQUIRED,
	FIELD_DUPLICATE,
	FIELD_INVALID,
	FIELD_NOT_SUPPORTED,
	FIELD_FORBIDDEN,
	FIELD_TOO_LONG,
	FIELD_TOO_MANY,
	FIELD_INTERNAL,
	FIELD_TYPE_INVALID,
};

struct field_err {
	enum field_err_type type;
	struct str field;   /* "spec.containers[0].image" */
	struct str message; /* "Invalid value: -1: must be ..." */
};

struct field_errs {
	struct arena *arena;
	struct field_err *items;
	size_t n, cap;
	struct field_errs *warnings; /* what is let through, but told; NULL: nobody wants to know */
};

void field_errs_init(struct field_errs *, struct arena *);
/* The general form: `message` complete ("Invalid value: ..."). Path NULL stands for the whole
 * object ("<nil>"). */
void field_err_add(struct field_errs *, const struct field_path *, enum field_err_type,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* value: printed as upstream prints it (strings quoted, objects as JSON). detail may be "". */
void field_invalid(struct field_errs *, const struct field_path *, const struct json *value,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void field_invalid_str(struct field_errs *, const struct field_path *, struct str value,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void field_required(struct field_errs *, const struct field_path *, const char *detail);
void field_duplicate(struct field_errs *, const struct field_path *, struct str value);
void field_not_found(struct field_errs *, const struct field_path *, struct str value);
void field_forbidden(struct field_errs *, const struct field_path *, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* values end in NULL, in the order in which they are to be told. */
void field_not_supported(struct field_errs *, const struct field_path *, struct str value,
	const char *const *values);
void field_too_long(struct field_errs *, const struct field_path *, size_t max);
void field_too_many(struct field_errs *, const struct field_path *, size_t actual, size_t max);

void field_path_print(struct buf *, const struct field_path *);
/* "spec.replicas: Invalid value: ...", several as "[a: ..., b: ...]". */
void field_errs_print(struct buf *, const struct field_errs *);
/* The metav1.Status tree: code 422, reason Invalid, message, details with causes. */
struct json *field_errs_status(
	struct field_errs *, const char *group, const char *kind, struct str name);

#endif
