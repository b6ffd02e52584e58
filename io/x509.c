#include "io/x509.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "io/io-priv.h"
#include "io/tls-priv.h"
#include "io/x509-priv.h"

#define MAX_PEM (4 << 20)
/* Clocks of nodes differ a little; a certificate is valid from this long before it was made. */
#define BACKDATE_S 60

static int fail(struct err *e, enum err_code code, const char *what)
{
	char text[128];

	tls__error_text(text, sizeof(text));
	return err_set(e, code, "x509: %s: %s", what, text);
}

/* Append what a memory BIO holds. */
static void drain(BIO *b, struct buf *out)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	if (n > 0)
		buf_add(out, p, (size_t)n);
	BIO_free(b);
}

/* Keys. */

static struct x509_key *wrap_key(EVP_PKEY *p, bool private)
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
		return fail(e, ERR_INTERNAL, "cannot make a key");
	*ret = wrap_key(p, true);
	return 0;
}

int x509_key_new_rsa(unsigned bits, struct x509_key **ret, struct err *e)
{
	EVP_PKEY *p = EVP_RSA_gen(bits);

	if (p == NULL)
		return fail(e, ERR_INTERNAL, "cannot make a key");
	*ret = wrap_key(p, true);
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
	*ret = wrap_key(p, private);
	return 0;
}

int x509_key_load(const char *path, struct x509_key **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = file_get(path, MAX_PEM, &b, e);

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
		return fail(e, ERR_INVALID, "cannot write the private key");
	}
	drain(b, out);
	return 0;
}

int x509_key_public_pem(const struct x509_key *k, struct buf *out, struct err *e)
{
	BIO *b = BIO_new(BIO_s_mem());

	if (PEM_write_bio_PUBKEY(b, k->pkey) != 1) {
		BIO_free(b);
		return fail(e, ERR_INVALID, "cannot write the public key");
	}
	drain(b, out);
	return 0;
}

int x509_key_public_der(const struct x509_key *k, struct buf *out, struct err *e)
{
	unsigned char *p = NULL;
	int n = i2d_PUBKEY(k->pkey, &p);

	if (n <= 0)
		return fail(e, ERR_INVALID, "cannot write the public key");
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
		return fail(e, ERR_INVALID, "cannot read the key's numbers");
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
		return fail(e, ERR_INVALID, "these numbers are no public key");
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

/* Certificates. */

static struct x509_cert *wrap_cert(X509 *x)
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
		return fail(e, ERR_INVALID, "cannot read the certificate");
	*ret = wrap_cert(x);
	return 0;
}

int x509_cert_from_der(struct str der, struct x509_cert **ret, struct err *e)
{
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *x = d2i_X509(NULL, &p, (long)der.n);

	if (x == NULL)
		return fail(e, ERR_INVALID, "cannot read the certificate");
	*ret = wrap_cert(x);
	return 0;
}

int x509_cert_load(const char *path, struct x509_cert **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	int rv = file_get(path, MAX_PEM, &b, e);

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
		return fail(e, ERR_INTERNAL, "cannot write the certificate");
	}
	drain(b, out);
	return 0;
}

int x509_cert_to_der(const struct x509_cert *c, struct buf *out, struct err *e)
{
	unsigned char *p = NULL;
	int n = i2d_X509(c->x509, &p);

	if (n <= 0)
		return fail(e, ERR_INTERNAL, "cannot write the certificate");
	buf_add(out, p, (size_t)n);
	OPENSSL_free(p);
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

/* Making. */

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
		return fail(e, ERR_INTERNAL, "cannot make the CA's certificate");
	}
	*ret = wrap_cert(x);
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
		return fail(e, ERR_INTERNAL, "cannot cross-sign the CA");
	}
	*ret = wrap_cert(x);
	return 0;
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
		return fail(e, ERR_INTERNAL, "cannot sign the certificate");
	}
	*ret = wrap_cert(x);
	return 0;
}

int x509_sign(const struct x509_spec *spec, const struct x509_key *key, const struct x509_cert *ca,
	const struct x509_key *ca_key, struct x509_cert **ret, struct err *e)
{
	X509_NAME *subject = X509_NAME_new();
	GENERAL_NAMES *names = general_names(spec->sans);
	int rv;

	if (!set_subject(subject, spec->cn, spec->orgs))
		rv = fail(e, ERR_INVALID, "bad subject");
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
		return fail(e, ERR_INVALID, "cannot make the certificate request");
	}
	drain(b, out);
	return 0;
}

int x509__csr_read(struct str pem, X509_REQ **ret, struct err *e)
{
	BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);

	BIO_free(b);
	if (r == NULL)
		return fail(e, ERR_INVALID, "cannot read the certificate request");
	if (X509_REQ_get0_pubkey(r) == NULL || X509_REQ_verify(r, X509_REQ_get0_pubkey(r)) != 1) {
		X509_REQ_free(r);
		return fail(e, ERR_INVALID, "the certificate request's signature is wrong");
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
		return fail(e, ERR_INVALID, "cannot read the certificate's key");
	x509_sha256(str_of(p, (size_t)n), sum);
	OPENSSL_free(p);
	memcpy(out, "sha256:", 7);
	for (unsigned i = 0; i < 32; i++)
		snprintf(out + 7 + 2 * i, 3, "%02x", sum[i]);
	return 0;
}
