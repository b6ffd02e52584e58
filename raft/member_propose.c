/* Proposals: queue, append on the leader, forwarding to the leader, answers, and what becomes of them when things go wrong. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

/* A batch of so many is worth waiting for: see paced(). */
#define PACE_ENTRIES 16

static void proposal_free(struct proposal *p)
{
	list_del(&p->link);
	xfree(p->command);
	xfree(p);
}

/* Give the answer to whoever waits. `result` is an encoded raftpb.Result, or empty with the error in *e. */
static void answer_local(struct member *m, struct kv_req *req, uint64_t revision, struct str result, const struct err *e)
{
	struct store_result r;

	req->revision = revision;
	err_clear(&req->err);
	if (e) {
		req->err = *e;
	} else if (store_result_parse(result, &r, &req->err) == 0) {
		store_result_err(&r, &req->err);
		req->response = xmalloc(r.response.n + 1);
		memcpy(req->response, r.response.p ? r.response.p : "", r.response.n);
		req->response[r.response.n] = '\0';
		req->response_size = r.response.n;
	}
	m->ops->req_done(m, req);
}

static void answer_remote(struct member *m, const struct proposal *p, enum msg_status status, struct str result,
			  const struct err *e)
{
	struct msg out = {.kind = MSG_PROPOSE_RESULT};

	out.propose_result.id = p->id;
	out.propose_result.status = (uint8_t)status;
	out.propose_result.code = e ? (int)e->code : 0;
	out.propose_result.text = e ? str_from(e->text) : STR_NULL;
	out.propose_result.revision = (uint64_t)store_revision(m->store);
	out.propose_result.index = m->applied;
	out.propose_result.result = result;
	member__send(m, p->peer, &out);
}

static void finish(struct member *m, struct proposal *p, enum msg_status status, struct str result, const struct err *e)
{
	if (status == MSG_DONE && (p->req || p->peer))
		gather_answered(&m->gather, member__now(m));
	if (p->req)
		answer_local(m, p->req, (uint64_t)store_revision(m->store), result, e);
	else if (p->peer)
		answer_remote(m, p, status, result, e);
	proposal_free(p);
}

static void dequeue(struct member *m, struct proposal *p)
{
	m->queue_bytes -= p->size;
	list_del(&p->link);
}

static void enqueue(struct member *m, struct proposal *p, bool front)
{
	m->queue_bytes += p->size;
	if (front)
		list_add_head(&m->queue, &p->link);
	else
		list_add_tail(&m->queue, &p->link);
	member__arm_by(m, p->deadline);
}

static struct proposal *proposal_new(struct member *m, struct str command, uint64_t deadline)
{
	struct proposal *p = xcalloc(1, sizeof(*p));

	list_init(&p->link);
	p->command = xmalloc(command.n + 1);
	memcpy(p->command, command.p, command.n);
	p->size = (uint32_t)command.n;
	p->deadline = deadline;
	return p;
}

static int admit(struct member *m, struct str command, struct err *e)
{
	if (m->stopped)
		return err_set(e, ERR_UNAVAILABLE, "this member has stopped");
	if (command.n > KV_MAX_COMMAND)
		return err_set(e, ERR_TOO_LARGE, "request of %zu bytes is over the limit of %u", command.n, KV_MAX_COMMAND);
	if (m->queue_bytes + command.n > MEMBER_MAX_QUEUE_BYTES)
		return err_set(e, ERR_TOO_MANY, "too many writes wait for the leader already, try again later");
	return store_command_check(command, e);
}

void member_propose(struct member *m, struct kv_req *req)
{
	struct proposal *p;
	struct err e = ERR_INIT;

	req->response = NULL;
	req->response_size = 0;
	req->revision = 0;
	if (admit(m, req->command, &e) != 0) {
		answer_local(m, req, 0, STR_NULL, &e);
		return;
	}
	p = proposal_new(m, req->command, req->deadline);
	p->req = req;
	enqueue(m, p, false);
	gather_arrived(&m->gather);
	member__kick(m);
}

void member__propose_internal(struct member *m, struct str command)
{
	enqueue(m, proposal_new(m, command, member__now(m) + 2 * m->cfg.election_ms), false);
	member__kick(m);
}

/* --- On the leader ---------------------------------------------------------------------------------------------- */

