/*
 * Which name and address a joining node may have in its certificate.
 *
 * The cluster's CA vouches for the API servers and for the nodes, and a node's certificate is good for serving as well. So whoever has a
 * token for nodes must not get one that clients would take for an API server's: not its Service, not a server's name or address, not
 * the loopback of others. What is on a server's own machine may share its name and address. Pure.
 */
#ifndef CLI_JOIN_NAMES_H
#define CLI_JOIN_NAMES_H

#include <stddef.h>

#include "base/err.h"

struct kv_member;

struct join_names {
	const char *name, *addr; /* what the node asks for */
	const char *remote;      /* where its request came from, "10.0.0.1:4711" */
	const char *service_ip;  /* the API's address as a Service; may be NULL */
	const struct kv_member *servers;
	size_t n_servers;
};
/* ERR_BAD_REQUEST: no name or no address; ERR_FORBIDDEN: somebody else's. */
int join_names_check(const struct join_names *, struct err *);

#endif
