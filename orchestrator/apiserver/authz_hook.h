/*
 * SubjectAccessReview (authorization.k8s.io/v1) as a question to a webhook and the reading of its answer; pure. authz.c asks, when no
 * local rule says yes.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_HOOK_H
#define ORCHESTRATOR_APISERVER_AUTHZ_HOOK_H

#include "base/arena.h"
#include "base/str.h"

struct api_user;
struct authz_attrs;

struct str authz_hook_question(struct arena *, const struct api_user *, const struct authz_attrs *);
enum authz_opinion {
	AUTHZ_YES,
	AUTHZ_NO,   /* not as far as it knows; others may allow it */
	AUTHZ_DENY, /* nobody shall allow it */
	AUTHZ_NONE, /* it is no answer, or says that it could not find out */
};
/* ret_reason may be NULL. */
enum authz_opinion authz_hook_answer(struct arena *, struct str body, struct str *ret_reason);

#endif
