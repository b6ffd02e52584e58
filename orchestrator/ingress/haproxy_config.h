/*
 * The routes as files that HAProxy reads: its configuration, a table a file (as `map_str` and `map_beg` want them), the certificates. Pure.
 * Names in the configuration are relative to the folder of the files, so that equal routes give equal text wherever they are.
 */
#ifndef ORCHESTRATOR_INGRESS_HAPROXY_CONFIG_H
#define ORCHESTRATOR_INGRESS_HAPROXY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "orchestrator/ingress/ingress_routes.h"

struct haproxy_options {
	const char *address;     /* to listen at, "0.0.0.0" */
	int http_port, https_port; /* 0: not */
	const char *socket;      /* absolute: for its own reloads, and for who looks inside */
	const char *user;        /* to become once it listens; NULL: stay */
	struct str default_pem;  /* for who asks for a name without a certificate */
};

struct haproxy_file {
	const char *name;
	struct str text;
};

struct haproxy_files {
	struct haproxy_file *v;
	size_t n, cap;
};

#define HAPROXY_CONFIG "haproxy.cfg"

/* In the arena. */
void haproxy_files(struct arena *, const struct ingress_routes *, const struct haproxy_options *, struct haproxy_files *ret);
bool haproxy_files_equal(const struct haproxy_files *, const struct haproxy_files *);

#endif
