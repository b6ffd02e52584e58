#include <inttypes.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"

#define REFRESH_MS 30000          /* contents of volumes */
#define VOLUMES_RETRY_MIN_MS 250
#define VOLUMES_RETRY_MAX_MS 20000
#define FORCED_GRACE_S 1          /* for a pod that is gone from the API */

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
		.services = &w->k->service_objects,
	};
}

static void fetch_objects(struct pod_worker *w);
static void on_kick(struct loop_timer *t);
static void on_wake(struct loop_timer *t);

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

void worker_kick(struct pod_worker *w)
{
	if (!w->closing && !loop_timer_active(&w->kick))
		loop_timer_start(&w->kick, w->k->loop, 0, on_kick);
}

static void stop_probes(struct work_container *c)
{
	for (int i = 0; i < N_PROBES; i++)
		prober_stop(TAKE(c->probers[i]));
	free(TAKE(c->probed_id));
	free(TAKE(c->unhealthy));
}

static void container_fini(struct work_container *c)
{
	stop_probes(c);
	free(c->name);
	free(c->reason);
	free(c->message);
	free(c->image_id);
	kept_unref(c->actual);
	free(c->actual_id);
}

/* The spec of the container at an index of w->c: the init containers in order, the others, the ephemeral ones. */
static const Core__Container *spec_at(const struct pod_worker *w, size_t i)
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
			.name = xstrdup(nz(spec_at(w, w->n_c)->name)),
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
		fetch_objects(w);
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

/* --- volumes ------------------------------------------------------------------------------------------------------- */

