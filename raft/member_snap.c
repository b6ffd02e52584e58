/*
 * Snapshots: the whole state to a member that lags behind the log's beginning.
 *
 * The sender pins the present state (not the checkpoint: nothing is written twice) and sends numbered chunks on the bulk
 * connection, a few ahead of the receiver's acknowledgement; a broken connection is resumed at the chunk that is expected.
 * The receiver writes them beside its store; when the last one is durable, the swap and the core's InstallSnapshot
 * happen in one turn, so the core is never "installing" across turns.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/member-priv.h"

#define SNAP_WINDOW 4
#define SNAP_RESEND_MS 1000
#define SNAP_GIVE_UP_MS 30000
#define SNAP_RETRY_MS 1000
#define SNAP_DAMAGED_MS 10000

struct snap_send {
	struct store_snapshot *snapshot;
	struct buf conf;
	uint64_t id, index, index_term, conf_index;
	uint64_t sent, acked;   /* chunk numbers: next to send, next expected */
	uint64_t n;             /* all of them, once the last one was made */
	uint64_t touched;       /* last acknowledgement or resend */
	uint64_t progressed;    /* last acknowledgement of something new */
};

struct snap_recv {
	struct member_work work;
	struct store_install *install;
	struct buf conf;
	uint64_t from, id, term, index, index_term, conf_index;
	uint64_t touched;
	bool syncing, synced, abandoned;
	bool mends; /* this member's damaged store, instead of carrying it forward */
};

/* --- Sending --------------------------------------------------------------------------------------------------- */

static void send_close(struct peer_state *p)
{
	struct snap_send *s = p->snap;

	if (!s)
		return;
	p->snap = NULL;
	store_snapshot_close(s->snapshot);
	buf_fini(&s->conf);
	free(s);
}

static void send_begin(struct member *m, struct peer_state *p)
{
	struct snap_send *s = p->snap;
	struct msg out = {.kind = MSG_SNAP_BEGIN};

	out.snap_begin.id = s->id;
	out.snap_begin.term = raft_current_term(&m->raft);
	out.snap_begin.index = s->index;
	out.snap_begin.index_term = s->index_term;
	out.snap_begin.conf_index = s->conf_index;
	out.snap_begin.conf = buf_str(&s->conf);
	s->touched = member__now(m);
	member__send(m, p->id, &out);
}

void member__snap_wanted(struct member *m, uint64_t to)
{
	struct peer_state *p = member__peer(m, to);
	uint64_t now = member__now(m);
	struct err e = ERR_INIT;
	struct snap_send *s;

	/* The core asks at every refused heartbeat; one transfer a member at a time. */
	if (!p || p->snap || now < p->snap_retry_at || m->applied == 0 || m->apply_stuck || !member__settle(m))
		return;
	s = xcalloc(1, sizeof(*s));
	if (store_snapshot_open(m->store, &s->snapshot, &e) != 0) {
		log_warn("raft", "cannot open a snapshot error=\"%s\"", e.text);
		p->snap_retry_at = now + SNAP_RETRY_MS;
		free(s);
		return;
	}
	s->id = (uint64_t)m->ops->random(m) << 32 | m->ops->random(m);
	s->index = store_snapshot_applied(s->snapshot).index;
	s->index_term = store_snapshot_applied(s->snapshot).term;
	ASSERT(s->index == m->applied);
	buf_init(&s->conf, BUF_NO_LIMIT);
	buf_adds(&s->conf, buf_str(&m->conf));
	s->conf_index = m->conf_index;
	s->progressed = now;
	p->snap = s;
	log_info("raft", "sending a snapshot to=%016" PRIx64 " index=%" PRIu64 " bytes~%" PRIu64, to, s->index,
		 store_snapshot_size(s->snapshot));
	send_begin(m, p);
	member__arm_by(m, now + SNAP_RESEND_MS);
}

/* Damage here is noticed, and mended, like any other. */
static void send_failed(struct member *m, struct peer_state *p, const struct err *e)
{
	if (e->code != ERR_CORRUPT) {
		member__failed(m, e);
		return;
	}
	log_error("raft", "cannot send a snapshot: %s", e->text);
	p->snap_retry_at = member__now(m) + SNAP_DAMAGED_MS;
	send_close(p);
	member__look_for_damage(m);
}

