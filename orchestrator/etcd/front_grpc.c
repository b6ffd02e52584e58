/* gRPC requests as calls. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"

struct grpc_front;

/* Told when what was queued has left. It may outlive the call. */
struct drain {
	struct http_write w;
	struct grpc_front *front; /* NULL: the call is over */
};

struct grpc_front {
	struct etcd_call call;
	struct grpc_server_call grpc;
	struct drain *drain; /* on its way */
	bool got_message;    /* the one of a unary call */
};

static struct grpc_front *of(const struct etcd_call *c)
{
	return container_of(c, struct grpc_front, call);
}

static void on_sent(struct http_write *, int status);

static struct http_write *want_drain(struct grpc_front *f)
{
	f->drain = xcalloc(1, sizeof(*f->drain));
	f->drain->front = f;
	f->drain->w.done = on_sent;
	return &f->drain->w;
}

static void on_sent(struct http_write *w, int status)
{
	struct drain *d = container_of(w, struct drain, w);
	struct grpc_front *f = d->front;

	free(d);
	if (f == NULL)
		return;
	f->drain = NULL;
	if (status != 0 || f->call.canceled)
		return;
	if (grpc_server_queued_bytes(&f->grpc) > ETCD_SEND_LOW)
		http_respond_write(f->grpc.req, STR(""), want_drain(f)); /* more came behind it */
	else
		f->call.on_drain(&f->call);
}

static void send_frame(struct etcd_call *c, struct buf *frame)
{
	struct grpc_front *f = of(c);
	struct http_write *w = NULL;

	/* The write that fills the queue is the one whose end is worth knowing. */
	if (f->drain == NULL && c->on_drain != NULL && grpc_server_queued_bytes(&f->grpc) + frame->n > ETCD_SEND_LOW)
		w = want_drain(f);
	grpc_server_send_frame(&f->grpc, frame, w);
}

static void finish(struct etcd_call *c, int code, const char *text)
{
	struct grpc_front *f = of(c);

	if (f->drain != NULL)
		f->drain->front = NULL;
	grpc_finish(&f->grpc, code, text);
}

static size_t queued(const struct etcd_call *c)
{
	return grpc_server_queued_bytes(&of(c)->grpc);
}

static void pause_messages(struct etcd_call *c, bool on)
{
	if (on)
		grpc_server_pause(&of(c)->grpc);
	else
		grpc_server_resume(&of(c)->grpc);
}

static struct str metadata(const struct etcd_call *c, const char *name)
{
	return http_request_header(of(c)->grpc.req, name);
}

static const struct etcd_transport grpc_transport = {
		.send = send_frame,
		.finish = finish,
		.queued = queued,
		.pause = pause_messages,
		.metadata = metadata,
};

static void on_message(struct grpc_server_call *g, struct str message)
{
	struct grpc_front *f = container_of(g, struct grpc_front, grpc);
	struct etcd_call *c = &f->call;

	if (c->method->kind == ETCD_BIDI) {
		atomic_fetch_add_explicit(&c->el->counters[c->method - etcd__methods].messages_in, 1, memory_order_relaxed);
		if (c->on_message != NULL)
			c->on_message(c, message);
		return;
	}
	/* What a client sends behind its one message is none of a unary call's business. */
	if (f->got_message)
		return;
	f->got_message = true;
	etcd__call_begin(c, c->el, c->method, message);
}

static void on_half_close(struct grpc_server_call *g)
{
	struct grpc_front *f = container_of(g, struct grpc_front, grpc);
	struct etcd_call *c = &f->call;

	if (c->method->kind != ETCD_BIDI) {
		if (!f->got_message)
			grpc_finish(&f->grpc, GRPC_INTERNAL, "the request is missing");
	} else if (c->on_half_close != NULL) {
		c->on_half_close(c);
	} else {
		etcd__finish(c, GRPC_OK, "");
	}
}

static void on_cancel(struct grpc_server_call *g)
{
	struct grpc_front *f = container_of(g, struct grpc_front, grpc);

	if (f->call.method->kind == ETCD_BIDI || f->got_message)
		etcd__call_cancel(&f->call);
	else
		grpc_finish(&f->grpc, GRPC_CANCELLED, "canceled");
}

void etcd__grpc(struct etcd_port *port, struct http_request *r)
{
	const struct etcd_method *m = etcd__method_find(r->path);
	struct grpc_front *f;

	if (m == NULL) {
		grpc_reject(r, GRPC_UNIMPLEMENTED, "unknown service or method");
		return;
	}
	f = arena_new_of(&r->arena, struct grpc_front);
	f->grpc.on_message = on_message;
	f->grpc.on_half_close = on_half_close;
	f->grpc.on_cancel = on_cancel;
	f->call.el = port->el;
	f->call.method = m;
	f->call.via = &grpc_transport;
	f->call.arena = &r->arena;
	f->call.peer = r->peer_verified ? r->peer : NULL;
	grpc_accept(&f->grpc, r, port->el->srv->cfg.max_request_bytes + ETCD_MESSAGE_SLACK);
	if (m->kind == ETCD_BIDI)
		etcd__call_begin(&f->call, port->el, m, STR(""));
}
