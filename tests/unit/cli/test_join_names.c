/* Which names and addresses a joining node may have: rows of requests and answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/join_names.h"
#include "raft/kv.h"

static const struct kv_member servers[] = {
	{.name = "one", .addr = "10.0.0.1:2380", .url = "https://10.0.0.1:6443"},
	{.name = "two", .addr = "[fd00::2]:2380", .url = "https://api.example:6443"},
};

static void test_rows(void **state _unused_)
{
	static const struct {
		const char *name, *addr, *remote;
		int code;
	} rows[] = {
		{"node-1", "10.0.0.9", "10.0.0.9:1234", 0},
		{"node-1", "10.0.0.9", "192.168.7.7:1234", 0}, /* behind a balancer */
		{"node-1", "fd00::9", "[fd00::9]:1234", 0},
		{"", "10.0.0.9", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"node-1", "", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"Node 1", "10.0.0.9", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"node-1", "somewhere", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"node-1", "0.0.0.0", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"node-1", "224.0.0.1", "10.0.0.9:1", ERR_BAD_REQUEST},
		{"node-1", "::", "10.0.0.9:1", ERR_BAD_REQUEST},
		/* The API server's names */
		{"kubernetes", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"kubernetes.default.svc", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"localhost", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"x.localhost", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"10.96.0.1", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "10.96.0.1", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "::ffff:10.96.0.1", "10.0.0.9:1", ERR_FORBIDDEN},
		/* Loopback is for whoever is there. */
		{"node-1", "127.0.0.1", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "::1", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "127.0.0.1", "127.0.0.1:1", 0},
		/* A server's name and address: from there alone. */
		{"one", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "10.0.0.1", "10.0.0.9:1", ERR_FORBIDDEN},
		{"node-1", "fd00::2", "10.0.0.1:1", ERR_FORBIDDEN},
		{"api.example", "10.0.0.9", "10.0.0.9:1", ERR_FORBIDDEN},
		{"one", "10.0.0.1", "10.0.0.1:1", 0},
		{"node-1", "10.0.0.1", "127.0.0.1:1", 0},
		{"two", "fd00::2", "[fd00::2]:1", 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct join_names q = {.name = rows[i].name, .addr = rows[i].addr, .remote = rows[i].remote, .service_ip = "10.96.0.1",
				.servers = servers, .n_servers = ARRAY_LEN(servers)};
		struct err e = ERR_INIT;
		int rc = join_names_check(&q, &e);

		if (rc != -rows[i].code)
			fail_msg("%s %s from %s: %d (%s)", q.name, q.addr, q.remote, rc, e.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
