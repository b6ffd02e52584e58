#include "orchestrator/proxy/service_rules.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"
#include "proto/pb.h"

/* The slices of one service, as a chain through an array that runs beside the input. */
struct link {
	const Discovery__EndpointSlice *slice;
	struct link *next;
};

struct compiler {
	const struct service_rules_input *in;
	struct ruleset *rs;
	struct map slices; /* "ns/service" -> struct link */
	struct ruleset_port *ports;
	size_t n_ports, cap_ports;
};

static const char *service_key(char out[520], const char *ns, const char *name)
{
	snprintf(out, 520, "%.255s/%.255s", pb_s(ns), pb_s(name));
	return out;
}

static void index_slices(struct compiler *c)
{
	struct link *links = arena_new_array(&c->rs->arena, struct link, c->in->n_slices);
	char key[520];

	for (size_t i = 0; i < c->in->n_slices; i++) {
		const Discovery__EndpointSlice *s = c->in->slices[i];
		const char *service = s->metadata ? pb_map_get(s->metadata->labels, s->metadata->n_labels, SERVICE_NAME_LABEL)
						  : NULL;
		struct str k;

		if (service == NULL || !pb_streq(s->address_type, "IPv4"))
			continue;
		k = str_from(service_key(key, s->metadata->namespace_, service));
		links[i].slice = s;
		links[i].next = map_put(&c->slices, k, &links[i]);
	}
}

