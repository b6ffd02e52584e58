#include "orchestrator/kubelet/pod-status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"

#define DISRUPTION_TARGET "DisruptionTarget"

static Meta__Time *time_at(struct arena *a, int64_t s)
{
	Meta__Time *t = PB_NEW(a, Meta__Time, meta__time);

	PB_SET(t, seconds, s);
	return t;
}

static Core__ContainerState *state_new(struct arena *a)
{
	return PB_NEW(a, Core__ContainerState, core__container_state);
}

static const char *exit_reason(const struct rt_container *c)
{
	if (c->state == RT_UNKNOWN)
		return "ContainerStatusUnknown";
	if (is_set(c->reason))
		return c->reason;
	return c->exit_code == 0 ? "Completed" : "Error";
}

static Core__ContainerState *terminated(struct arena *a, const struct rt_container *c)
{
	Core__ContainerState *s = state_new(a);
	Core__ContainerStateTerminated *t =
			PB_NEW(a, Core__ContainerStateTerminated, core__container_state_terminated);

	s->terminated = t;
	PB_SET(t, exit_code, c->exit_code);
	t->reason = exit_reason(c);
	if (is_set(c->term_message))
		t->message = c->term_message;
	else if (is_set(c->message))
		t->message = c->message;
	if (c->started_ns > 0)
		t->started_at = time_at(a, c->started_ns / 1000000000);
	if (c->finished_ns > 0)
		t->finished_at = time_at(a, c->finished_ns / 1000000000);
	t->container_id = arena_printf(a, "containerd://%s", c->id);
	return s;
}

static Core__ContainerState *running(struct arena *a, const struct rt_container *c)
{
	Core__ContainerState *s = state_new(a);

	s->running = PB_NEW(a, Core__ContainerStateRunning, core__container_state_running);
	s->running->started_at = time_at(a, c->started_ns / 1000000000);
	return s;
}

static Core__ContainerState *waiting(struct arena *a, const char *reason, const char *message)
{
	Core__ContainerState *s = state_new(a);

	s->waiting = PB_NEW(a, Core__ContainerStateWaiting, core__container_state_waiting);
	s->waiting->reason = reason;
	if (is_set(message))
		s->waiting->message = message;
	return s;
}

static const Core__ContainerStatus *old_status(const struct status_in *in, const char *name)
{
	const Core__PodStatus *o = in->old;

	for (size_t i = 0; o && i < o->n_container_statuses; i++)
		if (strcmp(nz(o->container_statuses[i]->name), name) == 0)
			return o->container_statuses[i];
	for (size_t i = 0; o && i < o->n_init_container_statuses; i++)
		if (strcmp(nz(o->init_container_statuses[i]->name), name) == 0)
			return o->init_container_statuses[i];
	for (size_t i = 0; o && i < o->n_ephemeral_container_statuses; i++)
		if (strcmp(nz(o->ephemeral_container_statuses[i]->name), name) == 0)
			return o->ephemeral_container_statuses[i];
	return NULL;
}

static bool inits_done(const struct status_in *in)
{
	const struct sync_in *s = in->sync;

	for (size_t i = 0; i < s->n_c && s->c[i].init; i++) {
		const struct rt_container *c = rt_find(s->rt, s->c[i].spec->name, NULL);

		if (s->c[i].sidecar ? !s->c[i].started && !in->all_stopped
				    : !c || c->state != RT_EXITED || c->exit_code != 0)
			return false;
	}
	return true;
}

/* The record that `state` speaks about: in the current sandbox, or any when nothing will run again. */
static const struct rt_container *current(const struct status_in *in, size_t i)
{
	const struct rt_pod *rt = in->sync->rt;
	const struct rt_container *c = rt_find(rt, in->sync->c[i].spec->name, NULL);

	if (c && !in->all_stopped && rt->n_sandboxes && rt->sandboxes[0]->ready &&
			strcmp(c->sandbox_id, rt->sandboxes[0]->id) != 0 && c->state == RT_EXITED &&
			container_restarts(in->sync->pod, &in->sync->c[i], c->exit_code))
		return NULL;
	return c;
}

