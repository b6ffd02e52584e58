/*
 * Defaults: what the API server fills in when a client leaves a field out.
 *
 * Plain constants are schema defaults; what depends on other fields (imagePullPolicy on the tag,
 * requests on limits, targetPort on port) is a row for its message type in defaults.c, so that a
 * PodSpec is treated alike wherever it stands. Pure; changes the tree in place. Idempotent. Works
 * for create and update.
 */
#ifndef PROTO_DEFAULTS_H
#define PROTO_DEFAULTS_H

struct arena;
struct json;
struct schema_type;

/* type: of the object, "core.v1.Pod". A NULL type does nothing. */
void defaults_apply(struct arena *, const struct schema_type *type, struct json *obj);

#endif
