#include "raft/kv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/kv-priv.h"

#define FIGURES_MS 1000

/* --- Handing requests in and out -------------------------------------------------------------------------------- */

static uint64_t deadline(const struct kv *kv, uint32_t ms, uint32_t fallback)
{
	(void)kv;
	return clock_mono_ms() + (ms ? ms : fallback);
}

static void post_back(struct kv *kv, struct loop *loop, struct loop_msg *msg, void (*run)(struct loop_msg *))
{
	msg->run = run;
	loop_post_lazily(loop ? loop : kv->loop, msg);
}

static void req_run_done(struct loop_msg *msg)
{
	struct kv_req *req = container_of(msg, struct kv_req, msg);

	req->done(req);
}

static void op_req_done(struct member *m, struct kv_req *req)
{
	post_back(member_arg(m) ? member_arg(m) : req->kv, req->loop, &req->msg, req_run_done);
}

static void barrier_run_done(struct loop_msg *msg)
{
	struct kv_barrier *b = container_of(msg, struct kv_barrier, msg);

	b->done(b);
}

static void op_barrier_done(struct member *m, struct kv_barrier *b)
{
	post_back(member_arg(m), b->loop, &b->msg, barrier_run_done);
}

static void admin_run_done(struct loop_msg *msg)
{
	struct kv_admin *a = container_of(msg, struct kv_admin, msg);

	a->done(a);
}

static void op_admin_done(struct member *m, struct kv_admin *a)
{
	post_back(member_arg(m), a->loop, &a->msg, admin_run_done);
}

static void run_propose(struct loop_msg *msg)
{
	struct kv_req *req = container_of(msg, struct kv_req, msg);

	member_propose(req->kv->member, req);
}

void kv_propose(struct kv *kv, struct kv_req *req)
{
	req->kv = kv;
	req->loop = loop_current();
	req->deadline = deadline(kv, req->timeout_ms, kv->cfg.request_ms);
	post_back(kv, kv->loop, &req->msg, run_propose);
}

static void run_barrier(struct loop_msg *msg)
{
	struct kv_barrier *b = container_of(msg, struct kv_barrier, msg);

	member_barrier(b->kv->member, b);
}

void kv_barrier(struct kv *kv, struct kv_barrier *b)
{
	b->kv = kv;
	b->loop = loop_current();
	b->deadline = deadline(kv, b->timeout_ms, kv->cfg.request_ms);
	post_back(kv, kv->loop, &b->msg, run_barrier);
}

static void lease_run_done(struct loop_msg *msg)
{
	struct kv_lease *l = container_of(msg, struct kv_lease, msg);

	l->done(l);
}

static void op_lease_done(struct member *m, struct kv_lease *l)
{
	post_back(member_arg(m), l->loop, &l->msg, lease_run_done);
}

static void run_lease(struct loop_msg *msg)
{
	struct kv_lease *l = container_of(msg, struct kv_lease, msg);

	member_lease(l->kv->member, l);
}

void kv_lease(struct kv *kv, struct kv_lease *l)
{
	l->kv = kv;
	l->loop = loop_current();
	l->deadline = deadline(kv, l->timeout_ms, kv->cfg.request_ms);
	post_back(kv, kv->loop, &l->msg, run_lease);
}

static void run_admin(struct loop_msg *msg)
{
	struct kv_admin *a = container_of(msg, struct kv_admin, msg);

	member_admin(a->kv->member, a);
}

static void admin(struct kv *kv, struct kv_admin *a, enum member_admin_op op)
{
	a->op = (int)op;
	a->kv = kv;
	a->loop = loop_current();
	a->deadline = deadline(kv, a->timeout_ms, 60000);
	post_back(kv, kv->loop, &a->msg, run_admin);
}

void kv_member_add(struct kv *kv, struct kv_admin *a, const struct kv_peer *peer)
{
	a->peer = *peer;
	admin(kv, a, MEMBER_ADD);
}

void kv_member_remove(struct kv *kv, struct kv_admin *a, uint64_t id)
{
	a->target = id;
	admin(kv, a, MEMBER_REMOVE);
}

