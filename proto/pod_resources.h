/*
 * Resources of a pod as a whole (`spec.resources`), beside those of its containers: pure functions over documents.
 *
 * cpu, memory and huge pages can be given to the pod. What it says of a resource counts instead of what its containers say together;
 * of a resource that it does not mention, they count. Containers without a limit of their own share the pod's.
 */
#ifndef PROTO_POD_RESOURCES_H
#define PROTO_POD_RESOURCES_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "proto/quantity.h"

struct json;

/* Whether a pod as a whole can have it. */
bool pod_level_resource(struct str name);
/* resources.{requests,limits} of anything that has them. False: nothing is said. */
bool resources_amount(const struct json *has, const char *what, struct str resource, struct quantity *ret);
/* Of the containers of a spec together: all that run at a time, or the largest init container on top of the sidecars before it. */
bool containers_amount(const struct json *spec, const char *what, struct str resource, struct quantity *ret);
/*
 * Fills in what a pod that has resources of its own leaves out: limits of huge pages from its containers'; where it has limits, requests from
 * the containers' together, or else from the limits.
 */
void pod_resources_default(struct arena *, struct json *spec);

#endif
