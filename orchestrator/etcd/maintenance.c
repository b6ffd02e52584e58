/*
 * The Maintenance service, but for snapshots (snapshot.c): how this member is, alarms, hashes for comparing members.
 *
 * Defragment. This member's store is copied into a new file without free pages while it goes on (kv_defragment).
 *
 * Downgrade. There is one version of the data, so there is nothing to go down to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/store.h"
#include "store/view.h"

static const char *const alarm_names[] = {"NONE", "NOSPACE", "CORRUPT"};

/* --- Status -------------------------------------------------------------------------------------------------------- */

static bool add_alarm_text(void *arg, uint64_t member, int type)
{
	char text[64];

	snprintf(text, sizeof(text), "memberID:%" PRIu64 " alarm:%s ", member,
			type >= 0 && type < (int)ARRAY_LEN(alarm_names) ? alarm_names[type] : "?");
	wire_add_bytes(arg, 8, str_from(text));
	return true;
}

static void add_nonzero(struct buf *b, uint32_t field, uint64_t v)
{
	if (v != 0)
		wire_add_uint(b, field, v);
}

void etcd__status(struct etcd_call *c, struct str request _unused_)
{
	struct kv_status st;
	struct store_view *v;
	struct err e = ERR_INIT;
	struct buf frame;
	uint64_t file = 0, used = 0;

	if (store_view_open(c->el->srv->store, &v, &e) != 0) {
		etcd__fail_err(c, &e);
		return;
	}
	kv_status(c->el->srv->kv, &st);
	etcd__frame_init(&frame);
	etcd__header(c->el, &frame, view_revision(v));
	wire_add_bytes(&frame, 2, STR(ETCD_VERSION));
	if (view_size(v, &file, &used, &e) == 0) {
		add_nonzero(&frame, 3, file);
		add_nonzero(&frame, 9, used);
	}
	add_nonzero(&frame, 4, st.role.leader_id);
	add_nonzero(&frame, 5, st.commit_index);
	add_nonzero(&frame, 6, st.role.term);
	add_nonzero(&frame, 7, view_applied_index(v));
	if (st.role.leader_id == 0)
		wire_add_bytes(&frame, 8, str_from(etcd_error_text(ETCD_ERR_NO_LEADER)));
	(void)view_alarms(v, add_alarm_text, &frame, &e);
	if (st.damage[0])
		wire_add_bytes(&frame, 8, str_from(st.damage));
	if (st.disk_error[0])
		wire_add_bytes(&frame, 8, str_from(st.disk_error));
	for (size_t i = 0; i < st.n_members; i++)
		if (st.members[i].self && st.members[i].role != KV_VOTER)
			wire_add_uint(&frame, 10, 1);
	add_nonzero(&frame, 12, st.store_quota);
	store_view_close(v);
	etcd__reply(c, &frame);
}

/* --- Alarms ---------------------------------------------------------------------------------------------------------- */

struct alarm_read {
	struct etcd_read read;
	struct etcd_call *call;
	int type; /* 0: all */
	struct buf *frame;
};

static bool add_alarm(void *arg, uint64_t member, int type)
{
	struct alarm_read *a = arg;
	size_t mark;

	if (a->type != 0 && a->type != type)
		return true;
	mark = wire_open(a->frame, 2);
	add_nonzero(a->frame, 1, member);
	add_nonzero(a->frame, 2, (uint64_t)type);
	wire_close(a->frame, mark);
	return true;
}

