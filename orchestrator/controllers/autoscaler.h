/*
 * struct autoscalers: the HorizontalPodAutoscalers are carried out. Each is looked at when it is made or its spec changes, and then every 15
 * seconds; a few at a time, the others wait in a queue:
 *
 *	queue --> GET scale --> GET metrics, all at once --> decide (hpa_round.h) --> PUT scale --> PUT status, events --> 15 s
 *
 * This is no row of the runner, since it has to ask before it can decide, and remembers: what was wanted and done lately, for windows and
 * policies. A new leader begins with nothing, as upstream's does. All on the controllers' loop, as the account horizontal-pod-autoscaler.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_AUTOSCALER_H
#define ORCHESTRATOR_CONTROLLERS_AUTOSCALER_H

#include <stdint.h>

struct autoscalers;
struct client;
struct loop;
struct view;

/* Before the informers are started. sync_ms 0: as upstream. */
struct autoscalers *autoscalers_start(struct client *, struct loop *, struct view *, uint64_t sync_ms);
/* After the informers were told to stop; cb is the last call. Requests under way are cancelled. */
void autoscalers_stop(struct autoscalers *, void (*cb)(void *arg), void *arg);

#endif
