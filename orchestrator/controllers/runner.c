/* The runner: queues, plans, back-off; see controller.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/apiserver/join_token.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/autoscaler.h"
#include "orchestrator/controllers/customs.h"
#include "orchestrator/controllers/plan-priv.h"
#include "orchestrator/controllers/remotes.h"
#include "proto/admissionregistration.pb-c.h"
#include "proto/apiextensions.pb-c.h"
#include "proto/apiregistration.pb-c.h"
#include "proto/apps.pb-c.h"
#include "proto/autoscaling_v2.pb-c.h"
#include "proto/batch.pb-c.h"
#include "proto/coordination.pb-c.h"
#include "proto/certificates.pb-c.h"
#include "proto/rbac.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "proto/networking.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define DEFAULT_WORKERS 8
#define BACKOFF_FIRST_MS 10
#define BACKOFF_MAX_MS 30000
/* What was only not so yet (others have to go first) is looked at more often than what failed. */
#define NOT_YET_MAX_MS 5000
/* A change may bring what was missing: whoever waits longer than this is looked at so soon, but not at each of many changes. */
#define SOON_MS 1000
#define PENDING_POLL_MS 100
/* If the informers do not show a write by then, something is odd; going on is right more often than waiting. */
#define PENDING_MAX_MS 10000

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

struct enqueue {
	struct controller *ctl;
};

static const struct controller_row *const rows[] = {
	&controller_deployment, &controller_replicaset, &controller_endpointslice, &controller_endpoints,
	&controller_namespace, &controller_garbage, &controller_node_lifecycle, &controller_node_ipam,
	&controller_serviceaccount, &controller_root_ca, &controller_podgc, &controller_clusterrole_aggregation,
	&controller_resourcequota, &controller_csr, &controller_crd,
	&controller_job, &controller_daemonset, &controller_statefulset, &controller_claim_protection,
	&controller_volume_protection, &controller_volume_binder, &controller_volume_local, &controller_ephemeral_volume,
	&controller_cronjob, &controller_account_token, &controller_token_cleaner, &controller_join_token, &controller_bootstrap_signer,
	&controller_admission_policy, &controller_ingress_status,
};

struct controllers {
	struct controllers_cfg cfg;
	struct view view;
	struct controller ctl[ARRAY_LEN(rows)];
	struct loop_timer pump;
	struct list in_flight; /* of struct plan_action */
	struct customs *customs;
	struct remotes *remotes;
	struct autoscalers *autoscalers;
	unsigned n_informers;  /* and what else is still to stop */
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static const struct {
	const char *group, *version, *plural;
	const ProtobufCMessageDescriptor *desc;
} view_rows[VIEW_N] = {
#define X(id, group, version, plural, prefix) [VIEW_##id] = {group, version, plural, &prefix##__descriptor},
	VIEW_TABLE(X)
#undef X
};

/* Views of a part of a kind: nobody needs all Secrets here. */
static const char *const view_selectors[VIEW_N] = {
	[VIEW_ACCOUNT_TOKENS] = "type=kubernetes.io/service-account-token",
	[VIEW_BOOTSTRAP_TOKENS] = "type=bootstrap.kubernetes.io/token",
	[VIEW_JOIN_TOKENS] = "type=" JOIN_TOKEN_TYPE,
};

const char *view_kind(enum view_id id, const char **ret_api_version)
{
	const struct resource *r = resource_find(view_rows[id].group, view_rows[id].version, view_rows[id].plural);

	*ret_api_version = r->api_version;
	return r->kind;
}

enum view_id view_of_kind(const char *api_version, const char *kind)
{
	const struct resource *r = resource_find_kind(api_version, kind);

