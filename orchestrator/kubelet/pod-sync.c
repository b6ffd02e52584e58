#include "orchestrator/kubelet/pod-sync.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/kubelet/pbutil.h"

#define RESIZE_RESTARTS "Container resize requires restart, of"

void backoff_next(struct backoff *b, int64_t started_ms, int64_t finished_ms)
{
	if (b->delay_ms == 0 || finished_ms - started_ms >= CRASH_BACKOFF_RESET_MS)
		b->delay_ms = CRASH_BACKOFF_MIN_MS;
	else
		b->delay_ms = MIN(2 * b->delay_ms, CRASH_BACKOFF_MAX_MS);
}

const char *pod_restart_policy(const Core__Pod *pod)
{
	return pod->spec && is_set(pod->spec->restart_policy) ? pod->spec->restart_policy : "Always";
}

bool container_is_sidecar(const Core__Container *c)
{
	return is_set(c->restart_policy) && strcmp(c->restart_policy, "Always") == 0;
}

bool container_restarts(const Core__Pod *pod, const struct sync_container *c, int exit_code)
{
	const char *policy = pod_restart_policy(pod);

	if (c->ephemeral)
		return false;
	if (c->sidecar || (strcmp(policy, "Always") == 0 && !c->init))
		return true;
	return exit_code != 0 && strcmp(policy, "Never") != 0;
}

const char *container_hash(struct arena *a, const Core__Container *c)
{
	char *text = arena_printf(a, "%s\n%s", nz(c->name), nz(c->image));

	return arena_printf(a, "%016" PRIx64, str_hash(str_from(text)));
}

static struct act *add(struct sync_out *out, enum act_kind kind, int container, const char *id, const char *why)
{
	size_t n = out->n_acts;
	struct act *a;

	if ((n & (n - 1)) == 0)
		out->acts = arena_grow(out->arena, out->acts, n * sizeof(*a), (n ? 2 * n : 1) * sizeof(*a));
	a = &out->acts[out->n_acts++];
	*a = (struct act){.kind = kind, .container = container, .id = id, .why = why};
	return a;
}

/* By id, for what has no place in the spec: once is enough. */
static void add_once(const struct sync_in *in, struct sync_out *out, enum act_kind kind, const char *id)
{
	if (!pb_has_str(in->busy_ids, in->n_busy_ids, id))
		add(out, kind, -1, id, NULL);
}

static void wake_at(struct sync_out *out, int64_t ms)
{
	if (out->wake_ms == 0 || ms < out->wake_ms)
		out->wake_ms = ms;
}

static int index_of(const struct sync_in *in, const char *name)
{
	for (size_t i = 0; i < in->n_c; i++)
		if (strcmp(in->c[i].spec->name, name) == 0)
			return (int)i;
	return -1;
}

static bool any_busy(const struct sync_in *in)
{
	for (size_t i = 0; i < in->n_c; i++)
		if (in->c[i].busy)
			return true;
	return in->sandbox_busy;
}

static bool is_running(const struct rt_container *c)
{
	return c && (c->state == RT_RUNNING || c->state == RT_UNKNOWN);
}

static const struct rt_sandbox *newest(const struct sync_in *in)
{
	return in->rt && in->rt->n_sandboxes ? in->rt->sandboxes[0] : NULL;
}

/* Kill what runs; sidecars only when the others have ended. True when something still runs or is being ended. */
static bool kill_all(const struct sync_in *in, struct sync_out *out, const char *why)
{
	bool main_runs = false, runs = false;

	for (size_t i = 0; in->rt && i < in->rt->n_containers; i++) {
		int at = index_of(in, in->rt->containers[i]->name);

		if (is_running(in->rt->containers[i]) && (at < 0 || !in->c[at].sidecar))
			main_runs = true;
	}
	for (size_t i = 0; in->rt && i < in->rt->n_containers; i++) {
		const struct rt_container *c = in->rt->containers[i];
		int at = index_of(in, c->name);

		if (!is_running(c))
			continue;
		runs = true;
		if ((at >= 0 && in->c[at].busy) || pb_has_str(in->busy_ids, in->n_busy_ids, c->id) ||
				(at >= 0 && in->c[at].sidecar && main_runs))
			continue;
		add(out, ACT_KILL, at, c->id, why)->grace_s = in->grace_s;
	}
	return runs || any_busy(in);
}

/* Stop ready sandboxes, but not `keep`. True when there are any. */
static bool stop_sandboxes(const struct sync_in *in, struct sync_out *out, const struct rt_sandbox *keep)
{
	bool any = false;

	for (size_t i = 0; in->rt && i < in->rt->n_sandboxes; i++) {
		if (in->rt->sandboxes[i] == keep || !in->rt->sandboxes[i]->ready)
			continue;
		any = true;
		if (!in->sandbox_busy)
			add_once(in, out, ACT_STOP_SANDBOX, in->rt->sandboxes[i]->id);
	}
	return any;
}

