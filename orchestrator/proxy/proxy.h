/*
 * struct proxy: keeps this node's packet filter in step with Services, EndpointSlices and the host ports of this node's pods.
 *
 * A change makes the rules dirty; a little later (changes come in bursts) they are compiled anew, and if the text differs from what
 * was applied last, one iptables-restore transaction replaces our chains. A failure is logged once and tried again, with a back-off, from
 * what iptables-save says. After a change, flows that connection tracking would go on sending to endpoints that are gone
 * are forgotten (UDP only; TCP ends by itself). Nothing is written before all informers have their first list,
 * so a restart never takes rules away that are still right; and proxy_stop leaves the rules in place, because the
 * pods go on.
 *
 * One loop, the informers' and the client's. The thread must be in the node's network namespace.
 */
#ifndef ORCHESTRATOR_PROXY_PROXY_H
#define ORCHESTRATOR_PROXY_PROXY_H

#include <stdint.h>

#include "base/err.h"
#include "net/link.h"

struct informer;
struct loop;
struct proxy;

struct proxy_cfg {
	struct loop *loop;
	struct informer *services; /* all namespaces; the proxy adds a handler, the caller starts and stops them */
	struct informer *slices;
	struct informer *pods_here; /* the pods of this node, for their host ports; NULL: none */
	const char *node_name; /* copied */
	struct ip4_net pods, service_net;
};

/* Before the informers are started. Makes the route for service addresses and the sysctls that the rules need. */
struct proxy *proxy_start(const struct proxy_cfg *, struct err *e);
/* Right after informer_stop of all, in the same callback. cb (may be NULL) is the last call; the proxy is gone. */
void proxy_stop(struct proxy *, void (*cb)(void *arg), void *arg);

struct proxy_stats {
	uint64_t applied;       /* transactions */
	uint64_t failed;
	uint64_t last_ms;       /* how long the last one took, from compiling to done */
	uint64_t ports;         /* service ports in force */
	uint64_t pending_since_ms; /* monotonic time of the oldest change that is not in force, or 0 */
};
struct proxy_stats proxy_stats(const struct proxy *);

#endif
