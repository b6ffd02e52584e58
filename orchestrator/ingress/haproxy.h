/*
 * struct haproxy: Debian's HAProxy as a child of this process, with files that we give it. New files are looked at by `haproxy -c` first: what
 * it does not take is not used, and it runs on with what it has. Then it is started, or told to read anew: a new worker takes over the
 * listening sockets, and the old one serves its open connections to their end. So no connection is dropped by a change.
 *
 *	DIR/next/        the files that are looked at; renamed to DIR/files-N when they are good
 *	DIR/current      -> files-N, what it reads
 *
 *	haproxy_apply(h, &files);              done comes, with NULL when they are in use
 *	haproxy_rest(h);                       nothing is to be served any more: it ends
 *
 * One apply at a time. It ends with us: a new one has no way to take the old one's sockets over.
 */
#ifndef ORCHESTRATOR_INGRESS_HAPROXY_H
#define ORCHESTRATOR_INGRESS_HAPROXY_H

#include <stdbool.h>

#include "base/err.h"
#include "orchestrator/ingress/haproxy_config.h"

struct haproxy;
struct loop;

struct haproxy_user {
	void (*done)(struct haproxy_user *, const struct err *);
	/* It listens, or it does not any more (it ended, and is started again after a while). */
	void (*serving)(struct haproxy_user *, bool);
	void (*stopped)(struct haproxy_user *);
};

/* `dir` is copied, and made. */
struct haproxy *haproxy_new(struct loop *, const char *dir, struct haproxy_user *, struct err *);
/* The files are read during the call. */
void haproxy_apply(struct haproxy *, const struct haproxy_files *);
void haproxy_rest(struct haproxy *);
/* `stopped` is the last call. */
void haproxy_stop(struct haproxy *);

#endif
