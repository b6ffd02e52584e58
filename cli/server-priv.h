/* Shared by the files of `kontiki server` and `kontiki agent`. */
#ifndef CLI_SERVER_PRIV_H
#define CLI_SERVER_PRIV_H

#include <limits.h>

#include "base/arena.h"
#include "cli/join.h"
#include "cli/renew.h"
#include "cli/rotation_store.h"
#include "cli/server_opts.h"
#include "orchestrator/agent/agent.h"

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
	struct kubelet_limits limits;
	uint64_t began_ms;
	struct renew renew; /* a server's; pki_dir NULL: an agent */
	struct rotation_follower rotation;
};

/* server_start.c: the parts in their order; what has started is stopped by server__stop, also after an error. */
int server__start(struct server *, struct err *);
int server__start_agent_only(struct server *, struct err *);
void server__stop(struct server *);
int server__write_admin_kubeconfig(struct server *, struct err *);
/* A file of the PKI; in the server's arena. */
const char *server__in_pki(struct server *, const char *name);

#endif
