/*
 * struct params_cache: what one loop has read of policies' parameters that a webhook had to convert, so that requests do not pay for the
 * conversion each time. An entry is good for one revision of an object, one version of its kind and one state of all definitions: whoever
 * changes the object or a definition is heard at once, and what a webhook says of the same object later is not asked for (upstream's
 * informers keep it in the same way). Bounded; when it is full it begins anew.
 */
#ifndef ORCHESTRATOR_APISERVER_PARAMS_CACHE_H
#define ORCHESTRATOR_APISERVER_PARAMS_CACHE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct params_cache;

struct params_key {
	struct str key; /* in the store */
	uint64_t rv;    /* its revision there */
	const char *api_version;
	uint64_t epoch; /* custom_index_epoch */
};

struct params_cache *params_cache_new(void);
void params_cache_free(struct params_cache *);
/* The object as JSON, borrowed until the next put; {NULL, 0}: not known. */
struct str params_cache_get(const struct params_cache *, const struct params_key *);
void params_cache_put(struct params_cache *, const struct params_key *, struct str text);

#endif
