/*
 * struct gather: when a batch of writes should wait for more of them.
 *
 * Clients that were just answered are likely to write again at once. Were the next batch to leave with what came while the last
 * one was under way, they would wait for a whole batch more, and there would be twice as many batches, half as large: a frame, a
 * write, a sync and some wake-ups for each, on every member. So the next one waits until nearly all of those that were
 * answered have come back, though at most twice as long as the last one took: with less patience the clients of a busy
 * machine, whose writes come through a follower that waits as well, do not make it in time.
 *
 * Where they do not come back in time, waiting is given up for some batches; for more of them each time.
 *
 *	gather_answered(g, now)         for each answer
 *	gather_arrived(g)               for each new write
 *	if (!gather_holds(g, now)) { send the batch; gather_left(g, now); }      else look again at g->until at the latest
 *
 * Pure; milliseconds of any clock.
 */
#ifndef RAFT_GATHER_H
#define RAFT_GATHER_H

#include <stdbool.h>
#include <stdint.h>

/* So many must have been answered: few are not worth the wait. */
#define GATHER_MIN 4
/* The longest wait. */
#define GATHER_MAX_MS 16

struct gather {
	unsigned expected;     /* answered since the last batch left */
	unsigned arrived;      /* writes that came since the first of those answers */
	uint64_t left_at;      /* the last batch left then */
	uint64_t until;        /* wait no longer; UINT64_MAX: nothing waits */
	unsigned skip, give_up; /* do not wait for so many batches; the next time, for that many */
};

void gather_init(struct gather *);
void gather_answered(struct gather *, uint64_t now);
void gather_arrived(struct gather *);
bool gather_holds(struct gather *, uint64_t now);
void gather_left(struct gather *, uint64_t now);

#endif
