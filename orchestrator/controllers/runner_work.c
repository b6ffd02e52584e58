/*
 * One key of one controller: how it gets into the queue, its rounds, and when it comes again.
 *
 * A key runs once at a time; named while it runs, it runs again afterwards. A round is a call of the controller's reconcile,
 * which only makes a plan, and then the plan's stages one after the other; the actions of a stage go out together
 * (runner_act.c), and the next stage starts when all have ended well. A round that failed comes again with a back-off that doubles;
 * one that merely waits for others is looked at more often, and a change shortens either wait, but not to nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/controllers/runner-priv.h"
#include "proto/json.h"
#include "proto/pb.h"

#define BACKOFF_FIRST_MS 10
#define BACKOFF_MAX_MS 30000
/* What was only not so yet (others have to go first) is looked at more often than what failed. */
#define NOT_YET_MAX_MS 5000
/* A change may bring what was missing: whoever waits longer than this is looked at so soon, but not at each of many changes. */
#define SOON_MS 1000
/* If the informers do not show a write by then, something is odd; going on is right more often than waiting. */
#define PENDING_MAX_MS 10000

void pending__free(struct pending *p)
{
	list_del(&p->link);
	free(p->key);
	free(p->uid);
	free(p);
}

void work__free(struct work *w)
{
	loop_timer_stop(&w->timer);
	LIST_FOR_EACH_SAFE (p, next, &w->pending, struct pending, link)
		pending__free(p);
	free(w->key);
	free(w->refused);
	free(w->left);
	free(w);
}

static void enqueue_work(struct work *w)
{
	if (w->running) {
		w->dirty = true;
		return;
	}
	if (w->queued)
		return;
	loop_timer_stop(&w->timer);
	w->queued = true;
	list_add_tail(&w->ctl->queue, &w->link);
	controllers__wake(w->ctl->all);
}

void work__timer(struct loop_timer *t)
{
	enqueue_work(container_of(t, struct work, timer));
}

/* Not later than that: an earlier end of a back-off under way stays. */
static void back_off(struct work *w, uint64_t ms)
{
	uint64_t due = clock_mono_ms() + ms;

	if (loop_timer_active(&w->timer) && w->due_ms <= due)
		return;
	w->due_ms = due;
	loop_timer_start(&w->timer, w->ctl->all->cfg.loop, ms, work__timer);
}

void controller__enqueue(struct controller *c, struct str key)
{
	struct work *w = map_get(&c->works, key);

	if (w == NULL) {
		w = xcalloc(1, sizeof(*w));
		w->ctl = c;
		w->key = str_dup(key);
		list_init(&w->pending);
		list_init(&w->link);
		map_put(&c->works, key, w);
	} else if (loop_timer_active(&w->timer) && w->backoff_ms > BACKOFF_FIRST_MS) {
		back_off(w, SOON_MS); /* It failed lately: it comes when its time has come, or soon. */
		return;
	}
	enqueue_work(w);
}

void enqueue_key(struct enqueue *q, struct str key)
{
	controller__enqueue(q->ctl, key);
}

void enqueue_name(struct enqueue *q, const char *ns, const char *name)
{
	char key[512];
	int n = ns && *ns ? snprintf(key, sizeof(key), "%s/%s", ns, name) : snprintf(key, sizeof(key), "%s", name);

	if (n < (int)sizeof(key))
		controller__enqueue(q->ctl, str_of(key, (size_t)n));
}

void map_self(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	enqueue_key(q, o->key);
}

void map_nothing(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	(void)q, (void)v, (void)o;
}

void map_owner(struct enqueue *q, const struct informer_obj *o, const char *kind)
{
	const Meta__OwnerReference *r = owner_of(o->meta);

	if (r && pb_streq(r->kind, kind))
		enqueue_name(q, o->meta->namespace_, r->name);
}

static bool pending_shown(const struct controllers *all, const struct pending *p)
{
	const struct informer *inf = all->view.inf[p->view];
	const struct informer_obj *o = informer_get_key(inf, str_from(p->key));

	if (clock_mono_ms() - p->since_ms > PENDING_MAX_MS)
		return true;
	if (p->rv == 0)
		return o == NULL || !pb_streq(o->meta->uid, p->uid) || o->meta->deletion_timestamp != NULL;
	return (o != NULL && o->rv >= p->rv) || informer_rv(inf) >= p->rv;
}

