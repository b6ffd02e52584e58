/*
 * The node's certificates renew themselves: one as a client of the API, one that the kubelet's port serves with.
 *
 * A node begins with kubelet.crt, which it was given when it joined. When a fifth of a certificate's life is left (or the file
 * pki/rotate is newer than the node's own certificate), a new key is made and a CertificateSigningRequest is sent with it; the
 * certificate that comes back is written beside the old one (kubelet-client.*, kubelet-serving.*) and taken into the TLS contexts
 * that are in use. Nothing restarts; connections that stand go on.
 *
 * It also follows the cluster's CA: the CAs that a server says are to be trusted become ca.crt (on a server's own node the server
 * writes it), certificates that another than the first of them has signed are due, and the Node's annotations say what is trusted and
 * used (pki_annotations.h), so that an old CA can be given up when nobody needs it.
 *
 *	waiting --> fetching the CAs --> telling, if there is news --due--> asked --made--> polling (until signed, denied, or ten minutes) --> waiting
 */
#ifndef ORCHESTRATOR_AGENT_CERTS_H
#define ORCHESTRATOR_AGENT_CERTS_H

#include <stddef.h>

#include "base/err.h"

struct agent_certs;
struct client;
struct loop;
struct tls_ctx;

enum cert_use { CERT_CLIENT, CERT_SERVING, CERT_N };

struct certs_cfg {
	struct loop *loop;
	const char *pki_dir, *node_name, *node_ip; /* borrowed until freed */
};
struct agent_certs *certs_new(const struct certs_cfg *);
/* The contexts as of now; references are the caller's. */
int certs_contexts(struct agent_certs *, struct tls_ctx *ret[CERT_N], struct err *);
/* A client's context without a certificate, for health checks. */
int certs_probe(struct agent_certs *, struct tls_ctx **ret, struct err *);
/* The client is used until certs_stop and until it is closed itself. */
void certs_start(struct agent_certs *, struct client *);
void certs_stop(struct agent_certs *);
/* After the client is closed. */
void certs_free(struct agent_certs *);

#endif
