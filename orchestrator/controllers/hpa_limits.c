#include "orchestrator/controllers/hpa_limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* --- Memory -------------------------------------------------------------------------------------------------------- */

static void series_add(struct hpa_series *s, int32_t value, uint64_t now_ms)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 8;
		s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
	}
	s->v[s->n++] = (struct hpa_entry){value, now_ms};
}

static uint64_t age_ms(const struct hpa_entry *e, uint64_t now_ms)
{
	return now_ms > e->at_ms ? now_ms - e->at_ms : 0;
}

static void series_forget(struct hpa_series *s, int32_t older_than_s, uint64_t now_ms)
{
	size_t old = 0;

	while (old < s->n && age_ms(&s->v[old], now_ms) > (uint64_t)older_than_s * 1000)
		old++;
	if (old == 0)
		return;
	memmove(s->v, s->v + old, (s->n - old) * sizeof(*s->v));
	s->n -= old;
}

void hpa_history_fini(struct hpa_history *h)
{
	free(h->wanted.v);
	free(h->ups.v);
	free(h->downs.v);
	*h = (struct hpa_history){.begun = false};
}

void hpa_history_begin(struct hpa_history *h, int32_t current, uint64_t now_ms)
{
	if (h->begun)
		return;
	h->begun = true;
	series_add(&h->wanted, current, now_ms);
}

/* --- Windows ------------------------------------------------------------------------------------------------------- */

int32_t hpa_ceil(double x)
{
	x = ceil(x);
	if (!(x > INT32_MIN))
		return isnan(x) ? 0 : INT32_MIN;
	return x < INT32_MAX ? (int32_t)x : INT32_MAX;
}

/* Without behavior an entry of exactly the window's age still counts, with it no more: as upstream has it. */
static int32_t stabilize(const struct hpa_history *h, const struct hpa_bounds *b, int32_t current, int32_t wanted, uint64_t now_ms)
{
	int32_t up = wanted, down = wanted, n = current;

	for (size_t i = 0; i < h->wanted.n; i++) {
		const struct hpa_entry *e = &h->wanted.v[i];
		uint64_t age = age_ms(e, now_ms);

		if (b->has_behavior && age < (uint64_t)b->up.window_s * 1000)
			up = MIN(up, e->value);
		if (b->has_behavior ? age < (uint64_t)b->down.window_s * 1000 : age <= HPA_DOWNSCALE_WINDOW_S * 1000)
			down = MAX(down, e->value);
	}
	if (!b->has_behavior)
		return down;
	n = MAX(n, up);
	return MIN(n, down);
}

/* --- Policies ------------------------------------------------------------------------------------------------------- */

static int64_t changed(const struct hpa_series *s, int32_t period_s, uint64_t now_ms)
{
	int64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (age_ms(&s->v[i], now_ms) < (uint64_t)period_s * 1000)
			n += s->v[i].value;
	return n;
}

/* Where one policy lets it get to from where it was when the period began. Growing is rounded up, or a small one would never grow. */
static double reach(const struct hpa_policy *p, double start, bool grows)
{
	if (!p->percent)
		return grows ? start + p->value : start - p->value;
	return grows ? ceil(start * (1 + p->value / 100.0)) : trunc(start * (1 - p->value / 100.0));
}

/* The farthest that it may go now; never back. */
static int32_t rate_limit(const struct hpa_history *h, const struct hpa_rules *rules, int32_t current, bool grows, uint64_t now_ms)
{
	bool highest = (rules->select == HPA_MOST) == grows;
	double limit = highest ? INT32_MIN : INT32_MAX;

	if (rules->select == HPA_NONE)
		return current;
	for (size_t i = 0; i < rules->n_policies; i++) {
		const struct hpa_policy *p = &rules->policies[i];
		double start = (double)current - (double)changed(&h->ups, p->period_s, now_ms) + (double)changed(&h->downs, p->period_s, now_ms);
		double to = reach(p, start, grows);

		limit = highest ? MAX(limit, to) : MIN(limit, to);
	}
	limit = grows ? MAX(limit, current) : MIN(limit, current);
	return hpa_ceil(limit);
}

