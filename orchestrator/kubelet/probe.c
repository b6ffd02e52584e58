/* One probe of one running container: when to check, and what the results mean. */
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"

struct prober {
	struct pod_worker *w;
	struct kept *pod;
	const Core__Container *spec;
	const Core__Probe *probe;
	enum probe_kind kind;
	char *container_id;
	struct loop_timer timer;
	struct check check;
	bool checking;
	int result; /* +1, -1, 0 */
	int in_row; /* checks with the same outcome, negative for failures */
};

static const char *const names[] = {"Startup", "Readiness", "Liveness"};

static void prober_free(struct prober *p)
{
	kept_unref(p->pod);
	free(p->container_id);
	free(p);
}

static uint64_t seconds(int32_t s, int32_t fallback)
{
	return (uint64_t)(s > 0 ? s : fallback) * 1000;
}

static void on_time(struct loop_timer *t);

static void wait_next(struct prober *p)
{
	uint64_t period = seconds(PB_OR(p->probe, period_seconds, 0), 10);

	/* Until the first success look more often: readiness should not lag a whole period behind. */
	if (p->kind != PROBE_LIVENESS && p->result == 0 && period > 1000)
		period = p->in_row > -5 ? 1000 : period;
	loop_timer_start(&p->timer, p->w->k->loop, period, on_time);
}

static void liveness_failed(struct prober *p, const char *name)
{
	struct work_container *c = worker_container(p->w, p->spec->name);

	free(c->unhealthy);
	c->unhealthy = xasprintf("Container %s failed %s probe, will be restarted:", nz(p->spec->name), name);
	c->unhealthy_grace_s = p->probe->has_termination_grace_period_seconds
					       ? p->probe->termination_grace_period_seconds
					       : -1;
}

/* Thresholds in a row decide. */
static void count(struct prober *p, bool ok)
{
	int success = PB_OR(p->probe, success_threshold, 1), failure = PB_OR(p->probe, failure_threshold, 3);
	int before = p->result;

	p->in_row = ok ? (p->in_row > 0 ? p->in_row + 1 : 1) : (p->in_row < 0 ? p->in_row - 1 : -1);
	if (ok && p->in_row >= (success > 0 ? success : 1))
		p->result = 1;
	else if (!ok && -p->in_row >= (failure > 0 ? failure : 3))
		p->result = -1;
	if (p->result == before)
		return;
	if (p->result < 0 && p->kind == PROBE_LIVENESS)
		liveness_failed(p, "liveness");
	else if (p->result < 0 && p->kind == PROBE_STARTUP)
		liveness_failed(p, "startup");
	worker_kick(p->w);
}

static void checked(struct check *c)
{
	struct prober *p = container_of(c, struct prober, check);

	p->checking = false;
	if (!c->ok)
		pod_event(p->w->k, p->pod->msg, p->spec->name, true, "Unhealthy", "%s probe %s: %s", names[p->kind],
				c->unsure ? "errored" : "failed", c->text);
	if (!c->unsure)
		count(p, c->ok);
	/* A startup probe's work is done; a failed liveness probe waits for the restart. */
	if ((p->kind == PROBE_STARTUP && p->result != 0) || (p->kind == PROBE_LIVENESS && p->result < 0))
		return;
	wait_next(p);
}

/* Liveness and readiness wait for the startup probe. */
static bool may_check(struct prober *p)
{
	struct work_container *c = worker_container(p->w, p->spec->name);

	return p->kind == PROBE_STARTUP || !c->probers[PROBE_STARTUP] || prober_result(c->probers[PROBE_STARTUP]) > 0;
}

static void on_time(struct loop_timer *t)
{
	struct prober *p = container_of(t, struct prober, timer);
	const Core__ProbeHandler *h = p->probe->probe_handler;
	struct check_target target = {
		.container = p->spec,
		.container_id = p->container_id,
		.pod_ip = worker_ip(p->w),
	};

	if (!may_check(p)) {
		loop_timer_start(&p->timer, p->w->k->loop, 100, on_time);
		return;
	}
	if (h) {
		target.exec = h->exec;
		target.http = h->http_get;
		target.tcp = h->tcp_socket;
		target.grpc = h->grpc;
	}
	p->check = (struct check){
		.k = p->w->k,
		.timeout_ms = seconds(PB_OR(p->probe, timeout_seconds, 0), 1),
		.done = checked,
	};
	p->checking = check_start(&p->check, &target);
	if (!p->checking) {
		p->result = 1; /* a probe without a handler passes */
		worker_kick(p->w);
	}
}

struct prober *prober_start(struct pod_worker *w, const Core__Container *spec, enum probe_kind kind,
		const Core__Probe *probe, const struct rt_container *rc)
{
	struct prober *p = xcalloc(1, sizeof(*p));
	int64_t delay_ms = (int64_t)PB_OR(probe, initial_delay_seconds, 0) * 1000;
	int64_t age_ms = wall_ms() - rc->started_ns / 1000000;

	p->w = w;
	p->pod = kept_ref(w->pod);
	p->spec = spec;
	p->probe = probe;
	p->kind = kind;
	p->container_id = xstrdup(rc->id);
	loop_timer_start(&p->timer, w->k->loop, (uint64_t)MAX(delay_ms - age_ms, 0), on_time);
	return p;
}

void prober_stop(struct prober *p)
{
	if (!p)
		return;
	loop_timer_stop(&p->timer);
	if (p->checking)
		check_cancel(&p->check);
	/* A canceled check does not call back. */
	prober_free(p);
}

int prober_result(const struct prober *p)
{
	return p->result;
}
