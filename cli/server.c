/* kontiki server and kontiki agent: the program as a member of a cluster, from its arguments to the signal that ends it. */
#include "cli/server-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/control.h"
#include "cli/local.h"
#include "cli/renew.h"
#include "cli/rotation_store.h"
#include "io/tls.h"
#include "orchestrator/apiserver/apiserver.h"

/* The address that a packet to the outside would carry, without sending one; else the first that is not loopback. */
static int find_address(struct server *s, struct err *e)
{
	uv_interface_address_t *v;
	int n;

	if (s->o.address != NULL)
		return 0;
	if (uv_interface_addresses(&v, &n) != 0)
		return err_set(e, ERR_IO, "cannot list the network interfaces; give --advertise-address");
	for (int i = 0; i < n && s->o.address == NULL; i++) {
		char text[64];

		if (v[i].is_internal || v[i].address.address4.sin_family != AF_INET)
			continue;
		uv_ip4_name(&v[i].address.address4, text, sizeof(text));
		s->o.address = arena_strdup(&s->arena, text);
	}
	uv_free_interface_addresses(v, n);
	if (s->o.address == NULL)
		s->o.address = "127.0.0.1";
	return 0;
}

static int find_name(struct server *s, struct err *e)
{
	char host[256] = "";

	if (s->o.name == NULL) {
		if (gethostname(host, sizeof(host) - 1) < 0 || host[0] == '\0')
			return err_set(e, ERR_BAD_REQUEST, "the host has no name; give --name");
		for (char *c = host; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
		s->o.name = arena_strdup(&s->arena, host);
	}
	for (const char *c = s->o.name; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '.'))
			return err_set(e, ERR_BAD_REQUEST, "name \"%s\": a node's name has lower-case letters, digits, dashes and dots; give --name",
					s->o.name);
	return 0;
}

