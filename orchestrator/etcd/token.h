/*
 * JSON Web Tokens for users of the etcd API, as `--auth-token jwt,...` asks for: nothing is kept of them anywhere, so every member
 * with the key knows what another one has signed. A token names the user and the revision of users and roles at which the
 * password was shown: after any change of those it is too old (etcd's "revision of auth store is old", at which clients log in again).
 */
#ifndef ORCHESTRATOR_ETCD_TOKEN_H
#define ORCHESTRATOR_ETCD_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct jws_key;

int etcd_token_make(struct arena *, const struct jws_key *, struct str user, uint64_t revision, int64_t expires_s, struct str *ret,
		struct err *);
/* Signature, form and time. */
bool etcd_token_read(struct arena *, const struct jws_key *, struct str token, int64_t now_s, struct str *ret_user, uint64_t *ret_revision);

#endif
