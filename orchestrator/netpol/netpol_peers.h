/*
 * The rules of policies: peers and ports, as addresses and numbers. Used by netpol_compile alone.
 *
 * Selections of pods and named ports are looked up once and shared by all rules that mean the same.
 */
#ifndef ORCHESTRATOR_NETPOL_NETPOL_PEERS_H
#define ORCHESTRATOR_NETPOL_NETPOL_PEERS_H

#include "orchestrator/netpol/netpol_compile.h"
#include "proto/selector.h"

struct netpol_peers;

/* In the arena; the input is borrowed until netpol_peers_end. */
struct netpol_peers *netpol_peers_new(const struct netpol_input *, struct arena *);
/* `ns` is the policy's namespace. */
void netpol_rule_make(struct netpol_peers *, const char *ns, Networking__NetworkPolicyPeer *const *peers, size_t n_peers,
		Networking__NetworkPolicyPort *const *ports, size_t n_ports, struct policy_rule *ret);
/* All that was looked up becomes the set's. */
void netpol_peers_end(struct netpol_peers *, struct policy_set *);

#endif
