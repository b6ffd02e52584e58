/*
 * Commands to raft: a request's bytes are spliced into the command as they came.
 *
 *	propose > applied, or failed                                        > done
 *	          refused: the requester was judged before a change of users > catch up > judge again > propose
 *
 * A signed token names the revision that it was made at, so it is over with any change, as in etcd; others are good until they
 * are taken back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"

/* Each needs a change of users or roles in the moment between. */
#define MAX_ATTEMPTS 8
#define CMD_REQUESTER 4
/* Tags, lengths and the revision around the name. */
#define REQUESTER_ROOM 32

static size_t put_varint(char *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (char)(v | 0x80);
	p[n++] = (char)v;
	return n;
}

/* raftpb.Requester{user, auth_revision} as a field of the command. Always: authentication may be turned on before it is applied. */
static size_t put_requester(char *p, const struct store_requester *who)
{
	char body[STORE_AUTH_NAME_MAX + REQUESTER_ROOM];
	size_t n = 0, head;

	ASSERT(who->user.n <= STORE_AUTH_NAME_MAX);
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

static void on_done(struct kv_req *req);

static void attempt(struct etcd_op *op)
{
	char *command = (char *)(uintptr_t)op->req.command.p;

	op->req.command.n = (size_t)(op->requester - command) + put_requester(op->requester, &op->who);
	op->req.timeout_ms = op->el->srv->request_ms;
	op->req.done = on_done;
	op->el->n_ops++;
	atomic_fetch_add_explicit(&op->el->pending_proposals, 1, memory_order_relaxed);
	kv_propose(op->el->srv->kv, &op->req);
}

static void over(struct etcd_op *op)
{
	if (op->owner != NULL)
		op->done(op);
	xfree(op->req.response);
	xfree(op);
}

/* The first answer stands unless there is something new to say. */
static void caught_up(struct etcd_read *r, struct store_view *v, const struct err *failed _unused_)
{
	struct etcd_op *op = container_of(r, struct etcd_op, read);
	uint64_t before = op->who.auth_revision;
	struct arena a;
	bool good;

	op->el->n_ops--;
	arena_init(&a);
	good = v != NULL && etcd__still_is(op->el, op->who.user, op->token, &a, &op->who.auth_revision) && op->who.auth_revision != before;
	arena_fini(&a);
	if (!good) {
		over(op);
		return;
	}
	free(op->req.response);
	op->req.response = NULL;
	op->req.err = (struct err)ERR_INIT;
	attempt(op);
}

/* Counted as a wait for the kv from the first moment: the loop does not end before it. */
static void catch_up(struct etcd_op *op)
{
	op->el->n_ops++;
	etcd__read(op->el, &op->read, false);
}

static void on_done(struct kv_req *req)
{
	struct etcd_op *op = container_of(req, struct etcd_op, req);
	struct etcd_loop *el = op->el;

	el->n_ops--;
	atomic_fetch_sub_explicit(&el->pending_proposals, 1, memory_order_relaxed);
	if (req->err.code == ERR_TIMEOUT || req->err.code == ERR_UNAVAILABLE || req->err.code == ERR_TOO_MANY)
		atomic_fetch_add_explicit(&el->failed_proposals, 1, memory_order_relaxed);
	if (op->who.user.n > 0 && ++op->attempts < MAX_ATTEMPTS && etcd_error_of(&req->err) == ETCD_ERR_AUTH_OLD_REVISION)
		catch_up(op);
	else
		over(op);
}

struct etcd_op *etcd__propose(struct etcd_call *for_call, unsigned field, struct str message, void *owner,
		void (*done)(struct etcd_op *))
{
	struct str user = for_call->who.user, token = for_call->token;
	struct etcd_op *op = xmalloc(sizeof(*op) + user.n + token.n + 2 * 16 + message.n + user.n + REQUESTER_ROOM);
	char *names = (char *)(op + 1), *command = names + user.n + token.n;
	size_t n;

	memset(op, 0, sizeof(*op));
	if (user.n > 0)
		memcpy(names, user.p, user.n);
	if (token.n > 0)
		memcpy(names + user.n, token.p, token.n);
	op->who = (struct store_requester){str_of(names, user.n), for_call->who.auth_revision};
	op->token = str_of(names + user.n, token.n);
	op->attempts = for_call->signed_token ? MAX_ATTEMPTS : 0;
	op->read.done = caught_up;
	list_init(&op->read.link);
	n = put_varint(command, (uint64_t)field << 3 | 2);
	n += put_varint(command + n, message.n);
	if (message.n > 0)
		memcpy(command + n, message.p, message.n);
	op->requester = command + n + message.n;
	op->req.command = str_of(command, 0);
	op->el = for_call->el;
	op->owner = owner;
	op->done = done;
	attempt(op);
	return op;
}
