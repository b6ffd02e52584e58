/*
 * Shared by the files of the load of kontiki chaos (chaos.h): clients, watches and probes, all on one loop, whose thread alone touches
 * the history until chaos_load_finish has returned.
 */
#ifndef CLI_CHAOS_LOAD_PRIV_H
#define CLI_CHAOS_LOAD_PRIV_H

#include <stdatomic.h>

#include "base/buf.h"
#include "cli/chaos.h"
#include "io/grpc.h"
#include "io/loop.h"
#include "proto/etcd_rpc.pb-c.h"

#define N_KEYS 12
#define N_WATCHES 3
#define CHAOS_CALL_MS 1000
#define KEYS_END ((ProtobufCBinaryData){1, (uint8_t *)"l"})

struct chaos_client {
	struct chaos_load *load;
	unsigned index;
	int node;
	struct grpc_channel *channel;
	struct grpc_call call;
	struct loop_timer timer;
	struct buf request;
	struct hist_call *asked;
	void (*answer)(struct chaos_client *, struct str);
	uint64_t began;
	bool busy, writes;
	int64_t mod[N_KEYS], lease;
};

struct chaos_watching {
	struct chaos_load *load;
	unsigned index;
	int node;
	struct grpc_channel *channel;
	struct grpc_call call;
	struct loop_timer timer;
	struct hist_watch *stream;
	int64_t next;
	bool active, final, done;
};

struct chaos_prober {
	struct chaos_load *load;
	int node;
	struct grpc_call call;
	struct loop_timer timer;
	bool busy;
};

struct chaos_load {
	struct chaos *c;
	struct loop *loop;
	struct history *h;
	struct grpc_channel *channels[CHAOS_NODES_MAX][2]; /* for calls; for watches and probes */
	struct chaos_client *clients;
	size_t n_clients;
	struct chaos_watching watchings[N_WATCHES + CHAOS_NODES_MAX];
	struct chaos_prober probers[CHAOS_NODES_MAX];
	struct chaos_sample *samples;
	size_t n_samples, cap_samples;
	struct chaos_lead *leads;
	size_t n_leads, cap_leads;
	uint64_t next_value, next_lease;
	int64_t last_revision; /* of the last put; 0: not yet */
	atomic_ullong n_ok;
	atomic_bool caught_up;
	bool stopping, closing;
	struct loop_msg stop_msg, close_msg, side_msg;
	struct {
		struct grpc_call call;
		int node;
		struct buf request, answer;
		struct err err;
		atomic_bool done;
	} side; /* a call of the faults' thread */
	struct loop_timer settle;
};

static inline uint64_t chaos__now(const struct chaos_load *l)
{
	return chaos_now(l->c);
}

static inline void *chaos__unpack(const ProtobufCMessageDescriptor *d, struct str s)
{
	return protobuf_c_message_unpack(d, NULL, s.n, (const uint8_t *)s.p);
}

/* chaos_client.c: client number i begins, and goes on by itself until the load stops. */
void chaos__client_start(struct chaos_client *, struct chaos_load *, unsigned i);
/* One more write, of a client that has nothing out. */
void chaos__client_put(struct chaos_client *);

/*
 * chaos_watch.c: watch number i; one of the first N_WATCHES begins at once and moves from member to member, those behind them stay at
 * one member each and are opened at the end. Probes, too, go on until the load closes.
 */
void chaos__watch_start(struct chaos_watching *, struct chaos_load *, unsigned i);
void chaos__watch_open(struct chaos_watching *);
void chaos__probe_start(struct chaos_prober *, struct chaos_load *, int node);

/* chaos_load.c: something has ended, or has been told, after the load was told to stop. */
void chaos__finish_if_idle(struct chaos_load *);
void chaos__check_caught_up(struct chaos_load *);

#endif
