/* resize.h: what is decided about other resources, in which order they come to the containers, what is remembered. */
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
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-status.h"
#include "orchestrator/kubelet/resize.h"
#include "orchestrator/kubelet/resources.h"
#include "proto/pb.h"
#include "proto/quantity.pb-c.h"

static struct arena a;

static Resource__Quantity *quantity(struct str text)
{
	Resource__Quantity *q = PB_NEW(&a, Resource__Quantity, resource__quantity);

	q->string = arena_cstr(&a, text);
	return q;
}

/* "c=100m m=64Mi C=200m M=128Mi": requests small, limits capital letters. */
static Core__ResourceRequirements *amounts(struct str rest)
{
	Core__ResourceRequirements *r = PB_NEW(&a, Core__ResourceRequirements, core__resource_requirements);
	struct str word;

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		if (word.p[0] == 'c' || word.p[0] == 'm') {
			Core__ResourceRequirements__RequestsEntry *e = pb_add(&a, r, "requests");

			e->key = word.p[0] == 'c' ? "cpu" : "memory";
			e->value = quantity(str_skip(word, 2));
		} else {
			Core__ResourceRequirements__LimitsEntry *e = pb_add(&a, r, "limits");

			e->key = word.p[0] == 'C' ? "cpu" : "memory";
			e->value = quantity(str_skip(word, 2));
		}
	}
	return r;
}

/* "a c=100m; b c=1": containers by name; "pod" is what the pod has as a whole. A name with a star is a sidecar's, one with a plus restarts for memory. */
static Core__Pod *pod_of(const char *text)
{
	Core__Pod *pod = PB_NEW(&a, Core__Pod, core__pod);
	struct str rest = str_from(text), one, name, res;

	pod->metadata = PB_NEW(&a, Meta__ObjectMeta, meta__object_meta);
	pod->metadata->uid = "u";
	PB_SET(pod->metadata, generation, 2);
	pod->spec = PB_NEW(&a, Core__PodSpec, core__pod_spec);
	while (rest.n > 0) {
		Core__Container *c = PB_NEW(&a, Core__Container, core__container);

		str_cut(rest, ';', &one, &rest);
		str_cut(str_trim(one), ' ', &name, &res);
		if (str_eqc(name, "pod")) {
			pod->spec->resources = amounts(res);
			continue;
		}
		c->name = arena_cstr(&a, name);
		c->resources = amounts(res);
		if (strchr(c->name, '+')) {
			Core__ContainerResizePolicy *p = pb_add(&a, c, "resize_policy");

			p->resource_name = "memory";
			p->restart_policy = "RestartContainer";
		}
		if (strchr(c->name, '*')) {
			c->restart_policy = "Always";
			PB_ADD(&a, pod->spec, init_containers, c);
		} else {
			PB_ADD(&a, pod->spec, containers, c);
		}
	}
	return pod;
}

static const char *text_of(const Core__ResourceRequirements *r)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	for (size_t i = 0; i < r->n_requests; i++)
		buf_printf(&b, "%s%c=%s", b.n ? " " : "", r->requests[i]->key[0], r->requests[i]->value->string);
	for (size_t i = 0; i < r->n_limits; i++)
		buf_printf(&b, "%s%c=%s", b.n ? " " : "", r->limits[i]->key[0] - 32, r->limits[i]->value->string);
	return arena_cstr(&a, buf_str(&b));
}

