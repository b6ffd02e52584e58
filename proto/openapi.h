/*
 * OpenAPI documents made from the schema and resource tables: v2 (JSON, and the protobuf that older
 * kubectl asks for) and v3 by group-version. Nothing is kept: the caller caches the bytes.
 * `more` may be NULL.
 */
#ifndef PROTO_OPENAPI_H
#define PROTO_OPENAPI_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct json;
struct resource;

/*
 * Content types of v2. Clients ask for ...v2@v1.0+protobuf, which is no valid media type: the
 * answer must say it with a dot, or they refuse it.
 */
#define OPENAPI_V2_JSON "application/json"
#define OPENAPI_V2_PROTO "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* Custom resources besides those of the table. */
struct openapi_more {
	const struct resource *const *v;
	size_t n;
};

/* version: info.version, "v1.36.0". Every type that a served resource reaches has a definition. */
void openapi_v2_json(struct buf *, const char *version, const struct openapi_more *);
/* gnostic's openapi.v2.Document. */
void openapi_v2_proto(struct buf *, const char *version, const struct openapi_more *);
/* Further paths and definitions of others (objects as in the JSON form) behind such a document: messages are joined by writing them one after the other. */
void openapi_v2_proto_add(struct buf *, const struct json *paths, const struct json *definitions);
/* The index {"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=..."}}}. */
void openapi_v3_index(struct buf *, const char *version, const struct openapi_more *);
/* What the index says of one, as it says it: another when the document is. */
uint64_t openapi_v3_hash(struct str group_version, const char *version, const struct openapi_more *);
/* One group-version: "api/v1", "apis/apps/v1". False when nothing is served under it. */
bool openapi_v3_json(struct buf *, struct str group_version, const char *version, const struct openapi_more *);

#endif
