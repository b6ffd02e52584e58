/*
 * How many replicas one metric asks for: target and present use in, a number out. Pure.
 *
 * A metric of pods is averaged over those that count. Pods that are not ready, and those of which nothing is known, are left out at first;
 * then, if it would grow, they are taken to use nothing, and if it would shrink, those unknown to use what they may. So both make the
 * step smaller, and never turn it round. A ratio near enough to 1 changes nothing.
 *
 *	struct hpa_pods_ask ask = {.cpu = true, .target = 80, .percent = true, .current = 3, .pods = pods, ...};
 *	if (hpa_count_pods(&ask, &answer, &e) < 0) ...             the reason is upstream's
 */
#ifndef ORCHESTRATOR_CONTROLLERS_HPA_COUNT_H
#define ORCHESTRATOR_CONTROLLERS_HPA_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The use of CPU of a pod younger than this counts only while it is ready, and only what was measured since. */
#define HPA_CPU_INITIALIZATION_S 300
/* A pod whose readiness changed last so soon after its start has never been ready. */
#define HPA_INITIAL_READINESS_S 30

enum hpa_phase { HPA_PENDING, HPA_FAILED, HPA_OTHER };
enum hpa_ready { HPA_READY_UNSAID, HPA_READY, HPA_NOT_READY, HPA_READY_UNKNOWN };

struct hpa_pod {
	const char *name;
	enum hpa_phase phase;
	bool running, leaving;
	enum hpa_ready ready;
	int64_t ready_since_s;  /* when that changed last */
	int64_t started_s;      /* 0: not yet */
	int64_t request_milli;  /* of the resource in question, when the target is a percentage */
	const char *no_request; /* it has none: what is missing */
};

/* What one pod uses, in thousandths. */
struct hpa_sample {
	const char *pod;
	int64_t milli;
	int64_t at_ms, window_ms; /* wall clock, and how long before it was measured */
};

struct hpa_tolerance {
	double up, down;
};

struct hpa_pods_ask {
	bool cpu;       /* the resource is "cpu" */
	bool percent;   /* target is a percentage of the pods' requests; else an average in thousandths */
	int64_t target;
	int32_t current;
	struct hpa_tolerance tolerance;
	const struct hpa_pod *pods;
	size_t n_pods;
	const struct hpa_sample *samples;
	size_t n_samples;
	int64_t now_s;
};

struct hpa_answer {
	int32_t replicas;
	int32_t percent;  /* what it is now, if the target is a percentage */
	int64_t milli;    /* the average, or of an object or external metric the value */
};

int hpa_count_pods(const struct hpa_pods_ask *, struct hpa_answer *, struct err *);

/* A metric that is no pod's: `usage` against `target`, both in thousandths; the present number is of pods that are ready. */
int hpa_count_value(int64_t usage, int64_t target, int32_t current, struct hpa_tolerance, const struct hpa_pod *, size_t n_pods,
		struct hpa_answer *, struct err *);
/* The same, with so much for each pod as the target; `replicas` is how many there are. */
void hpa_count_average(int64_t usage, int64_t target, int32_t replicas, struct hpa_tolerance, struct hpa_answer *);

#endif
