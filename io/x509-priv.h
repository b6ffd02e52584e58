/* The inside of keys and certificates. */
#ifndef IO_X509_PRIV_H
#define IO_X509_PRIV_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "io/x509.h"

struct x509_key {
	EVP_PKEY *pkey;
	bool private;
};

struct x509_cert {
	X509 *x509;
};

/* Read a request and check its own signature. */
int x509__csr_read(struct str pem, X509_REQ **ret, struct err *);

#endif