static uint8_t protocol(const char *name)
{
	return pb_streq(name, "UDP") ? IPPROTO_UDP : pb_streq(name, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

enum readiness { NOT_USABLE, DRAINING, READY };

static enum readiness readiness(const Discovery__EndpointConditions *c)
{
	/* Absent means unknown, and unknown shall be taken as ready. */
	bool ready = c == NULL || pb_or(c, ready, true);

	if (ready)
		return READY;
	return pb_or(c, serving, false) && pb_or(c, terminating, false) ? DRAINING : NOT_USABLE;
}

static int by_address(const void *va, const void *vb)
{
	const struct ruleset_endpoint *a = va, *b = vb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return (int)a->port - (int)b->port;
}

static size_t count_endpoints(const struct link *slices)
{
	size_t n = 0;

	for (const struct link *l = slices; l; l = l->next)
		n += l->slice->n_endpoints;
	return n;
}

/* The endpoints of that readiness behind a service port, sorted and each once. */
static size_t collect(const struct compiler *c, const Core__ServicePort *port, const struct link *slices,
		enum readiness want, struct ruleset_endpoint *out)
{
	size_t n = 0, kept = 0;

	for (const struct link *l = slices; l; l = l->next) {
		const Discovery__EndpointPort *ep = NULL;

		for (size_t i = 0; i < l->slice->n_ports && !ep; i++)
			if (pb_streq(l->slice->ports[i]->name, port->name) &&
					protocol(l->slice->ports[i]->protocol) == protocol(port->protocol))
				ep = l->slice->ports[i];
		if (ep == NULL || !ep->has_port || ep->port <= 0 || ep->port > 65535)
			continue;
		for (size_t i = 0; i < l->slice->n_endpoints; i++) {
			const Discovery__Endpoint *e = l->slice->endpoints[i];
			uint32_t addr;

			if (readiness(e->conditions) != want || e->n_addresses == 0 ||
					!ip4_parse(str_from(e->addresses[0]), &addr))
				continue;
			out[n++] = (struct ruleset_endpoint){addr, (uint16_t)ep->port,
					e->node_name && strcmp(e->node_name, c->in->node_name) == 0};
		}
	}
	if (n > 0)
		qsort(out, n, sizeof(*out), by_address);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || by_address(&out[kept - 1], &out[i]) != 0)
			out[kept++] = out[i];
	return kept;
}

static void add_external(const char *text, uint32_t *out, size_t *n)
{
	if (text && ip4_parse(str_from(text), &out[*n]))
		++*n;
}

static const uint32_t *externals(struct compiler *c, const Core__Service *svc, size_t *ret_n)
{
	const Core__LoadBalancerStatus *lb = svc->status ? svc->status->load_balancer : NULL;
	uint32_t *out = arena_new_array(&c->rs->arena, uint32_t, svc->spec->n_external_ips + (lb ? lb->n_ingress : 0));
	size_t n = 0;

	for (size_t i = 0; i < svc->spec->n_external_ips; i++)
		add_external(svc->spec->external_ips[i], out, &n);
	for (size_t i = 0; lb && i < lb->n_ingress; i++)
		add_external(lb->ingress[i]->ip, out, &n);
	*ret_n = n;
	return out;
}

static uint32_t affinity(const Core__ServiceSpec *spec)
{
	const Core__ClientIPConfig *config =
			spec->session_affinity_config ? spec->session_affinity_config->client_ip : NULL;

	if (!pb_streq(spec->session_affinity, "ClientIP"))
		return 0;
	return config && config->has_timeout_seconds && config->timeout_seconds > 0 ? (uint32_t)config->timeout_seconds
										    : 10800;
}

static void compile_port(struct compiler *c, const Core__Service *svc, const Core__ServicePort *port, uint32_t vip,
		const struct link *slices)
{
	struct arena *a = &c->rs->arena;
	struct ruleset_endpoint *endpoints = arena_new_array(a, struct ruleset_endpoint, count_endpoints(slices));
	struct ruleset_port *p = &c->ports[c->n_ports];
	const Core__ServiceSpec *spec = svc->spec;

	if (!port->has_port || port->port <= 0 || port->port > 65535)
		return;
	memset(p, 0, sizeof(*p));
	p->name = arena_printf(a, "%s/%s:%s", pb_s(svc->metadata->namespace_), pb_s(svc->metadata->name),
			pb_s(port->name));
	p->proto = protocol(port->protocol);
	p->port = (uint16_t)port->port;
	p->vip = vip;
	if (pb_streq(spec->type, "NodePort") || pb_streq(spec->type, "LoadBalancer"))
		p->node_port = port->has_node_port && port->node_port > 0 && port->node_port <= 65535
				? (uint16_t)port->node_port
				: 0;
	p->externals = externals(c, svc, &p->n_externals);
	p->affinity_s = affinity(spec);
	p->internal_local = pb_streq(spec->internal_traffic_policy, "Local");
	p->external_local = pb_streq(spec->external_traffic_policy, "Local") && (p->node_port || p->n_externals);
	p->endpoints = endpoints;
	p->n_endpoints = collect(c, port, slices, READY, endpoints);
	if (p->n_endpoints == 0)
		p->n_endpoints = collect(c, port, slices, DRAINING, endpoints);
	c->n_ports++;
}

static void compile_service(struct compiler *c, const Core__Service *svc)
{
	const struct link *slices;
	char key[520];
	uint32_t vip;

	if (svc->metadata == NULL || svc->spec == NULL || pb_streq(svc->spec->type, "ExternalName") ||
			pb_map_find(svc->metadata->labels, svc->metadata->n_labels, SERVICE_PROXY_LABEL))
		return;
	/* "None" and "" do not parse: headless, and not allocated yet. */
	if (!ip4_parse(str_from(pb_s(svc->spec->cluster_ip)), &vip) || vip == 0)
		return;
	slices = map_get(&c->slices, str_from(service_key(key, svc->metadata->namespace_, svc->metadata->name)));
	for (size_t i = 0; i < svc->spec->n_ports; i++)
		compile_port(c, svc, svc->spec->ports[i], vip, slices);
}

static int by_name(const void *va, const void *vb)
{
	const struct ruleset_port *a = va, *b = vb;
	int rv = strcmp(a->name, b->name);

	return rv ? rv : (int)a->proto - (int)b->proto;
}

struct ruleset *service_rules(const struct service_rules_input *in)
{
	struct arena arena;
	struct compiler c = {.in = in, .slices = MAP_INIT};

	arena_init(&arena);
	c.rs = arena_new_of(&arena, struct ruleset);
	c.rs->arena = arena;
	c.rs->pods = in->pods;
	c.rs->services = in->service_net;
	index_slices(&c);
	for (size_t i = 0; i < in->n_services; i++)
		c.cap_ports += in->services[i]->spec ? in->services[i]->spec->n_ports : 0;
	c.ports = arena_new_array(&c.rs->arena, struct ruleset_port, c.cap_ports);
	for (size_t i = 0; i < in->n_services; i++)
		compile_service(&c, in->services[i]);
	if (c.n_ports > 0)
		qsort(c.ports, c.n_ports, sizeof(*c.ports), by_name);
	c.rs->ports = c.ports;
	c.rs->n_ports = c.n_ports;
	map_fini(&c.slices);
	return c.rs;
}
