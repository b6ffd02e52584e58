#include "io/jws.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/tls-priv.h"
#include "io/x509-priv.h"

/* --- base64url ------------------------------------------------------------------------------------------------------ */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct str jws_base64url(struct arena *a, struct str in)
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

bool jws_base64url_decode(struct arena *a, struct str in, struct str *ret)
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

bool jws_parse(struct arena *a, struct str token, struct jws *ret)
{
	ptrdiff_t last = str_rfind(token, '.');
	struct str head, body;

	if (last < 0 || !str_cut(str_sub(token, 0, (size_t)last), '.', &head, &body))
		return false;
	ret->signed_part = str_sub(token, 0, (size_t)last);
	return jws_base64url_decode(a, head, &ret->head) && jws_base64url_decode(a, body, &ret->body) &&
	       jws_base64url_decode(a, str_skip(token, (size_t)last + 1), &ret->signature);
}

/* --- Algorithms ----------------------------------------------------------------------------------------------------- */

enum family { HMAC_OF, RSA_PKCS1, RSA_PSS, ECDSA_OF, EDDSA };

static const struct alg {
	const char *name;
	enum family family;
	const EVP_MD *(*md)(void);
	int ec_bits; /* ES: the curve's, which the algorithm's name fixes */
} algs[] = {
	{"HS256", HMAC_OF, EVP_sha256, 0},   {"HS384", HMAC_OF, EVP_sha384, 0},   {"HS512", HMAC_OF, EVP_sha512, 0},
	{"RS256", RSA_PKCS1, EVP_sha256, 0}, {"RS384", RSA_PKCS1, EVP_sha384, 0}, {"RS512", RSA_PKCS1, EVP_sha512, 0},
	{"PS256", RSA_PSS, EVP_sha256, 0},   {"PS384", RSA_PSS, EVP_sha384, 0},	  {"PS512", RSA_PSS, EVP_sha512, 0},
	{"ES256", ECDSA_OF, EVP_sha256, 256}, {"ES384", ECDSA_OF, EVP_sha384, 384}, {"ES512", ECDSA_OF, EVP_sha512, 521},
	{"EdDSA", EDDSA, NULL, 0},
};

static const struct alg *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(algs); i++)
		if (strcmp(algs[i].name, name) == 0)
			return &algs[i];
	return NULL;
}

static bool fits(const struct alg *alg, const EVP_PKEY *key)
{
	switch (alg->family) {
	case RSA_PKCS1:
	case RSA_PSS:
		return EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
	case ECDSA_OF:
		return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) == alg->ec_bits;
	default:
		return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 || EVP_PKEY_get_base_id(key) == EVP_PKEY_ED448;
	}
}

/* OpenSSL makes a DER sequence of r and s; JWS wants both plain, of fixed size. */
static size_t half_of(const struct alg *alg)
{
	return ((size_t)alg->ec_bits + 7) / 8;
}

static bool add_r_s(const struct alg *alg, const unsigned char *der, size_t n, struct buf *out)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	int half = (int)half_of(alg);
	unsigned char rs[2 * 66];
	bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), rs, half) == half &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), rs + half, half) == half;

	ECDSA_SIG_free(sig);
	if (ok)
		buf_add(out, rs, 2 * (size_t)half);
	return ok;
}

static size_t der_of_r_s(const struct alg *alg, struct str sig, unsigned char **ret)
{
	const unsigned char *p = (const unsigned char *)sig.p;
	int half = (int)half_of(alg), n;
	ECDSA_SIG *s = ECDSA_SIG_new();

	ECDSA_SIG_set0(s, BN_bin2bn(p, half, NULL), BN_bin2bn(p + half, half, NULL));
	n = i2d_ECDSA_SIG(s, ret);
	ECDSA_SIG_free(s);
	return n > 0 ? (size_t)n : 0;
}

