#include "raft/kv_local.h"

#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

#include "base/util.h"
#include "io/loop.h"

/* One blocked caller. */
struct waiter {
	uv_mutex_t lock;
	uv_cond_t cond;
	bool done;
	struct kv_req req;
	struct kv_barrier barrier;
	struct kv_admin admin;
	struct kv_lease lease;
};

static void waiter_init(struct waiter *w)
{
	*w = (struct waiter){.done = false};
	uv_mutex_init(&w->lock);
	uv_cond_init(&w->cond);
}

static void waiter_fini(struct waiter *w)
{
	uv_mutex_destroy(&w->lock);
	uv_cond_destroy(&w->cond);
}

static void wake(struct waiter *w)
{
	uv_mutex_lock(&w->lock);
	w->done = true;
	uv_cond_signal(&w->cond);
	uv_mutex_unlock(&w->lock);
}

static void wait_for(struct waiter *w)
{
	loop_wake_posted();
	uv_mutex_lock(&w->lock);
	while (!w->done)
		uv_cond_wait(&w->cond, &w->lock);
	uv_mutex_unlock(&w->lock);
}

static int result(const struct err *from, struct err *e)
{
	if (e)
		*e = *from;
	return -(int)from->code;
}

static void req_done(struct kv_req *req)
{
	wake(container_of(req, struct waiter, req));
}

int kv_propose_wait(struct kv *kv, struct str command, struct buf *response, uint64_t *ret_revision, struct err *e)
{
	struct waiter w;
	int rc;

	waiter_init(&w);
	w.req.command = command;
	w.req.done = req_done;
	kv_propose(kv, &w.req);
	wait_for(&w);
	rc = result(&w.req.err, e);
	if (response)
		buf_add(response, w.req.response, w.req.response_size);
	if (ret_revision && rc == 0)
		*ret_revision = w.req.revision;
	free(w.req.response);
	waiter_fini(&w);
	return rc;
}

static void barrier_done(struct kv_barrier *b)
{
	wake(container_of(b, struct waiter, barrier));
}

int kv_barrier_wait(struct kv *kv, struct err *e)
{
	struct waiter w;
	int rc;

	waiter_init(&w);
	w.barrier.done = barrier_done;
	kv_barrier(kv, &w.barrier);
	wait_for(&w);
	rc = result(&w.barrier.err, e);
	waiter_fini(&w);
	return rc;
}

static void lease_done(struct kv_lease *l)
{
	wake(container_of(l, struct waiter, lease));
}

int kv_lease_wait(struct kv *kv, int64_t lease, bool renew, int64_t *ret_left, struct err *e)
{
	struct waiter w;
	int rc;

	waiter_init(&w);
	w.lease.lease = lease;
	w.lease.renew = renew;
	w.lease.timeout_ms = 3000;
	w.lease.done = lease_done;
	kv_lease(kv, &w.lease);
	wait_for(&w);
	rc = result(&w.lease.err, e);
	if (rc == 0)
		*ret_left = w.lease.left;
	waiter_fini(&w);
	return rc;
}

static void admin_done(struct kv_admin *a)
{
	wake(container_of(a, struct waiter, admin));
}

static int admin_end(struct waiter *w, uint64_t *ret_id, struct err *e)
{
	int rc;

	wait_for(w);
	rc = result(&w->admin.err, e);
	if (ret_id && rc == 0)
		*ret_id = w->admin.id;
	waiter_fini(w);
	return rc;
}

int kv_member_add_wait(struct kv *kv, const struct kv_peer *peer, uint64_t *ret_id, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_member_add(kv, &w.admin, peer);
	return admin_end(&w, ret_id, e);
}

int kv_member_remove_wait(struct kv *kv, uint64_t id, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_member_remove(kv, &w.admin, id);
	return admin_end(&w, NULL, e);
}

int kv_transfer_wait(struct kv *kv, uint64_t id, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_transfer(kv, &w.admin, id);
	return admin_end(&w, NULL, e);
}

int kv_member_promote_wait(struct kv *kv, uint64_t id, enum kv_why *ret_why, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_member_promote(kv, &w.admin, id);
	wait_for(&w);
	*ret_why = w.admin.why;
	return admin_end(&w, NULL, e);
}

int kv_member_update_wait(struct kv *kv, uint64_t id, const struct kv_peer *peer, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_member_update(kv, &w.admin, id, peer);
	return admin_end(&w, NULL, e);
}

int kv_defragment_wait(struct kv *kv, struct err *e)
{
	struct waiter w;

	waiter_init(&w);
	w.admin.done = admin_done;
	kv_defragment(kv, &w.admin);
	return admin_end(&w, NULL, e);
}

bool kv_leader_wait(struct kv *kv, uint32_t timeout_ms)
{
	struct kv_status s;

	for (uint32_t waited = 0;; waited += 2) {
		kv_status(kv, &s);
		if (s.role.leader || waited >= timeout_ms)
			return s.role.leader;
		nanosleep(&(struct timespec){0, 2000000}, NULL);
	}
}

int kv_local_start(const char *dir, struct kv **ret, struct err *e)
{
	struct kv_cfg cfg = {.data_dir = dir, .name = "local", .nosync = true, .compact_keep_ms = UINT_MAX};
	int rc = kv_start(&cfg, ret, e);

	if (rc == 0 && !kv_leader_wait(*ret, 10000)) {
		kv_stop(*ret);
		return err_set(e, ERR_TIMEOUT, "the local store did not start in time");
	}
	return rc;
}
