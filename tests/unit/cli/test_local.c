/* The local cluster's plan on disk, options, keys and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/local.h"
#include "cli/opts.h"
#include "cli/pki.h"
#include "io/x509.h"

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/kt-local-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	return dir_remove(dir, NULL) < 0 ? -1 : 0;
}

struct settings {
	const char *name;
	bool flag, other;
	int64_t n;
	struct opt_list list;
};

static const struct opt rows[] = {
	{"name", 'n', OPT_STR, offsetof(struct settings, name), "NAME", "", "KT_TEST_NAME", NULL},
	{"flag", 'f', OPT_BOOL, offsetof(struct settings, flag), "", "", NULL, NULL},
	{"other", 'o', OPT_BOOL, offsetof(struct settings, other), "", "", NULL, NULL},
	{"count", 'c', OPT_INT, offsetof(struct settings, n), "N", "", NULL, "7"},
	{"item", 'i', OPT_LIST, offsetof(struct settings, list), "X", "", NULL, NULL},
	OPT_END,
};

static int parse(struct settings *s, struct opt_args *args, struct err *e, int argc, ...)
{
	static char *argv[16];
	va_list ap;

	va_start(ap, argc);
	for (int i = 0; i < argc; i++)
		argv[i] = va_arg(ap, char *);
	va_end(ap);
	memset(s, 0, sizeof(*s));
	return opts_parse(rows, s, NULL, NULL, argc, argv, args, e);
}

static void test_opts(void **state)
{
	struct settings s;
	struct opt_args a;
	struct err e = ERR_INIT;

	assert_int_equal(parse(&s, &a, &e, 9, "get", "--name=x", "-fo", "pods", "-i", "a", "-ib", "--", "-n"), 0);
	assert_string_equal(s.name, "x");
	assert_true(s.flag && s.other);
	assert_int_equal(s.list.n, 2);
	assert_string_equal(s.list.v[1], "b");
	assert_int_equal(a.n, 3);
	assert_int_equal(a.n_before_dash, 2);
	assert_string_equal(a.v[2], "-n");
	opt_args_fini(&a);
	opt_list_fini(&s.list);
	/* A bare value, false, and the environment under the command line. */
	setenv("KT_TEST_NAME", "env", 1);
	assert_int_equal(parse(&s, &a, &e, 2, "--count", "--flag=false"), 0);
	assert_string_equal(s.name, "env");
	assert_int_equal(s.n, 7);
	opt_args_fini(&a);
	unsetenv("KT_TEST_NAME");
	assert_true(parse(&s, &a, &e, 1, "--nope") < 0);
	assert_string_equal(e.text, "unknown flag: --nope");
	assert_true(parse(&s, &a, &e, 1, "-x") < 0);
	assert_true(parse(&s, &a, &e, 1, "--name") < 0);
	assert_string_equal(e.text, "flag needs an argument: --name");
	assert_true(parse(&s, &a, &e, 1, "--count=two") < 0);
	assert_true(parse(&s, &a, &e, 1, "--flag=perhaps") < 0);
}

