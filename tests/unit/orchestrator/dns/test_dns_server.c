/* The DNS server on loopback: UDP, TCP, questions that are handed on to a resolver, and what it says before it knows anything.
 * Objects come through real informers from a client that has them in memory. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/loop.h"
#include "net/link.h"
#include "orchestrator/client/client.h"
#include "orchestrator/dns/dns.h"
#include "orchestrator/informer/informer.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "tests/lib/fake_client.h"

/* --- What there is --------------------------------------------------------------------------------------------- */

static bool hold_lists;

static void *list_of(struct arena *a, const struct resource *r)
{
	if (strcmp(r->plural, "services") == 0) {
		Core__ServiceList *l = pb_new_of(a, core__service_list, Core__ServiceList);
		Core__Service *s = pb_add(a, l, "items");
		Meta__ObjectMeta *m = pb_sub(a, s, "metadata");

		((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = "5";
		m->name = "web";
		m->namespace_ = "default";
		m->resource_version = "3";
		((Core__ServiceSpec *)pb_sub(a, s, "spec"))->cluster_ip = "10.96.0.7";
		return l;
	}
	if (strcmp(r->plural, "namespaces") == 0) {
		Core__NamespaceList *l = pb_new_of(a, core__namespace_list, Core__NamespaceList);

		((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = "5";
		return l;
	}
	Discovery__EndpointSliceList *l = pb_new_of(a, discovery__endpoint_slice_list, Discovery__EndpointSliceList);

	((Meta__ListMeta *)pb_sub(a, l, "metadata"))->resource_version = "5";
	return l;
}

/* --- The server ------------------------------------------------------------------------------------------------ */

struct world {
	struct loop *loop;
	struct fake_client fake;
	struct informer *services, *slices, *namespaces;
	struct dns *dns;
	int resolver; /* UDP socket of the resolver that it hands on to */
	unsigned left;
	struct sockaddr_in at;
	char resolv_conf[64];
};

static struct informer *inform(struct world *w, const char *group, const char *plural, const ProtobufCMessageDescriptor *desc)
{
	struct informer_cfg cfg = {.client = &w->fake.client, .resource = resource_find(group, "v1", plural), .desc = desc};

	assert_non_null(cfg.resource);
	return informer_new(&cfg);
}

static int bind_udp(const char *ip, uint16_t port, uint16_t *ret_port)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t n = sizeof(a);

	inet_pton(AF_INET, ip, &a.sin_addr);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&a, &n);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void start(struct world *w, bool with_resolver)
{
	struct dns_cfg cfg;
	uint16_t port = 0;
	struct err e;
	FILE *f;

	memset(w, 0, sizeof(*w));
	w->loop = loop_new("dns-test");
	fake_client_init(&w->fake, w->loop, list_of);
	w->fake.hold = hold_lists;
	w->services = inform(w, "", "services", &core__service__descriptor);
	w->slices = inform(w, "discovery.k8s.io", "endpointslices", &discovery__endpoint_slice__descriptor);
	w->namespaces = inform(w, "", "namespaces", &core__namespace__descriptor);
	snprintf(w->resolv_conf, sizeof(w->resolv_conf), "/tmp/kontiki-test-resolv.XXXXXX");
	f = fdopen(mkstemp(w->resolv_conf), "w");
	w->resolver = with_resolver ? bind_udp("127.0.0.53", 53, &(uint16_t){0}) : -1;
	fprintf(f, "# comment\nsearch x\nnameserver 127.0.0.1\n%s", with_resolver ? "nameserver 127.0.0.53\n" : "");
	fclose(f);
	cfg = (struct dns_cfg){
		.loop = w->loop, .services = w->services, .slices = w->slices, .namespaces = w->namespaces,
		.pods = {0x0af40000, 16}, .service_net = {0x0a600000, 12}, .address = 0x7f000001,
		.resolv_conf = w->resolv_conf,
	};
	/* A port that is free for UDP now; for TCP, which the server takes too, somebody else may have it. */
	for (int i = 0; i < 50 && w->dns == NULL; i++) {
		close(bind_udp("127.0.0.1", 0, &port));
		cfg.port = port;
		w->dns = dns_start(&cfg, &e);
	}
	if (w->dns == NULL)
		fail_msg("%s", e.text);
	w->at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000001)};
	informer_start(w->services);
	informer_start(w->slices);
	informer_start(w->namespaces);
	w->left = 4;
}

static void one_stopped(void *arg)
{
	struct world *w = arg;

	w->left--;
}

static void stop(struct world *w)
{
	informer_stop(w->services, one_stopped, w);
	informer_stop(w->slices, one_stopped, w);
	informer_stop(w->namespaces, one_stopped, w);
	dns_stop(w->dns, one_stopped, w);
	for (unsigned i = 0; w->left > 0 && i < 6000; i++)
		loop_turn(w->loop, 10);
	assert_int_equal(w->left, 0);
	loop_free(w->loop);
	if (w->resolver >= 0)
		close(w->resolver);
	unlink(w->resolv_conf);
}

static size_t make_query(char *p, const char *name)
{
	static const char head[12] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, tail[5] = {0, 0, 1, 0, 1};
	size_t n = 12;
	struct str rest = str_from(name), label;

	memcpy(p, head, 12);
	while (rest.n > 0) {
		str_cut(rest, '.', &label, &rest);
		p[n++] = (char)label.n;
		memcpy(p + n, label.p, label.n);
		n += label.n;
	}
	memcpy(p + n, tail, 5);
	return n + 5;
}

static ssize_t turn_until(struct world *w, int fd, char *p, size_t size)
{
	for (unsigned i = 0; i < 12000; i++) {
		ssize_t n = recv(fd, p, size, MSG_DONTWAIT);

		if (n >= 0)
			return n;
		loop_turn(w->loop, 5);
	}
	fail_msg("no answer");
	return -1;
}

static int connect_to(struct world *w, int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&w->at, sizeof(w->at)), 0);
	return fd;
}

