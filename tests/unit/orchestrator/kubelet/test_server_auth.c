/* What a request to the kubelet's port asks for, in the words of authorization. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/server-priv.h"

static void test_attributes(void **state)
{
	static const struct {
		const char *method, *path, *verb, *sub;
	} rows[] = {
		{"GET", "/metrics", "get", "metrics"},
		{"GET", "/metrics/cadvisor", "get", "metrics"},
		{"GET", "/metricsx", "get", "proxy"},
		{"GET", "/stats/summary", "get", "stats"},
		{"GET", "/pods", "get", "pods"},
		{"GET", "/containerLogs/default/p/c", "get", "proxy"},
		{"GET", "/", "get", "proxy"},
		{"GET", "//metrics", "get", "proxy"},
		{"PUT", "/x", "update", "proxy"},
		{"DELETE", "/x", "delete", "proxy"},
		/* Who may read may not run programs, however they are asked for. */
		{"POST", "/exec/default/p/c", "create", "proxy"},
		{"GET", "/exec/default/p/c", "create", "proxy"},
		{"GET", "/attach/default/p/c", "create", "proxy"},
		{"GET", "/portForward/default/p", "create", "proxy"},
		{"GET", "/run/default/p/c", "create", "proxy"},
		{"HEAD", "/exec/default/p/c", "create", "proxy"},
		{"GET", "/runningpods/", "get", "proxy"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(server_auth_verb(str_from(rows[i].method), str_from(rows[i].path)), rows[i].verb);
		assert_string_equal(server_auth_subresource(str_from(rows[i].path)), rows[i].sub);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
