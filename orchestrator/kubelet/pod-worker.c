/* A pod's worker: its spec and containers, what its volumes need, and its end. pod-look.c decides what is to be done. */
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-worker-priv.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"

#define REFRESH_MS 30000          /* contents of volumes */
#define VOLUMES_RETRY_MIN_MS 250
#define VOLUMES_RETRY_MAX_MS 20000

int64_t wall_ms(void)
{
	return clock_wall_ns() / 1000000;
}

struct kept *kept_new(const void *msg)
{
	struct kept *k = xcalloc(1, sizeof(*k));

	arena_init(&k->arena);
	k->refs = 1;
	k->msg = pb_copy(&k->arena, msg);
	return k;
}

struct kept *kept_ref(struct kept *k)
{
	if (k)
		k->refs++;
	return k;
}

void kept_unref(struct kept *k)
{
	if (!k || --k->refs > 0)
		return;
	arena_fini(&k->arena);
	free(k);
}

const struct rt_pod *worker_rt(const struct pod_worker *w)
{
	return w->k->runtime ? runtime_pod(w->k->runtime, w->uid) : NULL;
}

struct work_container *worker_container(struct pod_worker *w, const char *name)
{
	for (size_t i = 0; i < w->n_c; i++)
		if (strcmp(w->c[i].name, name) == 0)
			return &w->c[i];
	return NULL;
}

const Core__Container *worker_spec(const struct pod_worker *w, const char *name)
{
	const Core__Pod *pod = worker_pod(w);

	for (size_t i = 0; pod && i < pod->spec->n_init_containers; i++)
		if (strcmp(nz(pod->spec->init_containers[i]->name), name) == 0)
			return pod->spec->init_containers[i];
	for (size_t i = 0; pod && i < pod->spec->n_containers; i++)
		if (strcmp(nz(pod->spec->containers[i]->name), name) == 0)
			return pod->spec->containers[i];
	for (size_t i = 0; pod && i < pod->spec->n_ephemeral_containers; i++)
		if (strcmp(nz(w->ephemeral[i]->name), name) == 0)
			return w->ephemeral[i];
	return NULL;
}

const char *worker_ip(const struct pod_worker *w)
{
	const Core__Pod *pod = worker_pod(w);
	const struct rt_pod *rt = worker_rt(w);

	if (pod && PB_OR(pod->spec, host_network, 0))
		return nz(w->k->host.node_ip);
	return rt && rt->n_sandboxes ? rt->sandboxes[0]->ip : "";
}

struct env_ctx worker_env_ctx(const struct pod_worker *w, const Core__Pod *pod)
{
	return (struct env_ctx){
		.pod = pod,
		.objects = w->objects,
		.pod_ip = worker_ip(w),
		.host_ip = nz(w->k->host.node_ip),
		.node_cpu_milli = w->k->host.cpu_milli,
		.node_memory = w->k->host.memory_capacity,
		.node_storage = w->k->host.storage_allocatable,
		.services = &w->k->service_objects,
	};
}

void worker__fetch_objects(struct pod_worker *w);

struct pod_worker *worker_new(struct kubelet *k, const char *uid, const char *ns, const char *name)
{
	struct pod_worker *w = xcalloc(1, sizeof(*w));

	w->k = k;
	w->uid = xstrdup(uid);
	w->ns = xstrdup(ns);
	w->name = xstrdup(name);
	w->first_seen_ms = wall_ms();
	list_init(&w->acts);
	map_put(&k->workers, str_from(uid), w);
	return w;
}

bool worker_is_over(const struct pod_worker *w)
{
	return !w->pod || w->unwanted || w->closing || w->frozen ||
	       (w->status && pod_phase_is_terminal(((Core__PodStatus *)w->status->msg)->phase));
}

void worker_kick(struct pod_worker *w)
{
	if (!w->closing && !loop_timer_active(&w->kick))
		loop_timer_start(&w->kick, w->k->loop, 0, worker__on_kick);
}

void worker__stop_probes(struct work_container *c)
{
	for (int i = 0; i < N_PROBES; i++)
		prober_stop(TAKE(c->probers[i]));
	free(TAKE(c->probed_id));
	free(TAKE(c->unhealthy));
}

