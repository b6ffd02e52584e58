/*
 * Sets of completion indexes, as an Indexed job's status writes them: "1,3-5,7". Kept as sorted ranges that do not touch, so
 * that a hundred thousand completions in order are one range. Pure; memory is the arena's.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_JOB_INDEX_H
#define ORCHESTRATOR_CONTROLLERS_JOB_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

struct index_set {
	struct arena *arena;
	struct index_range {
		int32_t from, to; /* both are in it */
	} *ranges;
	size_t n, max;
};

/* What cannot be read, and what is at or above `limit`, is left out: such an index never belonged to the job. */
void index_set_parse(struct index_set *, struct arena *, struct str text, int32_t limit);
bool index_set_has(const struct index_set *, int32_t index);
void index_set_add(struct index_set *, int32_t index);
int32_t index_set_count(const struct index_set *);
/* How many are in both. */
int32_t index_set_common(const struct index_set *, const struct index_set *);
/* The smallest index from `from` on that is not in the set. */
int32_t index_set_next_free(const struct index_set *, int32_t from);
const char *index_set_text(const struct index_set *);

#endif