static void pump(struct member *m, struct peer_state *p)
{
	struct snap_send *s = p->snap;
	struct msg out = {.kind = MSG_SNAP_CHUNK};
	struct err e = ERR_INIT;

	while (s->sent < s->acked + SNAP_WINDOW && (s->n == 0 || s->sent < s->n)) {
		struct buf chunk = BUF_INIT;
		bool last = false, ok;

		if (store_snapshot_chunk(s->snapshot, s->sent, &chunk, &last, &e) != 0) {
			buf_fini(&chunk);
			send_failed(m, p, &e);
			return;
		}
		out.snap_chunk.id = s->id;
		out.snap_chunk.n = s->sent;
		out.snap_chunk.bytes = buf_str(&chunk);
		ok = member__send(m, p->id, &out);
		buf_fini(&chunk);
		if (!ok)
			return; /* the tick goes on */
		s->sent++;
		if (last)
			s->n = s->sent;
	}
}

static void receive_ack(struct member *m, uint64_t from, const struct msg *msg)
{
	struct peer_state *p = member__peer(m, from);
	struct snap_send *s = p ? p->snap : NULL;
	uint64_t now = member__now(m);

	if (!s || s->id != msg->snap_ack.id)
		return;
	s->touched = now;
	if (msg->snap_ack.failed || msg->snap_ack.finished) {
		log_info("raft", "snapshot to=%016" PRIx64 " %s", from, msg->snap_ack.failed ? "failed" : "finished");
		p->snap_retry_at = now + (msg->snap_ack.failed ? SNAP_RETRY_MS : 0);
		send_close(p);
		return;
	}
	/* It died and came back: from the beginning. */
	if (msg->snap_ack.begun)
		s->sent = s->acked = 0;
	if (msg->snap_ack.next > s->acked) {
		s->acked = msg->snap_ack.next;
		s->sent = MAX(s->sent, s->acked);
		s->progressed = now;
	}
	pump(m, p);
}

static void send_tick(struct member *m, struct peer_state *p, uint64_t now)
{
	struct snap_send *s = p->snap;

	if (!s)
		return;
	if (m->state != RAFT_LEADER || !member__server(m, p->id) || now >= s->progressed + SNAP_GIVE_UP_MS) {
		p->snap_retry_at = now + SNAP_RETRY_MS;
		send_close(p);
		return;
	}
	if (now >= s->touched + SNAP_RESEND_MS) {
		s->sent = s->acked;
		send_begin(m, p); /* its acknowledgement sets the pump going again */
	}
	member__arm_by(m, now + SNAP_RESEND_MS / 4);
}

void member_peer_up(struct member *m, uint64_t peer)
{
	struct peer_state *p = m->stopped ? NULL : member__peer(m, peer);

	/* The bulk connection is dialled by the first attempt to send on it. */
	if (p && p->snap)
		send_begin(m, p);
	member__kick(m);
}

void member__snap_stop_sending(struct member *m)
{
	for (size_t i = 0; i < m->n_peers; i++)
		send_close(&m->peers[i]);
}

uint64_t member__snap_keep(const struct member *m)
{
	uint64_t keep = UINT64_MAX;

	for (size_t i = 0; i < m->n_peers; i++)
		if (m->peers[i].snap)
			keep = MIN(keep, m->peers[i].snap->index + 1);
	if (member__snap_mends(m))
		keep = MIN(keep, m->install->index + 1);
	return keep;
}

/* --- Receiving ------------------------------------------------------------------------------------------------- */

enum answer { GO_ON, BEGUN, FAILED, FINISHED };

static void ack(struct member *m, uint64_t to, uint64_t id, uint64_t next, enum answer how)
{
	struct msg out = {.kind = MSG_SNAP_ACK};

	out.snap_ack.id = id;
	out.snap_ack.next = next;
	out.snap_ack.failed = how == FAILED;
	out.snap_ack.finished = how == FINISHED;
	out.snap_ack.begun = how == BEGUN;
	member__send(m, to, &out);
}

static void recv_close(struct member *m)
{
	struct snap_recv *r = m->install;

	if (!r)
		return;
	if (r->syncing) {
		r->abandoned = true; /* the work's end frees it */
		return;
	}
	m->install = NULL;
	store_install_abort(r->install);
	buf_fini(&r->conf);
	free(r);
}