static void test_decide(void **state)
{
	static const struct {
		const char *wanted, *allocated;
		enum resize_verdict want;
		const char *message;
	} rows[] = {
		{"a c=100m", "a c=100m", RESIZE_SAME, ""},
		{"a c=0.1", "a c=100m", RESIZE_SAME, ""},
		{"a c=500m", "a c=100m", RESIZE_FITS, ""},
		{"a c=100m C=200m", "a c=100m", RESIZE_FITS, ""},
		{"a c=1001m", "a c=100m", RESIZE_DEFERRED,
				"Node didn't have enough resource: cpu, requested: 1001, used: 1000, capacity: 2000"},
		{"a c=1; b c=1500m", "a c=1; b c=1", RESIZE_INFEASIBLE,
				"Node didn't have enough capacity: cpu, requested: 2500, capacity: 2000"},
		{"a m=2Gi", "a m=1Mi", RESIZE_INFEASIBLE,
				"Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824"},
		{"a m=600Mi", "a m=1Mi", RESIZE_DEFERRED,
				"Node didn't have enough resource: memory, requested: 629145600, used: 536870912, capacity: 1073741824"},
		/* Who asks for less gets it, however full the node is. */
		{"a c=3", "a c=5", RESIZE_FITS, ""},
		{"a* c=500m; b c=100m", "a* c=100m; b c=100m", RESIZE_FITS, ""},
		/* What the pod asks for as a whole counts, not its containers. */
		{"pod c=500m; a c=100m", "pod c=200m; a c=100m", RESIZE_FITS, ""},
		{"pod c=3; a c=100m", "pod c=200m; a c=100m", RESIZE_INFEASIBLE,
				"Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"},
		{"pod c=1; a c=900m", "pod c=1; a c=100m", RESIZE_FITS, ""},
		{"a* c=1; b c=100m", "a* c=100m; b c=100m", RESIZE_DEFERRED,
				"Node didn't have enough resource: cpu, requested: 1100, used: 1000, capacity: 2000"},
	};
	static const struct resize_node node = {2000, 1 << 30, 1000, 512 << 20};

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *message = "";

		assert_int_equal(resize_decide(&a, pod_of(rows[i].wanted), pod_of(rows[i].allocated), &node, &message), rows[i].want);
		assert_string_equal(message, rows[i].message);
	}
	arena_fini(&a);
}

static void test_plan(void **state)
{
	static const struct {
		const char *was, *is, *want;
	} rows[] = {
		/* A group that grows comes first, one that shrinks last; what shrinks before what grows. */
		{"a c=100m C=200m", "a c=200m C=400m", "pod cpu 204 40000, 0 cpu 204 40000"},
		{"a c=200m C=400m", "a c=100m C=200m", "0 cpu 102 20000, pod cpu 102 20000"},
		{"a M=64Mi; b M=64Mi", "a M=96Mi; b M=48Mi", "pod memory 150994944, 1 memory 50331648 shrinks, 0 memory 100663296"},
		{"a M=64Mi C=1", "a M=32Mi C=2",
				"0 memory 33554432 shrinks, pod memory 33554432 shrinks, pod cpu 2048 200000, 0 cpu 2048 200000"},
		/* A pod has a limit only when all its containers have one; a first limit takes something away. */
		{"a M=64Mi; b c=1", "a M=96Mi; b c=1", "pod memory 0 quiet, 0 memory 100663296"},
		{"a c=1", "a c=1 M=64Mi", "0 memory 67108864 shrinks, pod memory 67108864 shrinks"},
		/* A request of memory is nothing that the kernel knows, but it is remembered. */
		{"a m=32Mi M=64Mi", "a m=48Mi M=64Mi", "pod memory 67108864 quiet, 0 memory 67108864 quiet"},
		/* The same said otherwise. */
		{"a C=100m", "a c=100m C=100m", "0 cpu 102 10000"},
		{"a* c=100m; b c=100m", "a* c=200m; b c=100m", "pod cpu 307 0, 0 cpu 204 0"},
		/* The pod's own resources: its group, and the containers without a limit of their own. */
		{"pod c=1 C=2; a c=100m; b C=1", "pod c=1 C=4; a c=100m; b C=1", "pod cpu 1024 400000, 0 cpu 102 400000"},
		{"pod m=64Mi M=128Mi; a; b M=32Mi", "pod m=64Mi M=96Mi; a; b M=32Mi",
				"0 memory 100663296 shrinks, pod memory 100663296 shrinks"},
		{"pod c=1; a c=100m", "pod c=2; a c=100m", "pod cpu 2048 0"},
		{"pod c=1 C=2; a", "pod c=1 C=2; a C=1", "0 cpu 1024 100000"},
		{"pod c=2 C=2; a+ c=1 m=1Mi", "pod c=1 C=1; a+ c=1 m=1Mi", "0 cpu 1024 100000, pod cpu 1024 100000"},
		/* What is restarted for it is not updated, but its group is. */
		{"a+ M=64Mi", "a+ M=96Mi", "pod memory 100663296"},
	};

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(buf_fini) struct buf b = BUF_INIT;
		Core__Pod *was = pod_of(rows[i].was), *is = pod_of(rows[i].is);
		struct resize_container c[4] = {0};
		struct resize_actual actual[4] = {0};
		struct resize_step *s;
		size_t n = 0, n_steps;

		for (size_t k = 0; k < is->spec->n_init_containers; k++, n++)
			c[n] = (struct resize_container){.spec = is->spec->init_containers[k], .actual = res_given(&a, was, was->spec->init_containers[k])};
		for (size_t k = 0; k < is->spec->n_containers; k++, n++)
			c[n] = (struct resize_container){.spec = is->spec->containers[k], .actual = res_given(&a, was, was->spec->containers[k])};
		for (size_t k = 0; k < n; k++) {
			c[k].given = res_given(&a, is, c[k].spec);
			c[k].way = resize_way(c[k].spec, c[k].given, c[k].actual);
			actual[k] = (struct resize_actual){c[k].spec->name, "id", c[k].actual};
		}
		n_steps = resize_plan(&a, resize_was(&a, is, was->spec->resources, actual, n), is, c, n, &s);
		for (size_t k = 0; k < n_steps; k++) {
			buf_printf(&b, "%s", k ? ", " : "");
			if (s[k].container < 0)
				buf_printf(&b, "pod");
			else
				buf_printf(&b, "%d", s[k].container);
			if (s[k].memory)
				buf_printf(&b, " memory %lld%s%s", (long long)s[k].memory_limit, s[k].shrinks ? " shrinks" : "",
						s[k].tell ? "" : " quiet");
			else
				buf_printf(&b, " cpu %lld %lld", (long long)s[k].cpu_shares, (long long)s[k].cpu_quota_us);
		}
		assert_string_equal(b.p ? b.p : "", rows[i].want);
	}
	arena_fini(&a);
}