/* Two processes on one data directory would destroy each other's work. */
static int lock_data_dir(struct server *s, struct err *e)
{
	char path[PATH_MAX];

	if (dir_make(s->o.data_dir, 0700, e) < 0)
		return -(int)e->code;
	snprintf(path, sizeof(path), "%s/lock", s->o.data_dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set_errno(e, errno, "open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_ALREADY_EXISTS, "another kontiki process uses the data directory %s; stop it first or give another --data-dir",
				s->o.data_dir);
	return 0;
}

/* The first address of the service network belongs to the service kubernetes. */
static int find_service_ip(struct server *s, struct err *e)
{
	struct ip4_net net;
	char text[IP4_STR_SIZE];

	if (!ip4_net_parse(str_from(s->o.service_cidr), &net) || net.bits > 28)
		return err_set(e, ERR_BAD_REQUEST, "service network \"%s\": give an IPv4 network such as 10.96.0.0/12", s->o.service_cidr);
	s->service_ip = arena_strdup(&s->arena, ip4_print((net.addr & ip4_mask(net.bits)) + 1, text));
	return 0;
}

static int prepare(struct server *s, struct err *e)
{
	int rv = server_opts_check_numbers(&s->o, e);

	if (rv == 0)
		rv = kubelet_opts_read(&s->o.kubelet, &s->limits, e);
	if (rv == 0)
		rv = find_name(s, e);
	if (s->o.log_level && !log_set_level(s->o.log_level))
		return err_set(e, ERR_BAD_REQUEST, "log level \"%s\": use error, warn, info or debug", s->o.log_level);
	if (!s->o.no_agent && !s->o.witness && geteuid() != 0)
		return err_set(e, ERR_FORBIDDEN, "a node runs containers and sets up networks: start it as root, or give --no-agent");
	if (rv == 0)
		rv = find_address(s, e);
	if (rv == 0)
		rv = find_service_ip(s, e);
	if (rv == 0)
		rv = lock_data_dir(s, e);
	snprintf(s->pki, sizeof(s->pki), "%s/pki", s->o.data_dir);
	snprintf(s->ca, sizeof(s->ca), "%s/pki/ca.crt", s->o.data_dir);
	return rv;
}

/* Before any thread starts, so that all inherit it: the signals that end us wait for sigwait. */
static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Take up what has changed on disk. Connections that stand go on with what they began with. */
static bool reload(struct server *s)
{
	struct tls_config ts = {.server = true, .verify = TLS_VERIFY_REQUIRED}, tc = {.server = false};
	struct tls_config etcd = {.server = true, .verify = TLS_VERIFY_REQUIRED, .alpn = "h2,http/1.1"};
	struct err e = ERR_INIT;
	int rv = s->api ? apiserver_reload(s->api, &e) : 0;

	if (rv == 0)
		rv = tls_ctx_reload_files(s->peer_server, &ts, server__in_pki(s, "peer.crt"), server__in_pki(s, "peer.key"), s->ca, &e);
	if (rv == 0)
		rv = tls_ctx_reload_files(s->peer_client, &tc, server__in_pki(s, "peer.crt"), server__in_pki(s, "peer.key"), s->ca, &e);
	if (rv == 0 && s->etcd_tls)
		rv = tls_ctx_reload_files(s->etcd_tls, &etcd, server__in_pki(s, "apiserver.crt"), server__in_pki(s, "apiserver.key"), s->ca, &e);
	if (rv == 0 && s->api)
		rv = server__write_admin_kubeconfig(s, &e);
	if (rv == 0 && s->control)
		rv = control_reload(s->control, &e);
	if (rv < 0)
		log_error("server", "what has changed on disk is not taken up: %s", e.text);
	else
		log_info("server", "took up changed certificates and keys");
	return rv == 0;
}

/* The keys that the cluster is to have, and what follows from them. */
static void look_after_keys(struct server *s, bool due)
{
	bool changed = rotation_look(&s->rotation);
	bool ok = true;

	if (changed || due)
		ok = !renew_look(&s->renew) || reload(s);
	if (!ok)
		s->renew.stamp = 0; /* again, when next due */
	rotation_report(&s->rotation, ok);
}

static void wait_for_signal(struct server *s, const sigset_t *set)
{
	const struct timespec every = {.tv_sec = ROTATION_LOOK_S};
	unsigned turn = 0;
	int signum;

	do {
		signum = sigtimedwait(set, NULL, &every);
		if (signum < 0 && s->renew.pki_dir)
			look_after_keys(s, ++turn % (RENEW_EVERY_S / ROTATION_LOOK_S) == 0);
	} while (signum < 0);
	log_info("server", "stopping signal=%s", signum == SIGINT ? "SIGINT" : "SIGTERM");
}

static int run(struct server *s, int (*start)(struct server *, struct err *), struct err *e)
{
	sigset_t set;
	int rv;

	block_signals(&set);
	s->began_ms = clock_mono_ms();
	s->lock_fd = -1;
	arena_init(&s->arena);
	rv = prepare(s, e);
	if (rv == 0)
		rv = start(s, e);
	if (rv == 0) {
		log_info("server", "started name=%s address=%s ms=%llu", s->o.name, s->o.address,
				(unsigned long long)(clock_mono_ms() - s->began_ms));
		wait_for_signal(s, &set);
	} else {
		log_error("server", "cannot start: %s", e->text);
	}
	server__stop(s);
	arena_fini(&s->arena);
	server_opts_fini(&s->o);
	return rv;
}

int cmd_server(int argc, char **argv)
{
	struct server s = {.o = server_opts_default()};
	struct opt_args args;
	struct err e = ERR_INIT;

	if (cmd_wants_help(argc, argv, server_usage, server_rows))
		return CMD_OK;
	if (opts_parse(server_rows, &s.o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("server", &e);
	opt_args_fini(&args);
	return run(&s, server__start, &e) < 0 ? cmd_fail(&e) : CMD_OK;
}

int cmd_agent(int argc, char **argv)
{
	struct server s = {.o = server_opts_default()};
	struct opt_args args;
	struct err e = ERR_INIT;

	if (cmd_wants_help(argc, argv, agent_usage, agent_rows))
		return CMD_OK;
	if (opts_parse(agent_rows, &s.o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("agent", &e);
	opt_args_fini(&args);
	return run(&s, server__start_agent_only, &e) < 0 ? cmd_fail(&e) : CMD_OK;
}
