#include "orchestrator/controllers/hpa_count.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"
#include "orchestrator/controllers/hpa_limits.h"

enum pod_class { READY, UNREADY, MISSING, IGNORED };

/* Each pod that has a sample or will be given one. */
struct counted {
	const struct hpa_pod *pod; /* NULL: a sample of a pod that we do not see */
	enum pod_class class;
	int64_t milli;
};

struct tally {
	struct counted *v;
	size_t n;
	size_t n_ready, n_unready, n_missing;
};

struct average {
	double ratio;
	int32_t percent;
	int64_t milli;
	size_t n; /* over so many */
};

static bool within(struct hpa_tolerance t, double ratio)
{
	return 1.0 - t.down <= ratio && ratio <= 1.0 + t.up;
}

static int64_t clamp(__int128 v)
{
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* --- Which pods count --------------------------------------------------------------------------------------------------- */

static bool is_warming_up(const struct hpa_pod *p, const struct hpa_sample *s, int64_t now_s)
{
	if (p->ready == HPA_READY_UNSAID || p->started_s == 0)
		return true;
	if (p->started_s + HPA_CPU_INITIALIZATION_S > now_s)
		return p->ready == HPA_NOT_READY || s->at_ms < p->ready_since_s * 1000 + s->window_ms;
	return p->ready == HPA_NOT_READY && p->started_s + HPA_INITIAL_READINESS_S > p->ready_since_s;
}

static enum pod_class classify(const struct hpa_pods_ask *ask, const struct hpa_pod *p, const struct hpa_sample *s)
{
	if (p->leaving || p->phase == HPA_FAILED)
		return IGNORED;
	if (p->phase == HPA_PENDING)
		return UNREADY;
	if (!s)
		return MISSING;
	return ask->cpu && is_warming_up(p, s, ask->now_s) ? UNREADY : READY;
}

static void sort_out(const struct hpa_pods_ask *ask, struct tally *t)
{
	struct map by_pod = MAP_INIT;

	t->v = xcalloc(ask->n_pods + ask->n_samples + 1, sizeof(*t->v));
	for (size_t i = 0; i < ask->n_samples; i++)
		map_put(&by_pod, str_from(ask->samples[i].pod), (void *)(uintptr_t)&ask->samples[i]);
	for (size_t i = 0; i < ask->n_pods; i++) {
		const struct hpa_sample *s = map_del(&by_pod, str_from(ask->pods[i].name));
		enum pod_class class = classify(ask, &ask->pods[i], s);

		t->v[t->n++] = (struct counted){&ask->pods[i], class, s ? s->milli : 0};
		t->n_ready += class == READY;
		t->n_unready += class == UNREADY;
		t->n_missing += class == MISSING;
	}
	MAP_FOR_EACH (e, &by_pod)
		t->v[t->n++] = (struct counted){NULL, READY, ((const struct hpa_sample *)e->value)->milli};
	map_fini(&by_pod);
}

/* --- Averages ---------------------------------------------------------------------------------------------------------- */

/* Over the pods of the classes in `classes` (bits). Percentages are whole, cut off. ERR_NOT_FOUND: over none. */
static int average_of(const struct hpa_pods_ask *ask, const struct tally *t, unsigned classes, struct average *ret, struct err *e)
{
	__int128 used = 0, asked_for = 0;
	size_t n = 0, n_known = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct counted *c = &t->v[i];

		if (!(classes & 1u << c->class))
			continue;
		n++;
		if (ask->percent && !c->pod)
			continue;
		used += c->milli;
		asked_for += c->pod ? c->pod->request_milli : 0;
		n_known++;
	}
	if (n_known == 0 || (ask->percent && asked_for == 0))
		return err_set(e, ERR_NOT_FOUND, "no metrics returned matched known pods");
	*ret = (struct average){.n = n, .milli = clamp(used / (__int128)n_known)};
	if (ask->percent) {
		__int128 percent = used * 100 / asked_for;

		ret->percent = percent > INT32_MAX ? INT32_MAX : percent < INT32_MIN ? INT32_MIN : (int32_t)percent;
	}
	ret->ratio = (double)(ask->percent ? ret->percent : ret->milli) / (double)ask->target;
	return 0;
}

/* What a pod of which nothing is known is taken to use. */
static int64_t assumed(const struct hpa_pods_ask *ask, const struct hpa_pod *p, bool shrinks)
{
	if (!shrinks)
		return 0;
	return ask->percent ? clamp((__int128)p->request_milli * MAX(100, ask->target) / 100) : ask->target;
}

