/*
 * The search for a linearization. Each answered call has its revision, so one path is walked; where no answered call made the
 * next revision, the calls of unknown outcome are tried one after the other, and the walk comes back when one was wrong.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "verify/verify-priv.h"

/* Explanations tried before we give up without a verdict. */
#define MAX_STEPS 20000000u
/* Linearizations that are tried when what is checked afterwards does not fit. */
#define MAX_ALTERNATIVES 200

bool check_fail(struct checker *k, const char *fmt, ...)
{
	va_list ap;

	if (k->v->text[0])
		return false;
	k->v->kind = VERDICT_BAD;
	va_start(ap, fmt);
	vsnprintf(k->v->text, sizeof(k->v->text), fmt, ap);
	va_end(ap);
	return false;
}

/* --- Reports -------------------------------------------------------------------------------------------------------- */

static void describe_op(struct buf *b, const struct hist_op *op)
{
	static const char *const names[] = {"range", "put", "delete"};

	buf_printf(b, " %s %.*s", names[op->kind], STR_FMT(op->key));
	if (op->end.n)
		buf_printf(b, "..%.*s", STR_FMT(op->end));
	if (op->kind == HIST_PUT)
		buf_printf(b, "=%.*s", (int)MIN(op->value.n, 24), op->value.p);
	if (op->kind == HIST_PUT && op->lease)
		buf_printf(b, " lease %" PRId64, op->lease);
	if (op->kind == HIST_RANGE && op->revision)
		buf_printf(b, "@%" PRId64, op->revision);
	if (op->kind == HIST_RANGE)
		for (size_t i = 0; i < MIN(op->n_kvs, 2); i++)
			buf_printf(b, " (%.*s=%.*s mod %" PRId64 ")", STR_FMT(op->kvs[i].key), (int)MIN(op->kvs[i].value.n, 24),
				   op->kvs[i].value.p ? op->kvs[i].value.p : "", op->kvs[i].mod);
}

const char *check_describe(struct checker *k, const struct hist_call *c)
{
	static const char *const names[] = {"", "compact", "grant lease", "revoke lease", "renew lease"};
	struct buf b = BUF_INIT;
	char *text;

	buf_printf(&b, "client %u's", c->client);
	if (c->kind != HIST_TXN)
		buf_printf(&b, " %s %" PRId64, names[c->kind], c->kind == HIST_COMPACT ? c->revision : c->lease);
	if (c->n_compares)
		buf_printf(&b, " txn (%s)", c->succeeded ? "then" : "else");
	for (size_t i = 0; c->kind == HIST_TXN && i < MIN(c->succeeded ? c->n_then : c->n_otherwise, 3); i++)
		describe_op(&b, c->succeeded ? &c->then[i] : &c->otherwise[i]);
	if (c->where)
		buf_printf(&b, " at %s", c->where);
	buf_printf(&b, " (from %.3f ms", (double)c->invoked / 1000);
	if (c->outcome == HIST_OK)
		buf_printf(&b, " to %.3f ms, revision %" PRId64 ")", (double)c->returned / 1000, c->header);
	else
		buf_addc(&b, c->outcome == HIST_UNKNOWN ? ", unknown outcome)" : ", failed)");
	text = arena_cstr(&k->h->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

/* --- Preparations --------------------------------------------------------------------------------------------------- */

/* Did this answered call make the revision it shows? Of a revocation its answer does not say. */
static bool made_revision(const struct hist_call *c)
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
	return 2 * c->header + !made_revision(c);
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
	int64_t at = c->header - made_revision(c);

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

static bool is_quiet(const struct checker *k, uint32_t key, int64_t revision)
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
				made_revision(c) ? "order of writes" : "stale read", check_describe(k, c), check_describe(k, last));
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
		if (i > 0 && made_revision(c) && place(c) == place(k->answered[i - 1]))
			return check_fail(k, "revision %" PRId64 " was given to two writes: %s and %s", c->header,
					  check_describe(k, k->answered[i - 1]), check_describe(k, c));
	}
	return true;
}

/* --- The walk ------------------------------------------------------------------------------------------------------- */

/* A revision above `revision` that several things may explain; `next` is the explanation to try next. */
struct choice {
	int64_t revision;
	size_t next;
	size_t used;      /* unknown call that is tried now; SIZE_MAX: none */
	size_t n_expiries;
	size_t answered;  /* place in the list of answered calls */
};

