/* pod_sync and pod_status: tables of what is observed and what is decided, as short texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/kubelet/ephemeral.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-status.h"

#define NOW_MS 1000000000ll

static struct arena a;

/*
 * A pod from a text: "Always i:prep s:side c:main c:other e:debug" - the restart policy, then init containers, sidecars,
 * containers and ephemeral containers in order; an ephemeral one looks at the container "main".
 */
static Core__Pod *make_pod(const char *text)
{
	Core__Pod *pod = PB_NEW(&a, Core__Pod, core__pod);
	struct str rest = str_from(text), word;

	pod->metadata = PB_NEW(&a, Meta__ObjectMeta, meta__object_meta);
	pod->metadata->name = "p";
	pod->metadata->namespace_ = "default";
	pod->metadata->uid = "u";
	pod->spec = PB_NEW(&a, Core__PodSpec, core__pod_spec);
	str_cut(rest, ' ', &word, &rest);
	pod->spec->restart_policy = arena_cstr(&a, word);
	while (rest.n > 0) {
		Core__Container *c = PB_NEW(&a, Core__Container, core__container);

		str_cut(rest, ' ', &word, &rest);
		c->name = arena_cstr(&a, str_skip(word, 2));
		c->image = "busybox";
		if (word.p[0] == 's')
			c->restart_policy = "Always";
		if (word.p[0] == 'e') {
			Core__EphemeralContainer *e = PB_NEW(&a, Core__EphemeralContainer, core__ephemeral_container);

			e->ephemeral_container_common = PB_NEW(&a, Core__EphemeralContainerCommon, core__ephemeral_container_common);
			e->ephemeral_container_common->name = c->name;
			e->ephemeral_container_common->image = c->image;
			e->target_container_name = "main";
			PB_ADD(&a, pod->spec, ephemeral_containers, e);
		} else if (word.p[0] == 'c')
			PB_ADD(&a, pod->spec, containers, c);
		else
			PB_ADD(&a, pod->spec, init_containers, c);
	}
	return pod;
}

/*
 * What runs, newest first: "+1 -0" are sandboxes (ready or not) by attempt, then containers "name/attempt@sandbox:state"
 * with state run, created, or the exit code and seconds since the end: "main/0@1:x1,5".
 */
static struct rt_pod *make_rt(const Core__Pod *pod, const char *text)
{
	struct rt_pod *rt = arena_new_of(&a, struct rt_pod);
	struct str rest = str_from(text), word;
	int n = 0;

	rt->sandboxes = arena_new_array(&a, struct rt_sandbox *, 8);
	rt->containers = arena_new_array(&a, struct rt_container *, 16);
	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		if (word.p[0] == '+' || word.p[0] == '-') {
			struct rt_sandbox *s = arena_new_of(&a, struct rt_sandbox);

			s->id = arena_printf(&a, "sb%c", word.p[1]);
			s->attempt = (uint32_t)(word.p[1] - '0');
			s->ready = word.p[0] == '+';
			s->ip = s->ready ? "10.0.0.9" : "";
			rt->sandboxes[rt->n_sandboxes++] = s;
		} else {
			struct rt_container *c = arena_new_of(&a, struct rt_container);
			char name[32], state[32];
			int attempt, sandbox, code = 0, ago = 0;
			char *w = arena_cstr(&a, word);

			assert_int_equal(sscanf(w, "%31[^/]/%d@%d:%31s", name, &attempt, &sandbox, state), 4);
			c->id = arena_printf(&a, "%s%d", name, attempt);
			c->name = arena_strdup(&a, name);
			c->sandbox_id = arena_printf(&a, "sb%d", sandbox);
			c->attempt = (uint32_t)attempt;
			c->created_ns = 1000 - n++;
			c->image = c->image_ref = c->reason = c->message = c->term_message = "";
			c->hash = "";
			for (size_t i = 0; i < pod->spec->n_containers; i++)
				if (strcmp(pod->spec->containers[i]->name, name) == 0)
					c->hash = arena_strdup(&a, container_hash(&a, pod->spec->containers[i]));
			c->state = state[0] == 'r' ? RT_RUNNING : state[0] == 'c' ? RT_CREATED : state[0] == 'u' ? RT_UNKNOWN : RT_EXITED;
			if (state[0] == 'x')
				sscanf(state, "x%d,%d", &code, &ago);
			c->exit_code = code;
			c->started_ns = (NOW_MS - 60000) * 1000000;
			c->finished_ns = (NOW_MS - ago * 1000) * 1000000;
			rt->containers[rt->n_containers++] = c;
		}
	}
	return rt;
}

