/*
 * One look at a pod: what the API wants, what the runtime has and what probes say becomes the question for pod_sync, and its answer
 * becomes actions, a status and the time of the next look.
 */
#include "orchestrator/kubelet/pod-worker-priv.h"

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"

#define FORCED_GRACE_S 1 /* for a pod that is gone from the API */

static int64_t grace_of(const struct pod_worker *w)
{
	const Core__Pod *pod = worker_pod(w);
	int64_t g;

	if (w->unwanted || !pod)
		return FORCED_GRACE_S;
	if (w->evicted && !pod->metadata->deletion_timestamp)
		return w->evicted_grace_s;
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

/* Rules of its network come before its containers. Asked at each look, so that its address is known to those who make the rules. */
static bool is_held(struct pod_worker *w)
{
	const struct kubelet *k = w->k;
	const Core__Pod *pod = worker_pod(w);
	const struct rt_pod *rt = worker_rt(w);
	const char *why = NULL;

	w->held = k->cfg->admit && pod && rt && rt->n_sandboxes && rt->sandboxes[0]->ready && !PB_OR(pod->spec, host_network, 0) &&
		  !k->cfg->admit(k->cfg, pod, rt->sandboxes[0]->ip, &why);
	if (w->held && why && !w->held_told)
		pod_event(w->k, pod, NULL, true, "NetworkPolicyNotEnforced",
				"The pod does not start: a NetworkPolicy selects it and cannot be enforced on this node: %s", why);
	w->held_told = w->held && why;
	return w->held;
}

static void fill_sync(struct pod_worker *w, struct arena *a, struct sync_in *in)
{
	const Core__Pod *pod = worker_pod(w);

	in->pod = pod;
	in->rt = worker_rt(w);
	in->now_ms = wall_ms();
	in->terminating = w->unwanted || !pod || pod->metadata->deletion_timestamp != NULL;
	in->forget = w->forget;
	in->terminal = w->deadline_over || w->evicted || (w->status && pod_phase_is_terminal(((Core__PodStatus *)w->status->msg)->phase)) ||
		       (pod && pod->status && pod_phase_is_terminal(pod->status->phase));
	in->grace_s = grace_of(w);
	in->sandbox_busy = w->sandbox_busy > 0;
	in->busy_ids = acts_ids(w, a, &in->n_busy_ids);
	in->ready_to_start = w->volumes_ready && w->k->runtime_ready && containerd_can_sandbox(w->k->containerd) &&
			     (w->k->network_ready || (pod && PB_OR(pod->spec, host_network, 0)));
	in->sandbox_not_before_ms = w->sandbox_not_before_ms;
	in->held = is_held(w);
	in->resize_busy = w->resize_busy > 0;
	in->resize_not_before_ms = w->resize_not_before_ms;
	in->n_c = w->n_c;
	in->c = arena_new_array(a, struct sync_container, w->n_c);
	for (size_t i = 0; i < w->n_c; i++) {
		struct work_container *c = &w->c[i];
		struct sync_container *s = &in->c[i];
		const struct rt_container *rc = rt_find(in->rt, c->name, NULL);

		guess_backoff(c, rc);
		s->spec = worker__spec_at(w, i);
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
				worker_set_actual(c, rc->id, res_given(a, pod, s->spec));
			s->actual = c->actual->msg;
			s->resize = resize_way(s->spec, res_given(a, pod, s->spec), s->actual);
			in->pod_resize = pod->spec->resources && !resize_equal(pod->spec->resources, worker_whole(w));
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
				worker__stop_probes(c);
			continue;
		}
		if (c->probed_id && strcmp(c->probed_id, rc->id) == 0)
			continue;
		worker__stop_probes(c);
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

static void make_status(struct pod_worker *w, struct arena *a, const struct sync_in *in, const struct sync_out *out)
{
	struct status_in s = {
		.sync = in,
		.old = w->status ? pod_status_merged(a, w->status->msg, worker_pod(w)->status) : worker_pod(w)->status,
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
	s.whole = worker_whole(w);
	if (w->evicted) {
		s.phase = "Failed";
		s.reason = "Evicted";
		s.message = w->evicted;
		s.disrupted = w->evicted_for_node;
		s.refused = w->refused;
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
	bool done = !in->pod_resize;

	for (size_t i = 0; i < in->n_c; i++)
		done = done && !in->c[i].busy && in->c[i].resize == RESIZE_DONE;
	/* An earlier agent allocated it. */
	if (!done && !w->resize_began) {
		for (size_t i = 0; i < in->n_c; i++)
			w->resize_began |= in->c[i].resize != RESIZE_DONE;
		w->resize_began |= in->pod_resize;
		w->resize_generation = PB_OR(worker_pod(w)->metadata, generation, 0);
	}
	if (!done || !w->resize_began || w->resize_busy)
		return;
	w->resize_began = false;
	pod_event(w->k, worker_pod(w), NULL, false, "ResizeCompleted", "Pod resize completed: %s",
			resize_text(&w->pod->arena, worker_pod(w), NULL));
}

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
		loop_timer_start(&w->wake, w->k->loop, (uint64_t)MAX(out.wake_ms - wall_ms(), 1), worker__on_wake);
	arena_fini(&a);
	if (w->gone)
		worker__finish_deleted(w);
	else if (out.all_stopped && in.terminal && !in.terminating)
		worker__clean_over(w);
}

/* A pod that had begun before is not asked, whoever began it: the API knows, or the runtime. */
static void admit_once(struct pod_worker *w)
{
	const Core__Pod *pod = worker_pod(w);
	struct arena a;
	char *why;

	if (w->admitted || !pod)
		return;
	w->admitted = true;
	if (w->unwanted || pod->metadata->deletion_timestamp || (pod->status && pod->status->start_time) || worker_rt(w))
		return;
	arena_init(&a);
	why = pressure_refuses(w->k->pressure, &a, pod);
	if (why)
		worker_refuse(w, why);
	arena_fini(&a);
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
		worker__fetch_objects(w);
	/* Without a picture of the runtime that includes our own last action nothing may be decided. */
	if (!k->runtime_ready || runtime_generation(k->runtime) == 0 ||
			runtime_generation(k->runtime) < w->need_generation)
		return;
	/* What is not seen must not be started once more; to end what is seen is right all the same. */
	if (rt && rt->unsure && !goes)
		return;
	admit_once(w);
	sync_now(w);
}

void worker__on_kick(struct loop_timer *t)
{
	worker_sync(container_of(t, struct pod_worker, kick));
}

void worker__on_wake(struct loop_timer *t)
{
	worker_kick(container_of(t, struct pod_worker, wake));
}
