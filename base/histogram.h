/*
 * struct histogram: how often something took how long, in buckets whose upper bounds double, as Prometheus wants to be told.
 * Counting is two relaxed additions and may happen on any thread, as may reading; what is read is not one moment's.
 *
 *	histogram_init(&h, 0.001, 14);          1 ms, 2 ms, ... 8.192 s, and all above
 *	histogram_add(&h, seconds);
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_MAX 20

struct histogram {
	double first; /* the lowest bucket's upper bound, seconds */
	unsigned n;   /* buckets with a bound; one more has the rest */
	_Atomic uint64_t counts[HISTOGRAM_MAX + 1];
	_Atomic uint64_t sum_ns;
};

void histogram_init(struct histogram *, double first, unsigned n);
void histogram_add(struct histogram *, double seconds);
/* Bucket i's upper bound, i < n. */
double histogram_bound(const struct histogram *, unsigned i);
/* How many there were up to bucket i's bound; i == n: all. */
uint64_t histogram_upto(const struct histogram *, unsigned i);
double histogram_sum(const struct histogram *);

#endif