static void fill(struct sync_in *in, Core__Pod *pod, struct rt_pod *rt)
{
	size_t n_init = pod->spec->n_init_containers;

	memset(in, 0, sizeof(*in));
	in->pod = pod;
	in->rt = rt;
	in->now_ms = NOW_MS;
	in->grace_s = 30;
	in->ready_to_start = true;
	in->n_c = n_init + pod->spec->n_containers + pod->spec->n_ephemeral_containers;
	in->c = arena_new_array(&a, struct sync_container, in->n_c);
	for (size_t i = 0; i < in->n_c; i++) {
		struct sync_container *c = &in->c[i];
		const struct rt_container *r;

		c->ephemeral = i >= n_init + pod->spec->n_containers;
		c->spec = i < n_init	   ? pod->spec->init_containers[i]
			  : c->ephemeral ? ephemeral_specs(&a, pod)[i - n_init - pod->spec->n_containers]
					 : pod->spec->containers[i - n_init];
		c->hash = container_hash(&a, c->spec);
		c->init = i < n_init;
		c->sidecar = c->init && container_is_sidecar(c->spec);
		c->unhealthy_grace_s = -1;
		r = rt_find(rt, c->spec->name, NULL);
		c->started = r && r->state == RT_RUNNING;
	}
}

static char *dump(const struct sync_in *in, const struct sync_out *out)
{
	static const char *const names[] = {"sandbox", "stop", "rmsandbox", "start", "kill", "rm"};
	struct buf b = BUF_INIT;
	char *text;

	for (size_t i = 0; i < out->n_acts; i++) {
		const struct act *x = &out->acts[i];

		buf_printf(&b, "%s%s", b.n ? " " : "", names[x->kind]);
		if (x->kind == ACT_START)
			buf_printf(&b, ":%s/%u", in->c[x->container].spec->name, x->attempt);
		else if (x->kind == ACT_CREATE_SANDBOX)
			buf_printf(&b, ":%u", x->attempt);
		else
			buf_printf(&b, ":%s", x->id);
	}
	for (size_t i = 0; i < in->n_c; i++)
		if (in->c[i].crash_loop)
			buf_printf(&b, "%sloop:%s", b.n ? " " : "", in->c[i].spec->name);
	if (out->wake_ms)
		buf_printf(&b, "%swake:%d", b.n ? " " : "", (int)(out->wake_ms - NOW_MS));
	if (out->init_failed)
		buf_printf(&b, "%sinitfailed", b.n ? " " : "");
	if (out->all_stopped)
		buf_printf(&b, "%sstopped", b.n ? " " : "");
	if (out->gone)
		buf_printf(&b, "%sgone", b.n ? " " : "");
	text = arena_cstr(&a, buf_str(&b));
	buf_fini(&b);
	return text;
}

