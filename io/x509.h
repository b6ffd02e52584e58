/*
 * Certificates and keys: what a cluster's own CA needs, and what a server wants to know of a peer.
 *
 * Keys are ECDSA P-256 (keys read from files may also be RSA). Everything travels as PEM text in a
 * struct buf, or as an opaque key or certificate. Functions are synchronous and hold no state: any
 * thread may call them; one object is used by one thread at a time. Sources: RFC 5280
 * (certificates), RFC 2986 (requests), RFC 7518 (JWS signatures).
 *
 *	struct x509_key *ca_key, *key;  struct x509_cert *ca, *cert;
 *	x509_key_new(&ca_key, e);  x509_ca_new("kontiki-ca", 3650, ca_key, &ca, e);
 *	x509_key_new(&key, e);
 *	struct x509_spec spec = {.cn = "system:node:n1", .orgs = (const char *[]){"system:nodes",
 * NULL}, .sans = (const char *[]){"n1", "10.0.0.1", NULL}, .days = 365, .server = true, .client =
 * true}; x509_sign(&spec, key, ca, ca_key, &cert, e); x509_cert_save(cert, "kubelet.crt", e);
 * x509_key_save(key, "kubelet.key", e);
 */
#ifndef IO_X509_H
#define IO_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct x509_key;  /* a private or a public key */
struct x509_cert; /* one certificate */

/* Keys. `x509_key_from_pem` takes private keys (PKCS#8, SEC1, PKCS#1) and public keys (SPKI), or a
 * certificate's. */
int x509_key_new(struct x509_key **ret, struct err *);
int x509_key_new_rsa(unsigned bits, struct x509_key **ret, struct err *);
int x509_key_from_pem(struct str pem, struct x509_key **ret, struct err *);
int x509_key_load(const char *path, struct x509_key **ret, struct err *);
/* PKCS#8 PEM; appended to `out`. */
int x509_key_to_pem(const struct x509_key *, struct buf *out, struct err *);
/* SPKI PEM and DER of the public half; appended. */
int x509_key_public_pem(const struct x509_key *, struct buf *out, struct err *);
int x509_key_public_der(const struct x509_key *, struct buf *out, struct err *);
/* Mode 0600, written aside and renamed. */
int x509_key_save(const struct x509_key *, const char *path, struct err *);
bool x509_key_is_ec(const struct x509_key *);
bool x509_key_is_private(const struct x509_key *);
/* RSA public numbers (n, e) or EC point (x, y), big-endian, for a JWK; NULL pointers where not
 * wanted. */
int x509_key_jwk(
	const struct x509_key *, struct buf *ret_n_or_x, struct buf *ret_e_or_y, struct err *);
/* The other way round: a public key from a JWK's numbers (big-endian): EC P-256 from x and y, RSA from n and e. */
int x509_key_from_numbers(bool ec, struct str n_or_x, struct str e_or_y, struct x509_key **ret, struct err *);
void x509_key_free(struct x509_key *);

/* Certificates. Reading takes the first certificate of the PEM text. */
int x509_cert_from_pem(struct str pem, struct x509_cert **ret, struct err *);
int x509_cert_from_der(struct str der, struct x509_cert **ret, struct err *);
int x509_cert_load(const char *path, struct x509_cert **ret, struct err *);
int x509_cert_to_pem(const struct x509_cert *, struct buf *out, struct err *);
/* Mode 0644, written aside and renamed. */
int x509_cert_save(const struct x509_cert *, const char *path, struct err *);
void x509_cert_free(struct x509_cert *);
/* True when the certificate holds this key's public half. */
bool x509_cert_matches(const struct x509_cert *, const struct x509_key *);

/* What to sign. Zero members are left out. */
struct x509_spec {
	const char *cn;
	const char *const *orgs; /* NULL-terminated; each is an O of the subject */
	const char *const *sans; /* NULL-terminated; IP addresses are told from DNS names; "URI:..."
				    is a URI */
	unsigned days;           /* validity from now; 0: 365 */
	int64_t not_after;       /* Unix seconds; overrides days when not 0 */
	bool server, client;     /* extended key usages */
};

