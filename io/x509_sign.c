/* Certificates that are made (x509.h): authorities, cross-signed ones, those of requests, and the requests. */
#include "io/x509-priv.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"

/* Clocks of nodes differ a little; a certificate is valid from this long before it was made. */
#define BACKDATE_S 60

static bool add_name(X509_NAME *n, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(
		       n, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

static bool set_subject(X509_NAME *n, const char *cn, const char *const *orgs)
{
	for (; orgs != NULL && *orgs != NULL; orgs++)
		if (!add_name(n, "O", *orgs))
			return false;
	return cn == NULL || add_name(n, "CN", cn);
}

/* The names as a general-names object, not as OpenSSL's option text: a name may hold any character.
 */
static GENERAL_NAME *general_name(const char *san)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(san);
	ASN1_IA5STRING *text;

	ERR_clear_error();
	if (ip != NULL) {
		GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
		return g;
	}
	text = ASN1_IA5STRING_new();
	if (strncmp(san, "URI:", 4) == 0) {
		ASN1_STRING_set(text, san + 4, -1);
		GENERAL_NAME_set0_value(g, GEN_URI, text);
	} else {
		ASN1_STRING_set(text, san, -1);
		GENERAL_NAME_set0_value(g, GEN_DNS, text);
	}
	return g;
}

static GENERAL_NAMES *general_names(const char *const *sans)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

	for (; sans != NULL && *sans != NULL; sans++)
		sk_GENERAL_NAME_push(names, general_name(*sans));
	return names;
}

