#include "orchestrator/scheduler/evict.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/pods.h"
#include "orchestrator/informer/informer.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/resource.h"

struct eviction {
	struct list link;
	struct client *client;
	struct informer_obj *o;
	struct client_req req;
	void (*done)(void *arg);
	void *arg;
};

static void ended(struct eviction *e, const char *what, const struct err *err)
{
	void (*done)(void *) = e->done;
	void *arg = e->arg;

	if (err->code != ERR_OK && err->code != ERR_CANCELED && err->code != ERR_NOT_FOUND)
		log_warn("scheduler", "pod=%.*s is to make room and %s: %s", STR_FMT(e->o->key), what, err->text);
	list_del(&e->link);
	client_req_fini(&e->req);
	informer_obj_unref(e->o);
	free(e);
	done(arg);
}

static void begin(struct eviction *e, enum client_verb verb, void (*done)(struct client_req *))
{
	client_req_init(&e->req, verb, resource_find("", "v1", "pods"));
	e->req.ns = e->o->meta->namespace_;
	e->req.name = e->o->meta->name;
	e->req.done = done;
}

static void deleted(struct client_req *req)
{
	ended(container_of(req, struct eviction, req), "was not deleted", &req->err);
}

static void delete(struct eviction *e)
{
	begin(e, CLIENT_DELETE, deleted);
	e->req.precondition_uid = e->o->meta->uid;
	e->req.grace_period_seconds = -1;
	client_do(e->client, &e->req);
}

static void told(struct client_req *req)
{
	struct eviction *e = container_of(req, struct eviction, req);

	if (req->err.code != ERR_OK) {
		ended(e, "does not say so", &req->err);
		return;
	}
	client_req_fini(req);
	delete(e);
}

void evict_start(struct list *under_way, struct client *client, const struct informer_obj *pod, const char *scheduler, void (*done)(void *arg),
		void *arg)
{
	struct eviction *e = xcalloc(1, sizeof(*e));
	struct json *status, *body, *meta;
	struct arena *a;

	e->client = client;
	e->o = informer_obj_ref(pod);
	e->done = done;
	e->arg = arg;
	list_add_tail(under_way, &e->link);
	begin(e, CLIENT_PATCH, told);
	a = &e->req.arena;
	status = pod_disruption(a, pod->msg, "PreemptionByScheduler",
			arena_printf(a, "%s: preempting to accommodate a higher priority pod", scheduler), false, clock_wall_s());
	if (status == NULL) {
		client_req_fini(&e->req);
		delete(e);
		return;
	}
	body = json_new_object(a);
	meta = json_new_object(a);
	json_setc(a, meta, "uid", json_newc(a, pb_s(pod->meta->uid)));
	json_setc(a, body, "metadata", meta);
	json_setc(a, body, "status", status);
	e->req.sub = "status";
	e->req.body = json_text(a, body);
	e->req.content_type = CLIENT_STRATEGIC_PATCH;
	client_do(e->client, &e->req);
}

void evict_cancel(struct list *under_way)
{
	LIST_FOR_EACH (e, under_way, struct eviction, link)
		client_cancel(&e->req);
}
