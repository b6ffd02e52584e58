/* Shared by pod-worker.c, which has a pod's worker from its beginning to its end, and pod-look.c, which has one look at the pod. */
#ifndef ORCHESTRATOR_KUBELET_POD_WORKER_PRIV_H
#define ORCHESTRATOR_KUBELET_POD_WORKER_PRIV_H

#include "orchestrator/kubelet/kubelet-priv.h"

/* pod-worker.c */
const Core__Container *worker__spec_at(const struct pod_worker *w, size_t i);
void worker__stop_probes(struct work_container *c);
/* What the pod refers to; the worker is kicked when it is there. */
void worker__fetch_objects(struct pod_worker *w);
/* Nothing of it runs any more: its files go, and then it says so. */
void worker__finish_deleted(struct pod_worker *w);

/* It is over, and stays in the API: what its volumes held goes, with it what it logged when it is to be forgotten. */
void worker__clean_over(struct pod_worker *w);

/* pod-look.c: the worker's timers. */
void worker__on_kick(struct loop_timer *t);
void worker__on_wake(struct loop_timer *t);

#endif