static const struct row {
	const char *name, *pod, *rt, *want;
	bool terminating, terminal;
} rows[] = {
	{"nothing yet: a sandbox", "Always c:main", "", "sandbox:0", false, false},
	{"sandbox there: start", "Always c:main c:two", "+0", "start:main/0 start:two/0", false, false},
	{"all runs: nothing", "Always c:main", "+0 main/0@0:run", "", false, false},
	{"init first", "Always i:a i:b c:main", "+0", "start:a/0", false, false},
	{"init runs: wait", "Always i:a i:b c:main", "+0 a/0@0:run", "", false, false},
	{"second init", "Always i:a i:b c:main", "+0 a/0@0:x0,5", "start:b/0", false, false},
	{"inits done", "Always i:a i:b c:main", "+0 b/0@0:x0,3 a/0@0:x0,5", "start:main/0", false, false},
	{"init failed: again", "Always i:a c:main", "+0 a/0@0:x1,5", "start:a/1", false, false},
	{"init failed: never", "Never i:a c:main", "+0 a/0@0:x1,5", "stop:sb0 initfailed", false, false},
	{"init failed: never, end", "Never i:a c:main", "-0 a/0@0:x1,5", "stopped", false, false},
	{"sidecar before main", "Always s:side c:main", "+0", "start:side/0", false, false},
	{"sidecar runs: main", "Always s:side c:main", "+0 side/0@0:run", "start:main/0", false, false},
	{"sidecar died: again", "Always s:side c:main", "+0 main/0@0:run side/0@0:x1,30", "start:side/1", false, false},
	{"main done: sidecar ends", "Never s:side c:main", "+0 main/0@0:x0,1 side/0@0:run", "kill:side0", false, false},
	{"crash: restart at once", "Always c:main", "+0 main/0@0:x1,1", "start:main/1", false, false},
	{"OnFailure, success", "OnFailure c:main", "+0 main/0@0:x0,1", "stop:sb0", false, false},
	{"OnFailure, failure", "OnFailure c:main", "+0 main/0@0:x2,1", "start:main/1", false, false},
	{"Never, failure", "Never c:main c:two", "+0 two/0@0:run main/0@0:x2,1", "", false, false},
	{"Never, all ended", "Never c:main", "-0 main/0@0:x2,1", "stopped", false, false},
	{"sandbox died: kill what runs", "Always c:main", "-0 main/0@0:run", "kill:main0", false, false},
	{"sandbox died: a new one", "Always c:main", "-0 main/0@0:x137,1", "sandbox:1", false, false},
	{"new sandbox: counts go on", "Always c:main", "+1 -0 main/0@0:x137,1", "start:main/1", false, false},
	{"two ready sandboxes", "Always c:main", "+1 +0 main/0@1:run", "stop:sb0", false, false},
	{"old records go", "Always c:main", "+0 main/3@0:run main/2@0:x1,5 main/1@0:x1,9", "rm:main1", false, false},
	{"ephemeral: started beside", "Always c:main e:dbg", "+0 main/0@0:run", "start:dbg/0", false, false},
	{"ephemeral: while an init runs", "Always i:a c:main e:dbg", "+0 a/0@0:run", "start:dbg/0", false, false},
	{"ephemeral: not without a sandbox", "Always c:main e:dbg", "", "sandbox:0", false, false},
	{"ephemeral: runs", "Always c:main e:dbg", "+0 main/0@0:run dbg/0@0:run", "", false, false},
	{"ephemeral: never again", "Always c:main e:dbg", "+0 main/0@0:run dbg/0@0:x1,5", "", false, false},
	{"ephemeral: nor in a new sandbox", "Always c:main e:dbg", "+1 -0 main/1@1:run dbg/0@0:x137,5", "", false, false},
	{"ephemeral: created only", "Always c:main e:dbg", "+0 main/0@0:run dbg/0@0:created", "start:dbg/1", false, false},
	{"ephemeral: does not keep the pod", "Never c:main e:dbg", "+0 main/0@0:x0,1 dbg/0@0:run", "kill:dbg0", false, false},
	{"ephemeral: is no main container", "Always i:a c:main e:dbg", "+0 dbg/0@0:run", "start:a/0", false, false},
	{"ephemeral: deleted", "Always c:main e:dbg", "+0 main/0@0:x0,1 dbg/0@0:run", "kill:dbg0", true, false},
	{"old sandbox goes", "Always c:main", "+1 -0 main/1@1:run main/0@1:x1,1", "rmsandbox:sb0", false, false},
	{"deleted: kill", "Always s:side c:main", "+0 main/0@0:run side/0@0:run", "kill:main0", true, false},
	{"deleted: then sidecars", "Always s:side c:main", "+0 main/0@0:x0,1 side/0@0:run", "kill:side0", true, false},
	{"deleted: sandbox", "Always c:main", "+0 main/0@0:x0,1", "stop:sb0", true, false},
	{"deleted: records", "Always c:main", "-0 main/0@0:x0,1", "rmsandbox:sb0 stopped", true, false},
	{"deleted: gone", "Always c:main", "", "stopped gone", true, false},
	{"finished before: nothing starts", "Always c:main", "", "stopped", false, true},
	{"unknown state: kill", "Always c:main", "+0 main/0@0:unknown", "kill:main0", false, false},
	{"created but never started", "Always c:main", "+0 main/0@0:created", "start:main/1", false, false},
};

