/*
 * struct aggregate_docs: what the aggregated API servers say about themselves, as this server last heard it: discovery and OpenAPI.
 * One snapshot for all loops, never changed once it is published, counted; the aggregator makes the next one.
 */
#ifndef ORCHESTRATOR_APISERVER_AGGREGATE_DOCS_H
#define ORCHESTRATOR_APISERVER_AGGREGATE_DOCS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct apiserver;

struct aggregate_doc {
	struct str group, version;
	bool fresh;          /* it answered when it was last asked */
	struct str discovery; /* APIResourceList as JSON; {NULL, 0}: it never answered */
	struct str v3_url;   /* its entry of /openapi/v3; empty: none */
	struct str v2;       /* /openapi/v2 as JSON; empty: none */
};

struct aggregate_docs {
	atomic_uint refs;
	uint64_t epoch; /* of each snapshot another; 0: there was none yet */
	struct arena arena;
	struct aggregate_doc *v;
	size_t n;
};

/* Those that are published now; never NULL. Any thread. */
struct aggregate_docs *aggregate_docs_get(struct apiserver *);
void aggregate_docs_unref(struct aggregate_docs *);
/* Takes the reference; the epoch is set. */
void aggregate_docs_publish(struct apiserver *, struct aggregate_docs *);
struct aggregate_docs *aggregate_docs_new(void);
const struct aggregate_doc *aggregate_docs_find(const struct aggregate_docs *, struct str group, struct str version);

#endif
