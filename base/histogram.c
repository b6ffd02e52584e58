#include "base/histogram.h"

#include <stdatomic.h>

#include "base/util.h"

void histogram_init(struct histogram *h, double first, unsigned n)
{
	ASSERT(n <= HISTOGRAM_MAX && first > 0);
	*h = (struct histogram){.first = first, .n = n};
}

double histogram_bound(const struct histogram *h, unsigned i)
{
	return h->first * (double)(1u << i);
}

void histogram_add(struct histogram *h, double seconds)
{
	unsigned i = 0;

	while (i < h->n && seconds > histogram_bound(h, i))
		i++;
	atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns, (uint64_t)(seconds * 1e9), memory_order_relaxed);
}

uint64_t histogram_upto(const struct histogram *h, unsigned i)
{
	uint64_t n = 0;

	for (unsigned k = 0; k <= i; k++)
		n += atomic_load_explicit(&h->counts[k], memory_order_relaxed);
	return n;
}

double histogram_sum(const struct histogram *h)
{
	return (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9;
}
