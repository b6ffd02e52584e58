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

/* base64url without padding, in the arena; decode gives false on anything else. */
struct str jwt_base64url(struct arena *, struct str bytes);
bool jwt_base64url_decode(struct arena *, struct str text, struct str *ret);

int jwt_sign(struct arena *, const struct x509_key *, const struct json *claims, struct str *ret_token, struct err *);
/* Signature and form; the claims' meaning (issuer, audience, times) is the caller's. ERR_UNAUTHORIZED. */
int jwt_verify(struct arena *, const struct x509_key *, struct str token, struct json **ret_claims, struct err *);

#endif
