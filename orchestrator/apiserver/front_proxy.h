/*
 * The API server as the client of aggregated API servers: a certificate of a CA that signs nothing else, by which they know that what
 * the X-Remote-* headers say is true. Each server has a CA of its own; the ConfigMap kube-system/extension-apiserver-authentication
 * publishes all of them, in the form in which aggregated servers look for them. Any thread.
 */
#ifndef ORCHESTRATOR_APISERVER_FRONT_PROXY_H
#define ORCHESTRATOR_APISERVER_FRONT_PROXY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct front_proxy;
struct json;

/* The common name of the certificate. */
#define FRONT_PROXY_NAME "front-proxy-client"

/* PEM files; they are read again by front_proxy_load. */
int front_proxy_new(const char *cert, const char *key, const char *ca, struct front_proxy **ret, struct err *);
void front_proxy_free(struct front_proxy *);
/* On an error what was read before stays. */
int front_proxy_load(struct front_proxy *, struct err *);
void front_proxy_pair(struct front_proxy *, struct arena *, struct str *ret_cert, struct str *ret_key);
struct str front_proxy_ca(struct front_proxy *, struct arena *);

/* The CA of the server NAME is called this and the first 40 bytes of its name. */
#define FRONT_PROXY_CA "kontiki-front-proxy-ca:"

/*
 * The ConfigMap as it should be, made of what there is (NULL: nothing): client_ca is the cluster's, and own_ca one of those that sign
 * front proxies; it takes the place of another of the same name. Those of servers that are not among these go (n 0: it is not known which
 * there are); what is called otherwise was put there by somebody else, and stays. NULL: it is as it should be.
 */
struct json *front_proxy_config(struct arena *, const struct json *old, struct str client_ca, struct str own_ca, const struct str *servers, size_t n);

#endif
