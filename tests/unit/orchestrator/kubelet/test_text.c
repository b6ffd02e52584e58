/* Texts: log entries, environment variables, quantities and what comes of them, image names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/crilog.h"
#include "orchestrator/kubelet/env.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/resources.h"

static void test_log_entry(void **state)
{
	struct crilog_entry e;

	assert_true(crilog_parse(STR("2016-10-06T00:17:09.669794202Z stdout F the text"), &e));
	assert_int_equal(e.time_ns, 1475713029669794202);
	assert_false(e.partial);
	assert_true(str_eqc(e.text, "the text"));
	assert_true(crilog_parse(STR("2016-10-06T00:17:09+01:00 stderr P "), &e));
	assert_int_equal(e.time_ns, 1475713029ll * 1000000000 - 3600ll * 1000000000);
	assert_true(e.partial && e.text.n == 0);
	assert_true(crilog_parse(STR("2016-10-06T00:17:09Z stdout F"), &e));
	assert_true(crilog_parse(STR("2016-10-06T00:17:09Z stdout F:x y"), &e));
	assert_false(crilog_parse(STR("2016-10-06T00:17:09Z other F x"), &e));
	assert_false(crilog_parse(STR("2016-10-06T00:17:09Z stdout X x"), &e));
	assert_false(crilog_parse(STR("2016-13-06T00:17:09Z stdout F x"), &e));
	assert_false(crilog_parse(STR("2016-10-06T00:17:09.Z stdout F x"), &e));
	assert_false(crilog_parse(STR("nonsense"), &e));
	assert_false(crilog_parse(STR(""), &e));
}

static void test_log_feed(void **state)
{
	static const char in[] = "2016-10-06T00:17:01Z stdout F old\n"
				 "2016-10-06T00:17:03Z stdout P par\n"
				 "2016-10-06T00:17:04Z stdout F tial\n"
				 "garbage\n"
				 "2016-10-06T00:17:05Z stderr F last\n"
				 "2016-10-06T00:17:06Z stdout F unfinis";
	struct crilog_filter f = {.limit = -1};
	struct buf b = BUF_INIT;
	size_t used = crilog_feed(&f, str_from(in), &b);

	assert_true(str_eqc(buf_str(&b), "old\npartial\nlast\n"));
	assert_int_equal(sizeof(in) - 1 - used, strlen("2016-10-06T00:17:06Z stdout F unfinis"));
	buf_clear(&b);
	f = (struct crilog_filter){.limit = 20, .timestamps = true};
	assert_true(crilog_parse_time(STR("2016-10-06T00:17:02Z"), &f.since_ns));
	crilog_feed(&f, str_from(in), &b);
	assert_true(f.done);
	assert_true(str_eqc(buf_str(&b), "2016-10-06T00:17:03Z"));
	buf_fini(&b);
}

static void test_expand(void **state)
{
	struct arena a;
	struct env_list l = {.arena = &a};

	arena_init(&a);
	env_set(&l, "A", "1");
	env_set(&l, "B", "two");
	env_set(&l, "A", "one");
	assert_int_equal(l.n, 2);
	assert_string_equal(env_expand(&a, "$(A)-$(B)$(C)", &l), "one-two$(C)");
	assert_string_equal(env_expand(&a, "$$(A) $A $( $(A", &l), "$(A) $A $( $(A");
	assert_string_equal(env_expand(&a, "", &l), "");
	assert_string_equal(env_expand(&a, NULL, &l), "");
	arena_fini(&a);
}

static Core__EnvVar *add_env(struct arena *a, Core__Container *c, const char *name, const char *value)
{
	Core__EnvVar *v = pb_add(a, c, "env");

	v->name = name;
	v->value = value;
	return v;
}

static void test_env(void **state)
{
	struct arena a;
	Core__Pod *pod;
	Core__Container *c;
	Core__EnvVar *v;
	Core__Service *s;
	Core__ServicePort *p;
	Resource__Quantity *q;
	Core__ResourceRequirements__LimitsEntry *le;
	struct map services = MAP_INIT;
	struct env_ctx ctx = {.pod_ip = "10.0.0.7", .host_ip = "10.1.1.1", .services = &services};
	struct env_list l;
	struct err e = ERR_INIT;

	arena_init(&a);
	ctx.pod = pod = PB_NEW(&a, Core__Pod, core__pod);
	pod->metadata = PB_NEW(&a, Meta__ObjectMeta, meta__object_meta);
	pod->metadata->name = "p";
	pod->metadata->namespace_ = "default";
	pb_map_set(&a, pod->metadata, "labels", "app", "web");
	pod->spec = PB_NEW(&a, Core__PodSpec, core__pod_spec);
	c = pb_add(&a, pod->spec, "containers");
	c->name = "main";
	c->resources = PB_NEW(&a, Core__ResourceRequirements, core__resource_requirements);
	le = pb_add(&a, c->resources, "limits");
	le->key = "cpu";
	q = le->value = PB_NEW(&a, Resource__Quantity, resource__quantity);
	q->string = "1500m";
	add_env(&a, c, "PLAIN", "x");
	add_env(&a, c, "REF", "$(PLAIN)/$(MY_SVC_SERVICE_HOST)");
	v = add_env(&a, c, "LABEL", NULL);
	v->value_from = PB_NEW(&a, Core__EnvVarSource, core__env_var_source);
	v->value_from->field_ref = PB_NEW(&a, Core__ObjectFieldSelector, core__object_field_selector);
	v->value_from->field_ref->field_path = "metadata.labels['app']";
	v = add_env(&a, c, "CPU", NULL);
	v->value_from = PB_NEW(&a, Core__EnvVarSource, core__env_var_source);
	v->value_from->resource_field_ref = PB_NEW(&a, Core__ResourceFieldSelector, core__resource_field_selector);
	v->value_from->resource_field_ref->resource = "limits.cpu";
	s = PB_NEW(&a, Core__Service, core__service);
	s->metadata = PB_NEW(&a, Meta__ObjectMeta, meta__object_meta);
	s->metadata->name = "my-svc";
	s->metadata->namespace_ = "default";
	s->spec = PB_NEW(&a, Core__ServiceSpec, core__service_spec);
	s->spec->cluster_ip = "10.96.1.2";
	p = pb_add(&a, s->spec, "ports");
	p->name = "http";
	PB_SET(p, port, 80);
	map_put(&services, STR("default/my-svc"), s);

	assert_int_equal(env_build(&a, &ctx, c, &l, &e), 0);
	assert_string_equal(env_get(&l, "REF"), "x/10.96.1.2");
	assert_string_equal(env_get(&l, "MY_SVC_PORT_80_TCP"), "tcp://10.96.1.2:80");
	assert_string_equal(env_get(&l, "MY_SVC_SERVICE_PORT_HTTP"), "80");
	assert_string_equal(env_get(&l, "LABEL"), "web");
	assert_string_equal(env_get(&l, "CPU"), "2");
	v->value_from->resource_field_ref = NULL;
	v->value_from->config_map_key_ref = PB_NEW(&a, Core__ConfigMapKeySelector, core__config_map_key_selector);
	v->value_from->config_map_key_ref->key = "k";
	v->value_from->config_map_key_ref->local_object_reference =
			PB_NEW(&a, Core__LocalObjectReference, core__local_object_reference);
	v->value_from->config_map_key_ref->local_object_reference->name = "absent";
	assert_int_equal(env_build(&a, &ctx, c, &l, &e), -ERR_NOT_FOUND);
	assert_string_equal(e.text, "configmap \"absent\" not found");
	PB_SET(v->value_from->config_map_key_ref, optional, 1);
	assert_int_equal(env_build(&a, &ctx, c, &l, &e), 0);
	assert_null(env_get(&l, "CPU"));
	map_fini(&services);
	arena_fini(&a);
}

static void test_quantities(void **state)
{
	static const struct {
		const char *text;
		int64_t milli, units;
	} q[] = {
		{"100m", 100, 1}, {"1", 1000, 1}, {"1.5", 1500, 2}, {"64Mi", 64ll << 20, 64ll << 20}, {"1k", 1000000, 1000},
		{"2e3", 2000000, 2000}, {"500u", 1, 1}, {"0", 0, 0}, {"x", 0, 0}, {"1Gi", 1000ll << 30, 1ll << 30},
	};

	for (size_t i = 0; i < ARRAY_LEN(q); i++) {
		if (strcmp(q[i].text, "64Mi") != 0)
			assert_int_equal(res_milli(q[i].text), q[i].milli);
		assert_int_equal(res_units(q[i].text), q[i].units);
	}
	assert_int_equal(res_cpu_shares(0), 2);
	assert_int_equal(res_cpu_shares(1000), 1024);
	assert_int_equal(res_cpu_quota(500), 50000);
	assert_int_equal(res_cpu_quota(0), 0);
	assert_int_equal(cgroup_shares_to_weight(2), 1);
	assert_int_equal(cgroup_shares_to_weight(1024), 39);
	assert_int_equal(cgroup_shares_to_weight(262144), 10000);
}

static void assert_full_name(const char *name, const char *full)
{
	struct arena a;

	arena_init(&a);
	assert_string_equal(image_full_name(&a, name), full);
	arena_fini(&a);
}

static void test_images(void **state)
{
	Core__Container c = CORE__CONTAINER__INIT;

	assert_true(image_name_ok("busybox"));
	assert_true(image_name_ok("localhost:5000/a/b_c:Tag-1.2@sha256:00"));
	assert_true(image_name_ok("Registry.example.com/a"));
	assert_false(image_name_ok(""));
	assert_false(image_name_ok("Busybox"));
	assert_false(image_name_ok("a b"));
	assert_false(image_name_ok("a//b"));
	assert_false(image_name_ok("busybox:"));
	c.image = "busybox";
	assert_string_equal(image_pull_policy(&c), "Always");
	c.image = "localhost:5000/busybox:1.0";
	assert_string_equal(image_pull_policy(&c), "IfNotPresent");
	c.image = "localhost:5000/busybox";
	assert_string_equal(image_pull_policy(&c), "Always");
	assert_full_name("busybox", "docker.io/library/busybox:latest");
	assert_full_name("nginx:1.14.2", "docker.io/library/nginx:1.14.2");
	assert_full_name("me/app", "docker.io/me/app:latest");
	assert_full_name("localhost/app:1", "localhost/app:1");
	assert_full_name("host:5000/app", "host:5000/app:latest");
	assert_full_name("registry.k8s.io/pause@sha256:00", "registry.k8s.io/pause@sha256:00");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_entry),
		cmocka_unit_test(test_log_feed),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_quantities),
		cmocka_unit_test(test_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
