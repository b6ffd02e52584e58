/*
 * Before the search: the calls in order, and all that anybody has seen of any revision. What is at odds with real time, or shows two
 * different changes at one place, is found here already.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "verify/verify-priv.h"

/* --- Preparations --------------------------------------------------------------------------------------------------- */

bool check_made_revision(const struct hist_call *c)
{
	const struct hist_op *ops = c->succeeded ? c->then : c->otherwise;
	size_t n = c->succeeded ? c->n_then : c->n_otherwise;

	if (c->kind != HIST_TXN)
		return false;
	for (size_t i = 0; i < n; i++)
		if (ops[i].kind == HIST_PUT || (ops[i].kind == HIST_DELETE && ops[i].count > 0))
			return true;
	return false;
}

/* Places: the call that made revision r has 2r, those that only saw it 2r + 1. */
static int64_t place(const struct hist_call *c)
{
	return 2 * c->header + !check_made_revision(c);
}

static int by_place(const void *a, const void *b)
{
	const struct hist_call *x = *(struct hist_call *const *)a, *y = *(struct hist_call *const *)b;
	int64_t p = place(x), q = place(y);

	if (p != q)
		return p < q ? -1 : 1;
	return x->invoked < y->invoked ? -1 : x->invoked > y->invoked;
}

static int by_invocation(const void *a, const void *b)
{
	const struct hist_call *x = *(struct hist_call *const *)a, *y = *(struct hist_call *const *)b;

	return x->invoked < y->invoked ? -1 : x->invoked > y->invoked;
}

static int by_return(const void *a, const void *b)
{
	const struct hist_call *x = *(struct hist_call *const *)a, *y = *(struct hist_call *const *)b;

	return x->returned < y->returned ? -1 : x->returned > y->returned;
}

static bool writes(const struct hist_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].kind != HIST_RANGE)
			return true;
	return false;
}

static bool may_write(const struct hist_call *c)
{
	return c->kind == HIST_TXN && (writes(c->then, c->n_then) || writes(c->otherwise, c->n_otherwise));
}

static void sort_calls(struct checker *k)
{
	struct history *h = k->h;

	k->answered = xcalloc(h->calls.n + 1, sizeof(*k->answered));
	k->unknown = xcalloc(h->calls.n + 1, sizeof(*k->unknown));
	k->used = xcalloc(h->calls.n + 1, sizeof(*k->used));
	for (size_t i = 0; i < h->calls.n; i++) {
		struct hist_call *c = h->calls.p[i];

		k->v->n_ok += c->outcome == HIST_OK;
		k->v->n_unknown += c->outcome == HIST_UNKNOWN;
		k->v->n_failed += c->outcome > HIST_OK;
		/* A renewal shows no state. */
		if (c->outcome == HIST_OK && c->kind != HIST_RENEW) {
			k->answered[k->n_answered++] = c;
			k->target = MAX(k->target, c->header);
		} else if (c->outcome == HIST_UNKNOWN && (c->kind == HIST_REVOKE || may_write(c))) {
			k->unknown[k->n_unknown++] = c;
		}
	}
	qsort(k->answered, k->n_answered, sizeof(*k->answered), by_place);
	qsort(k->unknown, k->n_unknown, sizeof(*k->unknown), by_invocation);
}

