/*
 * Who may do what. Default is no. system:masters may do all; for others the authorizers of the chain (authz_chain.h) are asked in
 * order. Without an AuthorizationConfiguration these are: nodes, what concerns them and their pods (authz_node.h); roles (rbac_index.h); a
 * webhook, if there is one (authz_hook.h). The first yes counts, or a webhook's explicit denial; a no carries the reasons of those who
 * gave one.
 *
 * The answer comes from what this loop knows (authz_state.h). A no may be due to state that is not current yet: who gets one
 * asks again behind a barrier (api_refresh).
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_H
#define ORCHESTRATOR_APISERVER_AUTHZ_H

#include "orchestrator/apiserver/rbac.h"
#include "orchestrator/apiserver/request.h"

struct rbac_index;

struct authz_answer {
	bool allowed;
	bool denied; /* by a webhook: whoever comes behind it was not asked */
	struct str reason; /* in the request's arena; empty: none */
	struct str error;  /* of those who could not tell; empty: there were none. It is part of the reason of a no. */
};
/*
 * As a step: STEP_NEXT and the answer, or STEP_WAIT: ask again when the step is run again. explain: a reason is wanted also for a yes. A
 * yes of what this loop knows comes at once; a no is looked at again behind a barrier.
 */
enum step_result authz_decide(struct api_request *, const struct api_user *, const struct authz_attrs *, bool explain,
		struct authz_answer *ret);
/* What the request itself asks for. */
struct authz_attrs authz_attrs_of(const struct api_request *);
/* Who asks, for something that the request implies. */
enum step_result authz_may(struct api_request *, const struct authz_attrs *, bool *ret_allowed);
/* `User "x" cannot get resource "pods" in API group "" in the namespace "default"` */
struct str authz_text(struct arena *, const struct api_user *, const struct authz_attrs *);
/* 403 in upstream's words. */
enum step_result authz_forbid(struct api_request *, const struct api_user *, const struct authz_attrs *, struct str reason);
/* Take up what has changed in the files of the chain; on the first serve loop. */
void authz_refresh(struct apiserver *);
/* The index of this loop. */
const struct rbac_index *authz_rbac(struct api_request *);

/* Act as the user of the Impersonate headers, if there are any and it is allowed; sets req->user (impersonate.c). */
enum step_result authz_impersonate(struct api_request *);

#endif