static void sync_end(const struct sync_in *in, struct sync_out *out)
{
	if (kill_all(in, out, in->pod ? "Stopping container" : "Stopping container of a pod that is gone"))
		return;
	if (stop_sandboxes(in, out, NULL))
		return;
	out->all_stopped = true;
	if (!in->terminating && !in->forget)
		return;
	if (!in->rt || (in->rt->n_sandboxes == 0 && in->rt->n_containers == 0)) {
		out->gone = in->terminating;
		return;
	}
	/* A sandbox takes its containers with it; only containers without one are removed alone. */
	for (size_t i = 0; i < in->rt->n_containers; i++) {
		bool has_sandbox = false;

		for (size_t k = 0; k < in->rt->n_sandboxes; k++)
			has_sandbox = has_sandbox || strcmp(in->rt->sandboxes[k]->id, in->rt->containers[i]->sandbox_id) == 0;
		if (!has_sandbox)
			add_once(in, out, ACT_REMOVE, in->rt->containers[i]->id);
	}
	for (size_t i = 0; i < in->rt->n_sandboxes; i++)
		add_once(in, out, ACT_REMOVE_SANDBOX, in->rt->sandboxes[i]->id);
}

/* Without a sandbox: is there still something to run? Containers of older sandboxes count as history. */
static bool has_work(const struct sync_in *in)
{
	for (size_t i = 0; i < in->n_c; i++) {
		const struct rt_container *c = rt_find(in->rt, in->c[i].spec->name, NULL);

		if (in->c[i].ephemeral)
			continue;
		if (in->c[i].init) {
			if (c && c->state == RT_EXITED && c->exit_code != 0 && !in->c[i].sidecar &&
					strcmp(pod_restart_policy(in->pod), "Never") == 0)
				return false;
			continue;
		}
		if (!c || c->state == RT_CREATED || container_restarts(in->pod, &in->c[i], c->exit_code))
			return true;
	}
	return false;
}

static void sync_sandbox(const struct sync_in *in, struct sync_out *out, const struct rt_sandbox *last)
{
	if (kill_all(in, out, "Pod sandbox changed, it will be killed and re-created."))
		return;
	if (stop_sandboxes(in, out, NULL))
		return;
	if (!has_work(in)) {
		out->all_stopped = true;
	} else if (in->now_ms < in->sandbox_not_before_ms) {
		wake_at(out, in->sandbox_not_before_ms);
	} else if (in->ready_to_start && !in->sandbox_busy) {
		add(out, ACT_CREATE_SANDBOX, -1, NULL, NULL)->attempt = last ? last->attempt + 1 : 0;
	}
}

/* Start it now, or see to it that we look again when its back-off is over. */
static void start(const struct sync_in *in, struct sync_out *out, size_t i, const struct rt_container *last)
{
	struct sync_container *c = &in->c[i];
	const struct rt_container *any = rt_find(in->rt, c->spec->name, NULL);
	int64_t until = c->not_before_ms;
	struct act *a;

	if (in->held)
		return;
	if (last && last->state == RT_EXITED && c->backoff.delay_ms > 0) {
		int64_t crash_until = last->finished_ns / 1000000 + c->backoff.delay_ms;

		if (in->now_ms < crash_until) {
			c->crash_loop = true;
			until = MAX(until, crash_until);
		}
	}
	if (in->now_ms < until) {
		wake_at(out, until);
		return;
	}
	a = add(out, ACT_START, (int)i, last ? last->id : NULL, NULL);
	a->attempt = MAX(any ? any->attempt + 1 : 0, c->min_attempt);
}

static void kill_one(const struct sync_in *in, struct sync_out *out, size_t i, const struct rt_container *c,
		const char *why)
{
	int64_t grace = in->c[i].unhealthy_grace_s;

	add(out, ACT_KILL, (int)i, c->id, why)->grace_s = in->c[i].unhealthy && grace >= 0 ? grace : in->grace_s;
}

/* A sidecar: runs as long as the pod. True when what comes after it may go on. */
static bool sync_sidecar(const struct sync_in *in, struct sync_out *out, size_t i, const struct rt_container *c)
{
	if (in->c[i].busy)
		return false;
	if (is_running(c)) {
		if (in->c[i].unhealthy)
			kill_one(in, out, i, c, in->c[i].unhealthy);
		else if (in->c[i].resize == RESIZE_RESTART)
			kill_one(in, out, i, c, RESIZE_RESTARTS);
		return in->c[i].started;
	}
	start(in, out, i, c);
	return false;
}

