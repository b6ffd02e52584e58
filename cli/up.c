/* kontiki up, down, node, kubeconfig: a cluster on this machine, for trying, testing and breaking. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/local.h"
#include "cli/local_role.h"
#include "cli/local_wait.h"
#include "cli/pki.h"
#include "net/netns.h"

#define DEFAULT_IMAGES "/var/lib/kontiki/images"
#define DEFAULT_SUBNET "10.77.0.0/24"
#define FIRST_PORT 6443
#define LAST_PORT 6499
#define DISK_PRESSURE_PERCENT 15 /* the kubelet's default for the images, which are on the same disk */

struct local_opts {
	const char *name, *dir, *images;
	struct opt_list subnets;
	int64_t servers, agents, timeout_s;
	bool internet, machine, merge;
};

#define ROW_NAME {"name", 0, OPT_STR, offsetof(struct local_opts, name), "NAME", "the cluster's name (default " LOCAL_DEFAULT_NAME ")", "KONTIKI_CLUSTER", NULL}
#define ROW_DIR {"dir", 0, OPT_STR, offsetof(struct local_opts, dir), "DIR", "its folder (default " LOCAL_DEFAULT_ROOT "/NAME)", "KONTIKI_CLUSTER_DIR", NULL}

static const struct opt up_rows[] = {
	{"servers", 0, OPT_INT, offsetof(struct local_opts, servers), "N", "servers: control plane and node in one (default 3)", NULL, NULL},
	{"agents", 0, OPT_INT, offsetof(struct local_opts, agents), "N", "further nodes without a control plane (default 0)", NULL, NULL},
	ROW_NAME,
	{"subnet", 0, OPT_LIST, offsetof(struct local_opts, subnets), "CIDR", "the nodes' network (default " DEFAULT_SUBNET "); repeat it, and the nodes take turns, with a router between", NULL, NULL},
	ROW_DIR,
	{"images", 0, OPT_STR, offsetof(struct local_opts, images), "DIR", "image archives (*.tar) that every node imports (default " DEFAULT_IMAGES ", if it is there)", "KONTIKI_IMAGES", NULL},
	{"internet", 0, OPT_BOOL, offsetof(struct local_opts, internet), "", "give the nodes a route to the outside, for image pulls", NULL, NULL},
	{"timeout", 0, OPT_INT, offsetof(struct local_opts, timeout_s), "SECONDS", "how long to wait for the cluster (default 120)", NULL, NULL},
	OPT_END,
};
static const struct opt down_rows[] = {ROW_NAME, ROW_DIR, OPT_END};
static const struct opt kubeconfig_rows[] = {
	ROW_NAME,
	ROW_DIR,
	{"merge", 0, OPT_BOOL, offsetof(struct local_opts, merge), "", "merge it into $KUBECONFIG or ~/.kube/config instead of printing it", NULL, NULL},
	OPT_END,
};
static const struct opt node_rows[] = {
	ROW_NAME,
	ROW_DIR,
	{"machine", 0, OPT_BOOL, offsetof(struct local_opts, machine), "", "with kill and stop: every process of the node, its containers too", NULL, NULL},
	{"timeout", 0, OPT_INT, offsetof(struct local_opts, timeout_s), "SECONDS", "how long stop waits (default 30)", NULL, NULL},
	OPT_END,
};

static int need_root(const char *what, struct err *e)
{
	if (geteuid() == 0)
		return 0;
	return err_set(e, ERR_FORBIDDEN, "%s makes network namespaces and runs containers: run it as root", what);
}

static const char *self_path(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	ASSERT(n > 0);
	path[n] = '\0';
	return path;
}

/* --- Starting nodes ------------------------------------------------------------------------------------ */

static char *server_list(const struct local *l, struct arena *a, const char *fmt_sep)
{
	char text[IP4_STR_SIZE];
	struct buf b = BUF_INIT;
	char *out;

	for (unsigned i = 0; i < l->n_nodes; i++)
		if (l->nodes[i].is_server)
			buf_printf(&b, "%s%s=%s:2380", b.n ? fmt_sep : "", l->nodes[i].name,
					ip4_print(l->nodes[i].addr, text));
	out = arena_strdup(a, b.p);
	buf_fini(&b);
	return out;
}

