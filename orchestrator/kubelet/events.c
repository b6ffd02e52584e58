/*
 * Events about pods, for `kubectl describe`. Equal ones are counted in one object for ten minutes; writes are few at a
 * time and a failed one is dropped, since events only inform.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "proto/resource.h"

#define MAX_KNOWN 512
#define MAX_UNDER_WAY 32
#define SAME_FOR_S 600
#define REPEAT_MS 5000 /* a repeated event is written at most so often */

struct known {
	char name[300];
	int32_t count;
	int64_t first_s, last_s, written_ms;
};

struct kubelet_events {
	struct kubelet *k;
	struct map known; /* pod/container/reason/message -> struct known */
	unsigned under_way;
};

struct event_write {
	struct client_req req;
	struct kubelet *k;
};

struct kubelet_events *events_new(struct kubelet *k)
{
	struct kubelet_events *ev = xcalloc(1, sizeof(*ev));

	ev->k = k;
	map_init(&ev->known);
	return ev;
}

void events_close(struct kubelet_events *ev)
{
	if (!ev)
		return;
	map_fini_with(&ev->known, free);
	free(ev);
}

static void written(struct client_req *req)
{
	struct event_write *wr = container_of(req, struct event_write, req);
	struct kubelet *k = wr->k;

	if (req->err.code)
		log_debug("kubelet", "event: %s", req->err.text);
	if (k->events)
		k->events->under_way--;
	client_req_fini(req);
	free(wr);
	kubelet_idle(k);
}

static Meta__Time *time_at(struct arena *a, int64_t s)
{
	Meta__Time *t = PB_NEW(a, Meta__Time, meta__time);

	PB_SET(t, seconds, s);
	return t;
}

/* Where the pod's spec has the container of that name. */
static const char *field_path(struct arena *a, const Core__Pod *pod, const char *container)
{
	const char *list = "containers";

	for (size_t i = 0; i < pod->spec->n_init_containers; i++)
		if (strcmp(nz(pod->spec->init_containers[i]->name), container) == 0)
			list = "initContainers";
	for (size_t i = 0; i < pod->spec->n_ephemeral_containers; i++) {
		const Core__EphemeralContainerCommon *c = pod->spec->ephemeral_containers[i]->ephemeral_container_common;

		if (c && strcmp(nz(c->name), container) == 0)
			list = "ephemeralContainers";
	}
	return arena_printf(a, "spec.%s{%s}", list, container);
}

static Core__Event *event_new(struct arena *a, struct kubelet *k, const Core__Pod *pod, const char *container,
		bool warning, const char *reason, const char *message, const struct known *n)
{
	Core__Event *e = PB_NEW(a, Core__Event, core__event);
	Core__ObjectReference *o = PB_NEW(a, Core__ObjectReference, core__object_reference);

	e->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
	e->metadata->name = n->name;
	e->metadata->namespace_ = pod->metadata->namespace_;
	o->kind = "Pod";
	o->api_version = "v1";
	o->namespace_ = pod->metadata->namespace_;
	o->name = pod->metadata->name;
	o->uid = pod->metadata->uid;
	o->resource_version = pod->metadata->resource_version;
	if (container)
		o->field_path = field_path(a, pod, container);
	e->involved_object = o;
	e->type = warning ? "Warning" : "Normal";
	e->reason = reason;
	e->message = message;
	e->source = PB_NEW(a, Core__EventSource, core__event_source);
	e->source->component = "kubelet";
	e->source->host = k->host.node_name;
	e->reporting_component = "kubelet";
	e->reporting_instance = k->host.node_name;
	e->first_timestamp = time_at(a, n->first_s);
	e->last_timestamp = time_at(a, n->last_s);
	PB_SET(e, count, n->count);
	return e;
}

static struct known *known_of(struct kubelet_events *ev, const char *key, const Core__Pod *pod)
{
	struct known *n = map_get(&ev->known, str_from(key));
	int64_t now = clock_wall_s();

	if (n && now - n->last_s < SAME_FOR_S)
		return n;
	if (map_len(&ev->known) >= MAX_KNOWN) {
		map_fini_with(&ev->known, free);
		map_init(&ev->known);
		n = NULL;
	}
	if (!n) {
		n = xcalloc(1, sizeof(*n));
		map_put(&ev->known, str_from(key), n);
	}
	memset(n, 0, sizeof(*n));
	snprintf(n->name, sizeof(n->name), "%.240s.%016llx", nz(pod->metadata->name),
			(unsigned long long)clock_wall_ns());
	n->first_s = now;
	return n;
}

void pod_event(struct kubelet *k, const Core__Pod *pod, const char *container, bool warning, const char *reason,
		const char *fmt, ...)
{
	_cleanup_(freep) char *key = NULL;
	struct event_write *wr;
	struct known *n;
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (!pod || !k->client || !k->events || k->stopping || k->events->under_way >= MAX_UNDER_WAY)
		return;
	key = xasprintf("%s/%s/%s/%s", nz(pod->metadata->uid), nz(container), reason, message);
	n = known_of(k->events, key, pod);
	n->count++;
	n->last_s = clock_wall_s();
	if (n->count > 1 && wall_ms() - n->written_ms < REPEAT_MS)
		return;
	n->written_ms = wall_ms();
	wr = xcalloc(1, sizeof(*wr));
	wr->k = k;
	client_req_init(&wr->req, n->count == 1 ? CLIENT_CREATE : CLIENT_UPDATE, resource_find("", "v1", "events"));
	wr->req.ns = arena_strdup(&wr->req.arena, nz(pod->metadata->namespace_));
	if (n->count > 1)
		wr->req.name = arena_strdup(&wr->req.arena, n->name);
	wr->req.body = pb_pack_arena(
			event_new(&wr->req.arena, k, pod, container, warning, reason, message, n), &wr->req.arena);
	wr->req.done = written;
	k->events->under_way++;
	kubelet_busy(k);
	client_do(k->client, &wr->req);
}
