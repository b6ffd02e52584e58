/*
 * A KMS plugin (v2) for tests: it keeps no secret at all, since its keys are made from their names. On a unix socket, on a thread of its own.
 */
#ifndef TESTS_LIB_KMS_SERVER_H
#define TESTS_LIB_KMS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

struct kms_server;

/* `key` is a file that holds the key's name; it is read at each call. A name "sick" makes Status say so. */
int kms_server_start(const char *socket, const char *key, struct kms_server **ret, struct err *);
void kms_server_stop(struct kms_server *);
/* While it is held, seeds are decrypted later: when it is let go. */
void kms_server_hold(struct kms_server *, bool);
/* Calls so far. */
unsigned kms_server_decrypts(const struct kms_server *);
unsigned kms_server_encrypts(const struct kms_server *);

#endif
