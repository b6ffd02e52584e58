#include "io/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/obj.h"
#include "base/util.h"
#include "io/io-priv.h"
#include "io/tls-priv.h"

/* A file of certificates larger than this is a mistake. */
#define MAX_PEM (4 << 20)

struct tls_ctx {
	struct ref ref;
	bool server;
	pthread_mutex_t mutex; /* guards ssl, which tls_ctx_reload swaps */
	SSL_CTX *ssl;
};

const char *tls__error_text(char *buf, size_t size)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	snprintf(buf, size, "%s",
		reason ? reason
		: code ? "unknown OpenSSL error"
		       : "no reason given");
	ERR_clear_error();
	return buf;
}

static int fail(struct err *e, const char *what)
{
	char text[128];

	return err_set(e, ERR_INVALID, "tls: %s: %s", what, tls__error_text(text, sizeof(text)));
}

/* ALPN lists go as length-prefixed names. */

struct alpn {
	uint8_t n;
	uint8_t p[63];
};

static int alpn_index(void);

static int alpn_encode(const char *list, struct alpn *ret, struct err *e)
{
	struct str rest = str_from(list), one;

	ret->n = 0;
	while (!str_empty(rest)) {
		str_cut(rest, ',', &one, &rest);
		if (one.n == 0 || ret->n + 1 + one.n > sizeof(ret->p))
			return err_set(e, ERR_INVALID, "tls: bad ALPN list \"%s\"", list);
		ret->p[ret->n++] = (uint8_t)one.n;
		memcpy(ret->p + ret->n, one.p, one.n);
		ret->n = (uint8_t)(ret->n + one.n);
	}
	return 0;
}

/* The server's order decides. A client that offers only other protocols is refused (RFC 7301,
 * section 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
	const unsigned char *in, unsigned in_n, void *arg)
{
	const struct alpn *ours = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), alpn_index());

	for (unsigned i = 0; ours != NULL && i < ours->n; i += 1u + ours->p[i])
		for (unsigned j = 0; j < in_n && j + 1u + in[j] <= in_n; j += 1u + in[j])
			if (ours->p[i] == in[j] &&
				memcmp(ours->p + i + 1, in + j + 1, in[j]) == 0) {
				*out = in + j + 1;
				*out_n = in[j];
				return SSL_TLSEXT_ERR_OK;
			}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void free_alpn(void *parent, void *p, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	free(p);
}

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int alpn_idx, failed_idx;

static void make_indexes(void)
{
	alpn_idx = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_alpn);
	failed_idx = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	ASSERT(alpn_idx >= 0 && failed_idx >= 0);
}

static int alpn_index(void)
{
	pthread_once(&index_once, make_indexes);
	return alpn_idx;
}

/* A bad client certificate does not end the handshake: who serves answers 401 instead, which says
 * more than an alert. */
static int verify_optional(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (!ok)
		SSL_set_ex_data(ssl, failed_idx, (void *)"failed");
	return 1;
}

bool tls__verify_failed(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, failed_idx) != NULL;
}

/* Contents. */

static int load_identity(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	BIO *b = BIO_new_mem_buf(c->cert_pem.p, (int)c->cert_pem.n);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	EVP_PKEY *key = NULL;
	int rv = 0;

	if (x == NULL || SSL_CTX_use_certificate(ctx, x) != 1)
		rv = fail(e, "cannot read the certificate");
	X509_free(x);
	while (rv == 0 && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			rv = fail(e, "cannot use the certificate's chain");
		}
	ERR_clear_error();
	BIO_free(b);
	if (rv != 0)
		return rv;
	b = BIO_new_mem_buf(c->key_pem.p, (int)c->key_pem.n);
	key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	BIO_free(b);
	if (key == NULL)
		return fail(e, "cannot read the private key");
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		rv = fail(e, "the private key does not belong to the certificate");
	EVP_PKEY_free(key);
	return rv;
}

