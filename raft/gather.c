#include "raft/gather.h"

#include "base/util.h"

#define GIVE_UP_MIN 8u
#define GIVE_UP_MAX 64u

void gather_init(struct gather *g)
{
	*g = (struct gather){.until = UINT64_MAX, .give_up = GIVE_UP_MIN};
}

void gather_answered(struct gather *g, uint64_t now)
{
	if (g->expected++ > 0)
		return;
	/* The clock's last millisecond may be nearly over. */
	g->until = now + MIN(2 * (now - g->left_at) + 1, GATHER_MAX_MS - 1) + 1;
	g->arrived = 0;
}

void gather_arrived(struct gather *g)
{
	g->arrived++;
}

bool gather_holds(struct gather *g, uint64_t now)
{
	if (g->expected < GATHER_MIN || g->skip > 0)
		return false;
	if (g->arrived >= g->expected - g->expected / 8) {
		g->give_up = GIVE_UP_MIN;
		return false;
	}
	if (now < g->until)
		return true;
	g->skip = g->give_up;
	g->give_up = MIN(g->give_up * 2, GIVE_UP_MAX);
	return false;
}

void gather_left(struct gather *g, uint64_t now)
{
	g->skip -= g->skip > 0;
	g->expected = g->arrived = 0;
	g->left_at = now;
	g->until = UINT64_MAX;
}
