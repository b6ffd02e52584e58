/* From Ingresses to HAProxy's files: which host and path leads where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/ingress/haproxy_config.h"
#include "orchestrator/ingress/ingress_routes.h"
#include "proto/pb.h"

static struct arena arena;
static const Networking__IngressClass *classes[2];
static const Networking__Ingress *ingresses[8];
static const Core__Service *services[4];
static const Discovery__EndpointSlice *slices[4];
static size_t n_ingresses, n_services, n_slices;

static struct ingress_routes *routes(void)
{
	static const struct ingress_secret good = {"default", "tls", STR_INIT("CERT"), STR_INIT("KEY")};
	struct ingress_input in = {.ingresses = ingresses, .n_ingresses = n_ingresses, .classes = classes, .n_classes = 2, .services = services,
			.n_services = n_services, .slices = slices, .n_slices = n_slices, .secrets = &good, .n_secrets = 1};

	return ingress_routes_new(&in);
}

static Networking__Ingress *ingress(const char *name, int64_t made_s)
{
	Networking__Ingress *i = pb_new_of(&arena, networking__ingress, Networking__Ingress);
	Meta__ObjectMeta *meta = pb_sub(&arena, i, "metadata");
	Meta__Time *t = pb_sub(&arena, meta, "creation_timestamp");

	meta->name = name;
	meta->namespace_ = "default";
	t->has_seconds = true;
	t->seconds = made_s;
	((Networking__IngressSpec *)pb_sub(&arena, i, "spec"))->ingress_class_name = "kontiki";
	ingresses[n_ingresses++] = i;
	return i;
}

static void leads(void *to, const char *service, int port)
{
	Networking__IngressServiceBackend *b = pb_sub(&arena, to, "service");
	Networking__ServiceBackendPort *p = pb_sub(&arena, b, "port");

	b->name = service;
	p->has_number = true;
	p->number = port;
}

static void rule(Networking__Ingress *i, const char *host, const char *type, const char *path, const char *service)
{
	Networking__IngressRule *r = pb_add(&arena, i->spec, "rules");
	Networking__HTTPIngressPath *p = pb_add(&arena, pb_sub(&arena, pb_sub(&arena, r, "ingress_rule_value"), "http"), "paths");

	r->host = host;
	p->path = path;
	p->path_type = type;
	leads(pb_sub(&arena, p, "backend"), service, 80);
}

static void service(const char *name, const char *port_name)
{
	Core__Service *s = pb_new_of(&arena, core__service, Core__Service);
	Meta__ObjectMeta *meta = pb_sub(&arena, s, "metadata");
	Core__ServicePort *p = pb_add(&arena, pb_sub(&arena, s, "spec"), "ports");

	meta->name = name;
	meta->namespace_ = "default";
	p->name = port_name;
	p->has_port = true;
	p->port = 80;
	services[n_services++] = s;
}

static void endpoint(Discovery__EndpointSlice *s, const char *ip, bool ready)
{
	Discovery__Endpoint *e = pb_add(&arena, s, "endpoints");
	Discovery__EndpointConditions *c = pb_sub(&arena, e, "conditions");

	pb_add_str(&arena, e, "addresses", ip);
	c->has_ready = true;
	c->ready = ready;
}

static Discovery__EndpointSlice *slice(const char *of, const char *port_name, int port)
{
	Discovery__EndpointSlice *s = pb_new_of(&arena, discovery__endpoint_slice, Discovery__EndpointSlice);
	Meta__ObjectMeta *meta = pb_sub(&arena, s, "metadata");
	Discovery__EndpointPort *p = pb_add(&arena, s, "ports");

	meta->namespace_ = "default";
	pb_map_set(&arena, meta, "labels", "kubernetes.io/service-name", of);
	s->address_type = "IPv4";
	p->name = port_name;
	p->has_port = true;
	p->port = port;
	slices[n_slices++] = s;
	return s;
}

static const char *in_table(const struct ingress_table *t, const char *key)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].key, key) == 0)
			return t->v[i].backend;
	return "-";
}

/* What HAProxy does with the tables, for one request. */
static const char *leads_to(const struct ingress_routes *r, const char *host, const char *path)
{
	const char *bucket = "*", *best = NULL, *key, *dot = strchr(host, '.');
	size_t best_n = 0;

	if (strcmp(in_table(&r->hosts, host), "-") != 0)
		bucket = host;
	else if (dot && strcmp(in_table(&r->hosts, arena_printf(&arena, "*%s", dot)), "-") != 0)
		bucket = arena_printf(&arena, "*%s", dot);
	key = arena_printf(&arena, "%s%s", bucket, path);
	if (strcmp(in_table(&r->exact, key), "-") != 0)
		return in_table(&r->exact, key);
	if (strcmp(in_table(&r->whole, key), "-") != 0)
		return in_table(&r->whole, key);
	for (size_t i = 0; i < r->prefix.n; i++) {
		size_t n = strlen(r->prefix.v[i].key);

		if (strncmp(key, r->prefix.v[i].key, n) == 0 && n > best_n) {
			best = r->prefix.v[i].backend;
			best_n = n;
		}
	}
	return best ? best : "-";
}

