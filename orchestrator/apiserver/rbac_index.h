/*
 * struct rbac_index: who is bound to which role, kept for quick answers. Pure data: it is told of objects that came and went
 * (rbac_watch.c feeds it from the store) and answers questions; it does no I/O and belongs to one loop.
 *
 *	rbac_index_put(ix, RBAC_CLUSTER_ROLE, "", "view", bytes);
 *	rbac_index_del(ix, RBAC_ROLE_BINDING, "default", "readers");
 *	rbac_authorize(ix, &user, &attrs, &why) == true
 *
 * A question costs one hash look-up for the user and each of his groups, and a scan of the roles that they are bound to.
 */
#ifndef ORCHESTRATOR_APISERVER_RBAC_INDEX_H
#define ORCHESTRATOR_APISERVER_RBAC_INDEX_H

#include "base/arena.h"
#include "base/str.h"
#include "orchestrator/apiserver/rbac.h"

struct api_user;
struct rbac_index;

enum rbac_kind {
	RBAC_ROLE,
	RBAC_CLUSTER_ROLE,
	RBAC_ROLE_BINDING,
	RBAC_CLUSTER_ROLE_BINDING,
	RBAC_N_KINDS
};

struct rbac_index *rbac_index_new(void);
void rbac_index_free(struct rbac_index *);
/* Insert or replace; `raw` is the object's plain protobuf (copied). ns is "" for the cluster's kinds. */
void rbac_index_put(struct rbac_index *, enum rbac_kind, struct str ns, struct str name, struct str raw);
void rbac_index_del(struct rbac_index *, enum rbac_kind, struct str ns, struct str name);
size_t rbac_index_len(const struct rbac_index *, enum rbac_kind);

/* Why it is allowed, or what went wrong on the way to "no" (bindings to roles that do not exist). */
struct rbac_reason {
	struct arena *arena; /* in: NULL when nobody reads the text */
	struct str text;     /* out; empty: nothing to say */
};
bool rbac_authorize(const struct rbac_index *, const struct api_user *, const struct authz_attrs *, struct rbac_reason *);
/* All rules that hold for the user in a namespace ("": only the cluster's), borrowed from the index. */
void rbac_rules_of_user(const struct rbac_index *, const struct api_user *, struct str ns, struct arena *,
		struct rbac_rules *ret);
/* The bytes of a role; false when there is none. ns "" is a ClusterRole. */
bool rbac_index_role(const struct rbac_index *, struct str ns, struct str name, struct str *ret_raw);

#endif
