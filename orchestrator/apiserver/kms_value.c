#include "orchestrator/apiserver/kms_value.h"

#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/aead.h"
#include "io/x509.h"
#include "proto/pb.h"

#define INFO_SIZE 32

Kms__EncryptedObject *kms_object_read(struct arena *a, struct str bytes)
{
	Kms__EncryptedObject *o = pb_unpack(a, &kms__encrypted_object__descriptor, bytes);

	if (!o || o->encrypted_data.len == 0 || o->encrypted_dek_source.len == 0 || o->encrypted_dek_source.len > KMS_MAX_SOURCE ||
			pb_s(o->key_id)[0] == '\0' || strlen(o->key_id) > KMS_MAX_KEY_ID)
		return NULL;
	return o;
}

/* RFC 5869, section 2.3, for one block: the seed is random already, so nothing is extracted. */
static void expand(struct str seed, const uint8_t info[INFO_SIZE], uint8_t key[32])
{
	uint8_t block[INFO_SIZE + 1];

	memcpy(block, info, INFO_SIZE);
	block[INFO_SIZE] = 1;
	x509_hmac_sha256(seed, str_of(block, sizeof(block)), key);
}

void kms_data_seal(struct str seed, struct str aad, struct str plain, struct buf *out)
{
	uint8_t info[INFO_SIZE], key[32];

	random_bytes(info, sizeof(info));
	expand(seed, info, key);
	buf_add(out, info, sizeof(info));
	aead_seal(str_of(key, sizeof(key)), aad, plain, out);
}

bool kms_data_open(const Kms__EncryptedObject *o, struct str source, struct str aad, struct buf *out)
{
	struct str data = str_of(o->encrypted_data.data, o->encrypted_data.len);
	uint8_t key[32];

	switch (o->encrypted_dek_source_type) {
	case KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__AES_GCM_KEY:
		return aead_open(source, aad, data, out);
	case KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__HKDF_SHA256_XNONCE_AES_GCM_SEED:
		if (data.n < INFO_SIZE || source.n < KMS_SEED_SIZE)
			return false;
		expand(source, (const uint8_t *)data.p, key);
		return aead_open(str_of(key, sizeof(key)), aad, str_skip(data, INFO_SIZE), out);
	default:
		return false;
	}
}
