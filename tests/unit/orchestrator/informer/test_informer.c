/* An informer whose watch ended and who lists again: what it takes over from a list that is later than its own version, or earlier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "tests/lib/fake_client.h"

/* The one object of the world, if it has a version, and the version of the list. */
static const char *list_rv, *object_rv, *phase;

static void *list_of(struct arena *a, const struct resource *r _unused_)
{
	Core__NamespaceList *l = pb_new_of(a, core__namespace_list, Core__NamespaceList);
	Core__Namespace *ns;
	Meta__ObjectMeta *m;

	((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = (char *)list_rv;
	if (!object_rv)
		return l;
	ns = pb_add(a, l, "items");
	m = pb_sub(a, ns, "metadata");
	m->name = "web";
	m->resource_version = (char *)object_rv;
	((Core__NamespaceStatus *)pb_sub(a, ns, "status"))->phase = (char *)phase;
	return l;
}

struct world {
	struct loop *loop;
	struct fake_client fake;
	struct informer *inf;
	struct informer_handler handler;
	unsigned changes;
	bool stopped;
};

static void changed(struct informer_handler *h, const struct informer_obj *old _unused_, const struct informer_obj *new _unused_)
{
	container_of(h, struct world, handler)->changes++;
}

static void stopped(void *arg)
{
	((struct world *)arg)->stopped = true;
}

/* The world becomes this, and the informer has seen it: the phase that it knows then, "" without the object. */
static const char *seen(struct world *w, const char *rv, const char *of_object, const char *is)
{
	const struct informer_obj *o;

	list_rv = rv;
	object_rv = of_object;
	phase = is;
	fake_change(&w->fake);
	for (unsigned i = 0; i < 1000 && informer_rv(w->inf) != strtoull(rv, NULL, 10); i++)
		loop_turn(w->loop, 10);
	assert_int_equal(informer_rv(w->inf), strtoull(rv, NULL, 10));
	o = informer_get(w->inf, NULL, "web");
	return o ? ((Core__Namespace *)informer_msg(o))->status->phase : "";
}

static void test_relist(void **state _unused_)
{
	struct world w = {.loop = loop_new("test"), .handler = {.changed = changed}};
	struct informer_cfg cfg = {.client = &w.fake.client, .resource = resource_find("", "v1", "namespaces"),
			.desc = &core__namespace__descriptor};

	fake_client_init(&w.fake, w.loop, list_of);
	w.inf = informer_new(&cfg);
	informer_add_handler(w.inf, &w.handler);
	informer_start(w.inf);
	assert_string_equal(seen(&w, "50", "40", "first"), "first");
	assert_string_equal(seen(&w, "60", "55", "second"), "second");
	assert_int_equal(w.changes, 2);
	/* What it knows already is no change. */
	assert_string_equal(seen(&w, "70", "55", "second"), "second");
	assert_int_equal(w.changes, 2);
	/* The store was restored from a backup: the object's older version, and then one that has the number that another one had. */
	assert_string_equal(seen(&w, "45", "40", "first"), "first");
	assert_int_equal(w.changes, 3);
	assert_string_equal(seen(&w, "60", "55", "another"), "another");
	assert_string_equal(seen(&w, "58", "55", "second"), "second");
	assert_int_equal(w.changes, 5);
	assert_string_equal(seen(&w, "30", NULL, NULL), "");
	assert_int_equal(w.changes, 6);
	informer_stop(w.inf, stopped, &w);
	for (unsigned i = 0; i < 1000 && !w.stopped; i++)
		loop_turn(w.loop, 10);
	assert_true(w.stopped);
	loop_free(w.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_relist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
