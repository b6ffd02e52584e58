/*
 * A KMS plugin: a process on this machine, reached over a unix socket, that encrypts and decrypts with keys which never leave it
 * (proto/kms.proto, version 2 of the public API). It seals seeds; values are sealed with those (kms_value.h).
 *
 *	            Status, every ten seconds                 another key_id: a new seed
 *	starting --------------------------------> ready <----------------------------------+
 *	                                             | Encrypt(seed) --> the seed in use ----+
 *
 * One loop of its own talks to all plugins. Sealing and opening run on any thread and only use what is there: the seed in use, and the
 * seeds of other servers and other times, which are decrypted once and kept. Who meets an unknown seed waits for the plugin, at most as
 * long as its timeout, and not at all while it does not answer; or, on a thread that hurries, fails at once and tries again a little later.
 * A seed whose plugin has not been well for three minutes seals no more.
 */
#ifndef ORCHESTRATOR_APISERVER_KMS_H
#define ORCHESTRATOR_APISERVER_KMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct kms;

#define KMS_DEFAULT_TIMEOUT_MS 3000

/* "unix:///run/kms.sock" to an address of io/; the address in the arena. */
int kms_endpoint_parse(struct arena *, struct str endpoint, const char **ret_address, struct err *);

/* The plugin of that name and address; begun when it is new, else asked at once how it is. Lives until kms_stop_all. One thread at a time. */
int kms_get(struct str name, const char *address, unsigned timeout_ms, struct kms **ret, struct err *);
/* Ends the loop and all plugins; nobody may use one any more. */
void kms_stop_all(void);

/* The sealed form (EncryptedObject), appended. ERR_UNAVAILABLE, with the reason: nothing was appended. */
int kms_seal(struct kms *, struct str aad, struct str plain, struct buf *out, struct err *);
bool kms_open(struct kms *, struct str aad, struct str sealed, struct buf *out);
/* False: its seed is being asked for, and will be known or not within the plugin's timeout. */
bool kms_ready(struct kms *, struct str sealed);
/* See crypt_hurry and crypt_missed. */
bool kms_hurry(bool on);
bool kms_missed(void);
/* Sealed under another key than the plugin would use now. */
bool kms_is_stale(struct kms *, struct str sealed);
/* Well, as of its last answer; 0 or the reason. */
int kms_health(struct kms *, struct err *);
/* The key in use, for people; empty: none. In the arena. */
struct str kms_key_id(struct kms *, struct arena *);

#endif
