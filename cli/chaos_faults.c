/* The cluster that chaos breaks, and how: a table of faults, each with its beginning and its end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/util.h"
#include "cli/chaos.h"
#include "net/netns.h"
#include "proto/etcd_rpc.pb-c.h"

#define PIDFILE "etcd.pid"
#define LOGFILE "etcd.log"
#define SMALL_DISK "size=192m"

extern char **environ;
bool chaos_interrupted(void);

/* --- The cluster -------------------------------------------------------------------------------------------------- */

static const char *node_name(const struct chaos *c, int i)
{
	return c->l.nodes[i].name;
}

static int member_start(struct chaos *c, int i, struct err *e)
{
	char addr[IP4_STR_SIZE], data[LOCAL_PATH_MAX], faults[LOCAL_PATH_MAX];
	struct buf cluster = BUF_INIT, urls = BUF_INIT;
	pid_t pid;

	for (unsigned j = 0; j < c->l.n_nodes; j++)
		buf_printf(&cluster, "%s%s=http://%s:2380", j ? "," : "", node_name(c, (int)j), ip4_print(c->l.nodes[j].addr, addr));
	buf_add1(&cluster, '\0');
	ip4_print(c->l.nodes[i].addr, addr);
	buf_printf(&urls, "http://%s:2379%chttp://%s:2380%c", addr, '\0', addr, '\0');
	local_path(&c->l, node_name(c, i), "data", data);
	local_path(&c->l, NULL, node_name(c, i), faults);
	snprintf(faults + strlen(faults), sizeof(faults) - strlen(faults), ".faults");
	setenv("KONTIKI_FAULTS", faults, 1);
	pid = local_spawn(&c->l, node_name(c, i), PIDFILE, LOGFILE,
			  (char *[]){"/proc/self/exe", "etcd", "--name", (char *)(uintptr_t)node_name(c, i), "--data-dir", data,
				     "--listen-client-urls", urls.p, "--advertise-client-urls", urls.p, "--listen-peer-urls",
				     urls.p + strlen(urls.p) + 1, "--initial-advertise-peer-urls", urls.p + strlen(urls.p) + 1,
				     "--initial-cluster", cluster.p, "--initial-cluster-state",
				     c->replaced[i] ? "existing" : "new", NULL},
			  e);
	unsetenv("KONTIKI_FAULTS");
	buf_fini(&cluster);
	buf_fini(&urls);
	return pid < 0 ? (int)pid : 0;
}

static int member_prepare(struct chaos *c, int i, struct err *e)
{
	char dir[LOCAL_PATH_MAX], faults[LOCAL_PATH_MAX];
	int rv;

	local_path(&c->l, node_name(c, i), "data", dir);
	rv = dir_make(dir, 0700, e);
	/* A disk that can be filled without filling that of the machine. */
	if (rv == 0 && i == (int)c->l.n_nodes - 1)
		c->tmpfs = mount("kontiki-chaos", dir, "tmpfs", MS_NOSUID | MS_NODEV, SMALL_DISK) == 0;
	local_path(&c->l, NULL, node_name(c, i), faults);
	snprintf(faults + strlen(faults), sizeof(faults) - strlen(faults), ".faults");
	if (rv == 0 && (c->faults[i] = fault_table_open(faults)) == NULL)
		rv = err_set_errno(e, errno, "make %s", faults);
	return rv;
}

int chaos_cluster_up(struct chaos *c, struct err *e)
{
	int rv = dir_make(c->l.dir, 0755, e);

	if (rv == 0)
		rv = local_net_up(&c->l, e);
	for (int i = 0; rv == 0 && i < (int)c->l.n_nodes; i++)
		rv = member_prepare(c, i, e);
	for (int i = 0; rv == 0 && i < (int)c->l.n_nodes; i++)
		rv = member_start(c, i, e);
	return rv;
}

