#include "orchestrator/etcd/token.h"

#include "io/jws.h"
#include "proto/json.h"

int etcd_token_make(struct arena *a, const struct jws_key *key, struct str user, uint64_t revision, int64_t expires_s, struct str *ret,
		struct err *e)
{
	struct json *head = json_new_object(a), *claims = json_new_object(a);

	json_setc(a, head, "alg", json_new_str(a, str_from(jws_key_alg(key))));
	json_setc(a, head, "typ", json_new_str(a, STR("JWT")));
	json_setc(a, claims, "exp", json_new_int(a, expires_s));
	json_setc(a, claims, "revision", json_new_int(a, (int64_t)revision));
	json_setc(a, claims, "username", json_new_str(a, user));
	return jws_make(a, key, json_text(a, head), json_text(a, claims), ret, e);
}

bool etcd_token_read(struct arena *a, const struct jws_key *key, struct str token, int64_t now_s, struct str *ret_user, uint64_t *ret_revision)
{
	struct json *head, *claims;
	int64_t revision, expires;
	struct jws parts;

	if (!jws_parse(a, token, &parts) || json_parse(a, parts.head, NULL, &head, NULL) != 0 ||
			!str_eqc(json_str(json_getc(head, "alg")), jws_key_alg(key)) ||
			jws_key_verify(key, parts.signed_part, parts.signature, NULL) != 0 ||
			json_parse(a, parts.body, NULL, &claims, NULL) != 0)
		return false;
	if (json_getc(claims, "exp") != NULL && (!json_i64(json_getc(claims, "exp"), &expires) || expires <= now_s))
		return false;
	*ret_user = json_str(json_getc(claims, "username"));
	if (ret_user->n == 0 || !json_i64(json_getc(claims, "revision"), &revision) || revision < 0)
		return false;
	*ret_revision = (uint64_t)revision;
	return true;
}
