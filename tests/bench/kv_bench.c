/*
 * kv_bench: what the replicated store does on this machine.
 *
 *	tests/bench/kv_bench [--seconds 3] [--size 256] [--dir DIR] [--nosync] [--members 3] [--depth N]
 *								       puts per second at depths 1, 64 and 1024 (or N)
 *	tests/bench/kv_bench --failover N [--signal KILL|STOP] [--election MS]     the write gap when the leader goes
 *
 * Three members (or one, with --members 1) over loopback with mutual TLS and real fdatasync. The first mode runs them in one process with the load
 * on the leader; the second as three processes, each of which writes in a loop, and the leader is sent the signal.
 */
#include <arpa/inet.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/tls.h"
#include "io/x509.h"
#include "proto/raft.pb-c.h"
#include "raft/kv.h"
#include "raft/kv_local.h"

struct options {
	unsigned seconds, size, failover, election, members, depth;
	int signal;
	bool nosync;
	const char *dir;
};

struct cluster {
	char dirs[3][256], addrs[3][32], names[3][8];
	struct kv_peer peers[3];
	struct kv *kv[3];
	struct tls_ctx *server, *client;
};

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

static void make_tls(struct cluster *c)
{
	struct x509_key *ca_key, *key;
	struct x509_cert *ca, *cert;
	struct buf ca_pem = BUF_INIT, key_pem = BUF_INIT, cert_pem = BUF_INIT;
	struct x509_spec spec = {.cn = "bench",
				 .orgs = (const char *const[]){"kontiki:peers", NULL},
				 .sans = (const char *const[]){"127.0.0.1", NULL},
				 .server = true,
				 .client = true};
	struct tls_config cfg = {.verify = TLS_VERIFY_REQUIRED};
	struct err e = ERR_INIT;

	if (x509_key_new(&ca_key, &e) || x509_ca_new("bench-ca", 1, ca_key, &ca, &e) || x509_cert_to_pem(ca, &ca_pem, &e) ||
	    x509_key_new(&key, &e) || x509_sign(&spec, key, ca, ca_key, &cert, &e) || x509_key_to_pem(key, &key_pem, &e) ||
	    x509_cert_to_pem(cert, &cert_pem, &e))
		die("certificates", &e);
	cfg.cert_pem = buf_str(&cert_pem);
	cfg.key_pem = buf_str(&key_pem);
	cfg.ca_pem = buf_str(&ca_pem);
	if (tls_ctx_new(&cfg, &c->client, &e))
		die("TLS", &e);
	cfg.server = true;
	if (tls_ctx_new(&cfg, &c->server, &e))
		die("TLS", &e);
}

static void cluster_init(struct cluster *c, const char *dir)
{
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t n = sizeof(a);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (bind(fd, (struct sockaddr *)&a, n) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0) {
			perror("bind");
			exit(1);
		}
		close(fd);
		snprintf(c->addrs[i], sizeof(c->addrs[i]), "127.0.0.1:%d", ntohs(a.sin_port));
		snprintf(c->names[i], sizeof(c->names[i]), "n%d", i + 1);
		snprintf(c->dirs[i], sizeof(c->dirs[i]), "%s/n%d", dir, i + 1);
		c->peers[i] = (struct kv_peer){.name = c->names[i], .addr = c->addrs[i]};
	}
	make_tls(c);
}

static void member_start(struct cluster *c, int i, const struct options *o)
{
	struct kv_cfg cfg = {.data_dir = c->dirs[i],
			     .name = c->names[i],
			     .listen = c->addrs[i],
			     .tls_server = c->server,
			     .tls_client = c->client,
			     .initial = c->peers,
			     .n_initial = o->members,
			     .election_ms = o->election,
			     .nosync = o->nosync};
	struct err e = ERR_INIT;

	if (kv_start(&cfg, &c->kv[i], &e) != 0)
		die("member", &e);
}

static void encode_put(struct buf *out, uint64_t n, unsigned size)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	char key[33], *value = xcalloc(1, size + 1);
	size_t need;

	snprintf(key, sizeof(key), "/bench/%025" PRIu64, n % 10000);
	memset(value, 'v', size);
	put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)key};
	put.value = (ProtobufCBinaryData){size, (uint8_t *)value};
	cmd.op_case = RAFTPB__COMMAND__OP_PUT;
	cmd.put = &put;
	need = protobuf_c_message_get_packed_size(&cmd.base);
	protobuf_c_message_pack(&cmd.base, (uint8_t *)buf_reserve(out, need));
	buf_advance(out, need);
	free(value);
}

/* --- Throughput ------------------------------------------------------------------------------------------- */