void chaos_cluster_down(struct chaos *c)
{
	char dir[LOCAL_PATH_MAX];
	struct err e;

	for (int i = 0; i < (int)c->l.n_nodes; i++)
		(void)local_kill_all(&c->l, node_name(c, i), &e);
	(void)local_net_down(&c->l, &e);
	local_path(&c->l, node_name(c, (int)c->l.n_nodes - 1), "data", dir);
	if (c->tmpfs)
		umount2(dir, MNT_DETACH);
	if (!c->o.keep && dir_remove(c->l.dir, &e) != 0)
		fprintf(stderr, "chaos: %s\n", e.text);
}

/* --- Faults ---------------------------------------------------------------------------------------------------------- */

static int run_program(void *data, struct err *e)
{
	char **argv = data;
	posix_spawn_file_actions_t quiet;
	int status = 0, rv;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
	rv = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (rv != 0)
		return err_set_errno(e, rv, "run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status == 0 ? 0 : err_set(e, ERR_INTERNAL, "%s %s did not succeed", argv[0], argv[3]);
}

static int in_node(struct chaos *c, int i, const char **argv, struct err *e)
{
	char name[128];
	int fd, rv;

	local_netns(&c->l, node_name(c, i), name);
	fd = netns_open(name, e);
	if (fd < 0)
		return fd;
	rv = netns_call(fd, run_program, argv, e);
	close(fd);
	return rv;
}

/* Node i drops what comes from node j. */
static int deaf(struct chaos *c, int i, int j, struct err *e)
{
	char addr[IP4_STR_SIZE];
	const char *argv[] = {"iptables", "-w", "5", "-A", "INPUT", "-s", ip4_print(c->l.nodes[j].addr, addr), "-j", "DROP", NULL};

	return in_node(c, i, argv, e);
}

static int heal(struct chaos *c, int i, struct err *e)
{
	const char *argv[] = {"iptables", "-w", "5", "-F", "INPUT", NULL};

	return in_node(c, i, argv, e);
}

static int heal_all(struct chaos *c, struct err *e)
{
	int rv = 0;

	for (int i = 0; rv == 0 && i < (int)c->l.n_nodes; i++)
		rv = heal(c, i, e);
	return rv;
}

static int isolate(struct chaos *c, int i, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++)
		if (j != i && (rv = deaf(c, i, j, e)) == 0)
			rv = deaf(c, j, i, e);
	return rv;
}

static int only_speaks(struct chaos *c, int i, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++)
		if (j != i)
			rv = deaf(c, i, j, e);
	return rv;
}

static int only_hears(struct chaos *c, int i, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++)
		if (j != i)
			rv = deaf(c, j, i, e);
	return rv;
}

/* The others fall into two halves that only this one sees both of. */
static int bridge(struct chaos *c, int i, struct err *e)
{
	int rv = 0, n = (int)c->l.n_nodes;

	for (int j = 0; rv == 0 && j < n; j++)
		for (int k = 0; rv == 0 && k < n; k++)
			if (j != i && k != i && ((j + n - i) % n) % 2 != ((k + n - i) % n) % 2)
				rv = deaf(c, j, k, e);
	return rv;
}

static int flap(struct chaos *c, int i, struct err *e)
{
	int rv = 0;

	for (int n = 0; rv == 0 && n < 5; n++) {
		rv = isolate(c, i, e);
		usleep((useconds_t)(50000 + chaos_random(c, 400000)));
		if (rv == 0)
			rv = heal_all(c, e);
		usleep((useconds_t)(50000 + chaos_random(c, 400000)));
	}
	return rv;
}

static int send_signal(struct chaos *c, int i, int sig, struct err *e)
{
	pid_t pid = local_pid(&c->l, node_name(c, i), PIDFILE);

	if (pid == 0)
		return err_set(e, ERR_UNAVAILABLE, "%s has ended by itself; its log is %s/%s/" LOGFILE, node_name(c, i), c->l.dir,
			       node_name(c, i));
	return kill(pid, sig) == 0 || errno == ESRCH ? 0 : err_set_errno(e, errno, "signal %s", node_name(c, i));
}

static int kill_one(struct chaos *c, int i, struct err *e)
{
	return local_stop(&c->l, node_name(c, i), PIDFILE, SIGKILL, 5000, e);
}