bool work__still_pending(struct work *w)
{
	LIST_FOR_EACH_SAFE (p, next, &w->pending, struct pending, link)
		if (pending_shown(w->ctl->all, p))
			pending__free(p);
	return !list_empty(&w->pending);
}

/* A work with nothing to do and nothing to remember goes. */
static void work_settle(struct work *w)
{
	if (w->queued || w->running || loop_timer_active(&w->timer) || !list_empty(&w->pending))
		return;
	map_del(&w->ctl->works, str_from(w->key));
	work__free(w);
}

/* The next back-off. Waiting for others is told once, when it has become long; what fails is told each time. */
static void retry_later(struct work *w)
{
	uint64_t max = w->not_yet ? NOT_YET_MAX_MS : BACKOFF_MAX_MS, before = w->backoff_ms;

	w->backoff_ms = before ? MIN(before * 2, max) : BACKOFF_FIRST_MS;
	log_at(w->backoff_ms >= 1000 && !(w->not_yet && before == max) ? LOG_WARN : LOG_DEBUG, "controllers",
			"%s %s key=%s again_ms=%" PRIu64 ": %s", w->ctl->row->name, w->not_yet ? "waits" : "failed", w->key,
			w->backoff_ms, w->err.text);
}

static void work_finish(struct work *w)
{
	struct controllers *all = w->ctl->all;
	uint64_t again = w->round.again_ms;

	w->running = false;
	w->ctl->n_running--;
	w->left = w->found ? str_dup(json_text(&w->arena, w->found)) : NULL;
	arena_fini(&w->arena);
	if (all->stopping)
		return;
	controllers__wake(all);
	if (w->err.code != ERR_OK) {
		retry_later(w);
		back_off(w, w->dirty ? MIN(w->backoff_ms, (uint64_t)SOON_MS) : w->backoff_ms);
		w->dirty = false;
		return;
	}
	w->backoff_ms = 0;
	if (w->dirty) {
		w->dirty = false;
		enqueue_work(w);
		return;
	}
	if (again > 0)
		loop_timer_start(&w->timer, all->cfg.loop, again, work__timer);
	else if (!list_empty(&w->pending))
		loop_timer_start(&w->timer, all->cfg.loop, PENDING_POLL_MS, work__timer);
	work_settle(w);
}

/* Start the next stage that has actions, or end the round. */
void work__run_stage(struct work *w)
{
	while (w->err.code == ERR_OK && !w->ctl->all->stopping && w->stage <= w->round.stage) {
		unsigned stage = w->stage++;

		/* Counted first: a request ends at the earliest in a later callback, so this cannot reach zero early. */
		LIST_FOR_EACH (a, &w->round.actions, struct plan_action, link)
			w->outstanding += a->stage == stage;
		if (w->outstanding == 0)
			continue;
		LIST_FOR_EACH (a, &w->round.actions, struct plan_action, link)
			if (a->stage == stage)
				action__start(w, a);
		return;
	}
	work_finish(w);
}

static const struct json *left_before(struct work *w)
{
	char *text = TAKE(w->left);
	struct json *left = NULL;
	struct err e = ERR_INIT;

	if (text && json_parse(&w->arena, arena_str(&w->arena, str_from(text)), NULL, &left, &e) < 0)
		log_error("controllers", "%s key=%s: what is left cannot be read: %s", w->ctl->row->name, w->key, e.text);
	free(text);
	return left;
}

void work__start(struct work *w)
{
	struct controllers *all = w->ctl->all;
	struct str ns, name;

	w->running = true;
	w->not_yet = false;
	w->ctl->n_running++;
	w->stage = 0;
	w->outstanding = 0;
	err_clear(&w->err);
	arena_init(&w->arena);
	if (!str_cut(str_from(w->key), '/', &ns, &name)) {
		name = ns;
		ns = STR("");
	}
	w->round = (struct reconcile){
		.view = &all->view, .key = w->key, .ns = arena_cstr(&w->arena, ns), .name = arena_cstr(&w->arena, name),
		.now_s = clock_wall_s(), .now_ms = clock_mono_ms(), .arena = &w->arena, .arg = &all->cfg,
	};
	w->round.component = w->ctl->row->component ? w->ctl->row->component : w->ctl->row->name;
	w->round.refused = w->refused ? arena_strdup(&w->arena, w->refused) : NULL;
	free(TAKE(w->refused));
	w->found = NULL;
	w->round.left = left_before(w);
	list_init(&w->round.actions);
	w->ctl->row->reconcile(&w->round);
	work__run_stage(w);
}
