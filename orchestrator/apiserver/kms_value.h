/*
 * A value that was sealed with a KMS plugin's help (kms.h): its form and its cipher. Pure; any thread.
 *
 * The plugin is asked once for a seed, not for each value: a value's own key is HKDF-Expand(SHA-256, seed, 32 random bytes), and the value
 * is AES-GCM under that, bound to where it lies. So values are as cheap as with a local key, and one seed may seal any number of
 * them. Older values may have been sealed with a key that was made for one value.
 */
#ifndef ORCHESTRATOR_APISERVER_KMS_VALUE_H
#define ORCHESTRATOR_APISERVER_KMS_VALUE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "proto/kms.pb-c.h"

#define KMS_SEED_SIZE 32
#define KMS_MAX_KEY_ID 1024
#define KMS_MAX_SOURCE 1024

/* NULL when it is none, or exceeds the limits of the API. */
Kms__EncryptedObject *kms_object_read(struct arena *, struct str bytes);

/* The data of an object under a seed: 32 random bytes, then what AES-GCM makes; appended. */
void kms_data_seal(struct str seed, struct str aad, struct str plain, struct buf *out);
/* Under what its source was: a seed or a key. False: another one, another place, or tampered with. */
bool kms_data_open(const Kms__EncryptedObject *, struct str source, struct str aad, struct buf *out);

#endif
