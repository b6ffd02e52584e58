/*
 * struct auth_hook: a webhook that says who somebody is (or what he may), configured as kube-apiserver's are by a file in the form of a
 * kubeconfig, and what it answered lately.
 *
 *	if (auth_hook_find(hook, key, &req->arena, &answer))   // known
 *		...
 *	else
 *		auth_hook_ask(hook, req, key, body, keep_ms);  // and STEP_WAIT: the step runs again when the answer is there
 *
 * Answers are kept for as long as keep_ms says of them, under keys that do not tell what was asked (hashes); failures for as long as
 * it takes the step to see them. One cache for all loops. Connections are the loop's (service_clients.h).
 */
#ifndef ORCHESTRATOR_APISERVER_AUTH_HOOK_H
#define ORCHESTRATOR_APISERVER_AUTH_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct api_request;
struct auth_hook;

/* Reads the file, and those that it names. */
int auth_hook_open(const char *path, struct auth_hook **ret, struct err *);
void auth_hook_free(struct auth_hook *);

struct auth_answer {
	struct str body;    /* of a 2xx answer, in the arena */
	struct str failure; /* else why there is none */
};
bool auth_hook_find(struct auth_hook *, struct str key, struct arena *, struct auth_answer *ret);
/* keep_ms: how long an answer's body is worth keeping. The body is copied. */
void auth_hook_ask(struct auth_hook *, struct api_request *, struct str key, struct str body, uint64_t (*keep_ms)(struct api_request *, struct str body));

#endif
