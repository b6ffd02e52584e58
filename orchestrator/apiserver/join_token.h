/*
 * Join tokens that were made with `kontiki token`: Secrets of kube-system, of type kontiki.io/join-token, that hold the SHA-256 of the
 * token's secret, never the secret itself, and until when it is good. Any server checks any of them in its own store.
 *
 *	name        join-token-ID, ID being the first ten digits of the hash; join-token-default: the servers' own (pki/join.token)
 *	data        hash (hex), expiration (RFC 3339; absent: for ever), usage ("agent": nodes only), description
 */
#ifndef ORCHESTRATOR_APISERVER_JOIN_TOKEN_H
#define ORCHESTRATOR_APISERVER_JOIN_TOKEN_H

#include <stdbool.h>

#include "base/str.h"

#define JOIN_TOKEN_TYPE "kontiki.io/join-token"
#define JOIN_TOKEN_PREFIX "join-token-"
#define JOIN_TOKEN_DEFAULT "join-token-default"
#define JOIN_TOKEN_ID 10
#define JOIN_TOKEN_HASH 65 /* hex and a NUL */

struct store;

void join_token_hash(struct str secret, char out[JOIN_TOKEN_HASH]);
/* as_server: the token must also be good for a server, which is given the cluster's keys. */
bool join_token_valid(struct store *, struct str secret, bool as_server);
/* Has the servers' own token been replaced by another than this? */
bool join_token_replaced(struct store *, struct str secret);

#endif
