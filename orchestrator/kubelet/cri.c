#include "orchestrator/kubelet/cri.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"

struct cri {
	struct loop *loop;
	struct grpc_channel *channel;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct {
	const char *path, *name;
	const ProtobufCMessageDescriptor *request, *reply;
	uint64_t timeout_ms;
} methods[] = {
#define CRI(name_, service, method, prefix, timeout)                                               \
	[CRI_##name_] = {"/runtime.v1." #service "/" #method, #method,                             \
			&runtime__##prefix##_request__descriptor,                                  \
			&runtime__##prefix##_response__descriptor, timeout},
#include "orchestrator/kubelet/cri.def"
#undef CRI
};

int cri_new(struct loop *loop, const char *socket, struct cri **ret, struct err *e)
{
	_cleanup_(freep) char *address = xasprintf("unix:%s", socket);
	struct grpc_channel_config cfg = {.address = address};
	struct cri *cri = xcalloc(1, sizeof(*cri));
	int rc;

	cri->loop = loop;
	rc = grpc_channel_new(loop, &cfg, &cri->channel, e);
	if (rc < 0) {
		free(cri);
		return rc;
	}
	*ret = cri;
	return 0;
}

static void channel_closed(void *arg)
{
	struct cri *cri = arg;

	if (cri->closed)
		cri->closed(cri->closed_arg);
	free(cri);
}

void cri_close(struct cri *cri, void (*closed)(void *arg), void *arg)
{
	cri->closed = closed;
	cri->closed_arg = arg;
	grpc_channel_close(cri->channel, channel_closed, cri);
}

struct grpc_channel *cri_channel(struct cri *cri)
{
	return cri->channel;
}

const char *cri_method_name(enum cri_method m)
{
	return methods[m].name;
}

static void call_done(struct grpc_call *g)
{
	struct cri_call *c = container_of(g, struct cri_call, grpc);

	if (grpc_call_err(g, &c->err) == 0) {
		c->reply = pb_unpack(&c->arena, methods[c->method].reply, buf_str(&g->message));
		if (!c->reply)
			err_set(&c->err, ERR_PROTOCOL, "%s: the runtime's answer does not parse",
					methods[c->method].name);
	}
	log_debug("kubelet", "cri call=%s code=%d error=\"%s\"", methods[c->method].name, g->code, c->err.text);
	grpc_call_fini(g);
	c->done(c);
}

void cri_start(struct cri *cri, struct cri_call *c, enum cri_method m, const ProtobufCMessage *request)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	ASSERT(request->descriptor == methods[m].request);
	arena_init(&c->arena);
	err_clear(&c->err);
	c->reply = NULL;
	c->method = m;
	memset(&c->grpc, 0, sizeof(c->grpc));
	c->grpc.method = methods[m].path;
	c->grpc.timeout_ms = c->timeout_ms ? c->timeout_ms : methods[m].timeout_ms;
	c->grpc.wait_ready = c->wait_ready;
	c->grpc.done = call_done;
	pb_pack(request, &b);
	grpc_unary(cri->channel, &c->grpc, buf_str(&b));
}

void cri_cancel(struct cri_call *c)
{
	grpc_cancel(&c->grpc);
}

void cri_call_fini(struct cri_call *c)
{
	c->reply = NULL;
	arena_fini(&c->arena);
}
