/* Whether a node suits a pod by its labels, its name and its taints: for the scheduler and for DaemonSets. Pure. */
#ifndef ORCHESTRATOR_CONTROLLERS_NODE_MATCH_H
#define ORCHESTRATOR_CONTROLLERS_NODE_MATCH_H

#include <stdbool.h>

#include "proto/core.pb-c.h"

bool node_term_holds(const Core__NodeSelectorTerm *, const Core__Node *);
/* nodeSelector and required node affinity. */
bool node_matches(const Core__PodSpec *, const Core__Node *);
/* A taint is tolerated by one of the pod's tolerations (Kubernetes: operator Exists or Equal; empty key: all). */
bool taint_tolerated(const Core__PodSpec *, const Core__Taint *);

#endif