/* A self-signed CA (path length unlimited). */
int x509_ca_new(const char *cn, unsigned days, const struct x509_key *, struct x509_cert **ret,
	struct err *);
/* A certificate for `key` (its public half is enough), signed by the CA. Never outlives the CA.
 * Valid from one minute ago. */
int x509_sign(const struct x509_spec *, const struct x509_key *key, const struct x509_cert *ca,
	const struct x509_key *ca_key, struct x509_cert **ret, struct err *);
/* A PKCS#10 request, PEM, appended to `out`. */
int x509_csr_new(const struct x509_spec *, const struct x509_key *, struct buf *out, struct err *);

/* What a certificate or a request says; all in the arena. */
struct x509_info {
	struct str subject, issuer; /* RFC 2253 text */
	struct str cn;              /* empty: none */
	struct str *orgs;
	size_t n_orgs;
	struct str *dns, *ips, *uris, *emails; /* subject alternative names; IP addresses as text */
	size_t n_dns, n_ips, n_uris, n_emails;
	struct str serial; /* lower-case hex */
	struct str der;
	struct str sha256; /* of the whole certificate, lower-case hex; empty in a request */
	int64_t not_before, not_after; /* Unix seconds; 0 in a request */
	bool is_ca;
	bool server_auth, client_auth; /* extended key usages asked for or granted */
	bool usage_digital_signature, usage_key_encipherment, usage_cert_sign;
	struct str key_der; /* SPKI */
};
int x509_info_from_pem(struct str cert_pem, struct arena *, struct x509_info *ret, struct err *);
int x509_info_from_der(struct str cert_der, struct arena *, struct x509_info *ret, struct err *);
int x509_info_of(const struct x509_cert *, struct arena *, struct x509_info *ret, struct err *);
/* Checks the request's own signature. */
int x509_info_from_csr(struct str csr_pem, struct arena *, struct x509_info *ret, struct err *);
/*
 * Sign a request: the key comes from the request. With spec NULL the subject and SANs are the
 * request's own (client and server usages, 365 days); else they are the spec's. The request's
 * signature is checked.
 */
int x509_csr_sign(struct str csr_pem, const struct x509_spec *, const struct x509_cert *ca,
	const struct x509_key *ca_key, struct x509_cert **ret, struct err *);

/*
 * The CA `of` once more, signed by another CA: who trusts only that one then also trusts what `of` signs. Same subject, key and
 * key identifier; never outlives either.
 */
int x509_cross_sign(const struct x509_cert *of, const struct x509_cert *ca, const struct x509_key *ca_key,
	struct x509_cert **ret, struct err *);
/* Take the first certificate off a PEM text of several, with its frame. False: none is left. */
bool x509_pem_next(struct str *pem, struct str *ret_one);

/* The certificate is valid now and chains to a CA of the PEM pool. */
int x509_verify(const struct x509_cert *, struct str ca_pem, struct err *);

/* "sha256:<hex>" of the SPKI, as kubeadm's --discovery-token-ca-cert-hash. */
#define X509_SPKI_HASH_SIZE 72
int x509_spki_hash(const struct x509_cert *, char out[X509_SPKI_HASH_SIZE], struct err *);

/*
 * JWS signatures over bytes. ES256 is r||s, 64 bytes (EC keys); RS256 is PKCS#1 v1.5 (RSA keys).
 * `x509_jws_alg` says which the key makes: "ES256" or "RS256". Verify returns 0, or
 * -ERR_UNAUTHORIZED when the signature is not the key's.
 */
const char *x509_jws_alg(const struct x509_key *);
int x509_jws_sign(const struct x509_key *, struct str data, struct buf *ret_sig, struct err *);
int x509_jws_verify(
	const struct x509_key *, const char *alg, struct str data, struct str sig, struct err *);

/* SHA-256, HMAC-SHA-256 and a comparison whose time does not depend on the contents. */
void x509_sha256(struct str data, uint8_t out[32]);
void x509_sha1(struct str data, uint8_t out[20]);
void x509_hmac_sha256(struct str key, struct str data, uint8_t out[32]);
bool x509_equal(struct str a, struct str b);

#endif
