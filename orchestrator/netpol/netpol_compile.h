/*
 * From NetworkPolicies, Namespaces and Pods to what this node lets through (net/policy.h): the pure half of their enforcement.
 *
 * The semantics are upstream's. Pods that use the node's network are nodes, not pods: no policy selects them, as target or as peer; so
 * are pods that have ended, whose addresses others may have. A policy that selects no pod of this node costs nothing here.
 *
 * A named port is the port of that name of the pod that is connected to, for ingress and egress alike. An ipBlock stands for addresses,
 * whoever has them; IPv6 ones for none, since the cluster has none.
 */
#ifndef ORCHESTRATOR_NETPOL_NETPOL_COMPILE_H
#define ORCHESTRATOR_NETPOL_NETPOL_COMPILE_H

#include "net/policy.h"
#include "proto/core.pb-c.h"
#include "proto/networking.pb-c.h"

struct netpol_pod {
	const Core__Pod *pod;
	uint32_t addr;
	bool local; /* runs on this node */
};

struct netpol_input {
	const Networking__NetworkPolicy *const *policies;
	size_t n_policies;
	const Core__Namespace *const *namespaces;
	size_t n_namespaces;
	const struct netpol_pod *pods; /* that take part; of two local ones with one address the later counts */
	size_t n_pods;
};

/* Never NULL; policy_set_free. The messages are not needed afterwards. */
struct policy_set *netpol_compile(const struct netpol_input *);

/* Whether policies are about such a pod at all. */
bool netpol_takes_part(const Core__Pod *);
/* What of a pod policies may depend on: labels, address, ports. As informer_cfg.keep wants it. */
void *netpol_keep_pod(struct arena *, const void *pod);
/* Of two such (NULL: none): do they mean the same to policies? */
bool netpol_pod_same(const Core__Pod *, const Core__Pod *);
bool netpol_same_labels(const Meta__ObjectMeta *, const Meta__ObjectMeta *);

#endif
