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

#define CMD_REQUESTER 4

/* raftpb.Requester{user, auth_revision} as a field of the command. */
static size_t put_requester(char *p, const struct store_requester *who)
{
	char body[STORE_AUTH_NAME_MAX + 32];
	size_t n = 0, head;

	if (who->user.n > 0) {
		body[n++] = 1 << 3 | 2;
		n += put_varint(body + n, who->user.n);
		memcpy(body + n, who->user.p, who->user.n);
		n += who->user.n;
	}
	body[n++] = 2 << 3;
	n += put_varint(body + n, who->auth_revision);
	p[0] = CMD_REQUESTER << 3 | 2;
	head = 1 + put_varint(p + 1, n);
	memcpy(p + head, body, n);
	return head + n;
}

struct etcd_op *etcd__propose(struct etcd_call *for_call, unsigned field, struct str message, void *owner,
		void (*done)(struct etcd_op *))
{
	struct etcd_loop *el = for_call->el;
	struct etcd_op *op = xmalloc(sizeof(*op) + message.n + for_call->who.user.n + 64);
	char *command = (char *)(op + 1);
	size_t n;

	memset(op, 0, sizeof(*op));
	/* Always: authentication may be turned on before the command is applied. */
	n = put_requester(command, &for_call->who);
	n += put_varint(command + n, (uint64_t)field << 3 | 2);
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
