/*
 * The namespaces that creates on one loop have met last, with their versions: a hint that spares the look into the store.
 *
 * It may be wrong: nobody tells it of changes. That does no harm, for a create compares the namespace's version in its transaction. When that
 * fails it looks for itself, and what it finds replaces the hint; so only who commits may use it, and only in his first try. A namespace that is
 * going away, or is not there, is forgotten, not remembered.
 */
#ifndef ORCHESTRATOR_APISERVER_PARENT_CACHE_H
#define ORCHESTRATOR_APISERVER_PARENT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define PARENT_CACHE_SIZE 64u
#define PARENT_CACHE_NAME 63u /* longer ones are not kept */

/* Zeroes: empty. */
struct parent_cache {
	struct {
		char name[PARENT_CACHE_NAME];
		uint8_t n;
		uint64_t version; /* 0: free */
	} seen[PARENT_CACHE_SIZE];
};

bool parent_cache_get(const struct parent_cache *, struct str name, uint64_t *ret_version);
/* Version 0: forget it. */
void parent_cache_put(struct parent_cache *, struct str name, uint64_t version);

#endif