struct walk {
	struct checker *k;
	size_t answered; /* the next answered call */
	struct choice *choices;
	size_t n_choices, cap_choices;
	uint64_t used_hash;
	struct map failed; /* states at choices that led nowhere */
	uint64_t steps;
	bool trust_nobody; /* watches' silence does not count: nothing explains all of it */
	char first_wrong[1024]; /* at the furthest revision */
};

static bool fail_at(struct walk *w, int64_t revision, const char *text)
{
	if (revision > w->k->failed_at) {
		w->k->failed_at = revision;
		snprintf(w->first_wrong, sizeof(w->first_wrong), "%s", text);
	}
	return false;
}

static size_t evidence_from(const struct checker *k, int64_t revision)
{
	size_t lo = 0, hi = k->n_evidence;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->evidence[mid].revision < revision)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool is_known(const struct checker *k, int64_t revision)
{
	return revision >= k->h->known_from && revision <= k->h->known_to;
}

/* Does the revision just made agree with what was seen of it? Else *ret_e is what it lacks. */
static bool agrees(const struct checker *k, const struct evidence **ret_e)
{
	int64_t revision = k->m.revision;
	size_t n, n_seen = 0;
	const struct change *c = model_changes(&k->m, revision, &n);

	for (size_t i = evidence_from(k, revision); i < k->n_evidence && k->evidence[i].revision == revision; i++) {
		const struct evidence *e = &k->evidence[i];
		bool found = false;

		for (size_t j = 0; j < n && !found; j++)
			found = c[j].key == e->key && (c[j].after.version == 0) == e->is_delete &&
				(e->is_delete || !e->value || c[j].after.value == e->value);
		if (!found) {
			*ret_e = e;
			return false;
		}
		n_seen++;
	}
	*ret_e = NULL;
	return !is_known(k, revision) || n_seen == n;
}

static bool told(const struct hist_watch *x, struct str key, int64_t revision)
{
	for (size_t i = 0; i < x->n_messages; i++)
		for (size_t j = 0; j < x->messages[i].n_events; j++)
			if (x->messages[i].events[j].kv.mod == revision && str_eq(x->messages[i].events[j].kv.key, key))
				return true;
	return false;
}

/*
 * Silence is evidence, too: a watch that was told all up to a later revision would have been told of this change. Only for
 * choosing an explanation: where the change is certain, the silence is the watch's fault.
 */
static bool nobody_misses_it(const struct walk *w)
{
	const struct checker *k = w->k;
	size_t n, from, to;
	const struct change *c = model_changes(&k->m, k->m.revision, &n);

	for (size_t i = 0; i < k->h->watches.n; i++) {
		const struct hist_watch *x = k->h->watches.p[i];

		if (k->m.revision < x->start || k->m.revision > k->told[i])
			continue;
		model_range(&k->m, x->key.n ? x->key : STR("\0"), x->end, &from, &to);
		for (size_t j = 0; j < n; j++)
			if (c[j].key >= from && c[j].key < to && !(c[j].after.version ? x->no_put : x->no_delete) &&
			    !told(x, k->m.keys[c[j].key], k->m.revision))
				return false;
	}
	return true;
}

/* Is this a good explanation of the revision just made? */
static bool explains(const struct walk *w)
{
	const struct checker *k = w->k;
	const struct evidence *e;
	size_t n;
	const struct change *c = model_changes(&k->m, k->m.revision, &n);

	if (!agrees(k, &e))
		return false;
	if (w->trust_nobody)
		return true;
	for (size_t i = 0; i < n; i++)
		if (is_quiet(k, c[i].key, k->m.revision))
			return false;
	return nobody_misses_it(w);
}

static const char *describe_evidence(struct walk *w, int64_t revision)
{
	struct checker *k = w->k;
	struct buf b = BUF_INIT;
	size_t i = evidence_from(k, revision);
	char *text;

	for (size_t n = 0; i < k->n_evidence && k->evidence[i].revision == revision && n < 3; i++, n++) {
		const struct evidence *e = &k->evidence[i];
		struct str value = STR("?");

		MAP_FOR_EACH (m, &k->m.values)
			if ((uintptr_t)m->value == e->value)
				value = m->key;
		if (e->is_delete)
			buf_printf(&b, " (%.*s deleted)", STR_FMT(k->m.keys[e->key]));
		else
			buf_printf(&b, " (%.*s=%.*s)", STR_FMT(k->m.keys[e->key]), (int)MIN(value.n, 24), value.p);
	}
	text = arena_cstr(&k->h->arena, buf_str(&b));
	buf_fini(&b);
	return text;
}

