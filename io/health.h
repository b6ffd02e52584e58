/*
 * struct health: what is known of a server that is asked again and again whether it is well, and how long to wait for
 * its answer. Pure: the caller asks, and tells what happened and when (milliseconds of one monotonic clock).
 *
 * Patience adapts to the answers seen so far, as TCP's retransmission time-out does (RFC 6298): smoothed time plus
 * four times its deviation, within a floor and a ceiling. So a server near by that stops is found out in a quarter of
 * a second, and one that is merely slow, or on a busy machine, is not given up.
 *
 *	health_init(&h, 1000);
 *	ask, with health_patience(&h) as the time-out; then one of
 *	health_answered(&h, took_ms, status == 200);
 *	health_lost(&h);
 *	if (h.state == HEALTH_DEAD) ...
 */
#ifndef IO_HEALTH_H
#define IO_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum health_state { /* from the best to the worst to choose */
	HEALTH_READY,   /* answered: well */
	HEALTH_UNKNOWN, /* not asked yet */
	HEALTH_UNREADY, /* answered, but says itself that it cannot serve */
	HEALTH_DEAD,    /* did not answer in time, or refused */
};

/* An answer is waited for at least so long: more than a busy machine makes a process wait for its turn. */
#define HEALTH_FLOOR_MS 250
/* A server that says so many times in a row that it cannot serve should lose its connections to one that can. */
#define HEALTH_UNREADY_LIMIT 3
/* A server that is silent so many times in a row loses its connections even when there is no other one: it is gone, not busy. */
#define HEALTH_LOST_LIMIT 4

struct health {
	enum health_state state;
	unsigned n_unready, n_lost; /* in a row */
	uint64_t ceiling_ms;
	double smoothed, deviation; /* of answers, in ms */
	bool measured;
};

void health_init(struct health *, uint64_t ceiling_ms);
void health_answered(struct health *, double took_ms, bool ready);
void health_lost(struct health *);
/* How long to wait for the next answer. */
uint64_t health_patience(const struct health *);

#endif
