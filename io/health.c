#include "io/health.h"

#include "base/util.h"

void health_init(struct health *h, uint64_t ceiling_ms)
{
	*h = (struct health){.state = HEALTH_UNKNOWN, .ceiling_ms = ceiling_ms};
}

void health_answered(struct health *h, double took_ms, bool ready)
{
	double off = took_ms > h->smoothed ? took_ms - h->smoothed : h->smoothed - took_ms;

	if (!h->measured) {
		h->smoothed = took_ms;
		h->deviation = took_ms / 2;
	} else {
		h->deviation += (off - h->deviation) / 4;
		h->smoothed += (took_ms - h->smoothed) / 8;
	}
	h->measured = true;
	h->n_unready = ready ? 0 : h->n_unready + 1;
	h->n_lost = 0;
	h->state = ready ? HEALTH_READY : HEALTH_UNREADY;
}

void health_lost(struct health *h)
{
	/* What was measured on the old connection says nothing about a server that comes back. */
	h->measured = false;
	h->smoothed = h->deviation = 0;
	h->n_unready = 0;
	h->n_lost++;
	h->state = HEALTH_DEAD;
}

uint64_t health_patience(const struct health *h)
{
	/* The first question also has to connect and to shake hands, perhaps with a server that is just starting. */
	if (!h->measured)
		return h->ceiling_ms;
	return MIN(MAX((uint64_t)(h->smoothed + 4 * h->deviation), (uint64_t)HEALTH_FLOOR_MS), h->ceiling_ms);
}
