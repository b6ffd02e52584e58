/* The zone's view of the informers; declared in dns-priv.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/dns/dns-priv.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/proxy/service_rules.h"
#include "proto/pb.h"

static struct str ip_key(const uint32_t *ip)
{
	return str_of(ip, sizeof(*ip));
}

static void by_cluster_ip(const struct informer_obj *o, struct informer_emit *emit)
{
	const Core__Service *s = o->msg;
	uint32_t ip;

	if (s->spec && ip4_parse(str_from(pb_s(s->spec->cluster_ip)), &ip))
		informer_emit(emit, ip_key(&ip));
}

static void by_endpoint_ip(const struct informer_obj *o, struct informer_emit *emit)
{
	const Discovery__EndpointSlice *s = o->msg;
	uint32_t ip;

	for (size_t i = 0; i < s->n_endpoints; i++)
		if (s->endpoints[i]->n_addresses && ip4_parse(str_from(s->endpoints[i]->addresses[0]), &ip))
			informer_emit(emit, ip_key(&ip));
}

static void by_service(const struct informer_obj *o, struct informer_emit *emit)
{
	const char *name = pb_map_get(o->meta->labels, o->meta->n_labels, SERVICE_NAME_LABEL);
	char key[520];

	if (name == NULL)
		return;
	snprintf(key, sizeof(key), "%.255s/%.255s", pb_s(o->meta->namespace_), name);
	informer_emit(emit, str_from(key));
}

static const Core__Service *find_service(struct dns_view *v, const char *ns, const char *name)
{
	struct dns *d = container_of(v, struct dns, view);

	return informer_msg(informer_get(d->cfg.services, ns, name));
}

static const void *nth(struct informer_index *index, struct str key, size_t i)
{
	struct informer_objs objs = informer_index_get(index, key);

	return i < objs.n ? objs.v[i]->msg : NULL;
}

static const Discovery__EndpointSlice *find_slice(struct dns_view *v, const char *ns, const char *service, size_t i)
{
	struct dns *d = container_of(v, struct dns, view);
	char key[520];

	snprintf(key, sizeof(key), "%.255s/%.255s", ns, service);
	return nth(d->slices_by_service, str_from(key), i);
}

static bool has_namespace(struct dns_view *v, const char *ns)
{
	struct dns *d = container_of(v, struct dns, view);

	return informer_get(d->cfg.namespaces, NULL, ns) != NULL;
}

static const Core__Service *service_by_ip(struct dns_view *v, uint32_t ip)
{
	struct dns *d = container_of(v, struct dns, view);

	return nth(d->services_by_ip, ip_key(&ip), 0);
}

static const Discovery__EndpointSlice *slice_by_ip(struct dns_view *v, uint32_t ip, size_t i)
{
	struct dns *d = container_of(v, struct dns, view);

	return nth(d->slices_by_ip, ip_key(&ip), i);
}

static const struct dns_view_ops ops = {
	.service = find_service,
	.slice = find_slice,
	.has_namespace = has_namespace,
	.service_by_ip = service_by_ip,
	.slice_by_ip = slice_by_ip,
};

void dns__view_init(struct dns *d)
{
	d->view.ops = &ops;
	d->view.zone = d->zone;
	d->view.pods = d->cfg.pods;
	d->view.services = d->cfg.service_net;
	d->services_by_ip = informer_add_index(d->cfg.services, by_cluster_ip);
	d->slices_by_service = informer_add_index(d->cfg.slices, by_service);
	d->slices_by_ip = informer_add_index(d->cfg.slices, by_endpoint_ip);
}

bool dns__view_synced(const struct dns *d)
{
	return !d->stopping && informer_synced(d->cfg.services) && informer_synced(d->cfg.slices) &&
			informer_synced(d->cfg.namespaces);
}
