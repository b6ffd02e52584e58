/*
 * struct spdy: the client's side of SPDY/3.1 as far as Kubernetes' streams need it: the client opens streams, each side sends
 * data and ends its direction.
 *
 * Container runtimes speak it next to WebSockets, and only it can say that stdin has ended when the runtime does not know
 * v5.channel.k8s.io. Header blocks that come in are not read (they carry nothing here), there is no flow control (the other
 * side has none either), and frames are bounded. Reference: SPDY Protocol Draft 3.1, sections 2.2, 2.6.
 *
 *	struct spdy *s = spdy_new(http_call_take_stream(call), &me->user);
 *	id = spdy_open(s, "streamtype", "stdin");
 *	spdy_send(s, id, bytes, false, NULL); ... spdy_send(s, id, STR_NULL, true, NULL);
 */
#ifndef IO_SPDY_H
#define IO_SPDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct spdy;
struct stream;
struct stream_write;

struct spdy_user {
	/* Bytes of a stream (borrowed); end: nothing more will come on it. */
	void (*on_data)(struct spdy_user *, uint32_t id, struct str bytes, bool end);
	/* The connection is over; why == NULL: in good order. Nothing follows. */
	void (*on_close)(struct spdy_user *, const struct err *why);
};

/* Owns the stream. */
struct spdy *spdy_new(struct stream *, struct spdy_user *);
/* A new stream with one header. */
uint32_t spdy_open(struct spdy *, const char *header, const char *value);
/* Copied. `w` may be NULL. */
void spdy_send(struct spdy *, uint32_t id, struct str bytes, bool end, struct stream_write *w);
/* Bytes sent that the kernel does not have yet. */
size_t spdy_queued(const struct spdy *);
/* Back-pressure: nothing comes while stopped. */
void spdy_read_stop(struct spdy *);
void spdy_read_start(struct spdy *);
/* Flushes for a moment; no callbacks but done of writes. */
void spdy_close(struct spdy *);

/* The incoming side alone, for tests: frames out of any pieces of bytes. */
struct spdy_frame {
	bool control;
	uint16_t type;   /* of a control frame */
	uint32_t id;     /* stream of a data frame */
	uint8_t flags;
	struct str data; /* payload of a control frame, or bytes of data */
};
/* 1: a frame, *bytes advanced; 0: more bytes are needed; negative: it is none, or larger than 16 MiB. */
int spdy_decode(struct str *bytes, struct spdy_frame *ret);

#endif
