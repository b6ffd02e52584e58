#include "orchestrator/scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/volume_match.h"
#include "orchestrator/scheduler/decide.h"
#include "orchestrator/scheduler/evict.h"
#include "orchestrator/scheduler/preempt.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define SCHEDULER_NAME "default-scheduler"
#define RETRY_MS 30000
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 10000
/* Decisions in one turn of the loop, so that it stays short. */
#define BATCH 64
/* After a pod made others go the informers may still show them as they were: so long it pushes out no more. */
#define PREEMPT_PAUSE_MS 5000

enum pod_state {
	POD_QUEUED,        /* to be decided */
	POD_BINDING,       /* decided; the binding is on its way */
	POD_BOUND,         /* bound; the informer will show it */
	POD_UNSCHEDULABLE, /* waits for a change */
	POD_BACKOFF,       /* the API refused; waits for its timer */
};

struct sched_pod {
	struct list link; /* in scheduler.queue while POD_QUEUED */
	struct scheduler *s;
	struct informer_obj *o;
	enum pod_state state;
	bool gone; /* left the cache while a request was under way */
	uint64_t backoff_ms;
	struct loop_timer timer;
	struct client_req req;
	const char *node; /* in req's arena while POD_BINDING */
	uint64_t preempt_not_before_ms;
};

/* A request that nobody waits for: events and status. */
struct note {
	struct list link;
	struct scheduler *s;
	struct client_req req;
};

struct storage_watch {
	struct informer_handler base;
	struct scheduler *s;
};