static void add_keys(struct ptrs *keys, const struct hist_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind != HIST_DELETE && ops[i].end.n == 0)
			ptrs_add(keys, (void *)(uintptr_t)&ops[i].key);
		for (size_t j = 0; j < ops[i].n_kvs; j++)
			ptrs_add(keys, &ops[i].kvs[j].key);
	}
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Every key that is mentioned anywhere. */
static void collect_keys(struct checker *k)
{
	struct history *h = k->h;
	struct ptrs p = {0};
	struct str *keys;
	size_t n = 0;

	for (size_t i = 0; i < h->calls.n; i++) {
		struct hist_call *c = h->calls.p[i];

		add_keys(&p, c->then, c->n_then);
		add_keys(&p, c->otherwise, c->n_otherwise);
	}
	for (size_t i = 0; i < h->evidence.n; i++)
		ptrs_add(&p, &((struct hist_event *)h->evidence.p[i])->kv.key);
	for (size_t i = 0; i < h->watches.n; i++) {
		struct hist_watch *w = h->watches.p[i];

		for (size_t j = 0; j < w->n_messages; j++)
			for (size_t e = 0; e < w->messages[j].n_events; e++)
				ptrs_add(&p, &w->messages[j].events[e].kv.key);
	}
	keys = xcalloc(p.n + 1, sizeof(*keys));
	for (size_t i = 0; i < p.n; i++)
		keys[i] = *(struct str *)p.p[i];
	qsort(keys, p.n, sizeof(*keys), by_text);
	for (size_t i = 0; i < p.n; i++)
		if (n == 0 || !str_eq(keys[n - 1], keys[i]))
			keys[n++] = keys[i];
	free(p.p);
	model_init(&k->m, h->first, keys, n);
}

static void add_evidence(struct checker *k, size_t *cap, struct str key, int64_t revision, bool is_delete, struct str value)
{
	size_t from, to;

	if (revision <= k->h->first)
		return;
	model_range(&k->m, key, STR_NULL, &from, &to);
	if (to == from)
		return;
	if (k->n_evidence == *cap) {
		*cap = *cap ? *cap * 2 : 1024;
		k->evidence = xrealloc(k->evidence, *cap * sizeof(*k->evidence));
	}
	k->evidence[k->n_evidence++] =
		(struct evidence){revision, (uint32_t)from, is_delete, is_delete || !value.p ? 0 : model_value(&k->m, value)};
	k->target = MAX(k->target, revision);
}

static int by_revision(const void *a, const void *b)
{
	const struct evidence *x = a, *y = b;

	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->is_delete != y->is_delete)
		return x->is_delete ? 1 : -1;
	return x->value < y->value ? -1 : x->value > y->value;
}

static void add_quiet(struct checker *k, struct str key, int64_t from, int64_t to)
{
	size_t at, end;

	model_range(&k->m, key, STR_NULL, &at, &end);
	if (at == end || from >= to)
		return;
	if (k->n_quiet == k->cap_quiet) {
		k->cap_quiet = k->cap_quiet ? k->cap_quiet * 2 : 1024;
		k->quiet = xrealloc(k->quiet, k->cap_quiet * sizeof(*k->quiet));
	}
	k->quiet[k->n_quiet++] = (struct quiet){(uint32_t)at, from, to};
}

static void add_old(struct checker *k, struct hist_call *c, const struct hist_op *op)
{
	if (k->n_old == k->cap_old) {
		k->cap_old = k->cap_old ? k->cap_old * 2 : 256;
		k->old = xrealloc(k->old, k->cap_old * sizeof(*k->old));
	}
	k->old[k->n_old++] = (struct old_read){op->revision, c, op};
}

static void evidence_of_ops(struct checker *k, size_t *cap, struct hist_call *c)
{
	const struct hist_op *ops = c->succeeded ? c->then : c->otherwise;
	size_t n = c->succeeded ? c->n_then : c->n_otherwise;
	/* What it shows besides its own writes was so just before it. */
	int64_t at = c->header - check_made_revision(c);

	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind == HIST_RANGE && ops[i].revision > 0)
			add_old(k, c, &ops[i]);
		for (size_t j = 0; j < ops[i].n_kvs; j++) {
			const struct hist_kv *kv = &ops[i].kvs[j];

			add_evidence(k, cap, kv->key, kv->mod, false, ops[i].keys_only ? STR_NULL : kv->value);
			add_quiet(k, kv->key, kv->mod, ops[i].revision > 0 ? ops[i].revision : at);
		}
	}
}

static int by_key(const void *a, const void *b)
{
	const struct quiet *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->from < y->from ? -1 : x->from > y->from;
}

