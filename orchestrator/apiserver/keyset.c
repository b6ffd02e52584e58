#include "orchestrator/apiserver/keyset.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/jws.h"
#include "io/x509.h"
#include "orchestrator/apiserver/jwt.h"
#include "proto/json.h"

#define MAX_KEYS 64

struct keyset {
	struct {
		char *kid;
		struct x509_key *key;
	} v[MAX_KEYS];
	size_t n;
};

struct keyset *keyset_new(void)
{
	return xcalloc(1, sizeof(struct keyset));
}

void keyset_free(struct keyset *ks)
{
	for (size_t i = 0; ks && i < ks->n; i++) {
		free(ks->v[i].kid);
		x509_key_free(ks->v[i].key);
	}
	free(ks);
}

int keyset_add(struct keyset *ks, const char *kid, struct x509_key *key, struct err *e)
{
	struct arena a;
	struct str own;
	int rv = 0;

	arena_init(&a);
	if (ks->n == MAX_KEYS)
		rv = err_set(e, ERR_TOO_MANY, "more than %d keys", MAX_KEYS);
	else if (!kid)
		rv = jwt_kid(&a, key, &own, e);
	for (size_t i = 0; rv == 0 && !kid && i < ks->n; i++)
		if (str_eqc(own, ks->v[i].kid)) {
			/* It is there already. */
			x509_key_free(key);
			arena_fini(&a);
			return 0;
		}
	if (rv < 0) {
		x509_key_free(key);
	} else {
		ks->v[ks->n].kid = kid ? xstrdup(kid) : str_dup(own);
		ks->v[ks->n++].key = key;
	}
	arena_fini(&a);
	return rv;
}

int keyset_add_pem(struct keyset *ks, struct str pem, struct err *e)
{
	struct str begin = STR("-----BEGIN"), rest = pem;
	ptrdiff_t at = str_search(rest, begin), next;
	size_t before = ks->n;

	while (at >= 0) {
		struct x509_key *key;
		struct str one;

		rest = str_skip(rest, (size_t)at);
		next = str_search(str_skip(rest, begin.n), begin);
		one = next < 0 ? rest : str_sub(rest, 0, (size_t)next + begin.n);
		/* "EC PARAMETERS" and the like stand beside keys. */
		if (x509_key_from_pem(one, &key, e) == 0 && keyset_add(ks, NULL, key, e) < 0)
			return -(int)e->code;
		at = next < 0 ? -1 : next + (ptrdiff_t)begin.n;
	}
	if (ks->n == before)
		return err_set(e, ERR_INVALID, "no key in it");
	err_clear(e);
	return 0;
}

int keyset_add_jwks(struct keyset *ks, const struct json *doc, struct err *e)
{
	if (!json_is(json_getc(doc, "keys"), JSON_ARRAY))
		return err_set(e, ERR_INVALID, "this is no JWK set");
	JSON_ITEMS (k, json_getc(doc, "keys")) {
		bool ec = json_eqc(json_getc(k, "kty"), "EC");
		struct x509_key *key;
		struct str x, y;
		struct arena a;

		if ((!ec && !json_eqc(json_getc(k, "kty"), "RSA")) || (ec && !json_eqc(json_getc(k, "crv"), "P-256")) ||
				(json_getc(k, "use") && !json_eqc(json_getc(k, "use"), "sig")) || ks->n == MAX_KEYS)
			continue;
		arena_init(&a);
		if (jws_base64url_decode(&a, json_str(json_getc(k, ec ? "x" : "n")), &x) &&
				jws_base64url_decode(&a, json_str(json_getc(k, ec ? "y" : "e")), &y) &&
				x509_key_from_numbers(ec, x, y, &key, e) == 0)
			keyset_add(ks, json_cstr(json_getc(k, "kid")), key, e);
		arena_fini(&a);
	}
	err_clear(e);
	return ks->n ? 0 : err_set(e, ERR_INVALID, "no key in it that we can use (RSA, or EC on P-256)");
}

size_t keyset_len(const struct keyset *ks)
{
	return ks->n;
}

const struct x509_key *keyset_at(const struct keyset *ks, size_t i, const char **ret_kid)
{
	*ret_kid = ks->v[i].kid;
	return ks->v[i].key;
}

int keyset_check(const struct keyset *ks, const struct jwt *t, struct err *e)
{
	err_set(e, ERR_UNAUTHORIZED, "the token is signed with a key that is not known here");
	for (size_t i = 0; i < ks->n; i++) {
		if (t->kid.n > 0 && !str_eqc(t->kid, ks->v[i].kid))
			continue;
		if (jwt_check(t, ks->v[i].key, e) == 0) {
			err_clear(e);
			return 0;
		}
	}
	return -(int)e->code;
}

struct json *keyset_jwks(const struct keyset *ks, struct arena *a)
{
	struct json *doc = json_new_object(a), *keys = json_new_array(a);

	for (size_t i = 0; i < ks->n; i++) {
		_cleanup_(buf_fini) struct buf x = BUF_INIT, y = BUF_INIT;
		struct json *k = json_new_object(a);
		bool ec = x509_key_is_ec(ks->v[i].key);

		if (x509_key_jwk(ks->v[i].key, &x, &y, NULL) < 0)
			continue;
		json_setc(a, k, "use", json_newc(a, "sig"));
		json_setc(a, k, "kty", json_newc(a, ec ? "EC" : "RSA"));
		json_setc(a, k, "kid", json_newc(a, ks->v[i].kid));
		json_setc(a, k, "alg", json_newc(a, x509_jws_alg(ks->v[i].key)));
		if (ec)
			json_setc(a, k, "crv", json_newc(a, "P-256"));
		json_setc(a, k, ec ? "x" : "n", json_new_str(a, jws_base64url(a, buf_str(&x))));
		json_setc(a, k, ec ? "y" : "e", json_new_str(a, jws_base64url(a, buf_str(&y))));
		json_push(a, keys, k);
	}
	json_setc(a, doc, "keys", keys);
	return doc;
}
