/*
 * Telling the API about one pod: its status, and in the end that the object may go.
 *
 * One write is under way at a time, of the newest status, until it was taken: one that failed is sent again by a timer of its own,
 * whatever else the worker is woken for, and whether or not the status has changed since. And it is said again when the API's object
 * says otherwise: who loses sight of a node calls its pods not ready, and nobody but the kubelet takes that back.
 */
#include "orchestrator/kubelet/kubelet-priv.h"

#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "orchestrator/kubelet/pbutil.h"
#include "proto/resource.h"

#define RETRY_MIN_MS 200
#define RETRY_MAX_MS 10000
/* Somebody who insists on something else is answered no more often than this. */
#define AGAIN_MS 500

static void on_retell(struct loop_timer *t)
{
	struct pod_worker *w = container_of(t, struct pod_worker, retell);

	tell_status(w);
	worker_kick(w);
}

static void retell_in(struct pod_worker *w, int64_t ms)
{
	if (!w->closing)
		loop_timer_start(&w->retell, w->k->loop, (uint64_t)ms, on_retell);
}

static void failed(struct pod_worker *w, const char *what, const struct err *e)
{
	w->write_delay_ms = w->write_delay_ms ? MIN(2 * w->write_delay_ms, RETRY_MAX_MS) : RETRY_MIN_MS;
	log_warn("kubelet", "pod %s pod=%s/%s again_ms=%d: %s", what, w->ns, w->name, (int)w->write_delay_ms, e->text);
	retell_in(w, w->write_delay_ms);
}

/* 0: there is none that can be read. */
static uint64_t version_of(const Meta__ObjectMeta *m)
{
	uint64_t rv = 0;

	return m && str_to_u64(str_from(nz(m->resource_version)), &rv) ? rv : 0;
}

static void status_written(struct client_req *req)
{
	struct pod_worker *w = container_of(req, struct pod_worker, status_req);
	Meta__PartialObjectMetadata *answer;

	w->status_busy = false;
	kubelet_idle(w->k);
	if (req->err.code == ERR_OK) {
		w->write_delay_ms = 0;
		answer = client_req_unpack(req, &meta__partial_object_metadata__descriptor);
		w->saved_version = answer ? version_of(answer->metadata) : 0;
	} else if (req->err.code != ERR_NOT_FOUND) { /* that of a pod which is gone needs no one to know */
		kept_unref(TAKE(w->saved));
		failed(w, "status", &req->err);
	}
	client_req_fini(req);
	if (!w->closing && w->saved && w->saved != w->status)
		tell_status(w);
	worker_kick(w);
	worker_release(w);
}

void tell_status(struct pod_worker *w)
{
	Core__Pod *pod = worker_pod(w), out;
	Meta__ObjectMeta meta;

	if (w->closing || w->status_busy || !w->status || !pod || w->unwanted || !w->k->client || w->saved == w->status)
		return;
	core__pod__init(&out);
	/* Without a version: the last word on a pod's status is its kubelet's. */
	meta = *pod->metadata;
	meta.resource_version = NULL;
	out.metadata = &meta;
	out.spec = pod->spec;
	out.status = w->status->msg;
	kept_unref(w->saved);
	w->saved = kept_ref(w->status);
	w->status_busy = true;
	kubelet_busy(w->k);
	client_req_init(&w->status_req, CLIENT_UPDATE, resource_find("", "v1", "pods"));
	w->status_req.ns = w->ns;
	w->status_req.name = w->name;
	w->status_req.sub = "status";
	w->status_req.body = pb_pack_arena(&out, &w->status_req.arena);
	w->status_req.done = status_written;
	client_do(w->k->client, &w->status_req);
}

void tell_if_contradicted(struct pod_worker *w)
{
	const Core__Pod *api = w->wanted ? w->wanted->msg : NULL;

	/* While the node itself is not believed to be well, its pods will not be either. */
	if (!api || w->k->called_unready || w->status_busy || !w->saved || w->saved != w->status || loop_timer_active(&w->retell))
		return;
	/* What it was before our own last word is no contradiction. */
	if (version_of(api->metadata) < w->saved_version || !pod_status_contradicted(w->status->msg, api->status))
		return;
	kept_unref(TAKE(w->saved));
	retell_in(w, AGAIN_MS);
}

static void pod_deleted(struct client_req *req)
{
	struct pod_worker *w = container_of(req, struct pod_worker, delete_req);

	w->delete_busy = false;
	kubelet_idle(w->k);
	/* A conflict: it may be another pod of that name by now, or many writers. The informer knows. */
	if (req->err.code == ERR_OK || req->err.code == ERR_NOT_FOUND)
		w->deleted = true; /* the informer's delete event brings the end */
	else
		failed(w, "delete", &req->err);
	client_req_fini(req);
	worker_release(w);
}

void tell_deleted(struct pod_worker *w)
{
	if (w->deleted || w->delete_busy || !w->k->client || loop_timer_active(&w->retell))
		return;
	tell_status(w);
	if (w->status_busy)
		return;
	w->delete_busy = true;
	kubelet_busy(w->k);
	client_req_init(&w->delete_req, CLIENT_DELETE, resource_find("", "v1", "pods"));
	w->delete_req.ns = w->ns;
	w->delete_req.name = w->name;
	w->delete_req.grace_period_seconds = 0;
	w->delete_req.precondition_uid = w->uid;
	w->delete_req.done = pod_deleted;
	client_do(w->k->client, &w->delete_req);
}
