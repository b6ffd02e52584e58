#include "cli/server_opts.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/etcd/etcd.h"
#include "proto/duration.h"
#include "raft/kv.h"

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
	ROW("ingress-http-port", OPT_INT, ingress_http_port, "PORT", "where Ingresses are served on this node; 0: nowhere (default 80)", NULL), \
	ROW("ingress-https-port", OPT_INT, ingress_https_port, "PORT", "the same with TLS (default 443)", NULL), \
	ROW("image-gc-high-threshold", OPT_INT, kubelet.image_high, "PERCENT", "remove unused images when their disk is used so much; 100: never (default 85)", "KONTIKI_IMAGE_GC_HIGH_THRESHOLD"), \
	ROW("image-gc-low-threshold", OPT_INT, kubelet.image_low, "PERCENT", "until it is used no more than this (default 80)", "KONTIKI_IMAGE_GC_LOW_THRESHOLD"), \
	ROW("minimum-image-ttl-duration", OPT_STR, kubelet.image_ttl, "DURATION", "an unused image stays at least so long (default 2m)", "KONTIKI_MINIMUM_IMAGE_TTL_DURATION"), \
	ROW("eviction-hard", OPT_STR, kubelet.eviction.hard, "SIGNAL<VALUE,...", "when the node has less, pods are evicted at once (default memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%); 0%: never", "KONTIKI_EVICTION_HARD"), \
	ROW("eviction-soft", OPT_STR, kubelet.eviction.soft, "SIGNAL<VALUE,...", "when it has had less for its grace period, pods are asked to end (default: none)", "KONTIKI_EVICTION_SOFT"), \
	ROW("eviction-soft-grace-period", OPT_STR, kubelet.eviction.soft_grace, "SIGNAL=DURATION,...", "how long, for each soft threshold", "KONTIKI_EVICTION_SOFT_GRACE_PERIOD"), \
	ROW("eviction-max-pod-grace-period", OPT_INT, kubelet.eviction.max_pod_grace_s, "SECONDS", "the most that a pod gets to end because of a soft threshold (default 0)", "KONTIKI_EVICTION_MAX_POD_GRACE_PERIOD"), \
	ROW("eviction-minimum-reclaim", OPT_STR, kubelet.eviction.minimum_reclaim, "SIGNAL=VALUE,...", "so much more than the threshold has to be there again (default 0)", "KONTIKI_EVICTION_MINIMUM_RECLAIM"), \
	ROW("eviction-pressure-transition-period", OPT_STR, kubelet.eviction.transition, "DURATION", "how long a pressure condition of the node stays when it is over (default 5m)", "KONTIKI_EVICTION_PRESSURE_TRANSITION_PERIOD"), \
	ROW("log-level", OPT_STR, log_level, "LEVEL", "error, warn, info or debug (default info)", "KONTIKI_LOG_LEVEL")

const struct opt server_rows[] = {
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
	ROW("authentication-config", OPT_STR, authn_config, "FILE", "whose tokens are taken and who may come without any (AuthenticationConfiguration), instead of --oidc-*", NULL),
	ROW("authorization-config", OPT_STR, authz_config, "FILE", "who is asked, in which order, what somebody may do (AuthorizationConfiguration)", NULL),
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
	ROW("request-timeout", OPT_STR, request_timeout, "DURATION", "how long a request may take that is no stream; less by its ?timeout= (default 1m0s)", NULL),
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

const struct opt agent_rows[] = {
	NODE_ROWS,
	ROW("server", OPT_LIST, servers, "URL", "a server's address (https://IP:6443); may be repeated", "KONTIKI_SERVER"),
	OPT_END,
};

const char server_usage[] = "usage: kontiki server [OPTIONS]\n\n"
				   "A member of the control plane and, without --no-agent, a node. The first one makes a cluster; others --join it.\n";
const char agent_usage[] = "usage: kontiki agent --server URL [--server URL ...] [--token TOKEN] [OPTIONS]\n\nA node without a control plane.\n";

int server_opts_check_numbers(const struct server_opts *o, struct err *e)
{
	const struct {
		const char *flag;
		int64_t value, min, max;
	} rows[] = {
		{"secure-port", o->port, 1, 65535},
		{"peer-port", o->peer_port, 1, 65535},
		{"kubelet-port", o->kubelet_port, 1, 65535},
		{"healthz-port", o->healthz_port, 1, 65535},
		{"ingress-http-port", o->ingress_http_port, 0, 65535},
		{"ingress-https-port", o->ingress_https_port, 0, 65535},
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

int server_opts_hooks(const struct server_opts *o, struct apiserver_cfg *cfg, struct err *e)
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
	if (o->request_timeout) {
		/* Less than a second is no time to answer anything in; a day is as good as none. */
		if (!duration_parse(str_from(o->request_timeout), &ns) || ns < 1000000000 || ns > 86400000000000)
			return err_set(e, ERR_BAD_REQUEST, "--request-timeout \"%s\": give a duration from 1s to 24h, such as 1m", o->request_timeout);
		cfg->request_timeout_ms = (uint32_t)(ns / 1000000);
	}
	return 0;
}

struct server_opts server_opts_default(void)
{
	return (struct server_opts){
		.data_dir = "/var/lib/kontiki", .cluster_cidr = "10.244.0.0/16", .service_cidr = "10.96.0.0/12", .cluster_dns = "10.96.0.10",
		.cluster_domain = "cluster.local", .port = 6443, .peer_port = 2380, .kubelet_port = 10250, .healthz_port = 10248, .ingress_http_port = 80,
		.ingress_https_port = 443, .election_ms = 250,
		.kubelet = {.image_high = 85, .image_low = 80},
	};
}

void server_opts_fini(struct server_opts *o)
{
	opt_list_fini(&o->servers);
	opt_list_fini(&o->sans);
	opt_list_fini(&o->sa_keys);
}