static void sync_informers(struct world *w)
{
	for (unsigned i = 0; i < 12000 && !(informer_synced(w->services) && informer_synced(w->slices) && informer_synced(w->namespaces)); i++)
		loop_turn(w->loop, 5);
}

static void test_udp_and_tcp(void **state)
{
	char p[2048], framed[2048];
	struct world w;
	ssize_t got;
	size_t n;
	int fd;

	hold_lists = false;
	start(&w, false);
	sync_informers(&w);
	fd = connect_to(&w, SOCK_DGRAM);
	n = make_query(p, "web.default.svc.cluster.local");
	assert_int_equal(send(fd, p, n, 0), n);
	got = turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(got, (ssize_t)n + 16);
	assert_memory_equal(p + got - 4, "\x0a\x60\x00\x07", 4);
	/* Nobody to hand on to. */
	n = make_query(p, "www.example.com");
	assert_int_equal(send(fd, p, n, 0), n);
	got = turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(p[3] & 15, 2);
	close(fd);
	/* Two questions at once over TCP, the second in two pieces. */
	fd = connect_to(&w, SOCK_STREAM);
	n = make_query(framed + 2, "web.default.svc.cluster.local");
	framed[0] = 0;
	framed[1] = (char)n;
	memcpy(framed + n + 2, framed, n + 2);
	assert_int_equal(send(fd, framed, 2 * (n + 2) - 7, 0), 2 * (n + 2) - 7);
	got = turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(got, (ssize_t)n + 18);
	assert_int_equal(send(fd, framed + n + 2 - 7, 7, 0), 7);
	got = turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(got, (ssize_t)n + 18);
	assert_int_equal(dns_stats(w.dns).answered, 4);
	close(fd);
	stop(&w);
}

static void test_not_synced(void **state)
{
	struct world w;
	char p[2048];
	size_t n;
	int fd;

	hold_lists = true;
	start(&w, false);
	fd = connect_to(&w, SOCK_DGRAM);
	n = make_query(p, "web.default.svc.cluster.local");
	assert_int_equal(send(fd, p, n, 0), n);
	turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(p[3] & 15, 2);
	close(fd);
	stop(&w);
}

static void test_forward(void **state)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char p[2048], q[2048];
	struct world w;
	ssize_t got = -1;
	size_t n;
	int fd;

	hold_lists = false;
	start(&w, true);
	if (w.resolver < 0) {
		stop(&w);
		skip(); /* port 53 on loopback is not to be had */
	}
	sync_informers(&w);
	fd = connect_to(&w, SOCK_DGRAM);
	n = make_query(p, "www.example.com");
	assert_int_equal(send(fd, p, n, 0), n);
	for (unsigned i = 0; got < 0 && i < 12000; i++) {
		loop_turn(w.loop, 5);
		got = recvfrom(w.resolver, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
	}
	assert_int_equal(got, n);
	/* A wrong id is not believed; the right one is, and the client sees its own again. */
	q[2] = (char)0x81;
	q[0] ^= 1;
	sendto(w.resolver, q, n, 0, (struct sockaddr *)&from, len);
	loop_turn(w.loop, 20);
	assert_int_equal(recv(fd, p, sizeof(p), MSG_DONTWAIT), -1);
	q[0] ^= 1;
	sendto(w.resolver, q, n, 0, (struct sockaddr *)&from, len);
	got = turn_until(&w, fd, p, sizeof(p));
	assert_int_equal(got, n);
	assert_memory_equal(p, "\x12\x34\x81", 3);
	/* Stopping with a question under way. */
	n = make_query(p, "other.example.com");
	assert_int_equal(send(fd, p, n, 0), n);
	loop_turn(w.loop, 20);
	close(fd);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp_and_tcp),
		cmocka_unit_test(test_not_synced),
		cmocka_unit_test(test_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
