/* Asking a server about its store, as an administrator: shared by member, status and snapshot. */
#ifndef CLI_STORE_CLIENT_H
#define CLI_STORE_CLIENT_H

#include "base/arena.h"
#include "cli/fetch.h"
#include "cli/opts.h"

struct store_client_opts {
	const char *name, *dir, *data_dir, *server;
	/* An etcd API instead (cli/etcd_client.h); NULL: a server of Kontiki. */
	const char *endpoints, *cacert, *cert, *key;
};

#define STORE_CLIENT_ROWS(type, member)                                                                                          \
	{"name", 0, OPT_STR, offsetof(type, member.name), "NAME", "a local cluster (default " LOCAL_DEFAULT_NAME ")", "KONTIKI_CLUSTER", NULL}, \
	{"dir", 0, OPT_STR, offsetof(type, member.dir), "DIR", "its folder (default " LOCAL_DEFAULT_ROOT "/NAME)", "KONTIKI_CLUSTER_DIR", NULL}, \
	{"data-dir", 0, OPT_STR, offsetof(type, member.data_dir), "DIR", "instead: this server's data directory", NULL, NULL},      \
	{"server", 0, OPT_STR, offsetof(type, member.server), "IP:PORT", "with --data-dir: the server to ask (default 127.0.0.1:6443)", NULL, NULL}, \
	{"endpoints", 0, OPT_STR, offsetof(type, member.endpoints), "URL,...", "instead: of a `kontiki etcd`, or an etcd", NULL, NULL}, \
	{"cacert", 0, OPT_STR, offsetof(type, member.cacert), "FILE", "with https endpoints: their authorities (default: the system's)", NULL, NULL}, \
	{"cert", 0, OPT_STR, offsetof(type, member.cert), "FILE", "and the client certificate", NULL, NULL}, \
	{"key", 0, OPT_STR, offsetof(type, member.key), "FILE", "and its key", NULL, NULL}

/* Fills address and tls of *f; release tls with tls_ctx_unref. */
int store_client_connect(const struct store_client_opts *, struct fetch *f, struct arena *, struct err *e);
/* One request; an answer that is not 200 is an error with the server's words. */
int store_client_ask(const struct store_client_opts *, const char *method, const char *path, struct str body, struct arena *, struct str *ret_answer,
		     struct err *e);

#endif