static Core__ContainerState *wait_state(struct arena *a, const struct status_in *in, size_t i, bool initialized)
{
	const struct sync_container *c = &in->sync->c[i];
	const Core__Pod *pod = in->sync->pod;

	if (c->crash_loop)
		return waiting(a, "CrashLoopBackOff",
				arena_printf(a, "back-off %s restarting failed container=%s pod=%s_%s(%s)",
						backoff_text(a, c->backoff.delay_ms), c->spec->name,
						nz(pod->metadata->name), nz(pod->metadata->namespace_),
						nz(pod->metadata->uid)));
	if (in->c[i].reason)
		return waiting(a, in->c[i].reason, in->c[i].message);
	if (in->sync->n_c && in->sync->c[0].init && !(initialized && !c->init))
		return waiting(a, "PodInitializing", NULL);
	return waiting(a, "ContainerCreating", NULL);
}

/* What it was given, and what it runs with. */
static void resources(struct arena *a, const struct sync_container *sc, bool runs, Core__ContainerStatus *s)
{
	const Core__ResourceRequirements *given = sc->spec->resources;
	const Core__ResourceRequirements *now = runs && sc->actual ? resize_own(a, sc->actual, given) : given;

	for (size_t i = 0; given && i < given->n_requests; i++) {
		Core__ContainerStatus__AllocatedResourcesEntry *e = pb_add(a, s, "allocated_resources");

		e->key = given->requests[i]->key;
		e->value = given->requests[i]->value;
	}
	s->resources = now ? pb_copy(a, now) : PB_NEW(a, Core__ResourceRequirements, core__resource_requirements);
}

bool pod_phase_is_terminal(const char *phase)
{
	return phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0);
}

static Core__ContainerStatus *container_status(struct arena *a, const struct status_in *in, size_t i, bool initialized)
{
	const struct sync_container *sc = &in->sync->c[i];
	const Core__ContainerStatus *old = old_status(in, sc->spec->name);
	const struct rt_container *any = rt_find(in->sync->rt, sc->spec->name, NULL), *now = current(in, i);
	const struct rt_container *before = now ? rt_previous(in->sync->rt, now) : any;
	Core__ContainerStatus *s = PB_NEW(a, Core__ContainerStatus, core__container_status);
	bool runs = now && now->state == RT_RUNNING;

	/* It ran and the runtime has forgotten it: what was said last stays. */
	if (!any && old && is_set(old->container_id) && (sc->ephemeral || pod_phase_is_terminal(in->old->phase)))
		return pb_copy(a, old);
	s->name = sc->spec->name;
	s->image = any && is_set(any->image) ? any->image : nz(sc->spec->image);
	s->image_id = any ? any->image_ref : "";
	if (any)
		s->container_id = arena_printf(a, "containerd://%s", any->id);
	PB_SET(s, restart_count, any ? (int32_t)any->attempt : old ? old->restart_count : 0);
	if (runs) {
		s->state = running(a, now);
	} else if (now && (now->state == RT_EXITED || now->state == RT_UNKNOWN)) {
		bool again = !in->all_stopped && container_restarts(in->sync->pod, sc, now->exit_code);

		if (again && (sc->crash_loop || in->c[i].reason)) {
			s->state = wait_state(a, in, i, initialized);
			before = now;
		} else {
			s->state = terminated(a, now);
		}
	} else {
		s->state = wait_state(a, in, i, initialized);
	}
	if (before && before->state == RT_EXITED)
		s->last_state = terminated(a, before);
	else
		s->last_state = !any && old && old->last_state ? old->last_state : state_new(a);
	if (sc->ephemeral) {
		PB_SET(s, ready, false); /* nobody waits for it */
		return s;
	}
	resources(a, sc, runs, s);
	PB_SET(s, started, runs && sc->started);
	if (sc->init && !sc->sidecar)
		PB_SET(s, ready, now && now->state == RT_EXITED && now->exit_code == 0);
	else
		PB_SET(s, ready, runs && sc->started && in->c[i].ready);
	return s;
}

/* Of a pod that has resources as a whole. */
static void pod_resources(struct arena *a, const struct status_in *in, Core__PodStatus *s)
{
	const Core__ResourceRequirements *given = in->sync->pod->spec->resources;

	for (size_t i = 0; given && i < given->n_requests; i++) {
		Core__PodStatus__AllocatedResourcesEntry *e = pb_add(a, s, "allocated_resources");

		e->key = given->requests[i]->key;
		e->value = given->requests[i]->value;
	}
	if (given)
		s->resources = pb_copy(a, in->whole ? in->whole : given);
}

