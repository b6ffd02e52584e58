#include "orchestrator/etcd/front.h"

#include <stdlib.h>

#include "base/util.h"

/* It may outlive the call. */
struct etcd_drain {
	struct http_write w;
	struct etcd_front *front; /* NULL: the call is over */
};

void *front_new(struct etcd_port *port, struct http_request *r, const struct etcd_method *m,
		const struct etcd_transport *via, size_t size)
{
	struct etcd_front *f = arena_zalloc(&r->arena, size);

	f->http = r;
	f->call.el = port->el;
	f->call.method = m;
	f->call.via = via;
	f->call.arena = &r->arena;
	f->call.peer = r->peer_verified ? r->peer : NULL;
	return f;
}

static void on_sent(struct http_write *, int status);

static struct http_write *drain_new(struct etcd_front *f)
{
	f->drain = xcalloc(1, sizeof(*f->drain));
	f->drain->front = f;
	f->drain->w.done = on_sent;
	return &f->drain->w;
}

static void on_sent(struct http_write *w, int status)
{
	struct etcd_drain *d = container_of(w, struct etcd_drain, w);
	struct etcd_front *f = d->front;

	free(d);
	if (f == NULL)
		return;
	f->drain = NULL;
	if (status != 0 || f->call.canceled)
		return;
	if (http_request_queued_bytes(f->http) > ETCD_SEND_LOW)
		http_respond_write(f->http, STR(""), drain_new(f)); /* more came behind it */
	else if (f->call.on_drain != NULL)
		f->call.on_drain(&f->call);
}

struct http_write *front_drain(struct etcd_front *f, size_t more)
{
	if (f->drain != NULL || f->call.on_drain == NULL || http_request_queued_bytes(f->http) + more <= ETCD_SEND_LOW)
		return NULL;
	return drain_new(f);
}

void front_over(struct etcd_front *f)
{
	if (f->drain != NULL)
		f->drain->front = NULL;
}
