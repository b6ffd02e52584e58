#include "io/aead.h"

#include <limits.h>
#include <openssl/evp.h>

#include "base/clock.h"
#include "base/util.h"

static const EVP_CIPHER *cipher(size_t key_size)
{
	return key_size == 16 ? EVP_aes_128_gcm() : key_size == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm();
}

bool aead_key_valid(struct str key)
{
	return key.n == 16 || key.n == 24 || key.n == 32;
}

static const unsigned char *bytes(struct str s)
{
	return (const unsigned char *)s.p;
}

void aead_seal(struct str key, struct str aad, struct str plain, struct buf *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	unsigned char *to, *nonce;
	int n = 0, ok;

	ASSERT(c && aead_key_valid(key) && plain.n < INT_MAX && aad.n < INT_MAX);
	to = (unsigned char *)buf_reserve(out, plain.n + AEAD_OVERHEAD);
	ASSERT(to);
	nonce = to;
	random_bytes(nonce, AEAD_NONCE);
	to += AEAD_NONCE;
	ok = EVP_EncryptInit_ex(c, cipher(key.n), NULL, bytes(key), nonce) == 1 &&
	     EVP_EncryptUpdate(c, NULL, &n, bytes(aad), (int)aad.n) == 1 &&
	     EVP_EncryptUpdate(c, to, &n, bytes(plain), (int)plain.n) == 1 && EVP_EncryptFinal_ex(c, to + n, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, AEAD_TAG, to + plain.n) == 1;
	EVP_CIPHER_CTX_free(c);
	/* With a valid key it fails only for want of memory. */
	ASSERT(ok);
	buf_advance(out, plain.n + AEAD_OVERHEAD);
}

bool aead_open(struct str key, struct str aad, struct str sealed, struct buf *out)
{
	EVP_CIPHER_CTX *c;
	unsigned char *to, tag[AEAD_TAG];
	size_t size;
	int n = 0;
	bool ok;

	if (sealed.n < AEAD_OVERHEAD || sealed.n > INT_MAX || !aead_key_valid(key))
		return false;
	size = sealed.n - AEAD_OVERHEAD;
	to = (unsigned char *)buf_reserve(out, size + 1);
	if (!to)
		return false;
	c = EVP_CIPHER_CTX_new();
	ASSERT(c);
	memcpy(tag, sealed.p + AEAD_NONCE + size, AEAD_TAG);
	ok = EVP_DecryptInit_ex(c, cipher(key.n), NULL, bytes(key), bytes(sealed)) == 1 &&
	     EVP_DecryptUpdate(c, NULL, &n, bytes(aad), (int)aad.n) == 1 &&
	     EVP_DecryptUpdate(c, to, &n, bytes(sealed) + AEAD_NONCE, (int)size) == 1 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, AEAD_TAG, tag) == 1 && EVP_DecryptFinal_ex(c, to + n, &n) == 1;
	EVP_CIPHER_CTX_free(c);
	if (ok)
		buf_advance(out, size);
	return ok;
}