static pid_t start_node(const struct local *l, const struct local_node *n, struct err *e)
{
	const char *argv[32];
	char addr[IP4_STR_SIZE], dir[LOCAL_PATH_MAX], cgroup[256];
	struct arena a;
	size_t k = 0;
	pid_t pid;

	arena_init(&a);
	local_path(l, n->name, "", dir);
	dir[strlen(dir) - 1] = '\0';
	ip4_print(n->addr, addr);
	snprintf(cgroup, sizeof(cgroup), "/kontiki/%s/%s", l->name, n->name);
	argv[k++] = self_path();
	argv[k++] = n->is_server ? "server" : "agent";
	argv[k++] = "--name";
	argv[k++] = n->name;
	argv[k++] = "--data-dir";
	argv[k++] = dir;
	argv[k++] = "--advertise-address";
	argv[k++] = addr;
	argv[k++] = "--cgroup-root";
	argv[k++] = cgroup;
	if (n->is_server) {
		argv[k++] = "--initial-cluster";
		argv[k++] = server_list(l, &a, ",");
	} else {
		for (unsigned i = 0; i < l->n_nodes && k < 24; i++)
			if (l->nodes[i].is_server) {
				char s[IP4_STR_SIZE];

				argv[k++] = "--server";
				argv[k++] = arena_printf(&a, "https://%s:6443", ip4_print(l->nodes[i].addr, s));
			}
	}
	argv[k] = NULL;
	pid = local_spawn(l, n->name, "kontiki.pid", "kontiki.log", (char **)argv, e);
	arena_fini(&a);
	return pid;
}

static pid_t start_lb(const struct local *l, struct err *e)
{
	const char *argv[64];
	char listen[32], ca[LOCAL_PATH_MAX], ns[128];
	struct arena a;
	size_t k = 0;
	pid_t pid;

	arena_init(&a);
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", l->port);
	local_path(l, NULL, "pki/ca.crt", ca);
	local_netns(l, NULL, ns);
	argv[k++] = self_path();
	argv[k++] = "lb";
	argv[k++] = "--listen";
	argv[k++] = listen;
	argv[k++] = "--ca";
	argv[k++] = ca;
	argv[k++] = "--netns";
	argv[k++] = ns;
	for (unsigned i = 0; i < l->n_nodes && k < 60; i++)
		if (l->nodes[i].is_server) {
			char s[IP4_STR_SIZE];

			argv[k++] = "--backend";
			argv[k++] = arena_printf(&a, "%s:6443", ip4_print(l->nodes[i].addr, s));
		}
	argv[k] = NULL;
	pid = local_spawn(l, NULL, "lb.pid", "lb.log", (char **)argv, e);
	arena_fini(&a);
	return pid;
}

/* --- up ------------------------------------------------------------------------------------------------- */

static bool port_is_free(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	bool is_free;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	closep(&fd);
	return is_free;
}

static int choose_port(struct local *l, struct err *e)
{
	for (uint16_t p = FIRST_PORT; p <= LAST_PORT; p++)
		if (port_is_free(p)) {
			l->port = p;
			return 0;
		}
	return err_set(e, ERR_ALREADY_EXISTS, "no free port between %d and %d on 127.0.0.1", FIRST_PORT, LAST_PORT);
}

