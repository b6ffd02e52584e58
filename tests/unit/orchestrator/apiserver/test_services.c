/* Services: what they are given, what they keep, and what goes with a change of their type, as upstream does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define SVC "/api/v1/namespaces/default/services"

static struct json *make(const char *name, const char *spec, int want)
{
	return rig_call("POST", SVC, quoted(arena_printf(&rig_arena, "{'metadata':{'name':'%s'},'spec':{%s}}", name, spec)), want);
}

static struct json *change(const char *name, const char *spec, int want)
{
	return patch(arena_printf(&rig_arena, SVC "/%s", name), MERGE,
			quoted(arena_printf(&rig_arena, "{'spec':{%s}}", spec)), want);
}

static int64_t port_at(const struct json *service, size_t i)
{
	return json_i64_or(json_getc(json_at(json_getp(service, "spec.ports"), i), "nodePort"), 0);
}

static int64_t health_port(const struct json *service)
{
	return json_i64_or(json_getp(service, "spec.healthCheckNodePort"), 0);
}

/* The rows that are refused are of one name: none of them may have left anything behind. */
static void test_refused(void **state)
{
	static const char *const rows[][2] = {
			{"'ports':[{'port':1}],'clusterIP':'foo'",
					"spec.clusterIPs[0]: Invalid value: \"foo\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"},
			{"'ports':[{'port':1}],'clusterIP':'fd00::1'",
					"spec.clusterIPs[0]: Invalid value: []string{\"fd00::1\"}: IPv6 is not configured on this cluster"},
			{"'ports':[{'port':1}],'clusterIPs':['10.96.0.99']",
					"spec.clusterIPs: Invalid value: []string{\"10.96.0.99\"}: must be empty when `clusterIP` is not specified"},
			{"'ports':[{'port':1}],'ipFamilies':['IPv6']", "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"},
			{"'ports':[{'port':1}],'ipFamilies':['IPv4','IPv6']",
					"spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when "
					"multiple IP families are specified"},
			{"'ports':[{'port':1}],'ipFamilyPolicy':'PreferDualStack','ipFamilies':['IPv4','IPv6']",
					"spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster"},
			{"'ports':[{'port':1}],'ipFamilyPolicy':'RequireDualStack'",
					"spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack "
					"services"},
			{"'type':'ExternalName','externalName':'a.b','clusterIP':'10.96.0.88'",
					"spec.clusterIPs: Forbidden: may not be set for ExternalName services"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		is(make("r", rows[i][0], 422), "message", arena_printf(&rig_arena, "Service \"r\" is invalid: %s", rows[i][1]));
	is(make("r", "'ports':[{'port':1}],'ipFamilyPolicy':'PreferDualStack'", 201), "spec.ipFamilyPolicy", "PreferDualStack");
	is(change("r", "'selector':{'a':'b'}", 200), "spec.selector.a", "b");
}

/* One port for TCP and UDP has one number, unless it is asked otherwise. */
static void test_ports(void **state)
{
	struct json *o;
	int64_t port;

	(void)state;
	o = make("two", "'type':'NodePort','ports':[{'name':'t','port':53},{'name':'u','port':53,'protocol':'UDP'},{'name':'o','port':54}]", 201);
	port = port_at(o, 0);
	assert_in_range(port, 30000, 32767);
	assert_int_equal(port_at(o, 1), port);
	assert_int_not_equal(port_at(o, 2), port);
	o = make("late", "'type':'NodePort','ports':[{'name':'t','port':53},{'name':'u','port':53,'protocol':'UDP','nodePort':30777}]", 201);
	assert_int_equal(port_at(o, 0), 30777);
	/* A port keeps its number by its name, whatever else of it changes. */
	o = change("two", "'ports':[{'name':'o','port':99},{'name':'t','port':98,'protocol':'SCTP'}]", 200);
	assert_int_equal(port_at(o, 1), port);
	/* Which was given up with the last port that had it. */
	o = change("two", "'ports':[{'name':'x','port':1}]", 200);
	assert_int_not_equal(port_at(o, 0), port);
	o = make("next", quoted(arena_printf(&rig_arena, "'type':'NodePort','ports':[{'port':1,'nodePort':%lld}]", (long long)port)), 201);
	assert_int_equal(port_at(o, 0), port);
}

static void test_health_port(void **state)
{
	struct json *o;
	int64_t port;

	(void)state;
	o = make("lb", "'type':'LoadBalancer','externalTrafficPolicy':'Local','ports':[{'port':1}]", 201);
	port = health_port(o);
	assert_in_range(port, 30000, 32767);
	assert_int_not_equal(port, port_at(o, 0));
	/* It is nobody else's, as a port or for the same. */
	is(make("other", quoted(arena_printf(&rig_arena, "'type':'NodePort','ports':[{'port':1,'nodePort':%lld}]", (long long)port)), 422),
			"message", arena_printf(&rig_arena, "Service \"other\" is invalid: spec.ports[0].nodePort: Invalid value: %lld: provided "
							    "port is already allocated", (long long)port));
	is(make("other", quoted(arena_printf(&rig_arena, "'type':'LoadBalancer','externalTrafficPolicy':'Local','healthCheckNodePort':%lld,"
							 "'ports':[{'port':1}]", (long long)port)), 500),
			"message", arena_printf(&rig_arena, "Internal error occurred: failed to allocate requested HealthCheck NodePort %lld: "
							    "provided port is already allocated", (long long)port));
	is(change("lb", "'healthCheckNodePort':30999", 422), "message",
			"Service \"lb\" is invalid: spec.healthCheckNodePort: Forbidden: field is immutable");
	/* Who sends it again without has it still. */
	o = rig_call("PUT", SVC "/lb", quoted("{'metadata':{'name':'lb'},'spec':{'type':'LoadBalancer','externalTrafficPolicy':'Local',"
					      "'ports':[{'port':2}]}}"), 200);
	assert_int_equal(health_port(o), port);
	assert_int_equal(health_port(change("lb", "'externalTrafficPolicy':'Cluster'", 200)), 0);
	o = make("other", quoted(arena_printf(&rig_arena, "'type':'NodePort','ports':[{'port':1,'nodePort':%lld}]", (long long)port)), 201);
	assert_int_equal(port_at(o, 0), port);
	/* With a Service its ports are free again. */
	port = health_port(change("lb", "'externalTrafficPolicy':'Local'", 200));
	assert_in_range(port, 30000, 32767);
	rig_call("DELETE", SVC "/lb", NULL, 200);
	make("after", quoted(arena_printf(&rig_arena, "'type':'NodePort','ports':[{'port':1,'nodePort':%lld}]", (long long)port)), 201);
}

static void test_types(void **state)
{
	struct json *o;
	const char *ip;

	(void)state;
	o = make("t", "'type':'LoadBalancer','externalTrafficPolicy':'Local','loadBalancerClass':'a/b','ports':[{'port':1}]", 201);
	ip = arena_cstr(&rig_arena, json_strp(o, "spec.clusterIP"));
	o = change("t", "'type':'ClusterIP'", 200);
	is(o, "spec.externalTrafficPolicy", "");
	is(o, "spec.loadBalancerClass", "");
	assert_null(json_getp(o, "spec.allocateLoadBalancerNodePorts"));
	assert_int_equal(health_port(o), 0);
	assert_int_equal(port_at(o, 0), 0);
	is(o, "spec.clusterIP", ip);
	/* What the client changes itself is not taken back for it. */
	is(change("t", "'externalTrafficPolicy':'Local'", 422), "message",
			"Service \"t\" is invalid: spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible "
			"services");
	is(change("t", "'externalIPs':['1.2.3.4']", 200), "spec.externalTrafficPolicy", "Cluster");
	is(change("t", "'externalIPs':null", 200), "spec.externalTrafficPolicy", "");
	o = change("t", "'type':'ExternalName','externalName':'a.b'", 200);
	assert_null(json_getp(o, "spec.clusterIP"));
	assert_null(json_getp(o, "spec.clusterIPs"));
	assert_null(json_getp(o, "spec.ipFamilies"));
	assert_null(json_getp(o, "spec.ipFamilyPolicy"));
	/* The address is free. */
	make("heir", quoted(arena_printf(&rig_arena, "'ports':[{'port':1}],'clusterIP':'%s'", ip)), 201);
	o = change("t", "'type':'ClusterIP'", 200);
	assert_string_not_equal(arena_cstr(&rig_arena, json_strp(o, "spec.clusterIP")), ip);
	assert_true(json_strp(o, "spec.clusterIP").n > 0);
	is(change("t", "'clusterIP':'None'", 422), "message",
			"Service \"t\" is invalid: spec.clusterIPs[0]: Invalid value: []string{\"None\"}: may not change once set");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_refused),
			cmocka_unit_test(test_ports),
			cmocka_unit_test(test_health_port),
			cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
