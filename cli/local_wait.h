/* Waiting for a local cluster with visible progress, and its kubeconfig; used by cli/up.c. */
#ifndef CLI_LOCAL_WAIT_H
#define CLI_LOCAL_WAIT_H

#include "base/err.h"

struct local;

/*
 * Wait until the API answers through the balancer and every node of the cluster is Ready; prints what is still missing
 * whenever that changes. ERR_TIMEOUT names what was missing and where the log is. ERR_UNAVAILABLE at once when a process
 * has ended, with the last line of its log.
 */
int local_wait_ready(const struct local *, unsigned timeout_ms, struct err *e);

/* Merge a kubeconfig (YAML) into $KUBECONFIG's first file or ~/.kube/config: entries of the same names are replaced, the others
 * stay, and its context becomes the current one. Prints where it went. */
int kubeconfig_merge(const char *text, struct err *e);

#endif
