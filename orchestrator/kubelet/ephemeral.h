/*
 * Ephemeral containers: added to a pod that exists (kubectl debug), started once in its running sandbox, never again.
 *
 * Their spec has the fields of a container's under the same numbers, and the target: a container whose processes they
 * see. Here they become ordinary container specs, so that all that is made from a spec is made from theirs too.
 */
#ifndef KUBELET_EPHEMERAL_H
#define KUBELET_EPHEMERAL_H

#include "orchestrator/kubelet/runtime.h"
#include "proto/core.pb-c.h"

/* The same as a container's spec, in the arena. */
Core__Container *ephemeral_spec(struct arena *, const Core__EphemeralContainer *);
/* All of the pod's, in order. */
Core__Container **ephemeral_specs(struct arena *, const Core__Pod *);
/*
 * The id of the container whose process namespace the container of that name joins; "" for one of its own (or no
 * ephemeral container). An error when the target does not run in the sandbox.
 */
int ephemeral_target(const Core__Pod *, const char *name, const struct rt_pod *, const char **ret_id, struct err *e);

#endif
