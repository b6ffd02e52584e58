/*
 * The Kubernetes API of one server: registry, HTTPS front, in-process clients.
 *
 *	apiserver_start(&cfg, kv, &srv, &e);                  // any thread; listens when it returns
 *	struct client *c = apiserver_client(srv, loop, "system:kube-controller-manager");   // on that loop
 *	...
 *	client_close(c, ...);  apiserver_stop(srv);           // after all its clients are closed
 *
 * It has `n_loops` threads of its own (serve loops) that share the port; each has its own watch hub. An in-process
 * client runs its requests on its owner's loop and gets a hub for that loop. All state is in the kv; what the
 * struct itself holds after start is immutable or atomic.
 */
#ifndef ORCHESTRATOR_APISERVER_APISERVER_H
#define ORCHESTRATOR_APISERVER_APISERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "orchestrator/apiserver/oidc.h"

struct apiserver;
struct client;
struct http_request;
struct kv;
struct loop;
struct tls_ctx;

/*
 * Where balancers and agents of ours look whether a server serves: 200, or 500 without a quorum, before the first objects are there and while it
 * shuts down. Nobody has to be known for it, so that AuthenticationConfiguration may close /readyz; a KMS plugin that is not well is no reason
 * to go to another server, which for all that is not sealed serves no better.
 */
#define APISERVER_WELL_PATH "/kontiki/v1/ready"

struct apiserver_cfg {
	const char *listen;     /* "0.0.0.0:6443"; port 0: the kernel chooses (apiserver_port) */
	int netns_fd;           /* 0 or -1: the thread's own namespace */
	unsigned n_loops;       /* 0: one a core, at most 4 */
	const char *advertise;  /* this server's IP address, for the Endpoints of the service kubernetes; NULL: none */
	uint16_t advertise_port; /* 0: as listened */
	const char *name;       /* this server's name, for its endpoint lease */

	/* PEM files. */
	const char *cert, *key; /* serving certificate */
	const char *ca;         /* client certificates chain to it; published as kube-root-ca.crt */
	const char *sa_verify_keys; /* "a,b": further files of keys that tokens may be signed with (rotation); NULL: none */
	const char *requestheader_ca, *requestheader_names; /* a front proxy's CA file and certificate names ("a,b"); NULL: none */
	struct oidc_cfg oidc;   /* issuer NULL: none */
	const char *authn_config_file; /* an AuthenticationConfiguration, instead of `oidc`; NULL: none */
	const char *authz_config_file; /* an AuthorizationConfiguration, instead of authz_hook_file; NULL: none */
	const char *sa_trusted; /* a file of keys that are trusted too while it is there (the signing key is being replaced); NULL: none */
	const char *front_proxy_cert, *front_proxy_key, *front_proxy_ca; /* who we are to aggregated API servers; NULL: nobody */
	const char *sa_key;     /* signs service-account tokens (private key); the public half checks them */
	const char *kubelet_client_cert, *kubelet_client_key; /* for log, exec, attach, portforward; NULL: no such */
	const char *token_hook_file; /* a webhook that is asked about tokens nobody here knows (auth_hook.h); NULL: none */
	uint64_t token_hook_ttl_ms;  /* how long its answers are kept; 0: two minutes */
	const char *authz_hook_file; /* a webhook that is asked about what no rule here allows; NULL: none */
	uint64_t authz_hook_yes_ms, authz_hook_no_ms; /* how long its answers are kept; 0: five minutes, half a minute */
	const char *token_file; /* "token,user,uid,group|group" lines; NULL: none */

	const char *service_cidr; /* NULL: 10.96.0.0/12 */
	const char *issuer;       /* NULL: https://kubernetes.default.svc.cluster.local */
	uint16_t node_port_min, node_port_max; /* 0: 30000-32767 */
	uint16_t kubelet_port;    /* 0: what the node's status says, else 10250 */
	uint32_t event_ttl_s;     /* 0: one hour */
	unsigned max_requests;    /* seats of all priority levels together (flow.h). 0: 600 */
	uint32_t request_timeout_ms; /* of requests that are no streams. 0: a minute */

	/* The audit log (audit.h) and encryption at rest (crypt.h); NULL: none. Files are upstream's formats. */
	const char *audit_policy_file, *audit_log_path;
	unsigned audit_max_mb, audit_max_backups, audit_max_days;
	const char *encryption_file;

	/* Paths beside the API's own (joining): true when it took the request over. Runs on a serve loop. NULL: none. */
	bool (*extra)(void *arg, struct http_request *);
	void *extra_arg;
};

int apiserver_start(const struct apiserver_cfg *, struct kv *, struct apiserver **ret, struct err *);
/* Stops listening, ends watches, waits for requests under way (bounded), joins its threads, frees. */
void apiserver_stop(struct apiserver *);
uint16_t apiserver_port(const struct apiserver *);
/* True once the first objects exist (namespaces, the service kubernetes) and a write has gone through. */
bool apiserver_ready(const struct apiserver *);
/* Take up new certificate, key and encryption files (the same paths). */
int apiserver_reload(struct apiserver *, struct err *);

/*
 * While the CA or the token key is being replaced: who came last with what the old one signed, and when (wall clock; 0: nobody).
 * Nodes apart, which say themselves what they have.
 */
enum apiserver_old { APISERVER_OLD_CA, APISERVER_OLD_TOKEN, APISERVER_OLD_N };
int64_t apiserver_old_use(struct apiserver *, enum apiserver_old, char user[256]);

/*
 * A client for the current loop, acting as `user` in group system:masters. Requests skip HTTP and JSON.
 * To be closed with client_close on that loop.
 */
struct client *apiserver_client(struct apiserver *, struct loop *, const char *user);

#endif
