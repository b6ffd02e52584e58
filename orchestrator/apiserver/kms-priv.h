/*
 * What the two sides of a plugin share: kms_plugin.c, which talks to it on the loop, and kms.c, which uses on any thread what came of that.
 * What is under `lock` is theirs together; the rest is the loop's.
 */
#ifndef ORCHESTRATOR_APISERVER_KMS_PRIV_H
#define ORCHESTRATOR_APISERVER_KMS_PRIV_H

#include <pthread.h>

#include "base/map.h"
#include "io/loop.h"
#include "orchestrator/apiserver/kms.h"
#include "orchestrator/apiserver/kms_value.h"

struct grpc_channel;

enum source_state { SOURCE_ASKED, SOURCE_OPEN, SOURCE_FAILED };

/* What the plugin has made of a seed, and the seed. */
struct source {
	enum source_state state;
	uint64_t since_ms;
	char *plain;
	size_t n;
};

struct kms {
	char *name, *address;
	unsigned timeout_ms;
	struct kms *next;
	struct loop_msg start_msg, stop_msg;
	struct loop_timer timer;
	struct grpc_channel *channel; /* the loop's, as what follows until `lock` */
	uint8_t asked_seed[KMS_SEED_SIZE];
	unsigned n_calls;
	bool stopping;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* Guarded. */
	bool tried, healthy;
	char why[256];
	uint64_t well_ms;           /* last answer that all is well */
	char *key_id;               /* of the seed in use; NULL: none yet */
	uint8_t seed[KMS_SEED_SIZE];
	struct buf wrapped;         /* the encoded EncryptedObject without its data */
	struct map sources;         /* ciphertext -> struct source */
};

/* kms.c; under the lock. Replaces what was known of it. */
struct source *kms__source_put(struct kms *, struct str ciphertext, enum source_state, struct str plain);
void kms__source_free(void *);

/* kms_plugin.c: its seed is asked for; from any thread. */
void kms__ask_source(struct kms *, const Kms__EncryptedObject *);

#endif
