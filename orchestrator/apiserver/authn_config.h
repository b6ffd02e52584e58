/*
 * AuthenticationConfiguration (apiserver.config.k8s.io/v1): issuers whose tokens are taken, and who may come without any. Pure; the file is
 * read by authn.c, now and whenever it changes.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHN_CONFIG_H
#define ORCHESTRATOR_APISERVER_AUTHN_CONFIG_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/apiserver/jwt_issuer.h"

#define AUTHN_CONFIG_MAX_ISSUERS 64

struct authn_config {
	struct jwt_issuer *issuers;
	size_t n_issuers;
	bool no_anonymous;            /* nobody */
	const char **anonymous_paths; /* only for these; NULL: for all */
	size_t n_anonymous_paths;
};

/* `ours`: the issuer of service-account tokens, which nobody else may be. Everything is in the arena. */
int authn_config_parse(struct arena *, struct str text, struct str ours, struct authn_config *ret, struct err *);
/* May a request without credentials for this path come in as system:anonymous? */
bool authn_config_anonymous(const struct authn_config *, struct str path);

#endif
