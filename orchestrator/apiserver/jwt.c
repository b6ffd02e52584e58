#include "orchestrator/apiserver/jwt.h"

#include "base/buf.h"
#include "base/util.h"
#include "io/x509.h"
#include "proto/json.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct str jwt_base64url(struct arena *a, struct str in)
{
	char *out = arena_alloc(a, in.n / 3 * 4 + 5);
	size_t n = 0;

	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = MIN(in.n - i, 3);
		uint32_t v = 0;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < left ? (uint8_t)in.p[i + k] : 0);
		for (size_t k = 0; k <= left; k++)
			out[n++] = alphabet[v >> (18 - 6 * k) & 63];
	}
	out[n] = '\0';
	return str_of(out, n);
}

static int digit(char c)
{
	for (int i = 0; i < 64; i++)
		if (alphabet[i] == c)
			return i;
	return -1;
}

bool jwt_base64url_decode(struct arena *a, struct str in, struct str *ret)
{
	char *out = arena_alloc(a, in.n / 4 * 3 + 4);
	size_t n = 0;

	if (in.n % 4 == 1)
		return false;
	for (size_t i = 0; i < in.n; i += 4) {
		size_t left = MIN(in.n - i, 4);
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < left ? digit(in.p[i + k]) : 0;

			if (d < 0)
				return false;
			v = v << 6 | (uint32_t)d;
		}
		for (size_t k = 0; k + 1 < left; k++)
			out[n++] = (char)(v >> (16 - 8 * k));
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return true;
}

int jwt_kid(struct arena *a, const struct x509_key *key, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf der = BUF_INIT;
	uint8_t hash[32];

	if (x509_key_public_der(key, &der, e) < 0)
		return -(int)e->code;
	x509_sha256(buf_str(&der), hash);
	*ret = jwt_base64url(a, str_of(hash, sizeof(hash)));
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
	head = jwt_base64url(a, head);
	body = jwt_base64url(a, json_text(a, claims));
	both = arena_sprintf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(body));
	r = x509_jws_sign(key, both, &sig, e);
	if (r < 0)
		return r;
	*ret = arena_sprintf(a, "%.*s.%.*s", STR_FMT(both), STR_FMT(jwt_base64url(a, buf_str(&sig))));
	return 0;
}

int jwt_parse(struct arena *a, struct str token, struct jwt *ret, struct err *e)
{
	ptrdiff_t last = str_rfind(token, '.');
	struct str head, body;
	struct json *header;

	if (last < 0 || !str_cut(str_sub(token, 0, (size_t)last), '.', &head, &body))
		return err_set(e, ERR_UNAUTHORIZED, "not a JSON Web Token");
	*ret = (struct jwt){.signed_part = str_sub(token, 0, (size_t)last)};
	if (!jwt_base64url_decode(a, str_skip(token, (size_t)last + 1), &ret->signature) || !jwt_base64url_decode(a, head, &head) ||
			!jwt_base64url_decode(a, body, &body) || json_parse(a, head, NULL, &header, e) < 0 ||
			json_parse(a, body, NULL, &ret->claims, e) < 0)
		return err_set(e, ERR_UNAUTHORIZED, "malformed JSON Web Token");
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
