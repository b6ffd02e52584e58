/*
 * The flags of `kontiki server` and `kontiki agent`: their rows, which --help prints too, their defaults, and whether what was given
 * makes sense. Strings point into the arguments.
 */
#ifndef CLI_SERVER_OPTS_H
#define CLI_SERVER_OPTS_H

#include "cli/kubelet_opts.h"
#include "cli/opts.h"
#include "orchestrator/apiserver/apiserver.h"

struct server_opts {
	const char *name, *data_dir, *address, *initial_cluster, *join, *token, *cluster_cidr, *service_cidr, *cluster_dns, *cluster_domain,
			*cgroup_root, *runtime, *labels, *taints, *log_level, *audit_policy, *audit_log, *encryption, *proxy_ca, *proxy_names,
			*token_hook, *token_hook_ttl, *token_hook_version, *authz_hook, *authz_hook_yes, *authz_hook_no, *authz_hook_version, *authn_config, *authz_config,
			*etcd_listen, *zone, *snapshot_dir, *request_timeout;
	struct oidc_cfg oidc;
	struct opt_list servers, sans, sa_keys;
	struct kubelet_opts kubelet;
	int64_t signing_s, audit_mb, audit_backups, audit_days, port, peer_port, kubelet_port, healthz_port, ingress_http_port,
			ingress_https_port, election_ms, heartbeat_ms, event_ttl_s, history_s, max_requests, voters, dead_s, snapshot_s, snapshot_keep; /* 0: the default of who uses it */
	bool no_agent, witness;
};

extern const struct opt server_rows[], agent_rows[];
extern const char server_usage[], agent_usage[];

struct server_opts server_opts_default(void);
void server_opts_fini(struct server_opts *);
/* Each number within its limits? */
int server_opts_check_numbers(const struct server_opts *, struct err *);
/* How long requests may take and the answers of webhooks are kept goes into the cfg; are they spoken to in the version that is asked for? */
int server_opts_hooks(const struct server_opts *, struct apiserver_cfg *, struct err *);

#endif