static void receive_begin(struct member *m, uint64_t from, const struct msg *msg)
{
	struct snap_recv *r = m->install;
	struct err e = ERR_INIT;
	/* What the log does not reach back to is too old even for that; what it does not reach yet carries forward, and mends, too. */
	bool mends = member__wants_state(m) && msg->snap_begin.index + 1 >= m->log.first && msg->snap_begin.index <= m->log.last;

	if (m->state == RAFT_LEADER)
		return;
	if (r && r->id == msg->snap_begin.id && r->from == from) {
		r->touched = member__now(m);
		r->term = MAX(r->term, msg->snap_begin.term);
		ack(m, from, r->id, store_install_next(r->install), GO_ON);
		return;
	}
	/* While a state that was sent before catches up, another one is of no use. */
	if (!mends && (msg->snap_begin.index <= m->applied || (m->damage_since && m->defrag))) {
		ack(m, from, msg->snap_begin.id, 0, FINISHED);
		return;
	}
	recv_close(m);
	if (m->install)
		return; /* its sync is under way; the sender asks again */
	r = xcalloc(1, sizeof(*r));
	if (store_install_begin(m->store, &r->install, &e) != 0) {
		log_warn("raft", "cannot take a snapshot error=\"%s\"", e.text);
		free(r);
		ack(m, from, msg->snap_begin.id, 0, FAILED);
		return;
	}
	r->mends = mends;
	if (mends)
		store_install_mends(r->install);
	r->from = from;
	r->id = msg->snap_begin.id;
	r->term = msg->snap_begin.term;
	r->index = msg->snap_begin.index;
	r->index_term = msg->snap_begin.index_term;
	r->conf_index = msg->snap_begin.conf_index;
	buf_init(&r->conf, BUF_NO_LIMIT);
	buf_adds(&r->conf, msg->snap_begin.conf);
	r->touched = member__now(m);
	m->install = r;
	log_info("raft", "receiving a snapshot from=%016" PRIx64 " index=%" PRIu64 "%s", from, r->index, r->mends ? " to mend the store" : "");
	ack(m, from, r->id, 0, BEGUN);
}

static void sync_fn(struct member_work *w)
{
	struct snap_recv *r = container_of(w, struct snap_recv, work);

	w->rc = store_install_sync(r->install, &w->err);
}

static void sync_done(struct member_work *w)
{
	struct snap_recv *r = container_of(w, struct snap_recv, work);
	struct member *m = w->member;

	r->syncing = false;
	m->n_work--;
	if (w->rc != 0) {
		err_prefix(&w->err, "cannot make a received snapshot durable");
		member__disk_failed(m, &w->err);
	}
	if (w->rc != 0 || r->abandoned || !member__runs(m)) {
		recv_close(m);
		return;
	}
	r->synced = true;
	member__kick(m);
}

/*
 * Nothing is applied here any more, so there is nothing to wait for but that the log tells that what came is committed. The log stays: it goes
 * on behind it.
 */
static void replace_stuck(struct member *m, struct snap_recv *r)
{
	struct err e = ERR_INIT;
	bool fits = m->apply_stuck && r->index >= m->applied && r->index + 1 >= m->log.first && m->state != RAFT_LEADER;

	if (fits && r->index > m->commit)
		return;
	if (fits && (store_install_finish(TAKE(r->install), &e) != 0 || member__unstick(m, &e) != 0))
		member__failed(m, &e);
	ack(m, r->from, r->id, 0, fits ? FINISHED : FAILED);
	r->synced = false;
	recv_close(m);
}

/* It is all there. What it lacks is in the log; its sync is the next checkpoint's. */
static void mend(struct member *m, struct snap_recv *r)
{
	struct err e = ERR_INIT;
	int rc;

	if (m->defrag)
		rc = err_set(&e, ERR_UNAVAILABLE, "the store is being copied");
	else
		rc = member__defrag_adopt(m, TAKE(r->install), &e);
	if (rc != 0)
		log_warn("raft", "the store was not mended: %s", e.text);
	ack(m, r->from, r->id, 0, rc == 0 ? FINISHED : FAILED);
	recv_close(m);
	member__kick(m);
}

bool member__snap_mends(const struct member *m)
{
	return m->install && m->install->mends;
}

static void receive_chunk(struct member *m, uint64_t from, const struct msg *msg)
{
	struct snap_recv *r = m->install;
	struct err e = ERR_INIT;
	bool last = false;

	if (!r || r->id != msg->snap_chunk.id || r->from != from || r->syncing || r->synced)
		return;
	r->touched = member__now(m);
	if (msg->snap_chunk.n == store_install_next(r->install) &&
	    store_install_chunk(r->install, msg->snap_chunk.bytes, &last, &e) != 0) {
		log_warn("raft", "a snapshot from=%016" PRIx64 " is refused error=\"%s\"", from, e.text);
		ack(m, from, r->id, 0, FAILED);
		recv_close(m);
		return;
	}
	ack(m, from, r->id, store_install_next(r->install), GO_ON);
	if (!last)
		return;
	if (r->mends && !m->apply_stuck) {
		mend(m, r);
		return;
	}
	r->syncing = true;
	r->work = (struct member_work){.fn = sync_fn, .done = sync_done, .member = m};
	member__work(m, &r->work);
}

