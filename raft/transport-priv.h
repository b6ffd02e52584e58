/*
 * The inside of the transport (transport.h): transport.c is the whole, transport_out.c has the peers and the connections that are
 * dialled to them, transport_in.c those that others have dialled.
 */
#ifndef RAFT_TRANSPORT_PRIV_H
#define RAFT_TRANSPORT_PRIV_H

#include "base/list.h"
#include "io/stream.h"
#include "raft/hello-priv.h"
#include "raft/transport.h"

#define TRANSPORT_LISTEN_MAX 8
#define HELLO_TIMEOUT_MS 5000

enum out_state { OUT_IDLE, OUT_CONNECTING, OUT_HELLO, OUT_UP, OUT_WAITING };

/* A connection that this member dials and sends on. */
struct out {
	struct peer *peer;
	enum msg_channel channel;
	enum out_state state;
	struct stream *stream;
	struct stream_user user;
	struct stream_connect connect;
	size_t at; /* which of the peer's addresses, going round: the next one when this one does not answer */
	char address[KV_ADDR_MAX];
	struct loop_timer timer; /* back-off, or patience with the hello */
	unsigned backoff;
	struct buf in;
	struct buf frames; /* sent, and not yet given to the stream: one write and one TLS record carry many */
	uint64_t lost_at; /* the connection broke then: a refusal soon after tells of a crash; 0: told, or never up */
	char last_error[160];
};

struct peer {
	struct list link;
	struct transport *t;
	uint64_t id;
	char addr[KV_ADDR_MAX], name[KV_NAME_MAX]; /* raft/addrs.h */
	char known[KV_ADDR_MAX]; /* its address as the configuration has it; it may have said hello from another one */
	bool wanted; /* in the configuration; others are only answered */
	bool dead;   /* freed when its last connect request has come back */
	struct out out[MSG_N_CHANNELS];
	struct kv_peer_figures *figures; /* NULL: too many members have come and gone */
};

/* A connection that someone else dialled. */
struct in {
	struct list link;
	struct transport *t;
	struct stream *stream;
	struct stream_user user;
	struct loop_timer timer;
	struct buf buf;
	uint64_t id;   /* of this connection, for answers to a joiner */
	uint64_t from; /* 0 before the hello */
	struct kv_peer_figures *figures; /* as in struct peer */
	uint8_t channel;
	bool said_hello, joiner;
};

struct transport {
	struct transport_cfg cfg;
	char *name, *addr;
	struct listener *listeners[TRANSPORT_LISTEN_MAX];
	size_t n_listeners;
	struct listener_user listener_user;
	struct list peers, incoming;
	size_t n_incoming;
	uint64_t next_conn;
	bool closing;
	struct kv_figures figures;
	unsigned n_open; /* things that must come to an end before we may be freed */
	void (*closed)(void *arg);
};

/* transport.c: one of the things that are counted in n_open has come to its end; it may have been the last. */
void transport__release(struct transport *);
void transport__drop_stream(struct transport *, struct stream **);
/* They outlive connections and changes of address. NULL: too many members have come and gone. */
struct kv_peer_figures *transport__figures_of(struct transport *, uint64_t id);

/* transport_out.c */
struct peer *transport__find_peer(struct transport *, uint64_t id);
struct peer *transport__add_peer(struct transport *, uint64_t id, const char *addr, const char *name);
void transport__remove_peer(struct peer *);
/* It is there: no need to wait for the next attempt to reach it. NULL: nobody. */
void transport__dial_soon(struct peer *);
/*
 * A member that was started at another address can be reached there before the configuration says so; else it could never hear from the
 * leader that it has to tell.
 */
void transport__moved(struct transport *, const struct hello *);

/* transport_in.c */
void transport__on_stream(struct listener_user *, struct stream *);
void transport__in_close(struct in *);

#endif
