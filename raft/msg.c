#include "raft/msg.h"

#include "base/util.h"
#include "raft/bytes.h"

static const struct {
	const char *name;
	enum msg_channel channel;
} kinds[] = {
#define MSG(name, number, channel) [number] = {#name, MSG_CHANNEL_##channel},
#include "raft/msg.def"
#undef MSG
};

static bool known(unsigned kind)
{
	return kind < ARRAY_LEN(kinds) && kinds[kind].name;
}

enum msg_channel msg_channel_of(enum msg_kind kind)
{
	return known(kind) ? kinds[kind].channel : MSG_CHANNEL_MAIN;
}

const char *msg_kind_name(enum msg_kind kind)
{
	return known(kind) ? kinds[kind].name : "?";
}

static size_t frame_begin(struct buf *out, enum msg_kind kind)
{
	size_t start = out->n;

	add_u32(out, 0);
	add_u32(out, (uint32_t)kind);
	return start;
}

static void frame_end(struct buf *out, size_t start)
{
	put_u32(out->p + start, (uint32_t)(out->n - start - MSG_HEAD));
}

void msg_append_begin(struct buf *out, const struct msg *m, size_t *ret_start)
{
	*ret_start = frame_begin(out, MSG_APPEND);
	add_u64(out, m->append.term);
	add_u64(out, m->append.prev_index);
	add_u64(out, m->append.prev_term);
	add_u64(out, m->append.commit);
	add_u32(out, 0);
}

void msg_append_entry(struct buf *out, const struct msg_entry *e)
{
	add_u64(out, e->term);
	add_u8(out, e->type);
	add_bytes(out, e->data);
}

void msg_append_end(struct buf *out, size_t start, uint32_t n)
{
	put_u32(out->p + start + MSG_HEAD + 32, n);
	frame_end(out, start);
}

static void encode_vote(const struct raft_request_vote *v, struct buf *out)
{
	add_u8(out, v->version);
	add_u64(out, v->term);
	add_u64(out, v->candidate_id);
	add_u64(out, v->last_log_index);
	add_u64(out, v->last_log_term);
	add_u8(out, v->disrupt_leader);
	add_u8(out, v->pre_vote);
}

static void decode_vote(struct reader *r, struct raft_request_vote *v)
{
	v->version = read_u8(r);
	v->term = read_u64(r);
	v->candidate_id = read_u64(r);
	v->last_log_index = read_u64(r);
	v->last_log_term = read_u64(r);
	v->disrupt_leader = read_u8(r) != 0;
	v->pre_vote = read_u8(r) != 0;
}

static void encode_results(const struct msg *m, struct buf *out)
{
	if (m->kind == MSG_VOTE_RESULT) {
		add_u8(out, m->vote_result.version);
		add_u64(out, m->vote_result.term);
		add_u8(out, m->vote_result.vote_granted);
		add_u8(out, m->vote_result.pre_vote);
		add_u32(out, m->vote_result.features);
		add_u32(out, m->vote_result.capacity);
	} else {
		add_u8(out, m->append_result.version);
		add_u64(out, m->append_result.term);
		add_u64(out, m->append_result.rejected);
		add_u64(out, m->append_result.last_log_index);
		add_u32(out, m->append_result.features);
		add_u32(out, m->append_result.capacity);
	}
}

static void decode_results(struct reader *r, struct msg *m)
{
	if (m->kind == MSG_VOTE_RESULT) {
		m->vote_result.version = read_u8(r);
		m->vote_result.term = read_u64(r);
		m->vote_result.vote_granted = read_u8(r) != 0;
		m->vote_result.pre_vote = read_u8(r) != 0;
		m->vote_result.features = (unsigned short)read_u32(r);
		m->vote_result.capacity = (unsigned short)read_u32(r);
	} else {
		m->append_result.version = read_u8(r);
		m->append_result.term = read_u64(r);
		m->append_result.rejected = read_u64(r);
		m->append_result.last_log_index = read_u64(r);
		m->append_result.features = (unsigned short)read_u32(r);
		m->append_result.capacity = (unsigned short)read_u32(r);
	}
}

