/* Shared between the openapi files: pieces of a document as trees, v2 unless `v3`. */
#ifndef PROTO_OPENAPI_PRIV_H
#define PROTO_OPENAPI_PRIV_H

#include <stdbool.h>

#include "proto/json.h"

struct resource;
struct schema_type;

/* "io.k8s.api.core.v1.Pod" */
struct str openapi__name(struct arena *, const struct schema_type *);
/* {"$ref": "#/definitions/io.k8s..."} */
struct json *openapi__ref(struct arena *, const struct schema_type *, bool v3);
/* The definition of a type; calls `uses` for every type that it refers to. */
struct json *openapi__schema(struct arena *, const struct schema_type *, bool v3,
	void (*uses)(void *ctx, const struct schema_type *), void *ctx);
/* An array with one {group, kind, version}. */
struct json *openapi__gvk(struct arena *, const char *api_version, const char *kind);
/* Adds the paths of one resource and its subresources to `paths`. */
void openapi__paths(struct arena *, const struct resource *, bool v3, struct json *paths);

/* gnostic's messages: one NamedSchema as field `number`, one NamedPathItem likewise. */
void openapi__proto_schema(
	struct buf *, unsigned number, struct str name, const struct json *schema);
void openapi__proto_path(struct buf *, unsigned number, struct str path, const struct json *item);

#endif
