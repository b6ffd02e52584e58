/*
 * Validation of objects: everything that is wrong with one, in upstream's words.
 *
 * The tree has been decoded against the schema (types are right, no unknown fields) and defaulted.
 * Rows for each kind; kinds without a row get the checks of metadata only. Pure: reads only the
 * trees.
 *
 *	struct field_errs errs; field_errs_init(&errs, &arena);
 *	validate_object(resource, "", obj, NULL, &errs);           create
 *	validate_object(resource, "", obj, old, &errs);            update
 *	validate_object(resource, "status", obj, old, &errs);      update of a subresource
 */
#ifndef PROTO_VALIDATE_H
#define PROTO_VALIDATE_H

#include <stdbool.h>

#include "base/str.h"

struct arena;
struct field_errs;
struct field_path;
struct json;
struct resource;

void validate_object(const struct resource *, const char *subresource, const struct json *obj,
	const struct json *old, struct field_errs *);

/* Name syntax: NULL when fine, else upstream's message (static). */
const char *validate_dns1123_label(struct str);
const char *validate_dns1123_subdomain(struct str);
const char *validate_dns1035_label(struct str);
const char *validate_path_segment(struct str);
/* The rule for metadata.name of this resource. `prefix`: a generateName, which may end in '-'. */
const char *validate_name(const struct resource *, struct str name, bool prefix);

/* metadata.labels and the like, for others who carry labels. */
void validate_labels(const struct json *labels, const struct field_path *, struct field_errs *);
void validate_annotations(
	const struct json *annotations, const struct field_path *, struct field_errs *);

/*
 * spec.clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy of a Service, as they stand there by themselves; also for who gives out
 * addresses and wants to begin with what makes sense.
 */
void validate_service_addresses(const struct json *spec, struct field_errs *);

/* Guaranteed, Burstable or BestEffort: what the resources of a pod's containers make of it. */
const char *validate_qos_class(const struct json *pod);

#endif
