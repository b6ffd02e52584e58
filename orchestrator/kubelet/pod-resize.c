/*
 * Resizing, the part that waits: which pods of the node want other resources than they have, in whose turn they get them,
 * and the file in which a pod's allocation outlives the agent (<pod's directory>/allocation, gone with the pod).
 *
 * Nothing is decided in the call that asked for it: all pods that want something are looked at together, so that the order
 * is theirs (priority, then quality of service, then who waits longest) and not that of the events.
 */
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"
#include "proto/pb.h"

#define RECORD_MAX (1u << 20)

/* --- The record -------------------------------------------------------------------------------------------------- */

static char *record_path(struct arena *a, const struct pod_worker *w)
{
	return arena_printf(a, "%s/allocation", pod_dir(a, &w->k->host, w->uid));
}

void worker_save_allocation(struct pod_worker *w)
{
	struct resize_actual *actual;
	struct err e = ERR_INIT;
	struct arena a;
	size_t n = 0;

	if (!w->pod || w->cleaning || w->cleaned || w->closing)
		return;
	arena_init(&a);
	actual = arena_new_array(&a, struct resize_actual, w->n_c + 1);
	for (size_t i = 0; i < w->n_c; i++)
		if (w->c[i].actual)
			actual[n++] = (struct resize_actual){w->c[i].name, w->c[i].actual_id, w->c[i].actual->msg};
	if (fs_mkdir_all(pod_dir(&a, &w->k->host, w->uid), 0755, &e) < 0 ||
			file_put(record_path(&a, w), pb_pack_arena(resize_record(&a, worker_pod(w), worker_whole(w), actual, n), &a), 0600, false, &e) < 0)
		log_warn("kubelet", "pod=%s/%s allocation not saved: %s", w->ns, w->name, e.text);
	arena_fini(&a);
}

Core__Pod *worker_load_allocation(struct pod_worker *w, struct arena *a)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	Core__Pod *record;

	if (file_get(record_path(a, w), RECORD_MAX, &b, &e) < 0)
		return NULL;
	record = pb_unpack(a, &core__pod__descriptor, buf_str(&b));
	if (!record)
		log_warn("kubelet", "pod=%s/%s: the saved allocation cannot be read, the spec counts", w->ns, w->name);
	return record;
}

void worker_load_actual(struct pod_worker *w, const Core__Pod *record)
{
	for (size_t i = 0; record->status && i < record->status->n_container_statuses; i++) {
		const Core__ContainerStatus *s = record->status->container_statuses[i];
		struct work_container *c = worker_container(w, nz(s->name));

		if (c && s->resources)
			worker_set_actual(c, nz(s->container_id), s->resources);
	}
	if (record->status)
		worker_set_whole(w, record->status->resources);
}

void worker_set_whole(struct pod_worker *w, const Core__ResourceRequirements *whole)
{
	struct kept *old = w->whole;

	w->whole = whole ? kept_new(whole) : NULL;
	kept_unref(old);
}

const Core__ResourceRequirements *worker_whole(const struct pod_worker *w)
{
	return w->whole ? w->whole->msg : NULL;
}

void worker_set_actual(struct work_container *c, const char *id, const Core__ResourceRequirements *actual)
{
	static const Core__ResourceRequirements none = CORE__RESOURCE_REQUIREMENTS__INIT;
	char *copy = xstrdup(id);

	kept_unref(c->actual);
	free(c->actual_id);
	c->actual = kept_new(actual ? actual : &none);
	c->actual_id = copy;
}

/* --- Whose turn it is ----------------------------------------------------------------------------------------------- */

static void used_by_others(const struct kubelet *k, const struct pod_worker *me, struct resize_node *n)
{
	MAP_FOR_EACH (e, &k->workers) {
		const struct pod_worker *w = e->value;
		struct res r;

		if (w == me || worker_is_over(w))
			continue;
		res_of_pod(worker_pod(w), &r);
		n->cpu_milli_used += r.cpu_request;
		n->memory_used += r.memory_request;
	}
}