/* True when all init containers have done their part. */
static bool sync_init(const struct sync_in *in, struct sync_out *out, const struct rt_sandbox *sandbox)
{
	bool main_began = false;

	for (size_t i = 0; i < in->n_c; i++)
		if (!in->c[i].init && !in->c[i].ephemeral && rt_find(in->rt, in->c[i].spec->name, sandbox->id))
			main_began = true;
	for (size_t i = 0; i < in->n_c && in->c[i].init; i++) {
		const struct rt_container *c = rt_find(in->rt, in->c[i].spec->name, sandbox->id);

		if (in->c[i].sidecar) {
			if (!sync_sidecar(in, out, i, c) && !main_began)
				return false;
			continue;
		}
		if (main_began || (c && c->state == RT_EXITED && c->exit_code == 0))
			continue;
		if (in->c[i].busy)
			return false;
		if (c && c->state == RT_UNKNOWN)
			kill_one(in, out, i, c, "Init container is in unknown state");
		else if (c && c->state == RT_EXITED && !container_restarts(in->pod, &in->c[i], c->exit_code))
			out->init_failed = true;
		else if (!is_running(c))
			start(in, out, i, c);
		return false;
	}
	return true;
}

static void sync_main(const struct sync_in *in, struct sync_out *out, const struct rt_sandbox *sandbox)
{
	bool done = true;

	for (size_t i = 0; i < in->n_c; i++) {
		const struct rt_container *c = rt_find(in->rt, in->c[i].spec->name, sandbox->id);

		if (in->c[i].init || in->c[i].ephemeral)
			continue;
		if (c && c->state == RT_EXITED && !in->c[i].busy &&
				!container_restarts(in->pod, &in->c[i], c->exit_code))
			continue;
		done = false;
		if (in->c[i].busy)
			continue;
		if (c && c->state == RT_UNKNOWN)
			kill_one(in, out, i, c, "Container is in unknown state");
		else if (is_running(c) && in->c[i].unhealthy)
			kill_one(in, out, i, c, in->c[i].unhealthy);
		else if (is_running(c) && *c->hash && strcmp(c->hash, in->c[i].hash) != 0)
			kill_one(in, out, i, c, "Container definition changed, will be restarted");
		else if (is_running(c) && in->c[i].resize == RESIZE_RESTART)
			kill_one(in, out, i, c, RESIZE_RESTARTS);
		else if (!is_running(c))
			start(in, out, i, c);
	}
	if (done)
		sync_end(in, out);
}

/*
 * Ephemeral containers need the sandbox only: they are there to look at a pod whose init containers fail, too. One that
 * ran, in whatever sandbox, is not run again; min_attempt tells of a run that only the API remembers.
 */
static void sync_ephemeral(const struct sync_in *in, struct sync_out *out)
{
	for (size_t i = 0; i < in->n_c; i++) {
		const struct rt_container *c = rt_find(in->rt, in->c[i].spec->name, NULL);

		if (in->c[i].ephemeral && !in->c[i].busy && (c ? c->state == RT_CREATED : in->c[i].min_attempt == 0))
			start(in, out, i, c);
	}
}

/* One action brings their resources to all containers; those that are restarted for it get them in that way. */
static void sync_resize(const struct sync_in *in, struct sync_out *out)
{
	bool any = in->pod_resize;

	for (size_t i = 0; i < in->n_c; i++)
		any |= !in->c[i].busy && in->c[i].resize == RESIZE_IN_PLACE;
	if (!any || in->resize_busy)
		return;
	if (in->now_ms < in->resize_not_before_ms)
		wake_at(out, in->resize_not_before_ms);
	else
		add(out, ACT_RESIZE, -1, NULL, NULL);
}

/* Of each container keep the newest record and the one before it; of sandboxes the newest and those that hold such. */
static void collect_garbage(const struct sync_in *in, struct sync_out *out)
{
	for (size_t i = 0; in->rt && i < in->rt->n_containers; i++) {
		const struct rt_container *c = in->rt->containers[i];
		int at = index_of(in, c->name), newer = 0;

		for (size_t k = 0; k < i; k++)
			newer += strcmp(in->rt->containers[k]->name, c->name) == 0;
		if (newer >= 2 && !is_running(c) && (at < 0 || !in->c[at].busy))
			add_once(in, out, ACT_REMOVE, c->id);
	}
	for (size_t i = 1; in->rt && i < in->rt->n_sandboxes; i++) {
		const struct rt_sandbox *s = in->rt->sandboxes[i];
		bool used = s->ready;

		for (size_t k = 0; k < in->rt->n_containers; k++)
			used = used || strcmp(in->rt->containers[k]->sandbox_id, s->id) == 0;
		if (!used)
			add_once(in, out, ACT_REMOVE_SANDBOX, s->id);
	}
}

void pod_sync(const struct sync_in *in, struct sync_out *out)
{
	const struct rt_sandbox *sandbox = newest(in);

	for (size_t i = 0; i < in->n_c; i++)
		in->c[i].crash_loop = false;
	if (in->terminating || in->terminal || !in->pod) {
		sync_end(in, out);
		return;
	}
	if (!sandbox || !sandbox->ready) {
		sync_sandbox(in, out, sandbox);
		return;
	}
	stop_sandboxes(in, out, sandbox);
	sync_ephemeral(in, out);
	if (sync_init(in, out, sandbox))
		sync_main(in, out, sandbox);
	else if (out->init_failed)
		sync_end(in, out);
	if (!out->all_stopped) {
		sync_resize(in, out);
		collect_garbage(in, out);
	}
}