void kv_member_promote(struct kv *kv, struct kv_admin *a, uint64_t id)
{
	a->target = id;
	admin(kv, a, MEMBER_PROMOTE);
}

void kv_member_update(struct kv *kv, struct kv_admin *a, uint64_t id, const struct kv_peer *peer)
{
	a->target = id;
	a->peer = *peer;
	admin(kv, a, MEMBER_UPDATE);
}

void kv_transfer(struct kv *kv, struct kv_admin *a, uint64_t id)
{
	a->target = id;
	admin(kv, a, MEMBER_TRANSFER);
}

void kv_defragment(struct kv *kv, struct kv_admin *a)
{
	admin(kv, a, MEMBER_DEFRAG);
}

struct store *kv_store(struct kv *kv)
{
	return kv->store;
}

/* --- Status and role ------------------------------------------------------------------------------------------------ */

struct role_msg {
	struct loop_msg msg;
	struct kv_role_watch *watch;
	struct kv *kv;
	struct kv_role role;
};

static void run_role(struct loop_msg *msg)
{
	struct role_msg *rm = container_of(msg, struct role_msg, msg);
	bool watched = false;

	/* Unwatched meanwhile: the memory may be gone, so it is looked up, not looked at. */
	uv_mutex_lock(&rm->kv->lock);
	LIST_FOR_EACH (w, &rm->kv->watches, struct kv_role_watch, link)
		watched = watched || w == rm->watch;
	uv_mutex_unlock(&rm->kv->lock);
	if (watched)
		rm->watch->changed(rm->watch, &rm->role);
	free(rm);
}

/* With the lock held. */
static void tell(struct kv *kv, struct kv_role_watch *w)
{
	struct role_msg *rm = xcalloc(1, sizeof(*rm));

	rm->watch = w;
	rm->kv = kv;
	rm->role = kv->status.role;
	post_back(kv, w->loop, &rm->msg, run_role);
}

void kv_role_watch(struct kv *kv, struct kv_role_watch *w)
{
	w->kv = kv;
	w->loop = loop_current();
	uv_mutex_lock(&kv->lock);
	list_add_tail(&kv->watches, &w->link);
	tell(kv, w);
	uv_mutex_unlock(&kv->lock);
}

void kv_role_unwatch(struct kv_role_watch *w)
{
	uv_mutex_lock(&w->kv->lock);
	list_del(&w->link);
	uv_mutex_unlock(&w->kv->lock);
}

static bool same_role(const struct kv_role *a, const struct kv_role *b)
{
	return a->leader == b->leader && a->term == b->term && a->leader_id == b->leader_id &&
	       strcmp(a->leader_name, b->leader_name) == 0 && strcmp(a->leader_url, b->leader_url) == 0;
}

static void op_changed(struct member *m)
{
	struct kv *kv = member_arg(m);
	struct kv_status now;
	struct kv_role old;

	member_status(m, &now);
	uv_mutex_lock(&kv->lock);
	old = kv->status.role;
	memcpy(now.addr, kv->status.addr, sizeof(now.addr));
	kv->status = now;
	if (!same_role(&old, &now.role))
		LIST_FOR_EACH (w, &kv->watches, struct kv_role_watch, link)
			tell(kv, w);
	uv_mutex_unlock(&kv->lock);
	if (old.leader_id != now.role.leader_id || old.leader != now.role.leader)
		log_info("raft", "role=%s term=%" PRIu64 " leader=%s", now.role.leader ? "leader" : now.state, now.role.term,
			 now.role.leader_id ? now.role.leader_name : "none");
}

void kv_status(struct kv *kv, struct kv_status *out)
{
	uv_mutex_lock(&kv->lock);
	*out = kv->status;
	uv_mutex_unlock(&kv->lock);
}

/* --- The member's other wishes ---------------------------------------------------------------------------------------- */

static uint64_t op_now(struct member *m _unused_)
{
	return clock_mono_ms();
}

static uint64_t op_wall(struct member *m _unused_)
{
	return (uint64_t)(clock_wall_ns() / 1000000);
}

static uint32_t op_random(struct member *m _unused_)
{
	return (uint32_t)random_u64();
}

