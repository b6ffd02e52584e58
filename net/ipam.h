/*
 * Addresses of a node's pods: a folder with one file an address, named by it and holding its owner.
 *
 * The network of a node is small (a /24), so a linear search is fine. Taking an address creates its file with O_EXCL, so two
 * CNI calls at once cannot take the same; a crash between taking and using leaves a file that the owner's DEL
 * removes. Search goes on from the last taken address, so that an address is not reused at once (clients may remember it).
 * The network's own, first (the bridge) and last (broadcast) addresses are never given out.
 */
#ifndef NET_IPAM_H
#define NET_IPAM_H

#include "base/err.h"
#include "net/link.h"

/* The address of `owner` (a new one, or the one it has). ERR_NO_SPACE when the network is full. */
int ipam_take(const char *dir, struct ip4_net net, const char *owner, uint32_t *ret, struct err *e);
/* Free all addresses of the owner; none is fine. */
int ipam_release(const char *dir, const char *owner, struct err *e);

#endif
