/*
 * Where the metrics of a horizontal autoscaler are asked for, and what the answers say: metrics.k8s.io for the pods' CPU and memory,
 * custom.metrics.k8s.io and external.metrics.k8s.io for all else, if somebody serves them. Pure; texts of errors are upstream's, as people
 * look for them.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_HPA_METRICS_H
#define ORCHESTRATOR_CONTROLLERS_HPA_METRICS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/controllers/hpa_count.h"
#include "proto/autoscaling_v2.pb-c.h"

struct view;

/* A kind may be served in several versions, by this program, as a custom resource or by an aggregated server. */
struct hpa_target {
	const char *group, *api_version, *plural;
};
/* All places where a kind is served, the best first; in the arena. */
size_t hpa_targets(struct arena *, const struct view *, const char *group, const char *kind, struct hpa_target **ret);
/* "/apis/GROUP/VERSION", or "/api/v1". */
const char *hpa_api_root(struct arena *, const char *api_version);
/* The selector of a metric as text; "" for none. */
int hpa_selector_text(struct arena *, const Meta__LabelSelector *, const char **ret, struct err *);

/* What has to be asked to know a metric of the pods that `selector` finds. */
int hpa_metric_path(struct arena *, const struct view *, const char *ns, const char *selector, const Autoscalingv2__MetricSpec *,
		const char **ret, struct err *);

/* The answers. A container: only its use; "": the sum of all. Pods of whose containers one is not measured are left out. */
int hpa_read_resource(struct arena *, struct str json, const char *resource, const char *container, struct hpa_sample **ret, size_t *ret_n,
		struct err *);
int hpa_read_pods(struct arena *, struct str json, struct hpa_sample **ret, size_t *ret_n, struct err *);
int hpa_read_object(struct arena *, struct str json, int64_t *ret_milli, struct err *);
/* The sum of all that were found. */
int hpa_read_external(struct arena *, struct str json, int64_t *ret_milli, struct err *);

#endif