static bool pad(const struct alg *alg, EVP_PKEY_CTX *ctx)
{
	return alg->family != RSA_PSS || (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
						 EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static int pkey_sign(const struct alg *alg, EVP_PKEY *key, struct str data, struct buf *out, struct err *e)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024];
	EVP_PKEY_CTX *inner;
	size_t n = sizeof(sig);
	char text[128];
	bool ok = EVP_DigestSignInit(ctx, &inner, alg->md ? alg->md() : NULL, NULL, key) == 1 && pad(alg, inner) &&
		  EVP_DigestSign(ctx, sig, &n, (const unsigned char *)data.p, data.n) == 1;

	EVP_MD_CTX_free(ctx);
	if (ok && alg->family == ECDSA_OF)
		ok = add_r_s(alg, sig, n, out);
	else if (ok)
		buf_add(out, sig, n);
	return ok ? 0 : err_set(e, ERR_INTERNAL, "jws: cannot sign: %s", tls__error_text(text, sizeof(text)));
}

static int pkey_verify(const struct alg *alg, EVP_PKEY *key, struct str data, struct str sig, struct err *e)
{
	bool ec = alg->family == ECDSA_OF, ok;
	unsigned char *der = NULL;
	EVP_PKEY_CTX *inner;
	EVP_MD_CTX *ctx;

	/* OpenSSL reads a PSS signature as a number, however long: one that begins with a zero byte would be good without it, too. */
	if (sig.n != (ec ? 2 * half_of(alg) : (size_t)EVP_PKEY_get_size(key)))
		return err_set(e, ERR_UNAUTHORIZED, "the signature is wrong");
	ctx = EVP_MD_CTX_new();
	if (ec)
		sig.n = der_of_r_s(alg, sig, &der);
	ok = EVP_DigestVerifyInit(ctx, &inner, alg->md ? alg->md() : NULL, NULL, key) == 1 && pad(alg, inner) &&
	     EVP_DigestVerify(ctx, ec ? der : (const unsigned char *)sig.p, sig.n, (const unsigned char *)data.p, data.n) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok ? 0 : err_set(e, ERR_UNAUTHORIZED, "the signature is wrong");
}

/* --- Keys of one algorithm ------------------------------------------------------------------------------------------- */

struct jws_key {
	const struct alg *alg;
	EVP_PKEY *private, *public; /* not HMAC */
	char *secret;               /* HMAC */
	size_t secret_size;
};

static EVP_PKEY *read_pem(struct str pem, bool private)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key = private ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : PEM_read_bio_PUBKEY(b, NULL, NULL, NULL);
	X509 *cert = NULL;

	BIO_free(b);
	/* A certificate has a public key, too. */
	if (key == NULL && !private) {
		b = BIO_new_mem_buf(pem.p, (int)pem.n);
		cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
		BIO_free(b);
		key = cert ? X509_get_pubkey(cert) : NULL;
		X509_free(cert);
	}
	ERR_clear_error();
	return key;
}

static int read_half(const struct alg *alg, struct str pem, bool private, EVP_PKEY **ret, struct err *e)
{
	const char *what = private ? "private" : "public";

	if (pem.n == 0)
		return 0;
	*ret = read_pem(pem, private);
	if (*ret == NULL)
		return err_set(e, ERR_INVALID, "there is no %s key in the PEM text of %zu bytes", what, pem.n);
	return fits(alg, *ret) ? 0 : err_set(e, ERR_INVALID, "the %s key is not one for %s", what, alg->name);
}

