/*
 * struct ruleset: what a node's packet filter shall do for Services, as plain values.
 *
 * A Service port has addresses at which it is reached, and endpoints. The compiler (orchestrator/proxy) makes a ruleset
 * from API objects, a writer (net/iptables.h) renders it; both are pure. A ruleset is immutable once made and lives
 * in its arena. Addresses are in host byte order. Ports and endpoints are sorted, so that equal input gives equal rules.
 */
#ifndef NET_RULESET_H
#define NET_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "net/link.h"

struct ruleset_endpoint {
	uint32_t addr;
	uint16_t port;
	bool local; /* runs on this node */
};

struct ruleset_port {
	const char *name;       /* "namespace/service:port": for comments and chain names, unique with proto */
	uint8_t proto;          /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
	uint16_t port;
	uint16_t node_port;     /* 0: none */
	uint32_t vip;           /* the cluster address; never 0 */
	const uint32_t *externals; /* external and load balancer addresses */
	size_t n_externals;
	uint32_t affinity_s;    /* keep a client at its endpoint for so long; 0: do not */
	bool internal_local;    /* in-cluster clients only reach endpoints on this node */
	bool external_local;    /* the same for clients from outside, whose address is then kept */
	const struct ruleset_endpoint *endpoints;
	size_t n_endpoints;     /* 0: connections are refused */
};

/* A port of the node that leads to a pod on it (hostPort). */
struct ruleset_host_port {
	const char *name;   /* "namespace/pod": for comments */
	uint8_t proto;
	uint16_t port;
	uint32_t host_addr; /* of the node's addresses only this one; 0: any */
	uint32_t addr;      /* the pod's */
	uint16_t target;
};

struct ruleset {
	struct arena arena;
	struct ip4_net pods;     /* of the whole cluster */
	struct ip4_net services;
	const struct ruleset_port *ports;
	size_t n_ports;
	const struct ruleset_host_port *host_ports;
	size_t n_host_ports;
};

void ruleset_free(struct ruleset *);
/* "tcp", "udp", "sctp". */
const char *ruleset_proto(uint8_t proto);

/*
 * Connection tracking remembers where a UDP flow went, and would send it there for ever. A flow to `vip` that went to
 * `endpoint` (0: to no endpoint, untranslated) must be forgotten.
 */
struct ruleset_stale {
	uint32_t vip; /* 0: any of the node's own addresses */
	uint16_t port;
	uint32_t endpoint;
};
/* What must be forgotten when `old` (may be NULL) is replaced by `new`; in the arena. Returns the number. */
size_t ruleset_stale(const struct ruleset *old, const struct ruleset *new, struct arena *, struct ruleset_stale **ret);

#endif
