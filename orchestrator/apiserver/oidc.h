/*
 * An OIDC issuer whose ID tokens are taken (jwt_issuer.h says what they mean): its keys are fetched by the first serve loop, now and then
 * and when a token names a key that is not known; every loop checks tokens with the keys that are there.
 *
 *	idle --timer or asked--> discovery document --> JWK set --> idle
 *
 * Source: OpenID Connect Discovery 1.0; "Authenticating" of the Kubernetes documentation for how claims become a user.
 */
#ifndef ORCHESTRATOR_APISERVER_OIDC_H
#define ORCHESTRATOR_APISERVER_OIDC_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct api_user;
struct json;
struct jwt;
struct jwt_issuer;
struct loop;
struct oidc;

struct oidc_cfg {
	const char *issuer, *client_id; /* https:// without a slash at the end; both are needed */
	const char *username_claim, *username_prefix, *groups_claim, *groups_prefix, *ca_file;
	const char *required_claims; /* "k=v,k=v" */
};
/* The flags --oidc-*, checked, in that form; in the arena, but for strings, which are borrowed. */
int oidc_of_flags(struct arena *, const struct oidc_cfg *, struct jwt_issuer *ret, struct err *);
/* What the issuer holds is borrowed. */
int oidc_new(const struct jwt_issuer *, struct oidc **ret, struct err *);
/* On the loop that shall fetch; stopped(arg) follows oidc_stop there. */
void oidc_start(struct oidc *, struct loop *);
void oidc_stop(struct oidc *, void (*stopped)(void *arg), void *arg);
void oidc_free(struct oidc *);

/* Is it this issuer's? Any thread, as what follows. */
bool oidc_issued(const struct oidc *, const struct json *claims);
enum oidc_answer { OIDC_YES, OIDC_NO, OIDC_LATER /* its key is being fetched: ask again soon */ };
enum oidc_answer oidc_check(struct oidc *, struct arena *, const struct jwt *, int64_t now_s, struct api_user *ret, struct err *);

#endif