static void test_table(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		struct sync_in in;
		struct sync_out out = {.arena = &a};
		Core__Pod *pod;
		char *got;

		arena_init(&a);
		pod = make_pod(r->pod);
		fill(&in, pod, make_rt(pod, r->rt));
		in.terminating = r->terminating;
		in.terminal = r->terminal;
		pod_sync(&in, &out);
		got = dump(&in, &out);
		if (strcmp(got, r->want) != 0)
			fail_msg("%s: got \"%s\", want \"%s\"", r->name, got, r->want);
		arena_fini(&a);
	}
}

static void test_backoff(void **state)
{
	struct backoff b = {0};
	struct sync_in in;
	struct sync_out out = {.arena = &a};
	Core__Pod *pod;
	int64_t want[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		backoff_next(&b, 0, 1000);
		assert_int_equal(b.delay_ms, want[i]);
	}
	backoff_next(&b, 0, CRASH_BACKOFF_RESET_MS);
	assert_int_equal(b.delay_ms, 10000);

	arena_init(&a);
	pod = make_pod("Always c:main");
	fill(&in, pod, make_rt(pod, "+0 main/1@0:x1,4"));
	in.c[0].backoff = b;
	pod_sync(&in, &out);
	assert_string_equal(dump(&in, &out), "loop:main wake:6000");
	arena_fini(&a);
}

/* The network's rules are not in place: nothing starts, of whatever kind; what runs goes on, and what is to end ends. */
static void test_held(void **state)
{
	static const struct {
		const char *pod, *rt, *want;
	} held[] = {
		{"Always c:main c:two", "", "sandbox:0"},
		{"Always c:main c:two", "+0 two/0@0:run", ""},
		{"Always i:a c:main e:dbg", "+0", ""},
		{"Always s:side c:main", "+0", ""},
		{"Always c:main", "+0 main/0@0:x1,1", ""},
		{"Always c:main", "+0 main/0@0:unknown", "kill:main0"},
	};

	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		struct sync_in in;
		struct sync_out out = {.arena = &a};
		Core__Pod *pod;

		arena_init(&a);
		pod = make_pod(held[i].pod);
		fill(&in, pod, make_rt(pod, held[i].rt));
		in.held = true;
		pod_sync(&in, &out);
		assert_string_equal(dump(&in, &out), held[i].want);
		arena_fini(&a);
	}
}

static void test_unhealthy(void **state)
{
	struct sync_in in;
	struct sync_out out = {.arena = &a};
	Core__Pod *pod;

	arena_init(&a);
	pod = make_pod("Always c:main c:two");
	fill(&in, pod, make_rt(pod, "+0 main/0@0:run two/0@0:run"));
	in.c[0].unhealthy = "failed liveness probe";
	in.c[1].busy = true;
	in.c[1].unhealthy = "too, but busy";
	pod_sync(&in, &out);
	assert_string_equal(dump(&in, &out), "kill:main0");
	pod->spec->containers[0]->image = "other";
	out = (struct sync_out){.arena = &a};
	in.c[0].unhealthy = NULL;
	in.c[0].hash = container_hash(&a, in.c[0].spec);
	pod_sync(&in, &out);
	assert_string_equal(dump(&in, &out), "kill:main0");
	arena_fini(&a);
}

static const char *cond(const Core__PodStatus *s, const char *type)
{
	for (size_t i = 0; i < s->n_conditions; i++)
		if (strcmp(s->conditions[i]->type, type) == 0)
			return s->conditions[i]->status;
	return "-";
}

static const char *state_text(const Core__ContainerState *s)
{
	if (s->running)
		return "running";
	if (s->terminated)
		return arena_printf(&a, "%s(%d)", s->terminated->reason, s->terminated->exit_code);
	return s->waiting ? s->waiting->reason : "-";
}