/* Join what overlaps, so that one search finds whether a revision is in any. */
static void join_quiet(struct checker *k)
{
	size_t n = 0;

	if (k->n_quiet > 0)
		qsort(k->quiet, k->n_quiet, sizeof(*k->quiet), by_key);
	for (size_t i = 0; i < k->n_quiet; i++) {
		struct quiet *last = n ? &k->quiet[n - 1] : NULL;

		if (last && last->key == k->quiet[i].key && k->quiet[i].from <= last->to)
			last->to = MAX(last->to, k->quiet[i].to);
		else
			k->quiet[n++] = k->quiet[i];
	}
	k->n_quiet = n;
}

bool check_is_quiet(const struct checker *k, uint32_t key, int64_t revision)
{
	size_t lo = 0, hi = k->n_quiet;

	/* The last one that begins before it. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct quiet *q = &k->quiet[mid];

		if (q->key < key || (q->key == key && q->from < revision))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && k->quiet[lo - 1].key == key && k->quiet[lo - 1].to >= revision;
}

static int by_old(const void *a, const void *b)
{
	const struct old_read *x = a, *y = b;

	return x->revision < y->revision ? -1 : x->revision > y->revision;
}

/* All that anybody has seen of any revision's changes, without repetitions. */
static bool collect_evidence(struct checker *k)
{
	struct history *h = k->h;
	size_t cap = 0, n = 0;

	for (size_t i = 0; i < k->n_answered; i++) {
		/* What a transaction shows of its own writes would be evidence of itself only: harmless. */
		evidence_of_ops(k, &cap, k->answered[i]);
	}
	for (size_t i = 0; i < h->evidence.n; i++) {
		const struct hist_event *e = h->evidence.p[i];

		add_evidence(k, &cap, e->kv.key, e->kv.mod, e->is_delete, e->kv.value);
	}
	for (size_t i = 0; i < h->watches.n; i++) {
		const struct hist_watch *w = h->watches.p[i];

		for (size_t j = 0; j < w->n_messages; j++)
			for (size_t x = 0; x < w->messages[j].n_events; x++) {
				const struct hist_event *e = &w->messages[j].events[x];

				add_evidence(k, &cap, e->kv.key, e->kv.mod, e->is_delete, e->kv.value);
				if (!e->has_prev)
					continue;
				add_evidence(k, &cap, e->prev.key, e->prev.mod, false, e->prev.value);
				add_quiet(k, e->prev.key, e->prev.mod, e->kv.mod - 1);
			}
	}
	if (k->n_evidence > 0)
		qsort(k->evidence, k->n_evidence, sizeof(*k->evidence), by_revision);
	for (size_t i = 0; i < k->n_evidence; i++) {
		const struct evidence *e = &k->evidence[i];

		if (n > 0 && by_revision(&k->evidence[n - 1], e) == 0)
			continue;
		if (n > 0 && k->evidence[n - 1].revision == e->revision && k->evidence[n - 1].key == e->key &&
		    !k->evidence[n - 1].is_delete && !e->is_delete && (!k->evidence[n - 1].value || !e->value)) {
			k->evidence[n - 1].value |= e->value;
			continue;
		}
		if (n > 0 && k->evidence[n - 1].revision == e->revision && k->evidence[n - 1].key == e->key)
			return check_fail(k, "revision %" PRId64 " shows two different changes of %.*s", e->revision,
					  STR_FMT(k->m.keys[e->key]));
		k->evidence[n++] = *e;
	}
	k->n_evidence = n;
	join_quiet(k);
	if (k->n_old > 0)
		qsort(k->old, k->n_old, sizeof(*k->old), by_old);
	k->target = MAX(k->target, h->known_to);
	return true;
}

/* When was each revision, or a later one, first seen? */
static void collect_seen(struct checker *k)
{
	struct history *h = k->h;
	size_t n = (size_t)(k->target - h->first + 2);

	k->seen = xmalloc(n * sizeof(*k->seen));
	memset(k->seen, 0xff, n * sizeof(*k->seen));
	for (size_t i = 0; i < k->n_answered; i++) {
		const struct hist_call *c = k->answered[i];

		if (c->header >= h->first)
			k->seen[c->header - h->first] = MIN(k->seen[c->header - h->first], c->returned);
	}
	for (size_t i = 0; i < h->n_seen; i++)
		if (h->seen[i].revision >= h->first && h->seen[i].revision <= k->target)
			k->seen[h->seen[i].revision - h->first] =
				MIN(k->seen[h->seen[i].revision - h->first], h->seen[i].at);
	for (size_t i = n - 1; i-- > 0;)
		k->seen[i] = MIN(k->seen[i], k->seen[i + 1]);
}

/* Up to which revision was each watch told everything? */
static void collect_told(struct checker *k)
{
	struct history *h = k->h;

	k->told = xcalloc(h->watches.n + 1, sizeof(*k->told));
	for (size_t i = 0; i < h->watches.n; i++) {
		const struct hist_watch *w = h->watches.p[i];

		for (size_t j = 0; j < w->n_messages; j++) {
			const struct hist_message *m = &w->messages[j];

			if (m->kind != HIST_GONE)
				k->told[i] = MAX(k->told[i], m->revision);
			if (m->n_events)
				k->told[i] = MAX(k->told[i], m->events[m->n_events - 1].kv.mod);
		}
	}
}

uint64_t check_seen(const struct checker *k, int64_t revision)
{
	return revision > k->target ? UINT64_MAX : k->seen[revision - k->h->first];
}

/* --- Real time ------------------------------------------------------------------------------------------------------ */

static bool check_real_time(struct checker *k)
{
	struct hist_call **begin = xcalloc(k->n_answered + 1, sizeof(*begin));
	struct hist_call **end = xcalloc(k->n_answered + 1, sizeof(*end));
	const struct hist_call *last = NULL;
	size_t done = 0;
	bool ok = true;

	memcpy(begin, k->answered, k->n_answered * sizeof(*begin));
	memcpy(end, k->answered, k->n_answered * sizeof(*end));
	qsort(begin, k->n_answered, sizeof(*begin), by_invocation);
	qsort(end, k->n_answered, sizeof(*end), by_return);
	for (size_t i = 0; i < k->n_answered && ok; i++) {
		const struct hist_call *c = begin[i];

		/* A revocation's place may be either: the lower one for what follows, the higher one for itself. */
		for (; done < k->n_answered && end[done]->returned < c->invoked; done++)
			if (!last || place(end[done]) - (end[done]->kind == HIST_REVOKE) > place(last) - (last->kind == HIST_REVOKE))
				last = end[done];
		if (!last || c->serializable || place(c) >= place(last) - (last->kind == HIST_REVOKE))
			continue;
		ok = check_fail(k, "%s: %s shows a state older than what %s had shown before it began",
				check_made_revision(c) ? "order of writes" : "stale read", check_describe(k, c), check_describe(k, last));
	}
	free(begin);
	free(end);
	return ok;
}

static bool check_unique(struct checker *k)
{
	for (size_t i = 0; i < k->n_answered; i++) {
		const struct hist_call *c = k->answered[i];

		if (c->header < k->h->first)
			return check_fail(k, "%s shows a revision before the first, %" PRId64, check_describe(k, c), k->h->first);
		if (i > 0 && check_made_revision(c) && place(c) == place(k->answered[i - 1]))
			return check_fail(k, "revision %" PRId64 " was given to two writes: %s and %s", c->header,
					  check_describe(k, k->answered[i - 1]), check_describe(k, c));
	}
	return true;
}

bool check_prepare(struct checker *k)
{
	k->target = k->h->first;
	sort_calls(k);
	collect_keys(k);
	if (!collect_evidence(k) || !check_unique(k) || !check_real_time(k))
		return false;
	collect_seen(k);
	collect_told(k);
	return true;
}
