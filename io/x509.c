#include "io/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/util.h"
#include "io/tls-priv.h"
#include "io/x509-priv.h"

int x509__fail(struct err *e, enum err_code code, const char *what)
{
	char text[128];

	tls__error_text(text, sizeof(text));
	return err_set(e, code, "x509: %s: %s", what, text);
}

void x509__drain(BIO *b, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	if (n > 0)
		buf_add(out, p, (size_t)n);
	BIO_free(b);
}

struct x509_cert *x509__cert_of(X509 *x)
{
	struct x509_cert *c = xcalloc(1, sizeof(*c));

	c->x509 = x;
	return c;
}

int x509_cert_from_pem(struct str pem, struct x509_cert **ret, struct err *e)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

	BIO_free(b);
	if (x == NULL)
		return x509__fail(e, ERR_INVALID, "cannot read the certificate");
	*ret = x509__cert_of(x);
	return 0;
}

int x509_cert_from_der(struct str der, struct x509_cert **ret, struct err *e)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *x = d2i_X509(NULL, &p, (long)der.n);

	if (x == NULL)
		return x509__fail(e, ERR_INVALID, "cannot read the certificate");
	*ret = x509__cert_of(x);
	return 0;
}

int x509_cert_load(const char *path, struct x509_cert **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = file_get(path, X509_MAX_PEM, &b, e);

	if (rv == 0 && (rv = x509_cert_from_pem(buf_str(&b), ret, e)) != 0)
		err_prefix(e, "%s", path);
	buf_fini(&b);
	return rv;
}

int x509_cert_to_pem(const struct x509_cert *c, struct buf *out, struct err *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (PEM_write_bio_X509(b, c->x509) != 1) {
		BIO_free(b);
		return x509__fail(e, ERR_INTERNAL, "cannot write the certificate");
	}
	x509__drain(b, out);
	return 0;
}

int x509_cert_save(const struct x509_cert *c, const char *path, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = x509_cert_to_pem(c, &b, e);

	if (rv == 0)
		rv = file_put(path, buf_str(&b), 0644, true, e);
	buf_fini(&b);
	return rv;
}

void x509_cert_free(struct x509_cert *c)
{
	if (c == NULL)
		return;
	X509_free(c->x509);
	free(c);
}

bool x509_cert_matches(const struct x509_cert *c, const struct x509_key *k)
{
	return EVP_PKEY_eq(X509_get0_pubkey(c->x509), k->pkey) == 1;
}

bool x509_pem_next(struct str *pem, struct str *ret_one)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	ptrdiff_t from = str_search(*pem, str_from(begin)), to;
	struct str rest;

	if (from < 0)
		return false;
	rest = str_skip(*pem, (size_t)from);
	to = str_search(rest, str_from(end));
	if (to < 0)
		return false;
	*ret_one = str_sub(rest, 0, (size_t)to + strlen(end));
	*pem = str_skip(rest, ret_one->n);
	return true;
}

int x509_verify(const struct x509_cert *c, struct str ca_pem, struct err *e)
{
	BIO *b = BIO_new_mem_buf(ca_pem.p, (int)ca_pem.n);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *x;
	int rv = 0;

	while ((x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		X509_STORE_add_cert(store, x);
		X509_free(x);
	}
	BIO_free(b);
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	X509_STORE_CTX_init(ctx, store, c->x509, NULL);
	if (X509_verify_cert(ctx) != 1)
		rv = err_set(e, ERR_UNAUTHORIZED, "x509: the certificate was not accepted: %s",
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return rv;
}

int x509_spki_hash(const struct x509_cert *c, char out[X509_SPKI_HASH_SIZE], struct err *e)
{
	unsigned char *p = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x509), &p);
	uint8_t sum[32];

	if (n <= 0)
		return x509__fail(e, ERR_INVALID, "cannot read the certificate's key");
	x509_sha256(str_of(p, (size_t)n), sum);
	OPENSSL_free(p);
	memcpy(out, "sha256:", 7);
	for (unsigned i = 0; i < 32; i++)
		snprintf(out + 7 + 2 * i, 3, "%02x", sum[i]);
	return 0;
}
