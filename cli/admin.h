/*
 * Commands that ask a server as the cluster's administrator, with the certificate from a data directory: of a local cluster
 * (--name) or of this machine's server (--data-dir).
 */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/opts.h"

struct tls_ctx;

struct admin_opts {
	const char *name, *dir, *data_dir, *server;
};
#define ADMIN_ROWS(type, member)                                                                                                          \
	{"name", 0, OPT_STR, offsetof(type, member.name), "NAME", "a local cluster (default kontiki)", "KONTIKI_CLUSTER", NULL},           \
		{"dir", 0, OPT_STR, offsetof(type, member.dir), "DIR", "where it lives", "KONTIKI_CLUSTER_DIR", NULL},                    \
		{"data-dir", 0, OPT_STR, offsetof(type, member.data_dir), "DIR", "instead: this server's data directory", NULL, NULL},    \
	{                                                                                                                                 \
		"server", 0, OPT_STR, offsetof(type, member.server), "IP:PORT", "with --data-dir: the server to ask (default 127.0.0.1:6443)", \
				NULL, NULL                                                                                        \
	}

struct admin {
	struct tls_ctx *tls;
	const char *address, *ca_path; /* in the arena of admin_open */
};
int admin_open(const struct admin_opts *, struct arena *, struct admin *ret, struct err *);
void admin_close(struct admin *);
/* A JSON request; the answer's text in the arena. A Status of failure becomes the error. */
int admin_call(struct admin *, struct arena *, const char *method, const char *path, struct str body, struct str *ret, struct err *);

#endif