static int kill_all(struct chaos *c, int i _unused_, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++)
		rv = kill_one(c, j, e);
	return rv;
}

static int start_all(struct chaos *c, int i _unused_, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++)
		rv = member_start(c, j, e);
	return rv;
}

static int pause_one(struct chaos *c, int i, struct err *e)
{
	return send_signal(c, i, SIGSTOP, e);
}

static int resume_one(struct chaos *c, int i, struct err *e)
{
	return send_signal(c, i, SIGCONT, e);
}

static int heal_fault(struct chaos *c, int i _unused_, struct err *e)
{
	return heal_all(c, e);
}

static int rolling(struct chaos *c, int i _unused_, struct err *e)
{
	int rv = 0;

	for (int j = 0; rv == 0 && j < (int)c->l.n_nodes; j++) {
		rv = local_stop(&c->l, node_name(c, j), PIDFILE, SIGTERM, 10000, e);
		if (rv == 0)
			rv = member_start(c, j, e);
		usleep(700000);
	}
	return rv;
}

static int slow_disk(struct chaos *c, int i, struct err *e _unused_)
{
	c->faults[i][FAULT_disk_sync_ms] = 50 + (int64_t)chaos_random(c, 2000);
	return 0;
}

static int clock_jump(struct chaos *c, int i, struct err *e _unused_)
{
	c->faults[i][FAULT_clock_ms] = (int64_t)chaos_random(c, 7200000) - 3600000;
	return 0;
}

static int table_well(struct chaos *c, int i, struct err *e _unused_)
{
	for (int f = 0; f < FAULT_N; f++)
		c->faults[i][f] = 0;
	return 0;
}

