/*
 * The host ports of a node's pods: ports of the node that lead to a container. Pods that have ended, have no address yet or use the
 * node's own network have none. Where two pods want the same one, the first by name has it.
 */
#ifndef ORCHESTRATOR_PROXY_HOST_PORTS_H
#define ORCHESTRATOR_PROXY_HOST_PORTS_H

#include "net/ruleset.h"
#include "proto/core.pb-c.h"

/* Whether the pod (NULL: no) asks for any. */
bool host_ports_any(const Core__Pod *);
/* Adds those of the pods to a ruleset, in its arena. */
void host_ports_add(struct ruleset *, const Core__Pod *const *pods, size_t n);

#endif
