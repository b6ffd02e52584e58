/*
 * LimitRanges as pure functions: what a container gets that does not say, and what is out of bounds.
 */
#ifndef ORCHESTRATOR_APISERVER_LIMITS_H
#define ORCHESTRATOR_APISERVER_LIMITS_H

#include "base/arena.h"
#include "base/str.h"

struct json;

/* Fill in the pod's containers (spec is changed) and note it in its annotation. */
void limits_default_pod(struct arena *, const struct json *range, struct json *pod);
/* Complaints, "[a, b]" if several; empty: it is within bounds. */
struct str limits_check_pod(struct arena *, const struct json *range, const struct json *pod);
struct str limits_check_claim(struct arena *, const struct json *range, const struct json *claim);

#endif
