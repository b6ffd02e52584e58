/*
 * The parts of a server or agent, started in their order: keys, store, API, etcd, controllers, agent. What has started is stopped by
 * server__stop, whether the rest could start or not.
 */
#include "cli/server-priv.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/backup.h"
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
#include "raft/kv.h"

const char *server__in_pki(struct server *s, const char *name)
{
	return arena_printf(&s->arena, "%s/%s", s->pki, name);
}

static struct pki_node pki_of(struct server *s)
{
	const char **sans = arena_new_array(&s->arena, const char *, s->o.sans.n + 1);

	for (size_t i = 0; i < s->o.sans.n; i++)
		sans[i] = s->o.sans.v[i];
	return (struct pki_node){.name = s->o.name, .addr = s->o.address, .sans = sans, .service_ip = s->service_ip,
			.domain = s->o.cluster_domain};
}

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
		rv = tls_ctx_new_files(&ts, server__in_pki(s, "peer.crt"), server__in_pki(s, "peer.key"), s->ca, &s->peer_server, e);
	if (rv == 0)
		rv = tls_ctx_new_files(&tc, server__in_pki(s, "peer.crt"), server__in_pki(s, "peer.key"), s->ca, &s->peer_client, e);
	cfg.tls_server = s->peer_server;
	cfg.tls_client = s->peer_client;
	return rv == 0 ? kv_start(&cfg, &s->kv, e) : rv;
}

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

static int start_api(struct server *s, struct err *e)
{
	struct apiserver_cfg cfg = {
		.listen = arena_printf(&s->arena, "0.0.0.0:%d", (int)s->o.port),
		.advertise = s->o.address,
		.name = s->o.name,
		.cert = server__in_pki(s, "apiserver.crt"),
		.key = server__in_pki(s, "apiserver.key"),
		.ca = s->ca,
		.sa_key = server__in_pki(s, "sa.key"),
		.sa_trusted = server__in_pki(s, "sa-trusted.pem"),
		.kubelet_client_cert = server__in_pki(s, "apiserver-kubelet-client.crt"),
		.kubelet_client_key = server__in_pki(s, "apiserver-kubelet-client.key"),
		.front_proxy_cert = server__in_pki(s, "front-proxy-client.crt"),
		.front_proxy_key = server__in_pki(s, "front-proxy-client.key"),
		.front_proxy_ca = server__in_pki(s, "front-proxy-ca.crt"),
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
		.authn_config_file = s->o.authn_config,
		.authz_config_file = s->o.authz_config,
		.sa_verify_keys = joined(s, &s->o.sa_keys),
		.extra = serve_extra,
		.extra_arg = &s->join,
	};

	s->join = (struct join_service){.pki_dir = s->pki, .service_ip = s->service_ip, .kv = s->kv};
	if (server_opts_hooks(&s->o, &cfg, e) < 0)
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
		rv = tls_ctx_new_files(&tls, server__in_pki(s, "apiserver.crt"), server__in_pki(s, "apiserver.key"), s->ca, &s->etcd_tls, e);
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
		.image_gc = &s->limits.image_gc,
		.eviction = &s->limits.eviction,
		.kubelet_port = (int)s->o.kubelet_port,
		.healthz_port = (int)s->o.healthz_port,
		.ingress_http_port = (int)s->o.ingress_http_port,
		.ingress_https_port = (int)s->o.ingress_https_port,
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

int server__write_admin_kubeconfig(struct server *s, struct err *e)
{
	char path[PATH_MAX];
	struct buf b = BUF_INIT;
	int rv = pki_ensure_admin(s->pki, e);

	if (rv == 0)
		rv = pki_kubeconfig(s->pki, "admin", "kontiki", arena_printf(&s->arena, "https://%s:%d", s->o.address, (int)s->o.port), &b, e);
	snprintf(path, sizeof(path), "%s/admin.kubeconfig", s->o.data_dir);
	if (rv == 0)
		rv = file_put(path, buf_str(&b), 0600, true, e);
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

int server__start(struct server *s, struct err *e)
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
		rv = server__write_admin_kubeconfig(s, e);
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

void server__stop(struct server *s)
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

int server__start_agent_only(struct server *s, struct err *e)
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
	if (access(server__in_pki(s, "kubelet.crt"), R_OK) < 0) {
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
