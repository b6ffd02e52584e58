/*
 * struct dns: the cluster's DNS server on this node, over UDP and TCP.
 *
 * It answers for the cluster's zone (dns_zone.h) from informers, and hands everything else on to the resolvers of the node's
 * own resolv.conf; without one that answers, SERVFAIL. It listens on the cluster's DNS address, which it puts on lo: each node answers
 * its own pods, and no Service has to be there for it. Before the informers are synced it answers SERVFAIL, so that
 * no resolver keeps a "no" that is none.
 *
 * Limits: 512 questions under way to resolvers, 64 TCP connections, 10 seconds for a TCP client to ask.
 *
 * One loop, the informers'. The thread must be in the node's network namespace.
 */
#ifndef ORCHESTRATOR_DNS_DNS_H
#define ORCHESTRATOR_DNS_DNS_H

#include <stdint.h>

#include "base/err.h"
#include "net/link.h"

struct dns;
struct informer;
struct loop;

struct dns_cfg {
	struct loop *loop;
	struct informer *services, *slices, *namespaces; /* the DNS server adds indexes; the caller starts and stops them */
	const char *zone;          /* NULL: "cluster.local" */
	struct ip4_net pods, service_net;
	uint32_t address;          /* where it listens; put on lo as a /32 unless it is in 127.0.0.0/8 */
	uint16_t port;             /* 0: 53 */
	const char *resolv_conf;   /* NULL: "/etc/resolv.conf" */
};

/* Before the informers are started. */
struct dns *dns_start(const struct dns_cfg *, struct err *e);
/* cb (may be NULL) is the last call. In the same callback in which the informers are stopped, or earlier. */
void dns_stop(struct dns *, void (*cb)(void *arg), void *arg);

struct dns_stats {
	uint64_t queries, answered, forwarded, failed, dropped;
};
struct dns_stats dns_stats(const struct dns *);

#endif
