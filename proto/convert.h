/*
 * Kinds that are served in two versions but stored in one: events (core/v1 is stored, events.k8s.io/v1 served too) and
 * horizontal autoscalers (autoscaling/v2 stored, v1 served too).
 *
 * Rows of proto/resource.def with one storage prefix are versions of one kind; the first one is the stored form
 * (resource_storage). Conversion goes over trees and loses nothing: what autoscaling/v1 cannot say stands in annotations, as
 * upstream has it. Pure.
 *
 *	if (resource_storage(res) != res)
 *		doc = convert_from_storage(&arena, res, doc);
 */
#ifndef PROTO_CONVERT_H
#define PROTO_CONVERT_H

struct arena;
struct json;
struct resource;

/* The object in the form of `res` from that of resource_storage(res). A new tree that shares nodes with the old one. */
struct json *convert_from_storage(struct arena *, const struct resource *res, const struct json *stored);
/* The other way round; what the stored version has defaults for is defaulted. */
struct json *convert_to_storage(struct arena *, const struct resource *res, const struct json *doc);

#endif
