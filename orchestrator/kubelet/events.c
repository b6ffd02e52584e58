/*
 * Events about pods and about our Node, for `kubectl describe`. Equal ones are counted in one object for ten minutes; writes are few at a
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
	struct map known; /* uid/field/reason/message -> struct known */
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

static const char *namespace_of(const Core__ObjectReference *about)
{
	return is_set(about->namespace_) ? about->namespace_ : "default";
}

static Core__Event *event_new(struct arena *a, struct kubelet *k, const Core__ObjectReference *about, bool warning, const char *reason,
		const char *message, const struct known *n)
{
	Core__Event *e = PB_NEW(a, Core__Event, core__event);

	e->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
	e->metadata->name = n->name;
	e->metadata->namespace_ = namespace_of(about);
	e->involved_object = pb_copy(a, about);
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

static struct known *known_of(struct kubelet_events *ev, const char *key, const char *name)
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
	snprintf(n->name, sizeof(n->name), "%.240s.%016llx", name, (unsigned long long)clock_wall_ns());
	n->first_s = now;
	return n;
}

static void write_event(struct kubelet *k, const Core__ObjectReference *about, bool warning, const char *reason, const char *message)
{
	_cleanup_(freep) char *key = NULL;
	struct event_write *wr;
	struct known *n;

	if (k->events->under_way >= MAX_UNDER_WAY)
		return;
	key = xasprintf("%s/%s/%s/%s", nz(about->uid), nz(about->field_path), reason, message);
	n = known_of(k->events, key, nz(about->name));
	n->count++;
	n->last_s = clock_wall_s();
	if (n->count > 1 && wall_ms() - n->written_ms < REPEAT_MS)
		return;
	n->written_ms = wall_ms();
	wr = xcalloc(1, sizeof(*wr));
	wr->k = k;
	client_req_init(&wr->req, n->count == 1 ? CLIENT_CREATE : CLIENT_UPDATE, resource_find("", "v1", "events"));
	wr->req.ns = arena_strdup(&wr->req.arena, namespace_of(about));
	if (n->count > 1)
		wr->req.name = arena_strdup(&wr->req.arena, n->name);
	wr->req.body = pb_pack_arena(event_new(&wr->req.arena, k, about, warning, reason, message, n), &wr->req.arena);
	wr->req.done = written;
	k->events->under_way++;
	kubelet_busy(k);
	client_do(k->client, &wr->req);
}

static bool can_tell(const struct kubelet *k)
{
	return k->client && k->events && !k->stopping;
}

void pod_event(struct kubelet *k, const Core__Pod *pod, const char *container, bool warning, const char *reason,
		const char *fmt, ...)
{
	Core__ObjectReference about = CORE__OBJECT_REFERENCE__INIT;
	struct arena a;
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (!pod || !can_tell(k))
		return;
	arena_init(&a);
	about.kind = "Pod";
	about.api_version = "v1";
	about.namespace_ = pod->metadata->namespace_;
	about.name = pod->metadata->name;
	about.uid = pod->metadata->uid;
	about.resource_version = pod->metadata->resource_version;
	if (container)
		about.field_path = field_path(&a, pod, container);
	write_event(k, &about, warning, reason, message);
	arena_fini(&a);
}

void node_event(struct kubelet *k, bool warning, const char *reason, const char *fmt, ...)
{
	Core__ObjectReference about = CORE__OBJECT_REFERENCE__INIT;
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (!can_tell(k))
		return;
	about.kind = "Node";
	about.name = about.uid = k->host.node_name; /* as upstream's kubelets call it: `kubectl describe node` looks for that */
	write_event(k, &about, warning, reason, message);
}