static int load_cas(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	BIO *b = BIO_new_mem_buf(c->ca_pem.p, (int)c->ca_pem.n);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	unsigned n = 0;
	X509 *x;

	while ((x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		X509_STORE_add_cert(store, x);
		if (c->server)
			SSL_CTX_add_client_CA(ctx, x);
		X509_free(x);
		n++;
	}
	ERR_clear_error();
	BIO_free(b);
	if (n == 0)
		return err_set(e, ERR_INVALID,
			"tls: no CA certificate in the PEM text of %zu bytes", c->ca_pem.n);
	/* Each certificate of the pool is trusted, also an intermediate one without its root. */
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

/* The list of another issuer than the certificate's says nothing about it. */
static int verify_with_lists(int ok, X509_STORE_CTX *store)
{
	if (!ok && X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL) {
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	}
	return ok;
}

static int load_lists(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	BIO *b = BIO_new_mem_buf(c->crl.p, (int)c->crl.n);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	const unsigned char *der = (const unsigned char *)c->crl.p;
	unsigned n = 0;
	X509_CRL *l;

	for (; (l = PEM_read_bio_X509_CRL(b, NULL, NULL, NULL)) != NULL; n++) {
		X509_STORE_add_crl(store, l);
		X509_CRL_free(l);
	}
	if (n == 0 && (l = d2i_X509_CRL(NULL, &der, (long)c->crl.n)) != NULL) {
		X509_STORE_add_crl(store, l);
		X509_CRL_free(l);
		n++;
	}
	ERR_clear_error();
	BIO_free(b);
	if (n == 0)
		return err_set(e, ERR_INVALID, "tls: there is no revocation list in the %zu bytes", c->crl.n);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

static int set_hosts(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	for (size_t i = 0; c->hosts[i]; i++)
		if (X509_VERIFY_PARAM_set1_ip_asc(param, c->hosts[i]) != 1 && X509_VERIFY_PARAM_add1_host(param, c->hosts[i], 0) != 1)
			return err_set(e, ERR_INVALID, "tls: \"%s\" is no host name", c->hosts[i]);
	ERR_clear_error();
	return 0;
}

static int set_protocol(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	SSL_CTX_set_min_proto_version(ctx, c->min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	if (c->max_version)
		SSL_CTX_set_max_proto_version(ctx, c->max_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
	if (SSL_CTX_set_cipher_list(ctx, c->ciphers ? c->ciphers : "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
		return fail(e, "none of the ciphers can be had");
	if (c->suites && SSL_CTX_set_ciphersuites(ctx, c->suites) != 1)
		return fail(e, "none of the ciphers of TLS 1.3 can be had");
	return 0;
}

const char *tls_cipher_name(const char *iana, bool *ret_tls13)
{
	const char *name = OPENSSL_cipher_name(iana);

	*ret_tls13 = strncmp(name, "TLS_", 4) == 0;
	return strcmp(name, "(NONE)") == 0 ? NULL : name;
}

static int set_verify(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	enum tls_verify v = c->verify;
	int rv = 0;

	if (v == TLS_VERIFY_DEFAULT)
		v = c->server ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED;
	if (!str_empty(c->ca_pem))
		rv = load_cas(ctx, c, e);
	else if (!c->server && v != TLS_VERIFY_NONE)
		SSL_CTX_set_default_verify_paths(ctx);
	else if (c->server && v != TLS_VERIFY_NONE)
		rv = err_set(
			e, ERR_INVALID, "tls: client certificates cannot be verified without a CA");
	if (v == TLS_VERIFY_NONE)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	else if (v == TLS_VERIFY_OPTIONAL)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verify_optional);
	else
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			str_empty(c->crl) ? NULL : verify_with_lists);
	if (rv == 0 && !str_empty(c->crl))
		rv = load_lists(ctx, c, e);
	if (rv == 0 && c->hosts)
		rv = set_hosts(ctx, c, e);
	return rv;
}

static int set_alpn(SSL_CTX *ctx, const struct tls_config *c, struct err *e)
{
	struct alpn a;
	int rv;

	if (c->alpn == NULL)
		return 0;
	rv = alpn_encode(c->alpn, &a, e);
	if (rv != 0)
		return rv;
	if (!c->server)
		return SSL_CTX_set_alpn_protos(ctx, a.p, a.n) == 0 ? 0 : fail(e, "ALPN");
	SSL_CTX_set_ex_data(ctx, alpn_index(), memcpy(xmalloc(sizeof(a)), &a, sizeof(a)));
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	return 0;
}

static int build(const struct tls_config *c, SSL_CTX **ret, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
	int rv = 0;

	ASSERT(ctx != NULL);
	alpn_index();
	SSL_CTX_set_options(
		ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	rv = set_protocol(ctx, c, e);
	if (rv != 0)
		goto out;
	if (!str_empty(c->cert_pem))
		rv = load_identity(ctx, c, e);
	else if (c->server)
		rv = err_set(e, ERR_INVALID, "tls: a server needs a certificate");
	if (rv == 0)
		rv = set_verify(ctx, c, e);
	if (rv == 0)
		rv = set_alpn(ctx, c, e);
out:
	if (rv != 0) {
		SSL_CTX_free(ctx);
		return rv;
	}
	*ret = ctx;
	return 0;
}

void tls__set_alpn(SSL *ssl, const char *list)
{
	struct alpn a;

	if (alpn_encode(list, &a, NULL) == 0)
		SSL_set_alpn_protos(ssl, a.p, a.n);
}

int tls_ctx_new(const struct tls_config *c, struct tls_ctx **ret, struct err *e)
{
	SSL_CTX *ssl;
	struct tls_ctx *t;
	int rv = build(c, &ssl, e);

	if (rv != 0)
		return rv;
	t = xcalloc(1, sizeof(*t));
	ref_init(&t->ref);
	pthread_mutex_init(&t->mutex, NULL);
	t->server = c->server;
	t->ssl = ssl;
	*ret = t;
	return 0;
}

int tls_ctx_reload(struct tls_ctx *t, const struct tls_config *c, struct err *e)
{
	SSL_CTX *ssl, *old;
	int rv;

	ASSERT(t->server == c->server);
	rv = build(c, &ssl, e);
	if (rv != 0)
		return rv;
	pthread_mutex_lock(&t->mutex);
	old = t->ssl;
	t->ssl = ssl;
	pthread_mutex_unlock(&t->mutex);
	SSL_CTX_free(old); /* connections hold references */
	return 0;
}

SSL *tls__ssl_new(struct tls_ctx *t)
{
	SSL *s;

	pthread_mutex_lock(&t->mutex);
	s = SSL_new(t->ssl);
	pthread_mutex_unlock(&t->mutex);
	ASSERT(s != NULL);
	return s;
}

bool tls__is_server(const struct tls_ctx *t)
{
	return t->server;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *t)
{
	if (t != NULL)
		ref_get(&t->ref);
	return t;
}

void tls_ctx_unref(struct tls_ctx *t)
{
	if (t == NULL || !ref_put(&t->ref))
		return;
	SSL_CTX_free(t->ssl);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

/* From files. */

struct pem_files {
	struct buf cert, key, ca, crl;
	struct tls_config c;
};

static int files_read(const struct tls_config *c, const char *cert, const char *key, const char *ca,
	struct pem_files *f, struct err *e)
{
	int rv = 0;

	memset(f, 0, sizeof(*f));
	f->c = *c;
	if (cert != NULL)
		rv = file_get(cert, MAX_PEM, &f->cert, e);
	if (rv == 0 && key != NULL)
		rv = file_get(key, MAX_PEM, &f->key, e);
	if (rv == 0 && ca != NULL)
		rv = file_get(ca, MAX_PEM, &f->ca, e);
	if (rv == 0 && c->crl_path != NULL)
		rv = file_get(c->crl_path, MAX_PEM, &f->crl, e);
	f->c.cert_pem = buf_str(&f->cert);
	f->c.key_pem = buf_str(&f->key);
	f->c.ca_pem = buf_str(&f->ca);
	f->c.crl = buf_str(&f->crl);
	return rv;
}

static void files_fini(struct pem_files *f)
{
	OPENSSL_cleanse(f->key.p, f->key.n);
	buf_fini(&f->cert);
	buf_fini(&f->key);
	buf_fini(&f->ca);
	buf_fini(&f->crl);
}

int tls_ctx_new_files(const struct tls_config *c, const char *cert, const char *key, const char *ca,
	struct tls_ctx **ret, struct err *e)
{
	struct pem_files f;
	int rv = files_read(c, cert, key, ca, &f, e);

	if (rv == 0)
		rv = tls_ctx_new(&f.c, ret, e);
	files_fini(&f);
	return rv;
}

int tls_ctx_reload_files(struct tls_ctx *t, const struct tls_config *c, const char *cert,
	const char *key, const char *ca, struct err *e)
{
	struct pem_files f;
	int rv = files_read(c, cert, key, ca, &f, e);

	if (rv == 0)
		rv = tls_ctx_reload(t, &f.c, e);
	files_fini(&f);
	return rv;
}
