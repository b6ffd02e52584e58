/* Questions to the cluster's zone: packets in, packets out, over a view that is plain arrays. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/dns/dns_zone.h"
#include "orchestrator/proxy/service_rules.h"
#include "proto/pb.h"

static struct arena arena;
static Core__Service *services[8];
static Discovery__EndpointSlice *slices[8];
static size_t n_services, n_slices;

static const Core__Service *find_service(struct dns_view *v, const char *ns, const char *name)
{
	for (size_t i = 0; i < n_services; i++)
		if (pb_streq(services[i]->metadata->namespace_, ns) && pb_streq(services[i]->metadata->name, name))
			return services[i];
	return NULL;
}

static const Discovery__EndpointSlice *find_slice(struct dns_view *v, const char *ns, const char *service, size_t skip)
{
	for (size_t i = 0; i < n_slices; i++) {
		const Meta__ObjectMeta *m = slices[i]->metadata;

		if (pb_streq(m->namespace_, ns) && pb_streq(pb_map_get(m->labels, m->n_labels, SERVICE_NAME_LABEL), service) &&
				skip-- == 0)
			return slices[i];
	}
	return NULL;
}

static bool has_namespace(struct dns_view *v, const char *ns)
{
	return strcmp(ns, "default") == 0 || strcmp(ns, "empty") == 0;
}

static const Core__Service *service_by_ip(struct dns_view *v, uint32_t ip)
{
	uint32_t has;

	for (size_t i = 0; i < n_services; i++)
		if (ip4_parse(str_from(pb_s(services[i]->spec->cluster_ip)), &has) && has == ip)
			return services[i];
	return NULL;
}

static const Discovery__EndpointSlice *slice_by_ip(struct dns_view *v, uint32_t ip, size_t i)
{
	return i < n_slices ? slices[i] : NULL;
}

static const struct dns_view_ops ops = {find_service, find_slice, has_namespace, service_by_ip, slice_by_ip};
static struct dns_view view = {.ops = &ops, .zone = "cluster.local", .pods = {0x0af40000, 16}, .services = {0x0a600000, 12}};

static Core__Service *add_service(const char *name, const char *ip)
{
	Core__Service *s = services[n_services++] = pb_new_of(&arena, core__service, Core__Service);
	Meta__ObjectMeta *m = pb_sub(&arena, s, "metadata");
	Core__ServiceSpec *spec = pb_sub(&arena, s, "spec");
	Core__ServicePort *p = pb_add(&arena, spec, "ports");

	m->name = (char *)name;
	m->namespace_ = "default";
	spec->cluster_ip = (char *)ip;
	p->name = "http";
	p->protocol = "TCP";
	p->has_port = true;
	p->port = 80;
	return s;
}

static Discovery__EndpointSlice *add_slice(const char *service)
{
	Discovery__EndpointSlice *s = slices[n_slices++] =
			pb_new_of(&arena, discovery__endpoint_slice, Discovery__EndpointSlice);
	Meta__ObjectMeta *m = pb_sub(&arena, s, "metadata");
	Discovery__EndpointPort *p = pb_add(&arena, s, "ports");

	m->name = "s";
	m->namespace_ = "default";
	pb_map_set(&arena, m, "labels", SERVICE_NAME_LABEL, service);
	p->name = "http";
	p->protocol = "TCP";
	p->has_port = true;
	p->port = 8080;
	return s;
}

static Discovery__Endpoint *add_endpoint(Discovery__EndpointSlice *s, const char *ip, const char *hostname)
{
	Discovery__Endpoint *e = pb_add(&arena, s, "endpoints");

	pb_add_str(&arena, e, "addresses", ip);
	e->hostname = (char *)hostname;
	return e;
}

/* --- A small resolver ------------------------------------------------------------------------------------ */

