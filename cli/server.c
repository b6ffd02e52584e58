/* kontiki server and kontiki agent: the program as a member of a cluster. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <uv.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/backup.h"
#include "cli/cmd.h"
#include "cli/control.h"
#include "cli/join.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "cli/renew.h"
#include "cli/rotation_store.h"
#include "io/tls.h"
#include "orchestrator/agent/agent.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/paths.h"
#include "orchestrator/etcd/etcd.h"
#include "proto/duration.h"
#include "raft/kv.h"

struct server_opts {
	const char *name, *data_dir, *address, *initial_cluster, *join, *token, *cluster_cidr, *service_cidr, *cluster_dns, *cluster_domain,
			*cgroup_root, *runtime, *labels, *taints, *log_level, *audit_policy, *audit_log, *encryption, *proxy_ca, *proxy_names, *token_hook, *token_hook_ttl, *token_hook_version, *authz_hook, *authz_hook_yes, *authz_hook_no, *authz_hook_version, *etcd_listen, *zone, *snapshot_dir;
	struct oidc_cfg oidc;
	struct opt_list servers, sans, sa_keys;
	int64_t signing_s, audit_mb, audit_backups, audit_days, port, peer_port, kubelet_port, healthz_port, election_ms, heartbeat_ms, event_ttl_s, history_s, max_requests,
			voters, dead_s, snapshot_s, snapshot_keep;
	bool no_agent, witness;
};

#define ROW(name, type, member, arg, help, env) {name, 0, type, offsetof(struct server_opts, member), arg, help, env, NULL}

#define NODE_ROWS                                                                                                        \
	ROW("name", OPT_STR, name, "NAME", "the node's name (default: the host's)", "KONTIKI_NAME"),                      \
	ROW("data-dir", OPT_STR, data_dir, "DIR", "where everything is kept (default /var/lib/kontiki)", "KONTIKI_DATA_DIR"), \
	ROW("advertise-address", OPT_STR, address, "IP", "the address others reach this node at (default: the first global one)", "KONTIKI_ADDRESS"), \
	ROW("token", OPT_STR, token, "TOKEN", "join token of a running cluster (or a file with it: @FILE)", "KONTIKI_TOKEN"), \
	ROW("cluster-cidr", OPT_STR, cluster_cidr, "CIDR", "the pods' network (default 10.244.0.0/16)", NULL),            \
	ROW("service-cidr", OPT_STR, service_cidr, "CIDR", "the Services' network (default 10.96.0.0/12)", NULL),         \
	ROW("cluster-dns", OPT_STR, cluster_dns, "IP", "the cluster DNS address (default 10.96.0.10)", NULL),             \
	ROW("cluster-domain", OPT_STR, cluster_domain, "NAME", "the cluster's DNS domain (default cluster.local)", NULL), \
	ROW("cgroup-root", OPT_STR, cgroup_root, "PATH", "control group below which pods run (default /kubepods)", NULL), \
	ROW("container-runtime-endpoint", OPT_STR, runtime, "SOCKET", "use this CRI runtime instead of an own containerd", NULL), \
	ROW("node-labels", OPT_STR, labels, "K=V,...", "labels of the node when it registers", NULL),                     \
	ROW("register-with-taints", OPT_STR, taints, "K=V:EFFECT,...", "taints of the node when it registers", NULL),     \
	ROW("kubelet-port", OPT_INT, kubelet_port, "PORT", "the kubelet's HTTPS port (default 10250)", NULL),             \
	ROW("healthz-port", OPT_INT, healthz_port, "PORT", "the kubelet's health port on loopback (default 10248)", NULL), \
	ROW("log-level", OPT_STR, log_level, "LEVEL", "error, warn, info or debug (default info)", "KONTIKI_LOG_LEVEL")

static const struct opt server_rows[] = {
	NODE_ROWS,
	ROW("initial-cluster", OPT_STR, initial_cluster, "NAME=IP:PORT,...", "all members of a new cluster, the same list on each; only for the first start", NULL),
	ROW("join", OPT_STR, join, "URL", "join the cluster of this server (https://IP:6443); only for the first start", "KONTIKI_JOIN"),
	ROW("secure-port", OPT_INT, port, "PORT", "the API's HTTPS port (default 6443)", NULL),
	ROW("peer-port", OPT_INT, peer_port, "PORT", "the port for other members (default 2380)", NULL),
	ROW("etcd-listen", OPT_STR, etcd_listen, "IP:PORT", "serve the store as the etcd v3 API there: on loopback plain, for root's processes only; elsewhere TLS with admin client certificates; \"off\": not at all (default 127.0.0.1:2379)", "KONTIKI_ETCD_LISTEN"),
	ROW("audit-policy-file", OPT_STR, audit_policy, "FILE", "what to write to the audit log (Policy of audit.k8s.io/v1)", NULL),
	ROW("audit-log-path", OPT_STR, audit_log, "FILE", "the audit log, a line of JSON an event (\"-\": standard output; default: none)", NULL),
	ROW("audit-log-maxsize", OPT_INT, audit_mb, "MB", "begin a new audit log file after so much (default 100)", NULL),
	ROW("audit-log-maxbackup", OPT_INT, audit_backups, "N", "keep so many old audit log files (default: all)", NULL),
	ROW("audit-log-maxage", OPT_INT, audit_days, "DAYS", "remove older audit log files (default: never)", NULL),
	ROW("encryption-provider-config", OPT_STR, encryption, "FILE", "which resources are stored encrypted, and with what keys (EncryptionConfiguration)", NULL),
	ROW("service-account-key-file", OPT_LIST, sa_keys, "FILE", "a further key that service-account tokens may be signed with; may be repeated", NULL),
	ROW("requestheader-client-ca-file", OPT_STR, proxy_ca, "FILE", "CA of front proxies, which are believed when they say who asks (X-Remote-User ...)", NULL),
	ROW("requestheader-allowed-names", OPT_STR, proxy_names, "NAME,...", "common names of their certificates (default: any)", NULL),
	ROW("authentication-token-webhook-config-file", OPT_STR, token_hook, "FILE", "a webhook that is asked (TokenReview) about tokens that are nobody else's, in a kubeconfig's form", NULL),
	ROW("authentication-token-webhook-cache-ttl", OPT_STR, token_hook_ttl, "DURATION", "how long its answers are kept (default 2m)", NULL),
	ROW("authentication-token-webhook-version", OPT_STR, token_hook_version, "VERSION", "of the TokenReview that it is sent: v1", NULL),
	ROW("authorization-webhook-config-file", OPT_STR, authz_hook, "FILE", "a webhook that is asked (SubjectAccessReview) about what no rule here allows, in a kubeconfig's form", NULL),
	ROW("authorization-webhook-cache-authorized-ttl", OPT_STR, authz_hook_yes, "DURATION", "how long its yes is kept (default 5m)", NULL),
	ROW("authorization-webhook-cache-unauthorized-ttl", OPT_STR, authz_hook_no, "DURATION", "how long its no is kept (default 30s)", NULL),
	ROW("authorization-webhook-version", OPT_STR, authz_hook_version, "VERSION", "of the SubjectAccessReview that it is sent: v1", NULL),
	ROW("oidc-issuer-url", OPT_STR, oidc.issuer, "URL", "take ID tokens of this OIDC issuer", NULL),
	ROW("oidc-client-id", OPT_STR, oidc.client_id, "ID", "the audience that they must be for", NULL),
	ROW("oidc-username-claim", OPT_STR, oidc.username_claim, "CLAIM", "which claim is the user's name (default sub)", NULL),
	ROW("oidc-username-prefix", OPT_STR, oidc.username_prefix, "PREFIX", "put before it (\"-\": nothing; default: the issuer, unless it is the email)", NULL),
	ROW("oidc-groups-claim", OPT_STR, oidc.groups_claim, "CLAIM", "which claim are the user's groups (default: none)", NULL),
	ROW("oidc-groups-prefix", OPT_STR, oidc.groups_prefix, "PREFIX", "put before each of them", NULL),
	ROW("oidc-required-claim", OPT_STR, oidc.required_claims, "K=V,...", "claims that must be so", NULL),
	ROW("oidc-ca-file", OPT_STR, oidc.ca_file, "FILE", "the CA of the issuer's server (default: the system's)", NULL),
	ROW("cluster-signing-duration", OPT_INT, signing_s, "SECONDS", "how long certificates that were signed on request live (default a year)", NULL),
	ROW("tls-san", OPT_LIST, sans, "NAME", "a further name or address in the API's certificate; may be repeated", NULL),
	ROW("election-timeout", OPT_INT, election_ms, "MS", "milliseconds without a leader until an election (default 250)", NULL),
	ROW("heartbeat-interval", OPT_INT, heartbeat_ms, "MS", "milliseconds between the leader's heartbeats (default 50)", NULL),
	ROW("event-ttl", OPT_INT, event_ttl_s, "SECONDS", "how long Events are kept (default 3600)", NULL),
	ROW("history", OPT_INT, history_s, "SECONDS", "how long old revisions can be watched and listed from (default 300)", NULL),
	ROW("max-requests-inflight", OPT_INT, max_requests, "N", "seats of all priority levels together: requests in hand at one time; more wait or get 429 (default 600)", NULL),
	ROW("voters", OPT_INT, voters, "N", "members that vote, 1, 3 or 5; further ones stand by (default 5; the same on each server)", NULL),
	ROW("failure-domain", OPT_STR, zone, "WORD", "what this server fails together with (a rack, a zone): votes are spread over these", "KONTIKI_FAILURE_DOMAIN"),
	ROW("dead-after", OPT_INT, dead_s, "SECONDS", "a voter that is silent so long loses its vote to a stand-by (default 30)", NULL),
	ROW("witness", OPT_BOOL, witness, "", "only vote and keep the log: no API, no pods. The third of two servers", NULL),
	ROW("snapshot-interval", OPT_INT, snapshot_s, "SECONDS", "take a snapshot of the store so often (default 0: never)", NULL),
	ROW("snapshot-keep", OPT_INT, snapshot_keep, "N", "how many of them are kept (default 5)", NULL),
	ROW("snapshot-dir", OPT_STR, snapshot_dir, "DIR", "where (default DATA-DIR/snapshots)", NULL),
	ROW("no-agent", OPT_BOOL, no_agent, "", "control plane only: run no pods here", NULL),
	OPT_END,
};

static const struct opt agent_rows[] = {
	NODE_ROWS,
	ROW("server", OPT_LIST, servers, "URL", "a server's address (https://IP:6443); may be repeated", "KONTIKI_SERVER"),
	OPT_END,
};

static const char server_usage[] = "usage: kontiki server [OPTIONS]\n\n"
				   "A member of the control plane and, without --no-agent, a node. The first one makes a cluster; others --join it.\n";
static const char agent_usage[] = "usage: kontiki agent --server URL [--server URL ...] [--token TOKEN] [OPTIONS]\n\nA node without a control plane.\n";

/* A running server or agent. */
struct server {
	struct server_opts o;
	struct arena arena;
	char pki[PATH_MAX], ca[PATH_MAX];
	const char *service_ip;
	int lock_fd;
	struct tls_ctx *peer_server, *peer_client;
	struct kv *kv;
	struct join_service join;
	const char *const *join_peers;
	size_t n_join_peers;
	struct apiserver *api;
	struct tls_ctx *etcd_tls;
	struct etcd_server *etcd;
	struct control *control;
	struct backup *backup;
	struct agent *agent;
	struct agent_cfg agent_cfg;
	uint64_t began_ms;
	struct renew renew; /* a server's; pki_dir NULL: an agent */
	struct rotation_follower rotation;
};