struct slot {
	struct kv_req req;
	struct buf command;
	uint64_t begun;
	struct load *load;
};

struct load {
	struct kv *kv;
	const struct options *o;
	struct loop *loop;
	struct slot *slots;
	unsigned depth, out;
	uint64_t n, done, failed, until;
	uint64_t *latency; /* ns */
	size_t n_latency, cap_latency;
	struct loop_msg begin;
};

static void slot_next(struct slot *s)
{
	struct load *l = s->load;

	buf_clear(&s->command);
	encode_put(&s->command, l->n++, l->o->size);
	s->req.command = buf_str(&s->command);
	s->begun = clock_mono_ns();
	l->out++;
	kv_propose(l->kv, &s->req);
}

static void slot_done(struct kv_req *req)
{
	struct slot *s = container_of(req, struct slot, req);
	struct load *l = s->load;
	uint64_t now = clock_mono_ns();

	free(req->response);
	l->out--;
	if (req->err.code) {
		l->failed++;
	} else {
		l->done++;
		if (l->n_latency < l->cap_latency)
			l->latency[l->n_latency++] = now - s->begun;
	}
	if (now < l->until)
		slot_next(s);
	else if (l->out == 0)
		loop_stop(l->loop);
}

static void run_begin(struct loop_msg *m)
{
	struct load *l = container_of(m, struct load, begin);

	for (unsigned i = 0; i < l->depth; i++) {
		l->slots[i].load = l;
		l->slots[i].req.done = slot_done;
		buf_init(&l->slots[i].command, BUF_NO_LIMIT);
		slot_next(&l->slots[i]);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void run_load(struct kv *kv, const struct options *o, unsigned depth)
{
	struct load l = {.kv = kv, .o = o, .depth = depth, .cap_latency = 4000000, .begin = {.run = run_begin}};
	uint64_t begun = clock_mono_ns();
	double s;

	l.loop = loop_new("bench");
	l.slots = xcalloc(depth, sizeof(*l.slots));
	l.latency = xmalloc(l.cap_latency * sizeof(*l.latency));
	l.until = begun + o->seconds * 1000000000ull;
	loop_post(l.loop, &l.begin);
	loop_run(l.loop);
	s = (double)(clock_mono_ns() - begun) / 1e9;
	qsort(l.latency, l.n_latency, sizeof(*l.latency), by_value);
	printf("depth %4u: %9.0f puts/s   p50 %7.3f ms   p99 %7.3f ms   failed %" PRIu64 "\n", depth, (double)l.done / s,
	       l.n_latency ? (double)l.latency[l.n_latency / 2] / 1e6 : 0,
	       l.n_latency ? (double)l.latency[l.n_latency * 99 / 100] / 1e6 : 0, l.failed);
	for (unsigned i = 0; i < depth; i++)
		buf_fini(&l.slots[i].command);
	loop_free(l.loop);
	free(l.slots);
	free(l.latency);
}

static int leader_of(struct cluster *c)
{
	for (int i = 0; i < 3; i++) {
		struct kv_status s;

		if (!c->kv[i])
			continue;
		kv_status(c->kv[i], &s);
		if (s.role.leader)
			return i;
	}
	return -1;
}

static void bench_throughput(struct cluster *c, const struct options *o)
{
	static const unsigned depths[] = {1, 64, 1024};

	for (int i = 0; i < (int)o->members; i++)
		member_start(c, i, o);
	while (leader_of(c) < 0)
		usleep(1000);
	for (size_t i = 0; i < (o->depth ? 1 : ARRAY_LEN(depths)); i++)
		run_load(c->kv[leader_of(c)], o, o->depth ? o->depth : depths[i]);
	for (int i = 0; i < (int)o->members; i++)
		kv_stop(c->kv[i]);
}

/* --- Failover --------------------------------------------------------------------------------------------------- */

struct shared {
	_Atomic uint64_t leads[3];    /* this process leads */
	_Atomic uint64_t begun_ok[3]; /* when the newest successful write of this process was begun, ns */
	_Atomic uint64_t ended_ok[3];
	_Atomic uint64_t writes[3];
};

static void child_main(struct cluster *c, int i, const struct options *o, struct shared *sh)
{
	struct kv_status s;

	member_start(c, i, o);
	for (uint64_t n = 0;; n++) {
		struct buf cmd = BUF_INIT;
		struct err e = ERR_INIT;
		uint64_t begun = clock_mono_ns();

		encode_put(&cmd, n, o->size);
		if (kv_propose_wait(c->kv[i], buf_str(&cmd), NULL, NULL, &e) == 0) {
			atomic_store(&sh->ended_ok[i], clock_mono_ns());
			atomic_store(&sh->begun_ok[i], begun);
			atomic_fetch_add(&sh->writes[i], 1);
		}
		buf_fini(&cmd);
		kv_status(c->kv[i], &s);
		atomic_store(&sh->leads[i], s.role.leader);
		usleep(500);
	}
}

static pid_t child_start(struct cluster *c, int i, const struct options *o, struct shared *sh)
{
	pid_t pid = fork();

	if (pid == 0) {
		child_main(c, i, o, sh);
		_exit(0);
	}
	atomic_store(&sh->leads[i], 0);
	return pid;
}

static int wait_for_leader(struct shared *sh)
{
	for (;;) {
		uint64_t now = clock_mono_ns();
		bool all = true;
		int leader = -1;

		for (int i = 0; i < 3; i++) {
			all = all && now - atomic_load(&sh->ended_ok[i]) < 100000000u;
			if (atomic_load(&sh->leads[i]))
				leader = i;
		}
		if (all && leader >= 0)
			return leader;
		usleep(1000);
	}
}

static double gap_after(struct shared *sh, int dead, uint64_t at)
{
	for (;;) {
		for (int i = 0; i < 3; i++)
			if (i != dead && atomic_load(&sh->begun_ok[i]) >= at)
				return (double)(atomic_load(&sh->ended_ok[i]) - at) / 1e6;
		if (clock_mono_ns() - at > 20000000000u)
			return -1;
		usleep(200);
	}
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void bench_failover(struct cluster *c, const struct options *o)
{
	struct shared *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double *gaps = xcalloc(o->failover, sizeof(*gaps));
	pid_t pids[3];

	for (int i = 0; i < 3; i++)
		pids[i] = child_start(c, i, o, sh);
	for (unsigned r = 0; r < o->failover; r++) {
		int leader = wait_for_leader(sh);
		uint64_t at;

		usleep(300000 + (unsigned)(random_u64() % 100000));
		at = clock_mono_ns();
		kill(pids[leader], o->signal);
		/* A write that was begun after the signal and succeeded elsewhere; the first such write ends the gap. */
		gaps[r] = gap_after(sh, leader, at);
		if (o->signal == SIGSTOP) {
			kill(pids[leader], SIGCONT);
		} else {
			waitpid(pids[leader], NULL, 0);
			pids[leader] = child_start(c, leader, o, sh);
		}
		atomic_store(&sh->leads[leader], 0);
		atomic_store(&sh->ended_ok[leader], 0);
	}
	for (int i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	qsort(gaps, o->failover, sizeof(*gaps), by_double);
	printf("write gap after SIG%s of the leader, %u times (ms): median %.1f  p90 %.1f  max %.1f  min %.1f\n",
	       o->signal == SIGSTOP ? "STOP" : "KILL", o->failover, gaps[o->failover / 2], gaps[o->failover * 9 / 10],
	       gaps[o->failover - 1], gaps[0]);
	free(gaps);
	munmap(sh, sizeof(*sh));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seconds", 1, NULL, 's'},  {"size", 1, NULL, 'z'},  {"dir", 1, NULL, 'd'},
						{"failover", 1, NULL, 'f'}, {"signal", 1, NULL, 'g'}, {"election", 1, NULL, 'e'},
						{"nosync", 0, NULL, 'n'},   {"members", 1, NULL, 'm'}, {"depth", 1, NULL, 'p'},
						{NULL, 0, NULL, 0}};
	struct options o = {.members = 3, .seconds = 3, .size = 256, .signal = SIGKILL, .dir = "/tmp"};
	struct cluster c = {0};
	char *dir;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			o.members = strcmp(optarg, "1") == 0 ? 1 : 3;
			break;
		case 'p':
			o.depth = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			o.seconds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'z':
			o.size = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			o.dir = optarg;
			break;
		case 'f':
			o.failover = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'g':
			o.signal = strcmp(optarg, "STOP") == 0 ? SIGSTOP : SIGKILL;
			break;
		case 'e':
			o.election = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			o.nosync = true;
			break;
		default:
			fprintf(stderr, "usage: kv_bench [--seconds S] [--size BYTES] [--dir DIR] [--nosync] [--failover N "
					"[--signal KILL|STOP] [--election MS]]\n");
			return 2;
		}
	}
	log_set_level(getenv("KV_LOG") ? getenv("KV_LOG") : "error");
	dir = xasprintf("%s/kontiki-bench.XXXXXX", o.dir);
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	cluster_init(&c, dir);
	if (o.failover)
		bench_failover(&c, &o);
	else
		bench_throughput(&c, &o);
	tls_ctx_unref(c.server);
	tls_ctx_unref(c.client);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
	return 0;
}
