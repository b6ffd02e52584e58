#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/core.pb-c.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "proto/schema.h"

static void build_and_read(void **state)
{
	struct arena a;
	Core__Pod *pod, *copy;
	Core__Container *c;
	Meta__ObjectMeta *meta;

	arena_init(&a);
	pod = pb_new_of(&a, core__pod, Core__Pod);
	meta = pb_sub(&a, pod, "metadata");
	meta->name = "p";
	assert_ptr_equal(pb_sub(&a, pod, "metadata"), meta);
	pb_map_set(&a, meta, "labels", "app", "web");
	pb_map_set(&a, meta, "labels", "tier", "x");
	pb_map_set(&a, meta, "labels", "app", "db");
	pb_add_str(&a, meta, "finalizers", "one");
	pb_add_str(&a, meta, "finalizers", "two");
	pb_sub(&a, pod, "spec");
	for (int i = 0; i < 3; i++) {
		c = pb_add(&a, pod->spec, "containers");
		c->name = arena_printf(&a, "c%d", i);
	}
	pb_remove(pod->spec, "containers", 1);
	pod->spec->has_priority = 1;
	pod->spec->priority = -7;

	copy = pb_copy(&a, pod);
	assert_true(pb_equal(copy, pod));
	assert_string_equal(pb_map_get(copy->metadata->labels, copy->metadata->n_labels, "app"), "db");
	assert_null(pb_map_get(copy->metadata->labels, copy->metadata->n_labels, "none"));
	assert_true(pb_has_str(copy->metadata->finalizers, copy->metadata->n_finalizers, "two"));
	assert_false(pb_has_str(copy->metadata->finalizers, copy->metadata->n_finalizers, "three"));
	assert_int_equal(copy->spec->n_containers, 2);
	assert_string_equal(copy->spec->containers[1]->name, "c2");
	assert_int_equal(pb_or(copy->spec, priority, 0), -7);
	assert_int_equal(pb_or(copy->spec, active_deadline_seconds, 5), 5);
	assert_true(pb_map_del(copy->metadata, "labels", "app"));
	assert_false(pb_map_del(copy->metadata, "labels", "app"));
	assert_false(pb_equal(copy, pod));
	arena_fini(&a);
}

static void broken_bytes(void **state)
{
	struct arena a;

	arena_init(&a);
	assert_null(pb_unpack(&a, &core__pod__descriptor, STR("\x0a\x7f")));
	assert_non_null(pb_unpack(&a, &core__pod__descriptor, STR_NULL));
	arena_fini(&a);
}

/* Put a field header in front of what the buffer holds. */
static void wrap(struct buf *b, uint8_t tag, struct buf *scratch)
{
	size_t n = b->n;

	buf_clear(scratch);
	buf_add1(scratch, (char)tag);
	for (; n >= 0x80; n >>= 7)
		buf_add1(scratch, (char)(n | 0x80));
	buf_add1(scratch, (char)n);
	buf_adds(scratch, buf_str(b));
	buf_clear(b);
	buf_adds(b, buf_str(scratch));
}

/* A txn in a txn in a txn ends in an error, not in the end of the stack. */
static void deep_nesting(void **state)
{
	struct arena a;
	struct buf b = BUF_INIT, scratch = BUF_INIT;

	arena_init(&a);
	for (int depth = 0; depth < 5000; depth++) {
		wrap(&b, 0x22, &scratch); /* request_txn of a RequestOp */
		wrap(&b, 0x12, &scratch); /* success of a TxnRequest */
		if (depth == 10)
			assert_non_null(pb_unpack(&a, &etcdserverpb__txn_request__descriptor, buf_str(&b)));
	}
	assert_null(pb_unpack(&a, &etcdserverpb__txn_request__descriptor, buf_str(&b)));
	buf_fini(&b);
	buf_fini(&scratch);
	arena_fini(&a);
}

