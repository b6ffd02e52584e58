/*
 * Volumes of a pod on its node: making them, keeping their contents current, and removing them.
 *
 * Everything is below the pod's directory, as upstream lays it out: volumes/kubernetes.io~<plugin>/<name>. Secrets and
 * tokens live on a tmpfs, so they never reach the disk. The contents of configMap, secret, downwardAPI and projected
 * volumes come from a pure function (volume_render) and are written atomically.
 */
#ifndef KUBELET_VOLUMES_H
#define KUBELET_VOLUMES_H

#include "base/arena.h"
#include "base/err.h"
#include "orchestrator/kubelet/atomic-writer.h"
#include "orchestrator/kubelet/claims.h"
#include "orchestrator/kubelet/env.h"

struct vol_ctx {
	const char *pod_dir; /* <agent dir>/pods/<uid> */
	struct env_ctx env;
	struct claims_ctx claims;
};

/* Where the volume is on the node; NULL for a type that is not supported. */
char *volume_path(struct arena *, const char *pod_dir, const Core__Volume *);
/* The files of a configMap, secret, downwardAPI or projected volume. */
int volume_render(struct arena *, const struct vol_ctx *, const Core__Volume *, struct aw_file **ret, size_t *ret_n,
		struct err *e);
/* Make all volumes and fill them; may be repeated. */
int volumes_setup(const struct vol_ctx *, struct err *e);
/* True when some volume's contents can change while the pod runs. */
bool volumes_have_contents(const Core__Pod *);
/* Unmount and delete the pod's directory. */
int volumes_teardown(const char *pod_dir, struct err *e);
/*
 * The host path for a mount with a subPath: made when absent, symbolic links cannot lead out of the volume. The result
 * is a bind mount of our own below the pod's directory, so that it cannot be swapped later either.
 */
int volume_subpath(struct arena *, const char *pod_dir, const char *volume_path, const char *subpath,
		const char *container, size_t i, char **ret, struct err *e);

#endif
