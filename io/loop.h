/*
 * struct loop: an event loop, one a thread, over libuv; and the ways to reach it.
 *
 * Loops share nothing mutable: another thread talks to a loop by posting a message that its owner
 * embeds. Anything libuv offers may be used directly on loop_uv(). Timers here are cheaper than
 * uv_timer_t: they need no close callback, so their memory may go as soon as they are stopped.
 *
 * Threads: loop_post and loop_stop may be called from any thread; all else only on the loop's own
 * thread (before loop_run has begun, the thread that made the loop counts as its own).
 *
 *	struct loop *l = loop_new("serve/0");
 *	loop_timer_start(&t, l, 100, on_tick);
 *	loop_run(l);                               until loop_stop(l)
 *	loop_free(l);
 *
 * or, on a thread of its own: loop_thread_start(l); ... loop_stop(l); loop_thread_join(l);
 * loop_free(l).
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"

struct loop;
struct uv_loop_s;

/* The name shows in logs and as the thread's name (cut at 15 bytes there). The first loop makes the
 * process ignore SIGPIPE. */
struct loop *loop_new(const char *name);
/* Run callbacks until loop_stop. May be called again afterwards. */
void loop_run(struct loop *);
/* One turn: wait at most `timeout_ms` for something to happen (0: do not wait). For tests. */
void loop_turn(struct loop *, unsigned timeout_ms);
/* Any thread: loop_run returns after the callbacks of this turn. Messages posted before it are
 * still run. */
void loop_stop(struct loop *);
/* Not while it runs. Handles still open are given a moment to close; what stays open is logged and
 * leaks. */
void loop_free(struct loop *);

/* A thread that runs the loop. */
void loop_thread_start(struct loop *);
void loop_thread_join(struct loop *);

/* A uv_loop_t; include <uv.h> to use it. */
struct uv_loop_s *loop_uv(struct loop *);
const char *loop_name(const struct loop *);
/* The loop that this thread runs now, or NULL. */
struct loop *loop_current(void);
/* True when the caller may touch things that belong to the loop. */
bool loop_is_current(const struct loop *);

/* A message to a loop: embedded in a request; `run` is set by who posts. It may not be posted again
 * before it has run. */
struct loop_msg {
	struct loop_msg *next; /* the loop's */
	void (*run)(struct loop_msg *);
};
/* Any thread, this loop's own too: `run` is called on the loop, in a later callback, in the order
 * of posting. */
void loop_post(struct loop *, struct loop_msg *);
/*
 * The same, but on a loop's thread the other loop is woken only when the caller's callbacks of this turn are done, or by
 * loop_wake_posted: so it finds all that they post at once, instead of running for each. For requests and answers that come in
 * numbers. Who waits for an answer without returning to the loop must call loop_wake_posted first.
 */
void loop_post_lazily(struct loop *, struct loop_msg *);
void loop_wake_posted(void);

/*
 * Timers. All-zero memory is a stopped timer. The callback runs once for each start; the timer is
 * stopped by then and may be started again or freed in it. 0 ms means the next turn (in order of
 * starting), never inside the call.
 */
struct loop_timer {
	struct heap_node node;
	struct list link;
	struct loop *loop; /* NULL while stopped */
	void (*cb)(struct loop_timer *);
};
/* A timer that runs already is started anew. */
void loop_timer_start(
	struct loop_timer *, struct loop *, uint64_t ms, void (*cb)(struct loop_timer *));
/* A stopped timer is left alone. */
void loop_timer_stop(struct loop_timer *);
static inline bool loop_timer_active(const struct loop_timer *t)
{
	return t->loop != NULL;
}

/*
 * Memory that uv alloc callbacks may lend for one read: LOOP_SCRATCH_SIZE bytes, one block a loop.
 * The bytes are only good until the read callback returns.
 */
#define LOOP_SCRATCH_SIZE 65536
char *loop_scratch(struct loop *);

#endif
