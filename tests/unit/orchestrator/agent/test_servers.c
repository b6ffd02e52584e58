/* An agent's list of servers: the endpoints of the Service `kubernetes`, through to the balancer and the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/balancer.h"
#include "io/loop.h"
#include "orchestrator/agent/servers.h"
#include "orchestrator/informer/informer.h"
#include "proto/discovery.pb-c.h"
#include "tests/lib/fake_client.h"

/* The state of the world: what the slice of the Service has. */
static const char *ips[8];
static const char *not_ready;
static char version[8] = "1";

static void add_slice(struct arena *a, Discovery__EndpointSliceList *l, const char *ns, const char *service, const char *const *v, int port)
{
	Discovery__EndpointSlice *s = pb_add(a, l, "items");
	Meta__ObjectMeta *m = pb_sub(a, s, "metadata");
	Discovery__EndpointPort *p = pb_add(a, s, "ports");

	m->name = arena_printf(a, "%s-1", service);
	m->namespace_ = (char *)ns;
	m->resource_version = version;
	pb_map_set(a, m, "labels", "kubernetes.io/service-name", service);
	s->address_type = "IPv4";
	p->has_port = true;
	p->port = port;
	for (; *v; v++) {
		Discovery__Endpoint *ep = pb_add(a, s, "endpoints");

		pb_add_str(a, ep, "addresses", *v);
		if (not_ready && strcmp(*v, not_ready) == 0) {
			Discovery__EndpointConditions *c = pb_sub(a, ep, "conditions");

			c->has_ready = true;
			c->ready = false;
		}
	}
}

static void *list_of(struct arena *a, const struct resource *r)
{
	static const char *const others[] = {"10.9.9.9", NULL};
	Discovery__EndpointSliceList *l = pb_new_of(a, discovery__endpoint_slice_list, Discovery__EndpointSliceList);

	((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = version;
	add_slice(a, l, "default", "kubernetes", ips, 6443);
	/* Somebody else's Services, one with the same name elsewhere. */
	add_slice(a, l, "default", "web", others, 80);
	add_slice(a, l, "other", "kubernetes", others, 80);
	return l;
}

struct rig {
	struct loop *loop;
	struct fake_client fake;
	struct informer *slices;
	struct balancer *balancer;
	struct servers *servers;
	char file[64];
};

static void set_flag(void *arg)
{
	*(int *)arg = 1;
}

static void until(struct rig *r, const int *flag)
{
	for (uint64_t end = clock_mono_ms() + 60000; !*flag && clock_mono_ms() < end;)
		loop_turn(r->loop, 10);
	assert_true(*flag);
}

static int setup(void **state)
{
	static const char *const given[] = {"10.0.0.9:6443"};
	struct balancer_config bc = {.listen = "127.0.0.1:0", .backends = given, .n_backends = 1};
	struct rig *r = xcalloc(1, sizeof(*r));
	struct informer_cfg ic = {.desc = &discovery__endpoint_slice__descriptor, .client = &r->fake.client};
	struct servers_cfg sc = {.node_ip = "10.0.0.2", .own = NULL, .file = r->file};
	struct err e = ERR_INIT;
	int fd;

	snprintf(r->file, sizeof(r->file), "/tmp/kontiki-servers.XXXXXX");
	fd = mkstemp(r->file);
	assert_true(fd >= 0);
	close(fd);
	memset(ips, 0, sizeof(ips));
	not_ready = NULL;
	r->loop = loop_new("test");
	fake_client_init(&r->fake, r->loop, list_of);
	ic.resource = resource_find("discovery.k8s.io", "v1", "endpointslices");
	r->slices = informer_new(&ic);
	if (balancer_start(r->loop, &bc, &r->balancer, &e) < 0)
		fail_msg("%s", e.text);
	sc.slices = r->slices;
	sc.balancer = r->balancer;
	r->servers = servers_start(&sc);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	int stopped = 0, closed = 0;

	informer_stop(r->slices, set_flag, &stopped);
	until(r, &stopped);
	servers_stop(r->servers);
	balancer_close(r->balancer, set_flag, &closed);
	until(r, &closed);
	loop_free(r->loop);
	unlink(r->file);
	free(r);
	return 0;
}

static char *content(const struct rig *r)
{
	static char text[512];
	FILE *f = fopen(r->file, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	return text;
}

static void wait_content(struct rig *r, const char *want)
{
	for (uint64_t end = clock_mono_ms() + 60000; strcmp(content(r), want) != 0 && clock_mono_ms() < end;)
		loop_turn(r->loop, 10);
	assert_string_equal(content(r), want);
}

static void change(struct rig *r)
{
	version[0]++;
	fake_change(&r->fake);
}

static void test_follows_the_endpoints(void **state)
{
	struct rig *r = *state;

	ips[0] = "10.0.0.3";
	ips[1] = "10.0.0.1";
	ips[2] = "10.0.0.2";
	informer_start(r->slices);
	/* The one on this node first. */
	wait_content(r, "10.0.0.2:6443\n10.0.0.1:6443\n10.0.0.3:6443\n");
	ips[2] = "10.0.0.4";
	not_ready = "10.0.0.3";
	change(r);
	wait_content(r, "10.0.0.1:6443\n10.0.0.4:6443\n");
	/* No servers at all: nothing that could be followed. */
	ips[0] = NULL;
	change(r);
	ips[0] = "10.0.0.20";
	ips[1] = NULL;
	change(r);
	/* The same digits in front do not make it this node's. */
	wait_content(r, "10.0.0.20:6443\n");
}

static void test_own_stands_for_this_node(void **state)
{
	struct rig *r = *state;
	struct arena a;
	const char **v;

	ips[0] = "10.0.0.1";
	ips[1] = "10.0.0.2";
	informer_start(r->slices);
	wait_content(r, "10.0.0.2:6443\n10.0.0.1:6443\n");
	arena_init(&a);
	assert_int_equal(servers_list(r->slices, "10.0.0.2", "127.0.0.1:6443", &a, &v), 2);
	assert_string_equal(v[0], "127.0.0.1:6443");
	assert_string_equal(v[1], "10.0.0.1:6443");
	arena_fini(&a);
}

static void test_what_is_known_at_the_start(void **state)
{
	static const char *const given[] = {"10.0.0.9:6443", "10.0.0.1:6443"};
	struct rig *r = *state;
	struct arena a;
	const char **v;
	FILE *f;

	arena_init(&a);
	assert_int_equal(servers_known("/nonexistent/file", given, 2, &a, &v), 2);
	f = fopen(r->file, "we");
	assert_non_null(f);
	fputs("10.0.0.1:6443\n\n10.0.0.5:6443\n10.0.0.6:64", f);
	fclose(f);
	assert_int_equal(servers_known(r->file, given, 2, &a, &v), 3);
	assert_string_equal(v[0], "10.0.0.9:6443");
	assert_string_equal(v[1], "10.0.0.1:6443");
	assert_string_equal(v[2], "10.0.0.5:6443");
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_follows_the_endpoints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_stands_for_this_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_known_at_the_start, setup, teardown),
	};
	return cmocka_run_group_tests_name("servers", tests, NULL, NULL);
}