static void encode_requests(const struct msg *m, struct buf *out)
{
	switch (m->kind) {
	case MSG_PROPOSE:
		add_u64(out, m->propose.id);
		add_u32(out, m->propose.timeout_ms);
		add_bytes(out, m->propose.command);
		break;
	case MSG_PROPOSE_RESULT:
		add_u64(out, m->propose_result.id);
		add_u8(out, m->propose_result.status);
		add_u32(out, (uint32_t)m->propose_result.code);
		add_u64(out, m->propose_result.revision);
		add_u64(out, m->propose_result.index);
		add_bytes(out, m->propose_result.text);
		add_bytes(out, m->propose_result.result);
		break;
	case MSG_ADMIN:
		add_u64(out, m->admin.id);
		add_u64(out, m->admin.target);
		add_u32(out, m->admin.timeout_ms);
		add_u8(out, m->admin.op);
		add_u8(out, m->admin.flags);
		add_bytes(out, m->admin.name);
		add_bytes(out, m->admin.addr);
		add_bytes(out, m->admin.url);
		add_bytes(out, m->admin.zone);
		break;
	default:
		add_u64(out, m->admin_result.id);
		add_u64(out, m->admin_result.member);
		add_u8(out, m->admin_result.status);
		add_u8(out, m->admin_result.why);
		add_u32(out, (uint32_t)m->admin_result.code);
		add_bytes(out, m->admin_result.text);
		break;
	}
}

static void decode_requests(struct reader *r, struct msg *m)
{
	switch (m->kind) {
	case MSG_PROPOSE:
		m->propose.id = read_u64(r);
		m->propose.timeout_ms = read_u32(r);
		m->propose.command = read_bytes(r);
		break;
	case MSG_PROPOSE_RESULT:
		m->propose_result.id = read_u64(r);
		m->propose_result.status = read_u8(r);
		m->propose_result.code = (int)read_u32(r);
		m->propose_result.revision = read_u64(r);
		m->propose_result.index = read_u64(r);
		m->propose_result.text = read_bytes(r);
		m->propose_result.result = read_bytes(r);
		break;
	case MSG_ADMIN:
		m->admin.id = read_u64(r);
		m->admin.target = read_u64(r);
		m->admin.timeout_ms = read_u32(r);
		m->admin.op = read_u8(r);
		m->admin.flags = read_u8(r);
		m->admin.name = read_bytes(r);
		m->admin.addr = read_bytes(r);
		m->admin.url = read_bytes(r);
		m->admin.zone = read_bytes(r);
		break;
	default:
		m->admin_result.id = read_u64(r);
		m->admin_result.member = read_u64(r);
		m->admin_result.status = read_u8(r);
		m->admin_result.why = read_u8(r);
		m->admin_result.code = (int)read_u32(r);
		m->admin_result.text = read_bytes(r);
		break;
	}
}

static void encode_snap(const struct msg *m, struct buf *out)
{
	switch (m->kind) {
	case MSG_SNAP_BEGIN:
		add_u64(out, m->snap_begin.id);
		add_u64(out, m->snap_begin.term);
		add_u64(out, m->snap_begin.index);
		add_u64(out, m->snap_begin.index_term);
		add_u64(out, m->snap_begin.conf_index);
		add_bytes(out, m->snap_begin.conf);
		break;
	case MSG_SNAP_CHUNK:
		add_u64(out, m->snap_chunk.id);
		add_u64(out, m->snap_chunk.n);
		add_bytes(out, m->snap_chunk.bytes);
		break;
	default:
		add_u64(out, m->snap_ack.id);
		add_u64(out, m->snap_ack.next);
		add_u8(out, m->snap_ack.failed);
		add_u8(out, m->snap_ack.finished);
		add_u8(out, m->snap_ack.begun);
		break;
	}
}

static void decode_snap(struct reader *r, struct msg *m)
{
	switch (m->kind) {
	case MSG_SNAP_BEGIN:
		m->snap_begin.id = read_u64(r);
		m->snap_begin.term = read_u64(r);
		m->snap_begin.index = read_u64(r);
		m->snap_begin.index_term = read_u64(r);
		m->snap_begin.conf_index = read_u64(r);
		m->snap_begin.conf = read_bytes(r);
		break;
	case MSG_SNAP_CHUNK:
		m->snap_chunk.id = read_u64(r);
		m->snap_chunk.n = read_u64(r);
		m->snap_chunk.bytes = read_bytes(r);
		break;
	default:
		m->snap_ack.id = read_u64(r);
		m->snap_ack.next = read_u64(r);
		m->snap_ack.failed = read_u8(r) != 0;
		m->snap_ack.finished = read_u8(r) != 0;
		m->snap_ack.begun = read_u8(r) != 0;
		break;
	}
}

