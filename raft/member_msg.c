/* The core's messages to and from the wire, with the guards that the core needs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

/* One frame carries at most this much of an append; one append at most so much in all. What is left out counts as lost. */
#define APPEND_FRAME_BYTES (1u << 20)
#define APPEND_BYTES (8u << 20)

static void note_appended(struct member *m, uint64_t to, uint64_t index)
{
	struct peer_state *p = member__peer(m, to);

	if (p)
		p->appended = MAX(p->appended, index);
}

static void send_frame(struct member *m, uint64_t to)
{
	m->ops->send(m, to, MSG_CHANNEL_MAIN, buf_str(&m->frame));
}

/* The core names the entries; we fill them in from our log, in frames of bounded size. */
static void send_append(struct member *m, uint64_t to, const struct raft_append_entries *a)
{
	struct msg head = {.kind = MSG_APPEND};
	uint64_t index = a->prev_log_index + 1, end = index + a->n_entries;
	size_t sent = 0;

	head.append.term = a->term;
	head.append.commit = a->leader_commit;
	head.append.prev_index = a->prev_log_index;
	head.append.prev_term = a->prev_log_term;
	do {
		size_t start;
		uint32_t n = 0;

		buf_clear(&m->frame);
		msg_append_begin(&m->frame, &head, &start);
		while (index < end && m->frame.n < APPEND_FRAME_BYTES && n < MSG_MAX_ENTRIES) {
			struct log_entry *le = log_get(&m->log, index);
			struct err e = ERR_INIT;
			struct str data;

			if (!le)
				return; /* truncated in the same step: the core will ask again */
			if (log_data(&m->log, index, &data, &e) != 0) {
				/* Rot is found again, and dealt with, when the files are opened anew. */
				member__disk_failed(m, &e);
				return;
			}
			msg_append_entry(&m->frame, &(struct msg_entry){le->term, le->type, data});
			head.append.prev_index = index;
			head.append.prev_term = le->term;
			index++;
			n++;
		}
		msg_append_end(&m->frame, start, n);
		sent += m->frame.n;
		if (!m->ops->send(m, to, MSG_CHANNEL_MAIN, buf_str(&m->frame)))
			return;
	} while (index < end && sent < APPEND_BYTES);
	note_appended(m, to, end - 1);
}

void member__send_raft(struct member *m, struct raft_message *in)
{
	struct msg out = {0};

	switch (in->type) {
	case RAFT_APPEND_ENTRIES:
		send_append(m, in->server_id, &in->append_entries);
		return;
	case RAFT_INSTALL_SNAPSHOT:
		member__snap_wanted(m, in->server_id);
		return;
	case RAFT_REQUEST_VOTE:
		out.kind = MSG_VOTE;
		out.vote = in->request_vote;
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		out.kind = MSG_VOTE_RESULT;
		out.vote_result = in->request_vote_result;
		/* D3: the core echoes the candidate's term in a refusal, so that one with the best log and a low term would
		 * never learn that its term is low. */
		if (out.vote_result.pre_vote && !out.vote_result.vote_granted)
			out.vote_result.term = MAX(out.vote_result.term, raft_current_term(&m->raft));
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		out.kind = MSG_APPEND_RESULT;
		out.append_result = in->append_entries_result;
		if (MUTANT(ack_unmatched) && out.append_result.rejected == 0)
			out.append_result.last_log_index = m->raft.last_stored;
		break;
	case RAFT_TIMEOUT_NOW:
		out.kind = MSG_TIMEOUT_NOW;
		out.timeout_now = in->timeout_now;
		break;
	default:
		return;
	}
	buf_clear(&m->frame);
	msg_encode(&out, &m->frame);
	send_frame(m, in->server_id);
}

static const char *address_of(const struct member *m, uint64_t id)
{
	const struct raft_server *s = member__server(m, id);

	return s ? s->address : "";
}

