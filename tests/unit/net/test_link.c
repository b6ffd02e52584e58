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
#include "net/overlay.h"

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

/*
 * Two nodes that share no network: a packet to the other node's pod network arrives there through the overlay, and the answer comes
 * back to the sender's own first pod address.
 */
static void test_overlay(void **state)
{
	/* a: 10.7.1.2, pods 10.9.1.0/24; b: 10.7.2.2, pods 10.9.2.0/24. Routed over a veth pair of each, so no network is shared. */
	struct ip4_net addr_a = {0x0a070102, 32}, addr_b = {0x0a070202, 32};
	struct ip4_net pods_a = {0x0a090100, 24}, pods_b = {0x0a090200, 24}, pod_b = {0x0a090201, 32};
	struct ip4_net host_a = {addr_a.addr, 32}, host_b = {addr_b.addr, 32};
	struct link_sock *a, *b;
	char text[200], hw[18], want[18];
	int fd_a, fd_b;

	if (geteuid() != 0)
		skip();
	fd_a = netns_open(name_a, NULL);
	fd_b = netns_open(name_b, NULL);
	a = link_open(fd_a, NULL);
	b = link_open(fd_b, NULL);
	OK(link_add_veth(a, "u0", "u0", fd_b, 0, e));
	OK(addr_add(a, "u0", addr_a, e));
	OK(addr_add(b, "u0", addr_b, e));
	OK(link_set_up(a, "u0", true, e));
	OK(link_set_up(b, "u0", true, e));
	OK(route_set(a, host_b, 0, "u0", e));
	OK(route_set(b, host_a, 0, "u0", e));
	assert_true(overlay_is_direct(a, addr_a.addr));
	assert_false(overlay_is_direct(a, addr_b.addr));
	for (int again = 0; again < 2; again++) {
		OK(overlay_up(a, addr_a.addr, pods_a, e));
		OK(overlay_up(b, addr_b.addr, pods_b, e));
		OK(overlay_peer_set(a, addr_b.addr, pods_b, e));
		OK(overlay_peer_set(b, addr_a.addr, pods_a, e));
	}
	OK(addr_add(b, OVERLAY_LINK, pod_b, e));
	OK(link_hwaddr(a, OVERLAY_LINK, hw, e));
	overlay_hwaddr(addr_a.addr, want);
	assert_string_equal(hw, want);
	/* The sender's address is the first of a's pods: b's way back is its overlay, too. */
	snprintf(text, sizeof(text), "nsenter --net=/run/netns/%s busybox ping -q -c 1 -W 5 10.9.2.1 >/dev/null", name_a);
	assert_int_equal(system(text), 0);
	snprintf(text, sizeof(text), "ip -n %s link show dev " OVERLAY_LINK " | grep -q 'mtu 1450 '", name_a);
	assert_int_equal(system(text), 0);
	/* Another address of the node: the device is made anew. */
	OK(overlay_up(a, addr_a.addr + 1, pods_a, e));
	OK(link_hwaddr(a, OVERLAY_LINK, hw, e));
	assert_string_not_equal(hw, want);
	for (int again = 0; again < 2; again++) {
		OK(overlay_peer_del(b, addr_a.addr, pods_a, e));
		OK(overlay_peer_del(a, addr_b.addr, pods_b, e));
	}
	snprintf(text, sizeof(text), "ip -n %s route show 10.9.1.0/24 | grep -q . || ip -n %s neigh show dev " OVERLAY_LINK " | grep -q . || "
				     "bridge -n %s fdb show dev " OVERLAY_LINK " | grep -q 10.7", name_b, name_b, name_b);
	assert_int_not_equal(system(text), 0);
	OK(link_del(a, OVERLAY_LINK, e));
	OK(link_del(b, OVERLAY_LINK, e));
	OK(link_del(a, "u0", e));
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
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_errors),
	};
	return cmocka_run_group_tests_name("net", tests, setup, teardown);
}