/* The examples of the Kubernetes documentation, and hosts. */
static void test_paths(void **state)
{
	static const struct {
		const char *type, *rule, *request;
		bool matches;
	} rows[] = {
		{"Prefix", "/", "/anything", true}, {"Exact", "/foo", "/foo", true}, {"Exact", "/foo", "/bar", false}, {"Exact", "/foo", "/foo/", false},
		{"Exact", "/foo/", "/foo", false}, {"Prefix", "/foo", "/foo", true}, {"Prefix", "/foo", "/foo/", true}, {"Prefix", "/foo/", "/foo", true},
		{"Prefix", "/foo/", "/foo/", true}, {"Prefix", "/aaa/bb", "/aaa/bbb", false}, {"Prefix", "/aaa/bbb", "/aaa/bbb", true},
		{"Prefix", "/aaa/bbb/", "/aaa/bbb", true}, {"Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true}, {"Prefix", "/aaa/bbb", "/aaa/bbbxyz", false},
		{"Prefix", "/", "/", true}, {"ImplementationSpecific", "/foo", "/foo/x", true}, {"ImplementationSpecific", "", "/x", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ingress_routes *r;

		n_ingresses = 0;
		rule(ingress("i", 1), "a.com", rows[i].type, rows[i].rule, "s");
		r = routes();
		if ((strcmp(leads_to(r, "a.com", rows[i].request), "default:s:80") == 0) != rows[i].matches)
			fail_msg("%s %s %s: %s", rows[i].type, rows[i].rule, rows[i].request, leads_to(r, "a.com", rows[i].request));
		ingress_routes_free(r);
	}
}

static void test_precedence(void **state)
{
	Networking__Ingress *i;
	struct ingress_routes *r;

	(void)state;
	n_ingresses = 0;
	i = ingress("young", 20);
	rule(i, "a.com", "Prefix", "/x", "young");
	rule(i, "a.com", "Exact", "/x/y", "exact");
	i = ingress("old", 10);
	rule(i, "A.com", "Prefix", "/x", "old");
	rule(i, "a.com", "Prefix", "/x/y", "longer");
	rule(i, "*.b.com", "Prefix", "/", "wild");
	rule(i, "one.b.com", "Prefix", "/p", "one");
	rule(i, NULL, "Prefix", "/any", "any");
	i = ingress("default", 30);
	leads(pb_sub(&arena, i->spec, "default_backend"), "fallback", 80);
	i = ingress("own", 40);
	rule(i, "own.com", "Exact", "/p", "s");
	leads(pb_sub(&arena, i->spec, "default_backend"), "own", 80);
	i = ingress("other", 1);
	i->spec->ingress_class_name = "nginx";
	rule(i, "a.com", "Prefix", "/x", "nginx");
	r = routes();
	assert_int_equal(r->n_ingresses, 4);
	assert_string_equal(leads_to(r, "a.com", "/x"), "default:old:80");
	assert_string_equal(leads_to(r, "a.com", "/x/y"), "default:exact:80");
	assert_string_equal(leads_to(r, "a.com", "/x/y/z"), "default:longer:80");
	assert_string_equal(leads_to(r, "two.b.com", "/p"), "default:wild:80");
	assert_string_equal(leads_to(r, "one.b.com", "/p"), "default:one:80");
	assert_string_equal(leads_to(r, "c.two.b.com", "/p"), "default:fallback:80");
	assert_string_equal(leads_to(r, "c.com", "/any/x"), "default:any:80");
	assert_string_equal(leads_to(r, "a.com", "/other"), "default:fallback:80");
	assert_string_equal(leads_to(r, "own.com", "/q"), "default:own:80");
	ingress_routes_free(r);
}

static void test_backends(void **state)
{
	Networking__Ingress *i;
	Discovery__EndpointSlice *s;
	struct ingress_routes *r;

	(void)state;
	n_ingresses = 0;
	service("web", "http");
	service("none", "http");
	s = slice("web", "http", 8080);
	endpoint(s, "10.0.0.2", true);
	endpoint(s, "10.0.0.3", false);
	endpoint(s, "10.0.0.1", true);
	endpoint(slice("web", "http", 9090), "10.0.0.9", true);
	endpoint(slice("web", "other", 1), "10.0.0.9", true);
	i = ingress("i", 1);
	rule(i, "a.com", "Prefix", "/", "web");
	rule(i, "a.com", "Prefix", "/none", "none");
	rule(i, "a.com", "Prefix", "/gone", "gone");
	rule(i, "a.com", "ImplementationSpecific", "/sp ace", "web");
	rule(i, "a.com", "ImplementationSpecific", "/x\nshop 1", "web");
	r = routes();
	assert_int_equal(r->n_backends, 3);
	assert_string_equal(r->backends[2].name, "default:web:80");
	assert_int_equal(r->backends[2].n_endpoints, 3);
	assert_string_equal(r->backends[2].endpoints[0], "10.0.0.1:8080");
	assert_string_equal(r->backends[2].endpoints[2], "10.0.0.9:9090");
	assert_int_equal(r->backends[1].n_endpoints, 0);
	assert_int_equal(r->n_refused, 3);
	assert_string_equal(r->refused[0], "Ingress default/i: default:gone:80: there is no such Service");
	assert_string_equal(r->refused[1], "Ingress default/i: /sp ace: no request can have this path");
	ingress_routes_free(r);
}

static const struct haproxy_file *file(const struct haproxy_files *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->v[i].name, name) == 0)
			return &f->v[i];
	fail_msg("no file %s", name);
	return NULL;
}

