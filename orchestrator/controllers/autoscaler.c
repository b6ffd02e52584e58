#include "orchestrator/controllers/autoscaler.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/hpa_metrics.h"
#include "orchestrator/controllers/hpa_round.h"
#include "orchestrator/controllers/recorder.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define ACCOUNT "horizontal-pod-autoscaler"
#define SYNC_MS 15000
/* Between two looks because of changes: who edits on and on is not measured each time. */
#define SOON_MS 1000
#define WORKERS 5
#define TIMEOUT_MS 20000
#define READY_POLL_MS 50

struct autoscalers {
	struct client *client;
	struct loop *loop;
	struct view *view;
	uint64_t sync_ms;
	struct recorder *recorder;
	struct informer_handler handler;
	struct map all; /* "ns/name" -> struct autoscaler */
	struct list queue;
	struct list flights; /* of struct call */
	unsigned n_running;
	struct loop_timer pump;
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct call {
	struct client_req req;
	struct list flight;
	struct autoscaler *a;
	void (*then)(struct autoscaler *, struct call *);
	const char *path;
};

/* A round under way. */
struct look {
	struct arena arena;
	struct informer_obj *obj;
	struct hpa_round round;
	struct hpa_target *targets;
	size_t n_targets, i_target;
	struct err first_err;
	const char *scale_path;
	struct call scale, put, status;
	struct call *calls; /* for metrics; equal paths have one */
	size_t n_calls;
	unsigned n_outstanding;
	struct hpa_learnt *learnt;
	size_t *call_of; /* for each metric: its call, or SIZE_MAX */
};

struct autoscaler {
	struct autoscalers *all;
	char *key, *uid, *selector; /* selector: its target's, "" until it is known */
	struct list link;           /* in the queue */
	bool queued, running, soon, gone;
	struct loop_timer timer;
	struct hpa_history history;
	struct look look;
};

static void pump(struct loop_timer *);

static void wake(struct autoscalers *all, uint64_t ms)
{
	if (!all->stopping && !loop_timer_active(&all->pump))
		loop_timer_start(&all->pump, all->loop, ms, pump);
}

/* --- Requests -------------------------------------------------------------------------------------------------------- */

static void call_done(struct client_req *req)
{
	struct call *c = container_of(req, struct call, req);

	list_del(&c->flight);
	c->then(c->a, c);
}

static void call_start(struct autoscaler *a, struct call *c)
{
	c->a = a;
	c->req.account = ACCOUNT;
	c->req.timeout_ms = TIMEOUT_MS;
	c->req.done = call_done;
	list_add_tail(&a->all->flights, &c->flight);
	client_do(a->all->client, &c->req);
}

static void call_path(struct autoscaler *a, struct call *c, const char *method, const char *path, struct str body,
		void (*then)(struct autoscaler *, struct call *))
{
	client_req_init(&c->req, CLIENT_RAW, NULL);
	c->req.raw_method = method;
	c->req.raw_path = c->path = path;
	c->req.body = body;
	c->req.content_type = CLIENT_JSON;
	c->req.accept = CLIENT_JSON;
	c->then = then;
	call_start(a, c);
}

/* --- The end of a round ------------------------------------------------------------------------------------------------ */

static void autoscaler_free(struct autoscaler *a)
{
	if (a->queued)
		list_del(&a->link);
	loop_timer_stop(&a->timer);
	hpa_history_fini(&a->history);
	free(a->key);
	free(a->uid);
	free(a->selector);
	free(a);
}

static void recorder_over(void *arg)
{
	struct autoscalers *all = arg;

	all->stopped(all->stopped_arg);
	free(all);
}

static void end_if_over(struct autoscalers *all)
{
	if (!all->stopping || all->n_running > 0)
		return;
	MAP_FOR_EACH (e, &all->all)
		autoscaler_free(e->value);
	map_fini(&all->all);
	recorder_stop(all->recorder, recorder_over, all);
}

static void enqueue(struct autoscaler *a)
{
	loop_timer_stop(&a->timer);
	if (a->running || a->queued)
		return;
	a->queued = true;
	list_add_tail(&a->all->queue, &a->link);
	wake(a->all, 0);
}

static void on_timer(struct loop_timer *t)
{
	enqueue(container_of(t, struct autoscaler, timer));
}

static void look_end(struct autoscaler *a)
{
	struct autoscalers *all = a->all;
	struct look *l = &a->look;

	for (size_t i = 0; i < l->n_calls; i++)
		client_req_fini(&l->calls[i].req);
	client_req_fini(&l->scale.req);
	client_req_fini(&l->put.req);
	client_req_fini(&l->status.req);
	informer_obj_unref(l->obj);
	arena_fini(&l->arena);
	*l = (struct look){.n_calls = 0};
	a->running = false;
	all->n_running--;
	if (a->gone) {
		autoscaler_free(a);
	} else if (!all->stopping) {
		loop_timer_start(&a->timer, all->loop, a->soon ? MIN(all->sync_ms, (uint64_t)SOON_MS) : all->sync_ms, on_timer);
		a->soon = false;
	}
	if (all->stopping)
		end_if_over(all);
	else
		wake(all, 0);
}

static void say(struct autoscaler *a)
{
	for (const struct hpa_event *ev = a->look.round.events; ev; ev = ev->next)
		recorder_say(a->all->recorder, VIEW_HPAS, a->look.obj->meta, ev->warning, ev->reason, ev->message);
}

static void status_put(struct autoscaler *a, struct call *c)
{
	const struct err *e = &c->req.err;

	if (e->code != ERR_OK && e->code != ERR_NOT_FOUND && e->code != ERR_CANCELED) {
		log_debug("autoscaler", "status of %s: %s", a->key, e->text);
		recorder_say(a->all->recorder, VIEW_HPAS, a->look.obj->meta, true, "FailedUpdateStatus", e->text);
	}
	look_end(a);
}

static void record(struct autoscaler *a)
{
	struct call *c = &a->look.status;

	if (a->all->stopping || a->gone) {
		look_end(a);
		return;
	}
	say(a);
	if (!hpa_round_changed(&a->look.round)) {
		look_end(a);
		return;
	}
	client_req_init(&c->req, CLIENT_UPDATE, resource_find("autoscaling", "v2", "horizontalpodautoscalers"));
	c->req.ns = a->look.obj->meta->namespace_;
	c->req.name = a->look.obj->meta->name;
	c->req.sub = "status";
	c->req.msg = (const ProtobufCMessage *)a->look.round.copy;
	c->then = status_put;
	call_start(a, c);
}

/* --- Metrics, and what follows from them --------------------------------------------------------------------------------- */

/* As they are now; they live until the next turn of the loop. */
static void give_pods(struct autoscaler *a)
{
	struct hpa_round *r = &a->look.round;
	struct informer_objs o = informer_index_get(a->all->view->pods_by_namespace, str_from(pb_s(a->look.obj->meta->namespace_)));

	r->pods = arena_new_array(&a->look.arena, const Core__Pod *, o.n + 1);
	r->n_pods = o.n;
	for (size_t i = 0; i < o.n; i++)
		r->pods[i] = o.v[i]->msg;
}

static void scale_put(struct autoscaler *a, struct call *c)
{
	if (c->req.err.code != ERR_CANCELED) {
		hpa_round_rescaled(&a->look.round, c->req.err.code ? arena_strdup(&a->look.arena, c->req.err.text) : NULL);
		if (!c->req.err.code)
			log_info("autoscaler", "%s: %d replicas instead of %d: %s", a->key, a->look.round.replicas, a->look.round.current,
					a->look.round.why);
	}
	record(a);
}

static void write_scale(struct autoscaler *a)
{
	struct look *l = &a->look;

	if (!l->round.rescale || a->all->stopping || a->gone)
		record(a);
	else
		call_path(a, &l->put, "PUT", l->scale_path, hpa_round_wanted(&l->round), scale_put);
}

static void decide(struct autoscaler *a)
{
	struct look *l = &a->look;

	for (size_t i = 0; i < l->round.hpa->spec->n_metrics; i++) {
		const struct client_req *req;

		if (l->call_of[i] == SIZE_MAX)
			continue;
		req = &l->calls[l->call_of[i]].req;
		l->learnt[i] = (struct hpa_learnt){req->answer, req->err};
	}
	give_pods(a);
	hpa_round_decide(&l->round, l->learnt);
	write_scale(a);
}

static void measured(struct autoscaler *a, struct call *c)
{
	(void)c;
	if (--a->look.n_outstanding > 0)
		return;
	if (a->all->stopping || a->gone)
		look_end(a);
	else
		decide(a);
}

static size_t call_for(struct look *l, const char *path)
{
	for (size_t i = 0; i < l->n_calls; i++)
		if (strcmp(l->calls[i].path, path) == 0)
			return i;
	l->calls[l->n_calls].path = path;
	return l->n_calls++;
}

static void measure(struct autoscaler *a)
{
	struct look *l = &a->look;
	const Autoscalingv2__HorizontalPodAutoscalerSpec *s = l->round.hpa->spec;
	size_t n;

	l->calls = arena_new_array(&l->arena, struct call, s->n_metrics + 1);
	l->learnt = arena_new_array(&l->arena, struct hpa_learnt, s->n_metrics + 1);
	l->call_of = arena_new_array(&l->arena, size_t, s->n_metrics + 1);
	for (size_t i = 0; i < s->n_metrics; i++) {
		const char *path;

		l->call_of[i] = SIZE_MAX;
		if (hpa_metric_path(&l->arena, a->all->view, pb_s(l->obj->meta->namespace_), l->round.selector, s->metrics[i], &path,
				    &l->learnt[i].err) == 0)
			l->call_of[i] = call_for(l, path);
	}
	if (l->n_calls == 0) {
		decide(a);
		return;
	}
	n = l->n_outstanding = (unsigned)l->n_calls;
	for (size_t i = 0; i < n; i++)
		call_path(a, &l->calls[i], "GET", l->calls[i].path, STR_NULL, measured);
}

/* --- The target ------------------------------------------------------------------------------------------------------------ */

static void no_scale(struct autoscaler *a, const char *why)
{
	hpa_round_no_scale(&a->look.round, arena_strdup(&a->look.arena, why));
	record(a);
}

static void give_rivals(struct autoscaler *a)
{
	struct look *l = &a->look;
	struct str ns, name;

	l->round.rivals = arena_new_array(&l->arena, struct hpa_rival, map_len(&a->all->all));
	MAP_FOR_EACH (e, &a->all->all) {
		const struct autoscaler *other = e->value;

		str_cut(e->key, '/', &ns, &name);
		if (other == a || other->selector[0] == '\0' || !str_eqc(ns, pb_s(l->obj->meta->namespace_)))
			continue;
		((struct hpa_rival *)(uintptr_t)l->round.rivals)[l->round.n_rivals++] = (struct hpa_rival){arena_cstr(&l->arena, name),
				arena_strdup(&l->arena, other->selector)};
	}
}

static void ask_scale(struct autoscaler *a);

static void scale_got(struct autoscaler *a, struct call *c)
{
	struct look *l = &a->look;
	struct err e = c->req.err;
	bool ask = false;

	if (a->all->stopping || a->gone) {
		look_end(a);
		return;
	}
	if (e.code == ERR_OK) {
		give_pods(a);
		give_rivals(a);
		hpa_round_scale(&l->round, c->req.answer, &ask, &e);
	}
	if (e.code != ERR_OK) {
		if (l->i_target == 1)
			l->first_err = e;
		client_req_fini(&c->req);
		ask_scale(a);
		return;
	}
	free(a->selector);
	a->selector = xstrdup(l->round.selector);
	if (ask)
		measure(a);
	else
		write_scale(a);
}

/* The next place where the kind is served. */
static void ask_scale(struct autoscaler *a)
{
	struct look *l = &a->look;
	const struct hpa_target *t = &l->targets[l->i_target];

	l->scale = (struct call){.a = a};
	if (l->i_target >= l->n_targets) {
		no_scale(a, l->first_err.text);
		return;
	}
	l->i_target++;
	l->scale_path = arena_printf(&l->arena, "%s/namespaces/%s/%s/%s/scale", hpa_api_root(&l->arena, t->api_version),
			pb_s(l->obj->meta->namespace_), t->plural, pb_s(l->round.hpa->spec->scale_target_ref->name));
	call_path(a, &l->scale, "GET", l->scale_path, STR_NULL, scale_got);
}

static void find_target(struct autoscaler *a)
{
	struct look *l = &a->look;
	const Autoscalingv2__CrossVersionObjectReference *ref = l->round.hpa->spec->scale_target_ref;
	struct str group, version;
	const char *g;

	if (!str_cut(str_from(pb_s(ref->api_version)), '/', &group, &version))
		group = STR("");
	if (str_find(version, '/') >= 0) {
		no_scale(a, arena_printf(&l->arena, "unexpected GroupVersion string: %s", pb_s(ref->api_version)));
		return;
	}
	g = arena_cstr(&l->arena, group);
	l->n_targets = hpa_targets(&l->arena, a->all->view, g, pb_s(ref->kind), &l->targets);
	if (l->n_targets == 0)
		no_scale(a, arena_printf(&l->arena, "no matches for kind \"%s\" in group \"%s\"", pb_s(ref->kind), g));
	else
		ask_scale(a);
}

/* --- Rounds ------------------------------------------------------------------------------------------------------------------ */

static void look_start(struct autoscaler *a)
{
	const struct informer_obj *o = informer_get_key(a->all->view->inf[VIEW_HPAS], str_from(a->key));
	const Autoscalingv2__HorizontalPodAutoscaler *hpa = informer_msg(o);
	struct look *l = &a->look;

	if (!hpa || !hpa->spec || !hpa->spec->scale_target_ref || o->meta->deletion_timestamp)
		return;
	a->running = true;
	a->all->n_running++;
	arena_init(&l->arena);
	l->obj = informer_obj_ref(o);
	l->round = (struct hpa_round){.arena = &l->arena, .hpa = hpa, .history = &a->history, .now_s = clock_wall_s(), .now_ms = clock_mono_ms()};
	hpa_round_begin(&l->round);
	find_target(a);
}

static bool is_ready(const struct autoscalers *all)
{
	static const enum view_id needed[] = {VIEW_HPAS, VIEW_PODS, VIEW_CRDS, VIEW_APISERVICES};

	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (!informer_synced(all->view->inf[needed[i]]))
			return false;
	return true;
}

static void pump(struct loop_timer *t)
{
	struct autoscalers *all = container_of(t, struct autoscalers, pump);
	struct list *l;

	if (!is_ready(all)) {
		wake(all, READY_POLL_MS);
		return;
	}
	while (all->n_running < WORKERS && (l = list_pop(&all->queue)) != NULL) {
		struct autoscaler *a = container_of(l, struct autoscaler, link);

		a->queued = false;
		look_start(a);
	}
}

/* --- The objects -------------------------------------------------------------------------------------------------------------- */

static void forget(struct autoscaler *a)
{
	map_del(&a->all->all, str_from(a->key));
	a->gone = true;
	if (!a->running)
		autoscaler_free(a);
}

static struct autoscaler *begin(struct autoscalers *all, const struct informer_obj *o)
{
	struct autoscaler *a = xcalloc(1, sizeof(*a));

