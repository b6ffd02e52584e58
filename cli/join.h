/*
 * Joining a running cluster with a token.
 *
 * A token is `kontiki1.<hash>.<secret>`: the SHA-256 of the CA's public key (hex), by which the joining node knows the right cluster,
 * and a secret of 160 bits, by which the cluster knows the node. Every server keeps the first one in pki/join.token; further ones,
 * made with `kontiki token`, are kept as hashes in the store (orchestrator/apiserver/join_token.h). Whoever has one that is good for
 * servers may become one, so it is as precious as the CA's key.
 *
 *	joiner                                    a server, on its API port
 *	  GET  /kontiki/v1/ca                     the CA's certificate; checked against the hash before it is trusted
 *	  POST /kontiki/v1/join/server            CA key, service-account key, the members' peer addresses
 *	  POST /kontiki/v1/join/agent             {name, addr, csr, password}: a kubelet certificate for that name, if it is
 *	                                          the machine's (join_claim.h), the servers' addresses
 *
 * The POSTs go over TLS that was verified with that CA and carry the secret.
 */
#ifndef CLI_JOIN_H
#define CLI_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct http_request;
struct json;
struct kv;
struct kv_member;
struct kv_peer;
struct kv_status;

/* --- Servers ---- */

/* --initial-cluster: "a=10.0.0.1:2380,b=10.0.0.2:2380,w=10.0.0.3:2380+witness", `name` among them; in the arena. */
int members_parse(const char *list, int api_port, const char *name, struct arena *, struct kv_peer **ret, size_t *ret_n, struct err *e);

/* pki/join.token, made when missing; `ret_token` (in the arena) may be NULL. Needs ca.crt. */
int join_ensure_token(const char *pki_dir, struct arena *, const char **ret_token, struct err *e);

/* A new token for the cluster of that CA certificate, and its secret part; in the arena. */
int join_new_token(const char *ca_path, struct arena *, const char **ret_token, const char **ret_secret, struct err *e);

/* The parts of a token, in the arena; @FILE is read. */
int join_token_parse(const char *token, struct arena *, struct str *ret_hash, const char **ret_secret, struct err *e);
/* pki/join.token names the first certificate of ca.crt again, with the same secret; *ret_changed is set when it did not. */
int join_token_follow(const char *pki_dir, struct arena *, bool *ret_changed, struct err *e);

struct join_service {
	const char *pki_dir;
	const char *service_ip; /* the API's address as a Service: no node's */
	struct kv *kv;
};
/* For the API server's front: true when the path was one of ours; then the request has been answered or will be. Any loop. */
bool join_serve(struct join_service *, struct http_request *);

/*
 * The same for what administrators (a client certificate of system:masters) ask of the store:
 *
 *	GET /kontiki/v1/members                list            POST   make a place: {address, zone, learner, witness}
 *	PUT /kontiki/v1/members/NAME           {address, url, zone}
 *	DELETE /kontiki/v1/members/NAME        POST .../NAME/transfer, .../NAME/promote        NAME may be an id
 *	GET /kontiki/v1/status                 all of kv_status and what is wrong
 *	GET /kontiki/v1/snapshot               a snapshot file (store/snapfile.h)
 */
bool members_serve(struct kv *, struct http_request *);
bool store_serve(struct kv *, struct http_request *);
bool request_is_admin(const struct http_request *);
struct json *member_json(struct arena *, const struct kv_status *, const struct kv_member *);

/* --- Of join_token.c, for join.c ---- */

/* SHA-256 of the key in the first certificate, hex. */
int join__ca_hash(struct str pem, char out[72], struct err *e);
/* Heap, NUL at the end; NULL on error. */
char *join__pki_read(const char *dir, const char *name, struct err *e);
int join__pki_write(const char *dir, const char *name, struct str text, mode_t mode, struct err *e);

/* --- Joiners ---- */

struct join_node {
	const char *url;   /* https://IP:PORT of any server */
	const char *token; /* or @FILE */
	const char *pki_dir;
	const char *name, *addr;
};
/* Fetch what a server needs into pki/. The members' peer addresses, NULL-terminated, in the arena. */
int join_as_server(const struct join_node *, struct arena *, const char *const **ret_peers, size_t *ret_n, struct err *e);
/* Get kubelet.crt and ca.crt into pki/; the servers' API addresses ("ip:port"), in the arena. */
int join_as_agent(const struct join_node *, struct arena *, const char *const **ret_servers, size_t *ret_n, struct err *e);

#endif