static size_t make_query(char *p, const char *name, int type, unsigned edns)
{
	static const char head[12] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
	size_t n = 12;
	struct str rest = str_from(name), label;

	memcpy(p, head, 12);
	while (rest.n > 0) {
		str_cut(rest, '.', &label, &rest);
		p[n++] = (char)label.n;
		memcpy(p + n, label.p, label.n);
		n += label.n;
	}
	p[n++] = 0;
	p[n++] = (char)(type >> 8);
	p[n++] = (char)type;
	p[n++] = 0;
	p[n++] = 1;
	if (edns) {
		const char opt[11] = {0, 0, 41, (char)(edns >> 8), (char)edns, 0, 0, 0, 0, 0, 0};

		p[11] = 1;
		memcpy(p + n, opt, 11);
		n += 11;
	}
	return n;
}

static const unsigned char *read_name(const unsigned char *packet, const unsigned char *p, char *out)
{
	const unsigned char *after = NULL;
	size_t n = 0;

	while (*p) {
		if (*p >= 0xc0) {
			after = after ? after : p + 2;
			p = packet + ((p[0] & 63) << 8 | p[1]);
			continue;
		}
		n += (size_t)sprintf(out + n, "%s%.*s", n ? "." : "", *p, p + 1);
		p += *p + 1;
	}
	out[n] = '\0';
	return after ? after : p + 1;
}

/* "rcode aa; answers; additional" as text. */
static char text[8192];
static const char *dump(const struct buf *b)
{
	const unsigned char *packet = (const unsigned char *)b->p, *p = packet + 12;
	unsigned counts[3] = {(unsigned)(packet[6] << 8 | packet[7]), (unsigned)(packet[8] << 8 | packet[9]),
			(unsigned)(packet[10] << 8 | packet[11])};
	size_t n = (size_t)sprintf(text, "%u%s%s", packet[3] & 15u, packet[2] & 4 ? " aa" : "", packet[2] & 2 ? " tc" : "");
	char name[300], target[300];

	assert_int_equal(packet[0], 0x12);
	assert_true(packet[2] & 0x80);
	p = read_name(packet, p, name) + 4;
	for (unsigned s = 0; s < 3; s++)
		for (unsigned i = 0; i < counts[s]; i++) {
			unsigned type, len;

			p = read_name(packet, p, name);
			type = (unsigned)(p[0] << 8 | p[1]);
			len = (unsigned)(p[8] << 8 | p[9]);
			p += 10;
			if (type == DNS_A)
				n += (size_t)sprintf(text + n, "; %s A %u.%u.%u.%u", name, p[0], p[1], p[2], p[3]);
			else if (type == DNS_SRV)
				read_name(packet, p + 6, target), n += (size_t)sprintf(text + n, "; %s SRV %u %s", name,
						(unsigned)(p[4] << 8 | p[5]), target);
			else if (type == DNS_CNAME || type == DNS_PTR)
				read_name(packet, p, target), n += (size_t)sprintf(text + n, "; %s -> %s", name, target);
			else if (type == DNS_TXT)
				n += (size_t)sprintf(text + n, "; TXT %.*s", p[0], p + 1);
			else if (type == DNS_SOA)
				n += (size_t)sprintf(text + n, "; SOA");
			else if (type == DNS_OPT)
				n += (size_t)sprintf(text + n, "; OPT");
			p += len;
		}
	assert_ptr_equal(p, packet + b->n);
	return text;
}

static const char *ask_limit(const char *name, int type, unsigned edns, size_t limit)
{
	char packet[1024];
	struct str s = str_of(packet, make_query(packet, name, type, edns));
	struct dns_query q;
	struct dns_reply r;
	int rcode;

	assert_true(dns_query_parse(s, &q, &rcode));
	assert_int_equal(rcode, DNS_NOERROR);
	dns_reply_init(&r, &q, s, limit);
	if (!dns_zone_answer(&view, &q, &r)) {
		dns_reply_fini(&r);
		return "not ours";
	}
	assert_true(r.buf.n <= limit);
	dump(&r.buf);
	dns_reply_fini(&r);
	return text;
}