static int find_or_plan(struct local *l, const struct local_opts *o, struct err *e)
{
	struct ip4_net subnets[LOCAL_SUBNETS_MAX] = {0};
	unsigned n = 0;
	int rv = local_load(l, o->name, o->dir, e);

	if (rv != -(int)ERR_NOT_FOUND)
		return rv;
	if (o->subnets.n == 0)
		ip4_net_parse(STR(DEFAULT_SUBNET), &subnets[n++]);
	for (size_t i = 0; i < o->subnets.n; i++)
		if (i == LOCAL_SUBNETS_MAX)
			return err_set(e, ERR_BAD_REQUEST, "at most %d subnets are possible", LOCAL_SUBNETS_MAX);
		else if (!ip4_net_parse(str_from(o->subnets.v[i]), &subnets[n++]))
			return err_set(e, ERR_BAD_REQUEST, "subnet \"%s\": give an IPv4 network such as " DEFAULT_SUBNET, o->subnets.v[i]);
	rv = local_plan(l, o->name, o->dir, (unsigned)MAX(o->servers, 0), (unsigned)MAX(o->agents, 0), subnets, n, e);
	if (rv == 0)
		rv = choose_port(l, e);
	if (rv == 0)
		rv = dir_make(l->dir, 0755, e);
	l->internet = o->internet;
	return rv == 0 ? local_save(l, e) : rv;
}

