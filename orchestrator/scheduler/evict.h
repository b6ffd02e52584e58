/*
 * Ending a pod that makes room for another: its status says so (DisruptionTarget), then it is deleted. Two requests, one after the other; what goes
 * wrong is logged, and tried again when the scheduler looks at the waiting pod again.
 */
#ifndef ORCHESTRATOR_SCHEDULER_EVICT_H
#define ORCHESTRATOR_SCHEDULER_EVICT_H

#include "base/list.h"

struct client;
struct informer_obj;

/* `done` is called at the end of each, when it has left the list. */
void evict_start(struct list *under_way, struct client *, const struct informer_obj *pod, const char *scheduler, void (*done)(void *arg), void *arg);
/* They end soon. */
void evict_cancel(struct list *under_way);

#endif