static void on_refresh(struct loop_timer *t)
{
	struct pod_worker *w = container_of(t, struct pod_worker, refresh);

	fetch_objects(w);
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

static void fetch_objects(struct pod_worker *w)
{
	if (!w->fetch && w->pod && !w->closing)
		w->fetch = objects_fetch_start(w->k, worker_pod(w), w->objects, objects_there, w);
}

/* --- one look at the pod ------------------------------------------------------------------------------------------- */

static int64_t grace_of(const struct pod_worker *w)
{
	const Core__Pod *pod = worker_pod(w);
	int64_t g;

	if (w->unwanted || !pod)
		return FORCED_GRACE_S;
	g = pod->metadata->has_deletion_grace_period_seconds
			    ? pod->metadata->deletion_grace_period_seconds
			    : PB_OR(pod->spec, termination_grace_period_seconds, 30);
	return g < 0 ? FORCED_GRACE_S : g;
}

/* Restarts before this agent: the API's count, in case the runtime lost its records. */
static uint32_t known_restarts(const struct pod_worker *w, const char *name)
{
	const Core__PodStatus *s = worker_pod(w)->status;

	for (size_t i = 0; s && i < s->n_container_statuses; i++)
		if (strcmp(nz(s->container_statuses[i]->name), name) == 0 && is_set(s->container_statuses[i]->container_id))
			return (uint32_t)s->container_statuses[i]->restart_count + 1;
	for (size_t i = 0; s && i < s->n_ephemeral_container_statuses; i++)
		if (strcmp(nz(s->ephemeral_container_statuses[i]->name), name) == 0 &&
				is_set(s->ephemeral_container_statuses[i]->container_id))
			return 1;
	return 0;
}

/* After an agent restart the back-off goes on about where it was. */
static void guess_backoff(struct work_container *c, const struct rt_container *rc)
{
	if (c->backoff_known || !rc)
		return;
	c->backoff_known = true;
	for (uint32_t i = 0; i < rc->attempt && i < 6; i++)
		backoff_next(&c->backoff, 0, 0);
}

static void fill_sync(struct pod_worker *w, struct arena *a, struct sync_in *in)
{
	const Core__Pod *pod = worker_pod(w);

	in->pod = pod;
	in->rt = worker_rt(w);
	in->now_ms = wall_ms();
	in->terminating = w->unwanted || !pod || pod->metadata->deletion_timestamp != NULL;
	in->terminal = w->deadline_over || (w->status && pod_phase_is_terminal(((Core__PodStatus *)w->status->msg)->phase)) ||
		       (pod && pod->status && pod_phase_is_terminal(pod->status->phase));
	in->grace_s = grace_of(w);
	in->sandbox_busy = w->sandbox_busy > 0;
	in->busy_ids = acts_ids(w, a, &in->n_busy_ids);
	in->ready_to_start = w->volumes_ready && w->k->runtime_ready && containerd_can_sandbox(w->k->containerd) &&
			     (w->k->network_ready || (pod && PB_OR(pod->spec, host_network, 0)));
	in->sandbox_not_before_ms = w->sandbox_not_before_ms;
	in->resize_busy = w->resize_busy > 0;
	in->resize_not_before_ms = w->resize_not_before_ms;
	in->n_c = w->n_c;
	in->c = arena_new_array(a, struct sync_container, w->n_c);
	for (size_t i = 0; i < w->n_c; i++) {
		struct work_container *c = &w->c[i];
		struct sync_container *s = &in->c[i];
		const struct rt_container *rc = rt_find(in->rt, c->name, NULL);

		guess_backoff(c, rc);
		s->spec = spec_at(w, i);
		s->hash = container_hash(a, s->spec);
		s->init = c->init;
		s->sidecar = c->init && container_is_sidecar(s->spec);
		s->ephemeral = c->ephemeral;
		s->busy = c->busy > 0;
		s->backoff = c->backoff;
		s->not_before_ms = c->not_before_ms;
		s->min_attempt = rc ? 0 : known_restarts(w, c->name);
		if (rc && rc->state == RT_RUNNING && !c->ephemeral && !(c->init && !s->sidecar)) {
			/* Made by an agent that kept no record: what is allocated is what it was made with. */
			if (!c->actual || strcmp(c->actual_id, rc->id) != 0)
				worker_set_actual(c, rc->id, s->spec->resources);
			s->actual = c->actual->msg;
			s->resize = resize_way(s->spec, s->actual);
		}
	}
}

/* Probes follow the running container of each name. */
static void sync_probes(struct pod_worker *w, const struct sync_in *in)
{
	for (size_t i = 0; i < w->n_c; i++) {
		struct work_container *c = &w->c[i];
		const struct rt_container *rc = rt_find(in->rt, c->name, NULL);
		const Core__Container *spec = in->c[i].spec;

		if (!rc || rc->state != RT_RUNNING || c->busy || in->terminating) {
			if (!in->terminating || !rc || rc->state != RT_RUNNING)
				stop_probes(c);
			continue;
		}
		if (c->probed_id && strcmp(c->probed_id, rc->id) == 0)
			continue;
		stop_probes(c);
		c->probed_id = xstrdup(rc->id);
		worker_set_failed(w, c->name, NULL, NULL, 0);
		if (in->c[i].ephemeral || (in->c[i].init && !in->c[i].sidecar))
			continue;
		if (spec->startup_probe)
			c->probers[PROBE_STARTUP] = prober_start(w, spec, PROBE_STARTUP, spec->startup_probe, rc);
		if (spec->readiness_probe)
			c->probers[PROBE_READINESS] = prober_start(w, spec, PROBE_READINESS, spec->readiness_probe, rc);
		if (spec->liveness_probe)
			c->probers[PROBE_LIVENESS] = prober_start(w, spec, PROBE_LIVENESS, spec->liveness_probe, rc);
	}
}

static void fill_probe_results(struct pod_worker *w, struct sync_in *in)
{
	for (size_t i = 0; i < w->n_c; i++) {
		struct work_container *c = &w->c[i];
		const struct rt_container *rc = rt_find(in->rt, c->name, NULL);
		bool looked_at = rc && rc->state == RT_RUNNING && c->probed_id && strcmp(c->probed_id, rc->id) == 0;

		in->c[i].unhealthy = looked_at ? c->unhealthy : NULL;
		in->c[i].unhealthy_grace_s = c->unhealthy_grace_s;
		in->c[i].started = looked_at && !c->busy &&
				   (!c->probers[PROBE_STARTUP] || prober_result(c->probers[PROBE_STARTUP]) > 0);
	}
}

/* Conditions that others own come from the API's latest object. */
static Core__PodStatus *merged_old(struct pod_worker *w, struct arena *a)
{
	const Core__Pod *pod = worker_pod(w);
	Core__PodStatus *old, *api = pod->status;

	if (!w->status)
		return api;
	old = pb_copy(a, w->status->msg);
	for (size_t i = 0; api && i < api->n_conditions; i++) {
		bool found = false;

		for (size_t k = 0; k < old->n_conditions; k++) {
			if (strcmp(nz(old->conditions[k]->type), nz(api->conditions[i]->type)) != 0)
				continue;
			found = true;
			if (strcmp(nz(api->conditions[i]->type), "PodScheduled") == 0)
				old->conditions[k] = api->conditions[i];
		}
		if (!found)
			PB_ADD(a, old, conditions, api->conditions[i]);
	}
	return old;
}

static void make_status(struct pod_worker *w, struct arena *a, const struct sync_in *in, const struct sync_out *out)
{
	struct status_in s = {
		.sync = in,
		.old = merged_old(w, a),
		.host_ip = w->k->host.node_ip,
		.now_s = clock_wall_s(),
		.all_stopped = out->all_stopped,
		.init_failed = out->init_failed,
	};
	struct status_container *sc = arena_new_array(a, struct status_container, w->n_c);
	Core__PodStatus *status;

	for (size_t i = 0; i < w->n_c; i++) {
		sc[i].ready = !w->c[i].probers[PROBE_READINESS] || prober_result(w->c[i].probers[PROBE_READINESS]) > 0;
		sc[i].reason = w->c[i].reason;
		sc[i].message = w->c[i].message;
	}
	s.c = sc;
	if (w->deadline_over) {
		s.phase = "Failed";
		s.reason = "DeadlineExceeded";
		s.message = "Pod was active on the node longer than the specified deadline";
	}
	s.resize_reason = w->resize_reason;
	s.resize_message = w->resize_message;
	s.resize_began = w->resize_began;
	s.resize_error = w->resize_error;
	s.resize_generation = w->resize_generation;
	status = pod_status(a, &s);
	if (w->status && pb_equal(status, w->status->msg)) {
		tell_if_contradicted(w);
		return;
	}
	kept_unref(w->status);
	w->status = kept_new(status);
	if (pod_phase_is_terminal(status->phase))
		resizes_look_soon(w->k);
	if (w->k->cfg->on_status)
		w->k->cfg->on_status(w->k->cfg, worker_pod(w), status);
	tell_status(w);
}

static void check_deadline(struct pod_worker *w, struct sync_out *out)
{
	const Core__Pod *pod = worker_pod(w);
	const Core__PodStatus *s = w->status ? w->status->msg : NULL;
	int64_t until;

	if (!pod->spec->has_active_deadline_seconds || !s || !s->start_time || w->deadline_over)
		return;
	until = (s->start_time->seconds + pod->spec->active_deadline_seconds) * 1000;
	if (wall_ms() >= until) {
		w->deadline_over = true;
		pod_event(w->k, pod, NULL, false, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
		worker_kick(w);
	} else if (out->wake_ms == 0 || until < out->wake_ms) {
		out->wake_ms = until;
	}
}

/* One event each time that a container begins to wait. */
static void tell_crash_loops(struct pod_worker *w, const struct sync_in *in)
{
	for (size_t i = 0; i < w->n_c; i++) {
		if (in->c[i].crash_loop && !w->c[i].in_crash_loop)
			pod_event(w->k, worker_pod(w), w->c[i].name, true, "BackOff",
					"Back-off restarting failed container %s in pod %s_%s(%s)", w->c[i].name, w->name,
					w->ns, w->uid);
		w->c[i].in_crash_loop = in->c[i].crash_loop;
	}
}

/* What was allocated has come to all containers that run. */
static void check_resized(struct pod_worker *w, const struct sync_in *in)
{
	bool done = true;

	for (size_t i = 0; i < in->n_c; i++)
		done = done && !in->c[i].busy && in->c[i].resize == RESIZE_DONE;
	/* An earlier agent allocated it. */
	if (!done && !w->resize_began) {
		for (size_t i = 0; i < in->n_c; i++)
			w->resize_began |= in->c[i].resize != RESIZE_DONE;
		w->resize_generation = PB_OR(worker_pod(w)->metadata, generation, 0);
	}
	if (!done || !w->resize_began || w->resize_busy)
		return;
	w->resize_began = false;
	pod_event(w->k, worker_pod(w), NULL, false, "ResizeCompleted", "Pod resize completed: %s",
			resize_text(&w->pod->arena, worker_pod(w), NULL));
}

static void finish_deleted(struct pod_worker *w);

static void sync_now(struct pod_worker *w)
{
	struct sync_in in = {0};
	struct sync_out out = {0};
	struct arena a;

	arena_init(&a);
	out.arena = &a;
	fill_sync(w, &a, &in);
	if (in.terminating || in.terminal)
		acts_stop_starting(w);
	if (w->pod) {
		sync_probes(w, &in);
		fill_probe_results(w, &in);
	}
	pod_sync(&in, &out);
	if (w->pod)
		check_resized(w, &in);
	w->all_stopped = out.all_stopped;
	w->gone = out.gone;
	if (w->pod && !w->frozen)
		make_status(w, &a, &in, &out);
	/* From here on the runtime's records of a deleted pod may go: the status is kept. */
	if (out.all_stopped && in.terminating)
		w->frozen = true;
	if (w->pod) {
		check_deadline(w, &out);
		tell_crash_loops(w, &in);
	}
	for (size_t i = 0; i < out.n_acts; i++)
		act_start(w, &out.acts[i]);
	if (out.wake_ms)
		loop_timer_start(&w->wake, w->k->loop, (uint64_t)MAX(out.wake_ms - wall_ms(), 1), on_wake);
	arena_fini(&a);
	if (w->gone)
		finish_deleted(w);
}

static void worker_sync(struct pod_worker *w)
{
	const struct rt_pod *rt = worker_rt(w);
	struct kubelet *k = w->k;
	bool goes;

	if (w->closing || k->stopping)
		return;
	goes = w->unwanted || !w->pod || worker_pod(w)->metadata->deletion_timestamp;
	if (!goes && !w->objects)
		fetch_objects(w);
	/* Without a picture of the runtime that includes our own last action nothing may be decided. */
	if (!k->runtime_ready || runtime_generation(k->runtime) == 0 ||
			runtime_generation(k->runtime) < w->need_generation)
		return;
	/* What is not seen must not be started once more; to end what is seen is right all the same. */
	if (rt && rt->unsure && !goes)
		return;
	sync_now(w);
}

static void on_kick(struct loop_timer *t)
{
	worker_sync(container_of(t, struct pod_worker, kick));
}

static void on_wake(struct loop_timer *t)
{
	worker_kick(container_of(t, struct pod_worker, wake));
}

/* --- the end of a deleted pod -------------------------------------------------------------------------------------- */

static void maybe_free(struct pod_worker *w);

/* Removing a pod's files: unmounting can take a while, so it happens on a thread of libuv's pool. */
struct cleanup {
	uv_work_t work;
	struct pod_worker *w;
	char *dir, *cgroup, *logs;
	struct err volumes_err, cgroup_err;
};

static void clean(uv_work_t *work)
{
	struct cleanup *c = container_of(work, struct cleanup, work);

	volumes_teardown(c->dir, &c->volumes_err);
	if (c->cgroup)
		cgroup_remove(c->cgroup, &c->cgroup_err);
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
	free(c->dir);
	free(c->cgroup);
	free(c->logs);
	free(c);
	w->cleaning = false;
	w->cleaned = true;
	w->n_acts--;
	kubelet_idle(w->k);
	if (w->closing)
		maybe_free(w);
	else
		worker_kick(w);
}

static void start_clean(struct pod_worker *w)
{
	struct cleanup *c = xcalloc(1, sizeof(*c));
	struct arena a;

	arena_init(&a);
	c->w = w;
	c->dir = xstrdup(pod_dir(&a, &w->k->host, w->uid));
	c->logs = xstrdup(pod_log_dir(&a, &w->k->host, w->ns, w->name, w->uid));
	c->cgroup = w->pod ? xstrdup(res_cgroup_path(&a, w->k->host.cgroup_root, worker_pod(w))) : NULL;
	arena_fini(&a);
	w->cleaning = true;
	w->n_acts++; /* keeps the worker */
	kubelet_busy(w->k);
	uv_queue_work(loop_uv(w->k->loop), &c->work, clean, cleaned);
}

/* Nothing of a deleted pod runs any more: its files go, then its object. */
static void finish_deleted(struct pod_worker *w)
{
	if (w->delete_busy || w->n_acts || w->fetch)
		return;
	if (!w->cleaned) {
		start_clean(w);
		return;
	}
	if (w->unwanted || !w->pod) {
		worker_close(w);
		return;
	}
	tell_deleted(w);
}

/* --- the end ------------------------------------------------------------------------------------------------------- */

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
	free(w->resize_message);
	free(w->resize_error);
	kept_unref(w->status);
	kept_unref(w->saved);
	free(w->volumes_error);
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
		resizes_look_soon(w->k);
		loop_timer_stop(&w->kick);
		loop_timer_stop(&w->wake);
		loop_timer_stop(&w->refresh);
		loop_timer_stop(&w->retell);
		for (size_t i = 0; i < w->n_c; i++)
			stop_probes(&w->c[i]);
		if (w->fetch)
			objects_fetch_cancel(TAKE(w->fetch));
	}
	maybe_free(w);
}
