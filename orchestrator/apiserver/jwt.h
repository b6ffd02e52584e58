/*
 * Service-account tokens: JSON Web Tokens (RFC 7519) signed as JWS (RFC 7515) with the cluster's sa key. No state: making
 * a token takes claims and gives text, checking takes text and a clock and gives claims.
 */
#ifndef ORCHESTRATOR_APISERVER_JWT_H
#define ORCHESTRATOR_APISERVER_JWT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct json;
struct x509_key;

/* A token taken apart. Nothing in it is to be believed before its signature is checked. */
struct jwt {
	struct str alg, kid; /* kid may be empty */
	struct str signed_part, signature;
	struct json *claims;
};
/* Form only. ERR_UNAUTHORIZED. */
int jwt_parse(struct arena *, struct str token, struct jwt *ret, struct err *);
/* Is the signature this key's, by the algorithm that the key is for? ERR_UNAUTHORIZED. */
int jwt_check(const struct jwt *, const struct x509_key *, struct err *);
/* The name under which a key of ours is published: the SHA-256 of its public half. */
int jwt_kid(struct arena *, const struct x509_key *, struct str *ret, struct err *);

int jwt_sign(struct arena *, const struct x509_key *, const struct json *claims, struct str *ret_token, struct err *);
/* Signature and form; the claims' meaning (issuer, audience, times) is the caller's. ERR_UNAUTHORIZED. */
int jwt_verify(struct arena *, const struct x509_key *, struct str token, struct json **ret_claims, struct err *);

#endif
