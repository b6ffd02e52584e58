/*
 * Volumes that outlive their pod: what a claim is bound to, made available below the pod's directory by a symbolic link.
 *
 * A link, not a mount: whatever goes wrong when a pod's directory is removed, the data behind it are never reached by that.
 *
 * Volumes of the provisioner kontiki.dev/local-path are directories of this node's own folder, <agent dir>/volumes/NAME, made here when
 * the first pod comes. Removing one renames it first, within the folder, and deletes it afterwards in peace; only names that can be a
 * volume's are taken, so that nothing outside of the folder is ever touched.
 */
#ifndef KUBELET_CLAIMS_H
#define KUBELET_CLAIMS_H

#include "base/arena.h"
#include "base/err.h"
#include "orchestrator/kubelet/objects.h"

struct claims_ctx {
	const char *node_name;
	const char *folder; /* <agent dir>/volumes */
};

/* The path on the node of what the claim is bound to. Refuses what cannot be used here. */
int claim_source(struct arena *, const struct claims_ctx *, const struct obj_ref *, const char **ret, struct err *e);
/* Makes what may be made, and `link` points there. */
int claim_setup(const struct claims_ctx *, const struct obj_ref *, const char *link, struct err *e);
/* Takes a volume away; absent: success. Its files go with the next claims_sweep. */
int claims_remove(const char *folder, const char *name, struct err *e);
/* Deletes what was taken away. Can take long: not on a loop. */
void claims_sweep(const char *folder);

#endif
