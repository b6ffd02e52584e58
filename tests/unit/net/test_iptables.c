/* Rulesets as iptables-restore input: what the text says, and, where this process may make network namespaces, that iptables takes it
 * and that nothing is left over after a change. */
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "net/iptables.h"

static const struct ruleset_endpoint two[] = {
	{0x0af40102, 80, true},  /* 10.244.1.2 */
	{0x0af40203, 80, false}, /* 10.244.2.3 */
};
static const uint32_t outside[] = {0xc0000201}; /* 192.0.2.1 */

static const struct ruleset_port web = {
	.name = "default/web:http", .proto = IPPROTO_TCP, .port = 80, .vip = 0x0a600005, .endpoints = two, .n_endpoints = 2,
};
static const struct ruleset_port full[] = {
	{.name = "default/dns:", .proto = IPPROTO_UDP, .port = 53, .vip = 0x0a60000a, .endpoints = two, .n_endpoints = 1},
	{.name = "default/empty:", .proto = IPPROTO_TCP, .port = 81, .vip = 0x0a600006, .node_port = 30081},
	{.name = "default/sticky:", .proto = IPPROTO_TCP, .port = 82, .vip = 0x0a600007, .endpoints = two, .n_endpoints = 2,
			.affinity_s = 10800, .node_port = 30082, .externals = outside, .n_externals = 1},
	{.name = "default/local:", .proto = IPPROTO_TCP, .port = 83, .vip = 0x0a600008, .endpoints = two, .n_endpoints = 2,
			.external_local = true, .internal_local = true, .node_port = 30083},
	{.name = "default/far:", .proto = IPPROTO_TCP, .port = 84, .vip = 0x0a600009, .endpoints = two + 1, .n_endpoints = 1,
			.external_local = true, .internal_local = true, .node_port = 30084},
};

static struct ruleset make(const struct ruleset_port *ports, size_t n)
{
	return (struct ruleset){.pods = {0x0af40000, 16}, .services = {0x0a600000, 12}, .ports = ports, .n_ports = n};
}

static char *render(const struct ruleset_port *ports, size_t n, struct iptables_have *have)
{
	struct ruleset rs = make(ports, n);
	struct buf b = BUF_INIT;

	iptables_render(&rs, have, &b);
	return buf_take(&b, NULL);
}

static unsigned count(const char *text, const char *needle)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, needle)) != NULL; p++)
		n++;
	return n;
}

static void test_text(void **state)
{
	struct iptables_have have;
	char *t;

	iptables_have_init(&have);
	t = render(&web, 1, &have);
	assert_non_null(strstr(t, "-d 10.96.0.5/32 -p tcp -m tcp --dport 80 -m comment --comment \"default/web:http\" -j KONTIKI-SVC-"));
	assert_int_equal(count(t, "--probability 0.5000000000"), 1);
	assert_int_equal(count(t, "-j DNAT --to-destination 10.244.1.2:80"), 1);
	assert_int_equal(count(t, "-j DNAT --to-destination 10.244.2.3:80"), 1);
	/* Hairpin: a pod that reaches itself. */
	assert_int_equal(count(t, "-s 10.244.1.2/32 -j KONTIKI-MARK"), 1);
	assert_int_equal(count(t, "-I "), 6);
	free(t);
	/* Nothing changed: no jump is inserted again, no chain is deleted. */
	t = render(&web, 1, &have);
	assert_int_equal(count(t, "-I "), 0);
	assert_int_equal(count(t, "-X "), 0);
	free(t);
	/* The service is gone, and so are its chains: SVC and two SEP. */
	t = render(NULL, 0, &have);
	assert_int_equal(count(t, "-X "), 3);
	free(t);
	iptables_have_fini(&have);
}

static void test_policies(void **state)
{
	struct iptables_have have;
	char *t;

	iptables_have_init(&have);
	t = render(full, ARRAY_LEN(full), &have);
	assert_int_equal(count(t, "--rcheck --seconds 10800 --reap"), 2);
	assert_int_equal(count(t, "--set -p tcp"), 2);
	assert_int_equal(count(t, "-d 192.0.2.1/32 -p tcp -m tcp --dport 82"), 1);
	assert_int_equal(count(t, "-p tcp -m tcp --dport 30082"), 1);
	/* Only remote endpoints and an internal policy of Local: not translated, so refused. */
	assert_int_equal(count(t, "-A KONTIKI-SERVICES -d 10.96.0.9/32"), 0);
	assert_int_equal(count(t, "-A KONTIKI-SERVICES -d 10.96.0.8/32 -p tcp -m tcp --dport 83 -m comment --comment \"default/local:\" -j KONTIKI-LOC-"), 1);
	assert_non_null(strstr(t, "-A KONTIKI-FILTER -d 10.96.0.0/12 -p tcp -m tcp -j REJECT --reject-with tcp-reset"));
	free(t);
	iptables_have_fini(&have);
}