static int receive(struct member *m, uint64_t from, struct raft_message *in)
{
	struct raft_event ev = {.type = RAFT_RECEIVE, .receive = {in}};
	char address[MEMBER_ADDRESS_MAX];

	/* The step may replace the configuration that the string belongs to. */
	snprintf(address, sizeof(address), "%s", address_of(m, from));
	in->server_id = from;
	in->server_address = address;
	return member__step(m, &ev);
}

/* Feed one append of `n` decoded entries. */
static void receive_append_part(struct member *m, uint64_t from, struct raft_append_entries *a)
{
	struct raft_message in = {.type = RAFT_APPEND_ENTRIES, .append_entries = *a};

	/* The core frees this block when it takes no entry; when it takes some, handle_entries does. */
	if (a->n_entries > 0) {
		void *block = raft_malloc(1);

		for (unsigned i = 0; i < a->n_entries; i++)
			a->entries[i].batch = block;
	}
	receive(m, from, &in);
}

/* D4: the core takes the first index of an append for that of a configuration in it, so one always begins a part. */
static void receive_append_parts(struct member *m, uint64_t from, const struct raft_append_entries *all)
{
	struct raft_append_entries part = *all;
	const struct raft_entry *end = all->entries + all->n_entries;

	for (;;) {
		struct raft_entry *stop = part.entries;

		while (stop < end && (stop == part.entries || stop->type != RAFT_CHANGE))
			stop++;
		part.n_entries = (unsigned)(stop - part.entries);
		receive_append_part(m, from, &part);
		if (stop >= end || m->stopped)
			return;
		part.prev_log_index += part.n_entries;
		part.prev_log_term = stop[-1].term;
		part.entries = stop;
	}
}

/*
 * Entries that we have applied are left out of an append, and one that ends before them is taken for a question about
 * the last of them. They are committed, so the leader of this term has the same. Without this the core takes an append
 * that begins before our log does (the log was cut, or began with a snapshot) for news and puts the entries at its end.
 */
static void skip_applied(const struct member *m, struct raft_append_entries *a)
{
	uint64_t known = m->applied > a->prev_log_index ? m->applied - a->prev_log_index : 0;

	if (known == 0 || a->term < raft_current_term(&m->raft))
		return;
	if (known > a->n_entries) {
		a->prev_log_index = m->applied;
		a->prev_log_term = m->applied_term;
		a->n_entries = 0;
		return;
	}
	a->prev_log_index += known;
	a->prev_log_term = a->entries[known - 1].term;
	a->entries += known;
	a->n_entries -= (unsigned)known;
}

static void receive_append(struct member *m, uint64_t from, const struct msg *msg)
{
	struct raft_append_entries a = {.version = 0, .term = msg->append.term, .leader_commit = msg->append.commit};
	struct str rest = msg->append.entries;
	struct msg_entry e;
	uint32_t n = msg->append.n, i = 0;

	/* While a snapshot is being swapped in nothing is taken; this never spans two turns. */
	if (m->raft.snapshot.installing)
		return;
	if (n > m->cap_entries) {
		m->cap_entries = n;
		m->entries = xrealloc(m->entries, n * sizeof(*m->entries));
	}
	for (; i < n && msg_entry_next(&rest, &e); i++)
		m->entries[i] = (struct raft_entry){.term = e.term,
						    .type = (enum raft_entry_type)e.type,
						    .buf = {(void *)(uintptr_t)e.data.p, e.data.n}};
	a.prev_log_index = msg->append.prev_index;
	a.prev_log_term = msg->append.prev_term;
	a.entries = m->entries;
	a.n_entries = n;
	skip_applied(m, &a);
	receive_append_parts(m, from, &a);
	if (m->leader == from && raft_current_term(&m->raft) == msg->append.term) {
		m->last_contact = member__now(m);
		m->hint_at = 0;
	}
}

