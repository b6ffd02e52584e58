/*
 * struct quota_state: which namespaces have quotas, and at which version their gates are, as one serve loop knows it from watches; so
 * that a create in a namespace without quotas need not read the store for them. It may be behind the store: what is decided by
 * it is compared in the transaction (admit_quota.c), and whoever loses there reads the store.
 */
#ifndef ORCHESTRATOR_APISERVER_QUOTA_STATE_H
#define ORCHESTRATOR_APISERVER_QUOTA_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define QUOTA_GATE_PREFIX "/kontiki/quota/"

struct quota_state;
struct store;
struct watch_hub;

/* On the hub's loop, or before it runs. */
struct quota_state *quota_state_new(struct store *, struct watch_hub *);
void quota_state_free(struct quota_state *);
/* Are there any? *ret_gate: the version of the namespace's gate, 0: it was never written. */
bool quota_state_has(const struct quota_state *, struct str ns, uint64_t *ret_gate);

#endif
