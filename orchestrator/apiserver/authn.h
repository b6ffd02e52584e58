/*
 * Who asks: client certificate, front proxy, service-account token, bootstrap token, an OIDC issuer's token, static token, or
 * anonymous; and making service-account tokens. The token file is read at start, keys and the CA again whenever they change
 * (authn_reload); all else is looked up in the store.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHN_H
#define ORCHESTRATOR_APISERVER_AUTHN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/request.h"

struct api_authn;
struct apiserver_cfg;
struct json;
struct keyset;
struct loop;
struct x509_info;
struct x509_key;

int authn_open(const struct apiserver_cfg *, struct api_authn **ret, struct err *);
void authn_close(struct api_authn *);
/* Read keys and CA again; on an error the ones before stay. Any thread, one at a time. */
int authn_reload(struct api_authn *, const struct apiserver_cfg *, struct err *);
/* See apiserver_old_use. */
int64_t authn_old_use(struct api_authn *, enum apiserver_old, char user[256]);
const struct x509_key *authn_key(const struct api_authn *);
struct str authn_issuer(const struct api_authn *);
/* The keys that service-account tokens may be signed with. */
const struct keyset *authn_keys(const struct api_authn *);
/* On the loop that shall fetch issuers' keys; stopped(arg) follows authn_stop there. */
void authn_start(struct api_authn *, struct loop *);
void authn_stop(struct api_authn *, void (*stopped)(void *arg), void *arg);
/* Take up what has changed in the files of webhook and issuers; on the same loop, now and then. */
void authn_refresh(struct api_authn *);
/* PEM, also to be verified by the TLS server; empty: no front proxy. */
struct str authn_proxy_ca(const struct api_authn *);

/* A certificate that the TLS server found good is the cluster's own, not of the front proxies' CA. */
bool authn_is_ours(const struct api_authn *, const struct x509_info *peer);

enum authn_verdict {
	AUTHN_YES,
	AUTHN_NO,     /* bad credentials; err says why */
	AUTHN_LATER,  /* the keys to check it with are being fetched: ask again in a moment */
	AUTHN_BUSY,   /* a webhook has more to answer than it can: 503 */
	AUTHN_WAIT,   /* a webhook is being asked: the step is run again */
	AUTHN_ABSENT, /* the token speaks of an object that the local state does not have (it may be stale) */
};
/* What to answer where it gave AUTHN_BUSY. */
enum step_result authn_busy(struct api_request *);
/* Check a bearer token for one of `audiences` (n 0: the API's own). TokenReview asks it too. */
enum authn_verdict authn_token(struct api_request *, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *);
/* Of those wanted the user's audiences are the ones that the token says it is for. False: none of them. */
bool authn_audiences(struct arena *, struct api_user *, const struct str *said, size_t n_said, const struct str *wanted, size_t n);
/* Which certificate or token it was, as an extra attribute. */
#define AUTHN_CREDENTIAL "authentication.kubernetes.io/credential-id"
/* Add an extra attribute; nothing for an empty value. The key is not copied. */
void authn_extra(struct arena *, struct api_user *, const char *key, struct str value);
/* As authentication.v1.UserInfo. */
struct json *api_user_dom(struct arena *, const struct api_user *);
bool api_user_in_group(const struct api_user *, const char *group);

#endif