static void encode_health(const struct msg_health *h, struct buf *out)
{
	add_u8(out, h->alarms);
	add_u64(out, h->forget_term);
	add_u64(out, h->applied);
	add_u64(out, h->hash);
	add_u64(out, h->mark);
	add_u64(out, h->mark_hash);
	add_u64(out, h->last);
	add_u64(out, h->store_bytes);
	add_u64(out, h->store_used);
	add_u64(out, h->wal_bytes);
}

static void decode_health(struct reader *r, struct msg_health *h)
{
	h->alarms = read_u8(r);
	h->forget_term = read_u64(r);
	h->applied = read_u64(r);
	h->hash = read_u64(r);
	h->mark = read_u64(r);
	h->mark_hash = read_u64(r);
	h->last = read_u64(r);
	h->store_bytes = read_u64(r);
	h->store_used = read_u64(r);
	h->wal_bytes = read_u64(r);
}

void msg_encode(const struct msg *m, struct buf *out)
{
	size_t start;

	if (m->kind == MSG_APPEND) {
		msg_append_begin(out, m, &start);
		msg_append_end(out, start, 0);
		return;
	}
	start = frame_begin(out, m->kind);
	switch (m->kind) {
	case MSG_VOTE:
		encode_vote(&m->vote, out);
		break;
	case MSG_VOTE_RESULT:
	case MSG_APPEND_RESULT:
		encode_results(m, out);
		break;
	case MSG_TIMEOUT_NOW:
		add_u8(out, m->timeout_now.version);
		add_u64(out, m->timeout_now.term);
		add_u64(out, m->timeout_now.last_log_index);
		add_u64(out, m->timeout_now.last_log_term);
		break;
	case MSG_PROBE:
	case MSG_PROBE_RESULT:
		add_u64(out, m->probe.term);
		add_u64(out, m->probe.seq);
		break;
	case MSG_BARRIER:
		add_u64(out, m->barrier.seq);
		break;
	case MSG_BARRIER_RESULT:
		add_u64(out, m->barrier_result.seq);
		add_u64(out, m->barrier_result.index);
		add_u8(out, m->barrier_result.ok);
		break;
	case MSG_LEASE:
		add_u64(out, m->lease.seq);
		add_u64(out, (uint64_t)m->lease.id);
		add_u8(out, m->lease.renew);
		break;
	case MSG_LEASE_RESULT:
		add_u64(out, m->lease_result.seq);
		add_u64(out, (uint64_t)m->lease_result.left);
		add_u64(out, (uint64_t)m->lease_result.granted);
		add_u8(out, m->lease_result.ok);
		break;
	case MSG_REMOVED:
		add_u64(out, m->removed.conf_index);
		add_u64(out, m->removed.member);
		break;
	case MSG_HEALTH:
		encode_health(&m->health, out);
		break;
	case MSG_SNAP_BEGIN:
	case MSG_SNAP_CHUNK:
	case MSG_SNAP_ACK:
		encode_snap(m, out);
		break;
	default:
		encode_requests(m, out);
		break;
	}
	frame_end(out, start);
}

int64_t msg_frame_size(struct str bytes)
{
	uint32_t size;

	if (bytes.n < MSG_HEAD)
		return 0;
	size = get_u32(bytes.p);
	if (size > MSG_MAX || get_u32(bytes.p + 4) > UINT8_MAX || !known(get_u32(bytes.p + 4)))
		return -1;
	return (int64_t)size + MSG_HEAD;
}

static bool read_entry(struct reader *r, struct msg_entry *e)
{
	e->term = read_u64(r);
	e->type = read_u8(r);
	e->data = read_bytes(r);
	return reader_ok(r, false);
}

bool msg_entry_next(struct str *entries, struct msg_entry *ret)
{
	struct reader r = reader_of(*entries);

	if (entries->n == 0)
		return false;
	ASSERT(read_entry(&r, ret));
	*entries = str_of(r.p, r.n);
	return true;
}