static const char *ask(const char *name, int type)
{
	return ask_limit(name, type, 0, 512);
}

/* --- Tests ------------------------------------------------------------------------------------------------- */

static void test_cluster_ip(void **state)
{
	add_service("web", "10.96.0.7");
	assert_string_equal(ask("web.default.svc.cluster.local", DNS_A), "0 aa; web.default.svc.cluster.local A 10.96.0.7");
	assert_string_equal(ask("WEB.default.svc.Cluster.Local", DNS_A), "0 aa; WEB.default.svc.Cluster.Local A 10.96.0.7");
	assert_string_equal(ask("web.default.svc.cluster.local", DNS_AAAA), "0 aa; SOA");
	assert_string_equal(ask("nope.default.svc.cluster.local", DNS_A), "3 aa; SOA");
	assert_string_equal(ask("default.svc.cluster.local", DNS_A), "0 aa; SOA");
	assert_string_equal(ask("nowhere.svc.cluster.local", DNS_A), "3 aa; SOA");
	assert_string_equal(ask("svc.cluster.local", DNS_A), "0 aa; SOA");
	assert_string_equal(ask("cluster.local", DNS_SOA), "0 aa; SOA");
	assert_string_equal(ask("dns-version.cluster.local", DNS_TXT), "0 aa; TXT 1.1.0");
	assert_string_equal(ask("_http._tcp.web.default.svc.cluster.local", DNS_SRV),
			"0 aa; _http._tcp.web.default.svc.cluster.local SRV 80 web.default.svc.cluster.local"
			"; web.default.svc.cluster.local A 10.96.0.7");
	assert_string_equal(ask("_http._udp.web.default.svc.cluster.local", DNS_SRV), "3 aa; SOA");
	assert_string_equal(ask("7.0.96.10.in-addr.arpa", DNS_PTR), "0 aa; 7.0.96.10.in-addr.arpa -> web.default.svc.cluster.local");
	assert_string_equal(ask("8.0.96.10.in-addr.arpa", DNS_PTR), "3 aa; SOA");
	assert_string_equal(ask("www.example.com", DNS_A), "not ours");
	assert_string_equal(ask("1.1.168.192.in-addr.arpa", DNS_PTR), "not ours");
	assert_string_equal(ask("acluster.local", DNS_A), "not ours");
	assert_string_equal(ask("a.b.c.d.e.f.g.h.i.cluster.local", DNS_A), "3 aa; SOA");
}

