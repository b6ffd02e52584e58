/* Signatures of tokens: every algorithm, the RFC's own example, and what must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/util.h"
#include "io/jws.h"

static struct str take(struct arena *a, BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	struct str s = arena_str(a, str_of(p, (size_t)n));

	BIO_free(b);
	return s;
}

static void pems(struct arena *a, EVP_PKEY *key, struct str *private, struct str *public)
{
	BIO *b = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL), 1);
	*private = take(a, b);
	b = BIO_new(BIO_s_mem());
	assert_int_equal(PEM_write_bio_PUBKEY(b, key), 1);
	*public = take(a, b);
	EVP_PKEY_free(key);
}

static void make(struct arena *a, const char *alg, struct str *private, struct str *public)
{
	if (alg[0] == 'H') {
		*private = *public = STR("a secret that both know");
		return;
	}
	pems(a, alg[0] == 'R' || alg[0] == 'P' ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
		: alg[1] == 'S'			? EVP_PKEY_Q_keygen(NULL, NULL, "EC", strcmp(alg, "ES256") == 0 ? "P-256" : strcmp(alg, "ES384") == 0 ? "P-384" : "P-521")
						: EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
			private, public);
}

static struct jws_key *key_of(const char *alg, struct str private, struct str public)
{
	struct err e = ERR_INIT;
	struct jws_key *k = NULL;

	if (jws_key_new(alg, private, public, &k, &e) != 0)
		fail_msg("%s: %s", alg, e.text);
	return k;
}

/* One signature in 256 begins with a zero byte; as a number it is the same without it. */
static void test_zero_is_not_left_out(void **state _unused_)
{
	struct str private, public, token;
	struct err e = ERR_INIT;
	struct jws_key *key;
	struct jws parts;
	struct arena a;

	arena_init(&a);
	make(&a, "PS256", &private, &public);
	key = key_of("PS256", private, STR_NULL);
	do {
		assert_int_equal(jws_make(&a, key, STR("{}"), STR("a body"), &token, &e), 0);
		assert_true(jws_parse(&a, token, &parts));
	} while (parts.signature.p[0] != 0);
	assert_int_equal(jws_key_verify(key, parts.signed_part, parts.signature, &e), 0);
	assert_int_equal(jws_key_verify(key, parts.signed_part, str_skip(parts.signature, 1), &e), -(int)ERR_UNAUTHORIZED);
	jws_key_free(key);
	arena_fini(&a);
}

static void test_all(void **state _unused_)
{
	static const char *const algs[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
			"ES256", "ES384", "ES512", "EdDSA"};

	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		struct jws_key *signs, *checks, *other;
		struct str private, public, token;
		struct err e = ERR_INIT;
		struct arena a;
		struct jws parts;

		arena_init(&a);
		make(&a, algs[i], &private, &public);
		signs = key_of(algs[i], private, STR_NULL);
		checks = key_of(algs[i], STR_NULL, public);
		assert_string_equal(jws_key_alg(checks), algs[i]);
		assert_true(jws_key_signs(signs));
		assert_int_equal(jws_make(&a, signs, STR("{\"alg\":\"x\"}"), STR("a body"), &token, &e), 0);
		assert_true(jws_parse(&a, token, &parts));
		assert_true(str_eqc(parts.body, "a body"));
		assert_int_equal(jws_key_verify(checks, parts.signed_part, parts.signature, &e), 0);
		assert_int_equal(jws_key_verify(signs, parts.signed_part, parts.signature, &e), 0);
		/* Another body, a shorter signature, another key. */
		assert_int_equal(jws_key_verify(checks, str_sub(parts.signed_part, 0, parts.signed_part.n - 1), parts.signature, &e),
				-(int)ERR_UNAUTHORIZED);
		assert_int_equal(jws_key_verify(checks, parts.signed_part, str_sub(parts.signature, 1, parts.signature.n), &e),
				-(int)ERR_UNAUTHORIZED);
		assert_int_equal(jws_key_verify(checks, parts.signed_part, STR(""), &e), -(int)ERR_UNAUTHORIZED);
		if (algs[i][0] != 'H') {
			struct str foreign, its_public;
			struct buf sig = BUF_INIT;

			assert_false(jws_key_signs(checks));
			assert_int_equal(jws_key_sign(checks, STR("x"), &sig, &e), -(int)ERR_FAILED_PRECONDITION);
			buf_fini(&sig);
			make(&a, algs[i], &foreign, &its_public);
			other = key_of(algs[i], STR_NULL, its_public);
			assert_int_equal(jws_key_verify(other, parts.signed_part, parts.signature, &e), -(int)ERR_UNAUTHORIZED);
			jws_key_free(other);
			assert_int_equal(jws_key_new(algs[i], private, its_public, &other, &e), -(int)ERR_INVALID);
			assert_int_equal(jws_key_new(algs[i], STR("not PEM"), STR_NULL, &other, &e), -(int)ERR_INVALID);
		}
		jws_key_free(signs);
		jws_key_free(checks);
		arena_fini(&a);
	}
}

/* RFC 7515, appendix A.1. */
static void test_example(void **state _unused_)
{
	static const char token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
				    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
				    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
	struct arena a;
	struct jws_key *k;
	struct str secret;
	struct jws parts;
	struct err e;

	arena_init(&a);
	assert_true(jws_base64url_decode(&a, STR("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"), &secret));
	k = key_of("HS256", secret, STR_NULL);
	assert_true(jws_parse(&a, str_from(token), &parts));
	assert_int_equal(jws_key_verify(k, parts.signed_part, parts.signature, &e), 0);
	jws_key_free(k);
	arena_fini(&a);
}

static void test_refused(void **state _unused_)
{
	static const char *const forms[] = {"", ".", "..", "a.b", "YQ.YQ", "YQ.YQ=.YQ", "Y!.YQ.YQ"};
	struct str private, public;
	struct jws_key *k = NULL;
	struct jws parts;
	struct arena a;
	struct err e;

	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (strcmp(forms[i], "..") != 0)
			assert_false(jws_parse(&a, str_from(forms[i]), &parts));
	make(&a, "RS256", &private, &public);
	assert_int_equal(jws_key_new("ES256", private, STR_NULL, &k, &e), -(int)ERR_INVALID);
	assert_int_equal(jws_key_new("EdDSA", private, STR_NULL, &k, &e), -(int)ERR_INVALID);
	assert_int_equal(jws_key_new("none", private, public, &k, &e), -(int)ERR_INVALID);
	assert_int_equal(jws_key_new("RS256", STR_NULL, STR_NULL, &k, &e), -(int)ERR_INVALID);
	make(&a, "ES384", &private, &public);
	assert_int_equal(jws_key_new("ES256", private, STR_NULL, &k, &e), -(int)ERR_INVALID);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_all),
			cmocka_unit_test(test_zero_is_not_left_out),
			cmocka_unit_test(test_example),
			cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
