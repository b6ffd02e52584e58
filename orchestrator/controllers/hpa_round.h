/*
 * struct hpa_round: one look at a horizontal autoscaler: what it is told goes in, its new status, the events and the number of replicas
 * to write come out. Pure; who waits is the shell in autoscaler.c:
 *
 *	begin --> GET scale --> hpa_round_scale --> GET metrics --> hpa_round_decide --> PUT scale --> hpa_round_rescaled --> PUT status
 *	              |                 '- no need ------------------------'
 *	              '- hpa_round_no_scale
 *
 * Conditions, reasons, messages and events are upstream's, since people and programs look for them. Everything lives in the arena.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_HPA_ROUND_H
#define ORCHESTRATOR_CONTROLLERS_HPA_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/controllers/hpa_count.h"
#include "orchestrator/controllers/hpa_limits.h"
#include "proto/autoscaling_v2.pb-c.h"
#include "proto/core.pb-c.h"

struct json;

struct hpa_event {
	bool warning;
	const char *reason, *message;
	struct hpa_event *next;
};

/* Another autoscaler of the namespace, and the selector of its target. */
struct hpa_rival {
	const char *name, *selector;
};

/* The answer about one metric, or why there is none. */
struct hpa_learnt {
	struct str text;
	struct err err;
};

struct hpa_round {
	/* Given. */
	struct arena *arena;
	const Autoscalingv2__HorizontalPodAutoscaler *hpa;
	struct hpa_history *history;
	int64_t now_s;
	uint64_t now_ms;
	const Core__Pod **pods; /* of the namespace, all, as they are when it is called; those of the target are left in it */
	size_t n_pods;
	const struct hpa_rival *rivals;
	size_t n_rivals;

	/* What the scale subresource says. */
	struct json *scale;
	int32_t current, status_replicas;
	const char *selector;

	/* Found. */
	Autoscalingv2__HorizontalPodAutoscaler *copy; /* with the new status */
	struct hpa_event *events; /* in the order of saying */
	struct hpa_bounds bounds;
	bool rescale;
	int32_t replicas;
	const char *why;
};

/* The given parts are set. */
void hpa_round_begin(struct hpa_round *);
/* The target has no scale that could be read: the round is over. */
void hpa_round_no_scale(struct hpa_round *, const char *why);
/* True: the metrics have to be asked for; else it is decided. ERR_*: the answer is no scale. */
int hpa_round_scale(struct hpa_round *, struct str answer, bool *ret_ask, struct err *);
/* `learnt`: one for each metric of the spec. The pods are given anew. */
void hpa_round_decide(struct hpa_round *, const struct hpa_learnt *);
/* The Scale to write. */
struct str hpa_round_wanted(struct hpa_round *);
/* It was written (NULL), or not. */
void hpa_round_rescaled(struct hpa_round *, const char *why_not);
/* Whether the status has to be written. */
bool hpa_round_changed(const struct hpa_round *);

#endif
