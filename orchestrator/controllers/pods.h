/* Questions about pods that several controllers ask. */
#ifndef ORCHESTRATOR_CONTROLLERS_PODS_H
#define ORCHESTRATOR_CONTROLLERS_PODS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "proto/intstr.pb-c.h"

struct json;
struct reconcile;

/* Not Succeeded, not Failed, not being deleted. */
bool pod_is_active(const Core__Pod *);
bool pod_is_ready(const Core__Pod *);
/* The condition of that type, or NULL. */
const Core__PodCondition *pod_condition(const Core__Pod *, const char *type);
/*
 * Says at the pod why it is about to be ended by no fault of its own: the condition DisruptionTarget, by which a Job's policy tells such failures
 * from others. `failed`: and that it has failed, where no kubelet is left to say so. NULL: the pod says it already.
 */
struct json *pod_disruption(struct arena *, const Core__Pod *, const char *reason, const char *message, bool failed, int64_t now_s);
/* Plans that status; what follows in the plan waits for it. */
void pod_disrupt(struct reconcile *, const struct informer_obj *pod, const char *reason, const char *message, bool failed);
/* Unix seconds at which a ready pod counts as available; INT64_MAX when it is not ready. */
int64_t pod_available_at(const Core__Pod *, int32_t min_ready_s);
/* Those to delete first stand first: not scheduled, pending, not ready, cheaper by the pod-deletion-cost annotation, on
 * a node with more of them, ready for less long, restarted more, younger. */
void pods_sort_for_deletion(const struct informer_obj **pods, size_t n, int64_t now_s);
/* "25%" of n or a plain number; negative or bad text: 0. */
int32_t pods_scaled(const Intstr__IntOrString *, int32_t n, bool round_up);
/* Whether the pod is the owner's. One that matches and has no owner becomes so; one of the owner's that no longer matches is let go. */
bool pod_adopt_or_release(struct reconcile *, const struct informer_obj *owner, const Meta__LabelSelector *, const char *api_version,
		const char *kind, const struct informer_obj *pod);

#endif
