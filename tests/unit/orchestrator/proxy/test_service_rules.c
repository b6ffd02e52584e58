/* Services and EndpointSlices to a ruleset. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/proxy/host_ports.h"
#include "orchestrator/proxy/service_rules.h"
#include "proto/pb.h"

static struct arena arena;

static Core__Service *service(const char *name, const char *type, const char *ip)
{
	Core__Service *s = pb_new_of(&arena, core__service, Core__Service);
	Meta__ObjectMeta *m = pb_sub(&arena, s, "metadata");
	Core__ServiceSpec *spec = pb_sub(&arena, s, "spec");

	m->name = (char *)name;
	m->namespace_ = "default";
	spec->type = (char *)type;
	spec->cluster_ip = (char *)ip;
	return s;
}

static Core__ServicePort *port(Core__Service *s, const char *name, int number, int node_port)
{
	Core__ServicePort *p = pb_add(&arena, s->spec, "ports");

	p->name = (char *)name;
	p->has_port = true;
	p->port = number;
	p->has_node_port = node_port != 0;
	p->node_port = node_port;
	return p;
}

static Discovery__EndpointSlice *slice(const char *service_name, const char *port_name, int number)
{
	Discovery__EndpointSlice *s = pb_new_of(&arena, discovery__endpoint_slice, Discovery__EndpointSlice);
	Meta__ObjectMeta *m = pb_sub(&arena, s, "metadata");
	Discovery__EndpointPort *p = pb_add(&arena, s, "ports");

	m->name = "slice";
	m->namespace_ = "default";
	pb_map_set(&arena, m, "labels", SERVICE_NAME_LABEL, service_name);
	s->address_type = "IPv4";
	p->name = (char *)port_name;
	p->protocol = "TCP";
	p->has_port = true;
	p->port = number;
	return s;
}

static Discovery__Endpoint *endpoint(Discovery__EndpointSlice *s, const char *addr, const char *node)
{
	Discovery__Endpoint *e = pb_add(&arena, s, "endpoints");

	pb_add_str(&arena, e, "addresses", addr);
	e->node_name = (char *)node;
	return e;
}

static void conditions(Discovery__Endpoint *e, bool ready, bool serving, bool terminating)
{
	Discovery__EndpointConditions *c = pb_sub(&arena, e, "conditions");

	c->has_ready = c->has_serving = c->has_terminating = true;
	c->ready = ready;
	c->serving = serving;
	c->terminating = terminating;
}

static struct ruleset *compile(Core__Service **services, size_t n, Discovery__EndpointSlice **slices, size_t n_slices)
{
	struct service_rules_input in = {
		.node_name = "node-1",
		.pods = {0x0af40000, 16},
		.service_net = {0x0a600000, 12},
		.services = (const Core__Service *const *)services,
		.n_services = n,
		.slices = (const Discovery__EndpointSlice *const *)slices,
		.n_slices = n_slices,
	};

	return service_rules(&in);
}

static void test_ports_and_slices(void **state)
{
	Core__Service *web = service("web", "NodePort", "10.96.0.7");
	Discovery__EndpointSlice *http = slice("web", "http", 8080), *more = slice("web", "http", 8080);
	Discovery__EndpointSlice *other = slice("other", "http", 1), *six = slice("web", "http", 8080);
	struct ruleset *rs;

	port(web, "http", 80, 30080);
	port(web, "admin", 81, 0);
	endpoint(http, "10.244.2.3", "node-2");
	endpoint(http, "10.244.1.2", "node-1");
	endpoint(more, "10.244.2.3", "node-2"); /* twice, as while slices are rearranged */
	endpoint(other, "10.244.9.9", "node-1");
	six->address_type = "IPv6";
	endpoint(six, "fd00::1", "node-1");
	rs = compile((Core__Service *[]){web}, 1, (Discovery__EndpointSlice *[]){http, more, other, six}, 4);
	assert_int_equal(rs->n_ports, 2);
	assert_string_equal(rs->ports[0].name, "default/web:admin");
	assert_int_equal(rs->ports[0].n_endpoints, 0);
	assert_string_equal(rs->ports[1].name, "default/web:http");
	assert_int_equal(rs->ports[1].vip, 0x0a600007);
	assert_int_equal(rs->ports[1].node_port, 30080);
	assert_int_equal(rs->ports[1].n_endpoints, 2);
	assert_int_equal(rs->ports[1].endpoints[0].addr, 0x0af40102);
	assert_int_equal(rs->ports[1].endpoints[0].port, 8080);
	assert_true(rs->ports[1].endpoints[0].local);
	assert_false(rs->ports[1].endpoints[1].local);
	ruleset_free(rs);
}

