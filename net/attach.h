/*
 * Put a pod's network namespace on the node's bridge, and take it off again.
 *
 * The bridge has the first address of the node's pod network and is the pods' gateway. Each pod gets a veth pair: eth0 inside
 * with its address, and a port outside whose name comes from the owner's id. Hairpin is
 * on, so that a pod can reach itself through a Service. Repeating an attach is fine.
 */
#ifndef NET_ATTACH_H
#define NET_ATTACH_H

#include "base/err.h"
#include "net/link.h"

#define ATTACH_BRIDGE "kontiki0"

struct attach {
	const char *netns;   /* path of the pod's namespace */
	const char *ifname;  /* inside: "eth0" */
	const char *owner;   /* container id: names the outer end */
	const char *bridge;  /* ATTACH_BRIDGE */
	struct ip4_net addr; /* the pod's, with the node network's prefix length */
	uint32_t mtu;        /* 0: default */
};

/* Bridge with its address, up, forwarding on. Runs in the calling thread's namespace (the node's). */
int attach_bridge(const char *bridge, struct ip4_net pods, uint32_t mtu, struct err *e);
int attach_pod(const struct attach *, char ret_hwaddr[18], struct err *e);
/* An absent namespace or link is fine. */
int attach_remove(const char *owner, struct err *e);
/* The pod's interface exists. */
int attach_check(const struct attach *, struct err *e);
/* lo up inside the namespace. */
int attach_loopback(const char *netns, struct err *e);

#endif
