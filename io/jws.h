/*
 * JSON Web Signatures in their compact form (RFC 7515, 7518, 8037): HEAD.BODY.SIGNATURE, each base64url. What head and body say is
 * the caller's affair; here are the bytes and the signatures.
 *
 *	jws_key_new("RS256", private_pem, public_pem, &key, e)
 *	jws_make(arena, key, "{\"alg\":\"RS256\"}", body, &token, e)
 *	jws_parse(arena, token, &parts) && jws_key_verify(key, parts.signed_part, parts.signature, e) == 0
 *
 * A key is for one algorithm, and decides on it, never the token.
 */
#ifndef IO_JWS_H
#define IO_JWS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* base64url without padding, in the arena; decode gives false on anything else. */
struct str jws_base64url(struct arena *, struct str bytes);
bool jws_base64url_decode(struct arena *, struct str text, struct str *ret);

/* A token taken apart; nothing in it is to be believed before its signature is checked. */
struct jws {
	struct str head, body, signature; /* decoded */
	struct str signed_part;
};
/* Form only. */
bool jws_parse(struct arena *, struct str token, struct jws *ret);

struct jws_key;
/*
 * `alg`: HS256, HS384, HS512 (then one of the two is the secret itself), RS..., PS..., ES... of the same sizes, EdDSA. PEM
 * texts; either may be empty: a key without the private half verifies only. ERR_INVALID says what does not fit.
 */
int jws_key_new(const char *alg, struct str private_pem, struct str public_pem, struct jws_key **ret, struct err *);
void jws_key_free(struct jws_key *);
bool jws_key_signs(const struct jws_key *);
const char *jws_key_alg(const struct jws_key *);
/* Any thread. Appends the signature. */
int jws_key_sign(const struct jws_key *, struct str data, struct buf *ret_sig, struct err *);
/* ERR_UNAUTHORIZED: it is not the key's. */
int jws_key_verify(const struct jws_key *, struct str data, struct str sig, struct err *);
/* The whole token. */
int jws_make(struct arena *, const struct jws_key *, struct str head, struct str body, struct str *ret, struct err *);

#endif