static const struct status_row {
	const char *name, *pod, *rt, *want;
	bool unready;
} status_rows[] = {
	{"new", "Always c:main", "", "Pending main=ContainerCreating,- I:True R:False C:False", false},
	{"init", "Always i:a c:main", "+0 a/0@0:run", "Pending a=running,- main=PodInitializing,- I:False R:False C:False", false},
	{"running", "Always c:main", "+0 main/0@0:run", "Running main=running,- I:True R:True C:True", false},
	{"not ready", "Always c:main", "+0 main/0@0:run", "Running main=running,- I:True R:False C:False", true},
	{"one of two", "Never c:main c:two", "+0 main/0@0:run two/0@0:x0,1",
			"Running main=running,- two=Completed(0),- I:True R:False C:False", false},
	{"restarted", "Always c:main", "+0 main/1@0:run main/0@0:x3,9", "Running main=running,Error(3) I:True R:True C:True", false},
	{"succeeded", "Never c:main", "-0 main/0@0:x0,1", "Succeeded main=Completed(0),- I:True R:False C:False", false},
	{"failed", "Never c:main c:two", "-0 main/0@0:x0,1 two/0@0:x9,1",
			"Failed main=Completed(0),- two=Error(9),- I:True R:False C:False", false},
	{"init failed", "Never i:a c:main", "-0 a/0@0:x1,1",
			"Failed a=Error(1),- main=PodInitializing,- I:False R:False C:False", false},
};

static void test_status(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(status_rows); i++) {
		const struct status_row *r = &status_rows[i];
		struct status_container sc[4] = {{0}};
		struct sync_in in;
		struct sync_out out = {.arena = &a};
		struct status_in si = {.sync = &in, .c = sc, .host_ip = "10.1.1.1", .now_s = 5};
		Core__PodStatus *s;
		struct buf b = BUF_INIT;
		Core__Pod *pod;

		arena_init(&a);
		pod = make_pod(r->pod);
		fill(&in, pod, make_rt(pod, r->rt));
		pod_sync(&in, &out);
		si.all_stopped = out.all_stopped;
		si.init_failed = out.init_failed;
		for (size_t k = 0; k < in.n_c; k++)
			sc[k].ready = !r->unready;
		s = pod_status(&a, &si);
		buf_addc(&b, s->phase);
		for (size_t k = 0; k < s->n_init_container_statuses; k++)
			buf_printf(&b, " %s=%s,%s", s->init_container_statuses[k]->name,
					state_text(s->init_container_statuses[k]->state),
					state_text(s->init_container_statuses[k]->last_state));
		for (size_t k = 0; k < s->n_container_statuses; k++)
			buf_printf(&b, " %s=%s,%s", s->container_statuses[k]->name,
					state_text(s->container_statuses[k]->state),
					state_text(s->container_statuses[k]->last_state));
		buf_printf(&b, " I:%s R:%s C:%s", cond(s, "Initialized"), cond(s, "Ready"), cond(s, "ContainersReady"));
		if (!str_eqc(buf_str(&b), r->want))
			fail_msg("%s: got \"%s\", want \"%s\"", r->name, b.p, r->want);
		buf_fini(&b);
		arena_fini(&a);
	}
}

/* A transition time stays while the condition does, and foreign conditions are kept. */
static void test_status_keeps(void **state)
{
	struct status_container sc[1] = {{.ready = true}};
	struct sync_in in;
	struct status_in si = {.sync = &in, .c = sc, .host_ip = "10.1.1.1", .now_s = 5};
	Core__PodStatus *first, *second;
	Core__PodCondition *c;
	Core__Pod *pod;

	arena_init(&a);
	pod = make_pod("Always c:main");
	fill(&in, pod, make_rt(pod, "+0 main/0@0:run"));
	first = pod_status(&a, &si);
	c = PB_NEW(&a, Core__PodCondition, core__pod_condition);
	c->type = "example.com/gate";
	c->status = "True";
	PB_ADD(&a, first, conditions, c);
	si.old = first;
	si.now_s = 9;
	second = pod_status(&a, &si);
	assert_true(pod_status_equal(first, second));
	assert_int_equal(second->start_time->seconds, 5);
	assert_string_equal(cond(second, "example.com/gate"), "True");
	assert_string_equal(second->pod_ip, "10.0.0.9");
	arena_fini(&a);
}

static Core__PodCondition *add_condition(Core__PodStatus *s, const char *type, const char *status)
{
	Core__PodCondition *c = PB_NEW(&a, Core__PodCondition, core__pod_condition);

	c->type = type;
	c->status = status;
	PB_ADD(&a, s, conditions, c);
	return c;
}