/* The core's decoder trusts the bytes of a configuration: version, count, and for each server id, text and role. */
bool msg_conf_ok(struct str conf)
{
	struct reader r = reader_of(conf);
	uint8_t version = read_u8(&r);
	uint64_t n = read_u64(&r);

	if (version != 1 || n == 0 || n > 1024)
		return false;
	for (uint64_t i = 0; i < n && !r.bad; i++) {
		const char *end;

		if (read_u64(&r) == 0)
			return false;
		end = r.bad || r.n == 0 ? NULL : memchr(r.p, '\0', r.n);
		if (!end)
			return false;
		read_raw(&r, (size_t)(end - r.p) + 1);
		if (read_u8(&r) > RAFT_SPARE)
			return false;
	}
	return reader_ok(&r, false);
}

/* Terms never fall within a log, and an entry has one of three types. */
static bool append_ok(const struct msg *m)
{
	struct reader r = reader_of(m->append.entries);
	uint64_t term = m->append.prev_term;
	struct msg_entry e;

	if (m->append.n > MSG_MAX_ENTRIES || (m->append.prev_index == 0) != (m->append.prev_term == 0))
		return false;
	for (uint32_t i = 0; i < m->append.n; i++) {
		if (!read_entry(&r, &e) || e.term == 0 || e.term < term || e.term > m->append.term || e.type < RAFT_COMMAND ||
		    e.type > RAFT_CHANGE || (e.type == RAFT_CHANGE && !msg_conf_ok(e.data)))
			return false;
		term = e.term;
	}
	return reader_ok(&r, true);
}

static void decode_body(struct reader *r, struct msg *m)
{
	switch (m->kind) {
	case MSG_VOTE:
		decode_vote(r, &m->vote);
		break;
	case MSG_VOTE_RESULT:
	case MSG_APPEND_RESULT:
		decode_results(r, m);
		break;
	case MSG_APPEND:
		m->append.term = read_u64(r);
		m->append.prev_index = read_u64(r);
		m->append.prev_term = read_u64(r);
		m->append.commit = read_u64(r);
		m->append.n = read_u32(r);
		m->append.entries = str_of(r->p, r->n);
		r->bad = r->bad || !append_ok(m);
		r->n = 0;
		break;
	case MSG_TIMEOUT_NOW:
		m->timeout_now.version = read_u8(r);
		m->timeout_now.term = read_u64(r);
		m->timeout_now.last_log_index = read_u64(r);
		m->timeout_now.last_log_term = read_u64(r);
		break;
	case MSG_PROBE:
	case MSG_PROBE_RESULT:
		m->probe.term = read_u64(r);
		m->probe.seq = read_u64(r);
		break;
	case MSG_BARRIER:
		m->barrier.seq = read_u64(r);
		break;
	case MSG_BARRIER_RESULT:
		m->barrier_result.seq = read_u64(r);
		m->barrier_result.index = read_u64(r);
		m->barrier_result.ok = read_u8(r) != 0;
		break;
	case MSG_LEASE:
		m->lease.seq = read_u64(r);
		m->lease.id = (int64_t)read_u64(r);
		m->lease.renew = read_u8(r) != 0;
		break;
	case MSG_LEASE_RESULT:
		m->lease_result.seq = read_u64(r);
		m->lease_result.left = (int64_t)read_u64(r);
		m->lease_result.granted = (int64_t)read_u64(r);
		m->lease_result.ok = read_u8(r) != 0;
		break;
	case MSG_REMOVED:
		m->removed.conf_index = read_u64(r);
		m->removed.member = read_u64(r);
		break;
	case MSG_HEALTH:
		decode_health(r, &m->health);
		break;
	case MSG_SNAP_BEGIN:
	case MSG_SNAP_CHUNK:
	case MSG_SNAP_ACK:
		decode_snap(r, m);
		break;
	default:
		decode_requests(r, m);
		break;
	}
}

int msg_decode(struct str frame, struct msg *ret, struct err *e)
{
	struct reader r;
	int64_t size = msg_frame_size(frame);

	if (size <= 0 || (size_t)size != frame.n)
		return err_set(e, ERR_PROTOCOL, "a frame between members has an impossible head");
	*ret = (struct msg){.kind = (enum msg_kind)get_u32(frame.p + 4)};
	r = reader_of(str_skip(frame, MSG_HEAD));
	decode_body(&r, ret);
	if (!reader_ok(&r, true) || (ret->kind == MSG_SNAP_BEGIN && !msg_conf_ok(ret->snap_begin.conf)))
		return err_set(e, ERR_PROTOCOL, "a malformed %s message between members", msg_kind_name(ret->kind));
	return 0;
}