static void container_fini(struct work_container *c)
{
	worker__stop_probes(c);
	free(c->name);
	free(c->reason);
	free(c->message);
	free(c->image_id);
	kept_unref(c->actual);
	free(c->actual_id);
}

/* The spec of the container at an index of w->c: the init containers in order, the others, the ephemeral ones. */
const Core__Container *worker__spec_at(const struct pod_worker *w, size_t i)
{
	const Core__PodSpec *s = worker_pod(w)->spec;

	if (i < s->n_init_containers)
		return s->init_containers[i];
	i -= s->n_init_containers;
	return i < s->n_containers ? s->containers[i] : w->ephemeral[i - s->n_containers];
}

/* Names and order of a pod's containers never change, but ephemeral ones are added at the end. */
static void make_containers(struct pod_worker *w)
{
	const Core__PodSpec *s = worker_pod(w)->spec;
	size_t n_plain = s->n_init_containers + s->n_containers, n = n_plain + s->n_ephemeral_containers;

	if (n <= w->n_c)
		return;
	w->c = xrealloc(w->c, n * sizeof(*w->c));
	for (; w->n_c < n; w->n_c++)
		w->c[w->n_c] = (struct work_container){
			.init = w->n_c < s->n_init_containers,
			.ephemeral = w->n_c >= n_plain,
			.name = xstrdup(nz(worker__spec_at(w, w->n_c)->name)),
			.unhealthy_grace_s = -1,
		};
}

void worker_use(struct pod_worker *w, const Core__Pod *from)
{
	struct kept *old = w->pod;
	struct arena a;

	arena_init(&a);
	w->pod = kept_new(resize_with(&a, w->wanted->msg, from));
	arena_fini(&a);
	w->ephemeral = ephemeral_specs(&w->pod->arena, worker_pod(w));
	kept_unref(old);
}

/* A pod that this agent has not seen before: what an earlier one gave it, or else what it asks for. */
static void use_first(struct pod_worker *w)
{
	Core__Pod *record;
	struct arena a;

	arena_init(&a);
	record = worker_load_allocation(w, &a);
	worker_use(w, record ? record : w->wanted->msg);
	make_containers(w);
	if (record)
		worker_load_actual(w, record);
	else
		worker_save_allocation(w);
	arena_fini(&a);
}

void worker_set(struct pod_worker *w, const Core__Pod *pod)
{
	size_t n_before = w->n_c;

	kept_unref(w->wanted);
	w->wanted = kept_new(pod);
	if (w->pod)
		worker_use(w, worker_pod(w));
	else
		use_first(w);
	if (!w->resize_since_ms)
		w->resize_since_ms = wall_ms();
	resizes_look_soon(w->k);
	make_containers(w);
	/* What is added may take its environment from objects that nobody needed before. */
	if (n_before > 0 && w->n_c > n_before) {
		if (w->fetch)
			objects_fetch_cancel(TAKE(w->fetch));
		worker__fetch_objects(w);
	}
	worker_kick(w);
}

void worker_set_failed(struct pod_worker *w, const char *container, const char *reason, const char *message, int64_t delay_ms)
{
	struct work_container *c = worker_container(w, container);

	if (!c)
		return;
	free(c->reason);
	free(c->message);
	c->reason = reason ? xstrdup(reason) : NULL;
	c->message = message ? xstrdup(message) : NULL;
	c->not_before_ms = delay_ms ? wall_ms() + delay_ms : 0;
	if (!reason)
		c->fail_delay_ms = 0;
}

void worker_evict(struct pod_worker *w, const char *message, int64_t grace_s, bool for_node)
{
	w->evicted = xstrdup(message);
	w->evicted_grace_s = grace_s;
	w->evicted_for_node = for_node;
	pod_event(w->k, worker_pod(w), NULL, true, "Evicted", "%s", message);
	worker_kick(w);
}

void worker_refuse(struct pod_worker *w, const char *message)
{
	w->evicted = xasprintf("Pod was rejected: %s", message);
	w->refused = true;
	pod_event(w->k, worker_pod(w), NULL, true, "Evicted", "%s", message);
	worker_kick(w);
}

