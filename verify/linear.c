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
		if (check_is_quiet(k, c[i].key, k->m.revision))
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

		if (check_made_revision(c))
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

	return c && c->header == k->m.revision + 1 && check_made_revision(c) ? c : NULL;
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
	if (e)
		snprintf(text, sizeof(text), "revision %" PRId64 " was answered to %s, but others saw%s there", revision,
			 check_describe(k, c), describe_evidence(w, revision));
	else
		snprintf(text, sizeof(text),
			 "revision %" PRId64 " was answered to %s, but those who had to be told of every change were not told of it",
			 revision, check_describe(k, c));
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

	if (!check_prepare(k) || !check_failed_calls(k))
		return false;
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