/* What others say of it is what the API has now; what we say is what we said last. */
static void test_status_merged(void **state)
{
	Core__PodStatus *ours, *api, *m;

	arena_init(&a);
	ours = PB_NEW(&a, Core__PodStatus, core__pod_status);
	api = PB_NEW(&a, Core__PodStatus, core__pod_status);
	ours->phase = "Running";
	api->phase = "Pending";
	add_condition(ours, "Ready", "True");
	add_condition(ours, "gate", "False");
	add_condition(ours, "taken-back", "True");
	add_condition(api, "gate", "True");
	add_condition(api, "Ready", "False");
	add_condition(api, "DisruptionTarget", "True");
	m = pod_status_merged(&a, ours, api);
	assert_string_equal(m->phase, "Running");
	assert_int_equal(m->n_conditions, 3);
	assert_string_equal(cond(m, "Ready"), "True");
	assert_string_equal(cond(m, "gate"), "True");
	assert_string_equal(cond(m, "DisruptionTarget"), "True");
	assert_true(pod_status_equal(pod_status_merged(&a, ours, NULL), ours));
	arena_fini(&a);
}

/* A pod that has to go: it ends, is Failed when nothing of it runs any more, and says why; its records go when they may. */
static void test_evicted(void **state)
{
	struct status_container sc[1] = {{.ready = true}};
	struct sync_in in;
	struct sync_out out = {.arena = &a};
	struct status_in si = {.sync = &in, .c = sc, .now_s = 5, .phase = "Failed", .reason = "Evicted", .message = "too much", .disrupted = true};
	Core__PodStatus *old, *s;
	Core__Pod *pod;

	arena_init(&a);
	pod = make_pod("Always c:main");
	old = PB_NEW(&a, Core__PodStatus, core__pod_status);
	old->phase = "Running";
	add_condition(old, "DisruptionTarget", "False");
	add_condition(old, "gate", "True");
	si.old = old;
	fill(&in, pod, make_rt(pod, "+0 main/0@0:run"));
	in.terminal = true;
	in.grace_s = 1;
	pod_sync(&in, &out);
	assert_string_equal(dump(&in, &out), "kill:main0");
	assert_int_equal(out.acts[0].grace_s, 1);
	s = pod_status(&a, &si);
	assert_string_equal(s->phase, "Running");
	assert_string_equal(cond(s, "DisruptionTarget"), "True");

	fill(&in, pod, make_rt(pod, "-0 main/0@0:x137,1"));
	in.terminal = true;
	out = (struct sync_out){.arena = &a};
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 0);
	assert_true(out.all_stopped);
	si.all_stopped = true;
	s = pod_status(&a, &si);
	assert_string_equal(s->phase, "Failed");
	assert_string_equal(s->reason, "Evicted");
	assert_string_equal(s->message, "too much");
	assert_string_equal(cond(s, "gate"), "True");
	assert_int_equal(s->container_statuses[0]->state->terminated->exit_code, 137);
	for (size_t i = 0, n = 0; i < s->n_conditions; i++)
		if (strcmp(s->conditions[i]->type, "DisruptionTarget") == 0) {
			assert_int_equal(n++, 0);
			assert_string_equal(s->conditions[i]->reason, "TerminationByKubelet");
			assert_string_equal(s->conditions[i]->message, "too much");
		}

	/* The disk is short: the runtime forgets it, the API does not, and a new agent says nothing else. */
	in.forget = true;
	out = (struct sync_out){.arena = &a};
	pod_sync(&in, &out);
	assert_string_equal(dump(&in, &out), "rmsandbox:sb0 stopped");
	fill(&in, pod, NULL);
	in.terminal = in.forget = true;
	out = (struct sync_out){.arena = &a};
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 0);
	assert_false(out.gone);
	si = (struct status_in){.sync = &in, .c = sc, .now_s = 9, .all_stopped = true, .old = s};
	assert_true(pod_status_equal(pod_status(&a, &si), s));
	/* Half of it forgotten: what was said of that container stays, too. */
	fill(&in, pod, make_rt(pod, "-0"));
	assert_int_equal(pod_status(&a, &si)->container_statuses[0]->state->terminated->exit_code, 137);
	arena_fini(&a);
}