static const char *phase_of(const struct status_in *in, const Core__PodStatus *s, bool initialized)
{
	const Core__Pod *pod = in->sync->pod;
	size_t n_running = 0, n_waiting = 0, n_stopped = 0, n_ok = 0;

	if (in->phase)
		return in->phase;
	if (in->old && pod_phase_is_terminal(in->old->phase))
		return in->old->phase;
	if (in->init_failed)
		return "Failed";
	for (size_t i = 0; i < s->n_container_statuses; i++) {
		const Core__ContainerStatus *c = s->container_statuses[i];

		if (c->state->running)
			n_running++;
		else if (c->state->terminated)
			n_stopped++, n_ok += c->state->terminated->exit_code == 0;
		else if (c->last_state->terminated)
			n_stopped++;
		else
			n_waiting++;
	}
	if (in->all_stopped && n_running == 0)
		return n_waiting == 0 && n_stopped > 0 && n_stopped == n_ok ? "Succeeded" : "Failed";
	if (!initialized || n_waiting > 0)
		return "Pending";
	if (n_running > 0 || strcmp(pod_restart_policy(pod), "Always") == 0)
		return "Running";
	if (n_stopped == n_ok)
		return "Succeeded";
	return strcmp(pod_restart_policy(pod), "Never") == 0 ? "Failed" : "Running";
}

/* Sets or adds a condition; its transition time stays while its status does. */
static void condition(struct arena *a, const struct status_in *in, Core__PodStatus *s, const char *type, bool on,
		const char *reason, const char *message)
{
	Core__PodCondition *c = PB_NEW(a, Core__PodCondition, core__pod_condition);

	c->type = type;
	c->status = on ? "True" : "False";
	if (reason)
		c->reason = reason;
	if (message)
		c->message = message;
	for (size_t i = 0; in->old && i < in->old->n_conditions; i++) {
		const Core__PodCondition *o = in->old->conditions[i];

		if (strcmp(nz(o->type), type) == 0 && strcmp(nz(o->status), c->status) == 0)
			c->last_transition_time = o->last_transition_time;
	}
	if (!c->last_transition_time)
		c->last_transition_time = time_at(a, in->now_s);
	if (in->sync->pod->metadata->has_generation)
		PB_SET(c, observed_generation, in->sync->pod->metadata->generation);
	PB_ADD(a, s, conditions, c);
}

static bool is_ours(const char *type)
{
	static const char *const ours[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
			"PodResizePending", "PodResizeInProgress"};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (strcmp(ours[i], type) == 0)
			return true;
	return false;
}

/* "[a b]": the containers of a list that are not ready. */
static const char *unready(struct arena *a, Core__ContainerStatus **c, size_t n, bool *ret_any)
{
	const char *text = "[";

	*ret_any = false;
	for (size_t i = 0; i < n; i++) {
		if (c[i]->ready)
			continue;
		text = arena_printf(a, "%s%s%s", text, *ret_any ? " " : "", c[i]->name);
		*ret_any = true;
	}
	return arena_printf(a, "%s]", text);
}

static const char *gates_message(struct arena *a, const struct status_in *in)
{
	const Core__PodSpec *spec = in->sync->pod->spec;

	for (size_t i = 0; i < spec->n_readiness_gates; i++) {
		const char *type = nz(spec->readiness_gates[i]->condition_type);
		bool ok = false;

		for (size_t k = 0; in->old && k < in->old->n_conditions; k++)
			if (strcmp(nz(in->old->conditions[k]->type), type) == 0)
				ok = strcmp(nz(in->old->conditions[k]->status), "True") == 0;
		if (!ok)
			return arena_printf(a, "corresponding condition of pod readiness gate \"%s\" does not exist or is not True.",
					type);
	}
	return NULL;
}

/* Those of others, but where we say the same ourselves. */
static void keep_conditions(struct arena *a, const struct status_in *in, Core__PodStatus *s)
{
	for (size_t i = 0; in->old && i < in->old->n_conditions; i++) {
		const char *type = nz(in->old->conditions[i]->type);

		if (!is_ours(type) && !(in->disrupted && strcmp(type, DISRUPTION_TARGET) == 0))
			PB_ADD(a, s, conditions, in->old->conditions[i]);
	}
}

