/*
 * struct fair: fair queues of one priority level. Pure: it is told what comes and what is over, and says who is next; seats are counted
 * by its owner.
 *
 * Every request belongs to a flow, known by a hash. The hash deals it a hand of a few of the queues (shuffle sharding), and it goes into
 * the one of them with the fewest seats waiting: a loud flow fills its own hand, and any other flow has, nearly always, a
 * queue in its hand that the loud one has not. Among the queues service is by start-time fair queuing (Goyal, Vin and Cheng, 1996):
 * a queue's tag is the virtual time at which its next request may start; the smallest is next and moves on by what that request costs,
 * in seat-microseconds. The cost is guessed when it starts and put right when it is over.
 *
 *	if (!fair_put(f, &item, hash, seats)) ... the queue is full
 *	while ((it = fair_first(f)) && it->seats <= free) { fair_take(f, it); ... }
 *	fair_done(f, it, used_us);        of what was taken
 *	fair_drop(f, it);                 of what gave up waiting
 */
#ifndef ORCHESTRATOR_APISERVER_FAIR_H
#define ORCHESTRATOR_APISERVER_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"

/* What a request is thought to take until it is known. */
#define FAIR_GUESS_US 3000
#define FAIR_MAX_HAND 16

/* Embedded in what waits. All-zero memory is in no queue. */
struct fair_item {
	struct list link;
	uint64_t hash;
	unsigned seats;
	unsigned queue;  /* index; good while epoch is that of the queues */
	uint32_t epoch;  /* 0: was never in a queue */
	bool waiting;
};

struct fair_queue {
	struct heap_node node; /* in fair.busy by tag, while items wait */
	struct list items;
	unsigned n, seats; /* waiting */
	uint64_t tag;
};

struct fair {
	struct fair_queue *queues;
	unsigned n_queues, hand_size, queue_limit;
	struct heap busy;
	uint64_t now;        /* virtual time, never goes back */
	uint32_t epoch;      /* from 1; another after fair_resize */
	unsigned n, seats;   /* waiting in all queues */
};

/* n_queues from 1; hand_size from 1 to n_queues. */
void fair_init(struct fair *, unsigned n_queues, unsigned hand_size, unsigned queue_limit);
/* Nothing may wait. */
void fair_fini(struct fair *);
/* Other queues; what waits is dealt anew, in the order in which it would have been served. Nothing is lost. */
void fair_resize(struct fair *, unsigned n_queues, unsigned hand_size, unsigned queue_limit);

bool fair_put(struct fair *, struct fair_item *, uint64_t hash, unsigned seats);
/* Who is next, NULL: nobody waits. It stays where it is. */
struct fair_item *fair_first(const struct fair *);
/* It leaves its queue and starts. */
void fair_take(struct fair *, struct fair_item *);
/* One that was taken has ended after so long. Nothing for one that never waited. */
void fair_done(struct fair *, struct fair_item *, uint64_t used_us);
/* It leaves its queue without having been served. */
void fair_drop(struct fair *, struct fair_item *);
/* Queues in which something waits. */
unsigned fair_busy(const struct fair *);

/* `hand` different numbers below n for the hash, always the same ones. */
void fair_deal(uint64_t hash, unsigned n, unsigned hand, unsigned *ret);
/* A well-mixed hash of two strings that is the same in every process and on every machine. */
uint64_t fair_hash(const void *a, size_t n_a, const void *b, size_t n_b);

#endif
