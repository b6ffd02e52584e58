/* Commands to raft: a request's bytes are spliced into the command as they came. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"

static void on_done(struct kv_req *req)
{
	struct etcd_op *op = container_of(req, struct etcd_op, req);
	struct etcd_loop *el = op->el;

	el->n_ops--;
	atomic_fetch_sub_explicit(&el->pending_proposals, 1, memory_order_relaxed);
	if (req->err.code == ERR_TIMEOUT || req->err.code == ERR_UNAVAILABLE || req->err.code == ERR_TOO_MANY)
		atomic_fetch_add_explicit(&el->failed_proposals, 1, memory_order_relaxed);
	if (op->owner != NULL)
		op->done(op);
	free(req->response);
	free(op);
}

static size_t put_varint(char *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (char)(v | 0x80);
	p[n++] = (char)v;
	return n;
}

struct etcd_op *etcd__propose(struct etcd_loop *el, unsigned field, struct str message, void *owner,
		void (*done)(struct etcd_op *))
{
	struct etcd_op *op = xmalloc(sizeof(*op) + message.n + 20);
	char *command = (char *)(op + 1);
	size_t n;

	memset(op, 0, sizeof(*op));
	n = put_varint(command, (uint64_t)field << 3 | 2);
	n += put_varint(command + n, message.n);
	if (message.n > 0)
		memcpy(command + n, message.p, message.n);
	op->req.command = str_of(command, n + message.n);
	op->req.timeout_ms = el->srv->request_ms;
	op->req.done = on_done;
	op->el = el;
	op->owner = owner;
	op->done = done;
	el->n_ops++;
	atomic_fetch_add_explicit(&el->pending_proposals, 1, memory_order_relaxed);
	kv_propose(el->srv->kv, &op->req);
	return op;
}