static const char *in_pki(struct server *s, const char *name)
{
	return arena_printf(&s->arena, "%s/%s", s->pki, name);
}

/* --- Before the start ---------------------------------------------------------------------------------------- */

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

/* 0 is each one's default. */
static int check_numbers(const struct server_opts *o, struct err *e)
{
	const struct {
		const char *flag;
		int64_t value, min, max;
	} rows[] = {
		{"secure-port", o->port, 1, 65535},
		{"peer-port", o->peer_port, 1, 65535},
		{"kubelet-port", o->kubelet_port, 1, 65535},
		{"healthz-port", o->healthz_port, 1, 65535},
		{"election-timeout", o->election_ms, 10, 60000},
		{"heartbeat-interval", o->heartbeat_ms, 1, 30000},
		{"event-ttl", o->event_ttl_s, 1, 31536000},
		{"history", o->history_s, 1, 604800},
		{"max-requests-inflight", o->max_requests, 1, 1000000},
		{"voters", o->voters, 1, KV_MAX_MEMBERS},
		{"dead-after", o->dead_s, 1, 86400},
		{"snapshot-interval", o->snapshot_s, 1, 31536000},
		{"snapshot-keep", o->snapshot_keep, 1, 10000},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].value != 0 && (rows[i].value < rows[i].min || rows[i].value > rows[i].max))
			return err_set(e, ERR_BAD_REQUEST, "--%s %" PRId64 ": must be from %" PRId64 " to %" PRId64, rows[i].flag,
					rows[i].value, rows[i].min, rows[i].max);
	return 0;
}

