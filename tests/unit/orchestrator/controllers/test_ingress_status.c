/* What an Ingress says about where it is served, against a whole API server with nodes that the test plays (world.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define INGRESSES "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
#define CLASSES "/apis/networking.k8s.io/v1/ingressclasses"

static const char *wanted;

static const char *addresses(const char *name)
{
	const char *all = "";

	JSON_ITEMS (i, json_getp(get(fmt(INGRESSES "/%s", name)), "status.loadBalancer.ingress"))
		all = fmt("%s%s ", all, str(i, "ip"));
	return all;
}

static bool is_said(void)
{
	return strcmp(addresses("i"), wanted) == 0;
}

static void wait_said(const char *text)
{
	wanted = text;
	WAIT(is_said);
}

static void node(const char *name, const char *ip)
{
	add_node(name, "4");
	rig_type("application/merge-patch+json");
	rig_call("PATCH", fmt("/api/v1/nodes/%s/status", name),
			fmt("{\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"x\"},{\"type\":\"InternalIP\",\"address\":\"%s\"}]}}", ip), 200);
}

static void serves(const char *name, const char *what)
{
	merge(fmt("/api/v1/nodes/%s", name), fmt("{\"metadata\":{\"annotations\":{\"kontiki.dev/ingress\":%s}}}", what));
}

static void ingress(const char *name, const char *more)
{
	post(INGRESSES, fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}}", name,
			more));
}

static void test_addresses(void **state)
{
	(void)state;
	node("n1", "10.0.0.2");
	node("n2", "10.0.0.1");
	node("n3", "10.0.0.3");
	post(CLASSES, "{\"metadata\":{\"name\":\"other\"},\"spec\":{\"controller\":\"x.example.com/y\"}}");
	ingress("theirs", "\"ingressClassName\":\"other\",");
	/* Our class is there, and the default one. */
	ingress("i", "");
	assert_string_equal(str(get(INGRESSES "/i"), "spec.ingressClassName"), "kontiki");
	serves("n1", "\"80,443\"");
	wait_said("10.0.0.2 ");
	serves("n2", "\"80,443\"");
	wait_said("10.0.0.1 10.0.0.2 ");
	/* A node that is not ready, or says no more that it serves, is none. */
	rig_type("application/merge-patch+json");
	rig_call("PATCH", "/api/v1/nodes/n1/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}", 200);
	wait_said("10.0.0.1 ");
	serves("n2", "null");
	wait_said("");
	assert_string_equal(addresses("theirs"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, world_start, world_stop);
}