static bool old_reads_agree(struct walk *w)
{
	struct checker *k = w->k;
	size_t lo = 0, hi = k->n_old;
	char text[1024];

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->old[mid].revision < k->m.revision)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < k->n_old && k->old[lo].revision == k->m.revision; lo++) {
		if (model_shows(&k->m, k->old[lo].op))
			continue;
		snprintf(text, sizeof(text), "old revision: %s: %s", check_describe(k, k->old[lo].call), k->m.wrong);
		return fail_at(w, k->m.revision, text);
	}
	return true;
}

/* All answered calls that saw this revision must have seen this state. */
static bool readers_agree(struct walk *w)
{
	struct checker *k = w->k;

	for (; w->answered < k->n_answered && k->answered[w->answered]->header == k->m.revision; w->answered++) {
		struct hist_call *c = k->answered[w->answered];
		char text[1024];

		if (made_revision(c))
			continue; /* it was done */
		if (c->kind == HIST_REVOKE ? !model_has_lease(&k->m, c->lease) : model_call(&k->m, c, true) == STEP_SAME)
			continue;
		if (c->kind == HIST_REVOKE)
			snprintf(k->m.wrong, sizeof(k->m.wrong), "keys of the lease are still there");
		snprintf(text, sizeof(text), "wrong answer: %s: %s", check_describe(k, c), k->m.wrong);
		return fail_at(w, k->m.revision, text);
	}
	return true;
}

static const struct hist_call *maker_of_next(const struct walk *w)
{
	const struct checker *k = w->k;
	const struct hist_call *c = w->answered < k->n_answered ? k->answered[w->answered] : NULL;

	return c && c->header == k->m.revision + 1 && made_revision(c) ? c : NULL;
}

static bool try_maker(struct walk *w, const struct hist_call *c)
{
	struct checker *k = w->k;
	const struct evidence *e = NULL;
	int64_t revision = k->m.revision + 1;
	char text[1024];

	switch (model_call(&k->m, c, true)) {
	case STEP_WRONG:
		snprintf(text, sizeof(text), "wrong answer: %s: %s", check_describe(k, c), k->m.wrong);
		return fail_at(w, revision, text);
	case STEP_SAME:
		snprintf(text, sizeof(text), "wrong answer: %s changes nothing in the state before it", check_describe(k, c));
		return fail_at(w, revision, text);
	case STEP_CHANGED:
		break;
	}
	if (agrees(k, &e))
		return true;
	snprintf(text, sizeof(text), "revision %" PRId64 " was answered to %s, but others saw%s there", revision,
		 check_describe(k, c), e ? describe_evidence(w, revision) : " less");
	return fail_at(w, revision, text);
}

/* Explanation number i of the next revision: 1 it was made, 0 it does not fit, -1 there are no more. */
static int try_explanation(struct walk *w, struct choice *c, size_t i)
{
	struct checker *k = w->k;
	size_t at = w->answered, n = 0;
	enum step s = STEP_SAME;

	/* A revocation that was answered with this revision. */
	for (; at < k->n_answered && k->answered[at]->header == k->m.revision + 1; at++)
		if (k->answered[at]->kind == HIST_REVOKE && n++ == i) {
			s = model_revoke(&k->m, k->answered[at]->lease);
			return s == STEP_CHANGED && explains(w);
		}
	i -= n;
	if (i < k->n_unknown) {
		struct hist_call *u = k->unknown[i];

		if (u->invoked > check_seen(k, k->m.revision + 1))
			return 0;
		if (k->used[i] || model_call(&k->m, u, false) != STEP_CHANGED)
			return 0;
		if (!explains(w))
			return 0;
		k->used[i] = true;
		c->used = i;
		w->used_hash ^= (i + 1) * 0x9e3779b97f4a7c15ULL;
		return 1;
	}
	i -= k->n_unknown;
	/* A lease that ended. One number for each key: that of its lease. */
	if (i < k->m.n_keys) {
		int64_t lease = k->m.cells[i].version ? k->m.cells[i].lease : 0;

		if (lease == 0 || (!w->trust_nobody && check_outlives(k, lease, k->m.revision + 1)) ||
		    model_revoke(&k->m, lease) != STEP_CHANGED)
			return 0;
		if (k->n_expiries == k->cap_expiries) {
			k->cap_expiries = k->cap_expiries ? k->cap_expiries * 2 : 64;
			k->expiries = xrealloc(k->expiries, k->cap_expiries * sizeof(*k->expiries));
		}
		k->expiries[k->n_expiries++] = (struct expiry){lease, k->m.revision};
		return explains(w);
	}
	i -= k->m.n_keys;
	if (i == 0 && k->h->shared) {
		model_pass(&k->m);
		return explains(w);
	}
	return i == 0 ? 0 : -1;
}

