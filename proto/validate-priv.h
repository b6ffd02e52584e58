/* Shared between the validate files only. */
#ifndef PROTO_VALIDATE_PRIV_H
#define PROTO_VALIDATE_PRIV_H

#include <stddef.h>

#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/validate.h"

struct schema_type;

/* One object under validation. */
struct validate__ctx {
	const struct resource *res;
	const char *sub; /* "" or the subresource */
	const struct json *obj;
	const struct json *old; /* NULL: create */
	struct field_errs *errs;
};

typedef void validate__fn(const struct validate__ctx *);

/* ---- scalars (validate_scalar.c) ---- */

/* "field: Required value" when the string is missing or empty; returns whether it is there. */
bool validate__required(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);
/* A string that must be one of `values` (NULL at the end); an empty one is Required. */
void validate__one_of(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values);
/* The same, but nothing when it is missing or empty. */
void validate__one_of_opt(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values);
/* A number that is there must not be negative. */
void validate__nonneg(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);
void validate__port_number(
	struct field_errs *, const struct field_path *path, const struct json *port);
/* A port number, or a port's name. */
void validate__port_or_name(
	struct field_errs *, const struct field_path *path, const struct json *port);
/* A percentage or a number that is not negative. */
void validate__int_or_percent(
	struct field_errs *, const struct field_path *path, const struct json *v);
/* Whether the value is zero: 0, "0%". */
bool validate__is_zero(const struct json *v);
/* A name by one of the syntax functions of validate.h. */
void validate__name(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *(*syntax)(struct str));
/* "field is immutable" when new and old differ. */
void validate__immutable(struct field_errs *, const struct field_path *up, const struct json *obj,
	const struct json *old, const char *key);
const char *validate__ip(struct str);
const char *validate__config_key(struct str);
const char *validate__port_name(struct str);
const char *validate__env_name(struct str);
const char *validate__qualified_name(struct str);
bool validate__is_cidr(struct str);
/* A LabelSelector object. */
void validate__label_selector(
	struct field_errs *, const struct field_path *path, const struct json *sel);
/* Go's printing of a map: map[string]string{"a":"b"}. */
const char *validate__go_map(struct arena *, const struct json *map);

/* And of an IntOrString: intstr.IntOrString{Type:0, IntVal:1, StrVal:""}. */
const char *validate__go_int_or_string(struct arena *, const struct json *v);
/* The syntax of a label's value. */
void validate__label_value(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);

/* ---- parts of objects ---- */

void validate__meta(const struct validate__ctx *, const struct field_path *path);
/* metadata of a pod template: labels and annotations only. */
void validate__template_meta(
	struct field_errs *, const struct field_path *path, const struct json *meta);
void validate__pod_spec(struct field_errs *, const struct field_path *path, const struct json *spec,
	const struct json *meta);
/* Adds every volume's name to `names` (an object in the arena). */
void validate__volumes(struct field_errs *, const struct field_path *path,
	const struct json *volumes, struct json *names);
/* containers and initContainers; `volumes` holds the names that may be mounted. */
void validate__containers(struct field_errs *, const struct field_path *up, const struct json *spec,
	const struct json *volumes);
void validate__resources(
	struct field_errs *, const struct field_path *path, const struct json *res);

void validate__affinity(
	struct field_errs *, const struct field_path *up, const struct json *affinity);

/* ---- kinds ---- */

validate__fn validate__pod, validate__deployment, validate__replica_set, validate__service,
	validate__node, validate__namespace, validate__config_map, validate__secret,
	validate__endpoints, validate__endpoint_slice, validate__lease, validate__event,
	validate__csr;

#endif
