#include "orchestrator/apiserver/jwt.h"

#include "base/buf.h"
#include "base/util.h"
#include "io/jws.h"
#include "io/x509.h"
#include "proto/json.h"

int jwt_kid(struct arena *a, const struct x509_key *key, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf der = BUF_INIT;
	uint8_t hash[32];

	if (x509_key_public_der(key, &der, e) < 0)
		return -(int)e->code;
	x509_sha256(buf_str(&der), hash);
	*ret = jws_base64url(a, str_of(hash, sizeof(hash)));
	return 0;
}

int jwt_sign(struct arena *a, const struct x509_key *key, const struct json *claims, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf sig = BUF_INIT;
	struct str head, body, both, kid;
	int r = jwt_kid(a, key, &kid, e);

	if (r < 0)
		return r;
	head = arena_sprintf(a, "{\"alg\":\"%s\",\"kid\":\"%.*s\"}", x509_jws_alg(key), STR_FMT(kid));
	head = jws_base64url(a, head);
	body = jws_base64url(a, json_text(a, claims));
	both = arena_sprintf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(body));
	r = x509_jws_sign(key, both, &sig, e);
	if (r < 0)
		return r;
	*ret = arena_sprintf(a, "%.*s.%.*s", STR_FMT(both), STR_FMT(jws_base64url(a, buf_str(&sig))));
	return 0;
}

int jwt_parse(struct arena *a, struct str token, struct jwt *ret, struct err *e)
{
	struct json *header;
	struct jws parts;

	if (!jws_parse(a, token, &parts))
		return err_set(e, ERR_UNAUTHORIZED, "not a JSON Web Token");
	*ret = (struct jwt){.signed_part = parts.signed_part, .signature = parts.signature};
	if (json_parse(a, parts.head, NULL, &header, e) < 0 || json_parse(a, parts.body, NULL, &ret->claims, e) < 0)
		return err_set(e, ERR_UNAUTHORIZED, "malformed JSON Web Token");
	/* What is critical to who made it has to be understood (RFC 7515, section 4.1.11), and we understand none of it. */
	if (json_getc(header, "crit"))
		return err_set(e, ERR_UNAUTHORIZED, "the token's header has critical extensions");
	ret->alg = json_str(json_getc(header, "alg"));
	ret->kid = json_str(json_getc(header, "kid"));
	return 0;
}

int jwt_check(const struct jwt *t, const struct x509_key *key, struct err *e)
{
	if (!str_eqc(t->alg, x509_jws_alg(key)))
		return err_set(e, ERR_UNAUTHORIZED, "the token's signature is of another kind");
	return x509_jws_verify(key, x509_jws_alg(key), t->signed_part, t->signature, e);
}

int jwt_verify(struct arena *a, const struct x509_key *key, struct str token, struct json **ret, struct err *e)
{
	struct jwt t;
	int r = jwt_parse(a, token, &t, e);

	if (r == 0)
		r = jwt_check(&t, key, e);
	if (r == 0)
		*ret = t.claims;
	return r;
}
