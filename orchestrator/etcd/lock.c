/* The Lock service: a lock is held by the oldest key below its name; see recipe.h. */
#include "base/util.h"
#include "orchestrator/etcd/recipe.h"
#include "proto/etcd_lock.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"

/* The lease may have ended while we waited, and our key with it. */
static void check_held(struct recipe *r, struct store_view *v)
{
	struct err e = ERR_INIT;
	struct store_kv kv;
	struct buf frame;
	int rc = view_get(v, r->key, 0, &kv, &e);

	if (rc == -ERR_NOT_FOUND) {
		recipe_finish(r, GRPC_UNKNOWN, "mutex: session is expired");
		return;
	}
	if (rc < 0) {
		recipe_fail(r, &e);
		return;
	}
	r->revision = view_revision(v);
	recipe_frame(r, &frame);
	wire_add_bytes(&frame, 2, r->key);
	etcd__send(r->call, &frame);
	recipe_finish(r, GRPC_OK, "");
}

static void first_in_line(struct recipe *r)
{
	recipe_read(r, check_held);
}

static void entered(struct recipe *r)
{
	recipe_wait(r, first_in_line);
}

static void with_lease(struct recipe *r)
{
	recipe_enter(r, entered);
}

void etcd__lock(struct etcd_call *c, struct str request)
{
	const V3lockpb__LockRequest *q = pb_unpack(c->arena, &v3lockpb__lock_request__descriptor, request);

	if (q == NULL)
		etcd__fail_malformed(c);
	else
		recipe_lease(recipe_new(c, str_of(q->name.data, q->name.len), q->lease), with_lease);
}

/* --- Unlock ---------------------------------------------------------------------------------------------------------- */

static void unlocked(struct etcd_op *op)
{
	struct etcd_call *c = op->owner;
	struct buf frame;

	if (op->req.err.code != ERR_OK) {
		etcd__fail_err(c, &op->req.err);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, (int64_t)op->req.revision);
	etcd__reply(c, &frame);
}

static void unlock_canceled(struct etcd_call *c)
{
	((struct etcd_op *)c->state)->owner = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

void etcd__unlock(struct etcd_call *c, struct str request)
{
	const V3lockpb__UnlockRequest *q = pb_unpack(c->arena, &v3lockpb__unlock_request__descriptor, request);
	struct buf del = BUF_INIT;

	if (q == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	wire_add_bytes(&del, 1, str_of(q->key.data, q->key.len));
	c->on_cancel = unlock_canceled;
	c->state = etcd__propose(c, ETCD_CMD_DELETE_RANGE, buf_str(&del), c, unlocked);
	buf_fini(&del);
}