/* The last node's disk is small and can really be filled; where mounts do not work, its log's files do not grow. */
static int fill_disk(struct chaos *c, int i _unused_, struct err *e)
{
	int last = (int)c->l.n_nodes - 1, fd;
	char path[LOCAL_PATH_MAX];

	if (!c->tmpfs) {
		c->faults[last][FAULT_disk_full] = 1;
		return 0;
	}
	local_path(&c->l, node_name(c, last), "data/ballast", path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 && errno != ENOSPC)
		return err_set_errno(e, errno, "make %s", path);
	for (off_t at = 0, step = 8 << 20; fd >= 0 && step >= 4096;) {
		if (posix_fallocate(fd, at, step) == 0)
			at += step;
		else
			step /= 2;
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static int empty_disk(struct chaos *c, int i _unused_, struct err *e)
{
	int last = (int)c->l.n_nodes - 1;
	char path[LOCAL_PATH_MAX];

	local_path(&c->l, node_name(c, last), "data/ballast", path);
	c->faults[last][FAULT_disk_full] = 0;
	return unlink(path) == 0 || errno == ENOENT ? 0 : err_set_errno(e, errno, "remove %s", path);
}

/* Ask any other member, for as long as it takes the cluster to agree. */
static int ask_others(struct chaos *c, int not, const char *method, const ProtobufCMessage *m, struct buf *answer, struct err *e)
{
	int n = (int)c->l.n_nodes, rv = -1;

	for (int tries = 0; rv != 0 && tries < 60 && !chaos_interrupted(); tries++) {
		rv = chaos_load_call(c, (not + 1 + tries % (n - 1)) % n, method, m, answer, e);
		if (rv != 0)
			usleep(250000);
	}
	return rv;
}

static uint64_t id_of(struct chaos *c, int i, struct err *e)
{
	Etcdserverpb__MemberListRequest r = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
	Etcdserverpb__MemberListResponse *list = NULL;
	struct buf b = BUF_INIT;
	uint64_t id = 0;

	if (ask_others(c, i, "/etcdserverpb.Cluster/MemberList", &r.base, &b, e) == 0)
		list = (Etcdserverpb__MemberListResponse *)protobuf_c_message_unpack(
			&etcdserverpb__member_list_response__descriptor, NULL, b.n, (const uint8_t *)b.p);
	for (size_t j = 0; list && j < list->n_members; j++)
		if (strcmp(list->members[j]->name, node_name(c, i)) == 0)
			id = list->members[j]->id;
	if (list)
		protobuf_c_message_free_unpacked(&list->base, NULL);
	buf_fini(&b);
	return id;
}

/* The machine is lost with its disk; another one takes its name and address. Not the last one, whose disk is a mount. */
static int replace(struct chaos *c, int i, struct err *e)
{
	int rv = kill_one(c, i, e);
	char data[LOCAL_PATH_MAX], addr[IP4_STR_SIZE], url[64];
	const char *urls[] = {url};
	Etcdserverpb__MemberRemoveRequest remove = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
	Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
	struct buf b = BUF_INIT;

	local_path(&c->l, node_name(c, i), "data", data);
	if (rv == 0)
		rv = dir_remove(data, e);
	if (rv == 0)
		rv = dir_make(data, 0700, e);
	if (rv == 0 && (remove.id = id_of(c, i, e)) == 0)
		rv = err_set(e, ERR_NOT_FOUND, "no member tells of %s", node_name(c, i));
	if (rv == 0)
		rv = ask_others(c, i, "/etcdserverpb.Cluster/MemberRemove", &remove.base, &b, e);
	snprintf(url, sizeof(url), "http://%s:2380", ip4_print(c->l.nodes[i].addr, addr));
	add.peerurls = urls;
	add.n_peerurls = 1;
	if (rv == 0)
		rv = ask_others(c, i, "/etcdserverpb.Cluster/MemberAdd", &add.base, &b, e);
	c->replaced[i] = true;
	buf_fini(&b);
	return rv == 0 ? member_start(c, i, e) : rv;
}

static int move_leader(struct chaos *c, int i, struct err *e _unused_)
{
	Etcdserverpb__MoveLeaderRequest r = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
	struct buf b = BUF_INIT;
	struct err ignored;

	/* Only the leader takes it, and there may be none for a moment: what matters is that nobody notices. */
	for (int k = 0; k < 6; k++) {
		int to = (int)chaos_random(c, c->l.n_nodes);

		r.targetid = id_of(c, to, &ignored);
		for (int j = 0; j < (int)c->l.n_nodes && r.targetid; j++)
			(void)chaos_load_call(c, (i + j) % (int)c->l.n_nodes, "/etcdserverpb.Maintenance/MoveLeader", &r.base, &b, &ignored);
		usleep(100000);
	}
	buf_fini(&b);
	return 0;
}

/*
 * Its clock stands still, and it is cut off: if it leads, it does not notice that the others have long elected another one, and its
 * clients go on asking it. Only a leader that asks the others before it answers a read can do nothing wrong then.
 */
static int stand_still(struct chaos *c, int i, struct err *e)
{
	c->faults[i][FAULT_clock_stands] = 1;
	return isolate(c, i, e);
}

static int go_on(struct chaos *c, int i, struct err *e)
{
	int rv = heal_all(c, e);

	c->faults[i][FAULT_clock_stands] = 0;
	return rv;
}

/* The member that says that it leads; `otherwise` when none does. */
static int leader(struct chaos *c, int otherwise)
{
	Etcdserverpb__StatusRequest r = ETCDSERVERPB__STATUS_REQUEST__INIT;
	int found = otherwise;

	for (int i = 0; i < (int)c->l.n_nodes; i++) {
		Etcdserverpb__StatusResponse *s = NULL;
		struct buf b = BUF_INIT;
		struct err ignored;

		if (chaos_load_call(c, i, "/etcdserverpb.Maintenance/Status", &r.base, &b, &ignored) == 0)
			s = (Etcdserverpb__StatusResponse *)protobuf_c_message_unpack(&etcdserverpb__status_response__descriptor, NULL,
										      b.n, (const uint8_t *)b.p);
		buf_fini(&b);
		if (s && s->header && s->header->member_id == s->leader)
			found = i;
		if (s)
			protobuf_c_message_free_unpacked(&s->base, NULL);
	}
	return found;
}

static const struct fault_row {
	const char *name, *what;
	unsigned weight, min_nodes;
	int (*begin)(struct chaos *, int node, struct err *);
	int (*end)(struct chaos *, int node, struct err *);
} table[] = {
	{"kill", "SIGKILL of one member", 4, 1, kill_one, member_start},
	{"kill-all", "SIGKILL of all members", 1, 1, kill_all, start_all},
	{"pause", "SIGSTOP of one member", 3, 1, pause_one, resume_one},
	{"isolate", "one member is cut off", 3, 2, isolate, heal_fault},
	{"deaf", "one member can speak and not hear", 2, 2, only_speaks, heal_fault},
	{"mute", "one member can hear and not speak", 2, 2, only_hears, heal_fault},
	{"bridge", "only one member sees both halves of the others", 2, 3, bridge, heal_fault},
	{"flap", "one member's links come and go", 2, 2, flap, heal_fault},
	{"disk-slow", "syncs of one member take up to 2 s", 2, 1, slow_disk, table_well},
	{"disk-full", "one member's disk is full", 2, 1, fill_disk, empty_disk},
	{"clock", "one member's clock jumps by up to an hour", 1, 1, clock_jump, table_well},
	{"deposed", "the leader's clock stands still, and it is cut off from the others, not from its clients", 3, 3, stand_still, go_on},
	{"replace", "a member is lost with its disk; a new one takes its name and address", 2, 3, replace, heal_fault},
	{"transfer", "leadership is handed from member to member", 1, 2, move_leader, heal_fault},
	{"rolling", "members are restarted one after the other", 1, 2, rolling, heal_fault},
};

bool chaos_fault_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return true;
	return strcmp(name, "list") == 0;
}

void chaos_faults_list(FILE *f)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		fprintf(f, "%-10s %s\n", table[i].name, table[i].what);
}

