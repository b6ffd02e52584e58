/*
 * The runner: see controller.h. Here are the controllers themselves: the table of them, their watches on the views, whose turn
 * it is, and starting and stopping all.
 *
 * A controller has its turn when all that it watches is synced; then its queue is worked off with a bound on how many keys run
 * at once. Stopping cancels the requests under way, waits for their ends, and only then lets the informers go.
 */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/controllers/autoscaler.h"
#include "orchestrator/controllers/customs.h"
#include "orchestrator/controllers/remotes.h"
#include "orchestrator/controllers/runner-priv.h"

#define DEFAULT_WORKERS 8

static const struct controller_row *const rows[] = {
	&controller_deployment, &controller_replicaset, &controller_replication, &controller_endpointslice, &controller_endpoints,
	&controller_namespace, &controller_garbage, &controller_node_lifecycle, &controller_node_ipam,
	&controller_serviceaccount, &controller_root_ca, &controller_podgc, &controller_clusterrole_aggregation,
	&controller_resourcequota, &controller_csr, &controller_crd,
	&controller_job, &controller_daemonset, &controller_statefulset, &controller_claim_protection,
	&controller_volume_protection, &controller_volume_binder, &controller_volume_local, &controller_ephemeral_volume,
	&controller_cronjob, &controller_account_token, &controller_token_cleaner, &controller_join_token, &controller_bootstrap_signer,
	&controller_admission_policy, &controller_ingress_status, &controller_taint_eviction, &controller_disruption,
	&controller_stale_disruption,
};

static bool controller_ready(const struct controller *c)
{
	for (size_t i = 0; i < CONTROLLER_WATCHES && c->row->watches[i].map; i++)
		if (!informer_synced(c->all->view.inf[c->row->watches[i].view]))
			return false;
	return true;
}

static void pump_one(struct controller *c)
{
	unsigned workers = c->row->workers ? c->row->workers : DEFAULT_WORKERS;
	struct list *l;

	while (c->n_running < workers && (l = list_pop(&c->queue)) != NULL) {
		struct work *w = container_of(l, struct work, link);

		w->queued = false;
		if (work__still_pending(w))
			loop_timer_start(&w->timer, c->all->cfg.loop, PENDING_POLL_MS, work__timer);
		else
			work__start(w);
	}
}

static void pump(struct loop_timer *t)
{
	struct controllers *all = container_of(t, struct controllers, pump);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (controller_ready(&all->ctl[i]))
			pump_one(&all->ctl[i]);
}

void controllers__wake(struct controllers *all)
{
	if (!all->stopping && !loop_timer_active(&all->pump))
		loop_timer_start(&all->pump, all->cfg.loop, 0, pump);
}

static void on_change(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct watch_handler *wh = container_of(h, struct watch_handler, base);
	struct enqueue q = {wh->ctl};

	if (old)
		wh->map(&q, &wh->ctl->all->view, old);
	if (new)
		wh->map(&q, &wh->ctl->all->view, new);
}

static void on_synced(struct informer_handler *h)
{
	controllers__wake(container_of(h, struct watch_handler, base)->ctl->all);
}

static void on_resync(struct loop_timer *t)
{
	struct controller *c = container_of(t, struct controller, resync);

	INFORMER_FOR_EACH (o, c->all->view.inf[c->row->watches[0].view])
		controller__enqueue(c, o->key);
	loop_timer_start(&c->resync, c->all->cfg.loop, c->row->resync_ms, on_resync);
}

static void controller_init(struct controllers *all, struct controller *c, const struct controller_row *row)
{
	c->row = row;
	c->all = all;
	list_init(&c->queue);
	for (size_t i = 0; i < CONTROLLER_WATCHES && row->watches[i].map; i++) {
		c->handlers[i] = (struct watch_handler){.base = {.changed = on_change, .synced = on_synced}, .ctl = c,
				.map = row->watches[i].map};
		informer_add_handler(all->view.inf[row->watches[i].view], &c->handlers[i].base);
	}
	if (row->resync_ms)
		loop_timer_start(&c->resync, all->cfg.loop, row->resync_ms, on_resync);
}

static void on_custom(void *arg, const struct custom_kind *kind, const struct informer_obj *o)
{
	struct controllers *all = arg;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i] == &controller_garbage)
			map_custom(&(struct enqueue){&all->ctl[i]}, &all->view, kind, o);
}

struct controllers *controllers_start(const struct controllers_cfg *cfg)
{
	struct controllers *all = xcalloc(1, sizeof(*all) + ARRAY_LEN(rows) * sizeof(all->ctl[0]));
	struct view *v = &all->view;

	all->cfg = *cfg;
	list_init(&all->in_flight);
	views__init(v, cfg->client);
	all->n_informers = VIEW_N;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		controller_init(all, &all->ctl[i], rows[i]);
	all->customs = customs_start(&(struct customs_cfg){.client = cfg->client, .view = v, .by_owner = views__by_any_owner,
			.changed = on_custom, .arg = all});
	all->n_informers++;
	all->remotes = remotes_start(cfg->client, cfg->loop, v, all->customs);
	all->n_informers++;
	all->autoscalers = autoscalers_start(cfg->client, cfg->loop, v, cfg->hpa_sync_ms);
	all->n_informers++;
	for (int i = 0; i < VIEW_N; i++)
		informer_start(v->inf[i]);
	return all;
}

static void informer_gone(void *arg)
{
	struct controllers *all = arg;

	if (--all->n_informers > 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		MAP_FOR_EACH (e, &all->ctl[i].works)
			work__free(e->value);
		map_fini(&all->ctl[i].works);
	}
	if (all->stopped)
		all->stopped(all->stopped_arg);
	free(all);
}

/* After the last request: the informers. */
static void stop_informers(struct loop_timer *t)
{
	struct controllers *all = container_of(t, struct controllers, pump);

	if (!list_empty(&all->in_flight)) {
		loop_timer_start(&all->pump, all->cfg.loop, 1, stop_informers);
		return;
	}
	for (int i = 0; i < VIEW_N; i++)
		informer_stop(all->view.inf[i], informer_gone, all);
	autoscalers_stop(TAKE(all->autoscalers), informer_gone, all);
	remotes_stop(TAKE(all->remotes), informer_gone, all);
	customs_stop(TAKE(all->customs), informer_gone, all);
}

void controllers_stop(struct controllers *all, void (*cb)(void *arg), void *arg)
{
	ASSERT(!all->stopping);
	all->stopping = true;
	all->stopped = cb;
	all->stopped_arg = arg;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		loop_timer_stop(&all->ctl[i].resync);
		MAP_FOR_EACH (e, &all->ctl[i].works)
			loop_timer_stop(&((struct work *)e->value)->timer);
	}
	LIST_FOR_EACH (a, &all->in_flight, struct plan_action, flight)
		client_cancel(&a->req);
	loop_timer_start(&all->pump, all->cfg.loop, 0, stop_informers);
}

struct view *controllers_view(struct controllers *all)
{
	return &all->view;
}
