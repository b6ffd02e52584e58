/* What the servers of a local cluster say about themselves; for `kontiki node list`. */
#ifndef CLI_LOCAL_ROLE_H
#define CLI_LOCAL_ROLE_H

#include <stdbool.h>

#include "base/err.h"

struct local;

#define LOCAL_ROLE_SIZE 16

/*
 * For each node of the cluster "leader", "follower", "alone" (it knows no leader), or "-": an agent, a server that does not run or that does not answer through
 * the cluster's network within half a second. `running` says whom to ask. This process is in the network namespace of
 * the cluster's switch afterwards.
 */
int local_roles(const struct local *, const bool *running, char (*out)[LOCAL_ROLE_SIZE], struct err *e);

#endif
