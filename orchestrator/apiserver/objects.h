/*
 * Objects as documents (struct json) and as bytes: the registry's way to the codecs, and small helpers on metadata.
 */
#ifndef ORCHESTRATOR_APISERVER_OBJECTS_H
#define ORCHESTRATOR_APISERVER_OBJECTS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "proto/json.h"

struct api_request;
struct resource;
struct schema_type;

/* Stored bytes as a document with kind and apiVersion. */
int api_dom_of(struct arena *, const struct resource *, struct str raw, struct json **ret, struct err *);
int api_dom_of_type(struct arena *, const struct schema_type *, struct str raw, struct json **ret, struct err *);
/* A document as plain protobuf; it has been checked before, so a wrong type is an internal error. */
int api_dom_encode(struct arena *, const struct schema_type *, const struct json *, struct str *ret_raw, struct err *);

bool api_base64_decode(struct arena *, struct str text, struct str *ret);
struct str api_base64(struct arena *, struct str bytes);
/* The time now as metav1.Time. */
struct json *api_now(struct arena *);

/* metadata of a document, made when missing. */
struct json *api_meta(struct arena *, struct json *obj);
struct str api_name(const struct json *obj);
bool api_has_string(const struct json *array, const char *s);
/* Remove strings equal to s from an array. */
void api_remove_string(struct json *array, const char *s);

#endif
