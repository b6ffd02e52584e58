/*
 * struct transport: connections between members: mutual TLS, frames of raft/msg.h, one sending connection a peer and
 * channel. A member dials every other one; what it says goes out on the connection it dialled, what it hears comes in on
 * those the others dialled. The bulk channel is dialled when it is first used.
 *
 * A connection begins with a hello (protocol version, cluster id, ids of both ends, channel, name, address) and the
 * answer to it; a mismatch is answered with the reason and logged at both ends. The certificate must come from the
 * cluster's CA and name the organization kontiki:peers.
 *
 * Sending never blocks and never buffers past a budget: then it says no, and the member treats the frame as lost. A dead
 * link is noticed by TCP_USER_TIMEOUT within about two election timeouts, then dialled anew with a short back-off; when a
 * connection breaks it is dialled at once, and "refused" at that moment is told to the member (the peer's process is gone).
 *
 * Belongs to the raft loop.
 */
#ifndef RAFT_TRANSPORT_H
#define RAFT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"
#include "raft/kv.h"
#include "raft/msg.h"

struct transport;

/* Whose certificates are members' ones: kv_cfg's foreign_peers and peer_cns. */
struct peer_trust {
	bool foreign;
	const char *const *cns;
};

struct transport_cfg {
	struct loop *loop;
	const char *listen; /* "ip:port"; several with commas */
	struct tls_ctx *tls_server, *tls_client;
	struct peer_trust trust;
	uint64_t cluster_id, member_id;
	const char *name, *addr;
	unsigned election_ms;
	void *arg;
	/* A whole frame of member `from`. */
	void (*frame)(void *arg, uint64_t from, struct str frame);
	/* The connection on which this member sends to `peer` broke. */
	void (*lost)(void *arg, uint64_t peer, bool refused);
	/* The connection to `peer` is there: what waited may be sent. */
	void (*up)(void *arg, uint64_t peer);
	/* A frame of someone who is no member yet; answer with transport_reply(conn). */
	void (*join)(void *arg, uint64_t conn, struct str frame);
};

/* Opens the listener. cfg's strings are copied. */
int transport_new(const struct transport_cfg *, struct transport **ret, struct err *);
/* By member; looks at the connections' round trips, so ask once a second. */
void transport_figures(struct transport *, struct kv_figures *);
uint16_t transport_port(const struct transport *);
/* The members to be connected with; others that were are dropped. */
void transport_peers(struct transport *, const struct kv_member *, size_t n);
/* Copied; it goes out with others at the next transport_flush. */
bool transport_send(struct transport *, uint64_t to, enum msg_channel, struct str frame);
void transport_flush(struct transport *);
void transport_reply(struct transport *, uint64_t conn, struct str frame);
/* Closes everything; done is the last call, and frees. */
void transport_close(struct transport *, void (*done)(void *arg));

/*
 * Ask a running cluster for admission: tries the addresses in turn until one answers or the time is up. The request
 * carries the id the joiner has chosen. `done` runs once; cluster_id is 0 with an error.
 */
struct join {
	/* in */
	struct loop *loop;
	const char *const *addrs;
	size_t n_addrs;
	struct tls_ctx *tls;
	struct peer_trust trust;
	uint64_t member_id; /* what it proposes; in done, what it is */
	const char *name, *addr, *url, *zone;
	bool witness;
	bool again; /* it was the member of this name and address until its files were damaged */
	uint64_t timeout_ms;
	void (*done)(struct join *, uint64_t cluster_id, const struct err *);
	/* private */
	void *priv;
};
void join_start(struct join *);

#endif
