/* net/: addresses of pods, and attaching a namespace to a bridge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/attach.h"
#include "net/ipam.h"
#include "net/netns.h"

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/kt-ipam-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void test_take_and_release(void **state)
{
	struct ip4_net net = {0x0af40100, 28};
	uint32_t a, b, again, seen[16];
	struct err e = ERR_INIT;
	char owner[16];

	assert_int_equal(ipam_take(dir, net, "one", &a, &e), 0);
	assert_int_equal(a, 0x0af40102);
	assert_int_equal(ipam_take(dir, net, "two", &b, &e), 0);
	assert_int_equal(b, 0x0af40103);
	assert_int_equal(ipam_take(dir, net, "one", &again, &e), 0);
	assert_int_equal(again, a);
	/* A freed address is not the next one to be given out. */
	assert_int_equal(ipam_release(dir, "two", &e), 0);
	assert_int_equal(ipam_take(dir, net, "three", &b, &e), 0);
	assert_int_equal(b, 0x0af40104);
	/* 16 addresses less network, gateway and broadcast: 13. */
	for (int i = 2; i < 13; i++) {
		snprintf(owner, sizeof(owner), "fill%d", i);
		assert_int_equal(ipam_take(dir, net, owner, &seen[i], &e), 0);
		assert_true(seen[i] >= 0x0af40102 && seen[i] <= 0x0af4010e);
	}
	assert_int_equal(ipam_take(dir, net, "toomany", &b, &e), -ERR_NO_SPACE);
	assert_int_equal(ipam_release(dir, "absent", &e), 0);
	assert_int_equal(ipam_release(dir, "one", &e), 0);
	assert_int_equal(ipam_take(dir, net, "again", &b, &e), 0);
	assert_int_equal(b, a);
}

static int attach_in_node(void *data, struct err *e)
{
	struct ip4_net pods = {0x0af40100, 24};
	struct attach a = {.netns = data, .ifname = "eth0", .owner = "c1", .bridge = ATTACH_BRIDGE, .addr = {0x0af40105, 24}};
	char hw[18];
	int rv = 0;

	for (int again = 0; rv == 0 && again < 2; again++) {
		rv = attach_bridge(ATTACH_BRIDGE, pods, 0, e);
		if (rv == 0)
			rv = attach_pod(&a, hw, e);
		if (rv == 0)
			rv = attach_check(&a, e);
	}
	for (int again = 0; rv == 0 && again < 2; again++)
		rv = attach_remove("c1", e);
	if (rv == 0 && attach_check(&a, e) != -(int)ERR_NOT_FOUND)
		rv = err_set(e, ERR_INTERNAL, "the interface is still there");
	return rv;
}

static void test_attach(void **state)
{
	char node[32], pod[32];
	struct err e = ERR_INIT;
	int fd, rv;

	if (geteuid() != 0)
		skip();
	snprintf(node, sizeof(node), "kti-n%d", getpid());
	snprintf(pod, sizeof(pod), "kti-p%d", getpid());
	assert_int_equal(netns_add(node, &e), 0);
	assert_int_equal(netns_add(pod, &e), 0);
	fd = netns_open(node, &e);
	rv = netns_call(fd, attach_in_node, pod, &e);
	close(fd);
	netns_del(node, NULL);
	netns_del(pod, NULL);
	if (rv < 0)
		fail_msg("%s", e.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_and_release),
		cmocka_unit_test(test_attach),
	};
	return cmocka_run_group_tests_name("ipam", tests, setup, teardown);
}
