/*
 * The hooks and programs of single resources, for the tables in strategy.c; see struct api_strategy for when they run.
 */
#ifndef ORCHESTRATOR_APISERVER_STRATEGIES_H
#define ORCHESTRATOR_APISERVER_STRATEGIES_H

#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/strategy.h"

/* strategy_pod.c */
enum step_result strategy_pod_create(struct api_request *);
enum step_result strategy_pod_update(struct api_request *);
enum step_result strategy_pod_ephemeral(struct api_request *, struct json *view);
enum step_result strategy_pod_resize(struct api_request *, struct json *view);
int64_t strategy_pod_grace(struct api_request *, int64_t asked);
/* The Status "Success" with 201. */
enum step_result strategy_created_status(struct api_request *);
extern const struct api_step strategy_bindings[];

/* eviction.c */
extern const struct api_step strategy_eviction[];
/* Puts on req->obj, a pod, that it is being evicted; false: it says so already. */
bool strategy_pod_evicted(struct api_request *);

/* strategy_service.c */
enum step_result strategy_service_create(struct api_request *);
enum step_result strategy_service_admit(struct api_request *);
enum step_result strategy_service_released(struct api_request *);

/* strategy_kinds.c */
enum step_result strategy_pv_create(struct api_request *);
enum step_result strategy_pv_update(struct api_request *);
enum step_result strategy_pvc_create(struct api_request *);
enum step_result strategy_daemon_set_create(struct api_request *);
enum step_result strategy_daemon_set_update(struct api_request *);
enum step_result strategy_job_create(struct api_request *);
enum step_result strategy_csr_create(struct api_request *);
enum step_result strategy_csr_update(struct api_request *);
enum step_result strategy_csr_check(struct api_request *);
enum step_result strategy_flow_check(struct api_request *);
enum step_result strategy_cron_job_check(struct api_request *);
enum step_result strategy_csr_approval(struct api_request *, struct json *view);
extern const struct api_step strategy_component_statuses[];

/* strategy_crd.c */
#define STRATEGY_CRD_FINALIZER "customresourcecleanup.apiextensions.k8s.io"
enum step_result strategy_crd_admit(struct api_request *);
void strategy_crd_marked(struct api_request *);

/* aggregate_proxy.c */
enum step_result strategy_api_service_create(struct api_request *);

/* scale.c */
struct json *strategy_scale_to_view(struct api_request *, struct json *obj);
enum step_result strategy_scale_from_view(struct api_request *, struct json *view);

/* proxy.c */
extern const struct api_step strategy_proxy[];

/* kubelet_proxy.c */
extern const struct api_step strategy_pod_log[], strategy_pod_exec[];

/* metrics_api.c */
extern const struct api_step strategy_metrics[];

/* reviews.c */
extern const struct api_step strategy_token_request[], strategy_token_review[], strategy_self_review[],
		strategy_access_review[], strategy_rules_review[];

/* strategy_rbac.c */
enum step_result strategy_role_check(struct api_request *);
enum step_result strategy_binding_check(struct api_request *);

#endif
