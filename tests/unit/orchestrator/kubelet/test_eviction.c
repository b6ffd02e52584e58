/* Node pressure: which conditions are so, what is acted on, which pod goes first, what it is told, and what exceeds its own limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/kubelet/eviction.h"
#include "orchestrator/kubelet/pbutil.h"
#include "tests/lib/test_arena.h"

#define MI ((int64_t)1 << 20)

/* --- judging --------------------------------------------------------------------------------------------------------- */

static struct eviction_cfg cfg(const char *hard, const char *soft, const char *grace, const char *reclaim)
{
	struct eviction_flags f = {.hard = hard, .soft = soft, .soft_grace = grace, .minimum_reclaim = reclaim, .transition = "60s"};
	struct eviction_cfg c;
	struct err e = ERR_INIT;

	assert_int_equal(eviction_config(&f, &c, &e), 0);
	return c;
}

/* "MD act=memory.available": the conditions by their first letters, and the signal that is acted on. */
static const char *judge(const struct eviction_cfg *c, struct eviction_state *s, int64_t memory, int64_t disk, int64_t now_s)
{
	struct observation o[N_SIGNALS] = {[SIG_MEMORY] = {memory, 1000}, [SIG_NODEFS] = {disk, 1000}};
	struct eviction_look look;

	if (memory < 0)
		o[SIG_MEMORY] = (struct observation){0};
	eviction_judge(c, s, o, now_s * 1000, &look);
	return arena_printf(&a, "%s%s%s%s%s", look.pressure[PRESSURE_MEMORY] ? "M" : "", look.pressure[PRESSURE_DISK] ? "D" : "",
			look.pressure[PRESSURE_PID] ? "P" : "", look.act ? " act=" : "", look.act ? signal_name(look.act->signal) : "");
}

static void test_hard(void **state)
{
	struct eviction_cfg c = cfg("memory.available<100,nodefs.available<10%", NULL, NULL, NULL);
	struct eviction_state s = {0};

	(void)state;
	assert_string_equal(judge(&c, &s, 100, 100, 1), "");
	assert_string_equal(judge(&c, &s, 100, 99, 2), "D act=nodefs.available");
	/* Memory first, whatever was met first. */
	assert_string_equal(judge(&c, &s, 99, 99, 3), "MD act=memory.available");
	/* It is over, but the conditions stay for a minute. */
	assert_string_equal(judge(&c, &s, 500, 500, 4), "MD");
	assert_string_equal(judge(&c, &s, 500, 500, 62), "MD");
	assert_string_equal(judge(&c, &s, 500, 500, 64), "");
	/* What cannot be observed is not there. */
	assert_string_equal(judge(&c, &s, -1, 500, 70), "");
}

static void test_soft(void **state)
{
	struct eviction_cfg c = cfg("memory.available<50", "memory.available<200", "memory.available=30s", NULL);
	struct eviction_state s = {0};

	(void)state;
	assert_string_equal(judge(&c, &s, 150, 0, 100), "M");
	assert_string_equal(judge(&c, &s, 150, 0, 129), "M");
	assert_string_equal(judge(&c, &s, 150, 0, 130), "M act=memory.available");
	/* A moment above it, and the grace period begins anew. */
	assert_string_equal(judge(&c, &s, 250, 0, 131), "M");
	assert_string_equal(judge(&c, &s, 150, 0, 132), "M");
	assert_string_equal(judge(&c, &s, 150, 0, 161), "M");
	assert_string_equal(judge(&c, &s, 150, 0, 162), "M act=memory.available");
	/* The hard one does not wait. */
	s = (struct eviction_state){0};
	assert_string_equal(judge(&c, &s, 49, 0, 200), "M act=memory.available");
}

static void test_minimum_reclaim(void **state)
{
	struct eviction_cfg c = cfg("nodefs.available<100", NULL, NULL, "nodefs.available=50");
	struct eviction_state s = {0};

	(void)state;
	assert_string_equal(judge(&c, &s, 0, 120, 1), "");
	assert_string_equal(judge(&c, &s, 0, 90, 2), "D act=nodefs.available");
	/* Not resolved before the rest is there, too. */
	assert_string_equal(judge(&c, &s, 0, 120, 3), "D act=nodefs.available");
	assert_string_equal(judge(&c, &s, 0, 150, 4), "D");
	assert_string_equal(judge(&c, &s, 0, 120, 5), "D");
	assert_true(eviction_lacks(&c.t[0], &(struct observation){149, 1000}));
	assert_false(eviction_lacks(&c.t[0], &(struct observation){150, 1000}));
	assert_false(eviction_lacks(&c.t[0], &(struct observation){0, 0}));
}

/* --- pods ------------------------------------------------------------------------------------------------------------ */

static Resource__Quantity *quantity(const char *text)
{
	Resource__Quantity *q = PB_NEW(&a, Resource__Quantity, resource__quantity);

	q->string = text;
	return q;
}