struct scheduler {
	struct loop *loop;
	struct client *client;
	struct view *view;
	struct snapshot snap;
	struct map pods; /* uid -> struct sched_pod: pods without a node, and those just bound */
	struct list queue, notes, evictions;
	struct informer_handler on_pods, on_nodes, on_budgets;
	struct storage_watch on_storage[3]; /* claims, volumes, classes */
	struct loop_timer turn, retry;
	unsigned n_binding;
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void turn(struct loop_timer *t);
static void maybe_stopped(struct scheduler *s);
static void maybe_stopped_evictions(void *arg);

static void wake(struct scheduler *s)
{
	if (!s->stopping && !loop_timer_active(&s->turn) && !list_empty(&s->queue))
		loop_timer_start(&s->turn, s->loop, 0, turn);
}

static void queue_pod(struct sched_pod *p)
{
	if (p->state == POD_BINDING || p->state == POD_BOUND)
		return;
	loop_timer_stop(&p->timer);
	p->state = POD_QUEUED;
	if (list_empty(&p->link))
		list_add_tail(&p->s->queue, &p->link);
	wake(p->s);
}

/* Something changed that may make room: everybody who waits is tried again. */
static void requeue_unschedulable(struct scheduler *s)
{
	MAP_FOR_EACH (e, &s->pods) {
		struct sched_pod *p = e->value;

		if (p->state == POD_UNSCHEDULABLE)
			queue_pod(p);
	}
}

static void on_retry(struct loop_timer *t)
{
	struct scheduler *s = container_of(t, struct scheduler, retry);

	requeue_unschedulable(s);
	loop_timer_start(&s->retry, s->loop, RETRY_MS, on_retry);
}

/* --- Pods and nodes come and go ---------------------------------------------------------------------------- */

static void pod_free(struct sched_pod *p)
{
	list_del(&p->link);
	loop_timer_stop(&p->timer);
	informer_obj_unref(p->o);
	free(p);
}

static void forget_pod(struct scheduler *s, const char *uid)
{
	struct sched_pod *p = map_del(&s->pods, str_from(pb_s(uid)));

	if (p == NULL)
		return;
	list_del(&p->link);
	loop_timer_stop(&p->timer);
	p->gone = true;
	if (p->state != POD_BINDING)
		pod_free(p);
}

static bool is_ours(const Core__Pod *p)
{
	const char *name = p->spec ? pb_s(p->spec->scheduler_name) : "";

	return name[0] == '\0' || strcmp(name, SCHEDULER_NAME) == 0;
}

static bool has_ended(const Core__Pod *p)
{
	const char *phase = p->status ? pb_s(p->status->phase) : "";

	return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

static const char *nominated_for(const Core__Pod *p)
{
	return p->status ? pb_s(p->status->nominated_node_name) : "";
}

static void want_pod(struct scheduler *s, const struct informer_obj *o)
{
	struct sched_pod *p = map_get(&s->pods, str_from(pb_s(o->meta->uid)));
	const Core__Pod *pod = o->msg;

	if (p == NULL) {
		p = xcalloc(1, sizeof(*p));
		p->s = s;
		list_init(&p->link);
		map_put(&s->pods, str_from(pb_s(o->meta->uid)), p);
	}
	/* One that is not said yet stays, one that is said no longer goes. */
	if (nominated_for(pod)[0] || (p->o && nominated_for(p->o->msg)[0]))
		snapshot_nominate(&s->snap, o, nominated_for(pod));
	informer_obj_unref(p->o);
	p->o = informer_obj_ref(o);
	/* Gated pods wait for their gates to be removed, which is a change of theirs. */
	if (pod->spec->n_scheduling_gates > 0)
		p->state = POD_UNSCHEDULABLE;
	else if (p->state != POD_UNSCHEDULABLE)
		queue_pod(p);
}

static void on_pod(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct scheduler *s = container_of(h, struct scheduler, on_pods);
	const struct informer_obj *o = new ? new : old;
	const Core__Pod *pod = o->msg;

	if (pod->spec == NULL)
		return;
	if (new == NULL || has_ended(pod)) {
		bool made_room = snapshot_has(&s->snap, o->meta->uid);

		forget_pod(s, o->meta->uid);
		snapshot_remove(&s->snap, o->meta->uid);
		if (made_room)
			requeue_unschedulable(s);
		return;
	}
	/* Recreated under the same name: the old one is gone. */
	if (old != NULL && !pb_streq(old->meta->uid, new->meta->uid)) {
		forget_pod(s, old->meta->uid);
		snapshot_remove(&s->snap, old->meta->uid);
	}
	if (pb_s(pod->spec->node_name)[0]) {
		forget_pod(s, o->meta->uid);
		snapshot_place(&s->snap, new, pod->spec->node_name);
		return;
	}
	if (new->meta->deletion_timestamp != NULL) {
		forget_pod(s, o->meta->uid);
		snapshot_remove(&s->snap, o->meta->uid);
	} else if (is_ours(pod))
		want_pod(s, new);
}

static void on_node(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct scheduler *s = container_of(h, struct scheduler, on_nodes);

	if (new)
		snapshot_set_node(&s->snap, new);
	else
		snapshot_del_node(&s->snap, old->meta->name);
	requeue_unschedulable(s);
}

static void on_synced(struct informer_handler *h)
{
	wake(container_of(h, struct scheduler, on_pods));
}

static void on_nodes_synced(struct informer_handler *h)
{
	wake(container_of(h, struct scheduler, on_nodes));
}

/* How budgets change is no reason to decide anew. */
static void on_budget(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	(void)h, (void)old, (void)new;
}

static void on_budgets_synced(struct informer_handler *h)
{
	wake(container_of(h, struct scheduler, on_budgets));
}

static const enum view_id storage_views[] = {VIEW_CLAIMS, VIEW_VOLUMES, VIEW_CLASSES};

static bool has_claims(const Core__Pod *pod)
{
	for (size_t i = 0; i < pod->spec->n_volumes; i++) {
		const Core__VolumeSource *v = pod->spec->volumes[i]->volume_source;

		if (v && (v->persistent_volume_claim || v->ephemeral))
			return true;
	}
	return false;
}

/* Pods without claims do not wait for these. */
static void on_storage(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct scheduler *s = container_of(h, struct storage_watch, base)->s;

	(void)old, (void)new;
	MAP_FOR_EACH (e, &s->pods) {
		struct sched_pod *p = e->value;
		const Core__Pod *pod = p->o->msg;

		if (p->state == POD_UNSCHEDULABLE && pod->spec->n_scheduling_gates == 0 && has_claims(pod))
			queue_pod(p);
	}
}

static void on_storage_synced(struct informer_handler *h)
{
	wake(container_of(h, struct storage_watch, base)->s);
}

/* --- Notes: events and conditions --------------------------------------------------------------------------- */

static void note_done(struct client_req *req)
{
	struct note *n = container_of(req, struct note, req);
	struct scheduler *s = n->s;

	if (req->err.code != ERR_OK && req->err.code != ERR_CANCELED && req->err.code != ERR_NOT_FOUND && req->err.code != ERR_CONFLICT)
		log_debug("scheduler", "note dropped: %s", req->err.text);
	list_del(&n->link);
	client_req_fini(req);
	free(n);
	maybe_stopped(s);
}

static struct note *note_new(struct scheduler *s, enum client_verb verb, const char *plural)
{
	struct note *n = xcalloc(1, sizeof(*n));

	n->s = s;
	list_add_tail(&s->notes, &n->link);
	client_req_init(&n->req, verb, resource_find("", "v1", plural));
	n->req.done = note_done;
	return n;
}

static void send_event(struct scheduler *s, const struct informer_obj *o, const char *type, const char *reason, const char *text)
{
	struct note *n = note_new(s, CLIENT_CREATE, "events");
	struct arena *a = &n->req.arena;
	Core__Event *ev = pb_new_of(a, core__event, Core__Event);
	Meta__ObjectMeta *meta = pb_sub(a, ev, "metadata");
	Core__ObjectReference *ref = pb_sub(a, ev, "involved_object");
	Core__EventSource *source = pb_sub(a, ev, "source");

	meta->namespace_ = arena_strdup(a, pb_s(o->meta->namespace_));
	meta->name = arena_printf(a, "%s.%016llx", o->meta->name, (unsigned long long)clock_wall_ns());
	ref->api_version = (char *)"v1";
	ref->kind = (char *)"Pod";
	ref->name = arena_strdup(a, o->meta->name);
	ref->namespace_ = meta->namespace_;
	ref->uid = arena_strdup(a, pb_s(o->meta->uid));
	ref->resource_version = arena_strdup(a, pb_s(o->meta->resource_version));
	ev->type = (char *)type;
	ev->reason = (char *)reason;
	ev->message = arena_strdup(a, text);
	source->component = (char *)SCHEDULER_NAME;
	ev->reporting_component = source->component;
	ev->first_timestamp = time_now(a, clock_wall_s());
	ev->last_timestamp = ev->first_timestamp;
	ev->has_count = true;
	ev->count = 1;
	n->req.ns = meta->namespace_;
	n->req.msg = &ev->base;
	client_do(s->client, &n->req);
}

/* nominated: where others make room for it; NULL: nowhere. */
static void set_condition(struct scheduler *s, const struct informer_obj *o, const char *text, const char *nominated)
{
	const Core__Pod *old = o->msg;
	struct note *n;
	struct arena *a;
	Core__Pod *pod;
	Core__PodCondition *c = NULL;

	for (size_t i = 0; old->status && i < old->status->n_conditions; i++)
		if (pb_streq(old->status->conditions[i]->type, "PodScheduled") && pb_streq(old->status->conditions[i]->message, text) &&
				(nominated == NULL || pb_streq(old->status->nominated_node_name, nominated)))
			return;
	n = note_new(s, CLIENT_UPDATE, "pods");
	a = &n->req.arena;
	pod = pb_copy(a, old);
	pb_sub(a, pod, "status");
	for (size_t i = 0; i < pod->status->n_conditions; i++)
		if (pb_streq(pod->status->conditions[i]->type, "PodScheduled"))
			c = pod->status->conditions[i];
	if (c == NULL)
		c = pb_add(a, pod->status, "conditions");
	if (!pb_streq(c->status, "False"))
		c->last_transition_time = time_now(a, clock_wall_s());
	c->type = (char *)"PodScheduled";
	c->status = (char *)"False";
	c->reason = (char *)"Unschedulable";
	c->message = arena_strdup(a, text);
	if (nominated)
		pod->status->nominated_node_name = arena_strdup(a, nominated);
	n->req.ns = pod->metadata->namespace_;
	n->req.name = pod->metadata->name;
	n->req.sub = "status";
	n->req.msg = &pod->base;
	client_do(s->client, &n->req);
	send_event(s, o, "Warning", "FailedScheduling", text);
}

/* --- Binding ---------------------------------------------------------------------------------------------------- */

static void on_backoff(struct loop_timer *t)
{
	queue_pod(container_of(t, struct sched_pod, timer));
}

static void bind_done(struct client_req *req)
{
	struct sched_pod *p = container_of(req, struct sched_pod, req);
	struct scheduler *s = p->s;
	struct err e = req->err;
	char *text = xasprintf("Successfully assigned %.*s to %s", STR_FMT(p->o->key), p->node);

	s->n_binding--;
	client_req_fini(req);
	p->state = e.code == ERR_OK ? POD_BOUND : POD_BACKOFF;
	if (e.code == ERR_OK && !s->stopping)
		send_event(s, p->o, "Normal", "Scheduled", text);
	free(text);
	if (e.code != ERR_OK && !s->stopping && !p->gone) {
		/* Forget the assumption; if the binding did happen after all, the informer will say so - or has: then what it said stays. */
		snapshot_remove(&s->snap, p->o->meta->uid);
		p->backoff_ms = p->backoff_ms ? MIN(p->backoff_ms * 2, (uint64_t)BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
		log_at(p->backoff_ms > 1000 ? LOG_WARN : LOG_DEBUG, "scheduler", "binding failed pod=%.*s: %s", STR_FMT(p->o->key), e.text);
		loop_timer_start(&p->timer, s->loop, p->backoff_ms, on_backoff);
	}
	if (p->gone)
		pod_free(p);
	maybe_stopped(s);
}

static void bind_pod(struct sched_pod *p, const char *node)
{
	struct scheduler *s = p->s;
	Core__Binding *b;
	Meta__ObjectMeta *meta;
	Core__ObjectReference *target;
	struct arena *a;

	client_req_init(&p->req, CLIENT_CREATE, resource_find("", "v1", "pods"));
	a = &p->req.arena;
	b = pb_new_of(a, core__binding, Core__Binding);
	meta = pb_sub(a, b, "metadata");
	target = pb_sub(a, b, "target");
	meta->namespace_ = arena_strdup(a, pb_s(p->o->meta->namespace_));
	meta->name = arena_strdup(a, p->o->meta->name);
	meta->uid = arena_strdup(a, pb_s(p->o->meta->uid));
	target->api_version = (char *)"v1";
	target->kind = (char *)"Node";
	target->name = arena_strdup(a, node);
	p->node = target->name;
	p->req.ns = meta->namespace_;
	p->req.name = meta->name;
	p->req.sub = "binding";
	p->req.msg = &b->base;
	p->req.done = bind_done;
	p->state = POD_BINDING;
	s->n_binding++;
	snapshot_place(&s->snap, p->o, node);
	client_do(s->client, &p->req);
}

/* Tell the binder and provisioners where the pod will be; it comes again when its claims are bound. */
static void select_node(struct scheduler *s, const struct pod_volumes *volumes, const char *node)
{
	for (size_t i = 0; i < volumes->n; i++) {
		const struct pod_claim *c = &volumes->claims[i];
		struct note *n;
		Core__PersistentVolumeClaim *copy;

		if (c->volume || c->selected)
			continue;
		n = note_new(s, CLIENT_UPDATE, "persistentvolumeclaims");
		copy = pb_copy(&n->req.arena, c->o->msg);
		pb_map_set(&n->req.arena, copy->metadata, "annotations", ANN_SELECTED_NODE, node);
		n->req.ns = copy->metadata->namespace_;
		n->req.name = copy->metadata->name;
		n->req.msg = &copy->base;
		client_do(s->client, &n->req);
	}
}

static void say_not_nominated(struct scheduler *s, const struct informer_obj *o)
{
	struct note *n = note_new(s, CLIENT_PATCH, "pods");
	struct arena *a = &n->req.arena;

	n->req.ns = arena_strdup(a, pb_s(o->meta->namespace_));
	n->req.name = arena_strdup(a, o->meta->name);
	n->req.sub = "status";
	n->req.body = STR("{\"status\":{\"nominatedNodeName\":null}}");
	n->req.content_type = CLIENT_MERGE_PATCH;
	client_do(s->client, &n->req);
}

/* Those of lower priority that waited for room on the node wait there no more: the room is another's. */
static void supersede(struct scheduler *s, const struct informer_obj *by, const char *node, struct arena *a)
{
	const struct informer_obj **losers = arena_new_array(a, const struct informer_obj *, map_len(&s->snap.nominees) + 1);
	const Core__Pod *first = by->msg;
	size_t n = 0;

	MAP_FOR_EACH (e, &s->snap.nominees) {
		const struct nominee *other = e->value;

		if (strcmp(other->node, node) == 0 &&
				pb_or(((const Core__Pod *)other->o->msg)->spec, priority, 0) < pb_or(first->spec, priority, 0))
			losers[n++] = other->o;
	}
	for (size_t i = 0; i < n; i++) {
		say_not_nominated(s, losers[i]);
		snapshot_nominate(&s->snap, losers[i], "");
	}
}

/* Whom it pushes out, if that helps: where it waits for them to go; NULL: nowhere. In the arena. */
static const char *push_out(struct sched_pod *p, const struct pod_volumes *volumes, struct arena *a)
{
	struct scheduler *s = p->s;
	const struct informer_obj **budgets = arena_new_array(a, const struct informer_obj *, informer_len(s->view->inf[VIEW_BUDGETS]) + 1);
	struct preemption out;
	size_t n = 0;

	if (volumes->message || clock_mono_ms() < p->preempt_not_before_ms || !preempt_may(&s->snap, p->o))
		return NULL;
	INFORMER_FOR_EACH (o, s->view->inf[VIEW_BUDGETS])
		budgets[n++] = o;
	out = preempt(&s->snap, p->o, volumes, budgets, n, a);
	if (out.node == NULL)
		return NULL;
	p->preempt_not_before_ms = clock_mono_ms() + PREEMPT_PAUSE_MS;
	for (size_t i = 0; i < out.n; i++) {
		if (out.victims[i]->meta->deletion_timestamp != NULL)
			continue; /* it is going anyway */
		evict_start(&s->evictions, s->client, out.victims[i], SCHEDULER_NAME, maybe_stopped_evictions, s);
		send_event(s, out.victims[i], "Normal", "Preempted",
				arena_printf(a, "Preempted by pod %s on node %s", pb_s(p->o->meta->uid), out.node->name));
	}
	supersede(s, p->o, out.node->name, a);
	snapshot_nominate(&s->snap, p->o, out.node->name);
	return arena_strdup(a, out.node->name);
}

static void decide_one(struct sched_pod *p)
{
	struct scheduler *s = p->s;
	struct pod_volumes volumes;
	struct arena a;
	struct decision d;

	arena_init(&a);
	volumes = pod_volumes(s->view, p->o, &a);
	d = decide(&s->snap, p->o, &volumes, random_u64(), &a);
	if (d.node != NULL && pod_volumes_wait(&volumes)) {
		p->state = POD_UNSCHEDULABLE;
		select_node(s, &volumes, d.node->name);
	} else if (d.node != NULL) {
		bind_pod(p, d.node->name);
	} else {
		p->state = POD_UNSCHEDULABLE;
		set_condition(s, p->o, d.message, push_out(p, &volumes, &a));
	}
	arena_fini(&a);
}

static void turn(struct loop_timer *t)
{
	struct scheduler *s = container_of(t, struct scheduler, turn);
	struct list *l;

	if (!informer_synced(s->view->inf[VIEW_PODS]) || !informer_synced(s->view->inf[VIEW_NODES]) ||
			!informer_synced(s->view->inf[VIEW_BUDGETS]))
		return;
	for (size_t i = 0; i < ARRAY_LEN(storage_views); i++)
		if (!informer_synced(s->view->inf[storage_views[i]]))
			return;
	for (int i = 0; i < BATCH && (l = list_pop(&s->queue)) != NULL; i++)
		decide_one(container_of(l, struct sched_pod, link));
	wake(s);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

struct scheduler *scheduler_start(struct loop *loop, struct client *client, struct view *view)
{
	struct scheduler *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	s->client = client;
	s->view = view;
	list_init(&s->queue);
	list_init(&s->notes);
	list_init(&s->evictions);
	snapshot_init(&s->snap);
	s->on_pods = (struct informer_handler){.changed = on_pod, .synced = on_synced};
	s->on_nodes = (struct informer_handler){.changed = on_node, .synced = on_nodes_synced};
	informer_add_handler(view->inf[VIEW_PODS], &s->on_pods);
	informer_add_handler(view->inf[VIEW_NODES], &s->on_nodes);
	s->on_budgets = (struct informer_handler){.changed = on_budget, .synced = on_budgets_synced};
	informer_add_handler(view->inf[VIEW_BUDGETS], &s->on_budgets);
	for (size_t i = 0; i < ARRAY_LEN(storage_views); i++) {
		s->on_storage[i] = (struct storage_watch){{.changed = on_storage, .synced = on_storage_synced}, s};
		informer_add_handler(view->inf[storage_views[i]], &s->on_storage[i].base);
	}
	loop_timer_start(&s->retry, loop, RETRY_MS, on_retry);
	return s;
}

static void finish(struct loop_timer *t)
{
	struct scheduler *s = container_of(t, struct scheduler, turn);

	MAP_FOR_EACH (e, &s->pods)
		pod_free(e->value);
	map_fini(&s->pods);
	snapshot_fini(&s->snap);
	if (s->stopped)
		s->stopped(s->stopped_arg);
	free(s);
}

static void maybe_stopped(struct scheduler *s)
{
	if (s->stopping && s->n_binding == 0 && list_empty(&s->notes) && list_empty(&s->evictions) && !loop_timer_active(&s->turn))
		loop_timer_start(&s->turn, s->loop, 0, finish);
}

static void maybe_stopped_evictions(void *arg)
{
	maybe_stopped(arg);
}

void scheduler_stop(struct scheduler *s, void (*cb)(void *arg), void *arg)
{
	s->stopping = true;
	s->stopped = cb;
	s->stopped_arg = arg;
	list_del(&s->on_pods.link);
	list_del(&s->on_nodes.link);
	list_del(&s->on_budgets.link);
	for (size_t i = 0; i < ARRAY_LEN(storage_views); i++)
		list_del(&s->on_storage[i].base.link);
	loop_timer_stop(&s->turn);
	loop_timer_stop(&s->retry);
	LIST_FOR_EACH (n, &s->notes, struct note, link)
		client_cancel(&n->req);
	evict_cancel(&s->evictions);
	MAP_FOR_EACH (e, &s->pods) {
		struct sched_pod *p = e->value;

		loop_timer_stop(&p->timer);
		if (p->state == POD_BINDING)
			client_cancel(&p->req);
	}
	maybe_stopped(s);
}
