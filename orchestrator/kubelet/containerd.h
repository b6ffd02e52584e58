/*
 * The node's own containerd: its configuration, its process, and the image archives that are imported into it.
 *
 * containerd outlives us: it is started in a session of its own, and a restarted agent finds it by its socket and
 * takes it over, so pods run on. While it is gone it is started again with a back-off. `ready` is told when CRI answers
 * and says RuntimeReady, `lost` when the process or its socket went away; they alternate.
 *
 * Everything lives below one directory: config.toml, root/, state/, containerd.sock, containerd.log, opt/, cni/bin,
 * cni/net.d. Paths of unix sockets are short (108 bytes), so the directory's path must be too.
 */
#ifndef KUBELET_CONTAINERD_H
#define KUBELET_CONTAINERD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"
#include "orchestrator/kubelet/cri.h"

struct containerd;

struct containerd_event {
	char topic[64];         /* "/tasks/exit", "/tasks/oom" */
	char container_id[129]; /* also of a sandbox */
	char id[129];           /* of the process: another one than container_id for a command run by exec */
};

struct containerd_user {
	/* The runtime answers; `version` such as "1.6.20" lives as long as the containerd. */
	void (*ready)(struct containerd_user *, const char *version);
	void (*lost)(struct containerd_user *, const struct err *why);
	/* An archive was imported (or failed: logged), or the first pass over the folder ended. */
	void (*images_changed)(struct containerd_user *);
	/* A task ended or ran out of memory. */
	void (*event)(struct containerd_user *, const struct containerd_event *);
};

struct containerd_config {
	const char *dir;        /* <agent dir>/containerd */
	const char *images_dir; /* archives (*.tar) to import; NULL: none */
	const char *socket;     /* use this runtime instead of one of our own; NULL: our own */
	const char *binary;     /* NULL: "containerd" from PATH */
	const char *ctr;        /* NULL: "ctr" from PATH */
	const char *pause_image;
	const char *cgroup_dir; /* as process_spec; NULL: ours */
};

int containerd_start(struct loop *, const struct containerd_config *, struct containerd_user *,
		struct containerd **ret, struct err *e);
/* Leaves containerd running. stopped (may be NULL) is the last call. */
void containerd_stop(struct containerd *, void (*stopped)(void *arg), void *arg);
struct cri *containerd_cri(struct containerd *);
/* True while archives that were there at the start are still being imported. */
bool containerd_importing(const struct containerd *);
/* True when that full name ("docker.io/library/busybox:latest") came from an archive of the folder. */
bool containerd_is_archived(const struct containerd *, const char *name);
/* True when the pause image is in (or nothing is left that could bring it). */
bool containerd_can_sandbox(const struct containerd *);

/*
 * The CNI configuration, written once the node knows its pod network; containerd sees it at once. `conf` is the
 * "plugins" array's first object without `type`, as JSON members: "\"bridge\":\"kontiki0\",...".
 */
int containerd_write_cni(const char *dir, const char *name, const char *type, struct str members, struct err *e);

/* The configuration text alone, for a look at it in tests. */
void containerd_print_config(const struct containerd_config *, bool restrict_oom, bool overlay, struct buf *out);

/*
 * Synchronous: end everything that a containerd of this directory left: its tasks, shims, mounts and cgroups below
 * cgroup_parent ("/kontiki/x/pods"; NULL: only what the shims tell). For `kontiki down` and tests.
 */
int containerd_teardown(const char *dir, const char *cgroup_parent, struct err *e);

#endif
