/*
 * struct auth_hook: a webhook that says who somebody is (or what he may), configured as kube-apiserver's are by a file in the form of a
 * kubeconfig, and what it answered lately.
 *
 *	if (auth_hook_find(hook, req, key, &answer))        // known
 *		...
 *	else
 *		auth_hook_ask(hook, req, key, body, keep_ms);  // and STEP_WAIT: the step runs again when the answer is there
 *
 * Answers are kept for as long as keep_ms says of them, under keys that do not tell what was asked (hashes); failures, and answers
 * not worth keeping, for the request that asked and those that asked the same meanwhile. One cache for all loops, and one call for what several ask at a time; at most
 * AUTH_HOOK_CALLS run. Connections are the loop's (service_clients.h).
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

#define AUTH_HOOK_CALLS 100

/* Reads the file, and those that it names. timeout_ms of a call; 0: ten seconds. */
int auth_hook_open(const char *path, uint32_t timeout_ms, struct auth_hook **ret, struct err *);
/* Reads them again; on an error what was read before stays. *ret_changed: there was something new. One thread at a time. */
int auth_hook_reload(struct auth_hook *, bool *ret_changed, struct err *);
void auth_hook_free(struct auth_hook *);

struct auth_answer {
	struct str body;    /* of a 2xx answer, in the arena */
	struct str failure; /* else why there is none */
};
bool auth_hook_find(struct auth_hook *, struct api_request *, struct str key, struct auth_answer *ret);
/* keep_ms: how long an answer's body is worth keeping. The body is copied. False: too many calls run already. */
bool auth_hook_ask(struct auth_hook *, struct api_request *, struct str key, struct str body, uint64_t (*keep_ms)(struct api_request *, struct str body));

#endif