static void undo(struct walk *w, const struct choice *c)
{
	struct checker *k = w->k;

	model_back(&k->m, c->revision);
	k->n_expiries = c->n_expiries;
	w->answered = c->answered;
	if (c->used != SIZE_MAX) {
		k->used[c->used] = false;
		w->used_hash ^= (c->used + 1) * 0x9e3779b97f4a7c15ULL;
	}
}

static struct str state_key(const struct walk *w, const struct choice *c, uint64_t out[3])
{
	out[0] = (uint64_t)c->revision;
	out[1] = w->k->m.hash;
	out[2] = w->used_hash;
	return str_of(out, 3 * sizeof(*out));
}

/* Go on with the newest choice that has an explanation left. */
static bool choose(struct walk *w)
{
	while (w->n_choices > 0) {
		struct choice *c = &w->choices[w->n_choices - 1];
		uint64_t key[3];
		int rc;

		undo(w, c);
		c->used = SIZE_MAX;
		while ((rc = try_explanation(w, c, c->next++)) == 0) {
			undo(w, c);
			c->used = SIZE_MAX;
			w->steps++;
		}
		if (rc > 0)
			return true;
		map_put(&w->failed, state_key(w, c, key), w);
		w->n_choices--;
	}
	return false;
}

static bool explain_next(struct walk *w)
{
	struct checker *k = w->k;
	struct choice c = {.revision = k->m.revision, .used = SIZE_MAX, .n_expiries = k->n_expiries, .answered = w->answered};
	uint64_t key[3];
	char text[1024];
	size_t before = w->n_choices;
	const char *seen;

	if (map_get(&w->failed, state_key(w, &c, key)))
		return choose(w);
	if (w->n_choices == w->cap_choices) {
		w->cap_choices = w->cap_choices ? w->cap_choices * 2 : 64;
		w->choices = xrealloc(w->choices, w->cap_choices * sizeof(*w->choices));
	}
	w->choices[w->n_choices++] = c;
	k->v->n_choices += !w->trust_nobody;
	if (choose(w) && w->n_choices > before)
		return true;
	/* Nothing explains it; an earlier choice may have been taken up again. */
	seen = describe_evidence(w, c.revision + 1);
	snprintf(text, sizeof(text),
		 "revision %" PRId64 "%s%s was made by no call that succeeded or may have happened, and by no lease's end%s",
		 c.revision + 1, *seen ? ", where somebody saw" : "", seen,
		 k->h->known_to >= c.revision + 1 && !*seen ? " (and no change was seen there)" : "");
	fail_at(w, c.revision + 1, text);
	return w->n_choices > 0;
}

static bool walk(struct walk *w)
{
	struct checker *k = w->k;

	for (;;) {
		const struct hist_call *c;
		bool ok = readers_agree(w) && old_reads_agree(w);

		if (ok && k->m.revision >= k->target)
			return true;
		if (w->steps > MAX_STEPS) {
			k->v->kind = VERDICT_UNDECIDED;
			snprintf(k->v->text, sizeof(k->v->text),
				 "too many explanations were tried without success; the furthest failed so: %.800s", w->first_wrong);
			return false;
		}
		w->steps++;
		if (ok && (c = maker_of_next(w)) != NULL)
			ok = try_maker(w, c);
		else if (ok)
			ok = explain_next(w);
		if (!ok && !choose(w))
			return false;
	}
}

