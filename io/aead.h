/*
 * Authenticated encryption: AES-GCM (NIST SP 800-38D) with a random nonce of 96 bits and a tag of 128, by OpenSSL. Synchronous,
 * no state; any thread.
 *
 *	aead_seal(key, aad, plain, &out);       out: nonce, ciphertext, tag
 *	aead_open(key, aad, sealed, &out)       false: another key, other data, or tampered with
 *
 * The key has 16, 24 or 32 bytes. One key must not seal more than 2^32 messages; change keys well before.
 */
#ifndef IO_AEAD_H
#define IO_AEAD_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

#define AEAD_NONCE 12
#define AEAD_TAG 16
#define AEAD_OVERHEAD (AEAD_NONCE + AEAD_TAG)

bool aead_key_valid(struct str key);
/* Appended to out. */
void aead_seal(struct str key, struct str aad, struct str plain, struct buf *out);
bool aead_open(struct str key, struct str aad, struct str sealed, struct buf *out);

#endif
