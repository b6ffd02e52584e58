/* gRPC requests as calls. */
#include "base/util.h"
#include "orchestrator/etcd/front.h"

struct grpc_front {
	struct etcd_front front; /* first */
	struct grpc_server_call grpc;
	bool got_message; /* the one of a unary call */
};

static struct grpc_front *of(const struct etcd_call *c)
{
	return container_of(c, struct grpc_front, front.call);
}

static void send_frame(struct etcd_call *c, struct buf *frame)
{
	struct grpc_front *f = of(c);

	grpc_server_send_frame(&f->grpc, frame, front_drain(&f->front, frame->n));
}

static void finish(struct etcd_call *c, int code, const char *text)
{
	struct grpc_front *f = of(c);

	front_over(&f->front);
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
	return http_request_header(of(c)->front.http, name);
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
	struct etcd_call *c = &f->front.call;

	/* What a client sends behind its one message is none of a unary call's business. */
	if (c->method->kind == ETCD_BIDI)
		etcd__call_message(c, message);
	else if (!f->got_message) {
		f->got_message = true;
		etcd__call_begin(c, message);
	}
}

static void on_half_close(struct grpc_server_call *g)
{
	struct grpc_front *f = container_of(g, struct grpc_front, grpc);

	if (f->front.call.method->kind == ETCD_BIDI)
		etcd__call_half_close(&f->front.call);
	else if (!f->got_message)
		grpc_finish(&f->grpc, GRPC_INTERNAL, "the request is missing");
}

static void on_cancel(struct grpc_server_call *g)
{
	struct grpc_front *f = container_of(g, struct grpc_front, grpc);

	if (f->front.call.method->kind == ETCD_BIDI || f->got_message)
		etcd__call_cancel(&f->front.call);
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
	f = front_new(port, r, m, &grpc_transport, sizeof(*f));
	f->grpc.on_message = on_message;
	f->grpc.on_half_close = on_half_close;
	f->grpc.on_cancel = on_cancel;
	grpc_accept(&f->grpc, r, port->el->srv->cfg.max_request_bytes + ETCD_MESSAGE_SLACK);
	if (m->kind == ETCD_BIDI)
		etcd__call_begin(&f->front.call, STR(""));
}
