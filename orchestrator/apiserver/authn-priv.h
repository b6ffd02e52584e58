/* What the files of authn*.c share. */
#ifndef ORCHESTRATOR_APISERVER_AUTHN_PRIV_H
#define ORCHESTRATOR_APISERVER_AUTHN_PRIV_H

#include <pthread.h>

#include "base/map.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authn_config.h"

struct auth_hook;

/* What is read from files that may change under us. Immutable; the ones before are kept, since loops may be reading them. */
struct material {
	struct x509_key *key;     /* signs; NULL: this server makes no tokens */
	struct keyset *keys;      /* all that may have signed, `key` among them */
	struct keyset *replaced;  /* while the signing key is being replaced: the old and the new one */
	struct str kid;           /* of `key` */
	struct str ca_pem, signer; /* signer: the subject of the CA that signs now, while there are two; else empty */
	struct material *before;
	struct arena arena;
};

/* Whose tokens are taken. Immutable but for the keys; the ones before are kept, likewise. */
struct issuers {
	struct authn_config conf;
	struct oidc **v; /* one for each of conf.issuers */
	struct str text; /* of the file */
	struct issuers *before;
	struct arena arena;
};

/* Who came last with what an old key signed. */
struct old_use {
	char user[256];
	int64_t at_s;
};

struct api_authn {
	_Atomic(struct material *) now;
	pthread_mutex_t lock; /* guards `old` */
	struct old_use old[APISERVER_OLD_N];
	_Atomic(struct issuers *) issuers;
	const char *config_file; /* an AuthenticationConfiguration; NULL: the flags say it */
	struct loop *loop;      /* fetches keys */
	unsigned n_stopping;    /* issuers that still end; the loop's */
	void (*stopped)(void *);
	void *stopped_arg;
	char last_error[256];   /* of the file, so that it is logged once */
	struct auth_hook *hook; /* NULL: none */
	uint64_t hook_keep_ms;
	struct str proxy_ca_pem; /* empty without a front proxy */
	const char *proxy_names;         /* its certificates' names, by commas; NULL: any of that CA */
	struct str issuer;
	struct map tokens; /* token -> struct api_user, in the arena */
	struct arena arena;
};

/* Copies, and system:authenticated. */
void authn__groups(struct arena *, struct api_user *, const struct str *groups, size_t n);
/* The user came with what an old key signed. */
void authn__note_old(struct api_authn *, enum apiserver_old, struct str user);

#endif
