/* The proxy in a network namespace of its own: a Service that comes, moves and goes, and what a client of it sees. */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/proxy/proxy.h"
#include "orchestrator/proxy/service_rules.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "tests/lib/fake_client.h"

#define VIP "10.96.0.7"

/* The state of the world: which of the two endpoints is there, and whether the service is. */
static bool has_service = true;
static const char *endpoint_ip = "10.244.1.2";
static const char *version = "5";

static void *list_of(struct arena *a, const struct resource *r)
{
	if (strcmp(r->plural, "services") == 0) {
		Core__ServiceList *l = pb_new_of(a, core__service_list, Core__ServiceList);
		Core__Service *s;
		Core__ServicePort *p;
		Meta__ObjectMeta *m;

		((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = (char *)version;
		if (!has_service)
			return l;
		s = pb_add(a, l, "items");
		m = pb_sub(a, s, "metadata");
		m->name = "web";
		m->namespace_ = "default";
		m->resource_version = "3";
		((Core__ServiceSpec *)pb_sub(a, s, "spec"))->cluster_ip = VIP;
		p = pb_add(a, s->spec, "ports");
		p->has_port = true;
		p->port = 80;
		return l;
	}
	Discovery__EndpointSliceList *l = pb_new_of(a, discovery__endpoint_slice_list, Discovery__EndpointSliceList);
	Discovery__EndpointSlice *s = pb_add(a, l, "items");
	Meta__ObjectMeta *m = pb_sub(a, s, "metadata");
	Discovery__EndpointPort *p = pb_add(a, s, "ports");

	((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = (char *)version;
	m->name = "web-1";
	m->namespace_ = "default";
	m->resource_version = (char *)version;
	pb_map_set(a, m, "labels", SERVICE_NAME_LABEL, "web");
	s->address_type = "IPv4";
	p->has_port = true;
	p->port = 8080;
	pb_add_str(a, pb_add(a, s, "endpoints"), "addresses", endpoint_ip);
	return l;
}

/* --- A pod's namespace, in a child process: two addresses, each answers with a letter of its own ------------------------ */

static void serve(const char *ip, char letter)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, conn;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8080)};

	inet_pton(AF_INET, ip, &at.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 8) != 0)
		_exit(1);
	while ((conn = accept(fd, NULL, NULL)) >= 0) {
		if (write(conn, &letter, 1) != 1)
			_exit(1);
		close(conn);
	}
	_exit(1);
}

static pid_t start_pod(void)
{
	int ready[2], go[2];
	char byte, text[200];
	pid_t pid;

	assert_int_equal(pipe(ready) | pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "r", 1) != 1 || read(go[0], &byte, 1) != 1 ||
				system("ip link set lo up && ip link set eth0 up && ip addr add 10.244.1.2/24 dev eth0 && "
				       "ip addr add 10.244.1.3/24 dev eth0 && ip route add default via 10.244.1.1") != 0)
			_exit(1);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve("10.244.1.3", '3');
		}
		serve("10.244.1.2", '2');
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(text, sizeof(text), "ip link add v0 type veth peer name eth0 netns %d && ip link set v0 up && "
				     "ip addr add 10.244.1.1/24 dev v0", (int)pid);
	assert_int_equal(system(text), 0);
	assert_int_equal(write(go[1], "g", 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
	return pid;
}

/* The letter of who answers at the service address, or the negative error. */
static int ask(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rv;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct timeval limit = {2, 0};
	char letter = 0;

	inet_pton(AF_INET, VIP, &at.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	rv = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && read(fd, &letter, 1) == 1 ? letter : -errno;
	close(fd);
	return rv;
}

/* The same, once the pod's servers are up. */
static int ask_patiently(void)
{
	int rv = ask();

	for (unsigned i = 0; rv < 0 && i < 3000; i++) {
		usleep(10000);
		rv = ask();
	}
	return rv;
}

static unsigned left;
static void one_stopped(void *arg)
{
	left--;
}

static void wait_applied(struct loop *loop, struct proxy *p, uint64_t n)
{
	for (unsigned i = 0; i < 6000 && (proxy_stats(p).applied < n || proxy_stats(p).pending_since_ms); i++)
		loop_turn(loop, 10);
	assert_true(proxy_stats(p).applied >= n);
}

static void change(struct loop *loop, struct fake_client *f, struct proxy *p, const char *v)
{
	uint64_t before = proxy_stats(p).applied;

	version = v;
	fake_change(f);
	wait_applied(loop, p, before + 1);
}

static void test_life(void **state)
{
	struct proxy_cfg cfg = {.node_name = "n", .pods = {0x0af40000, 16}, .service_net = {0x0a600000, 12}};
	struct informer_cfg icfg;
	struct fake_client fake;
	struct loop *loop;
	struct proxy *p;
	struct err e;
	pid_t pod;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 || system("iptables-save >/dev/null 2>&1 && ip link set lo up") != 0)
		skip();
	pod = start_pod();
	loop = loop_new("proxy-test");
	fake_client_init(&fake, loop, list_of);
	icfg = (struct informer_cfg){.client = &fake.client, .resource = resource_find("", "v1", "services"),
			.desc = &core__service__descriptor};
	cfg.services = informer_new(&icfg);
	icfg.resource = resource_find("discovery.k8s.io", "v1", "endpointslices");
	icfg.desc = &discovery__endpoint_slice__descriptor;
	cfg.slices = informer_new(&icfg);
	cfg.loop = loop;
	p = proxy_start(&cfg, &e);
	if (p == NULL)
		fail_msg("%s", e.text);
	informer_start(cfg.services);
	informer_start(cfg.slices);
	wait_applied(loop, p, 1);
	assert_int_equal(ask_patiently(), '2');
	/* Another endpoint takes over. */
	endpoint_ip = "10.244.1.3";
	change(loop, &fake, p, "6");
	assert_int_equal(ask_patiently(), '3');
	/* Without the service its address is refused at once. */
	has_service = false;
	change(loop, &fake, p, "7");
	assert_int_equal(ask(), -ECONNREFUSED);
	/* Somebody flushes the tables: the next change puts everything back. */
	for (unsigned i = 0; i < 110; i++)
		loop_turn(loop, 10);
	assert_int_equal(system("iptables -t nat -F && iptables -t nat -X && iptables -F && iptables -X"), 0);
	has_service = true;
	change(loop, &fake, p, "8");
	assert_int_equal(ask_patiently(), '3');

	left = 3;
	informer_stop(cfg.services, one_stopped, NULL);
	informer_stop(cfg.slices, one_stopped, NULL);
	proxy_stop(p, one_stopped, NULL);
	for (unsigned i = 0; left > 0 && i < 6000; i++)
		loop_turn(loop, 10);
	assert_int_equal(left, 0);
	loop_free(loop);
	kill(pod, SIGKILL);
	waitpid(pod, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