static const struct fault_row *draw(struct chaos *c)
{
	unsigned total = 0, pick;
	size_t i;

	for (i = 0; i < ARRAY_LEN(table); i++) {
		if (c->o.only && strcmp(table[i].name, c->o.only) == 0)
			return &table[i];
		total += table[i].min_nodes <= c->l.n_nodes ? table[i].weight : 0;
	}
	pick = (unsigned)chaos_random(c, total);
	for (i = 0;; i++) {
		unsigned weight = table[i].min_nodes <= c->l.n_nodes ? table[i].weight : 0;

		if (pick < weight)
			return &table[i];
		pick -= weight;
	}
}

static void pass(uint64_t us)
{
	for (; us > 0 && !chaos_interrupted(); us -= MIN(us, 50000))
		usleep((useconds_t)MIN(us, 50000));
}

int chaos_faults_run(struct chaos *c, struct err *e)
{
	uint64_t end = chaos_now(c) + (uint64_t)c->o.duration_s * 1000000;
	int rv = 0;

	while (rv == 0 && chaos_now(c) < end && !chaos_interrupted() && c->n_spans < CHAOS_SPANS_MAX) {
		const struct fault_row *f = draw(c);
		int node = (int)chaos_random(c, f->begin == replace ? c->l.n_nodes - 1 : c->l.n_nodes);
		struct chaos_span *s = &c->spans[c->n_spans++];
		bool last = f->begin == fill_disk;
		if (f->begin == stand_still)
			node = leader(c, node);
		bool all = f->begin == kill_all || f->begin == rolling;

		s->what = f->name;
		snprintf(s->where, sizeof(s->where), "%s", all ? "all" : node_name(c, last ? (int)c->l.n_nodes - 1 : node));
		s->from = chaos_now(c);
		printf("%6.1f s  %-10s %s\n", (double)s->from / 1e6, s->what, s->where);
		fflush(stdout);
		rv = f->begin(c, node, e);
		pass(300000 + chaos_random(c, 3000000));
		if (rv == 0)
			rv = f->end(c, node, e);
		s->to = chaos_now(c);
		pass(300000 + chaos_random(c, 2000000));
	}
	return rv;
}
