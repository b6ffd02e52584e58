/*
 * Bodies into documents: media types, kinds, unknown fields, wrong types.
 */
#ifndef ORCHESTRATOR_APISERVER_DECODE_H
#define ORCHESTRATOR_APISERVER_DECODE_H

#include "orchestrator/apiserver/request.h"

struct schema_type;

/* The body, which must be of schema type `type_name`, to req->sent. `lenient`: unknown fields are not looked at, and any
 * apiVersion will do (DeleteOptions come with that of the resource). */
enum step_result api_decode_body(struct api_request *, const char *type_name, bool lenient);
/* Make *io_doc what the schema says: unknown fields dropped (and reported as fieldValidation asks), all else checked. */
/* The same for what a patch made: 422. */
enum step_result api_normalize_patched(struct api_request *, const struct schema_type *, struct json **io);
enum step_result api_normalize(struct api_request *, const struct schema_type *, struct json **io_doc);
/* What the body of this request must be: the subresource's type or the resource's. */
const struct schema_type *api_view_type(const struct api_request *);
const char *api_view_version(const struct api_request *);
const char *api_view_kind(const struct api_request *);

#endif
