/*
 * What one metric of a horizontal autoscaler asks for: the answer that was got about it, set against its target. Pure; texts are upstream's.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_HPA_PROPOSE_H
#define ORCHESTRATOR_CONTROLLERS_HPA_PROPOSE_H

#include "orchestrator/controllers/hpa_round.h"

struct hpa_proposal {
	struct hpa_answer answer;
	const char *name;                     /* what messages call the metric */
	Autoscalingv2__MetricStatus *status;
	/* When it failed: */
	const char *reason;                   /* "FailedGetResourceMetric" */
	const char *why;
	const char *text;                     /* the same where all metrics are spoken of */
};

/* False: it failed. */
bool hpa_propose(struct hpa_round *, const Autoscalingv2__MetricSpec *, const struct hpa_learnt *, struct hpa_proposal *);

#endif