/* Again, with those that were left out. */
static int count_all(const struct hpa_pods_ask *ask, struct tally *t, const struct average *first, bool with_unready,
		struct hpa_answer *ret, struct err *e)
{
	/* At exactly the target nothing is assumed of anybody. */
	bool with_missing = first->ratio < 1.0 || first->ratio > 1.0;
	unsigned classes = 1u << READY | (with_missing ? 1u << MISSING : 0) | (with_unready ? 1u << UNREADY : 0);
	struct average all;
	int32_t replicas;
	int r;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].class == MISSING)
			t->v[i].milli = assumed(ask, t->v[i].pod, first->ratio < 1.0);
		else if (t->v[i].class == UNREADY)
			t->v[i].milli = 0;
	r = average_of(ask, t, classes, &all, e);
	if (r < 0)
		return r;
	if (within(ask->tolerance, all.ratio) || (first->ratio < 1.0 && all.ratio > 1.0) || (first->ratio > 1.0 && all.ratio < 1.0))
		return 0;
	replicas = hpa_ceil(all.ratio * (double)all.n);
	if ((all.ratio < 1.0 && replicas > ask->current) || (all.ratio > 1.0 && replicas < ask->current))
		return 0;
	ret->replicas = replicas;
	return 0;
}

static int count(const struct hpa_pods_ask *ask, struct tally *t, struct hpa_answer *ret, struct err *e)
{
	struct average first;
	bool with_unready;
	size_t n_counted = 0;
	int r;

	for (size_t i = 0; i < t->n; i++)
		n_counted += t->v[i].class == READY;
	if (n_counted == 0)
		return err_set(e, ERR_NOT_FOUND, "did not receive metrics for targeted pods (pods might be unready)");
	for (size_t i = 0; ask->percent && i < ask->n_pods; i++)
		if (ask->pods[i].no_request)
			return err_set(e, ERR_NOT_FOUND, "%s", ask->pods[i].no_request);
	r = average_of(ask, t, 1u << READY, &first, e);
	if (r < 0)
		return r;
	*ret = (struct hpa_answer){.replicas = ask->current, .percent = first.percent, .milli = first.milli};
	with_unready = t->n_unready > 0 && first.ratio > 1.0;
	if (with_unready || t->n_missing > 0)
		return count_all(ask, t, &first, with_unready, ret, e);
	if (!within(ask->tolerance, first.ratio))
		ret->replicas = hpa_ceil(first.ratio * (double)t->n_ready);
	return 0;
}

int hpa_count_pods(const struct hpa_pods_ask *ask, struct hpa_answer *ret, struct err *e)
{
	struct tally t = {.n = 0};
	int r;

	if (ask->n_pods == 0)
		return err_set(e, ERR_NOT_FOUND, "no pods returned by selector while calculating replica count");
	sort_out(ask, &t);
	r = count(ask, &t, ret, e);
	free(t.v);
	return r;
}

/* --- Metrics of other things --------------------------------------------------------------------------------------------- */

int hpa_count_value(int64_t usage, int64_t target, int32_t current, struct hpa_tolerance tolerance, const struct hpa_pod *pods, size_t n_pods,
		struct hpa_answer *ret, struct err *e)
{
	double ratio = (double)usage / (double)target;
	size_t n_ready = 0;

	*ret = (struct hpa_answer){.replicas = current, .milli = usage};
	if (current == 0) {
		ret->replicas = hpa_ceil(ratio);
		return 0;
	}
	if (within(tolerance, ratio))
		return 0;
	if (n_pods == 0)
		return err_set(e, ERR_NOT_FOUND,
				"unable to calculate ready pods: no pods returned by selector while calculating replica count");
	for (size_t i = 0; i < n_pods; i++)
		n_ready += pods[i].running && pods[i].ready == HPA_READY;
	ret->replicas = hpa_ceil(ratio * (double)n_ready);
	return 0;
}

void hpa_count_average(int64_t usage, int64_t target, int32_t replicas, struct hpa_tolerance tolerance, struct hpa_answer *ret)
{
	*ret = (struct hpa_answer){.replicas = replicas};
	/* Over no pods there is no average: the ratio is infinite, or nothing of nothing. */
	if (!within(tolerance, (double)usage / ((double)target * replicas)))
		ret->replicas = hpa_ceil((double)usage / (double)target);
	/* Rounded up, in whole numbers: what is near the largest has no double. */
	ret->milli = replicas > 0 ? usage / replicas + (usage % replicas > 0) : usage;
}
