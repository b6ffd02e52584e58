/*
 * struct balancer: a small TCP balancer over servers that answer a health check.
 *
 * It listens on one address and joins each connection to the healthy backend with the fewest
 * connections. A backend is healthy while GET health_path over TLS (or plain, without a context)
 * answers 200 in time; one that stops answering loses its connections at once, so that clients
 * notice and come back to a living one instead of hanging on a stopped machine. A refused
 * connection tries the next backend before the client sees anything. With no healthy backend every
 * one is tried. Used by `kontiki lb` and by the agents to reach the servers. One loop.
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
	const char *const *backends; /* "ip:port" each; copied */
	size_t n_backends;
	int netns_fd; /* > 0: connections to the backends are made in this namespace. Duplicated */
	struct tls_ctx *tls;     /* for the health check; a reference is taken */
	const char *health_path; /* NULL: "/readyz" */
	uint64_t interval_ms;    /* between checks; 0: 500 */
	uint64_t timeout_ms;     /* of one check; 0: 1000 */
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
