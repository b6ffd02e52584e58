/*
 * struct ref: an atomic reference count to embed in immutable shared things.
 *
 * Any thread may take and drop references; who drops the last one destroys the thing. What carries a
 * struct ref is never changed after it is published.
 */
#ifndef BASE_OBJ_H
#define BASE_OBJ_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/util.h"

struct ref {
	atomic_uint n;
};

static inline void ref_init(struct ref *r)
{
	atomic_init(&r->n, 1);
}
static inline void ref_get(struct ref *r)
{
	unsigned before = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);

	ASSERT(before > 0);
}
/* True when that was the last reference: the caller destroys. */
static inline bool ref_put(struct ref *r)
{
	unsigned before = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);

	ASSERT(before > 0);
	return before == 1;
}

#endif
