/*
 * The scheduler: gives pods without a node one. Runs on the leader, on the controllers' loop, over their informers.
 *
 * A pod for which pods of lower priority could make room (preempt.h) has them deleted, with the condition DisruptionTarget and an event, and says
 * in status.nominatedNodeName where it waits; the room is kept for it against pods of no higher priority.
 *
 * A pod that no node can take keeps the condition PodScheduled=False with the reason, and is tried again when a node or a pod
 * changes in a way that may help, and every 30 s in any case. decide.h decides; this is the shell.
 */
#ifndef ORCHESTRATOR_SCHEDULER_SCHEDULER_H
#define ORCHESTRATOR_SCHEDULER_SCHEDULER_H

struct client;
struct loop;
struct scheduler;
struct view;

/* Before the informers' first events have come, i.e. right after controllers_start. */
struct scheduler *scheduler_start(struct loop *, struct client *, struct view *);
/* cb (may be NULL) is the last call; call it before controllers_stop, and that only after cb. */
void scheduler_stop(struct scheduler *, void (*cb)(void *arg), void *arg);

#endif
