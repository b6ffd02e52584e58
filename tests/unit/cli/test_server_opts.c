/* The flags of a server and an agent: defaults, limits of numbers, what webhooks may be told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "cli/server_opts.h"

/* What a command line says, or the error's text. */
static const char *given(const struct opt *rows, struct server_opts *o, const char *flag, const char *value, struct err *e)
{
	char *argv[] = {(char *)(uintptr_t)flag, (char *)(uintptr_t)value, NULL};
	struct opt_args args;

	*o = server_opts_default();
	*e = (struct err)ERR_INIT;
	if (opts_parse(rows, o, NULL, NULL, value ? 2 : flag ? 1 : 0, argv, &args, e) < 0)
		return e->text;
	opt_args_fini(&args);
	server_opts_check_numbers(o, e);
	return e->text;
}

static void test_defaults(void **state)
{
	struct server_opts o;
	struct err e;

	(void)state;
	assert_string_equal(given(server_rows, &o, NULL, NULL, &e), "");
	assert_string_equal(o.data_dir, "/var/lib/kontiki");
	assert_int_equal(o.port, 6443);
	assert_int_equal(o.peer_port, 2380);
	assert_string_equal(given(agent_rows, &o, "--server", "https://10.0.0.1:6443", &e), "");
	assert_int_equal(o.servers.n, 1);
	server_opts_fini(&o);
	/* An agent has no store, and says so. */
	assert_true(strlen(given(agent_rows, &o, "--peer-port", "1", &e)) > 0);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *flag, *value, *error;
	} rows[] = {
			{"--secure-port", "65535", ""},
			{"--secure-port", "65536", "--secure-port 65536: must be from 1 to 65535"},
			{"--secure-port", "-1", "--secure-port -1: must be from 1 to 65535"},
			{"--election-timeout", "9", "--election-timeout 9: must be from 10 to 60000"},
			{"--election-timeout", "10", ""},
			{"--heartbeat-interval", "30001", "--heartbeat-interval 30001: must be from 1 to 30000"},
			{"--history", "604801", "--history 604801: must be from 1 to 604800"},
			{"--voters", "17", "--voters 17: must be from 1 to 16"},
			{"--dead-after", "86400", ""},
			{"--snapshot-keep", "10001", "--snapshot-keep 10001: must be from 1 to 10000"},
	};
	struct server_opts o;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(given(server_rows, &o, rows[i].flag, rows[i].value, &e), rows[i].error);
}

static void test_hooks(void **state)
{
	struct server_opts o = server_opts_default();
	struct apiserver_cfg cfg = {.token_hook_ttl_ms = 7};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(server_opts_hooks(&o, &cfg, &e), 0);
	assert_int_equal(cfg.token_hook_ttl_ms, 7);
	o.token_hook_ttl = "1m30s";
	o.authz_hook_yes = "1us";
	o.authz_hook_no = "0";
	o.token_hook_version = "v1";
	assert_int_equal(server_opts_hooks(&o, &cfg, &e), 0);
	assert_int_equal(cfg.token_hook_ttl_ms, 90000);
	/* 0 is the default of who uses it: the shortest instead. */
	assert_int_equal(cfg.authz_hook_yes_ms, 1);
	assert_int_equal(cfg.authz_hook_no_ms, 1);
	o.authz_hook_no = "-1s";
	assert_int_equal(server_opts_hooks(&o, &cfg, &e), -ERR_BAD_REQUEST);
	assert_string_equal(e.text, "--authorization-webhook-cache-unauthorized-ttl \"-1s\": give a duration such as 2m");
	o.authz_hook_no = NULL;
	o.authz_hook_version = "v1beta1";
	assert_int_equal(server_opts_hooks(&o, &cfg, &e), -ERR_BAD_REQUEST);
	assert_string_equal(e.text, "--authorization-webhook-version v1beta1: only v1 is spoken");
}

/* What a node does about its disk and memory. */
static void test_node_limits(void **state)
{
	static const struct {
		const char *flag, *value, *error;
	} rows[] = {
			{NULL, NULL, ""},
			{"--eviction-hard", "memory.available<1Gi", ""},
			{"--eviction-hard", "memory<1Gi", "--eviction-hard: unsupported eviction signal memory"},
			{"--image-gc-high-threshold", "101", "--image-gc-high-threshold 101, --image-gc-low-threshold 80: must be from 0 to 100"},
			{"--image-gc-high-threshold", "4294967381", "--image-gc-high-threshold 4294967381, --image-gc-low-threshold 80: must be from 0 to 100"},
			{"--image-gc-low-threshold", "85", "--image-gc-low-threshold 85: must be less than --image-gc-high-threshold 85"},
			{"--minimum-image-ttl-duration", "2", "--minimum-image-ttl-duration \"2\": give a duration such as 2m"},
			{"--eviction-soft", "pid.available<5", "--eviction-soft-grace-period: must be given for the soft eviction threshold pid.available"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kubelet_limits limits;
		struct server_opts o;
		struct err e;

		assert_string_equal(given(agent_rows, &o, rows[i].flag, rows[i].value, &e), "");
		kubelet_opts_read(&o.kubelet, &limits, &e);
		assert_string_equal(e.text, rows[i].error);
		if (e.code)
			continue;
		assert_int_equal(limits.image_gc.high_percent, 85);
		assert_int_equal(limits.image_gc.min_age_ms, 120000);
		assert_int_equal(limits.eviction.n, rows[i].flag ? 1 : 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_defaults),
			cmocka_unit_test(test_node_limits),
			cmocka_unit_test(test_numbers),
			cmocka_unit_test(test_hooks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
