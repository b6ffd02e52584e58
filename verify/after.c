/* What is checked against the linearization: what may and must be compacted, and how long leases lived. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/util.h"
#include "verify/verify-priv.h"

/* --- Compaction ------------------------------------------------------------------------------------------------------- */

/* Had anybody asked for the removal of this revision before the call returned? */
static bool may_be_compacted(struct checker *k, const struct hist_call *c, int64_t revision)
{
	if (k->h->auto_compaction)
		return true;
	for (size_t i = 0; i < k->h->calls.n; i++) {
		const struct hist_call *x = k->h->calls.p[i];

		if (x->kind == HIST_COMPACT && x->outcome <= HIST_OK && x->revision > revision && x->invoked <= c->returned)
			return true;
	}
	return false;
}

/* Must it be gone? */
static bool must_be_compacted(struct checker *k, const struct hist_call *c, int64_t revision)
{
	for (size_t i = 0; i < k->h->calls.n && !c->serializable; i++) {
		const struct hist_call *x = k->h->calls.p[i];

		if (x->kind == HIST_COMPACT && x->outcome == HIST_OK && x->revision > revision && x->returned < c->invoked)
			return true;
	}
	return false;
}

static bool check_old_call(struct checker *k, const struct hist_call *c)
{
	for (size_t i = 0; i < c->n_then; i++) {
		const struct hist_op *op = &c->then[i];

		if (op->kind != HIST_RANGE || op->revision <= 0)
			continue;
		if (c->outcome == HIST_COMPACTED && !may_be_compacted(k, c, op->revision))
			return check_fail(k, "old revision: %s was told that it is compacted, which nobody had asked for",
					  check_describe(k, c));
		if (c->outcome == HIST_FUTURE && !c->serializable && check_seen(k, op->revision) < c->invoked)
			return check_fail(k, "old revision: %s was told that it lies in the future, but it had been seen",
					  check_describe(k, c));
		if (c->outcome == HIST_OK && must_be_compacted(k, c, op->revision))
			return check_fail(k, "old revision: %s was answered, but it was compacted before", check_describe(k, c));
	}
	return true;
}

bool check_compaction(struct checker *k)
{
	for (size_t i = 0; i < k->h->calls.n; i++) {
		const struct hist_call *c = k->h->calls.p[i];

		if (c->kind == HIST_TXN && !check_old_call(k, c))
			return false;
	}
	return true;
}

/* --- Leases ------------------------------------------------------------------------------------------------------------- */

/* Members measure time in milliseconds. */
#define TICK_US 2000

/* The call that shows that the lease cannot have ended at this revision: its time was not over, or it was there later. Of what only a
 * watch tells (seen is UINT64_MAX then) nobody knows how early it was. */
const struct hist_call *check_outlives(const struct checker *k, int64_t lease, int64_t revision)
{
	uint64_t seen = check_seen(k, revision);

	for (size_t i = 0; i < k->h->calls.n; i++) {
		const struct hist_call *c = k->h->calls.p[i];

		if (c->lease != lease || c->outcome != HIST_OK)
			continue;
		if ((c->kind == HIST_GRANT || c->kind == HIST_RENEW) && c->ttl > 0 &&
		    seen < c->invoked + (uint64_t)c->ttl * 1000000 - TICK_US)
			return c;
		if (c->kind == HIST_REVOKE && c->invoked > seen)
			return c;
	}
	return NULL;
}

/* No lease ends before its time since the last renewal that was answered. */
static bool check_early(struct checker *k, const struct expiry *x)
{
	const struct hist_call *c = check_outlives(k, x->lease, x->revision);

	return !c || check_fail(k, "lease %" PRId64 " ended at revision %" PRId64 ", seen at %.3f ms, before its time was over: %s",
				x->lease, x->revision, (double)check_seen(k, x->revision) / 1000, check_describe(k, c));
}

/* When was the lease over for certain? The revision at which its keys went, if any did. */
static int64_t ended_at(const struct checker *k, int64_t lease)
{
	for (size_t i = 0; i < k->n_expiries; i++)
		if (k->expiries[i].lease == lease)
			return k->expiries[i].revision;
	return INT64_MAX;
}

static bool check_puts_on(struct checker *k)
{
	for (int64_t r = k->m.first + 1; r <= k->m.revision; r++) {
		size_t n;
		const struct change *c = model_changes(&k->m, r, &n);

		for (size_t i = 0; i < n && k->n_expiries; i++)
			if (c[i].after.version && c[i].after.lease && ended_at(k, c[i].after.lease) < r)
				return check_fail(k, "revision %" PRId64 " attaches %.*s to lease %" PRId64 ", which had ended at %" PRId64, r,
						  STR_FMT(k->m.keys[c[i].key]), c[i].after.lease, ended_at(k, c[i].after.lease));
	}
	return true;
}

bool check_leases(struct checker *k)
{
	for (size_t i = 0; i < k->n_expiries; i++)
		if (!check_early(k, &k->expiries[i]))
			return false;
	return check_puts_on(k);
}
