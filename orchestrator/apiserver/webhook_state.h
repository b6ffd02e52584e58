/*
 * What one loop knows of admission webhooks and policies: all of them, in the order in which they are asked. Kept up to
 * date by watches on the loop's hub: any change makes a new index, and who is at work with the old one keeps it until it is done. Indexes share the policies that did not
 * change between them, so that one change compiles the expressions of one policy.
 */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOK_STATE_H
#define ORCHESTRATOR_APISERVER_WEBHOOK_STATE_H

#include "orchestrator/apiserver/policy.h"
#include "orchestrator/apiserver/webhook.h"

struct store;
struct watch_hub;
struct webhook_state;

enum webhook_kind { WEBHOOK_MUTATING, WEBHOOK_VALIDATING, WEBHOOK_N_KINDS };

struct webhook_index {
	struct arena arena;
	unsigned refs;
	/* By the configuration's name, then as they stand in it. */
	struct webhook *v[WEBHOOK_N_KINDS];
	size_t n[WEBHOOK_N_KINDS];
	/* By name; those without a binding are left out. */
	struct policy *policies[WEBHOOK_N_KINDS];
	size_t n_policies[WEBHOOK_N_KINDS];
	/* What could not be read, and may forbid anything; NULL: all is known. Looked for again each time. */
	const char *unread;
	struct shared_policy **shared; /* what these were compiled to, counted */
	size_t n_shared;
};

/* On the hub's loop, or before it runs. */
struct webhook_state *webhook_state_new(struct store *, struct watch_hub *);
void webhook_state_free(struct webhook_state *);

/* Good until the loop's next turn; take a reference to keep it. */
struct webhook_index *webhook_state_index(struct webhook_state *);
void webhook_index_unref(struct webhook_index *);

#endif
