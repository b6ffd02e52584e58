/*
 * One action of pod_sync as a series of waits. Each step starts one call and names the step that comes after it:
 *
 *	START   image -> [created by: config] create -> start -> postStart
 *	KILL    preStop -> stop
 *	CREATE  run sandbox           STOP, REMOVE: one call
 *	RESIZE  the steps of resize_plan, each a control group or one container's update
 *
 * While it runs its container (or the sandbox) is busy. An action ends by asking for a new picture of the runtime; the
 * worker decides again when that is there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-actions-priv.h"
#include "orchestrator/kubelet/resources.h"

#define FAIL_MIN_MS 2000
#define FAIL_MAX_MS 60000
#define PULL_FAIL_MIN_MS 10000
#define PULL_FAIL_MAX_MS 300000
#define SANDBOX_FAIL_MIN_MS 500
#define SANDBOX_FAIL_MAX_MS 15000
#define MIN_GRACE_S 2            /* what a preStop hook leaves to the container at least */
#define HOOK_TIMEOUT_MS 120000

void acts__end(struct act_op *op)
{
	struct pod_worker *w = op->w;
	struct work_container *c = op->container ? worker_container(w, op->container) : NULL;

	if (c)
		c->busy--;
	else if (op->kind <= ACT_STOP_SANDBOX)
		w->sandbox_busy--;
	else if (op->kind == ACT_RESIZE)
		w->resize_busy--;
	w->n_acts--;
	list_del(&op->link);
	w->need_generation = runtime_ask(w->k->runtime);
	kept_unref(op->pod);
	arena_fini(&op->arena);
	free(op->container);
	free(op->id);
	free(op->why);
	kubelet_idle(w->k);
	free(op);
	worker_release(w);
}

const char **acts_ids(struct pod_worker *w, struct arena *a, size_t *ret_n)
{
	const char **ids = arena_new_array(a, const char *, list_len(&w->acts) + 1);
	size_t n = 0;

	LIST_FOR_EACH (op, &w->acts, struct act_op, link)
		if (op->id && !op->container)
			ids[n++] = op->id;
	*ret_n = n;
	return ids;
}

void acts_cancel(struct pod_worker *w)
{
	LIST_FOR_EACH_SAFE (op, next, &w->acts, struct act_op, link) {
		if (op->waits == WAITS_CALL) {
			cri_cancel(&op->call);
		} else if (op->waits == WAITS_IMAGE) {
			image_get_cancel(&op->image);
		} else {
			check_cancel(&op->check);
			acts__end(op); /* a check that is canceled does not call back */
		}
	}
}

void acts_stop_starting(struct pod_worker *w)
{
	LIST_FOR_EACH_SAFE (op, next, &w->acts, struct act_op, link) {
		if (op->kind != ACT_START || op->given_up)
			continue;
		op->given_up = true;
		if (op->waits == WAITS_IMAGE) {
			image_get_cancel(&op->image);
		} else if (op->waits == WAITS_CHECK) {
			check_cancel(&op->check);
			acts__end(op);
		}
	}
}

static void call_done(struct cri_call *call)
{
	struct act_op *op = container_of(call, struct act_op, call);

	if (op->w->closing || op->given_up) {
		cri_call_fini(call);
		acts__end(op);
		return;
	}
	op->next(op);
}

void acts__call(struct act_op *op, enum cri_method m, const ProtobufCMessage *req, uint64_t timeout_ms,
		void (*next)(struct act_op *))
{
	op->next = next;
	op->waits = WAITS_CALL;
	op->call.timeout_ms = timeout_ms;
	op->call.done = call_done;
	cri_start(op->w->k->cri, &op->call, m, req);
}