static const char FASTER[] = "the desired replica count is increasing faster than the maximum scale rate";
static const char SLOWER[] = "the desired replica count is decreasing faster than the maximum scale rate";
static const char TOO_MANY[] = "the desired replica count is more than the maximum replica count";
static const char TOO_FEW[] = "the desired replica count is less than the minimum replica count";

static void limited(struct hpa_limited *v, int32_t replicas, const char *reason, const char *message)
{
	v->replicas = replicas;
	v->limited = true;
	v->limit_reason = reason;
	v->limit_message = message;
}

static void cap(struct hpa_limited *v, int32_t wanted, int32_t rate, int32_t max)
{
	if (wanted <= MIN(rate, max))
		return;
	if (max > rate)
		limited(v, rate, "ScaleUpLimit", FASTER);
	else
		limited(v, max, "TooManyReplicas", TOO_MANY);
}

static void limit_by_behavior(const struct hpa_history *h, const struct hpa_bounds *b, int32_t current, int32_t wanted, uint64_t now_ms,
		struct hpa_limited *v)
{
	if (wanted > current) {
		cap(v, wanted, rate_limit(h, &b->up, current, true, now_ms), b->max);
	} else if (wanted < current) {
		int32_t rate = rate_limit(h, &b->down, current, false, now_ms);

		if (wanted >= MAX(rate, b->min))
			return;
		if (b->min < rate)
			limited(v, rate, "ScaleDownLimit", SLOWER);
		else
			limited(v, b->min, "TooFewReplicas", TOO_FEW);
	}
}

static void limit_plainly(const struct hpa_bounds *b, int32_t current, int32_t wanted, struct hpa_limited *v)
{
	if (wanted < b->min)
		limited(v, b->min, "TooFewReplicas", TOO_FEW);
	else
		cap(v, wanted, hpa_ceil(MAX(2.0 * current, 4.0)), b->max);
}

struct hpa_limited hpa_limit(struct hpa_history *h, const struct hpa_bounds *b, int32_t current, int32_t wanted, uint64_t now_ms)
{
	int32_t stable = stabilize(h, b, current, wanted, now_ms);
	struct hpa_limited v = {.replicas = stable, .able_reason = "ReadyForNewScale", .able_message = "recommended size matches current size",
			.limit_reason = "DesiredWithinRange", .limit_message = "the desired count is within the acceptable range"};

	series_forget(&h->wanted, b->has_behavior ? MAX(b->up.window_s, b->down.window_s) : HPA_DOWNSCALE_WINDOW_S, now_ms);
	series_add(&h->wanted, wanted, now_ms);
	if (stable != wanted && b->has_behavior && wanted >= current) {
		v.able_reason = "ScaleUpStabilized";
		v.able_message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
	} else if (stable != wanted) {
		v.able_reason = "ScaleDownStabilized";
		v.able_message = "recent recommendations were higher than current one, applying the highest recent recommendation";
	}
	if (b->has_behavior)
		limit_by_behavior(h, b, current, stable, now_ms, &v);
	else
		limit_plainly(b, current, stable, &v);
	return v;
}

static int32_t longest_period(const struct hpa_bounds *b)
{
	int32_t longest = 0;

	for (size_t i = 0; i < b->up.n_policies; i++)
		longest = MAX(longest, b->up.policies[i].period_s);
	for (size_t i = 0; i < b->down.n_policies; i++)
		longest = MAX(longest, b->down.policies[i].period_s);
	return longest;
}

void hpa_scaled(struct hpa_history *h, const struct hpa_bounds *b, int32_t before, int32_t after, uint64_t now_ms)
{
	if (!b->has_behavior || before == after)
		return;
	series_forget(&h->ups, longest_period(b), now_ms);
	series_forget(&h->downs, longest_period(b), now_ms);
	series_add(after > before ? &h->ups : &h->downs, abs(after - before), now_ms);
}
