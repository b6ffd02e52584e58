/*
 * What a node may do: what every node needs, and of secrets, configmaps, claims, volumes, service accounts, pods and leases only
 * those that concern it: a table of rules and checks. What a node may write about itself is narrowed further by admission
 * (NodeRestriction).
 *
 * Source: "Using Node Authorization" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_NODE_H
#define ORCHESTRATOR_APISERVER_AUTHZ_NODE_H

#include "orchestrator/apiserver/rbac.h"
#include "orchestrator/apiserver/request.h"

struct node_graph;

/* The node's name of a user system:node:NAME in group system:nodes, or "". */
struct str authz_node_name(const struct api_user *);
/* No: *ret_reason may say why (in the request's arena). The store is looked at for volumes and pods that are gone. */
bool authz_node(struct api_request *, const struct node_graph *, struct str node, const struct authz_attrs *,
		struct str *ret_reason);

#endif