/* The same archives for every node: a link each, so that nothing is copied. */
static int link_images(const struct local *l, const char *node, const char *from, struct err *e)
{
	char to[LOCAL_PATH_MAX], target[PATH_MAX];
	struct stat st;

	if (from == NULL && access(DEFAULT_IMAGES, F_OK) < 0)
		return 0;
	if (from == NULL)
		from = DEFAULT_IMAGES;
	if (realpath(from, target) == NULL || stat(target, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_NOT_FOUND, "image folder %s does not exist; tools/images makes one", from);
	local_path(l, node, "images", to);
	if (unlink(to) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "replace %s", to);
	return symlink(target, to) < 0 ? err_set_errno(e, errno, "link %s", to) : 0;
}

static int prepare_node(const struct local *l, const struct local_node *n, const char *images, struct err *e)
{
	char pki[LOCAL_PATH_MAX], from[LOCAL_PATH_MAX], own[LOCAL_PATH_MAX], addr[IP4_STR_SIZE];
	struct pki_node p = {.name = n->name, .addr = ip4_print(n->addr, addr), .service_ip = "10.96.0.1",
			.domain = "cluster.local"};
	int rv;

	local_path(l, NULL, "pki", from);
	local_path(l, n->name, "pki", pki);
	local_path(l, n->name, "pki/ca.crt", own);
	/* A node that has run before knows better than this folder what the CA is. */
	rv = access(own, F_OK) == 0 ? 0 : pki_copy_ca(from, pki, e);
	/* An agent keeps its own certificate, but not the key that could make others. */
	local_path(l, n->name, "pki/ca.key", own);
	if (rv == 0 && !n->is_server && access(own, F_OK) == 0) {
		rv = pki_ensure_kubelet(pki, &p, e);
		local_path(l, n->name, "pki/ca.key", from);
		unlink(from);
		local_path(l, n->name, "pki/sa.key", from);
		unlink(from);
	}
	return rv == 0 ? link_images(l, n->name, images, e) : rv;
}

static int prepare(const struct local *l, const struct local_opts *o, struct err *e)
{
	char pki[LOCAL_PATH_MAX], path[LOCAL_PATH_MAX], url[64];
	struct buf b = BUF_INIT;
	int rv;

	local_path(l, NULL, "pki", pki);
	rv = pki_ensure_ca(pki, e);
	if (rv == 0)
		rv = pki_ensure_admin(pki, e);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", l->port);
	if (rv == 0)
		rv = pki_kubeconfig(pki, "admin", l->name, url, &b, e);
	local_path(l, NULL, "admin.kubeconfig", path);
	if (rv == 0)
		rv = file_put(path, buf_str(&b), 0600, true, e);
	buf_fini(&b);
	for (unsigned i = 0; rv == 0 && i < l->n_nodes; i++)
		rv = prepare_node(l, &l->nodes[i], o->images, e);
	return rv == 0 ? local_net_up(l, e) : rv;
}

static int start_all(const struct local *l, struct err *e)
{
	pid_t pid = 0;

	for (unsigned i = 0; pid >= 0 && i < l->n_nodes; i++)
		if (local_pid(l, l->nodes[i].name, "kontiki.pid") == 0)
			pid = start_node(l, &l->nodes[i], e);
	if (pid >= 0 && local_pid(l, NULL, "lb.pid") == 0)
		pid = start_lb(l, e);
	return pid < 0 ? (int)pid : 0;
}

/* Held from the choice of a port until the balancer has it, so that two clusters that come up at once get two ports. */
static int lock_ports(void)
{
	int fd = open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a lock that leaves nothing behind */

	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

static void await_balancer(const struct local *l)
{
	for (unsigned i = 0; i < 100 && port_is_free(l->port) && local_pid(l, NULL, "lb.pid") != 0; i++)
		usleep(10000);
}

/* On a nearly full disk the nodes are ready, and run nothing: say why before somebody wonders. */
static void warn_of_full_disk(const struct local *l)
{
	struct statvfs fs;
	double left;

	if (getenv("KONTIKI_EVICTION_HARD") || statvfs(l->dir, &fs) < 0 || fs.f_blocks == 0)
		return;
	left = (double)fs.f_bavail * 100 / (double)fs.f_blocks;
	if (left < DISK_PRESSURE_PERCENT)
		printf("\nOnly %.0f %% of the disk of %s are left. Below %d %% the nodes are under DiskPressure: they take no new pods and evict those\n"
		       "that run (`kontiki describe node`). Free some of it, or start them with other thresholds:\n\n"
		       "  KONTIKI_EVICTION_HARD='memory.available<100Mi,nodefs.available<1%%' kontiki up\n",
				left, l->dir, DISK_PRESSURE_PERCENT);
}

static int up(const struct local_opts *o, struct err *e)
{
	_cleanup_(closep) int lock = -1;
	uint64_t began = clock_mono_ms();
	struct local l;
	char path[LOCAL_PATH_MAX], text[IP4_STR_SIZE];
	int rv = need_root("kontiki up", e);

	if (rv == 0) {
		lock = lock_ports();
		rv = find_or_plan(&l, o, e);
	}
	if (rv < 0)
		return rv;
	printf("cluster %s: %u servers, %u agents, network", l.name, l.n_servers, l.n_nodes - l.n_servers);
	for (unsigned i = 0; i < l.n_subnets; i++)
		printf(" %s", ip4_net_print(l.subnets[i], text));
	printf(", API on https://127.0.0.1:%u\n", l.port);
	fflush(stdout);
	rv = prepare(&l, o, e);
	if (rv == 0)
		rv = start_all(&l, e);
	if (rv == 0)
		await_balancer(&l);
	closep(&lock);
	lock = -1;
	if (rv == 0)
		rv = local_wait_ready(&l, (unsigned)o->timeout_s * 1000, e);
	if (rv < 0)
		return rv;
	local_path(&l, NULL, "admin.kubeconfig", path);
	printf("ready after %.1f s\n\n  export KUBECONFIG=%s\n  kubectl get nodes\n", (double)(clock_mono_ms() - began) / 1000, path);
	warn_of_full_disk(&l);
	return 0;
}

static struct local_opts default_opts(void)
{
	return (struct local_opts){.name = LOCAL_DEFAULT_NAME, .servers = 3, .timeout_s = 120};
}

int cmd_up(int argc, char **argv)
{
	struct local_opts o = default_opts();
	struct opt_args args;
	struct err e = ERR_INIT;
	int rv;

	if (cmd_wants_help(argc, argv, "usage: kontiki up [OPTIONS]\n\nMakes a highly available cluster on this machine, each node in a network "
			"namespace of its own, and starts it.\nIts nodes take what options they find in the environment, such as KONTIKI_EVICTION_HARD.\n"
			"Run again, it starts what does not run. `kontiki down` removes it.\n", up_rows))
		return CMD_OK;
	if (opts_parse(up_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("up", &e);
	opt_args_fini(&args);
	rv = up(&o, &e);
	opt_list_fini(&o.subnets);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}

/* --- down ------------------------------------------------------------------------------------------------ */

static int down(const struct local_opts *o, struct err *e)
{
	struct local l;
	int rv = need_root("kontiki down", e);

	if (rv == 0)
		rv = local_load(&l, o->name, o->dir, e);
	if (rv < 0)
		return rv;
	printf("cluster %s: stopping %u nodes\n", l.name, l.n_nodes);
	fflush(stdout);
	rv = local_stop(&l, NULL, "lb.pid", SIGTERM, 5000, e);
	for (unsigned i = 0; rv == 0 && i < l.n_nodes; i++)
		rv = local_kill_all(&l, l.nodes[i].name, e);
	if (rv == 0)
		rv = local_net_down(&l, e);
	/* The mounts lived in the nodes' own mount namespaces, which are gone with their processes. */
	if (rv == 0)
		rv = dir_remove(l.dir, e);
	if (rv == 0)
		printf("cluster %s is gone\n", l.name);
	return rv;
}

int cmd_down(int argc, char **argv)
{
	struct local_opts o = default_opts();
	struct opt_args args;
	struct err e = ERR_INIT;

	if (cmd_wants_help(argc, argv, "usage: kontiki down [--name NAME]\n\nKills every process of the cluster and removes its folder, namespaces, "
			"links, mounts and control groups.\n", down_rows))
		return CMD_OK;
	if (opts_parse(down_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("down", &e);
	opt_args_fini(&args);
	return down(&o, &e) < 0 ? cmd_fail(&e) : CMD_OK;
}

/* --- node ------------------------------------------------------------------------------------------------- */

static char process_state(pid_t pid)
{
	char path[64], *text, *p, state = '?';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	text = file_read(path, 4096, NULL);
	p = text ? strrchr(text, ')') : NULL;
	if (p && p[1] && p[2])
		state = p[2];
	free(text);
	return state;
}

static int node_list(const struct local *l, struct err *e)
{
	const char *states[LOCAL_NODES_MAX];
	char roles[LOCAL_NODES_MAX][LOCAL_ROLE_SIZE], text[IP4_STR_SIZE];
	bool running[LOCAL_NODES_MAX];
	pid_t pids[LOCAL_NODES_MAX];

	for (unsigned i = 0; i < l->n_nodes; i++) {
		pids[i] = local_pid(l, l->nodes[i].name, "kontiki.pid");
		states[i] = pids[i] == 0 ? "stopped" : process_state(pids[i]) == 'T' ? "paused" : "running";
		running[i] = strcmp(states[i], "running") == 0;
	}
	if (local_roles(l, running, roles, e) < 0)
		return -(int)e->code;
	printf("%-12s %-7s %-16s %-8s %-9s %s\n", "NAME", "KIND", "ADDRESS", "STATE", "ROLE", "PID");
	for (unsigned i = 0; i < l->n_nodes; i++) {
		printf("%-12s %-7s %-16s %-8s %-9s ", l->nodes[i].name, l->nodes[i].is_server ? "server" : "agent",
				ip4_print(l->nodes[i].addr, text), states[i], roles[i]);
		printf(pids[i] ? "%d\n" : "-\n", (int)pids[i]);
	}
	return 0;
}

static int signal_node(const struct local *l, const char *node, int sig, struct err *e)
{
	pid_t pid = local_pid(l, node, "kontiki.pid");

	if (pid == 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "node %s does not run", node);
	return kill(pid, sig) < 0 ? err_set_errno(e, errno, "signal node %s", node) : 0;
}

static int node_start(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	pid_t pid = local_pid(l, n->name, "kontiki.pid");

	if (pid == 0)
		pid = start_node(l, n, e);
	return pid < 0 ? (int)pid : 0;
}

static int node_stop(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	int rv = local_stop(l, n->name, "kontiki.pid", SIGTERM, (unsigned)o->timeout_s * 1000, e);

	return rv == 0 && o->machine ? local_kill_all(l, n->name, e) : rv;
}

static int node_kill(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	return o->machine ? local_kill_all(l, n->name, e)
			  : local_stop(l, n->name, "kontiki.pid", SIGKILL, 10000, e);
}

static int node_pause(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	return signal_node(l, n->name, SIGSTOP, e);
}

static int node_resume(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	return signal_node(l, n->name, SIGCONT, e);
}

static int node_partition(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	return local_net_cut(l, n->name, true, e);
}

static int node_heal(const struct local *l, const struct local_node *n, const struct local_opts *o, struct err *e)
{
	return local_net_cut(l, n->name, false, e);
}

static const struct {
	const char *name;
	int (*run)(const struct local *, const struct local_node *, const struct local_opts *, struct err *);
} node_verbs[] = {
	{"start", node_start}, {"stop", node_stop}, {"kill", node_kill}, {"pause", node_pause},
	{"resume", node_resume}, {"partition", node_partition}, {"heal", node_heal},
};

static int node_verb(const struct local_opts *o, const struct opt_args *args, struct err *e)
{
	const struct local_node *n;
	struct local l;
	int rv;

	if (args->n < 1)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: list, start, stop, kill, pause, resume, partition or heal");
	rv = local_load(&l, o->name, o->dir, e);
	if (rv < 0)
		return rv;
	if (strcmp(args->v[0], "list") == 0)
		return node_list(&l, e);
	rv = need_root("kontiki node", e);
	for (size_t i = 0; rv == 0 && i < ARRAY_LEN(node_verbs); i++) {
		if (strcmp(node_verbs[i].name, args->v[0]) != 0)
			continue;
		if (args->n < 2)
			return err_set(e, ERR_BAD_REQUEST, "which node? 'kontiki node list' shows them");
		for (size_t k = 1; rv == 0 && k < args->n; k++) {
			n = local_node(&l, args->v[k], e);
			rv = n ? node_verbs[i].run(&l, n, o, e) : -(int)ERR_NOT_FOUND;
		}
		return rv;
	}
	return rv < 0 ? rv : err_set(e, ERR_BAD_REQUEST, "unknown action \"%s\": use list, start, stop, kill, pause, resume, partition or heal", args->v[0]);
}

int cmd_node(int argc, char **argv)
{
	struct local_opts o = default_opts();
	struct opt_args args;
	struct err e = ERR_INIT;
	int rv;

	o.timeout_s = 30;
	if (cmd_wants_help(argc, argv, "usage: kontiki node list\n       kontiki node start|stop|kill|pause|resume|partition|heal NODE... [OPTIONS]\n\n"
			"stop ends the node's process in good order, kill at once; its containers run on unless --machine is given.\n"
			"partition takes the node's cable out: packets vanish, nothing is refused. heal puts it back.\n", node_rows))
		return CMD_OK;
	if (opts_parse(node_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("node", &e);
	rv = node_verb(&o, &args, &e);
	opt_args_fini(&args);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}

/* --- kubeconfig -------------------------------------------------------------------------------------------- */

int cmd_kubeconfig(int argc, char **argv)
{
	struct local_opts o = default_opts();
	struct opt_args args;
	struct err e = ERR_INIT;
	struct local l;
	char path[LOCAL_PATH_MAX], *text;

	if (cmd_wants_help(argc, argv, "usage: kontiki kubeconfig [--name NAME] [--merge]\n\nPrints the administrator's kubeconfig of a local cluster.\n", kubeconfig_rows))
		return CMD_OK;
	if (opts_parse(kubeconfig_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("kubeconfig", &e);
	opt_args_fini(&args);
	if (local_load(&l, o.name, o.dir, &e) < 0)
		return cmd_fail(&e);
	local_path(&l, NULL, "admin.kubeconfig", path);
	text = file_read(path, 1 << 20, &e);
	if (text == NULL)
		return cmd_fail(&e);
	if (!o.merge) {
		fputs(text, stdout);
		free(text);
		return CMD_OK;
	}
	if (kubeconfig_merge(text, &e) < 0) {
		free(text);
		return cmd_fail(&e);
	}
	free(text);
	return CMD_OK;
}
