/*
 * Render a ruleset as input for `iptables-restore --noflush`: one transaction that replaces our chains, and touches
 * nothing else.
 *
 * All chains have the prefix KONTIKI-. In the tables' own chains there is one rule each that jumps to ours. iptables-restore
 * cannot say "insert unless it is there" nor "delete what is left over", so the writer is told what there is: the output of
 * `iptables-save`, read by iptables_have_parse.
 *
 *	nat     PREROUTING, OUTPUT > KONTIKI-SERVICES > KONTIKI-SVC-x (choose an endpoint) > KONTIKI-SEP-x (translate to it)
 *	                                              > KONTIKI-EXT-x (from outside: masquerade or stay local) > KONTIKI-SVC-x
 *	                                              > KONTIKI-HOSTPORTS (translate to the pod on this node)
 *	                                              > KONTIKI-NODEPORTS > KONTIKI-EXT-x
 *	        POSTROUTING > KONTIKI-POSTROUTING (masquerade what is marked, and pods that leave the cluster)
 *	filter  FORWARD, OUTPUT > KONTIKI-FILTER (refuse service addresses that were not translated: nothing is behind them)
 *	        FORWARD > KONTIKI-FORWARD (let pods talk, whatever the policy of the chain is)
 *
 * A client that reaches itself through a Service, or comes in through a node port, is masqueraded, so that
 * the answer comes back through this node.
 */
#ifndef NET_IPTABLES_H
#define NET_IPTABLES_H

#include "base/buf.h"
#include "base/map.h"
#include "net/ruleset.h"

/* What of ours is in the tables: "nat KONTIKI-SVC-X" for each chain, "nat PREROUTING KONTIKI-SERVICES" for each jump. */
struct iptables_have {
	struct map lines;
};

void iptables_have_init(struct iptables_have *);
void iptables_have_fini(struct iptables_have *);
/* Read the output of iptables-save, adding to what is known. Lines that are not ours do not matter. */
void iptables_have_parse(struct iptables_have *, struct str save);
bool iptables_have_equal(const struct iptables_have *, const struct iptables_have *);

/* The whole input. Afterwards `have` is what will be there once it has been applied. */
void iptables_render(const struct ruleset *, struct iptables_have *, struct buf *out);
/* The input that removes all of ours. */
void iptables_render_removal(const struct iptables_have *, struct buf *out);

#endif
