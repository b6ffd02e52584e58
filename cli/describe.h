/*
 * Describing objects for people, in kubectl's layout. Pure: an object and what belongs to it go in, text comes out;
 * cmd_describe.c fetches.
 *
 * A writer collects lines whose cells are separated by tabs; describe_finish aligns them.
 */
#ifndef CLI_DESCRIBE_H
#define CLI_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

struct json;
struct resource;

/* What a kind's description needs beside the object. */
enum describe_need {
	DESCRIBE_EVENTS = 1 << 0,
	DESCRIBE_REPLICA_SETS = 1 << 1, /* of the namespace */
	DESCRIBE_PODS = 1 << 2,         /* of the namespace; of all namespaces for a node */
	DESCRIBE_SLICES = 1 << 3,       /* EndpointSlices of the namespace */
	DESCRIBE_LEASE = 1 << 4,        /* the node's */
	DESCRIBE_QUOTAS = 1 << 5,       /* ResourceQuotas and LimitRanges of the namespace */
};

/* Arrays of objects, or NULL: not asked for or not to be had. */
struct describe_more {
	const struct json *events, *replica_sets, *pods, *slices, *quotas, *limits;
	const struct json *lease; /* an object */
	bool no_events;           /* leave the part out */
};

unsigned describe_needs(const struct resource *);
/* Append the text to `out`. now: Unix seconds, for ages. r may be NULL (a kind that is not in the table). */
void describe_object(struct arena *, const struct resource *r, const struct json *obj, const struct describe_more *, int64_t now,
		struct buf *out);

#endif