static void on_timer(struct loop_timer *t)
{
	struct kv *kv = container_of(t, struct kv, timer);

	if (kv->member)
		member_timer(kv->member);
}

static void op_arm(struct member *m, uint64_t at)
{
	struct kv *kv = member_arg(m);
	uint64_t now = clock_mono_ms();

	loop_timer_start(&kv->timer, kv->loop, at > now ? at - now : 0, on_timer);
}

static void on_idle(uv_idle_t *h _unused_)
{
	/* Only here to keep the loop from waiting while a flush is due. */
}

static void push_sends(struct kv *kv)
{
	if (!kv->sends_due)
		return;
	kv->sends_due = false;
	if (kv->transport)
		transport_flush(kv->transport);
}

static void op_push(struct member *m)
{
	push_sends(member_arg(m));
}

void kv__on_check(uv_check_t *h)
{
	struct kv *kv = h->data;

	if (kv->kicked) {
		kv->kicked = false;
		if (kv->member)
			member_flush(kv->member);
		if (kv->closing)
			kv__maybe_close(kv);
	}
	push_sends(kv);
	if (!kv->kicked)
		uv_idle_stop(&kv->idle);
}

static void op_kick(struct member *m)
{
	struct kv *kv = member_arg(m);

	if (kv->kicked)
		return;
	kv->kicked = true;
	if (!kv->sends_due)
		uv_idle_start(&kv->idle, on_idle);
}

static bool op_send(struct member *m, uint64_t to, enum msg_channel channel, struct str frame)
{
	struct kv *kv = member_arg(m);

	if (!kv->transport || !transport_send(kv->transport, to, channel, frame))
		return false;
	if (!kv->sends_due && !kv->kicked)
		uv_idle_start(&kv->idle, on_idle);
	kv->sends_due = true;
	return true;
}

static void op_peers(struct member *m, const struct kv_member *peers, size_t n)
{
	struct kv *kv = member_arg(m);

	if (kv->transport)
		transport_peers(kv->transport, peers, n);
}

static void op_fatal(struct member *m, const struct err *e)
{
	struct kv *kv = member_arg(m);

	log_error("raft", "this member stops: %s", e->text);
	if (kv->cfg.on_fatal)
		kv->cfg.on_fatal(kv->cfg.on_fatal_arg, e);
	else
		abort();
}

static void run_view_wanted(struct loop_msg *msg)
{
	struct kv *kv = container_of(msg, struct kv, view_wanted);

	/* First the flag: who asks from here on makes a message of its own. */
	atomic_store(&kv->view_wanted_posted, false);
	if (kv->member)
		member_view_wanted(kv->member);
}

/* Any thread: it waits for the store to be settled. */
void kv__view_wanted(void *arg)
{
	struct kv *kv = arg;

	if (atomic_exchange(&kv->view_wanted_posted, true))
		return;
	kv->view_wanted.run = run_view_wanted;
	loop_post(kv->loop, &kv->view_wanted);
}

/* The writer thread: one batch at a time, all that gathers meanwhile is the next one. */
void kv__writer_main(void *arg)
{
	struct kv *kv = arg;
	uint64_t began;

	uv_mutex_lock(&kv->writer_lock);
	for (;;) {
		struct wal_batch *batch;

		while (!kv->batch && !kv->writer_stop)
			uv_cond_wait(&kv->writer_wake, &kv->writer_lock);
		if (!kv->batch)
			break;
		batch = TAKE(kv->batch);
		uv_mutex_unlock(&kv->writer_lock);
		err_clear(&kv->written_err);
		began = clock_mono_ns();
		kv->written_rc = wal_batch_write(&kv->disk.disk, batch, &kv->written_err);
		histogram_add(&kv->log_writes, (double)(clock_mono_ns() - began) / 1e9);
		loop_post(kv->loop, &kv->written);
		uv_mutex_lock(&kv->writer_lock);
	}
	uv_mutex_unlock(&kv->writer_lock);
}

static void run_written(struct loop_msg *msg)
{
	struct kv *kv = container_of(msg, struct kv, written);

	member_written(kv->member, kv->written_rc == 0 ? NULL : &kv->written_err);
	if (kv->closing)
		kv__maybe_close(kv);
}

