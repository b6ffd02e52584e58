/* scheduler/preempt.h: who must go so that a pod fits, and from where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/scheduler/decide.h"
#include "orchestrator/scheduler/preempt.h"
#include "proto/codec.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/policy.pb-c.h"
#include "proto/schema.h"

static struct arena a;

/* With ' for ". */
static struct informer_obj *object(const char *type, const ProtobufCMessageDescriptor *desc, const char *text)
{
	struct informer_obj *o = xcalloc(1, sizeof(*o));
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct codec_errs errs;
	struct json *dom;
	char *plain = arena_strdup(&a, text);

	for (char *p = plain; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse(&a, str_from(plain), NULL, &dom, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	codec_errs_init(&errs, &a);
	codec_to_wire(&b, schema_type_find(type), dom, &errs);
	assert_int_equal(errs.n, 0);
	ref_init(&o->ref);
	arena_init(&o->arena);
	o->msg = pb_unpack(&o->arena, desc, buf_str(&b));
	o->meta = *(Meta__ObjectMeta **)((char *)o->msg + protobuf_c_message_descriptor_get_field_by_name(desc, "metadata")->offset);
	o->key = arena_str(&o->arena, str_from(arena_printf(&a, "%s/%s", pb_s(o->meta->namespace_), o->meta->name)));
	return o;
}

static struct informer_obj *pod(const char *name, int priority, const char *cpu, int started, const char *more)
{
	return object("core.v1.Pod", &core__pod__descriptor,
			arena_printf(&a,
					"{'metadata':{'name':'%s','namespace':'d','uid':'%s','labels':{'app':'%c'}%s},'spec':{'priority':%d,'containers':[{'name':'c',"
					"'resources':{'requests':{'cpu':'%s'}}}]},'status':{'startTime':'2026-01-01T00:00:%02dZ'}}",
					name, name, name[0], more, priority, cpu, started));
}

static void node(struct snapshot *s, const char *name, const char *cpu)
{
	struct informer_obj *o = object("core.v1.Node", &core__node__descriptor,
			arena_printf(&a, "{'metadata':{'name':'%s'},'status':{'allocatable':{'cpu':'%s','memory':'1Gi','pods':'10'}}}", name, cpu));

	snapshot_set_node(s, o);
	informer_obj_unref(o);
}

static struct informer_obj *budgets[2];
static size_t n_budgets;

/* "node: victim victim", sorted; "" when it would not help. */
static const char *push(struct snapshot *s, struct informer_obj *o)
{
	struct pod_volumes none = {0};
	struct preemption p = preempt(s, o, &none, (const struct informer_obj *const *)budgets, n_budgets, &a);
	const char *text = p.node ? arena_printf(&a, "%s:", p.node->name) : "";

	for (char c = 'a'; c <= 'z'; c++)
		for (size_t i = 0; i < p.n; i++)
			if (p.victims[i]->meta->name[0] == c)
				text = arena_printf(&a, "%s %s", text, p.victims[i]->meta->name);
	informer_obj_unref(o);
	return text;
}

struct placed {
	const char *node, *name, *cpu;
	int priority, started;
};

static void place(struct snapshot *s, const struct placed *p)
{
	for (; p->node; p++) {
		struct informer_obj *o = pod(p->name, p->priority, p->cpu, p->started, "");

		snapshot_place(s, o, p->node);
		informer_obj_unref(o);
	}
}

static void test_choice(void **state)
{
	static const struct {
		struct placed pods[8];
		const char *cpu, *want;
		int priority;
	} rows[] = {
		/* Nobody of lower priority; or not enough of them. */
		{{{"x", "a", "2", 5, 1}, {"y", "b", "2", 9, 1}}, "1", "", 5},
		{{{"x", "a", "1", 5, 1}, {"x", "b", "1", 9, 1}, {"y", "c", "2", 9, 1}}, "2", "", 6},
		/* Only as many as must, the least important. */
		{{{"x", "a", "1", 5, 1}, {"x", "b", "1", 4, 1}, {"y", "c", "2", 9, 1}}, "1", "x: b", 6},
		{{{"x", "a", "1", 5, 1}, {"x", "b", "1", 5, 2}, {"y", "c", "2", 9, 1}}, "1", "x: b", 6},
		/* A large one may stay if a small one suffices, though that is more important. */
		{{{"x", "a", "500m", 5, 1}, {"x", "b", "1500m", 4, 1}, {"y", "c", "2", 9, 1}}, "500m", "x: b", 6},
		/* The node whose most important victim is the least; the fewest; the youngest. */
		{{{"x", "a", "2", 5, 1}, {"y", "b", "2", 4, 1}}, "1", "y: b", 6},
		{{{"x", "a", "1", 5, 1}, {"x", "b", "1", 5, 1}, {"y", "c", "2", 5, 1}}, "2", "y: c", 6},
		{{{"x", "a", "2", 5, 7}, {"y", "b", "2", 5, 9}}, "1", "y: b", 6},
		{{{"x", "a", "2", 5, 9}, {"y", "b", "2", 5, 7}}, "1", "x: a", 6},
		/* More than any node has. */
		{{{"x", "a", "2", 5, 9}, {"y", "b", "2", 5, 7}}, "3", "", 6},
	};

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct snapshot s;
		const char *got;

		snapshot_init(&s);
		node(&s, "x", "2");
		node(&s, "y", "2");
		place(&s, rows[i].pods);
		got = push(&s, pod("new", rows[i].priority, rows[i].cpu, 0, ""));
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%zu: %s instead of %s", i, got, rows[i].want);
		/* It was only tried. */
		for (const struct placed *p = rows[i].pods; p->node; p++)
			assert_true(snapshot_has(&s, p->name));
		assert_int_equal(((struct node_info *)map_get(&s.nodes, STR("y")))->used.milli_cpu, 2000);
		snapshot_fini(&s);
	}
	arena_fini(&a);
}

/* A violated budget weighs more than priorities; of two pods on a node the one goes whose budget allows it. */
static void test_budgets(void **state)
{
	static const struct placed two_nodes[] = {{"x", "a", "2", 1, 1}, {"y", "b", "2", 5, 1}, {0}};
	static const struct placed one_node[] = {{"x", "a", "1", 1, 1}, {"x", "b", "1", 5, 1}, {"y", "c", "2", 9, 1}, {0}};
	struct snapshot s;

	(void)state;
	arena_init(&a);
	for (int allowed = 0; allowed <= 1; allowed++) {
		budgets[0] = object("policy.v1.PodDisruptionBudget", &policy__pod_disruption_budget__descriptor,
				arena_printf(&a, "{'metadata':{'name':'p','namespace':'d'},'spec':{'selector':{'matchLabels':{'app':'a'}}},"
						 "'status':{'disruptionsAllowed':%d}}", allowed));
		n_budgets = 1;
		snapshot_init(&s);
		node(&s, "x", "2");
		node(&s, "y", "2");
		place(&s, two_nodes);
		assert_string_equal(push(&s, pod("new", 6, "1", 0, "")), allowed ? "x: a" : "y: b");
		snapshot_fini(&s);
		snapshot_init(&s);
		node(&s, "x", "2");
		node(&s, "y", "2");
		place(&s, one_node);
		assert_string_equal(push(&s, pod("new", 6, "1", 0, "")), allowed ? "x: a" : "x: b");
		snapshot_fini(&s);
		informer_obj_unref(budgets[0]);
		n_budgets = 0;
	}
	arena_fini(&a);
}

/* Who waits for others to go pushes out no more, and its room is kept against its like. */
static void test_nominee(void **state)
{
	static const struct placed pods[] = {{"x", "a", "2", 1, 1}, {0}};
	struct informer_obj *first, *second, *third, *never, *going;
	struct pod_volumes none = {0};
	struct snapshot s;

	(void)state;
	arena_init(&a);
	snapshot_init(&s);
	node(&s, "x", "2");
	place(&s, pods);
	first = pod("first", 6, "2", 0, "");
	second = pod("second", 6, "1", 0, "");
	third = pod("third", 7, "1", 0, "");
	never = object("core.v1.Pod", &core__pod__descriptor, "{'metadata':{'name':'n','uid':'n'},'spec':{'priority':9,'preemptionPolicy':'Never'}}");
	assert_true(preempt_may(&s, first));
	assert_false(preempt_may(&s, never));
	snapshot_nominate(&s, first, "x");
	assert_true(preempt_may(&s, first));
	going = pod("a", 1, "2", 1, ",'deletionTimestamp':'2026-01-01T00:00:00Z'");
	snapshot_place(&s, going, "x");
	assert_false(preempt_may(&s, first));
	snapshot_remove(&s, "a");
	assert_true(decide(&s, first, &none, 0, &a).node != NULL);
	assert_null(decide(&s, second, &none, 0, &a).node);
	assert_true(decide(&s, third, &none, 0, &a).node != NULL);
	snapshot_remove(&s, "first");
	assert_true(decide(&s, second, &none, 0, &a).node != NULL);
	snapshot_fini(&s);
	informer_obj_unref(first);
	informer_obj_unref(second);
	informer_obj_unref(third);
	informer_obj_unref(never);
	informer_obj_unref(going);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choice), cmocka_unit_test(test_budgets), cmocka_unit_test(test_nominee)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
