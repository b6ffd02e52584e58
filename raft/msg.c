#include "raft/msg.h"

#include <stddef.h>
#include <string.h>

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

/*
 * The bodies, field by field in the order of the wire. The C type says how a field is written: bytes and truths as one byte, numbers
 * of 16 and 32 bits as four, of 64 as eight, a text as its length and its bytes. An append is not here: it has entries.
 */
enum field_type { FIELD_NONE, FIELD_U8, FIELD_BOOL, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_BYTES };

struct field {
	enum field_type type;
	size_t at; /* in struct msg */
};

#define F(member)                                                                                                                \
	{                                                                                                                        \
		_Generic(((struct msg *)NULL)->member, unsigned char: FIELD_U8, bool: FIELD_BOOL, unsigned short: FIELD_U16,      \
			 int: FIELD_U32, unsigned: FIELD_U32, int64_t: FIELD_U64, uint64_t: FIELD_U64,                           \
			 unsigned long long: FIELD_U64, struct str: FIELD_BYTES),                                                \
			offsetof(struct msg, member)                                                                             \
	}

static const struct field bodies[ARRAY_LEN(kinds)][10] = {
	[MSG_VOTE] = {F(vote.version), F(vote.term), F(vote.candidate_id), F(vote.last_log_index), F(vote.last_log_term),
		      F(vote.disrupt_leader), F(vote.pre_vote)},
	[MSG_VOTE_RESULT] = {F(vote_result.version), F(vote_result.term), F(vote_result.vote_granted), F(vote_result.pre_vote),
			     F(vote_result.features), F(vote_result.capacity)},
	[MSG_APPEND_RESULT] = {F(append_result.version), F(append_result.term), F(append_result.rejected),
			       F(append_result.last_log_index), F(append_result.features), F(append_result.capacity)},
	[MSG_TIMEOUT_NOW] = {F(timeout_now.version), F(timeout_now.term), F(timeout_now.last_log_index), F(timeout_now.last_log_term)},
	[MSG_PROBE] = {F(probe.term), F(probe.seq)},
	[MSG_PROBE_RESULT] = {F(probe.term), F(probe.seq)},
	[MSG_BARRIER] = {F(barrier.seq)},
	[MSG_BARRIER_RESULT] = {F(barrier_result.seq), F(barrier_result.index), F(barrier_result.ok)},
	[MSG_PROPOSE] = {F(propose.id), F(propose.timeout_ms), F(propose.command)},
	[MSG_PROPOSE_RESULT] = {F(propose_result.id), F(propose_result.status), F(propose_result.code), F(propose_result.revision),
				F(propose_result.index), F(propose_result.text), F(propose_result.result)},
	[MSG_ADMIN] = {F(admin.id), F(admin.target), F(admin.timeout_ms), F(admin.op), F(admin.flags), F(admin.name), F(admin.addr),
		       F(admin.url), F(admin.zone)},
	[MSG_ADMIN_RESULT] = {F(admin_result.id), F(admin_result.member), F(admin_result.status), F(admin_result.why),
			      F(admin_result.code), F(admin_result.text)},
	[MSG_REMOVED] = {F(removed.conf_index), F(removed.member)},
	[MSG_LEASE] = {F(lease.seq), F(lease.id), F(lease.renew)},
	[MSG_LEASE_RESULT] = {F(lease_result.seq), F(lease_result.left), F(lease_result.granted), F(lease_result.ok)},
	[MSG_HEALTH] = {F(health.alarms), F(health.forget_term), F(health.applied), F(health.hash), F(health.mark),
			F(health.mark_hash), F(health.last), F(health.store_bytes), F(health.store_used), F(health.wal_bytes)},
	[MSG_SNAP_BEGIN] = {F(snap_begin.id), F(snap_begin.term), F(snap_begin.index), F(snap_begin.index_term),
			    F(snap_begin.conf_index), F(snap_begin.conf)},
	[MSG_SNAP_CHUNK] = {F(snap_chunk.id), F(snap_chunk.n), F(snap_chunk.bytes)},
	[MSG_SNAP_ACK] = {F(snap_ack.id), F(snap_ack.next), F(snap_ack.failed), F(snap_ack.finished), F(snap_ack.begun)},
};
#undef F

static void encode_field(enum field_type type, const void *from, struct buf *out)
{
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (type) {
	case FIELD_NONE:
		break;
	case FIELD_U8:
	case FIELD_BOOL:
		add_u8(out, *(const unsigned char *)from);
		break;
	case FIELD_U16:
		memcpy(&u16, from, sizeof(u16));
		add_u32(out, u16);
		break;
	case FIELD_U32:
		memcpy(&u32, from, sizeof(u32));
		add_u32(out, u32);
		break;
	case FIELD_U64:
		memcpy(&u64, from, sizeof(u64));
		add_u64(out, u64);
		break;
	case FIELD_BYTES:
		add_bytes(out, *(const struct str *)from);
		break;
	}
}

static void decode_field(struct reader *r, enum field_type type, void *to)
{
	switch (type) {
	case FIELD_NONE:
		break;
	case FIELD_U8:
		*(unsigned char *)to = read_u8(r);
		break;
	case FIELD_BOOL:
		*(bool *)to = read_u8(r) != 0;
		break;
	case FIELD_U16:
		memcpy(to, &(uint16_t){(uint16_t)read_u32(r)}, sizeof(uint16_t));
		break;
	case FIELD_U32:
		memcpy(to, &(uint32_t){read_u32(r)}, sizeof(uint32_t));
		break;
	case FIELD_U64:
		memcpy(to, &(uint64_t){read_u64(r)}, sizeof(uint64_t));
		break;
	case FIELD_BYTES:
		*(struct str *)to = read_bytes(r);
		break;
	}
}

void msg_encode(const struct msg *m, struct buf *out)
{
	size_t start;

	if (m->kind == MSG_APPEND) {
		msg_append_begin(out, m, &start);
		msg_append_end(out, start, 0);
		return;
	}
	ASSERT(known(m->kind) && bodies[m->kind][0].type);
	start = frame_begin(out, m->kind);
	for (size_t i = 0; i < ARRAY_LEN(bodies[0]); i++)
		encode_field(bodies[m->kind][i].type, (const char *)m + bodies[m->kind][i].at, out);
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

static void decode_append(struct reader *r, struct msg *m)
{
	m->append.term = read_u64(r);
	m->append.prev_index = read_u64(r);
	m->append.prev_term = read_u64(r);
	m->append.commit = read_u64(r);
	m->append.n = read_u32(r);
	m->append.entries = str_of(r->p, r->n);
	r->bad = r->bad || !append_ok(m);
	r->n = 0;
}

static void decode_body(struct reader *r, struct msg *m)
{
	if (m->kind == MSG_APPEND)
		decode_append(r, m);
	else
		for (size_t i = 0; i < ARRAY_LEN(bodies[0]); i++)
			decode_field(r, bodies[m->kind][i].type, (char *)m + bodies[m->kind][i].at);
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
