/*
 * Who may do what. Default is no. In order: system:masters may do all; the paths that everybody may read; what nodes need
 * (only what concerns their own pods); the cluster's own components. Roles (RBAC) are not kept yet, so all else is no.
 *
 * Source: "Using Node Authorization" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_H
#define ORCHESTRATOR_APISERVER_AUTHZ_H

#include "orchestrator/apiserver/request.h"

enum authz_verdict {
	AUTHZ_ALLOW,
	AUTHZ_DENY,
};

/* Local state only; *ret_stale: the answer hangs on objects, and fresher state might allow it. */
enum authz_verdict authz_check(struct api_request *, const struct api_user *, const struct api_attrs *,
		struct str field_selector, bool *ret_stale);
/* The node's name of a user in system:nodes, or "". */
struct str authz_node_name(const struct api_user *);
/* "User "x" cannot get resource "pods" in API group "" in the namespace "default"" */
struct str authz_text(struct arena *, const struct api_user *, const struct api_attrs *);

#endif