	for (int i = 0; r && i < VIEW_N; i++)
		if (!view_selectors[i] && strcmp(r->plural, view_rows[i].plural) == 0 && strcmp(r->group, view_rows[i].group) == 0)
			return (enum view_id)i;
	return VIEW_N;
}

enum view_id view_of(const struct informer_obj *o)
{
	for (int i = 0; i < VIEW_N; i++)
		if (((const ProtobufCMessage *)o->msg)->descriptor == view_rows[i].desc)
			return (enum view_id)i;
	return VIEW_N;
}

static void pump(struct loop_timer *t);
static void work_run_stage(struct work *w);

/* --- Queue ------------------------------------------------------------------------------------------- */

static void wake(struct controllers *all)
{
	if (!all->stopping && !loop_timer_active(&all->pump))
		loop_timer_start(&all->pump, all->cfg.loop, 0, pump);
}

static void pending_free(struct pending *p)
{
	list_del(&p->link);
	free(p->key);
	free(p->uid);
	free(p);
}

static void work_free(struct work *w)
{
	loop_timer_stop(&w->timer);
	LIST_FOR_EACH_SAFE (p, next, &w->pending, struct pending, link)
		pending_free(p);
	free(w->key);
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
	wake(w->ctl->all);
}

static void work_timer(struct loop_timer *t)
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
	loop_timer_start(&w->timer, w->ctl->all->cfg.loop, ms, work_timer);
}

static void controller_enqueue(struct controller *c, struct str key)
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
	controller_enqueue(q->ctl, key);
}

void enqueue_name(struct enqueue *q, const char *ns, const char *name)
{
	char key[512];
	int n = ns && *ns ? snprintf(key, sizeof(key), "%s/%s", ns, name) : snprintf(key, sizeof(key), "%s", name);

	if (n < (int)sizeof(key))
		controller_enqueue(q->ctl, str_of(key, (size_t)n));
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
	wake(container_of(h, struct watch_handler, base)->ctl->all);
}

/* --- Rounds ------------------------------------------------------------------------------------------- */

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

static bool still_pending(struct work *w)
{
	LIST_FOR_EACH_SAFE (p, next, &w->pending, struct pending, link)
		if (pending_shown(w->ctl->all, p))
			pending_free(p);
	return !list_empty(&w->pending);
}

/* A work with nothing to do and nothing to remember goes. */
static void work_settle(struct work *w)
{
	if (w->queued || w->running || loop_timer_active(&w->timer) || !list_empty(&w->pending))
		return;
	map_del(&w->ctl->works, str_from(w->key));
	work_free(w);
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
	arena_fini(&w->arena);
	if (all->stopping)
		return;
	wake(all);
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
		loop_timer_start(&w->timer, all->cfg.loop, again, work_timer);
	else if (!list_empty(&w->pending))
		loop_timer_start(&w->timer, all->cfg.loop, PENDING_POLL_MS, work_timer);
	work_settle(w);
}

static void remember(struct work *w, const struct plan_action *a)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct arena tmp;

	arena_init(&tmp);
	p->view = a->view;
	p->since_ms = clock_mono_ms();
	if (a->op == PLAN_DELETE) {
		p->key = xstrdup(a->key);
		p->uid = xstrdup(a->uid);
	} else {
		Meta__PartialObjectMetadata *m = pb_unpack(&tmp, &meta__partial_object_metadata__descriptor, a->req.answer);
		const Meta__ObjectMeta *meta = m ? m->metadata : NULL;

		if (meta)
			str_to_u64(str_from(pb_s(meta->resource_version)), &p->rv);
		p->key = meta == NULL                        ? NULL
			 : pb_s(meta->namespace_)[0] ? xasprintf("%s/%s", meta->namespace_, pb_s(meta->name))
						     : xstrdup(pb_s(meta->name));
	}
	arena_fini(&tmp);
	list_add_tail(&w->pending, &p->link);
	if (p->key == NULL || (a->op != PLAN_DELETE && p->rv == 0))
		pending_free(p);
}