int jws_key_new(const char *name, struct str private, struct str public, struct jws_key **ret, struct err *e)
{
	const struct alg *alg = find(name);
	struct str secret = private.n ? private : public;
	struct jws_key *k;
	int rc = 0;

	if (alg == NULL)
		return err_set(e, ERR_INVALID, "there is no signing method \"%s\"", name);
	if (secret.n == 0)
		return err_set(e, ERR_INVALID, "%s needs a key", name);
	k = xcalloc(1, sizeof(*k));
	k->alg = alg;
	if (alg->family == HMAC_OF) {
		k->secret = str_dup(secret);
		k->secret_size = secret.n;
	} else {
		rc = read_half(alg, private, true, &k->private, e);
		if (rc == 0)
			rc = read_half(alg, public, false, &k->public, e);
		if (rc == 0 && k->private && k->public && EVP_PKEY_eq(k->private, k->public) != 1)
			rc = err_set(e, ERR_INVALID, "the private and the public key do not belong together");
	}
	if (rc != 0) {
		jws_key_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

void jws_key_free(struct jws_key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->private);
	EVP_PKEY_free(k->public);
	if (k->secret)
		OPENSSL_cleanse(k->secret, k->secret_size);
	free(k->secret);
	free(k);
}

bool jws_key_signs(const struct jws_key *k)
{
	return k->secret || k->private;
}

const char *jws_key_alg(const struct jws_key *k)
{
	return k->alg->name;
}

static unsigned hmac(const struct jws_key *k, struct str data, unsigned char out[EVP_MAX_MD_SIZE])
{
	unsigned n = 0;

	HMAC(k->alg->md(), k->secret, (int)k->secret_size, (const unsigned char *)data.p, data.n, out, &n);
	return n;
}

int jws_key_sign(const struct jws_key *k, struct str data, struct buf *out, struct err *e)
{
	unsigned char mac[EVP_MAX_MD_SIZE];

	if (!jws_key_signs(k))
		return err_set(e, ERR_FAILED_PRECONDITION, "there is no private key to sign with");
	if (!k->secret)
		return pkey_sign(k->alg, k->private, data, out, e);
	buf_add(out, mac, hmac(k, data, mac));
	return 0;
}

int jws_key_verify(const struct jws_key *k, struct str data, struct str sig, struct err *e)
{
	unsigned char mac[EVP_MAX_MD_SIZE];

	if (!k->secret)
		return pkey_verify(k->alg, k->public ? k->public : k->private, data, sig, e);
	if (x509_equal(str_of((char *)mac, hmac(k, data, mac)), sig))
		return 0;
	return err_set(e, ERR_UNAUTHORIZED, "the signature is wrong");
}

int jws_make(struct arena *a, const struct jws_key *k, struct str head, struct str body, struct str *ret, struct err *e)
{
	struct str both = arena_sprintf(a, "%.*s.%.*s", STR_FMT(jws_base64url(a, head)), STR_FMT(jws_base64url(a, body)));
	struct buf sig = BUF_INIT;
	int rc = jws_key_sign(k, both, &sig, e);

	if (rc == 0)
		*ret = arena_sprintf(a, "%.*s.%.*s", STR_FMT(both), STR_FMT(jws_base64url(a, buf_str(&sig))));
	buf_fini(&sig);
	return rc;
}

/* --- Keys of io/x509.h, whose kind decides ---------------------------------------------------------------------------- */

const char *x509_jws_alg(const struct x509_key *k)
{
	return x509_key_is_ec(k) ? "ES256" : "RS256";
}

int x509_jws_sign(const struct x509_key *k, struct str data, struct buf *out, struct err *e)
{
	const struct alg *alg = find(x509_jws_alg(k));

	if (!k->private || !fits(alg, k->pkey))
		return err_set(e, ERR_INTERNAL, "x509: cannot sign: the key is not one for %s, or has no private half", alg->name);
	return pkey_sign(alg, k->pkey, data, out, e);
}

int x509_jws_verify(const struct x509_key *k, const char *name, struct str data, struct str sig, struct err *e)
{
	const struct alg *alg = find(x509_jws_alg(k));

	/* The key decides on the algorithm, never the token. */
	if (strcmp(name, alg->name) != 0)
		return err_set(e, ERR_UNAUTHORIZED, "signature algorithm %s does not fit the key", name);
	if (!fits(alg, k->pkey))
		return err_set(e, ERR_UNAUTHORIZED, "the signature is wrong");
	return pkey_verify(alg, k->pkey, data, sig, e);
}
