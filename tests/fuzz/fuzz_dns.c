/* Any packet to the DNS server: it is dropped, refused or answered with a message that is well formed and within its limit. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/dns/dns_zone.h"

static Meta__ObjectMeta meta = META__OBJECT_META__INIT;
static Core__ServicePort port = CORE__SERVICE_PORT__INIT;
static Core__ServicePort *ports[] = {&port};
static Core__ServiceSpec spec = CORE__SERVICE_SPEC__INIT;
static Core__Service service = CORE__SERVICE__INIT;
static Discovery__Endpoint endpoint = DISCOVERY__ENDPOINT__INIT;
static const char *addresses[] = {"10.244.1.2"};
static Discovery__Endpoint *endpoints[] = {&endpoint};
static Discovery__EndpointPort slice_port = DISCOVERY__ENDPOINT_PORT__INIT;
static Discovery__EndpointPort *slice_ports[] = {&slice_port};
static Discovery__EndpointSlice slice = DISCOVERY__ENDPOINT_SLICE__INIT;

static const Core__Service *find_service(struct dns_view *v, const char *ns, const char *name)
{
	spec.cluster_ip = name[0] == 'h' ? "None" : "10.96.0.1";
	return &service;
}

static const Discovery__EndpointSlice *find_slice(struct dns_view *v, const char *ns, const char *name, size_t i)
{
	return i == 0 ? &slice : NULL;
}

static bool has_namespace(struct dns_view *v, const char *ns)
{
	return ns[0] != 'x';
}

static const Core__Service *service_by_ip(struct dns_view *v, uint32_t ip)
{
	return ip & 1 ? &service : NULL;
}

static const Discovery__EndpointSlice *slice_by_ip(struct dns_view *v, uint32_t ip, size_t i)
{
	return i == 0 ? &slice : NULL;
}

static const struct dns_view_ops ops = {find_service, find_slice, has_namespace, service_by_ip, slice_by_ip};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_view view = {.ops = &ops, .zone = "cluster.local", .pods = {0x0af40000, 16}, .services = {0x0a600000, 12}};
	struct str packet = str_of(data, size);
	struct dns_query q;
	struct dns_reply r;
	int rcode;

	meta.name = "web";
	meta.namespace_ = "default";
	port.name = slice_port.name = "http";
	port.has_port = slice_port.has_port = 1;
	port.port = slice_port.port = 80;
	spec.n_ports = 1;
	spec.ports = ports;
	service.metadata = slice.metadata = &meta;
	service.spec = &spec;
	endpoint.n_addresses = 1;
	endpoint.addresses = addresses;
	slice.n_endpoints = slice.n_ports = 1;
	slice.endpoints = endpoints;
	slice.ports = slice_ports;
	if (size > DNS_TCP_MAX || !dns_query_parse(packet, &q, &rcode))
		return 0;
	dns_reply_init(&r, &q, packet, DNS_UDP_DEFAULT);
	if (rcode != DNS_NOERROR) {
		dns_reply_finish(&r, rcode, false, true);
	} else if (!dns_zone_answer(&view, &q, &r)) {
		dns_reply_fini(&r);
		return 0;
	}
	ASSERT(r.buf.n >= DNS_HEADER_SIZE && r.buf.n <= DNS_UDP_DEFAULT);
	ASSERT(memcmp(r.buf.p, data, 2) == 0);
	dns_reply_fini(&r);
	return 0;
}
