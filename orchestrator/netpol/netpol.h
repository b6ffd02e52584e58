/*
 * struct netpol: keeps this node's packet filter in step with NetworkPolicies, for the pods of this node.
 *
 * A change makes the rules dirty; a little later (changes come in bursts) they are compiled anew (netpol_compile.h), and what differs
 * from what is there is written by one transaction of `nft` (net/policy_nft.h). A failure is told, and tried again with a back-off, from
 * nothing. Now and then it is looked at whether the table is still there. Nothing is written before all informers have their first
 * list, and netpol_stop leaves the table: the pods go on, and are as they were when the next agent comes.
 *
 *	policies, namespaces, pods of this node --+
 *	pods of all nodes, once there is a policy-+-> netpol_compile --> policy_table --> nft_diff --> nft -f -
 *	addresses of pods that start (the kubelet)+
 *
 * A pod's containers may start when netpol_admit says so: when the rules in the kernel are of a time that knew the pod and its address.
 * Where rules cannot be enforced, pods that no policy selects start all the same, the others do not.
 *
 * What traffic between pods of one bridge does not pass (a kernel without br_netfilter) cannot be enforced here. That is trouble, too.
 *
 * One loop, the informers' and the client's. The thread must be in the node's network namespace.
 */
#ifndef ORCHESTRATOR_NETPOL_NETPOL_H
#define ORCHESTRATOR_NETPOL_NETPOL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/core.pb-c.h"

struct client;
struct informer;
struct loop;
struct netpol;

struct netpol_cfg {
	struct loop *loop;
	struct client *client; /* for the pods of other nodes; used until netpol_stop is done */
	/* The caller starts and stops them. */
	struct informer *policies, *namespaces, *pods_here;
	/* Pods that had to wait may be admitted now. */
	void (*changed)(void *data);
	/* Policies are not enforced, or not all: why. NULL: they are again. */
	void (*trouble)(void *data, const char *why);
	void *data;
};

/* Before the informers are started. */
struct netpol *netpol_start(const struct netpol_cfg *);
/* Right after informer_stop of all, in the same callback. cb is the last call. */
void netpol_stop(struct netpol *, void (*cb)(void *arg), void *arg);

/*
 * May containers of the pod start? It is on this node, not with the node's network, and has this address. If not, `changed` is called
 * when it is worth asking again; *ret_why (may be NULL) is what keeps policies from being enforced, NULL when it only takes a moment.
 */
bool netpol_admit(struct netpol *, const Core__Pod *, const char *ip, const char **ret_why);
/* Nothing of the pod runs any more: its address may be another's soon. */
void netpol_forget(struct netpol *, const char *uid);

struct netpol_stats {
	uint64_t applied, failed; /* transactions */
	uint64_t compile_us;      /* the last time */
	uint64_t members;         /* pods of this node that policies select */
};
struct netpol_stats netpol_stats(const struct netpol *);

#endif