static bool check_after(struct checker *k)
{
	k->v->n_watches = k->v->n_events = 0;
	return check_compaction(k) && check_leases(k) && check_watches(k);
}

static bool walk_from_start(struct walk *w)
{
	struct checker *k = w->k;
	char first[sizeof(k->v->text)];
	bool ok;

	model_back(&k->m, k->h->first);
	memset(k->used, 0, k->n_unknown * sizeof(*k->used));
	w->answered = w->n_choices = 0;
	w->used_hash = w->steps = 0;
	w->first_wrong[0] = '\0';
	k->n_expiries = 0;
	k->failed_at = 0;
	map_clear(&w->failed);
	ok = walk(w);
	/*
	 * What is checked afterwards may be at odds with one of several explanations only: then there is another linearization,
	 * and it is near.
	 */
	for (unsigned n = 0; ok && !check_after(k); n++) {
		if (n == 0)
			memcpy(first, k->v->text, sizeof(first));
		k->v->text[0] = '\0';
		k->v->kind = VERDICT_GOOD;
		if (n == MAX_ALTERNATIVES || !choose(w) || !walk(w)) {
			check_fail(k, "%s", first);
			ok = false;
		}
	}
	return ok;
}

/* If the text of a failed call was seen, say that: it is the heart of the matter. */
static bool check_failed_calls(struct checker *k)
{
	struct history *h = k->h;
	struct map failed;
	bool ok = true;

	map_init(&failed);
	for (size_t i = 0; i < h->calls.n; i++) {
		struct hist_call *c = h->calls.p[i];

		for (size_t j = 0; c->outcome > HIST_OK && c->kind == HIST_TXN && j < c->n_then; j++)
			if (c->then[j].kind == HIST_PUT)
				map_put(&failed, c->then[j].value, c);
	}
	/* Values may be written twice: only those that nobody else wrote. */
	for (size_t i = 0; i < h->calls.n; i++) {
		struct hist_call *c = h->calls.p[i];

		for (size_t j = 0; c->outcome <= HIST_OK && j < c->n_then; j++)
			if (c->then[j].kind == HIST_PUT)
				map_del(&failed, c->then[j].value);
		for (size_t j = 0; c->outcome <= HIST_OK && j < c->n_otherwise; j++)
			if (c->otherwise[j].kind == HIST_PUT)
				map_del(&failed, c->otherwise[j].value);
	}
	MAP_FOR_EACH (f, &failed)
		for (size_t i = 0; i < k->n_evidence && ok; i++)
			if (!k->evidence[i].is_delete && k->evidence[i].value == model_value(&k->m, f->key))
				ok = check_fail(k, "revision %" PRId64 " has the write of %s", k->evidence[i].revision,
						check_describe(k, f->value));
	map_fini(&failed);
	return ok;
}

bool check_linear(struct checker *k)
{
	struct walk w = {.k = k};
	bool ok;

	k->target = k->h->first;
	sort_calls(k);
	collect_keys(k);
	if (!collect_evidence(k) || !check_unique(k) || !check_real_time(k) || !check_failed_calls(k))
		return false;
	collect_seen(k);
	collect_told(k);
	ok = walk_from_start(&w);
	/* A watch that lacks something may be what is wrong: then that is to be said. */
	if (!ok && k->v->kind == VERDICT_GOOD && !k->v->text[0]) {
		w.trust_nobody = true;
		ok = walk_from_start(&w);
	}
	if (!ok)
		check_fail(k, "%s", w.first_wrong);
	map_fini(&w.failed);
	free(w.choices);
	k->v->revision = k->m.revision;
	k->v->n_expired = k->n_expiries;
	for (size_t i = 0; i < k->n_unknown; i++)
		k->v->n_placed += k->used[i];
	return ok;
}

bool history_check(struct history *h, struct verdict *v)
{
	struct checker k = {.h = h, .v = v};
	bool ok;

	*v = (struct verdict){.kind = VERDICT_GOOD};
	ok = check_linear(&k);
	if (!ok && v->kind == VERDICT_GOOD)
		v->kind = VERDICT_BAD;
	model_fini(&k.m);
	free(k.answered);
	free(k.unknown);
	free(k.used);
	free(k.evidence);
	free(k.seen);
	free(k.told);
	free(k.quiet);
	free(k.old);
	free(k.expiries);
	return ok;
}
