/* What balancer.c (servers and their health) and balancer_conn.c (clients' connections) share. */
#ifndef IO_BALANCER_PRIV_H
#define IO_BALANCER_PRIV_H

#include "base/list.h"
#include "io/balancer.h"
#include "io/health.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/stream.h"

struct backend {
	struct list link; /* in balancer.backends */
	struct balancer *owner;
	char *address;
	unsigned id; /* never used again within its balancer */
	struct http_client *client;
	struct http_call check;
	bool checking;
	uint64_t check_began, check_due; /* when it was asked; when the answer was to be there */
	struct loop_timer timer;         /* the next check, or the grace after a late one */
	struct loop_timer doubt;         /* a request is out: does anything come back? */
	uint64_t heard;                  /* when a byte last came from it, by any way */
	struct health health;
	struct list routes; /* of struct route: what leads to it */
	unsigned n_routes;
	bool removed; /* waits for its check to end, then goes */
};

struct balancer {
	struct loop *loop;
	struct listener *listener;
	struct listener_user user;
	struct list backends;
	struct list conns; /* of struct conn */
	int netns_fd;
	struct tls_ctx *tls;
	char *health_path;
	uint64_t interval_ms, timeout_ms;
	unsigned last_id;
	unsigned n_refs; /* the listener, backends, connections */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

void balancer__ref(struct balancer *);
void balancer__unref(struct balancer *);
/* A check has been out for longer than answers take. */
bool backend__in_doubt(const struct backend *);
/* A byte came from it. */
void backend__heard(struct backend *);
/* A request went to it: unless something comes back soon, it is asked whether it lives. */
void backend__asked(struct backend *);
/* It refused a connection. */
void backend__refused(struct backend *);

/* A client has connected. */
void conn__open(struct balancer *, struct stream *client);
/* All that leads to this server is cut; clients that got no answer yet go to another one. */
void conn__cut_backend(struct backend *);
/* All connections are closed. */
void conn__close_all(struct balancer *);

#endif