static void conditions(struct arena *a, const struct status_in *in, Core__PodStatus *s, bool initialized)
{
	const struct rt_pod *rt = in->sync->rt;
	bool sandbox = rt && rt->n_sandboxes && rt->sandboxes[0]->ready && !in->all_stopped, some;
	bool succeeded = strcmp(s->phase, "Succeeded") == 0, failed = strcmp(s->phase, "Failed") == 0;
	const char *list, *gates = gates_message(a, in);

	condition(a, in, s, "PodReadyToStartContainers", sandbox, NULL, NULL);
	if (initialized || succeeded)
		condition(a, in, s, "Initialized", true, succeeded ? "PodCompleted" : NULL, NULL);
	else {
		list = unready(a, s->init_container_statuses, s->n_init_container_statuses, &some);
		condition(a, in, s, "Initialized", false, "ContainersNotInitialized",
				arena_printf(a, "containers with incomplete status: %s", list));
	}
	list = unready(a, s->container_statuses, s->n_container_statuses, &some);
	if (succeeded || failed) {
		const char *why = succeeded ? "PodCompleted" : "PodFailed";

		condition(a, in, s, "Ready", false, why, NULL);
		condition(a, in, s, "ContainersReady", false, why, NULL);
	} else if (some) {
		list = arena_printf(a, "containers with unready status: %s", list);
		condition(a, in, s, "Ready", false, "ContainersNotReady", list);
		condition(a, in, s, "ContainersReady", false, "ContainersNotReady", list);
	} else {
		condition(a, in, s, "Ready", gates == NULL, gates ? "ReadinessGatesNotReady" : NULL, gates);
		condition(a, in, s, "ContainersReady", true, NULL, NULL);
	}
	if (in->resize_reason)
		condition(a, in, s, "PodResizePending", true, in->resize_reason, in->resize_message);
	if (in->resize_began) {
		condition(a, in, s, "PodResizeInProgress", true, in->resize_error ? "Error" : NULL, in->resize_error);
		PB_SET(s->conditions[s->n_conditions - 1], observed_generation, in->resize_generation);
	}
	if (in->disrupted)
		condition(a, in, s, DISRUPTION_TARGET, true, "TerminationByKubelet", in->message);
	keep_conditions(a, in, s);
}

static void addresses(struct arena *a, const struct status_in *in, Core__PodStatus *s)
{
	const struct rt_pod *rt = in->sync->rt;
	const char *ip = NULL;

	if (is_set(in->host_ip)) {
		s->host_ip = in->host_ip;
		PB_ADD(a, s, host_ips, PB_NEW(a, Core__HostIP, core__host_ip));
		s->host_ips[0]->ip = in->host_ip;
	}
	if (PB_OR(in->sync->pod->spec, host_network, 0))
		ip = rt && rt->n_sandboxes ? in->host_ip : NULL;
	else if (rt && rt->n_sandboxes && is_set(rt->sandboxes[0]->ip))
		ip = rt->sandboxes[0]->ip;
	if (!is_set(ip) && in->old && pod_phase_is_terminal(s->phase))
		ip = in->old->pod_ip;
	if (!is_set(ip))
		return;
	s->pod_ip = ip;
	PB_ADD(a, s, pod_ips, PB_NEW(a, Core__PodIP, core__pod_ip));
	s->pod_ips[0]->ip = ip;
}

static bool anything_runs(const Core__PodStatus *s)
{
	for (size_t i = 0; i < s->n_container_statuses; i++)
		if (s->container_statuses[i]->state->running)
			return true;
	for (size_t i = 0; i < s->n_init_container_statuses; i++)
		if (s->init_container_statuses[i]->state->running)
			return true;
	for (size_t i = 0; i < s->n_ephemeral_container_statuses; i++)
		if (s->ephemeral_container_statuses[i]->state->running)
			return true;
	return false;
}