static void test_headless(void **state)
{
	Discovery__EndpointSlice *s;
	Discovery__Endpoint *e;

	add_service("db", "None");
	s = add_slice("db");
	add_endpoint(s, "10.244.1.2", "db-0");
	e = add_endpoint(s, "10.244.2.3", NULL);
	view.turn = 0;
	assert_string_equal(ask("db.default.svc.cluster.local", DNS_A),
			"0 aa; db.default.svc.cluster.local A 10.244.1.2; db.default.svc.cluster.local A 10.244.2.3");
	/* Each answer begins at another one. */
	assert_string_equal(ask("db.default.svc.cluster.local", DNS_A),
			"0 aa; db.default.svc.cluster.local A 10.244.2.3; db.default.svc.cluster.local A 10.244.1.2");
	assert_string_equal(ask("db-0.db.default.svc.cluster.local", DNS_A), "0 aa; db-0.db.default.svc.cluster.local A 10.244.1.2");
	assert_string_equal(ask("10-244-2-3.db.default.svc.cluster.local", DNS_A),
			"0 aa; 10-244-2-3.db.default.svc.cluster.local A 10.244.2.3");
	assert_string_equal(ask("db-1.db.default.svc.cluster.local", DNS_A), "3 aa; SOA");
	assert_string_equal(ask("_http._tcp.db.default.svc.cluster.local", DNS_SRV),
			"0 aa; _http._tcp.db.default.svc.cluster.local SRV 8080 db-0.db.default.svc.cluster.local"
			"; _http._tcp.db.default.svc.cluster.local SRV 8080 10-244-2-3.db.default.svc.cluster.local"
			"; db-0.db.default.svc.cluster.local A 10.244.1.2; 10-244-2-3.db.default.svc.cluster.local A 10.244.2.3");
	assert_string_equal(ask("2.1.244.10.in-addr.arpa", DNS_PTR),
			"0 aa; 2.1.244.10.in-addr.arpa -> db-0.db.default.svc.cluster.local");
	/* What is not ready is not there, unless the service says so. */
	((Discovery__EndpointConditions *)pb_sub(&arena, e, "conditions"))->has_ready = true;
	assert_string_equal(ask("10-244-2-3.db.default.svc.cluster.local", DNS_A), "3 aa; SOA");
	services[0]->spec->has_publish_not_ready_addresses = services[0]->spec->publish_not_ready_addresses = true;
	assert_string_equal(ask("10-244-2-3.db.default.svc.cluster.local", DNS_A),
			"0 aa; 10-244-2-3.db.default.svc.cluster.local A 10.244.2.3");
}

static void test_others(void **state)
{
	Core__Service *s = add_service("ext", "");

	s->spec->type = "ExternalName";
	s->spec->external_name = "www.example.com.";
	assert_string_equal(ask("ext.default.svc.cluster.local", DNS_A), "0 aa; ext.default.svc.cluster.local -> www.example.com");
	s->spec->external_name = "a..b";
	assert_string_equal(ask("ext.default.svc.cluster.local", DNS_A), "0 aa; SOA");
	assert_string_equal(ask("10-244-1-9.default.pod.cluster.local", DNS_A),
			"0 aa; 10-244-1-9.default.pod.cluster.local A 10.244.1.9");
	assert_string_equal(ask("10-1-1-9.default.pod.cluster.local", DNS_A), "3 aa; SOA");
	assert_string_equal(ask("bad_label*.default.svc.cluster.local", DNS_A), "not ours");
	assert_string_equal(ask_limit("dns-version.cluster.local", DNS_TXT, 4096, 1232), "0 aa; TXT 1.1.0; OPT");
}

static void test_truncation(void **state)
{
	static char ips[60][16];
	Discovery__EndpointSlice *s;

	add_service("many", "None");
	s = add_slice("many");
	for (unsigned i = 0; i < 60; i++) {
		snprintf(ips[i], sizeof(ips[i]), "10.244.3.%u", i + 1);
		add_endpoint(s, ips[i], NULL);
	}
	assert_non_null(strstr(ask("many.default.svc.cluster.local", DNS_A), "0 aa tc; many"));
	assert_null(strstr(ask_limit("many.default.svc.cluster.local", DNS_A, 4096, 1232), "tc"));
}

static void test_bad_packets(void **state)
{
	char p[600];
	size_t n = make_query(p, "web.default.svc.cluster.local", DNS_A, 1232);
	struct dns_query q;
	int rcode;

	for (size_t cut = 0; cut < n; cut++) {
		bool good = dns_query_parse(str_of(p, cut), &q, &rcode);

		assert_int_equal(good, cut >= 12);
		if (good)
			assert_int_equal(rcode, DNS_FORMERR);
	}
	p[2] = (char)0x80;
	assert_false(dns_query_parse(str_of(p, n), &q, &rcode));
	p[2] = 0x28;
	assert_true(dns_query_parse(str_of(p, n), &q, &rcode));
	assert_int_equal(rcode, DNS_NOTIMP);
}

static int setup(void **state)
{
	arena_init(&arena);
	n_services = n_slices = 0;
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cluster_ip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_headless, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_packets, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