static void test_ways(void **state)
{
	static const struct {
		const char *is, *was;
		enum resize_way want;
	} rows[] = {
		{"a c=1", "c=1000m", RESIZE_DONE},
		{"a c=1", "c=2", RESIZE_IN_PLACE},
		{"a+ c=1 m=1Mi", "c=2 m=1024Ki", RESIZE_IN_PLACE},
		{"a+ c=1 m=1Mi", "c=1 m=2Mi", RESIZE_RESTART},
		{"a+ c=1 M=1Mi", "c=2", RESIZE_RESTART},
	};

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(resize_way(pod_of(rows[i].is)->spec->containers[0], pod_of(rows[i].is)->spec->containers[0]->resources,
						 amounts(str_from(rows[i].was))), rows[i].want);
	arena_fini(&a);
}

/* What an agent that starts anew makes of the record of the one before. */
static void test_record(void **state)
{
	Core__Pod *wanted, *record, *pod;
	struct resize_actual actual;
	struct str bytes;

	(void)state;
	arena_init(&a);
	/* The pod's own are in it, too. */
	record = pb_unpack(&a, &core__pod__descriptor,
			pb_pack_arena(resize_record(&a, pod_of("pod c=1; a"), amounts(STR("c=2")), &actual, 0), &a));
	assert_string_equal(text_of(record->status->resources), "c=2");
	assert_string_equal(text_of(resize_with(&a, pod_of("pod c=4; a"), record)->spec->resources), "c=1");
	assert_string_equal(text_of(resize_with(&a, pod_of("a c=4"), pod_of("a c=3"))->spec->containers[0]->resources), "c=3");
	actual = (struct resize_actual){"b", "id1", amounts(STR("c=50m"))};
	bytes = pb_pack_arena(resize_record(&a, pod_of("s* c=10m; a c=100m; b c=100m C=200m"), NULL, &actual, 1), &a);
	record = pb_unpack(&a, &core__pod__descriptor, bytes);
	assert_non_null(record);
	wanted = pod_of("s* c=20m; a c=100m; b c=1 C=2");
	pod = resize_with(&a, wanted, record);
	assert_string_equal(text_of(pod->spec->init_containers[0]->resources), "c=10m");
	assert_string_equal(text_of(pod->spec->containers[1]->resources), "c=100m C=200m");
	assert_string_equal(text_of(wanted->spec->containers[1]->resources), "c=1 C=2");
	assert_int_equal(record->status->n_container_statuses, 1);
	assert_string_equal(record->status->container_statuses[0]->container_id, "id1");
	assert_string_equal(text_of(record->status->container_statuses[0]->resources), "c=50m");
	assert_string_equal(text_of(resize_mix(&a, amounts(STR("c=1 m=1Mi C=2 M=2Mi")), amounts(STR("c=3 m=3Mi M=4Mi")), "memory")),
			"c=1 m=3Mi C=2 M=4Mi");
	assert_string_equal(text_of(resize_mix(&a, amounts(STR("c=1 m=1Mi m=1Mi")), amounts(STR("c=3 C=4")), "cpu")), "m=1Mi m=1Mi c=3 C=4");
	assert_string_equal(resize_text(&a, pod_of("a c=1 M=64Mi"), "why"),
			"{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"memory\":\"64Mi\"},\"requests\":{\"cpu\":\"1\"}}}],"
			"\"generation\":2,\"error\":\"why\"}");
	arena_fini(&a);
}

