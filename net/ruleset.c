#include "net/ruleset.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"

void ruleset_free(struct ruleset *rs)
{
	struct arena arena;

	if (rs == NULL)
		return;
	/* The ruleset itself lies in its arena. */
	arena = rs->arena;
	arena_fini(&arena);
}

const char *ruleset_proto(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "udp" : proto == IPPROTO_SCTP ? "sctp" : "tcp";
}

static bool has_endpoint(const struct ruleset_port *p, struct ruleset_endpoint e)
{
	for (size_t i = 0; i < p->n_endpoints; i++)
		if (p->endpoints[i].addr == e.addr && p->endpoints[i].port == e.port)
			return true;
	return false;
}

static struct str vip_key(const struct ruleset_port *p, char buf[8])
{
	memcpy(buf, &p->vip, 4);
	memcpy(buf + 4, &p->port, 2);
	return str_of(buf, 6);
}

static bool has_host_port(const struct ruleset *rs, const struct ruleset_host_port *p)
{
	for (size_t i = 0; i < rs->n_host_ports; i++)
		if (rs->host_ports[i].proto == p->proto && rs->host_ports[i].port == p->port && rs->host_ports[i].addr == p->addr)
			return true;
	return false;
}

size_t ruleset_stale(const struct ruleset *old, const struct ruleset *new, struct arena *a, struct ruleset_stale **ret)
{
	struct map before = MAP_INIT, after = MAP_INIT;
	size_t n = 0, cap = 0;
	char key[8];

	for (size_t i = 0; i < new->n_ports; i++) {
		cap += new->ports[i].proto == IPPROTO_UDP;
		if (new->ports[i].proto == IPPROTO_UDP)
			map_put(&after, vip_key(&new->ports[i], key), (void *)&new->ports[i]);
	}
	for (size_t i = 0; old && i < old->n_ports; i++)
		if (old->ports[i].proto == IPPROTO_UDP) {
			cap += old->ports[i].n_endpoints;
			map_put(&before, vip_key(&old->ports[i], key), (void *)&old->ports[i]);
		}
	*ret = arena_new_array(a, struct ruleset_stale, cap + (old ? old->n_host_ports : 0));

	/* Endpoints that are gone, also those of services that are gone. */
	for (size_t i = 0; old && i < old->n_ports; i++) {
		const struct ruleset_port *p = &old->ports[i];
		const struct ruleset_port *q =
				p->proto == IPPROTO_UDP ? map_get(&after, vip_key(p, key)) : NULL;

		for (size_t j = 0; p->proto == IPPROTO_UDP && j < p->n_endpoints; j++)
			if (q == NULL || !has_endpoint(q, p->endpoints[j]))
				(*ret)[n++] = (struct ruleset_stale){p->vip, p->port, p->endpoints[j].addr};
	}
	/* Services that had no endpoint: what was sent there meanwhile is tracked as going to the address itself. */
	for (size_t i = 0; i < new->n_ports; i++) {
		const struct ruleset_port *p = &new->ports[i];
		const struct ruleset_port *q =
				p->proto == IPPROTO_UDP ? map_get(&before, vip_key(p, key)) : NULL;

		if (p->proto == IPPROTO_UDP && p->n_endpoints > 0 && (q == NULL || q->n_endpoints == 0))
			(*ret)[n++] = (struct ruleset_stale){p->vip, p->port, 0};
	}
	for (size_t i = 0; old && i < old->n_host_ports; i++)
		if (old->host_ports[i].proto == IPPROTO_UDP && !has_host_port(new, &old->host_ports[i]))
			(*ret)[n++] = (struct ruleset_stale){0, old->host_ports[i].port, old->host_ports[i].addr};
	map_fini(&before);
	map_fini(&after);
	return n;
}
