/*
 * Certificate signing requests: what each of the cluster's signers takes, as pure functions over the request. The API server asks
 * whether a node's request may be approved by itself, the signing controller what to sign.
 *
 * Source: "Certificates and Certificate Signing Requests" of the Kubernetes documentation (Kubernetes signers).
 */
#ifndef ORCHESTRATOR_CLIENT_CSR_H
#define ORCHESTRATOR_CLIENT_CSR_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "io/x509.h"

#define CSR_SIGNER_CLIENT "kubernetes.io/kube-apiserver-client"
#define CSR_SIGNER_KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define CSR_SIGNER_KUBELET_SERVING "kubernetes.io/kubelet-serving"
#define CSR_SIGNER_LEGACY "kubernetes.io/legacy-unknown"

#define CSR_MIN_SECONDS 600

enum csr_signer { CSR_CLIENT, CSR_KUBELET_CLIENT, CSR_KUBELET_SERVING, CSR_LEGACY, CSR_OTHER };
/* CSR_OTHER: none of ours. */
enum csr_signer csr_signer_of(struct str name);

/* A request as far as signers look at it. */
struct csr {
	struct str pem; /* PKCS#10 */
	struct str *usages;
	size_t n_usages;
	int64_t seconds; /* wished lifetime; 0: not said */
};
/* Takes it: 0. Else ERR_INVALID and why, in upstream's words. *ret_info is what the request says. */
int csr_check(struct arena *, enum csr_signer, const struct csr *, struct x509_info *ret_info, struct err *);
/* Sign what csr_check has taken, for at most max_seconds; the chain's PEM is appended. */
int csr_sign(struct arena *, const struct csr *, const struct x509_info *, const struct x509_cert *ca, const struct x509_key *key,
		int64_t max_seconds, int64_t now_s, struct buf *ret_pem, struct err *);

#endif