static void alarm_canceled(struct etcd_call *c)
{
	etcd__read_cancel(&((struct alarm_read *)c->state)->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void alarm_done(struct etcd_read *r, struct store_view *v, const struct err *failed)
{
	struct alarm_read *a = container_of(r, struct alarm_read, read);
	struct err e = ERR_INIT;
	struct buf frame;

	if (v == NULL) {
		etcd__fail_err(a->call, failed);
		return;
	}
	etcd__frame_init(&frame);
	etcd__header(a->call->el, &frame, view_revision(v));
	a->frame = &frame;
	if (view_alarms(v, add_alarm, a, &e) == 0) {
		etcd__reply(a->call, &frame);
		return;
	}
	buf_fini(&frame);
	etcd__fail_err(a->call, &e);
}

void etcd__alarm(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__AlarmRequest *r = pb_unpack(c->arena, &etcdserverpb__alarm_request__descriptor, request);
	struct alarm_read *a;

	if (r == NULL) {
		etcd__fail_malformed(c);
		return;
	}
	if (r->action != ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET) {
		etcd__write(c, ETCD_CMD_ALARM, request);
		return;
	}
	a = arena_new_of(c->arena, struct alarm_read);
	a->call = c;
	a->type = (int)r->alarm;
	a->read.done = alarm_done;
	c->state = a;
	c->on_cancel = alarm_canceled;
	etcd__read(c->el, &a->read, false);
}

/* --- Hashes ------------------------------------------------------------------------------------------------------------ */

/* Reading everything takes its time: on the readers' thread. It outlives its call. */
struct hash_job {
	struct etcd_job job;
	struct etcd_call *call; /* NULL: nobody waits */
	struct store *store;
	bool kv;
	int64_t wanted, revision, compact;
	uint64_t hash;
	struct err err;
};

static void hash_run(struct etcd_job *job)
{
	struct hash_job *h = container_of(job, struct hash_job, job);
	struct store_view *v;

	if (store_view_open(h->store, &v, &h->err) != 0)
		return;
	(void)view_hash(v, h->wanted, &h->hash, &h->revision, &h->compact, &h->err);
	store_view_close(v);
}

static void hash_done(struct etcd_job *job)
{
	struct hash_job *h = container_of(job, struct hash_job, job);
	struct etcd_call *c = h->call;
	struct buf frame;

	if (c != NULL && h->err.code != ERR_OK) {
		etcd__fail_err(c, &h->err);
	} else if (c != NULL) {
		etcd__frame_init(&frame);
		etcd__header(c->el, &frame, 0);
		add_nonzero(&frame, 2, (uint32_t)(h->hash ^ h->hash >> 32));
		if (h->kv) {
			add_nonzero(&frame, 3, (uint64_t)h->compact);
			add_nonzero(&frame, 4, (uint64_t)h->revision);
		}
		etcd__reply(c, &frame);
	}
	free(h);
}

static void hash_canceled(struct etcd_call *c)
{
	((struct hash_job *)c->state)->call = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void hash_start(struct etcd_call *c, bool kv, int64_t revision)
{
	struct hash_job *h;

	h = xcalloc(1, sizeof(*h));
	h->call = c;
	h->store = c->el->srv->store;
	h->kv = kv;
	h->wanted = revision;
	h->job.run = hash_run;
	h->job.done = hash_done;
	c->state = h;
	c->on_cancel = hash_canceled;
	if (etcd__work(c->el->srv->readers, c->el, &h->job))
		return;
	free(h);
	etcd__fail(c, ETCD_ERR_TOO_MANY_REQUESTS);
}

void etcd__hash(struct etcd_call *c, struct str request _unused_)
{
	hash_start(c, false, 0);
}

void etcd__hash_kv(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__HashKVRequest *r = pb_unpack(c->arena, &etcdserverpb__hash_kvrequest__descriptor, request);

	if (r == NULL)
		etcd__fail_malformed(c);
	else
		hash_start(c, true, r->revision);
}

/* --- Defragment --------------------------------------------------------------------------------------------------------- */

/* It outlives its call when the client goes away: the copy goes on. */
struct defragment {
	struct kv_admin admin;
	struct etcd_loop *el;
	struct etcd_call *call; /* NULL: gone */
};

static void defragment_canceled(struct etcd_call *c)
{
	((struct defragment *)c->state)->call = NULL;
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void defragment_done(struct kv_admin *a)
{
	struct defragment *d = container_of(a, struct defragment, admin);
	struct etcd_call *c = d->call;
	struct buf frame;

	d->el->n_ops--;
	if (c && a->err.code == ERR_OK) {
		etcd__frame_init(&frame);
		etcd__header(c->el, &frame, 0);
		etcd__reply(c, &frame);
	} else if (c) {
		etcd__fail_err(c, &a->err);
	}
	free(d);
}

void etcd__defragment(struct etcd_call *c, struct str request _unused_)
{
	struct defragment *d;

	d = xcalloc(1, sizeof(*d));
	d->call = c;
	d->el = c->el;
	d->el->n_ops++;
	d->admin.done = defragment_done;
	c->state = d;
	c->on_cancel = defragment_canceled;
	kv_defragment(c->el->srv->kv, &d->admin);
}

/* --- Downgrade ------------------------------------------------------------------------------------------------------------ */

/* "3.4", "v3.4.1": major and minor. */
static bool parse_version(const char *text, int64_t *ret_major, int64_t *ret_minor)
{
	struct str s = str_from(text), major, minor, rest;

	if (str_has_prefix(s, STR("v")))
		s = str_skip(s, 1);
	if (!str_cut(s, '.', &major, &rest))
		return false;
	str_cut(rest, '.', &minor, &rest);
	return str_to_i64(major, ret_major) && str_to_i64(minor, ret_minor) && *ret_major >= 0 && *ret_minor >= 0;
}

void etcd__downgrade(struct etcd_call *c, struct str request)
{
	const Etcdserverpb__DowngradeRequest *r = pb_unpack(c->arena, &etcdserverpb__downgrade_request__descriptor, request);
	int64_t major, minor;

	if (r == NULL)
		etcd__fail_malformed(c);
	else if (r->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL)
		etcd__fail(c, ETCD_ERR_NO_INFLIGHT_DOWNGRADE);
	else if (!parse_version(r->version, &major, &minor))
		etcd__fail(c, ETCD_ERR_DOWNGRADE_WRONG_FORMAT);
	else
		etcd__fail(c, ETCD_ERR_DOWNGRADE_INVALID_TARGET);
}
