/*
 * struct balancer: a small TCP balancer over servers that answer a health check.
 *
 * It listens on one address and joins each connection to the best backend with the fewest connections. Used by
 * `kontiki lb` and by the agents to reach the servers. One loop.
 *
 * A server that stops (its process, its machine, its cable) must cost its clients little, whatever they were doing:
 *
 *   - In the background every backend is asked GET health_path at an interval, with a time-out that follows how
 *     fast it usually answers (io/health.h).
 *   - When a client's bytes went to a backend and nothing came back for some tens of milliseconds, the backend is
 *     asked at once. So the interval may be long and still nobody waits for it.
 *   - A backend that does not answer and of which nothing else is heard loses its connections at once, so that clients
 *     notice and come back to a living one; when there is none, after some checks without an answer. One that says itself
 *     that it cannot serve (it lost its quorum, it shuts down) loses them when another one can.
 *   - A new connection is raced until a server has answered its first bytes: a backend that refuses, does not
 *     accept or accepts and stays silent is given up for the next one before the client sees anything. Bytes are
 *     sent to a second server only while they are a TLS handshake, which has no effect on a server.
 *
 * With no healthy backend every one is tried.
 */
#ifndef IO_BALANCER_H
#define IO_BALANCER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct balancer;
struct loop;
struct tls_ctx;

struct balancer_config {
	const char *listen;          /* "127.0.0.1:6443"; port 0 lets the kernel choose */
	const char *const *backends; /* "ip:port" each; copied. Among equals the first is taken */
	size_t n_backends;
	int netns_fd; /* > 0: connections to the backends are made in this namespace. Duplicated */
	struct tls_ctx *tls;     /* for the health check; a reference is taken */
	const char *health_path; /* NULL: "/readyz" */
	uint64_t interval_ms;    /* between checks; 0: 500 */
	uint64_t timeout_ms;     /* the longest that a check is waited for; 0: 1000 */
};

int balancer_start(
	struct loop *, const struct balancer_config *, struct balancer **ret, struct err *e);
uint16_t balancer_port(const struct balancer *);
/* Replace the backends; connections to those that stay are kept. */
void balancer_set_backends(struct balancer *, const char *const *backends, size_t n);
size_t balancer_n_healthy(const struct balancer *);
/* Closes everything; cb (may be NULL) is the last call. */
void balancer_close(struct balancer *, void (*cb)(void *arg), void *arg);

#endif
