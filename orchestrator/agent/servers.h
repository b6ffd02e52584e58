/*
 * Which servers there are: the endpoints of the Service `kubernetes`, followed for the balancer, so that an agent reaches servers
 * that joined after it was started and forgets those that were removed.
 *
 * The list is also kept in a file: a node that starts again when none of the servers it was once told of is left still
 * finds the cluster. A list without any endpoint changes nothing: whoever has lost all its servers asks the last ones.
 */
#ifndef ORCHESTRATOR_AGENT_SERVERS_H
#define ORCHESTRATOR_AGENT_SERVERS_H

#include <stddef.h>

#include "base/arena.h"

struct balancer;
struct informer;
struct servers;

struct servers_cfg {
	struct informer *slices;  /* EndpointSlices of all namespaces */
	struct balancer *balancer;
	const char *node_ip;
	/* With a server on this node: the address by which the agent reaches it, which stands for the one of node_ip. NULL: none. */
	const char *own;
	const char *file;
};

/* Before the informer starts. The cfg is copied, what it points to is borrowed. */
struct servers *servers_start(const struct servers_cfg *);
/* When the informer no longer runs. */
void servers_stop(struct servers *);

/* "ip:port" of every endpoint, sorted, the one of `node_ip` first and as `own` (or NULL). */
size_t servers_list(const struct informer *slices, const char *node_ip, const char *own, struct arena *, const char ***ret);
/* Those that are given, then what else is in the file. */
size_t servers_known(const char *file, const char *const *given, size_t n_given, struct arena *, const char ***ret);

#endif