static void test_plan(void **state)
{
	struct ip4_net net = {0x0a4d0000, 24}, small = {0x0a4d0000, 29};
	struct ip4_net two[] = {{0x0a4d0000, 24}, {0x0a4e0000, 24}}, same[] = {{0x0a4d0000, 24}, {0x0a4d0080, 25}};
	struct local l, again;
	struct err e = ERR_INIT;

	assert_int_equal(local_plan(&l, "demo", dir, 3, 2, &net, 1, &e), 0);
	l.port = 6450;
	assert_int_equal(local_save(&l, &e), 0);
	assert_int_equal(local_load(&again, "demo", dir, &e), 0);
	assert_int_equal(again.n_nodes, 5);
	assert_int_equal(again.n_servers, 3);
	assert_int_equal(again.port, 6450);
	assert_memory_equal(l.nodes, again.nodes, sizeof(l.nodes));
	assert_string_equal(local_node(&l, "agent-2", &e)->name, "agent-2");
	assert_null(local_node(&l, "agent-3", &e));
	assert_string_equal(e.text, "cluster \"demo\" has no node \"agent-3\"; it has server-1, server-2, server-3, agent-1, agent-2");
	/* With several subnets the nodes take turns. */
	assert_int_equal(local_plan(&l, "demo", dir, 2, 1, two, 2, &e), 0);
	assert_int_equal(l.nodes[0].addr, 0x0a4d000b);
	assert_int_equal(l.nodes[1].addr, 0x0a4e000c);
	assert_int_equal(local_subnet(&l, l.nodes[1].addr), 1);
	assert_int_equal(local_subnet(&l, l.nodes[2].addr), 0);
	assert_int_equal(local_gateway(&l, 1).addr, 0x0a4e0001);
	assert_int_equal(local_save(&l, &e), 0);
	assert_int_equal(local_load(&again, "demo", dir, &e), 0);
	assert_int_equal(again.n_subnets, 2);
	assert_int_equal(again.subnets[1].addr, two[1].addr);
	assert_true(local_plan(&l, "demo", dir, 2, 1, same, 2, &e) < 0);
	assert_string_equal(e.text, "subnets 10.77.0.0/24 and 10.77.0.128/25 overlap");
	assert_true(local_plan(&l, "demo", dir, 2, 1, two, 0, &e) < 0);
	assert_true(local_plan(&l, "Demo", dir, 3, 0, &net, 1, &e) < 0);
	assert_true(local_plan(&l, "", dir, 3, 0, &net, 1, &e) < 0);
	assert_true(local_plan(&l, "demo", dir, 0, 0, &net, 1, &e) < 0);
	assert_true(local_plan(&l, "demo", dir, 3, 0, &small, 1, &e) < 0);
	/* A damaged file is named, not guessed at. */
	char path[LOCAL_PATH_MAX];
	snprintf(path, sizeof(path), "%s/cluster.conf", dir);
	assert_int_equal(file_put(path, str_from("format 1\nserver oops\n"), 0644, true, &e), 0);
	assert_int_equal(local_load(&again, "demo", dir, &e), -ERR_CORRUPT);
	assert_int_equal(file_put(path, str_from("format 2\n"), 0644, true, &e), 0);
	assert_int_equal(local_load(&again, "demo", dir, &e), -ERR_CORRUPT);
	unlink(path);
	assert_int_equal(local_load(&again, "demo", dir, &e), -ERR_NOT_FOUND);
}

static char *read_pki(const char *pki, const char *name)
{
	char path[LOCAL_PATH_MAX], *text;

	snprintf(path, sizeof(path), "%s/%s", pki, name);
	text = file_read(path, 65536, NULL);
	assert_non_null(text);
	return text;
}

static void test_pki(void **state)
{
	struct pki_node n = {.name = "n1", .addr = "10.0.0.1", .service_ip = "10.96.0.1", .domain = "cluster.local"};
	char pki[LOCAL_PATH_MAX], other[LOCAL_PATH_MAX], *one, *two;
	struct x509_info info;
	struct arena a;
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	snprintf(pki, sizeof(pki), "%s/pki", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(pki_ensure_ca(pki, &e), 0);
	assert_int_equal(pki_ensure_server(pki, &n, &e), 0);
	assert_int_equal(pki_ensure_admin(pki, &e), 0);
	one = read_pki(pki, "apiserver.crt");
	/* What is good stays; another address makes a new one. */
	assert_int_equal(pki_ensure_server(pki, &n, &e), 0);
	two = read_pki(pki, "apiserver.crt");
	assert_string_equal(one, two);
	free(two);
	n.addr = "10.0.0.2";
	assert_int_equal(pki_ensure_server(pki, &n, &e), 0);
	two = read_pki(pki, "apiserver.crt");
	assert_string_not_equal(one, two);
	arena_init(&a);
	assert_int_equal(x509_info_from_pem(str_from(two), &a, &info, &e), 0);
	assert_true(str_eqc(info.cn, "kube-apiserver"));
	arena_fini(&a);
	free(one);
	free(two);
	/* A further server has the same CA, and its leaves are good for it. */
	assert_int_equal(pki_copy_ca(pki, other, &e), 0);
	assert_int_equal(pki_ensure_server(other, &n, &e), 0);
	assert_int_equal(pki_kubeconfig(pki, "admin", "demo", "https://127.0.0.1:6443", &b, &e), 0);
	assert_non_null(strstr(b.p, "server: https://127.0.0.1:6443\n"));
	assert_non_null(strstr(b.p, "client-key-data: "));
	buf_fini(&b);
	/* Half a CA is an error that says so. */
	snprintf(other, sizeof(other), "%s/pki/ca.key", dir);
	unlink(other);
	assert_int_equal(pki_ensure_ca(pki, &e), -ERR_FAILED_PRECONDITION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_opts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pki, setup, teardown),
	};
	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
