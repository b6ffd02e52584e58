/*
 * Network namespaces by name, the way iproute2 keeps them: a bind mount in /run/netns/NAME.
 *
 * An open file descriptor of a namespace (`netns_open`) is what the rest of the program passes around. Entering
 * is per thread; `netns_call` enters, runs a function and comes back, and aborts if it cannot come back, since a
 * thread in the wrong namespace would silently reach the wrong network.
 */
#ifndef NET_NETNS_H
#define NET_NETNS_H

#include <stdbool.h>

#include "base/err.h"

/* Make the namespace, with its loopback interface up. ERR_ALREADY_EXISTS when it is there. Needs CAP_SYS_ADMIN. */
int netns_add(const char *name, struct err *e);
/* Unmount and remove the name. The namespace ends when its last process and descriptor are gone. Absent: success. */
int netns_del(const char *name, struct err *e);
bool netns_exists(const char *name);
/* A close-on-exec descriptor, or a negative error. `name` may also be a path that contains a slash. */
int netns_open(const char *name, struct err *e);
/* The calling thread's own namespace. */
int netns_open_self(struct err *e);
/* Move the calling thread for good (for a child between fork and exec: async-signal-safe). 0 or -errno. */
int netns_enter(int fd);
/* Run fn(data) in the namespace on this thread; returns fn's result. fd < 0: runs it right here. */
int netns_call(int fd, int (*fn)(void *data, struct err *e), void *data, struct err *e);

#endif