static bool tail_is_full(const struct member *m, size_t bytes)
{
	/* D5: after a change of leader, conflicts are resolved one entry a round trip, so the tail is kept short. */
	return m->log.last - MIN(m->commit, m->log.last) >= MEMBER_MAX_TAIL || bytes > MEMBER_MAX_TAIL_BYTES;
}

/*
 * Pacing: two batches may be on their way, and what comes meanwhile waits to be the third; behind a large one, the second. A lone client
 * never waits; when many write at once, a turn of the loop, a frame, a sync and a store transaction carry dozens of writes instead of
 * one or two each.
 */
static bool paced(const struct member *m)
{
	/* Never past the log's end: what an earlier term appended may have been cut off. */
	return m->commit < MIN(m->submitted[0], m->log.last) || m->commit + PACE_ENTRIES <= MIN(m->submitted[1], m->log.last);
}

/* Behind an answered batch, its clients' next writes are worth a moment. */
static bool held(struct member *m)
{
	if (!gather_holds(&m->gather, member__now(m)))
		return false;
	m->held_until = m->gather.until;
	return true;
}

/* Append what waits, as many as one step may carry. Returns false when nothing could be appended. */
static bool submit_some(struct member *m)
{
	struct raft_entry entries[MEMBER_SUBMIT_MAX];
	struct proposal *props[MEMBER_SUBMIT_MAX];
	struct raft_event ev = {.type = RAFT_SUBMIT, .submit = {.entries = entries}};
	uint64_t first = m->log.last + 1;
	size_t bytes = 0;
	unsigned n = 0;
	int rv;

	LIST_FOR_EACH (p, &m->queue, struct proposal, link) {
		if (n == MEMBER_SUBMIT_MAX || m->log.last + n - MIN(m->commit, m->log.last) >= MEMBER_MAX_TAIL ||
		    (n > 0 && bytes + p->size > MEMBER_MAX_TAIL_BYTES / 4))
			break;
		entries[n] = (struct raft_entry){.term = raft_current_term(&m->raft),
						 .type = RAFT_COMMAND,
						 .buf = {p->command, p->size},
						 .batch = p->command};
		bytes += p->size;
		props[n++] = p;
	}
	if (n == 0)
		return false;
	ev.submit.n = n;
	m->submitting = props;
	rv = member__step(m, &ev);
	m->submitting = NULL;
	if (rv != 0)
		return false; /* a transfer has just begun: it stays in the queue */
	for (unsigned i = 0; i < n; i++) {
		dequeue(m, props[i]);
		props[i]->index = first + i;
		if (!props[i]->req && !props[i]->peer) {
			proposal_free(props[i]);
			continue;
		}
		list_add_tail(&m->pending, &props[i]->link);
		member__arm_by(m, props[i]->deadline);
	}
	member__nudge(m);
	return true;
}

void member__answer(struct member *m, uint64_t index, struct str result)
{
	struct proposal *p;

	if (list_empty(&m->pending))
		return;
	p = LIST_FIRST(&m->pending, struct proposal, link);
	if (p->index == index)
		finish(m, p, MSG_DONE, result, NULL);
}

void member__lost_leadership(struct member *m)
{
	struct err e;

	m->ready = false;
	m->submitted[0] = m->submitted[1] = 0;
	store_leases_demote(m->store);
	err_set(&e, MUTANT(definite_too_soon) ? ERR_NOT_LEADER : ERR_UNAVAILABLE,
		"leadership was lost before the write was committed; it may or may not happen");
	LIST_FOR_EACH_SAFE (p, next, &m->pending, struct proposal, link)
		finish(m, p, MSG_UNKNOWN, STR_NULL, &e);
	/* What others had sent here and was never appended goes back to them. */
	LIST_FOR_EACH_SAFE (p, next, &m->queue, struct proposal, link) {
		if (!p->peer && p->req)
			continue;
		m->queue_bytes -= p->size;
		finish(m, p, MSG_NOT_TAKEN, STR_NULL, NULL);
	}
	member__reads_restart(m);
	member__changes_lost(m);
	member__snap_stop_sending(m);
}

/* --- Forwarding -------------------------------------------------------------------------------------------------- */

static bool forward(struct member *m, struct proposal *p)
{
	struct msg out = {.kind = MSG_PROPOSE};
	uint64_t now = member__now(m);

	p->id = m->next_id++;
	out.propose.id = p->id;
	out.propose.timeout_ms = (uint32_t)(p->deadline > now ? p->deadline - now : 0);
	out.propose.command = str_of(p->command, p->size);
	if (!member__send(m, m->leader, &out))
		return false;
	dequeue(m, p);
	p->sent_to = m->leader;
	m->forward_bytes += p->size;
	list_add_tail(&m->forwarded, &p->link);
	return true;
}

