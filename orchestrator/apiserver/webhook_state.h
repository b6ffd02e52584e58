/*
 * What one loop knows of admission webhooks: all of them, in the order in which they are asked, and connections to them. Kept up to
 * date by watches on the loop's hub: any change makes a new index, and who is at work with the old one keeps it until it is done.
 */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOK_STATE_H
#define ORCHESTRATOR_APISERVER_WEBHOOK_STATE_H

#include "orchestrator/apiserver/webhook.h"

struct http_client;
struct loop;
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
};

/* On the hub's loop, or before it runs. */
struct webhook_state *webhook_state_new(struct store *, struct watch_hub *, struct loop *, int netns_fd);
void webhook_state_free(struct webhook_state *);
/* Close all connections; cb (may be NULL) is called for each when it is closed. Returns how many. */
unsigned webhook_state_close(struct webhook_state *, void (*cb)(void *arg), void *arg);

/* Good until the loop's next turn; take a reference to keep it. */
struct webhook_index *webhook_state_index(struct webhook_state *);
void webhook_index_unref(struct webhook_index *);

/* A client of that server, kept for the next call. It stays until it is put back. */
struct webhook_client {
	struct http_client *http;
	unsigned users;
};
int webhook_client_get(struct webhook_state *, const char *address, const char *server_name, struct str ca_pem,
		struct webhook_client **ret, struct err *);
void webhook_client_put(struct webhook_state *, struct webhook_client *);

#endif
