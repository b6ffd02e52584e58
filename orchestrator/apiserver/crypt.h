/*
 * Encryption at rest: values of chosen resources are sealed with AES-GCM before they enter the store, and opened when they are read.
 * What is stored is kube-apiserver's form, `k8s:enc:aesgcm:v1:NAME:` and the sealed value, bound to its key, so that one
 * value cannot be passed off as another's.
 *
 * Or with a KMS plugin's help (kms.h), as `k8s:enc:kms:v2:NAME:` and an EncryptedObject.
 *
 * The configuration is upstream's EncryptionConfiguration (apiserver.config.k8s.io/v1) with the providers aesgcm, kms (v2) and identity. The
 * first provider of a resource writes, all of them read: a new key is put in front, everything is written again, and the old
 * key is taken out. One process has one configuration; it may be replaced while others read (crypt_use).
 */
#ifndef ORCHESTRATOR_APISERVER_CRYPT_H
#define ORCHESTRATOR_APISERVER_CRYPT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct crypt;
struct resource;

/* From the text of a configuration file (YAML or JSON). */
int crypt_parse(struct str text, struct crypt **ret, struct err *);
void crypt_free(struct crypt *);
/* Take this configuration, and begin with its plugins; the one before is kept until the process ends, since others may be reading with
 * it. NULL: none. */
int crypt_use(struct crypt *, struct err *);
/* Stop the plugins; values sealed with them cannot be read any more. When nobody reads or writes. */
void crypt_stop(void);
/* All plugins are well; 0 or which is not, and why. */
int crypt_health(struct err *);
bool crypt_has_kms(void);
/* "secrets, configmaps: aesgcm key k2" ... for people; empty when nothing is encrypted. */
struct str crypt_describe(struct arena *);

/* value := as it shall be stored under this key. ERR_UNAVAILABLE: a plugin does not answer; the value is as it was. */
int crypt_seal(const struct resource *, struct str key, struct buf *value, struct err *);
/* What was sealed: in the arena. A value that is not sealed is given back as it is. False: no key opens it. */
bool crypt_open(struct arena *, struct str key, struct str value, struct str *ret_plain);
/*
 * A thread that hurries does not wait for a plugin: where a seed is not known yet it is asked for, opening or sealing fails at once, and
 * crypt_missed says so; a little later the same may succeed. Gives what was set before.
 */
#define CRYPT_AGAIN_MS 5
bool crypt_hurry(bool on);
/* Since this was last asked on this thread. */
bool crypt_missed(void);
/* False: what opens the value is being asked for; a little later crypt_open opens it, or fails, without a wait. */
bool crypt_ready(struct str value);
/* It would be stored otherwise today (another key, sealed or not). */
bool crypt_is_stale(const struct resource *, struct str value);

#endif
