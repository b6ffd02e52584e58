/*
 * Pods across networks: a VXLAN device (RFC 7348) on each node, for packets to pods of nodes that share no network with it.
 *
 *	pod > kontiki0 > route "podCIDR of B via its first address, onlink, dev kontiki-vx"
 *	    > neighbour entry: first address of B's podCIDR is at B's hardware address
 *	    > forwarding entry: B's hardware address is behind B's node address
 *	    > UDP to B's node address, port OVERLAY_PORT > kontiki-vx on B > kontiki0 > pod
 *
 * All entries are permanent and nothing is learned or flooded. A node's hardware address on the overlay is made from its node address,
 * so every node can compute it and no node has to publish it. The device has the first address (.0) of the node's own podCIDR: what
 * a node itself sends to other nodes' pods comes from there and finds its way back. Its MTU is the underlying link's
 * less 50; packets that are too large are answered by the kernel with "fragmentation needed", which pods follow.
 */
#ifndef NET_OVERLAY_H
#define NET_OVERLAY_H

#include "base/err.h"
#include "net/link.h"

#define OVERLAY_LINK "kontiki-vx"
#define OVERLAY_ID 7745u
#define OVERLAY_PORT 8472 /* Linux's own default; other than the port that RFC 7348 names it is rarely filtered or taken */

/* Is there a network that this node (the socket's namespace) has an address in, and that `addr` is part of? */
bool overlay_is_direct(struct link_sock *, uint32_t addr);
/* The device, for the node with that address and pod network. One that is there for another address is replaced. */
int overlay_up(struct link_sock *, uint32_t node, struct ip4_net pods, struct err *e);
/* Another node's pods, by way of the overlay. */
int overlay_peer_set(struct link_sock *, uint32_t node, struct ip4_net pods, struct err *e);
int overlay_peer_del(struct link_sock *, uint32_t node, struct ip4_net pods, struct err *e);
/* "0a:58:..." for a node's address. */
void overlay_hwaddr(uint32_t node, char out[18]);

#endif
