/*
 * What the parts of the runner share: runner.c (the controllers, their watches, whose turn it is), runner_work.c (one key of one
 * controller: queue, back-off, rounds), runner_act.c (a round's plan carried out), views.c (the caches that all look into).
 *
 * A work is made when a key is named first and goes when it has nothing to do and nothing to remember. It is in one of these
 * states: queued, running (a round and its requests), waiting (its timer: a back-off, or a time that its round asked for).
 */
#ifndef ORCHESTRATOR_CONTROLLERS_RUNNER_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_RUNNER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/plan-priv.h"

/* A work that waits for its own writes to show looks so often. */
#define PENDING_POLL_MS 100

/* What a plan wrote and the informers do not show yet. */
struct pending {
	struct list link;
	enum view_id view;
	char *key, *uid;
	uint64_t rv;        /* shown when the object is this new; 0: shown when it is gone or going */
	uint64_t since_ms;
};

struct work {
	struct controller *ctl;
	char *key;
	struct list link;  /* in controller.queue while queued */
	bool queued, running, dirty;
	bool not_yet; /* the round ended because something that it expects is not so yet */
	uint64_t backoff_ms, due_ms; /* due_ms: when a back-off is over */
	struct loop_timer timer;
	struct list pending;
	/* The round under way. */
	struct arena arena;
	struct reconcile round;
	unsigned stage, outstanding;
	struct err err;
	char *refused; /* why something could not be created: for the next round */
	struct json *found; /* what was expected not to be there, in the arena of the round under way */
	char *left;    /* the same as a text: for the next round */
};

struct watch_handler {
	struct informer_handler base;
	struct controller *ctl;
	controller_map_fn *map;
};

struct controller {
	const struct controller_row *row;
	struct controllers *all;
	struct map works; /* of struct work */
	struct list queue;
	unsigned n_running;
	struct watch_handler handlers[CONTROLLER_WATCHES];
	struct loop_timer resync;
};

/* Where a map function puts the keys that it finds. */
struct enqueue {
	struct controller *ctl;
};

struct controllers {
	struct controllers_cfg cfg;
	struct view view;
	struct loop_timer pump;
	struct list in_flight; /* of struct plan_action */
	struct customs *customs;
	struct remotes *remotes;
	struct autoscalers *autoscalers;
	unsigned n_informers;  /* and what else is still to stop */
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct controller ctl[]; /* as the runner's rows */
};

/* runner.c */
/* Somebody may have a turn now. */
void controllers__wake(struct controllers *);

/* runner_work.c */
void controller__enqueue(struct controller *, struct str key);
/* A round, now. */
void work__start(struct work *);
/* The next stage that has actions begins, or the round ends. */
void work__run_stage(struct work *);
/* What it wrote last is not in the caches yet: a round now would do it again. */
bool work__still_pending(struct work *);
void work__timer(struct loop_timer *);
void work__free(struct work *);
void pending__free(struct pending *);

/* runner_act.c */
/* work__run_stage follows when all that the stage has were done. */
void action__start(struct work *, struct plan_action *);

/* views.c */
const struct resource *view__resource(enum view_id);
/* Informers with their indexes; they start later, when all handlers are there. */
void views__init(struct view *, struct client *);
/* An index by the uids of all owners. */
void views__by_any_owner(const struct informer_obj *, struct informer_emit *);

#endif
