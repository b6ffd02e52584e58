/*
 * The hello that opens a connection between members, shared by the transport (transport-priv.h) and join.c.
 *
 * Versions: the hello tells which version of the protocol its sender speaks, and only who speaks the same one is let in; anybody else is
 * refused with both numbers in the reason. So these bytes stay in every version: of a hello its size, the magic number and the version; of
 * an answer all that is in struct hello_answer. The rest of a hello, and all frames after it (raft/msg.h), may change with the version,
 * and only with it.
 */
#ifndef RAFT_HELLO_PRIV_H
#define RAFT_HELLO_PRIV_H

#include "io/stream.h"
#include "raft/transport.h"

#define HELLO_MAGIC 0x3150544bu /* "KTP1" */
#define HELLO_VERSION 2u
#define HELLO_MAX 4096
#define CHANNEL_JOIN 2 /* beside enum msg_channel: the sender is no member yet */
#define PEER_ORG "kontiki:peers"

struct hello {
	uint32_t version;
	uint64_t cluster_id, from, to;
	uint8_t channel;
	struct str name, addr;
};

struct hello_answer {
	uint32_t version; /* decoded ones: of who answered */
	bool ok;
	uint64_t cluster_id, member_id;
	struct str text;
};

void transport__encode_hello(struct buf *, const struct hello *);
void transport__encode_answer(struct buf *, const struct hello_answer *);
/* Size of the frame at the start: 0 not there yet, -1 not a hello. */
int64_t transport__hello_size(struct str bytes);
/* Of another version only the version is told. */
bool transport__decode_hello(struct str frame, struct hello *);
bool transport__decode_answer(struct str frame, struct hello_answer *);
/* Has it let us in? Else why not. */
int transport__let_in(const struct hello_answer *, struct err *);
int transport__check_version(uint32_t version, struct err *);
/* The certificate is a member's; plain streams pass: who wants TLS gives contexts. */
int transport__check_cert(struct stream *, const struct peer_trust *, struct err *);
/* TCP options for a connection between members; dead links are noticed after `dead_ms`. */
void transport__tune(struct stream *, unsigned dead_ms);

#endif