static void request(Core__Container *c, const char *resource, const char *text)
{
	Core__ResourceRequirements__RequestsEntry *e;

	if (!c->resources)
		c->resources = PB_NEW(&a, Core__ResourceRequirements, core__resource_requirements);
	e = pb_add(&a, c->resources, "requests");
	e->key = resource;
	e->value = quantity(text);
}

static void limit(Core__Container *c, const char *resource, const char *text)
{
	Core__ResourceRequirements__LimitsEntry *e;

	if (!c->resources)
		c->resources = PB_NEW(&a, Core__ResourceRequirements, core__resource_requirements);
	e = pb_add(&a, c->resources, "limits");
	e->key = resource;
	e->value = quantity(text);
}

static Core__Pod *pod(const char *name, int32_t priority)
{
	Core__Pod *p = PB_NEW(&a, Core__Pod, core__pod);
	Core__Container *c = PB_NEW(&a, Core__Container, core__container);

	p->metadata = PB_NEW(&a, Meta__ObjectMeta, meta__object_meta);
	p->metadata->name = name;
	p->spec = PB_NEW(&a, Core__PodSpec, core__pod_spec);
	PB_SET(p->spec, priority, priority);
	c->name = "c";
	PB_ADD(&a, p->spec, containers, c);
	return p;
}

static const char *rank(enum signal s, bool apart, const struct pod_use *u, size_t n)
{
	size_t *order = eviction_rank(&a, s, apart, u, n);
	const char *text = "";

	for (size_t i = 0; i < n; i++)
		text = arena_printf(&a, "%s%s ", text, u[order[i]].pod->metadata->name);
	return text;
}

static void test_rank(void **state)
{
	/* Container use: memory, layer, inodes of it, logs. */
	static const struct container_use c[] = {
		{"c", 100 * MI, 1 * MI, 10, 0}, {"c", 300 * MI, 2 * MI, 20, 50 * MI}, {"c", 200 * MI, 30 * MI, 5, 0}, {"c", 500 * MI, 0, 0, 0},
	};
	static const struct volume_use v[] = {{"v", 100 * MI, 1000}};
	Core__Pod *within = pod("within", 0), *over = pod("over", 0), *important = pod("important", 5), *big = pod("big", 0), *unknown = pod("unknown", 9);
	const struct pod_use u[] = {
		{within, true, &c[0], 1, NULL, 0, 7}, {over, true, &c[1], 1, NULL, 0, 1}, {important, true, &c[2], 1, NULL, 0, 100},
		{big, true, &c[3], 1, v, 1, 3}, {unknown, false, NULL, 0, NULL, 0, 0},
	};

	(void)state;
	request(within->spec->containers[0], "memory", "150Mi");
	request(big->spec->containers[0], "memory", "450Mi");
	request(within->spec->containers[0], "ephemeral-storage", "1Gi");
	/* Over by 300, by 50; the important one after those of less priority; then who is within its request. */
	assert_string_equal(rank(SIG_MEMORY, false, u, 5), "unknown over big important within ");
	/* 100, 52, 30 MiB without a request. */
	assert_string_equal(rank(SIG_NODEFS, false, u, 5), "unknown big over important within ");
	/* Logs and volumes only, then layers only. */
	assert_string_equal(rank(SIG_NODEFS, true, u, 5), "unknown big over within important ");
	assert_string_equal(rank(SIG_IMAGEFS, true, u, 5), "unknown over important big within ");
	assert_string_equal(rank(SIG_NODEFS_INODES, false, u, 5), "unknown big over within important ");
	assert_string_equal(rank(SIG_PID, false, u, 5), "within big over important unknown ");
}

static void test_message(void **state)
{
	static const struct container_use c[] = {{"c", 788244 * 1024, 1, 0, 1}, {"side", 1000, 0, 0, 0}, {"small", 1, 0, 0, 0}};
	struct threshold t = {.signal = SIG_MEMORY, .value = {0, 100 * MI}};
	Core__Pod *p = pod("p", 0);
	struct pod_use u = {p, true, c, 3, NULL, 0, 0};
	Core__Container *side = PB_NEW(&a, Core__Container, core__container), *small = PB_NEW(&a, Core__Container, core__container);

	(void)state;
	side->name = "side";
	small->name = "small";
	PB_ADD(&a, p->spec, init_containers, side);
	PB_ADD(&a, p->spec, containers, small);
	request(p->spec->containers[0], "memory", "128M");
	request(small, "memory", "1Ki");
	assert_string_equal(eviction_message(&a, &t, &(struct observation){91244 * 1024, 1000 * MI}, &u),
			"The node was low on resource: memory. Threshold quantity: 100Mi, available: 91244Ki. Container c was using 788244Ki, "
			"request is 128M, has larger consumption of memory. Container side was using 1k, request is 0, has larger consumption of memory. ");
	t = (struct threshold){.signal = SIG_NODEFS, .value = {0.1f, 0}};
	assert_string_equal(eviction_message(&a, &t, &(struct observation){1, 1000}, &u),
			"The node was low on resource: ephemeral-storage. Threshold quantity: 100, available: 1. "
			"Container c was using 2, request is 0, has larger consumption of ephemeral-storage. ");
	t = (struct threshold){.signal = SIG_NODEFS_INODES, .value = {0.1f, 0}};
	assert_string_equal(eviction_message(&a, &t, &(struct observation){1, 1000}, &u),
			"The node was low on resource: inodes. Threshold quantity: 100, available: 1. ");
}

