/*
 * From a pod's spec to what CRI wants to hear: the sandbox's and the containers' configurations. Pure, but for the
 * small files that a container gets of its own (termination log, subPath mounts), which pod_container_files makes.
 */
#ifndef KUBELET_POD_CONFIG_H
#define KUBELET_POD_CONFIG_H

#include "orchestrator/kubelet/volumes.h"
#include "proto/cri.pb-c.h"

/* What is the same for all pods of the node. */
struct pod_host {
	const char *pods_dir;     /* <agent dir>/pods */
	const char *logs_dir;     /* <agent dir>/logs */
	const char *cgroup_root;  /* "/kubepods" */
	const char *node_name, *node_ip;
	const char *cluster_dns;  /* "10.96.0.10"; "" for none */
	const char *domain;       /* "cluster.local" */
	const char *resolv_conf;  /* the node's: "/etc/resolv.conf" */
	int64_t memory_capacity, cpu_milli, storage_capacity, storage_allocatable;
};

char *pod_dir(struct arena *, const struct pod_host *, const char *uid);
char *pod_log_dir(struct arena *, const struct pod_host *, const char *ns, const char *name, const char *uid);
/* hostname inside the pod, and its cluster domain name ("" without a subdomain). */
char *pod_hostname(struct arena *, const Core__Pod *);
char *pod_fqdn(struct arena *, const struct pod_host *, const Core__Pod *);

Runtime__PodSandboxConfig *pod_sandbox_config(struct arena *, const struct pod_host *, const Core__Pod *, uint32_t attempt);
/* The text of the pod's /etc/hosts. */
char *pod_hosts_file(struct arena *, const struct pod_host *, const Core__Pod *, const char *pod_ip);

struct container_in {
	const struct pod_host *host;
	const Core__Pod *pod;
	const Core__Container *spec;
	const struct env_list *env;
	uint32_t attempt;
	const char *image_ref; /* what the runtime calls the image */
	/* The image's own user, for runAsNonRoot; uid -1: given by name. */
	int64_t image_uid;
	const char *image_user;
	const char *hash;
	const char *target_id; /* the container whose processes it shares; "" or NULL: none */
};
/* Makes the files that the mounts need as it goes. Errors are of the kind CreateContainerConfigError. */
int pod_container_config(struct arena *, const struct container_in *, Runtime__ContainerConfig **ret, struct err *e);

#endif
