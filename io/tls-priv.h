/* The inside of TLS contexts, for streams. */
#ifndef IO_TLS_PRIV_H
#define IO_TLS_PRIV_H

#include <openssl/ssl.h>

#include "io/tls.h"

/* A new connection with the context's present contents. */
SSL *tls__ssl_new(struct tls_ctx *);
bool tls__is_server(const struct tls_ctx *);
/* Offer these protocols instead of the context's; before the handshake, clients only. */
void tls__set_alpn(SSL *, const char *alpn);
/* Set by the verify callback when it let a bad certificate pass (TLS_VERIFY_OPTIONAL). */
bool tls__verify_failed(const SSL *);
/* The newest error of this thread's OpenSSL queue as text, and empties the queue. */
const char *tls__error_text(char *buf, size_t size);

#endif
