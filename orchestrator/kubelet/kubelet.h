/*
 * The kubelet: runs the pods that are bound to this node, over CRI, and tells the API how they are.
 *
 * Everything belongs to one loop. Inputs come from outside (informers, in the agent; files, in tests):
 * kubelet_pod_set and kubelet_pod_delete for the node's pods, kubelet_pods_synced once all are known (only then are
 * leftovers of pods that nobody wants removed), kubelet_service_set/delete for service environment variables,
 * kubelet_node_set for our own Node object. Outputs go through the client: pod status, deletion, events, tokens, the
 * Node and its Lease.
 *
 *	informers --> kubelet_pod_set --> pod worker --pod_sync()--> actions --> CRI
 *	                                      ^  |                                |
 *	             probes, timers ----------+  +--> status --> client           |
 *	             runtime.c: relist <-----------------containerd events <------+
 *
 * Pods run on when the kubelet stops; the next one finds them.
 */
#ifndef KUBELET_KUBELET_H
#define KUBELET_KUBELET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"
#include "proto/core.pb-c.h"

struct buf;
struct client;
struct eviction_cfg;
struct image_gc_cfg;
struct kubelet;
struct tls_ctx;

struct kubelet_cfg {
	struct loop *loop;
	struct client *client;      /* for this loop */
	const char *node_name;      /* as in the Node object */
	const char *node_ip;        /* InternalIP */
	const char *dir;            /* <data dir>/agent: pods/, logs/, containerd/ */
	const char *images_dir;     /* archives to import; NULL: none */
	const char *runtime_socket; /* CRI of somebody else's runtime; NULL: our own containerd */
	const char *cgroup_root;    /* NULL: "/kubepods" */
	const char *process_cgroup; /* containerd joins this group's directory (v2) or none; NULL */
	const char *pause_image;    /* NULL: registry.k8s.io/pause:3.9 */
	const char *cluster_dns;    /* NULL: 10.96.0.10; "": none */
	const char *cluster_domain; /* NULL: cluster.local */
	const char *resolv_conf;    /* NULL: /etc/resolv.conf */
	const char *version;        /* kubeletVersion: "v1.32.0+kontiki" */
	const char *node_labels;    /* "a=b,c=d" or NULL */
	const char *node_taints;    /* "key=value:Effect,..." or NULL */
	unsigned max_pods;          /* 0: 110 */
	const struct eviction_cfg *eviction; /* NULL: eviction-config.h's defaults */
	const struct image_gc_cfg *image_gc; /* NULL: image-gc.h's defaults */
	bool register_node;         /* make and keep the Node and its Lease */
	/* The HTTPS server for logs, exec, attach and port-forward; port 0: chosen by the kernel, < 0: none. */
	int port;
	struct tls_ctx *tls;        /* server context that asks for client certificates */
	int healthz_port;           /* on 127.0.0.1; < 0: none */
	/* Called when the node's pod CIDR is known, before the CNI configuration is written: the bridge and routes. May
	 * fill the members of the CNI plugin's configuration (JSON members without braces); by default they are podCIDR
	 * and ipamDir (<dir>/ipam), as net/cni.h wants them. */
	void (*pod_cidr)(struct kubelet_cfg *, const char *cidr, struct buf *cni_members);
	/*
	 * May containers start in a pod that has this address, and no other network than its own? NULL: always. While they may not,
	 * *ret_why (NULL: it only takes a moment) is told by an event; kubelet_network_changed makes the kubelet ask again.
	 */
	bool (*admit)(struct kubelet_cfg *, const Core__Pod *, const char *ip, const char **ret_why);
	/* Nothing of a pod that was asked about runs any more. NULL: nobody wants to know. */
	void (*pod_gone)(struct kubelet_cfg *, const char *uid);
	/* Tests and the agent's own progress lines. */
	void (*on_status)(struct kubelet_cfg *, const Core__Pod *, const Core__PodStatus *);
	void *data;
};

/* The configuration is borrowed for as long as the kubelet runs. */
int kubelet_start(struct kubelet_cfg *, struct kubelet **ret, struct err *e);
/* Pods keep running. stopped is the last call. */
void kubelet_stop(struct kubelet *, void (*stopped)(void *arg), void *arg);

/* `pod` is copied. */
void kubelet_pod_set(struct kubelet *, const Core__Pod *pod);
void kubelet_pod_delete(struct kubelet *, const char *uid);
void kubelet_pods_synced(struct kubelet *);
void kubelet_service_set(struct kubelet *, const Core__Service *);
void kubelet_service_delete(struct kubelet *, const char *ns, const char *name);
/* Our Node, as the API has it. */
void kubelet_node_set(struct kubelet *, const Core__Node *);
/* A ConfigMap or Secret changed: pods that use it look again soon. */
void kubelet_object_changed(struct kubelet *, const char *ns, const char *name);

/* What admit says may have changed. */
void kubelet_network_changed(struct kubelet *);
/* Why NetworkPolicies are not enforced on this node: a condition of the Node. NULL: they are. Copied. */
void kubelet_network_trouble(struct kubelet *, const char *why);

/* The TLS port in use, 0 when there is no server. */
uint16_t kubelet_port(const struct kubelet *);

#endif