static bool holds(const struct haproxy_file *f, const char *text)
{
	return str_search(f->text, str_from(text)) >= 0;
}

static void test_files(void **state)
{
	struct haproxy_options o = {.address = "0.0.0.0", .http_port = 80, .https_port = 443, .socket = "/d/s", .user = "haproxy",
			.default_pem = STR_INIT("DEFAULT")};
	Networking__Ingress *i;
	Networking__IngressTLS *tls;
	struct ingress_routes *r;
	struct haproxy_files f, g;

	(void)state;
	n_ingresses = 0;
	i = ingress("i", 1);
	rule(i, "a.com", "Prefix", "/", "web");
	tls = pb_add(&arena, i->spec, "tls");
	tls->secret_name = "tls";
	tls = pb_add(&arena, i->spec, "tls");
	tls->secret_name = "bad";
	tls = pb_add(&arena, i->spec, "tls");
	tls->secret_name = "tls";
	pb_add_str(&arena, tls, "hosts", "b.com");
	r = routes();
	haproxy_files(&arena, r, &o, &f);
	assert_true(str_eqc(file(&f, "certs.list")->text, "default.pem\ndefault_tls.pem a.com\ndefault_tls.pem b.com\n"));
	assert_true(str_eqc(file(&f, "default_tls.pem")->text, "CERT\nKEY\n"));
	assert_true(str_eqc(file(&f, "prefix.map")->text, "a.com/ default:web:80\n"));
	assert_true(holds(file(&f, HAPROXY_CONFIG), "    bind 0.0.0.0:443 ssl crt-list certs.list alpn h2,http/1.1\n"));
	assert_true(holds(file(&f, HAPROXY_CONFIG), "\nbackend default:web:80\n    balance leastconn\n    server 10.0.0.1:8080 10.0.0.1:8080\n"));
	assert_int_equal(r->n_refused, 1);
	haproxy_files(&arena, r, &o, &g);
	assert_true(haproxy_files_equal(&f, &g));
	o.https_port = 0;
	haproxy_files(&arena, r, &o, &g);
	assert_false(haproxy_files_equal(&f, &g));
	assert_false(holds(file(&g, HAPROXY_CONFIG), " ssl "));
	ingress_routes_free(r);
}

static int start(void **state)
{
	static const char *const names[] = {"kontiki", "nginx"}, *const controllers[] = {INGRESS_CONTROLLER, "k8s.io/ingress-nginx"};

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < 2; i++) {
		Networking__IngressClass *c = pb_new_of(&arena, networking__ingress_class, Networking__IngressClass);

		((Meta__ObjectMeta *)pb_sub(&arena, c, "metadata"))->name = names[i];
		((Networking__IngressClassSpec *)pb_sub(&arena, c, "spec"))->controller = controllers[i];
		classes[i] = c;
	}
	return 0;
}

static int stop(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_backends),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
