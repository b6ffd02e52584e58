/*
 * struct authz_chain: who is asked whether a request is allowed, in order, with open webhooks; from an AuthorizationConfiguration
 * (authz_config.h) or the flags. Immutable; when the file changes there is another one, and those before are kept, since loops may be
 * asking them.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_CHAIN_H
#define ORCHESTRATOR_APISERVER_AUTHZ_CHAIN_H

#include "base/arena.h"
#include "base/err.h"
#include "orchestrator/apiserver/authz_config.h"

struct apiserver_cfg;
struct auth_hook;

struct authz_chain {
	struct authz_config conf;
	struct auth_hook **hooks; /* one for each of conf.v; NULL where it is no webhook */
	struct str text;          /* of the file */
	struct authz_chain *before;
	struct arena arena;
};

int authz_chain_open(const struct apiserver_cfg *, struct authz_chain *before, struct authz_chain **ret, struct err *);
/* With those before. */
void authz_chain_free(struct authz_chain *);
/* Its file says something else now. */
bool authz_chain_is_old(const struct authz_chain *, const struct apiserver_cfg *);
/* Read the webhooks' files again; the error is the last one's. One thread. */
void authz_chain_reload(struct authz_chain *, struct err *);

#endif
