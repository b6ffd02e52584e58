/* Keys (x509.h): made, read and written, as PEM, as DER and as the numbers of a JWK. */
#include "io/x509-priv.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/util.h"
#include "io/x509.h"

struct x509_key *x509__key_of(EVP_PKEY *p, bool private)
{
	struct x509_key *k = xcalloc(1, sizeof(*k));

	k->pkey = p;
	k->private = private;
	return k;
}

int x509_key_new(struct x509_key **ret, struct err *e)
{
	EVP_PKEY *p = EVP_EC_gen("P-256");

	if (p == NULL)
		return x509__fail(e, ERR_INTERNAL, "cannot make a key");
	*ret = x509__key_of(p, true);
	return 0;
}

int x509_key_new_rsa(unsigned bits, struct x509_key **ret, struct err *e)
{
	EVP_PKEY *p = EVP_RSA_gen(bits);

	if (p == NULL)
		return x509__fail(e, ERR_INTERNAL, "cannot make a key");
	*ret = x509__key_of(p, true);
	return 0;
}

int x509_key_from_pem(struct str pem, struct x509_key **ret, struct err *e)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	bool private = true;
	EVP_PKEY *p = PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"");

	if (p == NULL) {
		private = false;
		BIO_reset(b);
		p = PEM_read_bio_PUBKEY(b, NULL, NULL, NULL);
	}
	if (p == NULL) {
		X509 *x;

		BIO_reset(b);
		x = PEM_read_bio_X509(b, NULL, NULL, NULL);
		p = x ? X509_get_pubkey(x) : NULL;
		X509_free(x);
	}
	BIO_free(b);
	ERR_clear_error();
	if (p == NULL)
		return err_set(e, ERR_INVALID, "x509: no key in the PEM text");
	if (EVP_PKEY_get_base_id(p) != EVP_PKEY_EC && EVP_PKEY_get_base_id(p) != EVP_PKEY_RSA) {
		EVP_PKEY_free(p);
		return err_set(e, ERR_INVALID, "x509: the key is neither EC nor RSA");
	}
	*ret = x509__key_of(p, private);
	return 0;
}

int x509_key_load(const char *path, struct x509_key **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = file_get(path, X509_MAX_PEM, &b, e);

	if (rv == 0 && (rv = x509_key_from_pem(buf_str(&b), ret, e)) != 0)
		err_prefix(e, "%s", path);
	if (b.p)
		OPENSSL_cleanse(b.p, b.n);
	buf_fini(&b);
	return rv;
}

int x509_key_to_pem(const struct x509_key *k, struct buf *out, struct err *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (!k->private || PEM_write_bio_PrivateKey(b, k->pkey, NULL, NULL, 0, NULL, NULL) != 1) {
		BIO_free(b);
		return x509__fail(e, ERR_INVALID, "cannot write the private key");
	}
	x509__drain(b, out);
	return 0;
}

int x509_key_public_pem(const struct x509_key *k, struct buf *out, struct err *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (PEM_write_bio_PUBKEY(b, k->pkey) != 1) {
		BIO_free(b);
		return x509__fail(e, ERR_INVALID, "cannot write the public key");
	}
	x509__drain(b, out);
	return 0;
}

int x509_key_public_der(const struct x509_key *k, struct buf *out, struct err *e)
{
	unsigned char *p = NULL;
	int n = i2d_PUBKEY(k->pkey, &p);

	if (n <= 0)
		return x509__fail(e, ERR_INVALID, "cannot write the public key");
	buf_add(out, p, (size_t)n);
	OPENSSL_free(p);
	return 0;
}

int x509_key_save(const struct x509_key *k, const char *path, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = x509_key_to_pem(k, &b, e);

	if (rv == 0)
		rv = file_put(path, buf_str(&b), 0600, true, e);
	if (b.p)
		OPENSSL_cleanse(b.p, b.n);
	buf_fini(&b);
	return rv;
}

bool x509_key_is_ec(const struct x509_key *k)
{
	return EVP_PKEY_get_base_id(k->pkey) == EVP_PKEY_EC;
}

bool x509_key_is_private(const struct x509_key *k)
{
	return k->private;
}

static void add_number(EVP_PKEY *p, const char *name, int size, struct buf *out)
{
	BIGNUM *n = NULL;

	if (out == NULL || EVP_PKEY_get_bn_param(p, name, &n) != 1)
		return;
	if (size == 0)
		size = BN_num_bytes(n);
	BN_bn2binpad(n, (unsigned char *)buf_reserve(out, (size_t)size), size);
	buf_advance(out, (size_t)size);
	BN_free(n);
}

int x509_key_jwk(const struct x509_key *k, struct buf *n_or_x, struct buf *e_or_y, struct err *e)
{
	if (x509_key_is_ec(k)) {
		add_number(k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32, n_or_x);
		add_number(k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32, e_or_y);
	} else {
		add_number(k->pkey, OSSL_PKEY_PARAM_RSA_N, 0, n_or_x);
		add_number(k->pkey, OSSL_PKEY_PARAM_RSA_E, 0, e_or_y);
	}
	if ((n_or_x && n_or_x->n == 0) || (e_or_y && e_or_y->n == 0))
		return x509__fail(e, ERR_INVALID, "cannot read the key's numbers");
	return 0;
}

/* {0x04, x, y}; false when a number is too long for the curve. */
static bool ec_point(struct str x, struct str y, unsigned char out[65])
{
	if (x.n > 32 || y.n > 32)
		return false;
	memset(out, 0, 65);
	out[0] = 4;
	memcpy(out + 33 - x.n, x.p, x.n);
	memcpy(out + 65 - y.n, y.p, y.n);
	return true;
}

static EVP_PKEY *key_of_params(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

int x509_key_from_numbers(bool ec, struct str n_or_x, struct str e_or_y, struct x509_key **ret, struct err *e)
{
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn((const unsigned char *)n_or_x.p, (int)n_or_x.n, NULL),
	       *exp = BN_bin2bn((const unsigned char *)e_or_y.p, (int)e_or_y.n, NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	unsigned char point[65];
	bool ok;

	if (ec)
		ok = ec_point(n_or_x, e_or_y, point) &&
			OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
			OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1;
	else
		ok = OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
			OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, exp) == 1;
	if (ok && (params = OSSL_PARAM_BLD_to_param(b)) != NULL)
		pkey = key_of_params(ec ? "EC" : "RSA", params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	BN_free(n);
	BN_free(exp);
	if (pkey == NULL)
		return x509__fail(e, ERR_INVALID, "these numbers are no public key");
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->pkey = pkey;
	return 0;
}

void x509_key_free(struct x509_key *k)
{
	if (k == NULL)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}