/* The same towards the leader. Only for a heartbeat: an answer may be lost together with its connection. */
static bool forwards_paced(struct member *m)
{
	const struct proposal *oldest = list_empty(&m->forwarded) ? NULL : LIST_FIRST(&m->forwarded, struct proposal, link);

	if (oldest == NULL || oldest->sent_to != m->leader ||
	    (oldest->id > m->sent[0] && oldest->id + PACE_ENTRIES > m->sent[1]) ||
	    member__now(m) >= m->sent_at + m->cfg.heartbeat_ms)
		return false;
	member__arm_by(m, m->sent_at + m->cfg.heartbeat_ms);
	return true;
}

static void forward_queue(struct member *m)
{
	if (member__now(m) < m->forward_after) {
		member__arm_by(m, m->forward_after);
		return;
	}
	if (forwards_paced(m) || held(m))
		return;
	gather_left(&m->gather, member__now(m));
	m->sent[0] = m->sent[1];
	m->sent_at = member__now(m);
	LIST_FOR_EACH_SAFE (p, next, &m->queue, struct proposal, link) {
		if (!p->req) {
			/* Upkeep is the leader's; a peer's request is never passed on twice. */
			m->queue_bytes -= p->size;
			finish(m, p, MSG_NOT_TAKEN, STR_NULL, NULL);
			continue;
		}
		if (m->forward_bytes > MEMBER_MAX_FORWARD_BYTES)
			break;
		if (!forward(m, p)) {
			member__arm_by(m, member__now(m) + m->cfg.heartbeat_ms); /* no connection yet */
			break;
		}
		m->sent[1] = p->id;
	}
}

void member__submit(struct member *m)
{
	m->held_until = UINT64_MAX;
	if (list_empty(&m->queue))
		return;
	if (m->state == RAFT_LEADER) {
		/* One step a turn at the least, so that a full tail drains while new ones gather. */
		uint64_t before = m->log.last;

		if (raft_transferee(&m->raft) != 0 || paced(m) || held(m))
			return;
		while (!list_empty(&m->queue) && !tail_is_full(m, 0) && submit_some(m))
			;
		if (m->log.last > before) {
			m->submitted[0] = m->submitted[1];
			m->submitted[1] = m->log.last;
			gather_left(&m->gather, member__now(m));
		}
	} else if (m->leader != 0 && m->leader != m->id) {
		forward_queue(m);
	}
}

static void unknown(struct member *m, struct proposal *p, const char *why)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "%s; the write may or may not happen", why);
	m->forward_bytes -= p->size;
	finish(m, p, MSG_UNKNOWN, STR_NULL, &e);
}

void member__forward_lost(struct member *m, uint64_t peer)
{
	LIST_FOR_EACH_SAFE (p, next, &m->forwarded, struct proposal, link)
		if (p->sent_to == peer)
			unknown(m, p, "the connection to the leader broke");
}

/*
 * The old leader may still answer what it has committed, if it handed over and lives: it gets a moment for that. One that
 * had been silent before the change gets none.
 */
void member__leader_changed(struct member *m)
{
	uint64_t now = member__now(m);
	bool silent = now - m->last_contact > 2 * m->cfg.heartbeat_ms;

	LIST_FOR_EACH (p, &m->forwarded, struct proposal, link)
		if (p->sent_to != m->leader) {
			p->deadline = MIN(p->deadline, silent ? now : now + m->cfg.election_ms);
			member__arm_by(m, p->deadline);
		}
	member__reads_restart(m);
}

bool member__first_time(struct peer_state *p, uint64_t id)
{
	uint32_t epoch = (uint32_t)(id >> 32), n = (uint32_t)id;
	struct seen *s = NULL;
	uint64_t bit;

	for (size_t i = 0; i < ARRAY_LEN(p->seen) && !s; i++)
		if (p->seen[i].max != 0 && p->seen[i].epoch == epoch)
			s = &p->seen[i];
	if (!s) {
		memmove(p->seen + 1, p->seen, sizeof(p->seen) - sizeof(p->seen[0]));
		s = &p->seen[0];
		*s = (struct seen){.epoch = epoch};
	}
	if (n + SEEN_WINDOW <= s->max)
		return false;
	for (; s->max < n && n - s->max < SEEN_WINDOW; s->max++)
		s->bits[(s->max + 1) % SEEN_WINDOW / 64] &= ~((uint64_t)1 << (s->max + 1) % 64);
	if (s->max < n) {
		memset(s->bits, 0, sizeof(s->bits));
		s->max = n;
	}
	bit = (uint64_t)1 << n % 64;
	if (s->bits[n % SEEN_WINDOW / 64] & bit)
		return false;
	s->bits[n % SEEN_WINDOW / 64] |= bit;
	return true;
}

