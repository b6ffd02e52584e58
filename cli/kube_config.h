/*
 * Which cluster to talk to, and as whom: kubectl's options, and kubeconfig files as kubectl reads them.
 *
 * The files are --kubeconfig, or all of $KUBECONFIG (of entries of one name the first counts), or ~/.kube/config. Who has none
 * and has just run `kontiki up` or `kontiki server` gets the administrator's of the local cluster ($KONTIKI_CLUSTER and
 * $KONTIKI_CLUSTER_DIR name another one), or that of the default data directory. Relative paths are relative to the file that they stand in; options win.
 */
#ifndef CLI_KUBE_CONFIG_H
#define CLI_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/opts.h"

struct kube_opts {
	const char *kubeconfig, *context, *cluster, *user, *server, *token, *ns, *request_timeout, *ca, *cert, *key, *tls_server_name;
	bool insecure;
};
#define KUBE_OPT(member, name, letter, type, arg, help)                                              \
	{name, letter, type, offsetof(struct kube_opts, member), arg, help, NULL, NULL}
extern const struct opt kube_rows[];

/* What came out; strings live in the arena (or in argv). */
struct kube_config {
	const char *ns;          /* of -n or the context; "default" */
	bool ns_given;           /* -n was given */
	const char *address;     /* "127.0.0.1:6443" */
	const char *server_name; /* to expect in the server's certificate */
	const char *token;       /* or NULL */
	struct str ca, cert, key; /* PEM; empty: none */
	bool insecure;
};
int kube_config_read(struct arena *, const struct kube_opts *, struct kube_config *ret, struct err *e);

#endif
