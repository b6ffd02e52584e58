#include "raft/roles.h"

#include <string.h>

static bool dead(const struct role_view *v, const struct role_member *m)
{
	return m->id != v->leader && m->silent_ms >= v->dead_ms;
}

static bool same_zone(const struct role_member *a, const struct role_member *b)
{
	return a->zone && a->zone[0] && b->zone && strcmp(a->zone, b->zone) == 0;
}

/* Other voters that would be lost together with this member: those of its zone that are alive. */
static unsigned neighbours(const struct role_view *v, const struct role_member *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < v->n; i++)
		n += v->members[i].voter && v->members[i].id != m->id && !dead(v, &v->members[i]) &&
		     same_zone(&v->members[i], m);
	return n;
}

/* The stand-by that should vote next: in the zone with the fewest voters, a witness before others, the lowest id. */
static const struct role_member *best_standby(const struct role_view *v)
{
	const struct role_member *best = NULL;

	for (size_t i = 0; i < v->n; i++) {
		const struct role_member *m = &v->members[i];

		if (m->voter || m->learner || !m->ready)
			continue;
		if (!best || neighbours(v, m) < neighbours(v, best) ||
		    (neighbours(v, m) == neighbours(v, best) &&
		     (m->witness != best->witness ? m->witness : m->id < best->id)))
			best = m;
	}
	return best;
}

/* The voter that is missed least: dead, else in the fullest zone, no witness, the highest id. */
static const struct role_member *worst_voter(const struct role_view *v)
{
	const struct role_member *worst = NULL;

	for (size_t i = 0; i < v->n; i++) {
		const struct role_member *m = &v->members[i];

		if (!m->voter || m->id == v->leader)
			continue;
		if (!worst) {
			worst = m;
		} else if (dead(v, m) != dead(v, worst)) {
			worst = dead(v, m) ? m : worst;
		} else if (neighbours(v, m) != neighbours(v, worst)) {
			worst = neighbours(v, m) > neighbours(v, worst) ? m : worst;
		} else if (m->witness != worst->witness) {
			worst = m->witness ? worst : m;
		} else if (m->id > worst->id) {
			worst = m;
		}
	}
	return worst;
}

/* Without this one's vote, is a majority of the others' to be had? A vote that is taken by a majority that is gone in the
 * next moment cannot be given to another one. */
static bool can_spare(const struct role_view *v, const struct role_member *spared)
{
	unsigned voters = 0, able = 0;

	for (size_t i = 0; i < v->n; i++)
		if (v->members[i].voter && &v->members[i] != spared) {
			voters++;
			able += v->members[i].able || v->members[i].id == v->leader;
		}
	return able > voters / 2;
}

struct role_change role_plan(const struct role_view *v)
{
	const struct role_member *standby = best_standby(v), *voter = worst_voter(v);
	unsigned voters = 0;

	for (size_t i = 0; i < v->n; i++)
		voters += v->members[i].voter;
	if (voters < v->voters && standby)
		return (struct role_change){ROLE_PROMOTE, standby->id, "there are fewer voters than wanted"};
	/* Taking its vote costs nothing: the majority that is needed is the same or smaller without it. */
	if (voter && !can_spare(v, voter))
		return (struct role_change){.kind = ROLE_NOTHING};
	if (voter && dead(v, voter) && (standby || voters > v->voters))
		return (struct role_change){ROLE_DEMOTE, voter->id, "it has been silent for long, and another one can vote"};
	if (voters > v->voters && voter)
		return (struct role_change){ROLE_DEMOTE, voter->id, "there are more voters than wanted"};
	/* One more for a moment: the next step takes the vote from one in the fullest zone. */
	if (voters == v->voters && standby && voter && neighbours(v, standby) == 0 && standby->zone && standby->zone[0] &&
	    neighbours(v, voter) > 0)
		return (struct role_change){ROLE_PROMOTE, standby->id, "its zone has no voter and another one has several"};
	return (struct role_change){.kind = ROLE_NOTHING};
}
