/* net/: namespaces, links, addresses and routes in namespaces of the test's own. Skipped without root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/link.h"
#include "net/netns.h"

static char name_a[32], name_b[32];

#define OK(call)                                                                                   \
	do {                                                                                       \
		struct err e_ = ERR_INIT, *e = &e_;                                                \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, e_.text);                                        \
	} while (0)

static int setup(void **state)
{
	struct err e;

	if (geteuid() != 0)
		return 0;
	snprintf(name_a, sizeof(name_a), "ktl-a%d", getpid());
	snprintf(name_b, sizeof(name_b), "ktl-b%d", getpid());
	return netns_add(name_a, &e) < 0 || netns_add(name_b, &e) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	if (geteuid() != 0)
		return 0;
	netns_del(name_a, NULL);
	netns_del(name_b, NULL);
	return 0;
}

static void test_parse(void **state)
{
	struct ip4_net n;
	uint32_t a;
	char text[IP4_STR_SIZE];

	assert_true(ip4_net_parse(STR("10.1.2.3/24"), &n));
	assert_int_equal(n.addr, 0x0a010203);
	assert_true(ip4_net_has(n, 0x0a0102ff));
	assert_false(ip4_net_has(n, 0x0a0103ff));
	assert_string_equal(ip4_net_print(n, text), "10.1.2.3/24");
	assert_false(ip4_net_parse(STR("10.1.2.3/33"), &n));
	assert_false(ip4_parse(STR("10.1.2"), &a));
	assert_false(ip4_parse(STR("10.1.2.3.4"), &a));
	assert_false(ip4_parse(STR(""), &a));
}

static void test_veth_and_routes(void **state)
{
	struct ip4_net addr_a = {0x0a070001, 24}, addr_b = {0x0a070002, 24}, far = {0x0a080000, 16};
	struct link_sock *a, *b;
	int fd_a, fd_b;
	char hw[18];

	if (geteuid() != 0)
		skip();
	fd_a = netns_open(name_a, NULL);
	fd_b = netns_open(name_b, NULL);
	assert_true(fd_a >= 0 && fd_b >= 0);
	a = link_open(fd_a, NULL);
	b = link_open(fd_b, NULL);
	assert_non_null(a);
	assert_non_null(b);
	for (int again = 0; again < 2; again++) {
		OK(link_add_bridge(a, "br0", e));
		OK(link_add_veth(a, "v0", "eth0", fd_b, 1400, e));
		OK(link_set_master(a, "v0", "br0", e));
		OK(link_set_hairpin(a, "v0", true, e));
		OK(addr_add(a, "br0", addr_a, e));
		OK(addr_add(b, "eth0", addr_b, e));
		OK(link_set_up(a, "br0", true, e));
		OK(link_set_up(a, "v0", true, e));
		OK(link_set_up(b, "eth0", true, e));
		OK(route_set(b, far, addr_a.addr, NULL, e));
		OK(link_add_vxlan(a, "vx0", 7, 4789, addr_a.addr, e));
	}
	assert_true(link_index(b, "eth0") > 0);
	assert_int_equal(link_index(a, "eth0"), 0);
	OK(link_hwaddr(b, "eth0", hw, e));
	assert_int_equal(hw[2], ':');
	OK(sysctl_set(fd_a, "net/ipv4/ip_forward", "1", e));
	for (int again = 0; again < 2; again++) {
		OK(route_del(b, far, e));
		OK(addr_del(b, "eth0", addr_b, e));
		OK(link_del(a, "v0", e));
	}
	assert_int_equal(link_index(b, "eth0"), 0);
	link_close(a);
	link_close(b);
	close(fd_a);
	close(fd_b);
}

static void test_errors(void **state)
{
	struct err e = ERR_INIT;
	struct link_sock *a;
	int fd;

	if (geteuid() != 0)
		skip();
	assert_int_equal(netns_add(name_a, &e), -ERR_ALREADY_EXISTS);
	assert_int_equal(netns_open("ktl-absent", &e), -ERR_NOT_FOUND);
	fd = netns_open(name_a, NULL);
	a = link_open(fd, NULL);
	assert_int_equal(link_set_up(a, "nope", true, &e), -ERR_NOT_FOUND);
	assert_string_equal(e.text, "no link nope");
	link_close(a);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_veth_and_routes),
		cmocka_unit_test(test_errors),
	};
	return cmocka_run_group_tests_name("net", tests, setup, teardown);
}
