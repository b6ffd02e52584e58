/*
 * A cluster on this machine, as `kontiki up` makes it: what it consists of, on disk and in the kernel.
 *
 * A cluster NAME lives in one folder (default /var/lib/kontiki/clusters/NAME):
 *
 *	cluster.conf       what was asked for, a word and values a line
 *	pki/               the cluster's CA and the administrator's certificate; admin.kubeconfig beside it
 *	lb.pid lb.log      the balancer on the host's loopback
 *	NODE/              a node's data directory, its log and process id
 *
 * and in the kernel: a network namespace kontiki-NAME-switch with a bridge for each subnet, one namespace kontiki-NAME-NODE for each node with
 * eth0 in it, and a control group kontiki/NAME/NODE that holds every process of the node, so that nothing is left behind.
 * A node's processes also share a mount namespace: containerd's mounts never show on the host.
 *
 * All functions are synchronous and for the command line only.
 */
#ifndef CLI_LOCAL_H
#define CLI_LOCAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "net/link.h"

#define LOCAL_NAME_MAX 32
#define LOCAL_NODES_MAX 64
#define LOCAL_SUBNETS_MAX 4
#define LOCAL_PATH_MAX 512
#define LOCAL_DEFAULT_NAME "kontiki"
#define LOCAL_DEFAULT_ROOT "/var/lib/kontiki/clusters"

struct local_node {
	char name[LOCAL_NAME_MAX];
	bool is_server;
	uint32_t addr; /* eth0, host byte order */
};

struct local {
	char name[LOCAL_NAME_MAX];
	char dir[LOCAL_PATH_MAX];
	struct ip4_net subnets[LOCAL_SUBNETS_MAX]; /* the nodes take turns; the switch routes between them */
	unsigned n_subnets;
	uint16_t port; /* of the balancer, on the host's loopback */
	bool internet;
	struct local_node nodes[LOCAL_NODES_MAX];
	unsigned n_nodes, n_servers;
};

/* The folder for a name, or `dir` itself when given. */
void local_dir(const char *name, const char *dir, char out[LOCAL_PATH_MAX]);
/* Lay out a new cluster: names and addresses. Checks the name, counts and that the subnets are large enough. */
int local_plan(struct local *, const char *name, const char *dir, unsigned servers, unsigned agents,
		const struct ip4_net *subnets, unsigned n_subnets, struct err *e);
/* Index of the subnet that an address is in. */
unsigned local_subnet(const struct local *, uint32_t addr);
/* The switch's own address in a subnet: its first. */
struct ip4_net local_gateway(const struct local *, unsigned subnet);
/* ERR_NOT_FOUND with a hint when there is no such cluster. */
int local_load(struct local *, const char *name, const char *dir, struct err *e);
int local_save(const struct local *, struct err *e);
const struct local_node *local_node(const struct local *, const char *name, struct err *e);

void local_netns(const struct local *, const char *node, char out[128]); /* node NULL: the switch */
void local_path(const struct local *, const char *node, const char *file, char out[LOCAL_PATH_MAX]);

/* Namespaces, bridge, links and addresses; what is there stays. */
int local_net_up(const struct local *, struct err *e);
int local_net_down(const struct local *, struct err *e);
/* Take the node's cable out of the bridge, or put it back. Its carrier stays up, so that packets just vanish. */
int local_net_cut(const struct local *, const char *node, bool cut, struct err *e);

/*
 * Start argv (its first word is the program) as the node's process, or outside of any node (node NULL: the balancer), in the background with its
 * output appended to `log`; its id goes to `pidfile`. Returns the process id or a negative error.
 */
pid_t local_spawn(const struct local *, const char *node, const char *pidfile, const char *log, char **argv,
		struct err *e);
/* The process of a pidfile if it is alive (and still the one that was started), else 0. */
pid_t local_pid(const struct local *, const char *node, const char *pidfile);
/* Signal it and wait up to timeout_ms for its end. 0 when it is gone or never was. */
int local_stop(const struct local *, const char *node, const char *pidfile, int sig, unsigned timeout_ms, struct err *e);
/* Kill every process of the node (containers too) and remove its control groups. */
int local_kill_all(const struct local *, const char *node, struct err *e);

/* mkdir -p, rm -rf (which never crosses into another file system), whole files. */
int dir_make(const char *path, mode_t mode, struct err *e);
int dir_remove(const char *path, struct err *e);
/* Reads up to `limit` bytes into a fresh NUL-terminated string; caller frees. NULL on error. */
char *file_read(const char *path, size_t limit, struct err *e);

#endif