static void pending(struct pod_worker *w, const char *reason, const char *message)
{
	const Core__Pod *pod = worker_pod(w);
	struct arena a;

	if (w->resize_reason && strcmp(w->resize_reason, reason) == 0 && strcmp(w->resize_message, message) == 0)
		return;
	arena_init(&a);
	free(w->resize_message);
	w->resize_reason = reason;
	w->resize_message = xstrdup(message);
	pod_event(w->k, pod, NULL, true, strcmp(reason, "Deferred") == 0 ? "ResizeDeferred" : "ResizeInfeasible",
			"Pod resize %s: %s", reason, resize_text(&a, w->wanted->msg, message));
	arena_fini(&a);
}

static void not_pending(struct pod_worker *w)
{
	w->resize_reason = NULL;
	free(TAKE(w->resize_message));
}

static void allocate(struct pod_worker *w)
{
	Core__Pod *pod = w->wanted->msg;
	struct arena a;

	arena_init(&a);
	not_pending(w);
	free(TAKE(w->resize_error));
	w->resize_delay_ms = w->resize_not_before_ms = 0;
	w->resize_generation = pod->metadata->has_generation ? pod->metadata->generation : 0;
	w->resize_began = true;
	worker_use(w, pod);
	worker_save_allocation(w);
	pod_event(w->k, pod, NULL, false, "ResizeStarted", "Pod resize started: %s", resize_text(&a, pod, NULL));
	arena_fini(&a);
}

static void look(struct pod_worker *w)
{
	struct resize_node node = {0};
	const char *message = "";
	struct arena a;

	arena_init(&a);
	node_allocatable(w->k, &node.cpu_milli, &node.memory);
	used_by_others(w->k, w, &node);
	switch (resize_decide(&a, w->wanted->msg, worker_pod(w), &node, &message)) {
	case RESIZE_SAME:
		not_pending(w);
		break;
	case RESIZE_FITS:
		allocate(w);
		resizes_look_soon(w->k); /* what it gave back may be enough for another one */
		break;
	case RESIZE_DEFERRED:
		pending(w, "Deferred", message);
		break;
	case RESIZE_INFEASIBLE:
		pending(w, "Infeasible", message);
		break;
	}
	arena_fini(&a);
	worker_kick(w);
}

static int qos_rank(const Core__Pod *pod)
{
	const char *qos = pod_qos(pod);

	return strcmp(qos, "Guaranteed") == 0 ? 2 : strcmp(qos, "Burstable") == 0;
}

static int by_turn(const void *x, const void *y)
{
	const struct pod_worker *a = *(struct pod_worker *const *)x, *b = *(struct pod_worker *const *)y;
	int64_t pa = pb_or(worker_pod(a)->spec, priority, 0), pb = pb_or(worker_pod(b)->spec, priority, 0);

	if (pa != pb)
		return pa > pb ? -1 : 1;
	if (qos_rank(worker_pod(a)) != qos_rank(worker_pod(b)))
		return qos_rank(worker_pod(b)) - qos_rank(worker_pod(a));
	return a->resize_since_ms < b->resize_since_ms ? -1 : a->resize_since_ms > b->resize_since_ms;
}

static void on_look(struct loop_timer *t)
{
	struct kubelet *k = container_of(t, struct kubelet, resize_timer);
	struct pod_worker **list = xcalloc(map_len(&k->workers) + 1, sizeof(struct pod_worker *));
	size_t n = 0;

	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		if (!worker_is_over(w) && w->resize_since_ms)
			list[n++] = w;
	}
	qsort(list, n, sizeof(struct pod_worker *), by_turn);
	for (size_t i = 0; i < n; i++) {
		look(list[i]);
		if (!list[i]->resize_reason)
			list[i]->resize_since_ms = 0;
	}
	free(list);
}

void resizes_look_soon(struct kubelet *k)
{
	if (!k->stopping && !loop_timer_active(&k->resize_timer))
		loop_timer_start(&k->resize_timer, k->loop, 0, on_look);
}
