#include "orchestrator/apiserver/flow_drops.h"

#include <string.h>

#include "base/util.h"

/* More than twice the wait is never looked at. */
static void remember(struct flow_drops *d)
{
	int64_t span = MIN(2 * d->retry_s, (int64_t)FLOW_DROPS_MAX_S);
	size_t old = 0;

	if (d->n == FLOW_DROPS_MAX_S)
		old = 1;
	while (old < d->n && d->now_s - d->history[old].at_s > span)
		old++;
	memmove(d->history, d->history + old, (d->n - old) * sizeof(d->history[0]));
	d->n -= old;
	d->history[d->n].at_s = d->now_s;
	d->history[d->n++].count = d->count;
}

static void adjust(struct flow_drops *d, int64_t now)
{
	int64_t dropped = 0;

	for (size_t i = d->n; i-- > 0 && now - d->history[i].at_s <= d->retry_s;)
		dropped += d->history[i].at_s < now ? d->history[i].count : 0;
	if (now - d->raised_s >= d->retry_s && dropped >= 3 * d->retry_s) {
		d->retry_s = MIN(2 * d->retry_s, (int64_t)FLOW_DROPS_MAX_S);
		d->raised_s = now;
	} else if (dropped < d->retry_s && d->retry_s > 1) {
		d->retry_s--;
	}
}

unsigned flow_drops_add(struct flow_drops *d, int64_t now)
{
	if (d->retry_s == 0)
		d->retry_s = 1;
	if (d->count > 0 && now == d->now_s) {
		d->count++;
		return (unsigned)d->retry_s;
	}
	if (d->count > 0)
		remember(d);
	d->now_s = now;
	d->count = 1;
	adjust(d, now);
	return (unsigned)d->retry_s;
}