/*
 * D17: the core never votes while its own log says that it has no vote. But a learner's promotion may be in the others' logs
 * already, and who needs its vote cannot tell it so without being elected. Whose vote counts is the candidate's affair; ours is
 * to give one a term, to a log as good as ours. And of two voters one that has forgotten something gives it to the other one, even if what
 * is left of its own log has an entry that the other one never got: that one was never committed (raft/repair.h).
 */
static void vote_beyond_core(struct member *m, uint64_t from, const struct raft_request_vote *v)
{
	uint64_t last = m->raft.last_stored, term = raft_current_term(&m->raft);
	uint64_t last_term = last == m->applied ? m->applied_term : log_term(&m->log, last);
	bool good = v->last_log_term > last_term || (v->last_log_term == last_term && v->last_log_index >= last);
	struct msg out = {.kind = MSG_VOTE_RESULT};

	if (!member__runs(m) || m->state != RAFT_FOLLOWER || !v->disrupt_leader)
		return;
	if (good ? member__is_voter(m, m->id) : !member__votes_for_pair(m, from))
		return;
	if (v->pre_vote ? v->term < term : v->term != term || (m->raft.voted_for != 0 && m->raft.voted_for != from))
		return;
	if (!v->pre_vote) {
		m->raft.voted_for = from;
		member__save_vote(m);
		if (!member__runs(m))
			return;
	}
	out.vote_result.term = v->term;
	out.vote_result.vote_granted = true;
	out.vote_result.pre_vote = v->pre_vote;
	member__send(m, from, &out);
}

static void receive_vote(struct member *m, uint64_t from, const struct msg *msg)
{
	struct raft_message in = {.type = RAFT_REQUEST_VOTE, .request_vote = msg->vote};

	if (m->forgetful && !member__votes_for_pair(m, from))
		return;
	/* D16: the core refuses for as long as it remembers a leader; the paper says for one election timeout. */
	if (m->state == RAFT_FOLLOWER && member__now(m) - m->last_contact >= m->cfg.election_ms)
		in.request_vote.disrupt_leader = true;
	in.request_vote.candidate_id = from;
	receive(m, from, &in);
	vote_beyond_core(m, from, &in.request_vote);
}

/*
 * A refusal of something that this follower has acknowledged is an old one that was overtaken. The core would go back to
 * an index it takes for acknowledged, compute a negative number of entries in flight, and never send any again.
 */
static bool stale_refusal(const struct member *m, uint64_t from, const struct msg *msg)
{
	raft_index match = 0;

	return msg->append_result.rejected > 0 && m->state == RAFT_LEADER &&
	       raft_match_index(&m->raft, from, &match) == 0 && msg->append_result.rejected <= match &&
	       msg->append_result.term == raft_current_term(&m->raft);
}

static void heard_from(struct member *m, uint64_t from, const struct msg *msg)
{
	struct peer_state *p = member__peer(m, from);

	/* One whose disk has failed still talks; what counts is that it takes part. */
	if (p && (!(p->health.alarms & KV_ALARM_DISK) || msg->kind == MSG_APPEND_RESULT || msg->kind == MSG_VOTE_RESULT)) {
		p->last_heard = member__now(m);
		p->nudged = p->nudged && msg->kind != MSG_APPEND_RESULT;
		p->lost = false;
	}
	/*
	 * Someone who was removed and does not know it (its last messages were lost): any member tells it, for it may not know who
	 * leads now. It believes that only of a configuration later than its own.
	 */
	if (m->was_member && msg->kind != MSG_REMOVED && msg->kind != MSG_ADMIN && m->raft.configuration_uncommitted_index == 0 &&
	    !member__server(m, from)) {
		struct msg out = {.kind = MSG_REMOVED};

		out.removed.conf_index = m->conf_index;
		out.removed.member = from;
		member__send(m, from, &out);
	}
}

