/*
 * struct keyset: public keys by the name (kid) that tokens give: those with which service-account tokens may be signed, or an OIDC
 * issuer's. Immutable once made; any thread.
 */
#ifndef ORCHESTRATOR_APISERVER_KEYSET_H
#define ORCHESTRATOR_APISERVER_KEYSET_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct json;
struct jwt;
struct keyset;
struct x509_key;

struct keyset *keyset_new(void);
void keyset_free(struct keyset *);
/* kid NULL: ours (jwt_kid). Takes the key. */
int keyset_add(struct keyset *, const char *kid, struct x509_key *, struct err *);
/* Every key or certificate in a PEM file. */
int keyset_add_pem(struct keyset *, struct str pem, struct err *);
/* The signing keys of a JWK set (RFC 7517) that we can use: EC P-256 and RSA. */
int keyset_add_jwks(struct keyset *, const struct json *doc, struct err *);
size_t keyset_len(const struct keyset *);
const struct x509_key *keyset_at(const struct keyset *, size_t i, const char **ret_kid);
/* Signed by one of them? A token that names a key is checked against keys of that name only. */
int keyset_check(const struct keyset *, const struct jwt *, struct err *);
/* The set as a JWK set. */
struct json *keyset_jwks(const struct keyset *, struct arena *);

#endif
