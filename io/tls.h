/*
 * struct tls_ctx: what a TLS endpoint needs before any connection: certificate, key, CA pool,
 * protocols.
 *
 * TLS 1.2 and 1.3. No session tickets and no renegotiation: a peer's certificate is looked at on
 * each connection. A context is refcounted and may be shared by all threads. tls_ctx_reload replaces
 * its contents while it is in use: connections made afterwards use the new ones.
 *
 *	struct tls_config c = {.server = true, .cert_pem = cert, .key_pem = key, .ca_pem = ca,
 *			.verify = TLS_VERIFY_OPTIONAL, .alpn = "h2,http/1.1"};
 *	if (tls_ctx_new(&c, &ctx, e) != 0) ...
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct tls_ctx;

enum tls_verify {
	TLS_VERIFY_DEFAULT = 0, /* server: NONE; client: REQUIRED */
	TLS_VERIFY_NONE,        /* a server asks for no certificate; a client accepts any
				   (--insecure-skip-tls-verify) */
	TLS_VERIFY_OPTIONAL,    /* server: asks for one; a missing or bad one does not end the
				   handshake, see stream_peer_verified */
	TLS_VERIFY_REQUIRED, /* the handshake fails without a certificate that chains to the CA pool
			      */
};

struct tls_config {
	bool server;
	/* PEM texts; the certificate may be followed by its chain. A client may have none. */
	struct str cert_pem, key_pem;
	/* PEM of one or more CA certificates. A client without one uses the system's pool. */
	struct str ca_pem;
	enum tls_verify verify;
	/* PEM or DER of revocation lists: a certificate that is on its issuer's list is refused, and so is every one whose issuer's list is over. */
	struct str crl;
	const char *crl_path; /* instead of crl, for what is made of files */
	/* The other side's certificate must be for one of these host names (or be for this one IP address); NULL-terminated, or NULL. */
	const char *const *hosts;
	/* OpenSSL's lists for TLS 1.2, and 1.3; versions 12 or 13. NULL, 0: the default. */
	const char *ciphers, *suites;
	int min_version, max_version;
	/* Comma separated, most wanted first: "h2,http/1.1"; NULL: none. */
	const char *alpn;
};

int tls_ctx_new(const struct tls_config *, struct tls_ctx **ret, struct err *);
/* Any thread. On error the old contents stay. */
int tls_ctx_reload(struct tls_ctx *, const struct tls_config *, struct err *);
/* OpenSSL's name for a cipher of IANA's name; NULL: it has none. *ret_tls13: it is one of TLS 1.3. */
const char *tls_cipher_name(const char *iana, bool *ret_tls13);
/* The same with PEM files; NULL paths are absent. config's PEM members are ignored;
 * its crl_path, if any, is read. */
int tls_ctx_new_files(const struct tls_config *, const char *cert_path, const char *key_path,
	const char *ca_path, struct tls_ctx **ret, struct err *);
int tls_ctx_reload_files(struct tls_ctx *, const struct tls_config *, const char *cert_path,
	const char *key_path, const char *ca_path, struct err *);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *);
void tls_ctx_unref(struct tls_ctx *);

#endif