static void receive_removed(struct member *m, uint64_t from, const struct msg *msg)
{
	uint64_t known = m->conf_index;
	struct err e;

	/*
	 * Only a configuration later than the one that has us counts: one that was leader once may not know us yet. Before any that
	 * has us is committed, the one that is to be is the measure; later it is not: it may never be.
	 */
	if (!m->was_member && !member__server(m, m->id))
		return;
	if (!m->was_member)
		known = MAX(known, m->raft.configuration_uncommitted_index);
	if (msg->removed.member != m->id || msg->removed.conf_index <= known)
		return;
	err_set(&e, ERR_FAILED_PRECONDITION,
		"this member (id %016" PRIx64 ") was removed from the cluster, says its leader %016" PRIx64
		"; to use the machine again, move the data directory away and join anew",
		m->id, from);
	member__fatal(m, &e);
}

static void receive_vote_result(struct member *m, uint64_t from, const struct msg *msg)
{
	receive(m, from, &(struct raft_message){.type = RAFT_REQUEST_VOTE_RESULT, .request_vote_result = msg->vote_result});
}

static void receive_append_result(struct member *m, uint64_t from, const struct msg *msg)
{
	if (!stale_refusal(m, from, msg))
		receive(m, from,
			&(struct raft_message){.type = RAFT_APPEND_ENTRIES_RESULT, .append_entries_result = msg->append_result});
}

static void receive_timeout_now(struct member *m, uint64_t from, const struct msg *msg)
{
	struct raft_message in = {.type = RAFT_TIMEOUT_NOW, .timeout_now = msg->timeout_now};

	/* From a leader whose disk failed: it cannot say what we have. */
	if (msg->timeout_now.last_log_index == 0) {
		in.timeout_now.last_log_index = m->log.last;
		in.timeout_now.last_log_term = m->log.last >= m->log.first ? log_term(&m->log, m->log.last) : m->applied_term;
	}
	if (!m->forgetful)
		receive(m, from, &in);
}

void member_receive(struct member *m, uint64_t from, struct str frame)
{
	static void (*const takers[])(struct member *, uint64_t, const struct msg *) = {
		[MSG_APPEND] = receive_append,
		[MSG_APPEND_RESULT] = receive_append_result,
		[MSG_VOTE] = receive_vote,
		[MSG_VOTE_RESULT] = receive_vote_result,
		[MSG_TIMEOUT_NOW] = receive_timeout_now,
		[MSG_REMOVED] = receive_removed,
		[MSG_LEASE] = member__lease_frame,
		[MSG_LEASE_RESULT] = member__lease_frame,
		[MSG_HEALTH] = member__health_frame,
		[MSG_PROBE] = member__read_frame,
		[MSG_PROBE_RESULT] = member__read_frame,
		[MSG_BARRIER] = member__read_frame,
		[MSG_BARRIER_RESULT] = member__read_frame,
		[MSG_PROPOSE] = member__propose_frame,
		[MSG_PROPOSE_RESULT] = member__propose_result,
		[MSG_ADMIN] = member__admin_frame,
		[MSG_ADMIN_RESULT] = member__admin_result,
		[MSG_SNAP_BEGIN] = member__snap_frame,
		[MSG_SNAP_CHUNK] = member__snap_frame,
		[MSG_SNAP_ACK] = member__snap_frame,
	};
	struct err e = ERR_INIT;
	struct msg msg;

	if (m->stopped)
		return;
	if (msg_decode(frame, &msg, &e) != 0) {
		log_warn("raft", "from=%016" PRIx64 " error=\"%s\"", from, e.text);
		return;
	}
	heard_from(m, from, &msg);
	if (m->halted) {
		member__halted_frame(m, from, &msg);
	} else {
		ASSERT(msg.kind < ARRAY_LEN(takers) && takers[msg.kind]); /* the decoder knows no other kinds */
		takers[msg.kind](m, from, &msg);
	}
	member__kick(m);
}
