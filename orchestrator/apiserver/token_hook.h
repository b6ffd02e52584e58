/*
 * TokenReview (authentication.k8s.io/v1) as a question to a webhook and the reading of its answer; pure. authn.c asks.
 */
#ifndef ORCHESTRATOR_APISERVER_TOKEN_HOOK_H
#define ORCHESTRATOR_APISERVER_TOKEN_HOOK_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct api_user;

struct str token_hook_question(struct arena *, struct str token, const struct str *audiences, size_t n);
/* Under which an answer to it is kept: hex, in the arena. */
struct str token_hook_key(struct arena *, struct str token, const struct str *audiences, size_t n);
/* Is it an answer, yes or no? What is not is not worth keeping. */
bool token_hook_is_answer(struct str body);
/*
 * The user, with system:authenticated, and for which of `audiences`: it must be one. `api`: what a token is for of which the webhook does
 * not say. ERR_UNAUTHORIZED: no, with the webhook's reason where it gives one.
 */
int token_hook_answer(struct arena *, struct str body, struct str api, const struct str *audiences, size_t n, struct api_user *ret,
		struct err *);

#endif