/* The core has thrown its log away in favour of the snapshot: now the store does, and the log begins behind it. */
static int swap_in(struct member *m, struct snap_recv *r, struct err *e)
{
	struct raft_event ev = {.type = RAFT_PERSISTED_SNAPSHOT};
	int rc;

	if (!str_eq(buf_str(&r->conf), buf_str(&m->conf)) && !member__conf_comes(m, r->conf.p, r->conf.n)) {
		raft_configuration_close(&m->snap_meta.configuration);
		return err_set(e, ERR_IO, "%s", m->halt_err.text);
	}
	rc = store_install_finish(r->install, e);
	r->install = NULL;
	if (rc != 0) {
		raft_configuration_close(&m->snap_meta.configuration);
		return rc;
	}
	m->applied = store_applied(m->store).index;
	m->applied_term = store_applied(m->store).term;
	if (m->applied != r->index || m->applied_term != r->index_term)
		return err_set(e, ERR_CORRUPT, "a snapshot for entry %" PRIu64 " holds entry %" PRIu64, r->index, m->applied);
	log_reset(&m->log, m->applied);
	wal_append_reset(&m->wal, m->applied, m->applied_term);
	m->checkpoint_mark = m->wal_written;
	member__forget_hashes(m);
	rc = member__load_conf(m, e);
	if (rc != 0)
		return rc;
	ev.persisted_snapshot.metadata = m->snap_meta;
	ev.persisted_snapshot.last = true;
	member__step(m, &ev);
	log_info("raft", "installed a snapshot index=%" PRIu64 " revision=%" PRId64, m->applied, store_revision(m->store));
	member__note_peers(m);
	member__refresh_peers(m);
	member__reads_applied(m);
	return 0;
}

void member__snap_advance(struct member *m)
{
	struct raft_message in = {.type = RAFT_INSTALL_SNAPSHOT};
	struct raft_event ev = {.type = RAFT_RECEIVE, .receive = {&in}};
	struct raft_install_snapshot *is = &in.install_snapshot;
	struct snap_recv *r = m->install;
	struct err e = ERR_INIT;
	struct raft_buffer raw;

	if (!r || !r->synced || m->checkpoint)
		return;
	if (r->mends) {
		replace_stuck(m, r);
		return;
	}
	raw = (struct raft_buffer){r->conf.p, r->conf.n};
	if (r->index <= m->applied || m->state == RAFT_LEADER || raw.len == 0 ||
	    raft_configuration_decode(&raw, &is->conf) != 0) {
		r->synced = false;
		ack(m, r->from, r->id, 0, FAILED);
		recv_close(m);
		return;
	}
	/* What it holds is committed, so it is as good from a later leader, should there be one by now. */
	in.server_id = r->from;
	is->term = r->term;
	if (r->term < raft_current_term(&m->raft) && m->leader) {
		in.server_id = m->leader;
		is->term = raft_current_term(&m->raft);
	}
	in.server_address = "";
	is->last_index = r->index;
	is->last_term = r->index_term;
	is->conf_index = r->conf_index;
	m->snap_update = false;
	member__step(m, &ev);
	if (m->snap_update && !m->stopped) {
		m->snap_update = false;
		if (swap_in(m, r, &e) != 0) {
			err_prefix(&e, "cannot install a snapshot");
			member__failed(m, &e);
		}
	}
	ack(m, r->from, r->id, 0, FINISHED);
	recv_close(m);
}

/* --- Both -------------------------------------------------------------------------------------------------------- */

void member__snap_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	switch (msg->kind) {
	case MSG_SNAP_BEGIN:
		receive_begin(m, from, msg);
		break;
	case MSG_SNAP_CHUNK:
		receive_chunk(m, from, msg);
		break;
	default:
		receive_ack(m, from, msg);
		break;
	}
}

void member__snap_tick(struct member *m, uint64_t now)
{
	for (size_t i = 0; i < m->n_peers; i++)
		send_tick(m, &m->peers[i], now);
	if (m->install && !m->install->syncing && !m->install->synced &&
	    now >= m->install->touched + SNAP_GIVE_UP_MS)
		recv_close(m);
}

void member__snap_close(struct member *m)
{
	member__snap_stop_sending(m);
	if (m->install) {
		ASSERT(!m->install->syncing);
		recv_close(m);
	}
}
