/*
 * Writes the default priority levels and flow schemas (flow_default.h) where they are missing or are not as they should be,
 * deletes those that are ours no more, and keeps the condition Dangling of all schemas true. The leader's bootstrap runs it at its
 * start, after every change of these objects, and once a minute.
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_BOOT_H
#define ORCHESTRATOR_APISERVER_FLOW_BOOT_H

#include <stdbool.h>

struct apiserver;
struct client;

/* done(arg, ok) follows once, perhaps inside this call; not ok: run it again. On the first serve loop. */
void flow_boot(struct apiserver *, struct client *, void (*done)(void *arg, bool ok), void *arg);

#endif
