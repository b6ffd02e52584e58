/*
 * struct h2_unary: unary gRPC calls over one HTTP/2 connection, as cheap as they can be made, so that a load takes little of the
 * processors from what it measures. For servers that are trusted to be well: what a server may do but none does (CONTINUATION,
 * padding, a smaller table of headers) ends the program with a word.
 *
 * Requests are what a client of gRPC sends: names and values of headers go into the compression's table once and are numbers
 * from then on. Answers are read as far as they must be: header blocks that were seen before, and mean the same, are not unpacked again; a message
 * is checked for its length only.
 *
 *	struct h2_unary *h = h2_unary_new(loop, "127.0.0.1:2379", NULL);
 *	call.method = "/etcdserverpb.KV/Put"; call.done = on_done;
 *	h2_unary_start(h, &call, message);                   done comes later, with call.code; it may start the next one
 *
 * A broken connection fails its calls (GRPC_UNAVAILABLE) and is made anew; calls wait until it is there.
 */
#ifndef TESTS_BENCH_H2_UNARY_H
#define TESTS_BENCH_H2_UNARY_H

#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"

struct loop;
struct tls_ctx;
struct h2_unary;

/* The largest message: one frame. */
#define H2_UNARY_MAX 16000

struct h2_unary_call {
	const char *method; /* one of a few, the same pointer each time */
	void (*done)(struct h2_unary_call *);
	int code; /* enum grpc_code */

	/* The connection's. */
	struct list link;
	uint32_t stream;
	uint64_t got, want; /* bytes of the answer; want: 0 until its length is known */
	char head[5];
	struct buf waiting;
};

struct h2_unary *h2_unary_new(struct loop *, const char *address, struct tls_ctx *tls);
void h2_unary_start(struct h2_unary *, struct h2_unary_call *, struct str message);

#endif
