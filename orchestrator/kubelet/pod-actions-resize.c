/* The action that resizes a running pod's containers and control group: one step after the other, each remembered when it is done. */
#include "orchestrator/kubelet/pod-actions-priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"
#include "proto/pb.h"

#define RESIZE_FAIL_MIN_MS 1000
#define RESIZE_FAIL_MAX_MS 60000

static void resize_next(struct act_op *op);

static void resize_failed(struct act_op *op, const char *what, const char *text)
{
	struct pod_worker *w = op->w;

	if (!w->resize_error || strcmp(w->resize_error, text) != 0) {
		free(w->resize_error);
		w->resize_error = xstrdup(text);
		pod_event(w->k, op->pod->msg, NULL, true, "ResizeError", "Pod resize error: %s",
				resize_text(&op->arena, op->pod->msg, text));
		log_warn("kubelet", "pod=%s/%s resize %s: %s", w->ns, w->name, what, text);
	}
	w->resize_delay_ms = w->resize_delay_ms ? MIN(2 * w->resize_delay_ms, RESIZE_FAIL_MAX_MS) : RESIZE_FAIL_MIN_MS;
	w->resize_not_before_ms = wall_ms() + w->resize_delay_ms;
	acts__end(op);
}

static const Core__ResourceRequirements *pod_whole(const struct act_op *op)
{
	return ((const Core__Pod *)op->pod->msg)->spec->resources;
}

/* A step is done: remember it at once, so that an agent that starts anew knows what runs. */
static void resize_stepped(struct act_op *op)
{
	const struct resize_step *s = &op->steps[op->step++];
	const struct resize_container *r = s->container >= 0 ? &op->resized[s->container] : NULL;
	struct work_container *c = r ? worker_container(op->w, r->spec->name) : NULL;

	if (c && c->actual && strcmp(c->actual_id, r->id) == 0) {
		worker_set_actual(c, r->id,
				resize_mix(&op->arena, c->actual->msg, r->given, s->memory ? "memory" : "cpu"));
		worker_save_allocation(op->w);
	} else if (!r && pod_whole(op)) {
		worker_set_whole(op->w, resize_mix(&op->arena, worker_whole(op->w), pod_whole(op), s->memory ? "memory" : "cpu"));
		worker_save_allocation(op->w);
	}
	resize_next(op);
}

static void resize_updated(struct act_op *op)
{
	struct err e = op->call.err;

	cri_call_fini(&op->call);
	if (e.code)
		resize_failed(op, op->resized[op->steps[op->step].container].spec->name, e.text);
	else
		resize_stepped(op);
}

static void resize_update(struct act_op *op, const struct resize_step *s, const char *group)
{
	Runtime__UpdateContainerResourcesRequest req = RUNTIME__UPDATE_CONTAINER_RESOURCES_REQUEST__INIT;
	Runtime__LinuxContainerResources res = RUNTIME__LINUX_CONTAINER_RESOURCES__INIT;

	req.container_id = (char *)op->resized[s->container].id;
	req.linux = &res;
	if (s->memory) {
		res.memory_limit_in_bytes = s->memory_limit;
		/* Containers get no swap: made that way, and kept so. */
		if (cgroup_counts_swap(group))
			res.memory_swap_limit_in_bytes = s->memory_limit;
	} else {
		res.cpu_shares = s->cpu_shares;
		res.cpu_period = 100000;
		res.cpu_quota = s->cpu_quota_us;
	}
	acts__call(op, CRI_UPDATE_CONTAINER_RESOURCES, &req.base, 0, resize_updated);
}

static void resize_next(struct act_op *op)
{
	const char *pod_group = res_cgroup_path(&op->arena, op->w->k->host.cgroup_root, op->pod->msg), *group = pod_group;
	const struct resize_step *s = &op->steps[op->step];
	struct err e = ERR_INIT;
	int64_t in_use;

	if (op->step == op->n_steps) {
		/* Also what is the same to the kernel. */
		if (!resize_equal(pod_whole(op), worker_whole(op->w))) {
			worker_set_whole(op->w, pod_whole(op));
			worker_save_allocation(op->w);
		}
		free(TAKE(op->w->resize_error));
		op->w->resize_delay_ms = 0;
		acts__end(op);
		return;
	}
	if (!s->tell) {
		resize_stepped(op);
		return;
	}
	if (s->container >= 0)
		group = arena_printf(&op->arena, "%s/%s", pod_group, op->resized[s->container].id);
	in_use = s->shrinks ? cgroup_memory_in_use(group) : 0;
	if (in_use > s->memory_limit) {
		resize_failed(op, group,
				arena_printf(&op->arena, "attempting to set %s memory limit (%lld) below current usage (%lld)",
						s->container < 0 ? "pod" : "container", (long long)s->memory_limit, (long long)in_use));
	} else if (s->container >= 0) {
		resize_update(op, s, group);
	} else {
		struct cgroup_limits l = {s->cpu_shares, s->cpu_quota_us, s->memory_limit};

		if (cgroup_setup(group, &l, &e) < 0)
			resize_failed(op, group, e.text);
		else
			resize_stepped(op);
	}
}

/* Those that run with something else than they were given, as they are now. */
void acts__resize(struct act_op *op)
{
	struct pod_worker *w = op->w;
	const Core__Pod *pod = op->pod->msg;
	struct resize_actual *actual = arena_new_array(&op->arena, struct resize_actual, w->n_c + 1);
	const Core__ResourceRequirements *whole = pb_copy(&op->arena, worker_whole(w));
	size_t n_actual = 0;

	op->resized = arena_new_array(&op->arena, struct resize_container, w->n_c + 1);
	for (size_t i = 0; i < w->n_c; i++) {
		struct work_container *c = &w->c[i];
		const struct rt_container *rc = rt_find(worker_rt(w), c->name, NULL);
		const Core__Container *spec = worker_spec(w, c->name);
		struct resize_container *r = &op->resized[op->n_resized];

		if (!rc || rc->state != RT_RUNNING || c->ephemeral || !c->actual || strcmp(c->actual_id, rc->id) != 0)
			continue;
		*r = (struct resize_container){.spec = spec, .id = arena_strdup(&op->arena, rc->id), .actual = c->actual->msg};
		r->given = res_given(&op->arena, pod, spec);
		r->way = resize_way(spec, r->given, r->actual);
		actual[n_actual++] = (struct resize_actual){c->name, r->id, pb_copy(&op->arena, c->actual->msg)};
		op->n_resized++;
	}
	op->n_steps = resize_plan(&op->arena, resize_was(&op->arena, pod, whole, actual, n_actual), pod, op->resized, op->n_resized, &op->steps);
	resize_next(op);
}