static void sandbox_failed(struct act_op *op, const struct err *e)
{
	struct pod_worker *w = op->w;

	w->sandbox_delay_ms = w->sandbox_delay_ms ? MIN(2 * w->sandbox_delay_ms, SANDBOX_FAIL_MAX_MS) : SANDBOX_FAIL_MIN_MS;
	w->sandbox_not_before_ms = wall_ms() + w->sandbox_delay_ms;
	pod_event(w->k, op->pod->msg, NULL, true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", e->text);
	log_warn("kubelet", "pod=%s/%s sandbox: %s", w->ns, w->name, e->text);
	acts__end(op);
}

static void sandbox_ran(struct act_op *op)
{
	struct pod_worker *w = op->w;
	struct err e = op->call.err;

	cri_call_fini(&op->call);
	if (e.code) {
		sandbox_failed(op, &e);
		return;
	}
	log_debug("kubelet", "pod=%s/%s sandbox ms=%d", w->ns, w->name, (int)(clock_mono_ms() - op->began_ms));
	w->sandbox_delay_ms = 0;
	acts__end(op);
}

static void limits_of(const Core__Pod *pod, struct cgroup_limits *l)
{
	struct res r;

	res_of_pod(pod, &r);
	l->cpu_shares = res_cpu_shares(r.cpu_request);
	l->cpu_quota_us = res_cpu_quota(r.cpu_limit);
	l->memory_bytes = r.memory_limit;
}

static void create_sandbox(struct act_op *op)
{
	struct kubelet *k = op->w->k;
	Core__Pod *pod = op->pod->msg;
	Runtime__RunPodSandboxRequest req = RUNTIME__RUN_POD_SANDBOX_REQUEST__INIT;
	struct cgroup_limits limits;
	struct err e = ERR_INIT;

	req.config = pod_sandbox_config(&op->arena, &k->host, pod, op->attempt);
	limits_of(pod, &limits);
	if (fs_mkdir_all(req.config->log_directory, 0755, &e) < 0) {
		sandbox_failed(op, &e);
		return;
	}
	if (cgroup_setup(req.config->linux->cgroup_parent, &limits, &e) < 0)
		log_warn("kubelet", "pod=%s/%s control group: %s", op->w->ns, op->w->name, e.text);
	worker_set_whole(op->w, pod->spec->resources);
	acts__call(op, CRI_RUN_POD_SANDBOX, &req.base, 0, sandbox_ran);
}

/* For calls whose failure shows in the next picture of the runtime and is tried again from there. */
static void simple_done(struct act_op *op)
{
	struct pod_worker *w = op->w;

	if (op->call.err.code && op->call.err.code != ERR_NOT_FOUND) {
		log_warn("kubelet", "pod=%s/%s %s: %s", w->ns, w->name, cri_method_name(op->call.method), op->call.err.text);
		w->sandbox_delay_ms = w->sandbox_delay_ms ? MIN(2 * w->sandbox_delay_ms, SANDBOX_FAIL_MAX_MS)
							  : SANDBOX_FAIL_MIN_MS;
	}
	cri_call_fini(&op->call);
	acts__end(op);
}

static void stop_sandbox(struct act_op *op)
{
	Runtime__StopPodSandboxRequest req = RUNTIME__STOP_POD_SANDBOX_REQUEST__INIT;

	req.pod_sandbox_id = op->id;
	acts__call(op, CRI_STOP_POD_SANDBOX, &req.base, 0, simple_done);
}

static void remove_sandbox(struct act_op *op)
{
	Runtime__RemovePodSandboxRequest req = RUNTIME__REMOVE_POD_SANDBOX_REQUEST__INIT;

	req.pod_sandbox_id = op->id;
	acts__call(op, CRI_REMOVE_POD_SANDBOX, &req.base, 0, simple_done);
}

static void remove_container(struct act_op *op)
{
	Runtime__RemoveContainerRequest req = RUNTIME__REMOVE_CONTAINER_REQUEST__INIT;

	req.container_id = op->id;
	acts__call(op, CRI_REMOVE_CONTAINER, &req.base, 0, simple_done);
}

/* The container cannot start now: say why, and when to try again. */
static void start_failed(struct act_op *op, const char *reason, const char *message, int64_t min_ms, int64_t max_ms)
{
	struct work_container *c = worker_container(op->w, op->container);

	c->fail_delay_ms = c->fail_delay_ms ? MIN(2 * c->fail_delay_ms, max_ms) : min_ms;
	worker_set_failed(op->w, op->container, reason, message, c->fail_delay_ms);
	log_warn("kubelet", "pod=%s/%s container=%s %s: %s", op->w->ns, op->w->name, op->container, reason, message);
	acts__end(op);
}

static void config_failed(struct act_op *op, const struct err *e)
{
	struct pod_worker *w = op->w;
	const struct work_container *c = worker_container(w, op->container);

	pod_event(w->k, op->pod->msg, op->container, true, "Failed", "Error: %s", e->text);
	/* The next try must not find what the last one found. */
	worker_refetch_in(w, c->fail_delay_ms ? c->fail_delay_ms : FAIL_MIN_MS / 2);
	start_failed(op, "CreateContainerConfigError", e->text, FAIL_MIN_MS, FAIL_MAX_MS);
}

static void post_started(struct check *check)
{
	struct act_op *op = container_of(check, struct act_op, check);
	Runtime__StopContainerRequest req = RUNTIME__STOP_CONTAINER_REQUEST__INIT;

	if (check->ok) {
		acts__end(op);
		return;
	}
	pod_event(op->w->k, op->pod->msg, op->container, true, "FailedPostStartHook", "PostStartHook failed: %s", check->text);
	worker_set_failed(op->w, op->container, "PostStartHookError", check->text, 0);
	req.container_id = op->id;
	req.timeout = MIN_GRACE_S;
	acts__call(op, CRI_STOP_CONTAINER, &req.base, (MIN_GRACE_S + 30) * 1000, simple_done);
}

static bool hook(struct act_op *op, const Core__LifecycleHandler *h, uint64_t timeout_ms, void (*done)(struct check *))
{
	struct check_target t = {
		.exec = h->exec,
		.http = h->http_get,
		.tcp = h->tcp_socket,
		.sleep = h->sleep,
		.container = op->spec,
		.container_id = op->id,
		.pod_ip = arena_strdup(&op->arena, worker_ip(op->w)),
	};

	op->waits = WAITS_CHECK;
	op->check = (struct check){.k = op->w->k, .timeout_ms = timeout_ms, .done = done};
	return check_start(&op->check, &t);
}

static void started(struct act_op *op)
{
	struct pod_worker *w = op->w;
	struct err e = op->call.err;

	cri_call_fini(&op->call);
	if (e.code) {
		pod_event(w->k, op->pod->msg, op->container, true, "Failed", "Error: %s", e.text);
		start_failed(op, "RunContainerError", e.text, FAIL_MIN_MS, FAIL_MAX_MS);
		return;
	}
	pod_event(w->k, op->pod->msg, op->container, false, "Started", "Started container %s", op->container);
	log_debug("kubelet", "pod=%s/%s container=%s started ms=%d", w->ns, w->name, op->container,
			(int)(clock_mono_ms() - op->began_ms));
	worker_set_failed(w, op->container, NULL, NULL, 0);
	if (op->spec->lifecycle && op->spec->lifecycle->post_start &&
			hook(op, op->spec->lifecycle->post_start, HOOK_TIMEOUT_MS, post_started))
		return;
	acts__end(op);
}

static void created(struct act_op *op)
{
	Runtime__StartContainerRequest req = RUNTIME__START_CONTAINER_REQUEST__INIT;
	struct pod_worker *w = op->w;
	struct err e = op->call.err;

	if (!e.code)
		op->id = xstrdup(CRI_REPLY(&op->call, Runtime__CreateContainerResponse)->container_id);
	cri_call_fini(&op->call);
	if (e.code) {
		pod_event(w->k, op->pod->msg, op->container, true, "Failed", "Error: %s", e.text);
		start_failed(op, "CreateContainerError", e.text, FAIL_MIN_MS, FAIL_MAX_MS);
		return;
	}
	pod_event(w->k, op->pod->msg, op->container, false, "Created", "Created container %s", op->container);
	worker_set_actual(worker_container(w, op->container), op->id, res_given(&op->arena, op->pod->msg, op->spec));
	worker_save_allocation(w);
	req.container_id = op->id;
	acts__call(op, CRI_START_CONTAINER, &req.base, 0, started);
}

static int write_hosts(struct act_op *op, struct err *e)
{
	struct kubelet *k = op->w->k;
	Core__Pod *pod = op->pod->msg;
	char *path, *text;

	if (PB_OR(pod->spec, host_network, 0))
		return 0;
	path = arena_printf(&op->arena, "%s/etc-hosts", pod_dir(&op->arena, &k->host, op->w->uid));
	text = pod_hosts_file(&op->arena, &k->host, pod, worker_ip(op->w));
	return file_put(path, str_from(text), 0644, false, e);
}

static int make_config(struct act_op *op, Runtime__ContainerConfig **ret, struct err *e)
{
	struct pod_worker *w = op->w;
	Core__Pod *pod = op->pod->msg;
	struct env_ctx ctx = worker_env_ctx(w, pod);
	struct env_list env;
	struct container_in in = {
		.host = &w->k->host,
		.pod = pod,
		.spec = op->spec,
		.env = &env,
		.attempt = op->attempt,
		.image_ref = op->image.id,
		.image_uid = op->image.uid,
		.image_user = op->image.user,
		.hash = container_hash(&op->arena, op->spec),
	};
	int rc = env_build(&op->arena, &ctx, op->spec, &env, e);

	if (rc == 0)
		rc = ephemeral_target(pod, op->container, worker_rt(w), &in.target_id, e);
	if (rc == 0)
		rc = write_hosts(op, e);
	if (rc == 0)
		rc = pod_container_config(&op->arena, &in, ret, e);
	if (rc == 0) {
		char *dir = arena_printf(&op->arena, "%s/%s",
				pod_log_dir(&op->arena, &w->k->host, w->ns, w->name, w->uid), op->container);

		rc = fs_mkdir_all(dir, 0755, e);
	}
	return rc;
}

/* The first failure says what failed; from the second on the container is said to wait for its back-off. */
static void image_failed(struct act_op *op, const struct work_container *c)
{
	const struct image_get *g = &op->image;
	char text[700];

	pod_event(op->w->k, op->pod->msg, op->container, true, "Failed", "%s", g->message);
	if (strcmp(g->reason, "ErrImagePull") != 0 || c->fail_delay_ms == 0) {
		start_failed(op, g->reason, g->message, PULL_FAIL_MIN_MS, PULL_FAIL_MAX_MS);
		return;
	}
	snprintf(text, sizeof(text), "Back-off pulling image \"%s\": ErrImagePull: %s", g->image, g->message);
	pod_event(op->w->k, op->pod->msg, op->container, false, "BackOff", "Back-off pulling image \"%s\"", g->image);
	start_failed(op, "ImagePullBackOff", text, PULL_FAIL_MIN_MS, PULL_FAIL_MAX_MS);
}

/* The container may have been given other resources than when the pod's group was made; what is in use is not taken away. */
static void regroup(struct act_op *op)
{
	char *group = res_cgroup_path(&op->arena, op->w->k->host.cgroup_root, op->pod->msg);
	struct cgroup_limits limits;
	struct err e = ERR_INIT;

	limits_of(op->pod->msg, &limits);
	if (limits.memory_bytes && cgroup_memory_in_use(group) > limits.memory_bytes)
		limits.memory_bytes = 0;
	if (cgroup_setup(group, &limits, &e) < 0)
		log_warn("kubelet", "pod=%s/%s control group: %s", op->w->ns, op->w->name, e.text);
}

static void image_there(struct image_get *g)
{
	struct act_op *op = container_of(g, struct act_op, image);
	struct pod_worker *w = op->w;
	struct work_container *c = worker_container(w, op->container);
	const struct rt_pod *rt = worker_rt(w);
	Runtime__CreateContainerRequest req = RUNTIME__CREATE_CONTAINER_REQUEST__INIT;
	struct err e = ERR_INIT;

	if (w->closing || op->given_up) {
		acts__end(op);
		return;
	}
	if (g->wait_ms) {
		c->waits_for_images = true;
		worker_set_failed(w, op->container, NULL, NULL, g->wait_ms);
		acts__end(op);
		return;
	}
	if (g->reason) {
		image_failed(op, c);
		return;
	}
	if (g->pulled)
		pod_event(w->k, op->pod->msg, op->container, false, "Pulled",
				"Successfully pulled image \"%s\" in %dms", g->image, (int)g->pull_ms);
	else
		pod_event(w->k, op->pod->msg, op->container, false, "Pulled",
				"Container image \"%s\" already present on machine", g->image);
	if (!rt || !rt->n_sandboxes || !rt->sandboxes[0]->ready) {
		acts__end(op); /* the sandbox died meanwhile: decide anew */
		return;
	}
	if (make_config(op, &req.config, &e) < 0) {
		config_failed(op, &e);
		return;
	}
	regroup(op);
	req.pod_sandbox_id = rt->sandboxes[0]->id;
	req.sandbox_config = pod_sandbox_config(&op->arena, &w->k->host, op->pod->msg, rt->sandboxes[0]->attempt);
	acts__call(op, CRI_CREATE_CONTAINER, &req.base, 0, created);
}

static void start(struct act_op *op)
{
	struct pod_worker *w = op->w;
	struct work_container *c = worker_container(w, op->container);
	const struct rt_container *last = rt_find(worker_rt(w), op->container, NULL);
	struct err e = ERR_INIT;

	if (last && last->state == RT_EXITED && !c->reason) {
		backoff_next(&c->backoff, last->started_ns / 1000000, last->finished_ns / 1000000);
		c->backoff_known = true;
	}
	if (objset_check(w->objects, false, w->ns, &e) < 0) {
		/* Only the container that uses the object must wait: env_build tells. */
		err_clear(&e);
	}
	op->image.k = w->k;
	op->image.image = nz(op->spec->image);
	op->image.policy = image_pull_policy(op->spec);
	op->image.objects = w->objects;
	op->image.pod = op->pod->msg;
	op->image.done = image_there;
	op->waits = WAITS_IMAGE;
	image_get_start(&op->image);
}

static void stop_container(struct act_op *op)
{
	Runtime__StopContainerRequest req = RUNTIME__STOP_CONTAINER_REQUEST__INIT;
	int64_t spent_s = (int64_t)(clock_mono_ms() - op->began_ms) / 1000;
	int64_t left_s = MAX(op->grace_s - spent_s, op->grace_s == 0 ? 0 : spent_s > 0 ? MIN_GRACE_S : 0);

	req.container_id = op->id;
	req.timeout = left_s;
	acts__call(op, CRI_STOP_CONTAINER, &req.base, (uint64_t)(left_s + 60) * 1000, simple_done);
}

static void pre_stopped(struct check *check)
{
	struct act_op *op = container_of(check, struct act_op, check);

	if (!check->ok && op->pod)
		pod_event(op->w->k, op->pod->msg, op->container, true, "FailedPreStopHook", "PreStopHook failed: %s", check->text);
	stop_container(op);
}

static void kill_container(struct act_op *op)
{
	struct pod_worker *w = op->w;
	const Core__Lifecycle *l = op->spec ? op->spec->lifecycle : NULL;

	if (op->pod)
		pod_event(w->k, op->pod->msg, op->container, false, "Killing", "%s %s", op->why, nz(op->container));
	if (l && l->pre_stop && op->grace_s > 0 && hook(op, l->pre_stop, (uint64_t)op->grace_s * 1000, pre_stopped))
		return;
	stop_container(op);
}

void act_start(struct pod_worker *w, const struct act *act)
{
	static void (*const first[])(struct act_op *) = {
		[ACT_CREATE_SANDBOX] = create_sandbox,
		[ACT_STOP_SANDBOX] = stop_sandbox,
		[ACT_REMOVE_SANDBOX] = remove_sandbox,
		[ACT_START] = start,
		[ACT_KILL] = kill_container,
		[ACT_REMOVE] = remove_container,
		[ACT_RESIZE] = acts__resize,
	};
	struct act_op *op = xcalloc(1, sizeof(*op));

	op->w = w;
	op->kind = act->kind;
	op->pod = kept_ref(w->pod);
	op->id = act->kind != ACT_START && act->id ? xstrdup(act->id) : NULL;
	op->why = xstrdup(nz(act->why));
	op->attempt = act->attempt;
	op->grace_s = act->grace_s;
	op->began_ms = clock_mono_ms();
	arena_init(&op->arena);
	if (act->container >= 0) {
		op->container = xstrdup(w->c[act->container].name);
		op->spec = worker_spec(w, op->container);
		w->c[act->container].busy++;
	} else if (op->kind <= ACT_STOP_SANDBOX) {
		w->sandbox_busy++;
	} else if (op->kind == ACT_RESIZE) {
		w->resize_busy++;
	}
	w->n_acts++;
	list_add_tail(&w->acts, &op->link);
	kubelet_busy(w->k);
	log_debug("kubelet", "pod=%s/%s action=%d container=%s id=%.12s attempt=%u", w->ns, w->name, (int)act->kind,
			nz(op->container), nz(op->id), act->attempt);
	first[act->kind](op);
}