static bool add_ext(X509 *x, const X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, (X509 *)issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static void set_serial(X509 *x)
{
	unsigned char p[16];
	BIGNUM *n;

	random_bytes(p, sizeof(p));
	p[0] &= 0x7f;
	p[0] |= 0x40; /* never short, never negative */
	n = BN_bin2bn(p, sizeof(p), NULL);
	BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
}

/* A certificate with what all of ours have. */
static X509 *blank(EVP_PKEY *key, int64_t not_after)
{
	X509 *x = X509_new();

	ASSERT(x != NULL);
	X509_set_version(x, X509_VERSION_3);
	set_serial(x);
	ASN1_TIME_set(X509_getm_notBefore(x), clock_wall_s() - BACKDATE_S);
	ASN1_TIME_set(X509_getm_notAfter(x), not_after);
	X509_set_pubkey(x, key);
	return x;
}

int x509_ca_new(const char *cn, unsigned days, const struct x509_key *k, struct x509_cert **ret,
	struct err *e)
{
	X509 *x = blank(k->pkey, clock_wall_s() + (int64_t)days * 86400);
	bool ok = set_subject(X509_get_subject_name(x), cn, NULL) &&
		  X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
		  add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE") &&
		  add_ext(x, x, NID_key_usage,
			  "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign") &&
		  add_ext(x, x, NID_subject_key_identifier, "hash") &&
		  X509_sign(x, k->pkey, EVP_sha256()) > 0;

	if (!ok) {
		X509_free(x);
		return x509__fail(e, ERR_INTERNAL, "cannot make the CA's certificate");
	}
	*ret = x509__cert_of(x);
	return 0;
}

static bool sign_cross(X509 *x, const X509 *of, const X509 *ca, EVP_PKEY *ca_key)
{
	return X509_set_subject_name(x, X509_get_subject_name(of)) == 1 && X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
	       add_ext(x, ca, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_ext(x, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign") &&
	       add_ext(x, ca, NID_subject_key_identifier, "hash") && add_ext(x, ca, NID_authority_key_identifier, "keyid") &&
	       X509_sign(x, ca_key, EVP_sha256()) > 0;
}

static int64_t asn1_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int x509_cross_sign(const struct x509_cert *of, const struct x509_cert *ca, const struct x509_key *ca_key,
	struct x509_cert **ret, struct err *e)
{
	int64_t end = MIN(asn1_seconds(X509_get0_notAfter(of->x509)), asn1_seconds(X509_get0_notAfter(ca->x509)));
	X509 *x = blank(X509_get0_pubkey(of->x509), end);

	if (!sign_cross(x, of->x509, ca->x509, ca_key->pkey)) {
		X509_free(x);
		return x509__fail(e, ERR_INTERNAL, "cannot cross-sign the CA");
	}
	*ret = x509__cert_of(x);
	return 0;
}

static const char *usages(bool server, bool client)
{
	return server && client ? "serverAuth,clientAuth"
	       : server         ? "serverAuth"
	       : client         ? "clientAuth"
				: NULL;
}

static int64_t end_of(const struct x509_spec *spec, const X509 *ca)
{
	int64_t end = spec->not_after
			      ? spec->not_after
			      : clock_wall_s() + (int64_t)(spec->days ? spec->days : 365) * 86400;

	return MIN(end, asn1_seconds(X509_get0_notAfter(ca)));
}

/* Sign a certificate with this subject and these names; `subject` and `names` are copied. */
static int sign(const struct x509_spec *spec, X509_NAME *subject, GENERAL_NAMES *names,
	EVP_PKEY *key, const struct x509_cert *ca, const struct x509_key *ca_key,
	struct x509_cert **ret, struct err *e)
{
	X509 *x = blank(key, end_of(spec, ca->x509));
	const char *eku = usages(spec->server, spec->client);
	bool ok =
		X509_set_subject_name(x, subject) == 1 &&
		X509_set_issuer_name(x, X509_get_subject_name(ca->x509)) == 1 &&
		add_ext(x, ca->x509, NID_basic_constraints, "critical,CA:FALSE") &&
		add_ext(x, ca->x509, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
		(eku == NULL || add_ext(x, ca->x509, NID_ext_key_usage, eku)) &&
		add_ext(x, ca->x509, NID_authority_key_identifier, "keyid") &&
		(sk_GENERAL_NAME_num(names) <= 0 || X509_add1_ext_i2d(x, NID_subject_alt_name,
							    names, 0, X509V3_ADD_DEFAULT) == 1) &&
		X509_sign(x, ca_key->pkey, EVP_sha256()) > 0;

	if (!ok) {
		X509_free(x);
		return x509__fail(e, ERR_INTERNAL, "cannot sign the certificate");
	}
	*ret = x509__cert_of(x);
	return 0;
}

int x509_sign(const struct x509_spec *spec, const struct x509_key *key, const struct x509_cert *ca,
	const struct x509_key *ca_key, struct x509_cert **ret, struct err *e)
{
	X509_NAME *subject = X509_NAME_new();
	GENERAL_NAMES *names = general_names(spec->sans);
	int rv;

	if (!set_subject(subject, spec->cn, spec->orgs))
		rv = x509__fail(e, ERR_INVALID, "bad subject");
	else
		rv = sign(spec, subject, names, key->pkey, ca, ca_key, ret, e);
	X509_NAME_free(subject);
	GENERAL_NAMES_free(names);
	return rv;
}

int x509_csr_new(
	const struct x509_spec *spec, const struct x509_key *key, struct buf *out, struct err *e)
{
	X509_REQ *r = X509_REQ_new();
	GENERAL_NAMES *names = general_names(spec->sans);
	STACK_OF(X509_EXTENSION) *exts = sk_X509_EXTENSION_new_null();
	const char *eku = usages(spec->server, spec->client);
	BIO *b = BIO_new(BIO_s_mem());
	bool ok;

	if (sk_GENERAL_NAME_num(names) > 0)
		X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
	if (eku != NULL)
		sk_X509_EXTENSION_push(
			exts, X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, eku));
	ok = X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 &&
	     set_subject(X509_REQ_get_subject_name(r), spec->cn, spec->orgs) &&
	     (sk_X509_EXTENSION_num(exts) <= 0 || X509_REQ_add_extensions(r, exts) == 1) &&
	     X509_REQ_set_pubkey(r, key->pkey) == 1 &&
	     X509_REQ_sign(r, key->pkey, EVP_sha256()) > 0 && PEM_write_bio_X509_REQ(b, r) == 1;
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(r);
	if (!ok) {
		BIO_free(b);
		return x509__fail(e, ERR_INVALID, "cannot make the certificate request");
	}
	x509__drain(b, out);
	return 0;
}

int x509__csr_read(struct str pem, X509_REQ **ret, struct err *e)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);

	BIO_free(b);
	if (r == NULL)
		return x509__fail(e, ERR_INVALID, "cannot read the certificate request");
	if (X509_REQ_get0_pubkey(r) == NULL || X509_REQ_verify(r, X509_REQ_get0_pubkey(r)) != 1) {
		X509_REQ_free(r);
		return x509__fail(e, ERR_INVALID, "the certificate request's signature is wrong");
	}
	*ret = r;
	return 0;
}

int x509_csr_sign(struct str csr_pem, const struct x509_spec *spec, const struct x509_cert *ca,
	const struct x509_key *ca_key, struct x509_cert **ret, struct err *e)
{
	static const struct x509_spec both = {.days = 365, .server = true, .client = true};
	STACK_OF(X509_EXTENSION) * exts;
	GENERAL_NAMES *names;
	X509_REQ *r;
	int rv = x509__csr_read(csr_pem, &r, e);

	if (rv != 0)
		return rv;
	if (spec != NULL) {
		struct x509_key k = {.pkey = X509_REQ_get0_pubkey(r)};

		rv = x509_sign(spec, &k, ca, ca_key, ret, e);
		X509_REQ_free(r);
		return rv;
	}
	exts = X509_REQ_get_extensions(r);
	names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
	rv = sign(&both, X509_REQ_get_subject_name(r), names, X509_REQ_get0_pubkey(r), ca, ca_key,
		ret, e);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	X509_REQ_free(r);
	return rv;
}
