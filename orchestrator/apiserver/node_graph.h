/*
 * struct node_graph: which node needs which objects, because a pod that is bound to it refers to them. What a kubelet may read
 * hangs on it. Pure data: it is told of pods that came, changed and went (rbac_watch.c feeds it) and answers questions.
 *
 * An edge {node, kind, namespace, name} is counted, so that two pods may refer to one secret. A pod's references are read
 * from its bytes by a table of paths (node_graph.c), without unpacking it.
 */
#ifndef ORCHESTRATOR_APISERVER_NODE_GRAPH_H
#define ORCHESTRATOR_APISERVER_NODE_GRAPH_H

#include <stdbool.h>

#include "base/str.h"

struct node_graph;

enum node_edge {
	EDGE_POD = 'p',
	EDGE_SECRET = 's',
	EDGE_CONFIGMAP = 'c',
	EDGE_CLAIM = 'v',
	EDGE_ACCOUNT = 'a',
};

struct node_graph *node_graph_new(void);
void node_graph_free(struct node_graph *);
/* A pod's plain protobuf: before and after a change; either may be {NULL, 0}. */
void node_graph_pod(struct node_graph *, struct str ns, struct str name, struct str before, struct str after);
bool node_graph_has(const struct node_graph *, struct str node, enum node_edge, struct str ns, struct str name);
size_t node_graph_edges(const struct node_graph *);

#endif