/* As upstream has it of a pod that its kubelet did not take. */
static Core__PodStatus *refused(struct arena *a, const struct status_in *in)
{
	Core__PodStatus *s = PB_NEW(a, Core__PodStatus, core__pod_status);

	s->phase = in->phase;
	s->reason = in->reason;
	s->message = in->message;
	s->qos_class = pod_qos(in->sync->pod);
	s->start_time = in->old && in->old->start_time ? in->old->start_time : time_at(a, in->now_s);
	keep_conditions(a, in, s);
	return s;
}

static Core__PodStatus *told(struct arena *a, const struct status_in *in)
{
	Core__PodStatus *s = PB_NEW(a, Core__PodStatus, core__pod_status);
	const Core__Pod *pod = in->sync->pod;
	bool initialized = inits_done(in);

	if (pod->metadata->has_generation)
		PB_SET(s, observed_generation, pod->metadata->generation);
	for (size_t i = 0; i < in->sync->n_c; i++) {
		Core__ContainerStatus *c = container_status(a, in, i, initialized);

		if (in->sync->c[i].ephemeral)
			PB_ADD(a, s, ephemeral_container_statuses, c);
		else if (in->sync->c[i].init)
			PB_ADD(a, s, init_container_statuses, c);
		else
			PB_ADD(a, s, container_statuses, c);
	}
	for (size_t i = 0; i < s->n_container_statuses; i++)
		if (s->container_statuses[i]->state->running || s->container_statuses[i]->state->terminated ||
				s->container_statuses[i]->last_state->terminated)
			initialized = true; /* they begin only after all init containers are done */
	s->phase = phase_of(in, s, initialized);
	if (pod_phase_is_terminal(s->phase) && anything_runs(s)) {
		/* The last word on a pod is said when nothing of it runs any more. */
		s->phase = in->old && is_set(in->old->phase) ? in->old->phase : "Running";
	} else if (in->phase) {
		s->reason = in->reason;
		s->message = in->message;
	} else if (in->old && pod_phase_is_terminal(in->old->phase)) {
		s->reason = in->old->reason;
		s->message = in->old->message;
	}
	pod_resources(a, in, s);
	s->qos_class = pod_qos(pod);
	s->start_time = in->old && in->old->start_time ? in->old->start_time : time_at(a, in->now_s);
	addresses(a, in, s);
	conditions(a, in, s, initialized);
	if (in->old && is_set(in->old->nominated_node_name))
		s->nominated_node_name = in->old->nominated_node_name;
	return s;
}

Core__PodStatus *pod_status(struct arena *a, const struct status_in *in)
{
	if (in->refused)
		return refused(a, in);
	/* It is over, and the runtime has forgotten it: what was said last stays. */
	if (!in->phase && !in->sync->rt && in->old && pod_phase_is_terminal(in->old->phase))
		return pb_copy(a, in->old);
	return told(a, in);
}

Core__PodStatus *pod_status_merged(struct arena *a, const Core__PodStatus *ours, const Core__PodStatus *api)
{
	Core__PodStatus *s = pb_copy(a, ours);

	if (!api)
		return s;
	s->conditions = NULL;
	s->n_conditions = 0;
	for (size_t i = 0; i < ours->n_conditions; i++)
		if (is_ours(nz(ours->conditions[i]->type)))
			PB_ADD(a, s, conditions, pb_copy(a, ours->conditions[i]));
	for (size_t i = 0; i < api->n_conditions; i++)
		if (!is_ours(nz(api->conditions[i]->type)))
			PB_ADD(a, s, conditions, api->conditions[i]);
	return s;
}

bool pod_status_equal(const Core__PodStatus *x, const Core__PodStatus *y)
{
	_cleanup_(buf_fini) struct buf a = BUF_INIT, b = BUF_INIT;

	if (!x || !y)
		return x == y;
	pb_pack(x, &a);
	pb_pack(y, &b);
	return str_eq(buf_str(&a), buf_str(&b));
}

bool pod_status_contradicted(const Core__PodStatus *ours, const Core__PodStatus *theirs)
{
	for (size_t i = 0; i < ours->n_conditions; i++) {
		const Core__PodCondition *c = ours->conditions[i];
		bool same = !is_ours(nz(c->type));

		for (size_t k = 0; theirs && k < theirs->n_conditions; k++)
			same = same || (pb_streq(theirs->conditions[k]->type, nz(c->type)) && pb_streq(theirs->conditions[k]->status, nz(c->status)));
		if (!same)
			return true;
	}
	return false;
}