/* One that was never taken: nothing but that is told of it. */
static void test_refused(void **state)
{
	struct status_container sc[1] = {{0}};
	struct sync_in in;
	struct sync_out out = {.arena = &a};
	struct status_in si = {.sync = &in, .c = sc, .now_s = 5, .phase = "Failed", .reason = "Evicted", .message = "Pod was rejected: x", .refused = true};
	Core__PodStatus *old, *s;
	Core__Pod *pod;

	arena_init(&a);
	pod = make_pod("Always c:main");
	old = PB_NEW(&a, Core__PodStatus, core__pod_status);
	add_condition(old, "PodScheduled", "True");
	si.old = old;
	fill(&in, pod, NULL);
	in.terminal = true;
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 0);
	assert_true(out.all_stopped);
	s = pod_status(&a, &si);
	assert_string_equal(s->phase, "Failed");
	assert_string_equal(s->message, "Pod was rejected: x");
	assert_int_equal(s->n_container_statuses, 0);
	assert_int_equal(s->n_conditions, 1);
	assert_string_equal(s->qos_class, "BestEffort");
	arena_fini(&a);
}

/* Their status is beside the others', and neither phase nor conditions depend on it. */
static void test_ephemeral_status(void **state)
{
	struct status_container sc[2] = {{.ready = true}, {.ready = true}};
	struct sync_in in;
	struct status_in si = {.sync = &in, .c = sc, .host_ip = "10.1.1.1", .now_s = 5};
	Core__PodStatus *first, *second;
	Core__ContainerStatus *c;
	Core__Pod *pod;

	(void)state;
	arena_init(&a);
	pod = make_pod("Always c:main e:dbg");
	fill(&in, pod, make_rt(pod, "+0 main/0@0:run dbg/0@0:x3,1"));
	first = pod_status(&a, &si);
	assert_string_equal(first->phase, "Running");
	assert_string_equal(cond(first, "Ready"), "True");
	assert_int_equal(first->n_container_statuses, 1);
	assert_int_equal(first->n_ephemeral_container_statuses, 1);
	c = first->ephemeral_container_statuses[0];
	assert_string_equal(c->name, "dbg");
	assert_int_equal(c->state->terminated->exit_code, 3);
	assert_false(c->ready);
	assert_false(c->has_started);
	/* A new sandbox is no reason to wait for another run. */
	fill(&in, pod, make_rt(pod, "+1 -0 main/1@1:run dbg/0@0:x3,1"));
	c = pod_status(&a, &si)->ephemeral_container_statuses[0];
	assert_non_null(c->state->terminated);
	/* The runtime has lost its record: what was said stays, and it is not said to be about to start. */
	fill(&in, pod, make_rt(pod, "+0 main/0@0:run"));
	si.old = first;
	second = pod_status(&a, &si);
	assert_true(pod_status_equal(first, second));
	/* Nor is it started again. */
	in.c[1].min_attempt = 1;
	{
		struct sync_out out = {.arena = &a};

		pod_sync(&in, &out);
		assert_int_equal(out.n_acts, 0);
	}
	arena_fini(&a);
}

static void test_ephemeral_target(void **state)
{
	static const struct {
		const char *runs, *want;
	} cases[] = {
		{"+0 main/1@0:run main/0@0:x1,1", "main1"},
		{"+0 main/0@0:x1,1", NULL},
		{"+1 -0 main/0@0:run", NULL},
		{"+0", NULL},
	};
	const char *id;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		Core__Pod *pod = make_pod("Always c:main e:dbg");
		struct err e = ERR_INIT;
		int rc = ephemeral_target(pod, "dbg", make_rt(pod, cases[i].runs), &id, &e);

		assert_int_equal(rc < 0, cases[i].want == NULL);
		if (cases[i].want)
			assert_string_equal(id, cases[i].want);
		/* A container of the usual kind has none. */
		assert_int_equal(ephemeral_target(pod, "main", NULL, &id, &e), 0);
		assert_string_equal(id, "");
	}
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_unhealthy),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_keeps),
		cmocka_unit_test(test_status_merged),
		cmocka_unit_test(test_evicted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ephemeral_status),
		cmocka_unit_test(test_ephemeral_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
