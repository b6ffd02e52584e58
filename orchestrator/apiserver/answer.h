/*
 * What goes back: negotiation of the format, objects, lists' frames, Status for failures, compression, headers.
 */
#ifndef ORCHESTRATOR_APISERVER_ANSWER_H
#define ORCHESTRATOR_APISERVER_ANSWER_H

#include "orchestrator/apiserver/request.h"

struct schema_type;

/* JSON, for failures before the Accept header was looked at. */
void api_accept_default(struct api_request *);
/* The best of the Accept header's media types that we have; ERR_NOT_ACCEPTABLE for resource requests when none is. */
int api_accept_parse(struct api_request *, struct err *);
/* "application/json" ... */
const char *api_media_type(enum api_media);

/* metav1.Status for req->fail, in the negotiated format. Ends the request. */
void api_answer_failure(struct api_request *);
/* Status "Success" with details of the object; for deletes. */
enum step_result api_answer_success(struct api_request *, struct str name, struct str uid);
/* Stored bytes of an object of req->res at version rv (0: none), in the negotiated format: whole, as a table, or partial. */
enum step_result api_answer_stored(struct api_request *, int status, struct str raw, uint64_t rv);
/* Only the metadata: a PartialObjectMetadata. */
struct str api_partial_of(struct arena *, struct str raw);
/* A document that has kind and apiVersion, of schema type t (NULL: JSON and YAML only). */
enum step_result api_answer_dom(struct api_request *, int status, const struct schema_type *t, struct json *doc);
/* Ready bytes of that content type; takes the buf. Adds warnings, compresses. */
enum step_result api_answer_bytes(struct api_request *, int status, const char *content_type, struct buf *body);
/* The same for bytes that clients keep: with an ETag of `tag`, and 304 without the body for who has them. */
enum step_result api_answer_tagged(struct api_request *, const char *content_type, struct str tag, struct buf *body);
/* Content-Type, Warning and Cache-Control headers for a streamed answer, in req->arena; returns their number. */
#define API_MAX_HEADERS 24
size_t api_answer_headers(struct api_request *, const char *content_type, struct http_header out[API_MAX_HEADERS]);

/* The Status as a document, for watch ERROR events too. */
struct json *api_status_dom(struct api_request *, const struct api_failure *);
int api_failure_status(const struct api_failure *);

#endif
