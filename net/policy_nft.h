/*
 * A policy_set as a table of nftables (net/nft.h): what enforces it in the kernel.
 *
 *	hook forward > traffic-out > @isolated-out: the sender's group > jump to each policy's chain (accept what it allows); drop
 *	             > traffic-in  > @isolated-in: the receiver's group > ...
 *
 * Both are base chains of their own: accept ends only one of them, so a connection between two pods of this node passes both. They
 * come after the translation of service addresses, and before this node's own address is put in the place of a sender's. What the node
 * itself sends and receives is not forwarded, so it never comes here.
 *
 * Packets in the direction of a connection's answers pass. All others are judged, each anew, so a connection that is no
 * longer allowed ends when a policy changes; nobody has to look for it.
 */
#ifndef NET_POLICY_NFT_H
#define NET_POLICY_NFT_H

#include "net/nft.h"
#include "net/policy.h"

#define POLICY_TABLE "kontiki-policy"

/* In the arena. Without members it has nothing: there is no table then. */
struct nft_table *policy_table(const struct policy_set *, struct arena *);

#endif
