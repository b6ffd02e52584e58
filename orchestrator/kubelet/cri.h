/*
 * The runtime side of the kubelet: CRI v1 calls over gRPC, typed and asynchronous, on one loop.
 *
 * A call is embedded in its owner. The request message is packed inside cri_start; done comes once, later, with the
 * reply in the call's arena or an error. Methods are rows of cri.def.
 *
 *	c->done = version_done;
 *	cri_start(cri, c, CRI_VERSION, &req.base);
 *	static void version_done(struct cri_call *c)
 *	{
 *		if (c->err.code == ERR_OK)
 *			use(CRI_REPLY(c, Runtime__VersionResponse)->runtime_name);
 *		cri_call_fini(c);
 *	}
 */
#ifndef KUBELET_CRI_H
#define KUBELET_CRI_H

#include "base/arena.h"
#include "base/err.h"
#include "io/grpc.h"
#include "proto/cri.pb-c.h"

enum cri_method {
#define CRI(name, service, method, prefix, timeout) CRI_##name,
#include "orchestrator/kubelet/cri.def"
#undef CRI
	CRI_N_METHODS,
};

struct cri;

struct cri_call {
	void (*done)(struct cri_call *);
	uint64_t timeout_ms; /* 0: the table's */
	bool wait_ready;     /* wait for the runtime's socket within the deadline */

	struct arena arena; /* the reply's memory */
	ProtobufCMessage *reply;
	struct err err; /* code ERR_OK when reply is set */

	enum cri_method method;
	struct grpc_call grpc;
};
#define CRI_REPLY(c, type) ((type *)(void *)(c)->reply)

/* `socket` is the runtime's unix socket path. Connects when the first call needs it. */
int cri_new(struct loop *, const char *socket, struct cri **ret, struct err *e);
/* Running calls end with ERR_CANCELED; closed (may be NULL) is the last call. */
void cri_close(struct cri *, void (*closed)(void *arg), void *arg);
/* For other services on the same socket (containerd's own events). */
struct grpc_channel *cri_channel(struct cri *);

void cri_start(struct cri *, struct cri_call *, enum cri_method, const ProtobufCMessage *request);
void cri_cancel(struct cri_call *);
void cri_call_fini(struct cri_call *);
const char *cri_method_name(enum cri_method);

#endif