void workers_forget_over(struct kubelet *k)
{
	MAP_FOR_EACH (e, &k->workers) {
		struct pod_worker *w = e->value;

		if (!w->pod || !w->status || !w->all_stopped || w->unwanted || !pod_phase_is_terminal(((Core__PodStatus *)w->status->msg)->phase))
			continue;
		w->forget = w->frozen = true;
		worker_kick(w);
	}
}

static void on_refresh(struct loop_timer *t)
{
	struct pod_worker *w = container_of(t, struct pod_worker, refresh);

	worker__fetch_objects(w);
}

static void refresh_in(struct pod_worker *w, int64_t ms)
{
	loop_timer_start(&w->refresh, w->k->loop, (uint64_t)ms, on_refresh);
}

void worker_refetch_in(struct pod_worker *w, int64_t ms)
{
	refresh_in(w, MIN(ms, REFRESH_MS));
}

static void volumes_failed(struct pod_worker *w, const struct err *e)
{
	if (!w->volumes_ready && (!w->volumes_error || strcmp(w->volumes_error, e->text) != 0)) {
		free(w->volumes_error);
		w->volumes_error = xstrdup(e->text);
		pod_event(w->k, worker_pod(w), NULL, true, "FailedMount", "%s", e->text);
	}
	w->volumes_delay_ms = w->volumes_delay_ms ? MIN(2 * w->volumes_delay_ms, VOLUMES_RETRY_MAX_MS)
						  : VOLUMES_RETRY_MIN_MS;
	refresh_in(w, w->volumes_delay_ms);
}

static void setup_volumes(struct pod_worker *w)
{
	Core__Pod *pod = worker_pod(w);
	struct vol_ctx ctx = {.env = worker_env_ctx(w, pod), .claims = {w->k->host.node_name, w->k->volumes_dir}};
	struct err e = ERR_INIT;
	struct arena a;
	int rc;

	arena_init(&a);
	ctx.pod_dir = pod_dir(&a, &w->k->host, w->uid);
	rc = objset_check(w->objects, true, w->ns, &e);
	if (rc == 0)
		rc = volumes_setup(&ctx, &e);
	arena_fini(&a);
	if (rc < 0) {
		volumes_failed(w, &e);
		return;
	}
	free(TAKE(w->volumes_error));
	w->volumes_delay_ms = 0;
	w->volumes_ready = true;
	if (volumes_have_contents(pod) || w->objects->n_refs)
		refresh_in(w, REFRESH_MS + (int64_t)(random_u64() % (REFRESH_MS / 4)));
}

static void objects_there(void *arg, struct objset *set)
{
	struct pod_worker *w = arg;

	w->fetch = NULL;
	if (w->objects) {
		objset_fini(w->objects);
		free(w->objects);
	}
	w->objects = set;
	if (w->closing || !w->pod || w->frozen || w->all_stopped)
		return;
	setup_volumes(w);
	worker_kick(w);
}

void worker__fetch_objects(struct pod_worker *w)
{
	if (!w->fetch && w->pod && !w->closing)
		w->fetch = objects_fetch_start(w->k, worker_pod(w), w->objects, objects_there, w);
}

static void maybe_free(struct pod_worker *w);

/*
 * Removing a pod's files: unmounting can take a while, so it happens on a thread of libuv's pool. All of them when the pod is deleted;
 * when it is over and stays in the API, what its volumes held, and what it logged when it is to be forgotten.
 */
struct cleanup {
	uv_work_t work;
	struct pod_worker *w;
	bool over;
	char *dir, *cgroup, *logs; /* of these, those that are not NULL */
	struct err volumes_err, cgroup_err;
};

static void clean(uv_work_t *work)
{
	struct cleanup *c = container_of(work, struct cleanup, work);

	if (c->over) {
		_cleanup_(freep) char *volumes = xasprintf("%s/volumes", c->dir), *subpaths = xasprintf("%s/volume-subpaths", c->dir);

		volumes_teardown(subpaths, &c->volumes_err);
		volumes_teardown(volumes, &c->volumes_err);
	} else {
		volumes_teardown(c->dir, &c->volumes_err);
	}
	if (c->cgroup)
		cgroup_remove(c->cgroup, &c->cgroup_err);
	if (c->logs)
		fs_remove_tree(c->logs, NULL);
}