static void op_write(struct member *m, struct wal_batch *batch)
{
	struct kv *kv = member_arg(m);

	kv->written.run = run_written;
	uv_mutex_lock(&kv->writer_lock);
	ASSERT(!kv->batch);
	kv->batch = batch;
	uv_mutex_unlock(&kv->writer_lock);
	/* Not before: the writer would wake only to wait for the lock. */
	uv_cond_signal(&kv->writer_wake);
}

struct job {
	uv_work_t uv;
	struct member_work *work;
	struct kv *kv;
};

static void job_run(uv_work_t *uv)
{
	struct job *job = container_of(uv, struct job, uv);

	job->work->fn(job->work);
}

static void job_done(uv_work_t *uv, int status _unused_)
{
	struct job *job = container_of(uv, struct job, uv);
	struct kv *kv = job->kv;

	kv->n_work--;
	job->work->done(job->work);
	free(job);
	if (kv->closing)
		kv__maybe_close(kv);
}

static void op_work(struct member *m, struct member_work *work)
{
	struct kv *kv = member_arg(m);
	struct job *job = xcalloc(1, sizeof(*job));

	job->work = work;
	job->kv = kv;
	kv->n_work++;
	ASSERT(uv_queue_work(loop_uv(kv->loop), &job->uv, job_run, job_done) == 0);
}

const struct member_ops kv__ops = {
	.now = op_now,
	.wall = op_wall,
	.random = op_random,
	.arm = op_arm,
	.kick = op_kick,
	.send = op_send,
	.push = op_push,
	.write = op_write,
	.work = op_work,
	.peers = op_peers,
	.changed = op_changed,
	.disk_failed = kv__disk_failed,
	.fatal = op_fatal,
	.req_done = op_req_done,
	.barrier_done = op_barrier_done,
	.admin_done = op_admin_done,
	.lease_done = op_lease_done,
};

/* --- Transport events ---------------------------------------------------------------------------------------------------- */

static void on_frame(void *arg, uint64_t from, struct str frame)
{
	struct kv *kv = arg;

	if (kv->member)
		member_receive(kv->member, from, frame);
}

static void on_lost(void *arg, uint64_t peer, bool refused)
{
	struct kv *kv = arg;

	if (kv->member)
		member_peer_lost(kv->member, peer, refused);
}

static void on_up(void *arg, uint64_t peer)
{
	struct kv *kv = arg;

	if (kv->member)
		member_peer_up(kv->member, peer);
}

static void on_join(void *arg, uint64_t conn, struct str frame)
{
	struct kv *kv = arg;

	if (kv->member)
		member_join(kv->member, frame, conn);
}

void kv__join_reply(struct member *m, uint64_t conn, struct str frame)
{
	struct kv *kv = member_arg(m);

	if (kv->transport)
		transport_reply(kv->transport, conn, frame);
}

void kv__transport_cfg(struct kv *kv, struct transport_cfg *cfg)
{
	cfg->arg = kv;
	cfg->frame = on_frame;
	cfg->lost = on_lost;
	cfg->up = on_up;
	cfg->join = on_join;
}

static void on_figures(struct loop_timer *t)
{
	struct kv *kv = container_of(t, struct kv, figures_timer);
	struct kv_figures f = {0};

	if (kv->transport)
		transport_figures(kv->transport, &f);
	uv_mutex_lock(&kv->lock);
	kv->figures = f;
	uv_mutex_unlock(&kv->lock);
	loop_timer_start(t, kv->loop, FIGURES_MS, on_figures);
}

void kv__figures_start(struct kv *kv)
{
	loop_timer_start(&kv->figures_timer, kv->loop, FIGURES_MS, on_figures);
}

void kv_figures(struct kv *kv, struct kv_figures *ret)
{
	uv_mutex_lock(&kv->lock);
	*ret = kv->figures;
	uv_mutex_unlock(&kv->lock);
}

const struct histogram *kv_log_writes(struct kv *kv)
{
	return &kv->log_writes;
}

void kv__publish(struct kv *kv)
{
	op_changed(kv->member);
}
