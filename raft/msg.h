/*
 * Messages between members, and their bytes. A frame is a size (u32), a kind (u8), three zero bytes and a body of that
 * size; numbers are little-endian. Decoding trusts nothing: a frame is either taken whole or refused. What a decoded
 * message borrows lives as long as the bytes.
 *
 * A message is best effort: it may be lost, repeated or late. Each says for itself what it needs to be safe then.
 */
#ifndef RAFT_MSG_H
#define RAFT_MSG_H

#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define MSG_HEAD 8
/* The largest body: an append or a proposal with one command of KV_MAX_COMMAND, or a snapshot chunk, and some. */
#define MSG_MAX (8u << 20)
/* Entries in one append. */
#define MSG_MAX_ENTRIES 4096

enum msg_channel { MSG_CHANNEL_MAIN, MSG_CHANNEL_BULK, MSG_N_CHANNELS };

enum msg_kind {
#define MSG(name, number, channel) MSG_##name = number,
#include "raft/msg.def"
#undef MSG
};

struct msg_entry {
	uint64_t term;
	uint8_t type; /* enum raft_entry_type */
	struct str data;
};

/* What happened to a forwarded request. */
enum msg_status {
	MSG_DONE,       /* answered: code, text, bytes */
	MSG_NOT_TAKEN,  /* refused before anything happened: it may be sent again, elsewhere */
	MSG_UNKNOWN,    /* taken, and then leadership was lost */
};

struct msg {
	enum msg_kind kind;
	union {
		struct raft_request_vote vote;
		struct raft_request_vote_result vote_result;
		struct {
			uint64_t term, prev_index, prev_term, commit;
			uint32_t n;
			struct str entries; /* encoded; msg_entry_next takes them apart */
		} append;
		struct raft_append_entries_result append_result;
		struct raft_timeout_now timeout_now;
		/* ReadIndex: "is T still your term?", and the answer: the receiver's term. */
		struct {
			uint64_t term, seq;
		} probe;
		struct {
			uint64_t seq;
		} barrier;
		struct {
			uint64_t seq, index;
			bool ok;
		} barrier_result;
		/* How long does the lease live, and let it begin anew? */
		struct {
			uint64_t seq;
			int64_t id;
			bool renew;
		} lease;
		struct {
			uint64_t seq;
			bool ok; /* false: this is not the leader */
			int64_t left, granted; /* seconds; -1, 0: no such lease */
		} lease_result;
		struct {
			uint64_t id;
			uint32_t timeout_ms;
			struct str command;
		} propose;
		struct {
			uint64_t id;
			uint8_t status; /* enum msg_status */
			int code;
			uint64_t revision, index;
			struct str text, result;
		} propose_result;
		struct {
			uint64_t id, target;
			uint32_t timeout_ms;
			uint8_t op, flags; /* enum member_admin_op, MEMBER_FLAG_... */
			struct str name, addr, url, zone;
		} admin;
		struct {
			uint64_t id, member;
			uint8_t status, why; /* enum msg_status, enum kv_why */
			int code;
			struct str text;
		} admin_result;
		struct msg_health {
			uint8_t alarms; /* enum kv_alarm */
			uint64_t forget_term; /* it does not vote until it has an entry of a later term; 0: it votes */
			uint64_t applied, hash, mark, mark_hash; /* two indexes with their rolling hashes */
			uint64_t last;
			uint64_t store_bytes, store_used, wal_bytes;
		} health;
		struct {
			uint64_t conf_index, member; /* the log index of a configuration without it */
		} removed;
		struct {
			uint64_t id, term, index, index_term, conf_index;
			struct str conf;
		} snap_begin;
		struct {
			uint64_t id, n;
			struct str bytes;
		} snap_chunk;
		struct {
			uint64_t id, next;
			bool failed, finished;
			bool begun; /* just now: it has nothing of this snapshot yet, whatever it said before */
		} snap_ack;
	};
};

/* Append the frame to *out. For an append with entries use msg_append_begin/entry/end instead. */
void msg_encode(const struct msg *, struct buf *out);
void msg_append_begin(struct buf *out, const struct msg *head, size_t *ret_start);
void msg_append_entry(struct buf *out, const struct msg_entry *);
void msg_append_end(struct buf *out, size_t start, uint32_t n);

/* Size of the whole frame at the start of the bytes: 0 when the head is not there yet; -1 when it cannot be one. */
int64_t msg_frame_size(struct str bytes);
/* Decode one whole frame. */
int msg_decode(struct str frame, struct msg *ret, struct err *);
/* Take the next entry off *entries; false at the end (all were checked by msg_decode). */
bool msg_entry_next(struct str *entries, struct msg_entry *ret);

/* The bytes are a configuration as the core encodes it. */
bool msg_conf_ok(struct str conf);

enum msg_channel msg_channel_of(enum msg_kind);
const char *msg_kind_name(enum msg_kind);

#endif