void member__propose_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct peer_state *peer = member__peer(m, from);
	struct proposal *p;
	struct err e = ERR_INIT;

	if (!peer || (!member__first_time(peer, msg->propose.id) && !MUTANT(forward_twice)))
		return;
	p = proposal_new(m, msg->propose.command, member__now(m) + msg->propose.timeout_ms);
	p->peer = from;
	p->id = msg->propose.id;
	if (m->state != RAFT_LEADER) {
		finish(m, p, MSG_NOT_TAKEN, STR_NULL, NULL);
		return;
	}
	if (admit(m, msg->propose.command, &e) != 0) {
		finish(m, p, MSG_DONE, STR_NULL, &e);
		return;
	}
	enqueue(m, p, false);
	gather_arrived(&m->gather);
}

void member__propose_result(struct member *m, uint64_t from, const struct msg *msg)
{
	struct proposal *found = NULL;
	struct err e = {.code = (enum err_code)msg->propose_result.code};

	LIST_FOR_EACH (p, &m->forwarded, struct proposal, link)
		if (p->id == msg->propose_result.id && p->sent_to == from) {
			found = p;
			break;
		}
	if (!found)
		return;
	m->forward_bytes -= found->size;
	if (msg->propose_result.status == MSG_NOT_TAKEN) {
		list_del(&found->link);
		enqueue(m, found, true);
		/* The one who refused is no leader; whom we take for it may change any moment, so do not spin. */
		if (m->leader == from)
			m->forward_after = member__now(m) + 5;
		return;
	}
	if (e.code <= ERR_OK || e.code >= ERR_N_CODES)
		e.code = ERR_OK;
	if (msg->propose_result.text.n > 0)
		snprintf(e.text, sizeof(e.text), "%.*s", STR_FMT(msg->propose_result.text));
	list_del(&found->link);
	gather_answered(&m->gather, member__now(m));
	if (e.code == ERR_OK && msg->propose_result.status != MSG_DONE)
		err_set(&e, ERR_UNAVAILABLE, "the outcome of the write is unknown");
	answer_local(m, found->req, msg->propose_result.revision, msg->propose_result.result, e.code ? &e : NULL);
	proposal_free(found);
}

/* --- Deadlines and the end ------------------------------------------------------------------------------------------ */

static void expire_list(struct member *m, struct list *list, uint64_t now, const char *why)
{
	struct err e;

	LIST_FOR_EACH_SAFE (p, next, list, struct proposal, link) {
		if (p->deadline > now) {
			member__arm_by(m, p->deadline);
			continue;
		}
		if (list == &m->queue)
			m->queue_bytes -= p->size;
		if (list == &m->forwarded)
			m->forward_bytes -= p->size;
		err_set(&e, list == &m->queue ? ERR_UNAVAILABLE : ERR_TIMEOUT, "%s", why);
		finish(m, p, MSG_UNKNOWN, STR_NULL, &e);
	}
}

void member__expire(struct member *m, uint64_t now)
{
	expire_list(m, &m->queue, now, "no leader took the write in time: the cluster has lost its quorum or is electing");
	expire_list(m, &m->pending, now, "the write was not committed in time; it may or may not happen");
	expire_list(m, &m->forwarded, now, "the leader did not answer in time; the write may or may not happen");
	member__reads_expire(m, now, NULL);
	member__leases_expire(m, now, NULL);
	member__changes_expire(m, now, NULL);
}

void member__fail_all(struct member *m, const struct err *e)
{
	struct list *lists[] = {&m->queue, &m->pending, &m->forwarded};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR_EACH_SAFE (p, next, lists[i], struct proposal, link)
			finish(m, p, MSG_UNKNOWN, STR_NULL, e);
	m->queue_bytes = m->forward_bytes = 0;
	member__reads_expire(m, 0, e);
	member__leases_expire(m, 0, e);
	member__changes_expire(m, 0, e);
}