static const Core__PodCondition *cond(const Core__PodStatus *s, const char *type)
{
	for (size_t i = 0; i < s->n_conditions; i++)
		if (strcmp(s->conditions[i]->type, type) == 0)
			return s->conditions[i];
	return NULL;
}

static struct rt_pod *running(const char *name)
{
	struct rt_pod *rt = arena_new_of(&a, struct rt_pod);
	struct rt_sandbox *s = arena_new_of(&a, struct rt_sandbox);
	struct rt_container *c = arena_new_of(&a, struct rt_container);

	*s = (struct rt_sandbox){.id = "s", .ready = true, .ip = "10.0.0.1"};
	*c = (struct rt_container){.id = "id", .name = (char *)name, .sandbox_id = "s", .state = RT_RUNNING, .image = "", .image_ref = "",
			.hash = "", .reason = "", .message = ""};
	rt->sandboxes = arena_new_array(&a, struct rt_sandbox *, 1);
	rt->sandboxes[0] = s;
	rt->n_sandboxes = 1;
	rt->containers = arena_new_array(&a, struct rt_container *, 1);
	rt->containers[0] = c;
	rt->n_containers = 1;
	return rt;
}

/* What pod_sync does about it, and what the status says meanwhile. */
static void test_sync_and_status(void **state)
{
	struct sync_container c = {.started = true};
	struct sync_in in = {.n_c = 1, .c = &c, .now_ms = 1000, .ready_to_start = true};
	struct sync_out out = {.arena = &a};
	struct status_container sc = {.ready = true};
	struct status_in si = {.sync = &in, .c = &sc, .now_s = 5, .resize_began = true, .resize_generation = 2};
	Core__PodStatus *s;

	(void)state;
	arena_init(&a);
	in.pod = pod_of("main c=200m M=64Mi");
	in.rt = running("main");
	c.spec = in.pod->spec->containers[0];
	c.hash = "";
	c.actual = amounts(STR("c=100m M=64Mi"));
	c.resize = resize_way(c.spec, c.spec->resources, c.actual);
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 1);
	assert_int_equal(out.acts[0].kind, ACT_RESIZE);
	s = pod_status(&a, &si);
	assert_string_equal(text_of(s->container_statuses[0]->resources), "c=100m M=64Mi");
	assert_string_equal(s->container_statuses[0]->allocated_resources[0]->value->string, "200m");
	assert_string_equal(cond(s, "PodResizeInProgress")->status, "True");
	assert_int_equal(cond(s, "PodResizeInProgress")->observed_generation, 2);
	assert_null(cond(s, "PodResizePending"));
	/* Only one at a time, and after a failure not at once. */
	out = (struct sync_out){.arena = &a};
	in.resize_busy = true;
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 0);
	in.resize_busy = false;
	in.resize_not_before_ms = 1500;
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 0);
	assert_int_equal(out.wake_ms, 1500);
	/* It wants to be restarted for that. */
	c.resize = RESIZE_RESTART;
	pod_sync(&in, &out);
	assert_int_equal(out.n_acts, 1);
	assert_int_equal(out.acts[0].kind, ACT_KILL);
	/* What is over leaves no condition, what waits or fails says why. */
	si.old = s;
	si.resize_began = false;
	s = pod_status(&a, &si);
	assert_null(cond(s, "PodResizeInProgress"));
	si.resize_reason = "Deferred";
	si.resize_message = "later";
	s = pod_status(&a, &si);
	assert_string_equal(cond(s, "PodResizePending")->reason, "Deferred");
	assert_string_equal(cond(s, "PodResizePending")->message, "later");
	si.resize_reason = NULL;
	si.resize_began = true;
	si.resize_error = "no";
	s = pod_status(&a, &si);
	assert_null(cond(s, "PodResizePending"));
	assert_string_equal(cond(s, "PodResizeInProgress")->reason, "Error");
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_sync_and_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
