#include "tests/unit/io/iotest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void info_says_what_was_signed(void **state)
{
	struct arena a;
	struct x509_info i;

	arena_init(&a);
	assert_int_equal(x509_info_from_pem(buf_str(&pki.client_cert), &a, &i, NULL), 0);
	assert_true(str_eqc(i.cn, "system:node:n1"));
	assert_int_equal(i.n_orgs, 2);
	assert_true(str_eqc(i.orgs[0], "system:nodes"));
	assert_true(str_eqc(i.orgs[1], "others"));
	assert_true(i.client_auth && !i.server_auth && !i.is_ca);
	assert_true(i.serial.n == 32 && i.der.n > 100);
	assert_int_equal(x509_info_from_pem(buf_str(&pki.server_cert), &a, &i, NULL), 0);
	assert_int_equal(i.n_dns, 1);
	assert_true(str_eqc(i.dns[0], "localhost"));
	assert_int_equal(i.n_ips, 1);
	assert_true(str_eqc(i.ips[0], "127.0.0.1"));
	assert_int_equal(x509_info_from_pem(buf_str(&pki.ca), &a, &i, NULL), 0);
	assert_true(i.is_ca && i.usage_cert_sign);
	assert_int_not_equal(x509_info_from_pem(STR("nothing"), &a, &i, NULL), 0);
	arena_fini(&a);
}

static void verify_tells_cas_apart(void **state)
{
	struct x509_cert *c;
	struct err e;

	assert_int_equal(x509_cert_from_pem(buf_str(&pki.client_cert), &c, NULL), 0);
	assert_int_equal(x509_verify(c, buf_str(&pki.ca), &e), 0);
	x509_cert_free(c);
	assert_int_equal(x509_cert_from_pem(buf_str(&pki.other_cert), &c, NULL), 0);
	assert_int_equal(x509_verify(c, buf_str(&pki.ca), &e), -ERR_UNAUTHORIZED);
	x509_cert_free(c);
}

static void csr_is_signed_with_its_own_subject(void **state)
{
	static const char *const orgs[] = {"system:nodes", NULL}, *const sans[] = {"n1", "fd00::1",
									  "URI:spiffe://x", NULL};
	struct x509_spec spec = {.cn = "system:node:x", .orgs = orgs, .sans = sans, .client = true};
	struct x509_key *ca_key, *key;
	struct x509_cert *ca, *cert;
	struct buf csr = BUF_INIT;
	struct x509_info i;
	struct arena a;

	arena_init(&a);
	x509_key_new(&ca_key, NULL);
	x509_ca_new("ca", 2, ca_key, &ca, NULL);
	x509_key_new(&key, NULL);
	assert_int_equal(x509_csr_new(&spec, key, &csr, NULL), 0);
	assert_int_equal(x509_info_from_csr(buf_str(&csr), &a, &i, NULL), 0);
	assert_true(str_eqc(i.cn, "system:node:x") && i.client_auth && !i.server_auth);
	assert_true(str_eqc(i.subject, "CN=system:node:x,O=system:nodes"));
	assert_int_equal(x509_csr_sign(buf_str(&csr), NULL, ca, ca_key, &cert, NULL), 0);
	assert_true(x509_cert_matches(cert, key));
	x509_info_of(cert, &a, &i, NULL);
	assert_true(str_eqc(i.orgs[0], "system:nodes"));
	assert_true(str_eqc(i.dns[0], "n1") && str_eqc(i.ips[0], "fd00::1") &&
		    str_eqc(i.uris[0], "spiffe://x"));
	/* 365 days were asked for, but the CA has two. */
	assert_true(i.not_after <= clock_wall_s() + 2 * 86400);
	x509_cert_free(cert);
	/* A changed request is refused. */
	csr.p[csr.n / 2] = csr.p[csr.n / 2] == 'A' ? 'B' : 'A';
	assert_int_not_equal(x509_csr_sign(buf_str(&csr), NULL, ca, ca_key, &cert, NULL), 0);
	buf_fini(&csr);
	x509_key_free(key);
	x509_key_free(ca_key);
	x509_cert_free(ca);
	arena_fini(&a);
}

static void check_jws(struct x509_key *k, const char *alg, size_t size)
{
	struct buf sig = BUF_INIT, pem = BUF_INIT;
	struct x509_key *pub;

	assert_string_equal(x509_jws_alg(k), alg);
	assert_int_equal(x509_jws_sign(k, STR("header.payload"), &sig, NULL), 0);
	assert_int_equal(sig.n, size);
	x509_key_public_pem(k, &pem, NULL);
	assert_int_equal(x509_key_from_pem(buf_str(&pem), &pub, NULL), 0);
	assert_false(x509_key_is_private(pub));
	assert_int_equal(x509_jws_verify(pub, alg, STR("header.payload"), buf_str(&sig), NULL), 0);
	assert_int_equal(x509_jws_verify(pub, alg, STR("header.payloae"), buf_str(&sig), NULL),
		-ERR_UNAUTHORIZED);
	assert_int_equal(x509_jws_verify(pub, "none", STR("header.payload"), buf_str(&sig), NULL),
		-ERR_UNAUTHORIZED);
	sig.p[5] ^= 1;
	assert_int_equal(x509_jws_verify(pub, alg, STR("header.payload"), buf_str(&sig), NULL),
		-ERR_UNAUTHORIZED);
	assert_int_not_equal(x509_jws_sign(pub, STR("x"), &sig, NULL), 0);
	buf_fini(&sig);
	buf_fini(&pem);
	x509_key_free(pub);
}

static void jws_signatures(void **state)
{
	struct x509_key *ec, *rsa;
	struct buf x = BUF_INIT, y = BUF_INIT;

	x509_key_new(&ec, NULL);
	check_jws(ec, "ES256", 64);
	assert_int_equal(x509_key_jwk(ec, &x, &y, NULL), 0);
	assert_true(x.n == 32 && y.n == 32);
	x509_key_new_rsa(2048, &rsa, NULL);
	check_jws(rsa, "RS256", 256);
	buf_fini(&x);
	buf_fini(&y);
	x509_key_free(ec);
	x509_key_free(rsa);
}

static void files_have_the_right_modes(void **state)
{
	char dir[] = "/tmp/io-x509-XXXXXX", path[64];
	struct x509_key *k, *k2;
	struct x509_cert *c;
	char hash[X509_SPKI_HASH_SIZE];
	struct stat st;
	struct err e;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/key", dir);
	x509_key_new(&k, NULL);
	assert_int_equal(x509_key_save(k, path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(x509_key_load(path, &k2, NULL), 0);
	x509_ca_new("x", 1, k, &c, NULL);
	assert_true(x509_cert_matches(c, k2));
	x509_spki_hash(c, hash, NULL);
	assert_true(strlen(hash) == 71 && strncmp(hash, "sha256:", 7) == 0);
	assert_int_not_equal(x509_key_load("/nonexistent/key", &k2, &e), 0);
	x509_key_free(k2);
	x509_key_free(k);
	x509_cert_free(c);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(info_says_what_was_signed),
		cmocka_unit_test(verify_tells_cas_apart),
		cmocka_unit_test(csr_is_signed_with_its_own_subject),
		cmocka_unit_test(jws_signatures),
		cmocka_unit_test(files_have_the_right_modes),
	};

	return cmocka_run_group_tests(tests, iotest_setup, iotest_teardown);
}