static int prepare(struct server *s, struct err *e)
{
	int rv = check_numbers(&s->o, e);

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

static struct pki_node pki_of(struct server *s)
{
	const char **sans = arena_new_array(&s->arena, const char *, s->o.sans.n + 1);

	for (size_t i = 0; i < s->o.sans.n; i++)
		sans[i] = s->o.sans.v[i];
	return (struct pki_node){.name = s->o.name, .addr = s->o.address, .sans = sans, .service_ip = s->service_ip,
			.domain = s->o.cluster_domain};
}

/* --- The store ------------------------------------------------------------------------------------------------ */

static void on_fatal(void *arg, const struct err *e)
{
	/* The store cannot go on, and neither can anything above it. Pods run on; whoever started us starts us again. */
	log_error("server", "stopping: %s", e->text);
	_exit(1);
}

static int start_kv(struct server *s, struct err *e)
{
	struct tls_config ts = {.server = true, .verify = TLS_VERIFY_REQUIRED}, tc = {.server = false};
	struct kv_cfg cfg = {
		.data_dir = s->o.data_dir,
		.name = s->o.name,
		.listen = arena_printf(&s->arena, "0.0.0.0:%d", (int)s->o.peer_port),
		.advertise = arena_printf(&s->arena, "%s:%d", s->o.address, (int)s->o.peer_port),
		.url = arena_printf(&s->arena, "https://%s:%d", s->o.address, (int)s->o.port),
		.election_ms = (unsigned)s->o.election_ms,
		.heartbeat_ms = (unsigned)s->o.heartbeat_ms,
		.compact_keep_ms = (unsigned)s->o.history_s * 1000,
		.zone = s->o.zone,
		.witness = s->o.witness,
		.voters = (unsigned)s->o.voters,
		.dead_ms = (unsigned)s->o.dead_s * 1000,
		.on_fatal = on_fatal,
	};
	struct kv_peer *initial = NULL;
	int rv = 0;

	if (s->o.initial_cluster)
		rv = members_parse(s->o.initial_cluster, (int)s->o.port, s->o.name, &s->arena, &initial, &cfg.n_initial, e);
	cfg.initial = cfg.n_initial ? initial : NULL;
	cfg.join = s->join_peers;
	cfg.n_join = s->n_join_peers;
	if (rv == 0)
		rv = tls_ctx_new_files(&ts, in_pki(s, "peer.crt"), in_pki(s, "peer.key"), s->ca, &s->peer_server, e);
	if (rv == 0)
		rv = tls_ctx_new_files(&tc, in_pki(s, "peer.crt"), in_pki(s, "peer.key"), s->ca, &s->peer_client, e);
	cfg.tls_server = s->peer_server;
	cfg.tls_client = s->peer_client;
	return rv == 0 ? kv_start(&cfg, &s->kv, e) : rv;
}

/* --- API, controllers, agent ------------------------------------------------------------------------------------ */

static bool serve_extra(void *arg, struct http_request *r)
{
	struct join_service *join = arg;

	return join_serve(join, r) || members_serve(join->kv, r) || store_serve(join->kv, r) || rotation_serve(join->kv, join->pki_dir, r);
}

static const char *joined(struct server *s, const struct opt_list *list)
{
	const char *out = NULL;

	for (size_t i = 0; i < list->n; i++)
		out = arena_printf(&s->arena, "%s%s%s", out ? out : "", out ? "," : "", list->v[i]);
	return out;
}

/* What webhooks are spoken to with, and how long their answers are kept. */
static int hook_settings(const struct server_opts *o, struct apiserver_cfg *cfg, struct err *e)
{
	const struct {
		const char *flag, *value;
		uint64_t *ret_ms;
	} ttls[] = {
		{"authentication-token-webhook-cache-ttl", o->token_hook_ttl, &cfg->token_hook_ttl_ms},
		{"authorization-webhook-cache-authorized-ttl", o->authz_hook_yes, &cfg->authz_hook_yes_ms},
		{"authorization-webhook-cache-unauthorized-ttl", o->authz_hook_no, &cfg->authz_hook_no_ms},
	};
	const char *const versions[][2] = {
		{"authentication-token-webhook-version", o->token_hook_version}, {"authorization-webhook-version", o->authz_hook_version}};
	int64_t ns;

	for (size_t i = 0; i < ARRAY_LEN(versions); i++)
		if (versions[i][1] && strcmp(versions[i][1], "v1") != 0)
			return err_set(e, ERR_BAD_REQUEST, "--%s %s: only v1 is spoken", versions[i][0], versions[i][1]);
	for (size_t i = 0; i < ARRAY_LEN(ttls); i++) {
		if (!ttls[i].value)
			continue;
		if (!duration_parse(str_from(ttls[i].value), &ns) || ns < 0)
			return err_set(e, ERR_BAD_REQUEST, "--%s \"%s\": give a duration such as 2m", ttls[i].flag, ttls[i].value);
		*ttls[i].ret_ms = (uint64_t)MAX(ns / 1000000, 1);
	}
	return 0;
}

static int start_api(struct server *s, struct err *e)
{
	struct apiserver_cfg cfg = {
		.listen = arena_printf(&s->arena, "0.0.0.0:%d", (int)s->o.port),
		.advertise = s->o.address,
		.name = s->o.name,
		.cert = in_pki(s, "apiserver.crt"),
		.key = in_pki(s, "apiserver.key"),
		.ca = s->ca,
		.sa_key = in_pki(s, "sa.key"),
		.sa_trusted = in_pki(s, "sa-trusted.pem"),
		.kubelet_client_cert = in_pki(s, "apiserver-kubelet-client.crt"),
		.kubelet_client_key = in_pki(s, "apiserver-kubelet-client.key"),
		.front_proxy_cert = in_pki(s, "front-proxy-client.crt"),
		.front_proxy_key = in_pki(s, "front-proxy-client.key"),
		.front_proxy_ca = in_pki(s, "front-proxy-ca.crt"),
		.service_cidr = s->o.service_cidr,
		.event_ttl_s = (uint32_t)s->o.event_ttl_s,
		.max_requests = (unsigned)s->o.max_requests,
		.audit_policy_file = s->o.audit_policy,
		.audit_log_path = s->o.audit_log,
		.audit_max_mb = (unsigned)s->o.audit_mb,
		.audit_max_backups = (unsigned)s->o.audit_backups,
		.audit_max_days = (unsigned)s->o.audit_days,
		.encryption_file = s->o.encryption,
		.requestheader_ca = s->o.proxy_ca,
		.requestheader_names = s->o.proxy_names,
		.oidc = s->o.oidc,
		.token_hook_file = s->o.token_hook,
		.authz_hook_file = s->o.authz_hook,
		.sa_verify_keys = joined(s, &s->o.sa_keys),
		.extra = serve_extra,
		.extra_arg = &s->join,
	};

	s->join = (struct join_service){.pki_dir = s->pki, .service_ip = s->service_ip, .kv = s->kv};
	if (hook_settings(&s->o, &cfg, e) < 0)
		return -(int)e->code;
	return apiserver_start(&cfg, s->kv, &s->api, e);
}

#define ETCD_DEFAULT_LISTEN "127.0.0.1:2379"

static bool is_loopback(struct str address)
{
	return str_has_prefix(address, STR("127.")) || str_has_prefix(address, STR("[::1]:")) ||
	       str_has_prefix(address, STR("localhost:")) || str_has_prefix(address, STR("unix:"));
}

/*
 * The store as etcd. All of the cluster is in it, secrets too, so off the host it wants the certificate of an
 * administrator or of another server, and on loopback only root's processes, which can read the data directory anyway, are let in. A default address that is taken is no reason not to start.
 */
static int start_etcd(struct server *s, struct err *e)
{
	static const char *const groups[] = {"system:masters", "kontiki:peers", NULL};
	const char *address = s->o.etcd_listen ? s->o.etcd_listen : ETCD_DEFAULT_LISTEN;
	struct tls_config tls = {.server = true, .verify = TLS_VERIFY_REQUIRED, .alpn = "h2,http/1.1"};
	struct etcd_listen listen = {.address = address};
	struct etcd_server_cfg cfg = {.listen = &listen, .n_listen = 1, .groups = groups, .election_ms = (unsigned)s->o.election_ms};
	int rv = 0;

	if (strcmp(address, "off") == 0)
		return 0;
	if (!is_loopback(str_from(address)))
		rv = tls_ctx_new_files(&tls, in_pki(s, "apiserver.crt"), in_pki(s, "apiserver.key"), s->ca, &s->etcd_tls, e);
	listen.tls = s->etcd_tls;
	listen.own_user = s->etcd_tls == NULL;
	if (rv == 0)
		rv = etcd_server_start(&cfg, s->kv, &s->etcd, e);
	if (rv == 0 || s->o.etcd_listen != NULL)
		return rv;
	log_warn("server", "without the etcd API: %s", e->text);
	err_clear(e);
	return 0;
}

static int start_agent(struct server *s, const char *const *servers, size_t n_servers, struct err *e)
{
	s->agent_cfg = (struct agent_cfg){
		.node_name = s->o.name,
		.node_ip = s->o.address,
		.dir = arena_printf(&s->arena, "%s/agent", s->o.data_dir),
		.images_dir = arena_printf(&s->arena, "%s/images", s->o.data_dir),
		.pki_dir = s->pki,
		.version = API_GIT_VERSION,
		.servers = servers,
		.n_servers = n_servers,
		.cluster_cidr = s->o.cluster_cidr,
		.service_cidr = s->o.service_cidr,
		.cluster_dns = s->o.cluster_dns,
		.cluster_domain = s->o.cluster_domain,
		.cgroup_root = s->o.cgroup_root,
		.runtime_socket = s->o.runtime,
		.node_labels = s->o.labels,
		.node_taints = s->o.taints,
		.kubelet_port = (int)s->o.kubelet_port,
		.healthz_port = (int)s->o.healthz_port,
	};
	if (dir_make(s->agent_cfg.dir, 0711, e) < 0)
		return -(int)e->code;
	return agent_start(&s->agent_cfg, &s->agent, e);
}

static int start_backups(struct server *s, struct err *e)
{
	struct backup_cfg cfg = {.store = kv_store(s->kv), .dir = s->o.snapshot_dir, .interval_s = (unsigned)s->o.snapshot_s, .keep = (unsigned)s->o.snapshot_keep};

	if (!s->o.snapshot_s)
		return 0;
	if (!cfg.dir)
		cfg.dir = arena_printf(&s->arena, "%s/snapshots", s->o.data_dir);
	return backup_start(&cfg, &s->backup, e);
}

static int write_admin_kubeconfig(struct server *s, struct err *e)
{
	char path[PATH_MAX];
	struct buf b = BUF_INIT;
	int rv = pki_ensure_admin(s->pki, e);

	if (rv == 0)
		rv = pki_kubeconfig(s->pki, "admin", "kontiki", arena_printf(&s->arena, "https://%s:%d", s->o.address, (int)s->o.port), &b, e);
	snprintf(path, sizeof(path), "%s/admin.kubeconfig", s->o.data_dir);
	if (rv == 0)
		rv = file_write(path, b.p, b.n, 0600, e);
	buf_fini(&b);
	return rv;
}

/* Only for a data directory that is no member yet; one that is just starts again. */
static int join(struct server *s, struct err *e)
{
	struct join_node n = {.url = s->o.join, .token = s->o.token, .pki_dir = s->pki, .name = s->o.name, .addr = s->o.address};

	if (pki_has_ca_key(s->pki) && access(arena_printf(&s->arena, "%s/raft", s->o.data_dir), F_OK) == 0)
		return 0;
	if (s->o.initial_cluster)
		return err_set(e, ERR_BAD_REQUEST, "give either --initial-cluster or --join");
	log_info("server", "joining %s", s->o.join);
	return join_as_server(&n, &s->arena, &s->join_peers, &s->n_join_peers, e);
}

static int start_server(struct server *s, struct err *e)
{
	struct pki_node pn = pki_of(s);
	struct control_cfg cc;
	const char **self = arena_new_array(&s->arena, const char *, KV_MAX_MEMBERS + 1);
	struct kv_peer *members = NULL;
	size_t n_members = 0, n = 0;
	int rv = s->o.join ? join(s, e) : 0;

	if (rv == 0)
		rv = pki_ensure_ca(s->pki, e);
	if (rv == 0)
		rv = join_ensure_token(s->pki, &s->arena, NULL, e);
	if (rv == 0)
		rv = pki_ensure_server(s->pki, &pn, e);
	if (rv == 0)
		rv = start_kv(s, e);
	if (rv == 0) {
		renew_init(&s->renew, s->pki, &pn, s->o.encryption);
		s->rotation = (struct rotation_follower){.kv = s->kv, .pki_dir = s->pki, .name = s->o.name};
	}
	if (rv < 0 || s->o.witness)
		return rv;
	rv = start_backups(s, e);
	if (rv == 0)
		rv = start_api(s, e);
	s->rotation.api = s->api;
	if (rv == 0)
		rv = start_etcd(s, e);
	if (rv < 0)
		return rv;
	cc = (struct control_cfg){.kv = s->kv, .api = s->api, .cluster_cidr = s->o.cluster_cidr, .pki_dir = s->pki, .sign_s = s->o.signing_s};
	rv = control_start(&cc, &s->control, e);
	if (rv == 0)
		rv = write_admin_kubeconfig(s, e);
	/* As taken up so far; a witness's have been noted before. */
	if (rv == 0)
		renew_init(&s->renew, s->pki, &pn, s->o.encryption);
	if (rv < 0 || s->o.no_agent)
		return rv;
	/* Our own API server first; the others when it does not answer. */
	self[n++] = arena_printf(&s->arena, "127.0.0.1:%d", (int)s->o.port);
	if (s->o.initial_cluster && members_parse(s->o.initial_cluster, (int)s->o.port, s->o.name, &s->arena, &members, &n_members, e) == 0)
		for (size_t i = 0; i < n_members; i++)
			if (strcmp(members[i].name, s->o.name) != 0)
				self[n++] = members[i].url + strlen("https://");
	/* As kubeadm labels its servers; kubectl shows it as the node's role. */
	s->o.labels = s->o.labels ? arena_printf(&s->arena, "node-role.kubernetes.io/control-plane=,%s", s->o.labels)
				  : "node-role.kubernetes.io/control-plane=";
	return start_agent(s, self, n, e);
}

static void stop_all(struct server *s)
{
	if (s->agent)
		agent_stop(s->agent);
	if (s->control)
		control_stop(s->control);
	etcd_server_stop(s->etcd);
	if (s->api)
		apiserver_stop(s->api);
	backup_stop(s->backup);
	if (s->kv)
		kv_stop(s->kv);
	tls_ctx_unref(s->etcd_tls);
	tls_ctx_unref(s->peer_server);
	tls_ctx_unref(s->peer_client);
	closep(&s->lock_fd);
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

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
		rv = tls_ctx_reload_files(s->peer_server, &ts, in_pki(s, "peer.crt"), in_pki(s, "peer.key"), s->ca, &e);
	if (rv == 0)
		rv = tls_ctx_reload_files(s->peer_client, &tc, in_pki(s, "peer.crt"), in_pki(s, "peer.key"), s->ca, &e);
	if (rv == 0 && s->etcd_tls)
		rv = tls_ctx_reload_files(s->etcd_tls, &etcd, in_pki(s, "apiserver.crt"), in_pki(s, "apiserver.key"), s->ca, &e);
	if (rv == 0 && s->api)
		rv = write_admin_kubeconfig(s, &e);
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

static struct server_opts default_opts(void)
{
	return (struct server_opts){
		.data_dir = "/var/lib/kontiki", .cluster_cidr = "10.244.0.0/16", .service_cidr = "10.96.0.0/12", .cluster_dns = "10.96.0.10",
		.cluster_domain = "cluster.local", .port = 6443, .peer_port = 2380, .kubelet_port = 10250, .healthz_port = 10248, .election_ms = 250,
	};
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
	stop_all(s);
	arena_fini(&s->arena);
	opt_list_fini(&s->o.servers);
	opt_list_fini(&s->o.sans);
	opt_list_fini(&s->o.sa_keys);
	return rv;
}

int cmd_server(int argc, char **argv)
{
	struct server s = {.o = default_opts()};
	struct opt_args args;
	struct err e = ERR_INIT;

	if (cmd_wants_help(argc, argv, server_usage, server_rows))
		return CMD_OK;
	if (opts_parse(server_rows, &s.o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("server", &e);
	opt_args_fini(&args);
	return run(&s, start_server, &e) < 0 ? cmd_fail(&e) : CMD_OK;
}

static int start_agent_only(struct server *s, struct err *e)
{
	const char **servers = arena_new_array(&s->arena, const char *, s->o.servers.n + 1);
	static const char scheme[] = "https://";

	if (s->o.servers.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "give at least one --server https://IP:6443");
	for (size_t i = 0; i < s->o.servers.n; i++) {
		const char *url = s->o.servers.v[i];

		if (strncmp(url, scheme, strlen(scheme)) != 0 || strchr(url + strlen(scheme), ':') == NULL)
			return err_set(e, ERR_BAD_REQUEST, "--server \"%s\": give a URL such as https://10.0.0.1:6443", url);
		servers[i] = url + strlen(scheme);
	}
	if (access(in_pki(s, "kubelet.crt"), R_OK) < 0) {
		struct join_node n = {.token = s->o.token, .pki_dir = s->pki, .name = s->o.name, .addr = s->o.address};
		const char *const *known;
		size_t n_known;
		int rv = -1;

		for (size_t i = 0; rv < 0 && i < s->o.servers.n; i++) {
			n.url = s->o.servers.v[i];
			rv = join_as_agent(&n, &s->arena, &known, &n_known, e);
		}
		if (rv < 0)
			return rv;
	}
	return start_agent(s, servers, s->o.servers.n, e);
}

int cmd_agent(int argc, char **argv)
{
	struct server s = {.o = default_opts()};
	struct opt_args args;
	struct err e = ERR_INIT;

	if (cmd_wants_help(argc, argv, agent_usage, agent_rows))
		return CMD_OK;
	if (opts_parse(agent_rows, &s.o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("agent", &e);
	opt_args_fini(&args);
	return run(&s, start_agent_only, &e) < 0 ? cmd_fail(&e) : CMD_OK;
}