	a->all = all;
	a->key = str_dup(o->key);
	a->uid = xstrdup(pb_s(o->meta->uid));
	a->selector = xstrdup("");
	list_init(&a->link);
	map_put(&all->all, o->key, a);
	return a;
}

static bool same_spec(const struct informer_obj *a, const struct informer_obj *b)
{
	const Autoscalingv2__HorizontalPodAutoscaler *x = a->msg, *y = b->msg;

	return pb_equal(x->spec, y->spec);
}

static void on_change(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct autoscalers *all = container_of(h, struct autoscalers, handler);
	struct autoscaler *a = map_get(&all->all, (new ? new : old)->key);

	if (all->stopping)
		return;
	if (a && (!new || !pb_streq(a->uid, new->meta->uid))) {
		forget(a);
		a = NULL;
	}
	if (!new)
		return;
	if (!a)
		enqueue(begin(all, new));
	else if (old && !same_spec(old, new) && a->running)
		a->soon = true;
	else if (old && !same_spec(old, new) && !a->queued)
		loop_timer_start(&a->timer, all->loop, MIN(all->sync_ms, (uint64_t)SOON_MS), on_timer);
}

struct autoscalers *autoscalers_start(struct client *client, struct loop *loop, struct view *view, uint64_t sync_ms)
{
	struct autoscalers *all = xcalloc(1, sizeof(*all));

	all->client = client;
	all->loop = loop;
	all->view = view;
	all->sync_ms = sync_ms ? sync_ms : SYNC_MS;
	all->recorder = recorder_new(client, ACCOUNT, ACCOUNT);
	map_init(&all->all);
	list_init(&all->queue);
	list_init(&all->flights);
	all->handler.changed = on_change;
	informer_add_handler(view->inf[VIEW_HPAS], &all->handler);
	return all;
}

void autoscalers_stop(struct autoscalers *all, void (*cb)(void *arg), void *arg)
{
	all->stopping = true;
	all->stopped = cb;
	all->stopped_arg = arg;
	loop_timer_stop(&all->pump);
	LIST_FOR_EACH (c, &all->flights, struct call, flight)
		client_cancel(&c->req);
	end_if_over(all);
}