/* Actions that write nothing the cache would show: they hold or they do not. */
static void check_done(struct work *w, const struct plan_action *a)
{
	struct err e = a->req.err;
	struct str item;
	size_t pos = 0;

	if (a->op == PLAN_EXPECT_EMPTY && e.code == ERR_OK && client_list_next(a->req.answer, &pos, &item)) {
		err_set(&e, ERR_CONFLICT, "%s in %s are not gone yet", a->resource->plural, a->ns ? a->ns : "the cluster");
		w->not_yet = true;
	} else if (a->op == PLAN_EXPECT_ABSENT && e.code == ERR_OK) {
		struct arena tmp;
		Meta__PartialObjectMetadata *m;

		arena_init(&tmp);
		m = pb_unpack(&tmp, &meta__partial_object_metadata__descriptor, a->req.answer);
		if (m && m->metadata && (a->uid[0] == '\0' || pb_streq(m->metadata->uid, a->uid))) {
			err_set(&e, ERR_CONFLICT, "%s is there after all", a->name);
			w->not_yet = true;
		}
		arena_fini(&tmp);
	} else if (e.code == ERR_NOT_FOUND) {
		err_clear(&e);
	}
	if (e.code != ERR_OK && w->err.code == ERR_OK)
		w->err = e;
}

static void action_done(struct client_req *req)
{
	struct plan_action *a = container_of(req, struct plan_action, req);
	struct work *w = a->work;
	enum err_code code = req->err.code;

	list_del(&a->flight);
	if (a->op >= PLAN_DELETE_COLLECTION && a->op <= PLAN_EXPECT_ABSENT) {
		check_done(w, a);
	} else if (a->op == PLAN_EVENT) {
		if (code != ERR_OK && code != ERR_CANCELED)
			log_debug("controllers", "event dropped: %s", req->err.text);
	} else if (a->op == PLAN_CALL) {
		if (w->err.code == ERR_OK)
			w->err = req->err;
	} else if (code == ERR_OK) {
		/* Others' writes name the version or uid that they were made for: doing them twice does no harm. */
		if (!a->resource)
			remember(w, a);
	} else if (code != ERR_NOT_FOUND || a->op == PLAN_CREATE) {
		/* A thing that is gone needs no update and no delete. */
		if (w->err.code == ERR_OK)
			w->err = req->err;
	}
	client_req_fini(req);
	if (--w->outstanding == 0)
		work_run_stage(w);
}

static void action_start(struct work *w, struct plan_action *a)
{
	static const enum client_verb verbs[] = {
		[PLAN_CREATE] = CLIENT_CREATE, [PLAN_UPDATE] = CLIENT_UPDATE, [PLAN_DELETE] = CLIENT_DELETE, [PLAN_PATCH] = CLIENT_PATCH,
		[PLAN_DELETE_COLLECTION] = CLIENT_DELETE_COLLECTION, [PLAN_EXPECT_EMPTY] = CLIENT_LIST, [PLAN_EXPECT_ABSENT] = CLIENT_GET,
		[PLAN_EVENT] = CLIENT_CREATE, [PLAN_CALL] = CLIENT_RAW,
	};
	struct controllers *all = w->ctl->all;

	a->work = w;
	client_req_init(&a->req, verbs[a->op], a->resource || a->op == PLAN_CALL ? a->resource
			: a->op == PLAN_EVENT ? resource_find("", "v1", "events")
			: resource_find(view_rows[a->view].group, view_rows[a->view].version, view_rows[a->view].plural));
	/* Of other kinds than those of the view nobody here knows more. */
	a->req.metadata = a->resource != NULL;
	a->req.ns = a->ns;
	a->req.name = a->name;
	a->req.sub = a->sub;
	a->req.msg = a->msg;
	if (a->op == PLAN_DELETE) {
		a->req.precondition_uid = a->uid;
		a->req.grace_period_seconds = a->grace_s;
		a->req.propagation_policy = a->propagation;
	}
	if (a->op == PLAN_PATCH) {
		a->req.body = a->patch;
		a->req.content_type = CLIENT_MERGE_PATCH;
	}
	if (a->op == PLAN_EXPECT_EMPTY)
		a->req.limit = 1;
	a->req.raw_method = a->method;
	a->req.raw_path = a->path;
	if (a->op == PLAN_CALL)
		a->req.accept = CLIENT_JSON; /* whatever comes: nobody reads it */
	a->req.account = a->account ? a->account : w->ctl->row->account;
	a->req.done = action_done;
	list_add_tail(&all->in_flight, &a->flight);
	client_do(all->cfg.client, &a->req);
}

