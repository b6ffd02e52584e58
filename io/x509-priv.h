/* The inside of keys and certificates. */
#ifndef IO_X509_PRIV_H
#define IO_X509_PRIV_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "io/x509.h"

#define X509_MAX_PEM (4 << 20)

struct x509_key {
	EVP_PKEY *pkey;
	bool private;
};

struct x509_cert {
	X509 *x509;
};

/* Take what OpenSSL made. */
struct x509_key *x509__key_of(EVP_PKEY *, bool private);
struct x509_cert *x509__cert_of(X509 *);

/* "x509: WHAT: " and OpenSSL's reason. */
int x509__fail(struct err *, enum err_code, const char *what);
/* Append what a memory BIO holds, and free it. */
void x509__drain(BIO *, struct buf *out);

/* Read a request and check its own signature. */
int x509__csr_read(struct str pem, X509_REQ **ret, struct err *);

#endif