static void test_excess(void **state)
{
	struct container_use c[] = {{"c", 0, 3 * MI, 0, 1 * MI}, {"d", 0, 2 * MI, 0, 0}};
	struct volume_use v[] = {{"v", 5 * MI, 0}};
	Core__Pod *p = pod("p", 0);
	struct pod_use u = {p, true, c, 2, v, 1, 0};
	Core__Container *d = PB_NEW(&a, Core__Container, core__container);
	Core__Volume *vol = PB_NEW(&a, Core__Volume, core__volume);

	(void)state;
	d->name = "d";
	PB_ADD(&a, p->spec, containers, d);
	vol->name = "v";
	vol->volume_source = PB_NEW(&a, Core__VolumeSource, core__volume_source);
	vol->volume_source->empty_dir = PB_NEW(&a, Core__EmptyDirVolumeSource, core__empty_dir_volume_source);
	PB_ADD(&a, p->spec, volumes, vol);
	assert_null(eviction_excess(&a, &u));
	assert_false(pod_limits_storage(p));
	/* As much as allowed is allowed. */
	limit(p->spec->containers[0], "ephemeral-storage", "4Mi");
	limit(d, "ephemeral-storage", "7Mi");
	assert_true(pod_limits_storage(p));
	assert_null(eviction_excess(&a, &u));
	c[0].logs++;
	assert_string_equal(eviction_excess(&a, &u), "Pod ephemeral local storage usage exceeds the total limit of containers 11Mi. ");
	v[0].bytes = 4 * MI;
	assert_string_equal(eviction_excess(&a, &u), "Container c exceeded its local ephemeral storage limit \"4Mi\". ");
	/* The volume's own limit is said first. */
	vol->volume_source->empty_dir->size_limit = quantity("4Mi");
	assert_string_equal(eviction_excess(&a, &u), "Container c exceeded its local ephemeral storage limit \"4Mi\". ");
	v[0].bytes++;
	assert_string_equal(eviction_excess(&a, &u), "Usage of EmptyDir volume \"v\" exceeds the limit \"4Mi\". ");
	/* A tmpfs has its size from the kernel. */
	vol->volume_source->empty_dir->medium = "Memory";
	v[0].bytes = 0;
	u.n_c = 0;
	v[0].bytes = 6 * MI;
	assert_null(eviction_excess(&a, &u));
	/* No limit of 0 is one for a volume. */
	vol->volume_source->empty_dir->medium = "";
	vol->volume_source->empty_dir->size_limit = quantity("0");
	assert_null(eviction_excess(&a, &u));
}

static const char *admits(bool memory, bool disk, const Core__Pod *p)
{
	bool pressure[N_PRESSURES] = {[PRESSURE_MEMORY] = memory, [PRESSURE_DISK] = disk};
	char *why = eviction_refuses(&a, pressure, p);

	return why ? why : "";
}

static void test_admission(void **state)
{
	Core__Pod *plain = pod("plain", 0), *critical = pod("critical", 2000000000), *burstable = pod("burstable", 0), *tolerant = pod("tolerant", 0);
	Core__Toleration *t = PB_NEW(&a, Core__Toleration, core__toleration);

	(void)state;
	request(burstable->spec->containers[0], "memory", "1Mi");
	t->key = "node.kubernetes.io/memory-pressure";
	t->operator_ = "Exists";
	PB_ADD(&a, tolerant->spec, tolerations, t);
	assert_string_equal(admits(false, false, plain), "");
	assert_string_equal(admits(true, false, plain), "The node had condition: [MemoryPressure]. ");
	assert_string_equal(admits(true, false, burstable), "");
	assert_string_equal(admits(true, false, tolerant), "");
	assert_string_equal(admits(true, false, critical), "");
	assert_string_equal(admits(false, true, burstable), "The node had condition: [DiskPressure]. ");
	assert_string_equal(admits(true, true, tolerant), "The node had condition: [MemoryPressure DiskPressure]. ");
	assert_string_equal(admits(true, true, critical), "");
	t->effect = "NoExecute";
	assert_string_equal(admits(true, false, tolerant), "The node had condition: [MemoryPressure]. ");
	assert_false(pod_is_critical(plain));
	assert_true(pod_is_critical(critical));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hard),
		cmocka_unit_test(test_soft),
		cmocka_unit_test(test_minimum_reclaim),
		cmocka_unit_test(test_rank),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_excess),
		cmocka_unit_test(test_admission),
	};

	return cmocka_run_group_tests(tests, test_arena_init, test_arena_fini);
}
