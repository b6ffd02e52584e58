/*
 * struct policy_set: which connections of this node's pods are let through, as plain values.
 *
 * Made from API objects by orchestrator/netpol (which is pure), written to the kernel by net/policy_nft.h. Immutable once made; lives
 * in its arena, freed by policy_set_free. Addresses are in host byte order.
 *
 *	member (a pod here) --> group (the policies that select it) --> chains (one a policy and direction) --> rules
 *
 * A connection to a member passes when any rule of any chain of its group POLICY_IN lets it through, or it has no such group; one from a
 * member by POLICY_OUT likewise. What a pod sends to itself always passes.
 */
#ifndef NET_POLICY_H
#define NET_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum policy_dir { POLICY_IN, POLICY_OUT, POLICY_DIRS };

/* Both ends are part of it. */
struct policy_range {
	uint32_t from, to;
};

struct policy_ports {
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP */
	uint16_t from, to;
};

/* The addresses of pods that selectors choose; shared by all rules that select alike. */
struct policy_addrs {
	const char *key; /* what it stands for; unique in its set */
	const uint32_t *v;
	size_t n;
};

struct policy_socket {
	uint32_t addr;
	uint16_t port;
};

/* Where a named port is: each pod that has one of that name. */
struct policy_sockets {
	const char *key;
	uint8_t proto;
	const struct policy_socket *v;
	size_t n;
};

/* The other end is any of these, and the port of the connection's target any of those. */
struct policy_rule {
	bool any_peer;
	const struct policy_addrs *const *pods;
	size_t n_pods;
	const struct policy_range *blocks; /* disjoint, not touching each other */
	size_t n_blocks;
	bool any_port; /* also protocols that have none */
	const struct policy_ports *ports; /* disjoint */
	size_t n_ports;
	const struct policy_sockets *const *named;
	size_t n_named;
};

/* What one policy lets through in one direction. */
struct policy_chain {
	const char *name; /* "namespace/name" */
	enum policy_dir dir;
	const struct policy_rule *rules;
	size_t n_rules;
};

struct policy_group {
	const char *key;
	enum policy_dir dir;
	const struct policy_chain *const *chains;
	size_t n_chains;
};

/* A pod of this node that some policy selects. */
struct policy_member {
	uint32_t addr;
	const struct policy_group *group[POLICY_DIRS]; /* NULL: not isolated in this direction */
};

struct policy_set {
	struct arena arena;
	const struct policy_addrs *const *addrs;
	size_t n_addrs;
	const struct policy_sockets *const *sockets;
	size_t n_sockets;
	const struct policy_chain *const *chains;
	size_t n_chains;
	const struct policy_group *const *groups;
	size_t n_groups;
	const struct policy_member *members; /* by address */
	size_t n_members;
};

void policy_set_free(struct policy_set *);
/* NULL when no policy selects a pod of that address. */
const struct policy_member *policy_member_find(const struct policy_set *, uint32_t addr);

/* Sorts ranges and joins those that overlap or touch; returns how many are left. */
size_t policy_ranges_join(struct policy_range *, size_t n);
size_t policy_ports_join(struct policy_ports *, size_t n);

#endif
