/*
 * Dividing the seats of all levels anew among levels and loops, while somebody has to wait:
 *
 *	a loop where something waits --press--> first loop: ask all for their demand --> divide --> tell all --+
 *	                                             ^                                                         |
 *	                                             +--------------- ROUND_MS later, while it is needed ------+
 *
 * A round is a message that travels twice through all loops (struct flow_trip), with the demand on the first way and the limits on
 * the second. The last round gives every loop its equal part of the nominal seats back; in the quiet state nothing runs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/flow-priv.h"

#define ROUND_MS 100

/* The trip's stations: every serve loop, then home. */
static void travel(struct loop_msg *m)
{
	struct flow_trip *t = container_of(m, struct flow_trip, msg);
	struct apiserver *srv = t->srv;

	if (t->at == srv->n_serve) {
		t->back(t); /* the trip may be no more */
		atomic_fetch_sub(&srv->n_trips, 1);
		return;
	}
	t->visit(t, srv->serve[t->at]->flow);
	t->at++;
	loop_post(t->at < srv->n_serve ? srv->serve[t->at]->loop : t->home, &t->msg);
}

void flow__trip_start(struct flow_trip *t)
{
	t->at = 0;
	t->msg.run = travel;
	atomic_fetch_add(&t->srv->n_trips, 1);
	loop_post(t->srv->serve[0]->loop, &t->msg);
}

struct round_level {
	char *name;
	struct flow_bounds bounds;
	bool exempt;
	unsigned demand[ARRAY_LEN(((struct apiserver *)0)->serve)];
	unsigned limit[ARRAY_LEN(((struct apiserver *)0)->serve)];
};

struct flow_round {
	struct flow_trip trip;
	struct flow_state *fs; /* of the first loop */
	struct loop_timer timer;
	struct round_level *levels;
	size_t n;
	bool wanted, under_way;
};

/* --- The round's ways ----------------------------------------------------------------------------------------------- */

static void ask(struct flow_trip *t, struct flow_state *fs)
{
	struct flow_round *r = container_of(t, struct flow_round, trip);

	for (size_t i = 0; i < r->n; i++) {
		struct flow_level *l = flow__level_find(fs, str_from(r->levels[i].name));

		r->levels[i].demand[fs->index] = l ? MAX(l->peak, l->in_use + l->fair.seats) : 0;
		if (l)
			l->peak = l->in_use + l->fair.seats;
	}
	fs->pressed = false;
}

static void tell(struct flow_trip *t, struct flow_state *fs)
{
	struct flow_round *r = container_of(t, struct flow_round, trip);

	for (size_t i = 0; i < r->n; i++) {
		struct flow_level *l = flow__level_find(fs, str_from(r->levels[i].name));

		if (l && memcmp(&l->bounds, &r->levels[i].bounds, sizeof(l->bounds)) == 0)
			l->limit = r->levels[i].limit[fs->index];
	}
	flow__kick(fs);
}

static void levels_free(struct flow_round *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->levels[i].name);
	free(TAKE(r->levels));
	r->n = 0;
}

static void next(struct flow_round *r);

static void told(struct flow_trip *t)
{
	struct flow_round *r = container_of(t, struct flow_round, trip);

	levels_free(r);
	r->under_way = false;
	if (r->wanted)
		next(r);
}

/* Does anybody ask for more than his equal part of the nominal seats? */
static bool is_short(const struct round_level *l, unsigned n_loops)
{
	unsigned parts[FLOW_MAX_PARTS];

	flow_split(l->bounds.nominal, NULL, n_loops, parts);
	for (unsigned k = 0; k < n_loops; k++)
		if (!l->exempt && l->demand[k] > parts[k])
			return true;
	return false;
}

static void divide(struct flow_round *r, unsigned n_loops)
{
	unsigned demand[FLOW_MAX_PARTS] = {0}, limit[FLOW_MAX_PARTS];
	struct flow_bounds bounds[FLOW_MAX_PARTS];
	bool needed = false;

	for (size_t i = 0; i < r->n; i++) {
		for (unsigned k = 0; k < n_loops; k++)
			demand[i] += r->levels[i].demand[k];
		bounds[i] = r->levels[i].bounds;
		needed = needed || is_short(&r->levels[i], n_loops);
	}
	flow_divide(bounds, demand, r->n, limit);
	for (size_t i = 0; i < r->n; i++)
		flow_split(needed ? limit[i] : bounds[i].nominal, needed ? r->levels[i].demand : NULL, n_loops, r->levels[i].limit);
	r->wanted = needed;
}

static void asked(struct flow_trip *t)
{
	struct flow_round *r = container_of(t, struct flow_round, trip);

	divide(r, t->srv->n_serve);
	t->visit = tell;
	t->back = told;
	flow__trip_start(t);
}

/* --- When ------------------------------------------------------------------------------------------------------------ */

static void round_due(struct loop_timer *timer)
{
	struct flow_round *r = container_of(timer, struct flow_round, timer);
	struct flow_state *fs = r->fs;

	if (atomic_load(&fs->al->srv->stopping))
		return;
	r->under_way = true;
	r->wanted = false;
	r->levels = xcalloc(fs->config->n_levels, sizeof(*r->levels));
	for (r->n = 0; r->n < fs->config->n_levels; r->n++) {
		struct flow_level *l = fs->by_level[r->n];

		r->levels[r->n] = (struct round_level){.name = xstrdup(l->name), .bounds = l->bounds, .exempt = l->exempt};
	}
	r->trip.visit = ask;
	r->trip.back = asked;
	flow__trip_start(&r->trip);
}

static void next(struct flow_round *r)
{
	r->wanted = true;
	if (!r->under_way && !loop_timer_active(&r->timer))
		loop_timer_start(&r->timer, r->fs->al->loop, ROUND_MS, round_due);
}

static void on_press(struct loop_msg *m)
{
	struct flow_state *from = container_of(m, struct flow_state, press);

	next(from->al->srv->serve[0]->flow->round);
	atomic_fetch_sub(&from->al->srv->n_trips, 1);
}

void flow__press(struct flow_state *fs)
{
	if (fs->pressed || atomic_load(&fs->al->srv->stopping))
		return;
	fs->pressed = true;
	fs->press.run = on_press;
	atomic_fetch_add(&fs->al->srv->n_trips, 1);
	loop_post(fs->al->srv->serve[0]->loop, &fs->press);
}

void flow__balance_init(struct flow_state *fs)
{
	if (fs->index > 0)
		return;
	fs->round = xcalloc(1, sizeof(*fs->round));
	fs->round->fs = fs;
	fs->round->trip.srv = fs->al->srv;
	fs->round->trip.home = fs->al->loop;
}

void flow__balance_fini(struct flow_state *fs)
{
	if (!fs->round)
		return;
	loop_timer_stop(&fs->round->timer);
	levels_free(fs->round);
	free(fs->round);
}
