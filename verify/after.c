/* What is checked against the linearization: reads at old revisions, and how long leases lived. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/util.h"
#include "verify/verify-priv.h"

/* --- Old revisions ---------------------------------------------------------------------------------------------------- */

/* Each key's changes, by key and revision. */
struct old {
	struct checker *k;
	const struct change **changes;
	size_t *from; /* of key i: [from[i], from[i + 1]) */
};

static void old_init(struct old *o, struct checker *k)
{
	struct model *m = &k->m;
	size_t *at;

	o->k = k;
	o->changes = xcalloc(m->n_log + 1, sizeof(*o->changes));
	o->from = xcalloc(m->n_keys + 2, sizeof(*o->from));
	for (size_t i = 0; i < m->n_log; i++)
		o->from[m->log[i].key + 1]++;
	for (size_t i = 0; i < m->n_keys; i++)
		o->from[i + 1] += o->from[i];
	at = xcalloc(m->n_keys + 1, sizeof(*at));
	for (size_t i = 0; i < m->n_log; i++)
		o->changes[o->from[m->log[i].key] + at[m->log[i].key]++] = &m->log[i];
	free(at);
}

static void old_fini(struct old *o)
{
	free(o->changes);
	free(o->from);
}

static int64_t revision_of(const struct checker *k, const struct change *c)
{
	size_t lo = 0, hi = k->m.n_at, at = (size_t)(c - k->m.log);

	/* The last revision that begins at or before it and is not empty. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->m.at[mid] <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return k->m.first + (int64_t)lo;
}

static struct cell cell_at(const struct old *o, size_t key, int64_t revision)
{
	size_t lo = o->from[key], hi = o->from[key + 1];

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (revision_of(o->k, o->changes[mid]) <= revision)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > o->from[key] ? o->changes[lo - 1]->after : (struct cell){0};
}

static bool check_old_range(const struct old *o, const struct hist_call *c, const struct hist_op *op)
{
	struct model *m = &o->k->m;
	size_t from, to, n = 0;
	int64_t count = 0;

	model_range(m, op->key, op->end, &from, &to);
	for (size_t i = from; i < to; i++) {
		struct cell cell = cell_at(o, i, op->revision);
		const struct hist_kv *kv;

		if (cell.version == 0)
			continue;
		count++;
		if (op->count_only || (op->limit > 0 && count > op->limit))
			continue;
		kv = n < op->n_kvs ? &op->kvs[n++] : NULL;
		if (!kv || !str_eq(kv->key, m->keys[i]) || kv->mod != cell.mod || kv->create != cell.create ||
		    kv->version != cell.version || kv->lease != cell.lease ||
		    (!op->keys_only && model_value(m, kv->value) != cell.value))
			return check_fail(o->k, "old revision: %s does not show %.*s as it was at revision %" PRId64,
					  check_describe(o->k, c), STR_FMT(m->keys[i]), op->revision);
	}
	if (n < op->n_kvs || count != op->count)
		return check_fail(o->k, "old revision: %s shows keys that were not there at revision %" PRId64,
				  check_describe(o->k, c), op->revision);
	return true;
}

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

static bool check_old_call(const struct old *o, const struct hist_call *c)
{
	for (size_t i = 0; i < c->n_then; i++) {
		const struct hist_op *op = &c->then[i];

		if (op->kind != HIST_RANGE || op->revision <= 0)
			continue;
		if (c->outcome == HIST_COMPACTED && !may_be_compacted(o->k, c, op->revision))
			return check_fail(o->k, "old revision: %s was told that it is compacted, which nobody had asked for",
					  check_describe(o->k, c));
		if (c->outcome == HIST_FUTURE && !c->serializable && check_seen(o->k, op->revision) < c->invoked)
			return check_fail(o->k, "old revision: %s was told that it lies in the future, but it had been seen",
					  check_describe(o->k, c));
		if (c->outcome != HIST_OK)
			continue;
		if (must_be_compacted(o->k, c, op->revision))
			return check_fail(o->k, "old revision: %s was answered, but it was compacted before", check_describe(o->k, c));
		if (!check_old_range(o, c, op))
			return false;
	}
	return true;
}

bool check_reads_of_old(struct checker *k)
{
	struct old o;
	bool ok = true;

	old_init(&o, k);
	for (size_t i = 0; i < k->h->calls.n && ok; i++) {
		const struct hist_call *c = k->h->calls.p[i];

		if (c->kind == HIST_TXN)
			ok = check_old_call(&o, c);
	}
	old_fini(&o);
	return ok;
}

/* --- Leases ------------------------------------------------------------------------------------------------------------- */

/* No lease ends before its time since the last renewal that was answered. */
static bool check_early(struct checker *k, const struct expiry *x)
{
	uint64_t seen = check_seen(k, x->revision);

	for (size_t i = 0; i < k->h->calls.n; i++) {
		const struct hist_call *c = k->h->calls.p[i];

		if ((c->kind != HIST_GRANT && c->kind != HIST_RENEW) || c->lease != x->lease || c->outcome != HIST_OK || c->ttl <= 0)
			continue;
		if (seen < c->invoked + (uint64_t)c->ttl * 1000000)
			return check_fail(k, "lease %" PRId64 " ended at revision %" PRId64 ", seen at %.3f ms, before its %" PRId64
					  " s were over: %s", x->lease, x->revision, (double)seen / 1000, c->ttl, check_describe(k, c));
	}
	return true;
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
