/*
 * How far a horizontal autoscaler may go: between what the metrics ask for and what is written stand the stabilization windows, the
 * policies of spec.behavior and the bounds. Pure, but for a memory of what was asked for and done, which the caller keeps for each autoscaler:
 *
 *	wanted --window--> the lowest of what was wanted lately when it grows, the highest when it shrinks
 *	       --policies, min, max--> at most so much in a period
 *
 *	v = hpa_limit(&history, &bounds, current, wanted, now_ms);
 *	... and once v.replicas are written:
 *	hpa_scaled(&history, &bounds, current, v.replicas, now_ms);
 *
 * Reasons and messages are upstream's; they are constants.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_HPA_LIMITS_H
#define ORCHESTRATOR_CONTROLLERS_HPA_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the whole cluster has unless an autoscaler says otherwise. */
#define HPA_DOWNSCALE_WINDOW_S 300
#define HPA_TOLERANCE 0.1

struct hpa_entry {
	int32_t value; /* a number of replicas; of changes: how many more or fewer, over 0 */
	uint64_t at_ms;
};

struct hpa_series {
	struct hpa_entry *v; /* the oldest first */
	size_t n, cap;
};

/* All zero: nothing is known. */
struct hpa_history {
	struct hpa_series wanted, ups, downs;
	bool begun;
};
void hpa_history_fini(struct hpa_history *);

enum hpa_select { HPA_MOST, HPA_LEAST, HPA_NONE };

struct hpa_policy {
	bool percent;
	int32_t value, period_s;
};

struct hpa_rules {
	enum hpa_select select;
	int32_t window_s;
	double tolerance; /* 0.1: a tenth off the target is left alone */
	const struct hpa_policy *policies; /* borrowed */
	size_t n_policies;
};

struct hpa_bounds {
	int32_t min, max;
	bool has_behavior; /* else no policies: it may double, or grow to four, at a time, and shrinks as it likes */
	struct hpa_rules up, down;
};

struct hpa_limited {
	int32_t replicas;
	const char *able_reason, *able_message;   /* condition AbleToScale, True */
	bool limited;                             /* condition ScalingLimited */
	const char *limit_reason, *limit_message;
};

/* The first round's number counts as wanted. Nothing later on. */
void hpa_history_begin(struct hpa_history *, int32_t current, uint64_t now_ms);
struct hpa_limited hpa_limit(struct hpa_history *, const struct hpa_bounds *, int32_t current, int32_t wanted, uint64_t now_ms);
void hpa_scaled(struct hpa_history *, const struct hpa_bounds *, int32_t before, int32_t after, uint64_t now_ms);

/* Rounded up, within what an int32 holds. */
int32_t hpa_ceil(double);

#endif
