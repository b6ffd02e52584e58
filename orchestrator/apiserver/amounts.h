/*
 * How much of a resource an object asks for: pure functions over documents, for LimitRanges and ResourceQuotas.
 */
#ifndef ORCHESTRATOR_APISERVER_AMOUNTS_H
#define ORCHESTRATOR_APISERVER_AMOUNTS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"
#include "proto/quantity.h"

struct json;
struct resource;

/* resources.{requests,limits} of a whole pod: what it says itself, or else its containers together, and the overhead. False: nothing is said of it. */
bool amount_of_pod(const struct json *spec, const char *what, struct str resource, struct quantity *ret);

/* Does a ResourceQuota's entry `name` (a key of spec.hard) count objects of this kind, and how much does this one use? Zero: none. */
bool quota_counts(struct arena *, const struct resource *, struct str name);
struct quantity quota_use(struct arena *, const struct resource *, const struct json *obj, struct str name);
/* Do the quota's scopes select the object? */
bool quota_selects(const struct json *quota, const struct resource *, const struct json *obj);
/* "count/deployments.apps": objects of a kind, also a custom one. */
bool quota_object_count(struct str name, struct str *ret_plural, struct str *ret_group);
/* The built-in kind that `name` counts; NULL: none. */
const struct resource *quota_kind(struct arena *, struct str name);
/* Containers that do not say what `name` (cpu, limits.memory ...) needs: "c1,c2" in the arena; empty: all do. */
struct str quota_unsaid(struct arena *, const struct json *spec, struct str name);

#endif
