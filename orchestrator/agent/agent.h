/*
 * The node agent: everything that a node runs, on one thread: kubelet, service proxy, NetworkPolicies, cluster DNS, Ingresses,
 * routes to the other nodes' pods; and the balancer through which it reaches the servers.
 *
 *	    servers <-- balancer (127.0.0.1) <-- client --> informers --> kubelet, proxy, netpol, dns, ingress, routes
 *
 * The thread must be in the node's network namespace. Pods run on when the agent stops.
 */
#ifndef ORCHESTRATOR_AGENT_AGENT_H
#define ORCHESTRATOR_AGENT_AGENT_H

#include <stddef.h>

#include "base/err.h"

struct agent;
struct eviction_cfg;
struct image_gc_cfg;

struct agent_cfg {
	const char *node_name, *node_ip;
	const char *dir;               /* <data dir>/agent */
	const char *images_dir;        /* archives to import: <data dir>/images; NULL: none */
	const char *pki_dir;           /* ca.crt, kubelet.crt, kubelet.key */
	const char *const *servers;    /* "ip:port" of the API servers; the first on this machine comes first */
	size_t n_servers;
	const char *cluster_cidr, *service_cidr, *cluster_dns, *cluster_domain;
	const char *cgroup_root;       /* of all that belongs to this node; NULL: none */
	const char *runtime_socket;    /* CRI of somebody else's containerd; NULL: our own */
	const char *node_labels, *node_taints; /* or NULL */
	const struct image_gc_cfg *image_gc; /* NULL: the defaults; so the next */
	const struct eviction_cfg *eviction;
	const char *version;
	int kubelet_port, healthz_port;
	int ingress_http_port, ingress_https_port; /* 0: not served on this node */
};

/* The cfg is borrowed until agent_stop has returned. Returns when the thread's parts have started, or the first error. */
int agent_start(const struct agent_cfg *, struct agent **ret, struct err *e);
/* Any thread but its own; waits for it. */
void agent_stop(struct agent *);

#endif
