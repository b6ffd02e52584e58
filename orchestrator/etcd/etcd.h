/*
 * struct etcd_server: the etcd v3 API of one member, over a kv: gRPC, the JSON gateway and the health pages on one port.
 *
 *	struct etcd_listen at[] = {{.address = "127.0.0.1:2379"}};
 *	struct etcd_server_cfg cfg = {.listen = at, .n_listen = 1};
 *	etcd_server_start(&cfg, kv, &srv, &e);         any thread; it listens when this returns
 *	...
 *	etcd_server_stop(srv);                         before kv_stop
 *
 * It knows nothing of Kubernetes: `kontiki server` puts it beside the API server, `kontiki etcd` runs it alone. It has
 * n_loops threads of its own that share its ports (SO_REUSEPORT); each has a watch hub. All state is in the kv.
 */
#ifndef ORCHESTRATOR_ETCD_ETCD_H
#define ORCHESTRATOR_ETCD_ETCD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct etcd_server;
struct jws_key;
struct kv;
struct tls_ctx;

#define ETCD_MAX_LISTEN 8
/* What it says it is: clients choose features by it (progress requests need 3.5.13 or later). */
#define ETCD_VERSION "3.5.21"
#define ETCD_CLUSTER_VERSION "3.5.0"

struct etcd_listen {
	const char *address; /* "127.0.0.1:2379", "unix:/path"; port 0: the kernel chooses. Copied */
	struct tls_ctx *tls; /* NULL: plain. Must outlive the server; should offer "h2,http/1.1" */
	/* Plain and on loopback only: connections of this process's own user and of root; others are closed. */
	bool own_user;
	/* Nothing but /metrics, /health and the like. */
	bool metrics_only;
};

struct etcd_server_cfg {
	const struct etcd_listen *listen;
	size_t n_listen;
	int netns_fd;     /* 0 or -1: the thread's own namespace */
	unsigned n_loops; /* 0: one for two cores (raft has the other), at most 4 */
	/*
	 * Over TLS: client certificates must have one of these organizations, NULL-terminated; NULL: whatever the TLS context
	 * lets through. Copied by pointer: static.
	 */
	const char *const *groups;
	/* 0 takes the default. */
	size_t max_request_bytes; /* 1.5 MiB */
	unsigned progress_ms;     /* 10 min: how often a quiet watch with progress_notify is told of its progress */
	unsigned election_ms;     /* 300: the kv's */
	unsigned max_txn_ops;     /* 128, which is also the most */
	unsigned max_learners;    /* 1 */
	unsigned bcrypt_cost;     /* 10 */
	/* A verified client certificate's common name is the user when there is no token. */
	bool cert_users;
	/* Tokens are JSON Web Tokens of this key, for so long (0: 5 min); NULL: simple ones. Must outlive the server. */
	const struct jws_key *token_key;
	uint64_t token_ms;
	/* Member lists show peers as https. */
	bool peer_tls;
};

/* Errors name the address and what to do (ERR_ALREADY_EXISTS: it is in use). */
int etcd_server_start(const struct etcd_server_cfg *, struct kv *, struct etcd_server **ret, struct err *);
/* Stops listening, ends watches, waits for requests under way (bounded), joins its threads, frees. NULL is allowed. */
void etcd_server_stop(struct etcd_server *);
/* The port of listen[i]. */
uint16_t etcd_server_port(const struct etcd_server *, size_t i);

#endif