static void test_readiness(void **state)
{
	Core__Service *web = service("web", "ClusterIP", "10.96.0.7");
	Discovery__EndpointSlice *s = slice("web", NULL, 80);
	Discovery__Endpoint *a, *b, *c;
	struct ruleset *rs;

	port(web, NULL, 80, 0);
	a = endpoint(s, "10.244.1.1", "node-1");
	b = endpoint(s, "10.244.1.2", "node-1");
	c = endpoint(s, "10.244.1.3", "node-1");
	conditions(a, true, true, false);
	conditions(b, false, true, true);
	conditions(c, false, false, false);
	rs = compile(&web, 1, &s, 1);
	assert_int_equal(rs->ports[0].n_endpoints, 1);
	assert_int_equal(rs->ports[0].endpoints[0].addr, 0x0af40101);
	ruleset_free(rs);
	/* None is ready: the one that drains is better than none. */
	a->conditions->ready = false;
	a->conditions->serving = false;
	rs = compile(&web, 1, &s, 1);
	assert_int_equal(rs->ports[0].n_endpoints, 1);
	assert_int_equal(rs->ports[0].endpoints[0].addr, 0x0af40102);
	ruleset_free(rs);
}

static void test_settings(void **state)
{
	Core__Service *s = service("web", "LoadBalancer", "10.96.0.7");
	Core__LoadBalancerStatus *lb = pb_sub(&arena, pb_sub(&arena, s, "status"), "load_balancer");
	Core__LoadBalancerIngress *in = pb_add(&arena, lb, "ingress");
	struct ruleset *rs;

	port(s, "", 53, 30053)->protocol = "UDP";
	in->ip = "192.0.2.9";
	pb_add_str(&arena, s->spec, "external_ips", "192.0.2.1");
	s->spec->session_affinity = "ClientIP";
	s->spec->external_traffic_policy = "Local";
	s->spec->internal_traffic_policy = "Cluster";
	rs = compile(&s, 1, NULL, 0);
	assert_int_equal(rs->ports[0].proto, IPPROTO_UDP);
	assert_int_equal(rs->ports[0].n_externals, 2);
	assert_int_equal(rs->ports[0].affinity_s, 10800);
	assert_true(rs->ports[0].external_local);
	assert_false(rs->ports[0].internal_local);
	ruleset_free(rs);
}

static void test_without_rules(void **state)
{
	Core__Service *v[] = {
		service("headless", "ClusterIP", "None"), service("external", "ExternalName", "10.96.0.8"),
		service("new", "ClusterIP", ""), service("foreign", "ClusterIP", "10.96.0.9"),
	};
	struct ruleset *rs;

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		port(v[i], "", 80, 0);
	pb_map_set(&arena, v[3]->metadata, "labels", SERVICE_PROXY_LABEL, "mine");
	rs = compile(v, ARRAY_LEN(v), NULL, 0);
	assert_int_equal(rs->n_ports, 0);
	ruleset_free(rs);
}

static Core__Pod *pod(const char *name, const char *ip, int host_port, const char *host_ip)
{
	Core__Pod *p = pb_new_of(&arena, core__pod, Core__Pod);
	Meta__ObjectMeta *m = pb_sub(&arena, p, "metadata");
	Core__Container *c = pb_add(&arena, pb_sub(&arena, p, "spec"), "containers");
	Core__ContainerPort *k = pb_add(&arena, c, "ports");

	m->name = (char *)name;
	m->namespace_ = "default";
	k->has_container_port = k->has_host_port = true;
	k->container_port = 80;
	k->host_port = host_port;
	k->host_ip = (char *)host_ip;
	((Core__PodStatus *)pb_sub(&arena, p, "status"))->pod_ip = (char *)ip;
	return p;
}

static void test_host_ports(void **state)
{
	Core__Pod *v[] = {
		pod("b", "10.244.1.3", 8080, NULL), pod("a", "10.244.1.2", 8080, NULL), pod("udp", "10.244.1.4", 8080, NULL),
		pod("one", "10.244.1.5", 8080, "127.0.0.1"), pod("none", "10.244.1.6", 0, NULL), pod("new", NULL, 8081, NULL),
		pod("host", "10.0.0.1", 8082, NULL), pod("ended", "10.244.1.7", 8083, NULL), pod("six", "10.244.1.8", 8084, "::1"),
	};
	struct ruleset *rs;

	v[2]->spec->containers[0]->ports[0]->protocol = "UDP";
	v[6]->spec->has_host_network = v[6]->spec->host_network = true;
	v[7]->status->phase = "Succeeded";
	assert_true(host_ports_any(v[0]));
	assert_false(host_ports_any(v[4]));
	assert_false(host_ports_any(v[6]));
	assert_false(host_ports_any(NULL));
	rs = compile(NULL, 0, NULL, 0);
	host_ports_add(rs, (const Core__Pod *const *)v, ARRAY_LEN(v));
	assert_int_equal(rs->n_host_ports, 3);
	/* The narrower one first; of two that want the same the first by name. */
	assert_string_equal(rs->host_ports[0].name, "default/one");
	assert_int_equal(rs->host_ports[0].host_addr, 0x7f000001);
	assert_string_equal(rs->host_ports[1].name, "default/a");
	assert_int_equal(rs->host_ports[1].addr, 0x0af40102);
	assert_int_equal(rs->host_ports[1].port, 8080);
	assert_int_equal(rs->host_ports[1].target, 80);
	assert_int_equal(rs->host_ports[2].proto, IPPROTO_UDP);
	ruleset_free(rs);
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports_and_slices),
		cmocka_unit_test(test_readiness),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_without_rules),
		cmocka_unit_test(test_host_ports),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