static const struct ruleset_host_port host_ports[] = {
	{.name = "default/one", .proto = IPPROTO_TCP, .port = 8080, .host_addr = 0x7f000001, .addr = 0x0af40102, .target = 80},
	{.name = "default/all", .proto = IPPROTO_UDP, .port = 8053, .addr = 0x0af40103, .target = 53},
};

static void test_host_ports(void **state)
{
	struct ruleset rs = make(NULL, 0), none = make(NULL, 0);
	struct iptables_have have;
	struct ruleset_stale *stale;
	struct buf b = BUF_INIT;
	struct arena arena;

	rs.host_ports = host_ports;
	rs.n_host_ports = 2;
	iptables_have_init(&have);
	iptables_render(&rs, &have, &b);
	assert_int_equal(count(b.p, "-A KONTIKI-HOSTPORTS -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -m comment --comment \"default/one\" "
				    "-j DNAT --to-destination 10.244.1.2:80\n"), 1);
	assert_int_equal(count(b.p, "-A KONTIKI-HOSTPORTS -p udp -m udp --dport 8053 -m comment --comment \"default/all\" "
				    "-j DNAT --to-destination 10.244.1.3:53\n"), 1);
	assert_int_equal(count(b.p, "-A KONTIKI-HOSTPORTS -s 10.244.1.3/32 -p udp -m udp --dport 8053 -j KONTIKI-MARK\n"), 1);
	/* A pod that is gone leaves no UDP flow to it behind. */
	arena_init(&arena);
	assert_int_equal(ruleset_stale(&rs, &rs, &arena, &stale), 0);
	assert_int_equal(ruleset_stale(&rs, &none, &arena, &stale), 1);
	assert_int_equal(stale[0].vip, 0);
	assert_int_equal(stale[0].port, 8053);
	assert_int_equal(stale[0].endpoint, 0x0af40103);
	arena_fini(&arena);
	buf_fini(&b);
	iptables_have_fini(&have);
}

static void test_stale(void **state)
{
	struct ruleset_port before[] = {full[0]}, after[] = {full[0]};
	struct ruleset a = make(before, 1), b = make(after, 1);
	struct ruleset_stale *s;
	struct arena arena;

	arena_init(&arena);
	assert_int_equal(ruleset_stale(&a, &b, &arena, &s), 0);
	/* The endpoint moves. */
	after[0].endpoints = two + 1;
	assert_int_equal(ruleset_stale(&a, &b, &arena, &s), 1);
	assert_int_equal(s[0].endpoint, 0x0af40102);
	assert_int_equal(s[0].vip, 0x0a60000a);
	/* The first endpoint comes. */
	before[0].n_endpoints = 0;
	assert_int_equal(ruleset_stale(&a, &b, &arena, &s), 1);
	assert_int_equal(s[0].endpoint, 0);
	/* The service goes. */
	b.n_ports = 0;
	before[0].n_endpoints = 1;
	assert_int_equal(ruleset_stale(&a, &b, &arena, &s), 1);
	/* TCP ends by itself. */
	before[0].proto = IPPROTO_TCP;
	assert_int_equal(ruleset_stale(&a, &b, &arena, &s), 0);
	arena_fini(&arena);
}

static int restore(const char *text)
{
	FILE *f = popen("iptables-restore --noflush", "w");

	assert_non_null(f);
	fputs(text, f);
	return pclose(f);
}

static void save(struct buf *b)
{
	FILE *f = popen("iptables-save", "r");
	char block[4096];
	size_t n;

	assert_non_null(f);
	buf_clear(b);
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_add(b, block, n);
	pclose(f);
}

static void test_apply(void **state)
{
	struct iptables_have have, seen;
	struct ruleset all;
	struct buf b = BUF_INIT, removal = BUF_INIT;
	char *t;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 || system("iptables-save >/dev/null 2>&1") != 0)
		skip();
	iptables_have_init(&have);
	all = make(full, ARRAY_LEN(full));
	all.host_ports = host_ports;
	all.n_host_ports = 2;
	iptables_render(&all, &have, &b);
	assert_int_equal(restore(b.p), 0);
	/* What iptables-save says is what we think is there. */
	save(&b);
	iptables_have_init(&seen);
	iptables_have_parse(&seen, buf_str(&b));
	assert_int_equal(map_len(&seen.lines), map_len(&have.lines));
	/* From what was seen, another ruleset replaces the first without a trace. */
	t = render(&web, 1, &seen);
	assert_int_equal(restore(t), 0);
	free(t);
	save(&b);
	assert_null(strstr(b.p, "sticky"));
	assert_int_equal(count(b.p, "-j KONTIKI-SERVICES"), 2);
	assert_int_equal(count(b.p, "-j DNAT"), 2);
	iptables_render_removal(&seen, &removal);
	assert_int_equal(restore(removal.p), 0);
	save(&b);
	assert_null(strstr(b.p, "KONTIKI"));
	buf_fini(&b);
	buf_fini(&removal);
	iptables_have_fini(&have);
	iptables_have_fini(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_host_ports),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_apply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
