#include "tests/unit/io/iotest.h"

struct iotest_pki pki;
struct loop *loop;

static void iotest_identity(const struct x509_spec *spec, struct x509_cert *ca,
	struct x509_key *ca_key, struct buf *cert, struct buf *key)
{
	struct x509_key *k;
	struct x509_cert *c;

	*cert = *key = (struct buf)BUF_INIT;
	assert_int_equal(x509_key_new(&k, NULL), 0);
	assert_int_equal(x509_sign(spec, k, ca, ca_key, &c, NULL), 0);
	assert_int_equal(x509_cert_to_pem(c, cert, NULL), 0);
	assert_int_equal(x509_key_to_pem(k, key, NULL), 0);
	x509_key_free(k);
	x509_cert_free(c);
}

static void iotest_pki_init(struct iotest_pki *p)
{
	static const char *const sans[] = {"localhost", "127.0.0.1", NULL};
	static const char *const orgs[] = {"system:nodes", "others", NULL};
	struct x509_spec server = {.cn = "server", .sans = sans, .days = 1, .server = true};
	struct x509_spec client = {.cn = "system:node:n1", .orgs = orgs, .days = 1, .client = true};
	struct x509_key *ca_key;
	struct x509_cert *ca;

	for (int other = 0; other < 2; other++) {
		assert_int_equal(x509_key_new(&ca_key, NULL), 0);
		assert_int_equal(
			x509_ca_new(other ? "other-ca" : "test-ca", 10, ca_key, &ca, NULL), 0);
		if (other) {
			iotest_identity(&client, ca, ca_key, &p->other_cert, &p->other_key);
		} else {
			p->ca = (struct buf)BUF_INIT;
			x509_cert_to_pem(ca, &p->ca, NULL);
			iotest_identity(&server, ca, ca_key, &p->server_cert, &p->server_key);
			iotest_identity(&client, ca, ca_key, &p->client_cert, &p->client_key);
		}
		x509_key_free(ca_key);
		x509_cert_free(ca);
	}
}

static void iotest_pki_fini(struct iotest_pki *p)
{
	buf_fini(&p->ca);
	buf_fini(&p->server_cert);
	buf_fini(&p->server_key);
	buf_fini(&p->client_cert);
	buf_fini(&p->client_key);
	buf_fini(&p->other_cert);
	buf_fini(&p->other_key);
}

struct tls_ctx *iotest_server_tls(
	struct iotest_pki *p, enum tls_verify v, const char *alpn)
{
	struct tls_config c = {.server = true,
		.cert_pem = buf_str(&p->server_cert),
		.key_pem = buf_str(&p->server_key),
		.ca_pem = buf_str(&p->ca),
		.verify = v,
		.alpn = alpn};
	struct tls_ctx *t;
	struct err e = ERR_INIT;

	if (tls_ctx_new(&c, &t, &e) != 0)
		fail_msg("%s", e.text);
	return t;
}

struct tls_ctx *iotest_client_tls(
	struct iotest_pki *p, enum iotest_who who, const char *alpn)
{
	struct tls_config c = {.ca_pem = buf_str(&p->ca), .alpn = alpn};
	struct tls_ctx *t;
	struct err e = ERR_INIT;

	if (who != NOBODY) {
		c.cert_pem = buf_str(who == CLIENT ? &p->client_cert : &p->other_cert);
		c.key_pem = buf_str(who == CLIENT ? &p->client_key : &p->other_key);
	}
	if (tls_ctx_new(&c, &t, &e) != 0)
		fail_msg("%s", e.text);
	return t;
}

int iotest_setup(void **state)
{
	(void)state;
	iotest_pki_init(&pki);
	loop = loop_new("test");
	return 0;
}

int iotest_teardown(void **state)
{
	(void)state;
	iotest_pki_fini(&pki);
	loop_free(loop);
	return 0;
}