static void cleaned(uv_work_t *work, int status)
{
	struct cleanup *c = container_of(work, struct cleanup, work);
	struct pod_worker *w = c->w;

	if (c->volumes_err.code)
		log_warn("kubelet", "pod=%s/%s volumes: %s", w->ns, w->name, c->volumes_err.text);
	if (c->cgroup_err.code)
		log_debug("kubelet", "pod=%s/%s: %s", w->ns, w->name, c->cgroup_err.text);
	if (c->over) {
		w->over_cleaning = false;
		w->volumes_cleaned = true;
		w->logs_cleaned = w->logs_cleaned || c->logs;
	} else {
		w->cleaning = false;
		w->cleaned = true;
	}
	free(c->dir);
	free(c->cgroup);
	free(c->logs);
	free(c);
	w->n_acts--;
	kubelet_idle(w->k);
	if (w->closing)
		maybe_free(w);
	else
		worker_kick(w);
}

static void start_clean(struct pod_worker *w, bool over)
{
	struct cleanup *c = xcalloc(1, sizeof(*c));
	struct arena a;

	arena_init(&a);
	c->w = w;
	c->over = over;
	c->dir = xstrdup(pod_dir(&a, &w->k->host, w->uid));
	if (!over || w->forget)
		c->logs = xstrdup(pod_log_dir(&a, &w->k->host, w->ns, w->name, w->uid));
	if (!over && w->pod)
		c->cgroup = xstrdup(res_cgroup_path(&a, w->k->host.cgroup_root, worker_pod(w)));
	arena_fini(&a);
	*(over ? &w->over_cleaning : &w->cleaning) = true;
	w->n_acts++; /* keeps the worker */
	kubelet_busy(w->k);
	uv_queue_work(loop_uv(w->k->loop), &c->work, clean, cleaned);
}

void worker__clean_over(struct pod_worker *w)
{
	if (!w->over_cleaning && !w->fetch && (!w->volumes_cleaned || (w->forget && !w->logs_cleaned)))
		start_clean(w, true);
}

/* Nothing of a deleted pod runs any more: its files go, then its object. */
void worker__finish_deleted(struct pod_worker *w)
{
	if (w->delete_busy || w->n_acts || w->fetch)
		return;
	if (!w->cleaned) {
		start_clean(w, false);
		return;
	}
	if (w->unwanted || !w->pod) {
		worker_close(w);
		return;
	}
	tell_deleted(w);
}

static void maybe_free(struct pod_worker *w)
{
	if (w->n_acts || w->status_busy || w->delete_busy)
		return;
	for (size_t i = 0; i < w->n_c; i++)
		container_fini(&w->c[i]);
	free(w->c);
	if (w->objects)
		objset_fini(w->objects);
	free(w->objects);
	kept_unref(w->pod);
	kept_unref(w->wanted);
	kept_unref(w->whole);
	free(w->resize_message);
	free(w->resize_error);
	kept_unref(w->status);
	kept_unref(w->saved);
	free(w->volumes_error);
	free(w->evicted);
	free(w->uid);
	free(w->ns);
	free(w->name);
	free(w);
}

void worker_release(struct pod_worker *w)
{
	if (w->closing)
		maybe_free(w);
}

void worker_close(struct pod_worker *w)
{
	if (!w->closing) {
		w->closing = true;
		w->n_acts++; /* so that the last canceled action does not free it under us */
		acts_cancel(w);
		w->n_acts--;
		map_del(&w->k->workers, str_from(w->uid));
		if (w->gone && w->k->cfg->pod_gone)
			w->k->cfg->pod_gone(w->k->cfg, w->uid);
		resizes_look_soon(w->k);
		loop_timer_stop(&w->kick);
		loop_timer_stop(&w->wake);
		loop_timer_stop(&w->refresh);
		loop_timer_stop(&w->retell);
		for (size_t i = 0; i < w->n_c; i++)
			worker__stop_probes(&w->c[i]);
		if (w->fetch)
			objects_fetch_cancel(TAKE(w->fetch));
	}
	maybe_free(w);
}