/* Start the next stage that has actions, or end the round. */
static void work_run_stage(struct work *w)
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
				action_start(w, a);
		return;
	}
	work_finish(w);
}

static void work_start(struct work *w)
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
	list_init(&w->round.actions);
	w->ctl->row->reconcile(&w->round);
	work_run_stage(w);
}

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
		if (still_pending(w))
			loop_timer_start(&w->timer, c->all->cfg.loop, PENDING_POLL_MS, work_timer);
		else
			work_start(w);
	}
}

static void pump(struct loop_timer *t)
{
	struct controllers *all = container_of(t, struct controllers, pump);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (controller_ready(&all->ctl[i]))
			pump_one(&all->ctl[i]);
}

static void on_resync(struct loop_timer *t)
{
	struct controller *c = container_of(t, struct controller, resync);

	INFORMER_FOR_EACH (o, c->all->view.inf[c->row->watches[0].view])
		controller_enqueue(c, o->key);
	loop_timer_start(&c->resync, c->all->cfg.loop, c->row->resync_ms, on_resync);
}

/* --- Life --------------------------------------------------------------------------------------------- */

static void by_node(const struct informer_obj *o, struct informer_emit *em)
{
	const Core__Pod *p = o->msg;

	if (p->spec && pb_s(p->spec->node_name)[0])
		informer_emit(em, str_from(p->spec->node_name));
}

static void by_any_owner(const struct informer_obj *o, struct informer_emit *em)
{
	for (size_t i = 0; i < o->meta->n_owner_references; i++)
		informer_emit(em, str_from(pb_s(o->meta->owner_references[i]->uid)));
}

static void by_service(const struct informer_obj *o, struct informer_emit *em)
{
	const char *svc = pb_map_get(o->meta->labels, o->meta->n_labels, "kubernetes.io/service-name");
	char key[512];
	int n = svc ? snprintf(key, sizeof(key), "%s/%s", pb_s(o->meta->namespace_), svc) : 0;

	if (n > 0 && n < (int)sizeof(key))
		informer_emit(em, str_of(key, (size_t)n));
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
	struct controllers *all = xcalloc(1, sizeof(*all));
	struct view *v = &all->view;

	all->cfg = *cfg;
	list_init(&all->in_flight);
	for (int i = 0; i < VIEW_N; i++) {
		struct informer_cfg ic = {.client = cfg->client, .desc = view_rows[i].desc, .field_selector = view_selectors[i],
				.resource = resource_find(view_rows[i].group, view_rows[i].version, view_rows[i].plural)};

		ASSERT(ic.resource != NULL);
		v->inf[i] = informer_new(&ic);
		all->n_informers++;
	}
	v->pods_by_owner = informer_add_index(v->inf[VIEW_PODS], informer_by_owner);
	v->pods_by_namespace = informer_add_index(v->inf[VIEW_PODS], informer_by_namespace);
	v->pods_by_node = informer_add_index(v->inf[VIEW_PODS], by_node);
	v->replicasets_by_owner = informer_add_index(v->inf[VIEW_REPLICASETS], informer_by_owner);
	for (int i = 0; i < VIEW_N; i++)
		v->by_any_owner[i] = informer_add_index(v->inf[i], by_any_owner);
	v->slices_by_service = informer_add_index(v->inf[VIEW_ENDPOINTSLICES], by_service);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		controller_init(all, &all->ctl[i], rows[i]);
	all->customs = customs_start(&(struct customs_cfg){.client = cfg->client, .view = v, .by_owner = by_any_owner,
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
			work_free(e->value);
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
