/*
 * Join two streams: what comes on one goes out on the other, both ways, with back-pressure, until
 * both directions have ended or one breaks. For proxies: the balancer, and upgraded connections
 * (exec, attach, port-forward).
 *
 * The splice owns both streams from stream_splice on and closes them; `done` (may be NULL) is the
 * last call. Each direction holds at most SPLICE_WINDOW bytes more than the kernel takes.
 */
#ifndef IO_SPLICE_H
#define IO_SPLICE_H

#include <stdbool.h>
#include <stdint.h>

struct splice;
struct stream;

#define SPLICE_WINDOW (256u * 1024u)

/* Both streams must be on the current loop and not be read yet (bytes put back by stream_unread are
 * fine). */
struct splice *stream_splice(
	struct stream *a, struct stream *b, void (*done)(void *arg), void *arg);
/* Close both now; done follows. The handle is valid until done has run. */
void splice_close(struct splice *);
/* Called with splice's arg whenever bytes came: from_a, or from b. For those who want to know that a side lives. */
void splice_watch(struct splice *, void (*moved)(void *arg, bool from_a));

#endif