static void tables(void **state)
{
	const struct schema_type *pod = schema_type_find("core.v1.Pod"), *volume;
	const struct schema_field *f;

	assert_non_null(pod);
	assert_ptr_equal(pod, schema_type_find("k8s.io.api.core.v1.Pod"));
	assert_null(schema_type_find("core.v1.Nothing"));
	assert_true(pod->root);
	assert_string_equal(pod->api_version, "v1");
	assert_non_null(strstr(pod->doc, "containers"));
	assert_true(schema_type_find("core.v1.PodList")->is_list);

	f = schema_field_find(pod, STR("spec"));
	assert_non_null(f);
	assert_string_equal(f->type->name, "core.v1.PodSpec");
	assert_string_equal(f->more->doc, "What should run.");
	assert_ptr_equal(schema_field_number(pod, 2), f);
	assert_null(schema_field_number(pod, 77));
	assert_null(schema_field_find(pod, STR("spe")));
	assert_null(schema_field_find(pod, STR("specs")));

	f = schema_path(pod, "spec.containers.ports.protocol");
	assert_non_null(f);
	assert_string_equal(f->more->default_json, "\"TCP\"");
	assert_int_equal(f->more->enum_type->n_values, 3);
	f = schema_path(pod, "spec.containers");
	assert_true(schema_is(f, SCHEMA_LIST_MAP));
	assert_string_equal(f->more->map_keys[0], "name");
	assert_string_equal(f->more->patch_merge_key, "name");

	/* A member of an inlined message is found in the parent. */
	volume = schema_type_find("core.v1.Volume");
	assert_string_equal(schema_field_find(volume, STR("emptyDir"))->type->name, "core.v1.EmptyDirVolumeSource");

	for (size_t i = 0; i < n_schema_types; i++) {
		const struct schema_type *t = &schema_types[i];

		assert_ptr_equal(schema_type_find(t->name), t);
		for (size_t j = 0; j < t->n_fields; j++) {
			f = &t->fields[j];
			assert_ptr_equal(schema_field_number(t, f->number), f);
			assert_int_equal(f->kind == SCHEMA_MESSAGE, f->type != NULL);
			if (!schema_is(f, SCHEMA_INLINE))
				assert_ptr_equal(schema_field_find(t, str_from(f->json)), f);
		}
	}
}

static void resource_table(void **state)
{
	const struct resource *r = resource_find("", "v1", "pods"), *d;
	const struct resource_sub *subs;
	const struct resource_column *columns;
	struct buf b = BUF_INIT;
	struct str ns, name;
	size_t n;

	assert_non_null(r);
	assert_ptr_equal(r, resource_find_kind("v1", "Pod"));
	assert_ptr_equal(r, resource_by_name("po"));
	assert_ptr_equal(r, resource_by_name("POD"));
	assert_null(resource_by_name("pods.apps"));
	assert_null(resource_by_name(""));
	d = resource_by_name("deploy.apps");
	assert_non_null(d);
	assert_ptr_equal(d, resource_by_name("deployments.v1.apps"));
	assert_string_equal(d->api_version, "apps/v1");
	assert_string_equal(resource_by_name("ev")->group, "");

	subs = resource_subs(r, &n);
	assert_true(n > 5);
	assert_string_equal(subs[0].name, "attach");
	assert_string_equal(resource_sub_find(r, "eviction")->api_version, "policy/v1");
	assert_null(resource_sub_find(r, "scale"));
	assert_non_null(resource_sub_find(d, "scale"));
	columns = resource_columns(r, &n);
	assert_int_equal(n, 9);
	assert_string_equal(columns[2].name, "Status");

	resource_key(&b, r, "default", "web");
	assert_string_equal(b.p, "/registry/pods/default/web");
	assert_true(resource_parse_key(r, buf_str(&b), &ns, &name));
	assert_true(str_eqc(ns, "default") && str_eqc(name, "web"));
	assert_false(resource_parse_key(d, buf_str(&b), &ns, &name));
	buf_clear(&b);
	resource_key(&b, r, NULL, NULL);
	assert_string_equal(b.p, "/registry/pods/");
	buf_clear(&b);
	resource_key(&b, resource_by_name("node"), NULL, "n1");
	assert_string_equal(b.p, "/registry/minions/n1");
	buf_fini(&b);

	/* Every row has its types; only what is created and not kept has no list. */
	RESOURCE_FOR_EACH (x) {
		assert_non_null(resource_type(x));
		assert_string_equal(resource_type(x)->api_version, x->api_version);
		assert_true(resource_type(x)->root);
		if (x->verbs & V_LIST)
			assert_true(resource_list_type(x)->is_list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(build_and_read),
		cmocka_unit_test(broken_bytes),
		cmocka_unit_test(deep_nesting),
		cmocka_unit_test(tables),
		cmocka_unit_test(resource_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
