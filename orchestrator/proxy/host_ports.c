#include "orchestrator/proxy/host_ports.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/pb.h"

static size_t count(const Core__Pod *pod)
{
	size_t n = 0;

	if (pod == NULL || pod->spec == NULL || pb_or(pod->spec, host_network, false))
		return 0;
	for (size_t c = 0; c < pod->spec->n_containers; c++)
		for (size_t p = 0; p < pod->spec->containers[c]->n_ports; p++)
			n += pb_or(pod->spec->containers[c]->ports[p], host_port, 0) > 0;
	return n;
}

bool host_ports_any(const Core__Pod *pod)
{
	return count(pod) > 0;
}

static bool is_up(const Core__Pod *pod, uint32_t *ret_addr)
{
	return pod->metadata && pod->status && !pb_streq(pod->status->phase, "Succeeded") && !pb_streq(pod->status->phase, "Failed") &&
	       ip4_parse(str_from(pb_s(pod->status->pod_ip)), ret_addr);
}

static uint8_t protocol(const char *name)
{
	return pb_streq(name, "UDP") ? IPPROTO_UDP : pb_streq(name, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static bool make(const Core__ContainerPort *p, struct ruleset_host_port *out)
{
	const char *ip = pb_s(p->host_ip);

	if (pb_or(p, host_port, 0) <= 0 || p->host_port > 65535 || pb_or(p, container_port, 0) <= 0 || p->container_port > 65535)
		return false;
	out->proto = protocol(p->protocol);
	out->port = (uint16_t)p->host_port;
	out->target = (uint16_t)p->container_port;
	out->host_addr = 0;
	/* "" and "0.0.0.0" are any address; an IPv6 one has no place here. */
	return *ip == '\0' || ip4_parse(str_from(ip), &out->host_addr);
}

static int by_place(const void *va, const void *vb)
{
	const struct ruleset_host_port *a = va, *b = vb;

	if (a->proto != b->proto)
		return (int)a->proto - (int)b->proto;
	if (a->port != b->port)
		return (int)a->port - (int)b->port;
	/* One that names an address comes before one for all. */
	if (a->host_addr != b->host_addr)
		return a->host_addr > b->host_addr ? -1 : 1;
	return strcmp(a->name, b->name);
}

void host_ports_add(struct ruleset *rs, const Core__Pod *const *pods, size_t n_pods)
{
	struct ruleset_host_port *v;
	size_t n = 0, kept = 0, max = 0;

	for (size_t i = 0; i < n_pods; i++)
		max += count(pods[i]);
	if (max == 0)
		return;
	v = arena_new_array(&rs->arena, struct ruleset_host_port, max);
	for (size_t i = 0; i < n_pods; i++) {
		uint32_t addr;
		const char *name;

		if (count(pods[i]) == 0 || !is_up(pods[i], &addr))
			continue;
		name = arena_printf(&rs->arena, "%s/%s", pb_s(pods[i]->metadata->namespace_), pb_s(pods[i]->metadata->name));
		for (size_t c = 0; c < pods[i]->spec->n_containers; c++) {
			const Core__Container *k = pods[i]->spec->containers[c];

			for (size_t p = 0; p < k->n_ports; p++)
				if (make(k->ports[p], &v[n])) {
					v[n].name = name;
					v[n++].addr = addr;
				}
		}
	}
	if (n > 0)
		qsort(v, n, sizeof(*v), by_place);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || v[kept - 1].proto != v[i].proto || v[kept - 1].port != v[i].port ||
				v[kept - 1].host_addr != v[i].host_addr)
			v[kept++] = v[i];
	rs->host_ports = v;
	rs->n_host_ports = kept;
}
