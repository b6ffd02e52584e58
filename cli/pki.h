/*
 * The cluster's keys and certificates as files of a folder (pki/), made where they are missing.
 *
 *	ca.crt ca.key                       the cluster's CA, 10 years; ca.key on servers only. While it is replaced ca.crt holds two
 *	                                    certificates, and ca-cross.crt is sent with apiserver.crt (rotation.h)
 *	sa.key                              signs service-account tokens; the same on every server
 *	apiserver.crt .key                  serves port 6443
 *	apiserver-kubelet-client.crt .key   the apiserver as the kubelets' client
 *	node.password                       an agent's: by it the machine comes back under its name (join_claim.h)
 *	front-proxy-ca.crt .key             this server's CA for front proxies, which signs nothing else
 *	front-proxy-client.crt .key         the apiserver as the client of aggregated API servers, CN=front-proxy-client
 *	peer.crt .key                       raft peers, O=kontiki:peers, both directions
 *	kubelet.crt .key                    CN=system:node:NAME O=system:nodes: client of the API, serves port 10250
 *	admin.crt .key                      CN=kubernetes-admin O=system:masters
 *
 * A leaf that is missing, unreadable, signed by another CA, about to expire (30 days) or made for other names is made anew.
 * Keys never leave the folder but in a kubeconfig. Synchronous; used at start and by commands.
 */
#ifndef CLI_PKI_H
#define CLI_PKI_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct x509_cert;
struct x509_key;

/* Make ca.* and sa.key if there are none. */
int pki_ensure_ca(const char *dir, struct err *e);
bool pki_has_ca_key(const char *dir);

/* The CA as it signs now. */
struct pki_ca {
	struct x509_key *key;
	struct x509_cert *cert; /* the one of ca.crt that belongs to the key */
	char *pem;              /* its text */
	char *trusted;          /* all of ca.crt */
	struct x509_key *sa_key; /* signs service-account tokens; only of pki_ca_load_all */
};
int pki_ca_load(const char *dir, struct pki_ca *ret, struct err *e);
int pki_ca_load_all(const char *dir, struct pki_ca *ret, struct err *e);
/* Also after an error. */
void pki_ca_fini(struct pki_ca *);

struct pki_node {
	const char *name;        /* node and member name */
	const char *addr;        /* the address that others reach it at */
	const char *const *sans; /* further names of the API server, NULL-terminated; NULL: none */
	const char *service_ip;  /* first address of the service CIDR */
	const char *domain;      /* cluster.local */
};
/* Leaves that a server needs: apiserver, apiserver-kubelet-client, front-proxy-client, peer, kubelet. Needs ca.key. */
int pki_ensure_server(const char *dir, const struct pki_node *, struct err *e);
/* kubelet.* alone, for a server's CA on behalf of a node. */
int pki_ensure_kubelet(const char *dir, const struct pki_node *, struct err *e);
int pki_ensure_admin(const char *dir, struct err *e);
/* A kubeconfig (YAML) with everything inside: context `name`, the server's URL, the CA, the client's pair dir/user.{crt,key}. */
int pki_kubeconfig(const char *dir, const char *user, const char *name, const char *url, struct buf *out, struct err *e);
/* Copy ca.crt, ca.key and sa.key into another folder (a further server's). */
int pki_copy_ca(const char *from, const char *to, struct err *e);

#endif
