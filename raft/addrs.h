/*
 * A member's peer addresses: one, or several with commas ("10.0.0.1:2380,192.168.0.1:2380"), all of the same member; it is tried at one after
 * the other. Two members cannot have one in common.
 */
#ifndef RAFT_ADDRS_H
#define RAFT_ADDRS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

size_t addrs_n(struct str list);
/* The i-th, going round. */
struct str addrs_at(struct str list, size_t i);
/* Both have one of them. Of a list that is empty nobody has any. */
bool addrs_meet(struct str a, struct str b);
/* No part is empty. */
bool addrs_ok(struct str list);

#endif
