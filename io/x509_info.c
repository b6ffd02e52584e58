/* What certificates and requests say, and digests. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "io/tls-priv.h"
#include "io/x509-priv.h"

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static struct str asn1_text(struct arena *a, const ASN1_STRING *s)
{
	unsigned char *p = NULL;
	int n = ASN1_STRING_to_UTF8(&p, s);
	struct str r;

	if (n < 0)
		return STR("");
	r = arena_str(a, str_of(p, (size_t)n));
	OPENSSL_free(p);
	return r;
}

static struct str name_text(struct arena *a, const X509_NAME *name)
{
	BIO *b = BIO_new(BIO_s_mem());
	struct str r;
	char *p;
	long n;

	X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	n = BIO_get_mem_data(b, &p);
	r = arena_str(a, str_of(p, n > 0 ? (size_t)n : 0));
	BIO_free(b);
	return r;
}

static void read_subject(const X509_NAME *name, struct arena *a, struct x509_info *r)
{
	int n = X509_NAME_entry_count(name);

	r->subject = name_text(a, name);
	r->orgs = arena_new_array(a, struct str, (size_t)n);
	for (int i = 0; i < n; i++) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));

		if (nid == NID_commonName)
			r->cn = asn1_text(a, X509_NAME_ENTRY_get_data(entry));
		else if (nid == NID_organizationName)
			r->orgs[r->n_orgs++] = asn1_text(a, X509_NAME_ENTRY_get_data(entry));
	}
}

static void read_names(const GENERAL_NAMES *names, struct arena *a, struct x509_info *r)
{
	int n = names ? sk_GENERAL_NAME_num(names) : 0;
	char text[INET6_ADDRSTRLEN];

	if (n <= 0)
		return;
	r->dns = arena_new_array(a, struct str, (size_t)n);
	r->ips = arena_new_array(a, struct str, (size_t)n);
	r->uris = arena_new_array(a, struct str, (size_t)n);
	r->emails = arena_new_array(a, struct str, (size_t)n);
	for (int i = 0; i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s;

		switch (g->type) {
		case GEN_DNS:
			r->dns[r->n_dns++] = asn1_text(a, g->d.dNSName);
			break;
		case GEN_URI:
			r->uris[r->n_uris++] = asn1_text(a, g->d.uniformResourceIdentifier);
			break;
		case GEN_EMAIL:
			r->emails[r->n_emails++] = asn1_text(a, g->d.rfc822Name);
			break;
		case GEN_IPADD:
			s = g->d.iPAddress;
			if (inet_ntop(ASN1_STRING_length(s) == 4 ? AF_INET : AF_INET6,
				    ASN1_STRING_get0_data(s), text, sizeof(text)) != NULL &&
				(ASN1_STRING_length(s) == 4 || ASN1_STRING_length(s) == 16))
				r->ips[r->n_ips++] = arena_str(a, str_from(text));
			break;
		default:
			break;
		}
	}
}

static void read_serial(const X509 *x, struct arena *a, struct x509_info *r)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = n ? BN_bn2hex(n) : NULL;

	if (hex != NULL) {
		char *copy = arena_strdup(a, hex);

		for (char *p = copy; *p; p++)
			if (*p >= 'A' && *p <= 'F')
				*p = (char)(*p - 'A' + 'a');
		r->serial = str_from(copy);
	}
	OPENSSL_free(hex);
	BN_free(n);
}

static struct str key_der(X509_PUBKEY *k, struct arena *a)
{
	unsigned char *p = NULL;
	int n = i2d_X509_PUBKEY(k, &p);
	struct str r;

	if (n <= 0)
		return STR("");
	r = arena_str(a, str_of(p, (size_t)n));
	OPENSSL_free(p);
	return r;
}

static struct str fingerprint(struct arena *a, struct str der)
{
	uint8_t sum[32];
	char *hex = arena_alloc(a, 2 * sizeof(sum) + 1);

	x509_sha256(der, sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return str_of(hex, 2 * sizeof(sum));
}

static void read_cert(X509 *x, struct arena *a, struct x509_info *r)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	uint32_t xku = X509_get_extended_key_usage(x), ku = X509_get_key_usage(x);
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	memset(r, 0, sizeof(*r));
	read_subject(X509_get_subject_name(x), a, r);
	r->issuer = name_text(a, X509_get_issuer_name(x));
	read_names(names, a, r);
	read_serial(x, a, r);
	r->not_before = seconds(X509_get0_notBefore(x));
	r->not_after = seconds(X509_get0_notAfter(x));
	r->is_ca = X509_check_ca(x) == 1;
	r->server_auth = (xku & XKU_SSL_SERVER) != 0;
	r->client_auth = (xku & XKU_SSL_CLIENT) != 0;
	r->usage_digital_signature = (ku & KU_DIGITAL_SIGNATURE) != 0;
	r->usage_key_encipherment = (ku & KU_KEY_ENCIPHERMENT) != 0;
	r->usage_cert_sign = (ku & KU_KEY_CERT_SIGN) != 0;
	r->key_der = key_der(X509_get_X509_PUBKEY(x), a);
	if (n > 0) {
		r->der = arena_str(a, str_of(der, (size_t)n));
		r->sha256 = fingerprint(a, r->der);
	}
	OPENSSL_free(der);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
}

int x509_info_of(const struct x509_cert *c, struct arena *a, struct x509_info *ret, struct err *e)
{
	read_cert(c->x509, a, ret);
	return 0;
}

int x509_info_from_pem(struct str pem, struct arena *a, struct x509_info *ret, struct err *e)
{
	struct x509_cert *c;
	int rv = x509_cert_from_pem(pem, &c, e);

	if (rv != 0)
		return rv;
	read_cert(c->x509, a, ret);
	x509_cert_free(c);
	return 0;
}

int x509_info_from_der(struct str der, struct arena *a, struct x509_info *ret, struct err *e)
{
	struct x509_cert *c;
	int rv = x509_cert_from_der(der, &c, e);

	if (rv != 0)
		return rv;
	read_cert(c->x509, a, ret);
	x509_cert_free(c);
	return 0;
}

static void read_csr_usages(STACK_OF(X509_EXTENSION) * exts, struct x509_info *r)
{
	EXTENDED_KEY_USAGE *eku = X509V3_get_d2i(exts, NID_ext_key_usage, NULL, NULL);
	ASN1_BIT_STRING *ku = X509V3_get_d2i(exts, NID_key_usage, NULL, NULL);

	for (int i = 0; eku != NULL && i < sk_ASN1_OBJECT_num(eku); i++) {
		int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(eku, i));

		r->server_auth |= nid == NID_server_auth;
		r->client_auth |= nid == NID_client_auth;
	}
	if (ku != NULL) {
		r->usage_digital_signature = ASN1_BIT_STRING_get_bit(ku, 0) == 1;
		r->usage_key_encipherment = ASN1_BIT_STRING_get_bit(ku, 2) == 1;
		r->usage_cert_sign = ASN1_BIT_STRING_get_bit(ku, 5) == 1;
	}
	EXTENDED_KEY_USAGE_free(eku);
	ASN1_BIT_STRING_free(ku);
}

int x509_info_from_csr(struct str pem, struct arena *a, struct x509_info *ret, struct err *e)
{
	STACK_OF(X509_EXTENSION) * exts;
	GENERAL_NAMES *names;
	X509_REQ *r;
	int rv = x509__csr_read(pem, &r, e);

	if (rv != 0)
		return rv;
	memset(ret, 0, sizeof(*ret));
	exts = X509_REQ_get_extensions(r);
	names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
	read_subject(X509_REQ_get_subject_name(r), a, ret);
	read_names(names, a, ret);
	read_csr_usages(exts, ret);
	ret->key_der = key_der(X509_REQ_get_X509_PUBKEY(r), a);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(r);
	ERR_clear_error();
	return 0;
}

/* Digests. */

void x509_sha256(struct str data, uint8_t out[32])
{
	SHA256((const unsigned char *)data.p, data.n, out);
}

void x509_sha1(struct str data, uint8_t out[20])
{
	SHA1((const unsigned char *)data.p, data.n, out);
}

void x509_hmac_sha256(struct str key, struct str data, uint8_t out[32])
{
	unsigned n = 32;

	HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const unsigned char *)data.p, data.n,
		out, &n);
}

bool x509_equal(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}
